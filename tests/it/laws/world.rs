//! What the laws are tried on: simulated traffic, and hand-made spans for what no simulation sends.

use std::sync::Arc;

use laghound::engine::verdict::{Board, Event};
use laghound::engine::{Engine, EngineParams};
use laghound::model::{
    AttrSetId, InternCache, InternLimits, Interner, Nanos, Span, SpanId, SpanKind, SpanRecord,
    Timestamp, TraceId,
};
use laghound::sim::{Batch, Scenario, Slowdown, What, to_records};

pub(crate) const SECOND: Nanos = Nanos::from_secs(1);

pub(crate) fn names() -> Arc<Interner> {
    Arc::new(Interner::new(InternLimits::default()))
}

pub(crate) fn batches(scenario: &Scenario) -> Vec<Batch> {
    scenario.batches().expect("the faults name what there is").collect()
}

/// A service whose every call takes this much longer.
pub(crate) fn slow(service: &str, add_ms: u64) -> What {
    What::SlowService { service: service.into(), by: Slowdown::ms(add_ms) }
}

/// Runs batches as they would come live, with a tick every second and a minute of silence after the
/// last; `watch` sees the engine after each tick, with its time and what it brought. Ends the stream.
pub(crate) fn drive(
    batches: &[Batch],
    params: EngineParams,
    shards: usize,
    mut watch: impl FnMut(&Engine, Timestamp, &[Event]),
) -> Engine {
    let names = names();
    let mut engine = Engine::new(params, Arc::clone(&names), shards);
    let mut cache = InternCache::default();
    let mut now = batches.first().map_or(Timestamp::default(), |batch| batch.arrival);
    for batch in batches {
        while now + SECOND <= batch.arrival {
            now = now + SECOND;
            let events = engine.tick(now);
            watch(&engine, now, &events);
        }
        engine.ingest(&to_records(&mut cache, &names, &batch.spans), batch.arrival);
    }
    for _ in 0..60 {
        now = now + SECOND;
        let events = engine.tick(now);
        watch(&engine, now, &events);
    }
    let events = engine.finish(now);
    watch(&engine, now, &events);
    engine
}

/// A span in the making: trace and span ids are small numbers, 0 is no parent.
#[derive(Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) trace: u128,
    pub(crate) id: u64,
    pub(crate) parent: u64,
    pub(crate) service: &'a str,
    pub(crate) name: &'a str,
    pub(crate) kind: SpanKind,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
}

impl Draft<'_> {
    pub(crate) fn record(&self, names: &Interner) -> SpanRecord {
        let service = names.service(self.service.as_bytes());
        let span = Span {
            id: SpanId::new(self.id).expect("drafts are numbered from 1"),
            parent: SpanId::new(self.parent),
            start: self.start,
            end: self.end,
            key: names.key(service, self.name.as_bytes(), self.kind),
            peer: None,
            attrs: AttrSetId::EMPTY,
            failed: false,
        };
        SpanRecord { trace: TraceId::new(self.trace).expect("drafts are numbered from 1"), span }
    }
}

/// A trace of one span, numbered by its end: what a service without callees sends for a request.
pub(crate) fn request(names: &Interner, end: Timestamp, took: Nanos) -> SpanRecord {
    let draft = Draft {
        trace: u128::from(end.0) + 1,
        id: 1,
        parent: 0,
        service: "cart",
        name: "GET /cart",
        kind: SpanKind::Server,
        start: end.saturating_sub(took),
        end,
    };
    draft.record(names)
}

/// No number of a board is infinite or none at all: JSON and Prometheus could not say it.
pub(crate) fn is_finite(board: &Board) -> bool {
    let incidents = board.open.iter().chain(&board.closed);
    let mut of_incidents = incidents.flat_map(|incident| {
        let entries = incident
            .entries
            .iter()
            .flat_map(|entry| [entry.excess_seconds, entry.baseline_seconds, entry.recent_seconds]);
        let suspects = incident.suspects.iter().flat_map(|suspect| {
            [
                suspect.score,
                suspect.excess_seconds,
                suspect.baseline_seconds,
                suspect.recent_seconds,
            ]
        });
        let own = [incident.excess_seconds, incident.unexplained_share];
        own.into_iter().chain(entries).chain(suspects)
    });
    let mut of_operations = board.operations.iter().flat_map(|operation| {
        let quantiles = operation.baseline.into_iter().chain(operation.recent).flatten();
        quantiles.chain(operation.threshold)
    });
    of_incidents.all(f64::is_finite)
        && of_operations.all(f64::is_finite)
        && board.excess.iter().all(|row| row.seconds.is_finite())
        && board.entry_excess.iter().all(|row| row.seconds.is_finite())
        && board.detection_delays.iter().all(|delay| delay.is_finite())
}
