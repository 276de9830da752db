//! What senders send again, or long after: it is counted, and what is published is as without it, to the last bit.

use std::collections::VecDeque;

use laghound::engine::account::DropReason;
use laghound::engine::verdict::Board;
use laghound::model::{Nanos, SpanKind, SpanRecord};

use super::street::{HOUR, Street};
use crate::laws::world::Draft;

const NORMAL: f64 = 50.0;
const SLOW: f64 = 150.0;

/// Half an hour of what is normal and two minutes of a fault, with what `beside` sends.
fn lives(mut beside: impl FnMut(&mut Street, &mut Vec<SpanRecord>)) -> (Street, Board) {
    let mut street = Street::new(4);
    street.run_beside(1800, |_| NORMAL, &mut beside);
    street.expect_silence();
    let learned = street.board();
    let from = street.second;
    street.run_beside(120, |_| SLOW, &mut beside);
    street.expect_cart(from, 45);
    (street, learned)
}

#[test]
fn requests_whose_replies_were_lost_come_again_are_counted_and_change_nothing() {
    let (alone, learned) = lives(|_, _| {});
    // Of every tenth second: at once, as by a sender that has a second connection, and after a minute.
    let mut kept = VecDeque::new();
    let (mut at_once, mut a_minute_later) = (0, 0);
    let (street, same) = lives(|street, spans| {
        let sent = spans.clone();
        if street.second.is_multiple_of(10) {
            spans.extend_from_slice(&sent);
            at_once += sent.len() as u64;
            kept.push_back((street.second, sent));
        }
        if kept.front().is_some_and(|(sent, _)| sent + 60 == street.second) {
            let (_, again) = kept.pop_front().unwrap();
            spans.extend_from_slice(&again);
            a_minute_later += again.len() as u64;
        }
    });
    assert_eq!(learned, same);
    assert_eq!(alone.board(), street.board());
    let dropped = street.engine.account().dropped;
    assert_eq!(dropped[&DropReason::Late], a_minute_later);
    // Of the last seconds nothing is closed yet.
    let pending = 3 * 4 * 10;
    assert!(at_once - dropped[&DropReason::Duplicate] <= pending, "{dropped:?} of {at_once}");
    assert!(street.engine.account().balances());
}

#[test]
fn the_queue_of_an_hour_ago_is_dropped_counted_and_changes_nothing() {
    let (alone, learned) = lives(|_, _| {});
    let mut replayed = 0;
    let (street, same) = lives(|street, spans| {
        if street.second == 0 {
            return; // age is measured by the last tick, and there was none
        }
        let end = street.now().saturating_sub(Nanos::from_secs(HOUR));
        let start = end.saturating_sub(Nanos::from_secs(1));
        for number in 0..20 {
            replayed += 1;
            let trace = 1 << 100 | u128::from(street.second) << 8 | number;
            let (id, parent, kind) = (1, 0, SpanKind::Server);
            let (service, name) = ("cart", "GET /cart");
            let span = Draft { trace, id, parent, service, name, kind, start, end };
            spans.push(span.record(&street.names));
        }
    });
    assert_eq!(learned, same);
    assert_eq!(alone.board(), street.board());
    assert_eq!(street.engine.account().dropped[&DropReason::TooOld], replayed);
}
