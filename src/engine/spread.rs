//! How much a node's slices usually differ from its own baseline: what tells a wave from a fault.
//!
//! Calls are no independent witnesses. A pause of the runtime slows all that are under way, a load wave
//! lifts a whole minute, and a test that counts calls takes both for proof. So each slice, as it
//! becomes normal, is compared with what was normal before it, by the same figures that the tests
//! use: the mean of the logarithm, and the counts above the cuts. What those comparisons came to, on
//! average, is what the next one has to exceed. Nothing here knows of windows or decides anything.

use super::histogram::{Distribution, Sparse};
use super::params::DetectionParams;
use super::rolling::Sum;
use super::tape::{Packed, Unpacker, put};

/// How many cuts there are.
pub(super) const CUTS: usize = 7;

/// One unit is a millionth: sums of integers are the same in any order and can be taken out again.
const UNIT: f64 = 1e6;

/// What the slices of a baseline came to, summed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Spread {
    /// Slices compared.
    slices: u32,
    /// Squared distance of the slice's mean logarithm from the baseline's, less what chance explains.
    drift: i64,
    /// Squared distance of the count above each cut from its expectation, in units of its variance.
    bursts: [u64; CUTS],
}

impl Sum for Spread {
    fn add(&mut self, other: &Spread) {
        self.slices = self.slices.saturating_add(other.slices);
        self.drift = self.drift.saturating_add(other.drift);
        for (sum, burst) in self.bursts.iter_mut().zip(other.bursts) {
            *sum = sum.saturating_add(burst);
        }
    }
    fn subtract(&mut self, other: &Spread) {
        self.slices = self.slices.saturating_sub(other.slices);
        self.drift = self.drift.saturating_sub(other.drift);
        for (sum, burst) in self.bursts.iter_mut().zip(other.bursts) {
            *sum = sum.saturating_sub(burst);
        }
    }
}

impl Packed for Spread {
    fn write(&self, out: &mut Vec<u8>) {
        put(out, u64::from(self.slices));
        // The sign in the lowest bit, so that small numbers are short.
        put(out, (self.drift << 1 ^ self.drift >> 63).cast_unsigned());
        self.bursts.iter().for_each(|&burst| put(out, burst));
    }
    fn read(from: &mut Unpacker<'_>) -> Spread {
        let slices = u32::try_from(from.int()).unwrap_or(u32::MAX);
        let drift = from.int();
        let drift = (drift >> 1).cast_signed() ^ -(drift & 1).cast_signed();
        Spread { slices, drift, bursts: std::array::from_fn(|_| from.int()) }
    }
}

impl Spread {
    /// A baseline of fewer calls than this says little about what a slice should look like.
    const MIN_LEARNED: u64 = 20;
    /// Slices of prior belief: a spread known from a few slices is no more than a guess.
    const PRIOR_SLICES: f64 = 12.0;
    /// A single slice counts for no more than this: one outage is not a habit.
    const MAX_SURPRISE: f64 = 400.0;
    /// The same for the squared distance of means: a factor of e.
    const MAX_DRIFT: f64 = 1.0;

    /// Compares a slice with the baseline that it is about to join.
    pub(super) fn of(
        slice: &Sparse,
        baseline: &impl Distribution,
        params: &DetectionParams,
    ) -> Spread {
        let calls = slice.count();
        if calls == 0 || baseline.count() < Spread::MIN_LEARNED {
            return Spread::default();
        }
        let cuts = Cuts::of(baseline, params).limits;
        let (n, learned) = (calls as f64, baseline.count() as f64);
        let (mean, _) = slice.log_moments();
        let (usual, variance) = baseline.log_moments();
        let by_chance = variance * (1.0 / n + 1.0 / learned);
        let distance = ((mean - usual).powi(2) - by_chance).min(Spread::MAX_DRIFT);
        let bursts = cuts.map(|cut| {
            let share = (baseline.count_above(cut) + 0.5) / (learned + 1.0);
            let expected = n * share;
            let variance = expected * (1.0 - share).max(0.5 / (learned + 1.0));
            // The half is the smallest that whole counts can differ by.
            let over = (slice.count_above(cut) - expected).abs() - 0.5;
            units((over.max(0.0).powi(2) / variance).min(Spread::MAX_SURPRISE)).unsigned_abs()
        });
        Spread { slices: 1, drift: units(distance), bursts }
    }

    /// Variance of a slice's mean logarithm around the baseline's beyond chance; `prior` is what is
    /// assumed while little is known.
    pub(super) fn drift_variance(&self, prior: f64) -> f64 {
        let slices = f64::from(self.slices);
        let seen = self.drift as f64 / UNIT;
        ((seen + Spread::PRIOR_SLICES * prior) / (slices + Spread::PRIOR_SLICES)).max(0.0)
    }

    /// How many times more the count above a cut varies than that of independent calls; at least one.
    pub(super) fn dispersion(&self, cut: usize, prior: f64) -> f64 {
        let slices = f64::from(self.slices);
        let seen = self.bursts[cut] as f64 / UNIT;
        ((seen + Spread::PRIOR_SLICES * prior) / (slices + Spread::PRIOR_SLICES)).max(1.0)
    }
}

