//! The running account of every span, consistent at any moment it is looked at.
//!
//! One lock, taken once per request and once per batch of a shard, never per span. Under it the first
//! conservation law holds at every instant: a span is pending from the moment it is accepted until a
//! shard says what became of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::account::{Account, CloseReason, DropReason};
use crate::publish::ledger::{Ledger, Transport};

/// Attributes of a span or a resource beyond it are not looked at.
pub const MAX_ATTRIBUTES: &str = "where.max_attributes";

/// The account, shared by receivers and shards.
#[derive(Default)]
pub struct Books {
    ledger: Mutex<Ledger>,
}

impl Books {
    /// An empty account in which every reason that can occur stands at zero, for each transport the
    /// given reasons of refusal and failure.
    pub fn new(refusals: &[&'static str], failures: &[&'static str]) -> Books {
        let mut ledger = Ledger::default();
        for transport in Transport::SERVED {
            ledger.refused.extend(refusals.iter().map(|&reason| ((transport, reason), 0)));
            ledger.failed_requests.extend(failures.iter().map(|&reason| ((transport, reason), 0)));
        }
        ledger.dropped = DropReason::ALL.map(|reason| (reason.as_str(), 0)).into();
        ledger.limit_hits = [(MAX_ATTRIBUTES, 0)].into();
        ledger.traces_closed = CloseReason::ALL.map(|reason| (reason.as_str(), 0)).into();
        Books { ledger: Mutex::new(ledger) }
    }

    /// Spans may come this way, too: everything that can happen to them stands at zero.
    pub fn expect(
        &self,
        transport: Transport,
        refusals: &[&'static str],
        failures: &[&'static str],
    ) {
        let mut ledger = self.lock();
        ledger.accepted.entry(transport).or_default();
        for &reason in refusals {
            ledger.refused.entry((transport, reason)).or_default();
        }
        for &reason in failures {
            ledger.failed_requests.entry((transport, reason)).or_default();
        }
    }

    /// Spans were accepted: they are pending.
    pub fn accept(&self, transport: Transport, spans: u64) {
        let mut ledger = self.lock();
        *ledger.accepted.entry(transport).or_default() += spans;
        ledger.pending_spans += spans;
    }

    /// Spans were refused.
    pub fn refuse(&self, transport: Transport, reason: &'static str, spans: u64) {
        *self.lock().refused.entry((transport, reason)).or_default() += spans;
    }

    /// A request failed as a whole.
    pub fn fail(&self, transport: Transport, reason: &'static str) {
        *self.lock().failed_requests.entry((transport, reason)).or_default() += 1;
    }

    /// A limit has bitten so many times: the setting that holds it.
    pub fn hit(&self, limit: &'static str, times: u64) {
        if times > 0 {
            *self.lock().limit_hits.entry(limit).or_default() += times;
        }
    }

    /// What became of spans in a shard: the difference between two of its accounts.
    pub fn settle(&self, before: &Account, after: &Account) {
        let mut ledger = self.lock();
        let analyzed = after.analyzed - before.analyzed;
        let mut gone = analyzed;
        ledger.analyzed += analyzed;
        ledger.skewed += after.skewed - before.skewed;
        for (reason, count) in &after.dropped {
            let new = count - before.dropped.get(reason).copied().unwrap_or(0);
            *ledger.dropped.entry(reason.as_str()).or_default() += new;
            gone += new;
        }
        for (reason, count) in &after.closed {
            let new = count - before.closed.get(reason).copied().unwrap_or(0);
            *ledger.traces_closed.entry(reason.as_str()).or_default() += new;
        }
        ledger.pending_spans -= gone;
        ledger.pending_traces =
            (ledger.pending_traces + after.pending_traces).saturating_sub(before.pending_traces);
    }

    /// The account now.
    pub fn read(&self) -> Ledger {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A panic elsewhere leaves whole numbers behind.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_holds_after_every_step() {
        let books = Books::new(&["overload"], &["bad_data"]);
        books.accept(Transport::Grpc, 10);
        assert!(books.read().is_balanced());
        let before = Account::default();
        let mut after = Account { analyzed: 6, pending_traces: 1, ..Account::default() };
        after.drop_spans(DropReason::Late, 1);
        books.settle(&before, &after);
        let ledger = books.read();
        assert!(ledger.is_balanced());
        assert_eq!((ledger.pending_spans, ledger.pending_traces), (3, 1));
        assert_eq!(ledger.dropped["late"], 1);
        assert_eq!(ledger.refused[&(Transport::Http, "overload")], 0);
    }
}
