//! How many connections there may be, and how long each may take for what.
//!
//! Plain values; every one of them is a setting.

use std::time::Duration;

use crate::model::Nanos;

/// Bounds of the connections of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub max: usize,
    /// Connections at once of one peer: an IPv4 address or an IPv6 /64.
    pub max_per_peer: usize,
    /// From the connection to the first request's first bytes: TLS handshake, HTTP/2 preface.
    pub handshake: Nanos,
    /// From the first to the last byte of an HTTP/1 request's head.
    pub header: Nanos,
    /// From the head of a request to the end of its body.
    pub request: Nanos,
    /// What the peer may take, on top of that, to read the answer.
    pub response: Nanos,
    /// Without any request.
    pub idle: Nanos,
    /// From the connection to its orderly end, less up to a tenth that differs by connection. Zero
    /// for no end.
    pub max_age: Nanos,
    /// HTTP/2: a peer is asked this often whether it is there. Zero for never.
    pub keepalive: Nanos,
    /// HTTP/2: requests at once on one connection.
    pub streams: u32,
    /// Bytes of the head of a request.
    pub header_bytes: u32,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            max: 2_000,
            max_per_peer: 1_000,
            handshake: Nanos::from_secs(10),
            header: Nanos::from_secs(10),
            request: Nanos::from_secs(10),
            response: Nanos::from_secs(20),
            idle: Nanos::from_secs(300),
            max_age: Nanos::from_secs(3_600),
            keepalive: Nanos::from_secs(60),
            streams: 100,
            header_bytes: 16 * 1024,
        }
    }
}

impl ConnectionLimits {
    /// The same with `most` connections at most. A peer keeps its share of them, so that one peer alone
    /// cannot keep the others out of what is left, either.
    #[must_use]
    pub fn at_most(&self, most: usize) -> ConnectionLimits {
        let max = self.max.min(most).max(1);
        let share = self.max_per_peer.saturating_mul(max) / self.max.max(1);
        let max_per_peer = if max < self.max { share.clamp(1, max) } else { self.max_per_peer };
        ConnectionLimits { max, max_per_peer, ..self.clone() }
    }

    /// How long an answer may go on that never comes to an end by itself: two thirds of what there is.
    pub(in crate::live) fn listening(&self) -> Nanos {
        Nanos((self.request + self.response).0 / 3 * 2)
    }

    /// From the head of a request to the last byte of its answer.
    pub(super) fn exchange(&self) -> Duration {
        duration(self.request + self.response)
    }
}

/// For tokio, which counts in its own type.
pub(super) fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_keeps_its_share_of_fewer_connections() {
        let limits = ConnectionLimits { max: 100, max_per_peer: 50, ..ConnectionLimits::default() };
        assert_eq!(limits.at_most(100), limits);
        let share = |most: usize| {
            let lowered = limits.at_most(most);
            (lowered.max, lowered.max_per_peer)
        };
        assert_eq!([share(60), share(3), share(1), share(0)], [(60, 30), (3, 1), (1, 1), (1, 1)]);
        // Behind a proxy all are one peer.
        let proxy = ConnectionLimits { max_per_peer: 100, ..limits };
        assert_eq!(proxy.at_most(60).max_per_peer, 60);
    }
}
