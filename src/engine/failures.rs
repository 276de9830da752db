//! Calls that nobody answered, or that had to be made again: too few in each place, added up by who was
//! called.
//!
//! A call that hangs until its caller gives up costs a thousand usual ones, and needs to happen to one in a
//! hundred only. Over the operations that make such calls it is one or two a minute each; over all of
//! those that failed it is proof, most of all where calls hardly ever fail at all. What is expected of
//! somebody who has not failed yet is therefore what all calls of the system did. Whose doing the failures
//! are is not decided here, nor what they cost.

use std::collections::BTreeMap;

use super::aggregate::{Id, NodeKey};
use super::decompose::{Decomposition, NodePart};
use super::detect::{Hot, Scene, Windows};
use super::histogram::Dense;
use super::roles::{Party, Role, key_of};
use super::rolling::Tick;
use super::statistics::{Share, Together, dispersion, ln_choices};
use crate::model::KeyId;

/// So many failures are believed of anybody beforehand, at the rate of the whole system.
const PRIOR_FAILURES: f64 = 0.5;

/// How a call fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sort {
    /// Nobody answered.
    Unanswered,
    /// It was made again.
    Retried,
}

const SORTS: [Sort; 2] = [Sort::Unanswered, Sort::Retried];

/// Calls to one callee by the client operation that makes them.
type Callee = BTreeMap<KeyId, Calls>;

/// Calls of one client operation, in a window.
#[derive(Default)]
struct Calls {
    /// Recent ones, and those that are normal.
    recent: f64,
    learned: f64,
    /// Those of them that failed, by sort.
    failed: [Failures; SORTS.len()],
}

/// Calls that failed in one way.
#[derive(Default)]
struct Failures {
    /// The nodes that say so.
    nodes: Vec<Id>,
    learned: f64,
    /// What they cost recently, nanoseconds.
    cost: u64,
    /// Duration of the requests of their entries, nanoseconds.
    entry_duration: u64,
}

