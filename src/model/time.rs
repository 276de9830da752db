//! Instants and durations, in integer nanoseconds.
//!
//! Floating seconds appear only where a number leaves the program. Nothing here reads a clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// An instant: nanoseconds since the Unix epoch, as OTLP writes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// A length of time in nanoseconds. Never negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl Nanos {
    /// No time at all.
    pub const ZERO: Nanos = Nanos(0);

    /// Whole seconds; saturates.
    pub const fn from_secs(seconds: u64) -> Nanos {
        Nanos(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// Whole milliseconds; saturates.
    pub const fn from_millis(milliseconds: u64) -> Nanos {
        Nanos(milliseconds.saturating_mul(1_000_000))
    }

    /// Whole microseconds; saturates.
    pub const fn from_micros(microseconds: u64) -> Nanos {
        Nanos(microseconds.saturating_mul(1_000))
    }

    /// Fractional seconds; negative and NaN become zero, too large saturates.
    pub fn from_secs_f64(seconds: f64) -> Nanos {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // `as` saturates, NaN is 0
        Nanos((seconds * 1e9).round() as u64)
    }

    /// Seconds, for people and for Prometheus.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// `self - other`, or zero.
    #[inline]
    pub fn saturating_sub(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(other.0))
    }
}

impl Timestamp {
    /// Whole seconds since the Unix epoch; saturates.
    pub const fn from_secs(seconds: u64) -> Timestamp {
        Timestamp(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// Seconds since the Unix epoch, for Prometheus.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[inline]
    pub fn since(self, earlier: Timestamp) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved back; stops at the epoch.
    #[inline]
    pub fn saturating_sub(self, by: Nanos) -> Timestamp {
        Timestamp(self.0.saturating_sub(by.0))
    }
}

impl Add<Nanos> for Timestamp {
    type Output = Timestamp;
    #[inline]
    fn add(self, by: Nanos) -> Timestamp {
        Timestamp(self.0.saturating_add(by.0))
    }
}

impl Add for Nanos {
    type Output = Nanos;
    #[inline]
    fn add(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanos {
    #[inline]
    fn add_assign(&mut self, other: Nanos) {
        *self = *self + other;
    }
}

impl Sub for Nanos {
    type Output = Nanos;
    #[inline]
    fn sub(self, other: Nanos) -> Nanos {
        self.saturating_sub(other)
    }
}

/// `1.207 s`, `4.10 ms`, `850 µs`: three or four significant digits, the unit chosen for the eye.
impl fmt::Display for Nanos {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        match self.0 {
            0 => out.pad("0 s"),
            1..=999 => out.pad(&format!("{} ns", self.0)),
            1_000..=99_999 => out.pad(&format!("{:.1} µs", ns / 1e3)),
            100_000..=999_949 => out.pad(&format!("{:.0} µs", ns / 1e3)),
            999_950..=99_999_999 => out.pad(&format!("{:.2} ms", ns / 1e6)),
            100_000_000..=999_949_999 => out.pad(&format!("{:.0} ms", ns / 1e6)),
            _ => out.pad(&format!("{:.3} s", ns / 1e9)),
        }
    }
}

impl fmt::Debug for Nanos {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}ns", self.0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "@{}ns", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_in_the_unit_people_would_choose() {
        let shown = |ns| Nanos(ns).to_string();
        assert_eq!(shown(0), "0 s");
        assert_eq!(shown(850), "850 ns");
        assert_eq!(shown(4_100), "4.1 µs");
        assert_eq!(shown(850_000), "850 µs");
        assert_eq!(shown(4_100_000), "4.10 ms");
        assert_eq!(shown(775_229_000), "775 ms");
        assert_eq!(shown(999_990_000), "1.000 s");
        assert_eq!(shown(1_207_384_000), "1.207 s");
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp(u64::MAX) + Nanos(1), Timestamp(u64::MAX));
        assert_eq!(Timestamp(1).since(Timestamp(5)), Nanos::ZERO);
        assert_eq!(Nanos(3) - Nanos(5), Nanos::ZERO);
        assert_eq!(Nanos::from_secs_f64(f64::NAN), Nanos::ZERO);
        assert_eq!(Nanos::from_secs_f64(-1.0), Nanos::ZERO);
    }
}
