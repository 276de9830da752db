//! A comparison as a message.

use super::v1;
use super::words::{count, ids, said_pattern, said_reason, said_suspect_kind};
use crate::compare::verdict::{
    Cause, Change, Comparison, EntryRow, EventGap, Match, SpanRow, Summary, Verdict,
};
use crate::publish::comparison::headline;
use crate::publish::words::{nanos, rounded};

fn verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::RootCause => v1::Verdict::RootCause,
        Verdict::NoDifference => v1::Verdict::NoDifference,
        Verdict::Faster => v1::Verdict::Faster,
        Verdict::Inconclusive => v1::Verdict::Inconclusive,
    }
}

impl From<&Comparison> for v1::Comparison {
    fn from(comparison: &Comparison) -> v1::Comparison {
        let is_pair = comparison.entries.is_none();
        let span = |row: &SpanRow| if is_pair { placed(row) } else { row.into() };
        v1::Comparison {
            verdict: verdict(comparison.verdict).into(),
            headline: headline(comparison),
            baseline: Some((&comparison.baseline).into()),
            spiked: Some((&comparison.spiked).into()),
            delta_seconds: nanos(comparison.delta_seconds),
            unexplained_seconds: nanos(comparison.unexplained_seconds),
            root_causes: comparison.root_causes.iter().map(Into::into).collect(),
            entries: comparison.entries.iter().flatten().map(Into::into).collect(),
            spans: comparison.spans.iter().map(span).collect(),
            warnings: comparison.warnings.clone(),
            next_steps: comparison.next_steps.clone(),
        }
    }
}

impl From<&Summary> for v1::Side {
    fn from(summary: &Summary) -> v1::Side {
        v1::Side {
            trace_id: summary.trace_id.map(|trace| trace.to_string()).unwrap_or_default(),
            traces: count(summary.traces),
            duration_seconds: nanos(summary.duration_seconds),
            spans: count(summary.spans),
            services: summary.services.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&Cause> for v1::Cause {
    fn from(cause: &Cause) -> v1::Cause {
        let reason = match cause.reason {
            Change::Worse(reason) => said_reason(reason),
            Change::Improved => v1::Reason::Improved,
        };
        v1::Cause {
            rank: count(cause.rank),
            service: cause.service.to_string(),
            kind: said_suspect_kind(cause.kind),
            operation: cause.operation.to_string(),
            share: rounded(cause.share),
            excess_seconds: nanos(cause.excess_seconds),
            baseline_self_seconds: nanos(cause.baseline_self_seconds),
            spiked_self_seconds: nanos(cause.spiked_self_seconds),
            reason: reason.into(),
            pattern: cause.pattern.map_or(v1::Pattern::Unspecified, said_pattern).into(),
            r#where: cause.where_.as_ref().map(Into::into),
            event_gaps: cause.event_gaps.iter().map(Into::into).collect(),
            example_trace_ids: ids(&cause.example_trace_ids),
        }
    }
}

impl From<&EventGap> for v1::EventGap {
    fn from(gap: &EventGap) -> v1::EventGap {
        v1::EventGap {
            from: gap.from.clone(),
            to: gap.to.clone(),
            baseline_seconds: nanos(gap.baseline_seconds),
            spiked_seconds: nanos(gap.spiked_seconds),
        }
    }
}

impl From<&EntryRow> for v1::ComparedEntry {
    fn from(entry: &EntryRow) -> v1::ComparedEntry {
        v1::ComparedEntry {
            service: entry.service.to_string(),
            operation: entry.operation.to_string(),
            baseline_traces: entry.baseline_traces,
            spiked_traces: entry.spiked_traces,
            baseline_seconds: nanos(entry.baseline_seconds),
            spiked_seconds: nanos(entry.spiked_seconds),
            excess_seconds: nanos(entry.excess_seconds),
        }
    }
}

impl From<&SpanRow> for v1::ComparedSpan {
    fn from(row: &SpanRow) -> v1::ComparedSpan {
        let side = match row.match_ {
            Match::Matched => v1::Match::Matched,
            Match::Added => v1::Match::Added,
            Match::Removed => v1::Match::Removed,
        };
        v1::ComparedSpan {
            service: row.service.to_string(),
            operation: row.operation.to_string(),
            r#match: side.into(),
            baseline_seconds: nanos(row.baseline.seconds),
            spiked_seconds: nanos(row.spiked.seconds),
            baseline_self_seconds: nanos(row.baseline.self_seconds),
            spiked_self_seconds: nanos(row.spiked.self_seconds),
            baseline_critical_seconds: nanos(row.baseline.critical_seconds),
            spiked_critical_seconds: nanos(row.spiked.critical_seconds),
            outside_normal: row.outside_normal,
            ..v1::ComparedSpan::default()
        }
    }
}

/// A span of a pair, which has a place in the tree and in time.
fn placed(row: &SpanRow) -> v1::ComparedSpan {
    v1::ComparedSpan {
        depth: count(row.depth),
        baseline_offset_seconds: nanos(row.baseline.offset_seconds),
        spiked_offset_seconds: nanos(row.spiked.offset_seconds),
        baseline_critical_path: row.baseline_path.iter().map(Into::into).collect(),
        spiked_critical_path: row.spiked_path.iter().map(Into::into).collect(),
        ..v1::ComparedSpan::from(row)
    }
}
