//! One run: a system, its load, its network, and what happens to it; with it and, for comparison,
//! without it.

use std::sync::Arc;

use super::delivery::Network;
use super::faults::{Fault, Faults};
use super::load::Waves;
use super::process::Life;
use super::topology::System;

/// With what happens, or as it would have been.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Variant {
    Faulty,
    Sound,
}

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) system: Arc<System>,
    pub(crate) waves: Waves,
    pub(crate) network: Network,
    /// Clocks of hosts differ from the true time by at most this, nanoseconds.
    pub(crate) skew: f64,
    /// Share of the requests that are traced.
    pub(crate) sampling: f64,
    /// Nanoseconds.
    pub(crate) length: u64,
    /// What happens in both variants.
    pub(crate) background: Vec<Fault>,
    /// What happens in the faulty one only.
    pub(crate) faults: Vec<Fault>,
    /// The lives of each instance, in both variants.
    pub(crate) sound_lives: Vec<Vec<Life>>,
    pub(crate) lives: Vec<Vec<Life>>,
}

impl Scenario {
    pub(crate) fn faults_of(&self, variant: Variant) -> Faults {
        let own = match variant {
            Variant::Faulty => &self.faults[..],
            Variant::Sound => &[],
        };
        Faults(self.background.iter().chain(own).cloned().collect())
    }

    /// Requests that an entry must have while a fault lasts to say anything about its size: so many that
    /// twenty are traced.
    pub(crate) fn least_requests(&self) -> f64 {
        20.0 / self.sampling
    }

    pub(crate) fn lives_of(&self, variant: Variant) -> &[Vec<Life>] {
        match variant {
            Variant::Faulty => &self.lives,
            Variant::Sound => &self.sound_lives,
        }
    }
}
