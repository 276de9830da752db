//! Series that a statistic may stumble over: too few values, all the same, none but zero, two humps.

use laghound::engine::EngineParams;
use laghound::model::{Nanos, SpanRecord};

use super::street::{HOUR, Street};

const NORMAL: f64 = 50.0;

#[test]
fn below_the_minimum_of_samples_nothing_is_ever_flagged() {
    let least = EngineParams::default().detection.min_learned;
    let mut street = Street::new(4);
    // A rare operation: never so many in the half hour that is remembered, each longer than the last.
    let every = 1800 / (least - 5);
    let mut took = Nanos::from_millis(5);
    street.run_beside(
        3 * HOUR,
        |_| NORMAL,
        |street, spans: &mut Vec<SpanRecord>| {
            if street.second.is_multiple_of(every) {
                took = Nanos((took.0 * 12 / 10).min(3_000_000_000));
                spans.push(street.lone("rare", "GET /report", took));
            }
            if street.second.is_multiple_of(every) {
                let rare = street.board().operations.into_iter().find(|op| &*op.service == "rare");
                assert!(rare.is_none_or(|op| op.flagged == 0 && op.threshold.is_none()));
            }
        },
    );
    street.expect_silence();
}

/// An hour of a lone operation that takes what `took` says, beside the street.
fn quiet(took: impl Fn(&mut Street) -> Nanos) -> Street {
    let mut street = Street::new(2);
    street.run_beside(
        HOUR,
        |_| NORMAL,
        |street, spans: &mut Vec<SpanRecord>| {
            for _ in 0..4 {
                let took = took(street);
                spans.push(street.lone("odd", "GET /odd", took));
            }
        },
    );
    street.expect_silence();
    street
}

#[test]
fn a_constant_is_learned_and_never_flagged() {
    let street = quiet(|_| Nanos::from_millis(20));
    let odd = street.operation("odd", "GET /odd");
    assert_eq!(odd.flagged, 0);
    let [median, _, last] = odd.baseline.expect("is learned");
    assert!((median - 0.020).abs() <= 0.0025 && last >= median && last <= 0.0225);
}

#[test]
fn zeros_are_learned_and_never_flagged() {
    let street = quiet(|_| Nanos::ZERO);
    let odd = street.operation("odd", "GET /odd");
    assert_eq!(odd.flagged, 0);
    let [median, _, last] = odd.baseline.expect("is learned");
    assert!(median >= 0.0 && last < 1e-6, "the first bucket ends before a microsecond");
}

#[test]
fn two_humps_are_both_normal_while_their_shares_stay() {
    let street = quiet(|street| match street.draw.chance(0.3) {
        true => Nanos::from_millis(200),
        false => Nanos::from_millis(2),
    });
    let odd = street.operation("odd", "GET /odd");
    assert_eq!(odd.flagged, 0);
    let [median, ninetieth, _] = odd.baseline.expect("is learned");
    assert!(median < 0.003 && ninetieth > 0.19, "{:?}", odd.baseline);
}

#[test]
fn a_hump_that_grows_at_the_cost_of_the_other_is_a_slowdown() {
    let mut street = Street::new(2);
    let odd = |share: f64| {
        move |street: &mut Street, spans: &mut Vec<SpanRecord>| {
            for _ in 0..4 {
                let slow = street.draw.chance(share);
                let took = Nanos::from_millis(if slow { 200 } else { 2 });
                spans.push(street.lone("odd", "GET /odd", took));
            }
        }
    };
    street.run_beside(1800, |_| NORMAL, odd(0.2));
    street.expect_silence();
    let from = street.second;
    street.run_beside(180, |_| NORMAL, odd(0.8));
    let opened = street.opened();
    assert_eq!(opened.len(), 1);
    assert_eq!(&*opened[0].1.suspects[0].service, "odd");
    assert!(opened[0].0 <= from + 60);
}
