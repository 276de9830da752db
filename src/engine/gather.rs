//! What a verdict rests on, gathered when it is published: the suspects' distributions, and who called whom.
//!
//! The excess of every path flows up to its entry, so what came up through the calls of one service to another
//! is the sum over everything below them. Nothing is judged here.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use super::aggregate::{Id, NodeKey};
use super::attribute::{Accused, Attribution};
use super::decompose::{rounded, signed};
use super::detect::Scene;
use super::evidence::{
    Buckets, Distribution, Evidence, Graph, GraphLink, GraphService, SuspectDistribution,
};
use super::histogram::{Dense, Distribution as _};
use super::roles::{Gap, Party, Role};
use super::rolling::{Cohort, Tick};
use super::spread::slackened;

/// Services of a graph; more cannot be drawn.
const MAX_SERVICES: usize = 40;

/// Gathers it for the slices from `from` on.
pub(super) fn gather(scene: &Scene<'_>, attribution: &Attribution, from: Tick) -> Evidence {
    let whole = attribution.whole();
    let told = attribution
        .accused
        .iter()
        .filter(|accused| whole > 0.0 && accused.nanos >= scene.params.min_score * whole);
    Evidence {
        distributions: told.map(|accused| distribution(scene, accused, from)).collect(),
        graph: graph(scene, attribution, from),
    }
}

fn distribution(scene: &Scene<'_>, accused: &Accused, from: Tick) -> SuspectDistribution {
    let node = scene.history.node(accused.main().node);
    let mut recent = Dense::default();
    node.window(from, &mut recent);
    let baseline = node.baseline();
    let has_learned = node.age.has_learned(scene.now, scene.params)
        && baseline.count() >= scene.params.min_learned;
    let threshold = slackened(baseline.quantile(0.99), scene.params) / 1e9;
    SuspectDistribution {
        service: scene.roles.shared_text(accused.party.name),
        kind: accused.party.kind,
        distribution: Distribution {
            baseline: Buckets::of(baseline),
            recent: Buckets::of(&recent),
            threshold_seconds: has_learned.then_some(threshold),
        },
    }
}

/// Sums over the calls of one party, or from one party to another.
#[derive(Clone, Copy, Default)]
struct Flow {
    calls: u64,
    nanos: i64,
    is_entry: bool,
}

/// What is added up from the paths.
#[derive(Default)]
struct Flows {
    own: BTreeMap<Party, Flow>,
    links: BTreeMap<(Party, Party), Flow>,
}

fn graph(scene: &Scene<'_>, attribution: &Attribution, from: Tick) -> Graph {
    let mut flows = Flows::default();
    for &(entry, _) in &attribution.parts.entries {
        add_entry(scene, entry, from, &mut flows);
    }
    drawn(scene, flows)
}

/// Adds the paths of one entry, from the far ends up.
fn add_entry(scene: &Scene<'_>, entry: Id, from: Tick, flows: &mut Flows) {
    let mut below: HashMap<Id, i64, RandomState> = HashMap::default();
    // A path is numbered after the one above it.
    for &id in scene.history.entry(entry).paths.iter().rev() {
        let path = scene.history.path(id);
        let recent = path.sums.sum(Cohort::since(from));
        let expected = scene
            .history
            .price_of_path(id, scene.params.shrink)
            .map_or(0, |price| rounded(recent.calls as f64 * price));
        let own = if recent.calls > 0 { signed(recent.critical) - expected } else { 0 };
        let flow = below.remove(&id).unwrap_or(0).saturating_add(own);
        if let Some(above) = path.above {
            let sum = below.entry(above).or_insert(0);
            *sum = sum.saturating_add(flow);
        }
        let above = path.above.and_then(|above| party(scene, scene.history.path(above).node));
        match (scene.roles.of(path.node), party(scene, path.node), above) {
            // The way itself: a call is counted where it arrives.
            (Role::Gap(Gap { caller, callee, .. }), ..) => {
                let ends = (Party::service(caller), Party::service(callee));
                let link = flows.links.entry(ends).or_default();
                link.nanos = link.nanos.saturating_add(own);
            }
            (Role::Failure(callee), ..) => {
                let key = scene.history.node(path.node).key;
                let Some(caller) = scene.roles.key(key).map(|key| key.service) else { continue };
                let link = flows.links.entry((Party::service(caller), callee)).or_default();
                link.nanos = link.nanos.saturating_add(own);
                if matches!(key, NodeKey::Failed(..)) {
                    link.calls += recent.calls;
                    flows.own.entry(callee).or_default().calls += recent.calls;
                }
            }
            (_, Some(party), above) => {
                let sums = flows.own.entry(party).or_default();
                sums.nanos = sums.nanos.saturating_add(own);
                sums.is_entry |= path.above.is_none();
                if let Some(above) = above.filter(|above| *above != party) {
                    let link = flows.links.entry((above, party)).or_default();
                    link.calls += recent.calls;
                    link.nanos = link.nanos.saturating_add(flow);
                    flows.own.entry(party).or_default().calls += recent.calls;
                } else if path.above.is_none() {
                    flows.own.entry(party).or_default().calls += recent.calls;
                }
            }
            _ => {}
        }
    }
}

/// Whose work a node is; an edge is work of the caller.
fn party(scene: &Scene<'_>, node: Id) -> Option<Party> {
    match scene.roles.of(node) {
        Role::Own(service) => Some(Party::service(service)),
        Role::Dependency(name) => Some(Party::dependency(name)),
        Role::Gap(_) | Role::Failure(_) => None,
        Role::Edge | Role::Unknown => {
            let key = scene.roles.key(scene.history.node(node).key)?;
            Some(Party::service(key.service))
        }
    }
}

/// Those that take part most, by name.
fn drawn(scene: &Scene<'_>, flows: Flows) -> Graph {
    let called = |flow: &Flow| flow.calls > 0 || flow.nanos != 0;
    let mut chosen: Vec<(Party, Flow)> =
        flows.own.into_iter().filter(|(_, flow)| called(flow)).collect();
    let name = |party: &Party| (scene.roles.shared_text(party.name), party.kind);
    chosen.sort_by(|(one, first), (two, second)| {
        let weight = |flow: &Flow| (flow.is_entry, flow.nanos.unsigned_abs(), flow.calls);
        weight(second).cmp(&weight(first)).then_with(|| name(one).cmp(&name(two)))
    });
    let left_out = chosen.len().saturating_sub(MAX_SERVICES);
    chosen.truncate(MAX_SERVICES);
    chosen.sort_by_key(|(party, _)| name(party));
    let places: BTreeMap<Party, usize> =
        chosen.iter().enumerate().map(|(at, &(party, _))| (party, at)).collect();
    let mut links: Vec<GraphLink> = flows
        .links
        .into_iter()
        .filter_map(|((from, to), flow)| {
            let (from, to) = (*places.get(&from)?, *places.get(&to)?);
            let excess_seconds = flow.nanos as f64 / 1e9;
            Some(GraphLink { from, to, calls: flow.calls, excess_seconds })
        })
        .collect();
    links.retain(|link| link.calls > 0);
    links.sort_by_key(|link| (link.from, link.to));
    let service = |(party, flow): (Party, Flow)| GraphService {
        service: scene.roles.shared_text(party.name),
        kind: party.kind,
        is_entry: flow.is_entry,
        calls: flow.calls,
        excess_seconds: flow.nanos as f64 / 1e9,
    };
    Graph { services: chosen.into_iter().map(service).collect(), links, left_out }
}
