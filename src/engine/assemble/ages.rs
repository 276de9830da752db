//! How many traces are open by the time of their first span: how far everything that came has been seen to.
//!
//! Whoever may forget what it handed over only once it was analyzed (a receiver that commits offsets) asks for the oldest.
//! An era is a stretch of arrival time, and all that is kept of it is a count, so a trace costs two additions.
//! The answer errs to the early side only: it is the beginning of an era, never later than what is open.

use crate::model::{Nanos, Timestamp};

/// Eras told apart. Twice what a trace may be open for, so that those that close with a delay fit, too.
const ERAS: usize = 256;

/// Shorter eras would only make more of them: offsets are committed every few seconds.
const SHORTEST: Nanos = Nanos::from_secs(1);

/// Counts of open traces by era.
pub(super) struct Ages {
    /// How long an era is.
    length: Nanos,
    /// The era that the ring begins with.
    base: u64,
    ring: [u32; ERAS],
    /// Open traces that came before the ring begins, and the oldest era of them since there were none. Only a
    /// clock that jumped leaves any behind.
    older: u32,
    oldest: u64,
    open: u32,
}

impl Ages {
    /// For traces that are mostly closed within `max_age`.
    pub(super) fn new(max_age: Nanos) -> Ages {
        let length = SHORTEST.max(Nanos(max_age.0 / (ERAS as u64 / 2)));
        Ages { length, base: 0, ring: [0; ERAS], older: 0, oldest: 0, open: 0 }
    }

    /// A trace is opened.
    #[inline]
    pub(super) fn open(&mut self, first_arrival: Timestamp) {
        let era = self.era(first_arrival);
        if self.open == 0 {
            self.base = era;
        }
        self.open += 1;
        if era < self.base {
            self.fold(era, 1);
            return;
        }
        if era - self.base >= ERAS as u64 {
            self.begin_at(era - (ERAS as u64 - 1));
        }
        self.ring[place(era)] += 1;
    }

    /// A trace that was opened then is closed.
    #[inline]
    pub(super) fn close(&mut self, first_arrival: Timestamp) {
        let era = self.era(first_arrival);
        let count = if era < self.base { &mut self.older } else { &mut self.ring[place(era)] };
        debug_assert!(*count > 0, "what closes was opened");
        *count = count.saturating_sub(1);
        self.open = self.open.saturating_sub(1);
    }

    /// No open trace has a span that came before this; `None` if no trace is open.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        if self.open == 0 {
            return None;
        }
        let in_ring = || (self.base..).take(ERAS).find(|era| self.ring[place(*era)] > 0);
        let era = if self.older > 0 { Some(self.oldest) } else { in_ring() };
        era.map(|era| Timestamp(era.saturating_mul(self.length.0)))
    }

    /// Has the ring begin at a later era.
    fn begin_at(&mut self, base: u64) {
        for era in (self.base..base).take(ERAS) {
            let count = std::mem::take(&mut self.ring[place(era)]);
            if count > 0 {
                self.fold(era, count);
            }
        }
        self.base = base;
    }

    fn fold(&mut self, era: u64, count: u32) {
        self.oldest = if self.older == 0 { era } else { self.oldest.min(era) };
        self.older += count;
    }

    fn era(&self, at: Timestamp) -> u64 {
        at.0 / self.length.0
    }
}

