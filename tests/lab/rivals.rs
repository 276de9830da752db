//! What a user would run instead, written as well as it can be: three simple rules on the same spans.
//!
//! All three are given what they need to look good: the thresholds of the first are set by somebody who
//! knows each operation's normal time; spans that call a database name the database, not their own
//! service; a name is right whatever kind of suspect it stands for. They alert while a rule holds, and
//! rank by how much it is broken.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use laghound::model::{Interner, KeyId, SpanKind, SpanRecord, Sym, Timestamp};

use crate::judges::{Clock, Judge, Named, Said, Step, Verdict};

/// Which rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// The 99th percentile of the duration of an operation over a threshold fixed after the first
    /// minutes, at twice what it was then.
    Percentile,
    /// Mean plus three standard deviations, both exponentially weighted, of the duration by span name.
    Ewma,
    /// Self-time over its 99th percentile of the time before.
    SelfTime,
}

/// Seconds of event time that thresholds are learned from, where they are fixed.
const LEARNING: f64 = 240.0;
/// Seconds of recent time that is judged, and how often.
const WINDOW: f64 = 60.0;
const EVERY: f64 = 5.0;
/// Least spans of an operation in the window, and least spans to learn a percentile from.
const LEAST: usize = 10;
const LEAST_LEARNED: usize = 50;
/// Weight of a new span in the exponentially weighted moments.
const ALPHA: f64 = 0.02;
/// Share of an operation's spans in the window that must be slow, and least number of them.
const SLOW: f64 = 0.1;
const LEAST_SLOW: u32 = 3;
/// Seconds after its first span at which a trace is taken to be complete.
const COMPLETE: f64 = 12.0;

/// An operation and whom it stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place(KeyId, Option<Sym>);

/// What is known of an operation.
#[derive(Default)]
struct Known {
    learned: Vec<f64>,
    limit: Option<f64>,
    mean: f64,
    variance: f64,
    count: u64,
    /// When, how long, and by how much above the limit.
    recent: VecDeque<(f64, f64, f64)>,
}

pub(crate) struct Rival {
    rule: Rule,
    names: Arc<Interner>,
    clock: Clock,
    known: BTreeMap<Place, Known>,
    services: BTreeSet<Sym>,
    /// Open traces: when the first span came, and the spans.
    traces: HashMap<u128, (f64, Vec<SpanRecord>)>,
    due: VecDeque<(f64, u128)>,
    judged: f64,
    began: Option<f64>,
    open: Option<Verdict>,
    quiet: u32,
    incidents: u64,
}

impl Rival {
    pub(crate) fn new(rule: Rule, names: Arc<Interner>, clock: Clock) -> Rival {
        Rival {
            rule,
            names,
            clock,
            known: BTreeMap::new(),
            services: BTreeSet::new(),
            traces: HashMap::new(),
            due: VecDeque::new(),
            judged: 0.0,
            began: None,
            open: None,
            quiet: 0,
            incidents: 0,
        }
    }

    /// Whom a span's time is put on: a backend for the calls of it, nobody for a call of a service, whose
    /// own span says it.
    fn place(&self, record: &SpanRecord) -> Option<Place> {
        let kind = self.names.resolve(record.span.key).kind;
        match (kind, record.span.peer) {
            (SpanKind::Client, Some(peer)) if self.services.contains(&peer) => None,
            (SpanKind::Client, Some(peer)) => Some(Place(record.span.key, Some(peer))),
            (SpanKind::Client, None) => None,
            _ => Some(Place(record.span.key, None)),
        }
    }

    /// One value of an operation: its duration, or its self-time.
    fn value(&mut self, place: Place, at: f64, value: f64) {
        let learning = at - *self.began.get_or_insert(at) < LEARNING;
        let rule = self.rule;
        let known = self.known.entry(place).or_default();
        let over = match rule {
            Rule::Percentile | Rule::SelfTime => {
                if learning {
                    known.learned.push(value);
                } else if known.limit.is_none() && known.learned.len() >= LEAST_LEARNED {
                    known.learned.sort_by(f64::total_cmp);
                    let factor = if rule == Rule::Percentile { 2.0 } else { 1.0 };
                    known.limit = Some(factor * percentile(&known.learned));
                }
                known.limit.map_or(0.0, |limit| value - limit)
            }
            Rule::Ewma => {
                let deviation = known.variance.sqrt();
                let over = value - known.mean - 3.0 * deviation;
                let weight = ALPHA.max(1.0 / (known.count + 1) as f64);
                let delta = value - known.mean;
                known.mean += weight * delta;
                known.variance = (1.0 - weight) * (known.variance + weight * delta * delta);
                known.count += 1;
                if known.count > LEAST_LEARNED as u64 { over } else { 0.0 }
            }
        };
        known.recent.push_back((at, value, over));
    }

