//! The JSON shapes of incidents and suspects: `replay --format json` and `/api/v1` share them.
//!
//! The names and their order are the contract's. Numbers have six significant digits: the digits
//! after these differ between ways of adding the same sum. Names are given as they came.

use serde::Serialize;

use super::words::{nanos, rfc3339, rounded};
use crate::engine::evidence::{Buckets, Stretch};
use crate::engine::verdict::{EntryImpact, Impacted, Incident, Quantiles, Suspect, Where};

/// An incident.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct IncidentShape<'a> {
    id: u64,
    start: String,
    detected: String,
    end: Option<String>,
    excess_seconds: f64,
    unexplained_share: f64,
    confidence: f64,
    entries: Vec<EntryShape<'a>>,
    suspects: Vec<SuspectShape<'a>>,
    impacted: Vec<ImpactedShape<'a>>,
}

/// An entry operation that got slower.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct EntryShape<'a> {
    service: &'a str,
    operation: &'a str,
    excess_seconds: f64,
    baseline_seconds: f64,
    recent_seconds: f64,
}

/// A suspect of an incident.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SuspectShape<'a> {
    rank: usize,
    service: &'a str,
    kind: &'static str,
    operation: &'a str,
    score: f64,
    excess_seconds: f64,
    reason: &'static str,
    pattern: &'static str,
    #[serde(rename = "where")]
    place: Option<WhereShape<'a>>,
    baseline_seconds: f64,
    recent_seconds: f64,
    calls: u64,
    example_trace_ids: Vec<String>,
}

/// A service that waits for the suspects.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ImpactedShape<'a> {
    service: &'a str,
    excess_seconds: f64,
}

/// The attribute value that singles out the slow calls.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WhereShape<'a> {
    attribute: &'a str,
    value: &'a str,
    share: f64,
}

impl<'a> From<&'a Incident> for IncidentShape<'a> {
    fn from(incident: &'a Incident) -> Self {
        IncidentShape {
            id: incident.id,
            start: rfc3339(incident.start),
            detected: rfc3339(incident.detected),
            end: incident.end.map(rfc3339),
            excess_seconds: rounded(incident.excess_seconds),
            unexplained_share: rounded(incident.unexplained_share),
            confidence: rounded(incident.confidence),
            entries: incident.entries.iter().map(EntryShape::from).collect(),
            suspects: incident.suspects.iter().map(SuspectShape::from).collect(),
            impacted: incident.impacted.iter().map(ImpactedShape::from).collect(),
        }
    }
}

impl<'a> From<&'a Impacted> for ImpactedShape<'a> {
    fn from(impacted: &'a Impacted) -> Self {
        ImpactedShape {
            service: &impacted.service,
            excess_seconds: rounded(impacted.excess_seconds),
        }
    }
}

impl<'a> From<&'a EntryImpact> for EntryShape<'a> {
    fn from(entry: &'a EntryImpact) -> Self {
        EntryShape {
            service: &entry.service,
            operation: &entry.operation,
            excess_seconds: rounded(entry.excess_seconds),
            baseline_seconds: rounded(entry.baseline_seconds),
            recent_seconds: rounded(entry.recent_seconds),
        }
    }
}

impl<'a> From<&'a Suspect> for SuspectShape<'a> {
    fn from(suspect: &'a Suspect) -> Self {
        SuspectShape {
            rank: suspect.rank,
            service: &suspect.service,
            kind: suspect.kind.as_str(),
            operation: &suspect.operation,
            score: rounded(suspect.score),
            excess_seconds: rounded(suspect.excess_seconds),
            reason: suspect.reason.as_str(),
            pattern: suspect.pattern.as_str(),
            place: suspect.where_.as_ref().map(WhereShape::from),
            baseline_seconds: rounded(suspect.baseline_seconds),
            recent_seconds: rounded(suspect.recent_seconds),
            calls: suspect.calls,
            example_trace_ids: suspect.example_trace_ids.iter().map(ToString::to_string).collect(),
        }
    }
}

impl<'a> From<&'a Where> for WhereShape<'a> {
    fn from(place: &'a Where) -> Self {
        WhereShape { attribute: &place.attribute, value: &place.value, share: rounded(place.share) }
    }
}

/// Quantiles by their name, in seconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct QuantilesShape {
    #[serde(rename = "0.5")]
    median: f64,
    #[serde(rename = "0.9")]
    ninth_decile: f64,
    #[serde(rename = "0.99")]
    percentile: f64,
}

impl From<Quantiles> for QuantilesShape {
    fn from(quantiles: Quantiles) -> QuantilesShape {
        let [median, ninth_decile, percentile] = quantiles.map(rounded);
        QuantilesShape { median, ninth_decile, percentile }
    }
}

/// A distribution: how many values, their quantiles, and every filled bucket as (from, to, count).
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BucketsShape {
    count: u64,
    quantiles: Option<QuantilesShape>,
    buckets: Vec<(f64, f64, u64)>,
}

impl From<&Buckets> for BucketsShape {
    fn from(buckets: &Buckets) -> BucketsShape {
        let bars = buckets.bars();
        BucketsShape {
            count: buckets.count(),
            quantiles: buckets.quantiles().map(QuantilesShape::from),
            buckets: bars.map(|bar| (bar.low_seconds, bar.high_seconds, bar.count)).collect(),
        }
    }
}

/// A stretch of time: from, to.
pub(super) fn ends(stretch: &Stretch) -> [f64; 2] {
    [nanos(stretch.from_seconds), nanos(stretch.to_seconds)]
}
