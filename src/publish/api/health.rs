//! `/api/v1/health`: where every span went, what is being dropped and why, and how near the limits are.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::HeaderMap;
use serde::Serialize;

use super::super::ledger::{ByReason, Ledger};
use super::super::words::rfc3339;
use super::answer::{Problem, json};
use super::query::{Nothing, Params};
use super::reasons::explained;
use super::source::Room;
use super::{Answer, Api};

#[derive(Serialize)]
struct Health {
    version: &'static str,
    now: String,
    ready: bool,
    missing: Vec<String>,
    intake: IntakeShape,
    operations: OperationsShape,
    memory: MemoryShape,
    evidence: EvidenceShape,
    snapshot_at: Option<String>,
}

/// Where every span went: accepted = analyzed + dropped + pending.
#[derive(Serialize)]
pub(super) struct IntakeShape {
    accepted_spans: u64,
    accepted: Vec<Counted>,
    analyzed_spans: u64,
    pending_spans: u64,
    pending_traces: u64,
    dropped_spans: u64,
    dropped: Vec<Counted>,
    refused_spans: u64,
    refused: Vec<Counted>,
    failed_requests: Vec<Counted>,
    closed_traces: Vec<Counted>,
    skewed_spans: u64,
    balanced: bool,
}

/// A count, of what, and what it means.
#[derive(Serialize)]
struct Counted {
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    count: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    meaning: &'static str,
}

#[derive(Serialize)]
pub(super) struct OperationsShape {
    pub(super) known: usize,
    pub(super) learned: usize,
    pub(super) overflow_spans: u64,
}

#[derive(Serialize)]
struct MemoryShape {
    parts: Vec<Part>,
    limit_bytes: u64,
}

#[derive(Serialize)]
struct Part {
    part: &'static str,
    bytes: u64,
}

#[derive(Serialize)]
struct EvidenceShape {
    bytes: u64,
    limit_bytes: u64,
    turned_away_traces: u64,
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
        let (board, ledger) = (api.source.board(), api.source.ledger());
        let ready = api.source.ready();
        let parts = ledger.memory_bytes.iter().map(|(&part, &bytes)| Part { part, bytes });
        let rest = Health {
            version: env!("CARGO_PKG_VERSION"),
            now: rfc3339(api.evidence.now()),
            ready: ready.is_ok(),
            missing: ready.err().unwrap_or_default(),
            intake: IntakeShape::from(&ledger),
            operations: OperationsShape {
                known: board.operations.len(),
                learned: board.operations.iter().filter(|one| one.baseline.is_some()).count(),
                overflow_spans: ledger.overflow_spans,
            },
            memory: MemoryShape { parts: parts.collect(), limit_bytes: ledger.memory_limit_bytes },
            evidence: api.evidence.room().into(),
            snapshot_at: ledger.snapshot.saved_at.map(rfc3339),
        };
        Ok(json(wishes, &Answer::new(&board, rest)))
    })
    .await
}
