//! Who the rise belongs to: claims on the excess, per suspect, and what nobody explains.
//!
//! Each node claims the rise of its calls as far as it is believed; extra calls are claimed by whoever
//! makes them; a gap's rise is shared out by [`gaps`](super::gaps). What is left is unexplained.

use std::collections::{BTreeMap, BTreeSet};

use super::aggregate::Id;
use super::decompose::{Decomposition, NodePart, decompose, rounded};
use super::detect::{Hot, Scene, Shift};
use super::extra_calls;
use super::gaps::{Verdict, Witnesses};
use super::histogram::Dense;
use super::impact::put_on_cause;
use super::overlap;
use super::roles::{Gap, Party, Role};
use super::rolling::Cohort;
use super::verdict::{Pattern, Reason, SuspectKind};
use crate::model::Sym;

/// A claim on the excess.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Claim {
    /// Who.
    pub party: Party,
    /// The node whose operation it is about.
    pub node: Id,
    /// How it costs more.
    pub reason: Reason,
    /// Nanoseconds over the cohort.
    pub nanos: f64,
    /// Share of the distribution that moved.
    pub hit: f64,
    /// Calls of the operation in the cohort.
    pub calls: u64,
    /// What they cost in all, nanoseconds.
    pub cost: f64,
}

/// All claims of one party.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Accused {
    /// Who.
    pub party: Party,
    /// Nanoseconds over the cohort.
    pub nanos: f64,
    /// The claims, the largest first.
    pub claims: Vec<Claim>,
}

impl Accused {
    /// The largest claim: its operation and reason stand for the whole.
    pub(super) fn main(&self) -> &Claim {
        &self.claims[0]
    }

    /// Whether most calls are slow or a few, over all claims.
    pub(super) fn pattern(&self) -> Pattern {
        let hit: f64 = self.claims.iter().map(|claim| claim.hit * claim.nanos).sum();
        if hit < 0.5 * self.nanos { Pattern::Intermittent } else { Pattern::Sustained }
    }
}

/// A cohort's excess, shared out.
pub(super) struct Attribution {
    /// The cohort taken apart.
    pub parts: Decomposition,
    /// Who claims what, the largest claim first.
    pub accused: Vec<Accused>,
    /// Sum of the claims, nanoseconds.
    pub claimed: f64,
}

impl Attribution {
    /// What the shares are shares of: the excess, or the claims if they are more (others got faster).
    pub(super) fn whole(&self) -> f64 {
        (self.parts.total as f64).max(self.claimed)
    }

    /// Nanoseconds put on nobody; negative where others got faster.
    pub(super) fn unexplained(&self) -> f64 {
        self.parts.total as f64 - self.claimed
    }
}

/// Shares out the excess of the `affected` entries over a cohort.
pub(super) fn attribute(
    scene: &Scene<'_>,
    cohort: Cohort,
    affected: &BTreeSet<Id>,
    hot: &Hot,
    believed: &BTreeSet<Id>,
) -> Attribution {
    let chosen = |entry| affected.contains(&entry);
    let [parts] = decompose(scene.history, &[cohort], chosen, scene.params);
    let mut claims = Vec::new();
    let evidence = read_all(scene, cohort, &parts, hot, believed);
    let witnesses = testimonies(scene, &evidence);
    for &(id, role, evidence) in &evidence {
        let (party, reason) = match role {
            Role::Own(service) => (Party::service(service), Reason::SelfTime),
            Role::Dependency(name) => (Party::dependency(name), Reason::SelfTime),
            // Until its ends are heard.
            Role::Gap(gap) => (Party::service(gap.callee), Reason::CallGap),
            Role::Failure(party) => (party, Reason::CallGap),
            Role::Edge | Role::Unknown => continue,
        };
        claims.push(evidence.claim(id, party, reason));
    }
    let waits = put_on_cause(scene, cohort, affected, &witnesses, &mut claims);
    let mut claims = hear_the_ends(scene, claims, &witnesses.without_waits(waits));
    claims.extend(extra_calls::claims(scene, cohort, affected, hot));
    claims.extend(new_operation_claims(scene, cohort, affected, hot));
    let told: f64 = claims.iter().map(|claim| claim.nanos).sum();
    let untold = parts.total as f64 - told;
    claims.extend(overlap::claims(scene, cohort, affected, &hot.overlaps, &parts, untold));
    let accused = group(scene, claims);
    let claimed = accused.iter().map(|accused| accused.nanos).sum();
    Attribution { parts, accused, claimed }
}

