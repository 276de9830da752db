//! Suspects, incidents and their course in time, as messages.

use super::super::incidents::Found;
use super::super::links::Links;
use super::super::timeline::{SliceShape, Timeline};
use super::words::{
    count, ids, said_pattern, said_reason, said_span_kind, said_suspect_kind, time,
};
use super::{traces, v1};
use crate::engine::evidence::{Graph, GraphLink, GraphService, SuspectDistribution};
use crate::engine::verdict::{Board, EntryImpact, Impacted, Incident, Suspect};
use crate::publish::sentence::Sentence;
use crate::publish::words::rounded;

impl From<&Suspect> for v1::Suspect {
    fn from(suspect: &Suspect) -> v1::Suspect {
        v1::Suspect {
            rank: count(suspect.rank),
            service: suspect.service.to_string(),
            kind: said_suspect_kind(suspect.kind),
            operation: suspect.operation.to_string(),
            span_kind: said_span_kind(suspect.span_kind),
            score: rounded(suspect.score),
            excess_seconds: rounded(suspect.excess_seconds),
            reason: said_reason(suspect.reason).into(),
            pattern: said_pattern(suspect.pattern).into(),
            r#where: suspect.where_.as_ref().map(Into::into),
            baseline_seconds: rounded(suspect.baseline_seconds),
            recent_seconds: rounded(suspect.recent_seconds),
            calls: suspect.calls,
            example_trace_ids: ids(&suspect.example_trace_ids),
        }
    }
}

impl From<(u64, &Suspect)> for v1::CurrentSuspect {
    fn from((incident, suspect): (u64, &Suspect)) -> v1::CurrentSuspect {
        v1::CurrentSuspect { incident, suspect: Some(suspect.into()) }
    }
}

impl From<&EntryImpact> for v1::EntryImpact {
    fn from(entry: &EntryImpact) -> v1::EntryImpact {
        v1::EntryImpact {
            service: entry.service.to_string(),
            operation: entry.operation.to_string(),
            span_kind: said_span_kind(entry.span_kind),
            excess_seconds: rounded(entry.excess_seconds),
            baseline_seconds: rounded(entry.baseline_seconds),
            recent_seconds: rounded(entry.recent_seconds),
        }
    }
}

impl From<&Impacted> for v1::Impacted {
    fn from(impacted: &Impacted) -> v1::Impacted {
        let excess_seconds = rounded(impacted.excess_seconds);
        v1::Impacted { service: impacted.service.to_string(), excess_seconds }
    }
}

impl From<&Incident> for v1::Incident {
    fn from(incident: &Incident) -> v1::Incident {
        v1::Incident {
            id: incident.id,
            start: time(incident.start),
            detected: time(incident.detected),
            end: incident.end.and_then(time),
            excess_seconds: rounded(incident.excess_seconds),
            unexplained_share: rounded(incident.unexplained_share),
            confidence: rounded(incident.confidence),
            entries: incident.entries.iter().map(Into::into).collect(),
            suspects: incident.suspects.iter().map(Into::into).collect(),
            impacted: incident.impacted.iter().map(Into::into).collect(),
            sentence: Sentence(incident).to_string(),
        }
    }
}

impl From<&SuspectDistribution> for v1::SuspectDistribution {
    fn from(one: &SuspectDistribution) -> v1::SuspectDistribution {
        v1::SuspectDistribution {
            service: one.service.to_string(),
            kind: said_suspect_kind(one.kind),
            baseline: Some((&one.distribution.baseline).into()),
            recent: Some((&one.distribution.recent).into()),
            threshold_seconds: one.distribution.threshold_seconds.map(rounded),
        }
    }
}

impl From<&Graph> for v1::Graph {
    fn from(graph: &Graph) -> v1::Graph {
        let service = |one: &GraphService| v1::GraphService {
            service: one.service.to_string(),
            kind: said_suspect_kind(one.kind),
            entry: one.is_entry,
            calls: one.calls,
            excess_seconds: rounded(one.excess_seconds),
        };
        let link = |one: &GraphLink| v1::GraphLink {
            from: count(one.from),
            to: count(one.to),
            calls: one.calls,
            excess_seconds: rounded(one.excess_seconds),
        };
        v1::Graph {
            services: graph.services.iter().map(service).collect(),
            links: graph.links.iter().map(link).collect(),
            left_out: count(graph.left_out),
        }
    }
}

/// An incident with all that it rests on.
pub(super) fn one(board: &Board, found: Found<'_>, links: &Links) -> v1::GetIncidentResponse {
    let rests_on = &found.incident.evidence;
    v1::GetIncidentResponse {
        head: Some(board.into()),
        incident: Some(found.incident.into()),
        distributions: rests_on.distributions.iter().map(Into::into).collect(),
        graph: Some((&rests_on.graph).into()),
        traces: traces::kept(&found.kept, links),
        pair: found.pair.map(|pair| v1::TracePair { baseline: pair.baseline, spiked: pair.spiked }),
        links: Some(v1::IncidentLinks {
            page: found.links.page.unwrap_or_default(),
            prometheus: found.links.prometheus.unwrap_or_default(),
        }),
    }
}

/// Seconds above expectation, slice by slice.
pub(super) fn timeline(board: &Board, timeline: Timeline<'_>) -> v1::GetTimelineResponse {
    let suspects = timeline.suspects.into_iter().map(|suspect| v1::TimelineSuspect {
        service: suspect.service.to_owned(),
        kind: said_suspect_kind(suspect.kind),
        excess_seconds: suspect.excess_seconds,
    });
    let share = |(suspect, excess_seconds)| {
        let suspect = count(suspect);
        v1::TimelineShare { suspect, excess_seconds }
    };
    let slice = |slice: SliceShape| v1::TimelineSlice {
        at: time(slice.at),
        seconds: slice.seconds,
        requests: slice.requests,
        request_seconds: slice.request_seconds,
        excess_seconds: slice.excess_seconds,
        suspects: slice.suspects.into_iter().map(share).collect(),
    };
    v1::GetTimelineResponse {
        head: Some(board.into()),
        suspects: suspects.collect(),
        slices: timeline.slices.into_iter().map(slice).collect(),
    }
}
