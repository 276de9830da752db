//! Lost parallelism: calls that ran side by side now run one after the other.
//!
//! No call gets slower by it, so self-times say nothing: the time appears where calls that used to hide
//! behind a longer one are waited for. What does tell is the overlap, the time that an operation's
//! calls save by running side by side: it falls. It does not fall when one of the calls gets slower, and
//! when all get faster it falls without anybody having to wait; so what is claimed for the caller is the
//! loss, as far as it is part of a rise that nobody else explains.

use std::collections::{BTreeMap, BTreeSet};

use super::aggregate::{GroupKey, Id, NodeKey};
use super::attribute::Claim;
use super::decompose::{Decomposition, EntryPart, rounded};
use super::detect::Scene;
use super::graph::{Group, GroupOrder};
use super::history::History;
use super::roles::Party;
use super::rolling::{Cohort, Tick};
use super::statistics::standard_error;
use super::verdict::Reason;
use crate::model::KeyId;

/// An entry, and the group of the overlap that fell.
pub(super) type Loss = (Id, GroupOrder);

/// Trigger f: an entry's requests save less by calls side by side than chance explains. Where the
/// samples are too small to tell (`tests_chance` is not set), every loss of some size is one.
pub(super) fn losses(
    scene: &Scene<'_>,
    from: Tick,
    entry: (Id, &EntryPart),
    tests_chance: bool,
) -> Vec<Loss> {
    let (id, part) = entry;
    let p = scene.params;
    let learned = scene.history.entry(id).sums.baseline().requests;
    if learned == 0 || part.requests == 0 || part.excess <= 0 {
        return Vec::new();
    }
    let fallen = scene.history.overlaps(id).filter(|(_, Group { sums, .. })| {
        let before = sums.baseline().moments(learned);
        let now = sums.since(from).moments(part.requests);
        let lost = before.mean - now.mean;
        lost > p.min_lost_overlap * before.mean
            && lost > p.min_rise
            && lost > p.min_share * part.baseline_mean
            && (!tests_chance || lost > p.min_new_operation_z * standard_error(now, before))
    });
    fallen.map(|(order, _)| (id, order)).collect()
}

/// What is lost, claimed for those who made the calls, and together no more than `unexplained`
/// nanoseconds.
pub(super) fn claims(
    scene: &Scene<'_>,
    cohort: Cohort,
    affected: &BTreeSet<Id>,
    losses: &BTreeSet<Loss>,
    parts: &Decomposition,
    unexplained: f64,
) -> Vec<Claim> {
    let mut by_operation: BTreeMap<KeyId, Claim> = BTreeMap::new();
    for &(id, order) in losses.iter().filter(|(id, _)| affected.contains(id)) {
        let Some(&Group { key: GroupKey::Overlap(operation), ref sums, .. }) =
            scene.history.group(id, order)
        else {
            continue;
        };
        let (Some(part), Some(caller)) =
            (parts.entry(id), Caller::find(scene.history, cohort, id, operation))
        else {
            continue;
        };
        let Some(key) = scene.roles.key(scene.history.node(caller.node).key) else { continue };
        let learned = scene.history.entry(id).sums.baseline().requests.max(1);
        let usual = sums.baseline().critical as f64 / learned as f64;
        let lost = usual * part.requests as f64 - sums.sum(cohort).critical as f64;
        let claim = by_operation.entry(operation).or_insert(Claim {
            party: Party::service(key.service),
            node: caller.node,
            reason: Reason::LostParallelism,
            nanos: 0.0,
            hit: 1.0,
            calls: 0,
            cost: 0.0,
        });
        claim.nanos += lost.max(0.0);
        claim.calls += caller.calls;
        claim.cost += caller.cost;
    }
    let mut claims: Vec<Claim> = by_operation.into_values().collect();
    let lost: f64 = claims.iter().map(|claim| claim.nanos).sum();
    let share = if lost > 0.0 { (unexplained / lost).clamp(0.0, 1.0) } else { 0.0 };
    for claim in &mut claims {
        // To the nanosecond, so that the order of the operations' numbers does not show.
        claim.nanos = rounded(claim.nanos * share) as f64;
    }
    claims
}

/// The operation that makes the calls, under one entry.
struct Caller {
    node: Id,
    calls: u64,
    /// What its calls cost from their beginning to their end, nanoseconds of the path.
    cost: f64,
}

