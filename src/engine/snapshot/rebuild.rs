//! A history built from saved figures instead of from spans.
//!
//! Everything goes through the history's own numbering, and what follows from the figures (what is held,
//! prices, what is active) is worked out here and not read.

use crate::engine::age::Age;
use crate::engine::aggregate::{
    Calls, Detail, EntrySum, FanOut, GroupKey, GroupSum, Id, NodeKey, PathSum, SliceIndex,
};
use crate::engine::graph::measure;
use crate::engine::histogram::Distribution;
use crate::engine::history::{Active, History, activate};
use crate::engine::rolling::{Rolling, Tick};
use crate::engine::spread::Spread;
use crate::engine::tape::Tape;

/// A path that was put back.
pub(super) struct RestoredPath {
    /// Its number.
    pub path: Id,
    /// The number of its entry.
    pub entry: Id,
    /// It had not been there.
    pub is_new: bool,
}

impl History {
    /// The slices last judged, ascending.
    pub(super) fn judged_slices(&self) -> impl Iterator<Item = SliceIndex> {
        self.judged.iter().map(|&(_, slice)| slice)
    }

    /// Puts them back; `last` is the tick of the newest.
    pub(super) fn set_judged(&mut self, last: Tick, slices: &[SliceIndex]) {
        let newest_first = (0..=last).rev().zip(slices.iter().rev().copied());
        self.judged = newest_first.take(History::REMEMBERED).collect();
        self.judged.make_contiguous().reverse();
    }

    /// Moves the slices judged back in time. Those from before all time are forgotten.
    pub(super) fn set_back(&mut self, by: SliceIndex) {
        self.judged.retain_mut(|(_, slice)| {
            let moved = slice.checked_sub(by);
            *slice = moved.unwrap_or_default();
            moved.is_some()
        });
    }

    /// Puts a node back; its number, and whether it had not been there.
    pub(super) fn restore_node(
        &mut self,
        key: NodeKey,
        age: Age,
        (calls, spread): (Rolling<Calls>, Rolling<Spread>),
        details: Tape<Detail>,
    ) -> (Id, bool) {
        if let Some(id) = self.find_node(key) {
            return (id, false);
        }
        let id = self.node_number(key);
        measure(&mut self.heap, &mut self.nodes[id as usize], |node| {
            node.age = age;
            node.held = calls.baseline().histogram.count() + calls.since(0).histogram.count();
            (node.calls, node.spread, node.details) = (calls, spread, details);
        });
        (id, true)
    }

    /// Puts a path back; its node and the path above are there.
    pub(super) fn restore_path(
        &mut self,
        above: Option<Id>,
        node: Id,
        sums: Rolling<PathSum>,
    ) -> RestoredPath {
        let is_new = !self.path_numbers.contains_key(&(above, node));
        let id = self.path_number(above, node);
        let path = &mut self.paths[id as usize];
        let entry = path.entry;
        if is_new {
            self.nodes[node as usize].reprice(&PathSum::default(), sums.baseline());
            measure(&mut self.heap, path, |path| path.sums = sums);
        }
        RestoredPath { path: id, entry, is_new }
    }

    /// Fills an entry that came with its path.
    pub(super) fn restore_entry(&mut self, id: Id, age: Age, sums: Rolling<EntrySum>) {
        measure(&mut self.heap, &mut self.entries[id as usize], |entry| {
            (entry.age, entry.sums) = (age, sums);
        });
    }

    /// Puts a group back, unless it is there.
    pub(super) fn restore_group(&mut self, entry: Id, key: GroupKey, sums: Rolling<GroupSum>) {
        let before = self.groups.len();
        let id = self.group_number(entry, key);
        if self.groups.len() > before {
            measure(&mut self.heap, &mut self.groups[id as usize], |group| group.sums = sums);
        }
    }

    /// Puts a fan-out back, unless it is there.
    pub(super) fn restore_pair(&mut self, parent: Id, child: Id, sums: Rolling<FanOut>) {
        let before = self.pairs.len();
        let id = self.pair_number(parent, child);
        if self.pairs.len() > before {
            measure(&mut self.heap, &mut self.pairs[id as usize], |pair| pair.sums = sums);
        }
    }

    /// Everything is there: finds out what is active.
    pub(super) fn settle(&mut self) {
        let History { nodes, paths, entries, groups, pairs, active, .. } = self;
        for (id, node) in (0..).zip(nodes.iter_mut()) {
            if !node.is_idle() || node.age.relearns() {
                activate(&mut node.active, &mut active.nodes, id);
            }
        }
        for (id, entry) in (0..).zip(entries.iter_mut()) {
            if !entry.sums.is_idle() || entry.age.relearns() {
                activate(&mut entry.active, &mut active.entries, id);
            }
        }
        for (id, path) in (0..).zip(paths.iter_mut()) {
            if !path.sums.is_idle() || entries[path.entry as usize].age.relearns() {
                activate(&mut path.active, &mut active.paths, (path.node, path.entry, id));
            }
        }
        for (id, group) in (0..).zip(groups.iter_mut()) {
            if !group.sums.is_idle() || entries[group.entry as usize].age.relearns() {
                activate(&mut group.active, &mut active.groups, id);
            }
        }
        for (id, pair) in (0..).zip(pairs.iter_mut()) {
            if !pair.sums.is_idle() || nodes[pair.parent as usize].age.relearns() {
                activate(&mut pair.active, &mut active.pairs, id);
            }
        }
        Active::sort(active);
    }
}
