//! Whose fault is a slow gap between a CLIENT span and its SERVER span?
//!
//! The gap itself does not say: the network of either host, the callee's accept queue, or a caller too
//! busy to send and receive. Others do: a callee that answers everybody late is late itself; a caller
//! that waits for everybody is late itself; work inside either end that got slower speaks against it.
//! Both directions are weighed apart, because a late response left the callee late, while a late
//! request left the caller late or waits at the callee. A witness counts as far as what it saw is
//! comparable with what is to be explained.

use std::collections::BTreeMap;

use super::decompose::rounded;
use super::params::DetectionParams;
use super::roles::{Direction, Gap};
use crate::model::Sym;

/// What was seen of a gap, or of a service's own work. Sums of integers, rounded where they arise, so
/// that it does not matter in which order things were seen.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Testimony {
    /// Calls seen.
    calls: u64,
    /// Calls that moved, in millionths of a call.
    moved: i64,
    /// By how much they moved in all, nanoseconds.
    lag: i64,
}

impl Testimony {
    /// Adds what was seen of `calls` more calls: the share of their distribution that moved, 0 to 1,
    /// and by how much it moved, nanoseconds a call.
    pub(super) fn add(&mut self, calls: u64, hit: f64, lag: f64) {
        self.calls += calls;
        self.moved = self.moved.saturating_add(rounded(hit * calls as f64 * 1e6));
        self.lag = self.lag.saturating_add(rounded(lag * calls as f64));
    }

    fn hit(self) -> f64 {
        self.moved as f64 / 1e6 / self.calls.max(1) as f64
    }

    fn lag(self) -> f64 {
        self.lag as f64 / self.calls.max(1) as f64
    }
}

/// Everybody's testimony.
#[derive(Default, Debug)]
pub(super) struct Witnesses {
    /// By gap.
    pub gaps: BTreeMap<Gap, Testimony>,
    /// Own work, by service.
    pub own: BTreeMap<Sym, Testimony>,
    /// Calls of what sends no spans, by caller and name.
    pub dependencies: BTreeMap<(Sym, Sym), Testimony>,
    /// Which share of its own work a service spends waiting for a link: that says nothing against it.
    waits: BTreeMap<Sym, f64>,
}

/// Who a gap's rise is put on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Verdict {
    /// The link between the two: nothing else that either end does is slow. It is told to the owner of
    /// the callee, or of the caller.
    Link {
        /// Whose owner is told.
        at_callee: bool,
        /// Other edges of both ends were heard, and are fine.
        witnessed: bool,
    },
    /// This share on the callee, the rest on the caller.
    Ends {
        /// 0 to 1.
        callee: f64,
    },
}

/// A call counts for a witness up to this many times: a busy edge must not outvote three quiet ones.
const MAX_WEIGHT: f64 = 20.0;

impl Witnesses {
    /// The same, where so much of what services do themselves is waiting for a link.
    pub(super) fn without_waits(self, waits: BTreeMap<Sym, f64>) -> Witnesses {
        Witnesses { waits, ..self }
    }

    /// Whoever else the caller calls, by a gap or without spans, it does so as fast as ever, and often
    /// enough to tell.
    pub(super) fn caller_is_fine_elsewhere(&self, gap: Gap, params: &DetectionParams) -> bool {
        let subject = self.gaps.get(&gap).copied().unwrap_or_default();
        let edges = self.calls_of(gap.caller, gap.callee, subject, params);
        let (out, calls) = mean_of(edges.into_iter());
        calls >= params.min_witness_calls && out.is_some_and(|out| out < params.clean_witness)
    }

