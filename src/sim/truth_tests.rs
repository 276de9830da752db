//! What each fault says it does is what the spans show, by arithmetic on the spans alone.
//!
//! A run with a fault and one without it draw the same numbers for all that the fault does not touch,
//! so most facts here hold span by span and to the nanosecond, not just on average.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::{Nanos, SpanId, SpanKind, Timestamp, TraceId};

use super::*;

const SECONDS: u64 = 60;
/// Own time that a caller's client library takes before a call.
const DISPATCH: u64 = 20_000;

/// One span and what can be measured of it.
struct Measured {
    span: SimSpan,
    /// Duration less the time in calls, for SERVER and CONSUMER spans.
    own: u64,
    /// Stretches of calls within it, each preceded by one dispatch.
    stretches: u64,
    /// Duration less that of the SERVER span, for CLIENT spans that have one.
    gap: Option<u64>,
}

type Run = BTreeMap<(TraceId, SpanId), Measured>;

fn scenario(whats: &[What]) -> Scenario {
    let faults = whats.iter().map(|what| Fault::new(what.clone(), 0, 10 * SECONDS));
    faults.fold(Scenario::new(shop(), SECONDS), Scenario::fault)
}

fn run(scenario: &Scenario) -> Run {
    scenario.traces().unwrap().flat_map(measure).collect()
}

fn measure(trace: Trace) -> Vec<((TraceId, SpanId), Measured)> {
    let by_id: HashMap<SpanId, &SimSpan> = trace.spans.iter().map(|s| (s.id, s)).collect();
    let mut calls: HashMap<SpanId, Vec<(u64, u64)>> = HashMap::new();
    let mut served: HashMap<SpanId, u64> = HashMap::new();
    for span in &trace.spans {
        let Some(parent) = span.parent else { continue };
        if span.kind == SpanKind::Server {
            served.insert(parent, span.duration().0);
        }
        if matches!(span.kind, SpanKind::Client | SpanKind::Producer) {
            let mut owner = parent;
            while by_id[&owner].kind == SpanKind::Internal {
                owner = by_id[&owner].parent.unwrap();
            }
            calls.entry(owner).or_default().push((span.start.0, span.end.0));
        }
    }
    let measured = trace.spans.iter().map(|span| {
        let mut intervals = calls.remove(&span.id).unwrap_or_default();
        intervals.sort_unstable();
        let (mut busy, mut stretches, mut until) = (0, 0, 0);
        for (start, end) in intervals {
            stretches += u64::from(start > until);
            busy += end.max(until) - start.max(until);
            until = until.max(end);
        }
        let gap = served.get(&span.id).map(|served| span.duration().0.abs_diff(*served));
        let own = span.duration().0 - busy;
        ((span.trace, span.id), Measured { span: span.clone(), own, stretches, gap })
    });
    measured.collect()
}

/// Calls `check` with each pair of spans, without and with the faults; both runs have the same.
fn compare(whats: &[What], mut check: impl FnMut(&Measured, &Measured)) {
    let (clean, faulty) = (run(&scenario(&[])), run(&scenario(whats)));
    assert!(clean.keys().eq(faulty.keys()), "the fault changed which spans there are");
    for (clean, faulty) in clean.values().zip(faulty.values()) {
        check(clean, faulty);
    }
}

fn serves(measured: &Measured) -> bool {
    matches!(measured.span.kind, SpanKind::Server | SpanKind::Consumer)
}

fn is(measured: &Measured, service: &str, name: &str) -> bool {
    &*measured.span.resource.service == service && &*measured.span.name == name
}

/// Equal up to the rounding of a few pieces of work to whole nanoseconds.
fn near(a: u64, b: u64) -> bool {
    a.abs_diff(b) <= 10
}

fn times_three(own: u64, stretches: u64) -> u64 {
    3 * (own - stretches * DISPATCH) + stretches * DISPATCH
}

#[test]
fn a_slow_service_triples_its_own_work_and_nobody_elses() {
    let what = What::SlowService { service: "cart".into(), by: Slowdown::times(3.0) };
    let mut hit = 0;
    compare(&[what], |clean, faulty| {
        if serves(clean) && &*clean.span.resource.service == "cart" {
            assert!(near(faulty.own, times_three(clean.own, clean.stretches)));
            hit += 1;
        } else if serves(clean) {
            assert_eq!(faulty.own, clean.own);
        }
        assert_eq!(faulty.gap, clean.gap);
    });
    assert!(hit > 100);
}

