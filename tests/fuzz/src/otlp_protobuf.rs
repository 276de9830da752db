//! The walk over the protobuf wire format against the generated decoder: both refuse, or both see the
//! same spans. Raw bytes, and real requests damaged in a few places.
#![no_main]

mod common;

use std::sync::{Arc, LazyLock};

use laghound::model::{Interner, SpanDefect, SpanRecord, Timestamp};
use laghound::otlp::{Batch, Decoder, SpanSink, WireError, count};
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

fuzz_target!(|bytes: &[u8]| {
    agree(bytes);
    agree(&damaged(bytes));
});

/// A real request with one place changed, doubled or cut for every four bytes of `how`.
fn damaged(how: &[u8]) -> Vec<u8> {
    let mut request = REAL.clone();
    for change in how.chunks_exact(4).take(16) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % request.len().max(1);
        let (what, byte) = (change[2] % 5, change[3]);
        match what {
            _ if request.is_empty() => return request,
            0 => request[at] = byte,
            1 => request.insert(at, byte),
            2 => drop(request.remove(at)),
            3 => {
                let end = request.len().min(at + usize::from(byte));
                let piece = request[at..end].to_vec();
                request.extend(piece);
            }
            _ => request.truncate(at),
        }
    }
    request
}

/// Something in every field that there is.
static REAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let any = |value| AnyValue { value: Some(value) };
    let pair = |key: &str, value| KeyValue { key: key.into(), value: Some(any(value)), ..KeyValue::default() };
    let text = |key: &str, value: &str| pair(key, Value::StringValue(value.into()));
    let list = Value::ArrayValue(ArrayValue { values: vec![any(Value::IntValue(1)), AnyValue::default()] });
    let map = Value::KvlistValue(KeyValueList { values: vec![text("a", "b")] });
    let span = |number: u8, kind: i32| Span {
        trace_id: vec![7; 16],
        span_id: vec![number; 8],
        parent_span_id: if number == 1 { vec![] } else { vec![number - 1; 8] },
        trace_state: "k=v".into(),
        flags: 0x101,
        name: format!("GET /{number}"),
        kind,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_900_000_000,
        attributes: vec![
            text("peer.service", "database"),
            text("server.address", &"long".repeat(40)),
            text("messaging.system", "kafka"),
            pair("retry", Value::BoolValue(true)),
            pair("size", Value::IntValue(-3)),
            pair("share", Value::DoubleValue(0.5)),
            pair("raw", Value::BytesValue(vec![1, 2])),
            pair("list", list.clone()),
            pair("map", map.clone()),
        ],
        dropped_attributes_count: 1,
        events: vec![Event {
            time_unix_nano: 1_700_000_000_000_000_100,
            name: "began".into(),
            attributes: vec![text("a", "b")],
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link { trace_id: vec![7; 16], attributes: vec![text("a", "b")], ..Link::default() }],
        dropped_links_count: 4,
        status: Some(Status { message: "no".into(), code: i32::from(number % 3) }),
    };
    let resource = Resource {
        attributes: vec![text("service.name", "shop"), text("k8s.pod.name", "pod-1")],
        ..Resource::default()
    };
    let scope_spans = ScopeSpans { spans: (1..6).map(|kind| span(kind, kind.into())).collect(), ..ScopeSpans::default() };
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
});

/// Two differences are meant: text that is not UTF-8 is read here, and groups are not. Limits are ours.
fn agree(bytes: &[u8]) {
    let (names, rules) = common::names();
    let mut decoder = Decoder::new(Arc::clone(&names), rules);
    let mut batch = Batch::default();
    let ours = count(bytes, &common::limits()).and_then(|counted| {
        decoder.protobuf(&counted, &mut batch)?;
        let mut detail = Detail::new(Arc::clone(&names));
        decoder.protobuf(&counted, &mut detail)?;
        assert_eq!(batch.spans.len() as u64 + batch.defects.total(), counted.cost.spans as u64);
        Ok(detail.lines)
    });
    match (ours, ExportTraceServiceRequest::decode(bytes)) {
        (Ok(seen), Ok(request)) => {
            assert_eq!(seen, expected(&request));
            common::judge(&batch.spans, names);
        }
        (Ok(_), Err(error)) => assert!(error.to_string().contains("UTF-8"), "only we accept: {error}"),
        (Err(WireError::Group | WireError::TooMany { .. }), Ok(_)) | (Err(_), Err(_)) => {}
        (Err(error), Ok(_)) => panic!("only we refuse: {error}"),
    }
}

/// Everything there is to see, a line each.
struct Detail {
    names: Arc<Interner>,
    lines: Vec<String>,
}

impl Detail {
    fn new(names: Arc<Interner>) -> Detail {
        Detail { names, lines: Vec::new() }
    }
}

impl SpanSink for Detail {
    const WANTS_DETAIL: bool = true;

