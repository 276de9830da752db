//! Faults on the way to others, in what is called and how often.

use crate::sim::faults::{Scope, Ways, What};
use crate::sim::plan::{Plan, call_duration};
use crate::sim::rand::{Dist, ns, secs};
use crate::sim::topology::{Call, Callee, DepId, DepKind, Edge, EdgeId, OpId, Step, Target};
use crate::sim::truth::{CALL_GAP, Culprit};

use super::draft::{Draft, Recipe};

fn slow_dep(draft: &mut Draft, kind: DepKind) -> Recipe {
    let dep = draft.dep(kind).expect("a system has backends of every kind");
    let add = draft.add_for(|entry| draft.asks(entry, dep));
    let blamed = Culprit::dependency(&draft.system.deps[dep].name);
    draft
        .one(add, move |add| What::SlowDep { dep, factor: 1.0, add, share: 1.0 })
        .blames(blamed, Callee::Dep(dep))
}

pub(super) fn slow_database(draft: &mut Draft) -> Recipe {
    slow_dep(draft, DepKind::Database)
}

/// A system that never asks its third party has its database slow instead.
pub(super) fn slow_third_party(draft: &mut Draft) -> Recipe {
    let asked = draft.dep(DepKind::ThirdParty).is_some();
    slow_dep(draft, if asked { DepKind::ThirdParty } else { DepKind::Database })
}

/// The right answers to a slow link: the link under either end, or its callee, as the contract has it;
/// the caller as such only if it calls nobody else, so that nobody could tell its network from this link.
fn link(draft: &Draft, edge: EdgeId) -> Culprit {
    let system = &draft.system;
    let of = &system.edges[edge];
    let (caller, callee) = (system.service_name(of.caller), system.callee_name(of.callee));
    let names = [(callee, "edge"), (caller, "edge"), (callee, "service")];
    let names = names.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
    let mut culprit =
        Culprit::new(names, CALL_GAP).singled_out("from", caller).singled_out("to", callee);
    let number = |is: &dyn Fn(&Edge) -> bool| system.edges.iter().filter(|edge| is(edge)).count();
    if number(&|other| other.caller == of.caller) == 1 {
        culprit = culprit.also(caller, "service");
    }
    culprit
}

fn service_edge(draft: &mut Draft) -> EdgeId {
    let edge = draft.edge(|draft, edge| draft.is_between_services(edge));
    edge.expect("a system has calls between services")
}

pub(super) fn edge_delay(draft: &mut Draft) -> Recipe {
    let edge = service_edge(draft);
    let add = draft.add_for_edge(edge);
    let there = *draft.random.choose(&[0.5, 0.5, 1.0, 0.0]);
    let ways = Ways::Edge(edge);
    let blamed = link(draft, edge);
    draft
        .one(add, move |add| What::Way {
            ways,
            there: add * there,
            back: add * (1.0 - there),
            share: 1.0,
        })
        .blames(blamed, draft.system.edges[edge].callee)
}

pub(super) fn edge_stalls(draft: &mut Draft) -> Recipe {
    let edge = service_edge(draft);
    let share = draft.random.log_uniform(0.02, 0.08);
    let add = draft.add_for_edge(edge) / share;
    let ways = Ways::Edge(edge);
    let blamed = link(draft, edge).pattern(Some("intermittent"));
    draft
        .one(add / 2.0, move |add| What::Way { ways, there: add, back: add, share })
        .blames(blamed, draft.system.edges[edge].callee)
}

