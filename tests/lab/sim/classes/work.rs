//! Faults in what a service does itself.

use crate::sim::faults::{Fault, Scope, What};
use crate::sim::names;
use crate::sim::plan::Plan;
use crate::sim::rand::{Dist, secs};
use crate::sim::topology::{Callee, OpId, ServiceId, Step};
use crate::sim::truth::Culprit;

use super::Happening;
use super::draft::{Draft, Recipe};

/// Mean nanoseconds of an operation's own work.
fn own_work(draft: &Draft, op: OpId) -> f64 {
    let steps = draft.system.ops[op].steps.iter();
    let own = |step: &Step| match step {
        Step::Work(dist) | Step::Internal(_, dist) => dist.mean(),
        _ => 0.0,
    };
    steps.map(own).sum()
}

fn culprit(draft: &Draft, service: ServiceId) -> Culprit {
    Culprit::service(draft.system.service_name(service))
}

/// Longer by an amount, or as a multiple of what it takes.
fn slower(draft: &mut Draft, scope: Scope, add: f64, own: f64) -> Recipe {
    if draft.random.chance(0.6) {
        draft.one(add, move |add| What::Slow { scope, factor: 1.0, add, share: 1.0 })
    } else {
        let own = own.max(1e5);
        draft.one(add / own, move |more| What::Slow {
            scope,
            factor: 1.0 + more,
            add: 0.0,
            share: 1.0,
        })
    }
}

pub(super) fn slow_service(draft: &mut Draft) -> Recipe {
    let service = draft.service();
    let add = draft.add_for_service(service);
    let ops = draft.system.services[service].ops.clone();
    let own = ops.iter().map(|&op| own_work(draft, op)).sum::<f64>() / ops.len() as f64;
    let blamed = culprit(draft, service);
    slower(draft, Scope::service(service), add, own).blames(blamed, Callee::Service(service))
}

pub(super) fn slow_operation(draft: &mut Draft) -> Recipe {
    let op = draft.op(|_, _| true).expect("a system has operations");
    let service = draft.system.ops[op].service;
    let add = draft.add_for(|entry| draft.plan.visits[entry][op]);
    let own = own_work(draft, op);
    let blamed = culprit(draft, service);
    let scope = Scope { op: Some(op), ..Scope::service(service) };
    slower(draft, scope, add, own).blames(blamed, Callee::Service(service))
}

pub(super) fn intermittent(draft: &mut Draft) -> Recipe {
    let service = draft.service();
    let share = draft.random.log_uniform(0.01, 0.2);
    let add = draft.add_for_service(service) / share;
    let scope = Scope::service(service);
    let blamed = culprit(draft, service).pattern(Some("intermittent"));
    draft
        .one(add, move |add| What::Slow { scope, factor: 1.0, add, share })
        .blames(blamed, Callee::Service(service))
}

/// Grows for half of its time, then stays. It can be noticed from when it has reached 10 % of the
/// entry, or half its size if that is less.
fn growing(draft: &mut Draft) -> Recipe {
    let service = draft.service();
    let add = draft.add_for_service(service);
    let (from, to) = (draft.from, draft.to);
    let make = move |add| {
        let what = What::Slow { scope: Scope::service(service), factor: 1.0, add, share: 1.0 };
        Happening { faults: vec![Fault { what, from, to, ramp: (to - from) / 2 }], lives: None }
    };
    let blamed = culprit(draft, service);
    let recipe = Recipe::new(add, make).blames(blamed, Callee::Service(service));
    // What is fitted is the mean over the whole time: three quarters of the full size.
    let full = draft.size.max(0.01) / 0.75;
    Recipe { noticeable: 0.5 * (0.1 / full).min(0.5), ..recipe }
}

pub(super) fn ramp(draft: &mut Draft) -> Recipe {
    growing(draft)
}

pub(super) fn ramp_hours(draft: &mut Draft) -> Recipe {
    draft.system.rate = draft.system.rate.min(6.0);
    draft.plan = Plan::of(&draft.system);
    growing(draft)
}

