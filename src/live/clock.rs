//! The only place that reads a clock.
//!
//! Arrival time is the wall clock at the start plus what the monotonic clock has counted since, so a
//! step of the wall clock moves no deadline. Only if the wall clock runs ahead of that by more than a
//! few seconds (a machine that slept, or booted in 1970 and was set) is it followed; never backwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::{Nanos, Timestamp};

/// Tells the time of arrival.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// Nanoseconds since the epoch that correspond to `started`; only grows.
    origin: AtomicU64,
}

/// How far ahead the wall clock must be before it is followed. NTP slews what is less.
const FOLLOW_BEYOND: Nanos = Nanos::from_secs(5);

impl Clock {
    /// Starts with the wall clock's time.
    #[allow(clippy::disallowed_methods)] // this is the file
    pub fn start() -> Clock {
        Clock { started: Instant::now(), origin: AtomicU64::new(wall()) }
    }

    /// Now. Never goes back.
    pub fn now(&self) -> Timestamp {
        let elapsed = self.elapsed().0;
        let ours = self.origin.load(Ordering::Relaxed).saturating_add(elapsed);
        let wall = wall();
        if wall.saturating_sub(ours) > FOLLOW_BEYOND.0 {
            self.origin.fetch_max(wall - elapsed, Ordering::Relaxed);
            return Timestamp(wall);
        }
        Timestamp(ours)
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
}
