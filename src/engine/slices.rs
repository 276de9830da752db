//! A slice of event time in the making: a row for each path that was taken in it, sums by addition.
//!
//! One span touches one row. What belongs to a node, or to a call from one node to another, is kept
//! with the path that leads there and brought together when the slice is handed over. Where the row of
//! a path is, the path itself remembers for the slice it was filed in last, so that filing rarely
//! hashes anything.

mod places;
mod row;

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::aggregate::{EntrySum, FanOut, GroupSum, Id, MAX_FAN_OUT, NodeSum, SliceSums};
use super::numbering::{Cursor, Numbering};
use crate::model::{AttrSetId, Nanos, TraceId};
use places::Places;
use row::{Row, Sums};

type Map<K, V> = HashMap<K, V, RandomState>;

/// The sums of one slice so far.
#[derive(Default)]
pub(super) struct SliceTable {
    /// Tells this slice from all others of the shard, before and after it.
    number: u32,
    rows: Vec<Row>,
    /// Rows by path, for paths that have been filed elsewhere since.
    by_path: Places,
    groups: Vec<GroupRow>,
    by_group: Places,
    entries: Map<Id, EntrySum>,
    /// Calls to the overflow node: the path tells the node but not the caller.
    overflowed: Map<(Id, Id), FanOut>,
}

/// The sums of one group: half a line of the processor's caches.
#[derive(Clone, Copy)]
struct GroupRow {
    group: Id,
    critical: u64,
    /// The low half of the sum of squares, and the high half.
    squares: [u64; 2],
}

impl GroupRow {
    fn new(group: Id) -> GroupRow {
        GroupRow { group, critical: 0, squares: [0; 2] }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // one half each
    fn add(&mut self, critical: u64) {
        let square = u128::from(critical) * u128::from(critical);
        let squares = self.sum().squares.saturating_add(square);
        self.squares = [squares as u64, (squares >> 64) as u64];
        self.critical = self.critical.saturating_add(critical);
    }

    fn sum(&self) -> GroupSum {
        let [low, high] = self.squares;
        let squares = u128::from(high) << 64 | u128::from(low);
        GroupSum { critical: self.critical, squares }
    }
}

/// A piece of time that belongs to a path.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) path: Id,
    pub(super) self_time: Nanos,
    pub(super) critical: Nanos,
    pub(super) attrs: AttrSetId,
    /// The path's node was not yet met in this request.
    pub(super) first_of_request: bool,
    /// If it is the first of its siblings: how many there are. Else 0.
    pub(super) siblings: u32,
}

impl SliceTable {
    /// Begins anew as another slice. `number` is none that any other slice of the shard ever had, and not 0.
    pub(super) fn begin(&mut self, number: u32) {
        self.number = number;
    }

    /// A request of an entry took so long.
    pub(super) fn add_request(&mut self, entry: Id, duration: Nanos) {
        let sum = self.entries.entry(entry).or_default();
        sum.requests += 1;
        sum.duration = sum.duration.saturating_add(duration.0);
    }

    /// Files a piece of time.
    #[inline]
    pub(super) fn add(&mut self, piece: &Piece, trace: TraceId, numbering: &mut Numbering) {
        let cursor = &mut numbering.at_mut(piece.path).cursor;
        if cursor.slice != self.number {
            *cursor = self.find(piece);
        }
        self.rows[cursor.row as usize].add(piece, trace);
    }

    /// One call of `parent` made so many that ended up in the overflow node.
    pub(super) fn add_overflowed(&mut self, parent: Id, overflow: Id, count: u32) {
        self.overflowed.entry((parent, overflow)).or_default().add(clipped(count), 1);
    }

    /// Files what a group took of the critical path of one request.
    #[inline]
    pub(super) fn add_group(&mut self, group: Id, critical: u64, cursor: &mut Cursor) {
        if cursor.slice != self.number {
            *cursor = self.find_group(group);
        }
        self.groups[cursor.row as usize].add(critical);
    }

    #[cold]
    fn find(&mut self, piece: &Piece) -> Cursor {
        let next = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        let row = self.by_path.place(piece.path, next);
        if row == next {
            self.rows.push(Row::new(piece.path, piece.self_time));
        }
        Cursor { slice: self.number, row }
    }

    #[cold]
    fn find_group(&mut self, group: Id) -> Cursor {
        let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        let row = self.by_group.place(group, next);
        if row == next {
            self.groups.push(GroupRow::new(group));
        }
        Cursor { slice: self.number, row }
    }

    /// Takes the figures out, in the order of the shard's numbers, and leaves the table empty.
    pub(super) fn take(&mut self, numbering: &Numbering) -> SliceSums {
        let groups = self.by_group.iter().map(|row| {
            let row = &self.groups[row as usize];
            (numbering.group_key(row.group), row.sum())
        });
        let groups = groups.collect();
        let mut pairs: Vec<((Id, Id), FanOut)> = self.overflowed.drain().collect();
        let mut paths = Vec::with_capacity(self.rows.len());
        let mut nodes: Vec<(Id, NodeSum)> = Vec::with_capacity(self.rows.len());
        for row in self.by_path.iter() {
            let row = &mut self.rows[row as usize];
            let Sums { path: sum, node, fan_out } = row.take();
            if let Some(call) = numbering.call(row.path).filter(|_| !fan_out.is_empty()) {
                pairs.push((call, fan_out));
            }
            paths.push((row.path, sum));
            nodes.push((numbering.at(row.path).node, node));
        }
        let sums = SliceSums {
            entries: sorted(self.entries.drain()),
            paths,
            nodes: merged(nodes, |into, from| {
                into.calls.requests += from.calls.requests;
                into.calls.histogram.merge(&from.calls.histogram);
                into.detail.merge(&from.detail);
            }),
            pairs: merged(pairs, |into, from| into.merge(&from)),
            groups,
        };
        self.rows.clear();
        self.groups.clear();
        self.by_path.clear();
        self.by_group.clear();
        sums
    }
}

fn clipped(count: u32) -> u8 {
    u8::try_from(count).unwrap_or(MAX_FAN_OUT)
}

fn sorted<V>(items: impl Iterator<Item = (Id, V)>) -> Vec<(Id, V)> {
    let mut items: Vec<(Id, V)> = items.collect();
    items.sort_unstable_by_key(|&(key, _)| key);
    items
}

/// By key, equal ones made one, in the order in which they come. What is in order already is not moved.
fn merged<K: Ord + Copy, V: Default>(
    mut items: Vec<(K, V)>,
    mut merge: impl FnMut(&mut V, V),
) -> Vec<(K, V)> {
    items.sort_by_key(|&(key, _)| key);
    items.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            merge(&mut kept.1, std::mem::take(&mut next.1));
        }
        is_same
    });
    items
}
