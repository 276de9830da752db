//! What happens in healthy systems every day.

use crate::sim::faults::{Fault, Scope, What};
use crate::sim::process::Life;
use crate::sim::rand::secs;
use crate::sim::topology::OpId;

use super::Happening;
use super::draft::{Draft, Recipe};
use super::fleet::restarted;

pub(super) fn steady(_: &mut Draft) -> Recipe {
    Recipe::quiet(Happening::default)
}

fn only(draft: &Draft, what: What) -> Recipe {
    let fault = draft.fault(what);
    Recipe::quiet(move || Happening { faults: vec![fault.clone()], lives: None })
}

pub(super) fn surge(draft: &mut Draft) -> Recipe {
    let factor = draft.random.uniform(2.0, 3.0);
    surge_capacity(draft);
    let fault = Fault { ramp: secs(60.0), ..draft.fault(What::Surge(factor)) };
    Recipe::quiet(move || Happening { faults: vec![fault.clone()], lives: None })
}

/// Sized for the peak, as systems that see surges are.
fn surge_capacity(draft: &mut Draft) {
    for service in &mut draft.system.services {
        service.workers *= 3;
    }
    for dep in &mut draft.system.deps {
        dep.servers *= 3;
    }
    for edge in &mut draft.system.edges {
        edge.pool *= 3;
    }
}

pub(super) fn mix_change(draft: &mut Draft) -> Recipe {
    let entry = draft.random.between(0, draft.system.entries.len() - 1);
    only(draft, What::Mix { entry, factor: 4.0 })
}

/// An operation whose own work is so small a part of every entry that half as much again is below 5 %
/// of any. Larger ones are faults: users wait longer, and somebody wants to know; see `bad_version`.
pub(super) fn slower_version(draft: &mut Draft) -> Recipe {
    draft.size = 0.04;
    let small = |draft: &Draft, op: OpId| {
        let per_call = 0.5 * own(draft, op);
        per_call < draft.add_for(|entry| draft.plan.visits[entry][op])
    };
    let op = draft.op(small).unwrap_or(0);
    let service = draft.system.ops[op].service;
    let mut lives = draft.lives();
    let instances = draft.system.services[service].instances.clone();
    for (at, instance) in instances.into_iter().enumerate() {
        lives[instance] = restarted(draft.from + secs(20.0) * at as u64, 3.0, 2, 1.0);
    }
    let scope = Scope { op: Some(op), version: 2, ..Scope::service(service) };
    let what = What::Slow { scope, factor: 1.5, add: 0.0, share: 1.0 };
    // It stays.
    let fault = Fault { what, from: draft.from, to: u64::MAX, ramp: 0 };
    Recipe::quiet(move || Happening { faults: vec![fault.clone()], lives: Some(lives.clone()) })
}

fn own(draft: &Draft, op: OpId) -> f64 {
    use crate::sim::topology::Step;
    let own = |step: &Step| match step {
        Step::Work(dist) | Step::Internal(_, dist) => dist.mean(),
        _ => 0.0,
    };
    draft.system.ops[op].steps.iter().map(own).sum()
}

pub(super) fn drift(draft: &mut Draft) -> Recipe {
    let service = draft.service();
    let what = What::Slow { scope: Scope::service(service), factor: 1.1, add: 0.0, share: 1.0 };
    let fault = Fault { ramp: draft.to - draft.from, to: u64::MAX, ..draft.fault(what) };
    Recipe::quiet(move || Happening { faults: vec![fault.clone()], lives: None })
}

/// Every other instance, one a minute, each a little cold for a while; services of one instance are
/// left alone.
pub(super) fn restart(draft: &mut Draft) -> Recipe {
    let mut lives: Vec<Vec<Life>> = draft.lives();
    let mut at = draft.from;
    for service in &draft.system.services {
        for &instance in service.instances.iter().skip(1).step_by(2) {
            let cold = draft.random.uniform(1.1, 2.0);
            lives[instance] = restarted(at, 5.0, 1, cold);
            at += secs(15.0);
        }
    }
    Recipe::quiet(move || Happening { faults: Vec::new(), lives: Some(lives.clone()) })
}

pub(super) fn nightly_batch(draft: &mut Draft) -> Recipe {
    let what = batch(draft);
    only(draft, what)
}

/// One entry, otherwise seldom used, gets a lot of requests.
fn batch(draft: &Draft) -> What {
    let entries = draft.system.entries.iter().enumerate();
    let least = entries.min_by(|one, two| one.1.share.total_cmp(&two.1.share));
    let entry = least.map_or(0, |(entry, _)| entry);
    let factor = 1.0 + 0.8 / draft.system.entries[entry].share;
    What::Mix { entry, factor: factor.min(12.0) }
}

pub(super) fn lost_spans(draft: &mut Draft) -> Recipe {
    let share = draft.random.uniform(0.05, 0.2);
    only(draft, What::Lose(share))
}

/// Twenty-four hours with one of most things, each at a time of its own.
pub(super) fn day(draft: &mut Draft) -> Recipe {
    surge_capacity(draft);
    let mut faults = Vec::new();
    let mut at = |draft: &mut Draft, minutes: f64, what: What| {
        let from = draft.from + secs(draft.random.uniform(0.0, 85_000.0));
        faults.push(Fault { what, from, to: from + secs(60.0 * minutes), ramp: secs(60.0) });
    };
    for _ in 0..2 {
        let factor = draft.random.uniform(1.5, 2.5);
        at(draft, 20.0, What::Surge(factor));
        let share = draft.random.uniform(0.05, 0.2);
        at(draft, 15.0, What::Lose(share));
        let entry = draft.random.between(0, draft.system.entries.len() - 1);
        at(draft, 60.0, What::Mix { entry, factor: 3.0 });
    }
    let night = batch(draft);
    at(draft, 30.0, night);
    let mut lives = draft.lives();
    let services: Vec<_> = draft.system.services.clone();
    for service in services {
        // One deployment or restart a day, one instance after the other; nobody gets slower by it.
        let mut from = draft.from + secs(draft.random.uniform(0.0, 85_000.0));
        let cold = draft.random.uniform(1.0, 1.6);
        let version = draft.random.between(1, 2);
        for &instance in &service.instances {
            lives[instance] = restarted(from, 5.0, version, cold);
            from += secs(45.0);
        }
    }
    Recipe::quiet(move || Happening { faults: faults.clone(), lives: Some(lives.clone()) })
}
