//! What the call graph is made of beside its nodes: paths, entries, groups and fan-outs, each with its
//! figures over time.
//!
//! They are kept in lists and refer to each other by number; [`History`](super::history::History) owns the lists and
//! keeps the numbers right. Nothing here knows of more than itself.

use super::age::Age;
use super::aggregate::{EntrySum, FanOut, GroupKey, GroupSum, Id, PathSum};
use super::node::Node;
use super::rolling::Rolling;
use super::statistics::Moments;

/// A path of the call graph.
pub(super) struct Path {
    /// The path above; `None` for an entry.
    pub above: Option<Id>,
    /// The node it ends with.
    pub node: Id,
    /// The entry it begins with.
    pub entry: Id,
    /// Its calls and their critical time.
    pub sums: Rolling<PathSum>,
    /// It is in the list of the active ones.
    pub active: bool,
}

/// An entry operation.
pub(super) struct Entry {
    /// The node that is the entry.
    pub node: Id,
    /// How long it has been watched.
    pub age: Age,
    /// Its requests.
    pub sums: Rolling<EntrySum>,
    /// Numbers of the groups of its critical time, in their order.
    pub groups: Vec<(GroupOrder, Id)>,
    /// All paths below it, itself included, by number.
    pub paths: Vec<Id>,
    /// It is in the list of the active ones.
    pub active: bool,
}

/// Critical time of an entry's requests that is counted for somebody.
pub(super) struct Group {
    /// Whose requests.
    pub entry: Id,
    /// For whom.
    pub key: GroupKey,
    /// How much.
    pub sums: Rolling<GroupSum>,
    /// It is in the list of the active ones.
    pub active: bool,
}

/// How often one call of a node made so many calls of another.
pub(super) struct Pair {
    /// Who calls.
    pub parent: Id,
    /// Who is called.
    pub child: Id,
    /// How often so many.
    pub sums: Rolling<FanOut>,
    /// It is in the list of the active ones.
    pub active: bool,
}

impl GroupSum {
    /// Per request, of so many.
    pub(super) fn moments(&self, requests: u64) -> Moments {
        let count = requests as f64;
        let mean = self.critical as f64 / count;
        let variance = (self.squares as f64 / count - mean * mean).max(0.0);
        Moments { count, mean, variance }
    }
}

/// A fixed order of groups within one run; those of overlaps stand last.
pub(super) type GroupOrder = (u8, u32, u32);

/// Groups from here on are of overlaps.
pub(super) const FIRST_OVERLAP: GroupOrder = (6, 0, 0);

/// A group's place among those of its entry.
pub(super) fn order(group: GroupKey) -> GroupOrder {
    match group {
        GroupKey::Service(service) => (0, service.0, 0),
        GroupKey::Peer(peer) => (1, peer.0, 0),
        GroupKey::Unnamed(service) => (2, service.0, 0),
        GroupKey::Request(from, to) => (3, from.0, to.0),
        GroupKey::Response(from, to) => (4, from.0, to.0),
        GroupKey::Overflow => (5, 0, 0),
        GroupKey::Overlap(key) => (6, key.0, 0),
    }
}

/// Something that holds memory outside of its own value.
pub(super) trait Heap {
    /// How much, in bytes.
    fn heap_bytes(&self) -> usize;
}

impl Heap for Node {
    fn heap_bytes(&self) -> usize {
        Node::heap_bytes(self)
    }
}

impl Heap for Path {
    fn heap_bytes(&self) -> usize {
        self.sums.heap_bytes()
    }
}

impl Heap for Entry {
    fn heap_bytes(&self) -> usize {
        let groups = self.groups.capacity() * size_of::<(GroupOrder, Id)>();
        self.sums.heap_bytes() + groups + self.paths.capacity() * size_of::<Id>()
    }
}

impl Heap for Group {
    fn heap_bytes(&self) -> usize {
        self.sums.heap_bytes()
    }
}

impl Heap for Pair {
    fn heap_bytes(&self) -> usize {
        self.sums.heap_bytes()
    }
}

/// Changes something and keeps the sum of what is held right.
pub(super) fn measure<T: Heap>(heap: &mut usize, item: &mut T, change: impl FnOnce(&mut T)) {
    let before = item.heap_bytes();
    change(item);
    *heap = *heap + item.heap_bytes() - before;
}
