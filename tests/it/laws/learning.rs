//! Nothing is flagged and nobody is named while learning, whatever happens in that time.

use laghound::engine::verdict::Event;
use laghound::engine::{Engine, EngineParams};
use laghound::model::Nanos;
use laghound::sim::{Delivery, Fault, Scenario, Shape, Traffic, random_topology, shop};

use super::world::{batches, drive, slow};

/// What is learned from is the older half of what was seen, and six slices of 5 s are the least: that
/// is the case when the eleventh slice is judged, 6 s after its end. These scenarios begin with a slice.
const LEARNING: Nanos = Nanos::from_secs(60);
const SECONDS: u64 = 90;

fn scenarios() -> Vec<Scenario> {
    let shop = || Scenario::new(shop(), SECONDS);
    let surge = Shape::Surge { from: Nanos::from_secs(20), to: Nanos::from_secs(40), factor: 5.0 };
    let shaky =
        Delivery { lost_share: 0.05, late_share: 0.2, duplicate_share: 0.1, ..Delivery::default() };
    let mut all = vec![
        shop(),
        shop().fault(Fault::new(slow("cart", 400), 5, 90)),
        shop().fault(Fault::new(slow("pricing", 900), 30, 60)),
        shop().traffic(Traffic::constant(10.0).shaped(surge)),
        shop().delivery(shaky),
    ];
    all.extend((0..6).map(|seed| Scenario::new(random_topology(seed), SECONDS).seed(seed)));
    all
}

#[test]
fn no_span_is_flagged_and_no_incident_opens_in_the_first_minute() {
    for scenario in scenarios() {
        let (mut at_first, mut learned) = (0, false);
        let batches = batches(&scenario);
        drive(&batches, EngineParams::default(), 2, |engine: &Engine, now, events: &[Event]| {
            let board = engine.board();
            let learning = now < scenario.start + LEARNING;
            if learning {
                at_first += 1;
                assert!(board.learning && events.is_empty() && board.open.is_empty());
                assert!(board.excess.is_empty() && board.entry_excess.is_empty());
            }
            for operation in &board.operations {
                if learning {
                    assert_eq!((operation.baseline, operation.threshold), (None, None));
                }
                // The same for each operation's own time of learning, whenever that is.
                assert!(operation.threshold.is_some() || operation.flagged == 0, "{operation:?}");
                assert_eq!(operation.threshold.is_some(), operation.baseline.is_some());
                assert!(operation.flagged <= operation.spans);
                learned |= operation.threshold.is_some();
            }
        });
        assert!(at_first > 50 && learned, "there was a time before and a time after");
    }
}
