//! What a comparison says, as plain data with names spelled out.
//!
//! Everything that shows it reads this and nothing else of the room. All lists are in a fixed order.

use std::sync::Arc;

use crate::engine::evidence::Stretch;
use crate::engine::verdict::{Pattern, Reason, SuspectKind, Where};
use crate::model::TraceId;

/// What came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The second side is slower, and it can be said by whom.
    RootCause,
    /// They differ by no more than chance.
    NoDifference,
    /// The second side is faster.
    Faster,
    /// It cannot be decided; the warnings say why.
    Inconclusive,
}

impl Verdict {
    /// As it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::RootCause => "root_cause",
            Verdict::NoDifference => "no_difference",
            Verdict::Faster => "faster",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// One side as a whole.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Summary {
    /// The trace, if it is but one.
    pub trace_id: Option<TraceId>,
    /// Traces.
    pub traces: usize,
    /// How long the request took; of several the mean.
    pub duration_seconds: f64,
    /// Spans.
    pub spans: usize,
    /// Services, by name.
    pub services: Vec<Arc<str>>,
}

/// How somebody contributes to the difference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// It takes more time, in this way.
    Worse(Reason),
    /// It takes less.
    Improved,
}

impl Change {
    /// As it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Worse(reason) => reason.as_str(),
            Change::Improved => "improved",
        }
    }
}

/// A stretch of a span's own time, named by what happened before and after it.
#[derive(Clone, PartialEq, Debug)]
pub struct EventGap {
    /// An event, the start or end of a child, or `(span start)`.
    pub from: String,
    /// An event, the start or end of a child, or `(span end)`.
    pub to: String,
    /// Seconds in the baseline.
    pub baseline_seconds: f64,
    /// Seconds on the other side.
    pub spiked_seconds: f64,
}

impl EventGap {
    /// What stands for the beginning of a span.
    pub const START: &'static str = "(span start)";
    /// What stands for its end.
    pub const END: &'static str = "(span end)";

    /// Nothing is known to have happened in between.
    pub fn is_whole_span(&self) -> bool {
        self.from == EventGap::START && self.to == EventGap::END
    }
}

/// Somebody's part of the difference.
#[derive(Clone, PartialEq, Debug)]
pub struct Cause {
    /// 1 is the first.
    pub rank: usize,
    /// The service or dependency.
    pub service: Arc<str>,
    /// What `service` names.
    pub kind: SuspectKind,
    /// The operation that carries most of it.
    pub operation: Arc<str>,
    /// Share of the difference.
    pub share: f64,
    /// Seconds of the difference; negative if it improved.
    pub excess_seconds: f64,
    /// Seconds of the operation's own time in a call, in the baseline.
    pub baseline_self_seconds: f64,
    /// The same on the other side.
    pub spiked_self_seconds: f64,
    /// In which way.
    pub reason: Change,
    /// Where in the operation's own time the difference lies, the largest first.
    pub event_gaps: Vec<EventGap>,
    /// Of sets: most calls or a few.
    pub pattern: Option<Pattern>,
    /// Of sets: the attribute value that singles out the slow calls; of an edge its other end.
    pub where_: Option<Where>,
    /// Of sets: traces that show it.
    pub example_trace_ids: Vec<TraceId>,
}

/// Whether a span has a counterpart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// On both sides.
    Matched,
    /// On the second side only.
    Added,
    /// On the first side only.
    Removed,
}

impl Match {
    /// As it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Match::Matched => "matched",
            Match::Added => "added",
            Match::Removed => "removed",
        }
    }
}

/// A span, or an operation of a set, on one side.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Figures {
    /// Seconds after the request's start.
    pub offset_seconds: f64,
    /// Seconds it took.
    pub seconds: f64,
    /// Seconds of its own time.
    pub self_seconds: f64,
    /// Seconds of it on the critical path.
    pub critical_seconds: f64,
}

/// A span on both sides; of sets, an operation.
#[derive(Clone, PartialEq, Debug)]
pub struct SpanRow {
    /// Its service.
    pub service: Arc<str>,
    /// Its name, on the second side if it is there.
    pub operation: Arc<str>,
    /// How deep below the request's first span it lies.
    pub depth: usize,
    /// On the first side; all zero if it is not there.
    pub baseline: Figures,
    /// On the second side; all zero if it is not there.
    pub spiked: Figures,
    /// On which sides it is.
    pub match_: Match,
    /// Of one trace against many: it took longer than any of them.
    pub outside_normal: bool,
    /// The parts of it that the first side's request waited for, ascending; of sets, none.
    pub baseline_path: Vec<Stretch>,
    /// The same on the second side.
    pub spiked_path: Vec<Stretch>,
}

/// An entry operation of two sets.
#[derive(Clone, PartialEq, Debug)]
pub struct EntryRow {
    /// Its service.
    pub service: Arc<str>,
    /// Its name.
    pub operation: Arc<str>,
    /// Requests on the first side.
    pub baseline_traces: u64,
    /// Requests on the second side.
    pub spiked_traces: u64,
    /// Mean seconds of a request.
    pub baseline_seconds: f64,
    /// Mean seconds of a request.
    pub spiked_seconds: f64,
    /// Seconds by which a request of the second side took longer.
    pub excess_seconds: f64,
}

/// All of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    /// What came out.
    pub verdict: Verdict,
    /// The first side.
    pub baseline: Summary,
    /// The second side.
    pub spiked: Summary,
    /// Seconds by which the second side takes longer.
    pub delta_seconds: f64,
    /// The part of it put on nobody.
    pub unexplained_seconds: f64,
    /// Who it is put on: those that made it so first, by size.
    pub root_causes: Vec<Cause>,
    /// The spans of a pair in the order of the tree; the operations of sets.
    pub spans: Vec<SpanRow>,
    /// Of sets: the entry operations compared. `None` for a pair.
    pub entries: Option<Vec<EntryRow>>,
    /// What weakens the verdict.
    pub warnings: Vec<String>,
    /// What to look at, as far as the evidence goes.
    pub next_steps: Vec<String>,
}

impl Comparison {
    /// The first cause, if one is named.
    pub fn first(&self) -> Option<&Cause> {
        self.root_causes.first()
    }
}
