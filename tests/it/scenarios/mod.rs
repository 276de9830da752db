//! Scenarios in event time: a simulated shop, something that goes wrong or nothing, and what the
//! verdict must say about it and by when.
//!
//! [`table`] has the scenarios as data; this file says what a scenario is and holds the table to the
//! simulation's own truth, without the engine, so that a wrong expectation cannot pass for a verdict.

mod harness;
mod table;

pub(crate) use harness::run;

use std::collections::BTreeMap;

use laghound::model::{Nanos, SpanKind, Timestamp};
use laghound::sim::{Batches, Scenario};

/// One scenario and what must come of it.
struct Case {
    name: &'static str,
    scenario: Scenario,
    expect: Expect,
}

/// What the verdict must be.
enum Expect {
    /// Nothing is named before the fault. Within `within` of its start an incident is open whose first
    /// suspect is one of `culprits`; it still is when the fault ends; the incident closes after that.
    Names {
        /// Each fault has one of these right; with several faults each is among the suspects.
        faults: Vec<Culprit>,
        within: Nanos,
    },
    /// No incident at all.
    Quiet,
}

/// A right answer to one fault.
struct Culprit {
    /// The suspect, as (service, kinds).
    names: Vec<(&'static str, &'static [&'static str])>,
    reasons: &'static [&'static str],
    /// The pattern, where the fault has a definite one.
    pattern: Option<&'static str>,
    /// Attribute and value of `where`, where the contract asks for one.
    singled_out: Option<(&'static str, &'static str)>,
}

impl Culprit {
    fn is(&self, service: &str, kind: &str, reason: &str) -> bool {
        let named =
            self.names.iter().any(|(name, kinds)| *name == service && kinds.contains(&kind));
        named && self.reasons.contains(&reason)
    }
}

/// The scenarios of [`table`], by name: a test for each.
macro_rules! scenarios {
    ($($name:ident)*) => {
        fn all() -> Vec<Case> {
            vec![$(table::$name()),*]
        }

        $(
            #[test]
            fn $name() {
                harness::check(&table::$name());
            }
        )*
    };
}

scenarios! {
    one_service_slower
    one_operation_slower
    a_database_slower
    a_third_party_slower
    network_delay_between_two_services
    network_delay_round_one_service
    n_plus_one_calls
    one_instance_of_several
    stalls_in_a_tenth_of_the_calls
    stalls_at_one_request_a_second
    calls_that_hang_at_two_requests_a_second
    a_slow_ramp
    an_async_consumer
    two_faults_at_once
    retries_after_timeouts
    a_new_operation_name_with_a_slowdown
    lost_and_late_spans
    skewed_clocks
    nothing_wrong
    nothing_wrong_with_lost_and_late_spans
    nothing_wrong_on_skewed_clocks
    a_traffic_surge
    another_traffic_mix
    heavy_tails
    a_daily_drift
    messages_that_wait
}

/// Mean duration in seconds by entry operation, over requests that start within a stretch of time.
fn entry_means(scenario: &Scenario, from: Timestamp, to: Timestamp) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for trace in scenario.traces().expect("the faults name what there is") {
        for span in trace.spans {
            let entry = span.parent.is_none() || span.kind == SpanKind::Consumer;
            if entry && span.start >= from && span.start < to {
                let sum = sums.entry(span.name.to_string()).or_default();
                sum.0 += span.duration().as_secs_f64();
                sum.1 += 1.0;
            }
        }
    }
    sums.into_iter().map(|(name, (seconds, n))| (name, seconds / n)).collect()
}

/// By how much the entry that suffers most takes longer while the faults last: a share.
fn impact(scenario: &Scenario) -> f64 {
    let truths = scenario.truths();
    let from = truths.iter().map(|truth| truth.from).max().unwrap_or_default();
    let to = truths.iter().map(|truth| truth.to).min().unwrap_or_default();
    let sound = Scenario { faults: Vec::new(), ..scenario.clone() };
    let (clean, faulty) = (entry_means(&sound, from, to), entry_means(scenario, from, to));
    assert!(!clean.is_empty() && clean.keys().eq(faulty.keys()));
    clean.iter().map(|(name, mean)| faulty[name] / mean - 1.0).fold(0.0, f64::max)
}

#[test]
fn every_expected_name_is_the_simulations_own_truth() {
    for case in all() {
        let truths = case.scenario.truths();
        let Expect::Names { faults, within } = &case.expect else { continue };
        assert_eq!(truths.len(), faults.len(), "{}", case.name);
        for (truth, culprit) in truths.iter().zip(faults) {
            assert!(!culprit.names.is_empty() && !culprit.reasons.is_empty());
            for (service, kinds) in &culprit.names {
                for kind in *kinds {
                    assert!(truth.accepts(service, kind), "{}: {service} {kind}", case.name);
                }
            }
            let plainest = &truth.blames[0];
            for reason in culprit.reasons {
                assert!(plainest.reasons.contains(reason), "{}: {reason}", case.name);
                assert!(culprit.is(&plainest.service, plainest.kind, reason), "{}", case.name);
            }
            let patterns = [None, Some("sustained"), Some("intermittent")];
            assert!(patterns.contains(&culprit.pattern), "{}", case.name);
            if let Some((attribute, value)) = culprit.singled_out {
                let blames = truth.blames.iter().filter_map(|blame| blame.singled_out.as_ref());
                let mut said = blames.map(|(name, is)| (*name, &**is));
                assert!(said.any(|said| said == (attribute, value)), "{}", case.name);
            }
            assert!(truth.from + *within < truth.to, "{}: no time to be right in", case.name);
        }
    }
}

#[test]
fn every_fault_makes_some_entry_slower_by_a_tenth_and_no_quiet_scenario_has_one() {
    for case in all() {
        let truths = case.scenario.truths();
        match case.expect {
            Expect::Names { .. } => {
                let impact = impact(&case.scenario);
                assert!(impact > 0.1, "{}: {:.1} %", case.name, impact * 100.0);
            }
            Expect::Quiet => {
                assert!(truths.iter().all(|truth| truth.blames.is_empty()), "{}", case.name);
            }
        }
    }
}

#[test]
fn every_scenario_runs_to_its_end_and_leaves_time_to_learn_and_to_recover() {
    for case in all() {
        let scenario = &case.scenario;
        for truth in scenario.truths() {
            assert!(truth.from.since(scenario.start) >= Nanos::from_secs(300), "{}", case.name);
            assert!((scenario.start + scenario.duration).since(truth.to) >= Nanos::from_secs(120));
        }
        let mut batches: Batches = scenario.batches().expect("the faults name what there is");
        let last = batches.by_ref().last().expect("something arrives");
        let end = scenario.start + scenario.duration;
        assert!(last.arrival + Nanos::from_secs(5) > end, "{}", case.name);
        let seconds = scenario.duration.as_secs_f64();
        let requests = scenario.traffic.per_second * seconds;
        assert!(batches.delivered().happened as f64 > 10.0 * requests, "{}", case.name);
    }
}
