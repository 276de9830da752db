//! The scenarios. Faults start after five and a half minutes of learning (fan-out needs 36 slices of
//! 5 s beyond the windows under test) and last two and a half; three minutes are left to recover.
//!
//! How soon a verdict must come: the last span of a request closes its trace 5 s later, two slices of
//! 5 s in a row must be hot, which leaves no less than 15 s; what is rare, slight or growing takes longer.

use laghound::model::Nanos;
use laghound::sim::{
    Delivery, Fault, MixChange, Scenario, Shape, Slowdown, Topology, Traffic, What, Work, shop,
};

use super::{Case, Culprit, Expect};

const FROM: u64 = 330;
const TO: u64 = 480;
const SECONDS: u64 = 660;

const SERVICE: &[&str] = &["service"];
const DEPENDENCY: &[&str] = &["dependency"];
const EDGE: &[&str] = &["edge"];
const SELF_TIME: &[&str] = &["self_time"];
const CALL_GAP: &[&str] = &["call_gap"];

fn named(name: &'static str, what: What, within_secs: u64, culprit: Culprit) -> Case {
    let scenario = Scenario::new(shop(), SECONDS).fault(Fault::new(what, FROM, TO));
    let within = Nanos::from_secs(within_secs);
    Case { name, scenario, expect: Expect::Names { faults: vec![culprit], within } }
}

fn quiet(name: &'static str, scenario: Scenario) -> Case {
    Case { name, scenario, expect: Expect::Quiet }
}

fn culprit(
    service: &'static str,
    kinds: &'static [&'static str],
    reasons: &'static [&'static str],
) -> Culprit {
    Culprit { names: vec![(service, kinds)], reasons, pattern: None, singled_out: None }
}

fn sustained(service: &'static str) -> Culprit {
    Culprit { pattern: Some("sustained"), ..culprit(service, SERVICE, SELF_TIME) }
}

fn slow_service(service: &str, add_ms: u64) -> What {
    What::SlowService { service: service.into(), by: Slowdown::ms(add_ms) }
}

pub(super) fn one_service_slower() -> Case {
    named("one_service_slower", slow_service("cart", 40), 30, sustained("cart"))
}

pub(super) fn one_operation_slower() -> Case {
    let what = What::SlowOperation {
        service: "catalog".into(),
        operation: "GET /products".into(),
        by: Slowdown::ms(50),
    };
    named("one_operation_slower", what, 30, sustained("catalog"))
}

pub(super) fn a_database_slower() -> Case {
    let what = What::SlowBackend { backend: "shop-db".into(), by: Slowdown::times(4.0) };
    named("a_database_slower", what, 30, culprit("shop-db", DEPENDENCY, SELF_TIME))
}

pub(super) fn a_third_party_slower() -> Case {
    let what = What::SlowBackend { backend: "card-gateway".into(), by: Slowdown::times(3.0) };
    named("a_third_party_slower", what, 45, culprit("card-gateway", DEPENDENCY, SELF_TIME))
}

pub(super) fn network_delay_between_two_services() -> Case {
    let by = Nanos::from_millis(30);
    let what = What::EdgeDelay { caller: "cart".into(), callee: "pricing".into(), by };
    // The link under either end, or the callee as the one whose calls are late.
    let names = vec![("pricing", &["edge", "service"][..]), ("cart", EDGE)];
    let culprit = Culprit { names, reasons: CALL_GAP, pattern: None, singled_out: None };
    named("network_delay_between_two_services", what, 45, culprit)
}

pub(super) fn network_delay_round_one_service() -> Case {
    let by = Nanos::from_millis(20);
    let what = What::ServiceNetwork { service: "catalog".into(), by };
    let culprit = culprit("catalog", &["service", "edge"], CALL_GAP);
    named("network_delay_round_one_service", what, 45, culprit)
}

pub(super) fn n_plus_one_calls() -> Case {
    let what = What::MoreCalls {
        service: "cart".into(),
        operation: "GET /cart".into(),
        callee: "catalog".into(),
        times: 6,
    };
    named("n_plus_one_calls", what, 45, culprit("cart", SERVICE, &["call_count"]))
}