/// Everything that leaves or reaches a host. Each service that runs on it is right; where a service
/// runs elsewhere, too, the host singles out the slow calls.
pub(super) fn host_delay(draft: &mut Draft) -> Recipe {
    let service = draft.service();
    let instances = draft.system.services[service].instances.clone();
    let host = draft.system.instances[*draft.random.choose(&instances)].host;
    let system = &draft.system;
    let mut culprit = Culprit::new(Vec::new(), CALL_GAP).pattern(None);
    let mut sources = Vec::new();
    for (id, one) in system.services.iter().enumerate() {
        let here = one.instances.iter().filter(|&&i| system.instances[i].host == host).count();
        if here > 0 {
            culprit = culprit.also(&one.name, "service").also(&one.name, "edge");
            sources.push(Callee::Service(id));
        }
        if here > 0 && here < one.instances.len() {
            culprit = culprit.singled_out("host.name", &system.hosts[host]);
            for &instance in &one.instances {
                if here == 1 && system.instances[instance].host == host {
                    culprit = draft.wheres(culprit, instance, 0);
                }
            }
        }
    }
    let add = draft.add_for_service(service) * instances.len() as f64 / 2.0;
    let recipe = draft.one(add, move |add| {
        let ways = Ways::Host(host);
        What::Way { ways, there: add / 2.0, back: add / 2.0, share: 1.0 }
    });
    Recipe { culprits: vec![culprit], sources, ..recipe }
}

pub(super) fn n_plus_one(draft: &mut Draft) -> Recipe {
    let steps = |draft: &Draft, op: OpId| draft.steps_over(op, |_| true);
    let op = draft.op(|draft, op| !steps(draft, op).is_empty()).expect("somebody calls somebody");
    let at = *draft.random.choose(&steps(draft, op));
    let Step::Call(call) = draft.system.ops[op].steps[at].clone() else {
        unreachable!("only calls were chosen")
    };
    let one = call_duration(&draft.system.edges[call.edge], &call, &draft.plan.durations);
    let calls = draft.add_for(|entry| draft.plan.visits[entry][op]) / one;
    let service = draft.system.ops[op].service;
    let blamed = Culprit::service(draft.system.service_name(service)).reasons(&["call_count"]);
    draft
        .one(calls, move |extra| What::MoreCalls { op, step: at, extra })
        .blames(blamed, Callee::Service(service))
}

/// Of all that makes calls side by side, somebody for whom it matters; if it matters to nobody, calls
/// that were made one after the other are made side by side from the beginning.
pub(super) fn lost_parallelism(draft: &mut Draft) -> Recipe {
    const MATTERS: f64 = 0.08;
    let op = match draft.op(|draft, op| lost(draft, op) > MATTERS) {
        Some(op) => op,
        None => {
            let calls = |draft: &Draft, op: OpId| {
                let calls = |step: &&Step| matches!(step, Step::Call(_) | Step::Parallel(_));
                draft.system.ops[op].steps.iter().filter(calls).count()
            };
            let op = draft.op(|draft, op| calls(draft, op) >= 3);
            let op = op.unwrap_or(draft.system.entries[0].op);
            side_by_side(draft, op);
            op
        }
    };
    let service = draft.system.ops[op].service;
    let blamed =
        Culprit::service(draft.system.service_name(service)).reasons(&["lost_parallelism"]);
    draft
        .one(1.0, move |share| What::Sequential { op, share })
        .blames(blamed, Callee::Service(service))
}

/// By what share the entry that suffers most takes longer if an operation's parallel calls are not.
fn lost(draft: &Draft, op: OpId) -> f64 {
    let one = |call: &Call| {
        let edge = &draft.system.edges[call.edge];
        call.chance * call_duration(edge, call, &draft.plan.durations)
    };
    let gain = |step: &Step| match step {
        Step::Parallel(calls) => {
            let each: Vec<f64> = calls.iter().map(one).collect();
            each.iter().sum::<f64>() - 1.15 * each.iter().copied().fold(0.0, f64::max)
        }
        _ => 0.0,
    };
    let per_call: f64 = draft.system.ops[op].steps.iter().map(gain).sum();
    draft.size_of(per_call, |entry| draft.plan.visits[entry][op])
}

