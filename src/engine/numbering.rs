//! Nodes and call paths by number, in the order of first sight, up to a limit.
//!
//! A path is the path above it and a node; most spans take a path that is known and one of few below the
//! one above, so these are looked through before anything is hashed. What can be said of a path once and
//! for all (its node, its entry, whose time it is, what an edge is split into) is kept with it. Beyond the limits everything is the overflow node, which is never a suspect. The numbers
//! are one shard's own; the judge translates.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::aggregate::{GroupKey, Id, NodeKey};
use crate::model::{KeyId, Sym};

/// The numbers of one shard.
pub(super) struct Numbering {
    nodes: HashMap<NodeKey, Id, RandomState>,
    /// Path numbers, by the path above and the node at the end.
    known: HashTable<Id>,
    paths: Vec<Path>,
    /// By the slot of its operation: the path that a span's own work begins. Every trace takes one.
    begun: Vec<Option<(KeyId, Id)>>,
    groups: HashMap<(Id, GroupKey), Id, RandomState>,
    /// What each group's number stands for.
    group_keys: Vec<(Id, GroupKey)>,
    hasher: RandomState,
    /// Defined since last asked.
    fresh_nodes: Vec<NodeKey>,
    fresh_paths: Vec<(Option<Id>, Id)>,
    max_nodes: usize,
    max_paths: usize,
    overflow: Option<Id>,
}

/// So many paths below one are looked through one after the other; among more, hashing is faster.
const FEW: u32 = 8;

/// A path, and what follows from it: a line of the processor's caches.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Path {
    above: Option<Id>,
    key: NodeKey,
    /// The node at its end.
    pub(super) node: Id,
    /// The path it begins with.
    pub(super) entry: Id,
    /// The number of the entry and who the time is counted for.
    pub(super) group: Id,
    /// The paths one step longer: how many there are, and the newest of them.
    longer: u32,
    newest_longer: Id,
    /// The next older path below the same one.
    older_beside: Id,
    /// What the time of an edge is split into, once it has been: not among the paths one step longer.
    split: Option<Split>,
    /// Where it is filed in the slice it was filed in last.
    pub(super) cursor: Cursor,
}

/// The paths of the two halves of an edge's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Split {
    /// Before the callee's span starts.
    pub(super) request: Id,
    /// The rest.
    pub(super) response: Id,
}

/// A row of a slice that is being added up.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Cursor {
    /// Which slice; 0 is none.
    pub(super) slice: u32,
    /// Its row.
    pub(super) row: u32,
}

impl Numbering {
    pub(super) fn new(max_nodes: usize, max_paths: usize) -> Numbering {
        Numbering {
            nodes: HashMap::default(),
            known: HashTable::new(),
            paths: Vec::new(),
            begun: Vec::new(),
            groups: HashMap::default(),
            group_keys: Vec::new(),
            hasher: RandomState::default(),
            fresh_nodes: Vec::new(),
            fresh_paths: Vec::new(),
            max_nodes: max_nodes.min(Id::MAX as usize),
            max_paths: max_paths.min(Id::MAX as usize),
            overflow: None,
        }
    }

    /// An empty one with the same limits.
    pub(super) fn anew(&self) -> Numbering {
        Numbering::new(self.max_nodes, self.max_paths)
    }

    /// The path that ends with `key` below `above`. `service` is whose operation the node is of.
    #[inline]
    pub(super) fn path(&mut self, above: Option<Id>, key: NodeKey, service: Sym) -> Id {
        match (above.map(|above| self.at(above)), key) {
            (None, NodeKey::Own(operation)) => match self.begun.get(operation.slot()) {
                Some(&Some((known, path))) if known == operation => path,
                _ => self.begin(operation, service),
            },
            (Some(&Path { longer: count @ 0..=FEW, newest_longer: mut path, .. }), _) => {
                for _ in 0..count {
                    let known = self.at(path);
                    if known.key == key {
                        return path;
                    }
                    path = known.older_beside;
                }
                self.new_path(above, key, service)
            }
            _ => self.hashed_path(above, key, service),
        }
    }

    #[cold]
    fn begin(&mut self, operation: KeyId, service: Sym) -> Id {
        let path = self.hashed_path(None, NodeKey::Own(operation), service);
        let slot = operation.slot();
        if slot >= self.begun.len() {
            self.begun.resize(slot + 1, None);
        }
        self.begun[slot] = Some((operation, path));
        path
    }

    /// What the time of an edge of `service` is split into; `edge` is its path.
    #[inline]
    pub(super) fn split(&mut self, edge: Id, client: KeyId, callee: Sym, service: Sym) -> Split {
        match self.at(edge).split {
            Some(split) => split,
            None => self.new_split(edge, client, callee, service),
        }
    }

