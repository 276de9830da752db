//! Which traces a shard sets aside for people to look at: per entry and hand-over one at random and
//! the slowest.
//!
//! The stream goes on at its own pace: nearly every trace is looked at only for its entry and its length, and a
//! trace is copied only when it is the first of its entry since the last hand-over or slower than all before it.
//! What is kept of these, and for how long, is the [reservoir](super::reservoir)'s to say.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::model::{KeyId, Nanos, Span, Timestamp, TraceId};

/// A trace set aside.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Which one.
    pub trace: TraceId,
    /// The operation by which it entered.
    pub entry: KeyId,
    /// When that ended.
    pub end: Timestamp,
    /// How long it took.
    pub duration: Nanos,
    /// All its spans.
    pub spans: Vec<Span>,
}

impl Sample {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Sample>() + self.spans.capacity() * size_of::<Span>()
    }
}

/// The entry of a trace, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntrySpan {
    /// Its operation.
    pub key: KeyId,
    /// When it ended.
    pub end: Timestamp,
    /// How long it took.
    pub duration: Nanos,
}

/// What a shard set aside since the last hand-over.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Samples {
    /// One of each entry, whatever its length; by operation.
    pub usual: Vec<Arc<Sample>>,
    /// The slowest of each entry, by operation.
    pub slowest: Vec<Arc<Sample>>,
}

/// Sets traces aside.
#[derive(Default)]
pub struct Sampler {
    picked: HashMap<KeyId, Picked, RandomState>,
    copied_spans: usize,
    /// By the slot of its operation: the slowest of an entry so far. Nearly every trace is done with here.
    slowest: Vec<Option<(KeyId, Nanos)>>,
}

struct Picked {
    usual: Arc<Sample>,
    slowest: Arc<Sample>,
}

impl Sampler {
    /// Larger traces are not set aside: one of them would take the room of hundreds.
    pub const MAX_SPANS: usize = 5_000;
    /// Spans copied between two hand-overs, at 56 bytes each: beyond it nothing is set aside until the next.
    pub const MAX_COPIED_SPANS: usize = 50_000;

    /// Looks at a trace that was just analyzed.
    #[inline]
    pub fn consider(&mut self, trace: TraceId, entry: EntrySpan, spans: &[Span]) {
        match self.slowest.get(entry.key.slot()) {
            Some(Some((key, slowest))) if *key == entry.key && *slowest >= entry.duration => {}
            _ => self.set_aside(trace, entry, spans),
        }
    }

    #[inline(never)]
    fn set_aside(&mut self, trace: TraceId, entry: EntrySpan, spans: &[Span]) {
        let has_room = self.copied_spans + spans.len() <= Sampler::MAX_COPIED_SPANS;
        if spans.len() > Sampler::MAX_SPANS || !has_room {
            return;
        }
        let EntrySpan { key, end, duration } = entry;
        if key.slot() >= self.slowest.len() {
            self.slowest.resize(key.slot() + 1, None);
        }
        self.slowest[key.slot()] = Some((key, duration));
        let sample = Arc::new(Sample { trace, entry: key, end, duration, spans: spans.to_vec() });
        self.copied_spans += spans.len();
        match self.picked.get_mut(&key) {
            Some(known) => known.slowest = sample,
            None => {
                let picked = Picked { usual: Arc::clone(&sample), slowest: sample };
                self.picked.insert(key, picked);
            }
        }
    }

    /// Hands over what was set aside.
    pub fn take(&mut self) -> Samples {
        self.copied_spans = 0;
        self.slowest.fill(None);
        let mut picked: Vec<(KeyId, Picked)> = self.picked.drain().collect();
        picked.sort_unstable_by_key(|&(key, _)| key);
        let (mut usual, mut slowest) = (Vec::new(), Vec::new());
        for (_, one) in picked {
            usual.push(one.usual);
            slowest.push(one.slowest);
        }
        Samples { usual, slowest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Draft, service};

    fn trace(number: u128) -> TraceId {
        TraceId::new(number).expect("not zero")
    }

    fn entry(key: u32, millis: u64) -> EntrySpan {
        let duration = Nanos::from_millis(millis);
        EntrySpan { key: KeyId(key), end: Timestamp::from_secs(100), duration }
    }

    fn spans(count: u64) -> Vec<Span> {
        let drafts: Vec<Draft> = (1..=count).map(|id| Draft::new(id, 0, service(1))).collect();
        Draft::build(&drafts).0
    }

    fn ids(samples: &[Arc<Sample>]) -> Vec<u128> {
        samples.iter().map(|sample| sample.trace.get()).collect()
    }

    #[test]
    fn each_entry_leaves_its_first_and_its_slowest_trace() {
        let mut sampler = Sampler::default();
        for (number, key, millis) in [(1, 5, 30), (2, 5, 90), (3, 5, 60), (4, 2, 10), (5, 5, 90)] {
            sampler.consider(trace(number), entry(key, millis), &spans(3));
        }
        let Samples { usual, slowest } = sampler.take();
        assert_eq!(ids(&usual), [4, 1]);
        assert_eq!(ids(&slowest), [4, 2]);
        assert_eq!(slowest[1].spans.len(), 3);
        assert_eq!(sampler.take(), Samples::default(), "handed over once");
    }

    #[test]
    fn a_trace_too_large_is_left_out() {
        let mut sampler = Sampler::default();
        sampler.consider(trace(1), entry(1, 10), &spans(Sampler::MAX_SPANS as u64 + 1));
        assert_eq!(sampler.take(), Samples::default());
    }

    #[test]
    fn copies_are_bounded_between_two_hand_overs() {
        let mut sampler = Sampler::default();
        let large = spans(Sampler::MAX_SPANS as u64);
        for number in 1..=20u32 {
            sampler.consider(trace(number.into()), entry(number, 10), &large);
        }
        let whole = Sampler::MAX_COPIED_SPANS / Sampler::MAX_SPANS;
        assert_eq!(sampler.take().usual.len(), whole);
        sampler.consider(trace(21), entry(1, 10), &large);
        assert_eq!(ids(&sampler.take().usual), [21]);
    }
}
