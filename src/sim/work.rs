//! How long a piece of work takes: log-normal, with what real services add to it.
//!
//! A second mode (a cache miss, a full page instead of an empty one) and a heavy tail (a Pareto
//! factor on a share of the draws) are optional. Nothing here knows of load or of faults.

use crate::model::Nanos;

use super::random::{Random, exp, ln};

/// The distribution of a duration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Work {
    median: Nanos,
    sigma: f64,
    slow: Option<SlowMode>,
    tail: Option<Tail>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct SlowMode {
    share: f64,
    factor: f64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Tail {
    share: f64,
    alpha: f64,
}

impl Work {
    /// A tail draw is at most this many times the body's: keeps a run from hanging on one request.
    const TAIL_CAP: f64 = 100.0;

    /// Log-normal with this median and a sigma of 0.35 (the 0.99-quantile is 2.3 times the median).
    pub const fn median(median: Nanos) -> Work {
        Work { median, sigma: 0.35, slow: None, tail: None }
    }

    /// Log-normal with this median in milliseconds.
    pub fn ms(median_ms: f64) -> Work {
        Work::median(Nanos::from_secs_f64(median_ms / 1e3))
    }

    /// The same with another standard deviation of the logarithm.
    pub fn sigma(self, sigma: f64) -> Work {
        Work { sigma, ..self }
    }

    /// The same, but this share of the draws takes `factor` times as long.
    pub fn bimodal(self, share: f64, factor: f64) -> Work {
        Work { slow: Some(SlowMode { share, factor }), ..self }
    }

    /// The same, but this share of the draws is multiplied by a Pareto variable of shape `alpha`,
    /// at most 100.
    pub fn heavy_tail(self, share: f64, alpha: f64) -> Work {
        Work { tail: Some(Tail { share, alpha }), ..self }
    }

    /// The mean, in seconds.
    pub fn mean_seconds(&self) -> f64 {
        let body = self.median.as_secs_f64() * exp(self.sigma * self.sigma / 2.0);
        let slow = self.slow.map_or(1.0, |mode| 1.0 + mode.share * (mode.factor - 1.0));
        let tail = self.tail.map_or(1.0, |tail| {
            // Of min(X, cap), X Pareto from 1: the integral of its survival function.
            let a = tail.alpha;
            let capped = (a - exp((1.0 - a) * ln(Work::TAIL_CAP))) / (a - 1.0);
            1.0 + tail.share * (capped - 1.0)
        });
        body * slow * tail
    }

    /// One duration.
    pub fn draw(&self, random: &mut Random) -> Nanos {
        let mut factor = exp(self.sigma * random.normal());
        if let Some(mode) = self.slow {
            factor *= if random.chance(mode.share) { mode.factor } else { 1.0 };
        }
        if let Some(tail) = self.tail {
            let (hit, u) = (random.chance(tail.share), random.unit());
            let pareto = exp(-ln(u) / tail.alpha).min(Work::TAIL_CAP);
            factor *= if hit { pareto } else { 1.0 };
        }
        Nanos::from_secs_f64(self.median.as_secs_f64() * factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(work: Work, n: usize) -> Vec<f64> {
        let mut random = Random::new(11, 0);
        (0..n).map(|_| work.draw(&mut random).as_secs_f64()).collect()
    }

    fn mean_and_error(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0);
        (mean, (variance / n).sqrt())
    }

    #[test]
    fn the_mean_is_the_one_the_formula_states() {
        let plain = Work::ms(10.0).sigma(0.4);
        for work in [plain, plain.bimodal(0.1, 8.0), plain.heavy_tail(0.05, 2.5)] {
            let (mean, error) = mean_and_error(&draws(work, 100_000));
            assert!((mean - work.mean_seconds()).abs() < 4.0 * error, "{work:?}: {mean}");
        }
        // exp(0.08) * 10 ms, by hand.
        assert!((plain.mean_seconds() - 0.010_832_870_676_749_6).abs() < 1e-12);
    }

    #[test]
    fn half_of_the_draws_lie_below_the_median() {
        let values = draws(Work::ms(3.0), 100_000);
        let below = values.iter().filter(|v| **v < 0.003).count() as f64;
        assert!((below / 1e5 - 0.5).abs() < 4.0 * 0.5 / 1e5f64.sqrt());
    }

    #[test]
    fn without_spread_every_draw_is_the_median() {
        assert!(draws(Work::ms(2.0).sigma(0.0), 100).iter().all(|v| *v == 0.002));
    }
}
