//! The difference of two requests' durations, shared out among their spans to the nanosecond.
//!
//! A span's critical time is its own time less what of it others hid. So the difference of two requests is
//! the sum, over the matched spans, of the rise of their own time, less the rise of what is hidden; plus
//! the critical time of what was added, less that of what was removed. What is hidden depends on the
//! siblings, not on the span: it is settled at the span under which they overlap. First it is set off
//! against rises below that span (a slower call hides a sibling, and costs so much less); what is left
//! is overlap lost or won there. Everything is antisymmetric: swapping the sides changes the signs.

use std::collections::BTreeMap;

use super::align::{Alignment, pair_up};
use super::request::Request;
use crate::engine::cohort::{Cohorts, GapShare, Place};
use crate::engine::tree::Index;
use crate::engine::verdict::{Reason, SuspectKind};
use crate::model::{Key, Sym};

/// Who.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Party {
    pub(super) kind: SuspectKind,
    pub(super) name: Sym,
    /// For a link: from whom.
    pub(super) from: Option<Sym>,
}

/// Where a part of the difference was found: in a span of the baseline, of the other side, or of both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Spot {
    pub(super) baseline: Option<Index>,
    pub(super) spiked: Option<Index>,
}

/// A part of the difference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Who it is put on; nobody if the far side's spans are missing.
    pub(super) party: Option<Party>,
    pub(super) reason: Reason,
    pub(super) spot: Spot,
    /// The operation it is about.
    pub(super) key: Key,
    /// What the same took on the side on which it took less, nanoseconds.
    pub(super) usual: u64,
    pub(super) nanos: i64,
}

/// Two aligned requests.
#[derive(Clone, Copy)]
pub(super) struct Pair<'r, 'a> {
    pub(super) baseline: &'r Request<'a>,
    pub(super) spiked: &'r Request<'a>,
    pub(super) alignment: &'r Alignment,
    /// Baseline first, for what got slower; and the other way round, for what got faster.
    pub(super) cohorts: [&'r Cohorts<'a>; 2],
}

/// A piece of a span's time: all of it, or one side of an edge.
#[derive(Clone, Copy, Default)]
struct Piece {
    own: u64,
    critical: u64,
}

impl Piece {
    fn hidden(self) -> i64 {
        signed(self.own) - signed(self.critical)
    }
}

