//! OTLP/gRPC: the trace service on tonic, without tonic's generated messages.
//!
//! The request stays bytes until the shared walk picks the spans off it; HTTP/2, framing and
//! compression are tonic's. Answers are what OTLP clients understand: INVALID_ARGUMENT and
//! RESOURCE_EXHAUSTED are final, UNAVAILABLE carries when to come again, in both places where clients
//! look for it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http_body::Body;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::codec::{
    Codec, CompressionEncoding, DecodeBuf, Decoder, EnabledCompressionEncodings, EncodeBuf, Encoder,
};
use tonic::metadata::BinaryMetadataValue;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::intake::{Desk, Encoding, Intake, Refusal, Transport, rejection};
use crate::model::Nanos;

/// `opentelemetry.proto.collector.trace.v1.TraceService`.
pub struct TraceService<I: Intake> {
    desk: Arc<Desk<I>>,
}

impl<I: Intake> TraceService<I> {
    /// The service in front of a desk.
    pub fn new(desk: Arc<Desk<I>>) -> TraceService<I> {
        TraceService { desk }
    }
}

impl<I: Intake> Clone for TraceService<I> {
    fn clone(&self) -> TraceService<I> {
        TraceService { desk: Arc::clone(&self.desk) }
    }
}

impl<I: Intake> NamedService for TraceService<I> {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

type Answer = http::Response<tonic::body::Body>;

impl<I, B> tower::Service<http::Request<B>> for TraceService<I>
where
    I: Intake,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let desk = Arc::clone(&self.desk);
        Box::pin(async move {
            if request.uri().path() != EXPORT {
                let status = Status::unimplemented("the trace service has one method, Export");
                return Ok(status.into_http());
            }
            let mut accept = EnabledCompressionEncodings::default();
            accept.enable(CompressionEncoding::Gzip);
            accept.enable(CompressionEncoding::Zstd);
            let mut grpc = Grpc::new(RawCodec)
                .apply_compression_config(accept, EnabledCompressionEncodings::default())
                .apply_max_message_size_config(Some(desk.limits.bytes), None);
            let mut answer = grpc.unary(Export { desk: Arc::clone(&desk) }, request).await;
            if let Some(reason) = correct_status(&mut answer) {
                desk.failed(Transport::Grpc, reason);
            }
            Ok(answer)
        })
    }
}

/// tonic answers what it refuses itself with codes that OTLP clients would retry on, or that say
/// nothing. Returns the reason where it was tonic that refused.
fn correct_status(answer: &mut Answer) -> Option<&'static str> {
    let is = |code: Code| {
        let status = answer.headers().get(Status::GRPC_STATUS);
        status.is_some_and(|value| value.as_bytes() == (code as i32).to_string().as_bytes())
    };
    let (code, reason) = match () {
        () if is(Code::OutOfRange) => (Code::ResourceExhausted, "too_large"),
        () if is(Code::Internal) || is(Code::Unknown) => (Code::InvalidArgument, "bad_data"),
        () if is(Code::Unimplemented) => return Some("unsupported_encoding"),
        () => return None,
    };
    let message = match code {
        Code::ResourceExhausted => "larger than a request may be; send smaller batches",
        _ => "not a gRPC message, or not compressed as it says",
    };
    *answer = Status::new(code, message).into_http();
    Some(reason)
}

struct Export<I: Intake> {
    desk: Arc<Desk<I>>,
}

impl<I: Intake> UnaryService<Bytes> for Export<I> {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let message = request.into_inner();
        let result = self.desk.accept(Transport::Grpc, Encoding::Protobuf, &message);
        let answer = result.map_err(|refusal| status_of(&refusal)).map(|defects| {
            let partial_success = rejection(&defects).map(|error_message| {
                let rejected_spans = i64::try_from(defects.total()).unwrap_or(i64::MAX);
                ExportTracePartialSuccess { rejected_spans, error_message }
            });
            let response = ExportTraceServiceResponse { partial_success };
            Response::new(Bytes::from(response.encode_to_vec()))
        });
        std::future::ready(answer)
    }
}

fn status_of(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Bad(_) => Status::invalid_argument(refusal.to_string()),
        Refusal::TooLarge(_) => Status::resource_exhausted(refusal.to_string()),
        Refusal::Overloaded { retry_after } => unavailable(&refusal.to_string(), *retry_after),
    }
}

/// The Collector reads `grpc-status-details-bin`, the Python SDK the trailer of its own.
pub(super) fn unavailable(message: &str, retry_after: Nanos) -> Status {
    let delay = Duration::from_nanos(retry_after.0);
    let details = ErrorDetails::with_retry_info(Some(delay));
    let mut status = Status::with_error_details(Code::Unavailable, message, details);
    let retry_info = tonic_types::pb::RetryInfo { retry_delay: delay.try_into().ok() };
    let trailer = BinaryMetadataValue::from_bytes(&retry_info.encode_to_vec());
    status.metadata_mut().insert_bin("google.rpc.retryinfo-bin", trailer);
    status
}

/// Messages are bytes here.
#[derive(Clone, Copy, Default)]
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

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
