//! A topology, its traffic, its faults and its delivery, put together and run from a seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::model::{Nanos, Timestamp, TraceId};

use super::delivery::{Batches, Delivery};
use super::effects::Effects;
use super::fault::{Fault, FaultDefect, Truth};
use super::request::World;
use super::topology::Topology;
use super::traffic::{Arrivals, Trace, Traffic};

/// Everything that a run depends on. The same scenario gives the same bytes.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Who calls whom.
    pub topology: Topology,
    /// When requests come.
    pub traffic: Traffic,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// How spans reach the receiver.
    pub delivery: Delivery,
    /// What all chances derive from.
    pub seed: u64,
    /// When the first request may come.
    pub start: Timestamp,
    /// How long requests come; what they caused still ends after that.
    pub duration: Nanos,
}

impl Scenario {
    /// 20 requests a second for so many seconds, nothing wrong, everything arrives.
    pub fn new(topology: Topology, seconds: u64) -> Scenario {
        Scenario {
            topology,
            traffic: Traffic::constant(20.0),
            faults: Vec::new(),
            delivery: Delivery::default(),
            seed: 1,
            // 2026-09-21 14:13:20 UTC: on a slice boundary of whole seconds, otherwise arbitrary.
            start: Timestamp::from_secs(1_790_000_000),
            duration: Nanos::from_secs(seconds),
        }
    }

    /// The same with other traffic.
    pub fn traffic(self, traffic: Traffic) -> Scenario {
        Scenario { traffic, ..self }
    }

    /// The same with a fault more.
    pub fn fault(mut self, fault: Fault) -> Scenario {
        self.faults.push(fault);
        self
    }

    /// The same with another delivery.
    pub fn delivery(self, delivery: Delivery) -> Scenario {
        Scenario { delivery, ..self }
    }

    /// The same with another seed.
    pub fn seed(self, seed: u64) -> Scenario {
        Scenario { seed, ..self }
    }

    /// The same at another time.
    pub fn start(self, start: Timestamp) -> Scenario {
        Scenario { start, ..self }
    }

    /// What is really wrong, one for each fault.
    pub fn truths(&self) -> Vec<Truth> {
        let is_backend =
            |name: &str| self.topology.backend_names().any(|backend| &**backend == name);
        self.faults.iter().map(|fault| fault.truth(self.start, is_backend)).collect()
    }

    /// The traces as they happened, in the order of their completion.
    ///
    /// # Errors
    /// If a fault names what the topology does not have.
    pub fn traces(&self) -> Result<Traces, FaultDefect> {
        let arrivals = self.arrivals()?;
        Ok(Traces { arrivals, open: BinaryHeap::new(), waiting: BTreeMap::new(), now: self.start })
    }

    /// The spans as a receiver gets them, in the order of their arrival.
    ///
    /// # Errors
    /// If a fault names what the topology does not have.
    pub fn batches(&self) -> Result<Batches, FaultDefect> {
        Ok(Batches::new(self.arrivals()?, self.delivery.clone()))
    }

    fn arrivals(&self) -> Result<Arrivals, FaultDefect> {
        let effects = Effects::new(&self.faults, &self.topology)?;
        let world = World::new(self.topology.clone(), effects, self.start, self.seed);
        Ok(Arrivals::new(world, self.traffic.clone(), self.duration))
    }
}

/// Traces in the order of their completion.
#[derive(Clone, Debug)]
pub struct Traces {
    arrivals: Arrivals,
    open: BinaryHeap<Reverse<(Timestamp, TraceId)>>,
    waiting: BTreeMap<TraceId, Trace>,
    /// Every request before this has been drawn.
    now: Timestamp,
}

impl Iterator for Traces {
    type Item = Trace;

    fn next(&mut self) -> Option<Trace> {
        loop {
            // Requests still to come end after they start, and they start later than `now`.
            let first = self.open.peek().map(|Reverse((end, _))| *end);
            if first.is_some_and(|end| end < self.now) {
                let Reverse((_, id)) = self.open.pop()?;
                return self.waiting.remove(&id);
            }
            if self.now == Timestamp(u64::MAX) {
                return None;
            }
            self.now = Timestamp(u64::MAX);
            if let Some(trace) = self.arrivals.next() {
                self.now = trace.start;
                self.open.push(Reverse((trace.end, trace.id)));
                self.waiting.insert(trace.id, trace);
            }
        }
    }
}
