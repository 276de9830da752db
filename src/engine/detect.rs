//! What is hot: which nodes, fan-outs and new operations are slower than chance and drift explain.
//!
//! Each is tested in several windows that end now. Whether a rise is *believed* is decided here; how
//! large it is and whose it is, elsewhere. Nothing is hot while its baseline is too short.

use std::cell::LazyCell;
use std::collections::BTreeSet;

use super::age::Age;
use super::aggregate::{GroupKey, GroupSum, Id, NodeKey};
use super::decompose::{Decomposition, EntryPart, NodePart};
use super::graph::{Group, Pair};
use super::histogram::{Bucket, Dense, Distribution, Sparse};
use super::history::History;
use super::node::Node;
use super::overlap::{Loss, losses};
use super::params::DetectionParams;
use super::roles::{Role, Roles};
use super::rolling::{Cohort, Tick, buckets};
use super::spread::{Cuts, least_slow, slackened};
use super::statistics::{Moments, Share, mean_rose, share_rose, standard_error};

/// Everything that is hot.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Hot {
    /// Nodes whose calls are slower.
    pub nodes: BTreeSet<Id>,
    /// (parent, child) pairs of nodes: a call of the parent makes more calls of the child.
    pub fan_outs: BTreeSet<(Id, Id)>,
    /// (entry, group) pairs: the group's time rose, on operations that are new.
    pub new_operations: BTreeSet<(Id, GroupKeyOrd)>,
    /// (entry, group) pairs: calls save less by running side by side.
    pub overlaps: BTreeSet<Loss>,
}

/// A group in a fixed order.
pub(super) type GroupKeyOrd = super::graph::GroupOrder;

impl Hot {
    /// Nothing is.
    pub(super) fn is_empty(&self) -> bool {
        let Hot { nodes, fan_outs, new_operations, overlaps } = self;
        nodes.is_empty() && fan_outs.is_empty() && new_operations.is_empty() && overlaps.is_empty()
    }

    /// Adds what another window or slice found.
    pub(super) fn extend(&mut self, other: &Hot) {
        self.nodes.extend(&other.nodes);
        self.fan_outs.extend(&other.fan_outs);
        self.new_operations.extend(&other.new_operations);
        self.overlaps.extend(&other.overlaps);
    }
}

/// What all tests of one tick look at.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    /// What was seen.
    pub history: &'a History,
    /// Whose time is whose.
    pub roles: &'a Roles,
    /// The numbers.
    pub params: &'a DetectionParams,
    /// The slice that just ended.
    pub now: Tick,
    /// The first slice that is tested: those before it belong to an incident that is over.
    pub since: Tick,
}

/// The deciles.
const DECILES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// How far a distribution of self-times moved up.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub(super) struct Shift {
    /// Mean over the deciles of the rise beyond drift, nanoseconds a call.
    pub nanos: f64,
    /// Share of the deciles that moved by half and more.
    pub hit: f64,
}

impl Shift {
    /// Between what is normal and what is recent.
    pub(super) fn between(baseline: &impl Distribution, recent: &Dense) -> Shift {
        if baseline.count() == 0 || recent.count() == 0 {
            return Shift::default();
        }
        Shift::of(&baseline.quantiles(DECILES), &recent.quantiles(DECILES))
    }

    /// Between the deciles of both.
    fn of(before: &[f64; 9], after: &[f64; 9]) -> Shift {
        let mut shift = Shift::default();
        for (before, after) in before.iter().zip(after) {
            shift.nanos += (after - before - (0.2 * before + 0.3e6)).max(0.0);
            shift.hit += f64::from(u8::from(*after > 1.5 * before + 0.5e6));
        }
        let deciles = DECILES.len() as f64;
        Shift { nanos: shift.nanos / deciles, hit: shift.hit / deciles }
    }
}

/// Windows that end now, the shortest first.
pub(super) struct Windows<const N: usize> {
    /// How long each is, in slices.
    pub slices: [u64; N],
    /// The oldest slice of each.
    pub froms: [Tick; N],
}

impl<const N: usize> Windows<N> {
    /// Of so many slices up to the one that just ended.
    pub(super) fn of(scene: &Scene<'_>, slices: [u64; N]) -> Windows<N> {
        let from = |window| (scene.now + 1).saturating_sub(window).max(scene.since);
        Windows { slices, froms: slices.map(from) }
    }
}

