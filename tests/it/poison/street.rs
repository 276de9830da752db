//! Two services in event time: `shop` serves a request with some work of its own and one call to `cart`.
//!
//! Why not the simulated shop: hours must pass in a second of test, and each number must be one that the
//! test chose.

use std::sync::Arc;

use laghound::engine::verdict::{Board, Event, Incident, Operation};
use laghound::engine::{Engine, EngineParams};
use laghound::model::{Interner, Nanos, SpanKind, SpanRecord, Timestamp};
use laghound::sim::Random;

use crate::laws::world::{Draft, names};

pub(super) const START: Timestamp = Timestamp::from_secs(1_790_000_000);
pub(super) const HOUR: u64 = 3600;

/// The two services, the engine that watches them, and what it has said.
pub(super) struct Street {
    pub(super) engine: Engine,
    pub(super) names: Arc<Interner>,
    pub(super) draw: Random,
    /// Seconds since the start.
    pub(super) second: u64,
    /// Requests a second.
    pub(super) rate: u64,
    /// What was said, with the second.
    pub(super) said: Vec<(u64, Event)>,
    traces: u128,
}

impl Street {
    pub(super) fn new(rate: u64) -> Street {
        Street::with(rate, EngineParams::default())
    }

    pub(super) fn with(rate: u64, params: EngineParams) -> Street {
        let names = names();
        Street {
            engine: Engine::new(params, Arc::clone(&names), 1),
            names,
            draw: Random::new(7, 0),
            second: 0,
            rate,
            said: Vec::new(),
            traces: 0,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        START + Nanos::from_secs(self.second)
    }

    /// Lets time pass; `cart_ms` says what a call to `cart` takes in that second.
    pub(super) fn run(&mut self, seconds: u64, cart_ms: impl Fn(u64) -> f64) {
        self.run_beside(seconds, cart_ms, |_, _| {});
    }

    /// The same, with whatever `beside` sends in each second.
    pub(super) fn run_beside(
        &mut self,
        seconds: u64,
        cart_ms: impl Fn(u64) -> f64,
        mut beside: impl FnMut(&mut Street, &mut Vec<SpanRecord>),
    ) {
        for _ in 0..seconds {
            let mut spans = Vec::new();
            for number in 0..self.rate {
                let at = self.now() + Nanos(number * 1_000_000_000 / self.rate);
                let cart = cart_ms(self.second) * self.jitter();
                self.request(at, cart, &mut spans);
            }
            beside(self, &mut spans);
            self.second += 1;
            let now = self.now();
            self.engine.ingest(&spans, now);
            let second = self.second;
            self.said.extend(self.engine.tick(now).into_iter().map(|event| (second, event)));
        }
    }

    /// One part in seven to either side.
    fn jitter(&mut self) -> f64 {
        (self.draw.normal() * 0.15).exp()
    }

    /// A request whose call to `cart` takes so many milliseconds.
    pub(super) fn request(&mut self, end: Timestamp, cart_ms: f64, spans: &mut Vec<SpanRecord>) {
        self.traces += 1;
        let own = Nanos::from_secs_f64(0.010 * self.jitter());
        let cart = Nanos::from_secs_f64(cart_ms / 1e3);
        let way = Nanos::from_micros(300);
        let start = end.saturating_sub(own + cart + way + way);
        let call = start + own;
        let mut span = |id, parent, service, name, kind, start, end| {
            let trace = self.traces;
            let draft = Draft { trace, id, parent, service, name, kind, start, end };
            spans.push(draft.record(&self.names));
        };
        span(1, 0, "shop", "GET /", SpanKind::Server, start, end);
        span(2, 1, "shop", "GET", SpanKind::Client, call, end);
        span(3, 2, "cart", "GET /cart", SpanKind::Server, call + way, call + way + cart);
    }

    /// A lone span of an operation, ended just now.
    pub(super) fn lone(&mut self, service: &str, name: &str, took: Nanos) -> SpanRecord {
        self.traces += 1;
        let (trace, end) = (self.traces, self.now());
        let start = end.saturating_sub(took);
        let kind = SpanKind::Server;
        Draft { trace, id: 1, parent: 0, service, name, kind, start, end }.record(&self.names)
    }

    pub(super) fn board(&self) -> Board {
        self.engine.board()
    }

    /// An operation as it is published.
    pub(super) fn operation(&self, service: &str, name: &str) -> Operation {
        let board = self.board();
        let found = board.operations.iter().find(|op| &*op.service == service && &*op.name == name);
        let found = found.unwrap_or_else(|| panic!("{service} {name} is not published"));
        Operation::clone(found)
    }

    /// The median that is learned for `cart`, in milliseconds.
    pub(super) fn learned_ms(&self) -> f64 {
        self.operation("cart", "GET /cart").baseline.expect("is learned")[0] * 1e3
    }

    /// Incidents that opened, with the second.
    pub(super) fn opened(&self) -> Vec<(u64, &Incident)> {
        let opened = |(second, event): &'_ (u64, Event)| match event {
            Event::Opened(_) => Some(*second),
            _ => None,
        };
        let seconds: Vec<u64> = self.said.iter().filter_map(opened).collect();
        let incidents = self.said.iter().filter_map(|(_, event)| match event {
            Event::Opened(incident) => Some(incident),
            _ => None,
        });
        seconds.into_iter().zip(incidents).collect()
    }

    /// Seconds in which an incident closed.
    pub(super) fn closed(&self) -> Vec<u64> {
        let closed =
            |(second, event): &(u64, Event)| matches!(event, Event::Closed(_)).then_some(*second);
        self.said.iter().filter_map(closed).collect()
    }

    /// Asserts that one incident opened, within so many seconds of `from`, and that `cart` is its first
    /// suspect; forgets what was said.
    #[track_caller]
    pub(super) fn expect_cart(&mut self, from: u64, within: u64) {
        let opened = self.opened();
        assert_eq!(opened.len(), 1, "{:?}", self.said);
        let (second, incident) = opened[0];
        assert_eq!(&*incident.suspects[0].service, "cart", "{incident:?}");
        assert!(second > from && second <= from + within, "{second}, from {from}");
        self.said.clear();
    }

    /// Asserts that nothing was said.
    #[track_caller]
    pub(super) fn expect_silence(&self) {
        assert!(self.said.is_empty(), "{:?}", self.said);
    }
}
