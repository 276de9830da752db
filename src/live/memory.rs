//! One number for all memory, and how it is divided.
//!
//! Everything that grows has a limit of its own: bytes of requests, buffered spans, operations, series,
//! connections. Here they are made to fit one number together, each by what one more of it costs, so
//! that the process refuses before the kernel kills it. What costs are not known exactly (an
//! allocator's gaps, buffers that double) is left out of the division; and if the sum is wrong all the
//! same, what is resident is looked at, and requests get less room while there is too much of it.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::budget::Budget;
use super::cgroup;
use super::evidence;
use super::server::{LISTENERS, Settings};
use crate::otlp::receive::DECODED_SPAN;
use crate::publish::process::resident_bytes;

const MIB: u64 = 1 << 20;

/// Without a limit set and without one of the cgroup.
const DEFAULT_BYTES: u64 = 512 * MIB;

/// The number itself: what is set, else nine tenths of what the kernel allows (the rest is its own, for
/// sockets and files, which count there as well), else a default.
pub(super) fn limit(set: Option<u64>) -> u64 {
    set.or_else(|| cgroup::memory_limit().map(|bytes| bytes / 10 * 9)).unwrap_or(DEFAULT_BYTES)
}

/// What each part may take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// All of it.
    pub(super) limit: u64,
    /// Requests on their way.
    pub(super) in_flight: u64,
    /// Spans of traces that are not closed.
    pub(super) traces: u64,
    /// What is learned of each operation, and its name.
    pub(super) baselines: u64,
    /// Other names, and the call graph.
    pub(super) names: u64,
    /// `/metrics` as it is rendered.
    pub(super) series: u64,
    /// Connections without their requests.
    pub(super) connections: u64,
    /// Traces kept to be looked at.
    pub(super) evidence: u64,
}

/// The program itself, its threads, its tables when empty.
const FIXED: u64 = 24 * MIB;

/// What one more of each costs, rounded up: a span by its size, which a test holds; an operation by
/// `bench_judge`; a connection by `idle.py`; the others estimated. Where an estimate is too low, [`watch`] holds the limit; what is
/// resident under load is in `tests/soak/README.md`.
pub(super) mod cost {
    /// A buffered span with its place in a trace.
    pub(crate) const SPAN: u64 = 72;
    /// An open trace without its spans, and the memory of a closed one.
    pub(crate) const TRACE: u64 = 320;
    /// An operation: names, baseline, windows, sums of the slices that are open.
    pub(crate) const OPERATION: u64 = 4_096;
    /// A dependency's name or an attribute's value.
    pub(crate) const STRING: u64 = 400;
    /// A combination of attribute values.
    pub(crate) const ATTRIBUTE_SET: u64 = 300;
    /// A series of `/metrics`, in the text and in what it is made from.
    pub(crate) const SERIES: u64 = 400;
    /// A connection that is idle, with its buffers, which stay as large as its last request made them: 20 KiB
    /// with HTTP/1 and 23 with HTTP/2 were resident for each of many, with TLS 26 and 31.
    pub(crate) const CONNECTION: u64 = 32 * 1024;
}

impl Plan {
    /// The division of `limit`: what is not fixed, less a fifth for what cannot be counted.
    pub(super) fn of(limit: u64) -> Plan {
        let free = limit.saturating_sub(FIXED) / 5 * 4;
        Plan {
            limit,
            in_flight: free / 100 * 22,
            traces: free / 100 * 29,
            baselines: free / 100 * 22,
            names: free / 100 * 10,
            series: free / 100 * 5,
            connections: free / 100 * 7,
            evidence: free / 100 * 5,
        }
    }

    /// Lowers what in `settings` would not fit, and says so.
    pub(super) fn fit(&self, settings: &mut Settings) {
        let mut lowered = Vec::new();
        let mut lower = |key, amount: &mut usize, most: u64| {
            let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
            if *amount > most {
                lowered.push(format!("{key} {amount} -> {most}"));
                *amount = most;
            }
        };
        lower("receiver.max_in_flight", &mut settings.max_in_flight, self.in_flight);
        // One connection's share of half-sent bodies must hold the largest of them.
        let largest = settings.max_in_flight as u64 / Budget::SHARE_OF_CONNECTION;
        let request = &mut settings.request;
        lower("receiver.max_request_size", &mut request.message_bytes, largest);
        lower("receiver.max_spans_per_request", &mut request.cost.spans, largest / DECODED_SPAN);

        let assembly = &mut settings.engine.assembly;
        let spans = self.traces / 4 * 3 / cost::SPAN;
        lower("assembly.max_spans", &mut assembly.max_spans, spans);
        lower("assembly.max_spans_per_trace", &mut assembly.max_spans_per_trace, spans);
        lower("assembly.max_traces", &mut assembly.max_traces, self.traces / 4 / cost::TRACE);

        let names = &mut settings.names;
        let operations = self.baselines / cost::OPERATION;
        lower("names.max_operations", &mut names.operations, operations);
        lower("names.max_operations_per_service", &mut names.operations_per_service, operations);
        lower("names.max_strings", &mut names.strings, self.names / 2 / cost::STRING);
        lower(
            "names.max_attribute_sets",
            &mut names.attr_sets,
            self.names / 2 / cost::ATTRIBUTE_SET,
        );
        lower("publish.max_series", &mut settings.max_series, self.series / cost::SERIES);
        lower("evidence.max_trace_memory", &mut settings.keep.bytes, self.evidence);
        // One comparison at a time; what it takes is part of the fifth that is left out.
        let unpacked = self.limit / 5 / evidence::UNPACKED as u64;
        lower("admin.max_upload_size", &mut settings.api.max_upload_bytes, unpacked);

        let connections = &mut settings.connections;
        let each = self.connections / cost::CONNECTION / LISTENERS as u64;
        let fewer = connections.at_most(usize::try_from(each).unwrap_or(usize::MAX));
        lower("connections.max", &mut connections.max, fewer.max as u64);
        lower("connections.max_per_peer", &mut connections.max_per_peer, fewer.max_per_peer as u64);
        if !lowered.is_empty() {
            let limits = lowered.join(", ");
            info!(memory_limit = self.limit, limits, "limits lowered to fit memory_limit");
        }
    }
}