fn signed(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

/// What others hide, settled where they overlap: nanoseconds by the span that has them as children.
type Hidden = BTreeMap<Spot, i64>;

/// All parts; their sum is the difference of the durations.
pub(super) fn parts(pair: Pair<'_, '_>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut hidden = Hidden::new();
    let [slower, faster] = pair.cohorts;
    let (slower, faster) = (slower.gap_shares(), faster.gap_shares());
    let shares = |caller, callee, is_request, nanos: i64| {
        if nanos >= 0 {
            slower(caller, callee, is_request)
        } else {
            faster(caller, callee, is_request)
        }
    };
    for &(before, after) in &pair.alignment.pairs {
        if pair.baseline.contains(before) && pair.spiked.contains(after) {
            matched(pair, (before, after), &shares, &mut parts, &mut hidden);
        }
    }
    one_sided(pair, Direction::Added, &mut parts);
    one_sided(pair, Direction::Removed, &mut parts);
    // In an order that knows nothing of the file's: the last nanosecond of a share depends on it.
    parts.sort_by_key(|part| part.spot);
    set_off(pair, &mut hidden, &mut parts);
    for (spot, nanos) in hidden {
        if nanos != 0 {
            parts.push(lost_overlap(pair, spot, nanos));
        }
    }
    parts
}

fn matched(
    pair: Pair<'_, '_>,
    (before, after): (Index, Index),
    shares: &impl Fn(Sym, Sym, bool, i64) -> GapShare,
    parts: &mut Vec<Part>,
    hidden: &mut Hidden,
) {
    let spot = Spot { baseline: Some(before), spiked: Some(after) };
    let key = pair.spiked.at(after).key;
    let (was, is) = (pair.baseline.place(before), pair.spiked.place(after));
    let mut push = |party, reason, was: Piece, is: Piece| {
        let nanos = signed(is.own) - signed(was.own);
        let usual = was.own.min(is.own);
        parts.push(Part { party, reason, spot, key, usual, nanos });
        hide(pair, spot, (was.hidden(), is.hidden()), hidden);
    };
    match (was, is) {
        (Place::Edge(far_before), Place::Edge(far_after)) => {
            let was = edge(pair.baseline, before, far_before);
            let is = edge(pair.spiked, after, far_after);
            let callee = pair.spiked.at(far_after).key.service;
            for (at, (was, is)) in was.into_iter().zip(is).enumerate() {
                let nanos = signed(is.own) - signed(was.own);
                let share = shares(key.service, callee, at == 0, nanos);
                gap(pair, spot, share, (was, is), parts, hidden);
            }
        }
        _ => {
            let party = party(was, is);
            push(party, Reason::SelfTime, whole(pair.baseline, before), whole(pair.spiked, after));
        }
    }
}

/// Whose a matched span's own time is. Where one side knows the far end and the other does not, nobody's.
fn party(was: Place, is: Place) -> Option<Party> {
    let of = |kind, name| Some(Party { kind, name, from: None });
    match (was, is) {
        (Place::Unknown | Place::Edge(_), _) | (_, Place::Unknown | Place::Edge(_)) => None,
        (_, Place::Dependency(name)) | (Place::Dependency(name), _) => {
            of(SuspectKind::Dependency, name)
        }
        (_, Place::Own(name)) => of(SuspectKind::Service, name),
    }
}

fn whole(request: &Request<'_>, at: Index) -> Piece {
    let cost = request.costs.of(at);
    Piece { own: cost.self_time.0, critical: cost.critical.0 }
}

/// An edge's time on the way there and on the way back, as the engine cuts it.
fn edge(request: &Request<'_>, client: Index, far: Index) -> [Piece; 2] {
    let cost = request.costs.of(client);
    let (start, far_start) = (request.at(client).span.start, request.at(far).span.start);
    let before = far_start.since(start).min(cost.self_time);
    let there = Piece { own: before.0, critical: cost.critical_before.0 };
    let back = Piece {
        own: (cost.self_time - before).0,
        critical: (cost.critical - cost.critical_before).0,
    };
    [there, back]
}

/// A gap's rise, put on its ends or on the link.
fn gap(
    pair: Pair<'_, '_>,
    spot: Spot,
    share: GapShare,
    (was, is): (Piece, Piece),
    parts: &mut Vec<Part>,
    hidden: &mut Hidden,
) {
    let Some(after) = spot.spiked else { return };
    let Place::Edge(far) = pair.spiked.place(after) else { return };
    let key = pair.spiked.at(after).key;
    let (caller, callee) = (key.service, pair.spiked.at(far).key.service);
    // A call that now goes to somebody else is the caller's doing.
    let share =
        if callee_before(pair, spot) == Some(callee) { share } else { GapShare::Callee(0.0) };
    let nanos = signed(is.own) - signed(was.own);
    let mut push = |kind, name, from, nanos| {
        let party = Some(Party { kind, name, from });
        let (reason, usual) = (Reason::CallGap, was.own.min(is.own));
        parts.push(Part { party, reason, spot, key, usual, nanos });
    };
    match share {
        GapShare::Link => push(SuspectKind::Edge, callee, Some(caller), nanos),
        GapShare::Callee(share) => {
            #[allow(clippy::cast_possible_truncation)] // a share of a number that fits
            let of_callee = (nanos as f64 * share).round() as i64;
            push(SuspectKind::Service, callee, None, of_callee);
            push(SuspectKind::Service, caller, None, nanos - of_callee);
        }
    }
    hide(pair, spot, (was.hidden(), is.hidden()), hidden);
}

/// Whom the call of an edge went to in the baseline.
fn callee_before(pair: Pair<'_, '_>, spot: Spot) -> Option<Sym> {
    match pair.baseline.place(spot.baseline?) {
        Place::Edge(far) => Some(pair.baseline.at(far).key.service),
        _ => None,
    }
}

/// Notes what is hidden of a matched span on either side, under the span where it is settled.
fn hide(pair: Pair<'_, '_>, spot: Spot, (was, is): (i64, i64), hidden: &mut Hidden) {
    let Spot { baseline: Some(before), spiked: Some(after) } = spot else { return };
    // What is hidden in a span that runs in full is a matter of how its pieces are cut.
    let under = pair.baseline.blamed(before).unwrap_or(before);
    *hidden.entry(spot_of_baseline(pair, under)).or_insert(0) += was;
    let under = pair.spiked.blamed(after).unwrap_or(after);
    *hidden.entry(spot_of_spiked(pair, under)).or_insert(0) -= is;
}

fn spot_of_baseline(pair: Pair<'_, '_>, at: Index) -> Spot {
    Spot { baseline: Some(at), spiked: pair.alignment.of_baseline(at) }
}

fn spot_of_spiked(pair: Pair<'_, '_>, at: Index) -> Spot {
    Spot { baseline: pair.alignment.of_spiked(at), spiked: Some(at) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Added,
    Removed,
}

/// What only one side has. Repeated calls cost what the ones on the other side cost, and are the caller's;
/// what they cost beyond that, and what has no like on the other side, belongs to whoever spends it.
fn one_sided(pair: Pair<'_, '_>, direction: Direction, parts: &mut Vec<Part>) {
    let (here, there) = match direction {
        Direction::Added => (pair.spiked, pair.baseline),
        Direction::Removed => (pair.baseline, pair.spiked),
    };
    let counterpart = |at: Index| match direction {
        Direction::Added => pair.alignment.of_spiked(at),
        Direction::Removed => pair.alignment.of_baseline(at),
    };
    // By span: the one on the other side that it is a repetition of, and the caller who repeats it.
    let mut model: Vec<Option<(Index, Index)>> = vec![None; here.len()];
    for at in 0..here.len() {
        if counterpart(at).is_some() || !here.contains(at) {
            continue;
        }
        let Some(parent) = here.at(at).parent else { continue };
        let found = match (counterpart(parent), model[parent]) {
            (Some(parent_there), _) => {
                sibling(there, parent_there, here.at(at).key).map(|like| (like, parent))
            }
            (None, Some((parent_there, caller))) => {
                let children = (here.children(parent), there.children(parent_there));
                let pairs = pair_up((here, there), &children.0, &children.1);
                let like = pairs.into_iter().find(|&(child, _)| child == at);
                like.map(|(_, like)| (like, caller))
            }
            (None, None) => None,
        };
        model[at] = found;
        push_one_sided(pair, direction, at, found, parts);
    }
}

/// A call of the same operation under the same caller.
fn sibling(there: &Request<'_>, parent: Index, key: Key) -> Option<Index> {
    there.children(parent).into_iter().find(|&child| there.at(child).key == key)
}

fn push_one_sided(
    pair: Pair<'_, '_>,
    direction: Direction,
    at: Index,
    model: Option<(Index, Index)>,
    parts: &mut Vec<Part>,
) {
    let (here, there, sign) = match direction {
        Direction::Added => (pair.spiked, pair.baseline, 1),
        Direction::Removed => (pair.baseline, pair.spiked, -1),
    };
    let critical = here.costs.of(at).critical.0;
    if critical == 0 {
        return;
    }
    let spot = match direction {
        Direction::Added => Spot { baseline: None, spiked: Some(at) },
        Direction::Removed => Spot { baseline: Some(at), spiked: None },
    };
    let key = here.at(at).key;
    let mut push = |party, reason, key, nanos: u64| {
        if nanos > 0 {
            let nanos = sign * signed(nanos);
            parts.push(Part { party, reason, spot, key, usual: 0, nanos });
        }
    };
    let party = one_sided_party(here, at, pair, direction);
    match model {
        None => push(party, Reason::NewOperation, key, critical),
        Some((like, caller)) => {
            let usual = there.costs.of(like).self_time.0;
            // Up to drift, what it costs is what such a call costs.
            let beyond = critical.saturating_sub(usual);
            let drift = beyond <= usual / 5 + 300_000;
            let counted = if drift { critical } else { usual.min(critical) };
            let caller_key = here.at(caller).key;
            let kind = SuspectKind::Service;
            let by = Party { kind, name: caller_key.service, from: None };
            push(Some(by), Reason::CallCount, caller_key, counted);
            push(party, Reason::SelfTime, key, critical - counted);
        }
    }
}

/// Whose time a span is that only one side has. If its caller's far side is missing on the other side, this
/// is what is missing there, and nobody's.
fn one_sided_party(
    here: &Request<'_>,
    at: Index,
    pair: Pair<'_, '_>,
    direction: Direction,
) -> Option<Party> {
    let mut above = at;
    while let Some(parent) = here.at(above).parent {
        let counterpart = match direction {
            Direction::Added => pair.alignment.of_spiked(parent),
            Direction::Removed => pair.alignment.of_baseline(parent),
        };
        if let Some(counterpart) = counterpart {
            let there = match direction {
                Direction::Added => pair.baseline,
                Direction::Removed => pair.spiked,
            };
            let is_edge = |place| matches!(place, Place::Edge(_));
            if is_edge(here.place(parent)) && !is_edge(there.place(counterpart)) {
                return None;
            }
            break;
        }
        above = parent;
    }
    let of = |kind, name| Some(Party { kind, name, from: None });
    match here.place(at) {
        Place::Own(name) => of(SuspectKind::Service, name),
        Place::Dependency(name) => of(SuspectKind::Dependency, name),
        // An added call's way there and back is the callee's as much as the caller's: the caller added it.
        Place::Edge(_) => of(SuspectKind::Service, here.at(at).key.service),
        Place::Unknown => None,
    }
}

/// Sets what is hidden off against parts of the opposite sign below the span where it is settled.
fn set_off(pair: Pair<'_, '_>, hidden: &mut Hidden, parts: &mut [Part]) {
    let mut below: BTreeMap<Spot, Vec<usize>> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        for spot in ways_up(pair, part.spot) {
            if hidden.get(&spot).is_some_and(|&nanos| nanos != 0) {
                below.entry(spot).or_default().push(at);
            }
        }
    }
    // The deepest first: what hides there has been there before anything further up.
    let depth = |spot: &Spot| {
        let before = spot.baseline.map(|at| pair.baseline.depth(at));
        before.max(spot.spiked.map(|at| pair.spiked.depth(at)))
    };
    let mut spots: Vec<Spot> = below.keys().copied().collect();
    spots.sort_by_key(|spot| (std::cmp::Reverse(depth(spot)), *spot));
    for spot in spots {
        let Some(net) = hidden.get_mut(&spot) else { continue };
        let mut chosen: Vec<usize> = below[&spot].clone();
        chosen.sort_unstable();
        chosen.dedup();
        chosen.retain(|&at| parts[at].nanos.signum() == -net.signum());
        scale_down(parts, &chosen, net);
    }
}

/// Takes from the chosen parts, each by its size, as much as the net is; what they lack stays in the net.
fn scale_down(parts: &mut [Part], chosen: &[usize], net: &mut i64) {
    let total: i128 = chosen.iter().map(|&at| i128::from(parts[at].nanos)).sum();
    if total == 0 {
        return;
    }
    let taken = i128::from(*net).abs().min(total.abs()) * total.signum();
    let (mut seen, mut given) = (0i128, 0i128);
    for &at in chosen {
        seen += i128::from(parts[at].nanos);
        let upto = taken * seen / total;
        let share = i64::try_from(upto - given).unwrap_or(0);
        given = upto;
        parts[at].nanos -= share;
        *net += share;
    }
}

/// All spots above a part, on either side.
fn ways_up(pair: Pair<'_, '_>, spot: Spot) -> Vec<Spot> {
    let mut spots = Vec::new();
    let mut at = spot.spiked.and_then(|at| pair.spiked.at(at).parent);
    while let Some(index) = at {
        spots.push(spot_of_spiked(pair, index));
        at = pair.spiked.at(index).parent;
    }
    let mut at = spot.baseline.and_then(|at| pair.baseline.at(at).parent);
    while let Some(index) = at {
        spots.push(spot_of_baseline(pair, index));
        at = pair.baseline.at(index).parent;
    }
    spots.sort_unstable();
    spots.dedup();
    spots
}

/// What is left at a span under which others overlap.
fn lost_overlap(pair: Pair<'_, '_>, spot: Spot, nanos: i64) -> Part {
    let key = match spot {
        Spot { spiked: Some(at), .. } => pair.spiked.at(at).key,
        Spot { baseline, .. } => pair.baseline.at(baseline.unwrap_or(pair.baseline.entry)).key,
    };
    let party = Some(Party { kind: SuspectKind::Service, name: key.service, from: None });
    Part { party, reason: Reason::LostParallelism, spot, key, usual: 0, nanos }
}
