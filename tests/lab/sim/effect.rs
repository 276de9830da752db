//! What a fault does to those who wait: measured by running the same seed with it and without it.

use std::collections::HashMap;

use super::rand::{Key, secs};
use super::scenario::{Scenario, Variant};
use super::world::{Done, World};

/// One entry operation while the fault lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct EntryEffect {
    pub(crate) requests: u64,
    /// Mean nanoseconds of the same requests without and with the fault.
    pub(crate) sound: f64,
    pub(crate) faulty: f64,
}

/// What a fault does, by entry; consumers follow the entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Effect {
    pub(crate) entries: Vec<EntryEffect>,
}

/// An entry is affected when it takes this much longer.
const AFFECTED: f64 = 0.01;
/// Nobody waits for less: a queue's consumer that takes 1.1 instead of 1.0 ms is no incident. Nanoseconds.
const LEAST: f64 = 1e6;

impl EntryEffect {
    pub(crate) fn rise(&self) -> f64 {
        if self.sound > 0.0 { self.faulty / self.sound - 1.0 } else { 0.0 }
    }
}

impl Effect {
    /// The same requests in two runs, those that begin within `from..to`.
    pub(crate) fn between(sound: &[Done], faulty: &[Done], (from, to): (u64, u64)) -> Effect {
        let within = |done: &&Done| (from..to).contains(&done.start);
        let before: HashMap<Key, &Done> = sound.iter().map(|done| (done.key, done)).collect();
        let mut entries = Vec::new();
        for done in faulty.iter().filter(within) {
            let Some(other) = before.get(&done.key) else { continue };
            if entries.len() <= done.entry {
                entries.resize(done.entry + 1, EntryEffect::default());
            }
            let effect = &mut entries[done.entry];
            effect.requests += 1;
            effect.sound += other.duration as f64;
            effect.faulty += done.duration as f64;
        }
        for effect in &mut entries {
            let count = effect.requests.max(1) as f64;
            effect.sound /= count;
            effect.faulty /= count;
        }
        Effect { entries }
    }

    /// The requests of a scenario that begin within `from..to`, as they are in one variant. Runs from a
    /// little before, without making spans, until those requests are done.
    pub(crate) fn run(scenario: &Scenario, variant: Variant, (from, to): (u64, u64)) -> Vec<Done> {
        let mut world = World::new(scenario, variant, from.saturating_sub(secs(20.0)), false);
        world.run_until(to + secs(30.0));
        world.done().to_vec()
    }

    /// The rise of the mean of the entry that suffers most, of those with so many requests that take a
    /// millisecond longer or more; 0 without one.
    pub(crate) fn largest(&self, requests: f64) -> f64 {
        let enough = self.entries.iter().filter(|effect| {
            effect.requests as f64 >= requests && effect.faulty - effect.sound >= LEAST
        });
        enough.map(EntryEffect::rise).max_by(f64::total_cmp).unwrap_or(0.0)
    }

    /// The rise over the requests of all affected entries together.
    pub(crate) fn overall(&self) -> f64 {
        let affected = self.entries.iter().filter(|effect| effect.rise() > AFFECTED);
        let (mut sound, mut faulty) = (0.0, 0.0);
        for effect in affected {
            sound += effect.requests as f64 * effect.sound;
            faulty += effect.requests as f64 * effect.faulty;
        }
        if sound > 0.0 { faulty / sound - 1.0 } else { 0.0 }
    }
}
