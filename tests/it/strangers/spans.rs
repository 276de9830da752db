//! Traces of every bad shape, and beside them one that is fine.

use std::sync::Arc;

use laghound::engine::account::DropReason;
use laghound::engine::verdict::Operation;
use laghound::engine::{Engine, EngineParams};
use laghound::model::{Interner, Nanos, SpanKind, SpanRecord, Timestamp};
use laghound::otlp::{AttributeRules, Batch, CostLimits, Decoder, Interest};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::laws::world::{Draft, names};

const START: Timestamp = Timestamp::from_secs(1_790_000_000);
const MS: u64 = 1_000_000;

/// An engine, the only trace it is given besides the bad ones, and what must become of it.
struct Bench {
    engine: Engine,
    names: Arc<Interner>,
}

impl Bench {
    fn new(params: EngineParams) -> Bench {
        let names = names();
        Bench { engine: Engine::new(params, Arc::clone(&names), 1), names }
    }

    fn ingest(&mut self, drafts: &[Draft<'_>]) {
        let spans: Vec<SpanRecord> = drafts.iter().map(|draft| draft.record(&self.names)).collect();
        self.engine.ingest(&spans, START);
    }

    /// Ends the stream and looks at an operation.
    fn end(&mut self, name: &str) -> Option<Arc<Operation>> {
        self.engine.finish(START + Nanos::from_secs(10));
        let account = self.engine.account();
        assert!(account.balances() && account.pending_spans == 0, "{account:?}");
        self.operation(name)
    }

    fn operation(&self, name: &str) -> Option<Arc<Operation>> {
        self.engine.board().operations.into_iter().find(|operation| &*operation.name == name)
    }
}

/// A span of the trace 1, from and to so many milliseconds after the start.
fn span(id: u64, parent: u64, name: &str, from: u64, to: u64) -> Draft<'_> {
    Draft {
        trace: 1,
        id,
        parent,
        service: "strange",
        name,
        kind: SpanKind::Internal,
        start: START + Nanos(from * MS),
        end: START + Nanos(to * MS),
    }
}

/// A healthy trace.
fn neighbour() -> [Draft<'static>; 2] {
    let root = Draft { trace: 2, service: "fine", ..span(1, 0, "GET /fine", 0, 100) };
    [root, Draft { trace: 2, service: "fine", ..span(2, 1, "work", 20, 80) }]
}

/// Assembly limits with room for the large shapes.
fn roomy() -> EngineParams {
    let mut params = EngineParams::default();
    params.assembly.max_spans_per_trace = 1_000_000;
    params
}

/// Ends the stream on a thread with a stack that no recursion over the spans would fit.
fn end_on_a_small_stack(mut bench: Bench, name: &'static str) -> Option<Arc<Operation>> {
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    let ended = thread.spawn(move || {
        let operation = bench.end(name);
        drop(bench);
        operation
    });
    ended.unwrap().join().unwrap()
}

#[test]
fn a_trace_of_a_million_spans_is_capped_and_its_neighbours_are_as_without_it() {
    let mut bench = Bench::new(EngineParams::default());
    bench.ingest(&neighbour());
    bench.ingest(&[span(1, 0, "giant", 0, 1000)]);
    for thousand in 0..1000u64 {
        let first = 2 + thousand * 1000;
        let spans: Vec<_> =
            (first..first + 1000).map(|id| span(id, 1, "part", id % 900, id % 900 + 1)).collect();
        bench.ingest(&spans);
        assert!(bench.engine.account().balances());
    }
    let limit = EngineParams::default().assembly.max_spans_per_trace as u64;
    assert_eq!(bench.end("giant").unwrap().spans, 1);
    assert_eq!(bench.engine.account().dropped[&DropReason::TraceTooLarge], 1_000_001 - limit);
    assert_eq!(bench.operation("part").unwrap().spans, limit - 1);
    let mut alone = Bench::new(EngineParams::default());
    alone.ingest(&neighbour());
    for name in ["GET /fine", "work"] {
        assert_eq!(bench.operation(name), alone.end(name));
        assert_eq!(bench.operation(name).unwrap().spans, 1);
    }
}

#[test]
fn a_chain_of_a_hundred_thousand_spans_needs_no_stack() {
    const DEPTH: u64 = 100_000;
    let mut bench = Bench::new(roomy());
    // Each a nanosecond shorter at both ends than its parent; the parents come last.
    let link = |id: u64| Draft {
        start: START + Nanos(id),
        end: START + Nanos(4 * DEPTH - id),
        ..span(id, id - 1, "link", 0, 0)
    };
    let links: Vec<_> = (1..=DEPTH).rev().map(link).collect();
    bench.ingest(&links);
    let link = end_on_a_small_stack(bench, "link").unwrap();
    assert_eq!(link.spans, DEPTH);
}

