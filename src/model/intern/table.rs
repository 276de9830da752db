//! Things by number and numbers by thing, up to a limit, with numbers that can be given back.
//!
//! A number is a slot and the slot's generation. What is given back leaves its slot to another, under the
//! next generation, so a number that somebody still holds stands for nothing and never for something else;
//! numbers stay small, which is what makes memory indexed by slot flat. A slot's 256 generations come
//! round again after as many rounds of what was idle for half an hour and more: nobody holds a number for
//! the six days that this takes at least. Who is idle is decided elsewhere; here each thing only remembers
//! the epoch in which it was last asked for.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dashmap::DashMap;
use foldhash::fast::RandomState;

/// Bits of a number that are its slot.
pub(super) const SLOT_BITS: u32 = 24;

/// The epoch of what is never given back.
pub(super) const ALWAYS: u32 = u32::MAX;

/// The epoch in which something was last asked for.
pub(super) struct Seen(AtomicU32);

impl Seen {
    pub(super) fn in_epoch(epoch: u32) -> Seen {
        Seen(AtomicU32::new(epoch))
    }

    /// It is asked for now. Only ever moves on.
    pub(super) fn again(&self, epoch: u32) {
        self.0.fetch_max(epoch, Ordering::Relaxed);
    }

    /// Not asked for since the epoch `oldest` began.
    pub(super) fn is_before(&self, oldest: u32) -> bool {
        self.0.load(Ordering::Relaxed) < oldest
    }
}

/// A bounded table.
pub(super) struct Table<K, V> {
    ids: DashMap<K, Numbered, RandomState>,
    slots: RwLock<Slots<V>>,
}

struct Numbered {
    number: u32,
    seen: Seen,
}

struct Slots<V> {
    values: Vec<Slot<V>>,
    /// Slots without a value, the one that has been for longest first.
    free: VecDeque<u32>,
}

struct Slot<V> {
    generation: u8,
    value: Option<V>,
}

impl<K: Eq + Hash, V: Clone> Table<K, V> {
    pub(super) fn new() -> Table<K, V> {
        let slots = Slots { values: Vec::new(), free: VecDeque::new() };
        Table { ids: DashMap::default(), slots: RwLock::new(slots) }
    }

    /// Things that have a number.
    pub(super) fn len(&self) -> usize {
        self.read().len()
    }

    /// What a number stands for; `None` if that was given back.
    pub(super) fn get(&self, number: u32) -> Option<V> {
        let slots = self.read();
        let slot = slots.values.get(slot_of(number))?;
        slot.value.clone().filter(|_| u32::from(slot.generation) == number >> SLOT_BITS)
    }

    /// The number of something that has one, asked for in `epoch`.
    pub(super) fn find<Q>(&self, key: &Q, epoch: u32) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        // It is marked before it is let go of: whoever gives back looks under the same lock.
        let known = self.ids.get(key)?;
        known.seen.again(epoch);
        Some(known.number)
    }

    /// The number of `key`, asked for in `epoch`; a new one only while fewer than `limit` are out.
    pub(super) fn intern(
        &self,
        key: K,
        epoch: u32,
        limit: usize,
        value: impl FnOnce() -> V,
    ) -> Option<u32> {
        if let Some(number) = self.find(&key, epoch) {
            return Some(number);
        }
        // The entry is held while the value is stored, so that two threads agree on one number.
        let entry = self.ids.entry(key);
        if let dashmap::Entry::Occupied(known) = &entry {
            known.get().seen.again(epoch);
            return Some(known.get().number);
        }
        let mut slots = self.write();
        if slots.len() >= limit {
            return None;
        }
        let number = slots.store(value())?;
        entry.insert(Numbered { number, seen: Seen::in_epoch(epoch) });
        Some(number)
    }

    /// What `is_over` says so of, by number. Others may ask meanwhile.
    pub(super) fn idle(&self, is_over: impl Fn(u32, &Seen) -> bool) -> Vec<K>
    where
        K: Clone,
    {
        let over = self.ids.iter().filter(|entry| is_over(entry.number, &entry.seen));
        let mut over: Vec<(u32, K)> =
            over.map(|entry| (entry.number, entry.key().clone())).collect();
        // The order of a hash table is nobody's business.
        over.sort_unstable_by_key(|&(number, _)| number);
        over.into_iter().map(|(_, key)| key).collect()
    }

    /// Gives back the numbers of those that have not been asked for since `oldest`, and returns what they
    /// stood for.
    pub(super) fn give_back(&self, keys: &[K], oldest: u32) -> Vec<V> {
        let over = keys.iter().filter_map(|key| {
            let (_, its) = self.ids.remove_if(key, |_, its| its.seen.is_before(oldest))?;
            Some(its.number)
        });
        let over: Vec<u32> = over.collect();
        let mut slots = self.write();
        over.into_iter().filter_map(|number| slots.take(number)).collect()
    }

    /// What is in the table, in no order.
    pub(super) fn for_each(&self, mut tell: impl FnMut(&K)) {
        self.ids.iter().for_each(|entry| tell(entry.key()));
    }

    fn read(&self) -> RwLockReadGuard<'_, Slots<V>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Slots<V>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Slots<V> {
    fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }

    fn store(&mut self, value: V) -> Option<u32> {
        if let Some(number) = self.free.pop_front() {
            let slot = &mut self.values[number as usize];
            slot.value = Some(value);
            return Some(u32::from(slot.generation) << SLOT_BITS | number);
        }
        let number = u32::try_from(self.values.len()).ok()?;
        if number >> SLOT_BITS > 0 {
            return None;
        }
        self.values.push(Slot { generation: 0, value: Some(value) });
        Some(number)
    }

    fn take(&mut self, number: u32) -> Option<V> {
        let at = slot_of(number);
        let slot = &mut self.values[at];
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push_back(u32::try_from(at).ok()?);
        Some(value)
    }
}

fn slot_of(number: u32) -> usize {
    (number & ((1 << SLOT_BITS) - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_given_back_goes_to_another_under_another_number() {
        let table: Table<u8, u8> = Table::new();
        let first = table.intern(1, 0, 1, || 1).expect("there is room");
        assert_eq!(table.intern(2, 0, 1, || 2), None);
        assert_eq!(
            (table.idle(|number, _| number == first), table.give_back(&[1], 1)),
            (vec![1], vec![1])
        );
        assert_eq!((table.get(first), table.len()), (None, 0));
        let second = table.intern(2, 0, 1, || 2).expect("there is room again");
        assert_eq!(slot_of(first), slot_of(second));
        assert_eq!((table.get(first), table.get(second)), (None, Some(2)));
    }

    #[test]
    fn the_numbers_of_256_rounds_are_all_different() {
        let table: Table<u8, u8> = Table::new();
        let rounds = (0..=255u8).map(|round| {
            let number = table.intern(round, 0, 1, || round).expect("there is room");
            table.give_back(&[round], 1);
            number
        });
        let numbers: std::collections::BTreeSet<u32> = rounds.collect();
        assert_eq!((numbers.len(), table.read().values.len()), (256, 1));
    }

    #[test]
    fn what_is_asked_for_is_seen_in_that_epoch_and_never_before() {
        let table: Table<u8, u8> = Table::new();
        table.intern(1, 5, 9, || 1);
        table.find(&1, 3);
        let goes = |oldest| !table.give_back(&[1], oldest).is_empty();
        assert!(!goes(5) && goes(6));
    }
}
