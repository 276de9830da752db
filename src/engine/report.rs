//! From the engine's numbers to the plain data that people and programs read.

use std::sync::Arc;

use super::aggregate::AttrSum;
use super::attribute::{Accused, Attribution, Claim};
use super::decompose::rounded;
use super::detect::Scene;
use super::histogram::Distribution;
use super::impact::waiting;
use super::roles::Role;
use super::rolling::{Cohort, Tick};
use super::verdict::{EntryImpact, Impacted, Reason, Suspect, SuspectKind, Where};
use crate::model::{Interner, SpanKind, Sym};

/// The suspects of an attribution, ranked; ties go by name.
pub(super) fn suspects(
    scene: &Scene<'_>,
    names: &Interner,
    attribution: &Attribution,
    from: Tick,
) -> Vec<Suspect> {
    let whole = attribution.whole();
    if whole <= 0.0 {
        return Vec::new();
    }
    let mut list: Vec<Suspect> = attribution
        .accused
        .iter()
        .filter(|accused| accused.nanos >= scene.params.min_score * whole)
        .map(|accused| suspect(scene, names, accused, whole, from))
        .collect();
    list.sort_by(|one, two| {
        let names = |suspect: &Suspect| (Arc::clone(&suspect.service), suspect.kind);
        two.excess_seconds.total_cmp(&one.excess_seconds).then_with(|| names(one).cmp(&names(two)))
    });
    for (index, suspect) in list.iter_mut().enumerate() {
        suspect.rank = index + 1;
    }
    list
}

fn suspect(
    scene: &Scene<'_>,
    names: &Interner,
    accused: &Accused,
    whole: f64,
    from: Tick,
) -> Suspect {
    let main = accused.main();
    let node = scene.history.node(main.node);
    let key = scene.roles.key(node.key);
    let per_call = |nanos: f64| nanos / main.calls.max(1) as f64 / 1e9;
    Suspect {
        rank: 0,
        service: names.text(accused.party.name),
        kind: accused.party.kind,
        operation: key.map_or_else(|| Arc::from(""), |key| names.text(key.name)),
        span_kind: key.map_or(SpanKind::Unspecified, |key| key.kind),
        score: accused.nanos / whole,
        excess_seconds: accused.nanos / 1e9,
        reason: main.reason,
        pattern: accused.pattern(),
        where_: whereabouts(scene, names, main, from),
        baseline_seconds: per_call((main.cost - scene.rise_of(main)).max(0.0)),
        recent_seconds: per_call(main.cost),
        calls: main.calls,
        example_trace_ids: node
            .slowest_since(from, 3)
            .into_iter()
            .map(|slowest| slowest.trace)
            .collect(),
    }
}

impl Scene<'_> {
    /// The rise of the node behind a claim, before it was shared out.
    fn rise_of(&self, claim: &Claim) -> f64 {
        match (claim.reason, self.history.price_of_node(claim.node)) {
            (Reason::CallCount | Reason::NewOperation | Reason::LostParallelism, _) => claim.nanos,
            (_, Some(price)) => claim.cost - price * claim.calls as f64,
            (_, None) => claim.nanos,
        }
    }
}

/// The entries that got slower, by excess.
pub(super) fn entries(
    scene: &Scene<'_>,
    names: &Interner,
    attribution: &Attribution,
) -> Vec<EntryImpact> {
    let mut list: Vec<EntryImpact> = attribution
        .parts
        .entries
        .iter()
        .filter(|(_, part)| part.excess > 0)
        .filter_map(|&(id, ref part)| {
            let node = scene.history.entry(id).node;
            let key = scene.roles.key(scene.history.node(node).key)?;
            Some(EntryImpact {
                service: names.text(key.service),
                operation: names.text(key.name),
                span_kind: key.kind,
                excess_seconds: part.excess as f64 / 1e9,
                baseline_seconds: part.baseline_mean / 1e9,
                recent_seconds: part.duration as f64 / part.requests.max(1) as f64 / 1e9,
            })
        })
        .collect();
    list.sort_by(|one, two| {
        let names = |entry: &EntryImpact| {
            (Arc::clone(&entry.service), Arc::clone(&entry.operation), entry.span_kind)
        };
        two.excess_seconds.total_cmp(&one.excess_seconds).then_with(|| names(one).cmp(&names(two)))
    });
    list
}

