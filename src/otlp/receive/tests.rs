//! Every answer a sender can get, over real sockets for gRPC and through the router for HTTP.

mod grpc;
mod http;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Mutex;

use ::http::{Request, Response, StatusCode};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tonic::transport::{Channel, Server};
use tonic_types::pb;
use tower::ServiceExt as _;

use super::*;
use crate::model::{Interner, SpanRecord};
use crate::otlp::testing;

/// Books of what it was told, under short words.
type Books = BTreeMap<String, u64>;

#[derive(Default)]
struct State {
    spans: Vec<SpanRecord>,
    books: Books,
    /// Permits there are, and the bytes they hold.
    permits: usize,
    held: usize,
    /// The most that was held at once.
    peak: usize,
}

/// A runtime that remembers, and refuses when told to.
struct Memory {
    names: Arc<Interner>,
    /// Bytes there are.
    room: usize,
    refuse_offer: bool,
    state: Arc<Mutex<State>>,
}

struct Paper {
    state: Arc<Mutex<State>>,
    room: usize,
    bytes: usize,
    complete: bool,
}

impl super::Permit for Paper {
    fn receive(&mut self, bytes: usize) -> Result<(), Overloaded> {
        assert!(!self.complete);
        self.grow(bytes)
    }

    fn complete(&mut self) {
        self.complete = true;
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Overloaded> {
        let mut state = self.state.lock().unwrap();
        if state.held + bytes > self.room {
            return Err(NO_ROOM);
        }
        state.held += bytes;
        state.peak = state.peak.max(state.held);
        self.bytes += bytes;
        Ok(())
    }

    fn shrink(&mut self, bytes: usize) {
        let given_back = self.bytes.saturating_sub(bytes);
        self.state.lock().unwrap().held -= given_back;
        self.bytes -= given_back;
    }
}

impl Drop for Paper {
    fn drop(&mut self) {
        self.shrink(0);
        self.state.lock().unwrap().permits -= 1;
    }
}

const NO_ROOM: Overloaded = Overloaded { retry_after: Nanos::from_millis(1_500) };

impl Memory {
    fn count(&self, what: String, count: u64) {
        *self.state.lock().unwrap().books.entry(what).or_default() += count;
    }
}

impl Intake for Memory {
    type Permit = Paper;

    fn names(&self) -> &Arc<Interner> {
        &self.names
    }

    fn admit(&self, _: &::http::Extensions) -> Result<Paper, Overloaded> {
        if self.room == 0 {
            return Err(NO_ROOM);
        }
        self.state.lock().unwrap().permits += 1;
        let state = Arc::clone(&self.state);
        Ok(Paper { state, room: self.room, bytes: 0, complete: false })
    }

    fn offer(
        &self,
        transport: Transport,
        spans: Vec<SpanRecord>,
        permit: Paper,
    ) -> Result<(), Overloaded> {
        assert!(permit.complete && permit.bytes >= spans.len() * size_of::<SpanRecord>());
        drop(permit);
        if self.refuse_offer {
            return Err(Overloaded { retry_after: Nanos::from_secs(2) });
        }
        self.count(format!("accepted {}", transport.as_str()), spans.len() as u64);
        self.state.lock().unwrap().spans.extend(spans);
        Ok(())
    }

    fn refused(&self, transport: Transport, reason: &'static str, count: u64) {
        self.count(format!("refused {} {reason}", transport.as_str()), count);
    }

    fn failed(&self, transport: Transport, failure: Failure) {
        self.count(format!("failed {} {}", transport.as_str(), failure.as_str()), 1);
    }

    fn skipped_attributes(&self, count: u64) {
        if count > 0 {
            self.count("skipped attributes".to_owned(), count);
        }
    }
}

struct World {
    intake: Arc<Memory>,
    receiver: Arc<Receiver<Memory>>,
}

const LIMIT: usize = 64 * 1024;

impl World {
    fn new() -> World {
        World::with(1 << 30, false)
    }