    /// Weighs everything that speaks about one gap.
    pub(super) fn judge(&self, gap: Gap, params: &DetectionParams) -> Verdict {
        let Gap { caller, callee, direction } = gap;
        let subject = self.gaps.get(&gap).copied().unwrap_or_default();
        let weigh = |witness: Testimony| relative(witness, subject, params);
        let out_edges = self.others(|other| other.caller == caller && other.callee != callee, gap);
        let in_edges = self.others(|other| other.callee == callee && other.caller != caller, gap);
        let own = |service| weigh(self.own.get(&service).copied().unwrap_or_default());
        let worked = 1.0 - self.waits.get(&caller).copied().unwrap_or(0.0);
        let (own_caller, own_callee) = (own(caller) * worked, own(callee));
        let (from_caller, out_calls) = mean(&out_edges, weigh);
        let (into_callee, in_calls) = mean(&in_edges, weigh);

        let prior = params.edge_prior;
        let opposite = Gap { direction: direction.opposite(), ..gap };
        let both = weigh(self.gaps.get(&opposite).copied().unwrap_or_default());
        let (caller_prior, callee_prior) = match direction {
            Direction::Response => (0.0, prior),
            Direction::Request => (prior * (1.0 - both), prior * both),
        };
        let out = from_caller.unwrap_or(caller_prior);
        let into = into_callee.unwrap_or(callee_prior);

        let is_clean = |seen: f64| seen < params.clean_witness;
        let others = [from_caller, into_callee].into_iter().flatten();
        if is_clean(own_caller) && is_clean(own_callee) && others.into_iter().all(is_clean) {
            let enough = params.min_witness_calls;
            let (caller_speaks, callee_speaks) = (out_calls >= enough, in_calls >= enough);
            // The end that nobody else can speak for; between equals, where it would show first.
            let at_callee = match (caller_speaks, callee_speaks) {
                (true, false) => true,
                (false, true) => false,
                (true, true) => true,
                (false, false) => direction == Direction::Response || both >= 0.5,
            };
            return Verdict::Link { at_callee, witnessed: caller_speaks && callee_speaks };
        }
        let against_caller = out.max(own_caller);
        let mut against_callee = into.max(own_callee);
        if direction == Direction::Request {
            against_callee = against_callee.max(prior * both);
        }
        let (caller_weight, callee_weight) =
            (against_caller.powi(2) + 0.0025, against_callee.powi(2) + 0.01);
        Verdict::Ends { callee: callee_weight / (caller_weight + callee_weight) }
    }

    /// Which share of a slower dependency is its caller's: where whatever the caller asks answers late, and
    /// the dependency answers others as ever, it is the caller's host, or its way out.
    pub(super) fn share_of_caller(&self, caller: Sym, name: Sym, params: &DetectionParams) -> f64 {
        let subject = self.dependencies.get(&(caller, name)).copied().unwrap_or_default();
        let weigh = |witness: Testimony| relative(witness, subject, params);
        let enough = |calls: f64| calls >= params.min_witness_calls;
        let out_edges = self.calls_of(caller, name, subject, params);
        let (out, out_calls) = mean_of(out_edges.into_iter());
        let Some(out) = out.filter(|_| enough(out_calls)) else { return 0.0 };
        let of_others =
            self.dependencies.iter().filter(|((other, to), _)| *to == name && *other != caller);
        let mut others: Vec<Testimony> = of_others.map(|(_, &testimony)| testimony).collect();
        others.sort_unstable();
        let (into, in_calls) = mean(&others, weigh);
        let against_name = into.filter(|_| enough(in_calls)).unwrap_or(params.edge_prior);
        // One slow neighbour is chance; it takes more than half of them.
        let (caller_weight, name_weight) =
            ((2.0 * out - 1.0).max(0.0).powi(2), against_name.powi(2) + 0.01);
        caller_weight / (caller_weight + name_weight)
    }

    /// Everything else that a service calls: the calls, and how far the slower way says the same as the
    /// subject.
    fn calls_of(
        &self,
        caller: Sym,
        but: Sym,
        subject: Testimony,
        params: &DetectionParams,
    ) -> Vec<(u64, f64)> {
        let mut edges: BTreeMap<Sym, (u64, f64)> = BTreeMap::new();
        let gaps = self.gaps.iter().filter(|(gap, _)| gap.caller == caller && gap.callee != but);
        let gaps = gaps.map(|(gap, &testimony)| (gap.callee, testimony));
        let dependencies = self.dependencies.range((caller, Sym(0))..=(caller, Sym(u32::MAX)));
        let dependencies = dependencies.filter(|((_, name), _)| *name != but);
        let dependencies = dependencies.map(|(&(_, name), &testimony)| (name, testimony));
        for (callee, testimony) in gaps.chain(dependencies) {
            let edge = edges.entry(callee).or_default();
            edge.0 = edge.0.max(testimony.calls);
            edge.1 = edge.1.max(relative(testimony, subject, params));
        }
        let mut edges: Vec<(u64, f64)> = edges.into_values().collect();
        // By what they say, not by the numbers of their names: what follows are sums of floats.
        edges.sort_by(|one, two| one.0.cmp(&two.0).then(one.1.total_cmp(&two.1)));
        edges
    }

