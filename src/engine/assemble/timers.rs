//! When each open trace may be due: a ring of steps, each with a list of traces, first come first.
//!
//! Filing, taking out and finding the next take the same few instructions however many traces are open.
//! The lists run through the traces themselves. Time comes from outside and may jump.

use std::collections::VecDeque;

use super::slab::{NONE, Slab, Slot};

/// Time in units of the ring.
pub(super) type Step = u64;

/// A trace's place in a list; part of what is kept of every open trace.
#[derive(Clone, Copy)]
pub(super) struct Filed {
    step: Step,
    before: Slot,
    after: Slot,
}

impl Filed {
    /// In no list.
    pub(super) const NOWHERE: Filed = Filed { step: 0, before: NONE, after: NONE };

    /// Who stands behind it in its list, or [`NONE`].
    #[inline]
    pub(super) fn after(self) -> Slot {
        self.after
    }
}

/// Whatever has a place in a list.
pub(super) trait HasPlace: Copy {
    fn place(&mut self) -> &mut Filed;
}

/// The ends of a list.
#[derive(Clone, Copy)]
struct List {
    first: Slot,
    last: Slot,
}

const EMPTY: List = List { first: NONE, last: NONE };

/// Traces by the step in which they may be due.
pub(super) struct Timers {
    /// Those of steps that have begun.
    due: List,
    /// The step that the ring begins with; all before it have begun.
    base: Step,
    ring: VecDeque<List>,
    /// Nothing stands in the ring before this.
    first: usize,
    /// No deadline is further ahead than so many steps.
    horizon: usize,
}

impl Timers {
    /// For deadlines that are at most `horizon` steps ahead of the time at which they are filed.
    pub(super) fn new(horizon: usize) -> Timers {
        Timers { due: EMPTY, base: 0, ring: VecDeque::new(), first: 0, horizon: horizon + 2 }
    }

    /// Files a trace that is in no list.
    pub(super) fn file<T: HasPlace>(
        &mut self,
        traces: &mut Slab<T>,
        slot: Slot,
        step: Step,
        now: Step,
    ) {
        if step.saturating_sub(self.base) >= self.horizon as u64 {
            // Time has jumped: what is in the ring is overdue.
            self.advance(traces, now);
        }
        let place = traces.get_mut(slot).place();
        if step < self.base {
            // Deadlines of a clock that went back.
            place.step = self.base.saturating_sub(1);
            return append(&mut self.due, traces, slot);
        }
        let at = usize::try_from(step - self.base).unwrap_or(usize::MAX).min(self.horizon);
        place.step = self.base + at as u64;
        while self.ring.len() <= at {
            self.ring.push_back(EMPTY);
        }
        self.first = self.first.min(at);
        append(&mut self.ring[at], traces, slot);
    }

    /// Takes a trace out of its list.
    pub(super) fn unfile<T: HasPlace>(&mut self, traces: &mut Slab<T>, slot: Slot) {
        let Filed { step, before, after } = *traces.get_mut(slot).place();
        let list = match step.checked_sub(self.base) {
            None => &mut self.due,
            Some(at) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                match self.ring.get_mut(at) {
                    Some(list) => list,
                    None => return,
                }
            }
        };
        match before {
            NONE => list.first = after,
            _ => traces.get_mut(before).place().after = after,
        }
        match after {
            NONE => list.last = before,
            _ => traces.get_mut(after).place().before = before,
        }
    }

    /// The first of the traces whose step has begun.
    pub(super) fn next_due<T: HasPlace>(
        &mut self,
        traces: &mut Slab<T>,
        now: Step,
    ) -> Option<Slot> {
        if now >= self.base {
            self.advance(traces, now);
        } else if self.base - now > Timers::TOLERATED {
            self.go_back(traces, now);
        } else if now + 1 < self.base {
            // What is here is looked at when time is there again.
            return None;
        }
        (self.due.first != NONE).then_some(self.due.first)
    }

    /// Steps that time may go back before everything is filed anew: a little is common, as what waited
    /// in a queue comes with the time of its arrival.
    const TOLERATED: Step = 8;

    /// Time has gone back: whatever is here has to be looked at.
    #[cold]
    fn go_back<T: HasPlace>(&mut self, traces: &mut Slab<T>, now: Step) {
        for list in std::mem::take(&mut self.ring) {
            join(&mut self.due, list, traces);
        }
        (self.base, self.first) = (now + 1, 0);
        let mut at = self.due.first;
        while at != NONE {
            let place = traces.get_mut(at).place();
            place.step = now;
            at = place.after;
        }
    }

    /// The first of all.
    pub(super) fn next(&mut self) -> Option<Slot> {
        if self.due.first != NONE {
            return Some(self.due.first);
        }
        while let Some(list) = self.ring.get(self.first) {
            if list.first != NONE {
                return Some(list.first);
            }
            self.first += 1;
        }
        None
    }

    /// All steps up to `now` have begun.
    fn advance<T: HasPlace>(&mut self, traces: &mut Slab<T>, now: Step) {
        while self.base <= now {
            let Some(list) = self.ring.pop_front() else {
                self.base = now + 1;
                break;
            };
            self.base += 1;
            self.first = self.first.saturating_sub(1);
            join(&mut self.due, list, traces);
        }
    }
}