    /// With so many bytes of room, and an engine that takes or does not take spans.
    fn with(room: usize, refuse_offer: bool) -> World {
        let (names, rules) = testing::names_and_rules();
        let state = Arc::default();
        let intake = Arc::new(Memory { names, room, refuse_offer, state });
        let limits = ReceiveLimits {
            message_bytes: LIMIT,
            cost: CostLimits { spans: 1_000, ..CostLimits::default() },
            body: Nanos::from_secs(10),
        };
        World { receiver: Receiver::new(Arc::clone(&intake), rules, limits), intake }
    }

    fn books(&self) -> Books {
        let state = self.intake.state.lock().unwrap();
        assert_eq!((state.permits, state.held), (0, 0), "every permit has come back");
        state.books.clone()
    }

    fn seen(&self) -> Vec<testing::Seen> {
        testing::seen(&self.intake.state.lock().unwrap().spans, &self.intake.names)
    }

    /// A server on a port of its own. It ends with the runtime of the test.
    async fn serve(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let routes = tonic::service::Routes::from(self.receiver.grpc());
        let server = Server::builder().add_routes(routes);
        tokio::spawn(server.serve_with_incoming(incoming));
        addr
    }

    async fn channel(&self) -> Channel {
        let endpoint = format!("http://{}", self.serve().await);
        Channel::from_shared(endpoint).unwrap().connect().await.unwrap()
    }

    async fn client(&self) -> TraceServiceClient<Channel> {
        TraceServiceClient::new(self.channel().await)
    }

    async fn post(&self, content_type: &str, encoding: Option<&str>, body: Vec<u8>) -> Answer {
        let mut request = Request::post("/v1/traces").header("content-type", content_type);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        Answer::of(self.receiver.http().oneshot(request).await.unwrap()).await
    }
}

struct Answer {
    status: StatusCode,
    content_type: String,
    retry_after: Option<String>,
    body: Bytes,
}

impl Answer {
    async fn of(response: Response<Body>) -> Answer {
        let header =
            |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        Answer {
            status: response.status(),
            content_type: header("content-type").unwrap_or_default(),
            retry_after: header("retry-after"),
            body: response.into_body().collect().await.unwrap().to_bytes(),
        }
    }

    fn json(&self) -> serde_json::Value {
        assert_eq!(self.content_type, JSON);
        serde_json::from_slice(&self.body).unwrap()
    }

    fn status_message(&self) -> pb::Status {
        assert_eq!(self.content_type, PROTOBUF);
        pb::Status::decode(self.body.clone()).unwrap()
    }
}

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn books(entries: &[(&str, u64)]) -> Books {
    entries.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A request one of whose four spans has no id, and two end before they start.
fn partly_invalid() -> ExportTraceServiceRequest {
    let mut request = testing::golden(1);
    request.resource_spans.truncate(1);
    let spans = &mut request.resource_spans[0].scope_spans[0].spans;
    spans.truncate(1);
    let valid = spans[0].clone();
    spans.push(Span { span_id: vec![], ..valid.clone() });
    spans.push(Span { end_time_unix_nano: 1, ..valid.clone() });
    spans.push(Span { end_time_unix_nano: 2, ..valid });
    request
}

const REASONS: &str = "rejected spans: 1 × invalid span id, 2 × end before start";

/// A request that is larger than the limit but nothing worse.
fn oversize() -> ExportTraceServiceRequest {
    let mut request = testing::golden(1);
    request.resource_spans[0].schema_url = "x".repeat(LIMIT);
    request
}

/// A request of more spans than allowed in fewer bytes than allowed.
fn amplified() -> Vec<u8> {
    let mut request = ExportTraceServiceRequest::default();
    request.resource_spans.push(Default::default());
    request.resource_spans[0].scope_spans.push(Default::default());
    request.resource_spans[0].scope_spans[0].spans = vec![Span::default(); 1_001];
    let bytes = request.encode_to_vec();
    assert!(bytes.len() < LIMIT);
    bytes
}