fn place(era: u64) -> usize {
    usize::try_from(era % ERAS as u64).expect("less than the number of places")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::{Assembler, ClosedTrace};
    use super::*;
    use crate::engine::params::AssemblyParams;
    use crate::model::{AttrSetId, KeyId, Span, SpanId, SpanRecord, TraceId};

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    fn ages() -> Ages {
        Ages::new(Nanos::from_secs(120))
    }

    #[test]
    fn the_oldest_open_trace_says_how_far_it_is() {
        let mut ages = ages();
        assert_eq!(ages.oldest(), None);
        ages.open(at(10));
        ages.open(at(12));
        ages.open(at(12));
        assert_eq!(ages.oldest(), Some(at(10)));
        ages.close(at(10));
        assert_eq!(ages.oldest(), Some(at(12)));
        ages.close(at(12));
        assert_eq!(ages.oldest(), Some(at(12)), "one of two is still open");
        ages.close(at(12));
        assert_eq!(ages.oldest(), None);
    }

    #[test]
    fn within_an_era_it_errs_to_the_early_side() {
        let mut ages = ages();
        ages.open(Timestamp(at(10).0 + 999_999_999));
        assert_eq!(ages.oldest(), Some(at(10)));
    }

    #[test]
    fn a_clock_that_jumps_ahead_leaves_the_old_ones_known() {
        let mut ages = ages();
        ages.open(at(10));
        ages.open(at(20));
        ages.open(at(1_000_000));
        assert_eq!(ages.oldest(), Some(at(10)));
        ages.close(at(10));
        assert_eq!(ages.oldest(), Some(at(10)), "the oldest of those that were left behind");
        ages.close(at(20));
        assert_eq!(ages.oldest(), Some(at(1_000_000)));
    }

    #[test]
    fn eras_are_as_long_as_old_traces_need_them() {
        let day = Nanos::from_secs(86_400);
        let mut ages = Ages::new(day);
        ages.open(at(86_400));
        ages.open(at(2 * 86_400 - 1));
        ages.close(at(86_400));
        // 86 400 s / 128 = 675 s: the last era of the second day.
        assert_eq!(ages.oldest(), Some(at(2 * 86_400 - 675)));
        assert_eq!(ages.older, 0);
    }

    proptest! {
        #[test]
        fn it_is_never_later_than_the_oldest_that_is_open(
            steps in proptest::collection::vec((any::<bool>(), 0..700_u64, any::<usize>()), 1..300),
        ) {
            let mut ages = ages();
            let mut open: Vec<u64> = Vec::new();
            for (opens, second, which) in steps {
                if opens || open.is_empty() {
                    ages.open(at(second));
                    open.push(second);
                } else {
                    ages.close(at(open.swap_remove(which % open.len())));
                }
                let oldest = open.iter().min().copied();
                prop_assert_eq!(ages.oldest().is_some(), oldest.is_some());
                prop_assert!(ages.oldest() <= oldest.map(at));
            }
            for second in open {
                ages.close(at(second));
            }
            prop_assert_eq!(ages.oldest(), None);
        }

        #[test]
        fn while_time_goes_on_it_is_the_era_of_the_oldest(
            steps in proptest::collection::vec((0..3_u64, 0..100_u64), 1..300),
        ) {
            let mut ages = ages();
            let (mut now, mut open) = (1_000, Vec::new());
            for (pause, life) in steps {
                now += pause;
                open.retain(|(first, end)| {
                    if *end <= now {
                        ages.close(at(*first));
                    }
                    *end > now
                });
                ages.open(at(now));
                open.push((now, now + life));
                prop_assert_eq!(ages.oldest(), open.iter().map(|(first, _)| at(*first)).min());
            }
        }
    }

    fn record(trace: u128, id: u64, is_root: bool) -> SpanRecord {
        let span = Span {
            id: SpanId::new(id).unwrap(),
            parent: if is_root { None } else { SpanId::new(id + 1) },
            start: Timestamp(1),
            end: Timestamp(2),
            key: KeyId(0),
            peer: None,
            attrs: AttrSetId::EMPTY,
            failed: false,
        };
        SpanRecord { trace: TraceId::new(trace).unwrap(), span }
    }

    /// Spans that were taken and not given out yet, by when they came.
    type Pending = HashMap<SpanId, Timestamp>;

    fn give_out(closed: &ClosedTrace<'_>, pending: &mut Pending) {
        for span in closed.spans {
            pending.remove(&span.id);
        }
    }

    fn is_not_passed(assembler: &Assembler, pending: &Pending) -> Result<(), TestCaseError> {
        let first = pending.values().min().copied();
        prop_assert_eq!(assembler.oldest().is_some(), first.is_some());
        prop_assert!(assembler.oldest() <= first, "{:?} {first:?}", assembler.oldest());
        Ok(())
    }

    proptest! {
        #[test]
        fn no_span_that_came_before_is_still_waiting(
            arrivals in proptest::collection::vec((1..12_u128, any::<bool>(), 0..9_u64, 0..8_u8), 1..400),
        ) {
            let mut assembler = Assembler::new(AssemblyParams {
                max_traces: 6,
                max_spans_per_trace: 5,
                max_spans: 20,
                ..AssemblyParams::default()
            });
            let (mut now, mut pending) = (at(1_000), Pending::new());
            for (id, (trace, is_root, pause, jump)) in (1..).zip(arrivals) {
                // Mostly a few seconds, now and then a night.
                now = now + Nanos::from_secs(if jump == 0 { pause * 5_000 } else { pause });
                let record = record(trace, id, is_root);
                pending.insert(record.span.id, now);
                assembler.insert_all(&[record], now, |_| None, |_| {
                    pending.remove(&record.span.id);
                });
                is_not_passed(&assembler, &pending)?;
                while let Some(closed) = assembler.next_over_limit() {
                    give_out(&closed, &mut pending);
                }
                is_not_passed(&assembler, &pending)?;
                while let Some(closed) = assembler.next_closed(now) {
                    give_out(&closed, &mut pending);
                }
                is_not_passed(&assembler, &pending)?;
            }
            while let Some(closed) = assembler.next_open() {
                give_out(&closed, &mut pending);
            }
            prop_assert_eq!((pending.len(), assembler.oldest()), (0, None));
        }
    }
}
