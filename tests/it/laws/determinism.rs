//! The same input gives the same bytes: twice, with any number of shards, and whatever numbers the
//! names happen to have.
//!
//! JSON is what users compare, so it is held to the byte; the board is held to the last bit of every
//! float, because six digits would hide a sum whose order depends on something that it must not.

use std::sync::Arc;

use laghound::engine::EngineParams;
use laghound::engine::verdict::{Board, Event};
use laghound::live::replay::Replay;
use laghound::model::{InternCache, Interner, Nanos, SpanKind, SpanRecord, Timestamp};
use laghound::publish::report::{Accounting, ReplayReport};
use laghound::sim::{
    Delivery, Fault, Scenario, SimSpan, Slowdown, Step, Topology, Traffic, What, random_topology,
    shop, to_records,
};

use super::world::{Draft, batches, names, slow};

/// Everything that leaves a replay.
#[derive(PartialEq, Debug)]
struct Outcome {
    json: String,
    events: Vec<Event>,
    board: Board,
}

impl Outcome {
    fn incidents(&self) -> usize {
        self.board.open.len() + self.board.closed.len()
    }
}

fn replay<'a>(
    messages: impl Iterator<Item = Vec<SpanRecord>> + 'a,
    names: &Arc<Interner>,
    shards: usize,
) -> Outcome {
    let mut replay = Replay::new(EngineParams::default(), Arc::clone(names), shards);
    let mut events = Vec::new();
    for message in messages {
        events.extend(replay.message(&message));
    }
    events.extend(replay.finish());
    let account = replay.account();
    let range = replay.range();
    let dropped = account.dropped.iter().map(|(reason, count)| (reason.as_str(), *count));
    let board = replay.engine().board();
    let report = ReplayReport {
        spans: account.accepted,
        traces: account.closed.values().sum(),
        from: range.map(|(from, _)| from),
        to: range.map(|(_, to)| to),
        accounting: Accounting {
            accepted: account.accepted,
            analyzed: account.analyzed,
            dropped: dropped.collect(),
        },
        incidents: replay.incidents(),
        learning: board.learning,
    };
    Outcome { json: report.to_json(), events, board }
}

/// The messages of a scenario, as spans with names spelled out. Each holds what arrived in ten seconds,
/// so that many traces close at once, and the shards meet them in an order that no single one would.
fn messages(scenario: &Scenario) -> Vec<Vec<SimSpan>> {
    let batches = batches(scenario);
    let stretch = |at: Timestamp| at.0 / Nanos::from_secs(10).0;
    let together = batches.chunk_by(|one, two| stretch(one.arrival) == stretch(two.arrival));
    together.map(|batches| batches.iter().flat_map(|batch| batch.spans.clone()).collect()).collect()
}

fn told(messages: &[Vec<SimSpan>], names: &Arc<Interner>, shards: usize) -> Outcome {
    let mut cache = InternCache::default();
    let records = messages.iter().map(|spans| to_records(&mut cache, names, spans));
    replay(records, names, shards)
}

/// A table in which strangers came first and everybody else in reverse, so that every number differs
/// and so does the order of any two.
fn other_names(messages: &[Vec<SimSpan>]) -> Arc<Interner> {
    let names = names();
    for stranger in 0..50 {
        let service = names.service(format!("stranger-{stranger}").as_bytes());
        names.key(service, b"GET /", SpanKind::Server);
    }
    let mut cache = InternCache::default();
    for spans in messages.iter().rev() {
        let reversed: Vec<SimSpan> = spans.iter().rev().cloned().collect();
        to_records(&mut cache, &names, &reversed);
    }
    names
}

/// The same again and with more shards: all the same.
fn check_shards(messages: &[Vec<SimSpan>]) -> Outcome {
    let one = told(messages, &names(), 1);
    assert_eq!(one, told(messages, &names(), 1), "twice");
    for shards in [2, 3, 8] {
        let other = told(messages, &names(), shards);
        assert_eq!(one.json, other.json, "{shards} shards");
        assert_eq!(one, other, "{shards} shards");
    }
    one
}

/// The same with other numbers, too. Returns how many incidents there were.
fn check(messages: &[Vec<SimSpan>]) -> usize {
    let one = check_shards(messages);
    let other = told(messages, &other_names(messages), 2);
    assert_eq!(one.json, other.json, "other numbers");
    assert_eq!(one, other, "other numbers");
    one.incidents()
}

fn faulty(what: What) -> Scenario {
    let scenario = Scenario::new(shop(), 390).traffic(Traffic::constant(8.0));
    scenario.fault(Fault::new(what, 300, 350))
}

#[test]
fn an_incident_is_told_in_the_same_bytes() {
    assert!(check(&messages(&faulty(slow("cart", 50)))) > 0);
}

#[test]
fn a_quiet_recording_is_told_in_the_same_bytes() {
    let quiet = Scenario::new(shop(), 200).traffic(Traffic::constant(8.0));
    assert_eq!(check(&messages(&quiet)), 0);
}

