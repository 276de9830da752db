//! Two sets of traces against each other, by the same parts as the live engine.
//!
//! The first set plays the baseline, the second the recent window: the engine's own history is filled with
//! one slice of each, and its decomposition, tests and claims do the rest. What differs is how much
//! evidence is asked for, because nothing is repeated every five seconds here. No trees are
//! aligned and nothing is said about single spans.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::aggregate::{Delta, FanOut, Id, SliceSums};
use super::analyze::{Analyzer, node_key};
use super::attribute::{attribute, witnesses};
use super::decompose::{Decomposition, decompose};
use super::detect::{Hot, Scene};
use super::gaps::Verdict;
use super::graph::{Group, Pair};
use super::histogram::{Dense, Distribution};
use super::history::History;
use super::overlap::losses;
use super::params::{DetectionParams, EngineParams, WINDOWS};
use super::report;
use super::roles::{Direction, Gap, Role, Roles};
use super::rolling::{Cohort, Tick};
use super::tree::{Index, Tree};
use super::verdict::Suspect;
use crate::model::{Interner, Nanos, Span, SpanKind, Sym, TraceId};

/// The spans of one trace, in any order.
#[derive(Clone, Copy, Debug)]
pub struct TraceSpans<'a> {
    /// Which trace.
    pub trace: TraceId,
    /// Its spans.
    pub spans: &'a [Span],
}

/// One entry operation on both sides.
#[derive(Clone, PartialEq, Debug)]
pub struct EntryPair {
    /// Its service.
    pub service: Arc<str>,
    /// Its name.
    pub operation: Arc<str>,
    /// Its kind.
    pub span_kind: SpanKind,
    /// Requests of the baseline.
    pub baseline_requests: u64,
    /// Requests of the other side.
    pub spiked_requests: u64,
    /// Mean nanoseconds of a request in the baseline; zero without any.
    pub baseline_mean: f64,
    /// The same on the other side.
    pub spiked_mean: f64,
    /// Nanoseconds by which the other side's requests took longer, summed; zero where a side is empty.
    pub excess: i64,
}

/// What two sets of traces say.
#[derive(Clone, PartialEq, Debug)]
pub struct SetVerdict {
    /// All entry operations, the largest excess first.
    pub entries: Vec<EntryPair>,
    /// Something stands out of the noise.
    pub hot: bool,
    /// Who made the second set slower, by rank; seconds are sums over the second set.
    pub suspects: Vec<Suspect>,
    /// Sum of the excess of the entries on both sides, nanoseconds.
    pub excess: i64,
}

/// Whose time a span's own time is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Its service's.
    Own(Sym),
    /// A callee's that sends no spans.
    Dependency(Sym),
    /// It is the way to another service, whose first span is this one.
    Edge(Index),
    /// Nobody's: the far side's spans are missing.
    Unknown,
}

/// Who the rise of the time between a CLIENT and its SERVER span is put on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum GapShare {
    /// The link between the two.
    Link,
    /// This share on the callee, the rest on the caller.
    Callee(f64),
}

/// The tick in which the second set stands. Two ticks are ahead of it, of which the second is empty: the
/// tests ask for a baseline of twice the window.
const NOW: Tick = 3;

/// The engine's parts, filled with two sets.
pub struct Cohorts<'a> {
    names: &'a Interner,
    history: History,
    roles: Roles,
    params: DetectionParams,
    /// Few traces: nothing can be tested, every rise beyond drift is believed.
    small: bool,
}

impl<'a> Cohorts<'a> {
    /// Sets with fewer traces than this on a side cannot be tested.
    pub const TESTABLE: usize = 5;

