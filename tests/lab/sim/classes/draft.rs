//! A case in the making: the system, who may be at fault in it, and what becomes a scenario.

use std::sync::Arc;

use crate::sim::build::{Wish, build};
use crate::sim::delivery::Network;
use crate::sim::faults::{Fault, What};
use crate::sim::load::Waves;
use crate::sim::names;
use crate::sim::plan::{Plan, calls_over};
use crate::sim::process::Life;
use crate::sim::rand::{Stream, mix, secs};
use crate::sim::scenario::Scenario;
use crate::sim::topology::{
    Callee, DepId, DepKind, EdgeId, InstanceId, OpId, ServiceId, Step, System, Target,
};
use crate::sim::truth::{Culprit, Truth};

use super::{Built, Case, Happening, Times, fit};

pub(crate) struct Draft {
    pub(crate) random: Stream,
    pub(crate) system: System,
    pub(crate) plan: Plan,
    /// The rise that is wanted of the entry that suffers most.
    pub(crate) size: f64,
    /// Nanoseconds.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) length: u64,
    pub(crate) is_waves: bool,
    key: u64,
}

/// How a fault is made and what is true of it.
pub(crate) struct Recipe {
    /// What happens, for a magnitude in the fault's own unit.
    pub(crate) make: Box<dyn Fn(f64) -> Happening>,
    pub(crate) guess: f64,
    /// The least and the most that make sense.
    pub(crate) bounds: (f64, f64),
    pub(crate) background: Vec<Fault>,
    /// The lives of instances without the fault, where they are not all there all the time.
    pub(crate) sound_lives: Option<Vec<Vec<Life>>>,
    pub(crate) culprits: Vec<Culprit>,
    /// Services that slow down because of it, by what they call: the culprits themselves.
    pub(crate) sources: Vec<Callee>,
    pub(crate) tolerated: Vec<String>,
    /// Share of the fault's duration after which there is something to notice.
    pub(crate) noticeable: f64,
}

impl Recipe {
    pub(crate) fn new(guess: f64, make: impl Fn(f64) -> Happening + 'static) -> Recipe {
        Recipe {
            make: Box::new(make),
            guess,
            bounds: (0.0, f64::MAX),
            background: Vec::new(),
            sound_lives: None,
            culprits: Vec::new(),
            sources: Vec::new(),
            tolerated: Vec::new(),
            noticeable: 0.0,
        }
    }

    /// Nothing but what happens anyway.
    pub(crate) fn quiet(happening: impl Fn() -> Happening + 'static) -> Recipe {
        Recipe::new(0.0, move |_| happening())
    }

    pub(crate) fn blames(mut self, culprit: Culprit, source: Callee) -> Recipe {
        self.culprits.push(culprit);
        self.sources.push(source);
        self
    }

    pub(crate) fn within(self, least: f64, most: f64) -> Recipe {
        Recipe { bounds: (least, most), ..self }
    }
}

/// Entries that get fewer requests than this a second are not what a fault's size is chosen by.
const MIN_ENTRY_RATE: f64 = 0.1;
/// Sizes are fitted over at most this long, nanoseconds.
const FITTED: u64 = 600_000_000_000;
/// Calls per request that make a service worth being at fault.
const MIN_CALLS: f64 = 0.4;

impl Draft {
    pub(crate) fn new(key: u64, wish: Wish, times: Times) -> Draft {
        let mut random = Stream::new(mix(key, 1));
        let system = build(mix(key, 2), wish);
        let plan = Plan::of(&system);
        let from = secs(times.before + times.spread * random.unit());
        let to = from + secs(times.lasts);
        let length = to + secs(times.after);
        Draft { random, system, plan, size: 0.0, from, to, length, is_waves: false, key }
    }

    /// At full size while the fault lasts.
    pub(crate) fn fault(&self, what: What) -> Fault {
        Fault { what, from: self.from, to: self.to, ramp: 0 }
    }

    /// A recipe of one effect.
    pub(crate) fn one(&self, guess: f64, what: impl Fn(f64) -> What + 'static) -> Recipe {
        let (from, to) = (self.from, self.to);
        let make = move |magnitude| Happening {
            faults: vec![Fault { what: what(magnitude), from, to, ramp: 0 }],
            lives: None,
        };
        Recipe::new(guess, make)
    }

    fn entries(&self) -> impl Iterator<Item = usize> {
        (0..self.plan.ops.len()).filter(|&entry| self.plan.rates[entry] >= MIN_ENTRY_RATE)
    }

    /// Nanoseconds to add per call so that the entry that suffers most takes `size` longer, for calls
    /// per request by entry.
    pub(crate) fn add_for(&self, calls: impl Fn(usize) -> f64) -> f64 {
        self.size / self.size_of(1.0, calls).max(1e-12)
    }

