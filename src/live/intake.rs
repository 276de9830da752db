//! What the receivers hand their requests to: the budget, the books and the pipeline.

use std::sync::Arc;

use super::books::{Books, MAX_ATTRIBUTES};
use super::budget::{Budget, Origin, Permit};
use super::pipeline::Pipeline;
use crate::model::{Interner, Nanos, SpanDefect, SpanRecord, Timestamp};
use crate::otlp::receive::kafka::Progress;
use crate::otlp::receive::{Failure, Intake, OVERLOAD, Overloaded, Transport};
use crate::publish::ledger;

/// The way from the receivers into the pipeline.
pub struct LiveIntake {
    pipeline: Arc<Pipeline>,
    books: Arc<Books>,
    budget: Arc<Budget>,
}

impl LiveIntake {
    /// The way into `pipeline`, as long as `budget` lasts.
    pub fn new(pipeline: Arc<Pipeline>, books: Arc<Books>, budget: Arc<Budget>) -> LiveIntake {
        LiveIntake { pipeline, books, budget }
    }
}

impl Intake for LiveIntake {
    type Permit = Permit;

    fn names(&self) -> &Arc<Interner> {
        self.pipeline.names()
    }

    fn admit(&self, extensions: &http::Extensions) -> Result<Permit, Overloaded> {
        if !self.pipeline.is_running() {
            return Err(GONE);
        }
        self.budget.admit(extensions.get::<Arc<Origin>>().cloned())
    }

    fn offer(
        &self,
        transport: Transport,
        spans: Vec<SpanRecord>,
        permit: Permit,
    ) -> Result<(), Overloaded> {
        let count = spans.len() as u64;
        // Entered before they are sent: a shard may be done with them before this returns.
        let enter = || self.books.accept(label(transport), count);
        self.pipeline.send(spans, permit, enter).map_err(|_| GONE)
    }

    fn refused(&self, transport: Transport, reason: &'static str, spans: u64) {
        self.books.refuse(label(transport), reason, spans);
    }

    fn failed(&self, transport: Transport, failure: Failure) {
        self.books.fail(label(transport), failure.as_str());
    }

    fn skipped_attributes(&self, count: u64) {
        self.books.hit(MAX_ATTRIBUTES, count);
    }
}

impl Progress for LiveIntake {
    fn now(&self) -> Timestamp {
        self.pipeline.now()
    }

    fn analyzed_before(&self) -> Timestamp {
        self.pipeline.analyzed_before()
    }
}

/// The process is on its way out; it, or another in its place, is back after this long.
const GONE: Overloaded = Overloaded { retry_after: Nanos::from_secs(5) };

/// Reasons for which spans are refused.
pub fn refusals() -> Vec<&'static str> {
    SpanDefect::ALL.iter().map(|defect| defect.reason()).chain([OVERLOAD]).collect()
}

/// Reasons for which whole requests fail.
pub fn failures() -> Vec<&'static str> {
    Failure::ALL.iter().map(|failure| failure.as_str()).collect()
}

/// As the Collector's own receivers label them.
fn label(transport: Transport) -> ledger::Transport {
    match transport {
        Transport::Grpc => ledger::Transport::Grpc,
        Transport::HttpProtobuf | Transport::HttpJson => ledger::Transport::Http,
        Transport::Kafka => ledger::Transport::Kafka,
    }
}