/// Makes all calls of services of an operation one parallel step.
fn side_by_side(draft: &mut Draft, op: OpId) {
    let steps = std::mem::take(&mut draft.system.ops[op].steps);
    let (mut rest, mut calls) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Call(call) if matches!(call.target, Target::Op(_)) => calls.push(call),
            Step::Parallel(more) => calls.extend(more),
            other => rest.push(other),
        }
    }
    rest.push(Step::Parallel(calls));
    draft.system.ops[op].steps = rest;
    draft.plan = Plan::of(&draft.system);
}

/// The pool is tight before and after; what changes is the callee.
pub(super) fn pool_exhaustion(draft: &mut Draft) -> Recipe {
    let edge = draft.edge(|_, _| true).expect("a system has edges");
    let of = &mut draft.system.edges[edge];
    of.pool = of.pool.min(2);
    of.timeout = 0;
    let callee = of.callee;
    let add = draft.add_for_edge(edge) / 2.0;
    match callee {
        Callee::Service(service) => {
            let blamed = Culprit::service(draft.system.service_name(service));
            let scope = Scope::service(service);
            draft
                .one(add, move |add| What::Slow { scope, factor: 1.0, add, share: 1.0 })
                .blames(blamed, callee)
        }
        Callee::Dep(dep) => {
            let blamed = Culprit::dependency(&draft.system.deps[dep].name);
            draft
                .one(add, move |add| What::SlowDep { dep, factor: 1.0, add, share: 1.0 })
                .blames(blamed, callee)
        }
    }
}

/// An operation and the edges by which it is called.
fn called(draft: &mut Draft) -> (OpId, Vec<EdgeId>) {
    let is_called = |draft: &Draft, op: OpId| {
        let service = draft.system.ops[op].service;
        draft.system.services[service].tier > 0
            && draft.plan.visits.iter().any(|v| v[op] > 0.0)
            && !draft.system.topics.iter().any(|topic| topic.consumer == op)
    };
    let op = draft.op(is_called).expect("some operation is called");
    let calls = draft.system.ops.iter().flat_map(|of| &of.steps).flat_map(|step| step.calls());
    let mut edges: Vec<EdgeId> = calls
        .filter(|call| matches!(call.target, Target::Op(target) if target == op))
        .map(|call| call.edge)
        .collect();
    edges.sort_unstable();
    edges.dedup();
    (op, edges)
}

/// The callee is at fault: the waits between attempts belong to the calls that are tried again.
fn failing(draft: &Draft, op: OpId) -> Culprit {
    let service = draft.system.ops[op].service;
    let name = draft.system.service_name(service);
    Culprit::service(name).also(name, "edge").pattern(None).reasons(&[
        "self_time",
        "call_gap",
        "call_count",
    ])
}

pub(super) fn retry_storm(draft: &mut Draft) -> Recipe {
    let (op, edges) = called(draft);
    let calls = |entry: usize| draft.plan.visits[entry][op];
    let wanted = draft.add_for(calls);
    for edge in edges {
        let of = &mut draft.system.edges[edge];
        of.retries = 3;
        of.breaker = false;
        // So that failing half of the time is about the rise that is wanted.
        of.back_off = ns(wanted.max(2e6));
    }
    let source = Callee::Service(draft.system.ops[op].service);
    let blamed = failing(draft, op);
    draft.one(0.5, move |share| What::Fail { op, share }).within(0.02, 0.95).blames(blamed, source)
}

pub(super) fn timeouts(draft: &mut Draft) -> Recipe {
    let (op, edges) = called(draft);
    let longest = edges.iter().map(|&edge| draft.system.edges[edge].timeout).max().unwrap_or(0);
    let timeout = longest.max(secs(1.0));
    for edge in edges {
        let of = &mut draft.system.edges[edge];
        (of.timeout, of.retries, of.breaker) = (timeout, 0, false);
    }
    let service = draft.system.ops[op].service;
    // Hung calls must not take all workers: that would be another fault.
    draft.system.services[service].workers += 40;
    let share = draft.add_for(|entry| draft.plan.visits[entry][op]) / timeout as f64;
    let scope = Scope { op: Some(op), ..Scope::service(service) };
    let hang = timeout as f64 * 4.0;
    let blamed = failing(draft, op);
    draft
        .one(share, move |share| What::Slow { scope, factor: 1.0, add: hang, share })
        .within(0.004, 0.9)
        .blames(blamed, Callee::Service(service))
}

