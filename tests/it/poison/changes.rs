//! What becomes of a baseline under changes that last.

use laghound::engine::EngineParams;
use laghound::engine::account::DropReason;
use laghound::model::{Nanos, SpanRecord};

use super::street::{HOUR, Street};

/// A call to `cart`, normally.
const NORMAL: f64 = 50.0;
const SLOW: f64 = 150.0;
/// Time in which a slowdown of this size is named.
const SOON: u64 = 45;
/// A bucket of the histogram is an eighth wide.
const BUCKET: f64 = 0.125;

#[track_caller]
fn assert_near(value: f64, expected: f64) {
    assert!((value / expected - 1.0).abs() <= BUCKET, "{value} is not about {expected}");
}

#[test]
fn a_ramp_of_half_a_percent_an_hour_is_followed_and_a_fault_on_top_of_it_is_named() {
    let mut street = Street::new(2);
    let ramp = |second: u64| NORMAL * 1.005f64.powf(second as f64 / HOUR as f64);
    street.run(12 * HOUR, ramp);
    street.expect_silence();
    assert_near(street.learned_ms(), ramp(12 * HOUR));
    let from = street.second;
    street.run(120, |_| SLOW);
    street.expect_cart(from, SOON);
}

/// What the ramp's author may gain: what is normal is what the last half hour was, so a slope of this
/// much in that time stays below what is believed to be a rise at all (15 %).
#[test]
fn a_ramp_of_a_tenth_in_half_an_hour_is_drift_and_one_that_doubles_in_it_is_not() {
    for (factor_an_hour, silent) in [(1.2f64, true), (4.0, false)] {
        let mut street = Street::new(4);
        street.run(1800, |_| NORMAL);
        let from = street.second;
        street
            .run(HOUR, |second| NORMAL * factor_an_hour.powf((second - from) as f64 / HOUR as f64));
        assert_eq!(street.opened().is_empty(), silent, "x{factor_an_hour} an hour");
    }
}

/// One hostile request for each hundred, an hour of it, then a fault.
fn under_hostile_spans(hostile: impl Fn(&mut Street) -> SpanRecord) -> Street {
    let mut street = Street::new(10);
    let mut send = |street: &mut Street, spans: &mut Vec<SpanRecord>| {
        if street.second.is_multiple_of(10) {
            let span = hostile(street);
            spans.push(span);
        }
    };
    street.run_beside(2400, |_| NORMAL, &mut send);
    street.expect_silence();
    let from = street.second;
    street.run_beside(300, |_| SLOW, &mut send);
    street.expect_cart(from, 2 * SOON);
    street.run_beside(300, |_| NORMAL, &mut send);
    assert_eq!(street.closed().len(), 1);
    street
}

#[test]
fn spans_that_began_in_1970_are_dropped_counted_and_hide_nothing() {
    let street = under_hostile_spans(|street| {
        let since_the_epoch = Nanos(street.now().0);
        street.lone("shop", "GET /", since_the_epoch)
    });
    assert_eq!(street.engine.account().dropped[&DropReason::TooLong], 300);
}

#[test]
fn spans_as_long_as_a_span_may_be_neither_raise_nor_hide_an_alarm() {
    for took in [EngineParams::default().assembly.max_span_duration, Nanos::from_secs(60)] {
        let street = under_hostile_spans(|street| street.lone("shop", "GET /", took));
        assert_eq!(street.engine.account().dropped_total(), 0);
    }
}

#[test]
fn long_spans_of_the_suspects_own_operation_neither_raise_nor_hide_an_alarm() {
    under_hostile_spans(|street| street.lone("cart", "GET /cart", Nanos::from_secs(60)));
}

#[test]
fn spans_without_duration_neither_raise_nor_hide_an_alarm() {
    under_hostile_spans(|street| street.lone("cart", "GET /cart", Nanos::ZERO));
}

#[test]
fn an_incident_of_six_hours_is_one_incident_and_nothing_of_it_becomes_normal() {
    let mut street = Street::new(2);
    street.run(2400, |_| NORMAL);
    street.expect_silence();
    let from = street.second;
    street.run(6 * HOUR, |_| SLOW);
    assert_eq!((street.opened().len(), street.closed().len()), (1, 0), "{:?}", street.said);
    assert_eq!(&*street.board().open[0].suspects[0].service, "cart");
    assert_near(street.learned_ms(), NORMAL);
    street.run(150, |_| NORMAL);
    assert_eq!(street.closed().len(), 1, "recovery is seen");
    assert_near(street.learned_ms(), NORMAL);
    street.expect_cart(from, SOON);
    street.run(600, |_| NORMAL);
    street.expect_silence();
    assert_near(street.learned_ms(), NORMAL);
    // And what it has learned since is good for another.
    let from = street.second;
    street.run(120, |_| SLOW);
    street.expect_cart(from, SOON);
}

#[test]
fn a_deployment_that_is_lawfully_slower_is_one_incident_and_is_learned_after_the_time_to_adopt() {
    let adopt = EngineParams::default().detection.adopt_after.0 / 1_000_000_000;
    let slower = 1.5 * NORMAL;
    let mut street = Street::new(2);
    street.run(2400, |_| NORMAL);
    let from = street.second;
    street.run(adopt - 60, |_| slower);
    assert_eq!((street.opened().len(), street.closed().len()), (1, 0), "{:?}", street.said);
    street.run(150, |_| slower);
    let closed = street.closed();
    assert_eq!(closed.len(), 1);
    assert!(closed[0].abs_diff(from + adopt) <= 60, "{closed:?}");
    street.expect_cart(from, 2 * SOON);
    street.run(HOUR, |_| slower);
    street.expect_silence();
    assert_near(street.learned_ms(), slower);
    let from = street.second;
    street.run(120, |_| 2.0 * SLOW);
    street.expect_cart(from, SOON);
}

#[test]
fn a_first_minute_that_is_itself_the_incident_is_normal_until_it_ends_and_forgotten_later() {
    for minutes in [1, 5] {
        let mut street = Street::new(4);
        street.run(60 * minutes, |_| SLOW);
        street.expect_silence();
        // Getting faster alerts nobody, and is learned.
        street.run(2400, |_| NORMAL);
        street.expect_silence();
        assert_near(street.learned_ms(), NORMAL);
        let from = street.second;
        street.run(120, |_| SLOW);
        street.expect_cart(from, SOON);
    }
}

#[test]
fn a_fault_soon_after_a_bad_first_minute_is_named_although_that_minute_is_still_remembered() {
    let mut street = Street::new(4);
    street.run(60, |_| SLOW);
    street.run(600, |_| NORMAL);
    street.expect_silence();
    let from = street.second;
    street.run(180, |_| SLOW);
    street.expect_cart(from, 2 * SOON);
}
