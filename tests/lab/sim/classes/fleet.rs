//! Faults of instances and versions.

use crate::sim::faults::{Fault, Scope, What};
use crate::sim::process::Life;
use crate::sim::rand::secs;
use crate::sim::topology::{Callee, InstanceId};
use crate::sim::truth::Culprit;

use super::Happening;
use super::draft::{Draft, Recipe};
use super::work::version_where;

pub(super) fn bad_instance(draft: &mut Draft) -> Recipe {
    let service = draft.replicated();
    let instances = draft.system.services[service].instances.clone();
    let bad = *draft.random.choose(&instances);
    let add = draft.add_for_service(service) * instances.len() as f64;
    let scope = Scope { instance: Some(bad), ..Scope::service(service) };
    let blamed = Culprit::service(draft.system.service_name(service)).pattern(None);
    let blamed = draft.wheres(blamed, bad, 0);
    draft
        .one(add, move |add| What::Slow { scope, factor: 1.0, add, share: 1.0 })
        .blames(blamed, Callee::Service(service))
}

/// The lives of an instance that is restarted once: away for `away` seconds, then cold.
pub(super) fn restarted(at: u64, away: f64, version: usize, cold: f64) -> Vec<Life> {
    let back = at + secs(away);
    let before = Life { to: at, ..Life::WHOLE };
    vec![before, Life { from: back, to: u64::MAX, version, cold, warm_up: secs(60.0) }]
}

/// Instance by instance, one after the other, over half of the fault's time. The new version is what
/// the slow calls have in common; so are, at first, its instances.
pub(super) fn bad_version(draft: &mut Draft) -> Recipe {
    let service = draft.replicated();
    let instances = draft.system.services[service].instances.clone();
    let (from, to) = (draft.from, draft.to);
    let mut lives = draft.lives();
    let gap = (to - from) / 2 / instances.len() as u64;
    for (at, &instance) in instances.iter().enumerate() {
        lives[instance] = restarted(from + gap * at as u64, 3.0, 2, 1.0);
    }
    let scope = Scope { version: 2, ..Scope::service(service) };
    let add = draft.add_for_service(service) * 1.3;
    let make = move |add| {
        let what = What::Slow { scope, factor: 1.0, add, share: 1.0 };
        let fault = Fault { what, from, to, ramp: 0 };
        Happening { faults: vec![fault], lives: Some(lives.clone()) }
    };
    let blamed = Culprit::service(draft.system.service_name(service)).pattern(None);
    let mut blamed = version_where(blamed, 2);
    for &instance in &instances {
        blamed = draft.wheres(blamed, instance, 1);
    }
    Recipe::new(add, make).blames(blamed, Callee::Service(service))
}

/// Twice the requests, and twice the instances to meet them, which are slow at first.
pub(super) fn cold_start(draft: &mut Draft) -> Recipe {
    let service = draft.service();
    let old = draft.system.services[service].instances.len();
    let new: Vec<InstanceId> = (0..old).map(|_| draft.add_instance(service)).collect();
    let (from, to) = (draft.from, draft.to);
    let mut lives = draft.lives();
    let add = draft.add_for_service(service) * 2.0;
    let mut sound = draft.lives();
    for &instance in &new {
        lives[instance] = vec![Life { from, ..Life::WHOLE }];
        // Without the fault nobody adds them.
        sound[instance] = vec![Life { from: u64::MAX, ..Life::WHOLE }];
    }
    let scopes: Vec<Scope> = new
        .iter()
        .map(|&instance| Scope { instance: Some(instance), ..Scope::service(service) })
        .collect();
    let make = move |add: f64| Happening {
        faults: scopes
            .iter()
            .map(|&scope| Fault {
                what: What::Slow { scope, factor: 1.0, add, share: 1.0 },
                from,
                to,
                ramp: 0,
            })
            .collect(),
        lives: Some(lives.clone()),
    };
    let mut blamed = Culprit::service(draft.system.service_name(service)).pattern(None);
    for &instance in &new {
        blamed = draft.wheres(blamed, instance, 0);
    }
    let surge = draft.fault(What::Surge(1.5));
    let recipe = Recipe::new(add, make).blames(blamed, Callee::Service(service));
    Recipe { background: vec![surge], sound_lives: Some(sound), ..recipe }
}
