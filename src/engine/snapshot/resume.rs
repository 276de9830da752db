//! What a time without a process means to what was learned before it.
//!
//! - It is a gap, not a slowdown: no slice of it is judged, and it is no quiet in which an incident could
//!   close.
//! - What was recent before it is not recent after it: figures age as they would have in silence.
//! - What was normal longer ago than an incident may last before it becomes normal
//!   (`detection.adopt_after`) is no measure any more: it is forgotten, and learned anew. Incidents are
//!   remembered all the same.
//! - A clock that was set back meanwhile moves the slices judged so far back with it; else nothing would
//!   be judged until it had caught up.

use std::ops::Range;

use super::Restored;
use crate::engine::aggregate::SliceIndex;
use crate::engine::detect::Hot;
use crate::engine::judge::Judge;
use crate::engine::verdict::Incident;
use crate::model::{Interner, Nanos, Timestamp};

/// After a start, silence counts only after this long, if nothing comes at all: exporters that were cut
/// off come back within 30 s, the Collector's longest pause between two attempts, each at its own time.
const PATIENCE: Nanos = Nanos::from_secs(120);

/// Lets `judge`, saved at `saved_at`, go on at `now`.
pub(super) fn resume(
    mut judge: Judge,
    names: &Interner,
    saved_at: Timestamp,
    now: Timestamp,
) -> Restored {
    let away = now.since(saved_at);
    if away > judge.params.detection.adopt_after {
        return Restored { judge: forget(judge), baselines: false };
    }
    // Nothing is missed by a process that goes on at once.
    if now == saved_at || judge.cursor.is_none() {
        return Restored { judge, baselines: true };
    }
    let slice = judge.params.detection.slice.0;
    let next = now.0 / slice;
    // The last slice may be of this very moment: a process that ends judges what it has of it.
    let last = judge.history.judged_slices().last().unwrap_or(next);
    if last > next {
        set_back(&mut judge, last - next);
    }
    age(&mut judge, last + 1..next, names);
    judge.cursor = Some(next + PATIENCE.0.div_ceil(slice));
    judge.empty_run = 0;
    judge.streak = 0;
    judge.candidate = Hot::default();
    Restored { judge, baselines: true }
}

/// Slices judged, and what began in them and goes on, move back in time.
fn set_back(judge: &mut Judge, slices: SliceIndex) {
    judge.history.set_back(slices);
    let by = Nanos(slices.saturating_mul(judge.params.detection.slice.0));
    if let Some(open) = &mut judge.open {
        let published = &mut open.published;
        published.start = published.start.saturating_sub(by);
        published.detected = published.detected.saturating_sub(by);
    }
}

/// Silence: what was recent before these slices is not any more.
fn age(judge: &mut Judge, slices: Range<SliceIndex>, names: &Interner) {
    let [.., longest] = judge.params.detection.windows;
    let first = slices.start.max(slices.end.saturating_sub(longest));
    (first..slices.end).for_each(|slice| judge.begin_slice(slice, names));
}

/// A judge that remembers the incidents of another and nothing else.
fn forget(judge: Judge) -> Judge {
    let last_hot = judge.open.as_ref().map(|open| judge.end_of(open.last_hot));
    let mut new = Judge::new(judge.params);
    new.incidents = judge.incidents;
    new.closed = judge.closed;
    if let Some((open, last_hot)) = judge.open.zip(last_hot) {
        let published = open.published;
        let end = Some(last_hot.max(published.detected));
        new.closed.push_front(Incident { end, ..published });
        new.closed.truncate(new.params.max_incidents);
    }
    new
}
