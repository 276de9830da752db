//! The admin endpoint over HTTP: `/metrics`, health, the [API](super::api), the page.
//!
//! A router and nothing more: whoever runs it owns the listener, its limits and its end. Everything
//! shown comes through [`Source`] and [`Evidence`]; nothing here holds a lock while it writes to a client.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use tonic::Status;

use super::api::{self, ApiSettings, Evidence, Problem, gzipped, is_grpc, quoted};
use super::ledger::Ledger;
use super::metrics_page::MetricsPage;
use super::single_flight::SingleFlight;
use super::text_format::Format;
use super::{negotiate, page};
use crate::engine::verdict::Board;

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
pub fn router(
    source: Arc<dyn Source>,
    page: Arc<MetricsPage>,
    evidence: Arc<dyn Evidence>,
    settings: ApiSettings,
) -> Router {
    let api = api::router(Arc::clone(&source), evidence, settings);
    let admin = Arc::new(Admin { source, page, flights: Default::default() });
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { with_type(PLAIN, "alive\n") }))
        .route("/readyz", get(readyz))
        .with_state(admin)
        .merge(page::router())
        .merge(api)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
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
pub(super) fn joined(headers: &HeaderMap, name: HeaderName) -> String {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

const PLAIN: &str = "text/plain; charset=utf-8";

async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let variant = Variant::of(&headers);
    let flight = Arc::clone(&admin.flights[variant.index()]);
    let rendered = flight.get(move || admin.render(variant)).await;
    let mut response = match rendered {
        Ok(body) => with_type(variant.format.content_type(), body),
        Err(failed) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Problem::new(status, failed.to_string()).into_response();
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
        // The fastest level: names repeat so often that the better ones gain little.
        if variant.gzip { gzipped(&page, Compression::fast()) } else { page }
    }
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

async fn not_found(headers: HeaderMap, uri: Uri) -> Response {
    // Paths come from strangers and can be long; the start is enough to recognise one's own.
    let path = quoted(uri.path());
    if is_grpc(&headers) {
        // Mostly an exporter that was given this port instead of its own.
        let message = format!("there is no {path} here; OTLP is taken at receiver.grpc.endpoint");
        return Status::unimplemented(message).into_http();
    }
    Problem::not_found(format!("there is nothing at {path}")).into_response()
}

async fn method_not_allowed(method: Method) -> Problem {
    let detail = format!("{} is not possible here", quoted(method.as_str()));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
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
