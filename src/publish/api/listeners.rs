//! Who is told of every change: how many at a time, and what they were too slow for.
//!
//! The page's events and the gRPC stream share the room. Nothing here knows what anybody is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Problem;

/// Listeners at a time.
pub(super) const MAX_LISTENERS: usize = 64;

/// The room for listeners.
pub(super) struct Listeners {
    room: Arc<Semaphore>,
    turned_away: AtomicU64,
    skipped: AtomicU64,
}

/// How it stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Listening {
    pub(super) listening: usize,
    pub(super) limit: usize,
    pub(super) turned_away: u64,
    pub(super) skipped_changes: u64,
}

impl Default for Listeners {
    fn default() -> Listeners {
        let room = Arc::new(Semaphore::new(MAX_LISTENERS));
        Listeners { room, turned_away: AtomicU64::new(0), skipped: AtomicU64::new(0) }
    }
}

impl Listeners {
    /// One more, as long as what is returned is held.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.room).try_acquire_owned().map_err(|_| {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            Problem::busy(format!("{MAX_LISTENERS} others are listening; ask now and then instead"))
        })
    }

    /// One of them was too slow for a change.
    pub(super) fn skip(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn figures(&self) -> Listening {
        Listening {
            listening: MAX_LISTENERS - self.room.available_permits(),
            limit: MAX_LISTENERS,
            turned_away: self.turned_away.load(Ordering::Relaxed),
            skipped_changes: self.skipped.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_room_is_counted_and_who_leaves_makes_some() {
        let listeners = Listeners::default();
        let mut inside: Vec<_> = (0..MAX_LISTENERS).map(|_| listeners.enter().unwrap()).collect();
        assert!(listeners.enter().is_err());
        listeners.skip();
        let full = Listening {
            listening: MAX_LISTENERS,
            limit: MAX_LISTENERS,
            turned_away: 1,
            skipped_changes: 1,
        };
        assert_eq!(listeners.figures(), full);
        inside.pop();
        assert!(listeners.enter().is_ok());
    }
}
