//! Puts spans back together into traces, whatever order and batches they come in.
//!
//! A trace closes when its root is there and it has been quiet for a short grace, or at an idle or
//! absolute deadline, or when room is needed. What closed is remembered for a while, so that a late
//! span is known for one. All time here is arrival time. This file knows nothing of trees.

use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::RandomState;

use super::account::{CloseReason, DropReason};
use super::params::AssemblyParams;
use crate::model::{Nanos, Span, SpanRecord, Timestamp, TraceId};

/// Deadlines are kept in steps of this; a trace closes at most this much after its deadline.
const STEP: Nanos = Nanos::from_millis(250);

/// A trace that is done.
pub struct ClosedTrace {
    /// Which one.
    pub trace: TraceId,
    /// Its spans, in order of arrival.
    pub spans: Vec<Span>,
    /// Why it closed.
    pub reason: CloseReason,
}

/// The open traces of one shard.
pub struct Assembler {
    params: AssemblyParams,
    open: HashMap<TraceId, OpenTrace, RandomState>,
    /// Trace ids by the step in which they may be due. An open trace knows where it is filed; where
    /// else it is found it has been filed anew since.
    deadlines: BTreeMap<u64, Vec<TraceId>>,
    closed: Memory,
    spans: usize,
    /// Emptied span lists, kept for the next traces.
    spare: Vec<Vec<Span>>,
}

struct OpenTrace {
    spans: Vec<Span>,
    first_arrival: Timestamp,
    last_arrival: Timestamp,
    has_root: bool,
    filed: u64,
}

impl Assembler {
    /// Lists of spans kept for reuse; more would only hold memory after a peak.
    const MAX_SPARE: usize = 1024;

    /// An empty one. The limits are those of this shard.
    pub fn new(params: AssemblyParams) -> Assembler {
        Assembler {
            closed: Memory::new(params.max_traces.saturating_mul(2)),
            params,
            open: HashMap::default(),
            deadlines: BTreeMap::new(),
            spans: 0,
            spare: Vec::new(),
        }
    }

    /// Takes a span in, or says why not.
    pub fn insert(&mut self, record: SpanRecord, now: Timestamp) -> Result<(), DropReason> {
        let SpanRecord { trace, span } = record;
        let is_root = span.parent.is_none();
        if let Some(open) = self.open.get_mut(&trace) {
            if open.spans.len() >= self.params.max_spans_per_trace {
                return Err(DropReason::TraceTooLarge);
            }
            open.spans.push(span);
            open.last_arrival = open.last_arrival.max(now);
            if is_root && !open.has_root {
                // The only event that brings a deadline forward; others are found out when due.
                open.has_root = true;
                file(&mut self.deadlines, &self.params, trace, open);
            }
        } else {
            if self.closed.contains(trace) {
                return Err(DropReason::Late);
            }
            let mut spans = self.spare.pop().unwrap_or_default();
            spans.push(span);
            let mut open = OpenTrace {
                spans,
                first_arrival: now,
                last_arrival: now,
                has_root: is_root,
                filed: 0,
            };
            file(&mut self.deadlines, &self.params, trace, &mut open);
            self.open.insert(trace, open);
        }
        self.spans += 1;
        Ok(())
    }

    /// The next trace that is due.
    pub fn next_closed(&mut self, now: Timestamp) -> Option<ClosedTrace> {
        while let Some((&step, _)) = self.deadlines.first_key_value() {
            if step > now.0 / STEP.0 {
                return None;
            }
            let Some(trace) = self.unfile(step) else { continue };
            let open = self.open.get_mut(&trace)?;
            if open.deadline(&self.params) <= now {
                return self.close(trace, |open, params| due_reason(open, params, now));
            }
            file(&mut self.deadlines, &self.params, trace, open);
        }
        None
    }

    /// While there is more than the limits allow: the trace that was filed to close first.
    pub fn next_over_limit(&mut self) -> Option<ClosedTrace> {
        if self.open.len() <= self.params.max_traces && self.spans <= self.params.max_spans {
            return None;
        }
        self.close_first(CloseReason::Limit)
    }

