//! What became of connections: counted where it happens, read at a scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use super::census::Full;
use crate::live::access::Denied;
use crate::publish::ledger::{ByReason, ListenerLedger};

/// The counters of one listener.
#[derive(Debug, Default)]
pub(super) struct Counts {
    accepted: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
    closed: [AtomicU64; Closed::ALL.len()],
    streams_timed_out: AtomicU64,
    denied: [AtomicU64; DENIED.len()],
}

/// Why a request was not let in.
const DENIED: [(Denied, &str); 2] = [(Denied::Missing, "missing"), (Denied::Wrong, "wrong")];

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many as there may be.
    Total,
    /// As many as one peer may have.
    Peer,
    /// The process or the system has no descriptor or memory for it.
    Descriptors,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// In order, by either side.
    Done,
    /// The peer reset it or went away within a request.
    Aborted,
    /// What came was not the protocol.
    Protocol,
    /// The TLS handshake failed: no certificate, or one of no use.
    Tls,
    /// No TLS handshake, no preface, no first byte in time.
    HandshakeTimeout,
    /// The head of a request was not complete in time.
    HeaderTimeout,
    /// Request or answer was not through in time.
    RequestTimeout,
    /// No request for long enough.
    Idle,
    /// Old enough.
    Age,
    /// The process is on its way out.
    Shutdown,
}

impl Refused {
    const ALL: [Refused; 3] = [Refused::Total, Refused::Peer, Refused::Descriptors];

    fn as_str(self) -> &'static str {
        match self {
            Refused::Total => "total",
            Refused::Peer => "per_peer",
            Refused::Descriptors => "descriptors",
        }
    }
}

impl From<Full> for Refused {
    fn from(full: Full) -> Refused {
        match full {
            Full::Total => Refused::Total,
            Full::Peer => Refused::Peer,
        }
    }
}

impl Closed {
    const ALL: [Closed; 10] = [
        Closed::Done,
        Closed::Aborted,
        Closed::Protocol,
        Closed::Tls,
        Closed::HandshakeTimeout,
        Closed::HeaderTimeout,
        Closed::RequestTimeout,
        Closed::Idle,
        Closed::Age,
        Closed::Shutdown,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Closed::Done => "done",
            Closed::Aborted => "aborted",
            Closed::Protocol => "protocol",
            Closed::Tls => "tls",
            Closed::HandshakeTimeout => "handshake_timeout",
            Closed::HeaderTimeout => "header_timeout",
            Closed::RequestTimeout => "request_timeout",
            Closed::Idle => "idle",
            Closed::Age => "age",
            Closed::Shutdown => "shutdown",
        }
    }
}

impl Counts {
    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self, how: Closed) {
        self.closed[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stream_timed_out(&self) {
        self.streams_timed_out.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn denied(&self, why: Denied) {
        self.denied[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All of them now, with the connections that are open.
    pub(super) fn read(&self, open: usize) -> ListenerLedger {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refused = Refused::ALL.map(|why| (why.as_str(), load(&self.refused[why as usize])));
        let closed = Closed::ALL.map(|how| (how.as_str(), load(&self.closed[how as usize])));
        let denied = DENIED.map(|(why, name)| (name, load(&self.denied[why as usize])));
        ListenerLedger {
            denied: ByReason::from(denied),
            open: open as u64,
            accepted: load(&self.accepted),
            refused: ByReason::from(refused),
            closed: ByReason::from(closed),
            streams_timed_out: load(&self.streams_timed_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        let counts = Counts::default();
        for (index, why) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
            (0..=index).for_each(|_| counts.refused(why));
        }
        for (index, how) in Closed::ALL.into_iter().enumerate() {
            assert_eq!(how as usize, index);
            (0..=index).for_each(|_| counts.closed(how));
        }
        for (index, (why, _)) in DENIED.into_iter().enumerate() {
            assert_eq!(why as usize, index);
            (0..=index).for_each(|_| counts.denied(why));
        }
        let read = counts.read(7);
        assert_eq!((read.denied["missing"], read.denied["wrong"]), (1, 2));
        assert_eq!((read.open, read.refused["descriptors"], read.closed["done"]), (7, 3, 1));
        assert_eq!(read.refused.len(), Refused::ALL.len());
        assert_eq!(read.closed.values().sum::<u64>(), (1..=10_u64).sum::<u64>());
    }
}
