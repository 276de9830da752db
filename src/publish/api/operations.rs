//! `/api/v1/services`, `/api/v1/operations`, `/api/v1/operation`: what is normal, and how far learning is.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::HeaderMap;
use serde::{Deserialize, Serialize};

use super::super::shapes::{BucketsShape, QuantilesShape};
use super::super::words::{rfc3339, rounded};
use super::answer::{Problem, json};
use super::query::{Page, Params, parsed, span_kind};
use super::source::OperationName;
use super::{Answer, Api};
use crate::engine::evidence::{Era, OperationDetail};
use crate::engine::verdict::{Board, Operation};
use crate::model::SpanKind;

/// Which services.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceQuery {
    q: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Serialize)]
struct Services<'a> {
    total: usize,
    services: Vec<ServiceShape<'a>>,
}

#[derive(Serialize)]
pub(super) struct ServiceShape<'a> {
    pub(super) service: &'a str,
    pub(super) operations: usize,
    pub(super) learned: usize,
    pub(super) spans: u64,
    pub(super) flagged: u64,
}

/// Those with `part` in their name, by name.
pub(super) fn services_of<'a>(board: &'a Board, part: &str) -> Vec<ServiceShape<'a>> {
    let wanted = part.to_lowercase();
    let mut by_name: BTreeMap<&str, ServiceShape<'_>> = BTreeMap::new();
    for operation in &board.operations {
        let new = ServiceShape {
            service: &operation.service,
            operations: 0,
            learned: 0,
            spans: 0,
            flagged: 0,
        };
        let service = by_name.entry(&operation.service).or_insert(new);
        service.operations += 1;
        service.learned += usize::from(operation.baseline.is_some());
        service.spans += operation.spans;
        service.flagged += operation.flagged;
    }
    by_name.retain(|name, _| name.to_lowercase().contains(&wanted));
    by_name.into_values().collect()
}

/// Services by name, with how much of each has been learned.
pub(super) async fn services(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(query): Params<ServiceQuery>,
) -> Result<Response, Problem> {
    let page = Page::of(query.limit, query.offset)?;
    api.answer(&headers, move |api, wishes| {
        let board = api.source.board();
        let services = services_of(&board, query.q.as_deref().unwrap_or_default());
        let total = services.len();
        let services = page.cut(services);
        Ok(json(wishes, &Answer::new(&board, Services { total, services })))
    })
    .await
}

/// Which operations, in which order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationQuery {
    service: Option<String>,
    q: Option<String>,
    kind: Option<String>,
    state: Option<String>,
    sort: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// Whether it can be judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Learning,
    Learned,
    Flagged,
}

/// What a list is sorted by, the largest first; by name from A on.
#[derive(Clone, Copy)]
pub(super) enum Order {
    Name,
    Spans,
    Baseline,
    Recent,
    Rise,
    Flagged,
}

/// The same, checked.
pub(super) struct Filter {
    pub(super) service: Option<String>,
    /// In small letters.
    pub(super) words: Vec<String>,
    pub(super) kind: Option<SpanKind>,
    pub(super) state: Option<Stage>,
    pub(super) order: Order,
}

/// What is looked for, in small letters.
pub(super) fn words_of(query: &str) -> Vec<String> {
    query.to_lowercase().split_whitespace().map(str::to_owned).collect()
}

impl Filter {
    fn of(query: OperationQuery) -> Result<(Filter, Page), Problem> {
        let page = Page::of(query.limit, query.offset)?;
        let state = |text: &str| match text {
            "learning" => Some(Stage::Learning),
            "learned" => Some(Stage::Learned),
            "flagged" => Some(Stage::Flagged),
            _ => None,
        };
        let order = |text: &str| match text {
            "name" => Some(Order::Name),
            "spans" => Some(Order::Spans),
            "baseline" => Some(Order::Baseline),
            "recent" => Some(Order::Recent),
            "rise" => Some(Order::Rise),
            "flagged" => Some(Order::Flagged),
            _ => None,
        };
        let orders = "name, spans, baseline, recent, rise or flagged";
        let filter = Filter {
            service: query.service.filter(|service| !service.is_empty()),
            words: words_of(query.q.as_deref().unwrap_or_default()),
            kind: kind_of(query.kind.as_deref())?,
            state: parsed("state", query.state.as_deref(), "learning, learned or flagged", state)?,
            order: parsed("sort", query.sort.as_deref(), orders, order)?.unwrap_or(Order::Name),
        };
        Ok((filter, page))
    }

    fn takes(&self, operation: &Operation) -> bool {
        let state = match self.state {
            None => true,
            Some(Stage::Learning) => operation.baseline.is_none(),
            Some(Stage::Learned) => operation.baseline.is_some(),
            Some(Stage::Flagged) => operation.flagged > 0,
        };
        let has_words = || {
            let (service, name) = (operation.service.to_lowercase(), operation.name.to_lowercase());
            self.words.iter().all(|word| service.contains(word) || name.contains(word))
        };
        state
            && self.service.as_deref().is_none_or(|service| *operation.service == *service)
            && self.kind.is_none_or(|kind| operation.kind == kind)
            && (self.words.is_empty() || has_words())
    }

    /// What is sorted by, the largest first; nothing for the order of names, which they have.
    fn weight(&self, operation: &Operation) -> Option<f64> {
        let median = |quantiles: Option<[f64; 3]>| quantiles.map_or(0.0, |[median, ..]| median);
        let (before, now) = (median(operation.baseline), median(operation.recent));
        match self.order {
            Order::Name => None,
            Order::Spans => Some(operation.spans as f64),
            Order::Baseline => Some(before),
            Order::Recent => Some(now),
            Order::Rise if operation.baseline.is_none() => Some(f64::MIN),
            Order::Rise => Some(now - before),
            Order::Flagged => Some(operation.flagged as f64),
        }
    }

