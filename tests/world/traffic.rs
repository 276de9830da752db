//! What well-behaved services send: `shop` calls `cart` calls `stock`, with a worker behind a queue, and
//! from time to time one of them is slow.

use laghound::model::AttrSetId;
use laghound::model::{Interner, Nanos, Span, SpanId, SpanKind, SpanRecord, Timestamp, TraceId};
use laghound::sim::Random;

/// The services, the slow one and by how much.
pub struct Traffic {
    draw: Random,
    /// Requests a second, in thousandths.
    pub rate: u64,
    owed: u64,
    traces: u128,
    /// Milliseconds on top of what `stock` takes.
    pub slow_ms: u64,
    /// One request in so many is of an operation that was never heard of before; 0 is none.
    pub made_up_every: u128,
}

impl Traffic {
    /// Two requests a second.
    pub fn new(draw: Random) -> Traffic {
        Traffic { draw, rate: 2_000, owed: 0, traces: 0, slow_ms: 0, made_up_every: 0 }
    }

    /// The spans that end in the second before `now`.
    pub fn second(&mut self, now: Timestamp, names: &Interner) -> Vec<SpanRecord> {
        self.owed += self.rate;
        let mut spans = Vec::new();
        while self.owed >= 1000 {
            self.owed -= 1000;
            let end = now.saturating_sub(Nanos::from_millis(u64::from(self.draw.between(0, 999))));
            self.request(end, names, &mut spans);
        }
        spans
    }

    fn request(&mut self, end: Timestamp, names: &Interner, spans: &mut Vec<SpanRecord>) {
        self.traces += 1;
        // Trace ids of one life may come again in the next: the number alone would not repeat.
        let Some(trace) = TraceId::new(self.traces << 8 | 1) else { return };
        let mut took = |ms: u64| {
            let factor = (self.draw.normal() * 0.15).exp();
            Nanos::from_secs_f64(ms as f64 / 1e3 * factor)
        };
        let (shop, cart, stock) = (took(10), took(20), took(30) + Nanos::from_millis(self.slow_ms));
        let way = Nanos::from_micros(300);
        let mut ends = end;
        let mut push = |id: u64, service: &str, name: &str, kind, start, end| {
            let service = names.service(service.as_bytes());
            let key = names.key(service, name.as_bytes(), kind);
            let Some(own) = SpanId::new(id) else { return };
            let (parent, attrs) = (SpanId::new(id - 1), AttrSetId::EMPTY);
            let span = Span { id: own, parent, start, end, key, peer: None, attrs, failed: false };
            spans.push(SpanRecord { trace, span });
        };
        let mut start = end.saturating_sub(shop + cart + stock + way + way + way + way);
        if self.made_up_every > 0 && self.traces.is_multiple_of(self.made_up_every) {
            return push(
                1,
                "shop",
                &format!("GET /{}", self.traces),
                SpanKind::Server,
                start,
                ends,
            );
        }
        push(1, "shop", "GET /", SpanKind::Server, start, ends);
        start = start + shop;
        push(2, "shop", "GET", SpanKind::Client, start, ends);
        (start, ends) = (start + way, ends.saturating_sub(way));
        push(3, "cart", "GET /cart", SpanKind::Server, start, ends);
        start = start + cart;
        push(4, "cart", "GET", SpanKind::Client, start, ends);
        (start, ends) = (start + way, ends.saturating_sub(way));
        push(5, "stock", "GET /stock", SpanKind::Server, start, ends);
        push(6, "stock", "SELECT", SpanKind::Client, start + Nanos::from_millis(5), ends);
    }
}
