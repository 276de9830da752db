//! The faults of a scenario, resolved against its topology and asked at each step of a request.
//!
//! Names become positions once; a defect in a name is found before anything runs. Chances that
//! belong to faults are drawn from the fault stream only, so that a run with a fault and one
//! without it agree on everything the fault does not touch.

use std::sync::Arc;

use crate::model::Nanos;

use super::fault::{Fault, FaultDefect, Slowdown, What};
use super::random::Random;
use super::topology::{Target, Topology};

/// Whom a call goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Callee {
    Service(usize),
    Backend(usize),
}

#[derive(Clone, Debug)]
enum Effect {
    Service { service: usize, by: Slowdown },
    Operation { operation: usize, by: Slowdown },
    Instance { service: usize, instance: usize, by: Slowdown },
    Stalls { service: usize, probability: f64, by: Nanos },
    Backend { backend: usize, by: Slowdown },
    Gap { caller: Option<usize>, callee: Callee, by: Nanos },
    Count { operation: usize, callee: Callee, times: u32 },
    Sequence { operation: usize },
    Rename { operation: usize, to: Arc<str>, by: Slowdown },
    Lag { operation: usize, by: Nanos },
}

/// What is in effect when.
#[derive(Clone, Debug)]
pub(super) struct Effects(Vec<(Fault, Effect)>);

/// How an operation is changed at one moment.
pub(super) struct Changed {
    pub(super) by: Slowdown,
    pub(super) name: Option<Arc<str>>,
    pub(super) in_sequence: bool,
}

impl Effects {
    pub(super) fn new(faults: &[Fault], topology: &Topology) -> Result<Effects, FaultDefect> {
        let resolved = faults.iter().map(|fault| {
            let effect = resolve(&fault.what, topology)?;
            Ok((fault.clone(), effect))
        });
        resolved.collect::<Result<_, _>>().map(Effects)
    }

    fn active(&self, at: Nanos) -> impl Iterator<Item = (f64, &Effect)> {
        self.0.iter().filter_map(move |(fault, effect)| {
            let strength = fault.strength(at);
            (strength > 0.0).then_some((strength, effect))
        })
    }

    /// What holds for one call of an operation on one instance.
    pub(super) fn changed(
        &self,
        (service, operation, instance): (usize, usize, usize),
        at: Nanos,
        draw: &mut Random,
    ) -> Changed {
        let mut changed = Changed { by: Slowdown::NONE, name: None, in_sequence: false };
        for (strength, effect) in self.active(at) {
            let by = match effect {
                Effect::Service { service: s, by } if *s == service => by.at(strength),
                Effect::Operation { operation: o, by } if *o == operation => by.at(strength),
                Effect::Instance { service: s, instance: i, by }
                    if (*s, *i) == (service, instance) =>
                {
                    by.at(strength)
                }
                Effect::Stalls { service: s, probability, by }
                    if *s == service && draw.chance(*probability) =>
                {
                    Slowdown { add: *by, ..Slowdown::NONE }.at(strength)
                }
                Effect::Rename { operation: o, to, by }
                    if *o == operation && draw.chance(strength) =>
                {
                    changed.name = Some(Arc::clone(to));
                    *by
                }
                Effect::Sequence { operation: o } if *o == operation => {
                    changed.in_sequence |= draw.chance(strength);
                    Slowdown::NONE
                }
                _ => Slowdown::NONE,
            };
            changed.by = changed.by.and(by);
        }
        changed
    }

    /// How much slower a backend answers this caller.
    pub(super) fn backend(&self, caller: usize, backend: usize, at: Nanos) -> Slowdown {
        let both_ways = self.gap(caller, Callee::Backend(backend), at);
        let mut slowdown = Slowdown { add: both_ways + both_ways, ..Slowdown::NONE };
        for (strength, effect) in self.active(at) {
            if let Effect::Backend { backend: b, by } = effect
                && *b == backend
            {
                slowdown = slowdown.and(by.at(strength));
            }
        }
        slowdown
    }

    /// How much longer each direction of a call takes.
    pub(super) fn gap(&self, caller: usize, callee: Callee, at: Nanos) -> Nanos {
        let mut total = Nanos::ZERO;
        for (strength, effect) in self.active(at) {
            if let Effect::Gap { caller: from, callee: to, by } = effect
                && from.is_none_or(|from| from == caller)
                && *to == callee
            {
                total += Nanos::from_secs_f64(by.as_secs_f64() * strength);
            }
        }
        total
    }

    /// How many times `count` calls really are made.
    pub(super) fn count(
        &self,
        (operation, callee): (usize, Callee),
        count: u32,
        at: Nanos,
        draw: &mut Random,
    ) -> u32 {
        let mut total = count;
        for (strength, effect) in self.active(at) {
            if let Effect::Count { operation: o, callee: to, times } = effect
                && (*o, *to) == (operation, callee)
                && draw.chance(strength)
            {
                total = total.saturating_mul(*times);
            }
        }
        total
    }

    /// How much longer messages wait for this consumer.
    pub(super) fn lag(&self, operation: usize, at: Nanos) -> Nanos {
        let mut total = Nanos::ZERO;
        for (strength, effect) in self.active(at) {
            if let Effect::Lag { operation: o, by } = effect
                && *o == operation
            {
                total += Nanos::from_secs_f64(by.as_secs_f64() * strength);
            }
        }
        total
    }
}