/// The limits above which a call is slow, at several depths of the distribution. Beside those just
/// above the quantiles there are some far out, because a rare stall of half a second is lost among the
/// many that pass 5 ms.
pub(super) struct Cuts {
    /// Ascending.
    pub(super) limits: [f64; CUTS],
    /// The highest of the quantiles.
    highest: f64,
}

/// From this cut on, calls are so slow that none was ever seen to be.
const FAR: usize = 4;

impl Cuts {
    pub(super) fn of(baseline: &impl Distribution, params: &DetectionParams) -> Cuts {
        let [median, high, highest] = baseline.quantiles([0.5, 0.9, 0.99]);
        let limits = [
            slackened(median, params),
            slackened(high, params),
            slackened(highest, params),
            2.5 * highest + 3e6,
            6.0 * highest + 10e6,
            30.0 * highest + 50e6,
            150.0 * highest + 250e6,
        ];
        Cuts { limits, highest }
    }

    /// How many times the baseline's calls speak for the cut `number`, where none of them is above it. What
    /// was not seen beyond some limit is seen half as often beyond twice that, with the heaviest tail that
    /// has a mean (Pareto, exponent one), so its absence says twice as much.
    pub(super) fn reach(&self, number: usize) -> f64 {
        if number > FAR { self.limits[number] / self.limits[FAR] } else { 1.0 }
    }

    /// By how many times a cut lies beyond what is normal. By the same tail, calls above it are as much rarer
    /// than calls above all that were seen.
    pub(super) fn beyond(&self, number: usize) -> f64 {
        (self.limits[number] / self.highest.max(1.0)).max(1.0)
    }
}

/// So many calls above a cut are asked for: fewer where none was ever seen to be.
pub(super) fn least_slow(number: usize, params: &DetectionParams) -> f64 {
    if number > FAR { params.min_slow_far.min(params.min_slow) } else { params.min_slow }
}

/// A quantile with room for drift.
pub(super) fn slackened(nanos: f64, params: &DetectionParams) -> f64 {
    nanos * (1.0 + params.slack_ratio) + params.slack
}

fn units(value: f64) -> i64 {
    super::decompose::rounded(value * UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::histogram::{Dense, bucket_of};
    use crate::model::Nanos;

    #[test]
    fn a_cut_is_beyond_what_is_normal_by_its_ratio_to_the_highest() {
        let cuts = Cuts::of(&slice(&[10; 200]), &DetectionParams::default());
        let highest = slice(&[10; 200]).quantile(0.99);
        for (number, factor, more) in [(3, 2.5, 3e6), (4, 6.0, 10e6), (6, 150.0, 250e6)] {
            let exact = factor + more / highest;
            assert!((cuts.beyond(number) - exact).abs() < 1e-6 * exact, "{number}");
        }
    }

    fn slice(values_ms: &[u64]) -> Sparse {
        let counts = values_ms.iter().map(|&ms| (bucket_of(Nanos::from_millis(ms)), 1));
        Sparse::from_counts(counts.collect())
    }

    fn baseline() -> Dense {
        let mut dense = Dense::default();
        for _ in 0..100 {
            dense.add(&slice(&[8, 9, 10, 11, 12]));
        }
        dense
    }

    fn sum(slices: &[Sparse]) -> Spread {
        let (mut sum, params) = (Spread::default(), DetectionParams::default());
        slices.iter().for_each(|slice| sum.add(&Spread::of(slice, &baseline(), &params)));
        sum
    }

    #[test]
    fn slices_like_the_baseline_have_no_spread() {
        let calm = sum(&vec![slice(&[8, 9, 10, 11, 12]); 200]);
        assert!(calm.drift_variance(0.01) < 0.001, "{calm:?}");
        assert!((calm.dispersion(2, 1.5) - 1.0).abs() < 0.1);
    }

    #[test]
    fn slices_that_come_and_go_have_the_spread_of_their_means() {
        // Half of the slices are twice as slow: their mean logarithm lies ln 2 above.
        let wave: Vec<Sparse> = (0..200)
            .map(|at| slice(if at % 2 == 0 { &[8, 9, 10, 11, 12] } else { &[16, 18, 20, 22, 24] }))
            .collect();
        let expected = 2f64.ln().powi(2) / 2.0;
        let variance = sum(&wave).drift_variance(0.01);
        assert!((variance / expected - 1.0).abs() < 0.1, "{variance} for {expected}");
    }

    #[test]
    fn bursts_count_by_how_unlikely_independent_calls_make_them() {
        // One slice in twenty has three calls of five above a cut that one call in a thousand passes.
        let bursts: Vec<Sparse> = (0..200)
            .map(|at| slice(if at % 20 == 0 { &[9, 10, 30, 31, 32] } else { &[8, 9, 10, 11, 12] }))
            .collect();
        assert!(sum(&bursts).dispersion(2, 1.5) > 10.0);
        assert!(sum(&bursts).dispersion(4, 1.5) < 1.5);
    }

    #[test]
    fn what_is_added_can_be_taken_out_exactly() {
        let (one, two) = (sum(&[slice(&[9, 10, 30])]), sum(&[slice(&[100; 7])]));
        let mut both = one;
        both.add(&two);
        both.subtract(&two);
        assert_eq!(both, one);
    }

    #[test]
    fn while_little_is_known_the_prior_holds() {
        assert_eq!(Spread::default().drift_variance(0.01), 0.01);
        assert_eq!(Spread::default().dispersion(0, 2.5), 2.5);
    }
}
