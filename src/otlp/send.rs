//! The other direction: spans as a real OTLP request, and a client to send it with.
//!
//! For the demo and for tests. Uses the official messages, so it cannot share a mistake with the
//! decoder.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;

use crate::model::{SpanId, SpanKind, Timestamp, TraceId};

/// A span to be sent.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingSpan<'a> {
    /// `service.name`.
    pub service: &'a str,
    /// The resource's other attributes.
    pub resource: &'a [(&'a str, &'a str)],
    /// The trace.
    pub trace: TraceId,
    /// This span.
    pub id: SpanId,
    /// The span that caused it.
    pub parent: Option<SpanId>,
    /// What was done.
    pub name: &'a str,
    /// In which role.
    pub kind: SpanKind,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// What else it says.
    pub attributes: &'a [(&'a str, &'a str)],
    /// Its status is ERROR.
    pub failed: bool,
}

/// One request with all the spans; neighbours of the same resource share it.
pub fn request(spans: &[OutgoingSpan<'_>]) -> ExportTraceServiceRequest {
    let same = |one: &OutgoingSpan<'_>, two: &OutgoingSpan<'_>| {
        one.service == two.service && one.resource == two.resource
    };
    let resource_spans = spans.chunk_by(same).map(|spans| {
        let mut attributes = vec![key_value("service.name", spans[0].service)];
        attributes.extend(spans[0].resource.iter().map(|(name, value)| key_value(name, value)));
        let spans = spans.iter().map(span).collect();
        ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

fn span(span: &OutgoingSpan<'_>) -> Span {
    /// OTLP's status code ERROR.
    const ERROR: i32 = 2;
    let parent = span.parent.map(|parent| parent.get().to_be_bytes().to_vec());
    Span {
        trace_id: span.trace.get().to_be_bytes().to_vec(),
        span_id: span.id.get().to_be_bytes().to_vec(),
        parent_span_id: parent.unwrap_or_default(),
        name: span.name.to_owned(),
        kind: span.kind as i32,
        start_time_unix_nano: span.start.0,
        end_time_unix_nano: span.end.0,
        attributes: span.attributes.iter().map(|(name, value)| key_value(name, value)).collect(),
        status: span.failed.then(|| Status { code: ERROR, ..Status::default() }),
        ..Span::default()
    }
}

fn key_value(name: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nobody there.
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// Refused.
    #[error("refused: {0}")]
    Refused(Box<tonic::Status>),
}

/// Sends requests over gRPC, compressed as the Collector does.
pub struct Sender {
    client: TraceServiceClient<Channel>,
}

impl Sender {
    /// Connects to `http://host:port`.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn connect(endpoint: String) -> Result<Sender, SendError> {
        let client = TraceServiceClient::connect(endpoint).await?;
        Ok(Sender { client: client.send_compressed(CompressionEncoding::Gzip) })
    }

    /// Sends a request; tells how many of its spans were rejected.
    ///
    /// # Errors
    /// The request was refused as a whole.
    pub async fn send(&mut self, request: ExportTraceServiceRequest) -> Result<u64, SendError> {
        let answer = self.client.export(request).await;
        let answer = answer.map_err(|status| SendError::Refused(Box::new(status)))?.into_inner();
        let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }
}
