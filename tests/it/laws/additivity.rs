//! Suspects' excess and what is unexplained add up to the excess of the entries: in every incident as
//! it opens, changes and closes, and in the counters at every tick.
//!
//! An incident lists only suspects above `min_score` and only entries that got slower. With
//! `min_score` at zero all suspects are listed, and then the shares are held to one exactly.

use std::collections::BTreeMap;
use std::sync::Arc;

use laghound::engine::verdict::{Board, Event, Incident};
use laghound::engine::{Engine, EngineParams};
use laghound::model::Nanos;
use laghound::sim::{Batch, Fault, Scenario, Slowdown, Traffic, What, shop};

use super::world::{batches, drive, slow};

/// Shares are quotients of floats that are sums of a few hundred rounded nanoseconds.
const ROUNDING: f64 = 1e-9;

fn faulty(what: What) -> Scenario {
    let scenario = Scenario::new(shop(), 400).traffic(Traffic::constant(10.0));
    scenario.fault(Fault::new(what, 300, 360))
}

/// One fault for each way in which time is claimed, and two at once.
fn incidents() -> Vec<Vec<Batch>> {
    let ms = Nanos::from_millis;
    let by = Slowdown::times(4.0);
    let shop_db = What::SlowBackend { backend: "shop-db".into(), by };
    let network = What::ServiceNetwork { service: "catalog".into(), by: ms(20) };
    let calls = What::MoreCalls {
        service: "cart".into(),
        operation: "GET /cart".into(),
        callee: "catalog".into(),
        times: 6,
    };
    let renamed = What::Renamed {
        service: "pricing".into(),
        operation: "POST /quote".into(),
        to: "POST /v2/quote".into(),
        by: Slowdown::ms(60),
    };
    let two = faulty(slow("cart", 50)).fault(Fault::new(slow("recommendations", 60), 300, 360));
    let one_each = [shop_db, network, calls, renamed].map(faulty);
    one_each.iter().chain([&two]).map(batches).collect()
}

fn params(min_score: f64) -> EngineParams {
    let mut params = EngineParams::default();
    params.detection.min_score = min_score;
    params
}

/// What holds within an incident whatever is left off its list.
fn check_incident(incident: &Incident) {
    let shares: f64 = incident.suspects.iter().map(|suspect| suspect.score).sum();
    let claimed: f64 = incident.suspects.iter().map(|suspect| suspect.excess_seconds).sum();
    let (whole, rest) = (incident.excess_seconds, incident.unexplained_share);
    assert!((0.0..=1.0).contains(&rest), "{incident:?}");
    assert!(shares + rest <= 1.0 + ROUNDING, "{incident:?}");
    assert!(claimed <= whole * (1.0 + ROUNDING), "{incident:?}");
    for suspect in &incident.suspects {
        let share = suspect.excess_seconds / whole;
        assert!(suspect.score > 0.0 && (suspect.score - share).abs() < ROUNDING, "{incident:?}");
    }
    assert!(incident.suspects.is_sorted_by(|one, two| one.excess_seconds >= two.excess_seconds));
    // Entries that got faster lessen the sum and are not listed. Where something is unexplained, the
    // claims are less than the entries' sum, and that is the whole.
    let entries: f64 = incident.entries.iter().map(|entry| entry.excess_seconds).sum();
    assert!(rest == 0.0 || whole <= entries * (1.0 + ROUNDING), "{incident:?}");
}

fn published(events: &[Event]) -> impl Iterator<Item = &Incident> {
    events.iter().map(|event| match event {
        Event::Opened(incident) | Event::Closed(incident) => incident,
        Event::SuspectChanged { incident, .. } => incident,
    })
}

#[test]
fn shares_of_suspects_and_the_unexplained_rest_are_one_whole() {
    for batches in incidents() {
        let mut opened = 0;
        drive(&batches, params(0.0), 2, |engine: &Engine, _, events: &[Event]| {
            let board = engine.board();
            for incident in published(events).chain(&board.open) {
                check_incident(incident);
                let shares: f64 = incident.suspects.iter().map(|suspect| suspect.score).sum();
                let whole = shares + incident.unexplained_share;
                assert!((whole - 1.0).abs() < ROUNDING, "{incident:?}");
                opened += 1;
            }
        });
        assert!(opened > 0, "no incident to look at");
    }
}

#[test]
fn leaving_small_suspects_out_changes_nothing_about_the_others() {
    let incidents = incidents();
    let batches = &incidents[1];
    let all = drive(batches, params(0.0), 1, |_, _, _| {}).incidents();
    let least = EngineParams::default().detection.min_score;
    let reported = drive(batches, params(least), 1, |_, _, _| {}).incidents();
    let mut left_out = 0;
    let expected: Vec<Incident> = all
        .into_iter()
        .map(|mut incident| {
            let before = incident.suspects.len();
            incident.suspects.retain(|suspect| suspect.score >= least);
            left_out += before - incident.suspects.len();
            // What is not named is not drawn either.
            let suspects = &incident.suspects;
            let evidence = Arc::make_mut(&mut incident.evidence);
            evidence.distributions.retain(|drawn| {
                suspects.iter().any(|one| one.service == drawn.service && one.kind == drawn.kind)
            });
            incident
        })
        .collect();
    assert_eq!(reported, expected);
    assert!(left_out > 0, "nothing was small");
}

/// Every counter by its labels.
fn counters(board: &Board) -> BTreeMap<String, f64> {
    let suspects = board.excess.iter().map(|row| {
        let labels = (&row.service, row.kind, &row.operation, row.span_kind, row.reason);
        (format!("{labels:?}"), row.seconds)
    });
    let entries = board
        .entry_excess
        .iter()
        .map(|row| (format!("{:?}", (&row.service, &row.operation, row.span_kind)), row.seconds));
    suspects.chain(entries).collect()
}

#[test]
fn the_counters_of_suspects_never_exceed_those_of_entries_and_never_go_back() {
    for batches in incidents() {
        let mut before = BTreeMap::new();
        drive(&batches, EngineParams::default(), 2, |engine: &Engine, _, events: &[Event]| {
            let board = engine.board();
            published(events).chain(&board.open).for_each(check_incident);
            let suspects: f64 = board.excess.iter().map(|row| row.seconds).sum();
            let entries: f64 = board.entry_excess.iter().map(|row| row.seconds).sum();
            assert!(suspects <= entries * (1.0 + ROUNDING), "{suspects} of {entries}");
            let now = counters(&board);
            for (labels, seconds) in &before {
                assert!(now.get(labels).is_some_and(|now| now >= seconds), "{labels} went back");
            }
            before = now;
        });
        assert!(before.values().any(|seconds| *seconds > 1.0), "nothing was counted");
    }
}
