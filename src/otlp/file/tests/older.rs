//! Jaeger and Zipkin, against the same spans in OTLP and against what their documents promise.

use serde_json::{Value, json};

use super::*;
use crate::model::{SpanDefect, SpanKind};
use crate::otlp::sink::Defects;
use crate::otlp::testing::Details;

/// The spans of a JSON file in plain values.
fn all(json: &Value) -> Vec<Seen> {
    read(json.to_string().into_bytes()).unwrap().concat()
}

fn one(json: &Value) -> Seen {
    let mut seen = all(json);
    assert_eq!(seen.len(), 1);
    seen.remove(0)
}

fn jaeger(span: &Value) -> Value {
    json!({"data": [{"traceID": "1", "spans": [span], "processes": {"p1": {"serviceName": "shop"}}}]})
}

fn with(mut base: Value, more: &Value) -> Value {
    let fields = more.as_object().unwrap().clone();
    base.as_object_mut().unwrap().extend(fields);
    base
}

fn jaeger_span(more: &Value) -> Seen {
    let base = json!({
        "traceID": "1", "spanID": "2", "operationName": "op", "processID": "p1",
        "startTime": 1_000, "duration": 500, "references": [], "tags": [], "logs": [],
    });
    one(&jaeger(&with(base, more)))
}

fn zipkin_span(more: &Value) -> Seen {
    let base = json!({
        "traceId": "1", "id": "2", "name": "op", "timestamp": 1_000, "duration": 500,
        "localEndpoint": {"serviceName": "shop"},
    });
    one(&json!([with(base, more)]))
}

/// A pre-processor that an inference server keeps waiting, in microseconds.
const SPANS: [(&str, &str, u64, u64, u64, i32); 3] = [
    ("web", "inference-span", 1, 0, 1_207_384, 2),
    ("Pre-Processor", "preprocess-request", 2, 4_000, 1_198_196, 3),
    ("inference", "inference-service-post", 3, 700_000, 422_967, 2),
];
const START: u64 = 1_700_000_000_000_000;

#[test]
fn a_trace_is_the_same_in_all_four_formats() {
    let kinds = ["", "", "server", "client"];
    let hex = |id: u64| format!("{id:016x}");
    let otlp: Vec<Value> = SPANS
        .iter()
        .map(|(service, name, id, start, duration, kind)| {
            let time = |micros: u64| ((START + micros) * 1_000).to_string();
            let parent = if *id == 1 { String::new() } else { hex(id - 1) };
            json!({
                "resource": {"attributes": [
                    {"key": "service.name", "value": {"stringValue": service}},
                    {"key": "host.name", "value": {"stringValue": "h1"}},
                ]},
                "scopeSpans": [{"spans": [{
                    "traceId": "000000000000000000000000000000ab", "spanId": hex(*id),
                    "parentSpanId": parent, "name": name, "kind": kind,
                    "startTimeUnixNano": time(*start), "endTimeUnixNano": time(start + duration),
                    "attributes": [{"key": "peer.service", "value": {"stringValue": "next"}}],
                    "status": {"code": if *id == 3 { 2 } else { 0 }},
                }]}],
            })
        })
        .collect();
    let otlp = json!({"resourceSpans": otlp});
    let expected = all(&otlp);
    assert_eq!(expected.len(), 3);
    assert_eq!(expected[1].times.1 - expected[1].times.0, 1_198_196_000);

    let request: ExportTraceServiceRequest = serde_json::from_value(otlp).unwrap();
    assert_eq!(read(request.encode_to_vec()).unwrap().concat(), expected);

    let spans = SPANS.map(|(service, name, id, start, duration, kind)| {
        let references = match id {
            1 => json!([]),
            _ => json!([{"refType": "CHILD_OF", "traceID": "ab", "spanID": hex(id - 1)}]),
        };
        json!({
            "traceID": "ab", "spanID": hex(id), "operationName": name, "references": references,
            "startTime": START + start, "duration": duration, "processID": service,
            "tags": [
                {"key": "span.kind", "type": "string", "value": kinds[usize::try_from(kind).unwrap()]},
                {"key": "peer.service", "type": "string", "value": "next"},
                {"key": "error", "type": "bool", "value": id == 3},
            ],
        })
    });
    let process = |service: &str| json!({"serviceName": service, "tags": [{"key": "hostname", "type": "string", "value": "h1"}]});
    let processes: serde_json::Map<String, Value> =
        SPANS.iter().map(|span| (span.0.to_owned(), process(span.0))).collect();
    let trace = json!({"traceID": "ab", "spans": spans, "processes": processes});
    assert_eq!(all(&json!({"data": [trace], "total": 0, "errors": null})), expected);
    assert_eq!(all(&json!({"data": trace})), expected);
    assert_eq!(all(&trace), expected);

    let spans = SPANS.map(|(service, name, id, start, duration, kind)| {
        let mut tags = json!({"host.name": "h1"});
        if id == 3 {
            tags["error"] = json!("");
        }
        let parent = if id == 1 { Value::Null } else { json!(hex(id - 1)) };
        json!({
            "traceId": "00000000000000ab", "id": hex(id), "parentId": parent, "name": name,
            "kind": kinds[usize::try_from(kind).unwrap()].to_uppercase(),
            "timestamp": START + start, "duration": duration, "tags": tags,
            "localEndpoint": {"serviceName": service},
            "remoteEndpoint": {"serviceName": "next", "ipv4": "10.0.0.1"},
        })
    });
    assert_eq!(all(&json!(spans)), expected);
    assert_eq!(all(&json!([spans[..1], spans[1..]])), expected);
    let lines = spans.map(|span| span.to_string() + "\n").concat();
    assert_eq!(read(lines.into_bytes()).unwrap().concat(), expected);
}

