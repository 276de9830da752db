//! What `compare` found: as JSON for programs, as text for people.
//!
//! The names and their order in the JSON are the contract's; seconds have nine decimals, because the
//! parts of a difference must add up. Nothing is judged here, and nothing is printed.

mod text;
mod waterfall;

pub use text::ComparisonText;

use serde::Serialize;

use super::shapes::ends;
use super::words::nanos;

use crate::compare::verdict::{Cause, Comparison, EntryRow, EventGap, SpanRow, Summary, Verdict};

#[derive(Serialize)]
struct ComparisonShape<'a> {
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    headline: Option<String>,
    baseline: SummaryShape<'a>,
    spiked: SummaryShape<'a>,
    delta_seconds: f64,
    unexplained_seconds: f64,
    root_causes: Vec<CauseShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<EntryShape<'a>>>,
    spans: Vec<SpanShape<'a>>,
    warnings: &'a [String],
    next_steps: &'a [String],
}

#[derive(Serialize)]
struct SummaryShape<'a> {
    trace_id: Option<String>,
    traces: usize,
    duration_seconds: f64,
    spans: usize,
    services: Vec<&'a str>,
}

#[derive(Serialize)]
struct CauseShape<'a> {
    rank: usize,
    service: &'a str,
    kind: &'static str,
    operation: &'a str,
    share: f64,
    excess_seconds: f64,
    baseline_self_seconds: f64,
    spiked_self_seconds: f64,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<&'static str>,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    place: Option<PlaceShape<'a>>,
    event_gaps: Vec<GapShape<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    example_trace_ids: Vec<String>,
}

#[derive(Serialize)]
struct PlaceShape<'a> {
    attribute: &'a str,
    value: &'a str,
    share: f64,
}

#[derive(Serialize)]
struct GapShape<'a> {
    from: &'a str,
    to: &'a str,
    baseline_seconds: f64,
    spiked_seconds: f64,
}

#[derive(Serialize)]
struct EntryShape<'a> {
    service: &'a str,
    operation: &'a str,
    baseline_traces: u64,
    spiked_traces: u64,
    baseline_seconds: f64,
    spiked_seconds: f64,
    excess_seconds: f64,
}

#[derive(Serialize)]
struct SpanShape<'a> {
    service: &'a str,
    operation: &'a str,
    baseline_seconds: f64,
    spiked_seconds: f64,
    baseline_self_seconds: f64,
    spiked_self_seconds: f64,
    baseline_critical_seconds: f64,
    spiked_critical_seconds: f64,
    #[serde(rename = "match")]
    match_: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    outside_normal: bool,
    #[serde(flatten)]
    place: Option<SpanPlace>,
}

/// What it takes to draw a span of a pair: where it lies in the tree and in time on both sides, and which parts
/// of it the requests waited for.
#[derive(Serialize)]
struct SpanPlace {
    depth: usize,
    baseline_offset_seconds: f64,
    spiked_offset_seconds: f64,
    baseline_critical_path: Vec<[f64; 2]>,
    spiked_critical_path: Vec<[f64; 2]>,
}

/// The JSON document, ending in a newline.
pub fn to_json(comparison: &Comparison) -> String {
    let shape = ComparisonShape::new(comparison, false);
    let mut json = serde_json::to_string_pretty(&shape)
        .expect("strings and finite numbers can be written as JSON");
    json.push('\n');
    json
}

/// The same with the verdict in one sentence, and with what it takes to draw the spans.
pub(super) fn to_detailed_json(comparison: &Comparison) -> Vec<u8> {
    serde_json::to_vec(&ComparisonShape::new(comparison, true))
        .expect("strings and finite numbers can be written as JSON")
}

impl<'a> ComparisonShape<'a> {
    fn new(comparison: &'a Comparison, detailed: bool) -> ComparisonShape<'a> {
        let is_pair = comparison.entries.is_none();
        let span = |row: &'a SpanRow| SpanShape {
            place: (detailed && is_pair).then(|| SpanPlace::from(row)),
            ..SpanShape::from(row)
        };
        ComparisonShape {
            verdict: comparison.verdict.as_str(),
            headline: detailed.then(|| headline(comparison)),
            baseline: SummaryShape::from(&comparison.baseline),
            spiked: SummaryShape::from(&comparison.spiked),
            delta_seconds: nanos(comparison.delta_seconds),
            unexplained_seconds: nanos(comparison.unexplained_seconds),
            root_causes: comparison.root_causes.iter().map(CauseShape::from).collect(),
            entries: comparison.entries.as_ref().map(|rows| rows.iter().map(Into::into).collect()),
            spans: comparison.spans.iter().map(span).collect(),
            warnings: &comparison.warnings,
            next_steps: &comparison.next_steps,
        }
    }
}