/// The calls of a node in a window.
struct Recent<'a> {
    /// Its oldest slice.
    from: Tick,
    calls: &'a Dense,
    /// Requests they occurred in.
    requests: u64,
}

impl Scene<'_> {
    /// Tests everything in the windows of so many slices, taken apart in `parts`; the shortest stands first.
    pub(super) fn hot<const N: usize>(&self, windows: [u64; N], parts: [&Decomposition; N]) -> Hot {
        let windows = Windows::of(self, windows);
        let mut hot = Hot::default();
        self.find_slower(&windows, parts, &mut hot);
        self.find_fan_outs(&windows, parts, &mut hot);
        self.find_new_operations(&windows, parts, &mut hot);
        self.find_lost_overlaps(&windows, parts, &mut hot);
        hot
    }

    /// Triggers a, b and e. What a node's slices hold is read once for all windows.
    fn find_slower<const N: usize>(
        &self,
        windows: &Windows<N>,
        parts: [&Decomposition; N],
        hot: &mut Hot,
    ) {
        let Windows { slices, froms } = windows;
        let nodes = parts.map(|parts| parts.nodes.as_slice());
        let mut recent: [Dense; N] = std::array::from_fn(|_| Dense::default());
        for (id, parts) in side_by_side(nodes) {
            let node = self.history.node(id);
            // A node that cost nothing more is never material; most are sorted out here, cheaply.
            let mut is_candidate = parts.map(|part| part.is_some_and(|part| part.per_call > 0));
            if !is_candidate.contains(&true) || !self.can_be_hot(id) {
                continue;
            }
            for (is_candidate, window) in is_candidate.iter_mut().zip(slices) {
                *is_candidate &= node.age.can_test(self.now, *window, self.params);
            }
            let Some(longest) = is_candidate.iter().rposition(|is_candidate| *is_candidate) else {
                continue;
            };
            let requests = node.windows(froms, &mut recent[..=longest]);
            let usual = LazyCell::new(|| node.baseline().quantiles(DECILES));
            let is_shifted = (0..=longest).filter(|&at| is_candidate[at]).any(|at| {
                let Some(part) = parts[at] else { return false };
                let window = Recent { from: froms[at], calls: &recent[at], requests: requests[at] };
                self.is_shifted(id, part, &window, &usual)
            });
            if is_shifted {
                hot.nodes.insert(id);
            }
        }
    }

    fn can_be_hot(&self, id: Id) -> bool {
        !matches!(self.roles.of(id), Role::Unknown | Role::Edge)
    }

    fn is_shifted(
        &self,
        id: Id,
        part: &NodePart,
        window: &Recent<'_>,
        usual: &LazyCell<[f64; 9], impl FnOnce() -> [f64; 9]>,
    ) -> bool {
        let node = self.history.node(id);
        let price = self.history.price_of_node(id).unwrap_or(0.0);
        let rise = part.per_call as f64 / part.calls.max(1) as f64;
        let p = self.params;
        let felt =
            rise > p.min_rise && part.per_call as f64 > p.min_share * part.entry_duration as f64;
        let &Recent { from, calls: recent, requests } = window;
        let dependence = self.dependence(recent, requests);
        if felt && rise > p.min_drift * price && self.typical_call_rose(node, recent, dependence) {
            return true;
        }
        let material = (felt && rise > p.min_rise_ratio * price) || {
            let is_empty = node.baseline().is_empty() || recent.count() == 0;
            let shift =
                if is_empty { 0.0 } else { Shift::of(usual, &recent.quantiles(DECILES)).nanos };
            shift > p.min_rise_off_path
                && shift > p.min_rise_ratio_off_path * node.baseline().quantile(0.5)
        };
        material
            && (self.share_of_slow_rose(node, from, recent, dependence)
                || self.rare_operation_rose(node, recent, rise, price))
    }

    /// How many times more counts of calls vary than if each call were a request of its own, as far
    /// as is known before the node's own spread is.
    pub(super) fn dependence(&self, recent: &Dense, requests: u64) -> f64 {
        let calls_a_request = recent.count() as f64 / requests.max(1) as f64;
        1.0 + self.params.dependence * (calls_a_request - 1.0).max(0.0)
    }

    /// Trigger a: more calls lie above what is normal than the node's own bursts explain, and not in
    /// one slice alone: what is over after five seconds wakes nobody.
    fn share_of_slow_rose(&self, node: &Node, from: Tick, recent: &Dense, dependence: f64) -> bool {
        let p = self.params;
        let baseline = node.baseline();
        if recent.count() < p.min_recent || baseline.count() < p.min_learned {
            return false;
        }
        let cuts = Cuts::of(baseline, p);
        cuts.limits.into_iter().enumerate().any(|(number, cut)| {
            let mut usual = Share { slow: baseline.count_above(cut), all: baseline.count() as f64 };
            if usual.slow == 0.0 {
                usual.all *= cuts.reach(number);
            }
            let share = Share { slow: recent.count_above(cut), all: recent.count() as f64 };
            let bursts = node.spread().dispersion(number, dependence);
            if share_rose(share, usual, least_slow(number, p)) < p.min_evidence * bursts {
                return false;
            }
            let slow = |(_, slice): (Tick, Sparse)| Share {
                slow: slice.count_above(cut),
                all: slice.count() as f64,
            };
            let slices = node.slices_since(from).map(slow);
            let worst = slices.max_by(|one, two| one.slow.total_cmp(&two.slow));
            let rest = worst.map_or(share, |worst| share.without(worst));
            share_rose(rest, usual, 1.0) >= p.min_evidence_of_rest * bursts
        })
    }

    /// Trigger e: the typical call is slower by more than it ever drifts. Finds small rises of large
    /// parts, which are within anybody's slack but not within this node's own.
    fn typical_call_rose(&self, node: &Node, recent: &Dense, dependence: f64) -> bool {
        let p = self.params;
        let baseline = node.baseline();
        if recent.count() < p.min_recent || baseline.count() < p.min_learned {
            return false;
        }
        let (mean, spread) = recent.log_moments();
        let (usual, variance) = baseline.log_moments();
        let chance = variance.max(spread)
            * (dependence / recent.count() as f64 + 1.0 / baseline.count() as f64);
        let drift = node.spread().drift_variance(p.usual_drift * p.usual_drift);
        mean - usual >= p.min_drifts * (drift + chance).sqrt()
    }

    /// Trigger b: too few calls for shares, but nearly all of them much slower.
    fn rare_operation_rose(&self, node: &Node, recent: &Dense, rise: f64, price: f64) -> bool {
        let p = self.params;
        let baseline = node.baseline();
        if recent.count() < 4 || baseline.count() < 5 {
            return false;
        }
        if rise <= p.min_rise_off_path || rise <= p.min_rise_ratio_off_path * price {
            return false;
        }
        let cut = slackened(baseline.quantile(0.9), p);
        if recent.count_above(cut) < 0.7 * recent.count() as f64 {
            return false;
        }
        mean_rose(moments(recent), moments(baseline), 8.0, 0.09) >= p.min_standard_errors
    }

    /// Trigger c: one call of the parent makes more calls of the child than it ever did. Calls whose
    /// far side was lost are left out: a lost batch of spans looks like new calls.
    fn find_fan_outs<const N: usize>(
        &self,
        windows: &Windows<N>,
        parts: [&Decomposition; N],
        hot: &mut Hot,
    ) {
        let p = self.params;
        let nodes = parts.map(|parts| parts.nodes.as_slice());
        for (parent_id, parts) in side_by_side(nodes) {
            let parent = self.history.node(parent_id);
            let learned = parent.baseline().count();
            if parent.fan_outs.is_empty() || learned < p.min_learned || !self.is_known(&parent.age)
            {
                continue;
            }
            let recent = parent.calls_since_each(&windows.froms);
            let is_tested: [bool; N] = std::array::from_fn(|at| {
                parts[at].is_some()
                    && recent[at] >= p.min_recent
                    && parent.age.can_test(self.now, windows.slices[at], p)
            });
            if !is_tested.contains(&true) {
                continue;
            }
            for &Pair { child, sums: ref counts, .. } in self.history.fan_outs(parent_id) {
                if self.roles.of(child) == Role::Unknown {
                    continue;
                }
                let more = 0.5 + p.fan_out_growth * usual_maximum(counts.baseline(), learned);
                // More calls than ever; or, of a call that is made at times only, made more often.
                let is_hot = [(more, 1.0), (0.5, p.more_often)].into_iter().any(|(cut, drift)| {
                    // Most never come near the cut: read without being put together.
                    let recent_counts = counts.recent();
                    let slow = recent_counts
                        .sums_since(&windows.froms, |mut body| above(buckets(&mut body), cut));
                    let before = LazyCell::new(|| {
                        let slow = above(counts.baseline().iter(), cut) as f64 * drift;
                        Share { slow: slow.min(learned as f64), all: learned as f64 }
                    });
                    (0..N).any(|at| {
                        let now = Share { slow: slow[at] as f64, all: recent[at] as f64 };
                        is_tested[at]
                            && now.slow >= p.min_slow
                            && share_rose(now, *before, p.min_slow) >= p.min_evidence
                    })
                });
                if is_hot {
                    hot.fan_outs.insert((parent_id, child));
                }
            }
        }
    }

    /// Trigger d: an entry spends more on a group, and most of it on operations without a baseline.
    fn find_new_operations<const N: usize>(
        &self,
        windows: &Windows<N>,
        parts: [&Decomposition; N],
        hot: &mut Hot,
    ) {
        let p = self.params;
        let entries = parts.map(|parts| parts.entries.as_slice());
        for (entry_id, parts) in side_by_side(entries) {
            let entry = self.history.entry(entry_id);
            let learned = entry.sums.baseline().requests;
            if learned < p.min_learned || !self.is_known(&entry.age) {
                continue;
            }
            let tested: [Option<&EntryPart>; N] = std::array::from_fn(|at| {
                parts[at].filter(|part| {
                    part.requests >= p.min_recent
                        && entry.age.can_test(self.now, windows.slices[at], p)
                })
            });
            if tested.iter().all(Option::is_none) {
                continue;
            }
            for (order, group) in self.history.groups(entry_id) {
                let critical =
                    group.sums.recent().sums_since(&windows.froms, |mut body| body.int());
                let before = group.sums.baseline().critical as f64 / learned as f64;
                let is_hot = (0..N).any(|at| {
                    tested[at].is_some_and(|part| {
                        let rise = critical[at] as f64 / part.requests as f64 - before;
                        // Most stop here, before their squares are read.
                        rise > 0.03 * part.baseline_mean
                            && rise > 1e6
                            && self.is_new(entry_id, group, windows.froms[at], part.requests)
                    })
                });
                if is_hot {
                    hot.new_operations.insert((entry_id, order));
                }
            }
        }
    }

    /// Trigger f: calls that ran side by side run one after the other.
    fn find_lost_overlaps<const N: usize>(
        &self,
        windows: &Windows<N>,
        parts: [&Decomposition; N],
        hot: &mut Hot,
    ) {
        let p = self.params;
        for (at, parts) in parts.iter().enumerate() {
            for &(id, ref part) in &parts.entries {
                let entry = self.history.entry(id);
                let ready = entry.age.can_test(self.now, windows.slices[at], p)
                    && part.requests >= p.min_recent
                    && entry.sums.baseline().requests >= p.min_learned;
                if ready {
                    hot.overlaps.extend(losses(self, windows.froms[at], (id, part), true));
                }
            }
        }
    }

    /// Whether a group's rise is beyond chance, and most of it on operations without a baseline.
    fn is_new(&self, entry: Id, group: &Group, from: Tick, requests: u64) -> bool {
        let learned = self.history.entry(entry).sums.baseline().requests;
        let Group { key, sums, .. } = group;
        let rise = group_rose(&sums.since(from), requests, sums.baseline(), learned, self.params);
        rise.is_some_and(|rise| {
            self.time_on_new_nodes(entry, *key, from) / requests as f64 > 0.5 * rise
        })
    }

    /// Structure needs longer to be known than speed: a call that is made once in a while is not new.
    fn is_known(&self, age: &Age) -> bool {
        let [.., second, _] = self.params.windows;
        age.learned() >= 2 * second
    }

    /// Critical nanoseconds of a group under an entry, on nodes with hardly a baseline.
    fn time_on_new_nodes(&self, entry: Id, group: GroupKey, from: Tick) -> f64 {
        let paths = self.history.entry(entry).paths.iter();
        let new = paths.filter(|&&id| {
            let path = self.history.path(id);
            self.history.node(path.node).price.calls < 3 && self.is_of_group(path.node, group)
        });
        let cohort = Cohort::since(from);
        new.map(|&id| self.history.path(id).sums.sum(cohort).critical as f64).sum()
    }

    fn is_of_group(&self, node: Id, group: GroupKey) -> bool {
        match (self.history.node(node).key, group) {
            (NodeKey::Leaf(_, Some(peer)), GroupKey::Peer(named)) => peer == named,
            (key @ NodeKey::Own(_), GroupKey::Service(service)) => {
                self.roles.key(key).is_some_and(|key| key.service == service)
            }
            _ => false,
        }
    }
}

