//! One request from its arrival to its last span, messages it published included.
//!
//! Calls are followed by recursion: the topology is ours, free of cycles by construction, and every
//! call costs a span, of which a trace has at most [`MAX_SPANS`]. Messages go through a work list.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::{Nanos, SpanId, SpanKind, Timestamp, TraceId};

use super::effects::{Callee, Effects, callee};
use super::random::Random;
use super::span::{Attributes, Resource, SimSpan};
use super::topology::{Call, Patience, Step, Target, Topology};
use super::work::Work;

/// Spans of one trace; calls beyond it are not made. The shop's largest traces have about 60.
pub(super) const MAX_SPANS: usize = 5_000;
/// What a client library takes of the caller's own time before each call.
const DISPATCH: Nanos = Nanos::from_micros(20);

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) topology: Topology,
    pub(super) effects: Effects,
    pub(super) start: Timestamp,
    pub(super) seed: u64,
    nothing: Attributes,
}

/// How a call or an operation ended.
#[derive(Clone, Copy)]
struct Outcome {
    end: Timestamp,
    failed: bool,
}

/// Who is at work on which span.
struct Scene<'w> {
    operation: usize,
    service: usize,
    resource: &'w Arc<Resource>,
    span: SpanId,
    factor: f64,
    in_sequence: bool,
}

struct Request<'w> {
    world: &'w World,
    trace: TraceId,
    /// How much longer all own work takes at this moment.
    weather: f64,
    draw: Random,
    fault_draw: Random,
    spans: Vec<SimSpan>,
    messages: VecDeque<(usize, SpanId, Timestamp)>,
}

impl World {
    pub(super) fn new(topology: Topology, effects: Effects, start: Timestamp, seed: u64) -> World {
        World { topology, effects, start, seed, nothing: Arc::from([]) }
    }

    /// The spans of request number `number`, which arrives at `at` for an operation.
    pub(super) fn request(
        &self,
        number: u64,
        operation: usize,
        at: Timestamp,
        weather: f64,
    ) -> (TraceId, Vec<SimSpan>) {
        // Streams 0 and 1 of the seed are for traffic and delivery.
        let mut draw = Random::new(self.seed, 2 + 2 * number);
        let fault_draw = Random::new(self.seed, 3 + 2 * number);
        let id = u128::from(draw.bits()) << 64 | u128::from(draw.bits());
        let trace = TraceId::new(id.max(1)).expect("at least 1");
        let mut request = Request {
            world: self,
            trace,
            weather,
            draw,
            fault_draw,
            spans: Vec::with_capacity(32),
            messages: VecDeque::new(),
        };
        request.serve(operation, None, at);
        while let Some((consumer, producer, at)) = request.messages.pop_front() {
            request.serve(consumer, Some(producer), at);
        }
        (trace, request.spans)
    }
}

impl<'w> Request<'w> {
    fn span_id(&mut self) -> SpanId {
        SpanId::new(self.draw.bits().max(1)).expect("at least 1")
    }

    fn since_start(&self, at: Timestamp) -> Nanos {
        at.since(self.world.start)
    }

    /// A SERVER or CONSUMER span and all it causes.
    fn serve(&mut self, operation: usize, parent: Option<SpanId>, at: Timestamp) -> Outcome {
        let world = self.world;
        let what = &world.topology.operations[operation];
        let service = &world.topology.services[what.service];
        let instance = self.draw.index(service.instances.len());
        let span = self.span_id();
        let since_start = self.since_start(at);
        let who = (what.service, operation, instance);
        let changed = world.effects.changed(who, since_start, &mut self.fault_draw);
        let scene = Scene {
            operation,
            service: what.service,
            resource: &service.instances[instance],
            span,
            factor: changed.by.factor * self.weather,
            in_sequence: changed.in_sequence,
        };
        let outcome = self.steps(&what.steps, &scene, at + changed.by.add);
        let name = changed.name.unwrap_or_else(|| Arc::clone(&what.name));
        self.push((span, parent), scene.resource, (name, what.kind), (at, outcome), &world.nothing);
        outcome
    }

    fn steps(&mut self, steps: &'w [Step], scene: &Scene<'w>, at: Timestamp) -> Outcome {
        let mut now = Outcome { end: at, failed: false };
        for step in steps {
            let next = match step {
                Step::Work(work) => {
                    let took = work.draw(&mut self.draw).as_secs_f64() * scene.factor;
                    Outcome { end: now.end + Nanos::from_secs_f64(took), failed: false }
                }
                Step::Call(call) => self.calls(call, scene, now.end, true),
                Step::Together(calls) => self.together(calls, scene, now.end),
                Step::Inside(name, inner) => self.inside(name, inner, scene, now.end),
            };
            now = Outcome { end: next.end, failed: now.failed || next.failed };
        }
        now
    }

    fn inside(
        &mut self,
        name: &Arc<str>,
        steps: &'w [Step],
        outer: &Scene<'w>,
        at: Timestamp,
    ) -> Outcome {
        let span = self.span_id();
        let outcome = self.steps(steps, &Scene { span, ..*outer }, at);
        let what = (Arc::clone(name), SpanKind::Internal);
        let ids = (span, Some(outer.span));
        self.push(ids, outer.resource, what, (at, outcome), &self.world.nothing);
        outcome
    }

    fn together(&mut self, calls: &'w [Call], scene: &Scene<'w>, at: Timestamp) -> Outcome {
        let mut last = Outcome { end: at, failed: false };
        let mut start = at;
        for call in calls {
            let outcome = self.calls(call, scene, start, scene.in_sequence);
            // Side by side, the next is sent off as soon as the client library has let go of this.
            start = if scene.in_sequence { outcome.end } else { start + DISPATCH };
            last.end = last.end.max(outcome.end);
            last.failed |= outcome.failed;
        }
        last
    }

