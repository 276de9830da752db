//! A slice of event time in the making: a row for each path that was taken in it, sums by addition.
//!
//! One span touches one row. What belongs to a node, or to a call from one node to another, is kept
//! with the path that leads there and brought together when the slice is handed over. Where the row of
//! a path is, the path itself remembers for the slice it was filed in last, so that filing rarely
//! hashes anything.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

use super::aggregate::{EntrySum, FanOut, GroupSum, Id, MAX_FAN_OUT, NodeSum, PathSum, SliceSums};
use super::histogram::bucket_of;
use super::numbering::{Cursor, Numbering};
use crate::model::{AttrSetId, Nanos, TraceId};

type Map<K, V> = HashMap<K, V, RandomState>;

/// The sums of one slice so far.
pub(super) struct SliceTable {
    /// Tells this slice from all others of the shard, before and after it.
    number: u32,
    rows: Vec<Row>,
    /// Rows by path, for paths that have been filed elsewhere since.
    by_path: Map<Id, u32>,
    groups: Vec<(Id, GroupSum)>,
    by_group: Map<Id, u32>,
    entries: Map<Id, EntrySum>,
    /// Calls to the overflow node: the path tells the node but not the caller.
    overflowed: Map<(Id, Id), FanOut>,
}

/// What was filed under one path.
#[derive(Default)]
struct Row {
    path: Id,
    sum: PathSum,
    node: NodeSum,
    /// Calls from above that made one call of this.
    single: u64,
    /// Calls from above that made several.
    fan_out: FanOut,
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
    /// An empty one. `number` is none that any other slice of the shard ever had, and not 0.
    pub(super) fn new(number: u32) -> SliceTable {
        SliceTable {
            number,
            rows: Vec::new(),
            by_path: Map::default(),
            groups: Vec::new(),
            by_group: Map::default(),
            entries: Map::default(),
            overflowed: Map::default(),
        }
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
        let row = self.row(piece.path, &mut numbering.at_mut(piece.path).cursor);
        row.sum.calls += 1;
        row.sum.critical = row.sum.critical.saturating_add(piece.critical.0);
        row.node.calls.requests += u64::from(piece.first_of_request);
        row.node.observe(bucket_of(piece.self_time), piece.self_time, trace, piece.attrs);
        match piece.siblings {
            0 => {}
            1 => row.single += 1,
            several => row.fan_out.add(clipped(several), 1),
        }
    }

    /// One call of `parent` made so many that ended up in the overflow node.
    pub(super) fn add_overflowed(&mut self, parent: Id, overflow: Id, count: u32) {
        self.overflowed.entry((parent, overflow)).or_default().add(clipped(count), 1);
    }

    /// Files what a group took of the critical path of one request.
    pub(super) fn add_group(&mut self, group: Id, critical: u64, cursor: &mut Cursor) {
        if cursor.slice != self.number {
            let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
            let row = *self.by_group.entry(group).or_insert(next);
            if row == next {
                self.groups.push((group, GroupSum::default()));
            }
            *cursor = Cursor { slice: self.number, row };
        }
        let (_, sum) = &mut self.groups[cursor.row as usize];
        sum.critical = sum.critical.saturating_add(critical);
        sum.squares = sum.squares.saturating_add(u128::from(critical) * u128::from(critical));
    }

    #[inline]
    fn row(&mut self, path: Id, cursor: &mut Cursor) -> &mut Row {
        if cursor.slice != self.number {
            *cursor = self.find(path);
        }
        &mut self.rows[cursor.row as usize]
    }

    #[cold]
    fn find(&mut self, path: Id) -> Cursor {
        let next = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        let row = *self.by_path.entry(path).or_insert(next);
        if row == next {
            self.rows.push(Row { path, ..Row::default() });
        }
        Cursor { slice: self.number, row }
    }

    /// The figures, in the order of the shard's numbers.
    pub(super) fn finish(self, numbering: &Numbering) -> SliceSums {
        let mut rows = self.rows;
        rows.sort_unstable_by_key(|row| row.path);
        let paths = rows.iter().map(|row| (row.path, row.sum)).collect();
        let mut pairs: Vec<((Id, Id), FanOut)> = self.overflowed.into_iter().collect();
        let mut nodes: Vec<(Id, NodeSum)> = Vec::with_capacity(rows.len());
        for row in rows {
            let Row { path, node, single, mut fan_out, .. } = row;
            if single > 0 {
                fan_out.add(1, u32::try_from(single).unwrap_or(u32::MAX));
            }
            if let Some(call) = numbering.call(path).filter(|_| !fan_out.is_empty()) {
                pairs.push((call, fan_out));
            }
            nodes.push((numbering.at(path).node, node));
        }
        let groups = self.groups.into_iter();
        let mut groups: Vec<_> =
            groups.map(|(group, sum)| (numbering.group_key(group), sum)).collect();
        groups.sort_unstable_by_key(|&(key, _)| key);
        SliceSums {
            entries: sorted(self.entries),
            paths,
            nodes: merged(nodes, |into, from| {
                into.calls.requests += from.calls.requests;
                into.calls.histogram.merge(&from.calls.histogram);
                into.detail.merge(&from.detail);
            }),
            pairs: merged(pairs, |into, from| into.merge(&from)),
            groups,
        }
    }
}

fn clipped(count: u32) -> u8 {
    u8::try_from(count).unwrap_or(MAX_FAN_OUT)
}

fn sorted<K: Ord + Copy + Hash, V>(map: Map<K, V>) -> Vec<(K, V)> {
    let mut items: Vec<(K, V)> = map.into_iter().collect();
    items.sort_unstable_by_key(|&(key, _)| key);
    items
}

/// By key, equal ones made one.
fn merged<K: Ord + Copy, V>(
    mut items: Vec<(K, V)>,
    mut merge: impl FnMut(&mut V, V),
) -> Vec<(K, V)> {
    // Stable: what is merged is merged in the order of paths.
    items.sort_by_key(|&(key, _)| key);
    let mut merged: Vec<(K, V)> = Vec::with_capacity(items.len());
    for (key, value) in items {
        match merged.last_mut() {
            Some((last, into)) if *last == key => merge(into, value),
            _ => merged.push((key, value)),
        }
    }
    merged
}
