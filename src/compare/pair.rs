//! One trace against one trace: puts the steps together and draws the conclusion.

use super::advice;
use super::align::Alignment;
use super::causes::{self, Found};
use super::difference::{self, Pair, Part};
use super::input::Trace;
use super::request::Request;
use super::rows;
use super::verdict::{Cause, Comparison, Summary, Verdict};
use super::warnings;
use crate::engine::cohort::{Cohorts, TraceSpans};
use crate::engine::tree::Index;
use crate::engine::verdict::{Reason, SuspectKind};
use crate::model::{Interner, Nanos, TraceId};

/// Two requests differ if one takes longer than the other by more than a twentieth and half a millisecond:
/// the same request served twice by an idle machine differs by as much.
pub(super) fn noise_floor(shorter: Nanos) -> Nanos {
    Nanos(shorter.0 / 20 + 500_000)
}

/// Compares two traces.
pub(super) fn compare(
    names: &Interner,
    baseline: (TraceId, &Trace),
    spiked: (TraceId, &Trace),
) -> Comparison {
    let sets = [baseline, spiked].map(|(trace, of)| TraceSpans { trace, spans: &of.spans });
    let [first, second] = &sets;
    let (first, second) = (std::slice::from_ref(first), std::slice::from_ref(second));
    let cohorts = [Cohorts::new(names, first, second), Cohorts::new(names, second, first)];
    let before = Request::new(baseline.1, names, &cohorts[0]);
    let after = Request::new(spiked.1, names, &cohorts[0]);
    let alignment = Alignment::new(&before, &after);
    let pair = Pair {
        baseline: &before,
        spiked: &after,
        alignment: &alignment,
        cohorts: [&cohorts[0], &cohorts[1]],
    };
    let (long, short) = (after.duration().0, before.duration().0);
    let delta = signed(long) - signed(short);
    let mut warnings = warnings::of_pair(pair, names);
    let (verdict, found) = conclude(pair, delta, names, &mut warnings);
    let next_steps = advice::of_pair(pair, verdict, &found, names);
    let explained: i64 = found.iter().map(|found| found.nanos).sum();
    let root_causes: Vec<Cause> = found.into_iter().map(|found| found.cause).collect();
    Comparison {
        verdict,
        baseline: summary(&before, baseline.0, names),
        spiked: summary(&after, spiked.0, names),
        delta_seconds: delta as f64 / 1e9,
        unexplained_seconds: (delta - explained) as f64 / 1e9,
        root_causes,
        spans: rows::rows(pair, names),
        entries: None,
        warnings,
        next_steps,
    }
}

fn signed(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

fn summary(request: &Request<'_>, trace: TraceId, names: &Interner) -> Summary {
    let mut services: Vec<_> =
        request.services().into_iter().map(|service| names.text(service)).collect();
    services.sort();
    Summary {
        trace_id: Some(trace),
        traces: 1,
        duration_seconds: request.duration().as_secs_f64(),
        spans: request.len(),
        services,
    }
}

/// What it all says; why not more, in a warning.
fn conclude(
    pair: Pair<'_, '_>,
    delta: i64,
    names: &Interner,
    warnings: &mut Vec<String>,
) -> (Verdict, Vec<Found>) {
    if let Some(why) = warnings::of_entries(pair, names) {
        warnings.insert(0, why);
        return (Verdict::Inconclusive, Vec::new());
    }
    let floor = noise_floor(pair.baseline.duration().min(pair.spiked.duration()));
    if delta.unsigned_abs() <= floor.0 {
        return (Verdict::NoDifference, Vec::new());
    }
    let parts = difference::parts(pair);
    debug_assert_eq!(parts.iter().map(|part| part.nanos).sum::<i64>(), delta);
    let found = causes::find(pair, &parts, delta, names);
    if let Some(why) = doubt(pair, &parts, &found, delta, names) {
        warnings.insert(0, why);
        return (Verdict::Inconclusive, Vec::new());
    }
    let explained: i64 = found.iter().map(|found| found.nanos).sum();
    if (delta - explained).unsigned_abs() > delta.unsigned_abs() / 2 {
        warnings.push(warnings::mostly_unexplained(Nanos((delta - explained).unsigned_abs())));
    }
    let verdict = if delta > 0 { Verdict::RootCause } else { Verdict::Faster };
    (verdict, found)
}

/// Why nobody can be named, if that is so.
fn doubt(
    pair: Pair<'_, '_>,
    parts: &[Part],
    found: &[Found],
    delta: i64,
    names: &Interner,
) -> Option<String> {
    let direction = delta.signum();
    let first = found.first().filter(|first| first.nanos.signum() == direction);
    let lost = parts.iter().filter(|part| part.party.is_none() && part.nanos != 0);
    let worst = lost.max_by_key(|part| (part.nanos * direction, std::cmp::Reverse(part.spot)));
    let most = first.map_or(0, |first| first.nanos * direction);
    if let Some(lost) = worst.filter(|lost| lost.nanos * direction >= most) {
        return Some(warnings::far_side_missing(lost, names));
    }
    let Some(first) = first else {
        return Some(
            "the difference is spread over many spans, none of which differs by more than drift"
                .to_owned(),
        );
    };
    hides_missing_work(pair, first, direction)
        .then(|| warnings::work_missing(&first.cause.service, &first.cause.operation))
}

/// Whether the first cause's own time may be that of a call whose spans are missing.
fn hides_missing_work(pair: Pair<'_, '_>, first: &Found, direction: i64) -> bool {
    let is_own = first.cause.kind == SuspectKind::Service
        && !matches!(
            first.cause.reason,
            super::verdict::Change::Worse(
                Reason::CallCount | Reason::LostParallelism | Reason::NewOperation
            )
        );
    // The slower side is the one on which a missing call would look like own time.
    let slower = if direction > 0 { pair.spiked } else { pair.baseline };
    let is_incomplete = slower.adopted + slower.stray > 0 || slower.rootless;
    let (Some(before), Some(after)) = (first.spot.baseline, first.spot.spiked) else {
        return false;
    };
    let gone = |children: Vec<Index>, counterpart: &dyn Fn(Index) -> Option<Index>| {
        children.into_iter().any(|child| counterpart(child).is_none())
    };
    let is_gone = if direction > 0 {
        gone(pair.baseline.children(before), &|at| pair.alignment.of_baseline(at))
    } else {
        gone(pair.spiked.children(after), &|at| pair.alignment.of_spiked(at))
    };
    is_own && is_incomplete && is_gone
}
