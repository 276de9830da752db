//! What to look at next, as far as the evidence goes and no further.

use std::collections::BTreeSet;

use super::causes::Found;
use super::difference::Pair;
use super::input::Details;
use super::verdict::{Cause, Change, Verdict};
use super::warnings::of;
use crate::engine::verdict::{Pattern, Reason, SuspectKind};
use crate::model::{Interner, Nanos};

/// Causes that get a step of their own.
const MAX_CAUSES: usize = 3;
/// Attributes named for a cause.
const MAX_ATTRIBUTES: usize = 3;
/// Longer values are identifiers or texts, not settings.
const MAX_VALUE_CHARS: usize = 40;

/// The steps for two traces.
pub(super) fn of_pair(
    pair: Pair<'_, '_>,
    verdict: Verdict,
    found: &[Found],
    names: &Interner,
) -> Vec<String> {
    let mut steps = Vec::new();
    if verdict != Verdict::RootCause {
        return steps;
    }
    for found in found.iter().filter(|found| found.nanos > 0).take(MAX_CAUSES) {
        steps.push(look_at(&found.cause));
        let (Some(before), Some(after)) = (found.spot.baseline, found.spot.spiked) else {
            continue;
        };
        let details = (pair.baseline.details(before), pair.spiked.details(after));
        if let (Some(was), Some(is)) = details {
            let changed = changed_attributes(was, is);
            if !changed.is_empty() {
                let operation = of(pair.spiked, after, names);
                steps.push(format!("On {operation} these differ: {}.", changed.join(", ")));
            }
        }
        if pair.spiked.at(after).span.failed && !pair.baseline.at(before).span.failed {
            let operation = of(pair.spiked, after, names);
            steps.push(format!("{operation} failed in the spiked trace only: read its error."));
        }
    }
    steps
}

/// The steps for two sets.
pub(super) fn of_sets(causes: &[Cause]) -> Vec<String> {
    let mut steps = Vec::new();
    let worse = causes.iter().filter(|cause| cause.excess_seconds > 0.0);
    for cause in worse.take(MAX_CAUSES) {
        let mut step = look_at(cause);
        if let Some(place) = cause.where_.as_ref().filter(|_| cause.kind != SuspectKind::Edge) {
            let share = 100.0 * place.share;
            step.pop();
            step += &format!("; {share:.0} % of it falls on {}={}.", place.attribute, place.value);
        }
        if cause.pattern == Some(Pattern::Intermittent) {
            step += " It is intermittent: most of its calls are as fast as before.";
        }
        if let Some(trace) = cause.example_trace_ids.first() {
            step += &format!(" Trace {trace} shows it.");
        }
        steps.push(step);
    }
    steps
}

fn look_at(cause: &Cause) -> String {
    let Cause { service, operation, .. } = cause;
    let time = |seconds: f64| Nanos::from_secs_f64(seconds);
    let rise = format!(
        "{} before, {} now",
        time(cause.baseline_self_seconds),
        time(cause.spiked_self_seconds)
    );
    let Change::Worse(reason) = cause.reason else { return String::new() };
    let gap = cause.event_gaps.first().filter(|gap| !gap.is_whole_span());
    match (reason, cause.kind, gap) {
        (Reason::SelfTime, _, Some(gap)) => format!(
            "Look at `{operation}` of `{service}` between `{}` and `{}`: {} before, {} now.",
            gap.from,
            gap.to,
            time(gap.baseline_seconds),
            time(gap.spiked_seconds)
        ),
        (Reason::SelfTime, SuspectKind::Dependency, _) => {
            format!("Look at `{service}`, as called by `{operation}`: {rise}.")
        }
        (Reason::SelfTime, _, None) => {
            format!("Look at what `{operation}` of `{service}` does itself: {rise}.")
        }
        (Reason::CallGap, SuspectKind::Edge, _) => {
            let from = cause.where_.as_ref().map(|place| format!(" from `{}`", place.value));
            let from = from.unwrap_or_default();
            format!("Look at the way{from} to `{service}` (network, proxy, queue): {rise}.")
        }
        (Reason::CallGap, ..) => format!(
            "Look at the host, the network and the accept queue of `{service}`: `{operation}` waits outside \
             of the spans, {rise}."
        ),
        (Reason::CallCount, ..) => {
            format!(
                "Look at why `{operation}` of `{service}` makes more calls, each as fast as before."
            )
        }
        (Reason::LostParallelism, ..) => format!(
            "Look at why `{operation}` of `{service}` makes calls one after the other that ran side by side."
        ),
        (Reason::NewOperation, ..) => {
            format!("Look at `{operation}` of `{service}`: there is no such work in the baseline.")
        }
    }
}

/// `cache.hit: true -> false`.
fn changed_attributes(was: &Details, is: &Details) -> Vec<String> {
    let names: BTreeSet<&String> = was.attributes.keys().chain(is.attributes.keys()).collect();
    let shown = |value: Option<&String>| value.map_or("(none)", |value| value.as_str()).to_owned();
    let mut changed = Vec::new();
    for name in names {
        let (before, after) = (was.attributes.get(name), is.attributes.get(name));
        let is_short = |value: Option<&String>| {
            value.is_none_or(|value| {
                value.chars().count() <= MAX_VALUE_CHARS && !is_identifier(value)
            })
        };
        if before != after && is_short(before) && is_short(after) {
            changed.push(format!("{name}: {} -> {}", shown(before), shown(after)));
        }
    }
    changed.truncate(MAX_ATTRIBUTES);
    changed
}

/// Sixteen and more hexadecimal digits, dashes apart, differ from request to request.
fn is_identifier(value: &str) -> bool {
    let digits = value.chars().filter(|c| c.is_ascii_hexdigit()).count();
    digits >= 16 && value.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}
