//! All shards and the judge in one thread: the engine of replay, compare and the tests.
//!
//! Live, the same parts run in threads of their own; that the result does not depend on the number of
//! shards is a law, tested on this.

use std::io::{Read, Write};
use std::sync::Arc;

use super::account::Account;
use super::judge::Judge;
use super::params::EngineParams;
use super::shard::Shard;
use super::snapshot::{self, LoadError, Restored};
use super::verdict::{Board, Event, Incident};
use crate::model::{Interner, SpanRecord, Timestamp, TraceId};

/// Spans in, verdicts out.
pub struct Engine {
    names: Arc<Interner>,
    shards: Vec<Shard>,
    judge: Judge,
    /// Spans on their way to each shard; kept for their memory.
    lanes: Vec<Vec<SpanRecord>>,
}

/// An engine with a memory.
pub struct RestoredEngine {
    /// The engine.
    pub engine: Engine,
    /// Whether the baselines were young enough to go on with.
    pub baselines: bool,
}

/// The shard, of `shards`, that owns a trace: the same in every process.
pub fn shard_of(trace: TraceId, shards: usize) -> usize {
    let id = trace.get();
    #[allow(clippy::cast_possible_truncation)] // mixing: all bits count, none is a quantity
    let folded = (id >> 64) as u64 ^ id as u64;
    // Fibonacci hashing: ids that count up are spread as well as random ones.
    let mixed = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(mixed).unwrap_or(0) % shards.max(1)
}

impl Engine {
    /// An engine that knows nothing. The names in the spans it is given are those of `names`.
    pub fn new(params: EngineParams, names: Arc<Interner>, shards: usize) -> Engine {
        let count = shards.max(1);
        Engine {
            names,
            shards: (0..count).map(|_| Shard::new(&params, count)).collect(),
            judge: Judge::new(params),
            lanes: vec![Vec::new(); count],
        }
    }

    /// The same, forgetting what is idle and giving its names back: whoever hands spans in asks the names
    /// of each anew in every [epoch](Interner::epoch).
    pub fn forgetting(mut self) -> Engine {
        self.judge = self.judge.forgetting();
        self
    }

    /// Writes everything that has been learned.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn save(&self, out: &mut dyn Write) -> std::io::Result<()> {
        snapshot::save(&self.judge, &self.names, out)
    }

    /// An engine that knows what was saved at `saved_at` and goes on at `now`.
    ///
    /// # Errors
    /// It is not what was saved, or of no use under these parameters.
    pub fn restore(
        params: EngineParams,
        names: Arc<Interner>,
        shards: usize,
        from: &mut dyn Read,
        saved_at: Timestamp,
        now: Timestamp,
    ) -> Result<RestoredEngine, LoadError> {
        let Restored { judge, baselines } = snapshot::load(params, &names, from, saved_at, now)?;
        let engine = Engine { judge, ..Engine::new(params, names, shards) };
        Ok(RestoredEngine { engine, baselines })
    }

    /// Takes in spans that arrive at `now`.
    pub fn ingest(&mut self, records: &[SpanRecord], now: Timestamp) {
        for &record in records {
            self.lanes[shard_of(record.trace, self.shards.len())].push(record);
        }
        for (shard, lane) in self.shards.iter_mut().zip(&mut self.lanes) {
            shard.ingest(lane, now, &self.names);
            lane.clear();
        }
    }

    /// Lets time pass: closes what is due, judges what is over.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Event> {
        for (index, shard) in self.shards.iter_mut().enumerate() {
            self.judge.merge(index, shard.tick(now, &self.names), &self.names);
        }
        let events = self.judge.advance(now, &self.names);
        if let Some(held) = self.judge.take_held() {
            self.names.give_back(&held);
        }
        events
    }

    /// The stream has ended: closes and judges everything.
    pub fn finish(&mut self, now: Timestamp) -> Vec<Event> {
        for (index, shard) in self.shards.iter_mut().enumerate() {
            self.judge.merge(index, shard.finish(&self.names), &self.names);
        }
        self.judge.finish(now, &self.names)
    }

    /// What can be read now.
    pub fn board(&self) -> Board {
        self.judge.board(&self.names)
    }

    /// All incidents, the oldest first.
    pub fn incidents(&self) -> Vec<Incident> {
        self.judge.incidents()
    }

    /// Bytes held for baselines and windows.
    pub fn bytes(&self) -> usize {
        self.judge.bytes()
    }

    /// What became of the spans so far.
    pub fn account(&self) -> Account {
        let mut account = Account::default();
        for shard in &self.shards {
            account.add(&shard.account());
        }
        account
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AttrSetId, InternLimits, Span, SpanId, SpanKind};

    #[test]
    fn what_is_beyond_the_limits_of_the_call_graph_is_counted_by_request() {
        let folded = |max_nodes: usize| {
            let names = Arc::new(Interner::new(InternLimits::default()));
            let params = EngineParams { max_nodes, ..EngineParams::default() };
            let mut engine = Engine::new(params, Arc::clone(&names), 1);
            let shop = names.service(b"shop");
            let span = |id: u64, parent: u64, name: &[u8]| Span {
                id: SpanId::new(id).unwrap(),
                parent: SpanId::new(parent),
                start: Timestamp::from_secs(1_000),
                end: Timestamp::from_secs(1_001),
                key: names.key(shop, name, SpanKind::Server),
                peer: None,
                attrs: AttrSetId::EMPTY,
                failed: false,
            };
            // Ten requests of one node each, ten of three.
            for number in 1..=20 {
                let trace = TraceId::new(number).unwrap();
                let spans = [span(1, 0, b"a"), span(2, 1, b"b"), span(3, 2, b"c")];
                let count = if number > 10 { 3 } else { 1 };
                let records = spans.map(|span| SpanRecord { trace, span });
                engine.ingest(&records[..count], Timestamp::from_secs(1_001));
            }
            engine.finish(Timestamp::from_secs(2_000));
            engine.judge.folded()
        };
        assert_eq!([folded(1), folded(100)], [10, 0]);
    }
}
