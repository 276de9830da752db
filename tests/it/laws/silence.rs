//! Months of little traffic, decades of none, and clocks that begin in 1970: nothing grows, nothing
//! is counted out slice by slice, and what comes afterwards is judged as if nothing had been.

use std::sync::Arc;

use laghound::engine::judge::Judge;
use laghound::engine::shard::Shard;
use laghound::engine::verdict::Operation;
use laghound::engine::{Engine, EngineParams};
use laghound::model::{InternCache, Interner, Nanos, SpanRecord, Timestamp};
use laghound::sim::{Batch, Fault, Scenario, Traffic, shop, to_records};

use super::world::{SECOND, batches, drive, is_finite, names, request, slow};

const START: Timestamp = Timestamp::from_secs(1_790_000_000);
const HOUR: Nanos = Nanos::from_secs(3600);
const FIFTY_YEARS: Nanos = Nanos::from_secs(50 * 365 * 86_400);
const TEN_MS: Nanos = Nanos::from_millis(10);

/// A shard and a judge, for the number of slices judged, which is what silence must not cost.
struct Pair {
    names: Arc<Interner>,
    shard: Shard,
    judge: Judge,
}

impl Pair {
    fn new() -> Pair {
        let params = EngineParams::default();
        Pair { names: names(), shard: Shard::new(&params, 1), judge: Judge::new(params) }
    }

    fn ingest(&mut self, span: SpanRecord, now: Timestamp) {
        self.shard.ingest(&[span], now, &self.names);
    }

    fn tick(&mut self, now: Timestamp) {
        self.judge.merge(0, self.shard.tick(now, &self.names), &self.names);
        assert_eq!(self.judge.advance(now, &self.names), []);
    }

    fn finish(&mut self, now: Timestamp) {
        self.judge.merge(0, self.shard.finish(&self.names), &self.names);
        assert_eq!(self.judge.finish(now, &self.names), []);
    }

    /// Spans counted under the only operation there is.
    fn counted(&self) -> u64 {
        self.judge.board(&self.names).operations.iter().map(|operation| operation.spans).sum()
    }
}

/// Slices that may be judged without data: the longest window and the quiet end of an incident.
fn most_empty_slices() -> u64 {
    let detection = EngineParams::default().detection;
    let [.., longest] = detection.windows;
    longest + u64::from(detection.close_after)
}

#[test]
fn fifty_years_without_a_span_cost_no_more_than_a_few_slices() {
    let mut pair = Pair::new();
    pair.ingest(request(&pair.names, START, TEN_MS), START);
    pair.tick(START + Nanos::from_secs(20));
    let before = pair.judge.ticks();
    pair.tick(START + FIFTY_YEARS);
    assert!(pair.judge.ticks() - before <= most_empty_slices());
    let later = START + FIFTY_YEARS + HOUR;
    pair.ingest(request(&pair.names, later, TEN_MS), later);
    pair.tick(later + Nanos::from_secs(20));
    assert!(pair.judge.ticks() - before <= 2 * most_empty_slices());
    assert_eq!(pair.counted(), 2);
}

#[test]
fn a_span_of_1970_before_those_of_today_holds_nothing_up() {
    let mut pair = Pair::new();
    pair.ingest(request(&pair.names, Timestamp(0), Nanos::ZERO), START);
    pair.ingest(request(&pair.names, Timestamp(1), Nanos(1)), START);
    for slice in 1..=30 {
        let now = START + Nanos::from_secs(5 * slice);
        pair.ingest(request(&pair.names, now, TEN_MS), now);
        pair.tick(now);
    }
    pair.finish(START + Nanos::from_secs(150));
    assert!(pair.judge.ticks() <= 31 + most_empty_slices(), "{}", pair.judge.ticks());
    assert_eq!(pair.counted(), 32);
}

/// A start of zero is a clock that was never set, or a field that was never filled in. Nine such
/// durations are more nanoseconds than 64 bits hold, and a slice may hold hundreds.
#[test]
fn durations_of_decades_add_up_without_end_and_without_a_crash() {
    let names = names();
    let mut params = EngineParams::default();
    params.assembly.max_span_duration = Nanos(u64::MAX);
    let mut engine = Engine::new(params, Arc::clone(&names), 2);
    for tenth in 0..1_800u64 {
        let now = START + Nanos::from_millis(100 * tenth);
        let took = if tenth % 3 != 0 { Nanos(u64::MAX) } else { TEN_MS };
        engine.ingest(&[request(&names, now, took)], now);
        engine.tick(now);
        assert!(engine.account().balances());
    }
    engine.finish(START + Nanos::from_secs(180));
    let board = engine.board();
    assert!(is_finite(&board), "{board:?}");
    assert_eq!(board.operations[0].spans, 1_800);
}

/// Every five minutes is longer than the empty slices that are judged one by one, and five seconds
/// more than it takes until a slice counts as settled.
#[test]
fn a_request_every_five_minutes_that_arrives_after_its_slice_was_skipped_is_still_counted() {
    let mut pair = Pair::new();
    let params = EngineParams::default();
    let flush = params.detection.settle + Nanos::from_secs(5);
    for number in 0..12 {
        let end = START + Nanos::from_secs(300 * number);
        for second in 0..300 {
            let now = end + Nanos::from_secs(second);
            if now == end + flush {
                pair.ingest(request(&pair.names, end, TEN_MS), now);
            }
            pair.tick(now);
        }
        assert_eq!(pair.counted(), number + 1);
    }
    pair.finish(START + HOUR);
    assert_eq!(pair.counted(), 12);
    assert!(pair.judge.ticks() <= 12 * (most_empty_slices() + 2), "{}", pair.judge.ticks());
}

