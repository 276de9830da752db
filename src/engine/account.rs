//! Where every span went: the figures of the first conservation law.
//!
//! accepted = analyzed + dropped (by reason) + pending, at every instant.

use std::collections::BTreeMap;

/// Why a span that was accepted was not analyzed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DropReason {
    /// Its id had been seen before in its trace.
    Duplicate,
    /// Its trace had been closed.
    Late,
    /// It ended too long before it arrived.
    TooOld,
    /// It ends in the future.
    FromFuture,
    /// It lasted longer than a span can be believed to.
    TooLong,
    /// Its trace already held as many spans as a trace may.
    TraceTooLarge,
}

/// Why a trace was closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CloseReason {
    /// Its root was there and it had gone quiet.
    Complete,
    /// It had gone quiet without a root.
    Idle,
    /// It had been open for as long as a trace may.
    MaxAge,
    /// Room was needed.
    Limit,
    /// The stream ended.
    Shutdown,
}

impl DropReason {
    /// All of them, in the order of their label values.
    pub const ALL: [DropReason; 6] = [
        DropReason::Duplicate,
        DropReason::FromFuture,
        DropReason::Late,
        DropReason::TooLong,
        DropReason::TooOld,
        DropReason::TraceTooLarge,
    ];

    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Duplicate => "duplicate",
            DropReason::Late => "late",
            DropReason::TooLong => "too_long",
            DropReason::TooOld => "too_old",
            DropReason::FromFuture => "from_future",
            DropReason::TraceTooLarge => "trace_too_large",
        }
    }
}

impl CloseReason {
    /// All of them, in the order of their label values.
    pub const ALL: [CloseReason; 5] = [
        CloseReason::Complete,
        CloseReason::Idle,
        CloseReason::Limit,
        CloseReason::MaxAge,
        CloseReason::Shutdown,
    ];

    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::Complete => "complete",
            CloseReason::Idle => "idle",
            CloseReason::MaxAge => "max_age",
            CloseReason::Limit => "limit",
            CloseReason::Shutdown => "shutdown",
        }
    }
}

/// What has become of the spans given to the engine, since it began.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Account {
    /// Spans handed in.
    pub accepted: u64,
    /// Spans of closed traces.
    pub analyzed: u64,
    /// Spans that were not analyzed.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Spans that were moved in the analysis because their host's clock disagreed with its caller's.
    pub skewed: u64,
    /// Traces closed.
    pub closed: BTreeMap<CloseReason, u64>,
    /// Spans of open traces, now.
    pub pending_spans: u64,
    /// Open traces, now.
    pub pending_traces: u64,
}

impl Account {
    /// Counts dropped spans.
    pub fn drop_spans(&mut self, reason: DropReason, count: u64) {
        if count > 0 {
            *self.dropped.entry(reason).or_default() += count;
        }
    }

    /// Counts a closed trace.
    pub fn close_trace(&mut self, reason: CloseReason) {
        *self.closed.entry(reason).or_default() += 1;
    }

    /// The same of several shards.
    pub fn add(&mut self, other: &Account) {
        self.accepted += other.accepted;
        self.analyzed += other.analyzed;
        self.skewed += other.skewed;
        self.pending_spans += other.pending_spans;
        self.pending_traces += other.pending_traces;
        for (&reason, count) in &other.dropped {
            *self.dropped.entry(reason).or_default() += count;
        }
        for (&reason, count) in &other.closed {
            *self.closed.entry(reason).or_default() += count;
        }
    }

    /// All dropped spans.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// The first conservation law.
    pub fn balances(&self) -> bool {
        self.accepted == self.analyzed + self.dropped_total() + self.pending_spans
    }
}
