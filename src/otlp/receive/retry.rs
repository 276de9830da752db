//! When a refused sender may come back.
//!
//! Senders refused together would come back together, so the delay is spread; and each kind of sender
//! reads it elsewhere: the Collector in the status details, the Python SDK in a trailer of its own, HTTP
//! senders in a header.

use std::time::Duration;

use prost::Message as _;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, RetryInfo, StatusExt, pb};

use crate::model::Nanos;

/// The trailer that the Python SDK reads.
const RETRY_INFO_TRAILER: &str = "google.rpc.retryinfo-bin";

/// A delay between once and twice `base`, different for each `number`.
pub fn jittered(base: Nanos, number: u64) -> Nanos {
    // The mixing steps of SplitMix64: neighbouring numbers land far apart.
    let mut hash = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    // `base` times a fraction in [0, 1), rounded down.
    let extra = (u128::from(base.0) * u128::from(hash)) >> 64;
    base + Nanos(u64::try_from(extra).unwrap_or(u64::MAX))
}

/// UNAVAILABLE with the delay in both forms.
pub(super) fn unavailable(message: &str, retry_after: Nanos) -> Status {
    let delay = Some(Duration::from_nanos(retry_after.0));
    let info = pb::RetryInfo::from(RetryInfo::new(delay)).encode_to_vec();
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(RETRY_INFO_TRAILER, MetadataValue::from_bytes(&info));
    let details = ErrorDetails::with_retry_info(delay);
    Status::with_error_details_and_metadata(Code::Unavailable, message, details, metadata)
}

/// Whole seconds for `Retry-After`: rounded up, and at least one.
pub(super) fn whole_seconds(retry_after: Nanos) -> u64 {
    retry_after.0.div_ceil(1_000_000_000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_spread_over_once_to_twice_the_base() {
        let base = Nanos::from_secs(1);
        let delays: Vec<u64> = (0..1_000).map(|number| jittered(base, number).0).collect();
        assert!(delays.iter().all(|delay| (base.0..2 * base.0).contains(delay)));
        // A tenth of the range holds a tenth of a thousand, within five standard deviations of 9.5.
        for tenth in 0..10 {
            let range = base.0 + tenth * base.0 / 10..base.0 + (tenth + 1) * base.0 / 10;
            let inside = delays.iter().filter(|delay| range.contains(delay)).count();
            assert!((52..=148).contains(&inside), "{tenth}: {inside}");
        }
    }

    #[test]
    fn extreme_delays_do_not_overflow() {
        assert_eq!(jittered(Nanos::ZERO, 7), Nanos::ZERO);
        assert_eq!(jittered(Nanos(u64::MAX), 7), Nanos(u64::MAX));
        assert_eq!(whole_seconds(Nanos::ZERO), 1);
        assert_eq!(whole_seconds(Nanos(1_000_000_001)), 2);
        assert_eq!(unavailable("full", Nanos(u64::MAX)).code(), Code::Unavailable);
    }

    #[test]
    fn the_status_carries_the_delay_in_both_forms() {
        let status = unavailable("full", Nanos::from_millis(1_500));
        let delay = Duration::from_millis(1_500);
        let details = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(details, Some(delay));
        let trailer = status.metadata().get_bin(RETRY_INFO_TRAILER).unwrap().to_bytes().unwrap();
        let info = RetryInfo::from(pb::RetryInfo::decode(trailer).unwrap());
        assert_eq!(info.retry_delay, Some(delay));
    }
}