#[test]
fn a_fault_after_fifty_years_of_silence_is_named_as_any_other() {
    let names = names();
    let mut cache = InternCache::default();
    let mut engine = Engine::new(EngineParams::default(), Arc::clone(&names), 2);
    let scenario = Scenario::new(shop(), 240).traffic(Traffic::constant(10.0));
    let later = scenario.start + FIFTY_YEARS;
    let faulty =
        scenario.clone().start(later).fault(Fault::new(slow("cart", 60), 120, 180)).seed(2);
    for scenario in [&scenario, &faulty] {
        let mut now = scenario.start;
        for batch in batches(scenario) {
            while now + SECOND <= batch.arrival {
                now = now + SECOND;
                engine.tick(now);
            }
            engine.ingest(&to_records(&mut cache, &names, &batch.spans), batch.arrival);
        }
        assert_eq!(engine.incidents().len(), usize::from(!scenario.faults.is_empty()));
    }
    let incidents = engine.incidents();
    assert_eq!(&*incidents[0].suspects[0].service, "cart");
    assert!(incidents[0].start >= later + Nanos::from_secs(110));
    assert!(engine.account().balances());
}

/// Four months of an hour or so of traffic a day, with a new operation every day, as a release with
/// versioned paths brings them.
#[test]
fn months_of_sparse_traffic_leave_nothing_pending_and_no_operations_that_are_gone() {
    let names = names();
    let service = names.service(b"cart");
    let mut engine = Engine::new(EngineParams::default(), Arc::clone(&names), 2);
    let mut trace = 0;
    for day in 0..120u64 {
        let morning = START + Nanos::from_secs(86_400 * day);
        let key = names.key(service, format!("GET /v{day}").as_bytes(), Default::default());
        for slice in 0..40u64 {
            let now = morning + Nanos::from_secs(5 * slice);
            trace += 1;
            let mut span = request(&names, Timestamp(now.0 + trace), TEN_MS);
            span.span.key = if slice % 2 == 0 { key } else { span.span.key };
            engine.ingest(&[span], now);
            assert_eq!(engine.tick(now), []);
            let account = engine.account();
            assert!(account.balances() && account.pending_spans <= 4, "{account:?}");
        }
        assert_eq!(engine.tick(morning + HOUR), []);
        let (account, board) = (engine.account(), engine.board());
        assert_eq!((account.pending_traces, account.analyzed), (0, trace));
        let published: Vec<&str> = board.operations.iter().map(|one| &*one.name).collect();
        assert!(published.len() <= 2, "{published:?}");
        assert!(board.open.is_empty() && board.closed.is_empty() && is_finite(&board));
    }
}

/// One request a second for so long, each of which takes the same time.
fn steady(engine: &mut Engine, names: &Interner, from: Timestamp, minutes: u64, took: Nanos) {
    for second in 0..60 * minutes {
        let now = from + Nanos::from_secs(second);
        engine.ingest(&[request(names, now, took)], now);
        assert_eq!(engine.tick(now), []);
    }
}

fn only_operation(engine: &Engine) -> Arc<Operation> {
    let mut operations = engine.board().operations;
    assert_eq!(operations.len(), 1);
    operations.remove(0)
}

/// 10.6 ms is another bucket than 10 ms and, by less than a millisecond, no slowdown, so the baseline
/// follows. Six eras of five minutes and the windows under test are 36 and a half minutes at most.
#[test]
fn what_has_left_the_baseline_leaves_no_trace_in_it() {
    let took = Nanos::from_micros(10_600);
    let names = names();
    let mut old = Engine::new(EngineParams::default(), Arc::clone(&names), 1);
    steady(&mut old, &names, START, 45, TEN_MS);
    let halfway = only_operation(&old).baseline;
    steady(&mut old, &names, START + Nanos::from_secs(45 * 60), 38, took);
    let mut new = Engine::new(EngineParams::default(), Arc::clone(&names), 1);
    steady(&mut new, &names, START + Nanos::from_secs(45 * 60), 38, took);
    let (old, new) = (only_operation(&old), only_operation(&new));
    assert!(halfway.is_some() && halfway != new.baseline);
    assert_eq!((old.baseline, old.threshold), (new.baseline, new.threshold));
}

#[test]
fn a_stream_that_ends_in_silence_ends_like_one_that_does_not() {
    let scenario = Scenario::new(shop(), 150).traffic(Traffic::constant(5.0));
    let batches = batches(&scenario);
    let mut late = batches.clone();
    late.push(Batch { arrival: batches[batches.len() - 1].arrival + HOUR, spans: Vec::new() });
    let spans = |batches: &[Batch]| {
        let params = EngineParams { expire_after: FIFTY_YEARS, ..EngineParams::default() };
        let board = drive(batches, params, 2, |_, _, _| {}).board();
        let operations = board.operations.into_iter();
        operations
            .map(|one| ((*one.service).to_owned(), (*one.name).to_owned(), one.spans, one.flagged))
            .collect::<Vec<_>>()
    };
    assert_eq!(spans(&batches), spans(&late));
}
