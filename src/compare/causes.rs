//! From parts of the difference to causes: what is beyond drift, added up by party, ranked.
//!
//! Nothing is decided here about the comparison as a whole, and nothing about single spans.

use std::collections::BTreeMap;

use super::difference::{Pair, Part, Party, Spot};
use super::events;
use super::verdict::{Cause, Change};
use crate::engine::verdict::{Reason, Where};
use crate::model::{Interner, Key, SpanKind, Sym};

/// A cause with the place where it was found.
pub(super) struct Found {
    pub(super) cause: Cause,
    /// Nanoseconds of the difference.
    pub(super) nanos: i64,
    /// Where most of it lies.
    pub(super) spot: Spot,
}

/// Parts of the same kind.
struct Claim {
    party: Party,
    reason: Reason,
    key: Key,
    nanos: i64,
    parts: Vec<Part>,
}

/// Who, how, and in which operation; of new work in whichever.
type ClaimKey = (Party, Reason, Option<(Sym, SpanKind)>);

/// Causes below this share of the whole are not worth a line.
const MIN_SHARE: f64 = 0.02;

/// The causes of a difference of `delta` nanoseconds, those of its sign first, by size.
pub(super) fn find(pair: Pair<'_, '_>, parts: &[Part], delta: i64, names: &Interner) -> Vec<Found> {
    let claims = claims(parts, delta);
    let mut by_party: BTreeMap<(Party, bool), Vec<Claim>> = BTreeMap::new();
    for claim in claims {
        by_party.entry((claim.party, claim.nanos < 0)).or_default().push(claim);
    }
    let sum = |claims: &[Claim]| claims.iter().map(|claim| claim.nanos).sum::<i64>();
    // Shares are shares of the difference, or of all causes of its sign if others went the other way.
    let same_sign = by_party.values().map(|claims| sum(claims)).filter(|n| (*n < 0) == (delta < 0));
    let whole = same_sign.sum::<i64>().unsigned_abs().max(delta.unsigned_abs()) as f64;
    let mut found: Vec<Found> = by_party
        .into_values()
        .filter(|claims| sum(claims).unsigned_abs() as f64 >= MIN_SHARE * whole)
        .map(|claims| cause(pair, claims, whole, names))
        .collect();
    let direction = delta.signum();
    found.sort_by(|one, two| {
        let names = |found: &Found| (found.cause.service.clone(), found.cause.kind);
        (two.nanos * direction)
            .cmp(&(one.nanos * direction))
            .then_with(|| names(one).cmp(&names(two)))
    });
    for (at, found) in found.iter_mut().enumerate() {
        found.cause.rank = at + 1;
    }
    found
}

/// Parts added up by party, operation and reason, as far as they are beyond drift.
fn claims(parts: &[Part], delta: i64) -> Vec<Claim> {
    let mut sums: BTreeMap<ClaimKey, Claim> = BTreeMap::new();
    for part in parts.iter().filter(|part| part.nanos != 0) {
        let Some(party) = part.party else { continue };
        // What a party does anew is set against what it no longer does: a renamed operation is both.
        let key = (part.reason != Reason::NewOperation).then_some((part.key.name, part.key.kind));
        let Part { reason, key: operation, .. } = *part;
        let claim = sums.entry((party, reason, key)).or_insert_with(|| Claim {
            party,
            reason,
            key: operation,
            nanos: 0,
            parts: Vec::new(),
        });
        claim.nanos += part.nanos;
        claim.parts.push(*part);
    }
    let mut claims: Vec<Claim> =
        sums.into_values().filter(|claim| claim.is_believed(delta)).collect();
    for claim in &mut claims {
        let sign = claim.nanos.signum();
        claim.parts.sort_by_key(|part| (std::cmp::Reverse(part.nanos * sign), part.spot));
        claim.key = claim.parts.first().map_or(claim.key, |part| part.key);
    }
    claims
}

impl Claim {
    /// A call drifts by a fifth and 0.3 ms; of many calls the drifts even out, so the absolute part
    /// grows with the root of their number. Half of a difference that is no drift itself is none either.
    fn is_believed(&self, delta: i64) -> bool {
        let usual: u64 = self.parts.iter().map(|part| part.usual).sum();
        let drift = 0.2 * usual as f64 + 0.3e6 * (self.parts.len() as f64).sqrt();
        let size = self.nanos.unsigned_abs() as f64;
        let most = (self.nanos < 0) == (delta < 0) && size >= 0.5 * delta.unsigned_abs() as f64;
        self.nanos != 0 && (size > drift || most)
    }
}

fn cause(pair: Pair<'_, '_>, mut claims: Vec<Claim>, whole: f64, names: &Interner) -> Found {
    claims.sort_by_key(|claim| {
        (std::cmp::Reverse(claim.nanos.unsigned_abs()), claim.reason, names.text(claim.key.name))
    });
    let nanos: i64 = claims.iter().map(|claim| claim.nanos).sum();
    let main = &claims[0];
    let spot = main.parts.first().map_or(Spot { baseline: None, spiked: None }, |part| part.spot);
    let (before, after) = own_seconds(pair, main);
    let event_gaps = match main.reason {
        Reason::SelfTime | Reason::CallGap => events::gaps(pair, spot, names, nanos < 0),
        _ => Vec::new(),
    };
    let from = main.party.from.map(|from| Where {
        attribute: "from".into(),
        value: names.text(from),
        share: 1.0,
    });
    let cause = Cause {
        rank: 0,
        service: names.text(main.party.name),
        kind: main.party.kind,
        operation: names.text(main.key.name),
        share: nanos as f64 / whole.max(1.0),
        excess_seconds: nanos as f64 / 1e9,
        baseline_self_seconds: before,
        spiked_self_seconds: after,
        reason: if nanos < 0 { Change::Improved } else { Change::Worse(main.reason) },
        event_gaps,
        pattern: None,
        where_: from,
        example_trace_ids: Vec::new(),
    };
    Found { cause, nanos, spot }
}

/// Mean own time of a call of the operation, on either side, seconds.
fn own_seconds(pair: Pair<'_, '_>, claim: &Claim) -> (f64, f64) {
    let mean = |times: Vec<u64>| {
        let sum: u64 = times.iter().sum();
        if times.is_empty() { 0.0 } else { sum as f64 / times.len() as f64 / 1e9 }
    };
    let mut spots: Vec<Spot> = claim
        .parts
        .iter()
        .map(|part| match claim.reason {
            // The calls were counted where they are made.
            Reason::CallCount => callers(pair, part.spot),
            _ => part.spot,
        })
        .collect();
    spots.sort_unstable();
    spots.dedup();
    let own = |request: &super::request::Request<'_>, at| request.costs.of(at).self_time.0;
    let before = spots.iter().filter_map(|spot| Some(own(pair.baseline, spot.baseline?))).collect();
    let after = spots.iter().filter_map(|spot| Some(own(pair.spiked, spot.spiked?))).collect();
    (mean(before), mean(after))
}

fn callers(pair: Pair<'_, '_>, spot: Spot) -> Spot {
    if let Some(parent) = spot.spiked.and_then(|at| pair.spiked.at(at).parent) {
        return Spot { baseline: pair.alignment.of_spiked(parent), spiked: Some(parent) };
    }
    match spot.baseline.and_then(|at| pair.baseline.at(at).parent) {
        Some(parent) => Spot { baseline: Some(parent), spiked: pair.alignment.of_baseline(parent) },
        None => spot,
    }
}
