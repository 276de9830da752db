//! What the documentation promises in seconds, held to in event time with the default settings.

use laghound::engine::verdict::Event;
use laghound::model::Nanos;
use laghound::sim::{Fault, Scenario, Slowdown, Step, Topology, Traffic, What};

use crate::scenarios::run;

/// Two services, the second called once per request.
fn pair() -> Topology {
    let mut topology = Topology::new();
    let back = topology.service("back", "1.0.0", 1);
    let front = topology.service("front", "1.0.0", 1);
    let read = topology.operation(back, "GET /read", vec![Step::work(20.0)]);
    let steps = vec![Step::work(10.0), Step::call(read), Step::work(5.0)];
    let page = topology.operation(front, "GET /page", steps);
    topology.entry(page, 1.0);
    topology
}

#[test]
fn three_requests_a_second_are_judged_after_a_minute_and_a_fault_is_published_within_half() {
    const FAULT_AT: u64 = 65;
    for seed in 1..=12 {
        // The fault falls anywhere within a slice.
        let shift = Nanos::from_millis(seed * 417);
        let what = What::SlowService { service: "back".into(), by: Slowdown::ms(60) };
        let scenario = Scenario::new(pair(), FAULT_AT + 60)
            .traffic(Traffic::constant(3.0))
            .fault(Fault::new(what, FAULT_AT, FAULT_AT + 60))
            .seed(seed);
        let scenario = Scenario { start: scenario.start + shift, ..scenario };
        let fault = scenario.start + Nanos::from_secs(FAULT_AT);
        let story = run(&scenario);
        let Some((at, Event::Opened(incident))) = story.events.first() else {
            panic!("seed {seed}: nothing was found");
        };
        assert!(*at >= fault, "seed {seed}: before the fault");
        let delay = at.since(fault);
        assert!(delay <= Nanos::from_secs(30), "seed {seed}: {delay}");
        assert_eq!(&*incident.suspects[0].service, "back", "seed {seed}");
    }
}
