//! Impact against cause: a queue is put on whoever made the server hold its workers for longer.
//!
//! When a callee gets slow, its caller's workers and connections are held for longer. Once all are
//! held, requests wait: for a connection, which reads as the caller's own time, or for a worker, which
//! reads as time before the caller's span begins. That wait can be many times what the callee itself
//! lost, so by size alone the caller would be named. What gives it away is occupancy (calls times how
//! long each is held, Little's law): where a callee's calls take half as long again as they did, and
//! the time is its own, what piles up in front of them is its doing, and the caller is impacted. The same
//! holds of the way to the callee, where the other ways of the caller are as fast as ever: a link that
//! holds the workers is not slow because its caller is.
//!
//! Works on claims that are already believed. Does not ask whether anything is slow at all.

use std::collections::{BTreeMap, BTreeSet};

use super::aggregate::{Id, NodeKey};
use super::attribute::{Attribution, Claim};
use super::decompose::rounded;
use super::detect::Scene;
use super::gaps::Witnesses;
use super::roles::{Gap, Party, Role};
use super::rolling::Cohort;
use super::verdict::{Reason, SuspectKind};
use crate::model::Sym;

/// From this growth of a callee's calls on, their queue is explained in full: pools are sized to be
/// two thirds busy at most, so half as much again fills them.
const FULL_GROWTH: f64 = 0.5;
/// Growth below this explains nothing.
const LEAST_GROWTH: f64 = 0.2;
/// A queue that is more than this many times its cause has another one.
const MOST_WAIT: f64 = 12.0;

/// What the calls from one service to one callee hold.
#[derive(Clone, Copy, Default)]
struct Holding {
    calls: u64,
    nanos: u64,
    learned_calls: u64,
    learned_nanos: u64,
}

impl Holding {
    /// By which part of what it was a call takes longer now.
    fn growth(self) -> f64 {
        let mean = |nanos: u64, calls: u64| nanos as f64 / calls.max(1) as f64;
        let before = mean(self.learned_nanos, self.learned_calls);
        if before <= 0.0 { 0.0 } else { mean(self.nanos, self.calls) / before - 1.0 }
    }
}

/// Moves claims on queues to whoever filled them. Returns which share of its own work each service spends
/// waiting for a link, 0 to 1, where it does.
pub(super) fn put_on_cause(
    scene: &Scene<'_>,
    cohort: Cohort,
    affected: &BTreeSet<Id>,
    witnesses: &Witnesses,
    claims: &mut Vec<Claim>,
) -> BTreeMap<Sym, f64> {
    // Work first: the way to a callee that waits itself is its queue.
    move_queues(scene, cohort, affected, claims, |_| false);
    let gaps = claims.iter().filter(|claim| claim.nanos > 0.0);
    let gaps = gaps.filter_map(|claim| match scene.roles.of(claim.node) {
        Role::Gap(gap) => Some(gap),
        _ => None,
    });
    let slow: BTreeSet<Gap> =
        gaps.filter(|&gap| witnesses.caller_is_fine_elsewhere(gap, scene.params)).collect();
    if slow.is_empty() {
        return BTreeMap::new();
    }
    move_queues(scene, cohort, affected, claims, |gap| slow.contains(&gap))
}

/// Moves claims on queues to callees whose own work filled them, or the ways to which, as far as `counts`
/// says. Returns the share moved by service.
fn move_queues(
    scene: &Scene<'_>,
    cohort: Cohort,
    affected: &BTreeSet<Id>,
    claims: &mut Vec<Claim>,
    counts: impl Fn(Gap) -> bool,
) -> BTreeMap<Sym, f64> {
    let below = BelowCalls::read(scene, cohort, affected, claims, counts);
    let mut moved = Vec::new();
    let mut shares = BTreeMap::new();
    for (service, queue) in queues(scene, claims) {
        let Some((cause, share)) = below.cause_of(service, queue) else { continue };
        let main = claims.iter().filter(|claim| claim.party == cause);
        let Some(&main) = main.max_by(|one, two| one.nanos.total_cmp(&two.nanos)) else { continue };
        let mut nanos = 0.0;
        for claim in claims.iter_mut().filter(|claim| is_queue(scene, claim, service)) {
            nanos += claim.nanos * share;
            claim.nanos *= 1.0 - share;
        }
        // The wait says nothing about how many of the cause's calls are slow.
        moved.push(Claim { nanos, ..main });
        shares.insert(service, share);
    }
    claims.extend(moved);
    shares
}