    /// Fills the engine's parts.
    pub fn new(
        names: &'a Interner,
        baseline: &[TraceSpans<'_>],
        spiked: &[TraceSpans<'_>],
    ) -> Cohorts<'a> {
        let small = baseline.len().min(spiked.len()) < Cohorts::TESTABLE;
        let params = set_params(small);
        let EngineParams { max_nodes, max_paths, .. } = EngineParams::default();
        // A slice as long as time: everything falls into one.
        let mut analyzer = Analyzer::new(max_nodes, max_paths, Nanos(u64::MAX));
        let (mut history, mut roles) = (History::default(), Roles::default());
        for (tick, traces) in [(1, baseline), (2, &[][..]), (NOW, spiked)] {
            let sums = file(&mut analyzer, traces, names);
            let (nodes, paths) = analyzer.take_definitions();
            let delta = Delta { nodes, paths, slices: vec![(tick, sums)], is_last: true };
            let new_nodes = history.define(0, &delta);
            roles.meet(new_nodes, &history, names);
            history.merge(0, delta.slices);
            history.begin(tick, tick, &params);
            roles.update(&history, names);
        }
        Cohorts { names, history, roles, params, small }
    }

    /// What the sets say.
    pub fn verdict(&self) -> SetVerdict {
        let scene = self.scene();
        let on_both_sides = self.entries_on_both_sides();
        let chosen = |entry| on_both_sides.contains(&entry);
        let cohort = Cohort::since(NOW);
        let [parts] = decompose(&self.history, &[cohort], chosen, &self.params);
        let hot = if self.small { self.beyond_drift(&parts) } else { scene.hot([1], [&parts]) };
        let attribution = attribute(&scene, cohort, &on_both_sides, &hot, &BTreeSet::new());
        SetVerdict {
            entries: self.entries(&attribution.parts),
            hot: !hot.is_empty(),
            suspects: report::suspects(&scene, self.names, &attribution, NOW),
            excess: attribution.parts.total,
        }
    }

    /// Whose time the own time of a span of one of the traces is. The tree may be built otherwise than the
    /// engine builds it.
    pub fn place(&self, tree: &Tree, index: Index) -> Place {
        let (key, callee) = node_key(tree, index);
        let service = tree.spans()[index].key.service;
        let known = self.history.find_node(key).map(|node| self.roles.of(node));
        match (callee, known) {
            (Some(callee), _) => Place::Edge(callee),
            (None, Some(Role::Dependency(name))) => Place::Dependency(name),
            (None, Some(Role::Unknown)) => Place::Unknown,
            (None, _) => Place::Own(service),
        }
    }

    /// Whose the rise of a gap is, by what its surroundings say.
    pub fn gap_shares(&self) -> impl Fn(Sym, Sym, bool) -> GapShare + use<'_, 'a> {
        let scene = self.scene();
        let cohort = Cohort::since(NOW);
        let [parts] = decompose(&self.history, &[cohort], |_| true, &self.params);
        let hot = Hot::default();
        let witnesses = witnesses(&scene, cohort, &parts, &hot, &BTreeSet::new());
        move |caller, callee, is_request| {
            let direction = if is_request { Direction::Request } else { Direction::Response };
            match witnesses.judge(Gap { caller, callee, direction }, &self.params) {
                Verdict::Link { witnessed: true, .. } => GapShare::Link,
                // Of one request nobody can tell a link from the end it is nearest to.
                Verdict::Link { at_callee, .. } => GapShare::Callee(f64::from(u8::from(at_callee))),
                Verdict::Ends { callee } => GapShare::Callee(callee),
            }
        }
    }

    /// What is hot where the samples are too small for a test: whatever rose beyond drift.
    fn beyond_drift(&self, parts: &Decomposition) -> Hot {
        let mut hot = Hot::default();
        for &(id, ref part) in &parts.nodes {
            let price = self.history.price_of_node(id).unwrap_or(0.0);
            let rise = part.per_call as f64 / part.calls.max(1) as f64;
            let node = self.history.node(id);
            let mut recent = Dense::default();
            node.window(NOW, &mut recent);
            let slower = recent.mean() - node.baseline().mean();
            // On the path for longer, but no slower itself: others made it so.
            if is_beyond_drift(rise, price) && is_beyond_drift(slower, node.baseline().mean()) {
                hot.nodes.insert(id);
            }
            let (learned, recent) = (node.baseline().count(), node.calls_since(NOW));
            for &Pair { child, sums: ref counts, .. } in self.history.fan_outs(id) {
                let mean = |counts: &FanOut, calls: u64| {
                    let children: f64 =
                        counts.iter().map(|(count, n)| f64::from(count) * f64::from(n)).sum();
                    children / calls.max(1) as f64
                };
                let (before, now) =
                    (mean(counts.baseline(), learned), mean(&counts.since(NOW), recent));
                if learned > 0 && before > 0.0 && now > self.params.fan_out_growth * before {
                    hot.fan_outs.insert((id, child));
                }
            }
        }
        self.new_operations(parts, &mut hot);
        for &(id, ref part) in &parts.entries {
            hot.overlaps.extend(losses(&self.scene(), NOW, (id, part), false));
        }
        hot
    }

    fn new_operations(&self, parts: &Decomposition, hot: &mut Hot) {
        for &(id, ref part) in &parts.entries {
            for (order, Group { sums, .. }) in self.history.groups(id) {
                let mean = |critical: u64, requests: u64| critical as f64 / requests.max(1) as f64;
                let now = mean(sums.since(NOW).critical, part.requests);
                let learned = self.history.entry(id).sums.baseline().requests;
                let before = mean(sums.baseline().critical, learned);
                if is_beyond_drift(now - before, before) {
                    hot.new_operations.insert((id, order));
                }
            }
        }
    }

    fn scene(&self) -> Scene<'_> {
        let Cohorts { history, roles, params, .. } = self;
        Scene { history, roles, params, now: NOW, since: 0 }
    }

    fn entries_on_both_sides(&self) -> BTreeSet<Id> {
        let both = (0..).zip(self.history.entries()).filter(|(_, entry)| {
            entry.sums.baseline().requests > 0 && entry.sums.since(NOW).requests > 0
        });
        both.map(|(id, _)| id).collect()
    }

