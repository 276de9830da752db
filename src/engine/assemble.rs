//! Puts spans back together into traces, whatever order and batches they come in.
//!
//! A trace closes when its root is there and it has been quiet for a short grace, or at an idle or
//! absolute deadline, or when room is needed. What closed is remembered for a while, so that a late
//! span is known for one. All time here is arrival time. This file knows nothing of trees.
//!
//! Two hundred thousand traces may be open, so nothing here looks at all of them: a span costs a
//! look-up, a trace three moves between lists, and memory comes and goes in chunks.

mod ages;
mod index;
mod packed;
mod slab;
mod timers;

use std::hint::black_box;

use super::account::{CloseReason, DropReason};
use super::params::AssemblyParams;
use crate::model::{Nanos, Span, SpanRecord, Timestamp, TraceId};
use ages::Ages;
use index::{Hashed, IdHasher, IdSet, Index};
use packed::{BLOCK, Block, Packed};
use slab::{NONE, Slab, Slot};
use timers::{Filed, HasPlace, Step, Timers};

/// Deadlines are kept in steps of this; a trace closes at most this much after its deadline.
const STEP: Nanos = Nanos::from_millis(250);

/// A trace that is done.
#[derive(Clone, Copy, Debug)]
pub struct ClosedTrace<'a> {
    /// Which one.
    pub trace: TraceId,
    /// Its spans, in order of arrival.
    pub spans: &'a [Span],
    /// Why it closed.
    pub reason: CloseReason,
}

/// The open traces of one shard.
pub struct Assembler {
    params: AssemblyParams,
    hasher: IdHasher,
    index: Index,
    traces: Slab<OpenTrace>,
    blocks: Slab<Block>,
    timers: Timers,
    ages: Ages,
    closed: Memory,
    spans: usize,
    /// The spans of the trace closed last.
    gathered: Vec<Span>,
}

/// A trace that is not done: a line of the processor's caches.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct OpenTrace {
    trace: TraceId,
    first_arrival: Timestamp,
    last_arrival: Timestamp,
    /// Its blocks: where the chain begins and ends.
    first: Slot,
    last: Slot,
    spans: u32,
    has_root: bool,
    place: Filed,
}

/// What has become of a trace so far.
#[derive(Clone, Copy)]
enum Whereabouts {
    New,
    Open(Slot),
    Closed,
}

impl HasPlace for OpenTrace {
    fn place(&mut self) -> &mut Filed {
        &mut self.place
    }
}

impl Assembler {
    /// An empty one. The limits are those of this shard.
    pub fn new(params: AssemblyParams) -> Assembler {
        let longest = params.grace.max(params.idle).max(params.max_age);
        let horizon = usize::try_from(longest.0.div_ceil(STEP.0)).unwrap_or(usize::MAX);
        Assembler {
            closed: Memory::new(params.max_traces.saturating_mul(2)),
            ages: Ages::new(params.max_age),
            params,
            hasher: IdHasher::default(),
            index: Index::new(),
            traces: Slab::new(),
            blocks: Slab::new(),
            timers: Timers::new(horizon),
            spans: 0,
            gathered: Vec::new(),
        }
    }

    /// Takes spans in but those that `refuse` has a reason against, and says of each that was not taken
    /// why not. Of many open traces hardly one is in the processor's caches, and each step to the place of
    /// a span needs what the step before has read; so several spans take each step side by side: then the
    /// waits for memory overlap.
    pub fn insert_all(
        &mut self,
        records: &[SpanRecord],
        now: Timestamp,
        refuse: impl Fn(&SpanRecord) -> Option<DropReason>,
        mut dropped: impl FnMut(DropReason),
    ) {
        /// As many as a core can wait for at once.
        const GROUP: usize = 16;
        for group in records.chunks(GROUP) {
            let mut found = [(Hashed::default(), Whereabouts::New); GROUP];
            let found = &mut found[..group.len()];
            for ((hashed, _), record) in found.iter_mut().zip(group) {
                *hashed = self.hasher.hash(record.trace);
                self.index.ask_for(*hashed);
            }
            for (hashed, whereabouts) in found.iter_mut() {
                match self.index.find(*hashed, |_| true) {
                    // As far as the hash tells.
                    Some(slot) => {
                        *whereabouts = Whereabouts::Open(slot);
                        black_box(self.traces.get(slot).spans);
                    }
                    None => self.closed.ask_for(*hashed),
                }
            }
            for ((hashed, whereabouts), record) in found.iter_mut().zip(group) {
                match *whereabouts {
                    Whereabouts::Open(slot) if self.traces.get(slot).trace == record.trace => {
                        let OpenTrace { last, spans, .. } = *self.traces.get(slot);
                        self.blocks.get(last).ask_for(spans as usize % BLOCK);
                    }
                    _ => *whereabouts = self.whereabouts(*hashed, record.trace),
                }
            }
            for (&mut (hashed, whereabouts), record) in found.iter_mut().zip(group) {
                let taken = match (refuse(record), whereabouts) {
                    (Some(reason), _) => Err(reason),
                    (None, Whereabouts::Open(slot)) => self.add(slot, &record.span, now),
                    (None, Whereabouts::Closed) => Err(DropReason::Late),
                    // It may have been opened by another span of the group.
                    (None, Whereabouts::New) => match self.find(hashed, record.trace) {
                        Some(slot) => self.add(slot, &record.span, now),
                        None => {
                            self.open(hashed, record, now);
                            Ok(())
                        }
                    },
                };
                taken.unwrap_or_else(&mut dropped);
            }
        }
    }

