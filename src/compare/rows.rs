//! The table of spans: both trees as one, in the order of the second side.

use super::difference::Pair;
use super::request::Request;
use super::verdict::{Figures, Match, SpanRow};
use crate::engine::critical_path::Window;
use crate::engine::dissect::seconds_after;
use crate::engine::evidence::Stretch;
use crate::engine::segments::segments;
use crate::engine::tree::Index;
use crate::model::Interner;

/// One row a span, parents before their children.
pub(super) fn rows(pair: Pair<'_, '_>, names: &Interner) -> Vec<SpanRow> {
    let mut rows = Vec::new();
    let mut stack = Vec::new();
    let roots = |request: &Request<'_>| -> Vec<Index> {
        let mut roots: Vec<Index> =
            (0..request.len()).filter(|&at| request.at(at).parent.is_none()).collect();
        roots.sort_by_key(|&at| (at != request.entry, at));
        roots
    };
    // Taken from its end: the request itself first, what only the baseline has last.
    let gone = roots(pair.baseline).into_iter().filter(|&at| is_removed(pair, at));
    stack.extend(gone.map(|at| (Some(at), None, 0)));
    stack.extend(
        roots(pair.spiked).into_iter().rev().map(|at| (pair.alignment.of_spiked(at), Some(at), 0)),
    );
    while let Some((before, after, depth)) = stack.pop() {
        rows.push(row(pair, (before, after), depth, names));
        let mut below = Vec::new();
        if let Some(after) = after {
            let children = pair.spiked.children(after).into_iter();
            below.extend(children.map(|at| {
                (offset(pair.spiked, at), (pair.alignment.of_spiked(at), Some(at), depth + 1))
            }));
        }
        if let Some(before) = before {
            let gone =
                pair.baseline.children(before).into_iter().filter(|&at| is_removed(pair, at));
            below.extend(gone.map(|at| (offset(pair.baseline, at), (Some(at), None, depth + 1))));
        }
        below.sort_by_key(|&(at, _)| at);
        stack.extend(below.into_iter().rev().map(|(_, next)| next));
    }
    rows
}

fn is_removed(pair: Pair<'_, '_>, at: Index) -> bool {
    pair.alignment.of_baseline(at).is_none()
}

fn offset(request: &Request<'_>, at: Index) -> u64 {
    request.at(at).span.start.since(request.at(request.entry).span.start).0
}

fn row(
    pair: Pair<'_, '_>,
    (before, after): (Option<Index>, Option<Index>),
    depth: usize,
    names: &Interner,
) -> SpanRow {
    let key = match (before, after) {
        (_, Some(at)) => pair.spiked.at(at).key,
        (Some(at), None) => pair.baseline.at(at).key,
        (None, None) => pair.spiked.at(pair.spiked.entry).key,
    };
    SpanRow {
        service: names.text(key.service),
        operation: names.text(key.name),
        depth,
        baseline: before.map_or_else(Figures::default, |at| figures(pair.baseline, at)),
        spiked: after.map_or_else(Figures::default, |at| figures(pair.spiked, at)),
        match_: match (before, after) {
            (Some(_), None) => Match::Removed,
            (None, _) => Match::Added,
            _ => Match::Matched,
        },
        outside_normal: false,
        baseline_path: before.map_or_else(Vec::new, |at| path(pair.baseline, at)),
        spiked_path: after.map_or_else(Vec::new, |at| path(pair.spiked, at)),
    }
}

/// The stretches of a span that its request waited for.
fn path(request: &Request<'_>, at: Index) -> Vec<Stretch> {
    if !request.contains(at) {
        return Vec::new();
    }
    let origin = request.at(request.entry).span.start;
    let stretches = segments(&request.tree, &request.costs, at).into_iter();
    stretches
        .map(|Window { low, high }| Stretch {
            from_seconds: seconds_after(origin, low),
            to_seconds: seconds_after(origin, high),
        })
        .collect()
}

fn figures(request: &Request<'_>, at: Index) -> Figures {
    let cost = request.costs.of(at);
    // What belongs to another request of the trace is not on this one's path.
    let critical = if request.contains(at) { cost.critical.as_secs_f64() } else { 0.0 };
    Figures {
        offset_seconds: offset(request, at) as f64 / 1e9,
        seconds: request.at(at).duration().as_secs_f64(),
        self_seconds: cost.self_time.as_secs_f64(),
        critical_seconds: critical,
    }
}