#[test]
fn a_slow_operation_leaves_its_siblings_alone() {
    let what = What::SlowOperation {
        service: "cart".into(),
        operation: "GET /cart".into(),
        by: Slowdown::ms(25),
    };
    compare(&[what], |clean, faulty| {
        let more = if serves(clean) && is(clean, "cart", "GET /cart") { 25_000_000 } else { 0 };
        if serves(clean) {
            assert_eq!(faulty.own, clean.own + more);
        }
    });
}

#[test]
fn one_slow_instance_leaves_the_others_alone() {
    let what =
        What::SlowInstance { service: "catalog".into(), instance: 2, by: Slowdown::times(3.0) };
    let truth = scenario(std::slice::from_ref(&what)).truths().remove(0);
    let (attribute, value) = truth.blames[0].singled_out.clone().unwrap();
    assert_eq!(attribute, "service.instance.id");
    let mut hit = 0;
    compare(&[what], |clean, faulty| {
        let slow = clean.span.resource.instance == value;
        hit += u64::from(slow);
        if serves(clean) && slow {
            assert!(near(faulty.own, times_three(clean.own, clean.stretches)));
        } else if serves(clean) {
            assert_eq!(faulty.own, clean.own);
        }
    });
    assert!(hit > 100);
}

#[test]
fn stalls_hit_the_share_asked_for_by_the_time_asked_for() {
    let by = Nanos::from_millis(200);
    let what = What::Stalls { service: "catalog".into(), probability: 0.1, by };
    let (mut calls, mut stalled) = (0u64, 0u64);
    compare(&[what], |clean, faulty| {
        if !serves(clean) {
            return;
        }
        let more = faulty.own - clean.own;
        if &*clean.span.resource.service == "catalog" {
            assert!(more == 0 || more == by.0);
            calls += 1;
            stalled += u64::from(more == by.0);
        } else {
            assert_eq!(more, 0);
        }
    });
    let n = calls as f64;
    assert!((stalled as f64 - 0.1 * n).abs() < 4.0 * (0.09 * n).sqrt(), "{stalled} of {calls}");
}

#[test]
fn a_slow_database_is_slow_for_all_who_ask_it() {
    let by = Slowdown { factor: 4.0, add: Nanos::from_millis(1) };
    let what = What::SlowBackend { backend: "shop-db".into(), by };
    let mut askers = BTreeSet::new();
    compare(&[what], |clean, faulty| {
        let asks = clean.span.attribute("server.address").is_some_and(|a| &**a == "shop-db");
        if asks {
            askers.insert(clean.span.resource.service.to_string());
            let expected = 4 * clean.span.duration().0 + 1_000_000;
            assert!(near(faulty.span.duration().0, expected));
        } else if clean.gap.is_none() && clean.span.kind == SpanKind::Client {
            assert_eq!(faulty.span.duration(), clean.span.duration());
        }
        if serves(clean) {
            assert_eq!(faulty.own, clean.own);
        }
    });
    assert_eq!(askers.len(), 5, "{askers:?}");
}

#[test]
fn a_delay_on_one_edge_is_seen_on_that_edge_twice_and_nowhere_else() {
    let by = Nanos::from_millis(20);
    let edge = What::EdgeDelay { caller: "cart".into(), callee: "catalog".into(), by };
    let query = What::EdgeDelay { caller: "accounts".into(), callee: "shop-db".into(), by };
    compare(&[edge, query], |clean, faulty| {
        let caller = &*clean.span.resource.service;
        if serves(clean) {
            assert_eq!(faulty.own, clean.own);
        }
        let to_catalog = clean.span.attribute("server.address").is_some_and(|a| &**a == "catalog");
        let more = if caller == "cart" && to_catalog { 2 * by.0 } else { 0 };
        assert_eq!(faulty.gap, clean.gap.map(|gap| gap + more));
        if clean.span.kind == SpanKind::Client && clean.gap.is_none() {
            let more = if caller == "accounts" { 2 * by.0 } else { 0 };
            assert_eq!(faulty.span.duration().0, clean.span.duration().0 + more);
        }
    });
}

#[test]
fn a_network_delay_round_a_service_is_seen_by_all_its_callers() {
    let by = Nanos::from_millis(15);
    let mut callers = BTreeSet::new();
    compare(&[What::ServiceNetwork { service: "catalog".into(), by }], |clean, faulty| {
        let to_it = clean.span.attribute("server.address").is_some_and(|a| &**a == "catalog");
        if to_it {
            callers.insert(clean.span.resource.service.to_string());
        }
        let more = if to_it { 2 * by.0 } else { 0 };
        assert_eq!(faulty.gap, clean.gap.map(|gap| gap + more));
    });
    assert_eq!(callers.into_iter().collect::<Vec<_>>(), ["cart", "recommendations", "storefront"]);
}