    #[cold]
    fn new_split(&mut self, edge: Id, client: KeyId, callee: Sym, service: Sym) -> Split {
        let mut half = |key| self.hashed_path(Some(edge), key, service);
        let request = half(NodeKey::Request(client, callee));
        let response = half(NodeKey::Response(client, callee));
        let split = Split { request, response };
        // Edges beyond the limits are all one path.
        if !self.is_overflow(edge) {
            self.at_mut(edge).split = Some(split);
        }
        split
    }

    #[inline(never)]
    fn hashed_path(&mut self, above: Option<Id>, key: NodeKey, service: Sym) -> Id {
        let same = |&id: &Id| {
            let path = &self.paths[id as usize];
            path.above == above && path.key == key
        };
        let hash = hash(&self.hasher, above, key);
        match self.known.find(hash, same) {
            Some(&path) => path,
            None => self.new_path(above, key, service),
        }
    }

    /// What is known of a path.
    #[inline]
    pub(super) fn at(&self, path: Id) -> &Path {
        &self.paths[path as usize]
    }

    /// The same, to move its cursor.
    #[inline]
    pub(super) fn at_mut(&mut self, path: Id) -> &mut Path {
        &mut self.paths[path as usize]
    }

    /// The nodes on both sides of a path's last call; `None` for an entry.
    pub(super) fn call(&self, path: Id) -> Option<(Id, Id)> {
        let Path { above, node, .. } = self.at(path);
        Some((self.at((*above)?).node, *node))
    }

    /// Whether a path is the one for whatever is beyond the limits.
    #[inline]
    pub(super) fn is_overflow(&self, path: Id) -> bool {
        self.overflow == Some(path)
    }

    /// The number of a group under an entry.
    pub(super) fn group(&mut self, entry: Id, group: GroupKey) -> Id {
        let next = Id::try_from(self.group_keys.len()).unwrap_or(Id::MAX);
        *self.groups.entry((entry, group)).or_insert_with(|| {
            self.group_keys.push((entry, group));
            next
        })
    }

    /// What a group's number stands for.
    pub(super) fn group_key(&self, group: Id) -> (Id, GroupKey) {
        self.group_keys[group as usize]
    }

    /// Nodes and paths numbered since last asked.
    pub(super) fn take_fresh(&mut self) -> (Vec<NodeKey>, Vec<(Option<Id>, Id)>) {
        (std::mem::take(&mut self.fresh_nodes), std::mem::take(&mut self.fresh_paths))
    }

    #[cold]
    fn new_path(&mut self, above: Option<Id>, key: NodeKey, service: Sym) -> Id {
        let node = match self.nodes.get(&key) {
            Some(&node) => Some(node),
            None => (self.nodes.len() < self.max_nodes).then(|| self.define_node(key)),
        };
        match node {
            Some(node) if self.paths.len() < self.max_paths => {
                self.define_path(above, key, node, group_of(key, service))
            }
            _ => self.overflow(),
        }
    }

    /// The path for whatever is beyond the limits, itself beyond them.
    fn overflow(&mut self) -> Id {
        if let Some(overflow) = self.overflow {
            return overflow;
        }
        let node = self.define_node(NodeKey::Overflow);
        let path = self.define_path(None, NodeKey::Overflow, node, GroupKey::Overflow);
        self.overflow = Some(path);
        path
    }

    fn define_node(&mut self, key: NodeKey) -> Id {
        let node = Id::try_from(self.nodes.len()).unwrap_or(Id::MAX);
        self.nodes.insert(key, node);
        self.fresh_nodes.push(key);
        node
    }

    fn define_path(&mut self, above: Option<Id>, key: NodeKey, node: Id, group: GroupKey) -> Id {
        let path = Id::try_from(self.paths.len()).unwrap_or(Id::MAX);
        let entry = above.map_or(path, |above| self.at(above).entry);
        let group = self.group(entry, group);
        let mut older_beside = path;
        let is_half = matches!(key, NodeKey::Request(..) | NodeKey::Response(..));
        if let Some(above) = above.filter(|_| !is_half) {
            let above = self.at_mut(above);
            above.longer += 1;
            older_beside = std::mem::replace(&mut above.newest_longer, path);
        }
        self.paths.push(Path {
            above,
            key,
            node,
            entry,
            group,
            longer: 0,
            newest_longer: path,
            older_beside,
            split: None,
            cursor: Cursor::default(),
        });
        let Numbering { known, paths, hasher, .. } = self;
        let rehash = |&id: &Id| hash(hasher, paths[id as usize].above, paths[id as usize].key);
        known.insert_unique(hash(hasher, above, key), path, rehash);
        self.fresh_paths.push((above, node));
        path
    }
}

