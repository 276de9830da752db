//! Evidence that is too thin in each place, added up over places that share a cause.
//!
//! A stall now and then, at one request a second, leaves two or three slow calls with each operation of
//! a service and on each of its links: chance, place by place, and proof together. So the nodes of a
//! service, of a link (both ways), of a dependency and around a service are tested as one, where none of
//! them is hot by itself. Whose time it is, is not decided here: pools overlap, and what is found hot are
//! their nodes. Only what is slower than nearly all that is normal is counted; small rises of many calls
//! are seen in each place.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::aggregate::Id;
use super::decompose::{Decomposition, NodePart};
use super::detect::{Hot, Scene, Windows};
use super::histogram::{Dense, Distribution, Sparse};
use super::node::Node;
use super::params::DetectionParams;
use super::roles::{Gap, Party, Role};
use super::rolling::Tick;
use super::spread::{CUTS, Cuts, least_slow};
use super::statistics::{Share, Together, dispersion};
use crate::model::Sym;

/// Nodes that one cause can slow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Pool {
    /// What a service does itself.
    Own(Sym),
    /// The same, and its calls, made and answered: its process, or its host's network.
    Around(Sym),
    /// The calls from one service to another, both ways.
    Link(Sym, Sym),
    /// A callee without spans, whoever calls it.
    Dependency(Sym),
    /// What failures of somebody cost.
    Failure(Party),
}

/// The first of the cuts that are asked about: just above the 99th percentile.
const FIRST_CUT: usize = 2;

/// The slow calls of a pool, by one cut of each member.
#[derive(Clone, Default)]
struct Tally {
    /// Against what is normal.
    together: Together,
    /// By how much they vary beyond chance, as a standard deviation: calls of one request, of one pause
    /// and of one burst are no independent witnesses, nor are, at worst, the members.
    bursts: f64,
    /// By slice, how many, and how many it would be of what is normal.
    slices: Vec<(f64, f64)>,
    /// Who has some.
    slow: Vec<Id>,
}

impl Pool {
    fn of(role: Role) -> impl Iterator<Item = Pool> {
        let pools = match role {
            Role::Own(service) => [Some(Pool::Own(service)), Some(Pool::Around(service)), None],
            Role::Gap(Gap { caller, callee, .. }) => {
                [Pool::Link(caller, callee), Pool::Around(caller), Pool::Around(callee)].map(Some)
            }
            Role::Dependency(name) => [Some(Pool::Dependency(name)), None, None],
            Role::Failure(party) => [Some(Pool::Failure(party)), None, None],
            Role::Edge | Role::Unknown => [None; 3],
        };
        pools.into_iter().flatten()
    }
}

/// What the nodes of a pool come to in a window.
#[derive(Default)]
struct Weight {
    nodes: usize,
    /// One of them is hot by itself.
    hot: bool,
    /// By how much more time they took, nanoseconds.
    rise: i64,
    /// Duration of the requests of their entries, nanoseconds.
    entry_duration: u64,
}

type ByPool<T> = HashMap<Pool, T, RandomState>;

