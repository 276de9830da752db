//! The sum that everything rests on: by how much requests took longer, and which parts make it up.
//!
//! An entry's duration is the sum of the critical time on its paths. What a path's calls should have
//! cost is their number times the price learned for one; the rest is the path's rise. Rises are
//! rounded to the nanosecond where they arise, so they add up in any order. Prices borrow a few calls
//! from the node's price over all entries, so that a path never seen before has one.

use std::collections::BTreeMap;

use super::aggregate::Id;
use super::history::History;
use super::params::DetectionParams;
use super::rolling::Tick;

/// What is normal for every node's critical time per call, over all entries. Computed once a tick.
#[derive(Default)]
pub(super) struct Prices {
    by_node: Vec<Option<f64>>,
    calls: Vec<u64>,
}

impl Prices {
    /// Reads the prices off the baselines.
    pub(super) fn update(&mut self, history: &History) {
        self.by_node.clear();
        self.calls.clear();
        for node in history.nodes() {
            let (mut critical, mut calls) = (0u128, 0u64);
            for &path in &node.paths {
                let sum = history.path(path).sums.baseline();
                critical += u128::from(sum.critical);
                calls += sum.calls;
            }
            self.by_node.push((calls > 0).then(|| critical as f64 / calls as f64));
            self.calls.push(calls);
        }
    }

    /// Mean critical nanoseconds of a call of this node; `None` if it was never seen before.
    pub(super) fn of_node(&self, node: Id) -> Option<f64> {
        self.by_node.get(node as usize).copied().flatten()
    }

    /// Calls of this node in the baselines of the entries it occurs under.
    pub(super) fn calls(&self, node: Id) -> u64 {
        self.calls.get(node as usize).copied().unwrap_or(0)
    }

    /// What a call on this path should cost, nanoseconds; `None` if its node has no price.
    pub(super) fn of_path(&self, history: &History, path: Id, shrink: f64) -> Option<f64> {
        let node = self.of_node(history.path(path).node)?;
        let sum = history.path(path).sums.baseline();
        let weight = sum.calls as f64 + shrink;
        if weight == 0.0 {
            return Some(node);
        }
        Some((sum.critical as f64 + shrink * node) / weight)
    }
}

/// One entry in a cohort.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct EntryPart {
    /// Requests of the cohort.
    pub requests: u64,
    /// Sum of their durations, nanoseconds.
    pub duration: u64,
    /// By how much longer they took than expected, nanoseconds.
    pub excess: i64,
    /// Mean nanoseconds of a request, learned; zero if the entry is new.
    pub baseline_mean: f64,
}

/// One node in a cohort, over all entries looked at.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct NodePart {
    /// Calls on the paths that end here.
    pub calls: u64,
    /// Their critical time, nanoseconds.
    pub critical: u64,
    /// By how much more critical time they took than their number explains, nanoseconds.
    pub per_call: i64,
    /// Critical time of a node that has no baseline, nanoseconds.
    pub new: i64,
    /// Duration of the requests of the entries it occurs under, nanoseconds.
    pub entry_duration: u64,
}

/// A cohort taken apart.
#[derive(Default)]
pub(super) struct Decomposition {
    /// By entry.
    pub entries: BTreeMap<Id, EntryPart>,
    /// By node.
    pub nodes: BTreeMap<Id, NodePart>,
    /// Sum of the entries' excess, nanoseconds.
    pub total: i64,
}

/// Which slices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cohort {
    /// First.
    pub from: Tick,
    /// Only this one, or all that follow.
    pub only: bool,
}

impl Cohort {
    /// All slices from `from` on.
    pub(super) fn since(from: Tick) -> Cohort {
        Cohort { from, only: false }
    }

    /// One slice.
    pub(super) fn at(tick: Tick) -> Cohort {
        Cohort { from: tick, only: true }
    }

    /// The sum of a figure over the cohort.
    pub(super) fn sum<T: super::rolling::Sum + Clone>(
        self,
        rolling: &super::rolling::Rolling<T>,
    ) -> T {
        if self.only {
            rolling.at(self.from).cloned().unwrap_or_default()
        } else {
            rolling.since(self.from)
        }
    }
}

/// Takes the cohort apart, for the entries that `chosen` picks.
pub(super) fn decompose(
    history: &History,
    prices: &Prices,
    cohort: Cohort,
    chosen: impl Fn(Id) -> bool,
    params: &DetectionParams,
) -> Decomposition {
    let mut result = Decomposition::default();
    for (&id, entry) in history.entries() {
        if !chosen(id) {
            continue;
        }
        let recent = cohort.sum(&entry.sums);
        if recent.requests == 0 {
            continue;
        }
        let expected_by_path =
            file_paths(history, prices, cohort, id, recent.duration, &mut result, params);
        let baseline = entry.sums.baseline();
        let baseline_mean = match baseline.requests {
            0 => 0.0,
            requests => baseline.duration as f64 / requests as f64,
        };
        let expected = match baseline.requests {
            0 => expected_by_path,
            _ => rounded(recent.requests as f64 * baseline_mean),
        };
        let excess = signed(recent.duration) - expected;
        let (requests, duration) = (recent.requests, recent.duration);
        result.entries.insert(id, EntryPart { requests, duration, excess, baseline_mean });
        result.total = result.total.saturating_add(excess);
    }
    result
}

/// Files the rises of one entry's paths under their nodes; returns what its calls should have cost.
fn file_paths(
    history: &History,
    prices: &Prices,
    cohort: Cohort,
    entry: Id,
    duration: u64,
    result: &mut Decomposition,
    params: &DetectionParams,
) -> i64 {
    let mut expected_total = 0;
    let mut met: Vec<Id> = Vec::new();
    for &id in &history.entries()[&entry].paths {
        let path = history.path(id);
        let recent = cohort.sum(&path.sums);
        if recent.calls == 0 {
            continue;
        }
        let part = result.nodes.entry(path.node).or_default();
        part.calls += recent.calls;
        part.critical = part.critical.saturating_add(recent.critical);
        match prices.of_path(history, id, params.shrink) {
            Some(price) => {
                let expected = rounded(recent.calls as f64 * price);
                let rise = signed(recent.critical) - expected;
                expected_total = expected.saturating_add(expected_total);
                part.per_call = part.per_call.saturating_add(rise);
            }
            None => part.new = part.new.saturating_add(signed(recent.critical)),
        }
        met.push(path.node);
    }
    met.sort_unstable();
    met.dedup();
    for node in met {
        let part = result.nodes.entry(node).or_default();
        part.entry_duration = part.entry_duration.saturating_add(duration);
    }
    expected_total
}

/// Nanoseconds as a signed number; 2^63 ns are 292 years.
pub(super) fn signed(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

/// To the nanosecond.
pub(super) fn rounded(nanos: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)] // `as` saturates
    {
        nanos.round() as i64
    }
}