/// Claims that may be time in a queue, by the service that the queue is at.
fn queues(scene: &Scene<'_>, claims: &[Claim]) -> BTreeMap<Sym, f64> {
    let services: BTreeSet<Sym> = claims
        .iter()
        .filter(|claim| claim.party.kind == SuspectKind::Service)
        .map(|claim| claim.party.name)
        .collect();
    let sum = |service| {
        let of_service = claims.iter().filter(|claim| is_queue(scene, claim, service));
        of_service.map(|claim| claim.nanos).sum::<f64>()
    };
    services
        .into_iter()
        .map(|service| (service, sum(service)))
        .filter(|(_, sum)| *sum > 0.0)
        .collect()
}

/// Own time of the service, or time before its spans begin.
fn is_queue(scene: &Scene<'_>, claim: &Claim, service: Sym) -> bool {
    claim.party == Party::service(service)
        && match claim.reason {
            Reason::SelfTime => {
                matches!(scene.roles.of(claim.node), Role::Own(own) if own == service)
            }
            Reason::CallGap => {
                matches!(scene.history.node(claim.node).key, NodeKey::Request(_, callee) if callee == service)
            }
            _ => false,
        }
}

/// What is claimed below the calls that a service makes.
#[derive(Default)]
struct BelowCalls {
    /// By caller and callee.
    holding: BTreeMap<(Sym, Sym), Holding>,
    /// By caller and callee: nanoseconds that parties other than the caller claim below those calls.
    claimed: BTreeMap<(Sym, Sym), BTreeMap<Party, f64>>,
}

impl BelowCalls {
    fn read(
        scene: &Scene<'_>,
        cohort: Cohort,
        affected: &BTreeSet<Id>,
        claims: &[Claim],
        counts: impl Fn(Gap) -> bool,
    ) -> BelowCalls {
        let mut below = BelowCalls::default();
        let history = scene.history;
        let by_node = causes(scene, claims, counts);
        for &entry in affected {
            for &id in &history.entry(entry).paths {
                let path = history.path(id);
                let (recent, learned) = (path.sums.sum(cohort), *path.sums.baseline());
                let claimed = by_node
                    .get(&path.node)
                    .map(|&(party, per_call)| (party, per_call * recent.calls as f64));
                let mut at = Some(id);
                while let Some(call) = at {
                    if let Some(edge) = scene.call_of(call) {
                        let holding = below.holding.entry(edge).or_default();
                        holding.nanos = holding.nanos.saturating_add(recent.critical);
                        holding.learned_nanos =
                            holding.learned_nanos.saturating_add(learned.critical);
                        if call == id {
                            holding.calls += recent.calls;
                            holding.learned_calls += learned.calls;
                        }
                        if let Some((party, nanos)) =
                            claimed.filter(|(party, _)| *party != Party::service(edge.0))
                        {
                            *below.claimed.entry(edge).or_default().entry(party).or_default() +=
                                nanos;
                        }
                    }
                    at = history.path(call).above;
                }
            }
        }
        below
    }

    /// Who below the calls of `service` fills its queue, and how much of `queue` that explains.
    fn cause_of(&self, service: Sym, queue: f64) -> Option<(Party, f64)> {
        let calls = self.claimed.range((service, Sym(0))..=(service, Sym(u32::MAX)));
        let causes = calls.flat_map(|(edge, parties)| {
            let growth = self.holding.get(edge).map_or(0.0, |holding| holding.growth());
            parties.iter().map(move |(&party, &nanos)| (party, nanos, growth))
        });
        let (party, nanos, growth) = causes
            .filter(|&(_, nanos, growth)| growth > LEAST_GROWTH && queue <= MOST_WAIT * nanos)
            .max_by(|one, two| one.1.total_cmp(&two.1))?;
        debug_assert!(nanos > 0.0, "claims are positive");
        let share = (growth - LEAST_GROWTH) / (FULL_GROWTH - LEAST_GROWTH);
        Some((party, share.min(1.0)))
    }
}