#[test]
fn lost_late_repeated_and_skewed_spans_are_told_in_the_same_bytes() {
    let shaky = Delivery {
        lost_share: 0.02,
        late_share: 0.05,
        late_by: Nanos::from_secs(20),
        duplicate_share: 0.02,
        clock_skew: Nanos::from_millis(50),
        ..Delivery::default()
    };
    assert!(check(&messages(&faulty(slow("pricing", 60)).delivery(shaky))) > 0);
}

/// Gaps are weighed by many witnesses: the most float sums there are.
#[test]
fn a_network_fault_is_told_in_the_same_bytes() {
    let what = What::ServiceNetwork { service: "catalog".into(), by: Nanos::from_millis(20) };
    assert!(check(&messages(&faulty(what))) > 0);
}

/// Systems drawn at random, with a fault of the network and a lesser one of the service at its end, so
/// that ever other numbers of witnesses speak with ever other weights.
#[test]
fn faults_in_systems_drawn_at_random_are_told_in_the_same_bytes() {
    let mut incidents = 0;
    for seed in 0..6 {
        let topology = random_topology(seed);
        let services: Vec<_> = topology.service_names().cloned().collect();
        let service = &services[services.len() / 2];
        let by = Nanos::from_millis(40);
        let network = What::ServiceNetwork { service: Arc::clone(service), by };
        let scenario = Scenario::new(topology, 210).traffic(Traffic::constant(15.0)).seed(seed);
        let scenario = scenario.fault(Fault::new(network, 120, 190));
        incidents += check(&messages(&scenario.fault(Fault::new(slow(service, 4), 120, 190))));
    }
    assert!(incidents >= 3, "{incidents}");
}

#[test]
fn more_calls_are_told_in_the_same_bytes() {
    let what = What::MoreCalls {
        service: "cart".into(),
        operation: "GET /cart".into(),
        callee: "catalog".into(),
        times: 6,
    };
    assert!(check(&messages(&faulty(what))) > 0);
}

#[test]
fn a_new_operation_is_told_in_the_same_bytes() {
    let what = What::Renamed {
        service: "pricing".into(),
        operation: "POST /quote".into(),
        to: "POST /v2/quote".into(),
        by: Slowdown::ms(60),
    };
    assert!(check(&messages(&faulty(what))) > 0);
}

/// More instances than a slice tells apart: which of them are told apart must not depend on who
/// came first to which shard. (On the numbers of the names it does, and these on the first arrival.)
#[test]
fn a_service_of_many_instances_is_told_in_the_same_bytes() {
    let mut topology = Topology::new();
    let cart = topology.service("cart", "1.0.0", 24);
    let operation = topology.operation(cart, "GET /cart", vec![Step::work(10.0)]);
    topology.entry(operation, 1.0);
    let what = What::SlowInstance { service: "cart".into(), instance: 2, by: Slowdown::ms(400) };
    let scenario = Scenario::new(topology, 240).traffic(Traffic::constant(30.0));
    let told = check_shards(&messages(&scenario.fault(Fault::new(what, 120, 200))));
    assert!(told.incidents() > 0);
}

const START: Timestamp = Timestamp::from_secs(1_790_000_000);
const TWINS: [&str; 6] = ["ada", "bob", "cid", "dot", "eve", "fay"];

/// Requests to services that behave alike to the nanosecond: each has two operations, each takes
/// 10 ms before the 150th second and 60 ms after it. `turn` says who comes first in a second.
fn twins(turn: usize) -> Vec<Vec<Draft<'static>>> {
    let second = |second: u64| {
        let took = Nanos::from_millis(if second < 150 { 10 } else { 60 });
        let end = START + Nanos::from_secs(second);
        let requests = (0..2 * TWINS.len()).map(move |number| {
            let number = (number + turn) % (2 * TWINS.len());
            let trace = u128::from(second) * 100 + number as u128 + 1;
            Draft {
                trace: trace.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
                id: 1,
                parent: 0,
                service: TWINS[number / 2],
                name: ["GET /a", "GET /b"][number % 2],
                kind: SpanKind::Server,
                start: end.saturating_sub(took),
                end,
            }
        });
        requests.collect::<Vec<_>>()
    };
    (1..240).map(second).collect()
}

#[test]
fn suspects_that_are_equal_to_the_nanosecond_are_ranked_by_name() {
    let told = |turn: usize, shards: usize| {
        let names = names();
        let messages = twins(turn);
        let records = messages
            .iter()
            .map(|drafts| drafts.iter().map(|draft| draft.record(&names)).collect::<Vec<_>>());
        replay(records, &names, shards)
    };
    let one = told(0, 1);
    let suspects = &one.board.open[0].suspects;
    let ranked: Vec<&str> = suspects.iter().map(|suspect| &*suspect.service).collect();
    assert_eq!(ranked, TWINS);
    assert!(suspects.iter().all(|suspect| &*suspect.operation == "GET /a"), "{suspects:?}");
    for (turn, shards) in [(0, 2), (0, 8), (1, 1), (5, 3), (8, 1)] {
        assert_eq!(one, told(turn, shards), "turn {turn}, {shards} shards");
    }
}
