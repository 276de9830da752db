//! OTLP/gRPC: `opentelemetry.proto.collector.trace.v1.TraceService/Export`.
//!
//! One unary method needs little of a gRPC library: five bytes of framing in, a message and trailers out.
//! Done here, the body is paid for as it arrives and stays bytes until our own walk reads it, and every
//! answer is the one that OTLP asks for: an oversize message must not be sent again, garbage is the
//! sender's fault and not an internal error.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use tonic::Status;

use super::body::Encoding;
use super::collect::{Bounds, collect};
use super::refusal::Refusal;
use super::{Intake, Receiver, Transport, partial_success, retry};
use crate::otlp::sink::Defects;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The routes of the gRPC receiver.
pub(super) fn router<I: Intake>(receiver: Arc<Receiver<I>>) -> Router {
    let unimplemented =
        async || Status::unimplemented("only traces are received here").into_http::<Body>();
    Router::new().route(EXPORT, any(export::<I>)).fallback(unimplemented).with_state(receiver)
}

async fn export<I: Intake>(
    State(receiver): State<Arc<Receiver<I>>>,
    request: Request<Body>,
) -> Response {
    match take(&receiver, request).await {
        Ok(defects) => success(&defects),
        Err(refusal) => {
            let refusal = receiver.refuse(Transport::Grpc, refusal);
            failure(&refusal)
        }
    }
}

async fn take<I: Intake>(
    receiver: &Arc<Receiver<I>>,
    request: Request<Body>,
) -> Result<Defects, Refusal> {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST || !is_grpc(&parts.headers) {
        return Err(Refusal::MediaType("application/grpc"));
    }
    let encoding = Encoding::of(&parts.headers, GRPC_ENCODING).ok_or(Refusal::Encoding)?;
    let mut permit = receiver.intake.admit(&parts.extensions)?;
    let limit = receiver.limits.message_bytes;
    let bounds = Bounds { bytes: limit.saturating_add(PREFIX), within: receiver.body_deadline() };
    let framed = collect(body, bounds, &mut permit, |begin| header(begin, limit).map(drop));
    let framed = framed.await.map_err(|refusal| match refusal {
        // Of the message, not of the message with its prefix.
        Refusal::TooLarge { .. } => Refusal::TooLarge { limit },
        other => other,
    })?;
    let header = header(&framed, limit)?.ok_or(Refusal::Framing("no message"))?;
    let message = framed.slice(PREFIX..);
    if message.len() != header.length {
        return Err(Refusal::Framing("one message was expected, and all of it"));
    }
    let encoding = match (header.compressed, encoding) {
        (false, _) => Encoding::Identity,
        (true, Encoding::Identity) => {
            return Err(Refusal::Framing("compressed, but not said how"));
        }
        (true, encoding) => encoding,
    };
    receiver.digest(Transport::Grpc, encoding, message, permit).await
}

/// `application/grpc`, and what may follow it.
fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = value.and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Before each message: a flag and a length.
const PREFIX: usize = 5;

struct MessageHeader {
    compressed: bool,
    length: usize,
}

/// What the prefix says, once it is there. Whoever announces too much is not waited for.
fn header(begin: &[u8], limit: usize) -> Result<Option<MessageHeader>, Refusal> {
    let Some(&[flag, a, b, c, d]) = begin.first_chunk::<PREFIX>() else { return Ok(None) };
    let compressed = match flag {
        0 => false,
        1 => true,
        _ => return Err(Refusal::Framing("invalid message prefix")),
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > limit {
        return Err(Refusal::TooLarge { limit });
    }
    Ok(Some(MessageHeader { compressed, length }))
}

fn success(defects: &Defects) -> Response {
    let partial_success = partial_success(defects).map(|(rejected_spans, error_message)| {
        ExportTracePartialSuccess { rejected_spans, error_message }
    });
    let answer = ExportTraceServiceResponse { partial_success };
    let length = answer.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).expect("a count and a line of text"));
    answer.encode(&mut framed).expect("there is room");
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(framed)).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

fn failure(refusal: &Refusal) -> Response {
    if let Refusal::MediaType(_) = refusal {
        // Who does not speak gRPC would not understand its status.
        let mut response = Response::new(Body::from(format!("{refusal}\n")));
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    let message = refusal.to_string();
    let status = match refusal.retry_after() {
        Some(delay) => retry::unavailable(&message, delay),
        None => Status::new(refusal.code(), message),
    };
    let mut response = status.into_http::<Body>();
    if let Refusal::Encoding = refusal {
        let spoken = HeaderValue::from_static("identity,gzip,zstd");
        response.headers_mut().insert(GRPC_ACCEPT_ENCODING, spoken);
    }
    response
}
