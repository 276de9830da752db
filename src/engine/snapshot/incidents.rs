//! Incidents as records and back. Their names are spelled out as they were published.

use std::sync::Arc;

use super::LoadError;
use super::records::{
    Impact, Impacted as ImpactedRecord, Incident as Record, Suspect as SuspectRecord,
    Where as WhereRecord,
};
use crate::engine::verdict::{
    EntryImpact, Impacted, Incident, Pattern, Reason, Suspect, SuspectKind, Where,
};
use crate::model::{SpanKind, Timestamp, TraceId};

const KINDS: [SuspectKind; 3] = [SuspectKind::Service, SuspectKind::Dependency, SuspectKind::Edge];
const REASONS: [Reason; 5] = [
    Reason::SelfTime,
    Reason::CallGap,
    Reason::CallCount,
    Reason::LostParallelism,
    Reason::NewOperation,
];
const PATTERNS: [Pattern; 2] = [Pattern::Sustained, Pattern::Intermittent];

/// As it is saved.
pub(super) fn record(incident: &Incident) -> Record {
    let Incident {
        id,
        start,
        detected,
        end,
        excess_seconds,
        unexplained_share,
        confidence,
        entries,
        suspects,
        impacted,
        evidence: _,
    } = incident;
    Record {
        id: *id,
        start: start.0,
        detected: detected.0,
        end: end.map(|end| end.0),
        excess_seconds: *excess_seconds,
        unexplained_share: *unexplained_share,
        entries: entries.iter().map(impact).collect(),
        suspects: suspects.iter().map(suspect).collect(),
        confidence: *confidence,
        impacted: impacted.iter().map(waiting).collect(),
    }
}

fn waiting(impacted: &Impacted) -> ImpactedRecord {
    let Impacted { service, excess_seconds } = impacted;
    ImpactedRecord { service: service.to_string(), excess_seconds: *excess_seconds }
}

fn impact(impact: &EntryImpact) -> Impact {
    let EntryImpact {
        service,
        operation,
        span_kind,
        excess_seconds,
        baseline_seconds,
        recent_seconds,
    } = impact;
    Impact {
        service: service.to_string(),
        operation: operation.to_string(),
        span_kind: *span_kind as u32,
        excess_seconds: *excess_seconds,
        baseline_seconds: *baseline_seconds,
        recent_seconds: *recent_seconds,
    }
}

fn suspect(suspect: &Suspect) -> SuspectRecord {
    let Suspect {
        rank: _,
        service,
        kind,
        operation,
        span_kind,
        score,
        excess_seconds,
        reason,
        pattern,
        where_,
        baseline_seconds,
        recent_seconds,
        calls,
        example_trace_ids,
    } = suspect;
    SuspectRecord {
        service: service.to_string(),
        kind: kind.as_str().to_owned(),
        operation: operation.to_string(),
        span_kind: *span_kind as u32,
        score: *score,
        excess_seconds: *excess_seconds,
        reason: reason.as_str().to_owned(),
        pattern: pattern.as_str().to_owned(),
        place: where_.as_ref().map(place),
        baseline_seconds: *baseline_seconds,
        recent_seconds: *recent_seconds,
        calls: *calls,
        traces: example_trace_ids.iter().map(|id| id.get().to_be_bytes().to_vec()).collect(),
    }
}

fn place(place: &Where) -> WhereRecord {
    let Where { attribute, value, share } = place;
    WhereRecord { attribute: attribute.to_string(), value: value.to_string(), share: *share }
}

/// What was saved.
pub(super) fn incident(record: Record) -> Result<Incident, LoadError> {
    let suspects = (1..).zip(record.suspects);
    Ok(Incident {
        id: record.id,
        start: Timestamp(record.start),
        detected: Timestamp(record.detected),
        end: record.end.map(Timestamp),
        excess_seconds: finite(record.excess_seconds)?,
        unexplained_share: finite(record.unexplained_share)?,
        entries: record.entries.into_iter().map(read_impact).collect::<Result<_, _>>()?,
        suspects: suspects
            .map(|(rank, suspect)| read_suspect(rank, suspect))
            .collect::<Result<_, _>>()?,
        confidence: finite(record.confidence)?,
        impacted: record.impacted.into_iter().map(read_waiting).collect::<Result<_, _>>()?,
        evidence: Arc::default(),
    })
}

fn read_waiting(record: ImpactedRecord) -> Result<Impacted, LoadError> {
    Ok(Impacted {
        service: Arc::from(record.service),
        excess_seconds: finite(record.excess_seconds)?,
    })
}

fn read_impact(record: Impact) -> Result<EntryImpact, LoadError> {
    Ok(EntryImpact {
        service: Arc::from(record.service),
        operation: Arc::from(record.operation),
        span_kind: SpanKind::from_number(record.span_kind.into()),
        excess_seconds: finite(record.excess_seconds)?,
        baseline_seconds: finite(record.baseline_seconds)?,
        recent_seconds: finite(record.recent_seconds)?,
    })
}

fn read_suspect(rank: usize, record: SuspectRecord) -> Result<Suspect, LoadError> {
    let traces = record.traces.iter().map(|bytes| TraceId::from_bytes(bytes));
    let no_trace = |_| LoadError::Malformed("a trace id");
    Ok(Suspect {
        rank,
        service: Arc::from(record.service),
        kind: suspect_kind(&record.kind)?,
        operation: Arc::from(record.operation),
        span_kind: SpanKind::from_number(record.span_kind.into()),
        score: finite(record.score)?,
        excess_seconds: finite(record.excess_seconds)?,
        reason: labelled(&REASONS, Reason::as_str, &record.reason)?,
        pattern: labelled(&PATTERNS, Pattern::as_str, &record.pattern)?,
        where_: record.place.map(read_place).transpose()?,
        baseline_seconds: finite(record.baseline_seconds)?,
        recent_seconds: finite(record.recent_seconds)?,
        calls: record.calls,
        example_trace_ids: traces.collect::<Result<_, _>>().map_err(no_trace)?,
    })
}

fn read_place(record: WhereRecord) -> Result<Where, LoadError> {
    let (attribute, value) = (Arc::from(record.attribute), Arc::from(record.value));
    Ok(Where { attribute, value, share: finite(record.share)? })
}

/// The kind of suspect with this label value.
pub(super) fn suspect_kind(label: &str) -> Result<SuspectKind, LoadError> {
    labelled(&KINDS, SuspectKind::as_str, label)
}

fn labelled<T: Copy>(all: &[T], as_str: fn(T) -> &'static str, is: &str) -> Result<T, LoadError> {
    let found = all.iter().copied().find(|&one| as_str(one) == is);
    found.ok_or(LoadError::Malformed("an unknown label value"))
}

fn finite(value: f64) -> Result<f64, LoadError> {
    if value.is_finite() { Ok(value) } else { Err(LoadError::Malformed("a number that is none")) }
}