    /// Any open trace, whatever its deadline: for the end of the stream.
    pub fn next_open(&mut self) -> Option<ClosedTrace> {
        self.close_first(CloseReason::Shutdown)
    }

    /// Gives back a list of spans for reuse.
    pub fn recycle(&mut self, mut spans: Vec<Span>) {
        if self.spare.len() < Assembler::MAX_SPARE {
            spans.clear();
            self.spare.push(spans);
        }
    }

    /// To be called now and then: forgets traces that closed long ago.
    pub fn forget(&mut self, now: Timestamp) {
        self.closed.rotate(now, self.params.remember);
    }

    /// Open traces.
    pub fn traces(&self) -> usize {
        self.open.len()
    }

    /// Spans of open traces.
    pub fn spans(&self) -> usize {
        self.spans
    }

    fn close_first(&mut self, reason: CloseReason) -> Option<ClosedTrace> {
        while let Some((&step, _)) = self.deadlines.first_key_value() {
            if let Some(trace) = self.unfile(step) {
                return self.close(trace, |_, _| reason);
            }
        }
        None
    }

    fn close(
        &mut self,
        trace: TraceId,
        reason: impl FnOnce(&OpenTrace, &AssemblyParams) -> CloseReason,
    ) -> Option<ClosedTrace> {
        let open = self.open.remove(&trace)?;
        self.spans -= open.spans.len();
        self.closed.insert(trace);
        let reason = reason(&open, &self.params);
        Some(ClosedTrace { trace, spans: open.spans, reason })
    }

    /// Takes one trace out of a step; `None` if what stood there has moved or closed.
    fn unfile(&mut self, step: u64) -> Option<TraceId> {
        let filed = self.deadlines.get_mut(&step)?;
        let trace = filed.pop();
        if filed.is_empty() {
            self.deadlines.remove(&step);
        }
        trace.filter(|trace| self.open.get(trace).is_some_and(|open| open.filed == step))
    }
}

impl OpenTrace {
    fn deadline(&self, params: &AssemblyParams) -> Timestamp {
        let quiet = if self.has_root { params.grace } else { params.idle };
        (self.last_arrival + quiet).min(self.first_arrival + params.max_age)
    }
}

fn file(
    deadlines: &mut BTreeMap<u64, Vec<TraceId>>,
    params: &AssemblyParams,
    trace: TraceId,
    open: &mut OpenTrace,
) {
    open.filed = open.deadline(params).0.div_ceil(STEP.0);
    deadlines.entry(open.filed).or_default().push(trace);
}

fn due_reason(open: &OpenTrace, params: &AssemblyParams, now: Timestamp) -> CloseReason {
    if open.has_root && now >= open.last_arrival + params.grace {
        CloseReason::Complete
    } else if now >= open.last_arrival + params.idle {
        CloseReason::Idle
    } else {
        CloseReason::MaxAge
    }
}

/// Recently closed traces, in two generations of bounded size.
struct Memory {
    recent: HashSet<TraceId, RandomState>,
    older: HashSet<TraceId, RandomState>,
    rotated: Option<Timestamp>,
    limit: usize,
}

impl Memory {
    fn new(limit: usize) -> Memory {
        Memory { recent: HashSet::default(), older: HashSet::default(), rotated: None, limit }
    }