#[test]
fn jaeger_processes_may_stand_in_the_span_or_nowhere() {
    let span = json!({"processID": "p9", "process": {"serviceName": "inner", "tags": null}});
    assert_eq!(jaeger_span(&span).service, "inner");
    assert_eq!(jaeger_span(&json!({"processID": "p9"})).service, "unknown_service");
    assert_eq!(jaeger_span(&json!({})).service, "shop");
}

#[test]
fn jaeger_parents_are_the_first_child_of_in_the_same_trace() {
    let reference = |ref_type: &str, trace: &str, span: &str| json!({"refType": ref_type, "traceID": trace, "spanID": span});
    let own = reference("CHILD_OF", "1", "5");
    let other = reference("CHILD_OF", "9", "6");
    let follows = reference("FOLLOWS_FROM", "1", "7");
    let seen = jaeger_span(&json!({"references": [other, follows, own]}));
    assert_eq!((seen.parent, seen.kind), (Some(5), "SPAN_KIND_UNSPECIFIED"));
    let seen = jaeger_span(&json!({"references": [other, follows]}));
    assert_eq!((seen.parent, seen.kind), (Some(7), "SPAN_KIND_CONSUMER"));
    let tags = json!([{"key": "span.kind", "value": "server"}]);
    let seen = jaeger_span(&json!({"references": [follows], "tags": tags}));
    assert_eq!((seen.parent, seen.kind), (Some(7), "SPAN_KIND_SERVER"));
    let seen = jaeger_span(&json!({"references": null, "parentSpanID": "8"}));
    assert_eq!(seen.parent, Some(8));
    assert_eq!(jaeger_span(&json!({"references": [other]})).parent, None);
}

#[test]
fn jaeger_kinds_and_errors_are_tags() {
    let tags = |key: &str, value: Value| json!({"tags": [{"key": key, "value": value}]});
    for (text, kind) in [
        ("server", SpanKind::Server),
        ("client", SpanKind::Client),
        ("producer", SpanKind::Producer),
        ("consumer", SpanKind::Consumer),
        ("internal", SpanKind::Internal),
        ("other", SpanKind::Unspecified),
    ] {
        assert_eq!(jaeger_span(&tags("span.kind", json!(text))).kind, kind.as_str());
    }
    assert!(jaeger_span(&tags("error", json!(true))).failed);
    assert!(jaeger_span(&tags("error", json!("ClientSideError"))).failed);
    assert!(!jaeger_span(&tags("error", json!(false))).failed);
    assert!(jaeger_span(&tags("otel.status_code", json!("ERROR"))).failed);
    let span = json!({"tags": [
        {"key": "span.kind", "value": "client"}, {"key": "db.instance", "value": "orders"},
    ]});
    assert_eq!(jaeger_span(&span).peer.as_deref(), Some("orders"));
}

#[test]
fn zipkin_fields_may_be_missing() {
    let seen = zipkin_span(&json!({}));
    assert_eq!((seen.parent, seen.kind, seen.failed), (None, "SPAN_KIND_UNSPECIFIED", false));
    assert_eq!(seen.times, (1_000_000, 1_500_000));
    let annotations =
        json!([{"timestamp": 9_000, "value": "b"}, {"timestamp": 7_000, "value": "a"}]);
    let bare = json!({"timestamp": null, "annotations": annotations, "localEndpoint": null});
    let seen = zipkin_span(&bare);
    assert_eq!((seen.times, seen.service.as_str()), ((7_000_000, 7_500_000), "unknown_service"));
    assert!(zipkin_span(&json!({"tags": {"error": "boom"}})).failed);
    assert!(!zipkin_span(&json!({"tags": {"error": "false"}})).failed);
}

#[test]
fn zipkin_peers_are_tags_before_the_remote_endpoint() {
    let peer = |more: Value| zipkin_span(&with(json!({"kind": "CLIENT"}), &more)).peer;
    let remote = json!({"serviceName": "mysql", "ipv4": "10.0.0.1"});
    assert_eq!(peer(json!({"remoteEndpoint": remote})).as_deref(), Some("mysql"));
    let tags = json!({"peer.service": "orders-db"});
    assert_eq!(peer(json!({"remoteEndpoint": remote, "tags": tags})).as_deref(), Some("orders-db"));
    let address = json!({"ipv4": "10.0.0.1"});
    assert_eq!(peer(json!({"remoteEndpoint": address})).as_deref(), Some("10.0.0.1"));
}

