//! From the spans of one closed trace to the sums of a slice.
//!
//! Builds the tree, prices every span, and files each price under its node (whose time is it?) and
//! its path (on the way from which entry?). Numbers nodes and paths as they are met, up to a limit;
//! beyond it time goes to the overflow node, which is never a suspect.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use super::aggregate::{GroupKey, Id, MAX_FAN_OUT, NodeKey, SliceIndex, SliceTable};
use super::critical_path::Costs;
use super::dissect::main_entry;
use super::histogram::bucket_of;
use super::sampler::EntrySpan;
use super::tree::{Index, Tree, TreeSpan};
use crate::model::{AttrSetId, Interner, Key, KeyId, Nanos, Span, SpanKind, TraceId};

/// The numbering of one shard, and the scratch space of its work.
pub(super) struct Analyzer {
    tree: Tree,
    costs: Costs,
    keys: KeyMemory,
    nodes: Numbering<NodeKey>,
    paths: Numbering<(Option<Id>, Id)>,
    /// Where each span of the trace at hand belongs; `None` for what hangs from no entry.
    placed: Vec<Option<Placed>>,
    /// The request in which a node was last met, to count requests and not calls.
    last_request: Vec<u64>,
    request: u64,
    /// Critical time of the entry at hand by group.
    groups: Vec<(GroupKey, u64)>,
    /// Nodes of the children of the span at hand.
    siblings: Vec<Id>,
    /// The spans of the trace at hand, as (entry, span).
    by_entry: Vec<(Index, Index)>,
}

/// Operations resolved once per shard.
#[derive(Default)]
struct KeyMemory(Vec<Option<Key>>);

impl KeyMemory {
    fn resolve(&mut self, names: &Interner, id: KeyId) -> Key {
        let at = id.0 as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, None);
        }
        *self.0[at].get_or_insert_with(|| names.resolve(id))
    }
}

/// Dense numbers in order of first sight, up to a limit.
struct Numbering<K> {
    numbers: HashMap<K, Id, RandomState>,
    /// Defined since last asked.
    fresh: Vec<K>,
    limit: usize,
}

impl<K: Copy + Eq + std::hash::Hash> Numbering<K> {
    fn new(limit: usize) -> Numbering<K> {
        let limit = limit.min(Id::MAX as usize);
        Numbering { numbers: HashMap::default(), fresh: Vec::new(), limit }
    }

    fn number(&mut self, key: K) -> Option<Id> {
        if let Some(&number) = self.numbers.get(&key) {
            return Some(number);
        }
        if self.numbers.len() >= self.limit {
            return None;
        }
        Some(self.define(key))
    }

    /// Numbers a key even beyond the limit: for the few that overflow itself needs.
    fn number_anyway(&mut self, key: K) -> Id {
        let known = self.numbers.get(&key).copied();
        known.unwrap_or_else(|| self.define(key))
    }

    fn define(&mut self, key: K) -> Id {
        let number = Id::try_from(self.numbers.len()).unwrap_or(Id::MAX);
        self.numbers.insert(key, number);
        self.fresh.push(key);
        number
    }
}

/// What was odd about the spans of a trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oddities {
    /// Spans left out because their id had been seen before.
    pub(super) duplicates: u64,
    /// Spans moved because their clock disagreed.
    pub(super) skewed: u64,
}

/// A span's place in the call graph.
#[derive(Clone, Copy)]
struct Placed {
    entry: Index,
    key: NodeKey,
    node: Id,
    path: Id,
    /// For an edge: the child in the other service.
    callee: Option<Index>,
}

/// A piece of time: where it belongs and how much it is.
#[derive(Clone, Copy)]
struct Piece {
    node: Id,
    path: Id,
    group: GroupKey,
    self_time: Nanos,
    critical: Nanos,
    attrs: AttrSetId,
}

impl Analyzer {
    pub(super) fn new(max_nodes: usize, max_paths: usize) -> Analyzer {
        Analyzer {
            tree: Tree::default(),
            costs: Costs::default(),
            keys: KeyMemory::default(),
            nodes: Numbering::new(max_nodes),
            paths: Numbering::new(max_paths),
            placed: Vec::new(),
            last_request: Vec::new(),
            request: 0,
            groups: Vec::new(),
            siblings: Vec::new(),
            by_entry: Vec::new(),
        }
    }

