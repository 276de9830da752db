//! How spans reach a receiver: each instance has an exporter that sends batches, and the way there
//! loses, delays and repeats some of them. Hosts have clocks of their own.
//!
//! Works in the simulation's time: a batch is released once nothing earlier can follow, so batches
//! come in the order of their arrival however late some are. It does not model back-pressure: a
//! receiver that refuses is the sender's business.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::{Nanos, Timestamp};

use super::random::Random;
use super::span::SimSpan;
use super::topology::Topology;
use super::traffic::{Arrivals, Trace};
use super::work::Work;

/// How spans are batched, and what becomes of the batches.
#[derive(Clone, PartialEq, Debug)]
pub struct Delivery {
    /// Time between two exports of an instance; each differs from it by up to a tenth.
    pub flush_interval: Nanos,
    /// An exporter that has this many spans sends them at once.
    pub batch_spans: usize,
    /// Share of the traces that are recorded at all (head sampling).
    pub sampled_share: f64,
    /// Share of the batches that never arrive.
    pub lost_share: f64,
    /// Share of the batches that are held up on the way ...
    pub late_share: f64,
    /// ... for a time uniform between nothing and this.
    pub late_by: Nanos,
    /// Share of the batches that arrive a second time, 1 to 5 s after the first.
    pub duplicate_share: f64,
    /// Each host's clock is off by a time of its own, uniform within plus and minus this.
    pub clock_skew: Nanos,
}

impl Default for Delivery {
    /// Every second, up to 512 spans, and everything arrives.
    fn default() -> Delivery {
        Delivery {
            flush_interval: Nanos::from_secs(1),
            batch_spans: 512,
            sampled_share: 1.0,
            lost_share: 0.0,
            late_share: 0.0,
            late_by: Nanos::from_secs(10),
            duplicate_share: 0.0,
            clock_skew: Nanos::ZERO,
        }
    }
}

/// What one instance sent in one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// When it reaches the receiver.
    pub arrival: Timestamp,
    /// The spans, all of one resource.
    pub spans: Vec<SimSpan>,
}

/// What became of the spans so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delivered {
    /// Spans that happened.
    pub happened: u64,
    /// Spans of traces that were not sampled.
    pub unsampled: u64,
    /// Batches that were sent.
    pub batches: u64,
    /// Batches that never arrive.
    pub lost_batches: u64,
    /// Spans in those.
    pub lost: u64,
    /// Batches that are held up.
    pub late_batches: u64,
    /// Batches that arrive twice.
    pub duplicate_batches: u64,
    /// Spans that arrive the second time.
    pub duplicate: u64,
}

/// Batches in the order of their arrival.
#[derive(Clone, Debug)]
pub struct Batches {
    arrivals: Arrivals,
    delivery: Delivery,
    transit: Work,
    draw: Random,
    /// By host, in nanoseconds; negative runs behind.
    skews: Vec<i64>,
    exporters: Vec<Exporter>,
    /// Spans that have not ended yet.
    running: BinaryHeap<Reverse<Ordered<SimSpan>>>,
    /// The flush each exporter with spans waits for.
    timers: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Batches on the way.
    outbox: BinaryHeap<Reverse<Ordered<Vec<SimSpan>>>>,
    /// Everything before this has happened.
    now: Timestamp,
    number: u64,
    delivered: Delivered,
}

#[derive(Clone, Debug)]
struct Exporter {
    waiting: Vec<SimSpan>,
    next_flush: Timestamp,
}

/// Something with its time and a number that breaks ties.
#[derive(Clone, Debug)]
struct Ordered<T> {
    at: Timestamp,
    number: u64,
    item: T,
}

