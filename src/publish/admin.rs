//! The admin endpoint over HTTP: `/metrics`, health, the API as far as there is one, the page.
//!
//! A router and nothing more: whoever runs it owns the listener, its limits and its end. Everything
//! shown comes through [`Source`]; nothing here holds a lock while it writes to a client.

use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use serde::Serialize;

use super::ledger::Ledger;
use super::metrics_page::MetricsPage;
use super::shapes::{IncidentShape, SuspectShape};
use super::single_flight::SingleFlight;
use super::text_format::Format;
use super::words::rfc3339;
use super::{negotiate, page};
use crate::engine::verdict::Board;
use crate::model::Timestamp;

/// What the endpoint shows; the runtime implements it. All three are called on every request, so
/// they must be quick.
pub trait Source: Send + Sync + 'static {
    /// The verdicts as of the last tick.
    fn board(&self) -> Arc<Board>;
    /// The process's own numbers, in one consistent look.
    fn ledger(&self) -> Ledger;
    /// Whether requests can be served; else what is missing, one entry each.
    fn ready(&self) -> Result<(), Vec<String>>;
}

/// Routes of the admin endpoint.
pub fn router(source: Arc<dyn Source>, page: Arc<MetricsPage>) -> Router {
    let admin = Arc::new(Admin { source, page, flights: Default::default() });
    Router::new()
        .route("/", get(index))
        .route("/page.css", get(|| async { with_type("text/css; charset=utf-8", page::STYLE) }))
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { with_type(PLAIN, "alive\n") }))
        .route("/readyz", get(readyz))
        .route("/api/v1/suspects", get(suspects))
        .route("/api/v1/incidents", get(incidents))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(admin)
}

struct Admin {
    source: Arc<dyn Source>,
    page: Arc<MetricsPage>,
    /// By format and encoding: see [`Variant::index`].
    flights: [Arc<SingleFlight>; 4],
}

/// One of the forms in which `/metrics` can be asked for.
#[derive(Clone, Copy)]
struct Variant {
    format: Format,
    gzip: bool,
}

impl Variant {
    fn of(headers: &HeaderMap) -> Variant {
        Variant {
            format: negotiate::format(&joined(headers, header::ACCEPT)),
            gzip: negotiate::gzip(&joined(headers, header::ACCEPT_ENCODING)),
        }
    }

    fn index(self) -> usize {
        usize::from(self.format == Format::OpenMetrics) * 2 + usize::from(self.gzip)
    }
}

/// A header that may be given in several lines means the same as their list.
fn joined(headers: &HeaderMap, name: HeaderName) -> String {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let variant = Variant::of(&headers);
    let flight = Arc::clone(&admin.flights[variant.index()]);
    let rendered = flight.get(move || admin.render(variant)).await;
    let mut response = match rendered {
        Ok(body) => with_type(variant.format.content_type(), body),
        Err(failed) => {
            return problem(StatusCode::INTERNAL_SERVER_ERROR, &failed.to_string());
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if variant.gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

impl Admin {
    fn render(&self, variant: Variant) -> Bytes {
        let ledger = self.source.ledger();
        let page = self.page.render(&self.source.board(), &ledger, variant.format);
        if variant.gzip { gzipped(&page) } else { page }
    }
}

/// Compressed with the fastest level: names repeat so often that the better ones gain little.
fn gzipped(page: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 8), Compression::fast());
    encoder.write_all(page).expect("writing to memory cannot fail");
    Bytes::from(encoder.finish().expect("writing to memory cannot fail"))
}

async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    match admin.source.ready() {
        Ok(()) => with_type(PLAIN, "ready\n"),
        Err(missing) => {
            let text = format!("not ready:\n{}\n", missing.join("\n"));
            (StatusCode::SERVICE_UNAVAILABLE, with_type(PLAIN, text)).into_response()
        }
    }
}

async fn index(State(admin): State<Arc<Admin>>) -> Response {
    let mut response = with_type("text/html; charset=utf-8", page::render(&admin.source.board()));
    let policy = HeaderValue::from_static(page::POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// What the API's answers have in common. `at` is null before the first slice was judged.
#[derive(Serialize)]
struct Answer<T> {
    at: Option<String>,
    learning: bool,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize)]
struct Suspects<'a> {
    suspects: Vec<CurrentSuspect<'a>>,
}

/// A suspect with the number of its incident.
#[derive(Serialize)]
struct CurrentSuspect<'a> {
    incident: u64,
    #[serde(flatten)]
    suspect: SuspectShape<'a>,
}

#[derive(Serialize)]
struct Incidents<'a> {
    incidents: Vec<IncidentShape<'a>>,
}

/// The suspects of all open incidents, by incident and rank.
async fn suspects(State(admin): State<Arc<Admin>>) -> Response {
    let board = admin.source.board();
    let of_incident = board.open.iter().flat_map(|incident| {
        let shape = |suspect| CurrentSuspect { incident: incident.id, suspect };
        incident.suspects.iter().map(SuspectShape::from).map(shape)
    });
    answer(&board, Suspects { suspects: of_incident.collect() })
}

/// The open incidents, then those that are over, the newest first.
async fn incidents(State(admin): State<Arc<Admin>>) -> Response {
    let board = admin.source.board();
    let all = board.open.iter().chain(&board.closed).map(IncidentShape::from);
    answer(&board, Incidents { incidents: all.collect() })
}

fn answer<T: Serialize>(board: &Board, rest: T) -> Response {
    let at = (board.at > Timestamp::default()).then(|| rfc3339(board.at));
    let answer = Answer { at, learning: board.learning, rest };
    let json = serde_json::to_vec(&answer).expect("strings and finite numbers are valid JSON");
    with_type(JSON, json)
}

/// RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let problem = Problem { r#type: "about:blank", title, status: status.as_u16(), detail };
    let json = serde_json::to_vec(&problem).expect("strings are valid JSON");
    (status, with_type(PROBLEM, json)).into_response()
}

async fn not_found(uri: Uri) -> Response {
    // Paths come from strangers and can be long; the start is enough to recognise one's own.
    let path: String = uri.path().chars().take(200).collect();
    problem(StatusCode::NOT_FOUND, &format!("there is nothing at {path}"))
}

async fn method_not_allowed(method: Method) -> Response {
    let method: String = method.as_str().chars().take(20).collect();
    problem(StatusCode::METHOD_NOT_ALLOWED, &format!("{method} is not possible here, GET is"))
}

fn with_type(content_type: &'static str, body: impl Into<Body>) -> Response {
    let fixed = |name, value| (name, HeaderValue::from_static(value));
    let headers = [
        fixed(header::CONTENT_TYPE, content_type),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        fixed(header::REFERRER_POLICY, "no-referrer"),
        fixed(header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body.into()).into_response()
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