/// Splits what is claimed of gaps between the two ends. What has been moved to a cause of another sort
/// keeps its party.
fn hear_the_ends(scene: &Scene<'_>, claims: Vec<Claim>, witnesses: &Witnesses) -> Vec<Claim> {
    let mut verdicts: BTreeMap<Gap, Verdict> = BTreeMap::new();
    let mut shares: BTreeMap<(Sym, Sym), f64> = BTreeMap::new();
    let mut heard = Vec::with_capacity(claims.len());
    for claim in claims {
        match scene.roles.of(claim.node) {
            Role::Gap(gap) => {
                let verdict =
                    *verdicts.entry(gap).or_insert_with(|| witnesses.judge(gap, scene.params));
                heard.extend(share_out(claim, gap, verdict));
            }
            Role::Dependency(name) => {
                let key = scene.roles.key(scene.history.node(claim.node).key);
                let caller = key.map(|key| {
                    let share = shares.entry((key.service, name)).or_insert_with(|| {
                        witnesses.share_of_caller(key.service, name, scene.params)
                    });
                    (key.service, *share)
                });
                heard.extend(with_caller(claim, caller));
            }
            _ => heard.push(claim),
        }
    }
    heard
}

/// Splits what is claimed of a dependency between it and its caller, whose share is known.
fn with_caller(claim: Claim, caller: Option<(Sym, f64)>) -> impl Iterator<Item = Claim> {
    let caller = caller.map(|(caller, share)| {
        let (party, reason) = (Party::service(caller), Reason::CallGap);
        Claim { party, reason, nanos: claim.nanos * share, ..claim }
    });
    let rest = claim.nanos - caller.map_or(0.0, |caller| caller.nanos);
    [Some(Claim { nanos: rest, ..claim }), caller].into_iter().flatten()
}

/// What every gap and every service's own work says about the gaps.
pub(super) fn witnesses(
    scene: &Scene<'_>,
    cohort: Cohort,
    parts: &Decomposition,
    hot: &Hot,
    believed: &BTreeSet<Id>,
) -> Witnesses {
    testimonies(scene, &read_all(scene, cohort, parts, hot, believed))
}

fn testimonies(scene: &Scene<'_>, evidence: &[(Id, Role, Evidence)]) -> Witnesses {
    let mut witnesses = Witnesses::default();
    for &(id, role, Evidence { calls, hit, shift, .. }) in evidence {
        let testimony = match role {
            Role::Dependency(name) => {
                let Some(key) = scene.roles.key(scene.history.node(id).key) else { continue };
                witnesses.dependencies.entry((key.service, name)).or_default()
            }
            Role::Own(service) => witnesses.own.entry(service).or_default(),
            Role::Gap(gap) => witnesses.gaps.entry(gap).or_default(),
            _ => continue,
        };
        testimony.add(calls, hit, shift);
    }
    witnesses
}

/// The evidence of every node whose time can be somebody's, read once: two distributions each.
fn read_all(
    scene: &Scene<'_>,
    cohort: Cohort,
    parts: &Decomposition,
    hot: &Hot,
    believed: &BTreeSet<Id>,
) -> Vec<(Id, Role, Evidence)> {
    let nodes = parts.nodes.iter().map(|&(id, ref part)| (id, scene.roles.of(id), part));
    nodes
        .filter(|(_, role, _)| !matches!(role, Role::Edge | Role::Unknown))
        .map(|(id, role, part)| (id, role, Evidence::read(scene, cohort, id, part, hot, believed)))
        .collect()
}

/// What the cohort says about one node.
#[derive(Clone, Copy)]
struct Evidence {
    calls: u64,
    cost: f64,
    /// The rise that is believed, nanoseconds.
    claim: f64,
    hit: f64,
    shift: f64,
}

impl Evidence {
    fn read(
        scene: &Scene<'_>,
        cohort: Cohort,
        id: Id,
        part: &NodePart,
        hot: &Hot,
        believed: &BTreeSet<Id>,
    ) -> Evidence {
        let mut recent = Dense::default();
        let node = scene.history.node(id);
        if cohort.only {
            node.slice(cohort.from, &mut recent);
        } else {
            node.window(cohort.from, &mut recent);
        }
        let Shift { nanos: shift, hit } = Shift::between(node.baseline(), &recent);
        let rise = part.per_call.max(0) as f64;
        let by_shift = shift * part.calls as f64;
        let is_believed = hot.nodes.contains(&id) || believed.contains(&id);
        // A mean that a single outlier carries is believed as far as the distribution moved.
        let claim = if is_believed { rise } else { rise.min(by_shift) };
        let on_path = if by_shift > 0.0 { (rise / by_shift).min(1.0) } else { 1.0 };
        let cost = part.critical as f64;
        Evidence { calls: part.calls, cost, claim, hit: hit * on_path, shift }
    }

