//! When requests come and what they ask for: Poisson arrivals whose rate is a function of time.
//!
//! Arrivals are drawn at the highest rate there can be and thinned to the rate of their moment. The
//! simulated services have no queues, so more traffic makes nothing slower unless
//! [`Traffic::load_slows`] says so.

use std::sync::Arc;

use crate::model::{Nanos, Timestamp, TraceId};

use super::random::Random;
use super::request::World;
use super::span::SimSpan;

/// How many requests come, when, and of which kind.
#[derive(Clone, PartialEq, Debug)]
pub struct Traffic {
    /// Requests a second, before shapes.
    pub per_second: f64,
    /// What multiplies the rate; several multiply each other.
    pub shapes: Vec<Shape>,
    /// What changes the mix of entries.
    pub mix_changes: Vec<MixChange>,
    /// How much longer all own work takes per hundred percent of additional rate: 0.2 makes it 20 %
    /// longer at twice the rate (and 10 % shorter at half of it).
    pub load_slows: f64,
}

/// What multiplies the rate as time goes on. Times count from the start of the scenario.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Shape {
    /// `factor` times the rate for a while.
    Surge {
        /// Since when.
        from: Nanos,
        /// Until when.
        to: Nanos,
        /// How many times the rate.
        factor: f64,
    },
    /// Up and down between 1 - `swing` and 1 + `swing`, as a day does; parabolic arcs for a sine.
    Wave {
        /// The length of the day.
        period: Nanos,
        /// Between 0 and 1.
        swing: f64,
    },
}

/// From some time on, one entry operation is asked for more or less often.
#[derive(Clone, PartialEq, Debug)]
pub struct MixChange {
    /// Since when, counted from the start of the scenario.
    pub from: Nanos,
    /// The entry operation's name.
    pub operation: Arc<str>,
    /// What its weight is multiplied by.
    pub factor: f64,
}

impl Traffic {
    /// A constant rate.
    pub fn constant(per_second: f64) -> Traffic {
        Traffic { per_second, shapes: Vec::new(), mix_changes: Vec::new(), load_slows: 0.0 }
    }

    /// The same with a shape more.
    pub fn shaped(mut self, shape: Shape) -> Traffic {
        self.shapes.push(shape);
        self
    }

    /// Requests a second at this time after the start.
    pub fn rate(&self, at: Nanos) -> f64 {
        self.per_second * self.shapes.iter().map(|shape| shape.factor(at)).product::<f64>()
    }

    fn highest_rate(&self) -> f64 {
        self.per_second * self.shapes.iter().map(Shape::highest).product::<f64>()
    }

    /// How much longer own work takes at this time.
    fn weather(&self, at: Nanos) -> f64 {
        if self.load_slows == 0.0 {
            return 1.0;
        }
        1.0 + self.load_slows * (self.rate(at) / self.per_second - 1.0)
    }
}

impl Shape {
    fn factor(&self, at: Nanos) -> f64 {
        match *self {
            Shape::Surge { from, to, factor } if at >= from && at < to => factor,
            Shape::Surge { .. } => 1.0,
            Shape::Wave { period, swing } => {
                let phase = (at.0 % period.0.max(1)) as f64 / period.0.max(1) as f64;
                let arc = |x: f64| 4.0 * x * (1.0 - x);
                let wave = if phase < 0.5 { arc(2.0 * phase) } else { -arc(2.0 * phase - 1.0) };
                1.0 + swing * wave
            }
        }
    }

    fn highest(&self) -> f64 {
        match *self {
            Shape::Surge { factor, .. } => factor.max(1.0),
            Shape::Wave { swing, .. } => 1.0 + swing.abs(),
        }
    }
}

/// One request with all it caused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// Its id.
    pub id: TraceId,
    /// When the request came.
    pub start: Timestamp,
    /// When its last span ended.
    pub end: Timestamp,
    /// Its spans; children before their parents.
    pub spans: Vec<SimSpan>,
}

/// Requests in the order of their arrival.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    world: World,
    traffic: Traffic,
    until: Nanos,
    at: Nanos,
    number: u64,
    draw: Random,
}

impl Arrivals {
    pub(super) fn new(world: World, traffic: Traffic, until: Nanos) -> Arrivals {
        let draw = Random::new(world.seed, 0);
        Arrivals { world, traffic, until, at: Nanos::ZERO, number: 0, draw }
    }

    pub(super) fn world(&self) -> &World {
        &self.world
    }

    /// Moves on to the next arrival; false when there is none before the end.
    fn advance(&mut self) -> bool {
        let highest = self.traffic.highest_rate();
        if highest <= 0.0 || self.world.topology.entries.is_empty() {
            return false;
        }
        loop {
            self.at += Nanos::from_secs_f64(self.draw.exponential() / highest);
            if self.at >= self.until {
                return false;
            }
            if self.draw.chance(self.traffic.rate(self.at) / highest) {
                return true;
            }
        }
    }