    fn whereabouts(&self, hashed: Hashed, trace: TraceId) -> Whereabouts {
        match self.find(hashed, trace) {
            Some(slot) => Whereabouts::Open(slot),
            None if self.closed.contains(hashed) => Whereabouts::Closed,
            None => Whereabouts::New,
        }
    }

    #[inline]
    fn find(&self, hashed: Hashed, trace: TraceId) -> Option<Slot> {
        self.index.find(hashed, |slot| self.traces.get(slot).trace == trace)
    }

    /// The next trace that is due.
    pub fn next_closed(&mut self, now: Timestamp) -> Option<ClosedTrace<'_>> {
        let step = step_of(now);
        while let Some(slot) = self.timers.next_due(&mut self.traces, step) {
            let open = self.traces.get(slot);
            let deadline = open.deadline(&self.params);
            if deadline <= now {
                let reason = open.due_reason(&self.params, now);
                self.ask_for_next(open.place);
                return Some(self.close(slot, reason));
            }
            self.timers.unfile(&mut self.traces, slot);
            self.timers.file(&mut self.traces, slot, step_at(deadline), step);
        }
        None
    }

    /// Has memory bring what closing the next trace, and the one after it, will begin with.
    #[inline]
    fn ask_for_next(&self, place: Filed) {
        if place.after() == NONE {
            return;
        }
        let OpenTrace { trace, first, last, place, .. } = self.traces.get(place.after());
        for block in [*first, *last] {
            (0..BLOCK).for_each(|within| self.blocks.get(block).ask_for(within));
        }
        let hashed = self.hasher.hash(*trace);
        self.index.ask_for(hashed);
        self.closed.ask_for(hashed);
        if place.after() != NONE {
            black_box(self.traces.get(place.after()).spans);
        }
    }

    /// While there is more than the limits allow: the trace that was filed to close first.
    pub fn next_over_limit(&mut self) -> Option<ClosedTrace<'_>> {
        if self.traces.len() <= self.params.max_traces && self.spans <= self.params.max_spans {
            return None;
        }
        let slot = self.timers.next()?;
        Some(self.close(slot, CloseReason::Limit))
    }

    /// Any open trace, whatever its deadline: for the end of the stream.
    pub fn next_open(&mut self) -> Option<ClosedTrace<'_>> {
        let slot = self.timers.next()?;
        Some(self.close(slot, CloseReason::Shutdown))
    }

    /// To be called now and then: forgets traces that closed long ago.
    pub fn forget(&mut self, now: Timestamp) {
        self.closed.rotate(now, self.params.remember);
    }

    /// Open traces.
    pub fn traces(&self) -> usize {
        self.traces.len()
    }

    /// Spans of open traces.
    pub fn spans(&self) -> usize {
        self.spans
    }

    /// No open trace has a span that came before this; `None` if no trace is open.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.ages.oldest()
    }

    /// Bytes held: open traces, and what is remembered of closed ones.
    pub fn bytes(&self) -> usize {
        let open = self.traces.bytes() + self.blocks.bytes() + self.index.bytes();
        open + self.closed.bytes()
    }

    /// The first span of a trace.
    fn open(&mut self, hashed: Hashed, record: &SpanRecord, now: Timestamp) {
        let block = self.new_block(&record.span);
        let open = OpenTrace {
            trace: record.trace,
            first_arrival: now,
            last_arrival: now,
            first: block,
            last: block,
            spans: 1,
            has_root: record.span.parent.is_none(),
            place: Filed::NOWHERE,
        };
        let slot = self.traces.take(open);
        *self.traces.get_mut(slot) = open;
        self.index.insert(hashed, slot);
        self.ages.open(now);
        let deadline = step_at(open.deadline(&self.params));
        self.timers.file(&mut self.traces, slot, deadline, step_of(now));
        self.spans += 1;
    }

    /// Another span of a trace.
    fn add(&mut self, slot: Slot, span: &Span, now: Timestamp) -> Result<(), DropReason> {
        let open = self.traces.get_mut(slot);
        if open.spans as usize >= self.params.max_spans_per_trace {
            return Err(DropReason::TraceTooLarge);
        }
        let within = open.spans as usize % BLOCK;
        let last = open.last;
        open.spans += 1;
        open.last_arrival = open.last_arrival.max(now);
        let is_first_root = span.parent.is_none() && !open.has_root;
        if within > 0 {
            self.blocks.get_mut(last).spans[within] = Packed::new(span);
        } else {
            let block = self.new_block(span);
            self.blocks.get_mut(last).next = block;
            self.traces.get_mut(slot).last = block;
        }
        if is_first_root {
            // The only event that brings a deadline forward; others are found out when due.
            let open = self.traces.get_mut(slot);
            open.has_root = true;
            let deadline = step_at(open.deadline(&self.params));
            self.timers.unfile(&mut self.traces, slot);
            self.timers.file(&mut self.traces, slot, deadline, step_of(now));
        }
        self.spans += 1;
        Ok(())
    }

    fn new_block(&mut self, span: &Span) -> Slot {
        let slot = self.blocks.take(Block::EMPTY);
        let block = self.blocks.get_mut(slot);
        block.spans[0] = Packed::new(span);
        block.next = NONE;
        slot
    }

    fn close(&mut self, slot: Slot, reason: CloseReason) -> ClosedTrace<'_> {
        self.timers.unfile(&mut self.traces, slot);
        let OpenTrace { trace, first_arrival, first, spans, .. } = *self.traces.get(slot);
        self.traces.remove(slot);
        self.ages.close(first_arrival);
        let hashed = self.hasher.hash(trace);
        self.index.remove(hashed, slot);
        self.closed.insert(hashed);
        self.gathered.clear();
        let (mut left, mut at) = (spans as usize, first);
        while left > 0 {
            let Block { spans, next } = self.blocks.get(at);
            let here = left.min(BLOCK);
            self.gathered.extend(spans[..here].iter().filter_map(Packed::unpack));
            left -= here;
            let next = *next;
            self.blocks.remove(at);
            at = next;
        }
        debug_assert_eq!(self.gathered.len(), spans as usize, "the chain holds what was counted");
        self.spans -= self.gathered.len();
        ClosedTrace { trace, spans: &self.gathered, reason }
    }
}