    pub(super) fn choose<'a>(&self, board: &'a Board) -> Vec<&'a Operation> {
        let all = board.operations.iter().map(|operation| &**operation);
        let mut chosen: Vec<&Operation> = all.filter(|operation| self.takes(operation)).collect();
        // The sort is stable, and equals are in the order of names.
        chosen.sort_by(|one, two| match (self.weight(one), self.weight(two)) {
            (Some(one), Some(two)) => two.total_cmp(&one),
            _ => std::cmp::Ordering::Equal,
        });
        chosen
    }
}

fn kind_of(text: Option<&str>) -> Result<Option<SpanKind>, Problem> {
    parsed("kind", text, "a span kind such as SPAN_KIND_SERVER", span_kind)
}

#[derive(Serialize)]
struct Operations<'a> {
    total: usize,
    operations: Vec<OperationShape<'a>>,
}

#[derive(Serialize)]
struct OperationShape<'a> {
    service: &'a str,
    operation: &'a str,
    span_kind: &'static str,
    learning: bool,
    spans: u64,
    flagged: u64,
    baseline_seconds: Option<QuantilesShape>,
    recent_seconds: Option<QuantilesShape>,
    threshold_seconds: Option<f64>,
    exemplar: Option<ExemplarShape>,
}

#[derive(Serialize)]
struct ExemplarShape {
    trace_id: String,
    seconds: f64,
    at: String,
}

impl<'a> From<&'a Operation> for OperationShape<'a> {
    fn from(operation: &'a Operation) -> OperationShape<'a> {
        OperationShape {
            service: &operation.service,
            operation: &operation.name,
            span_kind: operation.kind.as_str(),
            learning: operation.baseline.is_none(),
            spans: operation.spans,
            flagged: operation.flagged,
            baseline_seconds: operation.baseline.map(QuantilesShape::from),
            recent_seconds: operation.recent.map(QuantilesShape::from),
            threshold_seconds: operation.threshold.map(rounded),
            exemplar: operation.exemplar.map(|one| ExemplarShape {
                trace_id: one.trace.to_string(),
                seconds: rounded(one.seconds),
                at: rfc3339(one.at),
            }),
        }
    }
}

/// Operations with what is normal for each.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(query): Params<OperationQuery>,
) -> Result<Response, Problem> {
    let (filter, page) = Filter::of(query)?;
    api.answer(&headers, move |api, wishes| {
        let board = api.source.board();
        let chosen = filter.choose(&board);
        let total = chosen.len();
        let operations = page.cut(chosen).into_iter().map(OperationShape::from).collect();
        Ok(json(wishes, &Answer::new(&board, Operations { total, operations })))
    })
    .await
}

/// Which one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OneQuery {
    service: String,
    operation: String,
    kind: String,
}

#[derive(Serialize)]
struct OneOperation<'a> {
    operation: OperationShape<'a>,
    baseline: BucketsShape,
    recent: BucketsShape,
    learned: LearnedShape,
    frozen: bool,
    eras: Vec<EraShape>,
}

#[derive(Serialize)]
struct LearnedShape {
    slices: u64,
    needed_slices: u64,
    calls: u64,
    needed_calls: u64,
}

#[derive(Serialize)]
struct EraShape {
    at: String,
    calls: u64,
    seconds: QuantilesShape,
}

impl From<&Era> for EraShape {
    fn from(era: &Era) -> EraShape {
        EraShape { at: rfc3339(era.at), calls: era.calls, seconds: era.quantiles.into() }
    }
}

impl<'a> OneOperation<'a> {
    fn new(operation: &'a Operation, detail: &OperationDetail) -> OneOperation<'a> {
        OneOperation {
            operation: OperationShape::from(operation),
            baseline: BucketsShape::from(&detail.distribution.baseline),
            recent: BucketsShape::from(&detail.distribution.recent),
            learned: LearnedShape {
                slices: detail.learned_slices,
                needed_slices: detail.needed_slices,
                calls: detail.distribution.baseline.count(),
                needed_calls: detail.needed_calls,
            },
            frozen: detail.is_frozen,
            eras: detail.eras.iter().map(EraShape::from).collect(),
        }
    }
}

/// One operation: its distributions, how they moved, and how far learning is.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(query): Params<OneQuery>,
) -> Result<Response, Problem> {
    let kind = kind_of(Some(&query.kind))?
        .ok_or_else(|| Problem::bad_request("kind is needed, such as SPAN_KIND_SERVER"))?;
    let wanted = OperationName { service: query.service, name: query.operation, kind };
    api.answer(&headers, move |api, wishes| {
        let board = api.source.board();
        let (operation, detail) = api.operation(&board, &wanted)?;
        Ok(json(wishes, &Answer::new(&board, OneOperation::new(operation, &detail))))
    })
    .await
}

impl Api {
    pub(super) fn operation<'a>(
        &self,
        board: &'a Board,
        wanted: &OperationName,
    ) -> Result<(&'a Operation, OperationDetail), Problem> {
        let published = board.operations.iter().find(|operation| {
            operation.kind == wanted.kind
                && *operation.service == *wanted.service
                && *operation.name == *wanted.name
        });
        let detail = self.evidence.operation(wanted);
        let detail = detail.map_err(|busy| Problem::busy(busy.to_string()))?;
        published.map(|operation| &**operation).zip(detail).ok_or_else(|| {
            Problem::not_found(
                "there is no such operation; one that has been idle for long is forgotten",
            )
        })
    }
}
