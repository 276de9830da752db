//! `/api/v1/now`: the state of things in one small document, which is also what listeners are sent.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::HeaderMap;
use serde::Serialize;

use super::super::words::rfc3339;
use super::answer::{Problem, json};
use super::health::{IntakeShape, OperationsShape};
use super::incidents::ListedIncident;
use super::query::{Nothing, Params};
use super::{Answer, Api};
use crate::engine::verdict::Board;

/// Everything at one moment.
#[derive(Serialize)]
pub(super) struct Now<'a> {
    version: &'static str,
    now: String,
    ready: bool,
    /// Open ones.
    incidents: Vec<ListedIncident<'a>>,
    /// How many are over and still known, and the newest of them.
    past_incidents: usize,
    last_incident: Option<ListedIncident<'a>>,
    operations: OperationsShape,
    intake: IntakeShape,
    memory: Memory,
    links: LinksShape<'a>,
}

#[derive(Serialize)]
struct Memory {
    used_bytes: u64,
    limit_bytes: u64,
}

/// What is configured, for putting links together.
#[derive(Serialize)]
struct LinksShape<'a> {
    trace_url: Option<&'a str>,
    prometheus_url: Option<&'a str>,
    external_url: Option<&'a str>,
}

impl Api {
    /// The state of things now.
    pub(super) fn now<'a>(&'a self, board: &'a Board) -> Answer<Now<'a>> {
        let ledger = self.source.ledger();
        let links = &self.settings.links;
        let rest = Now {
            version: env!("CARGO_PKG_VERSION"),
            now: rfc3339(self.evidence.now()),
            ready: self.source.ready().is_ok(),
            incidents: board.open.iter().map(ListedIncident::from).collect(),
            past_incidents: board.closed.len(),
            last_incident: board.closed.first().map(ListedIncident::from),
            operations: OperationsShape::of(board, &ledger),
            intake: IntakeShape::from(&ledger),
            memory: Memory {
                used_bytes: ledger.memory_bytes.values().sum(),
                limit_bytes: ledger.memory_limit_bytes,
            },
            links: LinksShape {
                trace_url: links.trace_url.as_deref(),
                prometheus_url: links.prometheus_url.as_deref(),
                external_url: links.external_url.as_deref(),
            },
        };
        Answer::new(board, rest)
    }
}

/// The state of things now.
pub(super) async fn now(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Response, Problem> {
    api.answer(&headers, |api, wishes| {
        let board = api.source.board();
        Ok(json(wishes, &api.now(&board)))
    })
    .await
}
