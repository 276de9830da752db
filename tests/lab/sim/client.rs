//! The calling side: connection pools, the way over the network, time-outs, retries with back-off,
//! circuit breakers; and backends, which are queues with servers and send no spans.

use std::collections::VecDeque;
use std::sync::Arc;

use super::faults::Trip;
use super::process::FrameId;
use super::rand::{Key, chance, mix, ns, unit};
use super::topology::{Call, DepId, EdgeId, InstanceId, LabelId, Step, System, Target};
use super::world::{Event, Frame, World};

/// A call that waits for an answer. The number tells an answer that comes too late from the one
/// that is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reply {
    call: usize,
    turn: u32,
}

struct Open {
    frame: FrameId,
    edge: EdgeId,
    target: Target,
    label: LabelId,
    key: Key,
    attempt: usize,
    turn: u32,
    asked: u64,
    start: u64,
}

/// The connections of one process over one edge.
#[derive(Clone, Default)]
struct Pool {
    in_use: usize,
    queue: VecDeque<usize>,
    failures: u32,
    open_until: u64,
}

pub(super) struct Calls {
    open: Vec<Open>,
    free: Vec<usize>,
    /// By edge and ordinal of the caller's instance.
    pools: Vec<Vec<Pool>>,
    jobs: Vec<Job>,
    free_jobs: Vec<usize>,
}

/// A backend at work.
#[derive(Clone, Default)]
pub(super) struct Station {
    busy: usize,
    queue: VecDeque<usize>,
}

#[derive(Clone, Copy)]
struct Job {
    dep: DepId,
    work: f64,
    key: Key,
    reply: Reply,
}

/// Failures in a row after which a breaker opens, and for how long.
const BREAKER: (u32, u64) = (8, 5_000_000_000);
/// What it takes to be refused by an open breaker.
const REFUSAL: u64 = 50_000;

impl Calls {
    pub(super) fn new(system: &System) -> Calls {
        let pools = system
            .edges
            .iter()
            .map(|edge| vec![Pool::default(); system.services[edge.caller].instances.len()]);
        Calls {
            open: Vec::new(),
            free: Vec::new(),
            pools: pools.collect(),
            jobs: Vec::new(),
            free_jobs: Vec::new(),
        }
    }

    fn insert(&mut self, open: Open) -> usize {
        match self.free.pop() {
            Some(id) => {
                let turn = self.open[id].turn;
                self.open[id] = Open { turn, ..open };
                id
            }
            None => {
                self.open.push(open);
                self.open.len() - 1
            }
        }
    }
}

impl World {
    /// Makes the next call, or calls, of a step; false when there is none left to make.
    pub(super) fn begin_calls(&mut self, id: FrameId, step: &Step) -> bool {
        let Frame { op, key, step: at, .. } = self.frames[id];
        match step {
            Step::Call(call) => {
                let times = call.times + self.faults.more_calls(self.now, op, at, key);
                let calls = std::iter::repeat_n((call, true), times);
                self.next_call(id, calls)
            }
            Step::Parallel(calls) if self.faults.sequential(self.now, op, key) => {
                self.next_call(id, calls.iter().map(|call| (call, true)))
            }
            Step::Parallel(calls) => self.all_calls(id, calls),
            Step::Cached { cache, store, hit } => {
                let draw = mix(key, 400 + at as u64);
                let gone = match cache.target {
                    Target::Dep(dep, _) => self.faults.misses(self.now, dep, draw),
                    Target::Op(_) => false,
                };
                let miss = gone || !chance(mix(draw, 9), *hit);
                self.next_call(id, [(cache, true), (store, miss)].into_iter())
            }
            _ => false,
        }
    }

    /// One after the other: makes the next that is to be made.
    fn next_call<'a>(
        &mut self,
        id: FrameId,
        calls: impl Iterator<Item = (&'a Call, bool)>,
    ) -> bool {
        let done = self.frames[id].repeat;
        for (call, wanted) in calls.skip(done) {
            self.frames[id].repeat += 1;
            if wanted && self.call(id, call) {
                return true;
            }
        }
        false
    }

