//! Does anybody upstream feel it? How much of an entry's time the believed claims make up.
//!
//! A part can be certainly slower and still be nobody's business: a gap that went from one to three
//! milliseconds in the busy hour. What counts is the share of a request, entry by entry: a part that is
//! all of a rare entry and next to nothing of a busy one is felt by those who use the rare one.

use std::collections::{BTreeMap, BTreeSet};

use super::aggregate::Id;
use super::attribute::{Attribution, Claim};
use super::detect::Scene;
use super::histogram::Dense;
use super::rolling::Cohort;
use super::verdict::Reason;

/// Fewer requests of an entry say nothing about what its users feel.
const LEAST_REQUESTS: u64 = 3;

/// The largest share of an entry's usual time, over the affected entries, that the claims add to it.
pub(super) fn largest_share(
    scene: &Scene<'_>,
    cohort: Cohort,
    affected: &BTreeSet<Id>,
    attribution: &Attribution,
) -> f64 {
    let claimed = Claimed::read(attribution);
    let shares = affected.iter().filter_map(|&id| {
        let entry = scene.history.entry(id);
        let part = attribution.parts.entry(id)?;
        if part.requests < LEAST_REQUESTS {
            return None;
        }
        let mut nanos = 0.0;
        for &path in &entry.paths {
            let path = scene.history.path(path);
            let sum = path.sums.sum(cohort);
            nanos += claimed.a_call(path.node) * sum.calls as f64;
        }
        // Against what the requests would have taken without it.
        let rest = (part.duration as f64 - nanos).max(0.1 * part.duration as f64);
        Some(nanos / rest)
    });
    let whole: f64 = attribution.parts.entries.iter().map(|(_, part)| part.duration as f64).sum();
    let all = attribution.claimed / (whole - attribution.claimed).max(0.1 * whole).max(1.0);
    let by_users = attribution.accused.iter().flat_map(|accused| &accused.claims);
    let by_users = by_users.filter_map(|claim| share_of_users(scene, cohort, claim, attribution));
    shares.chain(by_users).fold(all, f64::max)
}

/// What a claim adds to the requests that the operation occurs in, as a share of what requests of those
/// entries take: a rare operation is felt by those who use it.
fn share_of_users(
    scene: &Scene<'_>,
    cohort: Cohort,
    claim: &Claim,
    attribution: &Attribution,
) -> Option<f64> {
    let node = scene.history.node(claim.node);
    let users = node.window(cohort.from, &mut Dense::default());
    let entries: BTreeSet<Id> = node.paths.iter().map(|&id| scene.history.path(id).entry).collect();
    let parts = entries.iter().filter_map(|&entry| attribution.parts.entry(entry));
    let (duration, requests) = parts.fold((0.0, 0), |(duration, requests), part| {
        (duration + part.duration as f64, requests + part.requests)
    });
    if users < LEAST_REQUESTS || requests == 0 || duration <= 0.0 {
        return None;
    }
    // Spans that last for hours, one in a hundred, swamp any share: a call that takes twice as long is felt.
    let rise = claim.nanos / claim.calls.max(1) as f64;
    let usual = scene.history.price_of_node(claim.node).unwrap_or(0.0);
    let p = scene.params;
    if usual > 0.0 && rise > p.min_rise_off_path && rise > p.min_rise_ratio_off_path * usual {
        return Some(1.0);
    }
    Some(claim.nanos / users as f64 / (duration / requests as f64))
}

/// What is claimed of each call of a node, nanoseconds.
struct Claimed(BTreeMap<Id, (f64, u64)>);

impl Claimed {
    fn read(attribution: &Attribution) -> Claimed {
        let mut by_node: BTreeMap<Id, (f64, u64)> = BTreeMap::new();
        for claim in attribution.accused.iter().flat_map(|accused| &accused.claims) {
            // Of extra calls, the parent's calls are counted, and those are on the path, too.
            debug_assert!(claim.reason != Reason::CallCount || claim.calls > 0);
            let (nanos, calls) = by_node.entry(claim.node).or_default();
            *nanos += claim.nanos;
            *calls = claim.calls.max(*calls);
        }
        Claimed(by_node)
    }

    fn a_call(&self, node: Id) -> f64 {
        let (nanos, calls) = self.0.get(&node).copied().unwrap_or_default();
        if calls == 0 { 0.0 } else { nanos / calls as f64 }
    }
}