impl Scene<'_> {
    /// Adds the nodes of pools that are slower together. The shortest window is left out: what happens
    /// now and then needs time to happen.
    pub(super) fn find_pooled<const N: usize>(
        &self,
        windows: [u64; N],
        parts: &[Decomposition; N],
        hot: &mut Hot,
    ) {
        let windows = Windows::of(self, windows);
        let mut found = Vec::new();
        for (at, parts) in parts.iter().enumerate().skip(1) {
            for members in self.worth_testing(windows.slices[at], parts, hot) {
                found.extend(self.slower_together(&members, windows.froms[at]));
            }
        }
        hot.nodes.extend(found);
    }

    /// The nodes of each pool of several, none of them hot by itself, that takes a share of its entries'
    /// time that matters.
    fn worth_testing(&self, window: Tick, parts: &Decomposition, hot: &Hot) -> Vec<Vec<Id>> {
        let each = |visit: &mut dyn FnMut(Pool, Id, &NodePart)| {
            for &(id, ref part) in &parts.nodes {
                if self.history.node(id).age.can_test(self.now, window, self.params) {
                    Pool::of(self.roles.of(id)).for_each(|pool| visit(pool, id, part));
                }
            }
        };
        let mut weights: ByPool<Weight> = HashMap::default();
        each(&mut |pool, id, part| {
            let weight = weights.entry(pool).or_default();
            weight.nodes += 1;
            weight.hot |= hot.nodes.contains(&id);
            weight.rise = weight.rise.saturating_add(part.per_call);
            weight.entry_duration = weight.entry_duration.max(part.entry_duration);
        });
        weights.retain(|_, weight| {
            let least = self.params.min_share * weight.entry_duration as f64;
            weight.nodes > 1 && !weight.hot && weight.rise as f64 > least
        });
        let mut members: ByPool<Vec<Id>> = HashMap::default();
        each(&mut |pool, id, _| {
            if weights.contains_key(&pool) {
                members.entry(pool).or_default().push(id);
            }
        });
        members.into_values().collect()
    }

    /// The members with slow calls, if there are more of those in all of them together than chance and
    /// bursts explain.
    fn slower_together(&self, members: &[Id], from: Tick) -> Vec<Id> {
        let slices = usize::try_from(self.now + 1 - from).unwrap_or(0);
        let mut tallies: [Tally; CUTS] = std::array::from_fn(|_| Tally::over(slices));
        let mut calls = Dense::default();
        for &id in members {
            let node = self.history.node(id);
            if node.baseline().count() < self.params.min_recent {
                continue;
            }
            calls.clear();
            let requests = node.window(from, &mut calls);
            if calls.count() == 0 {
                continue;
            }
            let dependence = self.dependence(&calls, requests);
            let cuts = Cuts::of(node.baseline(), self.params);
            let seen = Seen { id, node, calls: &calls, cuts: &cuts, dependence };
            let mut rates = [0.0; CUTS];
            for number in FIRST_CUT..CUTS {
                rates[number] = tallies[number].add(number, &seen);
            }
            for (tick, slice) in node.slices_since(from) {
                let at = usize::try_from(tick - from).unwrap_or(usize::MAX);
                for number in FIRST_CUT..CUTS {
                    tallies[number].add_slice(at, &slice, cuts.limits[number], rates[number]);
                }
            }
        }
        let is_hot = |&number: &usize| tallies[number].rose(number, self.params);
        let hot = (FIRST_CUT..CUTS).filter(is_hot);
        hot.flat_map(|number| tallies[number].slow.iter().copied()).collect()
    }
}

/// The calls of one member in a window, and its cuts.
struct Seen<'a> {
    id: Id,
    node: &'a Node,
    calls: &'a Dense,
    cuts: &'a Cuts,
    dependence: f64,
}

impl Tally {
    fn over(slices: usize) -> Tally {
        Tally { slices: vec![(0.0, 0.0); slices], ..Tally::default() }
    }

    /// Adds a member's calls beyond one of its cuts; returns the share of them that is normal.
    fn add(&mut self, number: usize, seen: &Seen<'_>) -> f64 {
        let &Seen { id, node, calls, cuts, dependence } = seen;
        let cut = cuts.limits[number];
        let baseline = node.baseline();
        let mut usual = Share { slow: baseline.count_above(cut), all: baseline.count() as f64 };
        if usual.slow < 1.0 {
            // The next one is as likely as one of all that were seen, or less the further out.
            usual = Share { slow: 1.0, all: usual.all * cuts.beyond(number) };
        }
        let recent = Share { slow: calls.count_above(cut), all: calls.count() as f64 };
        self.together.add(recent, usual);
        let rate = usual.slow / usual.all;
        let beyond_chance = node.spread().dispersion(number, dependence) - 1.0;
        self.bursts += (beyond_chance * rate * recent.all).sqrt();
        if recent.slow > 0.0 {
            self.slow.push(id);
        }
        rate
    }

    /// Adds the calls of a slice, the one `at` in the window.
    fn add_slice(&mut self, at: usize, slice: &Sparse, cut: f64, rate: f64) {
        if let Some((slow, expected)) = self.slices.get_mut(at) {
            *slow += slice.count_above(cut);
            *expected += rate * slice.count() as f64;
        }
    }

    /// Slow calls are more than chance and bursts explain, and not in one slice alone.
    fn rose(&self, number: usize, p: &DetectionParams) -> bool {
        if self.together.slow < least_slow(number, p) || self.slow.len() < 2 {
            return false;
        }
        let usual: f64 = self.slices.iter().map(|(_, expected)| expected).sum();
        let bursts = (1.0 + self.bursts.powi(2) / usual.max(f64::MIN_POSITIVE))
            .max(dispersion(&self.slices));
        let worst = self.slices.iter().map(|&(slow, _)| slow).fold(0.0, f64::max);
        self.together.evidence() >= p.min_evidence_of_pool * bursts
            && self.together.without(worst).evidence() >= p.min_evidence_of_rest * bursts
    }
}
