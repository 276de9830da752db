//! A figure over time: what is normal (the baseline), and the slices too young to belong to it.
//!
//! The baseline is a sum of eras. Slices enter it when they are old enough, whole eras leave it, both
//! exactly, because everything is an integer. [`Age`](super::age::Age) decides when a slice is old enough; whoever
//! owns figures that must agree with each other gives them one `Age`. The era that is being filled is
//! not kept beside the baseline: it is what the baseline holds beyond the older ones.

use super::age::Step;
use super::aggregate::{EntrySum, GroupSum, PathSum};
use super::histogram::{BUCKETS, Bucket, Sparse};
use super::params::DetectionParams;
use super::tape::{Packed, Tape, Unpacker, put, put_wide};

/// Number of a judged slice: counts up by one, whatever gaps there are in event time.
pub type Tick = u64;

/// More than any slice or era counts, and little enough that the sum of them fits.
pub(super) const MAX_COUNT: u64 = 1 << 40;

/// Which slices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cohort {
    /// First.
    pub from: Tick,
    /// Only this one, or all that follow.
    pub only: bool,
}

impl Cohort {
    /// All slices from `from` on.
    pub(super) fn since(from: Tick) -> Cohort {
        Cohort { from, only: false }
    }

    /// The newest `slices` slices up to `now`.
    pub(super) fn newest(slices: u64, now: Tick) -> Cohort {
        Cohort::since((now + 1).saturating_sub(slices))
    }

    /// Without the slices before `first`.
    pub(super) fn not_before(self, first: Tick) -> Cohort {
        Cohort { from: self.from.max(first), ..self }
    }

    /// One slice.
    pub(super) fn at(tick: Tick) -> Cohort {
        Cohort { from: tick, only: true }
    }

    /// Whether a slice is one of them.
    pub(super) fn contains(self, tick: Tick) -> bool {
        tick == self.from || (tick > self.from && !self.only)
    }
}

/// Something that is added up over slices and can be taken out again.
pub trait Sum: Default {
    /// Adds.
    fn add(&mut self, other: &Self);
    /// Takes out what was added before.
    fn subtract(&mut self, other: &Self);
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
}

/// The (bucket, count) pairs of a packed histogram, without building it.
pub(super) fn buckets(from: &mut Unpacker<'_>) -> impl ExactSizeIterator<Item = (Bucket, u32)> {
    let length = usize::try_from(from.int()).unwrap_or(0).min(BUCKETS);
    (0..length).map(|_| (from.byte(), u32::try_from(from.int()).unwrap_or(u32::MAX)))
}

impl Packed for EntrySum {
    fn write(&self, out: &mut Vec<u8>) {
        put(out, self.requests);
        put(out, self.duration);
    }
    fn read(from: &mut Unpacker<'_>) -> EntrySum {
        EntrySum { requests: from.int(), duration: from.int() }
    }
    fn is_sound(&self) -> bool {
        self.requests <= MAX_COUNT
    }
}

impl Packed for PathSum {
    fn write(&self, out: &mut Vec<u8>) {
        put(out, self.calls);
        put(out, self.critical);
    }
    fn read(from: &mut Unpacker<'_>) -> PathSum {
        PathSum { calls: from.int(), critical: from.int() }
    }
    fn is_sound(&self) -> bool {
        self.calls <= MAX_COUNT
    }
}

impl Packed for GroupSum {
    fn write(&self, out: &mut Vec<u8>) {
        put(out, self.critical);
        put_wide(out, self.squares);
    }
    fn read(from: &mut Unpacker<'_>) -> GroupSum {
        GroupSum { critical: from.int(), squares: from.wide() }
    }
}

impl Packed for Sparse {
    fn write(&self, out: &mut Vec<u8>) {
        put(out, self.len() as u64);
        for (bucket, count) in self.iter() {
            out.push(bucket);
            put(out, u64::from(count));
        }
    }
    fn read(from: &mut Unpacker<'_>) -> Sparse {
        Sparse::from_packed(buckets(from).collect())
    }
    fn heap_bytes(&self) -> usize {
        self.capacity_bytes()
    }
    fn is_sound(&self) -> bool {
        self.is_in_order()
    }
}

/// A sum over the baseline, by eras, and the recent slices.
pub(super) struct Rolling<T> {
    baseline: T,
    /// The era that is being filled, if the baseline holds anything.
    era: Option<u32>,
    /// The eras before it.
    eras: Tape<T>,
    recent: Tape<T>,
}

impl<T: Default> Default for Rolling<T> {
    fn default() -> Rolling<T> {
        Rolling {
            baseline: T::default(),
            era: None,
            eras: Tape::default(),
            recent: Tape::default(),
        }
    }
}

impl<T: Packed> Rolling<T> {
    /// Adds to a recent slice.
    pub(super) fn add(&mut self, tick: Tick, value: &T) {
        self.recent.add(tick, value);
    }

    /// What is normal.
    pub(super) fn baseline(&self) -> &T {
        &self.baseline
    }

    /// The slices too young to be normal.
    pub(super) fn recent(&self) -> &Tape<T> {
        &self.recent
    }