    /// By what share the entry that suffers most takes longer if so many nanoseconds are added per call.
    pub(crate) fn size_of(&self, add: f64, calls: impl Fn(usize) -> f64) -> f64 {
        let rise = |entry| add * calls(entry) / self.plan.entry_duration(entry);
        self.entries().map(rise).fold(0.0, f64::max)
    }

    pub(crate) fn add_for_service(&self, service: ServiceId) -> f64 {
        let of = |op: OpId| self.system.ops[op].service == service;
        self.add_for(|entry| self.plan.calls(entry, of))
    }

    pub(crate) fn add_for_edge(&self, edge: EdgeId) -> f64 {
        self.add_for(|entry| self.plan.crossings(&self.system, entry, edge))
    }

    fn matters(&self, calls: impl Fn(usize) -> f64) -> bool {
        let enough = |entry: &usize| self.plan.rates[*entry] >= 0.08 * self.system.rate;
        (0..self.system.entries.len()).filter(enough).any(|entry| calls(entry) >= MIN_CALLS)
    }

    /// Services that requests use enough, those with `chosen` only.
    pub(crate) fn services(&self, chosen: impl Fn(&Draft, ServiceId) -> bool) -> Vec<ServiceId> {
        let used = |&service: &ServiceId| {
            let of = |op: OpId| self.system.ops[op].service == service;
            self.matters(|entry| self.plan.calls(entry, of)) && chosen(self, service)
        };
        (0..self.system.services.len()).filter(used).collect()
    }

    pub(crate) fn service(&mut self) -> ServiceId {
        let all = self.services(|_, _| true);
        *self.random.choose(&all)
    }

    /// A service of several instances; if there is none, one is given more.
    pub(crate) fn replicated(&mut self) -> ServiceId {
        let several = self.services(|draft, s| draft.system.services[s].instances.len() >= 2);
        if !several.is_empty() {
            return *self.random.choose(&several);
        }
        let service = self.service();
        self.add_instance(service);
        self.add_instance(service);
        service
    }

    pub(crate) fn add_instance(&mut self, service: ServiceId) -> InstanceId {
        let id = self.system.instances.len();
        let ordinal = self.system.services[service].instances.len();
        let host = self.random.between(0, self.system.hosts.len() - 1);
        let instance = crate::sim::topology::Instance { service, ordinal, host };
        self.system.instances.push(instance);
        self.system.services[service].instances.push(id);
        id
    }

    /// An operation that requests use enough and `chosen` wants; else the one of those used most.
    pub(crate) fn op(&mut self, chosen: impl Fn(&Draft, OpId) -> bool) -> Option<OpId> {
        let wanted: Vec<OpId> = (0..self.system.ops.len()).filter(|&op| chosen(self, op)).collect();
        let used = |op: &OpId| self.matters(|entry| self.plan.visits[entry][*op]);
        let often: Vec<OpId> = wanted.iter().copied().filter(used).collect();
        if !often.is_empty() {
            return Some(*self.random.choose(&often));
        }
        let rate = |op: &OpId| self.plan.rate_of(*op);
        wanted.into_iter().max_by(|one, two| rate(one).total_cmp(&rate(two)))
    }

    /// An edge that requests use enough and `chosen` wants; else the one of those used most.
    pub(crate) fn edge(&mut self, chosen: impl Fn(&Draft, EdgeId) -> bool) -> Option<EdgeId> {
        let wanted: Vec<EdgeId> =
            (0..self.system.edges.len()).filter(|&edge| chosen(self, edge)).collect();
        let used =
            |edge: &EdgeId| self.matters(|entry| self.plan.crossings(&self.system, entry, *edge));
        let often: Vec<EdgeId> = wanted.iter().copied().filter(used).collect();
        if !often.is_empty() {
            return Some(*self.random.choose(&often));
        }
        let rate = |edge: &EdgeId| {
            let each = self.system.ops.iter().enumerate();
            each.map(|(op, of)| self.plan.rate_of(op) * calls_over(of, *edge)).sum::<f64>()
        };
        wanted.into_iter().max_by(|one, two| rate(one).total_cmp(&rate(two)))
    }

    pub(crate) fn is_between_services(&self, edge: EdgeId) -> bool {
        matches!(self.system.edges[edge].callee, Callee::Service(_))
    }

    /// A backend of this kind, by the rate at which it is asked: often rather than seldom.
    pub(crate) fn dep(&mut self, kind: DepKind) -> Option<DepId> {
        let edge = self.edge(|draft, edge| match draft.system.edges[edge].callee {
            Callee::Dep(dep) => draft.system.deps[dep].kind == kind,
            Callee::Service(_) => false,
        })?;
        match self.system.edges[edge].callee {
            Callee::Dep(dep) => Some(dep),
            Callee::Service(_) => None,
        }
    }