    fn claim(&self, node: Id, party: Party, reason: Reason) -> Claim {
        let Evidence { calls, cost, claim, hit, .. } = *self;
        Claim { party, node, reason, nanos: claim, hit, calls, cost }
    }
}

/// Splits a gap's claim between its ends, or puts it on the link.
fn share_out(claim: Claim, gap: Gap, verdict: Verdict) -> impl Iterator<Item = Claim> {
    let of = |party, share: f64| Claim { party, nanos: claim.nanos * share, ..claim };
    let shares = match verdict {
        Verdict::Link { at_callee, .. } => {
            let name = if at_callee { gap.callee } else { gap.caller };
            [Some(of(Party { kind: SuspectKind::Edge, name }, 1.0)), None]
        }
        Verdict::Ends { callee } => [
            Some(of(Party::service(gap.callee), callee)),
            Some(of(Party::service(gap.caller), 1.0 - callee)),
        ],
    };
    shares.into_iter().flatten()
}

/// Time on operations without a baseline, less what operations that vanished used to cost: a renamed
/// operation is one that replaces another.
fn new_operation_claims(
    scene: &Scene<'_>,
    cohort: Cohort,
    affected: &BTreeSet<Id>,
    hot: &Hot,
) -> Vec<Claim> {
    let mut by_party: BTreeMap<Party, Vec<(Id, u64, u64)>> = BTreeMap::new();
    let mut given_back: BTreeMap<Party, i64> = BTreeMap::new();
    for &(entry_id, order) in &hot.new_operations {
        let entry = scene.history.entry(entry_id);
        let group = scene.history.group(entry_id, order);
        let group = group.and_then(|group| scene.roles.party_of_group(group.key));
        let (Some(party), true) = (group, affected.contains(&entry_id)) else { continue };
        let requests = entry.sums.sum(cohort).requests as f64;
        let learned = entry.sums.baseline().requests.max(1) as f64;
        for &id in &entry.paths {
            let path = scene.history.path(id);
            if scene.party_of(path.node) != Some(party) {
                continue;
            }
            let (recent, before) = (path.sums.sum(cohort), path.sums.baseline());
            if scene.history.price_of_node(path.node).is_none() && recent.calls > 0 {
                by_party.entry(party).or_default().push((path.node, recent.calls, recent.critical));
            } else if recent.calls == 0 && before.calls > 0 {
                let usual = rounded(requests * before.critical as f64 / learned);
                let sum = given_back.entry(party).or_default();
                *sum = sum.saturating_add(usual);
            }
        }
    }
    let mut claims = Vec::new();
    for (party, nodes) in by_party {
        let new: f64 = nodes.iter().map(|&(_, _, critical)| critical as f64).sum();
        let rest = (new - given_back.get(&party).copied().unwrap_or(0) as f64).max(0.0);
        for (node, calls, critical) in nodes {
            let cost = critical as f64;
            let nanos = if new > 0.0 { cost * rest / new } else { 0.0 };
            let reason = Reason::NewOperation;
            claims.push(Claim { party, node, reason, nanos, hit: 1.0, calls, cost });
        }
    }
    claims
}

impl Scene<'_> {
    /// Who a node's own time is put on.
    fn party_of(&self, node: Id) -> Option<Party> {
        match self.roles.of(node) {
            Role::Own(service) => Some(Party::service(service)),
            Role::Dependency(name) => Some(Party::dependency(name)),
            _ => None,
        }
    }
}

/// By party; claims of nothing are left out. Equals stand in the order of their names, here already,
/// because the first one speaks for the whole and floats are added in this order.
fn group(scene: &Scene<'_>, claims: Vec<Claim>) -> Vec<Accused> {
    let mut by_party: BTreeMap<Party, Vec<Claim>> = BTreeMap::new();
    for claim in claims {
        if claim.nanos > 0.0 {
            by_party.entry(claim.party).or_default().push(claim);
        }
    }
    let label = |claim: &Claim| scene.roles.label(scene.history.node(claim.node).key);
    let mut accused: Vec<Accused> = by_party
        .into_iter()
        .map(|(party, mut claims)| {
            claims.sort_by(|one, two| {
                let by_size = two.nanos.total_cmp(&one.nanos).then(two.calls.cmp(&one.calls));
                by_size.then_with(|| label(one).cmp(&label(two)))
            });
            let nanos = claims.iter().map(|claim| claim.nanos).sum();
            Accused { party, nanos, claims }
        })
        .collect();
    accused.sort_by(|one, two| {
        let name = |accused: &Accused| (scene.roles.text(accused.party.name), accused.party.kind);
        two.nanos.total_cmp(&one.nanos).then_with(|| name(one).cmp(&name(two)))
    });
    accused
}
