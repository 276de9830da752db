//! New numbers for what stays in a list, and how everything that refers to it follows.
//!
//! The order stays the same, so whatever was sorted by number still is.

use std::collections::BTreeSet;

use crate::engine::aggregate::Id;

/// New numbers, by the old ones.
pub(in crate::engine) struct Moved {
    numbers: Vec<Option<Id>>,
    left: Id,
}

impl Moved {
    /// Those that stay close up.
    pub(in crate::engine) fn to(stays: &[bool]) -> Moved {
        let mut left = 0;
        let mut next = |stays: &bool| {
            stays.then(|| {
                left += 1;
                left - 1
            })
        };
        let numbers = stays.iter().map(&mut next).collect();
        Moved { numbers, left }
    }

    /// How many stay.
    pub(in crate::engine) fn left(&self) -> Id {
        self.left
    }

    /// Nobody has gone.
    pub(in crate::engine) fn is_everybody(&self) -> bool {
        self.left as usize == self.numbers.len()
    }

    /// The new number, if it stays.
    pub(in crate::engine) fn get(&self, old: Id) -> Option<Id> {
        self.numbers.get(old as usize).copied().flatten()
    }

    /// Gives something that refers to it the new number; whether it stays.
    pub(in crate::engine) fn move_on(&self, id: &mut Id) -> bool {
        let new = self.get(*id);
        *id = new.unwrap_or(*id);
        new.is_some()
    }

    /// Leaves in the list itself what stays, and not much more room than that takes.
    pub(in crate::engine) fn retain<T>(&self, items: &mut Vec<T>) {
        let mut numbers = self.numbers.iter();
        items.retain(|_| numbers.next().is_some_and(Option::is_some));
        items.shrink_to(2 * items.len());
    }

    /// The same in a list of numbers.
    pub(in crate::engine) fn follow(&self, ids: &mut Vec<Id>) {
        ids.retain_mut(|id| self.move_on(id));
        ids.shrink_to(2 * ids.len());
    }

    /// The same in a set of numbers.
    pub(in crate::engine) fn set(&self, ids: &BTreeSet<Id>) -> BTreeSet<Id> {
        ids.iter().filter_map(|&id| self.get(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_closes_up_in_its_order() {
        let moved = Moved::to(&[true, false, true, true]);
        assert_eq!(
            [0, 1, 2, 3, 9].map(|old| moved.get(old)),
            [Some(0), None, Some(1), Some(2), None]
        );
        let (mut items, mut ids) = (vec!["a", "b", "c", "d"], vec![3, 1, 2]);
        moved.retain(&mut items);
        moved.follow(&mut ids);
        assert_eq!((items, ids, moved.left()), (vec!["a", "c", "d"], vec![2, 1], 3));
        assert!(!moved.is_everybody() && Moved::to(&[true]).is_everybody());
    }
}
