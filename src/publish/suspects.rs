//! Several open incidents, one list of suspects: what `laghound_suspect_score` shows.
//!
//! A service suspected in two incidents is one suspect here, as one person is paged for it. Each
//! incident weighs as much as its excess, so that the scores of one moment add up to at most 1.

use std::collections::BTreeMap;

use crate::engine::verdict::{Incident, Suspect, SuspectKind};

/// A suspect over all open incidents.
pub(super) struct Combined<'a> {
    /// Share of all current excess, 0 to 1.
    pub(super) score: f64,
    /// The incident's suspect that contributes most to `score`: it says why.
    pub(super) main: &'a Suspect,
    main_score: f64,
}

/// The suspects of all open incidents by (service, kind); of more than `limit`, those with the
/// highest scores.
pub(super) fn combine(open: &[Incident], limit: usize) -> Vec<Combined<'_>> {
    let mut by_name: BTreeMap<(&str, SuspectKind), Combined<'_>> = BTreeMap::new();
    for (incident, weight) in open.iter().zip(weights(open)) {
        for suspect in &incident.suspects {
            let score = weight * unit(suspect.score);
            let new = Combined { score: 0.0, main: suspect, main_score: score };
            let known = by_name.entry((&suspect.service, suspect.kind)).or_insert(new);
            known.score += score;
            if score > known.main_score {
                (known.main, known.main_score) = (suspect, score);
            }
        }
    }
    let mut all: Vec<Combined<'_>> = by_name.into_values().collect();
    if all.len() > limit {
        all.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| name(a).cmp(&name(b))));
        all.truncate(limit);
        all.sort_by(|a, b| name(a).cmp(&name(b)));
    }
    // Only rounding, or an engine that broke its own law, can bring the sum above 1.
    let sum: f64 = all.iter().map(|one| one.score).sum();
    if sum > 1.0 {
        all.iter_mut().for_each(|one| one.score /= sum);
    }
    all
}

fn name<'a>(one: &Combined<'a>) -> (&'a str, SuspectKind) {
    (&one.main.service, one.main.kind)
}

/// What each incident counts for; the weights add up to 1.
fn weights(open: &[Incident]) -> Vec<f64> {
    let excess = |incident: &Incident| match incident.excess_seconds {
        seconds if seconds.is_finite() => seconds.max(0.0),
        _ => 0.0,
    };
    let total: f64 = open.iter().map(excess).sum();
    if total > 0.0 && total.is_finite() {
        open.iter().map(|incident| excess(incident) / total).collect()
    } else {
        open.iter().map(|_| 1.0 / open.len() as f64).collect()
    }
}

/// The number within 0 to 1; nothing for what is no number.
fn unit(score: f64) -> f64 {
    if score.is_finite() { score.clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::publish::testing::{incident, suspect};

    #[test]
    fn one_incident_shows_its_own_scores() {
        let open = [incident(1, 12.0, vec![suspect(1, "cart", 0.9), suspect(2, "db", 0.05)])];
        let scores: Vec<_> = combine(&open, 10).iter().map(|one| one.score).collect();
        assert_eq!(scores, [0.9, 0.05]);
    }

    #[test]
    fn a_suspect_of_two_incidents_is_one_weighted_by_excess() {
        // 30 s and 10 s of excess: weights 3/4 and 1/4.
        let mut second = suspect(1, "cart", 0.4);
        second.operation = "GET /other".into();
        let open = [
            incident(1, 30.0, vec![suspect(1, "cart", 0.8), suspect(2, "db", 0.2)]),
            incident(2, 10.0, vec![second]),
        ];
        let both = combine(&open, 10);
        assert_eq!(both.len(), 2);
        assert_eq!(&*both[0].main.service, "cart");
        assert_eq!(&*both[0].main.operation, "GET /items");
        assert!((both[0].score - (0.75 * 0.8 + 0.25 * 0.4)).abs() < 1e-12);
        assert!((both[1].score - 0.75 * 0.2).abs() < 1e-12);
    }

    #[test]
    fn beyond_the_limit_the_highest_stay() {
        let suspects = vec![suspect(1, "z", 0.5), suspect(2, "a", 0.3), suspect(3, "b", 0.1)];
        let open = [incident(1, 1.0, suspects)];
        let names: Vec<_> =
            combine(&open, 2).iter().map(|one| one.main.service.to_string()).collect();
        assert_eq!(names, ["a", "z"]);
    }

    #[test]
    fn nothing_but_numbers_comes_out_of_broken_numbers() {
        let open = [
            incident(1, f64::NAN, vec![suspect(1, "a", f64::NAN), suspect(2, "b", -3.0)]),
            incident(2, f64::INFINITY, vec![suspect(1, "c", 7.0)]),
        ];
        let scores: Vec<_> = combine(&open, 9).iter().map(|one| one.score).collect();
        assert_eq!(scores, [0.0, 0.0, 0.5]);
    }

    proptest! {
        #[test]
        fn scores_of_a_moment_add_up_to_at_most_one(
            incidents in prop::collection::vec(
                (0.0..1e6f64, prop::collection::vec(("[a-e]", 0.0..1.0f64), 0..6)), 0..6),
        ) {
            let open: Vec<_> = incidents.into_iter().map(|(excess, parts)| {
                let sum: f64 = parts.iter().map(|part| part.1).sum::<f64>().max(1.0);
                incident(1, excess, parts.into_iter().map(|(service, part)| {
                    suspect(1, &service, part / sum)
                }).collect())
            }).collect();
            let total: f64 = combine(&open, 100).iter().map(|one| one.score).sum();
            prop_assert!(total <= 1.0 + 1e-12, "{}", total);
        }
    }
}
