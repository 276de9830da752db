//! What a shard hands to the judge: sums, counts and histograms per slice, mergeable by addition.
//!
//! A shard numbers nodes and paths as it meets them; the definitions travel once, ahead of the first
//! figure that uses them, and the judge translates. So nothing is shared and nothing is locked. From time
//! to time a shard begins its numbers anew, so that it does not know for ever what is not met any more.

use super::histogram::Sparse;
use crate::model::{AttrSetId, KeyId, Nanos, Sym, TraceId};

/// What a piece of critical path belongs to. Structure only: whether a leaf is a dependency or a
/// call whose far side was lost depends on what else has been seen, and the judge decides it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NodeKey {
    /// A span's own work.
    Own(KeyId),
    /// A CLIENT (or PRODUCER) span with no child, and what it says it called.
    Leaf(KeyId, Option<Sym>),
    /// A CLIENT span with a child in another service. Has no time of its own.
    Edge(KeyId, Sym),
    /// The time of an edge before the callee's span starts.
    Request(KeyId, Sym),
    /// The rest of an edge's self-time, but for the wait.
    Response(KeyId, Sym),
    /// The wait between an edge that failed and the next attempt.
    Retry(KeyId, Sym),
    /// A CLIENT span that failed and has no child, and what it says it called: nobody answered.
    Failed(KeyId, Option<Sym>),
    /// Whatever is beyond the limits.
    Overflow,
}

/// The party that a node's time is counted for, as far as structure tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupKey {
    /// An instrumented service.
    Service(Sym),
    /// A named callee that sent no span.
    Peer(Sym),
    /// An unnamed callee of a service.
    Unnamed(Sym),
    /// Requests from one service to another.
    Request(Sym, Sym),
    /// Responses to one service from another.
    Response(Sym, Sym),
    /// What the calls of an operation saved by running side by side: no part of the path, and nobody's.
    Overlap(KeyId),
    /// Beyond the limits.
    Overflow,
}

/// Number of a node, a path or an entry: the shard's own until the judge has translated it.
pub type Id = u32;

/// Event time in units of the slice length.
pub type SliceIndex = u64;

/// Sums over the requests of an entry.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct EntrySum {
    /// Requests.
    pub requests: u64,
    /// Sum of their durations, nanoseconds.
    pub duration: u64,
}

/// Sums over the calls on a path.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct PathSum {
    /// Calls.
    pub calls: u64,
    /// Sum of critical time, nanoseconds.
    pub critical: u64,
}

/// Sum and sum of squares, over requests, of the critical time (or the overlap) of one group.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct GroupSum {
    /// Nanoseconds.
    pub critical: u64,
    /// Square nanoseconds.
    pub squares: u128,
}

/// The calls of a node that carry one set of attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttrSum {
    /// Which attributes.
    pub attrs: AttrSetId,
    /// Calls.
    pub calls: u64,
    /// Sum of self-time, nanoseconds.
    pub self_time: u64,
}

/// The slowest call of a node in a slice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slowest {
    /// Its self-time.
    pub self_time: Nanos,
    /// Its trace.
    pub trace: TraceId,
}

/// One node in one slice.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct NodeSum {
    /// Its calls.
    pub calls: Calls,
    /// What names the slow ones.
    pub detail: Detail,
}

/// The calls of a node.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Calls {
    /// Requests it occurred in.
    pub requests: u64,
    /// Self-time of its calls.
    pub histogram: Sparse,
}

/// What names the slow calls of a node.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Detail {
    /// Its slowest call.
    pub slowest: Option<Slowest>,
    /// By attributes, ascending, at most [`MAX_ATTR_SETS`]; the rest is counted under the empty set.
    pub by_attrs: Vec<AttrSum>,
}

/// Attribute sets told apart per node and slice. A node with more instances than this is judged as a
/// whole all the same; only the question *where* stays open.
pub const MAX_ATTR_SETS: usize = 64;

/// How often one call of the parent made so many calls of the child; the last stands for "or more".
pub type FanOut = Sparse;

/// Child calls counted one by one up to this many.
pub const MAX_FAN_OUT: u8 = 255;

/// All figures of one slice of event time, by shard numbers.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SliceSums {
    /// By entry path.
    pub entries: Vec<(Id, EntrySum)>,
    /// By path.
    pub paths: Vec<(Id, PathSum)>,
    /// By node.
    pub nodes: Vec<(Id, NodeSum)>,
    /// By (parent node, child node).
    pub pairs: Vec<((Id, Id), FanOut)>,
    /// By (entry path, group).
    pub groups: Vec<((Id, GroupKey), GroupSum)>,
}

/// What one shard has learned since it was last asked.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Delta {
    /// Definitions of nodes, continuing the shard's numbering.
    pub nodes: Vec<NodeKey>,
    /// Definitions of paths: the path above (none for an entry) and the node at the end.
    pub paths: Vec<(Option<Id>, Id)>,
    /// Figures by slice, ascending.
    pub slices: Vec<(SliceIndex, SliceSums)>,
    /// The shard's numbers end here: those of the next delta begin anew.
    pub is_last: bool,
}

impl Detail {
    /// Adds the same node's figures of another shard or slice.
    pub(super) fn merge(&mut self, other: &Detail) {
        self.slowest = self.slowest.max(other.slowest);
        for &sum in &other.by_attrs {
            self.add_attrs(sum);
        }
    }

    #[inline]
    pub(super) fn add_attrs(&mut self, sum: AttrSum) {
        match self.by_attrs.binary_search_by_key(&sum.attrs, |known| known.attrs) {
            Ok(at) => {
                let known = &mut self.by_attrs[at];
                known.calls += sum.calls;
                known.self_time = known.self_time.saturating_add(sum.self_time);
            }
            Err(at) => self.insert_attrs(at, sum),
        }
    }

    /// Keeps the sets with the lowest numbers, so that which ones are kept depends neither on the
    /// order of calls nor on who saw which: a set that is kept at the end was never given up before.
    #[cold]
    fn insert_attrs(&mut self, at: usize, sum: AttrSum) {
        self.by_attrs.insert(at, sum);
        let rest = self.by_attrs.first().filter(|first| first.attrs == AttrSetId::EMPTY);
        if self.by_attrs.len() > MAX_ATTR_SETS + usize::from(rest.is_some())
            && let Some(given_up) = self.by_attrs.pop()
        {
            self.add_attrs(AttrSum { attrs: AttrSetId::EMPTY, ..given_up });
        }
    }
}