    /// Calls of a backend per request of an entry.
    pub(crate) fn asks(&self, entry: usize, dep: DepId) -> f64 {
        let edges = (0..self.system.edges.len())
            .filter(|&edge| self.system.edges[edge].callee == Callee::Dep(dep));
        edges.map(|edge| self.plan.crossings(&self.system, entry, edge)).sum()
    }

    /// Attributes that single out an instance in its first life.
    pub(crate) fn wheres(&self, culprit: Culprit, instance: InstanceId, life: usize) -> Culprit {
        let system = &self.system;
        let host = system.instances[instance].host;
        let service = system.instances[instance].service;
        let beside = system.services[service].instances.iter();
        let alone = beside.filter(|&&other| system.instances[other].host == host).count() == 1;
        let culprit = culprit
            .singled_out("service.instance.id", &names::instance_id(system, instance, life))
            .singled_out("k8s.pod.name", &names::pod(system, instance, life));
        if alone {
            culprit.singled_out("host.name", names::host(system, instance))
        } else {
            culprit
        }
    }

    /// Every instance in one life of version 1.
    pub(crate) fn lives(&self) -> Vec<Vec<Life>> {
        vec![vec![Life::WHOLE]; self.system.instances.len()]
    }

    /// Services that call one of these, directly or through others.
    fn callers(&self, sources: &[Callee]) -> Vec<String> {
        let mut slow: Vec<Callee> = sources.to_vec();
        let mut at = 0;
        while at < slow.len() {
            for edge in &self.system.edges {
                let caller = Callee::Service(edge.caller);
                if edge.callee == slow[at] && !slow.contains(&caller) {
                    slow.push(caller);
                }
            }
            at += 1;
        }
        let callers = slow.iter().filter(|one| !sources.contains(one));
        callers.map(|&one| self.system.callee_name(one).to_owned()).collect()
    }

    /// Every operation's steps with a call of a backend of this kind.
    pub(crate) fn has_cache(&self, op: OpId) -> bool {
        self.system.ops[op].steps.iter().any(|step| matches!(step, Step::Cached { .. }))
    }

    /// Makes the case: the magnitude fitted, the truth told.
    pub(super) fn ready(mut self, case: &Case, recipe: Recipe) -> Built {
        let random = &mut self.random;
        let hourly = if self.is_waves { 0.5 } else { random.uniform(0.05, 0.25) };
        let daily = if self.is_waves { 0.3 } else { 0.2 };
        let scenario = Scenario {
            seed: mix(self.key, 3),
            waves: Waves { hourly, daily, swing: random.uniform(0.05, 0.25) },
            network: Network {
                lost: if random.chance(0.5) { 0.002 } else { 0.0 },
                late: if random.chance(0.5) { 0.005 } else { 0.0 },
                late_by: secs(40.0),
            },
            skew: if random.chance(0.3) { random.log_uniform(1e6, 500e6) } else { 0.2e6 },
            sampling: self.system.sampling,
            length: self.length,
            background: recipe.background.clone(),
            faults: Vec::new(),
            sound_lives: recipe.sound_lives.clone().unwrap_or_else(|| self.lives()),
            lives: self.lives(),
            system: Arc::new(self.system.clone()),
        };
        let of = |magnitude: f64| {
            let Happening { faults, lives } = (recipe.make)(magnitude);
            let lives = lives.unwrap_or_else(|| scenario.lives.clone());
            Scenario { faults, lives, ..scenario.clone() }
        };
        let span = (self.from, self.to.min(self.from + FITTED));
        let magnitude = match (case.class.sized, case.size > 0.0) {
            (true, true) => fit(&recipe, case.size, span, of),
            (true, false) => 0.0,
            (false, _) => recipe.guess,
        };
        let truth = Truth {
            impacted: self.callers(&recipe.sources),
            culprits: recipe.culprits.clone(),
            from: self.from,
            to: self.to,
            noticeable: self.from + secs((self.to - self.from) as f64 / 1e9 * recipe.noticeable),
            tolerated: recipe.tolerated.clone(),
        };
        Built { scenario: of(magnitude), truth, magnitude }
    }

    /// Where an operation calls over an edge: the steps.
    pub(crate) fn steps_over(&self, op: OpId, wanted: impl Fn(&Target) -> bool) -> Vec<usize> {
        let steps = self.system.ops[op].steps.iter().enumerate();
        let calls = steps.filter(|(_, step)| match step {
            Step::Call(call) => wanted(&call.target) && call.chance > 0.7,
            _ => false,
        });
        calls.map(|(at, _)| at).collect()
    }
}