    /// The first slice of the oldest era in the baseline.
    pub(super) fn begins(&self, params: &DetectionParams) -> Option<Tick> {
        let era = self.eras.first().or(self.era.map(Tick::from))?;
        Some(era * params.era)
    }

    /// Nothing is recent.
    pub(super) fn is_idle(&self) -> bool {
        self.recent.is_empty()
    }

    /// The sum over the recent slices from `from` on.
    pub(super) fn since(&self, from: Tick) -> T {
        let mut sum = T::default();
        self.recent.since(from).for_each(|(_, value)| sum.add(&value));
        sum
    }

    /// Sums over several choices of recent slices, in one walk.
    pub(super) fn sums<const N: usize>(&self, cohorts: &[Cohort; N]) -> [T; N] {
        let mut sums = std::array::from_fn(|_| T::default());
        let oldest = cohorts.iter().map(|cohort| cohort.from).min().unwrap_or_default();
        for (tick, value) in self.recent.since(oldest) {
            for (sum, cohort) in sums.iter_mut().zip(cohorts) {
                if cohort.contains(tick) {
                    sum.add(&value);
                }
            }
        }
        sums
    }

    /// The sum over one choice of recent slices.
    pub(super) fn sum(&self, cohort: Cohort) -> T {
        let [sum] = self.sums(&[cohort]);
        sum
    }

    /// What the baseline is made of, by era, the oldest first.
    pub(super) fn eras(&self) -> Vec<(Tick, T)> {
        let mut rest = T::default();
        rest.add(&self.baseline);
        let mut eras: Vec<(Tick, T)> = self.eras.since(0).collect();
        for (_, value) in &eras {
            rest.subtract(value);
        }
        eras.extend(self.era.map(|era| (Tick::from(era), rest)));
        eras
    }

    /// Follows its owner's age. `gone` is told what is neither normal nor recent any more.
    pub(super) fn follow(
        &mut self,
        step: Step,
        params: &DetectionParams,
        mut gone: impl FnMut(&T),
    ) {
        if step.relearns() {
            gone(&std::mem::take(&mut self.baseline));
            self.era = None;
            self.eras.clear();
        }
        if self.recent.first().is_none_or(|first| !step.is_past(first)) {
            return;
        }
        let Rolling { baseline, era, eras, recent } = self;
        recent.take_while(
            |tick| step.is_past(tick),
            |tick, mut body| {
                let value = T::read(&mut body);
                if step.absorbs(tick) {
                    absorb(baseline, era, eras, tick / params.era, &value);
                } else {
                    gone(&value);
                }
            },
        );
        let too_many = (eras.len() + usize::from(era.is_some())).saturating_sub(params.eras);
        for _ in 0..too_many {
            let Some(oldest) = eras.first() else { break };
            eras.take_while(
                |era| era == oldest,
                |_, mut body| {
                    let value = T::read(&mut body);
                    baseline.subtract(&value);
                    gone(&value);
                },
            );
        }
    }

    /// The newest slice anything is known of, or the end of the era it went into.
    pub(super) fn touched(&self, era_slices: Tick) -> Option<Tick> {
        let absorbed = self.era.map(|era| (Tick::from(era) + 1) * era_slices);
        self.recent.last().max(absorbed)
    }

    /// What is normal, by era, the one being filled included.
    pub(super) fn all_eras(&self) -> Tape<T> {
        let mut all = self.eras.copy();
        if let Some(filling) = self.era {
            let mut rest = T::default();
            rest.add(&self.baseline);
            self.eras.since(0).for_each(|(_, older)| rest.subtract(&older));
            all.add(Tick::from(filling), &rest);
        }
        all
    }

    /// From what is normal, by era, the last being filled, and what is recent, by slice.
    pub(super) fn restore(eras: Vec<(Tick, T)>, recent: Vec<(Tick, T)>) -> Rolling<T> {
        let mut figure = Rolling::<T>::default();
        for (era, value) in &eras {
            figure.baseline.add(value);
            figure.era = u32::try_from(*era).ok();
        }
        for (era, value) in eras.iter().rev().skip(1).rev() {
            figure.eras.add(*era, value);
        }
        for (tick, value) in &recent {
            figure.recent.add(*tick, value);
        }
        figure
    }

    /// Bytes held outside of the value itself.
    pub(super) fn heap_bytes(&self) -> usize {
        self.baseline.heap_bytes() + self.eras.heap_bytes() + self.recent.heap_bytes()
    }
}

