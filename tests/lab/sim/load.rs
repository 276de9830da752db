//! When requests come: a Poisson stream under hourly and daily waves and slow random swings.

use super::faults::Faults;
use super::rand::{Key, Stream, mix, ns, unit};
use super::topology::System;

/// How the rate moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Waves {
    /// Half the height of the hourly and of the daily wave, as a share of the rate.
    pub(crate) hourly: f64,
    pub(crate) daily: f64,
    /// Swings from minute to minute.
    pub(crate) swing: f64,
}

/// A request that comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: u64,
    pub(crate) entry: usize,
    /// The request's own key: counted by entry, so that a surge of one does not rename the others.
    pub(crate) key: Key,
}

pub(crate) struct Load {
    seed: Key,
    waves: Waves,
    /// One stream an entry, each with the time of its next candidate and how many came before it.
    streams: Vec<(Stream, u64, u64)>,
    rates: Vec<f64>,
    /// Candidates come this many times as often as requests do at the middle of the waves.
    most: f64,
}

impl Load {
    /// `surge` is the most that `faults` may multiply the arrivals by; the same for two runs that are
    /// to be compared.
    pub(crate) fn new(system: &System, waves: Waves, surge: f64, seed: Key) -> Load {
        let most = (1.0 + waves.hourly + waves.daily + waves.swing) * surge;
        let rates: Vec<f64> =
            system.entries.iter().map(|entry| entry.share * system.rate).collect();
        let streams = (0u64..).zip(&rates).map(|(n, rate)| {
            let mut stream = Stream::new(mix(seed, n));
            let first = ns(stream.exponential(1e9 / (rate * most)));
            (stream, first, 0)
        });
        Load { seed, waves, streams: streams.collect(), rates, most }
    }

    /// The next request.
    pub(crate) fn next(&mut self, faults: &Faults) -> Arrival {
        loop {
            let first = (0..self.streams.len()).min_by_key(|&entry| self.streams[entry].1);
            let entry = first.expect("a system has an entry");
            let gap = 1e9 / (self.rates[entry] * self.most);
            let (stream, candidate, count) = &mut self.streams[entry];
            let at = *candidate;
            let kept = stream.unit();
            *candidate = at + ns(stream.exponential(gap)).max(1);
            *count += 1;
            let count = *count;
            let factor = self.factor(at) * faults.arrivals(at, entry);
            if kept * self.most < factor {
                let key = mix(mix(self.seed, 1000 + entry as u64), count);
                return Arrival { at, entry, key };
            }
        }
    }

    /// The rate at this time, as a multiple of the middle.
    fn factor(&self, now: u64) -> f64 {
        let turn = |period: f64, part: u64| {
            let phase = unit(mix(self.seed, part));
            (std::f64::consts::TAU * (now as f64 / 1e9 / period + phase)).sin()
        };
        let swing = (turn(97.0, 61) + turn(223.0, 62) + turn(517.0, 63)) / 3.0;
        1.0 + self.waves.hourly * turn(3600.0, 60)
            + self.waves.daily * turn(86_400.0, 64)
            + self.waves.swing * swing
    }
}