    fn entries(&self, parts: &Decomposition) -> Vec<EntryPair> {
        let mean = |duration: u64, requests: u64| duration as f64 / requests.max(1) as f64;
        let pairs = (0..).zip(self.history.entries()).filter_map(|(id, entry)| {
            let key = self.roles.key(self.history.node(entry.node).key)?;
            let (before, after) = (entry.sums.baseline(), entry.sums.since(NOW));
            Some(EntryPair {
                service: self.names.text(key.service),
                operation: self.names.text(key.name),
                span_kind: key.kind,
                baseline_requests: before.requests,
                spiked_requests: after.requests,
                baseline_mean: mean(before.duration, before.requests),
                spiked_mean: mean(after.duration, after.requests),
                excess: parts.entry(id).map_or(0, |part| part.excess),
            })
        });
        let mut pairs: Vec<EntryPair> = pairs.collect();
        pairs.sort_by(|one, two| {
            let names = |pair: &EntryPair| {
                (Arc::clone(&pair.service), Arc::clone(&pair.operation), pair.span_kind)
            };
            two.excess.cmp(&one.excess).then_with(|| names(one).cmp(&names(two)))
        });
        pairs
    }
}

/// More nanoseconds a call than the drift of single calls explains.
pub fn is_beyond_drift(rise: f64, usual: f64) -> bool {
    rise > 0.2 * usual + 0.3e6
}

/// What is asked of sets: less evidence than of a stream, and less of a baseline.
fn set_params(small: bool) -> DetectionParams {
    DetectionParams {
        windows: [1; WINDOWS],
        min_baseline: 0,
        min_evidence: 8.0,
        // One slice is all there is, and how one set of this system differs from the next is unknown.
        min_evidence_of_rest: 0.0,
        usual_drift: 0.1,
        min_slow_far: 5.0,
        min_recent: 8,
        min_learned: 8,
        min_learned_requests: 3,
        shrink: if small { 0.0 } else { 5.0 },
        // Two sets may be of different requests.
        more_often: f64::INFINITY,
        ..DetectionParams::default()
    }
}

fn file(analyzer: &mut Analyzer, traces: &[TraceSpans<'_>], names: &Interner) -> SliceSums {
    for TraceSpans { trace, spans } in traces {
        analyzer.analyze(*trace, spans, names);
    }
    let slices = analyzer.take_slices(None).into_iter();
    slices.map(|(_, sums)| sums).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{compared, span};
    use super::*;
    use crate::model::InternLimits;

    /// Requests of `shop` that take 10 ms, with a child in `cart` that takes so many more.
    fn traces(names: &Interner, cart_ms: &[u64]) -> Vec<(TraceId, Vec<Span>)> {
        let key = |service: &str, name: &str| {
            let service = names.service(service.as_bytes());
            names.key(service, name.as_bytes(), SpanKind::Server)
        };
        let traces = (1..).zip(cart_ms).map(|(trace, &cart)| {
            let root = span(1, 0, key("shop", "GET /"), (0, 10 + cart));
            let child = span(2, 1, key("cart", "items"), (5, 5 + cart));
            (TraceId::new(trace).expect("ids are not zero"), vec![root, child])
        });
        traces.collect()
    }

    fn verdict(baseline_ms: &[u64], spiked_ms: &[u64]) -> SetVerdict {
        let names = Interner::new(InternLimits::default());
        compared(&names, &[baseline_ms, spiked_ms].map(|cart_ms| traces(&names, cart_ms)))
    }

    #[test]
    fn the_excess_is_the_sum_over_the_second_set_and_its_service_is_named() {
        let verdict = verdict(&[20; 30], &[50; 40]);
        assert!(verdict.hot);
        assert_eq!(verdict.excess, 40 * 30 * 1_000_000);
        let first = &verdict.suspects[0];
        assert_eq!(
            (&*first.service, first.reason),
            ("cart", super::super::verdict::Reason::SelfTime)
        );
        assert!((first.excess_seconds - 1.2).abs() < 1e-9, "{first:?}");
        let [entry] = &verdict.entries[..] else { panic!("{verdict:?}") };
        assert_eq!((entry.baseline_requests, entry.spiked_requests), (30, 40));
        assert_eq!((entry.baseline_mean, entry.spiked_mean), (30e6, 60e6));
    }

    #[test]
    fn one_outlier_in_a_set_is_not_hot() {
        let mut spiked = [20; 40];
        spiked[7] = 900;
        assert!(!verdict(&[20; 30], &spiked).hot);
    }

    #[test]
    fn in_small_sets_what_is_beyond_drift_is_believed() {
        // A fifth of 20 ms and 0.3 ms are 4.3 ms.
        assert!(!verdict(&[20; 3], &[24; 3]).hot);
        assert!(verdict(&[20; 3], &[25; 3]).hot);
    }

    #[test]
    fn an_entry_on_one_side_only_has_no_excess() {
        let verdict = verdict(&[], &[20; 10]);
        assert!(!verdict.hot && verdict.suspects.is_empty());
        assert_eq!((verdict.excess, verdict.entries[0].baseline_requests), (0, 0));
    }
}