/// Whom a target is, as far as faults care.
pub(super) fn callee(target: &Target, topology: &Topology) -> Callee {
    match target {
        Target::Operation(operation) => Callee::Service(topology.operations[operation.0].service),
        Target::Backend { backend, .. } | Target::Publish { backend, .. } => {
            Callee::Backend(backend.0)
        }
    }
}

fn resolve(what: &What, topology: &Topology) -> Result<Effect, FaultDefect> {
    let service = |name| find_service(topology, name);
    let operation = |owner, name| find_operation(topology, owner, name);
    let callee = |name| find_callee(topology, name);
    Ok(match what {
        What::SlowService { service: name, by } => {
            Effect::Service { service: service(name)?, by: *by }
        }
        What::SlowOperation { service, operation: name, by } => {
            Effect::Operation { operation: operation(service, name)?, by: *by }
        }
        What::SlowInstance { service: name, instance, by } => {
            let service = service(name)?;
            if *instance == 0 || *instance > topology.services[service].instances.len() {
                return Err(FaultDefect::Instance(Arc::clone(name), *instance));
            }
            Effect::Instance { service, instance: instance - 1, by: *by }
        }
        What::Stalls { service: name, probability, by } => {
            Effect::Stalls { service: service(name)?, probability: *probability, by: *by }
        }
        What::SlowBackend { backend, by } => match callee(backend)? {
            Callee::Backend(backend) => Effect::Backend { backend, by: *by },
            Callee::Service(_) => return Err(FaultDefect::Callee(Arc::clone(backend))),
        },
        What::EdgeDelay { caller, callee: name, by } => {
            Effect::Gap { caller: Some(service(caller)?), callee: callee(name)?, by: *by }
        }
        What::ServiceNetwork { service: name, by } => {
            Effect::Gap { caller: None, callee: Callee::Service(service(name)?), by: *by }
        }
        What::MoreCalls { service, operation: name, callee: to, times } => Effect::Count {
            operation: operation(service, name)?,
            callee: callee(to)?,
            times: *times,
        },
        What::LostParallelism { service, operation: name } => {
            Effect::Sequence { operation: operation(service, name)? }
        }
        What::Renamed { service, operation: name, to, by } => {
            Effect::Rename { operation: operation(service, name)?, to: Arc::clone(to), by: *by }
        }
        What::ConsumerLag { service, operation: name, by } => {
            Effect::Lag { operation: operation(service, name)?, by: *by }
        }
    })
}

fn find_service(topology: &Topology, name: &Arc<str>) -> Result<usize, FaultDefect> {
    let found = topology.services.iter().position(|service| service.name == *name);
    found.ok_or_else(|| FaultDefect::Service(Arc::clone(name)))
}

fn find_operation(
    topology: &Topology,
    service: &Arc<str>,
    name: &Arc<str>,
) -> Result<usize, FaultDefect> {
    let owner = find_service(topology, service)?;
    let found = topology.operations.iter().position(|o| o.service == owner && o.name == *name);
    found.ok_or_else(|| FaultDefect::Operation(Arc::clone(service), Arc::clone(name)))
}

fn find_callee(topology: &Topology, name: &Arc<str>) -> Result<Callee, FaultDefect> {
    if let Some(backend) = topology.backends.iter().position(|backend| backend.name == *name) {
        return Ok(Callee::Backend(backend));
    }
    let service =
        find_service(topology, name).map_err(|_| FaultDefect::Callee(Arc::clone(name)))?;
    Ok(Callee::Service(service))
}

#[cfg(test)]
mod tests {
    use super::super::shop::shop;
    use super::*;

    #[test]
    fn a_fault_that_names_nothing_is_refused_with_the_name() {
        let defect = |what| Effects::new(&[Fault::new(what, 0, 1)], &shop()).unwrap_err();
        let by = Slowdown::times(2.0);
        assert_eq!(
            defect(What::SlowService { service: "card".into(), by }).to_string(),
            "no service named card"
        );
        assert_eq!(
            defect(What::SlowInstance { service: "cart".into(), instance: 9, by }).to_string(),
            "service cart has no instance number 9"
        );
        let operation = What::LostParallelism { service: "cart".into(), operation: "PUT /".into() };
        assert_eq!(defect(operation).to_string(), "service cart has no operation named PUT /");
        let backend = What::SlowBackend { backend: "mysql".into(), by };
        assert_eq!(defect(backend).to_string(), "no service or backend named mysql");
    }

    #[test]
    fn two_slowdowns_of_one_service_multiply_and_add() {
        let fault = |by| Fault::new(What::SlowService { service: "cart".into(), by }, 0, 10);
        let faults = [fault(Slowdown::times(2.0)), fault(Slowdown { factor: 3.0, add: Nanos(5) })];
        let topology = shop();
        let effects = Effects::new(&faults, &topology).unwrap();
        let cart = find_service(&topology, &"cart".into()).unwrap();
        let changed = effects.changed((cart, 0, 0), Nanos::ZERO, &mut Random::new(1, 1));
        assert_eq!(changed.by, Slowdown { factor: 6.0, add: Nanos(5) });
    }
}
