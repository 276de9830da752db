//! Populations: a cause is named where it stands out of the noise, and nowhere else.

use laghound::compare::verdict::{Comparison, Match, Verdict};
use laghound::engine::verdict::Pattern;

use super::trace::{Draft, sets, span};
use super::{assert_adds_up, first, says};

/// A request of `shop`, whose calls to `cart` and its database take as long as they are told to; small
/// numbers that repeat every few requests make some noise.
fn request(number: i64, entry: &str, cart: i64, db: i64) -> Vec<Draft> {
    let noise = |modulus: i64| number % modulus * 130;
    let (cart, db) = (cart + noise(7), db + noise(5));
    vec![
        span(1, 0, "shop", entry, 0, 10_000 + cart + db + noise(3)).server(),
        span(2, 1, "shop", "call cart", 2_000, cart + db + 2_000).client(),
        span(3, 2, "cart", "items", 3_000, cart + db).server(),
        span(4, 3, "cart", "SELECT", 4_000, db).client().tag("peer.service", "mysql"),
    ]
}

fn many(count: i64, entry: &str, cart: i64, db: i64) -> Vec<Vec<Draft>> {
    (0..count).map(|number| request(number, entry, cart, db)).collect()
}

#[test]
fn the_slower_service_of_two_populations_is_named_with_means_per_request() {
    let comparison = sets(&many(60, "GET /", 10_000, 5_000), &many(60, "GET /", 40_000, 5_000));
    assert_eq!(comparison.verdict, Verdict::RootCause);
    let (service, reason, micros) = first(&comparison);
    assert_eq!((service, reason), ("cart", "self_time"));
    assert!((micros - 30_000.0).abs() < 300.0, "{micros}");
    assert_eq!((comparison.delta_seconds * 1e6).round(), 30_000.0);
    assert_eq!((comparison.baseline.trace_id, comparison.baseline.traces), (None, 60));
    let entries = comparison.entries.as_deref().unwrap();
    assert_eq!((&*entries[0].operation, entries[0].spiked_traces), ("GET /", 60));
    assert_eq!(comparison.root_causes[0].pattern, Some(Pattern::Sustained));
    assert_adds_up(&comparison);
}

#[test]
fn a_database_is_named_as_the_dependency_it_is() {
    let comparison = sets(&many(60, "GET /", 10_000, 5_000), &many(60, "GET /", 10_000, 50_000));
    assert_eq!(first(&comparison).0, "mysql");
    assert_eq!(comparison.root_causes[0].kind.as_str(), "dependency");
}

#[test]
fn the_same_population_is_no_difference() {
    let all = many(60, "GET /", 10_000, 5_000);
    for traces in [&all[..], &all[..5], &all[..3], &all[..2]] {
        let comparison = sets(traces, traces);
        assert_ne!(comparison.verdict, Verdict::RootCause);
        assert!(comparison.root_causes.is_empty());
        assert_adds_up(&comparison);
    }
    assert_eq!(sets(&all, &all).verdict, Verdict::NoDifference);
}

#[test]
fn a_change_of_traffic_mix_is_no_difference() {
    let mix = |cheap: i64, dear: i64| {
        let mut traces = many(cheap, "GET /", 1_000, 1_000);
        traces.extend(many(dear, "POST /order", 100_000, 50_000));
        traces
    };
    let comparison = sets(&mix(60, 30), &mix(30, 60));
    assert_eq!(comparison.verdict, Verdict::NoDifference, "{comparison:#?}");
}

#[test]
fn a_population_that_got_faster_is_said_to_be() {
    let comparison = sets(&many(60, "GET /", 40_000, 5_000), &many(60, "GET /", 10_000, 5_000));
    assert_eq!(comparison.verdict, Verdict::Faster);
    let (service, reason, micros) = first(&comparison);
    assert_eq!((service, reason), ("cart", "improved"));
    assert!((micros + 30_000.0).abs() < 300.0, "{micros}");
    assert!(comparison.next_steps.is_empty());
    assert_adds_up(&comparison);
}

#[test]
fn a_few_slow_ones_are_intermittent() {
    let baseline = many(200, "GET /", 10_000, 5_000);
    let mut spiked = baseline.clone();
    spiked.iter_mut().step_by(10).for_each(|trace| *trace = request(0, "GET /", 500_000, 5_000));
    let comparison = sets(&baseline, &spiked);
    assert_eq!(first(&comparison).0, "cart");
    assert_eq!(comparison.root_causes[0].pattern, Some(Pattern::Intermittent));
    assert!(says(&comparison, "intermittent"), "{:?}", comparison.next_steps);
}

fn one_against_many(cart: i64) -> Comparison {
    sets(&many(40, "GET /", 10_000, 5_000), &[request(0, "GET /", cart, 5_000)])
}

#[test]
fn one_bad_trace_against_many_normal_ones_says_what_lies_outside() {
    let comparison = one_against_many(200_000);
    assert_eq!(first(&comparison).0, "cart");
    let outside = |name: &str| {
        comparison.spans.iter().any(|row| row.outside_normal && &*row.operation == name)
    };
    assert!(outside("items") && outside("GET /") && !outside("SELECT"), "{comparison:#?}");
    assert_adds_up(&comparison);
}

#[test]
fn one_normal_trace_among_many_is_no_difference() {
    let comparison = one_against_many(10_100);
    assert_eq!(comparison.verdict, Verdict::NoDifference);
    assert!(says(&comparison, "as others do"), "{:?}", comparison.warnings);
}

#[test]
fn an_entry_on_one_side_only_is_a_warning() {
    let mut baseline = many(20, "GET /", 10_000, 5_000);
    baseline.extend(many(20, "GET /old", 10_000, 5_000));
    let comparison = sets(&baseline, &many(20, "GET /", 10_000, 5_000));
    assert_eq!(comparison.verdict, Verdict::NoDifference);
    assert!(says(&comparison, "`GET /old` of `shop` is on the baseline only"));
    assert_eq!(comparison.entries.as_deref().unwrap().len(), 1);

    let nothing = sets(&many(20, "GET /a", 10_000, 5_000), &many(20, "GET /b", 10_000, 5_000));
    assert_eq!(nothing.verdict, Verdict::Inconclusive);
    assert!(says(&nothing, "no entry operation is on both sides"), "{:?}", nothing.warnings);
    assert!(nothing.spans.iter().any(|row| row.match_ == Match::Removed));
}

#[test]
fn two_traces_of_an_entry_are_too_few() {
    let comparison = sets(&many(2, "GET /", 10_000, 5_000), &many(2, "GET /", 90_000, 5_000));
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert!(says(&comparison, "fewer than 3 traces"), "{:?}", comparison.warnings);
}

#[test]
fn three_against_three_are_judged_by_drift_alone() {
    let comparison = sets(&many(3, "GET /", 10_000, 5_000), &many(3, "GET /", 90_000, 5_000));
    assert_eq!(first(&comparison).0, "cart");
    assert!(says(&comparison, "too few to tell chance from change"));
}