/// The service asks its store more often (`call_count`); the store, asked more often, may be slower
/// itself; and it is the cache that failed. Each is where an engineer would look.
pub(super) fn cache_stampede(draft: &mut Draft) -> Recipe {
    let op = match draft.op(|draft, op| draft.has_cache(op)) {
        Some(op) => op,
        None => give_cache(draft),
    };
    let (cache, store) = costly(draft, op);
    let service = draft.system.ops[op].service;
    let name = draft.system.service_name(service);
    let mut blamed = Culprit::service(name).reasons(&["call_count", "self_time"]).pattern(None);
    for dep in [store, cache] {
        blamed = blamed.also(&draft.system.deps[dep].name, "dependency");
    }
    // Others that use the same cache suffer, too.
    for other in &draft.system.ops {
        let uses = other.steps.iter().any(|step| match step {
            Step::Cached { cache: call, .. } => {
                matches!(call.target, Target::Dep(dep, _) if dep == cache)
            }
            _ => false,
        });
        if uses {
            blamed = blamed.also(draft.system.service_name(other.service), "service");
        }
    }
    draft
        .one(0.5, move |share| What::Miss { dep: cache, share })
        .within(0.01, 1.0)
        .blames(blamed, Callee::Dep(store))
}

/// What is cached is what is dear: the query behind an operation's cache takes so long that missing
/// most of the time is about the rise that is wanted. The two backends.
fn costly(draft: &mut Draft, op: OpId) -> (DepId, DepId) {
    let wanted = draft.add_for(|entry| draft.plan.visits[entry][op]);
    let mut found = None;
    for step in &mut draft.system.ops[op].steps {
        if let Step::Cached { cache, store, hit } = step
            && let (Target::Dep(cache, _), Target::Dep(dep, dist)) =
                (cache.target, &mut store.target)
        {
            dist.median = dist.median.max(wanted / (0.6 * *hit));
            found = Some((cache, *dep));
            break;
        }
    }
    draft.plan = Plan::of(&draft.system);
    found.expect("the operation has a cache, and its store is a backend")
}

/// A system without a cached step gets one in place of a database call.
fn give_cache(draft: &mut Draft) -> OpId {
    let to_database = |draft: &Draft, op: OpId| {
        draft.steps_over(op, |target| match target {
            Target::Dep(dep, _) => draft.system.deps[*dep].kind == DepKind::Database,
            Target::Op(_) => false,
        })
    };
    let op = draft.op(|draft, op| !to_database(draft, op).is_empty());
    let op = op.expect("somebody asks the database");
    let at = to_database(draft, op)[0];
    let Step::Call(store) = draft.system.ops[op].steps[at].clone() else {
        unreachable!("only calls were chosen")
    };
    let dep = draft.system.deps.iter().position(|dep| dep.kind == DepKind::Cache);
    let dep = dep.expect("a system has a cache");
    let caller = draft.system.ops[op].service;
    let mut edge = draft.system.edges[store.edge].clone();
    edge.callee = Callee::Dep(dep);
    edge.pool = 50;
    draft.system.edges.push(edge);
    let mut label = draft.system.labels[store.label].clone();
    label.name = "GET cached".into();
    label.peer = Some(("server.address", draft.system.deps[dep].name.clone()));
    draft.system.labels.push(label);
    let cache = Call {
        edge: draft.system.edges.len() - 1,
        target: Target::Dep(dep, Dist::log_normal(3e5, 0.3)),
        label: draft.system.labels.len() - 1,
        chance: 1.0,
        times: 1,
    };
    debug_assert_eq!(draft.system.labels[cache.label].service, caller);
    draft.system.ops[op].steps[at] = Step::Cached { cache, store, hit: 0.9 };
    draft.plan = Plan::of(&draft.system);
    op
}