pub(super) fn slow_tenant(draft: &mut Draft) -> Recipe {
    let service = draft.service();
    let (attribute, value, share, scope) = if draft.random.chance(0.5) {
        let tenant = draft.random.between(0, 2);
        let (name, share) = draft.system.tenants[tenant].clone();
        ("tenant", name, share, Scope { tenant: Some(tenant), ..Scope::service(service) })
    } else {
        let region = draft.random.between(0, 1);
        let (name, share) = draft.system.regions[region].clone();
        ("region", name, share, Scope { region: Some(region), ..Scope::service(service) })
    };
    let add = draft.add_for_service(service) / share;
    // A third of the calls is neither most nor a few.
    let blamed = culprit(draft, service).pattern(None).singled_out(attribute, &value);
    draft
        .one(add, move |add| What::Slow { scope, factor: 1.0, add, share: 1.0 })
        .blames(blamed, Callee::Service(service))
}

pub(super) fn lock_contention(draft: &mut Draft) -> Recipe {
    let locks = |draft: &Draft, op: OpId| {
        draft.system.ops[op].steps.iter().any(|step| matches!(step, Step::Locked(_)))
    };
    let op = match draft.op(locks) {
        Some(op) => op,
        None => {
            let op = draft.op(|_, _| true).expect("a system has operations");
            draft.system.ops[op].steps.insert(1, Step::Locked(Dist::log_normal(2e5, 0.4)));
            op
        }
    };
    let service = draft.system.ops[op].service;
    let add = draft.add_for(|entry| draft.plan.visits[entry][op]);
    let blamed = culprit(draft, service);
    draft.one(add, move |add| What::Hold { service, add }).blames(blamed, Callee::Service(service))
}

pub(super) fn gc_pauses(draft: &mut Draft) -> Recipe {
    let service = draft.service();
    let every = secs(draft.random.uniform(4.0, 15.0)) as f64;
    // What arrives in a pause of length L waits L/2 on average, and L in every `every` is paused.
    let length = (2.0 * draft.add_for_service(service) * every).sqrt();
    let blamed = culprit(draft, service).pattern(Some("intermittent"));
    let name = draft.system.service_name(service).to_owned();
    draft
        .one(length, move |length| What::Pauses { service, instance: None, every, length })
        .within(1e6, 8e9)
        .blames(blamed.also(&name, "edge"), Callee::Service(service))
}

pub(super) fn cpu_throttling(draft: &mut Draft) -> Recipe {
    let service = draft.service();
    let period = secs(*draft.random.choose(&[0.1, 0.1, 1.0]));
    // What meets a stop of s waits s/2 on average; s of every period is a stop.
    let add = draft.add_for_service(service);
    let share = (2.0 * add / period as f64).sqrt();
    let blamed = culprit(draft, service).pattern(None);
    let name = draft.system.service_name(service).to_owned();
    draft
        .one(share, move |share| What::Throttle { service, instance: None, period, share })
        .within(0.005, 0.9)
        .blames(blamed.also(&name, "edge"), Callee::Service(service))
}

pub(super) fn slow_consumer(draft: &mut Draft) -> Recipe {
    let first = draft.system.entries.len();
    let topic = draft.random.between(0, draft.system.topics.len() - 1);
    let entry = first + topic;
    let op = draft.plan.ops[entry];
    let service = draft.system.ops[op].service;
    let add = draft.size * draft.plan.entry_duration(entry);
    let scope = Scope { op: Some(op), ..Scope::service(service) };
    let blamed = culprit(draft, service);
    draft
        .one(add, move |add| What::Slow { scope, factor: 1.0, add, share: 1.0 })
        .blames(blamed, Callee::Service(service))
}

/// For the truth's sake: what a version is called.
pub(super) fn version_where(culprit: Culprit, number: usize) -> Culprit {
    culprit.singled_out("service.version", &names::version(number))
}
