//! What the admin endpoint shows of the running server: its verdicts, its numbers, whether it is ready.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::budget::Budget;
use super::clock::Clock;
use super::kafka;
use super::log_lines;
use super::memory::{Plan, cost};
use super::net::Listener;
use super::pipeline::Pipeline;
use super::snapshot::saver::Figures;
use crate::engine::verdict::Board;
use crate::publish::admin::Source;
use crate::publish::ledger::{Ledger, ReloadFigures};

/// The parts of the server that can be asked how they are.
pub(super) struct Status {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) budget: Arc<Budget>,
    plan: Plan,
    /// The process is on its way out.
    pub(super) stopping: AtomicBool,
    listeners: OnceLock<Vec<Arc<Listener>>>,
    /// How reading from Kafka goes, if it is read from.
    kafka: OnceLock<kafka::Watch>,
    /// How saving what is learned goes, if it is.
    snapshots: Option<Arc<Figures>>,
    clock: Arc<Clock>,
    reload: Mutex<ReloadFigures>,
}

impl Status {
    pub(super) fn new(
        pipeline: Arc<Pipeline>,
        budget: Arc<Budget>,
        plan: Plan,
        snapshots: Option<Arc<Figures>>,
        clock: Arc<Clock>,
    ) -> Status {
        let (stopping, listeners, kafka) = Default::default();
        let reload = Mutex::new(ReloadFigures { successful: true, at: clock.now() });
        Status { pipeline, budget, plan, stopping, listeners, kafka, snapshots, clock, reload }
    }

    /// How the last change of the configuration went.
    pub(super) fn note_reload(&self, successful: bool) {
        let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        reload.successful = successful;
        if successful {
            reload.at = self.clock.now();
        }
    }

    /// How memory is divided.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The listeners, once they are there.
    pub(super) fn attach(&self, listeners: Vec<Arc<Listener>>) {
        // Set once, so nothing is lost.
        let _ = self.listeners.set(listeners);
    }

    /// The consumer of Kafka, once it is there.
    pub(super) fn attach_kafka(&self, watch: kafka::Watch) {
        let _ = self.kafka.set(watch);
    }
}

/// Series that an operation has on `/metrics`, in round numbers.
const SERIES_OF_OPERATION: u64 = 10;

impl Source for Status {
    fn board(&self) -> Arc<Board> {
        self.pipeline.board()
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = self.pipeline.books().read();
        if let Some(figures) = &self.snapshots {
            ledger.snapshot = figures.read();
        }
        ledger.reload = *self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.limit_hits.insert("log_lines", log_lines::left_out());
        let board = self.board();
        ledger.overflow_spans =
            board.operations.iter().filter(|op| op.is_overflow()).map(|op| op.spans).sum();
        let names = self.pipeline.names();
        ledger.repaired_names = names.repaired_names();
        ledger.limit_hits.insert("names", names.overflowed_names());
        ledger.limit_hits.insert("call_graph", self.pipeline.folded());
        let listeners = self.listeners.get().map(Vec::as_slice).unwrap_or_default();
        ledger.listeners =
            listeners.iter().map(|listener| (listener.what(), listener.ledger())).collect();
        ledger.kafka = self.kafka.get().map(kafka::Watch::read);
        let connections: u64 = ledger.listeners.values().map(|listener| listener.open).sum();
        let operations = board.operations.len() as u64;
        let traces = ledger.pending_spans * cost::SPAN + ledger.pending_traces * cost::TRACE;
        ledger.memory_bytes = [
            ("in_flight", self.budget.used()),
            ("traces", traces),
            ("baselines", self.pipeline.baseline_bytes()),
            ("series", operations * SERIES_OF_OPERATION * cost::SERIES),
            ("connections", connections * cost::CONNECTION),
            ("evidence", self.pipeline.kept().bytes() as u64),
        ]
        .into();
        ledger.memory_limit_bytes = self.plan.limit;
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
