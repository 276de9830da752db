//! Names that rotate for hours, beside and among lawful ones: memory stays flat, what is in use is judged
//! as if the others had never been, and what comes after them is learned like anything else.
//!
//! The oracle is an engine that never forgets, with room for all names.

use std::sync::Arc;

use laghound::engine::verdict::{Board, Event, Operation};
use laghound::engine::{Engine, EngineParams};
use laghound::model::{InternLimits, Interner, Nanos, OVERFLOW, SpanKind, SpanRecord, Timestamp};

use crate::laws::world::Draft;

const START: Timestamp = Timestamp::from_secs(1_790_000_000);
const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;

/// Room for few: it is full within a minute of rotating names.
fn few() -> InternLimits {
    InternLimits {
        services: 10,
        operations: 120,
        operations_per_service: 60,
        strings: 60,
        ..InternLimits::default()
    }
}

/// Room for whatever a test sends.
fn plenty() -> InternLimits {
    InternLimits {
        operations: 1 << 20,
        operations_per_service: 1 << 20,
        strings: 1 << 20,
        ..InternLimits::default()
    }
}

/// What the services send in a second.
#[derive(Clone, Copy, Default)]
struct Second {
    /// What `cart` takes for a request of `shop`, milliseconds; 0 is no request.
    cart_ms: u64,
    /// What `cart` takes for an operation that is new, milliseconds; 0 is no request.
    new_ms: u64,
    /// What the nightly job takes; 0 is no run.
    job_ms: u64,
    /// Operations and dependencies that nobody has ever heard of, in `cart` and below `shop`.
    made_up: u64,
}

/// Time that passes in an engine.
struct Street {
    engine: Engine,
    names: Arc<Interner>,
    second: u64,
    traces: u128,
    sent: u64,
    events: Vec<Event>,
}

impl Street {
    fn new(limits: InternLimits, shards: usize) -> Street {
        let names = Arc::new(Interner::new(limits));
        let engine = Engine::new(EngineParams::default(), Arc::clone(&names), shards);
        Street { engine, names, second: 0, traces: 0, sent: 0, events: Vec::new() }
    }

    fn forgetting(limits: InternLimits, shards: usize) -> Street {
        let street = Street::new(limits, shards);
        Street { engine: street.engine.forgetting(), ..street }
    }

    /// So many seconds, all alike, with a tick at the end of each slice.
    fn pass(&mut self, seconds: u64, what: Second) {
        for _ in 0..seconds {
            self.second += 1;
            let now = START + Nanos::from_secs(self.second);
            let spans = self.spans(now, what);
            self.sent += spans.len() as u64;
            self.engine.ingest(&spans, now);
            if self.second.is_multiple_of(5) {
                self.events.extend(self.engine.tick(now));
            }
        }
    }

    fn spans(&mut self, now: Timestamp, what: Second) -> Vec<SpanRecord> {
        let Second { cart_ms, new_ms, job_ms, made_up } = what;
        let mut spans = Vec::new();
        // No two calls take the same time, and what is slow is not slow by chance.
        let wobble = self.second % 3;
        for _ in 0..4 * cart_ms.min(1) {
            let calls = [("shop", "GET /", 10), ("cart", "GET /cart", cart_ms + wobble)];
            self.request(now, &calls, &mut spans);
        }
        for _ in 0..4 * new_ms.min(1) {
            self.request(now, &[("cart", "GET /wishlist", new_ms + wobble)], &mut spans);
        }
        for _ in 0..4 * job_ms.min(1) {
            self.request(now, &[("report", "nightly", job_ms + wobble)], &mut spans);
        }
        for number in 0..made_up {
            let name = format!("GET /orders/{}-{number}", self.second);
            self.request(now, &[("cart", &name, 5)], &mut spans);
            let name = format!("query {}-{number}", self.second);
            let calls = [("shop", "GET /search", 10), ("shop", name.as_str(), 5)];
            self.request(now, &calls, &mut spans);
            let peer = self.names.string(format!("db-{}-{number}", self.second).as_bytes());
            let called = spans.last_mut().expect("just pushed");
            let service = self.names.service(b"shop");
            called.span.key = self.names.key(service, b"SELECT", SpanKind::Client);
            called.span.peer = Some(peer);
        }
        spans
    }

    /// Calls within calls, each with so many milliseconds of its own.
    fn request(&mut self, end: Timestamp, calls: &[(&str, &str, u64)], into: &mut Vec<SpanRecord>) {
        self.traces += 1;
        let mut ms: u64 = calls.iter().map(|&(_, _, ms)| ms).sum();
        for (parent, &(service, name, own)) in (0..).zip(calls) {
            let start = end.saturating_sub(Nanos::from_millis(ms));
            ms -= own;
            let (trace, id, kind) = (self.traces, parent + 1, SpanKind::Server);
            let draft = Draft { trace, id, parent, service, name, kind, start, end };
            into.push(draft.record(&self.names));
        }
    }

    fn finish(&mut self) -> Board {
        let now = START + Nanos::from_secs(self.second + 60);
        self.events.extend(self.engine.finish(now));
        let account = self.engine.account();
        assert!(account.balances());
        assert_eq!((account.analyzed, account.pending_spans), (self.sent, 0));
        self.engine.board()
    }