    /// Side by side: makes all of them at once.
    fn all_calls(&mut self, id: FrameId, calls: &[Call]) -> bool {
        if self.frames[id].repeat > 0 {
            return false;
        }
        for call in calls {
            self.frames[id].repeat += 1;
            self.call(id, call);
        }
        self.frames[id].waiting > 0
    }

    /// Makes a call, if chance will have it.
    fn call(&mut self, id: FrameId, call: &Call) -> bool {
        let Frame { key, step, repeat, .. } = self.frames[id];
        let key = mix(mix(key, 500 + step as u64), repeat as u64);
        if !chance(mix(key, 1), call.chance) {
            return false;
        }
        self.frames[id].waiting += 1;
        let open = self.calls.insert(Open {
            frame: id,
            edge: call.edge,
            target: call.target,
            label: call.label,
            key,
            attempt: 0,
            turn: 0,
            asked: 0,
            start: 0,
        });
        self.attempt(open);
        true
    }

    fn pool(&mut self, call: usize) -> &mut Pool {
        let Open { frame, edge, .. } = self.calls.open[call];
        let ordinal = self.system.instances[self.frames[frame].instance].ordinal;
        &mut self.calls.pools[edge][ordinal]
    }

    /// Asks for a connection, unless the breaker is open.
    pub(super) fn attempt(&mut self, call: usize) {
        let now = self.now;
        let edge = self.calls.open[call].edge;
        self.calls.open[call].asked = now;
        let breaker = self.system.edges[edge].breaker;
        let limit = self.system.edges[edge].pool;
        let pool = self.pool(call);
        if breaker && now < pool.open_until {
            // No span: the client library is not reached.
            self.calls.open[call].attempt = usize::MAX;
            let reply = Reply { call, turn: self.calls.open[call].turn };
            return self.at(now + REFUSAL, Event::Answer { reply, failed: true });
        }
        if pool.in_use < limit {
            pool.in_use += 1;
            self.connect(call);
        } else {
            pool.queue.push_back(call);
        }
    }

    /// A connection is there: sends the request.
    fn connect(&mut self, call: usize) {
        let now = self.now;
        let Open { frame, edge, target, key, attempt, turn, asked, .. } = self.calls.open[call];
        let system = Arc::clone(&self.system);
        let Frame { op, instance, request, .. } = self.frames[frame];
        let in_span = system.services[system.ops[op].service].pool_in_span;
        self.calls.open[call].start = if in_span { asked } else { now };
        let reply = Reply { call, turn };
        if system.edges[edge].timeout > 0 {
            self.at(now + system.edges[edge].timeout, Event::GiveUp(reply));
        }
        let key = mix(key, 10 + attempt as u64);
        let from = system.instances[instance].host;
        match target {
            Target::Op(op) => {
                let there = self.frame(op, request, mix(key, 1), span_id(key));
                self.frames[there].reply = Some(reply);
                let to = system.instances[self.frames[there].instance].host;
                let trip = Trip { edge, hosts: [Some(from), Some(to)], back: false };
                let way = self.way(trip, key);
                self.at(now + way, Event::Reach(there));
            }
            Target::Dep(dep, dist) => {
                let job = Job { dep, work: dist.sample(mix(key, 2)), key, reply };
                let job = match self.calls.free_jobs.pop() {
                    Some(id) => {
                        self.calls.jobs[id] = job;
                        id
                    }
                    None => {
                        self.calls.jobs.push(job);
                        self.calls.jobs.len() - 1
                    }
                };
                let trip = Trip { edge, hosts: [Some(from), None], back: false };
                let way = self.way(trip, key);
                self.at(now + way, Event::ReachDep(job));
            }
        }
    }

