//! Traces made up in a few words, in microseconds, and written in each of the four formats.

use std::io::Cursor;
use std::sync::Arc;

use laghound::compare::verdict::Comparison;
use laghound::compare::{Side, compare};
use laghound::model::{InternLimits, Interner, SpanDefect, SpanRecord, Timestamp};
use laghound::otlp::file::{ReadLimits, Reader};
use laghound::otlp::{AttributeRules, Interest, SpanSink};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::{Value, json};

/// A span to be; times in microseconds after the trace began.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Draft {
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) service: String,
    pub(super) operation: String,
    pub(super) kind: &'static str,
    pub(super) start: i64,
    pub(super) duration: i64,
    pub(super) events: Vec<(i64, &'static str)>,
    pub(super) tags: Vec<(&'static str, String)>,
}

/// `span(2, 1, "cart", "GET /items", 10, 500)`; parent 0 is none.
pub(super) fn span(
    id: u64,
    parent: u64,
    service: &str,
    operation: &str,
    start: i64,
    duration: i64,
) -> Draft {
    let (service, operation) = (service.to_owned(), operation.to_owned());
    let (events, tags) = (Vec::new(), Vec::new());
    Draft { id, parent, service, operation, kind: "internal", start, duration, events, tags }
}

impl Draft {
    pub(super) fn server(self) -> Draft {
        Draft { kind: "server", ..self }
    }

    pub(super) fn client(self) -> Draft {
        Draft { kind: "client", ..self }
    }

    pub(super) fn kind(self, kind: &'static str) -> Draft {
        Draft { kind, ..self }
    }

    pub(super) fn event(mut self, at: i64, name: &'static str) -> Draft {
        self.events.push((at, name));
        self
    }

    pub(super) fn tag(mut self, name: &'static str, value: &str) -> Draft {
        self.tags.push((name, value.to_owned()));
        self
    }
}

/// The formats a trace can be written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Json,
    Protobuf,
    Jaeger,
    Zipkin,
}

impl Format {
    pub(super) const ALL: [Format; 4] =
        [Format::Json, Format::Protobuf, Format::Jaeger, Format::Zipkin];
}

const START: i64 = 1_700_000_000_000_000;

fn hex(id: u64) -> String {
    format!("{id:016x}")
}

/// A file that holds one trace.
pub(super) fn write(format: Format, trace: u128, spans: &[Draft]) -> Vec<u8> {
    let trace = format!("{trace:032x}");
    match format {
        Format::Json => otlp(&trace, spans).to_string().into_bytes(),
        Format::Protobuf => {
            let request: ExportTraceServiceRequest =
                serde_json::from_value(otlp(&trace, spans)).unwrap();
            request.encode_to_vec()
        }
        Format::Jaeger => jaeger(&trace, spans).to_string().into_bytes(),
        Format::Zipkin => zipkin(&trace, spans).to_string().into_bytes(),
    }
}

pub(super) fn otlp(trace: &str, spans: &[Draft]) -> Value {
    let text = |name: &str, value: &str| json!({"key": name, "value": {"stringValue": value}});
    let nanos = |micros: i64| ((START + micros) * 1_000).to_string();
    let resources = spans.iter().map(|span| {
        let kind = match span.kind {
            "server" => 2,
            "client" => 3,
            "producer" => 4,
            "consumer" => 5,
            _ => 1,
        };
        let parent = if span.parent == 0 { String::new() } else { hex(span.parent) };
        let events = span.events.iter().map(|(at, name)| {
            json!({"timeUnixNano": nanos(*at), "name": name, "attributes": [], "droppedAttributesCount": 0})
        });
        json!({
            "resource": {"attributes": [text("service.name", &span.service)], "droppedAttributesCount": 0},
            "schemaUrl": "",
            "scopeSpans": [{"scope": null, "schemaUrl": "", "spans": [{
                "traceId": trace, "spanId": hex(span.id), "parentSpanId": parent, "traceState": "",
                "flags": 0, "name": span.operation, "kind": kind,
                "startTimeUnixNano": nanos(span.start),
                "endTimeUnixNano": nanos(span.start + span.duration),
                "attributes": span.tags.iter().map(|(name, value)| text(name, value)).collect::<Vec<_>>(),
                "droppedAttributesCount": 0,
                "events": events.collect::<Vec<_>>(), "droppedEventsCount": 0,
                "links": [], "droppedLinksCount": 0, "status": null,
            }]}],
        })
    });
    json!({"resourceSpans": resources.collect::<Vec<_>>()})
}