pub(super) fn one_instance_of_several() -> Case {
    let by = Slowdown::ms(120);
    let what = What::SlowInstance { service: "cart".into(), instance: 2, by };
    let culprit = Culprit {
        singled_out: Some(("service.instance.id", "cart-2")),
        ..culprit("cart", SERVICE, SELF_TIME)
    };
    named("one_instance_of_several", what, 30, culprit)
}

pub(super) fn stalls_in_a_tenth_of_the_calls() -> Case {
    let by = Nanos::from_millis(250);
    let what = What::Stalls { service: "pricing".into(), probability: 0.1, by };
    let culprit =
        Culprit { pattern: Some("intermittent"), ..culprit("pricing", SERVICE, SELF_TIME) };
    named("stalls_in_a_tenth_of_the_calls", what, 60, culprit)
}

/// At one request a second, in one call of twelve, whatever is called: three slow calls a minute of any one
/// operation. What no operation shows alone, the service shows.
pub(super) fn stalls_at_one_request_a_second() -> Case {
    let (learned, ends) = (1_200, 1_440);
    let by = Nanos::from_millis(400);
    let what = What::Stalls { service: "catalog".into(), probability: 0.08, by };
    let traffic = Traffic::constant(1.0);
    let scenario = Scenario::new(shop(), 1_620).traffic(traffic);
    let faults =
        vec![Culprit { pattern: Some("intermittent"), ..culprit("catalog", SERVICE, SELF_TIME) }];
    Case {
        name: "stalls_at_one_request_a_second",
        scenario: scenario.fault(Fault::new(what, learned, ends)),
        expect: Expect::Names { faults, within: Nanos::from_secs(120) },
    }
}

/// At two requests a second, one payment in ten does not answer before its caller has given up, and long after
/// the rest of its trace: what is left of it is a call that failed.
pub(super) fn calls_that_hang_at_two_requests_a_second() -> Case {
    let (learned, ends) = (1_200, 1_440);
    let by = Nanos::from_secs(12);
    let what = What::Stalls { service: "payments".into(), probability: 0.1, by };
    let scenario = Scenario::new(shop(), 1_620).traffic(Traffic::constant(2.0));
    Case {
        name: "calls_that_hang_at_two_requests_a_second",
        scenario: scenario.fault(Fault::new(what, learned, ends)),
        expect: Expect::Names {
            faults: vec![culprit("payments", SERVICE, CALL_GAP)],
            within: Nanos::from_secs(120),
        },
    }
}

pub(super) fn a_slow_ramp() -> Case {
    let mut case = named("a_slow_ramp", slow_service("accounts", 60), 90, sustained("accounts"));
    case.scenario.faults[0].ramp = Nanos::from_secs(120);
    case
}

pub(super) fn an_async_consumer() -> Case {
    let what = What::SlowOperation {
        service: "notifications".into(),
        operation: "mail order".into(),
        by: Slowdown::ms(120),
    };
    named("an_async_consumer", what, 45, sustained("notifications"))
}

pub(super) fn two_faults_at_once() -> Case {
    let mut case = named("two_faults_at_once", slow_service("cart", 50), 45, sustained("cart"));
    case.scenario = case.scenario.fault(Fault::new(slow_service("recommendations", 60), FROM, TO));
    if let Expect::Names { faults, .. } = &mut case.expect {
        faults.push(sustained("recommendations"));
    }
    case
}

pub(super) fn retries_after_timeouts() -> Case {
    // `checkout` gives `payments` 400 ms and tries it twice more.
    let culprit = culprit("payments", SERVICE, SELF_TIME);
    named("retries_after_timeouts", slow_service("payments", 600), 45, culprit)
}