/// Who the time of a node is counted for. `service` is whose operation it is of.
pub(super) fn group_of(key: NodeKey, service: Sym) -> GroupKey {
    match key {
        NodeKey::Own(_) | NodeKey::Edge(..) => GroupKey::Service(service),
        NodeKey::Leaf(_, Some(peer)) | NodeKey::Failed(_, Some(peer)) => GroupKey::Peer(peer),
        NodeKey::Leaf(_, None) | NodeKey::Failed(_, None) => GroupKey::Unnamed(service),
        NodeKey::Request(_, callee) => GroupKey::Request(service, callee),
        NodeKey::Response(_, callee) => GroupKey::Response(service, callee),
        NodeKey::Retry(_, callee) => GroupKey::Service(callee),
        NodeKey::Overflow => GroupKey::Overflow,
    }
}

/// A node in two words, so that hashing it takes few instructions.
#[inline]
fn hash(hasher: &RandomState, above: Option<Id>, key: NodeKey) -> u64 {
    let (kind, operation, other) = match key {
        NodeKey::Own(operation) => (0, operation.0, 0),
        NodeKey::Leaf(operation, None) => (1, operation.0, 0),
        NodeKey::Leaf(operation, Some(peer)) => (2, operation.0, peer.0),
        NodeKey::Edge(operation, callee) => (3, operation.0, callee.0),
        NodeKey::Request(operation, callee) => (4, operation.0, callee.0),
        NodeKey::Response(operation, callee) => (5, operation.0, callee.0),
        NodeKey::Overflow => (6, 0, 0),
        NodeKey::Retry(operation, callee) => (7, operation.0, callee.0),
        NodeKey::Failed(operation, None) => (8, operation.0, 0),
        NodeKey::Failed(operation, Some(peer)) => (9, operation.0, peer.0),
    };
    let above = above.map_or(0, |above| u64::from(above) + 1);
    let low = u64::from(operation) << 32 | u64::from(other);
    hasher.hash_one(u128::from(above << 4 | kind) << 64 | u128::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Sym = Sym(1);

    fn own(operation: u32) -> NodeKey {
        NodeKey::Own(KeyId(operation))
    }

    #[test]
    fn the_same_node_below_another_is_another_path() {
        let mut numbering = Numbering::new(10, 10);
        let entry = numbering.path(None, own(1), A);
        let below = numbering.path(Some(entry), own(2), A);
        let alone = numbering.path(None, own(2), A);
        assert_eq!(numbering.path(Some(entry), own(2), A), below);
        assert_ne!(below, alone);
        assert_eq!(numbering.at(below).node, numbering.at(alone).node);
        assert_eq!((numbering.at(below).entry, numbering.at(alone).entry), (entry, alone));
        assert_ne!(numbering.at(below).group, numbering.at(alone).group, "of other entries");
        assert_eq!(
            numbering.call(below),
            Some((numbering.at(entry).node, numbering.at(below).node))
        );
        let (nodes, paths) = numbering.take_fresh();
        assert_eq!(nodes, [own(1), own(2)]);
        assert_eq!(paths, [(None, 0), (Some(0), 1), (None, 1)]);
        assert_eq!(numbering.take_fresh(), (vec![], vec![]));
    }

    #[test]
    fn an_edge_is_split_into_the_same_two_paths_every_time() {
        let mut numbering = Numbering::new(10, 10);
        let edge = numbering.path(None, NodeKey::Edge(KeyId(1), Sym(2)), A);
        let split = numbering.split(edge, KeyId(1), Sym(2), A);
        let callee = numbering.path(Some(edge), own(3), Sym(2));
        assert_eq!(numbering.split(edge, KeyId(1), Sym(2), A), split);
        assert_eq!(numbering.path(Some(edge), own(3), Sym(2)), callee);
        let (nodes, _) = numbering.take_fresh();
        let node = |path| nodes[numbering.at(path).node as usize];
        assert_eq!(node(split.request), NodeKey::Request(KeyId(1), Sym(2)));
        assert_eq!(node(split.response), NodeKey::Response(KeyId(1), Sym(2)));
        assert_eq!(numbering.call(split.request), Some((numbering.at(edge).node, 1)));
    }

    #[test]
    fn beyond_a_limit_everything_is_one_path() {
        for (max_nodes, max_paths) in [(2, 10), (10, 2)] {
            let mut numbering = Numbering::new(max_nodes, max_paths);
            let known = [1, 2].map(|operation| numbering.path(None, own(operation), A));
            let beyond = [3, 4].map(|operation| numbering.path(Some(0), own(operation), A));
            assert!(numbering.is_overflow(beyond[0]) && beyond[0] == beyond[1]);
            assert!(known.iter().all(|path| !numbering.is_overflow(*path)));
            assert_eq!([1, 2].map(|operation| numbering.path(None, own(operation), A)), known);
        }
    }
}
