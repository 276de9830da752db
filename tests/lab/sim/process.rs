//! One process: its lives (restarts, versions), when it stands still, its workers, queue and lock.

use std::collections::VecDeque;

use super::faults::{Fault, What};
use super::rand::{Dist, Key, Stream, mix, ns, secs};
use super::topology::{InstanceId, System};

/// A stretch in which a process serves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Life {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) version: usize,
    /// Own work begins this many times as long and comes down over `warm_up` nanoseconds.
    pub(crate) cold: f64,
    pub(crate) warm_up: u64,
}

impl Life {
    /// All the time, from warm.
    pub(crate) const WHOLE: Life =
        Life { from: 0, to: u64::MAX, version: 1, cold: 1.0, warm_up: 1 };

    /// By what own work is multiplied at this time.
    pub(crate) fn chill(&self, now: u64) -> f64 {
        if self.cold <= 1.0 {
            return 1.0;
        }
        let age = now.saturating_sub(self.from) as f64 / self.warm_up as f64;
        1.0 + (self.cold - 1.0) * (-3.0 * age).exp()
    }
}

/// Frames by their number in the world.
pub(crate) type FrameId = usize;

pub(crate) struct Process {
    pub(crate) lives: Vec<Life>,
    life: usize,
    /// When it stands still, in order, apart from each other.
    stops: Vec<(u64, u64)>,
    stop: usize,
    pub(crate) busy: usize,
    pub(crate) queue: VecDeque<FrameId>,
    pub(crate) locked: bool,
    pub(crate) lock_queue: VecDeque<FrameId>,
}

impl Process {
    pub(crate) fn new(
        system: &System,
        id: InstanceId,
        lives: Vec<Life>,
        faults: &[Fault],
        key: Key,
        end: u64,
    ) -> Process {
        let service = system.instances[id].service;
        let (every, length) = system.services[service].pauses;
        let usual = Dist { median: length, sigma: 0.6, mode: (0.0, 1.0), tail: (0.02, 1.8) };
        let mut stops = pauses(mix(key, 1), (0, end), every * 1e9, usual);
        for (number, fault) in (2u64..).zip(faults) {
            let span = (fault.from, fault.to.min(end));
            match fault.what {
                What::Pauses { service: meant, instance, every, length }
                    if meant == service && instance.is_none_or(|only| only == id) =>
                {
                    let length = Dist::log_normal(length, 0.3);
                    stops.extend(pauses(mix(key, number), span, every, length));
                }
                What::Throttle { service: meant, instance, period, share }
                    if meant == service && instance.is_none_or(|only| only == id) =>
                {
                    let runs = ns(period as f64 * (1.0 - share.clamp(0.0, 0.95)));
                    let starts = (0..).map(|n| span.0 + n * period);
                    let within = starts.take_while(|start| start + period <= span.1);
                    stops.extend(within.map(|start| (start + runs, start + period)));
                }
                _ => {}
            }
        }
        Process {
            lives,
            life: 0,
            stops: merged(stops),
            stop: 0,
            busy: 0,
            queue: VecDeque::new(),
            locked: false,
            lock_queue: VecDeque::new(),
        }
    }

    /// The life it is in. Time does not go back.
    pub(crate) fn life(&mut self, now: u64) -> usize {
        while self.lives.get(self.life + 1).is_some_and(|next| next.from <= now) {
            self.life += 1;
        }
        self.life
    }

    /// Whether it takes requests.
    pub(crate) fn is_up(&mut self, now: u64) -> bool {
        let life = self.life(now);
        (self.lives[life].from..self.lives[life].to).contains(&now)
    }

    /// When `work` that starts now is done, standstills counted in.
    pub(crate) fn run(&mut self, now: u64, work: u64) -> u64 {
        while self.stops.get(self.stop).is_some_and(|(_, to)| *to <= now) {
            self.stop += 1;
        }
        let mut end = now + work;
        for &(from, to) in &self.stops[self.stop..] {
            if from >= end {
                break;
            }
            end += to - from.max(now);
        }
        end
    }
}

/// Pauses at random, `every` nanoseconds on average.
fn pauses(key: Key, (from, to): (u64, u64), every: f64, length: Dist) -> Vec<(u64, u64)> {
    let mut random = Stream::new(key);
    let mut found = Vec::new();
    let mut at = from + ns(random.exponential(every));
    while at < to {
        let until = (at + ns(length.sample(random.key()))).min(at + secs(20.0));
        found.push((at, until));
        at = until + ns(random.exponential(every));
    }
    found
}

/// In order, what overlaps made one.
fn merged(mut stops: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    stops.sort_unstable();
    let mut result: Vec<(u64, u64)> = Vec::with_capacity(stops.len());
    for (from, to) in stops {
        match result.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => result.push((from, to)),
        }
    }
    result
}