fn append<T: HasPlace>(list: &mut List, traces: &mut Slab<T>, slot: Slot) {
    join(list, List { first: slot, last: slot }, traces);
    // Whatever stood behind it in its former list does not any more.
    traces.get_mut(slot).place().after = NONE;
}

fn join<T: HasPlace>(list: &mut List, more: List, traces: &mut Slab<T>) {
    if more.first == NONE {
        return;
    }
    traces.get_mut(more.first).place().before = list.last;
    match list.last {
        NONE => list.first = more.first,
        last => traces.get_mut(last).place().after = more.first,
    }
    list.last = more.last;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy)]
    struct Item {
        place: Filed,
        step: Step,
    }

    impl HasPlace for Item {
        fn place(&mut self) -> &mut Filed {
            &mut self.place
        }
    }

    const HORIZON: u64 = 40;

    #[derive(Clone, Debug)]
    enum Action {
        File { ahead: u64 },
        Unfile { which: usize },
        Wait { steps: u64 },
        TakeFirst,
    }

    fn actions() -> impl Strategy<Value = Vec<Action>> {
        let action = prop_oneof![
            4 => (0..=HORIZON).prop_map(|ahead| Action::File { ahead }),
            2 => any::<usize>().prop_map(|which| Action::Unfile { which }),
            2 => prop_oneof![4 => 0..5u64, 1 => 0..1_000_000u64].prop_map(|steps| Action::Wait { steps }),
            1 => Just(Action::TakeFirst),
        ];
        prop::collection::vec(action, 0..200)
    }

    proptest! {
        /// Against a sorted set of (step, order of filing).
        #[test]
        fn what_is_due_comes_in_the_order_of_its_steps_and_no_sooner(actions in actions()) {
            let (mut timers, mut slab) = (Timers::new(40), Slab::new());
            let mut model: BTreeSet<(Step, u64, Slot)> = BTreeSet::new();
            let (mut now, mut filed) = (1_000_000, 0);
            for action in actions {
                match action {
                    Action::File { ahead } => {
                        let slot = slab.take(Item { place: Filed::NOWHERE, step: 0 });
                        let step = now + ahead;
                        *slab.get_mut(slot) = Item { place: Filed::NOWHERE, step };
                        timers.file(&mut slab, slot, step, now);
                        filed += 1;
                        model.insert((step, filed, slot));
                    }
                    Action::Unfile { which } => {
                        let known: Vec<_> = model.iter().copied().collect();
                        if !known.is_empty() {
                            let item = known[which % known.len()];
                            model.remove(&item);
                            timers.unfile(&mut slab, item.2);
                            slab.remove(item.2);
                        }
                    }
                    Action::Wait { steps } => {
                        now += steps;
                        while let Some(slot) = timers.next_due(&mut slab, now) {
                            let first = model.pop_first().expect("nothing else is filed");
                            prop_assert!(slab.get(slot).step <= now);
                            // Within a step the first come is the first; a step that had begun comes first.
                            prop_assert_eq!(slab.get(slot).step, first.0);
                            prop_assert_eq!(slot, first.2);
                            timers.unfile(&mut slab, slot);
                            slab.remove(slot);
                        }
                        prop_assert!(model.first().is_none_or(|first| first.0 > now));
                    }
                    Action::TakeFirst => {
                        let first = model.pop_first();
                        prop_assert_eq!(timers.next(), first.map(|first| first.2));
                        if let Some((_, _, slot)) = first {
                            timers.unfile(&mut slab, slot);
                            slab.remove(slot);
                        }
                    }
                }
                prop_assert!(timers.ring.len() <= 42);
            }
        }
    }
}