    fn row(&self, service: &str, name: &str) -> Option<Arc<Operation>> {
        let operations = self.engine.board().operations;
        operations.into_iter().find(|row| (&*row.service, &*row.name) == (service, name))
    }

    /// Who was named first, each time.
    fn named(&self) -> Vec<String> {
        let opened = self.events.iter().filter_map(|event| match event {
            Event::Opened(incident) => Some(&incident.suspects[0]),
            _ => None,
        });
        opened.map(|suspect| format!("{} {}", suspect.service, suspect.operation)).collect()
    }
}

const CALM: Second = Second { cart_ms: 20, new_ms: 0, job_ms: 0, made_up: 0 };

#[test]
fn after_hours_of_rotating_names_a_new_one_is_learned_and_named_like_any_other() {
    let boards = [1, 3].map(|shards| {
        let mut street = Street::forgetting(few(), shards);
        street.pass(10 * MINUTE, CALM);
        let mut bytes = Vec::new();
        for _ in 0..18 {
            street.pass(10 * MINUTE, Second { made_up: 2, ..CALM });
            bytes.push(street.engine.bytes());
            let limits = few();
            // Those of the overflow are one for each service and kind.
            assert!(street.names.operations() <= limits.operations + 12);
            let board = street.engine.board();
            let count = |folded: bool| {
                let rows = board.operations.iter();
                rows.filter(|row| (&*row.name == OVERFLOW) == folded && &*row.service == "cart")
                    .count()
            };
            assert!(count(false) <= limits.operations_per_service && count(true) == 1);
        }
        // Flat: the last hour holds what the second one held, give or take the size of a few tapes.
        let most = |hour: &[usize]| hour.iter().copied().max().unwrap_or(0) as f64;
        assert!(most(&bytes[12..]) <= 1.1 * most(&bytes[6..12]), "{bytes:?}");
        assert!(street.names.given_back() > 300, "{}", street.names.given_back());
        assert!(street.events.is_empty(), "{:?}", street.events);

        street.pass(45 * MINUTE, CALM);
        assert!(street.names.operations() <= 6, "{}", street.names.operations());
        street.pass(20 * MINUTE, Second { new_ms: 15, ..CALM });
        let row = street.row("cart", "GET /wishlist").expect("it has a name of its own");
        let [median, ..] = row.baseline.expect("and a baseline");
        assert!((0.014..0.019).contains(&median), "{row:?}");
        street.pass(5 * MINUTE, Second { new_ms: 150, ..CALM });
        assert_eq!(street.named(), ["cart GET /wishlist"]);
        let board = street.finish();
        (board, street.events)
    });
    let [one, three] = boards;
    assert_eq!(one, three, "the same for any number of shards");
}

#[test]
fn what_is_in_use_is_judged_as_by_an_engine_that_never_forgets() {
    let mut streets = [Street::forgetting(plenty(), 2), Street::new(plenty(), 2)];
    for street in &mut streets {
        street.pass(10 * MINUTE, CALM);
        for hour in 0..2 {
            street.pass(50 * MINUTE, Second { made_up: 1, ..CALM });
            street.pass(5 * MINUTE, Second { cart_ms: 60 + 40 * hour, made_up: 1, ..CALM });
            street.pass(5 * MINUTE, Second { made_up: 1, ..CALM });
        }
    }
    let [forgets, never] = &mut streets;
    let held = [&forgets, &never].map(|street| street.names.operations());
    assert!(2 * held[0] < held[1] && forgets.engine.bytes() < never.engine.bytes(), "{held:?}");
    let boards = [forgets.finish(), never.finish()];
    assert_eq!(forgets.named(), ["cart GET /cart"; 2]);
    assert_eq!(forgets.events, never.events);
    // What is normal for an operation that had made-up callees is what is left of them.
    let [forgot, never] = boards.map(|mut board| {
        board.operations.retain(|row| &*row.name != "SELECT");
        board
    });
    assert_eq!(forgot.operations, never.operations);
    assert_eq!(forgot, never);
}

#[test]
fn a_nightly_job_is_remembered_beside_others_who_make_up_names() {
    let mut street = Street::forgetting(few(), 1);
    street.pass(10 * MINUTE, Second { job_ms: 30, ..CALM });
    let before = street.row("report", "nightly").expect("it runs").baseline.expect("learned");
    street.pass(2 * HOUR, Second { made_up: 1, ..CALM });
    assert!(street.names.given_back() > 50, "{}", street.names.given_back());
    assert_eq!(street.row("report", "nightly"), None, "not published while it is idle");
    street.pass(20, Second { job_ms: 30, ..CALM });
    let after = street.row("report", "nightly").expect("it runs").baseline.expect("remembered");
    // What was recent when it ended has become normal meanwhile, and took as long.
    let same = |(after, before): (&f64, &f64)| (after - before).abs() < 0.001 * before;
    assert!(after.iter().zip(&before).all(same), "{before:?} {after:?}");
    street.pass(2 * MINUTE, Second { job_ms: 300, ..CALM });
    assert_eq!(street.named(), ["report nightly"]);
}
