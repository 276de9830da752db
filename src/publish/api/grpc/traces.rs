//! Kept traces as messages.

use super::super::links::Links;
use super::super::traces::Found;
use super::v1;
use super::words::{count, said_role, said_span_kind, time};
use crate::engine::evidence::{KeptTrace, SpanDetail, TraceDetail};
use crate::engine::verdict::Board;
use crate::publish::words::nanos;

/// Without their spans.
pub(super) fn kept(kept: &[KeptTrace], links: &Links) -> Vec<v1::KeptTrace> {
    let message = |one: &KeptTrace| v1::KeptTrace {
        trace_id: one.trace.to_string(),
        role: said_role(one.role),
        incident: one.incident.unwrap_or_default(),
        service: one.service.to_string(),
        operation: one.operation.to_string(),
        span_kind: said_span_kind(one.span_kind),
        end: time(one.end),
        duration_seconds: nanos(one.seconds),
        spans: count(one.spans),
        url: links.trace(one.trace).unwrap_or_default(),
    };
    kept.iter().map(message).collect()
}

impl From<&TraceDetail> for v1::Trace {
    fn from(detail: &TraceDetail) -> v1::Trace {
        v1::Trace {
            trace_id: detail.trace.to_string(),
            start: time(detail.start),
            duration_seconds: nanos(detail.seconds),
            entry: count(detail.entry),
            skewed_spans: count(detail.skewed),
            spans: detail.spans.iter().map(Into::into).collect(),
        }
    }
}

impl From<&SpanDetail> for v1::Span {
    fn from(span: &SpanDetail) -> v1::Span {
        let attribute = |(name, value): &(std::sync::Arc<str>, std::sync::Arc<str>)| {
            v1::Attribute { name: name.to_string(), value: value.to_string() }
        };
        v1::Span {
            span_id: span.id.to_string(),
            parent: span.parent.map(count),
            depth: count(span.depth),
            service: span.service.to_string(),
            operation: span.operation.to_string(),
            span_kind: said_span_kind(span.span_kind),
            peer: span.peer.as_deref().unwrap_or_default().to_owned(),
            entry: span.is_entry,
            failed: span.failed,
            offset_seconds: nanos(span.stretch.from_seconds),
            duration_seconds: nanos(span.stretch.seconds()),
            self_seconds: nanos(span.self_seconds),
            critical_seconds: nanos(span.critical_seconds()),
            critical_path: span.path.iter().map(Into::into).collect(),
            attributes: span.attributes.iter().map(attribute).collect(),
        }
    }
}

/// One taken apart.
pub(super) fn one(board: &Board, found: Found) -> v1::GetTraceResponse {
    v1::GetTraceResponse {
        head: Some(board.into()),
        trace: Some((&found.detail).into()),
        normal: found.normal.map(|trace| trace.to_string()).unwrap_or_default(),
        url: found.url.unwrap_or_default(),
    }
}
