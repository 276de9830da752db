//! The order of arrival changes nothing: spans of one trace may come in any order, in any batches,
//! within the time that a trace is waited for.

use laghound::engine::verdict::{Board, Event, Incident};
use laghound::engine::{Engine, EngineParams};
use laghound::model::{Nanos, Timestamp};
use laghound::sim::{Batch, Fault, Random, Scenario, SimSpan, Traffic, shop};

use super::world::{SECOND, drive, slow};

/// Every span arrives within this after its end.
const LATEST: Nanos = Nanos::from_secs(4);

/// A trace is waited for longer than its spans can be apart, and a slice until all its traces have
/// closed, so that the only difference between two arrivals is their order.
fn patient() -> EngineParams {
    let mut params = EngineParams::default();
    params.assembly.grace = Nanos::from_secs(12);
    params.detection.settle = Nanos::from_secs(40);
    params
}

fn spans() -> Vec<SimSpan> {
    let scenario = Scenario::new(shop(), 330).traffic(Traffic::constant(6.0));
    let scenario = scenario.fault(Fault::new(slow("cart", 60), 200, 290));
    let traces = scenario.traces().expect("the fault names what there is");
    traces.flat_map(|trace| trace.spans).collect()
}

/// The spans with arrivals drawn from a seed, in batches of up to a few, each in an order of its own.
/// The first batch is empty and the same for all, so that all have their ticks at the same times.
fn delivered(spans: &[SimSpan], seed: u64) -> Vec<Batch> {
    let mut draw = Random::new(seed, 0);
    let mut arrivals: Vec<(Timestamp, u64, &SimSpan)> = spans
        .iter()
        .map(|span| {
            let delay = Nanos::from_secs_f64(LATEST.as_secs_f64() * draw.unit());
            (span.end + delay, draw.bits(), span)
        })
        .collect();
    arrivals.sort_unstable_by_key(|&(arrival, chance, _)| (arrival, chance));
    let first = spans.iter().map(|span| span.start).min().unwrap_or_default();
    let mut batches = vec![Batch { arrival: first, spans: Vec::new() }];
    while !arrivals.is_empty() {
        let size = (draw.between(1, 20) as usize).min(arrivals.len());
        let mut batch: Vec<_> = arrivals.drain(..size).collect();
        let arrival = batch.iter().map(|(arrival, ..)| *arrival).max().unwrap_or_default();
        batch.sort_unstable_by_key(|&(_, chance, _)| chance);
        let spans = batch.into_iter().map(|(.., span)| span.clone()).collect();
        batches.push(Batch { arrival, spans });
    }
    let last = spans.iter().map(|span| span.end).max().unwrap_or_default();
    batches.push(Batch { arrival: last + LATEST + SECOND, spans: Vec::new() });
    batches
}

fn told(batches: &[Batch]) -> (Vec<Event>, Vec<Incident>, Board) {
    let mut all = Vec::new();
    let engine = drive(batches, patient(), 2, |_: &Engine, _, events: &[Event]| {
        all.extend_from_slice(events);
    });
    let account = engine.account();
    assert_eq!(account.dropped_total(), 0, "all came in time");
    assert!(account.accepted > 10_000);
    (all, engine.incidents(), engine.board())
}

#[test]
fn spans_in_any_order_and_any_batches_give_the_same_verdicts_and_the_same_operations() {
    let spans = spans();
    let (one, two) = (delivered(&spans, 1), delivered(&spans, 2));
    assert_ne!(one, two, "the order is another");
    let (one, two) = (told(&one), told(&two));
    assert_eq!(one.1.len(), 1, "the fault was seen");
    assert_eq!(one, two);
}
