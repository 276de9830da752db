//! Names without number: what is beyond the limits is still counted, and cannot push out what is known.

use std::sync::Arc;

use laghound::engine::verdict::{Board, Event, Operation};
use laghound::engine::{Engine, EngineParams};
use laghound::model::{InternLimits, Interner, Nanos, OVERFLOW, SpanKind, SpanRecord, Timestamp};
use laghound::publish::{Format, exposition};

use crate::laws::world::{Draft, names};

const START: Timestamp = Timestamp::from_secs(1_790_000_000);

/// One request a trace, each of a service and operation of its own choice.
struct Crowd {
    engine: Engine,
    names: Arc<Interner>,
    second: u64,
    traces: u128,
    sent: u64,
    events: Vec<Event>,
}

impl Crowd {
    fn new() -> Crowd {
        let names = names();
        let engine = Engine::new(EngineParams::default(), Arc::clone(&names), 2);
        Crowd { engine, names, second: 0, traces: 0, sent: 0, events: Vec::new() }
    }

    /// A second in which these come, as (service, name, milliseconds).
    fn second<'a>(&mut self, requests: impl Iterator<Item = (&'a str, &'a str, u64)>) {
        let end = START + Nanos::from_secs(self.second);
        let mut spans: Vec<SpanRecord> = Vec::new();
        for (service, name, ms) in requests {
            self.traces += 1;
            let (trace, kind) = (self.traces, SpanKind::Server);
            let start = end.saturating_sub(Nanos::from_millis(ms));
            let draft = Draft { trace, id: 1, parent: 0, service, name, kind, start, end };
            spans.push(draft.record(&self.names));
        }
        self.sent += spans.len() as u64;
        self.second += 1;
        let now = START + Nanos::from_secs(self.second);
        self.engine.ingest(&spans, now);
        self.events.extend(self.engine.tick(now));
    }

    /// What is normal: `cart` at ten requests a second.
    fn known<'a>(ms: u64) -> impl Iterator<Item = (&'a str, &'a str, u64)> {
        (0..10).map(move |number| ("cart", "GET /cart", ms + number % 3))
    }
}

fn spans(board: &Board) -> u64 {
    board.operations.iter().map(|operation| operation.spans).sum()
}

fn cart(board: &Board) -> &Operation {
    board.operations.iter().find(|operation| &*operation.service == "cart").unwrap()
}

fn series(board: &Board) -> usize {
    let limits = exposition::Limits::new(exposition::Limits::DEFAULT_MAX_SERIES);
    let mut text = String::new();
    exposition::write(board, &limits, Format::Text, &mut text);
    text.lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn a_million_span_names_fold_are_all_counted_and_are_never_suspected() {
    let mut crowd = Crowd::new();
    for _ in 0..300 {
        crowd.second(Crowd::known(20));
    }
    let mut next = 0u64;
    for second in 0..200 {
        // In the second half each takes ten times as long: nobody can say of what.
        let ms = if second < 100 { 5 } else { 50 };
        let names: Vec<String> =
            (next..next + 5000).map(|id| format!("GET /orders/{id}")).collect();
        next += 5000;
        let flood = names.iter().map(|name| ("noisy", name.as_str(), ms));
        crowd.second(flood.chain(Crowd::known(20)));
    }
    assert_eq!(next, 1_000_000);
    crowd.engine.finish(START + Nanos::from_secs(crowd.second + 60));
    let board = crowd.engine.board();
    assert_eq!(spans(&board), crowd.sent, "every one is counted under some operation");
    let per_service = InternLimits::default().operations_per_service;
    let noisy = board.operations.iter().filter(|operation| &*operation.service == "noisy");
    let (folded, named): (Vec<_>, Vec<_>) = noisy.partition(|op| &*op.name == OVERFLOW);
    assert_eq!((folded.len(), named.len()), (1, per_service));
    assert_eq!(folded[0].spans, 1_000_000 - per_service as u64);
    assert!(crowd.events.is_empty(), "{:?}", crowd.events);
    assert!(series(&board) <= exposition::Limits::DEFAULT_MAX_SERIES);
}

#[test]
fn a_hundred_thousand_services_cannot_push_out_what_is_known_of_one() {
    let mut crowd = Crowd::new();
    for _ in 0..600 {
        crowd.second(Crowd::known(20));
    }
    let before = cart(&crowd.engine.board()).baseline.unwrap();
    for hundred in 0..100 {
        let names: Vec<String> =
            (0..1000).map(|id| format!("made-up-{}", hundred * 1000 + id)).collect();
        crowd.second(names.iter().map(|name| (name.as_str(), "GET /", 5)).chain(Crowd::known(20)));
    }
    for _ in 0..60 {
        crowd.second(Crowd::known(20));
    }
    assert!(crowd.events.is_empty(), "{:?}", crowd.events);
    let board = crowd.engine.board();
    assert_eq!(cart(&board).baseline.unwrap(), before, "learned as before");
    let services: std::collections::BTreeSet<_> =
        board.operations.iter().map(|operation| &*operation.service).collect();
    assert!(services.len() <= InternLimits::default().services + 1 && services.contains(OVERFLOW));
    for _ in 0..60 {
        crowd.second(Crowd::known(120));
    }
    let [Event::Opened(incident), ..] = &crowd.events[..] else { panic!("{:?}", crowd.events) };
    assert_eq!(&*incident.suspects[0].service, "cart", "{incident:?}");
}

#[test]
fn counters_beyond_what_a_float_holds_are_written_to_the_last_digit() {
    for spans in [u64::from(u32::MAX) + 1, (1 << 53) + 1, u64::MAX] {
        let operation = Operation {
            service: "cart".into(),
            name: "GET /cart".into(),
            kind: SpanKind::Server,
            spans,
            flagged: spans - 1,
            baseline: None,
            recent: None,
            threshold: None,
            exemplar: None,
        };
        let board = Board { operations: vec![Arc::new(operation)], ..Board::default() };
        let mut text = String::new();
        let limits = exposition::Limits::new(100);
        exposition::write(&board, &limits, Format::Text, &mut text);
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap();
            line.rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!(value("laghound_operation_spans_total"), spans.to_string());
        assert_eq!(value("laghound_operation_flagged_spans_total"), (spans - 1).to_string());
    }
}
