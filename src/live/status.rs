//! What the admin endpoint shows of the running server: its verdicts, its numbers, whether it is ready.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::budget::Budget;
use super::net::Listener;
use super::pipeline::Pipeline;
use crate::engine::verdict::Board;
use crate::model::Span;
use crate::publish::admin::Source;
use crate::publish::ledger::Ledger;

/// The parts of the server that can be asked how they are.
pub(super) struct Status {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) budget: Arc<Budget>,
    /// The process is on its way out.
    pub(super) stopping: AtomicBool,
    listeners: OnceLock<Vec<Arc<Listener>>>,
}

impl Status {
    pub(super) fn new(pipeline: Arc<Pipeline>, budget: Arc<Budget>) -> Status {
        let (stopping, listeners) = Default::default();
        Status { pipeline, budget, stopping, listeners }
    }

    /// The listeners, once they are there.
    pub(super) fn attach(&self, listeners: Vec<Arc<Listener>>) {
        // Set once, so nothing is lost.
        let _ = self.listeners.set(listeners);
    }
}

impl Source for Status {
    fn board(&self) -> Arc<Board> {
        self.pipeline.board()
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = self.pipeline.books().read();
        ledger.memory_bytes.insert("in_flight", self.budget.used());
        ledger.memory_bytes.insert("traces", ledger.pending_spans * size_of::<Span>() as u64);
        ledger.memory_limit_bytes = self.budget.limit();
        ledger.overflow_spans =
            self.board().operations.iter().filter(|op| op.is_overflow()).map(|op| op.spans).sum();
        let listeners = self.listeners.get().map(Vec::as_slice).unwrap_or_default();
        ledger.listeners =
            listeners.iter().map(|listener| (listener.what(), listener.ledger())).collect();
        ledger
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(vec!["shutting down".to_owned()]);
        }
        if self.pipeline.is_running() {
            return Ok(());
        }
        Err(vec!["the analysis has stopped".to_owned()])
    }
}
