//! The only place that reads a clock.
//!
//! Arrival time is the wall clock at the start plus what the monotonic clock has counted since, so a
//! step of the wall clock moves no deadline. Only if the wall clock runs ahead of that by more than a
//! few seconds (a machine that slept, or booted in 1970 and was set) is it followed; never backwards.
//! When it was set back, spans come with times that lie before ours by as much: [`Clock::behind`] says by
//! how much, so that it is put on what comes in and taken off what is shown. Without it every span would
//! be old until the wall clock has caught up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::warn;

use crate::model::{Nanos, Timestamp};

/// Tells the time of arrival.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// Nanoseconds since the epoch that correspond to `started`; only grows.
    origin: AtomicU64,
    /// By how much the wall clock lies behind ours, nanoseconds; as of its latest step.
    behind: AtomicU64,
}

/// How far ahead the wall clock must be before it is followed. NTP slews what is less.
const FOLLOW_BEYOND: Nanos = Nanos::from_secs(5);

/// A wall clock that lies further behind was set back. Ours is slewed by nobody, so an hour of slewing
/// by NTP is no step.
const SET_BACK_BEYOND: Nanos = Nanos::from_secs(10);

impl Clock {
    /// Starts with the wall clock's time.
    #[allow(clippy::disallowed_methods)] // this is the file
    pub fn start() -> Clock {
        let (origin, behind) = (AtomicU64::new(wall()), AtomicU64::new(0));
        Clock { started: Instant::now(), origin, behind }
    }

    /// Now. Never goes back.
    pub fn now(&self) -> Timestamp {
        self.now_at(self.elapsed(), wall())
    }

    /// By how much times of the wall clock lie before ours, because it was set back.
    pub fn behind(&self) -> Nanos {
        self.behind_at(self.elapsed(), wall())
    }

    fn now_at(&self, elapsed: Nanos, wall: u64) -> Timestamp {
        let ours = self.origin.load(Ordering::Relaxed).saturating_add(elapsed.0);
        if wall.saturating_sub(ours) > FOLLOW_BEYOND.0 {
            self.origin.fetch_max(wall.saturating_sub(elapsed.0), Ordering::Relaxed);
            return Timestamp(wall);
        }
        Timestamp(ours)
    }

    /// It stays as it is until the next step: the same time for all spans of a trace.
    fn behind_at(&self, elapsed: Nanos, wall: u64) -> Nanos {
        let known = self.behind.load(Ordering::Relaxed);
        let behind = self.now_at(elapsed, wall).0.saturating_sub(wall);
        if behind.abs_diff(known) <= SET_BACK_BEYOND.0 {
            return Nanos(known);
        }
        let behind = if behind > SET_BACK_BEYOND.0 { behind } else { 0 };
        // Of two who find it at once, one tells.
        if self.behind.swap(behind, Ordering::Relaxed) == known {
            warn!(behind = %Nanos(behind), "the wall clock was set; spans are judged as if it had not been");
        }
        Nanos(behind)
    }

    /// Since the start.
    pub fn elapsed(&self) -> Nanos {
        Nanos(nanos(self.started.elapsed()))
    }
}

#[allow(clippy::disallowed_methods)] // this is the file
fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_go_back() {
        let clock = Clock::start();
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_wall_clock_far_ahead_is_followed_and_one_behind_is_not() {
        let clock = Clock::start();
        let honest = clock.now();
        clock.origin.store(0, Ordering::Relaxed);
        assert!(clock.now() + Nanos::from_secs(1) >= honest, "set from 1970");
        let future = wall() + Nanos::from_secs(3600).0;
        clock.origin.store(future, Ordering::Relaxed);
        assert!(clock.now() >= Timestamp(future), "stepped back by an hour");
    }

    const T0: u64 = 1_790_000_000_000_000_000;

    /// A clock whose hands a test moves.
    #[allow(clippy::disallowed_methods)] // this is the file
    fn stopped() -> Clock {
        Clock { started: Instant::now(), origin: AtomicU64::new(T0), behind: AtomicU64::new(0) }
    }

    /// Steps of a second, an hour and a year, both ways.
    #[test]
    fn after_any_step_a_span_that_ends_now_ends_about_now() {
        let minute = Nanos::from_secs(60);
        for step in [1, 3_600, 31_536_000].map(Nanos::from_secs) {
            for wall in [T0 + minute.0 + step.0, T0 + minute.0 - step.0] {
                let clock = stopped();
                let before = clock.now_at(minute, T0 + minute.0);
                let (behind, now) = (clock.behind_at(minute, wall), clock.now_at(minute, wall));
                assert!(now >= before);
                let arrived = wall + behind.0;
                assert!(arrived.abs_diff(now.0) <= Nanos::from_secs(5).0, "{step} to {wall}");
            }
        }
    }

    #[test]
    fn how_far_behind_stays_the_same_until_it_is_set_again() {
        let clock = stopped();
        let hour = Nanos::from_secs(3_600);
        assert_eq!(clock.behind_at(Nanos(0), T0 - hour.0), hour);
        // Slewed by half a second meanwhile.
        let elapsed = Nanos::from_secs(60);
        assert_eq!(clock.behind_at(elapsed, T0 - hour.0 + elapsed.0 + 500_000_000), hour);
        // Set right, and set back again by a little.
        assert_eq!(clock.behind_at(elapsed, T0 + elapsed.0), Nanos(0));
        assert_eq!(clock.behind_at(elapsed, T0 + elapsed.0 - 9_000_000_000), Nanos(0));
    }

    #[test]
    fn deadlines_do_not_see_a_step_back() {
        let clock = stopped();
        let mut last = Timestamp(0);
        for second in 0..100 {
            let elapsed = Nanos::from_secs(second);
            let wall = if second < 50 { T0 + elapsed.0 } else { T0 - 1_000_000_000_000 };
            let now = clock.now_at(elapsed, wall);
            assert_eq!(now, Timestamp(T0) + elapsed);
            assert!(now > last);
            last = now;
        }
    }
}
