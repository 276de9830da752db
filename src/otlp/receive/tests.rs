//! Every answer a sender can get, over real sockets for gRPC and through the router for HTTP.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tonic_types::{RetryInfo, StatusExt, pb};
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
    reserved: Vec<(usize, usize)>,
    permits: usize,
}

/// A runtime that remembers, and refuses when told to.
struct Memory {
    names: Arc<Interner>,
    refuse_reserve: bool,
    refuse_offer: bool,
    state: Arc<Mutex<State>>,
}

struct Permit(Arc<Mutex<State>>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lock().unwrap().permits -= 1;
    }
}

impl Memory {
    fn count(&self, what: String, count: u64) {
        *self.state.lock().unwrap().books.entry(what).or_default() += count;
    }
}

impl Intake for Memory {
    type Permit = Permit;

    fn names(&self) -> &Arc<Interner> {
        &self.names
    }

    fn reserve(&self, spans: usize, wire_bytes: usize) -> Result<Permit, Overloaded> {
        if self.refuse_reserve {
            return Err(Overloaded { retry_after: Nanos::from_millis(1_500) });
        }
        let mut state = self.state.lock().unwrap();
        state.reserved.push((spans, wire_bytes));
        state.permits += 1;
        Ok(Permit(Arc::clone(&self.state)))
    }

    fn offer(
        &self,
        transport: Transport,
        spans: Vec<SpanRecord>,
        permit: Permit,
    ) -> Result<(), Overloaded> {
        assert_eq!(self.state.lock().unwrap().permits, 1, "the permit comes with the spans");
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
        World::refusing(false, false)
    }

    fn refusing(refuse_reserve: bool, refuse_offer: bool) -> World {
        let (names, rules) = testing::names_and_rules();
        let state = Arc::default();
        let intake = Arc::new(Memory { names, refuse_reserve, refuse_offer, state });
        let limits = ReceiveLimits {
            message_bytes: LIMIT,
            cost: CostLimits { spans: 1_000, ..CostLimits::default() },
        };
        World { receiver: Receiver::new(Arc::clone(&intake), rules, limits), intake }
    }

