//! The other direction: spans into OTLP requests and over gRPC, for the demo's shop and for tests.
//!
//! Uses the generated messages and tonic's client, on purpose: what is sent here is what other people's
//! exporters send, not what our own walk would like to read. Not made for speed, and never resends.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;

use crate::model::{Nanos, SpanId, SpanKind, Timestamp, TraceId};

/// A span on its way out.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingSpan<'a> {
    /// `service.name` of its resource.
    pub service: &'a str,
    /// The other attributes of its resource, as (name, value).
    pub resource: &'a [(&'a str, &'a str)],
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub id: SpanId,
    /// The span that caused it.
    pub parent: Option<SpanId>,
    /// What it does.
    pub name: &'a str,
    /// In which role.
    pub kind: SpanKind,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its attributes, as (name, value).
    pub attributes: &'a [(&'a str, &'a str)],
    /// Whether its status is ERROR.
    pub failed: bool,
}

/// One request of all these spans: a resource for each distinct service and attributes, in the order of
/// their first span.
pub fn request(spans: &[OutgoingSpan<'_>]) -> ExportTraceServiceRequest {
    let mut places = HashMap::new();
    let mut resource_spans: Vec<ResourceSpans> = Vec::new();
    for span in spans {
        let place = *places.entry((span.service, span.resource)).or_insert_with(|| {
            resource_spans.push(empty_resource(span));
            resource_spans.len() - 1
        });
        resource_spans[place].scope_spans[0].spans.push(generated(span));
    }
    ExportTraceServiceRequest { resource_spans }
}

fn empty_resource(span: &OutgoingSpan<'_>) -> ResourceSpans {
    let service = ("service.name", span.service);
    let attributes = std::iter::once(&service).chain(span.resource).map(attribute).collect();
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans::default()],
        ..ResourceSpans::default()
    }
}

fn generated(span: &OutgoingSpan<'_>) -> Span {
    let parent = span.parent.map(|parent| parent.get().to_be_bytes().to_vec());
    let error = Status { code: StatusCode::Error.into(), ..Status::default() };
    Span {
        trace_id: span.trace.get().to_be_bytes().to_vec(),
        span_id: span.id.get().to_be_bytes().to_vec(),
        parent_span_id: parent.unwrap_or_default(),
        name: span.name.to_owned(),
        kind: span.kind as i32,
        start_time_unix_nano: span.start.0,
        end_time_unix_nano: span.end.0,
        attributes: span.attributes.iter().map(attribute).collect(),
        status: span.failed.then_some(error),
        ..Span::default()
    }
}

fn attribute((name, value): &(&str, &str)) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue((*value).to_owned())) });
    KeyValue { key: (*name).to_owned(), value, ..KeyValue::default() }
}

/// A connection to an OTLP/gRPC receiver. Clones share it.
#[derive(Clone, Debug)]
pub struct Sender {
    client: TraceServiceClient<Channel>,
}

/// What became of a request that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Spans taken.
    pub accepted: u64,
    /// Spans that were not, and are not to be sent again.
    pub rejected: u64,
    /// What the receiver says of them; empty if there are none.
    pub message: String,
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Not an address.
    #[error("not an endpoint: {0:?}; expected something like http://127.0.0.1:4317")]
    Endpoint(String),
    /// Nobody there.
    #[error("cannot connect to {endpoint}: {error}")]
    Connect {
        /// Where to.
        endpoint: String,
        /// Why not.
        #[source]
        error: tonic::transport::Error,
    },
    /// The receiver, or the way to it, refused.
    #[error("refused ({code:?}): {message}")]
    Refused {
        /// gRPC's code.
        code: tonic::Code,
        /// What the receiver says.
        message: String,
        /// When to come back; `None` if the receiver does not say.
        retry_after: Option<Nanos>,
    },
}

impl Sender {
    /// How long a connection or a request may take: what the Collector's exporter allows.
    const TIMEOUT: Duration = Duration::from_secs(5);

