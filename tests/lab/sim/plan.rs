//! What a system does on average, by arithmetic: calls of each operation per request, time per call.
//!
//! Queues, pauses and time-outs are left out: this is for dimensioning pools and for a first guess at
//! the size of a fault. What a fault really does is measured from the simulation, in `effect`.

use super::topology::{Call, Callee, Edge, EdgeId, Op, OpId, Step, System, Target};

/// Averages by entry. Consumers follow the entries, each an entry of its own.
pub(crate) struct Plan {
    /// Calls of each operation per request of an entry, those of consumers it feeds not included.
    pub(crate) visits: Vec<Vec<f64>>,
    /// Requests a second by entry.
    pub(crate) rates: Vec<f64>,
    /// Mean nanoseconds of a call of each operation, as its SERVER span has it.
    pub(crate) durations: Vec<f64>,
    /// The operation behind each entry.
    pub(crate) ops: Vec<OpId>,
}

impl Plan {
    pub(crate) fn of(system: &System) -> Plan {
        let durations = durations(system);
        let mut ops: Vec<OpId> = system.entries.iter().map(|entry| entry.op).collect();
        let mut rates: Vec<f64> =
            system.entries.iter().map(|entry| entry.share * system.rate).collect();
        let mut visits: Vec<Vec<f64>> = ops.iter().map(|&op| visits(system, op)).collect();
        for (topic, consumer) in system.topics.iter().enumerate() {
            let messages = |per_request: &Vec<f64>| -> f64 {
                let published = |(op, count): (&Op, &f64)| publishes(op, topic) as f64 * count;
                system.ops.iter().zip(per_request).map(published).sum()
            };
            rates.push(visits.iter().zip(&rates).map(|(each, rate)| messages(each) * rate).sum());
            ops.push(consumer.consumer);
        }
        for topic in &system.topics {
            visits.push(self::visits(system, topic.consumer));
        }
        Plan { visits, rates, durations, ops }
    }

    /// Mean nanoseconds of an entry.
    pub(crate) fn entry_duration(&self, entry: usize) -> f64 {
        self.durations[self.ops[entry]]
    }

    /// Calls per request of an entry, of all operations that `chosen` wants.
    pub(crate) fn calls(&self, entry: usize, chosen: impl Fn(OpId) -> bool) -> f64 {
        let each = self.visits[entry].iter().enumerate();
        each.filter(|(op, _)| chosen(*op)).map(|(_, count)| count).sum()
    }

    /// Calls per request of an entry over an edge.
    pub(crate) fn crossings(&self, system: &System, entry: usize, edge: EdgeId) -> f64 {
        let each = system.ops.iter().zip(&self.visits[entry]);
        each.map(|(op, count)| count * calls_over(op, edge)).sum()
    }

    /// Calls a second of an operation, over all entries.
    pub(crate) fn rate_of(&self, op: OpId) -> f64 {
        self.visits.iter().zip(&self.rates).map(|(each, rate)| each[op] * rate).sum()
    }
}

/// How often one call of an operation uses an edge.
pub(crate) fn calls_over(op: &Op, edge: EdgeId) -> f64 {
    let mut total = 0.0;
    for step in &op.steps {
        for (call, expected) in expected_calls(step) {
            total += if call.edge == edge { expected } else { 0.0 };
        }
    }
    total
}

fn publishes(op: &Op, topic: usize) -> usize {
    op.steps.iter().filter(|s| matches!(s, Step::Publish { topic: t, .. } if *t == topic)).count()
}

/// The calls of a step, each with how often it is made.
fn expected_calls(step: &Step) -> Vec<(&Call, f64)> {
    match step {
        Step::Cached { cache, store, hit } => vec![(cache, 1.0), (store, 1.0 - hit)],
        _ => step.calls().iter().map(|call| (*call, call.chance * call.times as f64)).collect(),
    }
}

/// Operations by tier, callers first: no operation calls one before it.
fn callers_first(system: &System) -> Vec<OpId> {
    let mut order: Vec<OpId> = (0..system.ops.len()).collect();
    order.sort_by_key(|&op| (system.services[system.ops[op].service].tier, op));
    order
}