    fn way(&self, trip: Trip, key: Key) -> u64 {
        let usual = self.system.edges[trip.edge].way.sample(mix(key, 3 + u64::from(trip.back)));
        ns(usual + self.faults.trip(self.now, trip, mix(key, 5)))
    }

    pub(super) fn reach_dep(&mut self, job: usize) {
        let dep = self.calls.jobs[job].dep;
        if self.deps[dep].busy < self.system.deps[dep].servers {
            self.deps[dep].busy += 1;
            self.serve(job);
        } else {
            self.deps[dep].queue.push_back(job);
        }
    }

    fn serve(&mut self, job: usize) {
        let Job { dep, work, key, .. } = self.calls.jobs[job];
        let (times, plus) = self.faults.dep_work(self.now, dep, key);
        self.at(self.now + ns(work * times + plus), Event::DepDone(job));
    }

    pub(super) fn dep_done(&mut self, job: usize) {
        let Job { dep, key, reply, .. } = self.calls.jobs[job];
        self.calls.free_jobs.push(job);
        match self.deps[dep].queue.pop_front() {
            Some(next) => self.serve(next),
            None => self.deps[dep].busy -= 1,
        }
        self.send_back(reply, key, None, false);
    }

    /// The answer sets out.
    pub(super) fn send_back(
        &mut self,
        reply: Reply,
        key: Key,
        from: Option<InstanceId>,
        failed: bool,
    ) {
        let open = &self.calls.open[reply.call];
        // Nobody waits any more; whose call it was may be gone.
        if open.turn != reply.turn {
            return;
        }
        let host = |instance: InstanceId| self.system.instances[instance].host;
        let to = host(self.frames[open.frame].instance);
        let trip = Trip { edge: open.edge, hosts: [from.map(host), Some(to)], back: true };
        let way = self.way(trip, mix(key, 6));
        self.at(self.now + way, Event::Answer { reply, failed });
    }

    pub(super) fn answer(&mut self, reply: Reply, failed: bool) {
        if self.calls.open[reply.call].turn == reply.turn {
            self.settle(reply.call, failed);
        }
    }

    pub(super) fn give_up(&mut self, reply: Reply) {
        if self.calls.open[reply.call].turn == reply.turn {
            self.settle(reply.call, true);
        }
    }

    /// An attempt is over: its span, its connection, and what comes next.
    fn settle(&mut self, call: usize, failed: bool) {
        let Open { frame, edge, label, key, attempt, start, .. } = self.calls.open[call];
        self.calls.open[call].turn += 1;
        if attempt == usize::MAX {
            return self.complete(call);
        }
        let id = span_id(mix(key, 10 + attempt as u64));
        self.span(frame, label, id, None, (start, self.now), failed);
        let now = self.now;
        let pool = self.pool(call);
        pool.failures = if failed { pool.failures + 1 } else { 0 };
        if pool.failures >= BREAKER.0 {
            (pool.failures, pool.open_until) = (0, now + BREAKER.1);
        }
        match pool.queue.pop_front() {
            Some(next) => self.connect(next),
            None => pool.in_use -= 1,
        }
        let edge = &self.system.edges[edge];
        if failed && attempt < edge.retries {
            let jitter = 0.5 + unit(mix(key, 20 + attempt as u64));
            let back_off = ns(edge.back_off as f64 * jitter * f64::from(1u32 << attempt.min(8)));
            self.calls.open[call].attempt = attempt + 1;
            self.at(now + back_off, Event::TryAgain(call));
        } else {
            self.complete(call);
        }
    }

    fn complete(&mut self, call: usize) {
        let frame = self.calls.open[call].frame;
        self.calls.free.push(call);
        self.frames[frame].waiting -= 1;
        if self.frames[frame].waiting == 0 {
            self.advance(frame);
        }
    }
}

/// The CLIENT span of an attempt.
fn span_id(key: Key) -> u64 {
    mix(key, 7) | 1
}
