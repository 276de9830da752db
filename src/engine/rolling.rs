//! A figure over time: what is normal (the baseline), and the slices too young to belong to it.
//!
//! The baseline is a sum of eras. Slices enter it when they are old enough, whole eras leave it, both
//! exactly, because everything is an integer. [`Age`] decides when a slice is old enough; whoever
//! owns figures that must agree with each other gives them one `Age`.

use std::collections::VecDeque;

use super::aggregate::{EntrySum, GroupSum, PathSum};
use super::histogram::Sparse;
use super::params::DetectionParams;

/// Number of a judged slice: counts up by one, whatever gaps there are in event time.
pub type Tick = u64;

/// Something that is added up over slices and can be taken out again.
pub trait Sum: Default {
    /// Adds.
    fn add(&mut self, other: &Self);
    /// Takes out what was added before.
    fn subtract(&mut self, other: &Self);
    /// Nothing in it.
    fn is_zero(&self) -> bool;
}

impl Sum for EntrySum {
    fn add(&mut self, other: &EntrySum) {
        self.requests += other.requests;
        self.duration = self.duration.saturating_add(other.duration);
    }
    fn subtract(&mut self, other: &EntrySum) {
        self.requests -= other.requests;
        self.duration = self.duration.saturating_sub(other.duration);
    }
    fn is_zero(&self) -> bool {
        self.requests == 0
    }
}

impl Sum for PathSum {
    fn add(&mut self, other: &PathSum) {
        self.calls += other.calls;
        self.critical = self.critical.saturating_add(other.critical);
    }
    fn subtract(&mut self, other: &PathSum) {
        self.calls -= other.calls;
        self.critical = self.critical.saturating_sub(other.critical);
    }
    fn is_zero(&self) -> bool {
        self.calls == 0
    }
}

impl Sum for GroupSum {
    fn add(&mut self, other: &GroupSum) {
        self.critical = self.critical.saturating_add(other.critical);
        self.squares = self.squares.saturating_add(other.squares);
    }
    fn subtract(&mut self, other: &GroupSum) {
        self.critical = self.critical.saturating_sub(other.critical);
        self.squares = self.squares.saturating_sub(other.squares);
    }
    fn is_zero(&self) -> bool {
        self.critical == 0
    }
}

impl Sum for Sparse {
    fn add(&mut self, other: &Sparse) {
        self.merge(other);
    }
    fn subtract(&mut self, other: &Sparse) {
        self.take_out(other);
    }
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// A sum over the baseline, by eras, and the recent slices.
#[derive(Clone, Debug, Default)]
pub struct Rolling<T> {
    baseline: T,
    eras: VecDeque<(Tick, T)>,
    recent: VecDeque<(Tick, T)>,
}

impl<T: Sum> Rolling<T> {
    /// Adds to a recent slice.
    pub fn add(&mut self, tick: Tick, value: &T) {
        slot(&mut self.recent, tick).add(value);
    }

    /// What is normal.
    pub fn baseline(&self) -> &T {
        &self.baseline
    }

    /// The sum over the recent slices from `from` on.
    pub fn since(&self, from: Tick) -> T {
        let mut sum = T::default();
        for (_, value) in self.recent.iter().rev().take_while(|(tick, _)| *tick >= from) {
            sum.add(value);
        }
        sum
    }

    /// One recent slice.
    pub fn at(&self, tick: Tick) -> Option<&T> {
        let at = self.recent.binary_search_by_key(&tick, |(tick, _)| *tick).ok()?;
        Some(&self.recent[at].1)
    }

    /// Follows its owner's age.
    pub fn follow(&mut self, step: Step, params: &DetectionParams) {
        if step.relearn {
            self.baseline = T::default();
            self.eras.clear();
        }
        while self.recent.front().is_some_and(|&(tick, _)| step.is_past(tick)) {
            let Some((tick, value)) = self.recent.pop_front() else { break };
            if step.absorbs(tick) {
                self.baseline.add(&value);
                slot(&mut self.eras, tick / params.era).add(&value);
            }
        }
        while self.eras.len() > params.eras {
            if let Some((_, value)) = self.eras.pop_front() {
                self.baseline.subtract(&value);
            }
        }
    }

    /// Neither learned nor recent.
    pub fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.baseline.is_zero()
    }
}

/// The value under a tick or era in a list that is sorted by it.
pub fn slot<T: Default>(list: &mut VecDeque<(Tick, T)>, tick: Tick) -> &mut T {
    let at = match list.binary_search_by_key(&tick, |(tick, _)| *tick) {
        Ok(at) => at,
        Err(at) => {
            list.insert(at, (tick, T::default()));
            at
        }
    };
    &mut list[at].1
}

/// How long something has been watched, and which of its slices count as normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// Slices in the baseline since it was last begun, empty ones included.
    learned: u64,
    /// Newest slice that has been looked at for the baseline.
    absorbed_upto: Tick,
    /// Newest slice that belongs to an incident: nothing up to it becomes normal.
    tainted_upto: Tick,
    /// In an open incident: nothing becomes normal, nothing is forgotten.
    frozen: bool,
    relearn: bool,
}

/// What an age says to the figures that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    absorb_upto: Tick,
    tainted_upto: Tick,
    /// Slices before this one are not kept, not even while frozen.
    keep_from: Tick,
    relearn: bool,
}

impl Step {
    /// Newest slice that is to enter the baseline, if it is not tainted.
    pub fn absorbs(self, tick: Tick) -> bool {
        tick <= self.absorb_upto && tick > self.tainted_upto
    }

