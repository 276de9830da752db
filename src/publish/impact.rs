//! Which entries are slower now, and by how much: what `laghound_entry_recent_seconds` shows.
//!
//! The sums of `laghound_entry_excess_seconds_total` say what a slowdown costs; how bad it is for
//! whoever waits is said by the time of one request, before and now. An entry of two open incidents
//! is one row, of the incident in which it loses more. Nothing is decided here.

use std::collections::BTreeMap;

use crate::engine::verdict::{EntryImpact, Incident};

/// The entries of all open incidents by (service, operation, kind); of more than `limit`, those with
/// the most excess.
pub(super) fn entries(open: &[Incident], limit: usize) -> Vec<&EntryImpact> {
    let mut by_name = BTreeMap::new();
    for entry in open.iter().flat_map(|incident| &incident.entries) {
        let known = by_name.entry(name(entry)).or_insert(entry);
        if entry.excess_seconds > known.excess_seconds {
            *known = entry;
        }
    }
    let mut all: Vec<&EntryImpact> = by_name.into_values().collect();
    if all.len() > limit {
        all.sort_by(|a, b| {
            b.excess_seconds.total_cmp(&a.excess_seconds).then_with(|| name(a).cmp(&name(b)))
        });
        all.truncate(limit);
        all.sort_by(|a, b| name(a).cmp(&name(b)));
    }
    all
}

fn name(entry: &EntryImpact) -> (&str, &str, crate::model::SpanKind) {
    (&entry.service, &entry.operation, entry.span_kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::testing::incident;

    fn losing(service: &str, excess_seconds: f64, recent_seconds: f64) -> Incident {
        let mut one = incident(1, excess_seconds, Vec::new());
        one.entries[0].service = service.into();
        one.entries[0].recent_seconds = recent_seconds;
        one
    }

    #[test]
    fn an_entry_of_two_incidents_is_one_of_that_in_which_it_loses_more() {
        let open = [losing("a", 1.0, 0.2), losing("a", 3.0, 0.4), losing("a", 2.0, 0.3)];
        let rows = entries(&open, 10);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].recent_seconds, 0.4);
    }

    #[test]
    fn beyond_the_limit_those_that_lose_most_stay_in_the_order_of_names() {
        let open = [losing("c", 3.0, 0.2), losing("a", 1.0, 0.2), losing("b", 2.0, 0.2)];
        let names: Vec<&str> = entries(&open, 2).iter().map(|row| &*row.service).collect();
        assert_eq!(names, ["b", "c"]);
    }
}
