//! OTLP/HTTP: `POST /v1/traces` with protobuf or JSON.
//!
//! Answers are in the language of the request; what has none (a wrong content type, a wrong path) is answered
//! in JSON, which people can read.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use tonic::Code;
use tonic_types::{ErrorDetails, RetryInfo, StatusExt};

use super::body::Encoding;
use super::collect::{Bounds, collect};
use super::refusal::Refusal;
use super::{Intake, Receiver, Transport, partial_success, retry};
use crate::model::Nanos;
use crate::otlp::sink::Defects;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The routes of the HTTP receiver.
pub(super) fn router<I: Intake>(receiver: Arc<Receiver<I>>) -> Router {
    let wrong_method = async || {
        let error = HttpError::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, "use POST");
        error.response(Language::Json)
    };
    let wrong_path = async || {
        let message = "nothing here; traces go to /v1/traces";
        HttpError::new(StatusCode::NOT_FOUND, Code::NotFound, message).response(Language::Json)
    };
    Router::new()
        .route("/v1/traces", post(export::<I>))
        .method_not_allowed_fallback(wrong_method)
        .fallback(wrong_path)
        .with_state(receiver)
}

async fn export<I: Intake>(
    State(receiver): State<Arc<Receiver<I>>>,
    request: Request<Body>,
) -> Response {
    let Some(language) = Language::of(request.headers()) else {
        // By which transport it is counted makes no difference to the sender.
        let refusal = Refusal::MediaType("application/x-protobuf or application/json");
        let refusal = receiver.refuse(Transport::HttpProtobuf, refusal);
        return HttpError::of(&refusal).response(Language::Json);
    };
    match take(&receiver, language.transport(), request).await {
        Ok(defects) => language.success(&defects),
        Err(refusal) => {
            let refusal = receiver.refuse(language.transport(), refusal);
            HttpError::of(&refusal).response(language)
        }
    }
}

async fn take<I: Intake>(
    receiver: &Arc<Receiver<I>>,
    transport: Transport,
    request: Request<Body>,
) -> Result<Defects, Refusal> {
    let (parts, body) = request.into_parts();
    let encoding = Encoding::of(&parts.headers, CONTENT_ENCODING).ok_or(Refusal::Encoding)?;
    let mut permit = receiver.intake.admit(&parts.extensions)?;
    let bounds = Bounds { bytes: receiver.limits.message_bytes, within: receiver.body_deadline() };
    let sent = collect(body, bounds, &mut permit, |_| Ok(())).await?;
    receiver.digest(transport, encoding, sent, permit).await
}

/// What the sender speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Language {
    Protobuf,
    Json,
}

impl Language {
    /// By the content type; parameters such as `charset` do not matter.
    fn of(headers: &HeaderMap) -> Option<Language> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next()?.trim();
        if essence.eq_ignore_ascii_case(PROTOBUF) {
            Some(Language::Protobuf)
        } else if essence.eq_ignore_ascii_case(JSON) {
            Some(Language::Json)
        } else {
            None
        }
    }

    fn transport(self) -> Transport {
        match self {
            Language::Protobuf => Transport::HttpProtobuf,
            Language::Json => Transport::HttpJson,
        }
    }

    fn success(self, defects: &Defects) -> Response {
        let partial = partial_success(defects).map(|(rejected_spans, error_message)| {
            ExportTracePartialSuccess { rejected_spans, error_message }
        });
        let body = match (self, partial) {
            (Language::Protobuf, partial_success) => {
                Bytes::from(ExportTraceServiceResponse { partial_success }.encode_to_vec())
            }
            (Language::Json, None) => Bytes::from_static(b"{}"),
            (Language::Json, Some(partial)) => {
                // 64-bit numbers are strings in protobuf's JSON.
                let partial = serde_json::json!({"partialSuccess": {
                    "rejectedSpans": partial.rejected_spans.to_string(),
                    "errorMessage": partial.error_message,
                }});
                Bytes::from(partial.to_string())
            }
        };
        self.respond(StatusCode::OK, body)
    }

    fn respond(self, status: StatusCode, body: Bytes) -> Response {
        let content_type = match self {
            Language::Protobuf => PROTOBUF,
            Language::Json => JSON,
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

/// A `google.rpc.Status` under an HTTP status.
#[derive(Debug)]
struct HttpError {
    status: StatusCode,
    code: Code,
    message: String,
    retry_after: Option<Nanos>,
}

impl HttpError {
    fn new(status: StatusCode, code: Code, message: impl Into<String>) -> HttpError {
        HttpError { status, code, message: message.into(), retry_after: None }
    }

    fn of(refusal: &Refusal) -> HttpError {
        let retry_after = refusal.retry_after();
        let error = HttpError::new(refusal.http_status(), refusal.code(), refusal.to_string());
        HttpError { retry_after, ..error }
    }

    fn response(&self, language: Language) -> Response {
        let body = match language {
            Language::Protobuf => self.protobuf(),
            Language::Json => self.json(),
        };
        let mut response = language.respond(self.status, body);
        if let Some(retry_after) = self.retry_after {
            let seconds = HeaderValue::from(retry::whole_seconds(retry_after));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }

    /// gRPC's status details are this very message.
    fn protobuf(&self) -> Bytes {
        let mut details = ErrorDetails::new();
        if let Some(retry_after) = self.retry_after {
            details.set_retry_info(Some(Duration::from_nanos(retry_after.0)));
        }
        let status = tonic::Status::with_error_details(self.code, self.message.as_str(), details);
        Bytes::copy_from_slice(status.details())
    }

    fn json(&self) -> Bytes {
        let mut status = serde_json::json!({"code": i32::from(self.code), "message": self.message});
        if let Some(retry_after) = self.retry_after {
            let (seconds, nanos) = (retry_after.0 / 1_000_000_000, retry_after.0 % 1_000_000_000);
            let delay = format!("{seconds}.{nanos:09}s");
            status["details"] =
                serde_json::json!([{"@type": RetryInfo::TYPE_URL, "retryDelay": delay}]);
        }
        Bytes::from(status.to_string())
    }
}
