//! One shard: the owner of some traces, from their first span to the sums they leave behind.
//!
//! Spans come in by trace id, so a trace is all in one shard and nothing here is shared or locked.
//! The shard draws no conclusions; it hands mergeable sums to the judge at every tick.

use super::account::{Account, DropReason};
use super::aggregate::{Delta, SliceIndex};
use super::analyze::Analyzer;
use super::assemble::{Assembler, ClosedTrace};
use super::params::{AssemblyParams, DetectionParams, EngineParams};
use super::sampler::{Sampler, Samples};
use crate::model::{Interner, SpanRecord, Timestamp};

/// Traces in, sums out.
pub struct Shard {
    assembly: AssemblyParams,
    detection: DetectionParams,
    assembler: Assembler,
    work: Work,
    /// The time of the last tick: what is too old is measured from it.
    ticked: Option<Timestamp>,
    /// The epoch of the names in which the numbers of nodes and paths began.
    epoch: u32,
}

/// What traces become once they are closed.
struct Work {
    analyzer: Analyzer,
    account: Account,
    /// Sets traces aside for people to look at, if anybody may.
    sampler: Option<Sampler>,
}

impl Shard {
    /// An empty shard, one of `shards`, that owns its part of the limits.
    pub fn new(params: &EngineParams, shards: usize) -> Shard {
        let share = |limit: usize| limit.div_ceil(shards.max(1));
        let assembly = AssemblyParams {
            max_traces: share(params.assembly.max_traces),
            max_spans: share(params.assembly.max_spans),
            ..params.assembly
        };
        Shard {
            assembly,
            detection: params.detection,
            assembler: Assembler::new(assembly),
            work: Work {
                analyzer: Analyzer::new(params.max_nodes, params.max_paths, params.detection.slice),
                account: Account::default(),
                sampler: None,
            },
            ticked: None,
            epoch: 0,
        }
    }

    /// The same, setting traces aside for [`Shard::take_samples`].
    pub fn sampling(mut self) -> Shard {
        self.work.sampler = Some(Sampler::default());
        self
    }

    /// Traces set aside since this was last asked.
    pub fn take_samples(&mut self) -> Samples {
        self.work.sampler.as_mut().map(Sampler::take).unwrap_or_default()
    }

    /// Takes spans in. `now` is the time of their arrival.
    pub fn ingest(&mut self, records: &[SpanRecord], now: Timestamp, names: &Interner) {
        self.work.account.accepted += records.len() as u64;
        let Shard { assembly, assembler, work, ticked, .. } = self;
        let refuse = |record: &SpanRecord| refused(record, assembly, now, *ticked);
        assembler.insert_all(records, now, refuse, |reason| work.account.drop_spans(reason, 1));
        // Closing makes room at once where a limit was passed.
        while let Some(closed) = self.assembler.next_over_limit() {
            self.work.analyze(&closed, names);
        }
    }

    /// Closes what is due at `now`, one trace after the other until it comes to so many spans: for whoever
    /// has other things to do than to wait for the next tick to close all at once.
    pub fn close_some(&mut self, now: Timestamp, spans: usize, names: &Interner) {
        let mut closed_spans = 0;
        while closed_spans < spans
            && let Some(closed) = self.assembler.next_closed(now)
        {
            closed_spans += closed.spans.len();
            self.work.analyze(&closed, names);
        }
    }

    /// Closes what is due at `now` and hands over the sums that the judge asks for by then. What is of
    /// slices not settled yet stays: most of it can still be added up, and the judge would only keep it.
    /// In a new epoch of the names everything goes, so that the numbers can begin anew.
    pub fn tick(&mut self, now: Timestamp, names: &Interner) -> Delta {
        while let Some(closed) = self.assembler.next_closed(now) {
            self.work.analyze(&closed, names);
        }
        self.assembler.forget(now);
        self.ticked = self.ticked.max(Some(now));
        let epoch = names.epoch();
        if std::mem::replace(&mut self.epoch, epoch) == epoch {
            return self.work.take_delta(Some(self.detection.settled_before(now)));
        }
        let delta = self.work.take_delta(None);
        self.work.analyzer.renumber();
        Delta { is_last: true, ..delta }
    }

    /// Closes everything: the stream has ended.
    pub fn finish(&mut self, names: &Interner) -> Delta {
        while let Some(closed) = self.assembler.next_open() {
            self.work.analyze(&closed, names);
        }
        self.work.take_delta(None)
    }

    /// No span that came before this waits in an open trace; `None` if none waits at all.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.assembler.oldest()
    }

    /// What became of the spans so far.
    pub fn account(&self) -> Account {
        Account {
            pending_spans: self.assembler.spans() as u64,
            pending_traces: self.assembler.traces() as u64,
            ..self.work.account.clone()
        }
    }
}

/// Why a span that arrives at `now` is not worth looking for its trace.
fn refused(
    record: &SpanRecord,
    limits: &AssemblyParams,
    now: Timestamp,
    ticked: Option<Timestamp>,
) -> Option<DropReason> {
    let end = record.span.end;
    if ticked.is_some_and(|ticked| end + limits.max_span_age < ticked) {
        return Some(DropReason::TooOld);
    }
    if end > now + limits.max_span_ahead {
        return Some(DropReason::FromFuture);
    }
    let too_long = end.since(record.span.start) > limits.max_span_duration;
    too_long.then_some(DropReason::TooLong)
}

impl Work {
    fn analyze(&mut self, closed: &ClosedTrace<'_>, names: &Interner) {
        let ClosedTrace { trace, spans, reason } = *closed;
        let odd = self.analyzer.analyze(trace, spans, names);
        if let (Some(sampler), Some(entry)) = (&mut self.sampler, self.analyzer.entry()) {
            sampler.consider(trace, entry, spans);
        }
        self.account.close_trace(reason);
        self.account.drop_spans(DropReason::Duplicate, odd.duplicates);
        self.account.analyzed += spans.len() as u64 - odd.duplicates;
        self.account.skewed += odd.skewed;
    }

    fn take_delta(&mut self, end: Option<SliceIndex>) -> Delta {
        let (nodes, paths) = self.analyzer.take_definitions();
        let slices = self.analyzer.take_slices(end);
        Delta { nodes, paths, slices, is_last: false }
    }
}
