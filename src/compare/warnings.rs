//! What weakens a verdict, in sentences: missing spans, clocks, overlap, work that nobody waited for.

use super::difference::{Pair, Part};
use super::request::Request;
use crate::engine::cohort::Place;
use crate::engine::tree::{Index, TreeSpan};
use crate::model::{Interner, Nanos, SpanKind};

/// Sentences of one sort; more say no more.
const MAX_OF_A_SORT: usize = 5;
/// What lies side by side for less than this is not worth a sentence.
const MIN_OVERLAP: Nanos = Nanos::from_micros(300);
/// Work that goes on for less than this after its caller has ended is a matter of clocks.
const MIN_OUTLIVED: Nanos = Nanos::from_millis(2);

/// Everything there is to say about two traces.
pub(super) fn of_pair(pair: Pair<'_, '_>, names: &Interner) -> Vec<String> {
    let mut warnings = Vec::new();
    for (side, request) in [("baseline", pair.baseline), ("spiked", pair.spiked)] {
        warnings.extend(missing(side, request));
        warnings.extend(skewed(side, request, names));
        warnings.extend(asynchronous(side, request, names));
        warnings.extend(outlived(side, request, names));
    }
    warnings.extend(overlaps(pair, names));
    warnings
}

/// Why requests of two entries are not compared.
pub(super) fn of_entries(pair: Pair<'_, '_>, names: &Interner) -> Option<String> {
    let entry = |request: &Request<'_>| request.at(request.entry).key;
    let (before, after) = (entry(pair.baseline), entry(pair.spiked));
    let same = (before.service, before.name) == (after.service, after.name);
    (!same).then(|| {
        format!(
            "different entry operations: the baseline is {}, the spiked trace {}; \
             compare two requests of the same operation",
            of(pair.baseline, pair.baseline.entry, names),
            of(pair.spiked, pair.spiked.entry, names),
        )
    })
}

/// `` `GET /items` of `cart` ``.
pub(super) fn of(request: &Request<'_>, at: Index, names: &Interner) -> String {
    let key = request.at(at).key;
    format!("`{}` of `{}`", names.text(key.name), names.text(key.service))
}

/// Why a call whose far side is missing is nobody's.
pub(super) fn far_side_missing(part: &Part, names: &Interner) -> String {
    format!(
        "most of the difference lies in the call `{}` of `{}`, whose far side sent no spans in one of the \
         traces: it cannot be decided whether the callee or the way to it is slow",
        names.text(part.key.name),
        names.text(part.key.service),
    )
}

/// Why own time may not be own time.
pub(super) fn work_missing(service: &str, operation: &str) -> String {
    format!(
        "most of the difference lies in `{operation}` of `{service}`, but the trace is incomplete and calls \
         that it makes in the other trace are missing: their time would look the same"
    )
}

/// The causes are not the whole story.
pub(super) fn mostly_unexplained(rest: Nanos) -> String {
    format!("{rest} of the difference are spread over spans that differ by no more than drift")
}

fn missing(side: &str, request: &Request<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    if request.rootless {
        warnings.push(format!(
            "{side}: the request's first span is missing; the longest of the others stands for it"
        ));
    }
    let orphans = request.adopted + request.stray;
    if orphans > 0 {
        warnings.push(format!(
            "{side}: spans are missing: {orphans} of {} have a parent that is not there; {} of them were \
             put where they lie in time, {} left out",
            request.len(),
            request.adopted,
            request.stray,
        ));
    }
    if request.tree.duplicates > 0 {
        let count = request.tree.duplicates;
        warnings.push(format!("{side}: {count} spans came twice and were counted once"));
    }
    warnings
}

fn skewed(side: &str, request: &Request<'_>, names: &Interner) -> Vec<String> {
    let mut services: Vec<_> =
        request.skew.iter().map(|(&service, &by)| (names.text(service), Nanos(by))).collect();
    services.sort();
    let said = services
        .iter()
        .map(|(service, by)| format!("{side}: clock skew corrected on `{service}`: {by}"));
    said.take(MAX_OF_A_SORT).collect()
}

/// What the trace holds beside the request.
fn asynchronous(side: &str, request: &Request<'_>, names: &Interner) -> Vec<String> {
    let others = (0..request.len()).filter(|&at| request.at(at).entry && at != request.entry);
    let said = others.map(|at| {
        format!(
            "{side}: {} ({}) is not part of the request: nobody waited for it",
            of(request, at, names),
            request.at(at).duration()
        )
    });
    said.take(MAX_OF_A_SORT).collect()
}

/// Work that went on after its caller had ended.
fn outlived(side: &str, request: &Request<'_>, names: &Interner) -> Vec<String> {
    let beyond = (0..request.len()).filter_map(|at| {
        let TreeSpan { span, parent, .. } = *request.at(at);
        let parent = parent?;
        let by = span.end.since(request.at(parent).span.end);
        (by > MIN_OUTLIVED).then_some((by, at, parent))
    });
    let mut beyond: Vec<_> = beyond.collect();
    beyond.sort_by_key(|&(by, at, _)| (std::cmp::Reverse(by), at));
    let said = beyond.into_iter().map(|(by, at, parent)| {
        let why = if request.at(parent).key.kind == SpanKind::Client {
            "the caller had given up"
        } else {
            "it is asynchronous; how much of it was waited for cannot be decided"
        };
        format!(
            "{side}: {} went on for {by} after its caller {} had ended: {why}",
            of(request, at, names),
            of(request, parent, names),
        )
    });
    said.take(MAX_OF_A_SORT).collect()
}

/// Siblings that run side by side, the longest first.
fn overlaps(pair: Pair<'_, '_>, names: &Interner) -> Vec<String> {
    let request = pair.spiked;
    let mut found: Vec<(Nanos, Index, Index)> = Vec::new();
    for parent in (0..request.len()).filter(|&at| request.contains(at)) {
        // Neighbours by start are enough: with many side by side one sentence stands for all.
        let children = request.children(parent);
        for two in children.windows(2) {
            let [one, other] = [two[0], two[1]].map(|at| request.at(at).span);
            let both = one.end.min(other.end).since(one.start.max(other.start));
            if both > MIN_OVERLAP {
                found.push((both, far_end(request, two[0]), far_end(request, two[1])));
            }
        }
    }
    found.sort_by_key(|&(both, one, other)| (std::cmp::Reverse(both), one, other));
    let said = found.into_iter().map(|(both, one, other)| {
        let before = overlap_before(pair, one, other);
        format!(
            "two spans overlap: {} and {} run side by side for {both} ({before} in the baseline); only what \
             lies on the critical path counts",
            of(request, one, names),
            of(request, other, names),
        )
    });
    said.take(MAX_OF_A_SORT).collect()
}

/// A call is known by who answers it.
fn far_end(request: &Request<'_>, at: Index) -> Index {
    match request.place(at) {
        Place::Edge(callee) => callee,
        _ => at,
    }
}

fn overlap_before(pair: Pair<'_, '_>, one: Index, other: Index) -> Nanos {
    let span = |at| pair.alignment.of_spiked(at).map(|at| pair.baseline.at(at).span);
    match (span(one), span(other)) {
        (Some(one), Some(other)) => one.end.min(other.end).since(one.start.max(other.start)),
        _ => Nanos::ZERO,
    }
}
