//! Does anybody upstream feel it? How much of an entry's time the believed claims make up.
//!
//! A part can be certainly slower and still be nobody's business: a gap that went from one to three
//! milliseconds in the busy hour. What counts is the share of a request, entry by entry: a part that is
//! all of a rare entry and next to nothing of a busy one is felt by those who use the rare one. A request
//! is what the typical one is: of some entries one in a hundred lasts for hours (a stream, a long poll),
//! and swamps any mean.

use std::collections::{BTreeMap, BTreeSet};

use super::aggregate::Id;
use super::attribute::{Attribution, Claim};
use super::decompose::EntryPart;
use super::detect::Scene;
use super::histogram::{Dense, Distribution};
use super::rolling::Cohort;
use super::verdict::Reason;

/// Fewer requests of an entry say nothing about what its users feel.
const LEAST_REQUESTS: u64 = 3;
/// So many of an entry's requests may last for hours and still say nothing of the others.
const SWAMPING: f64 = 0.05;

/// The largest share of an entry's usual time, over the affected entries, that the claims add to it.
pub(super) fn largest_share(
    scene: &Scene<'_>,
    cohort: Cohort,
    affected: &BTreeSet<Id>,
    attribution: &Attribution,
) -> f64 {
    let claimed = Claimed::read(attribution);
    let parts = attribution.parts.entries.iter();
    let typical = parts.map(|&(id, ref part)| (id, typical(scene, cohort, id, part)));
    let typical: BTreeMap<Id, f64> = typical.collect();
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
        let whole = typical[&id];
        let rest = (whole - nanos).max(0.1 * whole);
        Some(nanos / rest)
    });
    let whole: f64 = typical.values().sum();
    let all = attribution.claimed / (whole - attribution.claimed).max(0.1 * whole).max(1.0);
    let by_users = attribution.accused.iter().flat_map(|accused| &accused.claims);
    let by_users =
        by_users.filter_map(|claim| share_of_users(scene, cohort, claim, attribution, &typical));
    shares.chain(by_users).fold(all, f64::max)
}

/// How many times as many requests there are of the affected entries as there usually are, less what
/// may be chance.
pub(super) fn load(scene: &Scene<'_>, cohort: Cohort, attribution: &Attribution) -> f64 {
    let slices = (scene.now + 1).saturating_sub(cohort.from).max(1) as f64;
    let (mut recent, mut usual) = (0.0, 0.0);
    for &(id, ref part) in &attribution.parts.entries {
        let entry = scene.history.entry(id);
        let begins = entry.sums.begins(scene.params);
        let learned = begins.map_or(0, |tick| entry.age.learned_since(tick));
        if learned > 0 {
            usual += entry.sums.baseline().requests as f64 / learned as f64;
            recent += part.requests as f64;
        }
    }
    let least = (recent - recent.sqrt()) / slices;
    if usual > 0.0 { least / usual } else { 1.0 }
}

/// What a claim adds to the requests that the operation occurs in, as a share of what requests of those
/// entries take: a rare operation is felt by those who use it.
fn share_of_users(
    scene: &Scene<'_>,
    cohort: Cohort,
    claim: &Claim,
    attribution: &Attribution,
    typical: &BTreeMap<Id, f64>,
) -> Option<f64> {
    let node = scene.history.node(claim.node);
    let users = node.window(cohort.from, &mut Dense::default());
    let entries: BTreeSet<Id> = node.paths.iter().map(|&id| scene.history.path(id).entry).collect();
    let (mut duration, mut requests) = (0.0, 0);
    for entry in entries {
        let Some(part) = attribution.parts.entry(entry) else { continue };
        duration += typical[&entry];
        requests += part.requests;
    }
    if users < LEAST_REQUESTS || requests == 0 || duration <= 0.0 {
        return None;
    }
    Some(claim.nanos / users as f64 / (duration / requests as f64))
}

/// What the requests of an entry take in all, with the slowest of its own work, one call in twenty, taken
/// as long as the others.
fn typical(scene: &Scene<'_>, cohort: Cohort, id: Id, part: &EntryPart) -> f64 {
    let history = scene.history;
    let entry = history.entry(id);
    let own = entry.paths.iter().map(|&path| history.path(path));
    let own = own.filter(|path| path.above.is_none()).map(|path| path.sums.sum(cohort));
    let (calls, critical) =
        own.fold((0, 0), |(calls, critical), sum| (calls + sum.calls, critical + sum.critical));
    let mut recent = Dense::default();
    history.node(entry.node).window(cohort.from, &mut recent);
    let usual = recent.mean_below(1.0 - SWAMPING) * calls as f64;
    part.duration as f64 - (critical as f64 - usual).max(0.0)
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
