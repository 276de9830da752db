//! The operations people know: counters of spans judged and flagged, and what is normal for each.
//!
//! An operation (service, span name, kind) may be several nodes of the call graph, one for each callee
//! of a client; here they are one again. Counters never go back while the operation is published.

use std::collections::BTreeMap;

use super::aggregate::{Id, NodeKey, Slowest};
use super::detect::slackened;
use super::histogram::{Bucket, Dense, bucket_of, upper_bound};
use super::history::History;
use super::params::EngineParams;
use super::roles::Roles;
use super::rolling::Tick;
use super::verdict::{Exemplar, Operation, Quantiles};
use crate::model::{Interner, KeyId, Nanos, Timestamp};

/// All operations that are published.
#[derive(Default)]
pub(super) struct Operations {
    by_key: BTreeMap<KeyId, State>,
    /// Nodes looked at so far; new ones are sorted in at the next tick.
    nodes_known: usize,
}

#[derive(Default)]
struct State {
    nodes: Vec<Id>,
    spans: u64,
    flagged: u64,
    limit: Option<Bucket>,
    baseline: Option<Quantiles>,
    recent: Option<Quantiles>,
    exemplar: Option<Exemplar>,
    seen: Timestamp,
}

impl Operations {
    /// Counts what was filed since the last tick and reads off what is normal now. `until` is the end
    /// of the slice just judged.
    pub(super) fn update(
        &mut self,
        history: &mut History,
        now: Tick,
        until: Timestamp,
        params: &EngineParams,
    ) {
        for (id, node) in history.nodes().iter().enumerate().skip(self.nodes_known) {
            if let (Some(key), Ok(id)) = (operation_of(node.key), Id::try_from(id)) {
                self.by_key.entry(key).or_default().nodes.push(id);
            }
        }
        self.nodes_known = history.nodes().len();
        let (mut baseline, mut recent) = (Dense::default(), Dense::default());
        for state in self.by_key.values_mut() {
            let before = state.spans;
            state.count(history, until);
            if state.spans > before || state.recent.is_some() {
                state.read(history, now, params, &mut baseline, &mut recent);
            }
        }
    }

    /// Everything published, by name.
    pub(super) fn list(
        &self,
        roles: &Roles,
        names: &Interner,
        until: Timestamp,
        expire: Nanos,
    ) -> Vec<Operation> {
        let live = self
            .by_key
            .iter()
            .filter(|(_, state)| state.spans > 0 && until.since(state.seen) < expire);
        let mut list: Vec<Operation> = live
            .filter_map(|(&key, state)| {
                let key = roles.key(NodeKey::Own(key))?;
                Some(Operation {
                    service: names.text(key.service),
                    name: names.text(key.name),
                    kind: key.kind,
                    spans: state.spans,
                    flagged: state.flagged,
                    baseline: state.baseline,
                    recent: state.recent,
                    threshold: state.limit.map(|limit| upper_bound(limit) as f64 / 1e9),
                    exemplar: state.exemplar,
                })
            })
            .collect();
        list.sort_by(|one, two| {
            (&one.service, &one.name, one.kind).cmp(&(&two.service, &two.name, two.kind))
        });
        list
    }
}

impl State {
    fn count(&mut self, history: &mut History, until: Timestamp) {
        for &id in &self.nodes {
            let (fresh, slowest) = history.node_mut(id).take_fresh();
            if fresh.is_empty() {
                continue;
            }
            self.seen = until;
            self.spans += fresh.count();
            let Some(limit) = self.limit else { continue };
            let above = fresh.iter().filter(|&(bucket, _)| bucket > limit);
            self.flagged += above.map(|(_, count)| u64::from(count)).sum::<u64>();
            if let Some(Slowest { self_time, trace }) = slowest
                && bucket_of(self_time) > limit
            {
                let seconds = self_time.as_secs_f64();
                self.exemplar = Some(Exemplar { trace, seconds, at: until });
            }
        }
    }

    fn read(
        &mut self,
        history: &History,
        now: Tick,
        params: &EngineParams,
        baseline: &mut Dense,
        recent: &mut Dense,
    ) {
        baseline.clear();
        recent.clear();
        let detection = &params.detection;
        let [_, window, _] = detection.windows;
        let mut learned = false;
        for &id in &self.nodes {
            let node = history.node(id);
            node.window((now + 1).saturating_sub(window), recent);
            if node.age.has_learned(detection) {
                baseline.add_all(node.baseline());
                learned = true;
            }
        }
        let learned = learned && baseline.count() >= detection.min_learned;
        self.baseline = learned.then(|| quantiles(baseline));
        self.recent = (recent.count() > 0).then(|| quantiles(recent));
        self.limit = learned.then(|| {
            let cut = slackened(baseline.quantile(0.99), detection);
            bucket_of(Nanos::from_secs_f64(cut / 1e9))
        });
    }
}

fn quantiles(dense: &Dense) -> Quantiles {
    dense.quantiles([0.5, 0.9, 0.99]).map(|nanos| nanos / 1e9)
}

/// The operation whose spans a node counts. The gaps of an edge are not spans; the edge is.
fn operation_of(node: NodeKey) -> Option<KeyId> {
    match node {
        NodeKey::Own(key) | NodeKey::Leaf(key, _) | NodeKey::Edge(key, _) => Some(key),
        NodeKey::Request(..) | NodeKey::Response(..) | NodeKey::Overflow => None,
    }
}
