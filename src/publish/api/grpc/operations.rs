//! Services and operations with what is normal for them, as messages.

use super::super::operations::ServiceShape;
use super::v1;
use super::words::{count, said_span_kind, time};
use crate::engine::evidence::{Era, OperationDetail};
use crate::engine::verdict::{Board, Exemplar, Operation};
use crate::publish::words::rounded;

impl From<ServiceShape<'_>> for v1::Service {
    fn from(service: ServiceShape<'_>) -> v1::Service {
        v1::Service {
            service: service.service.to_owned(),
            operations: count(service.operations),
            learned: count(service.learned),
            spans: service.spans,
            flagged: service.flagged,
        }
    }
}

impl From<Exemplar> for v1::Exemplar {
    fn from(one: Exemplar) -> v1::Exemplar {
        let (trace_id, seconds) = (one.trace.to_string(), rounded(one.seconds));
        v1::Exemplar { trace_id, seconds, at: time(one.at) }
    }
}

impl From<&Operation> for v1::Operation {
    fn from(operation: &Operation) -> v1::Operation {
        v1::Operation {
            service: operation.service.to_string(),
            operation: operation.name.to_string(),
            span_kind: said_span_kind(operation.kind),
            learning: operation.baseline.is_none(),
            spans: operation.spans,
            flagged: operation.flagged,
            baseline_seconds: operation.baseline.map(Into::into),
            recent_seconds: operation.recent.map(Into::into),
            threshold_seconds: operation.threshold.map(rounded),
            exemplar: operation.exemplar.map(Into::into),
        }
    }
}

impl From<&Era> for v1::Era {
    fn from(era: &Era) -> v1::Era {
        let seconds = Some(era.quantiles.into());
        v1::Era { at: time(era.at), calls: era.calls, seconds }
    }
}

/// One operation: its distributions, how they moved, and how far learning is.
pub(super) fn one(
    board: &Board,
    operation: &Operation,
    detail: &OperationDetail,
) -> v1::GetOperationResponse {
    v1::GetOperationResponse {
        head: Some(board.into()),
        operation: Some(operation.into()),
        baseline: Some((&detail.distribution.baseline).into()),
        recent: Some((&detail.distribution.recent).into()),
        learned: Some(v1::Learned {
            slices: detail.learned_slices,
            needed_slices: detail.needed_slices,
            calls: detail.distribution.baseline.count(),
            needed_calls: detail.needed_calls,
        }),
        frozen: detail.is_frozen,
        eras: detail.eras.iter().map(Into::into).collect(),
    }
}
