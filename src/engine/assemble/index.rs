//! Trace ids to small numbers, and trace ids that have been seen: hash tables in parts.
//!
//! Of half a million ids hardly one is in the processor's caches, so what a look-up reads has to stand in
//! one line, and it has to be known which before anything has been compared: then several look-ups can
//! wait for memory at once. A hash table that is full is copied into a larger one, and the larger it is the
//! longer everything waits for it; so each part grows on its own, and shrinks again when it has become
//! mostly empty. Ids come from strangers, so the hash is keyed. Nothing is ever read in the order of the tables.

use std::hash::BuildHasher;
use std::hint::black_box;

use foldhash::fast::RandomState;

use super::slab::Slot;
use crate::model::TraceId;

/// Parts of a table: of half a million ids each holds eight thousand, which are copied in 0.1 ms.
const PARTS: usize = 64;

/// A hash of an id.
#[derive(Clone, Copy, Default)]
pub(super) struct Hashed(u64);

impl Hashed {
    #[inline]
    fn part(self) -> usize {
        (self.0 >> 32) as usize % PARTS
    }
}

/// How ids are hashed.
#[derive(Default)]
pub(super) struct IdHasher(RandomState);

impl IdHasher {
    #[inline]
    pub(super) fn hash(&self, trace: TraceId) -> Hashed {
        Hashed(self.0.hash_one(trace.get()))
    }
}

/// A part of a table: cells that are found by their upper half, each in its place or soon after it.
#[derive(Default)]
struct Part {
    /// A power of two of them, or none; 0 is an empty one.
    cells: Vec<u64>,
    used: usize,
}

impl Part {
    const LEAST: usize = 16;

    /// Where a cell belongs: the bits of its upper half, spread over all 64.
    #[inline]
    fn home(&self, cell: u64) -> usize {
        let mixed = (cell >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(mixed).unwrap_or_default() & self.cells.len().wrapping_sub(1)
    }

    /// Has memory bring what looking for a cell begins with.
    #[inline]
    fn ask_for(&self, cell: u64) {
        if let Some(cell) = self.cells.get(self.home(cell)) {
            black_box(*cell);
        }
    }

    /// Where the cell with this upper half stands that `is_it`.
    #[inline]
    fn find(&self, like: u64, is_it: impl Fn(u64) -> bool) -> Option<usize> {
        let mut at = self.home(like);
        loop {
            let cell = *self.cells.get(at)?;
            if cell >> 32 == like >> 32 && cell != 0 && is_it(cell) {
                return Some(at);
            }
            if cell == 0 {
                return None;
            }
            at = (at + 1) & (self.cells.len() - 1);
        }
    }

    fn insert(&mut self, cell: u64) {
        // A quarter stays empty, so that what is looked for in vain is soon given up.
        if 4 * (self.used + 1) > 3 * self.cells.len() {
            self.resize((2 * self.cells.len()).max(Part::LEAST));
        }
        self.put(cell);
        self.used += 1;
    }

    #[inline]
    fn put(&mut self, cell: u64) {
        let mut at = self.home(cell);
        while self.cells[at] != 0 {
            at = (at + 1) & (self.cells.len() - 1);
        }
        self.cells[at] = cell;
    }

    /// Empties a cell, and lets those that stand behind it for want of room move up.
    fn remove(&mut self, mut gap: usize) {
        let mask = self.cells.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let cell = self.cells[at];
            if cell == 0 {
                break;
            }
            let distance_from_home = at.wrapping_sub(self.home(cell)) & mask;
            if distance_from_home >= at.wrapping_sub(gap) & mask {
                self.cells[gap] = cell;
                gap = at;
            }
        }
        self.cells[gap] = 0;
        self.used -= 1;
        // Tables that a burst has made large give their memory back when it is over.
        if self.cells.len() > 4 * Part::LEAST && self.used < self.cells.len() / 8 {
            self.resize(self.cells.len() / 4);
        }
    }

    #[cold]
    fn resize(&mut self, cells: usize) {
        let old = std::mem::replace(&mut self.cells, vec![0; cells]);
        old.into_iter().filter(|cell| *cell != 0).for_each(|cell| self.put(cell));
    }

    fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<u64>()
    }
}

fn parts() -> Vec<Part> {
    std::iter::repeat_with(Part::default).take(PARTS).collect()
}

/// Numbers of open traces: the upper half of a cell is of the hash, the lower half is one more than the
/// number. Which trace a number stands for is known to whoever asks.
pub(super) struct Index {
    parts: Vec<Part>,
}

impl Index {
    const UPPER: u64 = 0xffff_ffff_0000_0000;

    pub(super) fn new() -> Index {
        Index { parts: parts() }
    }

    /// The upper half of a cell. Which part it is in takes the bits that all cells of a part share.
    #[inline]
    fn upper(hashed: Hashed) -> u64 {
        hashed.0 << 32
    }

    /// Has memory bring what finding a number begins with.
    #[inline]
    pub(super) fn ask_for(&self, hashed: Hashed) {
        self.parts[hashed.part()].ask_for(Index::upper(hashed));
    }

    /// The number under this hash that `is_it`.
    #[inline]
    pub(super) fn find(&self, hashed: Hashed, is_it: impl Fn(Slot) -> bool) -> Option<Slot> {
        let part = &self.parts[hashed.part()];
        let at = part.find(Index::upper(hashed), |cell| is_it(number(cell)))?;
        Some(number(part.cells[at]))
    }