/// Goes through several ascending lists at once: a number, and what each list has for it.
fn side_by_side<T, const N: usize>(
    mut lists: [&[(Id, T)]; N],
) -> impl Iterator<Item = (Id, [Option<&T>; N])> {
    std::iter::from_fn(move || {
        let id = lists.iter().filter_map(|list| list.first()).map(|&(id, _)| id).min()?;
        let items = lists.each_mut().map(|list| {
            let ((_, item), others) = list.split_first().filter(|((first, _), _)| *first == id)?;
            *list = others;
            Some(item)
        });
        Some((id, items))
    })
}

fn moments(distribution: &impl Distribution) -> Moments {
    let (mean, variance) = distribution.log_moments();
    Moments { count: distribution.count() as f64, mean, variance }
}

/// The largest count that more than one call of the parent in a thousand reaches.
fn usual_maximum(counts: &Sparse, parent_calls: u64) -> f64 {
    let mut reached = 0u64;
    for (count, calls) in counts.iter().rev() {
        reached += u64::from(calls);
        if reached as f64 > 0.001 * parent_calls as f64 {
            return f64::from(count);
        }
    }
    0.0
}

fn above(counts: impl Iterator<Item = (Bucket, u32)>, cut: f64) -> u64 {
    counts.filter(|&(count, _)| f64::from(count) > cut).map(|(_, calls)| u64::from(calls)).sum()
}

