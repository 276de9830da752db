//! What the fuzz targets begin with (`tests/fuzz/seeds/`): small files made by our own simulator, each
//! valid, so that the fuzzer need not find out what a span is. `BLESS=1` writes them anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use laghound::engine::EngineParams;
use laghound::live::simulated::exported;
use laghound::live::snapshot::image::Image;
use laghound::model::SpanKind;
use laghound::otlp::file::{ReadLimits, Reader};
use laghound::otlp::{AttributeRules, CostLimits, Interest};
use laghound::sim::{Random, Scenario, SimSpan, shop};
use prost::Message;
use serde_json::json;

use crate::laws::world::names;
use crate::world::choice::Choice;
use crate::world::{Setup, World};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target)
}

/// The first spans of a simulated shop.
fn spans() -> Vec<SimSpan> {
    let scenario = Scenario::new(shop(), 5);
    let traces = scenario.traces().expect("there are no faults");
    traces.flat_map(|trace| trace.spans).take(24).collect()
}

fn otlp(spans: &[SimSpan]) -> Vec<u8> {
    exported(spans).encode_to_vec()
}

fn otlp_json(spans: &[SimSpan]) -> Vec<u8> {
    let spans: Vec<_> = spans
        .iter()
        .map(|span| {
            json!({
                "traceId": span.trace.to_string(), "spanId": span.id.to_string(),
                "parentSpanId": span.parent.map(|id| id.to_string()).unwrap_or_default(),
                "name": &*span.name, "kind": span.kind as u8,
                "startTimeUnixNano": span.start.0.to_string(), "endTimeUnixNano": span.end.0,
                "attributes": [{"key": "peer.service", "value": {"stringValue": "cart"}}],
                "events": [{"timeUnixNano": span.end.0.to_string(), "name": "done"}],
                "status": {"code": 2},
            })
        })
        .collect();
    let service = json!({"key": "service.name", "value": {"stringValue": "shop"}});
    let resource = json!({"attributes": [service]});
    let message =
        json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]});
    message.to_string().into_bytes()
}

fn jaeger(spans: &[SimSpan]) -> Vec<u8> {
    let spans: Vec<_> = spans
        .iter()
        .map(|span| {
            let parent = span.parent.map(|parent| {
                json!({"refType": "CHILD_OF", "traceID": span.trace.to_string(), "spanID": parent.to_string()})
            });
            json!({
                "traceID": span.trace.to_string(), "spanID": span.id.to_string(),
                "references": parent.into_iter().collect::<Vec<_>>(),
                "operationName": &*span.name, "processID": "p1",
                "startTime": span.start.0 / 1000, "duration": span.duration().0 / 1000,
                "tags": [{"key": "span.kind", "type": "string", "value": "server"}, {"key": "error", "value": true}],
                "logs": [{"timestamp": span.end.0 / 1000, "fields": [{"key": "event", "value": "done"}]}],
            })
        })
        .collect();
    let trace =
        json!({"traceID": "a", "spans": spans, "processes": {"p1": {"serviceName": "shop"}}});
    json!({"data": [trace]}).to_string().into_bytes()
}

fn zipkin(spans: &[SimSpan]) -> Vec<u8> {
    let spans: Vec<_> = spans
        .iter()
        .map(|span| {
            let kind = if span.kind == SpanKind::Client { "CLIENT" } else { "SERVER" };
            json!({
                "traceId": span.trace.to_string(), "id": span.id.to_string(),
                "parentId": span.parent.map(|id| id.to_string()), "kind": kind, "name": &*span.name,
                "timestamp": span.start.0 / 1000, "duration": span.duration().0 / 1000,
                "localEndpoint": {"serviceName": "shop"}, "remoteEndpoint": {"serviceName": "cart"},
                "annotations": [{"timestamp": span.end.0 / 1000, "value": "done"}], "tags": {"error": ""},
            })
        })
        .collect();
    serde_json::Value::Array(spans).to_string().into_bytes()
}

/// A file as the Collector writes it: a length, a message.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&length.to_be_bytes()[..], message].concat()
}

/// A world after a few minutes, with an incident open; the content of its snapshot.
fn content() -> Vec<u8> {
    let mut world = World::new(Setup::new(1));
    world.pass(200);
    world.traffic.slow_ms = 100;
    world.pass(60);
    assert_eq!(world.life.engine.board().open.len(), 1);
    let mut content = Vec::new();
    world.life.engine.save(&mut content).unwrap();
    content
}

/// Decisions for a world of a dozen steps.
fn decisions(seed: u64) -> Vec<u8> {
    let mut draw = Random::new(seed, 5);
    (0..200).map(|_| u8::try_from(draw.below(256)).unwrap()).collect()
}

/// All seeds, as (target, name, bytes).
fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let spans = spans();
    let (protobuf, content) = (otlp(&spans), content());
    let image = Image::take(Setup::new(1).start, |out| out.write_all(&content)).unwrap();
    vec![
        ("otlp_protobuf", "request", protobuf.clone()),
        ("otlp_json", "request", otlp_json(&spans[..6])),
        ("recording", "protobuf", protobuf.clone()),
        ("recording", "framed", framed(&protobuf)),
        ("recording", "json", otlp_json(&spans[..6])),
        ("recording", "zstd", zstd::encode_all(&protobuf[..], 3).unwrap()),
        ("jaeger", "document", jaeger(&spans[..6])),
        ("zipkin", "document", zipkin(&spans[..6])),
        ("engine", "one", decisions(1)),
        ("engine", "two", decisions(2)),
        ("snapshot", "content", content),
        ("snapshot", "file", image.bytes().to_vec()),
    ]
}

/// How many spans a file holds, read as the program reads files.
fn spans_in(bytes: &[u8]) -> usize {
    let names = names();
    let rules = Arc::new(AttributeRules::new(&Interest::default(), &names));
    let (cost, total_bytes) = (CostLimits::default(), 1 << 26);
    let limits = ReadLimits { message_bytes: 1 << 20, cost, total_bytes };
    let input = std::io::Cursor::new(bytes.to_vec());
    let reader = Reader::new("seed", input, names, rules, limits).expect("is recognised");
    reader.map(|message| message.expect("is sound").batch.spans.len()).sum()
}

#[test]
fn each_seed_is_small_and_says_something_to_its_target() {
    for (target, name, made) in seeds() {
        let path = folder(target).join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(folder(target)).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_else(|_| panic!("{path:?}: run with BLESS=1"));
        assert!(kept.len() < 16 << 10, "{path:?} has {} bytes", kept.len());
        match target {
            "engine" => {}
            "snapshot" if name == "file" => drop(Image::open(kept).expect("is sound")),
            "snapshot" => {
                let (params, at) = (EngineParams::default(), Setup::new(1).start);
                let restored =
                    laghound::engine::Engine::restore(params, names(), 1, &mut &kept[..], at, at);
                assert!(restored.is_ok(), "{path:?}");
            }
            _ => assert!(spans_in(&kept) >= 6, "{path:?}"),
        }
    }
}