    /// Adds a number that is not there.
    pub(super) fn insert(&mut self, hashed: Hashed, slot: Slot) {
        let cell = Index::upper(hashed) | (u64::from(slot) + 1) & !Index::UPPER;
        self.parts[hashed.part()].insert(cell);
    }

    /// Takes a number out.
    pub(super) fn remove(&mut self, hashed: Hashed, slot: Slot) {
        let part = &mut self.parts[hashed.part()];
        if let Some(at) = part.find(Index::upper(hashed), |cell| number(cell) == slot) {
            part.remove(at);
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }
}

/// The number in a cell that is not empty.
#[inline]
#[allow(clippy::cast_possible_truncation)] // the lower half
fn number(cell: u64) -> Slot {
    (cell as u32).wrapping_sub(1)
}

/// A set of ids, of which only the hashes are kept. That one more is taken for one of half a million has a
/// chance of 3 in 10^14; in a quarter of the memory it is found without waiting far more often.
pub(super) struct IdSet {
    parts: Vec<Part>,
    len: usize,
}

impl IdSet {
    pub(super) fn new() -> IdSet {
        IdSet { parts: parts(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The cell of an id: its hash, halves exchanged as which part it is in is told by the upper one.
    #[inline]
    fn cell(hashed: Hashed) -> u64 {
        hashed.0.rotate_left(32).max(1)
    }

    pub(super) fn insert(&mut self, hashed: Hashed) {
        if !self.contains(hashed) {
            self.parts[hashed.part()].insert(IdSet::cell(hashed));
            self.len += 1;
        }
    }

    /// Has memory bring what looking for an id begins with.
    #[inline]
    pub(super) fn ask_for(&self, hashed: Hashed) {
        self.parts[hashed.part()].ask_for(IdSet::cell(hashed));
    }

    #[inline]
    pub(super) fn contains(&self, hashed: Hashed) -> bool {
        let cell = IdSet::cell(hashed);
        self.parts[hashed.part()].find(cell, |other| other == cell).is_some()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u128) -> TraceId {
        TraceId::new(number + 1).unwrap()
    }

    #[test]
    fn numbers_are_found_by_id_until_they_are_taken_out() {
        let (hasher, mut index) = (IdHasher::default(), Index::new());
        let ids: Vec<TraceId> = (0..50_000).map(id).collect();
        for (slot, &trace) in (0..).zip(&ids) {
            index.insert(hasher.hash(trace), slot);
        }
        let found = |index: &Index, at: usize| {
            index.find(hasher.hash(ids[at]), |slot| ids[slot as usize] == ids[at])
        };
        assert!((0..ids.len()).all(|at| found(&index, at) == Slot::try_from(at).ok()));
        let full = index.bytes();
        for (slot, &trace) in (0..).zip(&ids).skip(100) {
            index.remove(hasher.hash(trace), slot);
        }
        assert!((0..ids.len()).all(|at| found(&index, at).is_some() == (at < 100)));
        assert!(index.bytes() < full / 10, "{} of {full}", index.bytes());
    }

    #[test]
    fn ids_prepared_against_one_table_do_not_meet_in_another() {
        const IDS: usize = 300;
        // The part, and the place within a part that has room for 64: 4,096 cells.
        let room = Part { cells: vec![0; 64], used: 0 };
        let cell = |hasher: &IdHasher, trace| {
            let hashed = hasher.hash(trace);
            hashed.part() << 6 | room.home(Index::upper(hashed))
        };
        let fullest = |hasher: &IdHasher, ids: &[TraceId]| {
            let mut cells = vec![0; PARTS << 6];
            ids.iter().for_each(|&trace| cells[cell(hasher, trace)] += 1);
            cells.into_iter().max()
        };
        let (one, other) = (IdHasher::default(), IdHasher::default());
        let prepared: Vec<TraceId> =
            (0..).map(id).filter(|&trace| cell(&one, trace) == 0).take(IDS).collect();
        assert_eq!(fullest(&one, &prepared), Some(IDS));
        // That seven of 300 meet by chance happens once in a hundred million runs.
        assert!(fullest(&other, &prepared) < Some(7));
    }

    #[test]
    fn a_set_knows_what_it_was_given() {
        let (hasher, mut set) = (IdHasher::default(), IdSet::new());
        for trace in (0..1_000).chain(0..1_000).map(id) {
            set.insert(hasher.hash(trace));
        }
        assert_eq!(set.len(), 1_000);
        assert!((0..1_000).map(id).all(|trace| set.contains(hasher.hash(trace))));
        assert!(!set.contains(hasher.hash(id(1_000))));
    }

    proptest! {
        /// Against a map of the standard library; a table of few parts is nearly full most of the time.
        #[test]
        fn a_part_is_a_map(steps in prop::collection::vec((0u64..200, any::<bool>()), 0..600)) {
            let mut part = Part::default();
            let mut model: HashMap<u64, u64> = HashMap::new();
            for (at, (key, adds)) in (1..).zip(steps) {
                let like = (key % 50) << 32;
                let found = part.find(like, |cell| Some(&cell) == model.get(&key));
                prop_assert_eq!(found.map(|at| part.cells[at]), model.get(&key).copied());
                match found {
                    None if adds => {
                        part.insert(like | at);
                        model.insert(key, like | at);
                    }
                    Some(at) if !adds => {
                        part.remove(at);
                        model.remove(&key);
                    }
                    _ => {}
                }
                prop_assert_eq!(part.used, model.len());
            }
        }
    }
}
