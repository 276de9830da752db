//! How far the analysis has come: everything handed over before the mark has been analyzed, or dropped and counted.
//!
//! For receivers that must not forget a message before that, such as one that commits offsets. It is not about what was
//! learned, which is saved at its own pace: it is about spans.
//!
//! Each shard has a lane, first in, first out. A parcel is dated before it is put into the lane, so whatever was
//! there completely before that date has come out before it; and when the lane is found empty, everything has that was there
//! when it was looked at. That, and no later than the oldest open trace, is how far a shard is. It errs to the early side.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Timestamp;

/// How far each shard is, for everybody to read.
#[derive(Debug)]
pub struct Marks(Vec<AtomicU64>);

impl Marks {
    /// For so many shards, none of which has begun.
    pub fn new(shards: usize) -> Marks {
        Marks(std::iter::repeat_with(AtomicU64::default).take(shards).collect())
    }

    /// Everything that was handed over before this is done with: the call that did so had returned.
    pub fn analyzed_before(&self) -> Timestamp {
        Timestamp(self.0.iter().map(|mark| mark.load(Ordering::Acquire)).min().unwrap_or_default())
    }

    /// Publishes how far a shard is. It has entered in the books what it says is done.
    pub fn publish(&self, shard: usize, mark: Timestamp) {
        self.0[shard].fetch_max(mark.0, Ordering::Release);
    }

    /// A shard has ended in order: it is done with everything there will ever be.
    pub fn end(&self, shard: usize) {
        self.publish(shard, Timestamp(u64::MAX));
    }
}

/// What has come out of a shard's lane.
#[derive(Debug, Default)]
pub struct Reached(Timestamp);

impl Reached {
    /// A parcel of this date has been taken in.
    pub fn parcel(&mut self, arrived: Timestamp) {
        self.0 = self.0.max(arrived);
    }

    /// The lane was empty, at this time or later.
    pub fn empty(&mut self, at: Timestamp) {
        self.0 = self.0.max(at);
    }

    /// How far the shard is, where the oldest open trace may have begun at `oldest`.
    pub fn mark(&self, oldest: Option<Timestamp>) -> Timestamp {
        oldest.map_or(self.0, |oldest| oldest.min(self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_slowest_shard_says_how_far_all_are() {
        let marks = Marks::new(2);
        assert_eq!(marks.analyzed_before(), Timestamp(0));
        marks.publish(0, Timestamp(7));
        assert_eq!(marks.analyzed_before(), Timestamp(0));
        marks.publish(1, Timestamp(5));
        assert_eq!(marks.analyzed_before(), Timestamp(5));
        marks.publish(1, Timestamp(4));
        assert_eq!(marks.analyzed_before(), Timestamp(5), "it never goes back");
        marks.end(1);
        assert_eq!(marks.analyzed_before(), Timestamp(7));
    }

    #[test]
    fn an_open_trace_holds_the_mark_back() {
        let mut reached = Reached::default();
        reached.parcel(Timestamp(9));
        assert_eq!(reached.mark(None), Timestamp(9));
        assert_eq!(reached.mark(Some(Timestamp(3))), Timestamp(3));
        reached.empty(Timestamp(12));
        assert_eq!(reached.mark(Some(Timestamp(30))), Timestamp(12));
    }

    /// What two senders and a shard do, one step each at a time.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A sender dates its next parcel, then puts it into the lane, then notes when that was done.
        Sender(usize),
        /// The shard takes a parcel in, or finds none.
        Shard,
        Pause,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step =
            prop_oneof![(0..2_usize).prop_map(Step::Sender), Just(Step::Shard), Just(Step::Pause),];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn what_was_handed_over_before_the_mark_has_come_out_of_the_lane(steps in steps()) {
            let (mut now, mut lane, mut reached) = (1, VecDeque::new(), Reached::default());
            let mut dated: [Option<u64>; 2] = [None; 2];
            let mut put: [Option<usize>; 2] = [None; 2];
            // By parcel: when it was known to be handed over, and whether it has come out.
            let (mut handed_over, mut out) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Sender(which) => match (dated[which], put[which]) {
                        (None, _) => dated[which] = Some(now),
                        (Some(date), None) => {
                            put[which] = Some(out.len());
                            lane.push_back((out.len(), date));
                            handed_over.push(None);
                            out.push(false);
                        }
                        (Some(_), Some(parcel)) => {
                            handed_over[parcel] = Some(now);
                            (dated[which], put[which]) = (None, None);
                        }
                    },
                    Step::Shard => match lane.pop_front() {
                        Some((parcel, date)) => {
                            out[parcel] = true;
                            reached.parcel(Timestamp(date));
                        }
                        None => reached.empty(Timestamp(now)),
                    },
                    Step::Pause => now += 1,
                }
                let mark = reached.mark(None);
                for (handed_over, out) in handed_over.iter().zip(&out) {
                    let before = handed_over.is_some_and(|at| Timestamp(at) < mark);
                    prop_assert!(!before || *out);
                }
            }
        }
    }
}