    fn books(&self) -> Books {
        let state = self.intake.state.lock().unwrap();
        assert_eq!(state.permits, 0, "every permit has come back");
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
        let server = Server::builder().add_service(self.receiver.grpc());
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

// gRPC

#[tokio::test]
async fn grpc_takes_requests_plain_gzipped_and_zstandard() {
    let world = World::new();
    let client = world.client().await;
    let clients = [
        client.clone(),
        client.clone().send_compressed(CompressionEncoding::Gzip),
        client.send_compressed(CompressionEncoding::Zstd),
    ];
    let mut expected = Vec::new();
    for (seed, mut client) in (1..).zip(clients) {
        let request = testing::golden(seed);
        expected.extend(testing::oracle(&request));
        let response = client.export(request).await.unwrap().into_inner();
        assert_eq!(response.partial_success, None);
    }
    assert_eq!(world.seen(), expected);
    assert_eq!(world.books(), books(&[("accepted grpc", 9)]));
    let bytes = testing::golden(1).encoded_len();
    assert_eq!(world.intake.state.lock().unwrap().reserved, [(3, bytes); 3]);
}

#[tokio::test]
async fn grpc_says_how_many_spans_were_rejected_and_why() {
    let world = World::new();
    let response = world.client().await.export(partly_invalid()).await.unwrap().into_inner();
    let partial = response.partial_success.unwrap();
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (3, REASONS));
    let expected = [
        ("accepted grpc", 1),
        ("refused grpc end_before_start", 2),
        ("refused grpc invalid_span_id", 1),
    ];
    assert_eq!(world.books(), books(&expected));
}

#[tokio::test]
async fn the_empty_request_succeeds_everywhere() {
    let world = World::new();
    let empty = ExportTraceServiceRequest::default();
    let response = world.client().await.export(empty).await.unwrap().into_inner();
    assert_eq!(response, ExportTraceServiceResponse::default());
    assert_eq!(world.post(PROTOBUF, None, Vec::new()).await.status, StatusCode::OK);
    assert_eq!(world.post(JSON, None, b"{}".to_vec()).await.status, StatusCode::OK);
    assert_eq!(world.books(), books(&[]));
}

#[tokio::test]
async fn grpc_overload_is_unavailable_with_the_delay_in_both_forms() {
    for (reserve, offer, base_ms) in [(true, false, 1_500), (false, true, 2_000)] {
        let world = World::refusing(reserve, offer);
        let status = world.client().await.export(testing::golden(1)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        let base = Duration::from_millis(base_ms);
        assert!((base..2 * base).contains(&delay), "{delay:?}");
        let trailer = status.metadata().get_bin("google.rpc.retryinfo-bin").unwrap();
        let info = pb::RetryInfo::decode(trailer.to_bytes().unwrap()).unwrap();
        assert_eq!(RetryInfo::from(info).retry_delay, Some(delay));
        let expected = [("failed grpc overloaded", 1), ("refused grpc overload", 3)];
        assert_eq!(world.books(), books(&expected));
    }
}

/// Neither retryable by its code nor by RetryInfo.
fn assert_final(status: &Status, code: Code) {
    assert_eq!(status.code(), code, "{status}");
    assert!(status.get_details_retry_info().is_none());
    assert!(status.metadata().get_bin("google.rpc.retryinfo-bin").is_none());
    assert!(status.message().len() < 200, "{}", status.message());
}

#[tokio::test]
async fn grpc_oversize_is_resource_exhausted_and_final_before_and_after_inflation() {
    let world = World::new();
    let client = world.client().await;
    for mut client in [
        client.clone(),
        client.clone().send_compressed(CompressionEncoding::Gzip),
        client.send_compressed(CompressionEncoding::Zstd),
    ] {
        let status = client.export(oversize()).await.unwrap_err();
        assert_final(&status, Code::ResourceExhausted);
    }
    assert_eq!(world.books(), books(&[("failed grpc too_large", 3)]));
}

/// Sends bytes as they are through tonic's client.
async fn export_raw(
    channel: Channel,
    path: &'static str,
    bytes: Vec<u8>,
    encoding: Option<CompressionEncoding>,
) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    if let Some(encoding) = encoding {
        grpc = grpc.send_compressed(encoding);
    }
    grpc.ready().await.unwrap();
    let path = ::http::uri::PathAndQuery::from_static(path);
    grpc.unary(tonic::Request::new(bytes), path, RawClient).await.map(drop)
}

struct RawClient;

impl tonic::codec::Codec for RawClient {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = RawClient;
    type Decoder = RawClient;
    fn encoder(&mut self) -> RawClient {
        RawClient
    }
    fn decoder(&mut self) -> RawClient {
        RawClient
    }
}

impl tonic::codec::Encoder for RawClient {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(
        &mut self,
        item: Vec<u8>,
        target: &mut tonic::codec::EncodeBuf<'_>,
    ) -> Result<(), Status> {
        bytes::BufMut::put_slice(target, &item);
        Ok(())
    }
}

impl tonic::codec::Decoder for RawClient {
    type Item = Bytes;
    type Error = Status;
    fn decode(
        &mut self,
        source: &mut tonic::codec::DecodeBuf<'_>,
    ) -> Result<Option<Bytes>, Status> {
        let length = bytes::Buf::remaining(source);
        Ok(Some(bytes::Buf::copy_to_bytes(source, length)))
    }
}

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[tokio::test]
async fn grpc_refuses_more_spans_than_allowed_before_building_any() {
    let world = World::new();
    let gzip = Some(CompressionEncoding::Gzip);
    let status = export_raw(world.channel().await, EXPORT, amplified(), gzip).await.unwrap_err();
    assert_final(&status, Code::ResourceExhausted);
    assert!(status.message().contains("more than 1000 spans"), "{}", status.message());
    assert!(world.intake.state.lock().unwrap().reserved.is_empty());
    assert_eq!(world.books(), books(&[("failed grpc too_large", 1)]));
}

#[tokio::test]
async fn grpc_garbage_is_an_invalid_argument() {
    let world = World::new();
    for garbage in [vec![0xff; 40], vec![0x0b], vec![0x00], vec![0x0a, 0x7f]] {
        let status = export_raw(world.channel().await, EXPORT, garbage, None).await.unwrap_err();
        assert_final(&status, Code::InvalidArgument);
    }
    assert_eq!(world.books(), books(&[("failed grpc bad_data", 4)]));
}

#[tokio::test]
async fn other_signals_and_methods_are_unimplemented() {
    let world = World::new();
    let channel = world.channel().await;
    for path in [
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
    ] {
        let status = export_raw(channel.clone(), path, Vec::new(), None).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
    assert_eq!(world.books(), books(&[]));
}

/// Calls the service without a client in between, with headers and framing as given.
async fn call_raw(world: &World, encoding: Option<&str>, frame: Vec<u8>) -> Status {
    let mut request = Request::post(EXPORT).header("content-type", "application/grpc");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let request = request.body(tonic::body::Body::new(http_body_util::Full::new(frame.into())));
    let response = world.receiver.grpc().oneshot(request.unwrap()).await.unwrap();
    Status::from_header_map(response.headers()).expect("a status without a body")
}

#[tokio::test]
async fn grpc_corrected_answers_are_final() {
    let world = World::new();
    let corrupt = [&[1, 0, 0, 0, 5][..], b"12345"].concat();
    assert_final(&call_raw(&world, Some("gzip"), corrupt.clone()).await, Code::InvalidArgument);
    assert_final(&call_raw(&world, Some("zstd"), corrupt.clone()).await, Code::InvalidArgument);
    assert_final(&call_raw(&world, None, corrupt.clone()).await, Code::InvalidArgument);
    assert_final(&call_raw(&world, None, vec![7, 0, 0, 0, 0]).await, Code::InvalidArgument);
    assert_final(&call_raw(&world, None, vec![0, 0, 0, 0, 9]).await, Code::InvalidArgument);
    assert_final(&call_raw(&world, Some("br"), corrupt).await, Code::Unimplemented);
    let declared = vec![0, 0xff, 0xff, 0xff, 0xff];
    assert_final(&call_raw(&world, None, declared).await, Code::ResourceExhausted);
    let expected = [
        ("failed grpc bad_data", 5),
        ("failed grpc too_large", 1),
        ("failed grpc unsupported_encoding", 1),
    ];
    assert_eq!(world.books(), books(&expected));
}

// HTTP

#[tokio::test]
async fn http_takes_both_languages_in_every_encoding() {
    let world = World::new();
    let mut expected = Vec::new();
    let mut seed = 0;
    for content_type in [PROTOBUF, JSON, "Application/JSON; charset=utf-8"] {
        for encoding in [None, Some("identity"), Some("gzip"), Some("zstd"), Some("GZIP")] {
            seed += 1;
            let request = testing::golden(seed);
            expected.extend(testing::oracle(&request));
            let protobuf = content_type == PROTOBUF;
            let plain = match protobuf {
                true => request.encode_to_vec(),
                false => serde_json::to_vec(&request).unwrap(),
            };
            let body = match encoding {
                Some("gzip" | "GZIP") => gzip(&plain),
                Some("zstd") => zstd::encode_all(&plain[..], 1).unwrap(),
                _ => plain,
            };
            let answer = world.post(content_type, encoding, body).await;
            assert_eq!(answer.status, StatusCode::OK);
            if protobuf {
                assert_eq!((answer.content_type.as_str(), &answer.body[..]), (PROTOBUF, &b""[..]));
            } else {
                assert_eq!((answer.content_type.as_str(), &answer.body[..]), (JSON, &b"{}"[..]));
            }
        }
    }
    assert_eq!(world.seen(), expected);
    let accepted = [("accepted http_json", 30), ("accepted http_protobuf", 15)];
    assert_eq!(world.books(), books(&accepted));
}

#[tokio::test]
async fn http_says_how_many_spans_were_rejected_and_why() {
    let world = World::new();
    let answer = world.post(PROTOBUF, None, partly_invalid().encode_to_vec()).await;
    let response = ExportTraceServiceResponse::decode(answer.body).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (3, REASONS));
    let text = serde_json::to_vec(&partly_invalid()).unwrap();
    let answer = world.post(JSON, None, text).await;
    assert_eq!(answer.status, StatusCode::OK);
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "3");
    assert_eq!(partial["errorMessage"], REASONS);
}