fn visits(system: &System, entry: OpId) -> Vec<f64> {
    let mut visits = vec![0.0; system.ops.len()];
    visits[entry] = 1.0;
    for op in callers_first(system) {
        for step in &system.ops[op].steps {
            for (call, expected) in expected_calls(step) {
                if let Target::Op(callee) = call.target {
                    visits[callee] += visits[op] * expected;
                }
            }
        }
    }
    visits
}

fn durations(system: &System) -> Vec<f64> {
    let mut durations = vec![0.0; system.ops.len()];
    for op in callers_first(system).into_iter().rev() {
        let steps = system.ops[op].steps.iter();
        durations[op] = steps.map(|step| step_duration(system, step, &durations)).sum();
    }
    durations
}

fn step_duration(system: &System, step: &Step, durations: &[f64]) -> f64 {
    let one = |call: &Call| call_duration(&system.edges[call.edge], call, durations);
    match step {
        Step::Work(dist) | Step::Internal(_, dist) | Step::Locked(dist) => dist.mean(),
        Step::Publish { hand_over, .. } => hand_over.mean(),
        Step::Call(call) => call.chance * call.times as f64 * one(call),
        // The longest of the means, a little more for the chance that another is last.
        Step::Parallel(calls) => {
            1.15 * calls.iter().map(|call| call.chance * one(call)).fold(0.0, f64::max)
        }
        Step::Cached { cache, store, hit } => one(cache) + (1.0 - hit) * one(store),
    }
}

/// Mean nanoseconds from asking to having the answer.
pub(crate) fn call_duration(edge: &Edge, call: &Call, durations: &[f64]) -> f64 {
    let far = match call.target {
        Target::Op(op) => durations[op],
        Target::Dep(_, dist) => dist.mean(),
    };
    2.0 * edge.way.mean() + far
}

/// Sets workers, servers, pools and time-outs for the load, at these utilisations: one for each service,
/// backend and edge in turn.
pub(crate) fn dimension(system: &mut System, mut utilisation: impl FnMut() -> f64) {
    let plan = Plan::of(system);
    let capacity = |busy: f64, share: f64| super::rand::index((busy / share).ceil()).max(2);
    for service in 0..system.services.len() {
        let ops = system.services[service].ops.iter();
        let busy: f64 = ops.map(|&op| plan.rate_of(op) * plan.durations[op] / 1e9).sum();
        let instances = system.services[service].instances.len() as f64;
        system.services[service].workers = capacity(busy / instances, utilisation());
    }
    // By edge: calls a second, and how many are under way at a time.
    let mut under_way = vec![(0.0, 0.0); system.edges.len()];
    let mut served = vec![0.0; system.deps.len()];
    for (id, op) in system.ops.iter().enumerate() {
        for (call, expected) in op.steps.iter().flat_map(expected_calls) {
            let rate = plan.rate_of(id) * expected;
            let seconds = call_duration(&system.edges[call.edge], call, &plan.durations) / 1e9;
            under_way[call.edge].0 += rate;
            under_way[call.edge].1 += rate * seconds;
            if let Target::Dep(dep, dist) = call.target {
                served[dep] += rate * dist.mean() / 1e9;
            }
        }
    }
    for (dep, busy) in system.deps.iter_mut().zip(served) {
        dep.servers = capacity(busy, utilisation());
    }
    for (edge, (rate, busy)) in system.edges.iter_mut().zip(under_way) {
        let instances = match edge.callee {
            Callee::Service(_) | Callee::Dep(_) => system.services[edge.caller].instances.len(),
        } as f64;
        edge.pool = capacity(busy / instances, 0.5 * utilisation()) + 2;
        if edge.timeout > 0 {
            let mean = if rate > 0.0 { busy / rate * 1e9 } else { 0.0 };
            edge.timeout = edge.timeout.max(super::rand::ns(12.0 * mean));
        }
    }
}
