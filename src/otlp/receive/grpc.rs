//! OTLP/gRPC: `opentelemetry.proto.collector.trace.v1.TraceService/Export`.
//!
//! tonic does HTTP/2, framing and decompression; the message stays bytes until our own walk reads it. What
//! tonic answers by itself is corrected where OTLP asks for something else: an oversize message must not
//! be sent again, and garbage is the sender's fault, not an internal error.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use tonic::body::Body;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Code, Request, Response, Status};

use super::{Failure, Intake, Receiver, Refusal, Transport, partial_success, retry};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The service as tonic routes it.
pub struct TraceService<I> {
    receiver: Arc<Receiver<I>>,
}

impl<I> TraceService<I> {
    pub(super) fn new(receiver: Arc<Receiver<I>>) -> TraceService<I> {
        TraceService { receiver }
    }
}

impl<I> Clone for TraceService<I> {
    fn clone(&self) -> TraceService<I> {
        TraceService { receiver: Arc::clone(&self.receiver) }
    }
}

impl<I> NamedService for TraceService<I> {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl<I: Intake> tower::Service<http::Request<Body>> for TraceService<I> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> ResponseFuture {
        if request.uri().path() != EXPORT {
            return Box::pin(ready(Ok(Status::unimplemented("unknown method").into_http())));
        }
        let service = self.clone();
        Box::pin(async move {
            let limit = service.receiver.limits.message_bytes;
            let mut grpc = Grpc::new(RawCodec)
                .max_decoding_message_size(limit)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd);
            let receiver = Arc::clone(&service.receiver);
            let response = grpc.unary(service, request).await;
            Ok(match response.extensions().get::<Status>() {
                Some(status) => {
                    let (status, failure) = settle(status.clone(), limit);
                    receiver.intake.failed(Transport::Grpc, failure);
                    status.into_http()
                }
                None => response,
            })
        })
    }
}

/// The status as OTLP wants it, and under which reason it is counted.
fn settle(status: Status, limit: usize) -> (Status, Failure) {
    match status.code() {
        // Both are tonic's words for the size limit. OTLP calls the first one retryable.
        Code::OutOfRange => {
            (too_large(format!("message larger than {limit} bytes")), Failure::TooLarge)
        }
        Code::ResourceExhausted => (status, Failure::TooLarge),
        Code::InvalidArgument => (status, Failure::BadData),
        // Broken framing or compression.
        Code::Internal => {
            (Status::invalid_argument("invalid gRPC framing or compression"), Failure::BadData)
        }
        Code::Unimplemented => (status, Failure::UnsupportedEncoding),
        Code::Unavailable => (status, Failure::Overloaded),
        _ => (status, Failure::Aborted),
    }
}

fn too_large(message: String) -> Status {
    // Without RetryInfo this tells the sender not to try again.
    Status::resource_exhausted(message)
}

impl<I: Intake> UnaryService<Bytes> for TraceService<I> {
    type Response = ExportTraceServiceResponse;
    type Future = std::future::Ready<Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let taken = self.receiver.take(Transport::Grpc, request.get_ref());
        ready(match taken {
            Ok(defects) => Ok(Response::new(ExportTraceServiceResponse {
                partial_success: partial_success(&defects).map(
                    |(rejected_spans, error_message)| ExportTracePartialSuccess {
                        rejected_spans,
                        error_message,
                    },
                ),
            })),
            Err(refusal) => Err(status(&refusal)),
        })
    }
}

fn status(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::Overloaded { retry_after } => retry::unavailable(&message, *retry_after),
        Refusal::Undecodable(error) if error.is_too_large() => too_large(message),
        Refusal::Undecodable(_) => Status::invalid_argument(message),
    }
}

/// Requests stay bytes, shared with the buffer they came in; answers are the generated message.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = ExportTraceServiceResponse;
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

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}

impl Encoder for RawCodec {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(target).map_err(|error| Status::internal(error.to_string()))
    }
}