/// Adds a slice of `era` to the baseline.
fn absorb<T: Packed>(
    baseline: &mut T,
    filling: &mut Option<u32>,
    eras: &mut Tape<T>,
    era: Tick,
    value: &T,
) {
    match *filling {
        Some(filling) if era < Tick::from(filling) => eras.add(era, value),
        Some(before) if era > Tick::from(before) => {
            let mut full = T::default();
            full.add(baseline);
            eras.since(0).for_each(|(_, older)| full.subtract(&older));
            eras.add(Tick::from(before), &full);
            *filling = u32::try_from(era).ok();
        }
        Some(_) => {}
        None => *filling = u32::try_from(era).ok(),
    }
    baseline.add(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::age::Age;
    use super::*;

    fn params() -> DetectionParams {
        DetectionParams::default()
    }

    fn one() -> EntrySum {
        EntrySum { requests: 1, duration: 10 }
    }

    fn follow(rolling: &mut Rolling<EntrySum>, age: &mut Age, tick: Tick) {
        age.advance(tick, &params());
        rolling.follow(age.step(tick, &params()), &params(), |_| {});
        age.has_relearned();
    }

    /// One value in every slice up to `last`.
    fn fed(age: &mut Age, last: Tick) -> Rolling<EntrySum> {
        let mut rolling = Rolling::default();
        for tick in 1..=last {
            rolling.add(tick, &one());
            follow(&mut rolling, age, tick);
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
        let rolling = fed(&mut age, 200);
        assert_eq!(rolling.baseline().requests, 200 - 36);
        assert_eq!(rolling.since(200 - 35).requests, 36);
        assert!(params().windows.iter().all(|&window| age.can_test(200, window, &params())));
    }

    #[test]
    fn old_eras_leave_exactly() {
        let mut age = Age::born(1);
        let rolling = fed(&mut age, 1000);
        // 964 slices are absorbed: eras 11 (660..) to 16 (..964) remain.
        assert_eq!(rolling.baseline().requests, 964 - 660 + 1);
        assert_eq!(rolling.baseline().duration, 10 * rolling.baseline().requests);
    }

    #[test]
    fn an_incident_enters_the_baseline_neither_while_it_lasts_nor_later() {
        let mut age = Age::born(1);
        let mut rolling = fed(&mut age, 100);
        age.freeze(100, &params());
        for tick in 101..=200 {
            rolling.add(tick, &EntrySum { requests: 1, duration: 1_000 });
            follow(&mut rolling, &mut age, tick);
        }
        assert_eq!(rolling.baseline().requests, 72);
        age.thaw(200);
        for tick in 201..=300 {
            rolling.add(tick, &one());
            follow(&mut rolling, &mut age, tick);
        }
        assert_eq!(rolling.baseline().duration, 10 * rolling.baseline().requests);
        assert_eq!(rolling.baseline().requests, 72 + 100 - 36);
    }

    #[test]
    fn what_is_adopted_is_learned_from_what_is_recent() {
        let mut age = Age::born(1);
        let mut rolling = fed(&mut age, 100);
        age.freeze(100, &params());
        for tick in 101..=200 {
            rolling.add(tick, &EntrySum { requests: 1, duration: 1_000 });
            follow(&mut rolling, &mut age, tick);
        }
        age.adopt();
        follow(&mut rolling, &mut age, 201);
        let EntrySum { requests, duration } = *rolling.baseline();
        // Of what is kept of an incident (from 140 on) what is not too young (up to 165).
        assert_eq!((requests, duration), (26, 1_000 * 26));
    }

    /// The same figure with all eras kept side by side.
    #[derive(Default)]
    struct Plain {
        eras: std::collections::BTreeMap<Tick, u64>,
        recent: std::collections::BTreeMap<Tick, u64>,
    }

    impl Plain {
        fn follow(&mut self, step: Step) {
            if step.relearns() {
                self.eras.clear();
            }
            self.recent.retain(|&tick, requests| {
                if step.is_past(tick) && step.absorbs(tick) {
                    *self.eras.entry(tick / params().era).or_default() += *requests;
                }
                !step.is_past(tick)
            });
            while self.eras.len() > params().eras {
                self.eras.pop_first();
            }
        }
    }

    proptest! {
        /// Late slices, gaps, incidents and adoptions included.
        #[test]
        fn a_baseline_is_the_sum_of_its_eras(steps in prop::collection::vec((1u64..50, 0u64..70, 0u8..20), 1..400)) {
            let (mut age, mut now) = (Age::born(1), 0);
            let (mut rolling, mut plain) = (Rolling::default(), Plain::default());
            let mut held = 0;
            for (ahead, late, what) in steps {
                now += if ahead > 40 { ahead } else { 1 };
                let tick = if late < 60 { now } else { now.saturating_sub(late).max(1) };
                rolling.add(tick, &EntrySum { requests: ahead, duration: 10 * ahead });
                *plain.recent.entry(tick).or_default() += ahead;
                held += ahead;
                age.advance(now, &params());
                let step = age.step(now, &params());
                rolling.follow(step, &params(), |gone: &EntrySum| held -= gone.requests);
                age.has_relearned();
                plain.follow(step);
                match what {
                    0 => age.freeze(now, &params()),
                    1 => age.thaw(now - 1),
                    2 => age.adopt(),
                    _ => {}
                }
                let requests = plain.eras.values().sum::<u64>();
                prop_assert_eq!(*rolling.baseline(), EntrySum { requests, duration: 10 * requests });
                let recent = plain.recent.values().sum::<u64>();
                prop_assert_eq!(rolling.since(0).requests, recent);
                prop_assert_eq!(held, requests + recent);
            }
        }
    }
}
