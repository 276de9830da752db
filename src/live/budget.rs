//! Bytes of requests on their way: taken before the memory is, given back when the shards are done.
//!
//! This is the only back-pressure there is. Queues behind it need no bound of their own, because what
//! is in them holds a permit. Nobody waits for room: a request gets it or is refused, to come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::model::Nanos;
use crate::otlp::receive::{self, Overloaded};

/// So many bytes, shared by all receivers.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
    under_pressure: AtomicBool,
}

/// Bytes of bodies that are not complete, of one connection or of all of one peer.
///
/// A body that never ends holds its bytes until its deadline. Without a share of its own for everyone,
/// one peer that sends halves of large bodies would leave no room for whole ones.
#[derive(Debug, Default)]
pub struct Unfinished(AtomicU64);

/// Where a request comes from: in its extensions.
#[derive(Debug, Default)]
pub struct Origin {
    /// All connections of the peer.
    pub peer: Arc<Unfinished>,
    /// The connection.
    pub connection: Unfinished,
}

/// Bytes taken; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
    /// While the body is not complete: whose it is, and how much of it has come.
    unfinished: Option<(Arc<Origin>, u64)>,
}

/// The lanes are empty again within a second, whatever was in them.
const FULL: Overloaded = Overloaded { retry_after: Nanos::from_secs(1) };

impl Budget {
    /// Of the budget, what unfinished bodies of one connection may take. The largest request allowed must
    /// fit into this.
    pub const SHARE_OF_CONNECTION: u64 = 4;
    /// The same for all connections of one peer.
    const SHARE_OF_PEER: u64 = 2;
    /// What is left of the budget while the process as a whole is short of memory.
    const SHARE_UNDER_PRESSURE: u64 = 8;
    /// What large requests leave to small ones, so that who sends much does not keep those out who send little.
    const SHARE_FOR_SMALL: u64 = 8;
    /// Of the budget, what a small request may take: 256 KiB of 64 MiB, of which a span takes 160 bytes
    /// decoded and about as many on the wire.
    const SHARE_OF_SMALL: u64 = 256;

    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Arc<Budget> {
        let (used, under_pressure) = Default::default();
        Arc::new(Budget { limit: AtomicU64::new(limit), used, under_pressure })
    }