/// Believed own time of services and dependencies by node, and of the gaps that count, nanoseconds a call.
fn causes(
    scene: &Scene<'_>,
    claims: &[Claim],
    counts: impl Fn(Gap) -> bool,
) -> BTreeMap<Id, (Party, f64)> {
    let mut causes: BTreeMap<Id, (Party, f64)> = BTreeMap::new();
    for claim in claims.iter().filter(|claim| claim.nanos > 0.0) {
        let is_cause = match scene.roles.of(claim.node) {
            Role::Own(_) | Role::Dependency(_) => claim.reason == Reason::SelfTime,
            Role::Gap(gap) => counts(gap),
            Role::Failure(_) | Role::Edge | Role::Unknown => false,
        };
        if is_cause {
            let (_, nanos) = causes.entry(claim.node).or_insert((claim.party, 0.0));
            *nanos += claim.nanos / claim.calls.max(1) as f64;
        }
    }
    causes
}

/// Who waits for others more than others wait for it: by how much the calls below each service take
/// longer, its own part left out. The most first; equals by name.
pub(super) fn waiting(
    scene: &Scene<'_>,
    cohort: Cohort,
    attribution: &Attribution,
) -> Vec<(Sym, i64)> {
    // In whole nanoseconds, so that they add up in any order.
    let mut waits: BTreeMap<Sym, i64> = BTreeMap::new();
    for claim in attribution.accused.iter().flat_map(|accused| &accused.claims) {
        let a_call = claim.nanos / claim.calls.max(1) as f64;
        for &id in &scene.history.node(claim.node).paths {
            let path = scene.history.path(id);
            let Some(_) = attribution.parts.entry(path.entry) else { continue };
            let nanos = rounded(a_call * path.sums.sum(cohort).calls as f64);
            for service in scene.services_above(id) {
                if Party::service(service) != claim.party {
                    let sum = waits.entry(service).or_default();
                    *sum = sum.saturating_add(nanos);
                }
            }
        }
    }
    let own = |service| {
        let party = Party::service(service);
        let accused = attribution.accused.iter().find(|accused| accused.party == party);
        accused.map_or(0, |accused| rounded(accused.nanos))
    };
    let mut waits: Vec<(Sym, i64)> =
        waits.into_iter().filter(|&(service, nanos)| nanos > own(service)).collect();
    waits.sort_by(|one, two| {
        let name = |service| scene.roles.text(service);
        two.1.cmp(&one.1).then_with(|| name(one.0).cmp(name(two.0)))
    });
    waits
}