    fn weight(&self, index: usize) -> f64 {
        let entry = &self.world.topology.entries[index];
        let name = &self.world.topology.operations[entry.operation].name;
        let changes = self.traffic.mix_changes.iter();
        let valid = changes.filter(|change| change.from <= self.at && change.operation == *name);
        entry.weight * valid.map(|change| change.factor).product::<f64>()
    }

    /// The operation that the request asks for.
    fn entry(&mut self) -> usize {
        let entries = self.world.topology.entries.len();
        let total: f64 = (0..entries).map(|index| self.weight(index)).sum();
        let mut left = self.draw.unit() * total;
        for index in 0..entries {
            left -= self.weight(index);
            if left < 0.0 {
                return self.world.topology.entries[index].operation;
            }
        }
        self.world.topology.entries[entries - 1].operation
    }
}

impl Iterator for Arrivals {
    type Item = Trace;

    fn next(&mut self) -> Option<Trace> {
        if !self.advance() {
            // Nothing comes any more, however often it is asked for.
            self.at = self.until;
            return None;
        }
        let operation = self.entry();
        let start = self.world.start + self.at;
        let weather = self.traffic.weather(self.at);
        let (id, spans) = self.world.request(self.number, operation, start, weather);
        self.number += 1;
        let end = spans.iter().map(|span| span.end).max().unwrap_or(start);
        Some(Trace { id, start, end, spans })
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario::Scenario;
    use super::super::shop::shop;
    use super::*;

    fn arrivals(traffic: Traffic, seconds: u64) -> Vec<Trace> {
        let scenario = Scenario::new(shop(), seconds).traffic(traffic);
        scenario.traces().expect("no faults to be wrong").collect()
    }

    fn within(count: usize, expected: f64) -> bool {
        (count as f64 - expected).abs() < 4.0 * expected.sqrt()
    }

    #[test]
    fn a_constant_rate_gives_so_many_requests() {
        assert!(within(arrivals(Traffic::constant(20.0), 300).len(), 6_000.0));
    }

    #[test]
    fn a_surge_multiplies_the_rate_while_it_lasts() {
        let (from, to) = (Nanos::from_secs(100), Nanos::from_secs(200));
        let surge = Shape::Surge { from, to, factor: 5.0 };
        let scenario = Scenario::new(shop(), 300);
        let traces = arrivals(Traffic::constant(10.0).shaped(surge), 300);
        let inside = |trace: &&Trace| {
            trace.start >= scenario.start + from && trace.start < scenario.start + to
        };
        let during = traces.iter().filter(inside).count();
        assert!(within(during, 5_000.0), "{during}");
        assert!(within(traces.len() - during, 2_000.0));
    }

    #[test]
    fn a_wave_moves_requests_from_one_half_of_the_day_to_the_other() {
        let wave = Shape::Wave { period: Nanos::from_secs(400), swing: 0.6 };
        let scenario = Scenario::new(shop(), 400);
        let traces = arrivals(Traffic::constant(20.0).shaped(wave), 400);
        let noon = scenario.start + Nanos::from_secs(200);
        let morning = traces.iter().filter(|trace| trace.start < noon).count();
        // The mean of a parabolic arc is 2/3 of its height.
        assert!(within(morning, 200.0 * 20.0 * 1.4), "{morning}");
        assert!(within(traces.len() - morning, 200.0 * 20.0 * 0.6));
    }

    #[test]
    fn the_mix_is_the_weights_and_follows_a_change() {
        let share = |traffic| {
            let traces = arrivals(traffic, 300);
            let root = |trace: &Trace| {
                trace.spans.iter().any(|s| s.parent.is_none() && &*s.name == "POST /checkout")
            };
            let checkouts = traces.iter().filter(|trace| root(trace)).count();
            (checkouts as f64 / traces.len() as f64, traces.len() as f64)
        };
        let near =
            |(share, n): (f64, f64), p: f64| (share - p).abs() < 4.0 * (p * (1.0 - p) / n).sqrt();
        let usual = Traffic::constant(20.0);
        assert!(near(share(usual.clone()), 0.1));
        let change =
            MixChange { from: Nanos::ZERO, operation: "POST /checkout".into(), factor: 3.0 };
        // Weight 10 of 100 becomes 30 of 120.
        assert!(near(share(Traffic { mix_changes: vec![change], ..usual }), 0.25));
    }

    #[test]
    fn load_slows_own_work_by_what_was_asked() {
        let surge = Shape::Surge { from: Nanos::ZERO, to: Nanos::from_secs(9), factor: 2.0 };
        let traffic = Traffic { load_slows: 0.2, ..Traffic::constant(10.0).shaped(surge) };
        assert!((traffic.weather(Nanos::from_secs(1)) - 1.2).abs() < 1e-12);
        assert!((traffic.weather(Nanos::from_secs(10)) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_requests_there_are_no_traces() {
        assert!(arrivals(Traffic::constant(0.0), 100).is_empty());
    }
}
