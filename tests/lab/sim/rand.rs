//! Random numbers by name: every draw is a function of a key, not of what was drawn before.
//!
//! Two runs of one seed that differ in a fault therefore draw the same number for the same step of the
//! same request, whatever the fault did to the order of events; what differs between the runs is the
//! fault. Streams, for building systems and arrivals, are the usual generator. Nothing here is for secrets.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};

/// Names one draw.
pub(crate) type Key = u64;

/// The key of `part` under `key`.
pub(crate) fn mix(key: Key, part: u64) -> Key {
    let mut z = key ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x632b_e59b_d9b4_e019);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Uniform over (0, 1).
pub(crate) fn unit(key: Key) -> f64 {
    ((key >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

/// True with this probability.
pub(crate) fn chance(key: Key, probability: f64) -> bool {
    unit(key) < probability
}

/// Uniform over `0..below`.
pub(crate) fn pick(key: Key, below: usize) -> usize {
    index(unit(key) * below as f64).min(below.saturating_sub(1))
}

/// Seconds as nanoseconds.
pub(crate) fn secs(seconds: f64) -> u64 {
    ns(seconds * 1e9)
}

/// The nearest whole number of nanoseconds; nothing below zero.
pub(crate) fn ns(value: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
    let whole = value.round() as u64;
    whole
}

/// A number rounded down to an index.
pub(crate) fn index(value: f64) -> usize {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
    let whole = value as usize;
    whole
}

/// An index in the 32 bits that are kept of it.
pub(crate) fn id32(index: usize) -> u32 {
    u32::try_from(index).expect("the simulation numbers fewer than 2^32 of anything")
}

/// A stream of draws, for what is drawn once: systems and arrivals.
pub(crate) struct Stream(Pcg64Mcg);

impl Stream {
    pub(crate) fn new(key: Key) -> Stream {
        Stream(Pcg64Mcg::seed_from_u64(mix(key, 0)))
    }

    pub(crate) fn key(&mut self) -> Key {
        self.0.next_u64()
    }

    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.0.next_u64())
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform over `low..=high`.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + pick(self.0.next_u64(), high.saturating_sub(low) + 1)
    }

    /// Uniform over `low..high`.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in the logarithm: each doubling is as likely as the next.
    pub(crate) fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.unit())
    }

    /// Exponential with this mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }

    pub(crate) fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[pick(self.key(), from.len())]
    }
}

/// How long something takes: log-normal, with a share of slow second-mode cases and a Pareto tail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dist {
    /// Median of the first mode, nanoseconds.
    pub(crate) median: f64,
    /// Standard deviation of the logarithm.
    pub(crate) sigma: f64,
    /// Share of cases in the second mode, and how many times as long they take.
    pub(crate) mode: (f64, f64),
    /// Share of cases in the tail, and its Pareto exponent; at most `TAIL_LIMIT` times as long.
    pub(crate) tail: (f64, f64),
}

/// The longest a tail reaches, as a multiple.
const TAIL_LIMIT: f64 = 30.0;

impl Dist {
    /// Log-normal and nothing else.
    pub(crate) const fn log_normal(median: f64, sigma: f64) -> Dist {
        Dist { median, sigma, mode: (0.0, 1.0), tail: (0.0, 2.0) }
    }

    /// Nanoseconds, for the draw of this name.
    pub(crate) fn sample(&self, key: Key) -> f64 {
        let mut value = self.median * (self.sigma * normal(unit(mix(key, 1)))).exp();
        let (share, factor) = self.mode;
        if share > 0.0 && chance(mix(key, 2), share) {
            value *= factor;
        }
        let (share, alpha) = self.tail;
        if share > 0.0 && chance(mix(key, 3), share) {
            value *= unit(mix(key, 4)).powf(-1.0 / alpha).min(TAIL_LIMIT);
        }
        value
    }

    /// The mean, in nanoseconds.
    pub(crate) fn mean(&self) -> f64 {
        let (share, alpha) = self.tail;
        // E[min(X, L)] for Pareto X >= 1: the integral of its survival function up to L.
        let tail = 1.0 + (1.0 - TAIL_LIMIT.powf(1.0 - alpha)) / (alpha - 1.0);
        self.median
            * (self.sigma * self.sigma / 2.0).exp()
            * (1.0 + self.mode.0 * (self.mode.1 - 1.0))
            * (1.0 + share * (tail - 1.0))
    }
}

/// The quantile of the standard normal: Acklam's rational approximation, good to 1.2e-9.
fn normal(p: f64) -> f64 {
    const A: [f64; 6] = [
        -39.69683028665376,
        220.9460984245205,
        -275.9285104469687,
        138.357751867269,
        -30.66479806614716,
        2.506628277459239,
    ];
    const B: [f64; 5] = [
        -54.47609879822406,
        161.5858368580409,
        -155.6989798598866,
        66.80131188771972,
        -13.28068155288572,
    ];
    const C: [f64; 6] = [
        -0.007784894002430293,
        -0.3223964580411365,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 4] =
        [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416];
    let poly = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |q: f64| poly(&C, q) / (poly(&D, q) * q + 1.0);
    const LOW: f64 = 0.02425;
    if p < LOW {
        tail((-2.0 * p.ln()).sqrt())
    } else if p > 1.0 - LOW {
        -tail((-2.0 * (1.0 - p).ln()).sqrt())
    } else {
        let q = p - 0.5;
        poly(&A, q * q) * q / (poly(&B, q * q) * q * q + 1.0)
    }
}