    /// A permit for a request of which nothing has been read. Refused when half of what is for small ones is in
    /// use: what is already being read needs the rest, and a request refused now costs less than one refused
    /// halfway.
    pub fn admit(self: &Arc<Budget>, origin: Option<Arc<Origin>>) -> Result<Permit, Overloaded> {
        let available = self.available();
        if self.used() > available - available / Budget::SHARE_FOR_SMALL / 2 {
            return Err(FULL);
        }
        let unfinished = origin.map(|origin| (origin, 0));
        Ok(Permit { budget: Arc::clone(self), bytes: 0, unfinished })
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes there are.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes how many there are. What is in use stays so.
    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// Says whether the process as a whole is short of memory.
    pub fn set_pressure(&self, short: bool) {
        self.under_pressure.store(short, Ordering::Relaxed);
    }

    fn available(&self) -> u64 {
        match self.under_pressure.load(Ordering::Relaxed) {
            true => self.limit() / Budget::SHARE_UNDER_PRESSURE,
            false => self.limit(),
        }
    }

    /// Takes so many bytes more for a request that has `so_far`. One that becomes large is refused when three
    /// quarters are in use, for those that are already.
    fn take(&self, bytes: u64, so_far: u64) -> Result<(), Overloaded> {
        let available = self.available();
        let small = available / Budget::SHARE_OF_SMALL;
        if so_far.saturating_add(bytes) <= small {
            return add_within(&self.used, bytes, available);
        }
        if so_far <= small && self.used() > available / 4 * 3 {
            return Err(FULL);
        }
        add_within(&self.used, bytes, available - available / Budget::SHARE_FOR_SMALL)
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Unfinished {
    fn take(&self, bytes: u64, limit: u64) -> Result<(), Overloaded> {
        add_within(&self.0, bytes, limit)
    }

    fn give_back(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Adds `bytes` to `used` unless that is more than `limit`.
fn add_within(used: &AtomicU64, bytes: u64, limit: u64) -> Result<(), Overloaded> {
    let fits = |used: u64| used.checked_add(bytes).filter(|total| *total <= limit);
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map(drop).map_err(|_| FULL)
}

impl receive::Permit for Permit {
    fn receive(&mut self, bytes: usize) -> Result<(), Overloaded> {
        let new = bytes as u64;
        if let Some((origin, so_far)) = &mut self.unfinished {
            let available = self.budget.available();
            origin.connection.take(new, available / Budget::SHARE_OF_CONNECTION)?;
            if let Err(full) = origin.peer.take(new, available / Budget::SHARE_OF_PEER) {
                origin.connection.give_back(new);
                return Err(full);
            }
            *so_far += new;
        }
        self.grow(bytes)
    }

    fn complete(&mut self) {
        if let Some((origin, bytes)) = self.unfinished.take() {
            origin.connection.give_back(bytes);
            origin.peer.give_back(bytes);
        }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Overloaded> {
        self.budget.take(bytes as u64, self.bytes)?;
        self.bytes += bytes as u64;
        Ok(())
    }

    fn shrink(&mut self, bytes: usize) {
        let rest = self.bytes.min(bytes as u64);
        self.budget.give_back(self.bytes - rest);
        self.bytes = rest;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        receive::Permit::complete(self);
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::otlp::receive::Permit as _;

    #[test]
    fn what_is_taken_is_missing_until_it_is_given_back() {
        let budget = Budget::new(800);
        let mut first = budget.admit(None).unwrap();
        first.grow(400).unwrap();
        let mut second = budget.admit(None).unwrap();
        assert_eq!(second.grow(301), Err(FULL));
        second.grow(300).unwrap();
        assert_eq!(budget.used(), 700);
        first.shrink(100);
        assert_eq!(budget.used(), 400);
        drop(first);
        second.grow(400).unwrap();
        assert_eq!(second.grow(usize::MAX), Err(FULL));
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_has_begun_has_room_that_newcomers_have_not() {
        let budget = Budget::new(800);
        let mut begun = budget.admit(None).unwrap();
        begun.grow(601).unwrap();
        let mut newcomer = budget.admit(None).unwrap();
        assert_eq!(newcomer.grow(4), Err(FULL));
        begun.grow(99).unwrap();
        begun.shrink(600);
        newcomer.grow(4).unwrap();
    }

    #[test]
    fn who_sends_little_is_let_in_beside_those_who_send_much() {
        let budget = Budget::new(64 << 20);
        let mut large = Vec::new();
        while large.len() < 1_000 {
            let mut permit = budget.admit(None).unwrap();
            // A megabyte at a time, as bodies come.
            if permit.grow(1 << 20).is_err() {
                break;
            }
            large.push(permit);
        }
        while large.iter_mut().any(|permit| permit.grow(1 << 20).is_ok()) {}
        assert_eq!(budget.used(), 56 << 20);
        let mut small = Vec::new();
        while let Ok(mut permit) = budget.admit(None) {
            permit.receive(100_000).unwrap();
            permit.grow(100_000).unwrap();
            small.push(permit);
        }
        // Half of what is left of 64 MiB, and what was let in last.
        assert_eq!(small.len(), (4 << 20) / 200_000 + 1);
        drop(large);
        assert_eq!(budget.used(), small.len() as u64 * 200_000);
    }

    #[test]
    fn halves_of_bodies_leave_room_for_whole_ones_of_others() {
        let budget = Budget::new(100);
        let peer = Arc::new(Unfinished::default());
        let connect = |peer: &Arc<Unfinished>| {
            Arc::new(Origin { peer: Arc::clone(peer), ..Origin::default() })
        };
        let one = connect(&peer);
        let mut halves: Vec<Permit> =
            (0..2).map(|_| budget.admit(Some(Arc::clone(&one))).unwrap()).collect();
        halves[0].receive(15).unwrap();
        assert_eq!(halves[1].receive(11), Err(FULL), "a quarter for one connection");
        halves[1].receive(10).unwrap();
        let mut other = budget.admit(Some(connect(&peer))).unwrap();
        other.receive(25).unwrap();
        let mut third = budget.admit(Some(connect(&peer))).unwrap();
        assert_eq!(third.receive(1), Err(FULL), "half for all connections of a peer");
        let stranger = connect(&Arc::default());
        let mut whole = budget.admit(Some(stranger)).unwrap();
        whole.receive(25).unwrap();
        whole.complete();
        assert_eq!(budget.used(), 75);
        // A body that is complete makes room for the next half.
        other.complete();
        third.receive(12).unwrap();
        drop((halves, other, third, whole));
        assert_eq!((budget.used(), peer.0.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn short_of_memory_an_eighth_is_left() {
        let budget = Budget::new(8_000);
        let mut held = budget.admit(None).unwrap();
        held.grow(800).unwrap();
        budget.set_pressure(true);
        let mut newcomer = budget.admit(None).unwrap();
        assert_eq!(newcomer.grow(10), Err(FULL));
        held.grow(75).unwrap();
        assert_eq!(held.grow(1), Err(FULL));
        budget.set_pressure(false);
        held.grow(6_000).unwrap();
        budget.set_pressure(true);
        assert!(budget.admit(None).is_err());
    }

    proptest! {
        #[test]
        fn permits_and_budget_agree_whatever_is_done(
            steps in proptest::collection::vec((0..4_usize, 0..5_u8, 0..60_usize), 1..200)
        ) {
            let budget = Budget::new(100);
            let peer = Arc::new(Unfinished::default());
            let mut permits: [Option<Permit>; 4] = Default::default();
            for (which, what, bytes) in steps {
                let place = &mut permits[which];
                match (what, place.as_mut()) {
                    (0, _) => {
                        let origin = Origin { peer: Arc::clone(&peer), ..Origin::default() };
                        *place = budget.admit(Some(Arc::new(origin))).ok();
                    }
                    (1, Some(permit)) => drop(permit.receive(bytes)),
                    (2, Some(permit)) => drop(permit.grow(bytes)),
                    (3, Some(permit)) => permit.shrink(bytes),
                    (4, Some(permit)) => permit.complete(),
                    _ => {}
                }
                let held: u64 = permits.iter().flatten().map(|permit| permit.bytes).sum();
                prop_assert_eq!(budget.used(), held);
                prop_assert!(held <= 100);
            }
            drop(permits);
            prop_assert_eq!(peer.0.load(Ordering::Relaxed), 0);
        }
    }
}