    fn span(&mut self, SpanRecord { trace, span }: SpanRecord) {
        let text = |sym| self.names.text(sym).to_string();
        let key = self.names.resolve(span.key);
        let mut attributes: Vec<_> =
            self.names.attributes(span.attrs).iter().map(|(name, value)| (text(*name), text(*value))).collect();
        attributes.sort();
        self.lines.push(line(
            (trace.get(), span.id.get(), span.parent.map_or(0, |parent| parent.get())),
            (&text(key.service), &text(key.name), key.kind as usize),
            (span.start.0, span.end.0),
            (span.peer.map(text), span.failed),
            &attributes,
        ));
    }
    fn rejected(&mut self, _: SpanDefect) {}
    fn event(&mut self, at: Timestamp, name: &[u8]) {
        self.lines.push(format!("event {} {}", at.0, String::from_utf8_lossy(name)));
    }
    fn attribute(&mut self, name: &[u8], value: &[u8]) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.lines.push(format!("{}={}", text(name), text(value)));
    }
}

fn line(
    ids: (u128, u64, u64),
    what: (&str, &str, usize),
    times: (u64, u64),
    said: (Option<String>, bool),
    attributes: &[(String, String)],
) -> String {
    format!("span {ids:?} {what:?} {times:?} {said:?} {attributes:?}")
}

/// The same lines from the generated message.
fn expected(request: &ExportTraceServiceRequest) -> Vec<String> {
    let mut lines = Vec::new();
    for resource_spans in &request.resource_spans {
        let resource = resource_spans.resource.clone().unwrap_or_default().attributes;
        for span in resource_spans.scope_spans.iter().flat_map(|scope| &scope.spans) {
            let Some(first) = expected_span(&resource, span) else { continue };
            lines.push(first);
            let attributes = span.attributes.iter().take(MAX_ATTRIBUTES);
            lines.extend(attributes.filter_map(|pair| Some(format!("{}={}", pair.key, text(pair)?))));
            lines.extend(span.events.iter().map(|event| format!("event {} {}", event.time_unix_nano, event.name)));
        }
    }
    lines
}

/// What is looked at of one span or resource by default.
const MAX_ATTRIBUTES: usize = 128;
/// The attributes of a resource that are kept by default.
const RESOURCE_ATTRIBUTES: [&str; 6] = [
    "service.instance.id",
    "k8s.pod.name",
    "host.name",
    "service.version",
    "cloud.availability_zone",
    "cloud.region",
];
/// By what a callee is named, the best first; the last four only by those who hand to a broker.
const PEER_NAMES: [&str; 18] = [
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
    "messaging.system",
    "messaging.destination.name",
    "messaging.destination",
    "message_bus.destination",
];
const NAMES_FOR_CLIENTS: usize = 14;
/// Names longer than this are cut, which the oracle leaves to others: both are cut the same way.
const NAME_BYTES: usize = 256;

fn expected_span(resource: &[KeyValue], span: &Span) -> Option<String> {
    let parent = match span.parent_span_id.as_slice() {
        [] => 0,
        bytes => u64::from_be_bytes(bytes.try_into().ok()?),
    };
    let trace = u128::from_be_bytes(span.trace_id.as_slice().try_into().ok()?);
    let id = u64::from_be_bytes(span.span_id.as_slice().try_into().ok()?);
    if trace == 0 || id == 0 || span.end_time_unix_nano < span.start_time_unix_nano {
        return None;
    }
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    let service = cut(or(first(resource, "service.name").unwrap_or_default(), "unknown_service"));
    let name = cut(or(span.name.clone(), "(unnamed)"));
    let kind = usize::try_from(span.kind).ok().filter(|kind| *kind < 6).unwrap_or(0);
    let mut attributes: Vec<(String, String)> = RESOURCE_ATTRIBUTES
        .iter()
        .filter_map(|name| Some((name.to_string(), cut(first(resource, name)?))))
        .collect();
    attributes.sort();
    let failed = span.status.as_ref().is_some_and(|status| status.code == 2);
    let peer = peer(kind, &span.attributes).map(cut);
    let times = (span.start_time_unix_nano, span.end_time_unix_nano);
    Some(line((trace, id, parent), (&service, &name, kind), times, (peer, failed), &attributes))
}

/// As the table of names would store it.
fn cut(name: String) -> String {
    if name.len() <= NAME_BYTES {
        return name;
    }
    let (names, _) = common::names();
    names.text(names.string(name.as_bytes())).to_string()
}

/// The first value of that name that has a text.
fn first(attributes: &[KeyValue], name: &str) -> Option<String> {
    attributes.iter().take(MAX_ATTRIBUTES).filter(|pair| pair.key == name).find_map(text)
}

fn text(pair: &KeyValue) -> Option<String> {
    match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Whom a CLIENT (3) or PRODUCER (4) span called.
fn peer(kind: usize, attributes: &[KeyValue]) -> Option<String> {
    let strings: Vec<KeyValue> = attributes
        .iter()
        .take(MAX_ATTRIBUTES)
        .filter(|pair| {
            let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
            matches!(value, Some(Value::StringValue(_)))
        })
        .cloned()
        .collect();
    let names = match kind {
        3 => &PEER_NAMES[..NAMES_FOR_CLIENTS],
        4 => &PEER_NAMES[..],
        _ => return None,
    };
    names.iter().find_map(|name| first(&strings, name))
}