fn jaeger(trace: &str, spans: &[Draft]) -> Value {
    let tag = |name: &str, value: &str| json!({"key": name, "type": "string", "value": value});
    let mut processes = serde_json::Map::new();
    let spans = spans.iter().map(|span| {
        processes.insert(span.service.clone(), json!({"serviceName": span.service, "tags": []}));
        let mut tags = vec![tag("span.kind", span.kind)];
        tags.extend(span.tags.iter().map(|(name, value)| tag(name, value)));
        let logs = span
            .events
            .iter()
            .map(|(at, name)| json!({"timestamp": START + at, "fields": [tag("event", name)]}));
        let references = (span.parent != 0)
            .then(|| json!({"refType": "CHILD_OF", "traceID": trace, "spanID": hex(span.parent)}));
        json!({
            "traceID": trace, "spanID": hex(span.id), "operationName": span.operation,
            "references": references.into_iter().collect::<Vec<_>>(),
            "startTime": START + span.start, "duration": span.duration,
            "tags": tags, "logs": logs.collect::<Vec<_>>(), "processID": span.service,
        })
    });
    let spans: Vec<Value> = spans.collect();
    json!({"data": [{"traceID": trace, "spans": spans, "processes": processes}]})
}

fn zipkin(trace: &str, spans: &[Draft]) -> Value {
    let spans = spans.iter().map(|span| {
        let tags: serde_json::Map<String, Value> =
            span.tags.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let annotations =
            span.events.iter().map(|(at, name)| json!({"timestamp": START + at, "value": name}));
        let mut of_zipkin = json!({
            "traceId": trace, "id": hex(span.id), "name": span.operation,
            "timestamp": START + span.start, "duration": span.duration,
            "localEndpoint": {"serviceName": span.service}, "tags": tags,
            "annotations": annotations.collect::<Vec<_>>(),
        });
        if span.kind != "internal" {
            of_zipkin["kind"] = json!(span.kind.to_uppercase());
        }
        if span.parent != 0 {
            of_zipkin["parentId"] = json!(hex(span.parent));
        }
        of_zipkin
    });
    Value::Array(spans.collect())
}

/// Takes spans with everything inside them.
#[derive(Default)]
struct Intake(Side);

impl SpanSink for Intake {
    const WANTS_DETAIL: bool = true;
    fn span(&mut self, record: SpanRecord) {
        self.0.span(record);
    }
    fn rejected(&mut self, defect: SpanDefect) {
        panic!("{defect}");
    }
    fn event(&mut self, at: Timestamp, name: &[u8]) {
        self.0.event(at, name);
    }
    fn attribute(&mut self, name: &[u8], value: &[u8]) {
        self.0.attribute(name, value);
    }
}

/// Names, and sides read with them.
pub(super) struct Bench {
    names: Arc<Interner>,
    rules: Arc<AttributeRules>,
}

impl Bench {
    pub(super) fn new() -> Bench {
        let names = Arc::new(Interner::new(InternLimits::default()));
        let rules = Arc::new(AttributeRules::new(&Interest::default(), &names));
        Bench { names, rules }
    }

    pub(super) fn read(&self, files: &[Vec<u8>]) -> Side {
        let mut intake = Intake::default();
        for file in files {
            let input = Cursor::new(file.clone());
            let (names, rules) = (Arc::clone(&self.names), Arc::clone(&self.rules));
            let mut reader =
                Reader::new("made up", input, names, rules, ReadLimits::default()).unwrap();
            while reader.next_into(&mut intake).unwrap().is_some() {}
        }
        intake.0
    }

    pub(super) fn compare(&self, baseline: &Side, spiked: &Side) -> Comparison {
        compare(&self.names, baseline, spiked).unwrap()
    }
}

/// One trace against one trace, both as OTLP/JSON.
pub(super) fn one_against_one(baseline: &[Draft], spiked: &[Draft]) -> Comparison {
    in_format(Format::Json, baseline, spiked)
}

/// The same in another format.
pub(super) fn in_format(format: Format, baseline: &[Draft], spiked: &[Draft]) -> Comparison {
    let bench = Bench::new();
    let sides = [(1, baseline), (2, spiked)]
        .map(|(trace, spans)| bench.read(&[write(format, trace, spans)]));
    bench.compare(&sides[0], &sides[1])
}

/// Many traces against many.
pub(super) fn sets(baseline: &[Vec<Draft>], spiked: &[Vec<Draft>]) -> Comparison {
    let bench = Bench::new();
    let side = |first: u128, traces: &[Vec<Draft>]| {
        let files = (first..).zip(traces).map(|(id, spans)| write(Format::Json, id, spans));
        bench.read(&files.collect::<Vec<_>>())
    };
    bench.compare(&side(1, baseline), &side(1_000_000, spiked))
}
