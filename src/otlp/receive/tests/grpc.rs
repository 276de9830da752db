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
    let world = World::refusing(true, false);
    let endpoint = format!("http://{}", world.serve().await);
    let mut sender = Sender::connect(&endpoint, true).await.unwrap();
    match sender.send(testing::golden(1)).await.unwrap_err() {
        SendError::Refused { code: Code::Unavailable, retry_after: Some(delay), .. } => {
            assert!(delay >= Nanos::from_millis(1_500), "{delay}");
        }
        other => panic!("{other}"),
    }
}
