//! One span of one operation, encoded once, with holes for what differs between two of its spans.
//!
//! Encoded by the generated messages with marks in the holes; where the marks are is looked up, so the
//! layout is theirs and not copied here.

use std::sync::OnceLock;

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

/// What goes into the holes.
pub(crate) struct Hole {
    pub(crate) trace: u128,
    pub(crate) span: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Eight digits that make URLs and statements differ.
    pub(crate) number: u32,
}

/// A span as bytes, the tag and length of the list it is in included.
pub(crate) struct Template {
    bytes: Vec<u8>,
    trace: usize,
    span: usize,
    parent: Option<usize>,
    start: usize,
    end: usize,
    number: usize,
}

const TRACE: [u8; 16] = [0xa1; 16];
const SPAN: [u8; 8] = [0xa2; 8];
const PARENT: [u8; 8] = [0xa3; 8];
const START: u64 = 0xa4a4_a4a4_a4a4_a4a4;
const END: u64 = 0xa5a5_a5a5_a5a5_a5a5;
const NUMBER: &str = "87654321";

impl Template {
    /// The template of a span made by [`span_of`].
    pub(crate) fn new(span: &Span, has_parent: bool) -> Template {
        let parent = if has_parent { PARENT.to_vec() } else { Vec::new() };
        let span = Span { parent_span_id: parent, ..span.clone() };
        let bytes = ScopeSpans { spans: vec![span], ..ScopeSpans::default() }.encode_to_vec();
        let find = |mark: &[u8]| {
            let mut places = bytes.windows(mark.len()).enumerate().filter(|(_, w)| *w == mark);
            let (place, _) = places.next().expect("every mark is there");
            assert!(places.next().is_none(), "every mark is there once");
            place
        };
        Template {
            trace: find(&TRACE),
            span: find(&SPAN),
            parent: has_parent.then(|| find(&PARENT)),
            start: find(&START.to_le_bytes()),
            end: find(&END.to_le_bytes()),
            number: find(NUMBER.as_bytes()),
            bytes,
        }
    }

    /// Bytes of the span.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the span.
    pub(crate) fn write(&self, out: &mut Vec<u8>, hole: &Hole) {
        let base = out.len();
        out.extend_from_slice(&self.bytes);
        let span = &mut out[base..];
        span[self.trace..][..16].copy_from_slice(&hole.trace.to_be_bytes());
        span[self.span..][..8].copy_from_slice(&hole.span.to_be_bytes());
        if let (Some(at), Some(parent)) = (self.parent, hole.parent) {
            span[at..][..8].copy_from_slice(&parent.to_be_bytes());
        }
        span[self.start..][..8].copy_from_slice(&hole.start.to_le_bytes());
        span[self.end..][..8].copy_from_slice(&hole.end.to_le_bytes());
        let mut rest = hole.number;
        for digit in span[self.number..][..8].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn service_name(service: usize) -> String {
    const NAMES: [&str; 8] =
        ["storefront", "cart", "catalog", "pricing", "shipping", "payment", "stock", "account"];
    format!("{}-{:02}", NAMES[service % NAMES.len()], service)
}

/// The `resource` field of a `ResourceSpans`: what an SDK says of its process.
/// `generation` counts how often its pods have been replaced.
pub(crate) fn resource_of(service: usize, instance: usize, generation: usize) -> Vec<u8> {
    let name = service_name(service);
    let pod = format!("{name}-6f7d9c5b4-{generation:02x}{:03x}", service * 31 + instance);
    let attributes = vec![
        text("service.name", name.clone()),
        text("service.namespace", "shop"),
        text("service.version", "2.17.4"),
        text("service.instance.id", format!("{pod}.shop")),
        text("telemetry.sdk.language", "java"),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.version", "1.54.1"),
        text("k8s.pod.name", pod),
        text("k8s.namespace.name", "shop"),
        text("host.name", format!("node-{:02}", (service + instance) % 12)),
    ];
    let resource = Some(Resource { attributes, ..Resource::default() });
    ResourceSpans { resource, ..ResourceSpans::default() }.encode_to_vec()
}

/// The `scope` field of a `ScopeSpans`.
pub(crate) fn scope_of() -> &'static [u8] {
    static SCOPE: OnceLock<Vec<u8>> = OnceLock::new();
    SCOPE.get_or_init(|| {
        let scope = InstrumentationScope {
            name: "io.opentelemetry.netty-4.1".to_owned(),
            version: "2.20.1-alpha".to_owned(),
            ..InstrumentationScope::default()
        };
        ScopeSpans { scope: Some(scope), ..ScopeSpans::default() }.encode_to_vec()
    })
}

/// The span of an operation, with marks in the holes: a request served, a call to another service, or a
/// statement sent to a database.
pub(crate) fn span_of(
    operation: usize,
    is_call: bool,
    callee: Option<usize>,
    padding: usize,
) -> Span {
    let (name, mut attributes) = match (is_call, callee) {
        (false, _) => served(operation),
        (true, Some(callee)) => called(operation, callee),
        (true, None) => queried(operation),
    };
    attributes.push(text("user_agent.original", user_agent(padding)));
    Span {
        trace_id: TRACE.to_vec(),
        span_id: SPAN.to_vec(),
        name,
        kind: if is_call { 3 } else { 2 },
        start_time_unix_nano: START,
        end_time_unix_nano: END,
        attributes,
        status: Some(Status::default()),
        flags: 0x101,
        ..Span::default()
    }
}

fn served(operation: usize) -> (String, Vec<KeyValue>) {
    let route = format!("/api/v2/resource{operation}/{{id}}");
    let attributes = vec![
        text("http.request.method", "GET"),
        text("http.route", route.clone()),
        text("url.path", format!("/api/v2/resource{operation}/{NUMBER}")),
        text("url.scheme", "http"),
        number("http.response.status_code", 200),
        text("client.address", "10.42.7.19"),
        number("server.port", 8080),
    ];
    (format!("GET {route}"), attributes)
}

fn called(operation: usize, callee: usize) -> (String, Vec<KeyValue>) {
    let host = format!("{}.shop.svc", service_name(callee));
    let attributes = vec![
        text("http.request.method", "GET"),
        text("url.full", format!("http://{host}:8080/api/v2/resource{operation}/{NUMBER}")),
        text("server.address", host),
        number("server.port", 8080),
        number("http.response.status_code", 200),
        text("network.protocol.version", "1.1"),
        text("thread.name", "http-nio-8080-exec-7"),
    ];
    (format!("GET resource{operation}"), attributes)
}

fn queried(operation: usize) -> (String, Vec<KeyValue>) {
    let table = format!("orders_{operation}");
    let query = format!("SELECT id, state, total FROM {table} WHERE customer = {NUMBER}");
    let attributes = vec![
        text("db.system.name", "postgresql"),
        text("db.namespace", "shop"),
        text("db.query.text", query),
        text("db.operation.name", "SELECT"),
        text("db.collection.name", table.clone()),
        text("server.address", "orders-db.shop.svc"),
        number("server.port", 5432),
    ];
    (format!("SELECT {table}"), attributes)
}

fn user_agent(length: usize) -> String {
    const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                         Chrome/141.0.0.0 Safari/537.36 shop-mobile/7.31.2 (build 20931; release) ";
    AGENT.chars().cycle().take(length).collect()
}
