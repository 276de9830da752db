//! From the spans of one closed trace to the sums of a slice.
//!
//! Builds the tree, prices every span, and files each price under its node (whose time is it?) and
//! its path (on the way from which entry?). Numbers nodes and paths as they are met, up to a limit;
//! beyond it time goes to the overflow node, which is never a suspect.

use std::collections::BTreeMap;

use super::aggregate::{GroupKey, Id, NodeKey, SliceIndex, SliceSums};
use super::critical_path::Costs;
use super::dissect::main_entry;
use super::numbering::{Cursor, Numbering, group_of};
use super::sampler::EntrySpan;
use super::slices::{Piece, SliceTable};
use super::tree::{Index, Tree, TreeSpan};
use crate::model::{Interner, Key, KeyId, Nanos, Span, SpanKind, TraceId};

/// The numbering of one shard, and the scratch space of its work.
pub(super) struct Analyzer {
    tree: Tree,
    costs: Costs,
    keys: KeyMemory,
    numbering: Numbering,
    /// Where each span of the trace at hand belongs; `None` for what hangs from no entry.
    placed: Vec<Option<Placed>>,
    /// How many siblings of the span at hand took each path; zero between spans.
    siblings: Vec<u32>,
    request: Request,
    /// The spans of the trace at hand, as (entry, span).
    by_entry: Vec<(Index, Index)>,
    /// Length of a slice of event time.
    slice: Nanos,
    slices: Slices,
    /// Slices begun so far.
    begun: u32,
    /// The table of the slice taken last: the next one finds its memory there.
    spare: SliceTable,
}

/// What is counted once for each request and not for each call.
#[derive(Default)]
struct Request {
    number: u64,
    /// The request in which a node was last met.
    last_met: Vec<u64>,
    groups: Vec<GroupTime>,
    /// Which groups have critical time in the request at hand.
    met_groups: Vec<Id>,
}

/// What a group took of the request at hand, and where it is filed.
#[derive(Clone, Copy, Default)]
struct GroupTime {
    critical: u64,
    cursor: Cursor,
}

/// Slices in the making, by event time.
type Slices = BTreeMap<SliceIndex, SliceTable>;

/// Operations resolved once per numbering.
#[derive(Default)]
struct KeyMemory(Vec<Option<(KeyId, Key)>>);

impl KeyMemory {
    fn resolve(&mut self, names: &Interner, id: KeyId) -> Key {
        match self.0.get(id.slot()) {
            Some(&Some((known, key))) if known == id => key,
            _ => self.learn(names, id),
        }
    }

    #[cold]
    fn learn(&mut self, names: &Interner, id: KeyId) -> Key {
        let at = id.slot();
        if at >= self.0.len() {
            self.0.resize(at + 1, None);
        }
        let key = names.resolve(id);
        self.0[at] = Some((id, key));
        key
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
    path: Id,
    /// For an edge: the child in the other service.
    callee: Option<Index>,
    /// If it is the first of its siblings with this path: how many there are. Else 0.
    siblings: u32,
}

impl Analyzer {
    pub(super) fn new(max_nodes: usize, max_paths: usize, slice: Nanos) -> Analyzer {
        Analyzer {
            tree: Tree::default(),
            costs: Costs::default(),
            keys: KeyMemory::default(),
            numbering: Numbering::new(max_nodes, max_paths),
            placed: Vec::new(),
            siblings: Vec::new(),
            request: Request::default(),
            by_entry: Vec::new(),
            slice,
            slices: Slices::new(),
            begun: 0,
            spare: SliceTable::default(),
        }
    }

    /// Numbers nodes and paths anew: those that nobody takes any more are not numbered again. All slices
    /// have been taken.
    pub(super) fn renumber(&mut self) {
        debug_assert!(self.slices.is_empty());
        self.numbering = self.numbering.anew();
        self.keys = KeyMemory::default();
        self.spare = SliceTable::default();
        // What it knows it knows by number.
        self.request = Request::default();
    }

    /// Nodes and paths numbered since last asked.
    pub(super) fn take_definitions(&mut self) -> (Vec<NodeKey>, Vec<(Option<Id>, Id)>) {
        self.numbering.take_fresh()
    }

    /// The figures of all slices, or of those before `end`, since last asked for them.
    pub(super) fn take_slices(&mut self, end: Option<SliceIndex>) -> Vec<(SliceIndex, SliceSums)> {
        let kept = end.map_or_else(Slices::new, |end| self.slices.split_off(&end));
        let taken = std::mem::replace(&mut self.slices, kept).into_iter();
        let sums = taken.map(|(slice, mut table)| {
            let sums = table.take(&self.numbering);
            self.spare = table;
            (slice, sums)
        });
        sums.collect()
    }

