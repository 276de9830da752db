//! The process's own numbers at one moment: what `/metrics` shows besides verdicts.
//!
//! One plain value, taken by the runtime in one consistent look, so that the accounting law holds at
//! every scrape: accepted = analyzed + dropped + pending. It counts nothing itself. Counters in it
//! never go back while the process lives.

use std::collections::BTreeMap;

use crate::model::{Nanos, Timestamp};

/// By which way spans came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
    /// Kafka, where it is read from.
    Kafka,
}

impl Transport {
    /// Those that every process serves.
    pub const SERVED: [Transport; 2] = [Transport::Grpc, Transport::Http];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Grpc => "grpc",
            Transport::Http => "http",
            Transport::Kafka => "kafka",
        }
    }
}

/// Counts by reason. A reason that can occur is best present from the start, at zero: a query over
/// a series that does not exist has no result, not zero.
pub type ByReason = BTreeMap<&'static str, u64>;

/// What became of the connections to one listener.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListenerLedger {
    /// Connections there are.
    pub open: u64,
    /// Connections taken.
    pub accepted: u64,
    /// Connections not taken.
    pub refused: ByReason,
    /// Connections that have ended.
    pub closed: ByReason,
    /// Requests without a valid credential.
    pub denied: ByReason,
    /// HTTP/2 requests that were ended because they, or the reading of their answer, took too long.
    pub streams_timed_out: u64,
}

/// The process's own numbers at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// Spans accepted.
    pub accepted: BTreeMap<Transport, u64>,
    /// Spans refused, each answered as rejected or to be retried.
    pub refused: BTreeMap<(Transport, &'static str), u64>,
    /// Requests that failed as a whole.
    pub failed_requests: BTreeMap<(Transport, &'static str), u64>,
    /// Accepted spans that were analyzed with their trace.
    pub analyzed: u64,
    /// Accepted spans that were not.
    pub dropped: ByReason,
    /// Spans moved in the analysis because their host's clock disagreed.
    pub skewed: u64,
    /// Traces closed, by what closed them.
    pub traces_closed: ByReason,
    /// Traces being put together.
    pub pending_traces: u64,
    /// Spans accepted and neither analyzed nor dropped yet.
    pub pending_spans: u64,
    /// Bytes in use, by what uses them.
    pub memory_bytes: BTreeMap<&'static str, u64>,
    /// Bytes that may be used.
    pub memory_limit_bytes: u64,
    /// Spans counted under the overflow operation.
    pub overflow_spans: u64,
    /// Names that were not UTF-8 or too long, and were repaired or cut.
    pub repaired_names: u64,
    /// How often a limit has bitten that nothing else tells of, by the setting that holds it.
    pub limit_hits: ByReason,
    /// How saving the learned state goes.
    pub snapshot: SnapshotFigures,
    /// How changes of the configuration go.
    pub reload: ReloadFigures,
    /// Connections, by listener.
    pub listeners: BTreeMap<&'static str, ListenerLedger>,
    /// How reading from Kafka goes, if it is read from.
    pub kafka: Option<KafkaLedger>,
}

/// How reading from Kafka goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KafkaLedger {
    /// What is read.
    pub topic: String,
    /// Whether the brokers answer and this process is a member of its group.
    pub connected: bool,
    /// Messages that were read and given back with their partition before they were committed.
    pub given_back: u64,
    /// By partition: messages not read yet, if that is known; read and not committed yet; the offset committed last.
    pub partitions: BTreeMap<i32, (Option<u64>, u64, Option<i64>)>,
}

/// How changes of the configuration go. The one of the start counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReloadFigures {
    /// Whether the last one was taken over.
    pub successful: bool,
    /// When one was last taken over.
    pub at: Timestamp,
}

/// How saving the learned state goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnapshotFigures {
    /// When what was last saved was taken; `None` if nothing was.
    pub saved_at: Option<Timestamp>,
    /// How long that file is.
    pub bytes: u64,
    /// How long it took to put the last image together, which the judge does.
    pub encoding: Nanos,
    /// How long it took to write and sync it, which a thread of its own does.
    pub writing: Nanos,
    /// Images that were not saved.
    pub failures: ByReason,
    /// What became of the snapshot found at the start; `None` if nothing is to be saved or restored.
    pub restored: Option<&'static str>,
}

impl ListenerLedger {
    fn progress(&self) -> u128 {
        let reasons =
            [&self.refused, &self.closed, &self.denied].map(|counts| sum(counts.values()));
        let reasons = reasons.into_iter().sum::<u128>();
        reasons + u128::from(self.accepted) + u128::from(self.streams_timed_out)
    }
}

impl Default for Ledger {
    /// Nothing yet, from every transport.
    fn default() -> Ledger {
        Ledger {
            accepted: Transport::SERVED.map(|transport| (transport, 0)).into(),
            refused: BTreeMap::new(),
            failed_requests: BTreeMap::new(),
            analyzed: 0,
            skewed: 0,
            dropped: ByReason::new(),
            traces_closed: ByReason::new(),
            pending_traces: 0,
            pending_spans: 0,
            memory_bytes: BTreeMap::new(),
            memory_limit_bytes: 0,
            overflow_spans: 0,
            repaired_names: 0,
            limit_hits: ByReason::new(),
            snapshot: SnapshotFigures::default(),
            reload: ReloadFigures::default(),
            listeners: BTreeMap::new(),
            kafka: None,
        }
    }
}

impl Ledger {
    /// Whether every accepted span is accounted for.
    pub fn is_balanced(&self) -> bool {
        let dropped: u128 = sum(self.dropped.values());
        let out = dropped + u128::from(self.analyzed) + u128::from(self.pending_spans);
        sum(self.accepted.values()) == out
    }

    /// Everything that was ever counted: of two ledgers of one process, the later has no less.
    pub(super) fn progress(&self) -> u128 {
        sum(self.accepted.values())
            + sum(self.refused.values())
            + sum(self.failed_requests.values())
            + sum(self.dropped.values())
            + sum(self.traces_closed.values())
            + sum(self.snapshot.failures.values())
            + u128::from(self.analyzed)
            + u128::from(self.overflow_spans)
            + self.listeners.values().map(ListenerLedger::progress).sum::<u128>()
    }
}

fn sum<'a>(counts: impl Iterator<Item = &'a u64>) -> u128 {
    counts.map(|count| u128::from(*count)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_balances_only_if_no_span_is_missing() {
        let mut ledger = Ledger::default();
        assert!(ledger.is_balanced());
        ledger.accepted.insert(Transport::Grpc, 7);
        ledger.accepted.insert(Transport::Http, 5);
        assert!(!ledger.is_balanced());
        ledger.analyzed = 6;
        ledger.dropped = [("late", 2), ("duplicate", 1)].into();
        ledger.pending_spans = 3;
        assert!(ledger.is_balanced());
    }

    #[test]
    fn counts_at_their_end_do_not_overflow_the_law() {
        let full = Ledger {
            accepted: Transport::SERVED.map(|transport| (transport, u64::MAX)).into(),
            analyzed: u64::MAX,
            pending_spans: u64::MAX,
            ..Ledger::default()
        };
        assert!(full.is_balanced());
    }
}
