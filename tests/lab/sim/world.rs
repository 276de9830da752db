//! The discrete-event simulation: a calendar of events, requests that walk through operations step by
//! step, workers that are held until the answer is there.
//!
//! This file has the calendar and what a process does for a request (a frame); the calling side, with
//! pools, time-outs and retries, is in `client`. Time is nanoseconds from the start of the run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::client::{Calls, Reply};
use super::delivery::{Batch, Exporters, FLUSH_EVERY, RawSpan};
use super::faults::{Faults, Place};
use super::load::{Arrival, Load};
use super::process::{FrameId, Process};
use super::rand::{Key, chance, id32, mix, ns, pick, unit};
use super::scenario::{Scenario, Variant};
use super::topology::{Dep, InstanceId, LabelId, OpId, ServiceId, Step, System};

/// The run starts here, in nanoseconds since the Unix epoch (2026-01-05, a Monday, midnight UTC).
pub(crate) const EPOCH: u64 = 1_767_571_200_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// The request that was drawn comes in.
    Request,
    /// A request or a job reaches the other side.
    Reach(FrameId),
    ReachDep(usize),
    /// The step at hand is over.
    Step(FrameId),
    /// The holder of a lock is done.
    Unlock(FrameId),
    DepDone(usize),
    Answer {
        reply: Reply,
        failed: bool,
    },
    GiveUp(Reply),
    TryAgain(usize),
    Message(FrameId),
    Flush(InstanceId),
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) trace: u64,
    pub(super) tenant: usize,
    pub(super) region: usize,
    pub(super) sampled: bool,
}

/// One call of an operation.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) op: OpId,
    pub(super) instance: InstanceId,
    pub(super) life: usize,
    pub(super) request: Request,
    /// Whom to answer; none for entries and consumers.
    pub(super) reply: Option<Reply>,
    /// Which entry this is, if it is one.
    pub(super) entry: Option<usize>,
    pub(super) key: Key,
    pub(super) span: u64,
    pub(super) parent: u64,
    pub(super) started: u64,
    pub(super) step: usize,
    pub(super) repeat: usize,
    pub(super) waiting: usize,
    pub(super) charged: bool,
    pub(super) failed: bool,
}

/// A request or message that is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Done {
    pub(crate) entry: usize,
    pub(crate) key: Key,
    pub(crate) start: u64,
    pub(crate) duration: u64,
}

pub(crate) struct World {
    pub(super) system: Arc<System>,
    pub(super) faults: Faults,
    pub(super) now: u64,
    calendar: BinaryHeap<Reverse<(u64, u64, Slot)>>,
    scheduled: u64,
    load: Load,
    next: Arrival,
    pub(super) processes: Vec<Process>,
    pub(super) frames: Vec<Frame>,
    free: Vec<FrameId>,
    pub(super) calls: Calls,
    pub(super) deps: Vec<super::client::Station>,
    exporters: Exporters,
    skews: Vec<i64>,
    sampling: f64,
    seed: Key,
    record: bool,
    done: Vec<Done>,
}

/// An event as the calendar keeps it: it plays no part in the order.
#[derive(Clone, Copy)]
struct Slot(Event);