impl Scene<'_> {
    /// Adds the failures of callees that fail more than they used to: as calls beyond the usual.
    pub(super) fn find_failing<const N: usize>(
        &self,
        windows: [u64; N],
        parts: &[Decomposition; N],
        hot: &mut Hot,
    ) {
        let windows = Windows::of(self, windows);
        for (from, parts) in windows.froms.into_iter().zip(parts) {
            let callees = self.failing(parts);
            if callees.is_empty() {
                continue;
            }
            let all = self.learned(parts);
            for sort in SORTS {
                let rate = usual_rate(&callees, all, sort);
                for callee in callees.values() {
                    if self.fails_more(callee, sort, rate, from) {
                        let failed =
                            callee.values().flat_map(|calls| &calls.failed[sort as usize].nodes);
                        hot.fan_outs.extend(failed.flat_map(|&id| self.as_calls(id)));
                    }
                }
            }
        }
    }

    /// Everybody of whose calls one failed.
    fn failing(&self, parts: &Decomposition) -> BTreeMap<Party, Callee> {
        let failing = parts.nodes.iter().filter_map(|&(id, _)| match self.roles.of(id) {
            Role::Failure(party) => Some((party, Callee::new())),
            _ => None,
        });
        let mut callees: BTreeMap<Party, Callee> = failing.collect();
        if callees.is_empty() {
            return callees; // mostly
        }
        for &(id, ref part) in &parts.nodes {
            let Some((party, failure)) = self.called(id) else { continue };
            let node = self.history.node(id);
            let Some((callee, operation)) = callees.get_mut(&party).zip(key_of(node.key)) else {
                continue;
            };
            let calls = callee.entry(operation).or_default();
            let learned = node.price.calls as f64;
            // What is made again is a call of its own.
            if failure != Some(Sort::Retried) {
                calls.recent += part.calls as f64;
                calls.learned += learned;
            }
            if let Some(sort) = failure {
                calls.failed[sort as usize].add(id, part, learned);
            }
        }
        callees
    }

    /// Normal calls of everybody.
    fn learned(&self, parts: &Decomposition) -> f64 {
        let calls = parts.nodes.iter().filter(|&&(id, _)| {
            self.called(id).is_some_and(|(_, failure)| failure != Some(Sort::Retried))
        });
        calls.map(|&(id, _)| self.history.node(id).price.calls as f64).sum()
    }

    /// Who was called, if a node is of calls, and how they failed.
    fn called(&self, id: Id) -> Option<(Party, Option<Sort>)> {
        match (self.history.node(id).key, self.roles.of(id)) {
            (NodeKey::Edge(_, callee), _) => Some((Party::service(callee), None)),
            (NodeKey::Leaf(..), Role::Dependency(name)) => Some((Party::dependency(name), None)),
            (NodeKey::Failed(..), Role::Failure(party)) => Some((party, Some(Sort::Unanswered))),
            (NodeKey::Retry(..), Role::Failure(party)) => Some((party, Some(Sort::Retried))),
            _ => None,
        }
    }

    /// More of the callee's calls fail than chance explains: of those operations that failed, whichever
    /// they are.
    fn fails_more(&self, callee: &Callee, sort: Sort, rate: f64, from: Tick) -> bool {
        let p = self.params;
        let failed = |calls: &&Calls| !calls.failed[sort as usize].nodes.is_empty();
        let operations: Vec<&Calls> = callee.values().filter(failed).collect();
        let sum =
            |figure: fn(&Calls) -> f64| operations.iter().map(|calls| figure(calls)).sum::<f64>();
        let (recent, learned) = (sum(|calls| calls.recent), sum(|calls| calls.learned));
        let failures = || operations.iter().map(|calls| &calls.failed[sort as usize]);
        let cost: u64 = failures().map(|failures| failures.cost).sum();
        let whole = failures().map(|failures| failures.entry_duration).max().unwrap_or(0);
        if learned < p.min_recent as f64 || cost as f64 <= p.min_share * whole as f64 {
            return false;
        }
        let nodes = || failures().flat_map(|failures| &failures.nodes);
        let slices = self.by_slice(nodes(), from);
        let slow = slices.iter().map(|&(seen, _)| seen).sum::<f64>();
        if slow < p.min_slow {
            return false;
        }
        let before = failures().map(|failures| failures.learned).sum::<f64>() + PRIOR_FAILURES;
        let usual = Share { slow: before, all: learned + PRIOR_FAILURES / rate };
        let mut together = Together::default();
        together.add(Share { slow, all: recent.max(slow) }, usual);
        let worst = slices.iter().map(|&(seen, _)| seen).fold(0.0, f64::max);
        let bursts = dispersion(&slices).max(self.attempts(nodes())).max(1.0);
        let chosen = ln_choices(operations.len(), callee.len());
        together.evidence() - chosen >= p.min_evidence * bursts
            && together.without(worst).evidence() - chosen >= p.min_evidence_of_rest * bursts
    }

    /// Failures slice by slice, each beside an equal share of the time.
    fn by_slice<'a>(&self, nodes: impl Iterator<Item = &'a Id>, from: Tick) -> Vec<(f64, f64)> {
        let length = usize::try_from(self.now + 1 - from).unwrap_or(0);
        let mut slices = vec![(0.0, 1.0); length];
        // By path: a node that never failed before is young, and what is young becomes normal early.
        let paths = nodes.flat_map(|&id| &self.history.node(id).paths);
        let sums = paths.flat_map(|&path| self.history.path(path).sums.recent().since(from));
        for (tick, sum) in sums {
            let at = usize::try_from(tick - from).unwrap_or(usize::MAX);
            if let Some((seen, _)) = slices.get_mut(at) {
                *seen += sum.calls as f64;
            }
        }
        slices
    }

    /// How many times more failures vary than if each were in a request of its own.
    fn attempts<'a>(&self, nodes: impl Iterator<Item = &'a Id>) -> f64 {
        let mut calls = Dense::default();
        let requests = nodes.map(|&id| self.history.node(id).window(0, &mut calls)).sum();
        self.dependence(&calls, requests)
    }

    /// A failure is a call beyond the usual of whatever the path to it ended with.
    fn as_calls(&self, failure: Id) -> impl Iterator<Item = (Id, Id)> {
        let history = self.history;
        let above = history.node(failure).paths.iter().filter_map(|&path| history.path(path).above);
        above.map(move |above| (history.path(above).node, failure))
    }
}

impl Failures {
    fn add(&mut self, id: Id, part: &NodePart, learned: f64) {
        self.nodes.push(id);
        self.learned += learned;
        self.cost = self.cost.saturating_add(part.critical);
        self.entry_duration = self.entry_duration.max(part.entry_duration);
    }
}

/// Which share of all calls, of which so many are known, normally fails in one way.
fn usual_rate(failing: &BTreeMap<Party, Callee>, all: f64, sort: Sort) -> f64 {
    let calls = failing.values().flat_map(BTreeMap::values);
    let failed: f64 = calls.map(|calls| calls.failed[sort as usize].learned).sum();
    (failed + PRIOR_FAILURES) / (all + 1.0)
}
