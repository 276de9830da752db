//! When a slowdown began, and whether it goes on: from what is hot, by what it cost in each slice.
//!
//! Tests look back over minutes, because what is rare needs them; so they say for minutes that something
//! has been slow after it has ended. Here only the course of time counts, and no evidence.

use std::collections::BTreeSet;

use super::aggregate::Id;
use super::attribute::attribute;
use super::detect::Hot;
use super::judge::{Judge, OpenIncident};
use super::roles::Role;
use super::rolling::{Cohort, Tick};
use super::verdict::Reason::{CallCount, LostParallelism, NewOperation};

impl Judge {
    /// A slowdown of which less than this share is left has ended.
    const LEFT: f64 = 0.25;

    /// Where the sum of what is hot begins to rise: each slice counts for what it has beyond half of
    /// what the newest ones have.
    pub(super) fn onset(&self, hot: &Hot, affected: &BTreeSet<Id>) -> Tick {
        let [.., longest] = self.params.detection.windows;
        let first = (self.tick + 1).saturating_sub(longest).max(self.over + 1).min(self.tick);
        let heat: Vec<f64> =
            (first..=self.tick).map(|tick| self.heat(Cohort::at(tick), hot, affected).0).collect();
        let newest = &heat[heat.len().saturating_sub(3)..];
        let half = newest.iter().sum::<f64>() / newest.len().max(1) as f64 / 2.0;
        let mut best = (f64::MIN, self.tick);
        let mut sum = 0.0;
        for (back, heat) in (0..).zip(heat.iter().rev()) {
            sum += heat - half;
            if sum >= best.0 {
                best = (sum, self.tick - back);
            }
        }
        best.1
    }

    /// The slowdown has not ended meanwhile: in the last third of its slices a call of what is hot
    /// still costs at least a quarter of the rise. Where none was made nothing is known to have ended.
    pub(super) fn goes_on(&self, onset: Tick, hot: &Hot, affected: &BTreeSet<Id>) -> bool {
        let slices = self.tick + 1 - onset.min(self.tick);
        if slices < self.params.detection.min_lasting {
            return false;
        }
        let last = (slices / 3).max(2).min(slices);
        self.is_left(onset, last, hot, affected)
    }

    /// The same of an open incident: that much is left of it in the last minute. The longest window says for
    /// minutes after the end that something was slow.
    pub(super) fn still_goes_on(&self, open: &OpenIncident) -> bool {
        let detection = &self.params.detection;
        let [_, minute, ..] = detection.windows;
        let from = open.onset.max((self.tick + 1).saturating_sub(detection.cohort));
        self.is_left(from, minute, &open.hot, &open.affected)
    }

    fn is_left(&self, from: Tick, last: u64, hot: &Hot, affected: &BTreeSet<Id>) -> bool {
        let (heat, calls) = self.heat(Cohort::since(from), hot, affected);
        let (newest, newest_calls) = self.heat(Cohort::newest(last, self.tick), hot, affected);
        newest * calls as f64 >= Judge::LEFT * heat * newest_calls as f64
    }

    /// Nanoseconds that hot things cost above expectation, and their calls.
    fn heat(&self, cohort: Cohort, hot: &Hot, affected: &BTreeSet<Id>) -> (f64, u64) {
        let attribution = attribute(&self.scene(), cohort, affected, hot, &BTreeSet::new());
        let nodes = attribution.parts.nodes.iter().filter(|(id, _)| hot.nodes.contains(id));
        let (slower, calls) = nodes.fold((0.0, 0), |(slower, calls), (_, part)| {
            (slower + part.per_call.saturating_add(part.new) as f64, calls + part.calls)
        });
        let claims = attribution.accused.iter().flat_map(|accused| &accused.claims);
        let others = claims.filter(|claim| {
            matches!(claim.reason, CallCount | NewOperation | LostParallelism)
                || matches!(self.roles.of(claim.node), Role::Failure(_))
                    && !hot.nodes.contains(&claim.node)
        });
        let (others, other_calls) = others
            .fold((0.0, 0), |(nanos, calls), claim| (nanos + claim.nanos, calls + claim.calls));
        (slower + others, calls + other_calls)
    }
}
