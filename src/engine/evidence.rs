//! What a verdict rests on, as plain data: distributions, the call graph, the course of time, traces.
//!
//! Read by whatever publishes, like [`verdict`](super::verdict), and in the same manner: names spelled
//! out, every list in a fixed order and with a bound. Nothing is judged here.

use std::sync::Arc;

use super::histogram::{self, Bucket, Distribution as _, Sparse, lower_bound, upper_bound};
use super::verdict::{Quantiles, SuspectKind};
use crate::model::{Nanos, SpanId, SpanKind, Timestamp, TraceId};

/// How many values lay in one stretch.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bar {
    /// Where it begins, in seconds.
    pub low_seconds: f64,
    /// Where it ends; values that are equal to it lie in the next.
    pub high_seconds: f64,
    /// Values in it.
    pub count: u64,
}

/// A distribution: the buckets that hold something, ascending.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Buckets(Vec<(Bucket, u32)>);

impl Buckets {
    /// The filled buckets of a distribution.
    pub fn of(all: &impl histogram::Distribution) -> Buckets {
        Buckets(all.filled().collect())
    }

    /// From counts by bucket, ascending.
    pub fn from_counts(counts: Vec<(Bucket, u32)>) -> Buckets {
        debug_assert!(counts.is_sorted_by_key(|&(bucket, _)| bucket), "buckets ascend");
        Buckets(counts)
    }

    /// What is in each filled bucket.
    pub fn bars(&self) -> impl Iterator<Item = Bar> + '_ {
        self.0.iter().map(|&(bucket, count)| Bar {
            low_seconds: lower_bound(bucket) as f64 / 1e9,
            high_seconds: upper_bound(bucket) as f64 / 1e9,
            count: u64::from(count),
        })
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|&(_, count)| u64::from(count)).sum()
    }

    /// Quantiles 0.5, 0.9 and 0.99 in seconds; `None` if nothing was counted.
    pub fn quantiles(&self) -> Option<Quantiles> {
        if self.0.is_empty() {
            return None;
        }
        let all = Sparse::from_counts(self.0.clone());
        Some(all.quantiles([0.5, 0.9, 0.99]).map(|nanos| nanos / 1e9))
    }
}

/// What is normal for an operation and what was measured since, of self-time.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Distribution {
    /// Learned.
    pub baseline: Buckets,
    /// Since the incident began; without one, over the recent window.
    pub recent: Buckets,
    /// What a span must exceed to be flagged, in seconds; `None` while learning.
    pub threshold_seconds: Option<f64>,
}

/// The distribution behind one suspect: that of the operation it is suspected for.
#[derive(Clone, PartialEq, Debug)]
pub struct SuspectDistribution {
    /// The suspect.
    pub service: Arc<str>,
    /// What `service` names.
    pub kind: SuspectKind,
    /// What was measured.
    pub distribution: Distribution,
}

/// A service or dependency that took part in an incident's requests.
#[derive(Clone, PartialEq, Debug)]
pub struct GraphService {
    /// Its name.
    pub service: Arc<str>,
    /// Whether it sends spans.
    pub kind: SuspectKind,
    /// Requests enter here.
    pub is_entry: bool,
    /// Calls that it served.
    pub calls: u64,
    /// Seconds of its own critical-path time above expectation; negative if it got faster.
    pub excess_seconds: f64,
}

/// Calls from one service to another.
#[derive(Clone, PartialEq, Debug)]
pub struct GraphLink {
    /// Who calls: a position in [`Graph::services`].
    pub from: usize,
    /// Who is called: a position in [`Graph::services`].
    pub to: usize,
    /// How often.
    pub calls: u64,
    /// Seconds above expectation that came up through these calls: of the way itself, the callee and
    /// all that it waited for.
    pub excess_seconds: f64,
}

/// Who called whom in an incident's requests, and where the excess came from.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Graph {
    /// By name.
    pub services: Vec<GraphService>,
    /// By position of the caller and the callee.
    pub links: Vec<GraphLink>,
    /// Services that were left out, because there were too many.
    pub left_out: usize,
}

/// What an incident rests on.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Evidence {
    /// One for each suspect, in the order of their rank.
    pub distributions: Vec<SuspectDistribution>,
    /// Over all requests since it began.
    pub graph: Graph,
}

/// What one suspect was charged with in one slice.
#[derive(Clone, PartialEq, Debug)]
pub struct Charge {
    /// The suspect.
    pub service: Arc<str>,
    /// What `service` names.
    pub kind: SuspectKind,
    /// Seconds above expectation put on it.
    pub seconds: f64,
}

/// One slice of event time.
#[derive(Clone, PartialEq, Debug)]
pub struct TimelineSlice {
    /// Its beginning.
    pub at: Timestamp,
    /// Its length.
    pub length: Nanos,
    /// Requests that ended in it.
    pub requests: u64,
    /// How long they took, all together, in seconds.
    pub request_seconds: f64,
    /// Seconds above expectation of those that belong to an open incident; zero without one.
    pub excess_seconds: f64,
    /// Who they were put on, by name. What is missing to `excess_seconds` was put on nobody.
    pub charges: Vec<Charge>,
}

