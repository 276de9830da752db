//! OTLP/HTTP: `POST /v1/traces`, protobuf and JSON.
//!
//! Answers speak the request's own language: a body of the same content type, an error as
//! `google.rpc.Status`. 400, 413 and 415 are final, 503 says when to come again.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;
use tonic::Code;

use super::grpc::unavailable;
use super::inflate::{Compression, InflateError};
use super::intake::{Desk, Encoding, Intake, Refusal, Transport, rejection};
use crate::model::Nanos;
use crate::otlp::Defects;

/// The receiver's routes in front of a desk.
pub fn router<I: Intake>(desk: Arc<Desk<I>>) -> Router {
    Router::new()
        .route("/v1/traces", post(export::<I>))
        .method_not_allowed_fallback(|| async { StatusCode::METHOD_NOT_ALLOWED })
        .with_state(desk)
}

async fn export<I: Intake>(State(desk): State<Arc<Desk<I>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(encoding) = encoding_of(&parts.headers) else {
        desk.failed(Transport::Http, "unsupported_media_type");
        let problem = Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expected content type application/x-protobuf or application/json",
        );
        return problem.answer(Encoding::Json);
    };
    let result = match read(&desk, &parts.headers, body).await {
        Ok(message) => desk
            .accept(Transport::Http, encoding, &message)
            .map_err(|refusal| Problem::of(&refusal)),
        Err((reason, problem)) => {
            desk.failed(Transport::Http, reason);
            Err(problem)
        }
    };
    match result {
        Ok(defects) => success(encoding, &defects),
        Err(problem) => problem.answer(encoding),
    }
}

/// A parameter such as `charset=utf-8` changes nothing.
fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/x-protobuf") {
        Some(Encoding::Protobuf)
    } else if kind.eq_ignore_ascii_case("application/json") {
        Some(Encoding::Json)
    } else {
        None
    }
}

/// The message, as it was before it was compressed.
async fn read<I: Intake>(
    desk: &Desk<I>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, (&'static str, Problem)> {
    let named = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    let Some(compression) = Compression::named(named.unwrap_or_default()) else {
        let problem = Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expected content encoding gzip, zstd or none",
        );
        return Err(("unsupported_encoding", problem));
    };
    let limit = desk.limits.bytes;
    let too_large =
        |message: String| ("too_large", Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    let bad = |message: String| ("bad_data", Problem::new(StatusCode::BAD_REQUEST, message));
    let body = match Limited::new(body, limit).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(too_large(format!("larger than {limit} bytes; send smaller batches")));
        }
        Err(error) => return Err(bad(format!("the body ended early: {error}"))),
    };
    compression.inflate(body, limit).map_err(|error| match error {
        InflateError::TooLarge(_) => too_large(error.to_string()),
        InflateError::Bad(_) => bad(error.to_string()),
    })
}

fn success(encoding: Encoding, defects: &Defects) -> Response {
    let rejected = rejection(defects).map(|message| (defects.total(), message));
    match encoding {
        Encoding::Protobuf => {
            let partial_success = rejected.map(|(count, error_message)| {
                let rejected_spans = i64::try_from(count).unwrap_or(i64::MAX);
                ExportTracePartialSuccess { rejected_spans, error_message }
            });
            let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
            with_type(StatusCode::OK, encoding, body)
        }
        Encoding::Json => {
            let body = match rejected {
                None => json!({}),
                Some((count, message)) => json!({
                    "partialSuccess": { "rejectedSpans": count.to_string(), "errorMessage": message }
                }),
            };
            with_type(StatusCode::OK, encoding, body.to_string().into_bytes())
        }
    }
}

fn with_type(status: StatusCode, encoding: Encoding, body: Vec<u8>) -> Response {
    let kind = match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    };
    (status, [(CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
}

/// An answer that is no success.
struct Problem {
    status: StatusCode,
    message: String,
    retry_after: Option<Nanos>,
}

impl Problem {
    fn new(status: StatusCode, message: impl Into<String>) -> Problem {
        Problem { status, message: message.into(), retry_after: None }
    }

    fn of(refusal: &Refusal) -> Problem {
        let (status, retry_after) = match refusal {
            Refusal::Bad(_) => (StatusCode::BAD_REQUEST, None),
            Refusal::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, None),
            Refusal::Overloaded { retry_after } => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(*retry_after))
            }
        };
        Problem { status, message: refusal.to_string(), retry_after }
    }

    /// `google.rpc.Status` in the request's content type.
    fn answer(self, encoding: Encoding) -> Response {
        let body = match encoding {
            Encoding::Protobuf => self.protobuf(),
            Encoding::Json => self.json(),
        };
        let mut response = with_type(self.status, encoding, body);
        if let Some(delay) = self.retry_after {
            // Whole seconds, rounded up: too early is of no use.
            let seconds = delay.0.div_ceil(1_000_000_000);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn code(&self) -> Code {
        match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            _ => Code::InvalidArgument,
        }
    }

    fn protobuf(&self) -> Vec<u8> {
        if let Some(delay) = self.retry_after {
            // The details of a gRPC status are this very message.
            return unavailable(&self.message, delay).details().to_vec();
        }
        let (code, message) = (self.code() as i32, self.message.clone());
        tonic_types::Status { code, message, details: Vec::new() }.encode_to_vec()
    }

    fn json(&self) -> Vec<u8> {
        let mut status = json!({ "code": self.code() as i32, "message": self.message });
        if let Some(delay) = self.retry_after {
            let delay = format!("{}s", delay.as_secs_f64());
            status["details"] = json!([{ "@type": RETRY_INFO, "retryDelay": delay }]);
        }
        status.to_string().into_bytes()
    }
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