    /// The entry of the trace analyzed last: the first, if there are several.
    pub(super) fn entry(&self) -> Option<EntrySpan> {
        let node = &self.tree.spans()[main_entry(&self.tree)?];
        let (key, end) = (node.span.key, node.span.end);
        node.entry.then(|| EntrySpan { key, end, duration: node.duration() })
    }

    /// Files a trace in the slices in which its entries ended.
    pub(super) fn analyze(&mut self, trace: TraceId, spans: &[Span], names: &Interner) -> Oddities {
        let keys = &mut self.keys;
        self.tree.build(spans, |span| keys.resolve(names, span.key));
        self.costs.compute(&self.tree);
        self.place_all();
        self.count_siblings();
        // By entry, so that a trace of ten thousand consumers is not walked ten thousand times.
        let mut by_entry = std::mem::take(&mut self.by_entry);
        by_entry.clear();
        by_entry.extend(
            (0..).zip(&self.placed).filter_map(|(at, placed)| Some((placed.as_ref()?.entry, at))),
        );
        if !by_entry.is_sorted() {
            by_entry.sort_unstable();
        }
        let mut slices = std::mem::take(&mut self.slices);
        for members in by_entry.chunk_by(|one, two| one.0 == two.0) {
            let end = self.tree.spans()[members[0].0].span.end;
            let table = slices.entry(end.0 / self.slice.0).or_insert_with(|| {
                self.begun += 1;
                let mut table = std::mem::take(&mut self.spare);
                table.begin(self.begun);
                table
            });
            self.file_entry(trace, members, table);
        }
        (self.by_entry, self.slices) = (by_entry, slices);
        Oddities { duplicates: self.tree.duplicates as u64, skewed: self.tree.skewed as u64 }
    }

    /// Gives every span under an entry its path; parents come first.
    fn place_all(&mut self) {
        self.placed.clear();
        for (index, node) in self.tree.spans().iter().enumerate() {
            let placed = self.costs.of(index).entry.map(|entry| {
                let above = node.parent.and_then(|parent| self.placed[parent]);
                let (key, callee) = node_key(&self.tree, index);
                let above = above.map(|above| above.path);
                let path = self.numbering.path(above, key, node.key.service);
                Placed { entry, key, path, callee, siblings: 0 }
            });
            self.placed.push(placed);
        }
    }

    /// How many calls of the same kind each call made.
    fn count_siblings(&mut self) {
        for parent in 0..self.placed.len() {
            let children = &mut self.placed[self.tree.children(parent)];
            if let [only] = children {
                // Most calls make one other call or none.
                if let Some(placed) = only {
                    placed.siblings = 1;
                }
                continue;
            }
            for Placed { path, .. } in children.iter().flatten() {
                let path = *path as usize;
                if path >= self.siblings.len() {
                    self.siblings.resize(path + 1, 0);
                }
                self.siblings[path] += 1;
            }
            for placed in children.iter_mut().flatten() {
                placed.siblings = std::mem::take(&mut self.siblings[placed.path as usize]);
            }
        }
    }

    /// Files one request: `members` are its spans as (entry, span), by span.
    fn file_entry(&mut self, trace: TraceId, members: &[(Index, Index)], table: &mut SliceTable) {
        let entry = members[0].0;
        let Some(Placed { path: entry_path, .. }) = self.placed[entry] else { return };
        table.add_request(entry_path, self.tree.spans()[entry].duration());
        self.request.number += 1;
        for &(_, index) in members {
            if let Some(placed) = self.placed[index] {
                self.file_span(trace, entry_path, index, &placed, table);
                if self.costs.of(index).overlap > Nanos::ZERO {
                    self.file_overlap(entry_path, index);
                }
            }
        }
        self.request.file_groups(table);
    }