    fn others(&self, of_interest: impl Fn(&Gap) -> bool, gap: Gap) -> Vec<Testimony> {
        let same_way = self.gaps.iter().filter(|(other, _)| other.direction == gap.direction);
        let mut others: Vec<Testimony> =
            same_way.filter(|(other, _)| of_interest(other)).map(|(_, one)| *one).collect();
        // By what they say, not by the numbers of their names: what follows are sums of floats.
        others.sort_unstable();
        others
    }
}

impl Direction {
    fn opposite(self) -> Direction {
        match self {
            Direction::Request => Direction::Response,
            Direction::Response => Direction::Request,
        }
    }
}

/// How much a witness says about the subject: comparable in size, relative to how much was hit there.
fn relative(witness: Testimony, subject: Testimony, params: &DetectionParams) -> f64 {
    if witness.lag <= 0 {
        return 0.0;
    }
    let comparable = if subject.lag > 0 {
        (params.comparable * witness.lag() / subject.lag()).min(1.0)
    } else {
        1.0
    };
    (witness.hit() * comparable / subject.hit().max(0.1)).min(1.0)
}

/// Mean of what the witnesses say, and how many calls they saw; no mean without witnesses.
fn mean(witnesses: &[Testimony], weigh: impl Fn(Testimony) -> f64) -> (Option<f64>, f64) {
    mean_of(witnesses.iter().map(|&witness| (witness.calls, weigh(witness))))
}