impl<T> Ord for Ordered<T> {
    fn cmp(&self, other: &Ordered<T>) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> PartialOrd for Ordered<T> {
    fn partial_cmp(&self, other: &Ordered<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Ordered<T> {
    fn eq(&self, other: &Ordered<T>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Ordered<T> {}

const END_OF_TIME: Timestamp = Timestamp(u64::MAX);

impl Batches {
    pub(super) fn new(arrivals: Arrivals, delivery: Delivery) -> Batches {
        let world = arrivals.world();
        let (start, topology) = (world.start, &world.topology);
        let mut draw = Random::new(world.seed, 1);
        let reach = delivery.clock_skew.as_secs_f64();
        let skews = (0..Topology::HOSTS).map(|_| {
            let seconds = reach * (2.0 * draw.unit() - 1.0);
            let size = i64::try_from(Nanos::from_secs_f64(seconds.abs()).0).unwrap_or(i64::MAX);
            if seconds < 0.0 { -size } else { size }
        });
        let skews = skews.collect();
        let exporters = topology.resources().map(|_| {
            // Instances did not all start at the same moment.
            let phase = delivery.flush_interval.as_secs_f64() * draw.unit();
            Exporter { waiting: Vec::new(), next_flush: start + Nanos::from_secs_f64(phase) }
        });
        let exporters = exporters.collect();
        Batches {
            exporters,
            arrivals,
            delivery,
            transit: Work::ms(2.0).sigma(0.5),
            draw,
            skews,
            running: BinaryHeap::new(),
            timers: BinaryHeap::new(),
            outbox: BinaryHeap::new(),
            now: start,
            number: 0,
            delivered: Delivered::default(),
        }
    }

    /// What became of the spans so far.
    pub fn delivered(&self) -> Delivered {
        self.delivered
    }

    /// By how much the clock of each host is off, in nanoseconds.
    pub fn skews(&self) -> &[i64] {
        &self.skews
    }

    fn numbered<T>(&mut self, at: Timestamp, item: T) -> Ordered<T> {
        self.number += 1;
        Ordered { at, number: self.number, item }
    }

    fn take_in(&mut self, trace: Trace) {
        self.delivered.happened += trace.spans.len() as u64;
        if !self.draw.chance(self.delivery.sampled_share) {
            self.delivered.unsampled += trace.spans.len() as u64;
            return;
        }
        for span in trace.spans {
            let span = self.numbered(span.end, span);
            self.running.push(Reverse(span));
        }
    }

    /// Lets everything happen that happens before `until`: spans end, exporters flush.
    fn advance(&mut self, until: Timestamp) {
        loop {
            let span = self.running.peek().map_or(END_OF_TIME, |Reverse(span)| span.at);
            let timer = self.timers.peek().map_or(END_OF_TIME, |Reverse((at, _))| *at);
            if span.min(timer) >= until {
                break;
            }
            if timer <= span {
                self.timers.pop();
                self.flush_due(timer);
            } else if let Some(Reverse(ended)) = self.running.pop() {
                self.end_span(ended.at, ended.item);
            }
        }
        self.now = until;
    }

    fn flush_due(&mut self, timer: Timestamp) {
        for index in 0..self.exporters.len() {
            let exporter = &self.exporters[index];
            if exporter.next_flush == timer && !exporter.waiting.is_empty() {
                self.flush(index, timer);
            }
        }
    }

    fn end_span(&mut self, at: Timestamp, span: SimSpan) {
        let index = span.resource.exporter;
        if self.exporters[index].waiting.is_empty() {
            // Its timer ran on while there was nothing to send.
            while self.exporters[index].next_flush <= at {
                let interval = self.flush_interval();
                let exporter = &mut self.exporters[index];
                exporter.next_flush = exporter.next_flush + interval;
            }
            self.timers.push(Reverse((self.exporters[index].next_flush, index)));
        }
        self.exporters[index].waiting.push(span);
        if self.exporters[index].waiting.len() >= self.delivery.batch_spans {
            self.flush(index, at);
        }
    }

    fn flush_interval(&mut self) -> Nanos {
        let jitter = 0.9 + 0.2 * self.draw.unit();
        let interval = self.delivery.flush_interval.as_secs_f64() * jitter;
        Nanos::from_secs_f64(interval).max(Nanos::from_millis(1))
    }

    fn flush(&mut self, index: usize, at: Timestamp) {
        let mut spans = std::mem::take(&mut self.exporters[index].waiting);
        for span in &mut spans {
            let skew = self.skews[span.resource.host_index];
            span.start = Timestamp(span.start.0.saturating_add_signed(skew));
            span.end = Timestamp(span.end.0.saturating_add_signed(skew));
        }
        self.send(at, spans);
    }

    /// Every batch takes the same number of draws, whatever becomes of it.
    fn send(&mut self, at: Timestamp, spans: Vec<SimSpan>) {
        let count = spans.len() as u64;
        let lost = self.draw.chance(self.delivery.lost_share);
        let late = self.draw.chance(self.delivery.late_share);
        let twice = self.draw.chance(self.delivery.duplicate_share);
        let transit = self.transit.draw(&mut self.draw);
        let held_up = Nanos::from_secs_f64(self.delivery.late_by.as_secs_f64() * self.draw.unit());
        let again = Nanos::from_secs_f64(1.0 + 4.0 * self.draw.unit());
        self.delivered.batches += 1;
        if lost {
            self.delivered.lost_batches += 1;
            self.delivered.lost += count;
            return;
        }
        self.delivered.late_batches += u64::from(late);
        let arrival = at + transit + if late { held_up } else { Nanos::ZERO };
        if twice {
            self.delivered.duplicate_batches += 1;
            self.delivered.duplicate += count;
            let copy = self.numbered(arrival + again, spans.clone());
            self.outbox.push(Reverse(copy));
        }
        let batch = self.numbered(arrival, spans);
        self.outbox.push(Reverse(batch));
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        loop {
            let first = self.outbox.peek().map(|Reverse(batch)| batch.at);
            // Whatever is still to be flushed is flushed later than `now` and so arrives later.
            if first.is_some_and(|arrival| arrival < self.now) {
                let Reverse(Ordered { at, item, .. }) = self.outbox.pop()?;
                return Some(Batch { arrival: at, spans: item });
            }
            if self.now == END_OF_TIME {
                return None;
            }
            match self.arrivals.next() {
                Some(trace) => {
                    self.advance(trace.start);
                    self.take_in(trace);
                }
                None => self.advance(END_OF_TIME),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario::Scenario;
    use super::super::shop::shop;
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn run(delivery: Delivery) -> (Vec<Batch>, Delivered) {
        let mut batches = Scenario::new(shop(), 120).delivery(delivery).batches().unwrap();
        let all = batches.by_ref().collect();
        (all, batches.delivered())
    }

    fn spans(batches: &[Batch]) -> u64 {
        batches.iter().map(|batch| batch.spans.len() as u64).sum()
    }

    /// Whether a count is what so many tries with this probability give, to 4 standard errors.
    fn is_share(count: u64, tries: u64, p: f64) -> bool {
        let (count, n) = (count as f64, tries as f64);
        (count - n * p).abs() < 4.0 * (n * p * (1.0 - p)).sqrt()
    }

    #[test]
    fn everything_arrives_once_in_order_and_soon() {
        let (batches, delivered) = run(Delivery::default());
        let traces = Scenario::new(shop(), 120).traces().unwrap();
        let happened: u64 = traces.map(|trace| trace.spans.len() as u64).sum();
        assert_eq!((spans(&batches), delivered.happened), (happened, happened));
        assert!(batches.is_sorted_by_key(|batch| batch.arrival));
        let mut ids = BTreeSet::new();
        for batch in &batches {
            for span in &batch.spans {
                assert!(ids.insert((span.trace, span.id)));
                assert_eq!(span.resource.instance, batch.spans[0].resource.instance);
                let wait = batch.arrival.since(span.end);
                assert!(span.end < batch.arrival && wait < Nanos::from_millis(1_200), "{wait}");
            }
        }
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let delivery =
            Delivery { batch_spans: 8, flush_interval: Nanos::from_secs(60), ..Default::default() };
        let (batches, _) = run(delivery);
        let full = batches.iter().filter(|batch| batch.spans.len() == 8).count();
        assert!(batches.iter().all(|batch| batch.spans.len() <= 8));
        assert!(full * 10 > batches.len() * 9, "{full} of {}", batches.len());
    }

    #[test]
    fn the_lost_and_the_repeated_are_the_shares_asked_for() {
        let delivery = Delivery {
            lost_share: 0.1,
            duplicate_share: 0.2,
            late_share: 0.3,
            ..Default::default()
        };
        let (batches, delivered) = run(delivery);
        let sent = delivered.batches;
        assert!(sent > 1_000);
        assert!(is_share(delivered.lost_batches, sent, 0.1), "{delivered:?}");
        let arrived = sent - delivered.lost_batches;
        assert!(is_share(delivered.duplicate_batches, arrived, 0.2), "{delivered:?}");
        assert!(is_share(delivered.late_batches, arrived, 0.3), "{delivered:?}");
        assert!(batches.is_sorted_by_key(|batch| batch.arrival));
        let expected = delivered.happened - delivered.lost + delivered.duplicate;
        assert_eq!(spans(&batches), expected);
    }

    #[test]
    fn sampling_keeps_whole_traces() {
        let (batches, delivered) = run(Delivery { sampled_share: 0.25, ..Default::default() });
        let mut kept: BTreeMap<_, u64> = BTreeMap::new();
        for span in batches.iter().flat_map(|batch| &batch.spans) {
            *kept.entry(span.trace).or_default() += 1;
        }
        let mut traces = 0;
        for trace in Scenario::new(shop(), 120).traces().unwrap() {
            traces += 1;
            if let Some(count) = kept.get(&trace.id) {
                assert_eq!(*count, trace.spans.len() as u64);
            }
        }
        assert!(is_share(kept.len() as u64, traces, 0.25));
        assert_eq!(spans(&batches) + delivered.unsampled, delivered.happened);
    }

    #[test]
    fn a_skewed_host_shifts_its_spans_and_keeps_their_durations() {
        let reach = Nanos::from_millis(300);
        let scenario = Scenario::new(shop(), 20);
        let delivery = Delivery { clock_skew: reach, ..Default::default() };
        let mut skewed = scenario.clone().delivery(delivery).batches().unwrap();
        let arrived: Vec<_> = skewed.by_ref().flat_map(|batch| batch.spans).collect();
        let skews = skewed.skews().to_vec();
        assert!(skews.iter().all(|skew| skew.unsigned_abs() <= reach.0));
        assert_eq!(skews.iter().collect::<BTreeSet<_>>().len(), Topology::HOSTS);
        let truth: BTreeMap<_, _> = scenario
            .traces()
            .unwrap()
            .flat_map(|trace| trace.spans)
            .map(|span| ((span.trace, span.id), span))
            .collect();
        for span in arrived {
            let real = &truth[&(span.trace, span.id)];
            assert_eq!(span.duration(), real.duration());
            let skew = skews[span.resource.host_index];
            assert_eq!(span.start.0, real.start.0.saturating_add_signed(skew));
        }
    }
}
