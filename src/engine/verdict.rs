//! What the engine says, as plain data with names spelled out: incidents, suspects, operations.
//!
//! Everything that publishes (metrics, reports, logs, API) reads these and nothing else of the
//! engine. All lists are in a fixed order: by rank or by name, never by number of interning.

use std::sync::Arc;

use super::evidence::{Evidence, TimelineSlice};
use crate::model::{Nanos, OVERFLOW, SpanKind, Timestamp, TraceId};

/// What sort of thing is suspected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SuspectKind {
    /// An instrumented service's own time.
    Service,
    /// Something that sends no spans: database, cache, broker, third party.
    Dependency,
    /// The time between a CLIENT span and its SERVER span.
    Edge,
}

/// In which way the suspect costs more than before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// Each call got slower.
    SelfTime,
    /// The time between callers' CLIENT and its SERVER spans grew.
    CallGap,
    /// More calls per parent call; put on the caller.
    CallCount,
    /// Calls that ran side by side run one after the other; put on the caller.
    LostParallelism,
    /// An operation without a baseline, of a service that got slower.
    NewOperation,
}

/// How many of the calls are slow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pattern {
    /// Most of them.
    Sustained,
    /// A few, by much.
    Intermittent,
}

impl SuspectKind {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            SuspectKind::Service => "service",
            SuspectKind::Dependency => "dependency",
            SuspectKind::Edge => "edge",
        }
    }
}

impl Reason {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::SelfTime => "self_time",
            Reason::CallGap => "call_gap",
            Reason::CallCount => "call_count",
            Reason::LostParallelism => "lost_parallelism",
            Reason::NewOperation => "new_operation",
        }
    }
}

impl Pattern {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Pattern::Sustained => "sustained",
            Pattern::Intermittent => "intermittent",
        }
    }
}

/// The attribute value that singles out the slow calls.
#[derive(Clone, PartialEq, Debug)]
pub struct Where {
    /// `k8s.pod.name`, or `from` / `to` for an edge.
    pub attribute: Arc<str>,
    /// `cart-2`.
    pub value: Arc<str>,
    /// Share of the suspect's excess that falls on this value, 0 to 1.
    pub share: f64,
}

/// One suspect of an incident.
#[derive(Clone, PartialEq, Debug)]
pub struct Suspect {
    /// 1 is the first.
    pub rank: usize,
    /// The service or dependency to page the owner of.
    pub service: Arc<str>,
    /// What `service` names.
    pub kind: SuspectKind,
    /// The operation that carries most of the excess.
    pub operation: Arc<str>,
    /// That operation's span kind.
    pub span_kind: SpanKind,
    /// Share of the incident's excess, 0 to 1.
    pub score: f64,
    /// Seconds of critical-path time above expectation over the incident's cohort.
    pub excess_seconds: f64,
    /// How it costs more.
    pub reason: Reason,
    /// How many calls are slow.
    pub pattern: Pattern,
    /// Where the slow calls are, if one attribute value stands out.
    pub where_: Option<Where>,
    /// Mean seconds of a call of `operation`, learned.
    pub baseline_seconds: f64,
    /// The same over the cohort.
    pub recent_seconds: f64,
    /// Calls of `operation` in the cohort.
    pub calls: u64,
    /// Traces that show it, the worst first; at most three.
    pub example_trace_ids: Vec<TraceId>,
}

/// One entry operation that got slower.
#[derive(Clone, PartialEq, Debug)]
pub struct EntryImpact {
    /// Its service.
    pub service: Arc<str>,
    /// Its name.
    pub operation: Arc<str>,
    /// Its kind.
    pub span_kind: SpanKind,
    /// Seconds above expectation, summed over the requests of the cohort.
    pub excess_seconds: f64,
    /// Mean seconds per request, learned.
    pub baseline_seconds: f64,
    /// Mean seconds per request over the cohort.
    pub recent_seconds: f64,
}

/// A service that is slow because it waits for the suspects.
#[derive(Clone, PartialEq, Debug)]
pub struct Impacted {
    /// Its name.
    pub service: Arc<str>,
    /// Seconds that it waited longer, summed over the cohort.
    pub excess_seconds: f64,
}

/// A stretch of time in which requests took longer than they should.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Incident {
    /// Counts from 1.
    pub id: u64,
    /// When the slowdown began, as far as the data tells (event time).
    pub start: Timestamp,
    /// When the verdict was first published (event time).
    pub detected: Timestamp,
    /// When it was over (event time); `None` while it lasts.
    pub end: Option<Timestamp>,
    /// Seconds above expectation over the cohort: what the suspects share.
    pub excess_seconds: f64,
    /// The part of `excess_seconds` put on nobody, 0 to 1.
    pub unexplained_share: f64,
    /// How likely it is that the first suspect is right, 0 to 1.
    pub confidence: f64,
    /// The entry operations that are slower, by excess.
    pub entries: Vec<EntryImpact>,
    /// Who made them slower, by rank.
    pub suspects: Vec<Suspect>,
    /// What that rests on.
    pub evidence: Arc<Evidence>,
    /// Who is slower only because of the suspects, by seconds; bounded.
    pub impacted: Vec<Impacted>,
}

