//! The operations people know: counters of spans judged and flagged, and what is normal for each.
//!
//! An operation (service, span name, kind) may be several nodes of the call graph, one for each callee
//! of a client; here they are one again. Counters never go back while the operation is published. A
//! slice costs what was active in it: the rows of all others are shared with the board before.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::aggregate::{Id, NodeKey};
use super::forget::Moved;
use super::histogram::{Bucket, Dense, Distribution, bucket_of, upper_bound};
use super::history::History;
use super::params::{DetectionParams, EngineParams};
use super::roles::Roles;
use super::rolling::Tick;
use super::spread::slackened;
use super::verdict::{Exemplar, Operation, Quantiles};
use crate::model::{Held, KeyId, Nanos, SpanKind, Timestamp};

/// All operations that are published.
#[derive(Default)]
pub(super) struct Operations {
    states: Vec<State>,
    numbers: HashMap<KeyId, usize, RandomState>,
    /// The number of each node's operation.
    of_node: Vec<Option<usize>>,
    /// Numbers of the operations, by name; those met since the last update stand at the end.
    by_name: Vec<usize>,
    /// How many of them are in order.
    sorted: usize,
    /// For reading distributions together.
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    baseline: Dense,
    recent: Dense,
}

struct State {
    key: KeyId,
    nodes: Vec<Id>,
    row: Arc<Operation>,
    /// What is above this bucket is flagged.
    limit: Option<Bucket>,
    seen: Timestamp,
    /// The slice in which it was last read.
    read: Tick,
}

impl Operations {
    /// Takes up nodes that the history has just met, before anything is filed under them.
    pub(super) fn meet(&mut self, nodes: Range<Id>, history: &mut History, roles: &Roles) {
        for id in nodes {
            let node = history.node_mut(id);
            let operation = operation_of(node.key).and_then(|key| self.number(key, roles));
            if let Some(number) = operation {
                let state = &mut self.states[number];
                state.nodes.push(id);
                node.limit = state.limit;
            }
            self.of_node.push(operation);
        }
    }

    /// Counts what was filed since the last tick and reads off what is normal now. `until` is the end
    /// of the slice just judged.
    pub(super) fn update(
        &mut self,
        history: &mut History,
        now: Tick,
        until: Timestamp,
        params: &EngineParams,
    ) {
        let Operations { states, of_node, by_name, sorted, scratch, .. } = self;
        if std::mem::replace(sorted, states.len()) < states.len() {
            let row = |number: usize| &states[number].row;
            by_name.sort_by(|&one, &two| order(row(one)).cmp(&order(row(two))));
        }
        let active: Vec<Id> = history.active_nodes().to_vec();
        for id in active {
            let Some(number) = of_node[id as usize] else { continue };
            let state = &mut states[number];
            if state.read == now {
                continue;
            }
            state.read = now;
            if state.count(history, until) || state.row.recent.is_some() {
                state.read(history, now, params, scratch);
            }
        }
    }

    /// Reads off what is normal for every operation, after the history was restored.
    pub(super) fn restore(&mut self, history: &mut History, now: Tick, params: &EngineParams) {
        for state in &mut self.states {
            state.read(history, now, params, &mut self.scratch);
        }
    }

    /// Everything published, by name.
    pub(super) fn list(&self, until: Timestamp, expire: Nanos) -> Vec<Arc<Operation>> {
        let states = self.by_name.iter().map(|&number| &self.states[number]);
        let live = states.filter(|state| state.row.spans > 0 && until.since(state.seen) < expire);
        live.map(|state| Arc::clone(&state.row)).collect()
    }

    /// Follows nodes to their new numbers. An operation without any is forgotten once it is not published.
    pub(super) fn renumber(&mut self, nodes: &Moved, until: Timestamp, expire: Nanos) {
        let mut stays = Vec::with_capacity(self.states.len());
        for state in &mut self.states {
            nodes.follow(&mut state.nodes);
            stays.push(!state.nodes.is_empty() || until.since(state.seen) < expire);
        }
        let moved = Moved::to(&stays);
        moved.retain(&mut self.states);
        let number = |old: usize| moved.get(Id::try_from(old).ok()?).map(|new| new as usize);
        self.by_name = self.by_name.iter().filter_map(|&old| number(old)).collect();
        // In order, but for those met since the last update; that puts all in order.
        self.sorted = 0;
        self.numbers = (0..).zip(&self.states).map(|(number, state)| (state.key, number)).collect();
        let mut of_node = std::mem::take(&mut self.of_node);
        nodes.retain(&mut of_node);
        self.of_node = of_node.into_iter().map(|old| old.and_then(number)).collect();
    }

