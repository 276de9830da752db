//! How sure a verdict is: of those that say 0.9, nine in ten are right.
//!
//! Two things tell a right verdict from a wrong one: how much of the excess one suspect has, and how
//! much slower requests are, because small slowdowns have many fathers (waves, pauses, queues that come
//! and go). The odds were fitted to verdicts of the fault laboratory on seeds that are for development;
//! its report holds them against others.

use super::verdict::{EntryImpact, Suspect};

/// What speaks against any verdict.
const BEFOREHAND: f64 = -0.5;
/// What the first suspect's share speaks for it.
const OF_SHARE: f64 = 4.0;
/// From this rise of an entry on, its size no longer speaks against the verdict.
const LARGE_RISE: f64 = 0.5;
/// Below this rise none is told from chance.
const LEAST_RISE: f64 = 0.01;

/// Probability that the first suspect made the entries slower.
pub(super) fn confidence(suspects: &[Suspect], entries: &[EntryImpact]) -> f64 {
    let Some(first) = suspects.first() else { return 0.0 };
    let rise = |entry: &EntryImpact| match entry.baseline_seconds {
        baseline if baseline > 0.0 => entry.recent_seconds / baseline - 1.0,
        _ => 0.0,
    };
    let largest = entries.iter().map(rise).fold(LEAST_RISE, f64::max);
    let by_size = (largest / LARGE_RISE).ln().min(0.0);
    let log_odds = BEFOREHAND + OF_SHARE * first.score + by_size;
    1.0 / (1.0 + (-log_odds).exp())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::verdict::{Pattern, Reason, SuspectKind};
    use super::*;
    use crate::model::SpanKind;

    fn of(score: f64, rise: f64) -> f64 {
        let entry = EntryImpact {
            service: Arc::from("shop"),
            operation: Arc::from("GET /"),
            span_kind: SpanKind::Server,
            excess_seconds: rise,
            baseline_seconds: 1.0,
            recent_seconds: 1.0 + rise,
        };
        let suspect = Suspect {
            rank: 1,
            service: Arc::from("cart"),
            kind: SuspectKind::Service,
            operation: Arc::from("GET /items"),
            span_kind: SpanKind::Server,
            score,
            excess_seconds: rise,
            reason: Reason::SelfTime,
            pattern: Pattern::Sustained,
            where_: None,
            baseline_seconds: 1.0,
            recent_seconds: 1.0 + rise,
            calls: 10,
            example_trace_ids: Vec::new(),
        };
        confidence(&[suspect], &[entry])
    }

    #[test]
    fn a_clear_cause_of_a_large_rise_is_nearly_sure() {
        // Log-odds of 3.5 and above.
        assert!((of(1.0, 0.5) - 0.970_687).abs() < 1e-6);
        assert!((of(1.0, 9.0) - of(1.0, 0.5)).abs() < 1e-12);
    }

    #[test]
    fn half_a_cause_or_a_tenth_of_a_rise_is_less_sure() {
        assert!(of(0.5, 0.5) < 0.85 && of(1.0, 0.1) < 0.90);
        assert!(of(0.5, 0.1) < 0.5);
        assert!(of(0.9, 0.2) < of(0.9, 0.3) && of(0.8, 0.3) < of(0.9, 0.3));
    }

    #[test]
    fn nobody_is_not_somebody() {
        assert_eq!(confidence(&[], &[]).to_bits(), 0.0f64.to_bits());
    }
}
