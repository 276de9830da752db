//! Requests against the router, without a socket.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::http::Request;
use tower::ServiceExt;

use super::*;
use crate::publish::api::Links;
use crate::publish::exposition::Limits;
use crate::publish::testing::evidence::FixedEvidence;
use crate::publish::testing::http::{self, Got};
use crate::publish::testing::{self, after, read};

#[derive(Default)]
struct Fixed {
    board: Board,
    missing: Vec<String>,
    ledgers: AtomicUsize,
}

impl Source for Fixed {
    fn board(&self) -> Arc<Board> {
        Arc::new(self.board.clone())
    }
    fn ledger(&self) -> Ledger {
        self.ledgers.fetch_add(1, Ordering::SeqCst);
        Ledger::default()
    }
    fn ready(&self) -> Result<(), Vec<String>> {
        if self.missing.is_empty() { Ok(()) } else { Err(self.missing.clone()) }
    }
}

fn fixed() -> Arc<Fixed> {
    Arc::new(Fixed { board: testing::board(), ..Fixed::default() })
}

fn admin(source: Arc<dyn Source>, page: Arc<MetricsPage>) -> Router {
    let listen_for = crate::model::Nanos::from_secs(20);
    let api = ApiSettings { links: Links::default(), max_upload_bytes: 1_024, listen_for };
    router(source, page, Arc::new(FixedEvidence::new()), api)
}

async fn send(source: Arc<Fixed>, request: Request<Body>) -> Got {
    let page = Arc::new(MetricsPage::new(Limits::default()));
    http::send(admin(source, page), request).await
}

async fn fetch(source: Arc<Fixed>, path: &str, headers: &[(&str, &str)]) -> Got {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(source, request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_plain_scrape_gets_text() {
    let got = fetch(fixed(), "/metrics", &[]).await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(got.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(got.header("content-encoding"), "");
    assert_eq!(read(got.text()).sum("laghound_operation_spans_total"), 1212.0);
}

#[tokio::test]
async fn prometheus_gets_open_metrics_compressed() {
    let accept = ("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    let got = fetch(fixed(), "/metrics", &[accept, ("accept-encoding", "gzip")]).await;
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(got.header("content-type"), open);
    assert_eq!(got.header("content-encoding"), "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&got.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(read(&text).sum("laghound_operation_spans_total"), 1212.0);
}

#[tokio::test]
async fn each_scrape_takes_one_ledger() {
    let source = fixed();
    let page = Arc::new(MetricsPage::new(Limits::default()));
    let router = admin(Arc::clone(&source) as Arc<dyn Source>, page);
    for expected in 1..=3 {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap();
        assert_eq!(source.ledgers.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test]
async fn health_tells_alive_from_ready() {
    assert_eq!(fetch(fixed(), "/livez", &[]).await.status, StatusCode::OK);
    let ready = fetch(fixed(), "/readyz", &[]).await;
    assert_eq!((ready.status, ready.text()), (StatusCode::OK, "ready\n"));
    let missing = vec!["grpc receiver: not listening".to_owned(), "judge: stalled".to_owned()];
    let source = Arc::new(Fixed { missing, ..Fixed::default() });
    let not = fetch(Arc::clone(&source), "/readyz", &[]).await;
    assert_eq!(not.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(not.text(), "not ready:\ngrpc receiver: not listening\njudge: stalled\n");
    assert_eq!(fetch(source, "/livez", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn suspects_are_those_of_open_incidents() {
    let got = fetch(fixed(), "/api/v1/suspects", &[]).await;
    assert_eq!(got.header("content-type"), "application/json");
    let json = got.json();
    assert_eq!(json["at"], "2026-09-21T14:20:20Z");
    assert_eq!(json["learning"], false);
    let suspect = &json["suspects"][0];
    assert_eq!(suspect["incident"], 1);
    assert_eq!(suspect["service"], "cart");
    assert_eq!(suspect["score"], 0.93);
    assert_eq!(suspect["where"]["value"], "cart-2");
    assert_eq!(json["suspects"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn incidents_are_open_ones_first_then_past_ones() {
    let mut board = testing::board();
    let mut over = board.open[0].clone();
    (over.id, over.end) = (7, Some(after(90)));
    board.closed = vec![over];
    let json =
        fetch(Arc::new(Fixed { board, ..Fixed::default() }), "/api/v1/incidents", &[]).await.json();
    assert_eq!(json["incidents"][0]["id"], 1);
    assert!(json["incidents"][0]["end"].is_null());
    assert_eq!(json["incidents"][1]["id"], 7);
    assert_eq!(json["incidents"][1]["end"], "2026-09-21T14:21:30Z");
}

#[tokio::test]
async fn before_the_first_slice_there_is_no_time() {
    let json = fetch(Arc::new(Fixed::default()), "/api/v1/suspects", &[]).await.json();
    assert!(json["at"].is_null());
    assert_eq!(json["suspects"], serde_json::json!([]));
}

#[tokio::test]
async fn the_page_forbids_what_it_does_not_need() {
    let got = fetch(fixed(), "/", &[]).await;
    assert_eq!(got.header("content-type"), "text/html; charset=utf-8");
    let policy = got.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    let style = fetch(fixed(), "/assets/style.css", &[]).await;
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");
    let script = fetch(fixed(), "/assets/app.js", &[("accept-encoding", "gzip")]).await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(script.header("content-encoding"), "gzip");
    let tag = script.header("etag").to_owned();
    let again = fetch(fixed(), "/assets/app.js", &[("if-none-match", &tag)]).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_in_json() {
    let got = fetch(fixed(), "/api/v1/nothing", &[]).await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    assert_eq!(got.header("content-type"), "application/problem+json");
    assert_eq!(got.json()["status"], 404);
    assert_eq!(got.json()["detail"], "there is nothing at /api/v1/nothing");
    let got = send(fixed(), Request::post("/metrics").body(Body::empty()).unwrap()).await;
    assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(got.json()["title"], "Method Not Allowed");
    assert!(got.header("allow").contains("GET"));
}

#[tokio::test]
async fn a_grpc_call_of_what_is_not_here_is_answered_in_grpc() {
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let call = Request::post(path).header("content-type", "application/grpc+proto");
    let got = send(fixed(), call.body(Body::empty()).unwrap()).await;
    // UNIMPLEMENTED, which an exporter does not try again.
    assert_eq!((got.status, got.header("grpc-status")), (StatusCode::OK, "12"));
    assert!(got.header("grpc-message").contains("receiver.grpc.endpoint"));
    assert!(got.body.is_empty());
}