#[test]
fn a_ramp_is_as_large_as_its_age_says() {
    let add = Nanos::from_millis(100);
    let by = Slowdown { factor: 1.0, add };
    let what = What::SlowService { service: "accounts".into(), by };
    let (from, full) = (10, Nanos::from_secs(40));
    let fault = Fault::new(what, from, 10 * SECONDS).ramp(full);
    let ramped = scenario(&[]).fault(fault);
    let (clean, faulty) = (run(&scenario(&[])), run(&ramped));
    for (key, clean) in &clean {
        if serves(clean) && &*clean.span.resource.service == "accounts" {
            let faulty = &faulty[key];
            let age = faulty.span.start.since(ramped.start).0.saturating_sub(from * 1_000_000_000);
            let strength = (age as f64 / full.0 as f64).min(1.0);
            let expected = clean.own as f64 + strength * add.0 as f64;
            assert!((faulty.own as f64 - expected).abs() < 10.0);
        }
    }
}

#[test]
fn a_slow_consumer_slows_itself_and_a_lag_only_the_wait() {
    let slow = What::SlowOperation {
        service: "notifications".into(),
        operation: "mail order".into(),
        by: Slowdown::ms(80),
    };
    let by = Nanos::from_secs(2);
    let lag =
        What::ConsumerLag { service: "shipping".into(), operation: "dispatch order".into(), by };
    assert!(scenario(std::slice::from_ref(&lag)).truths()[0].blames.is_empty());
    let mut consumed = 0;
    compare(&[slow, lag], |clean, faulty| {
        if clean.span.kind == SpanKind::Consumer {
            let mail = is(clean, "notifications", "mail order");
            assert_eq!(faulty.own, clean.own + if mail { 80_000_000 } else { 0 });
            let later = faulty.span.start.since(clean.span.start).0;
            assert_eq!(later, if mail { 0 } else { by.0 });
            consumed += 1;
        }
    });
    assert!(consumed > 100);
}

#[test]
fn two_faults_are_both_there() {
    let by = Slowdown::ms(10);
    let cart = What::SlowService { service: "cart".into(), by };
    let pricing = What::SlowService { service: "pricing".into(), by };
    assert_eq!(scenario(&[cart.clone(), pricing.clone()]).truths().len(), 2);
    compare(&[cart, pricing], |clean, faulty| {
        if serves(clean) {
            let hit = matches!(&*clean.span.resource.service, "cart" | "pricing");
            assert_eq!(faulty.own, clean.own + if hit { 10_000_000 } else { 0 });
        }
    });
}

#[test]
fn a_renamed_operation_is_gone_under_its_old_name() {
    let what = What::Renamed {
        service: "pricing".into(),
        operation: "POST /quote".into(),
        to: "POST /v2/quote".into(),
        by: Slowdown::ms(30),
    };
    compare(&[what], |clean, faulty| {
        if serves(clean) && &*clean.span.resource.service == "pricing" {
            assert_eq!(&*faulty.span.name, "POST /v2/quote");
            assert_eq!(faulty.own, clean.own + 30_000_000);
        } else {
            assert_eq!(faulty.span.name, clean.span.name);
        }
    });
}

/// The start and end of the calls of each span of an operation, in order.
fn calls_of(run: &Run, service: &str, name: &str, callee: &str) -> Vec<Vec<(u64, u64)>> {
    let parents = run.iter().filter(|(_, m)| serves(m) && is(m, service, name));
    let mut calls: BTreeMap<_, Vec<_>> = parents.map(|(key, _)| (*key, Vec::new())).collect();
    for measured in run.values() {
        let span = &measured.span;
        let to_it = span.attribute("server.address").is_some_and(|a| a.starts_with(callee));
        let Some(parent) = span.parent.filter(|_| to_it) else { continue };
        if let Some(list) = calls.get_mut(&(span.trace, parent)) {
            list.push((span.start.0, span.end.0));
        }
    }
    calls.values_mut().for_each(|list| list.sort_unstable());
    calls.into_values().collect()
}

#[test]
fn more_calls_are_exactly_so_many_times_as_many() {
    let what = What::MoreCalls {
        service: "cart".into(),
        operation: "GET /cart".into(),
        callee: "catalog".into(),
        times: 6,
    };
    let faulty = run(&scenario(&[what]));
    let calls = calls_of(&faulty, "cart", "GET /cart", "catalog");
    assert!(calls.len() > 100);
    let counts: BTreeSet<_> = calls.iter().map(Vec::len).collect();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [6, 12, 18, 24]);
    let overlaps = |list: &Vec<(u64, u64)>| list.windows(2).any(|pair| pair[1].0 < pair[0].1);
    assert!(!calls.iter().any(overlaps));
}

