//! How long something has been watched, and which of its slices count as normal.
//!
//! A slice becomes normal when it is old enough, unless it belongs to an incident. An age is told of
//! incidents and of nothing else; it knows no figures. Whoever owns figures that must agree with each other
//! gives them one age.

use super::params::DetectionParams;
use super::rolling::Tick;

/// How long something has been watched, and which of its slices count as normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Age {
    /// Slices in the baseline since it was last begun, empty ones included.
    pub(super) learned: u64,
    /// Newest slice that has been looked at for the baseline.
    pub(super) absorbed_upto: Tick,
    /// Newest slice that belongs to an incident: nothing up to it becomes normal.
    pub(super) tainted_upto: Tick,
    /// In an open incident: nothing becomes normal, nothing is forgotten.
    pub(super) frozen: bool,
    pub(super) relearn: bool,
}

/// What an age says to the figures that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    absorb_upto: Tick,
    tainted_upto: Tick,
    /// Slices before this one are not kept, not even while frozen.
    keep_from: Tick,
    relearn: bool,
}

impl Step {
    /// Newest slice that is to enter the baseline, if it is not tainted.
    pub(super) fn absorbs(self, tick: Tick) -> bool {
        tick <= self.absorb_upto && tick > self.tainted_upto
    }

    /// The slice has left the recent ones.
    pub(super) fn is_past(self, tick: Tick) -> bool {
        tick <= self.absorb_upto || tick < self.keep_from
    }
}

impl Step {
    /// The baseline begins anew.
    pub(super) fn relearns(self) -> bool {
        self.relearn
    }
}

impl Age {
    /// First met in the slice `tick`.
    pub(super) fn born(tick: Tick) -> Age {
        let before = tick.saturating_sub(1);
        Age { learned: 0, absorbed_upto: before, tainted_upto: 0, frozen: false, relearn: false }
    }

    /// Moves on to the slice `now`. A slice becomes normal once it is older than the longest window, or,
    /// while there is little history, earlier. It does not matter whether every slice was moved to or
    /// some were skipped, because the more a slice has aged, the more may be absorbed.
    pub(super) fn advance(&mut self, now: Tick, params: &DetectionParams) {
        let [.., longest] = params.windows;
        while !self.frozen {
            let young = now - self.absorbed_upto.min(now);
            if young <= Age::kept_out(self.learned + young, params) {
                break;
            }
            // In the long run: all at once, for what has been idle for days.
            let settled = self.learned >= 2 * longest && self.absorbed_upto >= self.tainted_upto;
            let slices = if settled { young - longest } else { 1 };
            self.absorbed_upto += slices;
            let learns = self.absorbed_upto > self.tainted_upto;
            self.learned += if learns { slices } else { 0 };
        }
    }

    /// How many slices of a history of so many are too young to be normal. At first half, so that a verdict
    /// is possible after a minute, on a baseline at least as long as what is tested against it; then the
    /// second longest window, until there is a baseline long enough to test the longest against.
    fn kept_out(history: u64, params: &DetectionParams) -> u64 {
        let [.., shorter, longest] = params.windows;
        let until_then = history.saturating_sub(2 * longest).min(longest);
        (history / 2).min(shorter).max(until_then).max(1)
    }

    /// What the age says at `now` to the figures that follow it.
    pub(super) fn step(&self, now: Tick, params: &DetectionParams) -> Step {
        Step {
            absorb_upto: self.absorbed_upto,
            tainted_upto: self.tainted_upto,
            keep_from: now.saturating_sub(params.cohort),
            relearn: self.relearn,
        }
    }

    /// The figures that follow it are to begin anew.
    pub(super) fn relearns(&self) -> bool {
        self.relearn
    }

    /// The figures that follow it have begun anew.
    pub(super) fn has_relearned(&mut self) {
        self.relearn = false;
    }

    /// Whether a window of this many slices can be tested against the baseline.
    pub(super) fn can_test(&self, now: Tick, window: u64, params: &DetectionParams) -> bool {
        let young = now - self.absorbed_upto.min(now);
        young >= window && self.learned >= params.min_baseline.max(2 * window)
    }

    /// Slices in a baseline whose oldest era begins with the slice `from`.
    pub(super) fn learned_since(&self, from: Tick) -> u64 {
        self.learned.min((self.absorbed_upto + 1).saturating_sub(from))
    }

    /// Slices in the baseline.
    pub(super) fn learned(&self) -> u64 {
        self.learned
    }

    /// Enough has been learned at `now` to publish what is normal.
    pub(super) fn has_learned(mut self, now: Tick, params: &DetectionParams) -> bool {
        self.advance(now, params);
        self.learned >= params.min_baseline
    }

    /// It belongs to an open incident.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// An incident opened, or goes on, at `now`.
    pub(super) fn freeze(&mut self, now: Tick, params: &DetectionParams) {
        self.advance(now, params);
        self.frozen = true;
    }

    /// An incident that froze it closed; it was last felt in the slice `last_hot`.
    pub(super) fn thaw(&mut self, last_hot: Tick) {
        self.frozen = false;
        self.tainted_upto = self.tainted_upto.max(last_hot);
    }

    /// It lasted so long that it is the new normal: what is known is forgotten, what is recent is
    /// learned.
    pub(super) fn adopt(&mut self) {
        self.frozen = false;
        self.tainted_upto = 0;
        self.learned = 0;
        self.relearn = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn params() -> DetectionParams {
        DetectionParams::default()
    }

    #[test]
    fn half_of_a_young_history_is_normal_and_in_the_long_run_all_but_the_longest_window() {
        let kept_out = |history| Age::kept_out(history, &params());
        assert_eq!([1, 12, 36, 90, 99, 108, 9_999].map(kept_out), [1, 6, 18, 18, 27, 36, 36]);
    }

    proptest! {
        #[test]
        fn an_age_asked_seldom_is_that_asked_always(steps in prop::collection::vec((1u64..80, 0u8..12), 1..100)) {
            let (mut seldom, mut always, mut now) = (Age::born(1), Age::born(1), 1);
            let both = |change: &dyn Fn(&mut Age), ages: [&mut Age; 2]| ages.into_iter().for_each(change);
            for (ahead, what) in steps {
                for _ in 0..ahead {
                    now += 1;
                    always.advance(now, &params());
                }
                let frozen = always.frozen;
                match what {
                    0..=2 => both(&|age| age.freeze(now, &params()), [&mut seldom, &mut always]),
                    3..=5 if frozen => both(&|age| age.thaw(now - 1), [&mut seldom, &mut always]),
                    6 if frozen => both(&Age::adopt, [&mut seldom, &mut always]),
                    _ => {}
                }
                let mut asked = seldom;
                asked.advance(now, &params());
                let mut same = always;
                same.advance(now, &params());
                prop_assert_eq!(asked, same);
            }
        }
    }
}
