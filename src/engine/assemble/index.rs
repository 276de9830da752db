//! Trace ids to small numbers, and trace ids that have been seen: hash tables in parts.
//!
//! A hash table that is full is copied into a larger one, and the larger it is the longer everything waits
//! for it. Each part grows on its own, and shrinks again when it has become mostly empty. Ids come
//! from strangers, so the hash is keyed. Nothing is ever read in the order of the tables.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::slab::Slot;
use crate::model::TraceId;

/// Parts of a table: of half a million ids each holds eight thousand, which are copied in 0.1 ms.
const PARTS: usize = 64;

/// A hash of an id.
#[derive(Clone, Copy, Default)]
pub(super) struct Hashed(u64);

impl Hashed {
    /// Which part, and what is kept of the hash there.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // two halves of a hash
    fn apart(self) -> (usize, u32) {
        ((self.0 >> 32) as usize % PARTS, self.0 as u32)
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

/// The hash that a table goes by: the tag's bits, spread over all 64.
#[inline]
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Numbers of open traces. Which trace a number stands for is known to whoever asks.
pub(super) struct Index {
    parts: Vec<HashTable<(u32, Slot)>>,
}

impl Index {
    pub(super) fn new() -> Index {
        Index { parts: (0..PARTS).map(|_| HashTable::new()).collect() }
    }

    /// The number under this hash that `is_it`.
    #[inline]
    pub(super) fn find(&self, hashed: Hashed, is_it: impl Fn(Slot) -> bool) -> Option<Slot> {
        let (part, tag) = hashed.apart();
        let same = |&(other, slot): &(u32, Slot)| other == tag && is_it(slot);
        self.parts[part].find(spread(tag), same).map(|&(_, slot)| slot)
    }

    /// Adds a number that is not there.
    pub(super) fn insert(&mut self, hashed: Hashed, slot: Slot) {
        let (part, tag) = hashed.apart();
        self.parts[part].insert_unique(spread(tag), (tag, slot), |&(tag, _)| spread(tag));
    }

    /// Takes a number out.
    pub(super) fn remove(&mut self, hashed: Hashed, slot: Slot) {
        let (part, tag) = hashed.apart();
        let part = &mut self.parts[part];
        if let Ok(entry) = part.find_entry(spread(tag), |&(_, other)| other == slot) {
            entry.remove();
        }
        shrink(part, |&(tag, _)| spread(tag));
    }

    /// Bytes held, about: seven eighths of a table can be filled.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(HashTable::allocation_size).sum()
    }
}

/// A set of ids, of which only the hashes are kept. That one more is taken for one of half a million has a
/// chance of 3 in 10^14; in a quarter of the memory it is found without waiting far more often.
pub(super) struct IdSet {
    parts: Vec<HashTable<u64>>,
    len: usize,
}

impl IdSet {
    pub(super) fn new() -> IdSet {
        IdSet { parts: (0..PARTS).map(|_| HashTable::new()).collect(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, hashed: Hashed) {
        if !self.contains(hashed) {
            let (part, _) = hashed.apart();
            self.parts[part].insert_unique(hashed.0, hashed.0, |&hash| hash);
            self.len += 1;
        }
    }

    #[inline]
    pub(super) fn contains(&self, hashed: Hashed) -> bool {
        let (part, _) = hashed.apart();
        self.parts[part].find(hashed.0, |&other| other == hashed.0).is_some()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(HashTable::allocation_size).sum()
    }
}

/// Tables that a burst has made large give their memory back when it is over.
fn shrink<T>(table: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    /// A table of this size is not worth it.
    const SMALL: usize = 32;
    if table.capacity() > SMALL && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2, hash);
    }
}

#[cfg(test)]
mod tests {
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
        let cell = |hasher: &IdHasher, trace| {
            let (part, tag) = hasher.hash(trace).apart();
            part << 6 | (spread(tag) & 63) as usize
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
}
