//! A node of the call graph over time: how long its calls take, and what names the slow ones.
//!
//! Its calls become normal with age; what names the slow ones is only kept while they are recent. What
//! is made of its figures is decided elsewhere.

use super::age::Age;
use super::aggregate::{
    AttrSum, Calls, Detail, Id, MAX_ATTR_SETS, NodeKey, NodeSum, PathSum, Slowest,
};
use super::histogram::{Bucket, Dense, Distribution, Sparse, bucket_of};
use super::params::DetectionParams;
use super::rolling::{MAX_COUNT, Rolling, Sum, Tick, buckets};
use super::spread::Spread;
use super::tape::{Packed, Tape, Unpacker, put};
use crate::model::{AttrSetId, Nanos, TraceId};

/// A node of the call graph.
pub(super) struct Node {
    /// What it is.
    pub key: NodeKey,
    /// How long it has been watched.
    pub age: Age,
    pub(super) calls: Rolling<Calls>,
    pub(super) spread: Rolling<Spread>,
    /// What names the slow ones of the recent calls.
    pub(super) details: Tape<Detail>,
    /// Calls in the baseline and recent.
    pub(super) held: u64,
    /// Numbers of the fan-outs to other nodes, by child.
    pub fan_outs: Vec<Id>,
    /// Paths that end here, by entry.
    pub paths: Vec<Id>,
    /// Its baselines on all paths.
    pub price: PathSum,
    /// Calls above this bucket are flagged.
    pub limit: Option<Bucket>,
    pub(super) fresh: Fresh,
    /// It is in the list of the active ones.
    pub active: bool,
}

/// Calls filed since this was last asked.
#[derive(Clone, Copy, Default)]
pub(super) struct Fresh {
    /// How many.
    pub calls: u64,
    /// How many of them were flagged.
    pub flagged: u64,
    /// The slowest.
    pub slowest: Option<Slowest>,
}

impl Node {
    /// One first met in the slice `born`.
    pub(super) fn new(key: NodeKey, born: Tick) -> Node {
        Node {
            key,
            age: Age::born(born),
            calls: Rolling::default(),
            spread: Rolling::default(),
            details: Tape::default(),
            held: 0,
            fan_outs: Vec::new(),
            paths: Vec::new(),
            price: PathSum::default(),
            limit: None,
            fresh: Fresh::default(),
            active: false,
        }
    }

    /// Files the calls of a slice.
    pub(super) fn file(&mut self, tick: Tick, sum: &NodeSum) {
        let histogram = &sum.calls.histogram;
        self.held += histogram.count();
        self.fresh.calls += histogram.count();
        self.fresh.slowest = self.fresh.slowest.max(sum.detail.slowest);
        if let Some(limit) = self.limit {
            let above = histogram.iter().rev().take_while(|&(bucket, _)| bucket > limit);
            self.fresh.flagged += above.map(|(_, count)| u64::from(count)).sum::<u64>();
        }
        self.calls.add(tick, &sum.calls);
        self.details.add(tick, &sum.detail);
    }

    /// Moves on to the slice `now`.
    pub(super) fn follow(&mut self, now: Tick, params: &DetectionParams) {
        self.age.advance(now, params);
        let step = self.age.step(now, params);
        let past = self.calls.recent().records().take_while(|&(tick, _)| step.is_past(tick));
        for (tick, mut body) in past.filter(|&(tick, _)| step.absorbs(tick)) {
            let calls = Calls::read(&mut body);
            let spread = Spread::of(&calls.histogram, &self.calls.baseline().histogram, params);
            self.spread.add(tick, &spread);
        }
        self.spread.follow(step, params, |_| {});
        let held = &mut self.held;
        self.calls.follow(step, params, |gone| *held -= gone.histogram.count());
        self.details.take_while(|tick| step.is_past(tick), |_, _| {});
    }

    /// The baseline of one of its paths was `before` and is `after`.
    pub(super) fn reprice(&mut self, before: &PathSum, after: &PathSum) {
        self.price.subtract(before);
        self.price.add(after);
    }

