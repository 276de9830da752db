//! The judge's memory: nodes, paths and entries over time, merged from all shards.
//!
//! It knows what was seen, what is normal and for how long; it draws no conclusions. Nodes and
//! entries age on their own, because a service that appears today is new today; paths and groups age
//! with their entry, fan-outs with their parent node, so that figures which are divided by each other
//! stem from the same slices. A slice costs what was active in the windows, not what is remembered:
//! whatever has nothing recent is left alone.

use std::collections::{BTreeMap, HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::age::Age;
use super::aggregate::{Delta, GroupKey, Id, NodeKey, PathSum, SliceIndex, SliceSums};
use super::graph::{Entry, FIRST_OVERLAP, Group, GroupOrder, Pair, Path, measure, order};
use super::node::Node;
use super::params::DetectionParams;
use super::rolling::{Rolling, Tick};

/// A path with something recent: its node, its entry, its number.
pub(super) type ActivePath = (Id, Id, Id);

/// Everything the judge remembers.
#[derive(Default)]
pub(super) struct History {
    /// What the figures hold outside of the lists, in bytes; kept up with every change.
    pub(super) heap: usize,
    pub(super) nodes: Vec<Node>,
    pub(super) paths: Vec<Path>,
    pub(super) entries: Vec<Entry>,
    pub(super) groups: Vec<Group>,
    pub(super) pairs: Vec<Pair>,
    pub(super) node_numbers: HashMap<NodeKey, Id, RandomState>,
    pub(super) path_numbers: HashMap<(Option<Id>, Id), Id, RandomState>,
    pub(super) translations: Vec<Translation>,
    pub(super) active: Active,
    /// Slices handed in and not yet judged.
    pub(super) pending: BTreeMap<SliceIndex, Vec<SliceSums>>,
    /// Judged slices by tick, the newest last; bounded.
    pub(super) judged: VecDeque<(Tick, SliceIndex)>,
    /// Nodes and paths told apart, if there is a limit: shards have theirs, but begin anew.
    pub(super) most: Option<(usize, usize)>,
    /// Requests of which something was beyond the limits of nodes and paths.
    pub(super) folded: u64,
}

/// What has something recent. Ascending once the slice has begun, paths by node.
#[derive(Default)]
pub(super) struct Active {
    pub(super) nodes: Vec<Id>,
    pub(super) entries: Vec<Id>,
    pub(super) paths: Vec<ActivePath>,
    pub(super) groups: Vec<Id>,
    pub(super) pairs: Vec<Id>,
}

/// From one shard's numbers to the judge's.
#[derive(Default)]
pub(super) struct Translation {
    pub(super) nodes: Vec<Id>,
    pub(super) paths: Vec<Id>,
}

impl History {
    /// Judged slices that are remembered by index: what closes later than that is not counted.
    pub(super) const REMEMBERED: usize = 128;

    /// Learns a shard's numbers for nodes and paths. Returns the nodes never met before.
    pub(super) fn define(&mut self, shard: usize, delta: &Delta) -> std::ops::Range<Id> {
        let first_new = number(self.nodes.len());
        while self.translations.len() <= shard {
            self.translations.push(Translation::default());
        }
        for &key in &delta.nodes {
            let has_room = self.has_room() || self.node_numbers.contains_key(&key);
            let id = if has_room { self.node_number(key) } else { self.overflow().0 };
            self.translations[shard].nodes.push(id);
        }
        for &(above, node) in &delta.paths {
            let translation = &self.translations[shard];
            let above = above.map(|above| translation.paths[above as usize]);
            let node = translation.nodes[node as usize];
            let has_room = self.has_room() || self.path_numbers.contains_key(&(above, node));
            let id = if has_room { self.path_number(above, node) } else { self.overflow().1 };
            self.translations[shard].paths.push(id);
        }
        first_new..number(self.nodes.len())
    }

    /// The shard's numbers begin anew.
    pub(super) fn end_numbers(&mut self, shard: usize) {
        self.translations[shard] = Translation::default();
    }

    /// Another node and another path can be told from those that are known.
    pub(super) fn has_room(&self) -> bool {
        self.most.is_none_or(|(nodes, paths)| self.nodes.len() < nodes && self.paths.len() < paths)
    }

    /// The node and the path for whatever is beyond the limits, themselves beyond them.
    fn overflow(&mut self) -> (Id, Id) {
        let node = self.node_number(NodeKey::Overflow);
        (node, self.path_number(None, node))
    }

    /// Takes in a shard's figures, whose numbers are known.
    pub(super) fn merge(&mut self, shard: usize, slices: Vec<(SliceIndex, SliceSums)>) {
        for (slice, mut sums) in slices {
            self.translations[shard].translate(&mut sums);
            self.folded += self.folded_of(&sums);
            match self.tick_of(slice) {
                Some(tick) => self.file(tick, &sums),
                None if self.judged.back().is_none_or(|&(_, last)| slice > last) => {
                    self.pending.entry(slice).or_default().push(sums);
                }
                None => {} // Closed so late that its slice has been forgotten.
            }
        }
    }

    fn folded_of(&self, sums: &SliceSums) -> u64 {
        let Some(&beyond) = self.node_numbers.get(&NodeKey::Overflow) else { return 0 };
        let its = sums.nodes.iter().filter(|&&(node, _)| node == beyond);
        its.map(|(_, sum)| sum.calls.requests).sum()
    }

    /// The oldest slice handed in and not judged.
    pub(super) fn next_pending(&self) -> Option<SliceIndex> {
        self.pending.first_key_value().map(|(&slice, _)| slice)
    }

    /// Begins the tick `tick` with the figures of `slice`, and lets everything age.
    pub(super) fn begin(&mut self, tick: Tick, slice: SliceIndex, params: &DetectionParams) {
        self.judged.push_back((tick, slice));
        if self.judged.len() > History::REMEMBERED {
            self.judged.pop_front();
        }
        self.rest();
        for sums in self.pending.remove(&slice).unwrap_or_default() {
            self.file(tick, &sums);
        }
        self.active.sort();
        self.follow(tick, params);
    }

    /// The nodes with something recent, and those that had until this slice; ascending.
    pub(super) fn active_nodes(&self) -> &[Id] {
        &self.active.nodes
    }

    /// The entries with something recent, ascending.
    pub(super) fn active_entries(&self) -> &[Id] {
        &self.active.entries
    }

    /// The paths with something recent, by node and entry.
    pub(super) fn active_paths(&self) -> &[ActivePath] {
        &self.active.paths
    }

    /// All nodes, by number.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// A node.
    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// The number of a node, if it was ever met.
    pub(super) fn find_node(&self, key: NodeKey) -> Option<Id> {
        self.node_numbers.get(&key).copied()
    }

    /// A node that is to be changed.
    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// A path.
    pub(super) fn path(&self, id: Id) -> &Path {
        &self.paths[id as usize]
    }

    /// An entry.
    pub(super) fn entry(&self, id: Id) -> &Entry {
        &self.entries[id as usize]
    }

    /// All entries, by number.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// An entry whose age is to be changed.
    pub(super) fn entry_mut(&mut self, id: Id) -> &mut Entry {
        &mut self.entries[id as usize]
    }

    /// Whose time an entry's is: its groups in their order, without overlaps.
    pub(super) fn groups(&self, entry: Id) -> impl Iterator<Item = (GroupOrder, &Group)> {
        let groups = &self.entries[entry as usize].groups;
        self.numbered(&groups[..first_overlap(groups)])
    }

    /// What the calls under an entry save by running side by side, in the order of the groups.
    pub(super) fn overlaps(&self, entry: Id) -> impl Iterator<Item = (GroupOrder, &Group)> {
        let groups = &self.entries[entry as usize].groups;
        self.numbered(&groups[first_overlap(groups)..])
    }

    fn numbered(&self, groups: &[(GroupOrder, Id)]) -> impl Iterator<Item = (GroupOrder, &Group)> {
        groups.iter().map(|&(order, id)| (order, &self.groups[id as usize]))
    }

    /// One group of an entry.
    pub(super) fn group(&self, entry: Id, order: GroupOrder) -> Option<&Group> {
        let groups = &self.entries[entry as usize].groups;
        let at = groups.binary_search_by_key(&order, |&(order, _)| order).ok()?;
        Some(&self.groups[groups[at].1 as usize])
    }

    /// The fan-outs of a node, by child.
    pub(super) fn fan_outs(&self, parent: Id) -> impl Iterator<Item = &Pair> {
        self.nodes[parent as usize].fan_outs.iter().map(|&id| &self.pairs[id as usize])
    }

    /// Mean critical nanoseconds of a call of this node, over all entries; `None` without a baseline.
    pub(super) fn price_of_node(&self, node: Id) -> Option<f64> {
        let PathSum { calls, critical } = self.nodes[node as usize].price;
        (calls > 0).then(|| critical as f64 / calls as f64)
    }

    /// What a call on this path should cost, nanoseconds; `None` if its node has no price. A path
    /// borrows a few calls from its node's price, so that one never seen before has one.
    pub(super) fn price_of_path(&self, path: Id, shrink: f64) -> Option<f64> {
        let path = &self.paths[path as usize];
        let node = self.price_of_node(path.node)?;
        let sum = path.sums.baseline();
        let weight = sum.calls as f64 + shrink;
        if weight == 0.0 {
            return Some(node);
        }
        Some((sum.critical as f64 + shrink * node) / weight)
    }

    /// An incident became the new normal for a node.
    pub(super) fn adopt_node(&mut self, id: Id) {
        let node = &mut self.nodes[id as usize];
        node.age.adopt();
        activate(&mut node.active, &mut self.active.nodes, id);
        for &pair in &node.fan_outs {
            activate(&mut self.pairs[pair as usize].active, &mut self.active.pairs, pair);
        }
    }

    /// An incident became the new normal for an entry.
    pub(super) fn adopt_entry(&mut self, id: Id) {
        let entry = &mut self.entries[id as usize];
        entry.age.adopt();
        activate(&mut entry.active, &mut self.active.entries, id);
        for &path in &entry.paths {
            let Path { node, active, .. } = &mut self.paths[path as usize];
            activate(active, &mut self.active.paths, (*node, id, path));
        }
        for &(_, group) in &entry.groups {
            activate(&mut self.groups[group as usize].active, &mut self.active.groups, group);
        }
    }

    /// The slice of event time that a tick judged.
    pub(super) fn slice_of(&self, tick: Tick) -> Option<SliceIndex> {
        let at = self.judged.binary_search_by_key(&tick, |&(tick, _)| tick).ok()?;
        Some(self.judged[at].1)
    }

    fn tick_of(&self, slice: SliceIndex) -> Option<Tick> {
        let at = self.judged.binary_search_by_key(&slice, |&(_, slice)| slice).ok()?;
        Some(self.judged[at].0)
    }

    fn current_tick(&self) -> Tick {
        self.judged.back().map_or(0, |&(tick, _)| tick)
    }

    pub(super) fn node_number(&mut self, key: NodeKey) -> Id {
        if let Some(&known) = self.node_numbers.get(&key) {
            return known;
        }
        let id = number(self.nodes.len());
        self.nodes.push(Node::new(key, self.current_tick() + 1));
        self.node_numbers.insert(key, id);
        id
    }

    pub(super) fn path_number(&mut self, above: Option<Id>, node: Id) -> Id {
        if let Some(&known) = self.path_numbers.get(&(above, node)) {
            return known;
        }
        let id = number(self.paths.len());
        let entry = match above {
            Some(above) => self.paths[above as usize].entry,
            None => self.new_entry(node),
        };
        self.paths.push(Path { above, node, entry, sums: Rolling::default(), active: false });
        self.path_numbers.insert((above, node), id);
        measure(&mut self.heap, &mut self.nodes[node as usize], |node| node.paths.push(id));
        measure(&mut self.heap, &mut self.entries[entry as usize], |entry| entry.paths.push(id));
        id
    }

    fn new_entry(&mut self, node: Id) -> Id {
        let id = number(self.entries.len());
        self.entries.push(Entry {
            node,
            age: Age::born(self.current_tick() + 1),
            sums: Rolling::default(),
            groups: Vec::new(),
            paths: Vec::new(),
            active: false,
        });
        id
    }

    fn file(&mut self, tick: Tick, sums: &SliceSums) {
        for (id, sum) in &sums.nodes {
            let node = &mut self.nodes[*id as usize];
            measure(&mut self.heap, node, |node| node.file(tick, sum));
            activate(&mut node.active, &mut self.active.nodes, *id);
        }
        for (id, sum) in &sums.paths {
            let path = &mut self.paths[*id as usize];
            measure(&mut self.heap, path, |path| path.sums.add(tick, sum));
            activate(&mut path.active, &mut self.active.paths, (path.node, path.entry, *id));
        }
        for &((parent, child), ref counts) in &sums.pairs {
            let id = self.pair_number(parent, child);
            let pair = &mut self.pairs[id as usize];
            measure(&mut self.heap, pair, |pair| pair.sums.add(tick, counts));
            activate(&mut pair.active, &mut self.active.pairs, id);
        }
        for (path, sum) in &sums.entries {
            let id = self.paths[*path as usize].entry;
            let entry = &mut self.entries[id as usize];
            measure(&mut self.heap, entry, |entry| entry.sums.add(tick, sum));
            activate(&mut entry.active, &mut self.active.entries, id);
        }
        for &((path, key), ref sum) in &sums.groups {
            let id = self.group_number(self.paths[path as usize].entry, key);
            let group = &mut self.groups[id as usize];
            measure(&mut self.heap, group, |group| group.sums.add(tick, sum));
            activate(&mut group.active, &mut self.active.groups, id);
        }
    }

    pub(super) fn pair_number(&mut self, parent: Id, child: Id) -> Id {
        let parent_node = &mut self.nodes[parent as usize];
        let known = &parent_node.fan_outs;
        match known.binary_search_by_key(&child, |&id| self.pairs[id as usize].child) {
            Ok(at) => known[at],
            Err(at) => {
                let id = number(self.pairs.len());
                measure(&mut self.heap, parent_node, |node| node.fan_outs.insert(at, id));
                self.pairs.push(Pair { parent, child, sums: Rolling::default(), active: false });
                id
            }
        }
    }

    pub(super) fn group_number(&mut self, entry: Id, key: GroupKey) -> Id {
        let of = &mut self.entries[entry as usize];
        let known = &of.groups;
        match known.binary_search_by_key(&order(key), |&(order, _)| order) {
            Ok(at) => known[at].1,
            Err(at) => {
                let id = number(self.groups.len());
                measure(&mut self.heap, of, |of| of.groups.insert(at, (order(key), id)));
                self.groups.push(Group { entry, key, sums: Rolling::default(), active: false });
                id
            }
        }
    }

    /// Lets go of what has nothing recent any more and nothing to forget.
    fn rest(&mut self) {
        let History { nodes, paths, entries, groups, pairs, active, .. } = self;
        active.paths.retain(|&(_, entry, id)| {
            let Path { sums, active, .. } = &mut paths[id as usize];
            keep(active, !sums.is_idle() || entries[entry as usize].age.relearns())
        });
        active.groups.retain(|&id| {
            let Group { entry, sums, active, .. } = &mut groups[id as usize];
            keep(active, !sums.is_idle() || entries[*entry as usize].age.relearns())
        });
        active.pairs.retain(|&id| {
            let Pair { parent, sums, active, .. } = &mut pairs[id as usize];
            keep(active, !sums.is_idle() || nodes[*parent as usize].age.relearns())
        });
        active.entries.retain(|&id| {
            let Entry { age, sums, active, .. } = &mut entries[id as usize];
            keep(active, !sums.is_idle() || age.relearns())
        });
        active.nodes.retain(|&id| {
            let node = &mut nodes[id as usize];
            let is_active = !node.is_idle() || node.age.relearns();
            keep(&mut node.active, is_active)
        });
    }

    fn follow(&mut self, now: Tick, params: &DetectionParams) {
        let History { heap, nodes, paths, entries, groups, pairs, active, .. } = self;
        for &id in &active.nodes {
            measure(heap, &mut nodes[id as usize], |node| node.follow(now, params));
        }
        for &id in &active.pairs {
            let pair = &mut pairs[id as usize];
            let step = nodes[pair.parent as usize].age.step(now, params);
            measure(heap, pair, |pair| pair.sums.follow(step, params, |_| {}));
        }
        for &id in &active.entries {
            let entry = &mut entries[id as usize];
            entry.age.advance(now, params);
            let step = entry.age.step(now, params);
            measure(heap, entry, |entry| entry.sums.follow(step, params, |_| {}));
        }
        for &id in &active.groups {
            let group = &mut groups[id as usize];
            let step = entries[group.entry as usize].age.step(now, params);
            measure(heap, group, |group| group.sums.follow(step, params, |_| {}));
        }
        for &(node, entry, id) in &active.paths {
            let path = &mut paths[id as usize];
            let step = entries[entry as usize].age.step(now, params);
            let before = *path.sums.baseline();
            measure(heap, path, |path| path.sums.follow(step, params, |_| {}));
            nodes[node as usize].reprice(&before, path.sums.baseline());
        }
        active.nodes.iter().for_each(|&id| nodes[id as usize].age.has_relearned());
        active.entries.iter().for_each(|&id| entries[id as usize].age.has_relearned());
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let lists = self.nodes.capacity() * size_of::<Node>()
            + self.paths.capacity() * size_of::<Path>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.groups.capacity() * size_of::<Group>()
            + self.pairs.capacity() * size_of::<Pair>();
        // A hash table keeps one byte beside each slot, and an eighth of its slots empty.
        let table = |capacity: usize, entry: usize| capacity * 8 / 7 * (entry + 1);
        let numbers = table(self.node_numbers.capacity(), size_of::<(NodeKey, Id)>())
            + table(self.path_numbers.capacity(), size_of::<((Option<Id>, Id), Id)>());
        let translations = self.translations.iter().map(Translation::bytes).sum::<usize>();
        lists + numbers + translations + self.active.bytes() + self.heap
    }
}

/// Puts something on the list of what is active, if it is not there.
pub(super) fn activate<T>(active: &mut bool, list: &mut Vec<T>, item: T) {
    if !std::mem::replace(active, true) {
        list.push(item);
    }
}

fn keep(active: &mut bool, is_active: bool) -> bool {
    *active = is_active;
    is_active
}

fn number(count: usize) -> Id {
    Id::try_from(count).unwrap_or(Id::MAX)
}

impl Active {
    pub(super) fn sort(&mut self) {
        self.nodes.sort();
        self.entries.sort();
        self.paths.sort();
        self.groups.sort();
        self.pairs.sort();
    }

    fn bytes(&self) -> usize {
        let Active { nodes, entries, paths, groups, pairs } = self;
        let ids = nodes.capacity() + entries.capacity() + groups.capacity() + pairs.capacity();
        ids * size_of::<Id>() + paths.capacity() * size_of::<ActivePath>()
    }
}

impl Translation {
    fn bytes(&self) -> usize {
        (self.nodes.capacity() + self.paths.capacity()) * size_of::<Id>()
    }

    fn translate(&self, sums: &mut SliceSums) {
        let path = |id: &mut Id| *id = self.paths[*id as usize];
        let node = |id: &mut Id| *id = self.nodes[*id as usize];
        sums.entries.iter_mut().for_each(|(id, _)| path(id));
        sums.paths.iter_mut().for_each(|(id, _)| path(id));
        sums.groups.iter_mut().for_each(|((id, _), _)| path(id));
        sums.nodes.iter_mut().for_each(|(id, _)| node(id));
        for ((parent, child), _) in &mut sums.pairs {
            node(parent);
            node(child);
        }
    }
}

fn first_overlap(groups: &[(GroupOrder, Id)]) -> usize {
    groups.partition_point(|&(order, _)| order < FIRST_OVERLAP)
}

#[cfg(test)]
mod tests {
    use super::super::aggregate::{AttrSum, Detail, EntrySum, GroupSum, NodeSum, Slowest};
    use super::super::graph::Heap;
    use super::super::histogram::Sparse;
    use super::*;
    use crate::model::{AttrSetId, KeyId, Nanos, TraceId};

    /// One slice in which each of `nodes` nodes, entries all, was called.
    fn delta(slice: SliceIndex, nodes: Id, defined: Id) -> Delta {
        let mut sums = SliceSums::default();
        for id in 0..nodes {
            let mut sum = NodeSum::default();
            let buckets =
                (0..8u8).map(|bucket| (bucket + 100 + u8::try_from(id % 50).unwrap_or(0), 3));
            sum.calls.histogram = Sparse::from_counts(buckets.collect());
            let trace = TraceId::new(u128::MAX - u128::from(slice));
            sum.detail = Detail {
                slowest: trace.map(|trace| Slowest { self_time: Nanos(1 << 30), trace }),
                by_attrs: vec![AttrSum { attrs: AttrSetId(id), calls: 24, self_time: 1 << 30 }],
            };
            sums.nodes.push((id, sum));
            sums.paths.push((id, PathSum { calls: 24, critical: 1 << 30 }));
            sums.pairs.push(((id, nodes - 1 - id), Sparse::from_counts(vec![(1, 24)])));
            sums.entries.push((id, EntrySum { requests: 24, duration: 1 << 30 }));
            let group = GroupKey::Overflow;
            sums.groups.push(((id, group), GroupSum { critical: 1 << 30, squares: 1 << 60 }));
        }
        let nodes = (defined..nodes).map(|id| NodeKey::Own(KeyId(id))).collect();
        let paths = (defined..delta_end(&sums)).map(|id| (None, id)).collect();
        Delta { nodes, paths, slices: vec![(slice, sums)], is_last: false }
    }

    fn delta_end(sums: &SliceSums) -> Id {
        number(sums.nodes.len())
    }

    /// What the figures hold, counted one by one.
    fn counted(history: &History) -> usize {
        let nodes = history.nodes.iter().map(Heap::heap_bytes).sum::<usize>();
        let paths = history.paths.iter().map(Heap::heap_bytes).sum::<usize>();
        let entries = history.entries.iter().map(Heap::heap_bytes).sum::<usize>();
        let groups = history.groups.iter().map(Heap::heap_bytes).sum::<usize>();
        nodes + paths + entries + groups + history.pairs.iter().map(Heap::heap_bytes).sum::<usize>()
    }

    #[test]
    fn the_sum_of_what_is_held_is_kept_up_with_every_change() {
        let params = DetectionParams::default();
        let mut history = History::default();
        let mut defined = 0;
        for slice in 1..500u64 {
            let nodes = Id::try_from(1 + slice * 7 % 60).unwrap_or(1);
            let delta = delta(slice, nodes, defined);
            defined = defined.max(nodes);
            history.define(0, &delta);
            history.merge(0, delta.slices);
            history.begin(slice, slice, &params);
            if slice == 200 {
                history.adopt_entry(3);
                history.adopt_node(3);
            }
            assert_eq!(history.heap, counted(&history));
        }
        assert!(history.bytes() > history.heap && history.heap > 60 * 500);
    }

    #[test]
    fn a_slice_costs_what_was_active() {
        let params = DetectionParams::default();
        let mut history = History::default();
        for slice in 1..100 {
            let delta =
                delta(slice, if slice < 20 { 50 } else { 5 }, if slice > 1 { 50 } else { 0 });
            history.define(0, &delta);
            history.merge(0, delta.slices);
            history.begin(slice, slice, &params);
        }
        let Active { nodes, entries, paths, groups, pairs } = &history.active;
        let sizes = [nodes.len(), entries.len(), paths.len(), groups.len(), pairs.len()];
        assert_eq!((sizes, history.nodes.len()), ([5; 5], 50));
    }
}