    /// Nodes and paths numbered since last asked.
    pub(super) fn take_definitions(&mut self) -> (Vec<NodeKey>, Vec<(Option<Id>, Id)>) {
        (std::mem::take(&mut self.nodes.fresh), std::mem::take(&mut self.paths.fresh))
    }

    /// The entry of the trace analyzed last: the first, if there are several.
    pub(super) fn entry(&self) -> Option<EntrySpan> {
        let node = &self.tree.spans()[main_entry(&self.tree)?];
        let (key, end) = (node.span.key, node.span.end);
        node.entry.then(|| EntrySpan { key, end, duration: node.duration() })
    }

    /// Files a trace in the slices in which its entries ended.
    pub(super) fn analyze(
        &mut self,
        trace: TraceId,
        spans: &[Span],
        names: &Interner,
        slices: &mut BTreeMap<SliceIndex, SliceTable>,
        slice: Nanos,
    ) -> Oddities {
        let keys = &mut self.keys;
        self.tree.build(spans, |span| keys.resolve(names, span.key));
        self.costs.compute(&self.tree);
        self.place_all();
        // By entry, so that a trace of ten thousand consumers is not walked ten thousand times.
        let mut by_entry = std::mem::take(&mut self.by_entry);
        by_entry.clear();
        by_entry.extend(
            (0..).zip(&self.placed).filter_map(|(at, placed)| Some((placed.as_ref()?.entry, at))),
        );
        by_entry.sort_unstable();
        for members in by_entry.chunk_by(|one, two| one.0 == two.0) {
            let end = self.tree.spans()[members[0].0].span.end;
            self.file_entry(trace, members, slices.entry(end.0 / slice.0).or_default());
        }
        self.by_entry = by_entry;
        Oddities { duplicates: self.tree.duplicates as u64, skewed: self.tree.skewed as u64 }
    }

    /// Gives every span under an entry its node and its path; parents come first.
    fn place_all(&mut self) {
        self.placed.clear();
        for index in 0..self.tree.spans().len() {
            let placed = self.costs.of(index).entry.map(|entry| {
                let parent = self.tree.spans()[index].parent;
                let above = parent.and_then(|parent| self.placed[parent]).map(|above| above.path);
                let (key, callee) = node_key(&self.tree, index);
                let (node, path) = self.place(above, key);
                Placed { entry, key, node, path, callee }
            });
            self.placed.push(placed);
        }
    }

    /// The numbers of a node and of the path that ends with it.
    fn place(&mut self, above: Option<Id>, key: NodeKey) -> (Id, Id) {
        let node = self.nodes.number(key);
        match node.and_then(|node| Some((node, self.paths.number((above, node))?))) {
            Some(numbers) => numbers,
            None => {
                let overflow = self.nodes.number_anyway(NodeKey::Overflow);
                (overflow, self.paths.number_anyway((None, overflow)))
            }
        }
    }

    /// Files one request: `members` are its spans as (entry, span), by span.
    fn file_entry(&mut self, trace: TraceId, members: &[(Index, Index)], table: &mut SliceTable) {
        let entry = members[0].0;
        let Some(Placed { path: entry_path, .. }) = self.placed[entry] else { return };
        self.request += 1;
        self.groups.clear();
        let sum = table.entries.entry(entry_path).or_default();
        sum.requests += 1;
        sum.duration = sum.duration.saturating_add(self.tree.spans()[entry].duration().0);
        for &(_, index) in members {
            let Some(placed) = self.placed[index] else { continue };
            self.file_span(trace, index, placed, table);
            self.file_fan_out(index, placed.node, table);
        }
        for &(group, critical) in &self.groups {
            let sum = table.groups.entry((entry_path, group)).or_default();
            sum.critical = sum.critical.saturating_add(critical);
            sum.squares = sum.squares.saturating_add(u128::from(critical) * u128::from(critical));
        }
    }