/// Looks at what is resident once a second, for ever, and gives requests less room while it is close to
/// `limit`: what they would be turned into can then be worked off, and nothing else grows without them.
pub(super) async fn watch(limit: u64, budget: Arc<Budget>) {
    const EVERY: Duration = Duration::from_secs(1);
    let mut short = false;
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(resident) = resident_bytes() else { return };
        let is_short = is_short(short, resident, limit);
        if is_short && !short {
            warn!(resident, limit, "memory is short: requests get less room until it is not");
        }
        short = is_short;
        budget.set_pressure(short);
    }
}

/// From 95 % on, until it is below 90 % again.
fn is_short(before: bool, resident: u64, limit: u64) -> bool {
    let percent = if before { 90 } else { 95 };
    resident > limit / 100 * percent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineParams;
    use crate::engine::reservoir::KeepLimits;
    use crate::live::access::AccessFiles;
    use crate::live::net::ConnectionLimits;
    use crate::model::{InternLimits, Nanos};
    use crate::otlp::Interest;
    use crate::otlp::receive::ReceiveLimits;
    use crate::publish::api::{ApiSettings, Links};

    fn settings() -> Settings {
        Settings {
            grpc: String::new(),
            http: String::new(),
            admin: String::new(),
            request: ReceiveLimits::default(),
            memory_limit: None,
            max_in_flight: 64 << 20,
            connections: ConnectionLimits::default(),
            threads: 1,
            engine: EngineParams::default(),
            names: InternLimits::default(),
            interest: Interest::default(),
            max_series: 100_000,
            keep: KeepLimits::default(),
            api: ApiSettings {
                links: Links::default(),
                max_upload_bytes: 16 << 20,
                listen_for: Nanos::from_secs(20),
            },
            receiver_access: AccessFiles::default(),
            admin_access: AccessFiles::default(),
            state: None,
            kafka: None,
        }
    }

    fn fitted(limit: u64) -> Settings {
        let mut settings = settings();
        Plan::of(limit).fit(&mut settings);
        settings
    }

    /// What everything costs together when all limits are reached.
    fn total(settings: &Settings) -> u64 {
        let assembly = &settings.engine.assembly;
        FIXED
            + settings.max_in_flight as u64
            + assembly.max_spans as u64 * cost::SPAN
            + assembly.max_traces as u64 * cost::TRACE
            + settings.names.operations as u64 * cost::OPERATION
            + settings.names.strings as u64 * cost::STRING
            + settings.names.attr_sets as u64 * cost::ATTRIBUTE_SET
            + settings.max_series as u64 * cost::SERIES
            + settings.keep.bytes as u64
            + 3 * settings.connections.max as u64 * cost::CONNECTION
    }

    #[test]
    fn with_every_limit_reached_four_fifths_are_not_exceeded() {
        for mib in [64, 100, 128, 256, 512, 1_000, 4_096, 1 << 20] {
            let limit = mib * MIB;
            let total = total(&fitted(limit));
            assert!(total <= FIXED + (limit - FIXED) / 5 * 4, "{mib} MiB: {total}");
        }
    }

    #[test]
    fn the_largest_request_fits_one_connections_share_three_times() {
        for mib in [64, 128, 512, 4_096] {
            let settings = fitted(mib * MIB);
            let share = settings.max_in_flight as u64 / Budget::SHARE_OF_CONNECTION;
            assert!(settings.request.message_bytes as u64 <= share);
            assert!(settings.request.cost.spans as u64 * DECODED_SPAN <= share);
            // Sent, inflated, decoded.
            assert!(3 * share <= settings.max_in_flight as u64);
        }
    }

    #[test]
    fn plenty_lowers_nothing() {
        let mut settings = settings();
        let before = settings.clone();
        Plan::of(16 * 1024 * MIB).fit(&mut settings);
        assert_eq!(format!("{settings:?}"), format!("{before:?}"));
    }

    #[test]
    fn no_number_is_so_small_that_nothing_works() {
        let settings = fitted(0);
        assert!(settings.request.message_bytes > 0 && settings.connections.max > 0);
        assert!(settings.engine.assembly.max_spans > 0 && settings.names.operations > 0);
    }

    #[test]
    fn what_is_set_counts() {
        assert_eq!(limit(Some(7)), 7);
        assert!(limit(None) >= MIB);
    }

    #[test]
    fn short_begins_above_95_and_ends_below_90() {
        let limit = 1_000;
        assert!(!is_short(false, 950, limit) && is_short(false, 951, limit));
        assert!(is_short(true, 901, limit) && !is_short(true, 900, limit));
    }
}