    /// Nothing of it is recent.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_idle()
    }

    /// Calls filed since this was last asked, and the slowest of them if it is flagged.
    pub(super) fn take_fresh(&mut self) -> Fresh {
        let mut fresh = std::mem::take(&mut self.fresh);
        let is_flagged = |slowest: &Slowest| {
            self.limit.is_some_and(|limit| bucket_of(slowest.self_time) > limit)
        };
        fresh.slowest = fresh.slowest.filter(is_flagged);
        fresh
    }

    /// Self-times that are normal.
    pub(super) fn baseline(&self) -> &Sparse {
        &self.calls.baseline().histogram
    }

    /// Self-times that the baseline is made of, by era, the oldest first.
    pub(super) fn eras(&self) -> impl Iterator<Item = (Tick, Sparse)> {
        self.calls.eras().into_iter().map(|(era, calls)| (era, calls.histogram))
    }

    /// Calls in the baseline and recent.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// How much its slices usually differ from what is normal.
    pub(super) fn spread(&self) -> &Spread {
        self.spread.baseline()
    }

    /// Self-times of the slices from `from` on, by slice.
    pub(super) fn slices_since(&self, from: Tick) -> impl Iterator<Item = (Tick, Sparse)> {
        self.calls.recent().since(from).map(|(tick, calls)| (tick, calls.histogram))
    }

    /// Self-times of the slices from `from` on, added to `into`; returns the requests they occurred in.
    pub(super) fn window(&self, from: Tick, into: &mut Dense) -> u64 {
        let young = self.calls.recent().records().filter(|(tick, _)| *tick >= from);
        young.map(|(_, body)| add_calls(body, into)).sum()
    }

    /// Self-times of the slices from each of `froms` on, of which the newest stands first, as far as
    /// `into` reaches; returns the requests they occurred in.
    pub(super) fn windows<const N: usize>(
        &self,
        froms: &[Tick; N],
        into: &mut [Dense],
    ) -> [u64; N] {
        into.iter_mut().for_each(Dense::clear);
        let mut requests = [0; N];
        for (tick, body) in self.calls.recent().records() {
            // In the shortest window it belongs to; the others hold that.
            if let Some(at) = froms[..into.len()].iter().position(|&from| tick >= from) {
                requests[at] += add_calls(body, &mut into[at]);
            }
        }
        for longer in 1..into.len() {
            requests[longer] += requests[longer - 1];
            let (shorter, rest) = into.split_at_mut(longer);
            let filled = shorter[longer - 1].filled();
            filled.for_each(|(bucket, count)| rest[0].add_to(bucket, count));
        }
        requests
    }

    /// Self-times of one slice, added to `into`.
    pub(super) fn slice(&self, tick: Tick, into: &mut Dense) {
        let mut records = self.calls.recent().records();
        if let Some((_, body)) = records.find(|(at, _)| *at == tick) {
            add_calls(body, into);
        }
    }

    /// Calls of the slices from `from` on.
    pub(super) fn calls_since(&self, from: Tick) -> u64 {
        let young = self.calls.recent().records().filter(|(tick, _)| *tick >= from);
        young.map(|(_, mut body)| body.int()).sum()
    }

    /// The same from each of several slices on, of which the newest stands first.
    pub(super) fn calls_since_each<const N: usize>(&self, froms: &[Tick; N]) -> [u64; N] {
        self.calls.recent().sums_since(froms, |mut body| body.int())
    }

    /// The slowest calls of the slices from `from` on, the slowest first.
    pub(super) fn slowest_since(&self, from: Tick, count: usize) -> Vec<Slowest> {
        let mut slowest: Vec<Slowest> =
            self.details.since(from).filter_map(|(_, detail)| detail.slowest).collect();
        slowest.sort_unstable_by(|one, two| two.cmp(one));
        slowest.dedup_by_key(|slowest| slowest.trace);
        slowest.truncate(count);
        slowest
    }

    /// Calls by attributes of the slices from `from` on.
    pub(super) fn attrs_since(&self, from: Tick) -> Vec<AttrSum> {
        let mut total = Detail::default();
        self.details.since(from).for_each(|(_, detail)| total.merge(&detail));
        total.by_attrs
    }

    /// Bytes held outside of the value itself.
    pub(super) fn heap_bytes(&self) -> usize {
        let lists = (self.fan_outs.capacity() + self.paths.capacity()) * size_of::<Id>();
        lists + self.calls.heap_bytes() + self.spread.heap_bytes() + self.details.heap_bytes()
    }
}

impl Sum for Calls {
    fn add(&mut self, other: &Calls) {
        self.requests += other.requests;
        self.histogram.merge(&other.histogram);
    }
    fn subtract(&mut self, other: &Calls) {
        self.requests -= other.requests;
        self.histogram.subtract(&other.histogram);
    }
}

impl Packed for Calls {
    /// The number of calls comes first, so that it can be read without the rest.
    fn write(&self, out: &mut Vec<u8>) {
        put(out, self.histogram.count());
        put(out, self.requests);
        self.histogram.write(out);
    }
    fn read(from: &mut Unpacker<'_>) -> Calls {
        let _ = from.int();
        Calls { requests: from.int(), histogram: Sparse::read(from) }
    }
    fn heap_bytes(&self) -> usize {
        self.histogram.heap_bytes()
    }
    fn is_sound(&self) -> bool {
        self.requests <= MAX_COUNT && self.histogram.is_sound()
    }
}

/// Reads packed calls into a distribution; returns the requests.
fn add_calls(mut from: Unpacker<'_>, into: &mut Dense) -> u64 {
    let _ = from.int();
    let requests = from.int();
    buckets(&mut from).for_each(|(bucket, count)| into.add_to(bucket, count));
    requests
}

impl Sum for Detail {
    fn add(&mut self, other: &Detail) {
        self.merge(other);
    }
    /// Details leave with their slice and are never taken out of a sum.
    fn subtract(&mut self, _: &Detail) {}
}

impl Packed for Detail {
    fn write(&self, out: &mut Vec<u8>) {
        match self.slowest {
            None => out.push(0),
            Some(Slowest { self_time, trace }) => {
                out.push(1);
                put(out, self_time.0);
                out.extend_from_slice(&trace.get().to_le_bytes());
            }
        }
        for sum in &self.by_attrs {
            put(out, u64::from(sum.attrs.0));
            put(out, sum.calls);
            put(out, sum.self_time);
        }
    }
    fn read(from: &mut Unpacker<'_>) -> Detail {
        let slowest = match from.byte() {
            0 => None,
            _ => {
                let self_time = Nanos(from.int());
                let trace = from.array().map(u128::from_le_bytes).and_then(TraceId::new);
                trace.map(|trace| Slowest { self_time, trace })
            }
        };
        let mut by_attrs = Vec::new();
        while !from.is_empty() {
            let attrs = AttrSetId(u32::try_from(from.int()).unwrap_or(u32::MAX));
            by_attrs.push(AttrSum { attrs, calls: from.int(), self_time: from.int() });
        }
        Detail { slowest, by_attrs }
    }
    fn is_sound(&self) -> bool {
        let calls = self.by_attrs.iter().all(|sum| sum.calls <= MAX_COUNT);
        calls && self.by_attrs.len() <= MAX_ATTR_SETS + 1
    }
}