    fn file_span(&mut self, trace: TraceId, index: Index, placed: Placed, table: &mut SliceTable) {
        let cost = self.costs.of(index);
        let TreeSpan { span, key, .. } = self.tree.spans()[index];
        let Placed { node, path, .. } = placed;
        let group = match placed.key {
            NodeKey::Leaf(_, Some(peer)) => GroupKey::Peer(peer),
            NodeKey::Leaf(_, None) => GroupKey::Unnamed(key.service),
            NodeKey::Overflow => GroupKey::Overflow,
            _ => GroupKey::Service(key.service),
        };
        let piece = Piece {
            node,
            path,
            group,
            self_time: cost.self_time,
            critical: cost.critical,
            attrs: span.attrs,
        };
        let (NodeKey::Edge(client, callee), Some(child)) = (placed.key, placed.callee) else {
            return self.file(trace, piece, table);
        };
        // An edge keeps its self-time for the operation's sake; what it costs is split in two.
        self.file(trace, Piece { critical: Nanos::ZERO, ..piece }, table);
        let far = self.tree.spans()[child].span;
        let before = far.start.since(span.start).min(cost.self_time);
        let attrs = far.attrs;
        let (node, path) = self.place(Some(path), NodeKey::Request(client, callee));
        let group = GroupKey::Request(key.service, callee);
        let critical = cost.critical_before;
        self.file(trace, Piece { node, path, group, self_time: before, critical, attrs }, table);
        let (node, path) = self.place(Some(placed.path), NodeKey::Response(client, callee));
        let group = GroupKey::Response(key.service, callee);
        let (self_time, critical) = (cost.self_time - before, cost.critical - critical);
        self.file(trace, Piece { node, path, group, self_time, critical, attrs }, table);
    }

    fn file(&mut self, trace: TraceId, piece: Piece, table: &mut SliceTable) {
        let Piece { node, path, group, self_time, critical, attrs } = piece;
        let sum = table.paths.entry(path).or_default();
        sum.calls += 1;
        sum.critical = sum.critical.saturating_add(critical.0);
        let at = node as usize;
        if at >= self.last_request.len() {
            self.last_request.resize(at + 1, 0);
        }
        let first_of_request = self.last_request[at] != self.request;
        self.last_request[at] = self.request;
        let sum = table.nodes.entry(node).or_default();
        sum.calls.requests += u64::from(first_of_request);
        sum.observe(bucket_of(self_time), self_time, trace, attrs);
        if critical > Nanos::ZERO {
            match self.groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, sum)) => *sum += critical.0,
                None => self.groups.push((group, critical.0)),
            }
        }
    }

    /// How many children of each node this one call had.
    fn file_fan_out(&mut self, index: Index, parent: Id, table: &mut SliceTable) {
        self.siblings.clear();
        let children = self.tree.children(index).iter();
        let nodes = children.filter_map(|&child| self.placed[child].map(|placed| placed.node));
        self.siblings.extend(nodes);
        self.siblings.sort_unstable();
        for same in self.siblings.chunk_by(|one, two| one == two) {
            let count = u8::try_from(same.len()).unwrap_or(MAX_FAN_OUT);
            table.pairs.entry((parent, same[0])).or_default().add(count, 1);
        }
    }
}

/// What a span is in the call graph; for an edge also the child in the other service.
pub(super) fn node_key(tree: &Tree, index: Index) -> (NodeKey, Option<Index>) {
    let TreeSpan { span, key, .. } = tree.spans()[index];
    if key.kind == SpanKind::Client
        && let Some(callee) = callee(tree, index)
    {
        let service = tree.spans()[callee].key.service;
        return (NodeKey::Edge(span.key, service), Some(callee));
    }
    let calls = match key.kind {
        SpanKind::Client => true,
        SpanKind::Producer => span.peer.is_some(),
        _ => false,
    };
    if calls && tree.children(index).is_empty() {
        return (NodeKey::Leaf(span.key, span.peer), None);
    }
    (NodeKey::Own(span.key), None)
}

/// The first child of a CLIENT span that belongs to another service.
fn callee(tree: &Tree, index: Index) -> Option<Index> {
    let service = tree.spans()[index].key.service;
    let children = tree.children(index).iter().copied();
    let remote = children.filter(|&child| tree.spans()[child].key.service != service);
    remote.min_by_key(|&child| {
        let span = &tree.spans()[child].span;
        (span.start, span.id)
    })
}