    fn file_span(
        &mut self,
        trace: TraceId,
        entry: Id,
        index: Index,
        placed: &Placed,
        table: &mut SliceTable,
    ) {
        let cost = self.costs.of(index);
        let TreeSpan { span, key, parent, .. } = self.tree.spans()[index];
        let Placed { path, siblings, .. } = *placed;
        let piece = Piece {
            path,
            self_time: cost.self_time,
            critical: cost.critical,
            attrs: span.attrs,
            first_of_request: false,
            siblings,
        };
        if siblings > 0 && self.numbering.is_overflow(path) {
            // Who called it cannot be read off the path.
            if let Some(Placed { path: caller, .. }) = parent.and_then(|parent| self.placed[parent])
            {
                let node = |path| self.numbering.at(path).node;
                table.add_overflowed(node(caller), node(path), siblings);
            }
        }
        let (NodeKey::Edge(client, callee), Some(child)) = (placed.key, placed.callee) else {
            return self.file(trace, entry, placed.key, key, piece, table);
        };
        // An edge keeps its self-time for the operation's sake; what it costs is split.
        let whole = Piece { critical: Nanos::ZERO, ..piece };
        self.file(trace, entry, placed.key, key, whole, table);
        let far = self.tree.spans()[child].span;
        let own = cost.self_time - cost.wait;
        let before = far.start.since(span.start).min(own);
        let piece = Piece { attrs: far.attrs, siblings: 0, ..piece };
        let split = self.numbering.split(placed.path, client, callee, key.service);
        let (self_time, critical) = (before, cost.critical_before);
        let there = Piece { path: split.request, self_time, critical, ..piece };
        self.file(trace, entry, NodeKey::Request(client, callee), key, there, table);
        let critical = cost.critical - critical - cost.critical_wait;
        let back = Piece { path: split.response, self_time: own - before, critical, ..piece };
        self.file(trace, entry, NodeKey::Response(client, callee), key, back, table);
        if cost.wait > Nanos::ZERO {
            let retry = NodeKey::Retry(client, callee);
            let path = self.numbering.path(Some(placed.path), retry, key.service);
            let (self_time, critical) = (cost.wait, cost.critical_wait);
            // One for each call that failed, so that it shows how many do.
            let wait = Piece { path, self_time, critical, siblings: 1, ..piece };
            self.file(trace, entry, retry, key, wait, table);
        }
    }

    /// What side by side saved is only missed where the request waits for it.
    fn file_overlap(&mut self, entry: Id, index: Index) {
        let overlap = self.costs.of(index).overlap;
        if self.costs.window(index).is_some() {
            let operation = self.tree.spans()[index].span.key;
            let group = self.numbering.group(entry, GroupKey::Overlap(operation));
            self.request.add_critical(group, overlap);
        }
    }

    /// Files a piece of time of a span whose operation is `operation`, as `key`.
    fn file(
        &mut self,
        trace: TraceId,
        entry: Id,
        key: NodeKey,
        operation: Key,
        piece: Piece,
        table: &mut SliceTable,
    ) {
        let path = self.numbering.at(piece.path);
        let first_of_request = self.request.meets(path.node);
        if piece.critical > Nanos::ZERO {
            // What is beyond the limits has no entry of its own, and still somebody it belongs to.
            let is_its_own = path.entry == entry && !self.numbering.is_overflow(piece.path);
            let group = if is_its_own {
                path.group
            } else {
                self.numbering.group(entry, group_of(key, operation.service))
            };
            self.request.add_critical(group, piece.critical);
        }
        table.add(&Piece { first_of_request, ..piece }, trace, &mut self.numbering);
    }
}

impl Request {
    /// Whether a node is met for the first time in the request at hand.
    fn meets(&mut self, node: Id) -> bool {
        let at = node as usize;
        if at >= self.last_met.len() {
            self.last_met.resize(at + 1, 0);
        }
        std::mem::replace(&mut self.last_met[at], self.number) != self.number
    }

    fn add_critical(&mut self, group: Id, critical: Nanos) {
        let at = group as usize;
        if at >= self.groups.len() {
            self.groups.resize(at + 1, GroupTime::default());
        }
        let sum = &mut self.groups[at].critical;
        if *sum == 0 {
            self.met_groups.push(group);
        }
        // Pieces of one request: they add up to its duration.
        *sum = sum.saturating_add(critical.0);
    }

    /// The request is complete: files what each group took of it.
    fn file_groups(&mut self, table: &mut SliceTable) {
        for group in self.met_groups.drain(..) {
            let GroupTime { critical, cursor } = &mut self.groups[group as usize];
            table.add_group(group, std::mem::take(critical), cursor);
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
        let failed = span.failed && key.kind == SpanKind::Client;
        let sort = if failed { NodeKey::Failed } else { NodeKey::Leaf };
        return (sort(span.key, span.peer), None);
    }
    (NodeKey::Own(span.key), None)
}

/// The first child of a CLIENT span that belongs to another service.
fn callee(tree: &Tree, index: Index) -> Option<Index> {
    let service = tree.spans()[index].key.service;
    let remote = |&child: &Index| tree.spans()[child].key.service != service;
    tree.children(index).filter(remote).min_by_key(|&child| {
        let span = &tree.spans()[child].span;
        (span.start, span.id)
    })
}
