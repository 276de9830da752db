//! What the tests of this room share: requests, and an oracle that decodes them the generated way.

pub(crate) mod arbitrary;

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::attributes::{AttributeRules, Interest};
use super::sink::SpanSink;
use crate::model::{InternLimits, Interner, SpanDefect, SpanKind, SpanRecord, Timestamp};

/// A span in plain values, as both sides of a comparison can state it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Seen {
    pub(crate) trace: u128,
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) times: (u64, u64),
    pub(crate) peer: Option<String>,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) failed: bool,
}

/// A sink that wants everything and writes it down in order.
#[derive(Default)]
pub(crate) struct Details(pub(crate) Vec<String>);

impl SpanSink for Details {
    const WANTS_DETAIL: bool = true;

    fn span(&mut self, record: SpanRecord) {
        self.0.push(format!("span {}", record.span.id.get()));
    }
    fn rejected(&mut self, defect: SpanDefect) {
        self.0.push(defect.to_string());
    }
    fn event(&mut self, at: Timestamp, name: &[u8]) {
        self.0.push(format!("{at:?} {}", String::from_utf8_lossy(name)));
    }
    fn attribute(&mut self, name: &[u8], value: &[u8]) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.0.push(format!("{}={}", text(name), text(value)));
    }
}

pub(crate) fn interest() -> Interest {
    Interest { span: vec!["http.route".into(), "retry".into()], ..Interest::default() }
}

pub(crate) fn names_and_rules() -> (Arc<Interner>, Arc<AttributeRules>) {
    let names = Arc::new(Interner::new(InternLimits::default()));
    let rules = Arc::new(AttributeRules::new(&interest(), &names));
    (names, rules)
}

/// What the decoder under test produced.
pub(crate) fn seen(records: &[SpanRecord], names: &Interner) -> Vec<Seen> {
    let text = |sym| names.text(sym).to_string();
    let one = |SpanRecord { trace, span }: &SpanRecord| {
        let key = names.resolve(span.key);
        let attributes = names.attributes(span.attrs);
        let mut attributes: Vec<_> =
            attributes.iter().map(|(name, value)| (text(*name), text(*value))).collect();
        attributes.sort();
        Seen {
            trace: trace.get(),
            id: span.id.get(),
            parent: span.parent.map(|parent| parent.get()),
            service: text(key.service),
            name: text(key.name),
            kind: key.kind.as_str(),
            times: (span.start.0, span.end.0),
            peer: span.peer.map(text),
            attributes,
            failed: span.failed,
        }
    };
    records.iter().map(one).collect()
}

/// What is in a request according to the generated messages; invalid spans left out.
pub(crate) fn oracle(request: &ExportTraceServiceRequest) -> Vec<Seen> {
    let mut all = Vec::new();
    for resource_spans in &request.resource_spans {
        let resource = resource_spans.resource.clone().unwrap_or_default();
        let spans = resource_spans.scope_spans.iter().flat_map(|scope| &scope.spans);
        all.extend(spans.filter_map(|span| oracle_span(&resource.attributes, span)));
    }
    all
}

fn oracle_span(resource: &[KeyValue], span: &Span) -> Option<Seen> {
    let parent = match span.parent_span_id.len() {
        0 => 0,
        _ => u64::from_be_bytes(span.parent_span_id.clone().try_into().ok()?),
    };
    let trace = u128::from_be_bytes(span.trace_id.clone().try_into().ok()?);
    let id = u64::from_be_bytes(span.span_id.clone().try_into().ok()?);
    let times = (span.start_time_unix_nano, span.end_time_unix_nano);
    if trace == 0 || id == 0 || times.1 < times.0 {
        return None;
    }
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    let kind = usize::try_from(span.kind).ok().and_then(|kind| SpanKind::ALL.get(kind));
    let kind = kind.copied().unwrap_or_default();
    Some(Seen {
        trace,
        id,
        parent: (parent != 0).then_some(parent),
        service: or(text_of(resource, "service.name").unwrap_or_default(), "unknown_service"),
        name: or(span.name.clone(), "(unnamed)"),
        kind: kind.as_str(),
        times,
        peer: oracle_peer(kind, &span.attributes),
        attributes: oracle_attributes(resource, &span.attributes),
        failed: span.status.as_ref().is_some_and(|status| status.code == 2),
    })
}

