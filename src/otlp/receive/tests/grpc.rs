//! What gRPC senders are answered.

use std::time::Duration;

use ::http::Request;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::{RetryInfo, StatusExt, pb};
use tower::ServiceExt as _;

use super::*;

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
    // Without any room the spans are not counted: nothing is read. With room for the body they are.
    let body = testing::golden(1).encoded_len();
    let cases = [(0, false, 1_500, 0), (body + 5, false, 1_500, 3), (1 << 20, true, 2_000, 3)];
    for (room, offer, base_ms, spans) in cases {
        let world = World::with(room, offer);
        let status = world.client().await.export(testing::golden(1)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        let base = Duration::from_millis(base_ms);
        assert!((base..2 * base).contains(&delay), "{delay:?}");
        let trailer = status.metadata().get_bin("google.rpc.retryinfo-bin").unwrap();
        let info = pb::RetryInfo::decode(trailer.to_bytes().unwrap()).unwrap();
        assert_eq!(RetryInfo::from(info).retry_delay, Some(delay));
        let mut expected = books(&[("failed grpc overload", 1)]);
        if spans > 0 {
            expected.insert("refused grpc overload".to_owned(), spans);
        }
        assert_eq!(world.books(), expected);
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
    // What was sent, what was inflated, and nothing for a span.
    let peak = world.intake.state.lock().unwrap().peak;
    assert!(peak <= 2 * LIMIT, "{peak}");
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
async fn answer_raw(world: &World, encoding: Option<&str>, body: Body) -> Response<Body> {
    let mut request = Request::post(EXPORT).header("content-type", "application/grpc+proto");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    world.receiver.grpc().oneshot(request.body(body).unwrap()).await.unwrap()
}

async fn call_raw(world: &World, encoding: Option<&str>, frame: Vec<u8>) -> Status {
    let response = answer_raw(world, encoding, Body::from(frame)).await;
    assert_eq!(response.status(), StatusCode::OK);
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
    assert_final(&call_raw(&world, None, Vec::new()).await, Code::InvalidArgument);
    assert_final(&call_raw(&world, None, vec![0, 0, 0]).await, Code::InvalidArgument);
    assert_final(&call_raw(&world, None, [0; 10].to_vec()).await, Code::InvalidArgument);
    assert_final(&call_raw(&world, Some("br"), corrupt).await, Code::Unimplemented);
    let declared = vec![0, 0xff, 0xff, 0xff, 0xff];
    assert_final(&call_raw(&world, None, declared).await, Code::ResourceExhausted);
    let expected = [
        ("failed grpc bad_data", 8),
        ("failed grpc too_large", 1),
        ("failed grpc unsupported_encoding", 1),
    ];
    assert_eq!(world.books(), books(&expected));
}

#[tokio::test]
async fn the_sender_tells_what_became_of_its_spans() {
    use crate::otlp::send::{SendError, Sender, Sent};
    let world = World::new();
    let endpoint = format!("http://{}", world.serve().await);
    for gzip in [false, true] {
        let mut sender = Sender::connect(&endpoint, gzip).await.unwrap();
        let sent = sender.send(partly_invalid()).await.unwrap();
        assert_eq!(sent, Sent { accepted: 1, rejected: 3, message: REASONS.to_owned() });
    }
    let world = World::with(0, false);
    let endpoint = format!("http://{}", world.serve().await);
    let mut sender = Sender::connect(&endpoint, true).await.unwrap();
    match sender.send(testing::golden(1)).await.unwrap_err() {
        SendError::Refused { code: Code::Unavailable, retry_after: Some(delay), .. } => {
            assert!(delay >= Nanos::from_millis(1_500), "{delay}");
        }
        other => panic!("{other}"),
    }
}

/// A body of these pieces that then neither goes on nor ends.
fn unfinished(pieces: Vec<Vec<u8>>) -> Body {
    use tokio_stream::StreamExt as _;
    let pieces = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
    Body::from_stream(tokio_stream::iter(pieces).chain(tokio_stream::pending()))
}

#[tokio::test(start_paused = true)]
async fn grpc_does_not_wait_for_a_message_that_is_announced_too_large() {
    let world = World::new();
    let prefix = u32::try_from(LIMIT + 1).unwrap().to_be_bytes();
    let body = unfinished(vec![vec![0], prefix.to_vec()]);
    let answered = tokio::time::timeout(Duration::from_secs(1), answer_raw(&world, None, body));
    let status = Status::from_header_map(answered.await.expect("at once").headers()).unwrap();
    assert_final(&status, Code::ResourceExhausted);
    assert!(status.message().contains(&format!("{LIMIT} bytes")), "{}", status.message());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_in_time_may_come_again() {
    let world = World::new();
    let body = unfinished(vec![vec![0, 0, 0, 0, 9], vec![1, 2, 3]]);
    let response = answer_raw(&world, None, body).await;
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let request = Request::post("/v1/traces").header("content-type", JSON);
    let answer = world.send(request.body(unfinished(vec![b"{".to_vec()])).unwrap()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let expected = [("failed grpc timed_out", 1), ("failed http_json timed_out", 1)];
    assert_eq!(world.books(), books(&expected));
}

#[tokio::test]
async fn a_body_is_paid_for_as_it_comes_and_no_more_of_it_is_kept_than_there_is_room_for() {
    let world = World::with(10_000, false);
    let pieces = (0..40).map(|_| vec![0; 1_000]).collect();
    let response = answer_raw(&world, None, unfinished(pieces)).await;
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    let peak = world.intake.state.lock().unwrap().peak;
    assert_eq!(peak, 10_000);
}

#[tokio::test]
async fn a_message_in_pieces_is_the_same_as_in_one() {
    let message = testing::golden(1).encode_to_vec();
    let framed =
        [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
    for size in [1, 4, 5, 6, framed.len()] {
        let world = World::new();
        let pieces = framed.chunks(size).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
        let body = Body::from_stream(tokio_stream::iter(pieces.collect::<Vec<_>>()));
        let response = answer_raw(&world, None, body).await;
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(collected.to_bytes(), vec![0; 5], "the empty answer, framed");
        assert_eq!(world.seen(), testing::oracle(&testing::golden(1)), "{size}");
    }
}

#[tokio::test]
async fn who_does_not_speak_grpc_is_told_in_words() {
    let world = World::new();
    for (method, content_type) in [
        ("POST", "application/json"),
        ("POST", "application/grpc-web"),
        ("GET", "application/grpc"),
    ] {
        let request = Request::builder().method(method).uri(EXPORT);
        let request = request.header("content-type", content_type).body(Body::empty()).unwrap();
        let response = world.receiver.grpc().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
    }
    let response = answer_raw(&world, Some("br"), Body::empty()).await;
    assert_eq!(response.headers()["grpc-accept-encoding"], "identity,gzip,zstd");
}

#[tokio::test]
async fn heavy_requests_are_taken_like_light_ones() {
    // Larger than what is decoded on the spot, plain and compressed.
    let (names, rules) = testing::names_and_rules();
    let state = Arc::default();
    let intake = Arc::new(Memory { names, room: 1 << 30, refuse_offer: false, state });
    let receiver = Receiver::new(Arc::clone(&intake), rules, ReceiveLimits::default());
    let world = World { intake, receiver };
    let mut request = testing::golden(1);
    request.resource_spans[0].schema_url = "x".repeat(2 * LIGHT);
    let body = request.encode_to_vec();
    for (encoding, body) in [(None, body.clone()), (Some("gzip"), gzip(&body))] {
        assert!(body.len() > LIGHT || encoding.is_some());
        assert_eq!(world.post(PROTOBUF, encoding, body).await.status, StatusCode::OK);
    }
    assert_eq!(world.books(), books(&[("accepted http_protobuf", 6)]));
    // What was inflated, what was sent of it again, the spans.
    let peak = world.intake.state.lock().unwrap().peak;
    assert!(peak < 8 * LIGHT, "{peak}");
}