    /// The slice has left the recent ones.
    pub fn is_past(self, tick: Tick) -> bool {
        tick <= self.absorb_upto || tick < self.keep_from
    }

    /// The baseline begins anew.
    pub fn relearns(self) -> bool {
        self.relearn
    }
}

impl Age {
    /// First met in the slice `tick`.
    pub fn born(tick: Tick) -> Age {
        let before = tick.saturating_sub(1);
        Age { learned: 0, absorbed_upto: before, tainted_upto: 0, frozen: false, relearn: false }
    }

    /// Moves on to the slice `now`. A slice becomes normal once it is older than the longest window,
    /// or, while there is little history, once it is in the older half of it: so that a verdict is
    /// possible after a minute, on a baseline at least as long as what is tested against it.
    pub fn advance(&mut self, now: Tick, params: &DetectionParams) -> Step {
        let [.., longest] = params.windows;
        if !self.frozen {
            loop {
                let young = now - self.absorbed_upto.min(now);
                if young <= ((self.learned + young) / 2).clamp(1, longest) {
                    break;
                }
                self.absorbed_upto += 1;
                self.learned += u64::from(self.absorbed_upto > self.tainted_upto);
            }
        }
        Step {
            absorb_upto: self.absorbed_upto,
            tainted_upto: self.tainted_upto,
            keep_from: now.saturating_sub(params.cohort),
            relearn: std::mem::take(&mut self.relearn),
        }
    }

    /// Whether a window of this many slices can be tested against the baseline.
    pub fn can_test(&self, now: Tick, window: u64, params: &DetectionParams) -> bool {
        let young = now - self.absorbed_upto.min(now);
        young >= window && self.learned >= params.min_baseline.max(2 * window)
    }

    /// Slices in the baseline.
    pub fn learned(&self) -> u64 {
        self.learned
    }

    /// Enough has been learned to publish what is normal.
    pub fn has_learned(&self, params: &DetectionParams) -> bool {
        self.learned >= params.min_baseline
    }

    /// An incident opened.
    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// It closed; it was last felt in the slice `last_hot`.
    pub fn thaw(&mut self, last_hot: Tick) {
        self.frozen = false;
        self.tainted_upto = self.tainted_upto.max(last_hot);
    }

    /// It lasted so long that it is the new normal: what is known is forgotten, what is recent is
    /// learned.
    pub fn adopt(&mut self) {
        self.frozen = false;
        self.tainted_upto = 0;
        self.learned = 0;
        self.relearn = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> DetectionParams {
        DetectionParams::default()
    }

    fn one() -> EntrySum {
        EntrySum { requests: 1, duration: 10 }
    }

    /// One value in every slice up to `last`.
    fn fed(age: &mut Age, last: Tick) -> Rolling<EntrySum> {
        let mut rolling = Rolling::default();
        for tick in 1..=last {
            rolling.add(tick, &one());
            rolling.follow(age.advance(tick, &params()), &params());
        }
        rolling
    }

    #[test]
    fn a_minute_of_history_is_half_baseline_and_can_be_tested() {
        let mut age = Age::born(1);
        let rolling = fed(&mut age, 12);
        assert_eq!(rolling.baseline().requests, 6);
        assert!(age.can_test(12, 3, &params()) && !age.can_test(12, 12, &params()));
    }

    #[test]
    fn in_the_long_run_the_longest_window_stays_out_of_the_baseline() {
        let mut age = Age::born(1);
        let rolling = fed(&mut age, 100);
        assert_eq!(rolling.baseline().requests, 100 - 18);
        assert_eq!(rolling.since(100 - 17).requests, 18);
        assert!(params().windows.iter().all(|&window| age.can_test(100, window, &params())));
    }

    #[test]
    fn old_eras_leave_exactly() {
        let mut age = Age::born(1);
        let rolling = fed(&mut age, 1000);
        // 982 slices are absorbed: eras 11 (660..) to 16 (..982) remain.
        assert_eq!(rolling.baseline().requests, 982 - 660 + 1);
        assert_eq!(rolling.baseline().duration, 10 * rolling.baseline().requests);
    }

    #[test]
    fn an_incident_enters_the_baseline_neither_while_it_lasts_nor_later() {
        let mut age = Age::born(1);
        let mut rolling = fed(&mut age, 100);
        age.freeze();
        for tick in 101..=200 {
            rolling.add(tick, &EntrySum { requests: 1, duration: 1_000 });
            rolling.follow(age.advance(tick, &params()), &params());
        }
        assert_eq!(rolling.baseline().requests, 82);
        age.thaw(200);
        for tick in 201..=300 {
            rolling.add(tick, &one());
            rolling.follow(age.advance(tick, &params()), &params());
        }
        assert_eq!(rolling.baseline().duration, 10 * rolling.baseline().requests);
        assert_eq!(rolling.baseline().requests, 82 + 82);
    }

    #[test]
    fn what_is_adopted_is_learned_from_what_is_recent() {
        let mut age = Age::born(1);
        let mut rolling = fed(&mut age, 100);
        age.freeze();
        for tick in 101..=200 {
            rolling.add(tick, &EntrySum { requests: 1, duration: 1_000 });
            rolling.follow(age.advance(tick, &params()), &params());
        }
        age.adopt();
        rolling.follow(age.advance(201, &params()), &params());
        let EntrySum { requests, duration } = *rolling.baseline();
        assert!(requests >= 30 && duration == 1_000 * requests);
    }
}
