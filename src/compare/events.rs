//! Where in a span's own time the difference lies, named by what happened before and after.
//!
//! A span's own time is cut at its events and at the starts and ends of its children. Two cuts of the two
//! sides are the same if the same two things happened around them, in the same repetition.

use std::collections::BTreeMap;

use super::difference::{Pair, Spot};
use super::request::Request;
use super::verdict::EventGap;
use crate::engine::tree::Index;
use crate::model::{Interner, Timestamp};

/// The most that are named.
const MAX_GAPS: usize = 3;
/// A gap must make up this share of all that differ to be named.
const MIN_SHARE: f64 = 0.1;
/// And be at least this long, nanoseconds: what single calls drift by.
const MIN_NANOS: i128 = 300_000;

/// Something that happened: when, what, and for the how manyth time.
type Mark = (Timestamp, String, usize);
/// Two neighbours, each with its repetition.
type Neighbours = ((String, usize), (String, usize));

/// The gaps that grew (or shrank), the largest first.
pub(super) fn gaps(
    pair: Pair<'_, '_>,
    spot: Spot,
    names: &Interner,
    shrunk: bool,
) -> Vec<EventGap> {
    let (Some(before), Some(after)) = (spot.baseline, spot.spiked) else { return Vec::new() };
    let was = Cuts::of(pair.baseline, before, names);
    let is = Cuts::of(pair.spiked, after, names);
    // The side on which there is more is the one that is cut: what is missing there cannot be long.
    let (leading, other) = if shrunk { (&was, &is) } else { (&is, &was) };
    let mut found: Vec<(i128, EventGap)> = Vec::new();
    for (neighbours, &length) in &leading.own {
        let usual = other.between(neighbours);
        let rise = i128::from(length) - i128::from(usual);
        let (baseline, spiked) = if shrunk { (length, usual) } else { (usual, length) };
        let ((from, _), (to, _)) = neighbours.clone();
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let (baseline_seconds, spiked_seconds) = (seconds(baseline), seconds(spiked));
        found.push((rise, EventGap { from, to, baseline_seconds, spiked_seconds }));
    }
    let all: i128 = found.iter().map(|(rise, _)| (*rise).max(0)).sum();
    found.retain(|(rise, _)| *rise >= MIN_NANOS && *rise as f64 >= MIN_SHARE * all as f64);
    found.sort_by(|one, two| {
        let names = |gap: &EventGap| (gap.from.clone(), gap.to.clone());
        two.0.cmp(&one.0).then_with(|| names(&one.1).cmp(&names(&two.1)))
    });
    found.into_iter().take(MAX_GAPS).map(|(_, gap)| gap).collect()
}

/// A span's own time in pieces.
struct Cuts {
    own: BTreeMap<Neighbours, u64>,
    marks: Vec<Mark>,
    /// Children, merged, by start.
    covered: Vec<(Timestamp, Timestamp)>,
}

impl Cuts {
    fn of(request: &Request<'_>, at: Index, names: &Interner) -> Cuts {
        let covered = covered(request, at);
        let marks = marks(request, at, &covered, names);
        let mut own = BTreeMap::new();
        for pair in marks.windows(2) {
            let [from, to] = pair else { continue };
            let length = to.0.since(from.0).0 - overlap(&covered, from.0, to.0);
            if length > 0 {
                let neighbours = ((from.1.clone(), from.2), (to.1.clone(), to.2));
                *own.entry(neighbours).or_insert(0) += length;
            }
        }
        Cuts { own, marks, covered }
    }

    /// Own time between two things that happened, whatever else happened in between; zero if they did not.
    fn between(&self, (from, to): &Neighbours) -> u64 {
        let find = |mark: &(String, usize)| {
            self.marks.iter().find(|(_, name, nth)| (name, *nth) == (&mark.0, mark.1))
        };
        match (find(from), find(to)) {
            (Some((from, ..)), Some((to, ..))) => {
                to.since(*from).0 - overlap(&self.covered, *from, *to)
            }
            _ => 0,
        }
    }
}

/// What children cover of a span, merged.
fn covered(request: &Request<'_>, at: Index) -> Vec<(Timestamp, Timestamp)> {
    let span = request.at(at).span;
    let mut merged: Vec<(Timestamp, Timestamp)> = Vec::new();
    for child in request.children(at) {
        let child = request.at(child).span;
        let (from, to) = (child.start.max(span.start), child.end.min(span.end));
        match merged.last_mut() {
            _ if to <= from => {}
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

fn overlap(covered: &[(Timestamp, Timestamp)], from: Timestamp, to: Timestamp) -> u64 {
    covered.iter().map(|&(start, end)| end.min(to).since(start.max(from)).0).sum()
}

/// Everything that happened in a span's own time, in order.
fn marks(
    request: &Request<'_>,
    at: Index,
    covered: &[(Timestamp, Timestamp)],
    names: &Interner,
) -> Vec<Mark> {
    let span = request.at(at).span;
    let mut marks: Vec<(Timestamp, u8, String)> = Vec::new();
    for child in request.children(at) {
        let child = request.at(child);
        let name = names.text(child.key.name);
        let is_edge_of_cover = |at| covered.iter().any(|&(from, to)| at == from || at == to);
        if child.span.start >= span.start && is_edge_of_cover(child.span.start) {
            marks.push((child.span.start, 2, format!("{name} starts")));
        }
        if child.span.end <= span.end && is_edge_of_cover(child.span.end) {
            marks.push((child.span.end, 0, format!("{name} ends")));
        }
    }
    let shift = request.shift(at);
    let inside = |at: Timestamp| covered.iter().any(|&(from, to)| from < at && at < to);
    for event in request.details(at).map(|details| &details.events[..]).unwrap_or_default() {
        let moved = u64::try_from(i128::from(event.at.0) + shift).map(Timestamp);
        if let Ok(at) = moved
            && (span.start..=span.end).contains(&at)
            && !inside(at)
        {
            marks.push((at, 1, event.name.clone()));
        }
    }
    marks.sort();
    let ends = [(span.start, EventGap::START.to_owned()), (span.end, EventGap::END.to_owned())];
    let [start, end] = ends;
    let all = std::iter::once(start)
        .chain(marks.into_iter().map(|(at, _, name)| (at, name)))
        .chain(std::iter::once(end));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    all.map(|(at, name)| {
        let nth = seen.entry(name.clone()).or_insert(0);
        *nth += 1;
        (at, name, *nth)
    })
    .collect()
}