#[test]
fn lost_parallelism_puts_calls_in_a_row_and_makes_none_slower() {
    let what = What::LostParallelism { service: "storefront".into(), operation: "GET /".into() };
    let overlaps = |run: &Run| {
        let calls = calls_of(run, "storefront", "GET /", "");
        let overlap = |list: &Vec<(u64, u64)>| list.windows(2).any(|pair| pair[1].0 < pair[0].1);
        (calls.iter().filter(|list| overlap(list)).count(), calls.len())
    };
    let (clean, faulty) = (run(&scenario(&[])), run(&scenario(std::slice::from_ref(&what))));
    let (overlapping, all) = overlaps(&clean);
    assert!(overlapping == all && all > 100);
    assert_eq!(overlaps(&faulty), (0, all));
    let root = |m: &Measured| is(m, "storefront", "GET /") && serves(m);
    compare(&[what], |clean, faulty| {
        if !root(clean) {
            assert_eq!(faulty.span.duration(), clean.span.duration());
        } else {
            assert!(faulty.span.duration() > clean.span.duration());
        }
    });
}

#[test]
fn an_impatient_caller_gives_up_and_tries_again_while_the_server_goes_on() {
    let what = What::SlowService { service: "payments".into(), by: Slowdown::ms(1_000) };
    let faulty = run(&scenario(&[what]));
    let calls = calls_of(&faulty, "checkout", "POST /checkout", "payments");
    assert!(calls.len() > 50);
    for call in calls {
        assert_eq!(call.len(), 3);
        assert!(call.iter().all(|(start, end)| end - start == 400_000_000));
        assert!(call.windows(2).all(|pair| pair[1].0 - pair[0].1 == 50_000_000));
    }
    for measured in faulty.values() {
        let span = &measured.span;
        let charge = &*span.name == "POST /charge";
        if charge && span.kind == SpanKind::Server {
            assert!(span.duration() > Nanos::from_secs(1) && !span.failed);
        }
        let gave_up = charge && span.kind == SpanKind::Client;
        assert_eq!(span.failed, gave_up || &*span.name == "POST /checkout", "{}", span.name);
    }
}

#[test]
fn what_a_span_causes_lies_within_it_unless_it_is_a_message() {
    let run = run(&scenario(&[]));
    let mut messages = 0;
    for measured in run.values() {
        let span = &measured.span;
        assert!(span.start <= span.end);
        let Some(parent) = span.parent else {
            assert_eq!(span.kind, SpanKind::Server);
            continue;
        };
        let parent = &run[&(span.trace, parent)].span;
        if span.kind == SpanKind::Consumer {
            assert_eq!(parent.kind, SpanKind::Producer);
            assert!(span.start >= parent.end);
            messages += 1;
        } else {
            assert!(span.start >= parent.start && span.end <= parent.end, "{span:?} {parent:?}");
        }
    }
    assert!(messages > 100);
}

/// A number that changes when anything that is sent changes.
fn fingerprint(scenario: &Scenario) -> (u64, u64) {
    let mut hasher = DefaultHasher::new();
    let mut spans = 0;
    for batch in scenario.batches().unwrap() {
        batch.arrival.0.hash(&mut hasher);
        for span in batch.spans {
            let ids = (span.trace.get(), span.id.get(), span.parent.map(SpanId::get));
            ids.hash(&mut hasher);
            (span.start.0, span.end.0, span.failed, span.kind as u8).hash(&mut hasher);
            (&*span.name, &*span.resource.instance, &span.attributes).hash(&mut hasher);
            spans += 1;
        }
    }
    (hasher.finish(), spans)
}

#[test]
fn a_seed_is_a_run_to_the_byte() {
    let delivery = Delivery {
        lost_share: 0.02,
        late_share: 0.05,
        duplicate_share: 0.02,
        clock_skew: Nanos::from_millis(50),
        ..Delivery::default()
    };
    let what = What::Stalls { service: "cart".into(), probability: 0.3, by: Nanos(1_000) };
    let scenario = scenario(&[what]).delivery(delivery);
    let first = fingerprint(&scenario);
    assert_eq!(fingerprint(&scenario.clone()), first);
    assert_ne!(fingerprint(&scenario.clone().seed(2)), first);
    assert_ne!(fingerprint(&scenario.clone().start(Timestamp::from_secs(5))), first);
    assert!(first.1 > 10_000);
}