/// What changed at a tick; each is logged once.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// An incident opened.
    Opened(Incident),
    /// Its first suspect changed; `was` names the former.
    SuspectChanged {
        /// The incident as it is now.
        incident: Incident,
        /// The former first suspect.
        was: Arc<str>,
    },
    /// It is over.
    Closed(Incident),
}

/// Quantiles 0.5, 0.9 and 0.99 of self-time, in seconds.
pub type Quantiles = [f64; 3];

/// The values of the `quantile` label that belong to [`Quantiles`].
pub const QUANTILES: [&str; 3] = ["0.5", "0.9", "0.99"];

/// One trace that shows a value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Exemplar {
    /// The trace.
    pub trace: TraceId,
    /// The span's self-time, or the excess, in seconds.
    pub seconds: f64,
    /// When the span ended.
    pub at: Timestamp,
}

/// One operation as it stands: its counters and what is normal for it.
#[derive(Clone, PartialEq, Debug)]
pub struct Operation {
    /// Its service.
    pub service: Arc<str>,
    /// Its span name.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: SpanKind,
    /// Spans judged.
    pub spans: u64,
    /// Spans whose self-time exceeded the threshold.
    pub flagged: u64,
    /// Learned quantiles; `None` while learning.
    pub baseline: Option<Quantiles>,
    /// Quantiles over the recent window; `None` if nothing came.
    pub recent: Option<Quantiles>,
    /// What a span must exceed to be flagged, in seconds; `None` while learning.
    pub threshold: Option<f64>,
    /// The latest flagged span.
    pub exemplar: Option<Exemplar>,
}

impl Operation {
    /// It stands for operations beyond the limits of names.
    pub fn is_overflow(&self) -> bool {
        &*self.name == OVERFLOW || &*self.service == OVERFLOW
    }
}

/// A counter of seconds put on a suspect: `laghound_excess_seconds_total`.
#[derive(Clone, PartialEq, Debug)]
pub struct ExcessRow {
    /// The suspect.
    pub service: Arc<str>,
    /// What sort of thing it is.
    pub kind: SuspectKind,
    /// The operation.
    pub operation: Arc<str>,
    /// Its kind.
    pub span_kind: SpanKind,
    /// How it costs more.
    pub reason: Reason,
    /// Seconds so far.
    pub seconds: f64,
    /// A trace that shows it.
    pub exemplar: Option<Exemplar>,
}

/// A counter of seconds that requests took too long: `laghound_entry_excess_seconds_total`.
#[derive(Clone, PartialEq, Debug)]
pub struct EntryExcessRow {
    /// The entry's service.
    pub service: Arc<str>,
    /// The entry operation.
    pub operation: Arc<str>,
    /// Its kind.
    pub span_kind: SpanKind,
    /// Seconds so far.
    pub seconds: f64,
}

/// Everything that can be read at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Board {
    /// Event time of the last slice judged.
    pub at: Timestamp,
    /// No verdict is possible yet: nothing has been learned.
    pub learning: bool,
    /// Open incidents, by id.
    pub open: Vec<Incident>,
    /// Closed incidents, the newest first; bounded.
    pub closed: Vec<Incident>,
    /// Operations by (service, name, kind); those idle for long are gone. What has not changed is
    /// shared with the board before.
    pub operations: Vec<Arc<Operation>>,
    /// Excess by suspect, by (service, kind, operation, span kind, reason).
    pub excess: Vec<ExcessRow>,
    /// Excess by entry, by (service, operation, kind).
    pub entry_excess: Vec<EntryExcessRow>,
    /// Seconds from the end of a span that showed a slowdown to the verdict, one per incident opened
    /// since the process started, oldest first; bounded.
    pub detection_delays: Vec<f64>,
    /// The last slices, the oldest first; bounded.
    pub timeline: Vec<Arc<TimelineSlice>>,
}

impl Incident {
    /// The same on a clock that is so much behind.
    pub fn set_back(&mut self, by: Nanos) {
        for time in [&mut self.start, &mut self.detected].into_iter().chain(&mut self.end) {
            *time = time.saturating_sub(by);
        }
    }
}

impl Event {
    /// The same on a clock that is so much behind.
    pub fn set_back(&mut self, by: Nanos) {
        let (Event::Opened(incident)
        | Event::SuspectChanged { incident, .. }
        | Event::Closed(incident)) = self;
        incident.set_back(by);
    }
}

impl Board {
    /// The same on a clock that is so much behind. When operations were last seen stays as it is: it is
    /// only compared.
    pub fn set_back(&mut self, by: Nanos) {
        if by == Nanos(0) {
            return;
        }
        self.at = self.at.saturating_sub(by);
        for slice in &mut self.timeline {
            let slice = Arc::make_mut(slice);
            slice.at = slice.at.saturating_sub(by);
        }
        self.open.iter_mut().chain(&mut self.closed).for_each(|incident| incident.set_back(by));
    }
}