/// What the learning of one operation has come to, and how the operation moved.
#[derive(Clone, PartialEq, Debug)]
pub struct OperationDetail {
    /// Self-times.
    pub distribution: Distribution,
    /// Slices learned.
    pub learned_slices: u64,
    /// Slices it takes.
    pub needed_slices: u64,
    /// Calls it takes.
    pub needed_calls: u64,
    /// Belongs to an open incident: nothing is learned for now.
    pub is_frozen: bool,
    /// What the baseline is made of, stretch by stretch, the oldest first.
    pub eras: Vec<Era>,
}

/// A stretch of the past, as the baseline remembers it.
#[derive(Clone, PartialEq, Debug)]
pub struct Era {
    /// When it began.
    pub at: Timestamp,
    /// Calls in it.
    pub calls: u64,
    /// Quantiles 0.5, 0.9 and 0.99 of self-time, in seconds.
    pub quantiles: Quantiles,
}

/// A stretch of time within a trace, counted from the beginning of its entry; may be negative where a
/// span began earlier.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stretch {
    /// Seconds after the beginning of the entry.
    pub from_seconds: f64,
    /// Seconds after the beginning of the entry.
    pub to_seconds: f64,
}

impl Stretch {
    /// How long it is.
    pub fn seconds(&self) -> f64 {
        self.to_seconds - self.from_seconds
    }
}

/// A span of a kept trace, with what it cost.
#[derive(Clone, PartialEq, Debug)]
pub struct SpanDetail {
    /// Its id.
    pub id: SpanId,
    /// Position of the span it hangs from; `None` for roots, orphans and entries.
    pub parent: Option<usize>,
    /// Steps below the span it hangs from in the end.
    pub depth: usize,
    /// Its service.
    pub service: Arc<str>,
    /// Its name.
    pub operation: Arc<str>,
    /// Its kind.
    pub span_kind: SpanKind,
    /// What it says it called.
    pub peer: Option<Arc<str>>,
    /// A request begins here.
    pub is_entry: bool,
    /// Its status is ERROR.
    pub failed: bool,
    /// From beginning to end, corrected for clocks that disagree.
    pub stretch: Stretch,
    /// Seconds not covered by children.
    pub self_seconds: f64,
    /// The parts of it that the request waited for, ascending: they add up to its critical time.
    pub path: Vec<Stretch>,
    /// Attributes by which slow calls are told apart, by name.
    pub attributes: Vec<(Arc<str>, Arc<str>)>,
}

impl SpanDetail {
    /// Seconds that the request waited for it.
    pub fn critical_seconds(&self) -> f64 {
        self.path.iter().map(Stretch::seconds).sum()
    }
}

/// A trace taken apart.
#[derive(Clone, PartialEq, Debug)]
pub struct TraceDetail {
    /// Which one.
    pub trace: TraceId,
    /// When its entry began.
    pub start: Timestamp,
    /// How long its entry took, in seconds.
    pub seconds: f64,
    /// Position of its entry.
    pub entry: usize,
    /// Its spans, parents before children, depth first by beginning.
    pub spans: Vec<SpanDetail>,
    /// Spans moved because their clock disagreed with their parent's.
    pub skewed: usize,
}

/// Why a trace was kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// It is as long as requests of its entry normally are.
    Typical,
    /// It exceeds what is normal by more than the others of its incident.
    Slowest,
    /// It is one of the last of its incident.
    Newest,
    /// It came by a moment ago.
    Recent,
}

impl Role {
    /// As it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Typical => "typical",
            Role::Slowest => "slowest",
            Role::Newest => "newest",
            Role::Recent => "recent",
        }
    }
}

/// One kept trace, without its spans.
#[derive(Clone, PartialEq, Debug)]
pub struct KeptTrace {
    /// Which one.
    pub trace: TraceId,
    /// Why.
    pub role: Role,
    /// The incident it was kept for.
    pub incident: Option<u64>,
    /// Service of its entry.
    pub service: Arc<str>,
    /// Name of its entry.
    pub operation: Arc<str>,
    /// Kind of its entry.
    pub span_kind: SpanKind,
    /// When its entry ended.
    pub end: Timestamp,
    /// How long its entry took, in seconds.
    pub seconds: f64,
    /// Its spans.
    pub spans: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::histogram::{Dense, bucket_of};

    #[test]
    fn bars_say_where_every_value_lies() {
        let mut dense = Dense::default();
        let bucket = bucket_of(Nanos::from_millis(4));
        dense.add(&Sparse::from_counts(vec![(bucket, 7), (bucket_of(Nanos::from_millis(40)), 2)]));
        let buckets = Buckets::of(&dense);
        let bars: Vec<Bar> = buckets.bars().collect();
        assert_eq!(buckets.count(), 9);
        assert_eq!((bars.len(), bars[0].count, bars[1].count), (2, 7, 2));
        assert!(bars[0].low_seconds <= 0.004 && 0.004 < bars[0].high_seconds);
        assert!(bars[1].low_seconds <= 0.040 && 0.040 < bars[1].high_seconds);
    }

    #[test]
    fn quantiles_are_those_of_the_whole_distribution() {
        let bucket = bucket_of(Nanos::from_millis(4));
        let buckets = Buckets::from_counts(vec![(bucket, 100)]);
        let [median, ..] = buckets.quantiles().expect("holds something");
        assert!((0.0039..0.0046).contains(&median), "{median}");
        assert_eq!(Buckets::default().quantiles(), None);
    }
}
