//! The two servers that laghound is compared with beside the Collector: what decoding alone costs, and
//! what the transport alone costs. Both drop what they get.
//!
//! They run in a process of their own, with the optimisation of a release and mimalloc, as a sidecar that
//! did nothing else would be built. Settings of the transport are tonic's and hyper's defaults; only the
//! limit of a message is raised.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderValue;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};

const LIMIT: usize = 64 << 20;

/// Serves the generated service: every message is decoded as a whole, and dropped.
pub(crate) async fn serve_decode(grpc: u16, http: u16) {
    let service = TraceServiceServer::new(Decode)
        .max_decoding_message_size(LIMIT)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", http)).await.expect("a free port");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(decode_http);
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    let server = tonic::transport::Server::builder().add_service(service);
    server.serve(([127, 0, 0, 1], grpc).into()).await.expect("the server runs");
}

/// Serves raw bytes: a message is read and decompressed, and dropped.
pub(crate) async fn serve_raw(grpc: u16) {
    let server = tonic::transport::Server::builder().add_service(Raw);
    server.serve(([127, 0, 0, 1], grpc).into()).await.expect("the server runs");
}

struct Decode;

#[tonic::async_trait]
impl TraceService for Decode {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        drop(std::hint::black_box(request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn decode_http(
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut answer = http::Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = match drop_message(&head.headers, &body) {
        Some(()) => http::StatusCode::OK,
        None => http::StatusCode::BAD_REQUEST,
    };
    Ok(answer)
}

fn drop_message(headers: &http::HeaderMap, body: &[u8]) -> Option<()> {
    let mut inflated = Vec::new();
    let message = match headers.get(http::header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None => body,
        Some(b"gzip") => {
            flate2::bufread::MultiGzDecoder::new(body).read_to_end(&mut inflated).ok()?;
            &inflated[..]
        }
        Some(_) => return None,
    };
    drop(std::hint::black_box(ExportTraceServiceRequest::decode(message).ok()?));
    Some(())
}

/// The service that looks at nothing.
#[derive(Clone)]
struct Raw;

impl NamedService for Raw {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

type RawResponse = http::Response<tonic::body::Body>;

impl tower::Service<http::Request<tonic::body::Body>> for Raw {
    type Response = RawResponse;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<RawResponse, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(RawCodec)
                .max_decoding_message_size(LIMIT)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd);
            Ok(grpc.unary(Raw, request).await)
        })
    }
}

impl UnaryService<Bytes> for Raw {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        drop(std::hint::black_box(request.into_inner()));
        // A response without fields has no bytes.
        ready(Ok(Response::new(Bytes::new())))
    }
}

struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawCodec;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> RawCodec {
        RawCodec
    }

    fn decoder(&mut self) -> RawCodec {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, _: Bytes, _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}
