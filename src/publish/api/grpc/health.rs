//! The process itself, as a message.

use super::super::health::{Counted, Health, IntakeShape, Part};
use super::v1;
use super::words::{count, time};
use crate::engine::verdict::Board;

fn counts(counted: Vec<Counted>) -> Vec<v1::Count> {
    let message = |one: Counted| v1::Count {
        transport: one.transport.unwrap_or_default().to_owned(),
        reason: one.reason.unwrap_or_default().to_owned(),
        count: one.count,
        meaning: one.meaning.to_owned(),
    };
    counted.into_iter().map(message).collect()
}

impl From<IntakeShape> for v1::Intake {
    fn from(intake: IntakeShape) -> v1::Intake {
        v1::Intake {
            accepted_spans: intake.accepted_spans,
            accepted: counts(intake.accepted),
            analyzed_spans: intake.analyzed_spans,
            pending_spans: intake.pending_spans,
            pending_traces: intake.pending_traces,
            dropped_spans: intake.dropped_spans,
            dropped: counts(intake.dropped),
            refused_spans: intake.refused_spans,
            refused: counts(intake.refused),
            failed_requests: counts(intake.failed_requests),
            closed_traces: counts(intake.closed_traces),
            skewed_spans: intake.skewed_spans,
            balanced: intake.balanced,
        }
    }
}

/// Where every span went, and how near the limits are.
pub(super) fn all(board: &Board, health: Health) -> v1::GetHealthResponse {
    let part = |Part { part, bytes }| v1::MemoryPart { part: String::from(part), bytes };
    v1::GetHealthResponse {
        head: Some(board.into()),
        version: health.version.to_owned(),
        now: time(health.now),
        ready: health.ready,
        missing: health.missing,
        intake: Some(health.intake.into()),
        operations: Some(v1::OperationCounts {
            known: count(health.operations.known),
            learned: count(health.operations.learned),
            overflow_spans: health.operations.overflow_spans,
        }),
        memory: Some(v1::Memory {
            parts: health.memory.parts.into_iter().map(part).collect(),
            limit_bytes: health.memory.limit_bytes,
        }),
        evidence: Some(v1::EvidenceRoom {
            bytes: health.evidence.bytes,
            limit_bytes: health.evidence.limit_bytes,
            turned_away_traces: health.evidence.turned_away_traces,
        }),
        listeners: Some(v1::Listeners {
            listening: count(health.listeners.listening),
            limit: count(health.listeners.limit),
            turned_away: health.listeners.turned_away,
            skipped_changes: health.listeners.skipped_changes,
        }),
        snapshot_at: health.snapshot_at.and_then(time),
    }
}
