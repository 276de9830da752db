//! `/api/v1/traces`: which traces are kept and why; one of them taken apart.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::header::HeaderMap;
use serde::{Deserialize, Serialize};

use super::super::shapes::ends;
use super::super::words::{nanos, rfc3339};
use super::answer::{Problem, json};
use super::links::Links;
use super::query::{Nothing, Page, Params, parsed, trace_id};
use super::{Answer, Api};
use crate::engine::evidence::{KeptTrace, Role, SpanDetail, TraceDetail};
use crate::model::TraceId;

/// Which traces.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceQuery {
    incident: Option<u64>,
    role: Option<String>,
    service: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// A kept trace, without its spans.
#[derive(Serialize)]
pub(super) struct KeptShape<'a> {
    trace_id: String,
    role: &'static str,
    incident: Option<u64>,
    service: &'a str,
    operation: &'a str,
    span_kind: &'static str,
    end: String,
    duration_seconds: f64,
    spans: usize,
    url: Option<String>,
}

pub(super) fn kept_shapes<'a>(kept: &'a [KeptTrace], links: &Links) -> Vec<KeptShape<'a>> {
    let shape = |one: &'a KeptTrace| KeptShape {
        trace_id: one.trace.to_string(),
        role: one.role.as_str(),
        incident: one.incident,
        service: &one.service,
        operation: &one.operation,
        span_kind: one.span_kind.as_str(),
        end: rfc3339(one.end),
        duration_seconds: nanos(one.seconds),
        spans: one.spans,
        url: links.trace(one.trace),
    };
    kept.iter().map(shape).collect()
}

/// The same, checked.
pub(super) struct Filter {
    pub(super) incident: Option<u64>,
    pub(super) role: Option<Role>,
    pub(super) service: Option<String>,
}

/// A kept trace taken apart, and where to go on from it.
pub(super) struct Found {
    pub(super) detail: TraceDetail,
    /// The normal trace to hold against it.
    pub(super) normal: Option<TraceId>,
    pub(super) url: Option<String>,
}

impl Api {
    /// Those of incidents first, the newest incident first.
    pub(super) fn kept(&self, filter: &Filter) -> Vec<KeptTrace> {
        let mut kept = self.evidence.kept(filter.incident);
        kept.retain(|one| {
            filter.role.is_none_or(|role| one.role == role)
                && filter.service.as_deref().is_none_or(|service| *one.service == *service)
        });
        kept
    }

    pub(super) fn trace(&self, id: TraceId) -> Result<Found, Problem> {
        let detail = self.evidence.trace(id).ok_or_else(|| {
            Problem::not_found(format!(
                "trace {id} is not kept: of each incident the slowest and the newest are, and a \
                 typical one of each entry"
            ))
        })?;
        Ok(Found {
            detail,
            normal: self.evidence.normal_for(id),
            url: self.settings.links.trace(id),
        })
    }
}

#[derive(Serialize)]
struct Traces<'a> {
    total: usize,
    traces: Vec<KeptShape<'a>>,
}

fn role(text: &str) -> Option<Role> {
    let all = [Role::Typical, Role::Slowest, Role::Newest, Role::Recent];
    all.into_iter().find(|role| role.as_str() == text)
}

/// All kept traces: those of incidents first, the newest incident first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(query): Params<TraceQuery>,
) -> Result<Response, Problem> {
    let page = Page::of(query.limit, query.offset)?;
    let role = parsed("role", query.role.as_deref(), "typical, slowest, newest or recent", role)?;
    let service = query.service.filter(|service| !service.is_empty());
    let filter = Filter { incident: query.incident, role, service };
    api.answer(&headers, move |api, wishes| {
        let board = api.source.board();
        let kept = api.kept(&filter);
        let total = kept.len();
        let kept = page.cut(kept);
        let traces = kept_shapes(&kept, &api.settings.links);
        Ok(json(wishes, &Answer::new(&board, Traces { total, traces })))
    })
    .await
}

#[derive(Serialize)]
struct OneTrace<'a> {
    trace: TraceShape<'a>,
    /// The normal trace to hold against it.
    normal: Option<String>,
    url: Option<String>,
}

#[derive(Serialize)]
struct TraceShape<'a> {
    trace_id: String,
    start: String,
    duration_seconds: f64,
    entry: usize,
    skewed_spans: usize,
    spans: Vec<SpanShape<'a>>,
}

#[derive(Serialize)]
struct SpanShape<'a> {
    span_id: String,
    parent: Option<usize>,
    depth: usize,
    service: &'a str,
    operation: &'a str,
    span_kind: &'static str,
    peer: Option<&'a str>,
    entry: bool,
    failed: bool,
    offset_seconds: f64,
    duration_seconds: f64,
    self_seconds: f64,
    critical_seconds: f64,
    critical_path: Vec<[f64; 2]>,
    attributes: Vec<[&'a str; 2]>,
}

impl<'a> From<&'a TraceDetail> for TraceShape<'a> {
    fn from(detail: &'a TraceDetail) -> TraceShape<'a> {
        TraceShape {
            trace_id: detail.trace.to_string(),
            start: rfc3339(detail.start),
            duration_seconds: nanos(detail.seconds),
            entry: detail.entry,
            skewed_spans: detail.skewed,
            spans: detail.spans.iter().map(SpanShape::from).collect(),
        }
    }
}

impl<'a> From<&'a SpanDetail> for SpanShape<'a> {
    fn from(span: &'a SpanDetail) -> SpanShape<'a> {
        SpanShape {
            span_id: span.id.to_string(),
            parent: span.parent,
            depth: span.depth,
            service: &span.service,
            operation: &span.operation,
            span_kind: span.span_kind.as_str(),
            peer: span.peer.as_deref(),
            entry: span.is_entry,
            failed: span.failed,
            offset_seconds: nanos(span.stretch.from_seconds),
            duration_seconds: nanos(span.stretch.seconds()),
            self_seconds: nanos(span.self_seconds),
            critical_seconds: nanos(span.critical_seconds()),
            critical_path: span.path.iter().map(ends).collect(),
            attributes: span.attributes.iter().map(|(name, value)| [&**name, &**value]).collect(),
        }
    }
}

/// One kept trace, taken apart.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Response, Problem> {
    let id = trace_id(&id)?;
    api.answer(&headers, move |api, wishes| {
        let board = api.source.board();
        let found = api.trace(id)?;
        let rest = OneTrace {
            trace: TraceShape::from(&found.detail),
            normal: found.normal.map(|trace| trace.to_string()),
            url: found.url,
        };
        Ok(json(wishes, &Answer::new(&board, rest)))
    })
    .await
}
