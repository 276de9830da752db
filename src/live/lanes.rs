//! Which shard a trace goes to.
//!
//! By a hash that is keyed anew in every process: whoever chooses trace ids cannot choose the shard, so cannot
//! leave all work to one. The verdicts do not depend on who goes where; the recordings of
//! [`shard_of`](crate::engine::shard_of) need no key, because nobody waits for them.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use crate::model::TraceId;

/// Deals traces to shards. By a hash of which all bits are good: two bits of a faster one are not dealt fairly to ids
/// prepared against another key of it.
#[derive(Debug, Default)]
pub(super) struct Lanes(RandomState);

impl Lanes {
    /// The shard, of `shards`, that owns a trace.
    #[inline]
    pub(super) fn of(&self, trace: TraceId, shards: usize) -> usize {
        let hash = self.0.hash_one(trace.get()) >> 32;
        usize::try_from(hash).unwrap_or(0) % shards.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::shard_of;

    const SHARDS: usize = 4;
    const IDS: usize = 20_000;

    /// A quarter, give or take eight standard deviations of a fair draw.
    fn is_fair(count: usize) -> bool {
        let (mean, spread) = (IDS as f64 / 4.0, (IDS as f64 * 0.25 * 0.75).sqrt());
        (count as f64 - mean).abs() < 8.0 * spread
    }

    fn dealt(ids: &[TraceId], lane: impl Fn(TraceId) -> usize) -> [usize; SHARDS] {
        let mut counts = [0; SHARDS];
        ids.iter().for_each(|&id| counts[lane(id)] += 1);
        counts
    }

    #[test]
    fn trace_ids_prepared_for_one_shard_go_to_all_of_them() {
        let all = || (1..).filter_map(TraceId::new);
        // Prepared against the hash without a key, against one with another, and with equal halves.
        let other = Lanes::default();
        let prepared: [Vec<TraceId>; 3] = [
            all().filter(|&id| shard_of(id, SHARDS) == 0).take(IDS).collect(),
            all().filter(|&id| other.of(id, SHARDS) == 0).take(IDS).collect(),
            (1..=IDS as u128).filter_map(|half| TraceId::new(half << 64 | half)).collect(),
        ];
        assert_eq!(dealt(&prepared[0], |id| shard_of(id, SHARDS)), [IDS, 0, 0, 0]);
        assert_eq!(dealt(&prepared[2], |id| shard_of(id, SHARDS)), [IDS, 0, 0, 0]);
        let lanes = Lanes::default();
        for ids in &prepared {
            let counts = dealt(ids, |id| lanes.of(id, SHARDS));
            assert!(counts.into_iter().all(is_fair), "{counts:?}");
        }
    }
}
