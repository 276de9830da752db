//! Who is connected: so many in total, so many of one peer.
//!
//! Its own lists are bounded by what it admits. Nothing is remembered of a peer that has left.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::budget::{Origin, Unfinished};
use super::limits::ConnectionLimits;

/// Whom connections are counted by: an IPv4 address, or the /64 that an IPv6 host has to itself and
/// may take any address of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Peer {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                const HOST_BITS: u32 = 64;
                let network = (address.to_bits() >> HOST_BITS) << HOST_BITS;
                Peer(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
            address => Peer(address),
        }
    }
}

/// The connections of one listener.
#[derive(Debug, Default)]
pub(super) struct Census {
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    total: usize,
    /// Only those with at least one connection.
    by_peer: BTreeMap<Peer, OfPeer>,
}

#[derive(Debug, Default)]
struct OfPeer {
    connections: usize,
    unfinished: Arc<Unfinished>,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Total,
    Peer,
}

/// A place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    census: Arc<Census>,
    peer: Peer,
    origin: Arc<Origin>,
}

impl Census {
    /// A place for one more connection of `peer`.
    pub(super) fn admit(
        self: &Arc<Census>,
        peer: Peer,
        limits: &ConnectionLimits,
    ) -> Result<Place, Full> {
        let mut present = self.lock();
        if present.total >= limits.max {
            return Err(Full::Total);
        }
        let of_peer = present.by_peer.entry(peer).or_default();
        if of_peer.connections >= limits.max_per_peer {
            return Err(Full::Peer);
        }
        of_peer.connections += 1;
        let origin = Origin { peer: Arc::clone(&of_peer.unfinished), ..Origin::default() };
        present.total += 1;
        Ok(Place { census: Arc::clone(self), peer, origin: Arc::new(origin) })
    }

    /// Connections there are.
    pub(super) fn total(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What its requests are known by.
    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.census.lock();
        present.total -= 1;
        if let Some(of_peer) = present.by_peer.get_mut(&self.peer) {
            of_peer.connections -= 1;
            if of_peer.connections == 0 {
                present.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::from(address.parse::<IpAddr>().unwrap())
    }

    fn limits(max: usize, max_per_peer: usize) -> ConnectionLimits {
        ConnectionLimits { max, max_per_peer, ..ConnectionLimits::default() }
    }

    #[test]
    fn a_peer_has_its_share_and_everyone_together_the_total() {
        let census = Arc::new(Census::default());
        let limits = limits(3, 2);
        let admit = |address| census.admit(peer(address), &limits);
        let first = admit("10.0.0.1").unwrap();
        let _second = admit("10.0.0.1").unwrap();
        assert_eq!(admit("10.0.0.1").unwrap_err(), Full::Peer);
        let _third = admit("10.0.0.2").unwrap();
        assert_eq!(admit("10.0.0.3").unwrap_err(), Full::Total);
        drop(first);
        let _fourth = admit("10.0.0.1").unwrap();
        assert_eq!(census.total(), 3);
    }

    #[test]
    fn nothing_is_kept_of_those_who_left_or_were_refused() {
        let census = Arc::new(Census::default());
        let limits = limits(2, 1);
        let place = census.admit(peer("10.0.0.1"), &limits).unwrap();
        assert_eq!(census.admit(peer("10.0.0.1"), &limits).unwrap_err(), Full::Peer);
        drop(place);
        assert_eq!(census.total(), 0);
        assert!(census.lock().by_peer.is_empty());
    }

    #[test]
    fn connections_of_one_peer_share_its_account_and_have_their_own() {
        let census = Arc::new(Census::default());
        let admit = |address| census.admit(peer(address), &limits(9, 9)).unwrap();
        let places = [admit("10.0.0.1"), admit("10.0.0.1"), admit("10.0.0.2")];
        let [one, two, other] = places.each_ref().map(Place::origin);
        assert!(Arc::ptr_eq(&one.peer, &two.peer) && !Arc::ptr_eq(one, two));
        assert!(!Arc::ptr_eq(&one.peer, &other.peer));
    }

    #[test]
    fn addresses_that_one_host_can_choose_among_are_one_peer() {
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
    }
}