/// The rise of a group's mean per request, nanoseconds, if it is beyond chance.
fn group_rose(
    recent: &GroupSum,
    requests: u64,
    baseline: &GroupSum,
    learned: u64,
    params: &DetectionParams,
) -> Option<f64> {
    let (recent, baseline) = (recent.moments(requests), baseline.moments(learned));
    let rise = recent.mean - baseline.mean;
    let error = standard_error(recent, baseline);
    (rise > params.min_new_operation_z * error && rise > 0.0).then_some(rise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::histogram::bucket_of;
    use crate::model::Nanos;

    fn dense(values_ms: &[u64]) -> Dense {
        let mut dense = Dense::default();
        for &ms in values_ms {
            dense.add(&Sparse::from_counts(vec![(bucket_of(Nanos::from_millis(ms)), 1)]));
        }
        dense
    }

    #[test]
    fn a_distribution_that_doubled_is_hit_in_all_deciles() {
        let shift = Shift::between(&dense(&[10; 100]), &dense(&[20; 100]));
        assert_eq!(shift.hit, 1.0);
        // 20 - 10 - (2 + 0.3) ms, to the width of a bucket.
        assert!((shift.nanos - 7.7e6).abs() < 2.5e6, "{}", shift.nanos);
    }

    #[test]
    fn one_outlier_in_a_hundred_moves_no_decile() {
        let mut values = [10; 100];
        values[0] = 5_000;
        assert_eq!(Shift::between(&dense(&[10; 100]), &dense(&values)), Shift::default());
    }

    #[test]
    fn the_usual_maximum_ignores_what_one_call_in_a_thousand_does() {
        let counts = Sparse::from_counts(vec![(1, 9_000), (3, 100), (50, 1)]);
        assert_eq!(usual_maximum(&counts, 10_000), 3.0);
        assert_eq!(usual_maximum(&Sparse::default(), 10_000), 0.0);
        assert_eq!(above(counts.iter(), 2.0), 101);
    }

    #[test]
    fn a_group_rises_only_beyond_chance() {
        let params = DetectionParams::default();
        let sum = |mean: u64, count: u64| GroupSum {
            critical: mean * count,
            squares: u128::from(mean * mean + 1_000_000) * u128::from(count),
        };
        let rose = |mean| group_rose(&sum(mean, 100), 100, &sum(1_000, 1_000), 1_000, &params);
        // The error of the mean is 1000 * sqrt(1/1000 + 1/100), about 105.
        assert_eq!(rose(1_600), None);
        assert_eq!(rose(1_700), Some(700.0));
    }
}