    fn insert(&mut self, trace: TraceId) {
        if self.recent.len() >= self.limit {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(trace);
    }

    fn contains(&self, trace: TraceId) -> bool {
        self.recent.contains(&trace) || self.older.contains(&trace)
    }

    fn rotate(&mut self, now: Timestamp, remember: Nanos) {
        let since = *self.rotated.get_or_insert(now);
        if now.since(since) >= remember {
            self.older = std::mem::take(&mut self.recent);
            self.rotated = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AttrSetId, KeyId, SpanId};

    const SECOND: u64 = 1_000_000_000;

    fn record(trace: u128, id: u64, parent: u64) -> SpanRecord {
        let span = Span {
            id: SpanId::new(id).unwrap(),
            parent: SpanId::new(parent),
            start: Timestamp(1),
            end: Timestamp(2),
            key: KeyId(0),
            peer: None,
            attrs: AttrSetId::EMPTY,
            failed: false,
        };
        SpanRecord { trace: TraceId::new(trace).unwrap(), span }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * SECOND)
    }

    fn assembler() -> Assembler {
        Assembler::new(AssemblyParams {
            max_traces: 2,
            max_spans_per_trace: 3,
            ..AssemblyParams::default()
        })
    }

    #[test]
    fn a_rooted_trace_closes_after_the_grace_since_its_last_span() {
        let mut assembler = assembler();
        assembler.insert(record(1, 2, 1), at(0)).unwrap();
        assembler.insert(record(1, 1, 0), at(3)).unwrap();
        assert!(assembler.next_closed(at(7)).is_none());
        let closed = assembler.next_closed(at(8)).unwrap();
        assert_eq!((closed.spans.len(), closed.reason), (2, CloseReason::Complete));
        assert_eq!((assembler.traces(), assembler.spans()), (0, 0));
    }

    #[test]
    fn a_rootless_trace_waits_for_the_idle_deadline() {
        let mut assembler = assembler();
        assembler.insert(record(1, 2, 1), at(0)).unwrap();
        assert!(assembler.next_closed(at(29)).is_none());
        assert_eq!(assembler.next_closed(at(30)).unwrap().reason, CloseReason::Idle);
    }

    #[test]
    fn a_trace_that_never_goes_quiet_closes_at_its_age() {
        let mut assembler = Assembler::new(AssemblyParams::default());
        for second in 0..120 {
            assembler.insert(record(1, 2 + second, 1), at(second)).unwrap();
            assert!(assembler.next_closed(at(second)).is_none());
        }
        assert_eq!(assembler.next_closed(at(120)).unwrap().reason, CloseReason::MaxAge);
    }

    #[test]
    fn late_span_is_refused_until_the_trace_is_forgotten() {
        let mut assembler = assembler();
        assembler.forget(at(0));
        assembler.insert(record(1, 1, 0), at(0)).unwrap();
        assembler.next_closed(at(5)).unwrap();
        assert_eq!(assembler.insert(record(1, 2, 1), at(6)), Err(DropReason::Late));
        assembler.forget(at(300));
        assert_eq!(assembler.insert(record(1, 2, 1), at(301)), Err(DropReason::Late));
        assembler.forget(at(600));
        assert_eq!(assembler.insert(record(1, 2, 1), at(601)), Ok(()));
    }

    #[test]
    fn beyond_the_limits_the_oldest_trace_closes_and_large_ones_take_no_more() {
        let mut assembler = assembler();
        for trace in 1..=3 {
            let now = Timestamp(u64::try_from(trace).unwrap() * SECOND);
            assembler.insert(record(trace, 1, 0), now).unwrap();
        }
        let closed = assembler.next_over_limit().unwrap();
        assert_eq!((closed.trace.get(), closed.reason), (1, CloseReason::Limit));
        assert!(assembler.next_over_limit().is_none());
        assembler.insert(record(2, 2, 1), at(3)).unwrap();
        assembler.insert(record(2, 3, 1), at(3)).unwrap();
        assert_eq!(assembler.insert(record(2, 4, 1), at(3)), Err(DropReason::TraceTooLarge));
    }

    #[test]
    fn the_end_of_the_stream_closes_everything() {
        let mut assembler = assembler();
        assembler.insert(record(1, 1, 0), at(0)).unwrap();
        assembler.insert(record(2, 1, 0), at(0)).unwrap();
        assert_eq!(assembler.next_open().unwrap().reason, CloseReason::Shutdown);
        assert!(assembler.next_open().is_some() && assembler.next_open().is_none());
    }
}
