//! The judge's memory: nodes, paths and entries over time, merged from all shards.
//!
//! It knows what was seen, what is normal and for how long; it draws no conclusions. Nodes and
//! entries age on their own, because a service that appears today is new today; paths and groups age
//! with their entry, fan-outs with their parent node, so that figures which are divided by each other
//! stem from the same slices.

use std::collections::{BTreeMap, HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::aggregate::{
    AttrSum, Delta, EntrySum, FanOut, GroupKey, GroupSum, Id, NodeKey, NodeSum, PathSum,
    SliceIndex, SliceSums, Slowest,
};
use super::histogram::{Dense, Sparse};
use super::params::DetectionParams;
use super::rolling::{Age, Rolling, Step, Tick, slot};

/// A node of the call graph.
pub(super) struct Node {
    /// What it is.
    pub key: NodeKey,
    /// How long it has been watched.
    pub age: Age,
    baseline: Dense,
    eras: VecDeque<(Tick, Sparse)>,
    recent: VecDeque<(Tick, NodeSum)>,
    /// How often one call of this node made so many calls of a child node.
    pub fan_outs: BTreeMap<Id, Rolling<FanOut>>,
    /// Paths that end here.
    pub paths: Vec<Id>,
    /// Calls filed since they were last taken for counting.
    fresh: Sparse,
    fresh_slowest: Option<Slowest>,
}

/// A path of the call graph.
pub(super) struct Path {
    /// The path above; `None` for an entry.
    pub above: Option<Id>,
    /// The node it ends with.
    pub node: Id,
    /// The path it begins with.
    pub entry: Id,
    /// Its calls and their critical time.
    pub sums: Rolling<PathSum>,
}

/// An entry operation, under the number of its path.
pub(super) struct Entry {
    /// How long it has been watched.
    pub age: Age,
    /// Its requests.
    pub sums: Rolling<EntrySum>,
    /// Critical time of its requests, by who it is counted for.
    pub groups: BTreeMap<GroupOrder, (GroupKey, Rolling<GroupSum>)>,
    /// All paths below it, itself included, by number.
    pub paths: Vec<Id>,
}

/// A fixed order of groups within one run.
pub(super) type GroupOrder = (u8, u32, u32);

/// Everything the judge remembers.
#[derive(Default)]
pub(super) struct History {
    nodes: Vec<Node>,
    paths: Vec<Path>,
    entries: BTreeMap<Id, Entry>,
    node_numbers: HashMap<NodeKey, Id, RandomState>,
    path_numbers: HashMap<(Option<Id>, Id), Id, RandomState>,
    translations: Vec<Translation>,
    /// Slices handed in and not yet judged.
    pending: BTreeMap<SliceIndex, Vec<SliceSums>>,
    /// Judged slices by tick, the newest last; bounded.
    judged: VecDeque<(Tick, SliceIndex)>,
}

/// From one shard's numbers to the judge's.
#[derive(Default)]
struct Translation {
    nodes: Vec<Id>,
    paths: Vec<Id>,
}

impl History {
    /// Judged slices that are remembered by index: what closes later than that is not counted.
    const REMEMBERED: usize = 128;

    /// Takes in what a shard hands over.
    pub(super) fn merge(&mut self, shard: usize, delta: Delta) {
        while self.translations.len() <= shard {
            self.translations.push(Translation::default());
        }
        for key in delta.nodes {
            let id = self.node_number(key);
            self.translations[shard].nodes.push(id);
        }
        for (above, node) in delta.paths {
            let translation = &self.translations[shard];
            let above = above.map(|above| translation.paths[above as usize]);
            let node = translation.nodes[node as usize];
            let id = self.path_number(above, node);
            self.translations[shard].paths.push(id);
        }
        for (slice, sums) in delta.slices {
            let sums = self.translations[shard].translate(sums);
            match self.tick_of(slice) {
                Some(tick) => self.file(tick, &sums),
                None if self.judged.back().is_none_or(|&(_, last)| slice > last) => {
                    self.pending.entry(slice).or_default().push(sums);
                }
                None => {} // Closed so late that its slice has been forgotten.
            }
        }
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
        for sums in self.pending.remove(&slice).unwrap_or_default() {
            self.file(tick, &sums);
        }
        for node in &mut self.nodes {
            let step = node.age.advance(tick, params);
            node.follow(step, params);
        }
        for entry in self.entries.values_mut() {
            let step = entry.age.advance(tick, params);
            entry.sums.follow(step, params);
            for (_, sums) in entry.groups.values_mut() {
                sums.follow(step, params);
            }
            for &path in &entry.paths {
                self.paths[path as usize].sums.follow(step, params);
            }
        }
    }

    /// All nodes, by number.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node.
    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// The number of a node, if it was ever met.
    pub(super) fn find_node(&self, key: NodeKey) -> Option<Id> {
        self.node_numbers.get(&key).copied()
    }

    /// A node whose age is to be changed.
    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// A path.
    pub(super) fn path(&self, id: Id) -> &Path {
        &self.paths[id as usize]
    }

    /// All entries, by number.
    pub(super) fn entries(&self) -> &BTreeMap<Id, Entry> {
        &self.entries
    }

    /// An entry whose age is to be changed.
    pub(super) fn entry_mut(&mut self, id: Id) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
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

    fn node_number(&mut self, key: NodeKey) -> Id {
        if let Some(&known) = self.node_numbers.get(&key) {
            return known;
        }
        let id = Id::try_from(self.nodes.len()).unwrap_or(Id::MAX);
        self.nodes.push(Node::new(key, self.current_tick() + 1));
        self.node_numbers.insert(key, id);
        id
    }

    fn path_number(&mut self, above: Option<Id>, node: Id) -> Id {
        if let Some(&known) = self.path_numbers.get(&(above, node)) {
            return known;
        }
        let id = Id::try_from(self.paths.len()).unwrap_or(Id::MAX);
        let entry = above.map_or(id, |above| self.paths[above as usize].entry);
        self.paths.push(Path { above, node, entry, sums: Rolling::default() });
        self.path_numbers.insert((above, node), id);
        self.nodes[node as usize].paths.push(id);
        let born = Age::born(self.current_tick() + 1);
        self.entries.entry(entry).or_insert_with(|| Entry::new(born)).paths.push(id);
        id
    }

    fn file(&mut self, tick: Tick, sums: &SliceSums) {
        for (id, sum) in &sums.nodes {
            let node = &mut self.nodes[*id as usize];
            slot(&mut node.recent, tick).merge(sum);
            node.fresh.merge(&sum.histogram);
            node.fresh_slowest = node.fresh_slowest.max(sum.slowest);
        }
        for (id, sum) in &sums.paths {
            self.paths[*id as usize].sums.add(tick, sum);
        }
        for ((parent, child), counts) in &sums.pairs {
            let fan_outs = &mut self.nodes[*parent as usize].fan_outs;
            fan_outs.entry(*child).or_default().add(tick, counts);
        }
        for (id, sum) in &sums.entries {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.sums.add(tick, sum);
            }
        }
        for ((id, group), sum) in &sums.groups {
            if let Some(entry) = self.entries.get_mut(id) {
                let (_, sums) = entry
                    .groups
                    .entry(order(*group))
                    .or_insert_with(|| (*group, Rolling::default()));
                sums.add(tick, sum);
            }
        }
    }
}