    /// Operations that break the rule now: by how much, and the spans behind it.
    fn broken(&mut self, now: f64) -> Vec<(f64, u64, Place)> {
        let mut broken = Vec::new();
        for (place, known) in &mut self.known {
            while known.recent.front().is_some_and(|(at, ..)| *at < now - WINDOW) {
                known.recent.pop_front();
            }
            let spans = known.recent.len();
            if spans < LEAST {
                continue;
            }
            let slow = known.recent.iter().filter(|(_, _, over)| *over > 0.0);
            let (count, excess) = slow.fold((0, 0.0), |(n, sum), one| (n + 1, sum + one.2));
            let weight = match self.rule {
                Rule::Percentile => {
                    let mut values: Vec<f64> = known.recent.iter().map(|one| one.1).collect();
                    values.sort_by(f64::total_cmp);
                    let ratio = known.limit.map_or(0.0, |limit| percentile(&values) / limit);
                    if count >= LEAST_SLOW && ratio > 1.0 { ratio } else { 0.0 }
                }
                _ if f64::from(count) >= SLOW * spans as f64 && count >= LEAST_SLOW => excess,
                _ => 0.0,
            };
            if weight > 0.0 {
                broken.push((weight, spans as u64, *place));
            }
        }
        broken.sort_by(|one, two| two.0.total_cmp(&one.0).then(one.2.cmp(&two.2)));
        broken
    }

    fn suspects(&self, broken: &[(f64, u64, Place)]) -> Vec<Named> {
        let total: f64 = broken.iter().map(|one| one.0).sum();
        let mut suspects: Vec<Named> = Vec::new();
        for (weight, calls, Place(key, peer)) in broken {
            let key = self.names.resolve(*key);
            let service = self.names.text(peer.unwrap_or(key.service)).to_string();
            if suspects.iter().any(|named| named.service == service) {
                continue;
            }
            suspects.push(Named {
                service,
                kind: "any",
                operation: self.names.text(key.name).to_string(),
                reason: "-",
                pattern: "-",
                where_: None,
                score: weight / total,
                excess: *weight,
                baseline: 0.0,
                recent: 0.0,
                calls: *calls,
            });
        }
        suspects
    }

    /// Durations at once; self-times when a trace is complete.
    fn note(&mut self, record: &SpanRecord, arrival: f64) {
        self.services.insert(self.names.resolve(record.span.key).service);
        if self.rule == Rule::SelfTime {
            let trace = record.trace.get();
            let due = &mut self.due;
            let spans = self.traces.entry(trace).or_insert_with(|| {
                due.push_back((arrival + COMPLETE, trace));
                (arrival, Vec::new())
            });
            spans.1.push(*record);
        } else if let Some(place) = self.place(record) {
            let duration = record.span.end.since(record.span.start).as_secs_f64();
            self.value(place, self.clock.seconds(record.span.end), duration);
        }
    }

    fn complete(&mut self, now: f64) {
        while self.due.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, trace)) = self.due.pop_front() else { break };
            let Some((_, spans)) = self.traces.remove(&trace) else { continue };
            for span in &spans {
                let is_child = |other: &&SpanRecord| other.span.parent == Some(span.span.id);
                let children = spans.iter().filter(is_child);
                let within = (span.span.start, span.span.end);
                let mut covered: Vec<(Timestamp, Timestamp)> =
                    children.map(|child| (child.span.start, child.span.end)).collect();
                let own = uncovered(&mut covered, within);
                if let Some(place) = self.place(span) {
                    self.value(place, self.clock.seconds(span.span.end), own);
                }
            }
        }
    }

    fn judge(&mut self, now: f64) -> Vec<Said> {
        let broken = self.broken(now);
        let suspects = self.suspects(&broken);
        let said = |step, verdict: &Verdict| Said { at: now, step, verdict: verdict.clone() };
        if suspects.is_empty() {
            self.quiet += 1;
            let over = self.quiet >= 6;
            return self
                .open
                .take_if(|_| over)
                .map(|v| said(Step::Closed, &v))
                .into_iter()
                .collect();
        }
        self.quiet = 0;
        match &mut self.open {
            Some(open) => {
                let same = open.suspects[0].service == suspects[0].service;
                open.suspects = suspects;
                if same { Vec::new() } else { vec![said(Step::Changed, open)] }
            }
            None => {
                self.incidents += 1;
                let verdict = Verdict {
                    id: self.incidents,
                    start: now,
                    detected: now,
                    excess: 0.0,
                    unexplained: 0.0,
                    entries: Vec::new(),
                    confidence: None,
                    suspects,
                };
                let opened = said(Step::Opened, &verdict);
                self.open = Some(verdict);
                vec![opened]
            }
        }
    }
}

impl Judge for Rival {
    fn take(&mut self, spans: &[SpanRecord], now: Timestamp) {
        let arrival = self.clock.seconds(now);
        for record in spans {
            self.note(record, arrival);
        }
    }

    fn tick(&mut self, now: Timestamp) -> Vec<Said> {
        let now = self.clock.seconds(now);
        self.complete(now);
        if now < self.judged + EVERY {
            return Vec::new();
        }
        self.judged = now;
        self.judge(now)
    }

    fn standing(&self) -> Vec<Verdict> {
        self.open.iter().cloned().collect()
    }
}

/// The 99th percentile of sorted values.
fn percentile(sorted: &[f64]) -> f64 {
    sorted[(sorted.len() - 1) * 99 / 100]
}

/// Seconds of `within` that no child covers.
fn uncovered(children: &mut [(Timestamp, Timestamp)], within: (Timestamp, Timestamp)) -> f64 {
    children.sort_unstable();
    let (mut own, mut reached) = (0, within.0);
    for &mut (start, end) in children {
        own += start.min(within.1).since(reached).0;
        reached = reached.max(end.min(within.1));
    }
    (own + within.1.since(reached).0) as f64 / 1e9
}
