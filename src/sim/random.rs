//! Random numbers that are the same on every platform.
//!
//! The generator is PCG (`Pcg64Mcg`, seeded as `rand_core` documents for `seed_from_u64`). The
//! standard library's `ln` and `exp` are the platform's and may differ in the last bit, so the two
//! are written out here in additions, multiplications and divisions, which IEEE 754 fixes to the bit.
//! Every draw takes one number from the generator, so that two runs that differ in one fault stay
//! comparable draw by draw. It is not for secrets.

use std::f64::consts::{LN_2, LOG2_E, SQRT_2};

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};

/// A seeded stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random(Pcg64Mcg);

impl Random {
    /// The stream number `stream` of a seed; streams are independent of each other.
    pub fn new(seed: u64, stream: u64) -> Random {
        Random(Pcg64Mcg::seed_from_u64(scramble(seed ^ scramble(stream))))
    }

    /// All 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform over (0, 1), both ends excluded.
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform over `low..=high`.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        let width = u64::from(high.saturating_sub(low)) + 1;
        let offset = ((self.bits() >> 32) * width) >> 32;
        low.saturating_add(u32::try_from(offset).expect("below a width of at most 2^32"))
    }

    /// Uniform over the indices of a list; 0 for an empty one.
    pub fn index(&mut self, len: usize) -> usize {
        let last = u32::try_from(len.saturating_sub(1)).unwrap_or(u32::MAX);
        self.between(0, last) as usize
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -ln(self.unit())
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        normal_quantile(self.unit())
    }
}

/// The finaliser of SplitMix64: neighbouring seeds become unrelated ones.
fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// e to the `x`, for `x` within +-700 (beyond, the value at the border).
pub(super) fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let power = (x * LOG2_E).round();
    let rest = x - power * LN_2;
    // Taylor to the 13th power: |rest| <= ln 2 / 2, so what is left out is below 1e-17.
    let mut sum = 1.0;
    for n in (1..=13u32).rev() {
        sum = 1.0 + sum * rest / f64::from(n);
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 1023 +- 1010 fits 11 bits
    let scale = f64::from_bits(((1023.0 + power) as u64) << 52);
    sum * scale
}

/// The natural logarithm of a positive normal number.
pub(super) fn ln(x: f64) -> f64 {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let mut power = (bits >> 52 & 0x7ff) as f64 - 1023.0;
    let mut m = f64::from_bits(bits & FRACTION | 1023 << 52);
    if m > SQRT_2 {
        m /= 2.0;
        power += 1.0;
    }
    // ln m = 2 artanh s; |s| <= 0.172, so the 11 terms leave out less than 1e-17.
    let s = (m - 1.0) / (m + 1.0);
    let mut sum = 0.0;
    for n in (0..=10u32).rev() {
        sum = sum * s * s + 1.0 / f64::from(2 * n + 1);
    }
    2.0 * s * sum + power * LN_2
}

/// The quantile function of the standard normal, to a relative error of 1.2e-9 (P. J. Acklam's
/// rational approximation, 2003).
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    /// Below this and above its mirror image the tail formula holds.
    const TAIL: f64 = 0.024_25;
    if p > 1.0 - TAIL {
        return -normal_quantile(1.0 - p);
    }
    if p < TAIL {
        let q = (-2.0 * ln(p)).sqrt();
        return polynomial(&C, q) / polynomial(&D, q);
    }
    let q = p - 0.5;
    q * polynomial(&A, q * q) / polynomial(&B, q * q)
}

/// Coefficients from the highest power down.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_ln_agree_with_the_platform_to_a_few_units_in_the_last_place() {
        for step in -4_000..4_000 {
            let x = f64::from(step) / 97.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-14, "exp({x})");
            let y = x.exp();
            assert!((ln(y) - x).abs() < 1e-13, "ln({y})");
        }
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn normal_quantiles_are_those_of_the_tables() {
        for (p, z) in [
            (0.5, 0.0),
            (0.841_344_746_068_542_9, 1.0),
            (0.975, 1.959_963_984_540_054),
            (0.999, 3.090_232_306_167_813),
            (0.01, -2.326_347_874_040_841),
            (1e-6, -4.753_424_308_822_899),
        ] {
            assert!((normal_quantile(p) - z).abs() < 1e-8, "{p}: {}", normal_quantile(p));
        }
    }

    /// Each moment within four standard errors of what the distribution has.
    #[test]
    fn draws_have_the_moments_of_their_distributions() {
        const N: f64 = 200_000.0;
        let mut random = Random::new(1, 0);
        let (mut unit, mut normal, mut square, mut exponential) = (0.0, 0.0, 0.0, 0.0);
        let mut faces = [0u32; 6];
        for _ in 0..200_000 {
            unit += random.unit();
            let z = random.normal();
            normal += z;
            square += z * z;
            exponential += random.exponential();
            faces[random.between(1, 6) as usize - 1] += 1;
        }
        let within = |sum: f64, mean: f64, deviation: f64| {
            (sum / N - mean).abs() < 4.0 * deviation / N.sqrt()
        };
        assert!(within(unit, 0.5, (1.0f64 / 12.0).sqrt()));
        assert!(within(normal, 0.0, 1.0));
        assert!(within(square, 1.0, 2.0f64.sqrt()));
        assert!(within(exponential, 1.0, 1.0));
        for count in faces {
            assert!(within(f64::from(count), 1.0 / 6.0, (5.0f64 / 36.0).sqrt()));
        }
    }

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let first = |seed, stream| Random::new(seed, stream).bits();
        assert_eq!(first(7, 1), first(7, 1));
        assert_ne!(first(7, 1), first(7, 2));
        assert_ne!(first(7, 1), first(8, 1));
    }

    #[test]
    fn ranges_include_both_ends_and_survive_the_extremes() {
        let mut random = Random::new(3, 0);
        assert_eq!(random.between(4, 4), 4);
        assert_eq!(random.between(9, 2), 9);
        assert_eq!(random.index(0), 0);
        let _ = random.between(0, u32::MAX);
        let mut seen = [false; 3];
        for _ in 0..100 {
            seen[random.index(3)] = true;
        }
        assert_eq!(seen, [true; 3]);
    }
}