fn mean_of(witnesses: impl Iterator<Item = (u64, f64)>) -> (Option<f64>, f64) {
    let (mut sum, mut weights, mut calls) = (0.0, 0.0, 0.0);
    for (seen, says) in witnesses {
        let weight = (seen as f64).min(MAX_WEIGHT);
        sum += weight * says;
        weights += weight;
        calls += seen as f64;
    }
    ((weights > 0.0).then(|| sum / weights), calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Sym = Sym(1);
    const B: Sym = Sym(2);
    const C: Sym = Sym(3);
    const D: Sym = Sym(4);

    fn gap(caller: Sym, callee: Sym, direction: Direction) -> Gap {
        Gap { caller, callee, direction }
    }

    fn seen(hit: f64) -> Testimony {
        let mut seen = Testimony::default();
        seen.add(100, hit, hit * 1e8);
        seen
    }

    fn judged(gaps: &[(Sym, Sym, f64)], direction: Direction) -> Verdict {
        let mut witnesses = Witnesses::default();
        for &(caller, callee, hit) in gaps {
            witnesses.gaps.insert(gap(caller, callee, direction), seen(hit));
        }
        witnesses.judge(gap(A, B, direction), &DetectionParams::default())
    }

    fn callee_share(verdict: Verdict) -> f64 {
        match verdict {
            Verdict::Ends { callee } => callee,
            Verdict::Link { .. } => panic!("the link was named"),
        }
    }

    #[test]
    fn a_callee_that_is_late_for_everybody_is_late_itself() {
        let verdict = judged(&[(A, B, 1.0), (C, B, 1.0), (A, D, 0.0)], Direction::Response);
        assert!(callee_share(verdict) > 0.95);
    }

    #[test]
    fn a_caller_that_waits_for_everybody_is_late_itself() {
        let verdict = judged(&[(A, B, 1.0), (A, D, 1.0), (C, B, 0.0)], Direction::Request);
        assert!(callee_share(verdict) < 0.05);
    }

    #[test]
    fn what_a_caller_does_speaks_against_it_but_not_that_it_waits() {
        let mut witnesses = Witnesses::default();
        let slow = gap(A, B, Direction::Request);
        witnesses.gaps.insert(slow, seen(1.0));
        witnesses.gaps.insert(gap(A, D, Direction::Request), seen(0.0));
        witnesses.own.insert(A, seen(1.0));
        let params = DetectionParams::default();
        assert!(callee_share(witnesses.judge(slow, &params)) < 0.05);
        assert!(witnesses.caller_is_fine_elsewhere(slow, &params));
        let waits = witnesses.without_waits([(A, 1.0)].into());
        let link = Verdict::Link { at_callee: true, witnessed: false };
        assert_eq!(waits.judge(slow, &params), link);
    }

    #[test]
    fn a_caller_that_calls_nobody_else_or_all_of_them_late_is_not_fine_elsewhere() {
        let fine = |others: &[(Sym, f64)]| {
            let mut witnesses = Witnesses::default();
            let slow = gap(A, B, Direction::Request);
            witnesses.gaps.insert(slow, seen(1.0));
            for &(callee, hit) in others {
                witnesses.gaps.insert(gap(A, callee, Direction::Response), seen(hit));
            }
            witnesses.caller_is_fine_elsewhere(slow, &DetectionParams::default())
        };
        assert!(!fine(&[]));
        assert!(!fine(&[(C, 1.0), (D, 1.0)]));
        assert!(fine(&[(C, 0.0), (D, 0.0)]));
    }

    #[test]
    fn where_both_ends_are_fine_elsewhere_it_is_the_link() {
        let verdict = judged(&[(A, B, 1.0), (A, D, 0.0), (C, B, 0.0)], Direction::Request);
        assert_eq!(verdict, Verdict::Link { at_callee: true, witnessed: true });
    }

    #[test]
    fn a_lone_late_response_is_told_to_the_callee_and_a_lone_late_request_to_the_caller() {
        let lone = |direction| judged(&[(A, B, 1.0)], direction);
        let link = |at_callee| Verdict::Link { at_callee, witnessed: false };
        assert_eq!(lone(Direction::Response), link(true));
        assert_eq!(lone(Direction::Request), link(false));
    }

    #[test]
    fn the_end_that_others_speak_for_is_not_told() {
        let caller_is_fine = judged(&[(A, B, 1.0), (A, D, 0.0)], Direction::Request);
        assert_eq!(caller_is_fine, Verdict::Link { at_callee: true, witnessed: false });
        let callee_is_fine = judged(&[(A, B, 1.0), (C, B, 0.0)], Direction::Response);
        assert_eq!(callee_is_fine, Verdict::Link { at_callee: false, witnessed: false });
    }

    #[test]
    fn testimony_is_weighted_by_calls() {
        let mut testimony = Testimony::default();
        testimony.add(30, 1.0, 10.0);
        testimony.add(10, 0.0, 50.0);
        assert_eq!((testimony.calls, testimony.hit(), testimony.lag()), (40, 0.75, 20.0));
    }

    #[test]
    fn a_dependency_that_is_slow_like_everything_else_its_caller_asks_is_the_callers() {
        let late = |calls| {
            let mut testimony = Testimony::default();
            testimony.add(calls, 1.0, 20e6);
            testimony
        };
        let fine = |calls| {
            let mut testimony = Testimony::default();
            testimony.add(calls, 0.0, 0.0);
            testimony
        };
        let (store, cache) = (Sym(8), Sym(9));
        let share = |others: [Testimony; 3]| {
            let [of_edge, of_cache, of_other_caller] = others;
            let witnesses = Witnesses {
                gaps: [(gap(A, B, Direction::Request), of_edge)].into(),
                dependencies: [
                    ((A, store), late(50)),
                    ((A, cache), of_cache),
                    ((C, store), of_other_caller),
                ]
                .into(),
                ..Witnesses::default()
            };
            witnesses.share_of_caller(A, store, &DetectionParams::default())
        };
        assert!(share([late(50), late(50), fine(50)]) > 0.95);
        // The store is late for others, too.
        assert!(share([late(50), late(50), late(50)]) < 0.55);
        // It is the only one that is late, or one of two.
        assert_eq!(share([fine(50), fine(50), fine(50)]), 0.0);
        assert_eq!(share([fine(50), late(50), fine(50)]), 0.0);
    }

    #[test]
    fn testimony_is_the_same_to_the_last_bit_in_any_order() {
        let seen = [(7, 1.0 / 9.0, 123_456.7), (31, 5.0 / 9.0, 1.0 / 3.0), (11, 0.1, 7e8 / 3.0)];
        let told = |order: [usize; 3]| {
            let mut testimony = Testimony::default();
            for (calls, hit, lag) in order.map(|at| seen[at]) {
                testimony.add(calls, hit, lag);
            }
            testimony
        };
        assert_eq!(told([0, 1, 2]), told([2, 1, 0]));
        assert_eq!(told([0, 1, 2]), told([1, 0, 2]));
    }
}