impl Caller {
    fn find(history: &History, cohort: Cohort, entry: Id, operation: KeyId) -> Option<Caller> {
        let own = history.find_node(NodeKey::Own(operation));
        let mut caller: Option<Caller> = None;
        for &id in &history.entry(entry).paths {
            let mut at = Some(id);
            // Whatever lies below a call of the operation is part of what the call costs.
            while let Some(above) = at {
                let path = history.path(above);
                if Some(path.node) == own {
                    let sum = history.path(id).sums.sum(cohort);
                    let node = path.node;
                    let caller = caller.get_or_insert(Caller { node, calls: 0, cost: 0.0 });
                    caller.calls += if above == id { sum.calls } else { 0 };
                    caller.cost += sum.critical as f64;
                    break;
                }
                at = path.above;
            }
        }
        caller.filter(|caller| caller.calls > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cohort::{Cohorts, SetVerdict, TraceSpans};
    use super::*;
    use crate::model::{
        AttrSetId, InternLimits, Interner, Span, SpanId, SpanKind, Timestamp, TraceId,
    };

    const MS: u64 = 1_000_000;
    /// Two calls of a request: from when to when, in milliseconds.
    type Calls = [(u64, u64); 2];
    const SIDE_BY_SIDE: Calls = [(10, 30), (10, 40)];

    /// A request of `shop` that takes 10 ms beside its calls of `left` and `right`.
    fn request(names: &Interner, calls: Calls) -> Vec<Span> {
        let span = |id, parent, service: &str, (start, end): (u64, u64)| Span {
            id: SpanId::new(id).expect("ids are not zero"),
            parent: SpanId::new(parent),
            start: Timestamp(start * MS),
            end: Timestamp(end * MS),
            key: names.key(names.service(service.as_bytes()), b"GET", SpanKind::Server),
            peer: None,
            attrs: AttrSetId::EMPTY,
            failed: false,
        };
        let [left, right] = calls;
        let last = left.1.max(right.1);
        vec![
            span(1, 0, "shop", (0, last + 10)),
            span(2, 1, "left", left),
            span(3, 1, "right", right),
        ]
    }

    fn verdict(count: usize, before: Calls, after: Calls) -> SetVerdict {
        let names = Interner::new(InternLimits::default());
        let sides = [before, after].map(|calls| {
            let spans = (0..count).map(|_| request(&names, calls));
            spans.collect::<Vec<_>>()
        });
        let [before, after] = sides.each_ref().map(|side| -> Vec<TraceSpans<'_>> {
            let traces = (1..).zip(side);
            let traces = traces.filter_map(|(id, spans)| Some((TraceId::new(id)?, spans)));
            traces.map(|(trace, spans)| TraceSpans { trace, spans }).collect()
        });
        Cohorts::new(&names, &before, &after).verdict()
    }

    #[test]
    fn calls_one_after_the_other_are_put_on_the_caller_and_on_nobody_else() {
        for count in [1, 40] {
            let verdict = verdict(count, SIDE_BY_SIDE, [(10, 30), (30, 60)]);
            assert!(verdict.hot);
            let [suspect] = &verdict.suspects[..] else { panic!("{:?}", verdict.suspects) };
            assert_eq!((&*suspect.service, suspect.reason), ("shop", Reason::LostParallelism));
            // 20 ms a request were saved, and are missed.
            assert!((suspect.excess_seconds - 0.02 * count as f64).abs() < 1e-9, "{suspect:?}");
            assert!((suspect.score - 1.0).abs() < 1e-9, "{suspect:?}");
        }
    }

    #[test]
    fn a_slower_call_beside_another_is_its_own() {
        let verdict = verdict(40, SIDE_BY_SIDE, [(10, 90), (10, 40)]);
        let names: Vec<_> = verdict.suspects.iter().map(|suspect| &*suspect.service).collect();
        assert_eq!(names, ["left"]);
    }

    #[test]
    fn calls_that_come_to_run_side_by_side_are_nobodys_fault() {
        for count in [1, 40] {
            let verdict = verdict(count, [(10, 30), (30, 60)], SIDE_BY_SIDE);
            assert!(!verdict.hot && verdict.suspects.is_empty(), "{verdict:?}");
        }
    }

    #[test]
    fn faster_calls_save_less_and_nobody_is_blamed() {
        let verdict = verdict(40, SIDE_BY_SIDE, [(10, 12), (10, 14)]);
        assert!(!verdict.hot && verdict.suspects.is_empty(), "{verdict:?}");
    }
}
