//! `/api/v1/health`: where every span went, what is being dropped and why, and how near the limits are.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::HeaderMap;
use serde::{Serialize, Serializer};

use super::super::ledger::{ByReason, Ledger};
use super::super::words::rfc3339;
use super::answer::{Problem, json};
use super::listeners::Listening;
use super::query::{Nothing, Params};
use super::reasons::explained;
use super::source::Room;
use super::{Answer, Api, as_rfc3339};
use crate::engine::verdict::Board;
use crate::model::Timestamp;

#[derive(Serialize)]
pub(super) struct Health {
    pub(super) version: &'static str,
    #[serde(serialize_with = "as_rfc3339")]
    pub(super) now: Timestamp,
    pub(super) ready: bool,
    pub(super) missing: Vec<String>,
    pub(super) intake: IntakeShape,
    pub(super) operations: OperationsShape,
    pub(super) memory: MemoryShape,
    pub(super) evidence: EvidenceShape,
    pub(super) listeners: Listening,
    #[serde(serialize_with = "as_rfc3339_or_null")]
    pub(super) snapshot_at: Option<Timestamp>,
}

fn as_rfc3339_or_null<S: Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    at.map(rfc3339).serialize(serializer)
}

/// Where every span went: accepted = analyzed + dropped + pending.
#[derive(Serialize)]
pub(super) struct IntakeShape {
    pub(super) accepted_spans: u64,
    pub(super) accepted: Vec<Counted>,
    pub(super) analyzed_spans: u64,
    pub(super) pending_spans: u64,
    pub(super) pending_traces: u64,
    pub(super) dropped_spans: u64,
    pub(super) dropped: Vec<Counted>,
    pub(super) refused_spans: u64,
    pub(super) refused: Vec<Counted>,
    pub(super) failed_requests: Vec<Counted>,
    pub(super) closed_traces: Vec<Counted>,
    pub(super) skewed_spans: u64,
    pub(super) balanced: bool,
}

/// A count, of what, and what it means.
#[derive(Serialize)]
pub(super) struct Counted {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    pub(super) count: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) meaning: &'static str,
}

#[derive(Serialize)]
pub(super) struct OperationsShape {
    pub(super) known: usize,
    pub(super) learned: usize,
    pub(super) overflow_spans: u64,
}

#[derive(Serialize)]
pub(super) struct MemoryShape {
    pub(super) parts: Vec<Part>,
    pub(super) limit_bytes: u64,
}

#[derive(Serialize)]
pub(super) struct Part {
    pub(super) part: &'static str,
    pub(super) bytes: u64,
}

#[derive(Serialize)]
pub(super) struct EvidenceShape {
    pub(super) bytes: u64,
    pub(super) limit_bytes: u64,
    pub(super) turned_away_traces: u64,
}

impl OperationsShape {
    pub(super) fn of(board: &Board, ledger: &Ledger) -> OperationsShape {
        OperationsShape {
            known: board.operations.len(),
            learned: board.operations.iter().filter(|one| one.baseline.is_some()).count(),
            overflow_spans: ledger.overflow_spans,
        }
    }
}

impl From<Room> for EvidenceShape {
    fn from(room: Room) -> EvidenceShape {
        let Room { bytes, limit_bytes, turned_away } = room;
        EvidenceShape { bytes, limit_bytes, turned_away_traces: turned_away }
    }
}

fn by_reason(counts: &ByReason) -> Vec<Counted> {
    let counted = |(&reason, &count): (&&'static str, &u64)| Counted {
        transport: None,
        reason: Some(reason),
        count,
        meaning: explained(reason),
    };
    counts.iter().map(counted).collect()
}

impl From<&Ledger> for IntakeShape {
    fn from(ledger: &Ledger) -> IntakeShape {
        let accepted = ledger.accepted.iter().map(|(transport, &count)| Counted {
            transport: Some(transport.as_str()),
            reason: None,
            count,
            meaning: "",
        });
        let by_transport = |counts: &std::collections::BTreeMap<_, u64>| -> Vec<Counted> {
            let counted = counts.iter().map(|(&(transport, reason), &count)| Counted {
                transport: Some(super::super::ledger::Transport::as_str(transport)),
                reason: Some(reason),
                count,
                meaning: explained(reason),
            });
            counted.collect()
        };
        IntakeShape {
            accepted_spans: ledger.accepted.values().sum(),
            accepted: accepted.collect(),
            analyzed_spans: ledger.analyzed,
            pending_spans: ledger.pending_spans,
            pending_traces: ledger.pending_traces,
            dropped_spans: ledger.dropped.values().sum(),
            dropped: by_reason(&ledger.dropped),
            refused_spans: ledger.refused.values().sum(),
            refused: by_transport(&ledger.refused),
            failed_requests: by_transport(&ledger.failed_requests),
            closed_traces: by_reason(&ledger.traces_closed),
            skewed_spans: ledger.skewed,
            balanced: ledger.is_balanced(),
        }
    }
}

/// Everything about the process itself.
pub(super) async fn health(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Response, Problem> {
    api.answer(&headers, |api, wishes| {
        let board = api.source.board();
        Ok(json(wishes, &Answer::new(&board, api.health(&board))))
    })
    .await
}

impl Api {
    pub(super) fn health(&self, board: &Board) -> Health {
        let (ledger, ready) = (self.source.ledger(), self.source.ready());
        let parts = ledger.memory_bytes.iter().map(|(&part, &bytes)| Part { part, bytes });
        Health {
            version: env!("CARGO_PKG_VERSION"),
            now: self.evidence.now(),
            ready: ready.is_ok(),
            missing: ready.err().unwrap_or_default(),
            intake: IntakeShape::from(&ledger),
            operations: OperationsShape::of(board, &ledger),
            memory: MemoryShape { parts: parts.collect(), limit_bytes: ledger.memory_limit_bytes },
            evidence: self.evidence.room().into(),
            listeners: self.listeners.figures(),
            snapshot_at: ledger.snapshot.saved_at,
        }
    }
}