impl OpenTrace {
    fn deadline(&self, params: &AssemblyParams) -> Timestamp {
        let quiet = if self.has_root { params.grace } else { params.idle };
        (self.last_arrival + quiet).min(self.first_arrival + params.max_age)
    }

    fn due_reason(&self, params: &AssemblyParams, now: Timestamp) -> CloseReason {
        if self.has_root && now >= self.last_arrival + params.grace {
            CloseReason::Complete
        } else if now >= self.last_arrival + params.idle {
            CloseReason::Idle
        } else {
            CloseReason::MaxAge
        }
    }
}

/// The step in which a deadline has passed.
fn step_at(deadline: Timestamp) -> Step {
    deadline.0.div_ceil(STEP.0)
}

/// The step at hand.
fn step_of(now: Timestamp) -> Step {
    now.0 / STEP.0
}

/// Recently closed traces, in two generations of bounded size.
struct Memory {
    recent: IdSet,
    older: IdSet,
    rotated: Option<Timestamp>,
    limit: usize,
}

impl Memory {
    fn new(limit: usize) -> Memory {
        Memory { recent: IdSet::new(), older: IdSet::new(), rotated: None, limit }
    }

    fn insert(&mut self, hashed: Hashed) {
        if self.recent.len() >= self.limit {
            self.next_generation();
        }
        self.recent.insert(hashed);
    }

    /// Has memory bring what looking for a trace begins with.
    #[inline]
    fn ask_for(&self, hashed: Hashed) {
        self.recent.ask_for(hashed);
        self.older.ask_for(hashed);
    }

    fn contains(&self, hashed: Hashed) -> bool {
        self.recent.contains(hashed) || self.older.contains(hashed)
    }

    fn rotate(&mut self, now: Timestamp, remember: Nanos) {
        let since = *self.rotated.get_or_insert(now);
        if now.since(since) >= remember {
            self.next_generation();
            self.rotated = Some(now);
        }
    }

    fn next_generation(&mut self) {
        self.older = std::mem::replace(&mut self.recent, IdSet::new());
    }