impl Scene<'_> {
    /// The services on a path, each once.
    fn services_above(&self, path: Id) -> BTreeSet<Sym> {
        let mut services = BTreeSet::new();
        let mut at = Some(path);
        while let Some(id) = at {
            let path = self.history.path(id);
            let key = self.roles.key(self.history.node(path.node).key);
            services.extend(key.map(|key| key.service));
            at = path.above;
        }
        services
    }

    /// Caller and callee, if the path ends with a call to somebody else.
    fn call_of(&self, path: Id) -> Option<(Sym, Sym)> {
        let key = self.history.node(self.history.path(path).node).key;
        let caller = self.roles.key(key)?.service;
        match key {
            NodeKey::Edge(_, callee) | NodeKey::Leaf(_, Some(callee)) => Some((caller, callee)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cohort::SetVerdict;
    use super::super::testing::{compared, span};
    use super::*;
    use crate::model::{InternLimits, Interner, Span, SpanKind, TraceId};

    const CALLER: Sym = Sym(1);
    const CALLEE: Sym = Sym(2);

    /// A hundred calls of 10 ms learned; a hundred recent ones of `now_ms`, of which the callee claims
    /// what is more.
    fn below(now_ms: u64) -> BelowCalls {
        let mut below = BelowCalls::default();
        let holding = Holding {
            calls: 100,
            nanos: now_ms * 100_000_000,
            learned_calls: 100,
            learned_nanos: 1_000_000_000,
        };
        below.holding.insert((CALLER, CALLEE), holding);
        let claimed = (now_ms - 10) as f64 * 1e8;
        let parties = [(Party::service(CALLEE), claimed)].into();
        below.claimed.insert((CALLER, CALLEE), parties);
        below
    }

    #[test]
    fn half_as_long_again_explains_the_whole_queue_and_a_fifth_nothing() {
        let share = |now_ms| below(now_ms).cause_of(CALLER, 1e8).map(|(_, share)| share);
        assert_eq!(share(15), Some(1.0));
        assert_eq!(share(12), None);
        // 0.4 lies two thirds of the way from 0.2 to 0.5.
        assert!(share(14).is_some_and(|share| (share - 2.0 / 3.0).abs() < 1e-9));
    }

    #[test]
    fn a_queue_out_of_all_proportion_has_another_cause() {
        // The callee claims half a second.
        assert!(below(15).cause_of(CALLER, 12.0 * 5e8).is_some());
        assert!(below(15).cause_of(CALLER, 12.1 * 5e8).is_none());
    }

    #[test]
    fn calls_of_somebody_else_explain_nothing() {
        assert!(below(30).cause_of(CALLEE, 1e8).is_none());
    }

    /// Forty requests of `front`, which asks `cart`; that works for `own` ms, asks `stock` over a way of `way` ms
    /// there and back, and `price`. Both answer in 8 ms, `price` over a way of 1 ms.
    fn requests(names: &Interner, own: u64, way: u64) -> Vec<(TraceId, Vec<Span>)> {
        let key = |name: &str, operation: &str, kind| {
            names.key(names.service(name.as_bytes()), operation.as_bytes(), kind)
        };
        let (server, client) = (SpanKind::Server, SpanKind::Client);
        let (asked, answered) = (5 + own, 5 + own + 8 + 2 * way);
        let spans = [
            (1, 0, 0, answered + 10 + 7, key("front", "GET /", server)),
            (2, 1, 4, answered + 10 + 3, key("front", "cart", client)),
            (3, 2, 5, answered + 10 + 2, key("cart", "items", server)),
            (4, 3, asked, answered, key("cart", "stock", client)),
            (5, 4, asked + way, answered - way, key("stock", "left", server)),
            (6, 3, answered, answered + 10, key("cart", "price", client)),
            (7, 6, answered + 1, answered + 9, key("price", "of", server)),
        ];
        let spans = spans.map(|(id, parent, start, end, key)| span(id, parent, key, (start, end)));
        let trace = |id| TraceId::new(id).expect("ids are not zero");
        (1..=40).map(|id| (trace(id), spans.to_vec())).collect()
    }

    fn verdict(own: u64, way: u64) -> SetVerdict {
        let names = Interner::new(InternLimits::default());
        compared(&names, &[(10, 1), (own, way)].map(|(own, way)| requests(&names, own, way)))
    }

    #[test]
    fn a_queue_for_workers_that_a_slow_link_holds_is_put_on_the_link() {
        let verdict = verdict(110, 31);
        assert_eq!(verdict.excess, 40 * (100 + 60) * 1_000_000);
        let first = &verdict.suspects[0];
        assert_eq!((&*first.service, first.kind), ("stock", SuspectKind::Edge), "{verdict:?}");
        assert!(first.score > 0.95, "{verdict:?}");
    }

    #[test]
    fn work_of_a_caller_whose_links_are_as_ever_is_its_own() {
        let verdict = verdict(110, 1);
        assert_eq!(&*verdict.suspects[0].service, "cart", "{verdict:?}");
        assert!(verdict.suspects[0].score > 0.95, "{verdict:?}");
    }
}