pub(super) fn a_new_operation_name_with_a_slowdown() -> Case {
    let what = What::Renamed {
        service: "pricing".into(),
        operation: "POST /quote".into(),
        to: "POST /v2/quote".into(),
        by: Slowdown::ms(50),
    };
    let culprit = culprit("pricing", SERVICE, &["new_operation", "self_time"]);
    named("a_new_operation_name_with_a_slowdown", what, 60, culprit)
}

/// One batch in fifty never comes, one in twenty up to 20 s late, one in fifty twice.
fn shaky() -> Delivery {
    Delivery {
        lost_share: 0.02,
        late_share: 0.05,
        late_by: Nanos::from_secs(20),
        duplicate_share: 0.02,
        ..Delivery::default()
    }
}

fn skewed() -> Delivery {
    Delivery { clock_skew: Nanos::from_millis(150), ..Delivery::default() }
}

pub(super) fn lost_and_late_spans() -> Case {
    let mut case =
        named("lost_and_late_spans", slow_service("pricing", 50), 60, sustained("pricing"));
    case.scenario.delivery = shaky();
    case
}

pub(super) fn skewed_clocks() -> Case {
    let culprit = sustained("recommendations");
    let mut case = named("skewed_clocks", slow_service("recommendations", 60), 45, culprit);
    case.scenario.delivery = skewed();
    case
}

pub(super) fn nothing_wrong() -> Case {
    quiet("nothing_wrong", Scenario::new(shop(), 1_200))
}

pub(super) fn nothing_wrong_with_lost_and_late_spans() -> Case {
    let scenario = Scenario::new(shop(), 1_200).delivery(shaky());
    quiet("nothing_wrong_with_lost_and_late_spans", scenario)
}

pub(super) fn nothing_wrong_on_skewed_clocks() -> Case {
    quiet("nothing_wrong_on_skewed_clocks", Scenario::new(shop(), SECONDS).delivery(skewed()))
}

pub(super) fn a_traffic_surge() -> Case {
    let (from, to) = (Nanos::from_secs(FROM), Nanos::from_secs(TO));
    let traffic = Traffic::constant(10.0).shaped(Shape::Surge { from, to, factor: 5.0 });
    quiet("a_traffic_surge", Scenario::new(shop(), SECONDS).traffic(traffic))
}

/// A sale: three times as many check out, and half as many look at the front page.
pub(super) fn another_traffic_mix() -> Case {
    let from = Nanos::from_secs(FROM);
    let change = |operation: &str, factor| MixChange { from, operation: operation.into(), factor };
    let mix_changes = vec![change("POST /checkout", 3.0), change("GET /", 0.5)];
    let traffic = Traffic { mix_changes, ..Traffic::constant(20.0) };
    quiet("another_traffic_mix", Scenario::new(shop(), SECONDS).traffic(traffic))
}

/// One piece of work in a hundred takes a Pareto factor longer, whose variance is infinite.
pub(super) fn heavy_tails() -> Case {
    let mut heavy: Topology = shop();
    heavy.reshape(|work: Work| work.sigma(0.5).heavy_tail(0.01, 1.5));
    quiet("heavy_tails", Scenario::new(heavy, 1_200))
}

/// A day in three hours: half as many requests at night and half as many more at noon, with work 15 %
/// shorter and longer. The baseline's 30 minutes are not shortened with the day, so this drifts eight
/// times as fast as a real day.
pub(super) fn a_daily_drift() -> Case {
    let wave = Shape::Wave { period: Nanos::from_secs(10_800), swing: 0.5 };
    let traffic = Traffic { load_slows: 0.3, ..Traffic::constant(5.0).shaped(wave) };
    quiet("a_daily_drift", Scenario::new(shop(), 12_000).traffic(traffic))
}

/// Messages lie longer before they are taken up: nobody's request takes longer.
pub(super) fn messages_that_wait() -> Case {
    let by = Nanos::from_secs(2);
    let what =
        What::ConsumerLag { service: "notifications".into(), operation: "mail order".into(), by };
    let scenario = Scenario::new(shop(), SECONDS).fault(Fault::new(what, FROM, TO));
    quiet("messages_that_wait", scenario)
}