    fn bytes(&self) -> usize {
        self.recent.bytes() + self.older.bytes()
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

    fn insert(
        assembler: &mut Assembler,
        record: SpanRecord,
        now: Timestamp,
    ) -> Result<(), DropReason> {
        let mut result = Ok(());
        assembler.insert_all(&[record], now, |_| None, |reason| result = Err(reason));
        result
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
        insert(&mut assembler, record(1, 2, 1), at(0)).unwrap();
        insert(&mut assembler, record(1, 1, 0), at(3)).unwrap();
        assert!(assembler.next_closed(at(7)).is_none());
        let closed = assembler.next_closed(at(8)).unwrap();
        assert_eq!((closed.spans.len(), closed.reason), (2, CloseReason::Complete));
        assert_eq!((assembler.traces(), assembler.spans()), (0, 0));
    }

    #[test]
    fn a_rootless_trace_waits_for_the_idle_deadline() {
        let mut assembler = assembler();
        insert(&mut assembler, record(1, 2, 1), at(0)).unwrap();
        assert!(assembler.next_closed(at(29)).is_none());
        assert_eq!(assembler.next_closed(at(30)).unwrap().reason, CloseReason::Idle);
    }

    #[test]
    fn a_trace_that_never_goes_quiet_closes_at_its_age() {
        let mut assembler = Assembler::new(AssemblyParams::default());
        for second in 0..120 {
            insert(&mut assembler, record(1, 2 + second, 1), at(second)).unwrap();
            assert!(assembler.next_closed(at(second)).is_none());
        }
        assert_eq!(assembler.next_closed(at(120)).unwrap().reason, CloseReason::MaxAge);
    }

    #[test]
    fn late_span_is_refused_until_the_trace_is_forgotten() {
        let mut assembler = assembler();
        assembler.forget(at(0));
        insert(&mut assembler, record(1, 1, 0), at(0)).unwrap();
        assembler.next_closed(at(5)).unwrap();
        assert_eq!(insert(&mut assembler, record(1, 2, 1), at(6)), Err(DropReason::Late));
        assembler.forget(at(300));
        assert_eq!(insert(&mut assembler, record(1, 2, 1), at(301)), Err(DropReason::Late));
        assembler.forget(at(600));
        assert_eq!(insert(&mut assembler, record(1, 2, 1), at(601)), Ok(()));
    }

    #[test]
    fn beyond_the_limits_the_oldest_trace_closes_and_large_ones_take_no_more() {
        let mut assembler = assembler();
        for trace in 1..=3 {
            let now = Timestamp(u64::try_from(trace).unwrap() * SECOND);
            insert(&mut assembler, record(trace, 1, 0), now).unwrap();
        }
        let closed = assembler.next_over_limit().unwrap();
        assert_eq!((closed.trace.get(), closed.reason), (1, CloseReason::Limit));
        assert!(assembler.next_over_limit().is_none());
        insert(&mut assembler, record(2, 2, 1), at(3)).unwrap();
        insert(&mut assembler, record(2, 3, 1), at(3)).unwrap();
        assert_eq!(insert(&mut assembler, record(2, 4, 1), at(3)), Err(DropReason::TraceTooLarge));
    }

    #[test]
    fn a_clock_that_goes_back_by_hours_holds_up_nothing_that_comes_then() {
        let mut assembler = Assembler::new(AssemblyParams::default());
        insert(&mut assembler, record(1, 1, 0), at(7_200)).unwrap();
        assert!(assembler.next_closed(at(7_201)).is_none());
        insert(&mut assembler, record(2, 1, 0), at(100)).unwrap();
        insert(&mut assembler, record(1, 2, 1), at(100)).unwrap();
        assert!(assembler.next_closed(at(104)).is_none());
        assert_eq!(assembler.next_closed(at(105)).unwrap().trace.get(), 2);
        assert!(assembler.next_closed(at(7_204)).is_none());
        let closed = assembler.next_closed(at(7_205)).unwrap();
        assert_eq!((closed.spans.len(), closed.reason), (2, CloseReason::Complete));
    }

    #[test]
    fn a_clock_that_lags_by_a_second_delays_no_longer_than_that() {
        let mut assembler =
            Assembler::new(AssemblyParams { grace: Nanos::ZERO, ..AssemblyParams::default() });
        assert!(assembler.next_closed(at(10)).is_none());
        insert(&mut assembler, record(1, 1, 0), at(9)).unwrap();
        assert!(assembler.next_closed(at(9)).is_none());
        assert_eq!(assembler.next_closed(at(10)).unwrap().trace.get(), 1);
    }

    #[test]
    fn the_end_of_the_stream_closes_everything() {
        let mut assembler = assembler();
        insert(&mut assembler, record(1, 1, 0), at(0)).unwrap();
        insert(&mut assembler, record(2, 1, 0), at(0)).unwrap();
        assert_eq!(assembler.next_open().unwrap().reason, CloseReason::Shutdown);
        assert!(assembler.next_open().is_some() && assembler.next_open().is_none());
    }
}
