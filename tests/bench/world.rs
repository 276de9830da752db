//! The product's parts without the network: messages through the decoder into shards and judge, in
//! simulated time. For micro benches, instruction counts and long runs.

use std::sync::Arc;

use laghound::engine::judge::Judge;
use laghound::engine::shard::Shard;
use laghound::engine::{EngineParams, shard_of};
use laghound::model::{InternLimits, Interner, Nanos, SpanRecord, Timestamp};
use laghound::otlp::{AttributeRules, Batch, CostLimits, Decoder, Interest, count};

use crate::payload::{Shape, Stream};

/// Simulated time begins here.
pub(crate) const BEGIN: Timestamp = Timestamp(1_790_000_000_000_000_000);

/// The path of a message: walk, names, buffer, close, sums, verdict.
pub(crate) struct World {
    pub(crate) names: Arc<Interner>,
    pub(crate) decoder: Decoder,
    pub(crate) shards: Vec<Shard>,
    pub(crate) judge: Judge,
    pub(crate) now: Timestamp,
    ticked: Timestamp,
    lanes: Vec<Vec<SpanRecord>>,
}

impl World {
    /// One that has seen nothing.
    pub(crate) fn new(params: EngineParams, shards: usize) -> World {
        let limits = InternLimits {
            operations: 400_000,
            operations_per_service: 100_000,
            ..InternLimits::default()
        };
        let names = Arc::new(Interner::new(limits));
        let rules = Arc::new(AttributeRules::new(&Interest::default(), &names));
        World {
            decoder: Decoder::new(Arc::clone(&names), rules),
            names,
            shards: (0..shards).map(|_| Shard::new(&params, shards)).collect(),
            judge: Judge::new(params),
            now: BEGIN,
            ticked: BEGIN,
            lanes: vec![Vec::new(); shards],
        }
    }

    /// A message arrives `after` the one before; once a second everybody's tick.
    pub(crate) fn take(&mut self, message: &[u8], after: Nanos) {
        self.now = self.now + after;
        let batch = decode(&mut self.decoder, message);
        for &record in &batch.spans {
            self.lanes[shard_of(record.trace, self.shards.len())].push(record);
        }
        for (shard, lane) in self.shards.iter_mut().zip(&mut self.lanes) {
            shard.ingest(lane, self.now, &self.names);
            lane.clear();
        }
        if self.now >= self.ticked + Nanos::from_secs(1) {
            self.tick();
        }
    }

    /// Shards hand over, the judge judges what is due.
    pub(crate) fn tick(&mut self) {
        self.ticked = self.now;
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let delta = shard.tick(self.now, &self.names);
            self.judge.merge(index, delta, &self.names);
        }
        self.judge.advance(self.now, &self.names);
    }

    /// So many messages of a stream, at a rate of spans a second.
    pub(crate) fn run(&mut self, stream: &mut Stream, messages: usize, shape: Shape, rate: f64) {
        let after = Nanos::from_secs_f64(shape.batch as f64 / rate);
        for _ in 0..messages {
            let request = stream.next_request((self.now + after).0);
            self.take(&request.message, after);
        }
    }
}

/// The spans of a message, counted first as in life.
pub(crate) fn decode(decoder: &mut Decoder, message: &[u8]) -> Batch {
    let limits = CostLimits::default();
    let checked = count(message, &limits).expect("the stream makes valid messages");
    let mut batch = Batch::default();
    decoder.protobuf(&checked, &mut batch).expect("the stream makes valid messages");
    batch
}