    /// Connects to `endpoint`, such as `http://127.0.0.1:4317`; with `gzip` requests are compressed.
    pub async fn connect(endpoint: &str, gzip: bool) -> Result<Sender, SendError> {
        let address = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|_| SendError::Endpoint(endpoint.to_owned()))?
            .connect_timeout(Sender::TIMEOUT)
            .timeout(Sender::TIMEOUT);
        let channel = address.connect().await.map_err(|error| {
            let endpoint = endpoint.to_owned();
            SendError::Connect { endpoint, error }
        })?;
        let mut client = TraceServiceClient::new(channel);
        if gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        Ok(Sender { client })
    }

    /// Sends a request and waits for the answer.
    pub async fn send(&mut self, request: ExportTraceServiceRequest) -> Result<Sent, SendError> {
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let sent: u64 = scopes.map(|scope| scope.spans.len() as u64).sum();
        let answer = self.client.export(request).await.map_err(|status| {
            let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
            let nanos =
                |delay: Duration| Nanos(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX));
            SendError::Refused {
                code: status.code(),
                message: status.message().to_owned(),
                retry_after: delay.map(nanos),
            }
        })?;
        let partial = answer.into_inner().partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0).min(sent);
        Ok(Sent { accepted: sent - rejected, rejected, message: partial.error_message })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prost::Message as _;

    use super::*;
    use crate::otlp::sink::Batch;
    use crate::otlp::{CostLimits, Decoder, testing, wire};

    const POD: &[(&str, &str)] = &[("k8s.pod.name", "cart-1")];

    fn span(service: &'static str, id: u64) -> OutgoingSpan<'static> {
        OutgoingSpan {
            service,
            resource: POD,
            trace: TraceId::new(7).unwrap(),
            id: SpanId::new(id).unwrap(),
            parent: SpanId::new(id - 1),
            name: "GET /items",
            kind: SpanKind::Client,
            start: Timestamp(10),
            end: Timestamp(20),
            attributes: &[("peer.service", "database")],
            failed: id == 2,
        }
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let spans = [span("cart", 1), span("shop", 2), span("cart", 3)];
        let request = request(&spans);
        let message = request.encode_to_vec();
        let (names, rules) = testing::names_and_rules();
        let mut batch = Batch::default();
        let checked = wire::count(&message, &CostLimits::default()).unwrap();
        Decoder::new(Arc::clone(&names), rules).protobuf(&checked, &mut batch).unwrap();
        let seen = testing::seen(&batch.spans, &names);
        let expected = |service: &str, id: u64| testing::Seen {
            trace: 7,
            id,
            parent: (id > 1).then(|| id - 1),
            service: service.to_owned(),
            name: "GET /items".to_owned(),
            kind: "SPAN_KIND_CLIENT",
            times: (10, 20),
            peer: Some("database".to_owned()),
            attributes: vec![("k8s.pod.name".to_owned(), "cart-1".to_owned())],
            failed: id == 2,
        };
        // By resource, in the order of first sight.
        assert_eq!(seen, [expected("cart", 1), expected("cart", 3), expected("shop", 2)]);
    }

    #[test]
    fn the_same_service_on_two_instances_is_two_resources() {
        let other = OutgoingSpan { resource: &[("k8s.pod.name", "cart-2")], ..span("cart", 2) };
        assert_eq!(request(&[span("cart", 1), other]).resource_spans.len(), 2);
        assert_eq!(request(&[]).resource_spans.len(), 0);
    }

    #[tokio::test]
    async fn who_cannot_be_reached_is_named() {
        let error = Sender::connect("not an address", false).await.unwrap_err();
        assert!(error.to_string().starts_with("not an endpoint: \"not an address\""), "{error}");
        // Bound and closed again, so that nobody listens there.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let endpoint = format!("http://{free}");
        let error = Sender::connect(&endpoint, false).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot connect to {endpoint}")), "{error}");
    }
}
