//! One shard: the owner of some traces, from their first span to the sums they leave behind.
//!
//! Spans come in by trace id, so a trace is all in one shard and nothing here is shared or locked.
//! The shard draws no conclusions; it hands mergeable sums to the judge at every tick.

use std::collections::BTreeMap;

use super::account::{Account, DropReason};
use super::aggregate::{Delta, SliceIndex, SliceTable};
use super::analyze::Analyzer;
use super::assemble::{Assembler, ClosedTrace};
use super::params::{AssemblyParams, EngineParams};
use super::sampler::{Sampler, Samples};
use crate::model::{Interner, Nanos, SpanRecord, Timestamp};

/// Traces in, sums out.
pub struct Shard {
    assembly: AssemblyParams,
    slice: Nanos,
    assembler: Assembler,
    analyzer: Analyzer,
    slices: BTreeMap<SliceIndex, SliceTable>,
    account: Account,
    /// Sets traces aside for people to look at, if anybody may.
    sampler: Option<Sampler>,
    /// The time of the last tick: what is too old is measured from it.
    ticked: Option<Timestamp>,
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
            slice: params.detection.slice,
            assembler: Assembler::new(assembly),
            analyzer: Analyzer::new(params.max_nodes, params.max_paths),
            slices: BTreeMap::new(),
            account: Account::default(),
            sampler: None,
            ticked: None,
        }
    }

    /// The same, setting traces aside for [`Shard::take_samples`].
    pub fn sampling(self) -> Shard {
        Shard { sampler: Some(Sampler::default()), ..self }
    }

    /// Traces set aside since this was last asked.
    pub fn take_samples(&mut self) -> Samples {
        self.sampler.as_mut().map(Sampler::take).unwrap_or_default()
    }

    /// Takes spans in. `now` is the time of their arrival.
    pub fn ingest(&mut self, records: &[SpanRecord], now: Timestamp, names: &Interner) {
        for &record in records {
            self.account.accepted += 1;
            if let Err(reason) = self.admit(record, now) {
                self.account.drop_spans(reason, 1);
            }
        }
        // Closing makes room at once where a limit was passed.
        while let Some(closed) = self.assembler.next_over_limit() {
            self.analyze(closed, names);
        }
    }

    /// Closes what is due at `now` and hands over the sums since the last tick.
    pub fn tick(&mut self, now: Timestamp, names: &Interner) -> Delta {
        while let Some(closed) = self.assembler.next_closed(now) {
            self.analyze(closed, names);
        }
        self.assembler.forget(now);
        self.ticked = self.ticked.max(Some(now));
        self.take_delta()
    }

    /// Closes everything: the stream has ended.
    pub fn finish(&mut self, names: &Interner) -> Delta {
        while let Some(closed) = self.assembler.next_open() {
            self.analyze(closed, names);
        }
        self.take_delta()
    }

    /// What became of the spans so far.
    pub fn account(&self) -> Account {
        Account {
            pending_spans: self.assembler.spans() as u64,
            pending_traces: self.assembler.traces() as u64,
            ..self.account.clone()
        }
    }

    fn admit(&mut self, record: SpanRecord, now: Timestamp) -> Result<(), DropReason> {
        let end = record.span.end;
        if self.ticked.is_some_and(|ticked| end + self.assembly.max_span_age < ticked) {
            return Err(DropReason::TooOld);
        }
        if end > now + self.assembly.max_span_ahead {
            return Err(DropReason::FromFuture);
        }
        if end.since(record.span.start) > self.assembly.max_span_duration {
            return Err(DropReason::TooLong);
        }
        self.assembler.insert(record, now)
    }

    fn analyze(&mut self, closed: ClosedTrace, names: &Interner) {
        let ClosedTrace { trace, spans, reason } = closed;
        let slices = &mut self.slices;
        let odd = self.analyzer.analyze(trace, &spans, names, slices, self.slice);
        if let (Some(sampler), Some(entry)) = (&mut self.sampler, self.analyzer.entry()) {
            sampler.consider(trace, entry, &spans);
        }
        self.account.close_trace(reason);
        self.account.drop_spans(DropReason::Duplicate, odd.duplicates);
        self.account.analyzed += spans.len() as u64 - odd.duplicates;
        self.account.skewed += odd.skewed;
        self.assembler.recycle(spans);
    }

    fn take_delta(&mut self) -> Delta {
        let slices = std::mem::take(&mut self.slices);
        let (nodes, paths) = self.analyzer.take_definitions();
        let slices = slices.into_iter().map(|(index, table)| (index, table.finish())).collect();
        Delta { nodes, paths, slices }
    }
}