#[test]
fn zipkin_shared_ids_are_handed_on_with_their_kinds() {
    let span = |kind: &str, service: &str| {
        json!({"traceId": "1", "id": "2", "parentId": "9", "kind": kind, "shared": kind == "SERVER",
               "localEndpoint": {"serviceName": service}})
    };
    let seen = all(&json!([span("CLIENT", "a"), span("SERVER", "b")]));
    assert_eq!((seen[0].id, seen[0].kind), (2, "SPAN_KIND_CLIENT"));
    assert_eq!((seen[1].id, seen[1].kind), (2, "SPAN_KIND_SERVER"));
    assert_eq!((seen[0].service.as_str(), seen[1].service.as_str()), ("a", "b"));
}

#[test]
fn what_is_invalid_in_older_formats_is_rejected_by_its_reason() {
    let defects = |json: Value| -> Vec<(SpanDefect, u64)> {
        let (reader, _) = reader(json.to_string().into_bytes(), ReadLimits::default()).unwrap();
        let mut total = Defects::default();
        for message in reader {
            message.unwrap().batch.defects.iter().for_each(|(defect, _)| total.add(defect));
        }
        total.iter().collect()
    };
    let span = |trace: &str, id: &str, duration: i64| json!({"traceID": trace, "spanID": id, "startTime": 5, "duration": duration});
    assert_eq!(defects(jaeger(&span("", "1", 1))), [(SpanDefect::TraceId, 1)]);
    assert_eq!(defects(jaeger(&span("1", "0", 1))), [(SpanDefect::SpanId, 1)]);
    assert_eq!(defects(jaeger(&span("1", "1", -1))), [(SpanDefect::EndBeforeStart, 1)]);
    assert_eq!(defects(json!([{"traceId": "1", "id": ""}])), [(SpanDefect::SpanId, 1)]);
    assert_eq!(defects(jaeger(&span("1", "1", 0))), []);
}

#[test]
fn errors_in_older_formats_name_the_line() {
    let text = "{\"data\": [{\"spans\": [\n  {\"startTime\": \"x\"}]}]}";
    let error = error(text.as_bytes().to_vec());
    assert!(error.starts_with("file: line 2: invalid Jaeger JSON: "), "{error}");
    let text = "[\n{\"traceId\": \"1\"},\n{\"traceId\": []}]";
    let error = super::error(text.as_bytes().to_vec());
    assert!(error.starts_with("file: line 3: invalid Zipkin JSON: "), "{error}");
    let error = super::error(b"[{\"foo\": 1}]".to_vec());
    assert!(error.contains("an array of spans with `traceId` (Zipkin)"), "{error}");
    assert_eq!(all(&json!([])), []);
    assert_eq!(all(&json!([[], []])), []);
}

#[test]
fn more_spans_than_allowed_are_refused_in_older_formats_too() {
    let spans = json!([{"traceId": "1", "id": "1"}, {"traceId": "1", "id": "2"}]);
    let read = |spans: usize, text: &Value| {
        let cost = CostLimits { spans, ..CostLimits::default() };
        let limits = ReadLimits { cost, ..ReadLimits::default() };
        let (mut reader, _) = reader(text.to_string().into_bytes(), limits).unwrap();
        reader.next().expect("one message").map(drop)
    };
    assert!(read(2, &spans).is_ok());
    let error = read(1, &spans).unwrap_err().to_string();
    assert!(error.contains("more than 1 spans"), "{error}");
}

#[test]
fn logs_and_annotations_are_events() {
    let details = |json: Value| {
        let bytes = json.to_string().into_bytes();
        let (mut reader, _) = reader(bytes, ReadLimits::default()).unwrap();
        let mut details = Details::default();
        while reader.next_into(&mut details).unwrap().is_some() {}
        details.0
    };
    let field = |key: &str, value: &str| json!({"key": key, "type": "string", "value": value});
    let logs = json!([
        {"timestamp": 1, "fields": [field("level", "info"), field("event", "Starting inference")]},
        {"timestamp": 2, "fields": [field("level", "info"), field("message", "done")]},
        {"timestamp": 3, "fields": [field("error.object", "boom")]},
        {"timestamp": 4, "fields": null},
    ]);
    let tags = json!([{"key": "retries", "type": "int64", "value": 3}]);
    let span = json!({"traceID": "1", "spanID": "2", "tags": tags, "logs": logs});
    let expected = [
        "span 2",
        "retries=3",
        "@1000ns Starting inference",
        "@2000ns done",
        "@3000ns boom",
        "@4000ns ",
    ];
    assert_eq!(details(jaeger(&span)), expected);
    let annotations = json!([{"timestamp": 1, "value": "Starting inference"}]);
    let tags = json!({"retries": "3"});
    let span = json!([{"traceId": "1", "id": "2", "tags": tags, "annotations": annotations}]);
    assert_eq!(details(span), expected[..3]);
}