/// Services that are told to be waiting; the worst are enough to route by.
const MAX_IMPACTED: usize = 20;

/// The services that wait for the suspects more than they are suspects themselves.
pub(super) fn impacted(
    scene: &Scene<'_>,
    names: &Interner,
    attribution: &Attribution,
    from: Tick,
) -> Vec<Impacted> {
    let waiting = waiting(scene, Cohort::since(from), attribution);
    let told = waiting.into_iter().map(|(service, nanos)| Impacted {
        service: names.text(service),
        excess_seconds: nanos as f64 / 1e9,
    });
    told.take(MAX_IMPACTED).collect()
}

/// A value must carry this share of the excess to be named.
const MIN_SHARE: f64 = 0.6;
/// And this many times its share of the calls: all of the excess on all of the calls says nothing.
const MIN_LIFT: f64 = 1.5;
/// Calls with a value, before anything is said about it.
const MIN_CALLS: u64 = 5;

/// The attribute value that singles out the slow calls, if one does. For a link: its other end.
fn whereabouts(scene: &Scene<'_>, names: &Interner, claim: &Claim, from: Tick) -> Option<Where> {
    if let (SuspectKind::Edge, Role::Gap(gap)) = (claim.party.kind, scene.roles.of(claim.node)) {
        let told_the_callee = claim.party.name == gap.callee;
        let (attribute, end) =
            if told_the_callee { ("from", gap.caller) } else { ("to", gap.callee) };
        return Some(Where { attribute: attribute.into(), value: names.text(end), share: 1.0 });
    }
    if !matches!(claim.reason, Reason::SelfTime | Reason::CallGap) {
        return None;
    }
    let node = scene.history.node(claim.node);
    let usual = node.baseline().mean();
    let sums = node.attrs_since(from);
    // Rounded where they arise, so that they add up in any order.
    let excess = |sum: &AttrSum| rounded(sum.self_time as f64 - usual * sum.calls as f64);
    let whole = sums.iter().fold(0i64, |whole, sum| whole.saturating_add(excess(sum).max(0)));
    let calls: u64 = sums.iter().map(|sum| sum.calls).sum();
    let mut found: Vec<Where> = Vec::new();
    for ((attribute, value), (risen, with)) in by_value(names, &sums, excess) {
        let (share, usual_share) = (risen as f64 / whole as f64, with as f64 / calls.max(1) as f64);
        if with >= MIN_CALLS && share >= MIN_SHARE && share >= MIN_LIFT * usual_share {
            let (attribute, value) = (names.text(attribute), names.text(value));
            found.push(Where { attribute, value, share: share.min(1.0) });
        }
    }
    found.sort_by(|one, two| {
        let names = |found: &Where| (Arc::clone(&found.attribute), Arc::clone(&found.value));
        two.share
            .total_cmp(&one.share)
            .then_with(|| breadth(&one.attribute).cmp(&breadth(&two.attribute)))
            .then_with(|| names(one).cmp(&names(two)))
    });
    found.into_iter().next()
}

/// How much an attribute value covers. A service's one instance on a host, in a zone, cannot be told
/// from the host or the zone by that service's spans: then the narrowest claim is made.
fn breadth(attribute: &str) -> usize {
    const NARROWEST_FIRST: [&str; 3] = ["service.instance.id", "k8s.pod.name", "host.name"];
    let known = NARROWEST_FIRST.iter().position(|name| *name == attribute);
    known.unwrap_or(NARROWEST_FIRST.len())
}

/// Excess and calls of every attribute value.
fn by_value(
    names: &Interner,
    sums: &[AttrSum],
    excess: impl Fn(&AttrSum) -> i64,
) -> std::collections::BTreeMap<(Sym, Sym), (i64, u64)> {
    let mut values = std::collections::BTreeMap::new();
    for sum in sums {
        for &pair in names.attributes(sum.attrs).iter() {
            let (risen, calls) = values.entry(pair).or_insert((0, 0));
            *risen = i64::saturating_add(*risen, excess(sum));
            *calls += sum.calls;
        }
    }
    values
}
