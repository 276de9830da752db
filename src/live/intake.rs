//! What the receivers hand their requests to: the budget, the books and the pipeline.

use std::sync::Arc;

use super::books::Books;
use super::budget::{Budget, Permit};
use super::pipeline::Pipeline;
use crate::model::{Interner, SpanRecord};
use crate::otlp::receive::{Intake, Overloaded, Transport};
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

    fn reserve(&self, bytes: u64) -> Result<Permit, Overloaded> {
        self.budget.take(bytes).ok_or(Overloaded)
    }

    fn offer(
        &self,
        transport: Transport,
        spans: Vec<SpanRecord>,
        permit: Permit,
    ) -> Result<(), Overloaded> {
        // Entered before they are sent: a shard may be done with them before this returns.
        self.books.accept(label(transport), spans.len() as u64);
        self.pipeline.send(spans, permit).map_err(|_| Overloaded)
    }

    fn refused(&self, transport: Transport, reason: &'static str, spans: u64) {
        self.books.refuse(label(transport), reason, spans);
    }

    fn failed(&self, transport: Transport, reason: &'static str) {
        self.books.fail(label(transport), reason);
    }
}

fn label(transport: Transport) -> ledger::Transport {
    match transport {
        Transport::Grpc => ledger::Transport::Grpc,
        Transport::Http => ledger::Transport::Http,
    }
}
