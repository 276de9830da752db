//! The course of time: requests of every slice, and the seconds put on each suspect while an incident is open.
//!
//! A ring of the last slices, filled once a slice and read by whoever draws it. The counters that add up over
//! replicas are [`tally`](super::tally)'s; this is for looking at.

use std::collections::VecDeque;
use std::sync::Arc;

use super::attribute::Attribution;
use super::evidence::{Charge, TimelineSlice};
use super::roles::Roles;
use crate::model::{Nanos, Timestamp};

/// The last slices, the oldest first.
#[derive(Default)]
pub(super) struct Timeline {
    slices: VecDeque<Arc<TimelineSlice>>,
}

impl Timeline {
    /// Six hours of slices of five seconds, at some sixty bytes where nothing was slow.
    const MAX_SLICES: usize = 4_320;

    /// A slice was judged: so many requests, and how long they took in nanoseconds.
    pub(super) fn begin(&mut self, at: Timestamp, length: Nanos, requests: u64, nanos: u64) {
        if self.slices.len() >= Timeline::MAX_SLICES {
            self.slices.pop_front();
        }
        self.slices.push_back(Arc::new(TimelineSlice {
            at,
            length,
            requests,
            request_seconds: nanos as f64 / 1e9,
            excess_seconds: 0.0,
            charges: Vec::new(),
        }));
    }

    /// What the slice that began at `at` was charged with.
    pub(super) fn charge(&mut self, at: Timestamp, attribution: &Attribution, roles: &Roles) {
        let total = attribution.parts.total as f64;
        let found = self.slices.iter_mut().rev().find(|slice| slice.at == at);
        let Some(slice) = found.filter(|_| total > 0.0) else { return };
        // Where others got faster the claims are more than there is to share out.
        let scale = if attribution.claimed > total { total / attribution.claimed } else { 1.0 };
        let slice = Arc::make_mut(slice);
        slice.excess_seconds = total / 1e9;
        slice.charges = attribution
            .accused
            .iter()
            .filter(|accused| accused.nanos > 0.0)
            .map(|accused| Charge {
                service: roles.shared_text(accused.party.name),
                kind: accused.party.kind,
                seconds: accused.nanos * scale / 1e9,
            })
            .collect();
        slice.charges.sort_by(|one, two| (&one.service, one.kind).cmp(&(&two.service, two.kind)));
    }

    /// All of them.
    pub(super) fn slices(&self) -> Vec<Arc<TimelineSlice>> {
        self.slices.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_secs(second)
    }

    #[test]
    fn the_oldest_slices_are_forgotten() {
        let mut timeline = Timeline::default();
        let last = Timeline::MAX_SLICES as u64 + 10;
        for second in 1..=last {
            timeline.begin(at(second), Nanos::from_secs(1), second, 0);
        }
        let slices = timeline.slices();
        assert_eq!(slices.len(), Timeline::MAX_SLICES);
        assert_eq!((slices[0].at, slices[0].requests), (at(11), 11));
    }

    #[test]
    fn what_got_faster_is_not_charged() {
        let mut timeline = Timeline::default();
        timeline.begin(at(1), Nanos::from_secs(1), 1, 0);
        let parts = super::super::decompose::Decomposition { total: -5, ..Default::default() };
        let faster = Attribution { parts, accused: Vec::new(), claimed: 0.0 };
        timeline.charge(at(1), &faster, &Roles::default());
        assert_eq!(timeline.slices()[0].excess_seconds, 0.0);
    }
}
