//! Seconds put on suspects and entries, counted up slice by slice: the additive series.
//!
//! While an incident is open every slice's excess is shared out on its own and added here, so the
//! counters of several replicas, or of several hours, may be summed. What the suspects of a slice get
//! is at most what its entries lost.

use std::collections::BTreeMap;

use super::attribute::{Attribution, Claim};
use super::decompose::rounded;
use super::detect::Scene;
use super::roles::Party;
use super::verdict::{EntryExcessRow, ExcessRow, Exemplar, Reason};
use crate::model::{Held, Interner, Key, Nanos, SpanKind, Sym, Timestamp};

/// The counters so far.
#[derive(Default)]
pub(super) struct Tally {
    suspects: BTreeMap<(Party, Sym, SpanKind, Reason), Counter>,
    entries: BTreeMap<(Sym, Sym, SpanKind), Counter>,
}

#[derive(Default)]
struct Counter {
    /// Nanoseconds: whole ones add up in any order.
    nanos: i64,
    exemplar: Option<Exemplar>,
    at: Timestamp,
}

impl Tally {
    /// Adds a cohort that ended at `at`.
    pub(super) fn add(&mut self, scene: &Scene<'_>, cohort: &Attribution, at: Timestamp) {
        let total = cohort.parts.total as f64;
        if total <= 0.0 {
            return;
        }
        let scale = if cohort.claimed > total { total / cohort.claimed } else { 1.0 };
        for claim in cohort.accused.iter().flat_map(|accused| &accused.claims) {
            let Some(key) = scene.roles.key(scene.history.node(claim.node).key) else { continue };
            self.add_claim(scene, claim, key, scale, at);
        }
        for &(id, ref part) in &cohort.parts.entries {
            let node = scene.history.node(scene.history.entry(id).node);
            let Some(key) = scene.roles.key(node.key).filter(|_| part.excess > 0) else { continue };
            let counter = self.entries.entry((key.service, key.name, key.kind)).or_default();
            counter.nanos = counter.nanos.saturating_add(part.excess);
            counter.at = at;
        }
    }

    fn add_claim(&mut self, scene: &Scene<'_>, claim: &Claim, key: Key, scale: f64, at: Timestamp) {
        let row = (claim.party, key.name, key.kind, claim.reason);
        let counter = self.suspects.entry(row).or_default();
        let nanos = rounded(claim.nanos * scale);
        counter.nanos = counter.nanos.saturating_add(nanos);
        counter.at = at;
        let slowest = scene.history.node(claim.node).slowest_since(scene.now, 1);
        if let Some(slowest) = slowest.first() {
            counter.exemplar =
                Some(Exemplar { trace: slowest.trace, seconds: nanos as f64 / 1e9, at });
        }
    }

    /// Forgets the counters that have been idle for `expire`, so that they are not published any more, and
    /// are of names not known any more.
    pub(super) fn forget(&mut self, now: Timestamp, expire: Nanos, is_known: impl Fn(Sym) -> bool) {
        let stays = |names: [Sym; 2], counter: &Counter| {
            now.since(counter.at) < expire || names.into_iter().all(&is_known)
        };
        self.suspects.retain(|&(party, name, ..), its| stays([party.name, name], its));
        self.entries.retain(|&(service, name, _), its| stays([service, name], its));
    }

    /// Says which names it holds.
    pub(super) fn hold(&self, held: &mut Held) {
        for &(party, name, ..) in self.suspects.keys() {
            [party.name, name].into_iter().for_each(|name| held.name(name));
        }
        for &(service, name, _) in self.entries.keys() {
            [service, name].into_iter().for_each(|name| held.name(name));
        }
    }

    /// Counters by suspect, by name; those idle for `expire` are left out.
    pub(super) fn suspects(
        &self,
        names: &Interner,
        now: Timestamp,
        expire: Nanos,
    ) -> Vec<ExcessRow> {
        let live = self.suspects.iter().filter(|(_, counter)| now.since(counter.at) < expire);
        let mut rows: Vec<ExcessRow> = live
            .map(|(&(party, name, span_kind, reason), counter)| ExcessRow {
                service: names.text(party.name),
                kind: party.kind,
                operation: names.text(name),
                span_kind,
                reason,
                seconds: counter.nanos as f64 / 1e9,
                exemplar: counter.exemplar,
            })
            .collect();
        rows.sort_by(|one, two| {
            let order = |row: &ExcessRow| {
                (row.service.clone(), row.kind, row.operation.clone(), row.span_kind, row.reason)
            };
            order(one).cmp(&order(two))
        });
        rows
    }

    /// Counters by entry, by name; those idle for `expire` are left out.
    pub(super) fn entries(
        &self,
        names: &Interner,
        now: Timestamp,
        expire: Nanos,
    ) -> Vec<EntryExcessRow> {
        let live = self.entries.iter().filter(|(_, counter)| now.since(counter.at) < expire);
        let mut rows: Vec<EntryExcessRow> = live
            .map(|(&(service, operation, span_kind), counter)| EntryExcessRow {
                service: names.text(service),
                operation: names.text(operation),
                span_kind,
                seconds: counter.nanos as f64 / 1e9,
            })
            .collect();
        rows.sort_by(|one, two| {
            let order =
                |row: &EntryExcessRow| (row.service.clone(), row.operation.clone(), row.span_kind);
            order(one).cmp(&order(two))
        });
        rows
    }
}