    /// All the times a call is made: one after the other, or side by side.
    fn calls(
        &mut self,
        call: &'w Call,
        scene: &Scene<'w>,
        at: Timestamp,
        in_sequence: bool,
    ) -> Outcome {
        let (made, count) =
            (self.draw.chance(call.probability), self.draw.between(call.count.0, call.count.1));
        let mut all = Outcome { end: at, failed: false };
        if !made {
            return all;
        }
        let whom = callee(&call.target, &self.world.topology);
        let site = (scene.operation, whom);
        let since_start = self.since_start(at);
        let count = self.world.effects.count(site, count, since_start, &mut self.fault_draw);
        let mut start = at;
        for _ in 0..count {
            if self.spans.len() >= MAX_SPANS {
                break;
            }
            let outcome = self.call(call, whom, scene, start + DISPATCH);
            start = if in_sequence { outcome.end } else { start + DISPATCH };
            all.end = all.end.max(outcome.end);
            all.failed |= outcome.failed;
        }
        all
    }

    fn call(&mut self, call: &'w Call, whom: Callee, scene: &Scene<'w>, at: Timestamp) -> Outcome {
        let world = self.world;
        match &call.target {
            Target::Operation(operation) => {
                self.call_until_answered((operation.0, whom), call.patience, scene, at)
            }
            Target::Backend { backend, statement, work } => {
                let backend = &world.topology.backends[backend.0];
                let span = self.span_id();
                let outcome = Outcome { end: self.backend(work, whom, scene, at), failed: false };
                let what = (Arc::clone(statement), SpanKind::Client);
                let ids = (span, Some(scene.span));
                self.push(ids, scene.resource, what, (at, outcome), &backend.attributes);
                outcome
            }
            Target::Publish { backend, name, work, consumers } => {
                let backend = &world.topology.backends[backend.0];
                let span = self.span_id();
                let outcome = Outcome { end: self.backend(work, whom, scene, at), failed: false };
                for consumer in consumers {
                    let since_start = self.since_start(outcome.end);
                    let more = world.effects.lag(consumer.operation.0, since_start);
                    let lag = consumer.lag.draw(&mut self.draw) + more;
                    self.messages.push_back((consumer.operation.0, span, outcome.end + lag));
                }
                let what = (Arc::clone(name), SpanKind::Producer);
                let ids = (span, Some(scene.span));
                self.push(ids, scene.resource, what, (at, outcome), &backend.attributes);
                outcome
            }
        }
    }

    /// When a backend has answered.
    fn backend(
        &mut self,
        work: &Work,
        whom: Callee,
        scene: &Scene<'w>,
        at: Timestamp,
    ) -> Timestamp {
        let took = work.draw(&mut self.draw).as_secs_f64();
        let Callee::Backend(backend) = whom else { return at };
        let by = self.world.effects.backend(scene.service, backend, self.since_start(at));
        at + Nanos::from_secs_f64(took * by.factor) + by.add
    }

    /// A call of another service, tried again as long as the caller's patience goes.
    fn call_until_answered(
        &mut self,
        target: (usize, Callee),
        patience: Option<Patience>,
        scene: &Scene<'w>,
        at: Timestamp,
    ) -> Outcome {
        let mut start = at;
        let mut tries_left = patience.map_or(0, |patience| patience.retries);
        loop {
            let span = self.span_id();
            let answer = self.round_trip(target, span, scene, start);
            let given_up = patience.filter(|p| answer.end.since(start) > p.timeout);
            let outcome = match given_up {
                Some(patience) => Outcome { end: start + patience.timeout, failed: true },
                None => answer,
            };
            self.push_client(target, span, scene, (start, outcome));
            match given_up {
                Some(patience) if tries_left > 0 && self.spans.len() < MAX_SPANS => {
                    tries_left -= 1;
                    start = outcome.end + patience.back_off;
                }
                _ => return outcome,
            }
        }
    }

    /// The way there, the work, the way back.
    fn round_trip(
        &mut self,
        (operation, whom): (usize, Callee),
        client: SpanId,
        scene: &Scene<'w>,
        at: Timestamp,
    ) -> Outcome {
        let world = self.world;
        let network = &world.topology.network;
        let (there, back) = (network.draw(&mut self.draw), network.draw(&mut self.draw));
        let delay = world.effects.gap(scene.service, whom, self.since_start(at));
        let served = self.serve(operation, Some(client), at + there + delay);
        let delay = world.effects.gap(scene.service, whom, self.since_start(served.end));
        Outcome { end: served.end + back + delay, failed: served.failed }
    }

    fn push_client(
        &mut self,
        (operation, _): (usize, Callee),
        span: SpanId,
        scene: &Scene<'w>,
        when: (Timestamp, Outcome),
    ) {
        let topology = &self.world.topology;
        let called = &topology.operations[operation];
        let address = &topology.services[called.service].address;
        let what = (Arc::clone(&called.name), SpanKind::Client);
        self.push((span, Some(scene.span)), scene.resource, what, when, address);
    }

    fn push(
        &mut self,
        (id, parent): (SpanId, Option<SpanId>),
        resource: &Arc<Resource>,
        (name, kind): (Arc<str>, SpanKind),
        (start, outcome): (Timestamp, Outcome),
        attributes: &Attributes,
    ) {
        self.spans.push(SimSpan {
            trace: self.trace,
            id,
            parent,
            resource: Arc::clone(resource),
            name,
            kind,
            start,
            end: outcome.end,
            attributes: Arc::clone(attributes),
            failed: outcome.failed,
        });
    }
}