#[test]
fn a_hundred_thousand_children_that_all_overlap_are_each_counted() {
    const CHILDREN: u64 = 100_000;
    let mut bench = Bench::new(roomy());
    bench.ingest(&[span(1, 0, "parent", 0, 1000)]);
    // All around the middle, none with the same times as another.
    let children: Vec<_> = (0..CHILDREN)
        .map(|number| Draft {
            start: START + Nanos(number * 4_000),
            end: START + Nanos(1000 * MS - number * 4_001),
            ..span(2 + number, 1, "child", 0, 0)
        })
        .collect();
    bench.ingest(&children);
    assert_eq!(end_on_a_small_stack(bench, "child").unwrap().spans, CHILDREN);
}

#[test]
fn spans_that_are_their_own_ancestors_are_counted_once_each() {
    let mut bench = Bench::new(roomy());
    let mut drafts = vec![span(1, 1, "self", 0, 10)];
    drafts.extend([span(2, 3, "pair", 0, 10), span(3, 2, "pair", 2, 8)]);
    const RING: u64 = 1000;
    let next = |id: u64| if id + 1 < 10 + RING { id + 1 } else { 10 };
    drafts.extend((10..10 + RING).map(|id| span(id, next(id), "ring", 0, 10)));
    bench.ingest(&drafts);
    bench.ingest(&neighbour());
    assert_eq!(bench.end("GET /fine").unwrap().spans, 1);
    let account = bench.engine.account();
    assert_eq!((account.analyzed, account.dropped_total()), (drafts.len() as u64 + 2, 0));
}

#[test]
fn of_spans_with_the_same_id_the_first_is_kept_whatever_the_others_say() {
    let mut bench = Bench::new(roomy());
    let root = span(1, 0, "root", 0, 100);
    bench.ingest(&[root, span(2, 1, "first", 10, 20)]);
    bench.ingest(&[span(2, 1, "first", 10, 20), span(2, 1, "second", 10, 90), root]);
    assert_eq!(bench.end("first").unwrap().spans, 1);
    assert_eq!(bench.operation("second"), None);
    assert_eq!(bench.operation("root").unwrap().spans, 1);
    assert_eq!(bench.engine.account().dropped[&DropReason::Duplicate], 3);
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// One span through the decoder, as a sender would send it.
fn decoded(change: impl FnOnce(&mut Span)) -> (Arc<Interner>, Batch) {
    let mut span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET /".to_owned(),
        start_time_unix_nano: START.0,
        end_time_unix_nano: START.0 + MS,
        ..Span::default()
    };
    change(&mut span);
    let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![resource] };
    let names = names();
    let rules = Arc::new(AttributeRules::new(&Interest::default(), &names));
    let mut batch = Batch::default();
    let bytes = request.encode_to_vec();
    let checked = laghound::otlp::count(&bytes, &CostLimits::default()).unwrap();
    Decoder::new(Arc::clone(&names), rules).protobuf(&checked, &mut batch).unwrap();
    (names, batch)
}

#[test]
fn a_name_of_a_megabyte_is_cut_on_a_character_and_told_apart_from_its_like() {
    let limit = laghound::model::InternLimits::default().name_bytes;
    let kept = |last: char| {
        let (names, batch) = decoded(|span| {
            span.name = "é".repeat(1 << 19);
            span.name.push(last);
        });
        names.text(names.resolve(batch.spans[0].span.key).name).to_string()
    };
    let (one, two) = (kept('1'), kept('2'));
    assert!(one.len() <= limit && one.starts_with("ééé") && one != two);
    assert_eq!(one, kept('1'), "the same in every process");
}

#[test]
fn ten_thousand_attributes_are_counted_and_the_first_ones_looked_at() {
    let (_, batch) = decoded(|span| {
        span.attributes = (0..10_000).map(|n| text(&format!("a{n}"), "x")).collect();
    });
    assert_eq!(batch.spans.len(), 1);
    assert_eq!(batch.skipped_attributes, 10_000 - Interest::default().max_attributes as u64);
}

#[test]
fn unknown_kinds_and_flags_are_a_span_like_any_other() {
    for kind in [-1, 6, 99, i32::MAX, i32::MIN] {
        let (names, batch) = decoded(|span| {
            span.kind = kind;
            span.flags = u32::MAX;
            span.trace_state = "a=b,=,\u{0}".to_owned();
        });
        let kind = names.resolve(batch.spans[0].span.key).kind;
        assert_eq!((batch.defects.total(), kind), (0, SpanKind::Unspecified));
    }
}