impl<'a> From<&'a Summary> for SummaryShape<'a> {
    fn from(summary: &'a Summary) -> SummaryShape<'a> {
        SummaryShape {
            trace_id: summary.trace_id.map(|trace| trace.to_string()),
            traces: summary.traces,
            duration_seconds: nanos(summary.duration_seconds),
            spans: summary.spans,
            services: summary.services.iter().map(|service| &**service).collect(),
        }
    }
}

impl<'a> From<&'a Cause> for CauseShape<'a> {
    fn from(cause: &'a Cause) -> CauseShape<'a> {
        CauseShape {
            rank: cause.rank,
            service: &cause.service,
            kind: cause.kind.as_str(),
            operation: &cause.operation,
            share: super::words::rounded(cause.share),
            excess_seconds: nanos(cause.excess_seconds),
            baseline_self_seconds: nanos(cause.baseline_self_seconds),
            spiked_self_seconds: nanos(cause.spiked_self_seconds),
            reason: cause.reason.as_str(),
            pattern: cause.pattern.map(crate::engine::verdict::Pattern::as_str),
            place: cause.where_.as_ref().map(|place| PlaceShape {
                attribute: &place.attribute,
                value: &place.value,
                share: super::words::rounded(place.share),
            }),
            event_gaps: cause.event_gaps.iter().map(GapShape::from).collect(),
            example_trace_ids: cause.example_trace_ids.iter().map(ToString::to_string).collect(),
        }
    }
}

impl<'a> From<&'a EventGap> for GapShape<'a> {
    fn from(gap: &'a EventGap) -> GapShape<'a> {
        GapShape {
            from: &gap.from,
            to: &gap.to,
            baseline_seconds: nanos(gap.baseline_seconds),
            spiked_seconds: nanos(gap.spiked_seconds),
        }
    }
}

impl<'a> From<&'a EntryRow> for EntryShape<'a> {
    fn from(entry: &'a EntryRow) -> EntryShape<'a> {
        EntryShape {
            service: &entry.service,
            operation: &entry.operation,
            baseline_traces: entry.baseline_traces,
            spiked_traces: entry.spiked_traces,
            baseline_seconds: nanos(entry.baseline_seconds),
            spiked_seconds: nanos(entry.spiked_seconds),
            excess_seconds: nanos(entry.excess_seconds),
        }
    }
}

impl<'a> From<&'a SpanRow> for SpanShape<'a> {
    fn from(row: &'a SpanRow) -> SpanShape<'a> {
        SpanShape {
            service: &row.service,
            operation: &row.operation,
            baseline_seconds: nanos(row.baseline.seconds),
            spiked_seconds: nanos(row.spiked.seconds),
            baseline_self_seconds: nanos(row.baseline.self_seconds),
            spiked_self_seconds: nanos(row.spiked.self_seconds),
            baseline_critical_seconds: nanos(row.baseline.critical_seconds),
            spiked_critical_seconds: nanos(row.spiked.critical_seconds),
            match_: row.match_.as_str(),
            outside_normal: row.outside_normal,
            place: None,
        }
    }
}

impl From<&SpanRow> for SpanPlace {
    fn from(row: &SpanRow) -> SpanPlace {
        SpanPlace {
            depth: row.depth,
            baseline_offset_seconds: nanos(row.baseline.offset_seconds),
            spiked_offset_seconds: nanos(row.spiked.offset_seconds),
            baseline_critical_path: row.baseline_path.iter().map(ends).collect(),
            spiked_critical_path: row.spiked_path.iter().map(ends).collect(),
        }
    }
}

/// The verdict in one sentence.
pub(super) fn headline(comparison: &Comparison) -> String {
    use super::words::{Name, duration, percent};
    let (before, after) = (&comparison.baseline, &comparison.spiked);
    let times =
        format!("{} -> {}", duration(before.duration_seconds), duration(after.duration_seconds));
    let size = duration(comparison.delta_seconds.abs());
    let first = comparison.first();
    match (comparison.verdict, first) {
        (Verdict::RootCause, Some(cause)) => format!(
            "ROOT CAUSE: {} `{}`, {}: {} of the {size} by which it got slower ({times})",
            cause.kind.as_str(),
            Name(&cause.service),
            text::why(cause),
            percent(cause.share),
        ),
        (Verdict::Faster, Some(cause)) => format!(
            "FASTER by {size} ({times}), most of it by {} `{}`",
            cause.kind.as_str(),
            Name(&cause.service)
        ),
        (Verdict::Faster, None) => format!("FASTER by {size} ({times})"),
        (Verdict::NoDifference, _) => format!("NO DIFFERENCE beyond noise ({times})"),
        (Verdict::Inconclusive | Verdict::RootCause, _) => {
            format!("INCONCLUSIVE: it cannot be said what made the difference ({times})")
        }
    }
}