    /// Says which names it holds.
    pub(super) fn hold(&self, held: &mut Held) {
        self.states.iter().for_each(|state| held.key(state.key));
    }

    fn number(&mut self, key: KeyId, roles: &Roles) -> Option<usize> {
        if let Some(&known) = self.numbers.get(&key) {
            return Some(known);
        }
        let number = self.states.len();
        let names = roles.key(NodeKey::Own(key))?;
        let row = Operation {
            service: roles.shared_text(names.service),
            name: roles.shared_text(names.name),
            kind: names.kind,
            spans: 0,
            flagged: 0,
            baseline: None,
            recent: None,
            threshold: None,
            exemplar: None,
        };
        self.by_name.push(number);
        let (row, seen) = (Arc::new(row), Timestamp::default());
        self.states.push(State { key, nodes: Vec::new(), row, limit: None, seen, read: 0 });
        self.numbers.insert(key, number);
        Some(number)
    }
}

impl State {
    /// Counts what was filed since the last tick; whether that was anything.
    fn count(&mut self, history: &mut History, until: Timestamp) -> bool {
        let mut any = false;
        for &id in &self.nodes {
            let fresh = history.node_mut(id).take_fresh();
            if fresh.calls == 0 {
                continue;
            }
            any = true;
            self.seen = until;
            let row = Arc::make_mut(&mut self.row);
            row.spans += fresh.calls;
            row.flagged += fresh.flagged;
            if let Some(slowest) = fresh.slowest {
                let (trace, seconds) = (slowest.trace, slowest.self_time.as_secs_f64());
                row.exemplar = Some(Exemplar { trace, seconds, at: until });
            }
        }
        any
    }

    fn read(
        &mut self,
        history: &mut History,
        now: Tick,
        params: &EngineParams,
        scratch: &mut Scratch,
    ) {
        let Scratch { baseline, recent } = scratch;
        recent.clear();
        let detection = &params.detection;
        let [_, window, ..] = detection.windows;
        for &id in &self.nodes {
            history.node(id).window((now + 1).saturating_sub(window), recent);
        }
        let known = self.nodes.iter().map(|&id| history.node(id));
        let mut known = known.filter(|node| node.age.has_learned(now, detection));
        let usual = match (known.next(), known.next()) {
            (None, _) => None,
            // Most are a single node.
            (Some(only), None) => normal(only.baseline(), detection),
            (Some(one), Some(two)) => {
                baseline.clear();
                let all = [one, two].into_iter().chain(known);
                all.for_each(|node| baseline.add(node.baseline()));
                normal(baseline, detection)
            }
        };
        self.limit = usual.map(|[.., highest]| {
            let cut = slackened(highest, detection);
            bucket_of(Nanos::from_secs_f64(cut / 1e9))
        });
        let row = Arc::make_mut(&mut self.row);
        row.baseline = usual.map(seconds);
        row.recent = (recent.count() > 0).then(|| seconds(recent.quantiles(QUANTILES)));
        row.threshold = self.limit.map(|limit| upper_bound(limit) as f64 / 1e9);
        for &id in &self.nodes {
            history.node_mut(id).limit = self.limit;
        }
    }
}

fn order(row: &Operation) -> (&str, &str, SpanKind) {
    (&row.service, &row.name, row.kind)
}

/// What is published of a distribution.
const QUANTILES: Quantiles = [0.5, 0.9, 0.99];

/// The quantiles of what is normal, nanoseconds, once that is known.
fn normal(baseline: &impl Distribution, params: &DetectionParams) -> Option<Quantiles> {
    (baseline.count() >= params.min_learned).then(|| baseline.quantiles(QUANTILES))
}

fn seconds(nanos: Quantiles) -> Quantiles {
    nanos.map(|nanos| nanos / 1e9)
}

/// The operation whose spans a node counts. The gaps of an edge are not spans; the edge is.
pub(super) fn operation_of(node: NodeKey) -> Option<KeyId> {
    match node {
        NodeKey::Own(key)
        | NodeKey::Leaf(key, _)
        | NodeKey::Failed(key, _)
        | NodeKey::Edge(key, _) => Some(key),
        NodeKey::Request(..) | NodeKey::Response(..) | NodeKey::Retry(..) | NodeKey::Overflow => {
            None
        }
    }
}
