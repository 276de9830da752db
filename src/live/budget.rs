//! Bytes of requests on their way: taken before the memory is, given back when the shards are done.
//!
//! This is the only back-pressure there is. Queues behind it need no bound of their own, because what
//! is in them holds a permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes, shared by all receivers.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
}

/// Bytes taken; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Arc<Budget> {
        Arc::new(Budget { limit, used: AtomicU64::new(0) })
    }

    /// Takes bytes, or nothing. Whoever comes alone is let in whatever the size: a request that is
    /// larger than the budget, but within its own limit, must not be refused for ever.
    pub fn take(self: &Arc<Budget>, bytes: u64) -> Option<Permit> {
        let fits = |used: u64| {
            let total = used.checked_add(bytes)?;
            (total <= self.limit || used == 0).then_some(total)
        };
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.ok().map(|_| Permit { budget: Arc::clone(self), bytes })
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes there are.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_missing_until_it_is_given_back() {
        let budget = Budget::new(100);
        let first = budget.take(60).unwrap();
        assert!(budget.take(60).is_none());
        assert_eq!(budget.used(), 60);
        drop(first);
        assert!(budget.take(60).is_some());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn one_that_is_too_large_gets_in_alone() {
        let budget = Budget::new(100);
        let large = budget.take(1_000).unwrap();
        assert!(budget.take(1).is_none());
        drop(large);
        let _small = budget.take(1).unwrap();
        assert!(budget.take(1_000).is_none());
        assert!(budget.take(u64::MAX).is_none());
    }
}