#[tokio::test]
async fn http_overload_is_503_with_the_delay_in_header_and_body() {
    let world = World::refusing(true, false);
    let answer = world.post(PROTOBUF, None, testing::golden(1).encode_to_vec()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let seconds: u64 = answer.retry_after.as_deref().unwrap().parse().unwrap();
    assert!((2..=3).contains(&seconds), "{seconds}");
    let status = answer.status_message();
    assert_eq!(status.code, Code::Unavailable as i32);
    assert_eq!(status.details[0].type_url, RetryInfo::TYPE_URL);
    let info = pb::RetryInfo::decode(&status.details[0].value[..]).unwrap();
    let delay = RetryInfo::from(info).retry_delay.unwrap();
    assert_eq!(delay.as_secs_f64().ceil(), seconds as f64);

    let answer = world.post(JSON, None, serde_json::to_vec(&testing::golden(1)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.retry_after.is_some());
    let status = answer.json();
    assert_eq!(status["code"], Code::Unavailable as i32);
    assert_eq!(status["details"][0]["@type"], RetryInfo::TYPE_URL);
    assert!(status["details"][0]["retryDelay"].as_str().unwrap().ends_with('s'));
    let books = world.books();
    assert_eq!(books["refused http_protobuf overload"], 3);
    // The golden spans have one link each, which has a span id as well.
    assert_eq!(books["refused http_json overload"], 6);
}

#[tokio::test]
async fn http_oversize_is_413_before_and_after_inflation() {
    let world = World::new();
    let plain = oversize().encode_to_vec();
    let zipped = gzip(&plain);
    let zstandard = zstd::encode_all(&plain[..], 1).unwrap();
    for (encoding, body) in
        [(None, plain), (Some("gzip"), zipped), (Some("zstd"), zstandard), (None, amplified())]
    {
        let answer = world.post(PROTOBUF, encoding, body).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.retry_after, None);
        let status = answer.status_message();
        assert_eq!((status.code, status.details.len()), (Code::ResourceExhausted as i32, 0));
    }
    assert_eq!(world.books(), books(&[("failed http_protobuf too_large", 4)]));
}

#[tokio::test]
async fn http_counts_the_bytes_of_a_body_of_unknown_length() {
    let world = World::new();
    let chunks = (0..=LIMIT / 1024).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1024])));
    let body = Body::from_stream(tokio_stream::iter(chunks));
    let request = Request::post("/v1/traces").header("content-type", PROTOBUF).body(body).unwrap();
    assert_eq!(world.send(request).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn http_limits_are_exact() {
    let world = World::new();
    let with_size = |size: usize| {
        let mut request = testing::golden(1);
        request.resource_spans[0].schema_url = "x".repeat(60_000);
        let missing = size - request.encoded_len();
        request.resource_spans[0].schema_url = "x".repeat(60_000 + missing);
        let bytes = request.encode_to_vec();
        assert_eq!(bytes.len(), size);
        bytes
    };
    for (size, status) in [
        (LIMIT - 1, StatusCode::OK),
        (LIMIT, StatusCode::OK),
        (LIMIT + 1, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let bytes = with_size(size);
        assert_eq!(world.post(PROTOBUF, None, bytes.clone()).await.status, status);
        assert_eq!(world.post(PROTOBUF, Some("gzip"), gzip(&bytes)).await.status, status);
    }
}

#[tokio::test]
async fn http_bad_data_is_400_in_the_language_of_the_request() {
    let world = World::new();
    for (encoding, body) in [(None, vec![0xff; 40]), (Some("gzip"), vec![1, 2, 3])] {
        let answer = world.post(PROTOBUF, encoding, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.status_message().code, Code::InvalidArgument as i32);
    }
    let answer = world.post(JSON, None, b"{\"resourceSpans\": NaN}".to_vec()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let status = answer.json();
    assert_eq!(status["code"], Code::InvalidArgument as i32);
    assert!(status["message"].as_str().unwrap().contains("line 1 column"), "{status}");
    let expected = [("failed http_json bad_data", 1), ("failed http_protobuf bad_data", 2)];
    assert_eq!(world.books(), books(&expected));
}

#[tokio::test]
async fn http_refuses_what_it_does_not_speak() {
    let world = World::new();
    for content_type in ["text/plain", "", "application/x-protobuffer"] {
        let answer = world.post(content_type, None, Vec::new()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        assert_eq!(answer.json()["code"], Code::InvalidArgument as i32);
    }
    for encoding in ["br", "deflate", "gzip, gzip"] {
        let answer = world.post(PROTOBUF, Some(encoding), Vec::new()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{encoding}");
    }
    let expected = [
        ("failed http_protobuf unsupported_encoding", 3),
        ("failed http_protobuf unsupported_media_type", 3),
    ];
    assert_eq!(world.books(), books(&expected));
}

#[tokio::test]
async fn http_has_one_path_and_one_method() {
    let world = World::new();
    let get = Request::get("/v1/traces").body(Body::empty()).unwrap();
    let answer = Answer::of(world.receiver.http().oneshot(get).await.unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    for path in ["/", "/v1/metrics", "/v1/traces/"] {
        let request = Request::post(path).body(Body::empty()).unwrap();
        assert_eq!(world.send(request).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn http_keys_written_with_escapes_are_reserved_for_all_the_same() {
    let world = World::new();
    let text = serde_json::to_string(&testing::golden(1)).unwrap();
    let escaped = text.replace("\"spanId\"", "\"span\\u0049d\"");
    let answer = world.post(JSON, None, escaped.into_bytes()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(world.seen().len(), 3);
    let spans: Vec<_> =
        world.intake.state.lock().unwrap().reserved.iter().map(|(spans, _)| *spans).collect();
    assert_eq!(spans, [0, 3]);
    assert_eq!(world.books(), books(&[("accepted http_json", 3)]));
}

#[tokio::test]
async fn the_same_request_leaves_the_same_state_by_every_transport() {
    let request = testing::golden(1);
    let world = World::new();
    world.client().await.export(request.clone()).await.unwrap();
    world.post(PROTOBUF, None, request.encode_to_vec()).await;
    world.post(JSON, None, serde_json::to_vec(&request).unwrap()).await;
    let state = world.intake.state.lock().unwrap();
    assert_eq!(state.spans.len(), 9);
    assert_eq!(state.spans[..3], state.spans[3..6]);
    assert_eq!(state.spans[..3], state.spans[6..]);
}