fn order(group: GroupKey) -> GroupOrder {
    match group {
        GroupKey::Service(service) => (0, service.0, 0),
        GroupKey::Peer(peer) => (1, peer.0, 0),
        GroupKey::Unnamed(service) => (2, service.0, 0),
        GroupKey::Request(from, to) => (3, from.0, to.0),
        GroupKey::Response(from, to) => (4, from.0, to.0),
        GroupKey::Overflow => (5, 0, 0),
    }
}

impl Translation {
    fn translate(&self, mut sums: SliceSums) -> SliceSums {
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
        sums
    }
}

impl Entry {
    fn new(age: Age) -> Entry {
        Entry { age, sums: Rolling::default(), groups: BTreeMap::new(), paths: Vec::new() }
    }
}

impl Node {
    fn new(key: NodeKey, born: Tick) -> Node {
        Node {
            key,
            age: Age::born(born),
            baseline: Dense::default(),
            eras: VecDeque::new(),
            recent: VecDeque::new(),
            fan_outs: BTreeMap::new(),
            paths: Vec::new(),
            fresh: Sparse::default(),
            fresh_slowest: None,
        }
    }

    /// Calls filed since this was last asked, and the slowest of them.
    pub(super) fn take_fresh(&mut self) -> (Sparse, Option<Slowest>) {
        (std::mem::take(&mut self.fresh), self.fresh_slowest.take())
    }

    /// Self-times that are normal.
    pub(super) fn baseline(&self) -> &Dense {
        &self.baseline
    }

    /// Self-times of the slices from `from` on, added to `into`; returns the requests they occurred in.
    pub(super) fn window(&self, from: Tick, into: &mut Dense) -> u64 {
        let mut requests = 0;
        for (_, sum) in self.recent_since(from) {
            into.add(&sum.histogram);
            requests += sum.requests;
        }
        requests
    }

    /// Calls of the slices from `from` on.
    pub(super) fn calls_since(&self, from: Tick) -> u64 {
        self.recent_since(from).map(|(_, sum)| sum.histogram.count()).sum()
    }

    /// Figures of one slice.
    pub(super) fn at(&self, tick: Tick) -> Option<&NodeSum> {
        self.recent_since(tick).find(|(at, _)| *at == tick).map(|(_, sum)| sum)
    }

    /// The slowest calls of the slices from `from` on, the slowest first.
    pub(super) fn slowest_since(&self, from: Tick, count: usize) -> Vec<Slowest> {
        let mut slowest: Vec<Slowest> =
            self.recent_since(from).filter_map(|(_, sum)| sum.slowest).collect();
        slowest.sort_unstable_by(|one, two| two.cmp(one));
        slowest.dedup_by_key(|slowest| slowest.trace);
        slowest.truncate(count);
        slowest
    }

    /// Calls by attributes of the slices from `from` on.
    pub(super) fn attrs_since(&self, from: Tick) -> Vec<AttrSum> {
        let mut total = NodeSum::default();
        for (_, sum) in self.recent_since(from) {
            total.merge(sum);
        }
        total.by_attrs
    }

    fn recent_since(&self, from: Tick) -> impl Iterator<Item = &(Tick, NodeSum)> {
        let start = self.recent.partition_point(|&(tick, _)| tick < from);
        self.recent.range(start..)
    }

    fn follow(&mut self, step: Step, params: &DetectionParams) {
        if step.relearns() {
            self.baseline.clear();
            self.eras.clear();
        }
        while self.recent.front().is_some_and(|&(tick, _)| step.is_past(tick)) {
            let Some((tick, sum)) = self.recent.pop_front() else { break };
            if step.absorbs(tick) {
                self.baseline.add(&sum.histogram);
                slot(&mut self.eras, tick / params.era).merge(&sum.histogram);
            }
        }
        while self.eras.len() > params.eras {
            if let Some((_, histogram)) = self.eras.pop_front() {
                self.baseline.subtract(&histogram);
            }
        }
        for fan_out in self.fan_outs.values_mut() {
            fan_out.follow(step, params);
        }
    }
}