/// The first value of that name that has a text.
fn text_of(attributes: &[KeyValue], name: &str) -> Option<String> {
    let texts =
        attributes.iter().filter(|attribute| attribute.key == name).filter_map(|attribute| {
            match attribute.value.as_ref()?.value.as_ref()? {
                Value::StringValue(text) => Some(text.clone()).filter(|text| !text.is_empty()),
                Value::IntValue(number) => Some(number.to_string()),
                Value::BoolValue(flag) => Some(flag.to_string()),
                _ => None,
            }
        });
    texts.into_iter().next()
}

fn oracle_peer(kind: SpanKind, attributes: &[KeyValue]) -> Option<String> {
    const CALLS: [&str; 14] = [
        "peer.service",
        "server.address",
        "net.peer.name",
        "net.sock.peer.name",
        "peer.hostname",
        "db.namespace",
        "db.name",
        "db.instance",
        "db.system.name",
        "db.system",
        "db.type",
        "net.peer.ip",
        "net.sock.peer.addr",
        "peer.address",
    ];
    const BROKERS: [&str; 4] = [
        "messaging.system",
        "messaging.destination.name",
        "messaging.destination",
        "message_bus.destination",
    ];
    let strings: Vec<KeyValue> = attributes
        .iter()
        .filter(|attribute| {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            matches!(value, Some(Value::StringValue(_)))
        })
        .cloned()
        .collect();
    let first = |names: &[&str]| names.iter().find_map(|name| text_of(&strings, name));
    match kind {
        SpanKind::Client => first(&CALLS),
        SpanKind::Producer => first(&CALLS).or_else(|| first(&BROKERS)),
        _ => None,
    }
}

fn oracle_attributes(resource: &[KeyValue], span: &[KeyValue]) -> Vec<(String, String)> {
    let interest = interest();
    let of = |names: &[String], attributes: &[KeyValue]| -> Vec<(String, String)> {
        names.iter().filter_map(|name| Some((name.clone(), text_of(attributes, name)?))).collect()
    };
    let mut found = of(&interest.span, span);
    found.extend(of(&interest.resource, resource));
    found.sort();
    found
}

pub(crate) fn attribute(name: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

pub(crate) fn string(name: &str, value: &str) -> KeyValue {
    attribute(name, Value::StringValue(value.to_owned()))
}

/// A request with something in every field that there is; `seed` sets it apart from others.
pub(crate) fn golden(seed: u8) -> ExportTraceServiceRequest {
    let span = |number: u8, kind: SpanKind| Span {
        trace_id: vec![seed; 16],
        span_id: vec![number; 8],
        parent_span_id: if number == 1 { vec![] } else { vec![number - 1; 8] },
        trace_state: "k=v".into(),
        flags: 0x101,
        name: format!("operation {number}"),
        kind: kind as i32,
        start_time_unix_nano: 1_700_000_000_000_000_000 + u64::from(number),
        end_time_unix_nano: 1_700_000_000_900_000_000 - u64::from(number),
        attributes: vec![
            string("peer.service", "database \"one\""),
            attribute("retry", Value::BoolValue(true)),
            attribute("size", Value::IntValue(-3)),
            attribute("share", Value::DoubleValue(0.5)),
        ],
        dropped_attributes_count: 1,
        events: vec![Event {
            time_unix_nano: 1_700_000_000_000_000_100,
            name: "began".into(),
            attributes: vec![string("a", "b")],
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link { trace_id: vec![7; 16], span_id: vec![8; 8], ..Link::default() }],
        dropped_links_count: 4,
        status: Some(Status { message: "no".into(), code: i32::from(number % 3) }),
    };
    let scope = InstrumentationScope { name: "lib".into(), ..InstrumentationScope::default() };
    let resource_spans = |service: &str, spans: Vec<Span>| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![string("service.name", service), string("k8s.pod.name", "pod-1")],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope.clone()),
            spans,
            schema_url: "schema".into(),
        }],
        schema_url: "schema".into(),
    };
    ExportTraceServiceRequest {
        resource_spans: vec![
            resource_spans("shop", vec![span(1, SpanKind::Server), span(2, SpanKind::Client)]),
            resource_spans("cart", vec![span(3, SpanKind::Producer)]),
        ],
    }
}