impl PartialEq for Slot {
    fn eq(&self, _: &Slot) -> bool {
        true
    }
}
impl Eq for Slot {}
impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Slot) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Slot {
    fn cmp(&self, _: &Slot) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl World {
    /// A world at rest at this time, with the requests of the scenario from then on. With `record` off
    /// it makes no spans, only `done`.
    pub(crate) fn new(scenario: &Scenario, variant: Variant, begin: u64, record: bool) -> World {
        let system = Arc::clone(&scenario.system);
        let seed = scenario.seed;
        let faults = scenario.faults_of(variant);
        let processes = (0..system.instances.len()).map(|id| {
            let lives = scenario.lives_of(variant)[id].clone();
            let key = mix(mix(seed, 10), id as u64);
            Process::new(&system, id, lives, &faults.0, key, scenario.length)
        });
        let processes = processes.collect();
        let surge = Faults::most_arrivals(&scenario.faults_of(Variant::Faulty).0);
        let mut load = Load::new(&system, scenario.waves, surge, mix(seed, 11));
        let mut next = load.next(&faults);
        while next.at < begin {
            next = load.next(&faults);
        }
        let exporters = Exporters::new(system.instances.len(), scenario.network, mix(seed, 12));
        let skews = (0..system.hosts.len()).map(|host| {
            let part = 2.0 * unit(mix(mix(seed, 13), host as u64)) - 1.0;
            #[allow(clippy::cast_possible_truncation)] // seconds, in nanoseconds
            let skew = (scenario.skew * part) as i64;
            skew
        });
        let mut world = World {
            faults,
            now: begin,
            calendar: BinaryHeap::new(),
            scheduled: 0,
            load,
            next,
            processes,
            frames: Vec::new(),
            free: Vec::new(),
            calls: Calls::new(&system),
            deps: system.deps.iter().map(|_: &Dep| Default::default()).collect(),
            exporters,
            skews: skews.collect(),
            sampling: scenario.sampling,
            seed,
            record,
            done: Vec::new(),
            system,
        };
        world.at(next.at, Event::Request);
        for instance in (0..world.processes.len()).filter(|_| record) {
            let first = begin + world.exporters.first_flush(instance);
            world.at(first, Event::Flush(instance));
        }
        world
    }

    /// Lets everything up to and including this time happen.
    pub(crate) fn run_until(&mut self, time: u64) {
        while let Some(&Reverse((at, _, Slot(event)))) = self.calendar.peek() {
            if at > time {
                break;
            }
            self.calendar.pop();
            self.now = at;
            self.handle(event);
        }
        self.now = time;
    }

    /// The next batch that has arrived by now.
    pub(crate) fn batch(&mut self) -> Option<Batch> {
        self.exporters.arrived(self.now)
    }

    /// Requests and messages done so far, in the order of their ends.
    pub(crate) fn done(&self) -> &[Done] {
        &self.done
    }

    /// Where the spans went, and how many are still held.
    pub(crate) fn ledger(&self) -> (super::delivery::Ledger, u64) {
        (self.exporters.ledger, self.exporters.pending())
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.scheduled += 1;
        self.calendar.push(Reverse((time, self.scheduled, Slot(event))));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Request => self.request(),
            Event::Reach(frame) | Event::Message(frame) => self.reach(frame),
            Event::ReachDep(job) => self.reach_dep(job),
            Event::Step(frame) => self.advance(frame),
            Event::Unlock(frame) => self.unlock(frame),
            Event::DepDone(job) => self.dep_done(job),
            Event::Answer { reply, failed } => self.answer(reply, failed),
            Event::GiveUp(reply) => self.give_up(reply),
            Event::TryAgain(call) => self.attempt(call),
            Event::Flush(instance) => {
                self.flush(instance);
                self.at(self.now + FLUSH_EVERY, Event::Flush(instance));
            }
        }
    }

    fn flush(&mut self, instance: InstanceId) {
        let lost = self.faults.lost(self.now);
        self.exporters.flush(self.now, instance, lost);
    }

    fn request(&mut self) {
        let Arrival { entry, key, .. } = self.next;
        let by_share = |shares: &[(String, f64)], key: Key| {
            let mut left = unit(key);
            let found = shares.iter().position(|(_, share)| {
                left -= share;
                left < 0.0
            });
            found.unwrap_or(0)
        };
        let request = Request {
            trace: mix(self.seed, key) | 1,
            tenant: by_share(&self.system.tenants, mix(key, 1)),
            region: by_share(&self.system.regions, mix(key, 2)),
            sampled: self.record && chance(mix(key, 3), self.sampling),
        };
        let op = self.system.entries[entry].op;
        let frame = self.frame(op, request, mix(key, 4), 0);
        self.frames[frame].entry = Some(entry);
        self.reach(frame);
        self.next = self.load.next(&self.faults);
        self.at(self.next.at, Event::Request);
    }

    /// A call of an operation, on one of the instances that are up.
    pub(super) fn frame(&mut self, op: OpId, request: Request, key: Key, parent: u64) -> FrameId {
        let instance = self.route(self.system.ops[op].service, key);
        let frame = Frame {
            op,
            instance,
            life: 0,
            request,
            reply: None,
            entry: None,
            key,
            span: mix(key, 5) | 1,
            parent,
            started: 0,
            step: 0,
            repeat: 0,
            waiting: 0,
            charged: false,
            failed: false,
        };
        match self.free.pop() {
            Some(id) => {
                self.frames[id] = frame;
                id
            }
            None => {
                self.frames.push(frame);
                self.frames.len() - 1
            }
        }
    }

    fn route(&mut self, service: ServiceId, key: Key) -> InstanceId {
        let system = Arc::clone(&self.system);
        let all = &system.services[service].instances;
        let first = pick(mix(key, 6), all.len());
        let now = self.now;
        let order = (0..all.len()).map(|step| all[(first + step) % all.len()]);
        order.clone().find(|&one| self.processes[one].is_up(now)).unwrap_or(all[first])
    }

    fn reach(&mut self, id: FrameId) {
        let Frame { op, instance, .. } = self.frames[id];
        let service = &self.system.services[self.system.ops[op].service];
        let process = &mut self.processes[instance];
        self.frames[id].life = process.life(self.now);
        self.frames[id].started = self.now;
        if process.busy < service.workers {
            process.busy += 1;
            self.take_up(id);
        } else {
            process.queue.push_back(id);
        }
    }

    fn take_up(&mut self, id: FrameId) {
        let Frame { op, key, .. } = self.frames[id];
        if !self.system.services[self.system.ops[op].service].queue_in_span {
            self.frames[id].started = self.now;
        }
        self.frames[id].failed = self.faults.fails(self.now, op, key);
        self.advance(id);
    }

    /// Goes on with the next step, until one takes time.
    pub(super) fn advance(&mut self, id: FrameId) {
        let system = Arc::clone(&self.system);
        loop {
            let Frame { op, step, failed, .. } = self.frames[id];
            let next = system.ops[op].steps.get(step).filter(|_| !failed || step == 0);
            let Some(next) = next else { return self.finish(id) };
            if self.begin(id, next) {
                return;
            }
        }
    }

    /// Begins (or goes on with) a step; false when it is over at once.
    fn begin(&mut self, id: FrameId, step: &Step) -> bool {
        match step {
            Step::Work(dist) => {
                let end = self.work(id, *dist);
                self.over_at(id, end);
            }
            Step::Internal(label, dist) => {
                let (start, end) = (self.now, self.work(id, *dist));
                let Frame { key, step, .. } = self.frames[id];
                self.span(id, *label, mix(key, 100 + step as u64) | 1, None, (start, end), false);
                self.over_at(id, end);
            }
            Step::Publish { label, topic, hand_over } => {
                self.publish(id, *label, *topic, *hand_over)
            }
            Step::Locked(_) => {
                let process = &mut self.processes[self.frames[id].instance];
                if process.locked {
                    process.lock_queue.push_back(id);
                } else {
                    process.locked = true;
                    self.lock(id);
                }
            }
            Step::Call(_) | Step::Parallel(_) | Step::Cached { .. } => {
                let goes_on = self.begin_calls(id, step);
                if !goes_on {
                    self.frames[id].step += 1;
                    self.frames[id].repeat = 0;
                }
                return goes_on;
            }
        }
        true
    }

    fn over_at(&mut self, id: FrameId, end: u64) {
        self.frames[id].step += 1;
        self.at(end, Event::Step(id));
    }

    /// When own work that starts now is done.
    fn work(&mut self, id: FrameId, dist: super::rand::Dist) -> u64 {
        let Frame { op, instance, life, request, key, step, charged, .. } = self.frames[id];
        let service = self.system.ops[op].service;
        let Service { workers, contention } = self.service(service);
        let process = &mut self.processes[instance];
        let life = process.lives[life];
        let busy = process.busy as f64 / workers as f64;
        let Request { tenant, region, .. } = request;
        let place = Place { service, op, instance, version: life.version, tenant, region };
        let (times, plus) = self.faults.own_work(self.now, place, key);
        let mut work = dist.sample(mix(key, 200 + step as u64));
        work *= (1.0 + contention * busy * busy) * life.chill(self.now) * times;
        work += if charged { 0.0 } else { plus };
        self.frames[id].charged = true;
        process.run(self.now, ns(work))
    }

    fn service(&self, id: ServiceId) -> Service {
        let service = &self.system.services[id];
        Service { workers: service.workers, contention: service.contention }
    }

    /// The lock is this frame's.
    fn lock(&mut self, id: FrameId) {
        let Frame { op, step, .. } = self.frames[id];
        let system = Arc::clone(&self.system);
        let Step::Locked(dist) = system.ops[op].steps[step] else { return };
        let add = ns(self.faults.hold(self.now, system.ops[op].service));
        let end = self.work(id, dist) + add;
        self.at(end, Event::Unlock(id));
    }

    fn unlock(&mut self, id: FrameId) {
        let process = &mut self.processes[self.frames[id].instance];
        match process.lock_queue.pop_front() {
            Some(next) => self.lock(next),
            None => process.locked = false,
        }
        self.frames[id].step += 1;
        self.advance(id);
    }

    fn publish(&mut self, id: FrameId, label: LabelId, topic: usize, dist: super::rand::Dist) {
        let Frame { key, step, request, .. } = self.frames[id];
        let draw = mix(key, 300 + step as u64);
        let (start, end) = (self.now, self.now + ns(dist.sample(draw)));
        let producer = mix(draw, 1) | 1;
        self.span(id, label, producer, None, (start, end), false);
        let system = Arc::clone(&self.system);
        let lag = ns(system.topics[topic].lag.sample(mix(draw, 2)));
        let message = self.frame(system.topics[topic].consumer, request, mix(draw, 3), producer);
        self.frames[message].entry = Some(system.entries.len() + topic);
        self.at(end + lag, Event::Message(message));
        self.over_at(id, end);
    }

    fn finish(&mut self, id: FrameId) {
        let Frame { op, instance, reply, entry, key, span, started, failed, .. } = self.frames[id];
        let label = self.system.ops[op].label;
        self.span(id, label, span, Some(self.frames[id].parent), (started, self.now), failed);
        if let Some(entry) = entry {
            let duration = self.now - started;
            self.done.push(Done { entry, key, start: started, duration });
        }
        self.free.push(id);
        if let Some(reply) = reply {
            self.send_back(reply, key, Some(instance), failed);
        }
        let process = &mut self.processes[instance];
        match process.queue.pop_front() {
            Some(next) => self.take_up(next),
            None => process.busy -= 1,
        }
    }

    /// A span of the frame's process; its parent is the frame's own span unless another is given.
    pub(super) fn span(
        &mut self,
        frame: FrameId,
        label: LabelId,
        id: u64,
        parent: Option<u64>,
        (start, end): (u64, u64),
        failed: bool,
    ) {
        let Frame { instance, life, request, span, .. } = self.frames[frame];
        if !request.sampled {
            return;
        }
        let skew = self.skews[self.system.instances[instance].host];
        let clock = |time: u64| (EPOCH + time).saturating_add_signed(skew);
        let raw = RawSpan {
            trace: request.trace,
            id,
            parent: parent.unwrap_or(span),
            start: clock(start),
            end: clock(end),
            label: id32(label),
            instance: id32(instance),
            life: u16::try_from(life).unwrap_or(u16::MAX),
            tenant: u8::try_from(request.tenant).unwrap_or(0),
            region: u8::try_from(request.region).unwrap_or(0),
            failed,
        };
        if self.exporters.hold(instance, raw) {
            self.flush(instance);
        }
    }
}

/// What own work needs to know of its service.
struct Service {
    workers: usize,
    contention: f64,
}
