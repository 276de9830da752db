//! The API under `/api/v1`: what is suspected, what that rests on, what is normal, what is being dropped.
//!
//! Described by the OpenAPI document at `/api/v1/openapi.json`, which a test holds against real answers. Only
//! GET, and POST for comparing what is sent in; nothing here changes anything. [`v1`] says the same over gRPC.
//! Every answer is put together on a thread that may wait, and only so many at a time: those who watch must not
//! slow down what they watch.

mod answer;
mod compare;
mod events;
mod grpc;
mod health;
mod incidents;
mod links;
mod listeners;
mod now;
mod operations;
mod query;
mod reasons;
mod source;
mod timeline;
mod traces;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::header::HeaderMap;
use serde::{Serialize, Serializer};
use tokio::sync::Semaphore;

use super::admin::Source;
use super::words::rfc3339;
use crate::engine::verdict::Board;
use crate::model::{Nanos, Timestamp};
pub(super) use answer::{Packed, Problem, Wishes, body, gzipped, packed, quoted};
pub use grpc::{QUERY_SERVICE, is_grpc, v1};
pub use links::{Links, TRACE_ID};
use listeners::Listeners;
pub use source::{Beat, Busy, CompareError, Evidence, OperationName, Room, Upload};

/// What the API goes by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiSettings {
    /// Where to go on from here.
    pub links: Links,
    /// Bytes of two recordings that are sent in to be compared, together.
    pub max_upload_bytes: usize,
    /// How long one answer to a listener goes on: less than a request may take.
    pub listen_for: Nanos,
}

/// What is behind all routes.
pub(super) struct Api {
    source: Arc<dyn Source>,
    evidence: Arc<dyn Evidence>,
    settings: ApiSettings,
    /// Answers being put together.
    answers: Semaphore,
    /// Comparisons being made: each takes a CPU for as long as it takes.
    comparisons: Arc<Semaphore>,
    listeners: Listeners,
}

/// Answers put together at a time; the others wait.
const MAX_ANSWERS: usize = 4;
/// Comparisons made at a time; the others are told to come again.
const MAX_COMPARISONS: usize = 1;
const DOCUMENT: &str = include_str!("openapi.json");

/// The routes below `/api/v1`, and those of the gRPC service.
pub(super) fn router(
    source: Arc<dyn Source>,
    evidence: Arc<dyn Evidence>,
    settings: ApiSettings,
) -> Router {
    let max_upload = settings.max_upload_bytes;
    let api = Arc::new(Api::new(source, evidence, settings));
    let grpc = grpc::router(&api);
    Router::new()
        .route("/api/v1/now", get(now::now))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/suspects", get(incidents::suspects))
        .route("/api/v1/incidents", get(incidents::list))
        .route("/api/v1/incidents/{id}", get(incidents::one))
        .route("/api/v1/timeline", get(timeline::timeline))
        .route("/api/v1/services", get(operations::services))
        .route("/api/v1/operations", get(operations::list))
        .route("/api/v1/operation", get(operations::one))
        .route("/api/v1/traces", get(traces::list))
        .route("/api/v1/traces/{trace_id}", get(traces::one))
        .route(
            "/api/v1/compare",
            get(compare::kept).post(compare::uploads).layer(DefaultBodyLimit::max(max_upload)),
        )
        .route("/api/v1/health", get(health::health))
        .route("/api/v1/openapi.json", get(document))
        .with_state(api)
        .merge(grpc)
}

impl Api {
    fn new(source: Arc<dyn Source>, evidence: Arc<dyn Evidence>, settings: ApiSettings) -> Api {
        let (answers, comparisons) = (Semaphore::new(MAX_ANSWERS), Semaphore::new(MAX_COMPARISONS));
        let (comparisons, listeners) = (Arc::new(comparisons), Listeners::default());
        Api { source, evidence, settings, answers, comparisons, listeners }
    }

    /// Puts an answer together, in the form that was asked for.
    async fn answer(
        self: Arc<Self>,
        headers: &HeaderMap,
        make: impl FnOnce(&Api, &Wishes) -> Result<Response, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let wishes = Wishes::of(headers);
        self.work(move |api| make(api, &wishes)).await
    }

    /// Does what it takes for an answer, on a thread that may wait.
    async fn work<T: Send + 'static>(
        self: Arc<Self>,
        make: impl FnOnce(&Api) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let api = Arc::clone(&self);
        let _permit = self.answers.acquire().await.map_err(|_| Problem::busy("shutting down"))?;
        let made = tokio::task::spawn_blocking(move || make(&api)).await;
        made.map_err(|_| {
            let status = http::StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(status, "the answer could not be put together; the log says why")
        })?
    }
}

/// What all documents begin with. `at` is null before the first slice was judged.
#[derive(Serialize)]
struct Answer<T> {
    at: Option<String>,
    learning: bool,
    #[serde(flatten)]
    rest: T,
}

impl<T: Serialize> Answer<T> {
    fn new(board: &Board, rest: T) -> Answer<T> {
        Answer { at: judged_until(board), learning: board.learning, rest }
    }
}

fn judged_until(board: &Board) -> Option<String> {
    (board.at > Timestamp::default()).then(|| rfc3339(board.at))
}

/// A time in a document.
fn as_rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

async fn document(headers: HeaderMap) -> Response {
    body(&Wishes::of(&headers), "application/json", Bytes::from_static(DOCUMENT.as_bytes()))
}

#[cfg(test)]
pub(in crate::publish) mod tests;
