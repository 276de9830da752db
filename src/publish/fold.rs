//! Keeps a family of series below its limit by folding rows together, without losing a count.
//!
//! First the tail of the services with the most rows folds into `__overflow__` of their own, so that
//! a service with a million span names takes nothing from its neighbours; only when the services
//! themselves are too many do the last of them fold into the service `__overflow__`. Which rows stay
//! depends on names alone, so it is the same at every scrape and in every replica.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::sync::Arc;

use crate::engine::verdict::{EntryExcessRow, ExcessRow, Operation};
use crate::model::{OVERFLOW, SpanKind};

/// A row of counters that belongs to an operation of a service.
pub(super) trait Row: Clone {
    /// The most rows into which those of one service can fold.
    const WIDTH: usize;
    fn service(&self) -> &Arc<str>;
    fn operation(&self) -> &str;
    /// By service, operation, and whatever else tells two rows apart.
    fn order(&self, other: &Self) -> Ordering;
    /// What is left of this row when its operation loses its name.
    fn folded(&self, service: Arc<str>) -> Self;
    /// Adds the counters of `other`.
    fn absorb(&mut self, other: &Self);

    fn is_overflow(&self) -> bool {
        self.operation() == OVERFLOW || &**self.service() == OVERFLOW
    }
}

impl Row for Operation {
    const WIDTH: usize = SpanKind::ALL.len();
    fn service(&self) -> &Arc<str> {
        &self.service
    }
    fn operation(&self) -> &str {
        &self.name
    }
    fn order(&self, other: &Self) -> Ordering {
        (&self.service, &self.name, self.kind).cmp(&(&other.service, &other.name, other.kind))
    }
    fn folded(&self, service: Arc<str>) -> Self {
        Operation {
            service,
            name: Arc::from(OVERFLOW),
            kind: self.kind,
            spans: self.spans,
            flagged: self.flagged,
            baseline: None,
            recent: None,
            threshold: None,
            exemplar: None,
        }
    }
    fn absorb(&mut self, other: &Self) {
        self.spans = self.spans.saturating_add(other.spans);
        self.flagged = self.flagged.saturating_add(other.flagged);
    }
}

impl Row for ExcessRow {
    /// Suspect kinds times reasons; the span kind is given up.
    const WIDTH: usize = 3 * 5;
    fn service(&self) -> &Arc<str> {
        &self.service
    }
    fn operation(&self) -> &str {
        &self.operation
    }
    fn order(&self, other: &Self) -> Ordering {
        let key = |row: &Self| (row.kind, row.span_kind, row.reason);
        (&self.service, &self.operation, key(self)).cmp(&(
            &other.service,
            &other.operation,
            key(other),
        ))
    }
    fn folded(&self, service: Arc<str>) -> Self {
        ExcessRow {
            service,
            operation: Arc::from(OVERFLOW),
            span_kind: SpanKind::Unspecified,
            exemplar: None,
            ..*self
        }
    }
    fn absorb(&mut self, other: &Self) {
        self.seconds += other.seconds;
    }
}

impl Row for EntryExcessRow {
    const WIDTH: usize = SpanKind::ALL.len();
    fn service(&self) -> &Arc<str> {
        &self.service
    }
    fn operation(&self) -> &str {
        &self.operation
    }
    fn order(&self, other: &Self) -> Ordering {
        (&self.service, &self.operation, self.span_kind).cmp(&(
            &other.service,
            &other.operation,
            other.span_kind,
        ))
    }
    fn folded(&self, service: Arc<str>) -> Self {
        EntryExcessRow { service, operation: Arc::from(OVERFLOW), ..*self }
    }
    fn absorb(&mut self, other: &Self) {
        self.seconds += other.seconds;
    }
}

/// At most `limit` rows (never fewer than [`Row::WIDTH`]) with the same sums, in order.
pub(super) fn fold<R: Row>(rows: &[impl Borrow<R>], limit: usize) -> Vec<Cow<'_, R>> {
    let mut sorted: Vec<&R> = rows.iter().map(Borrow::borrow).collect();
    sorted.sort_by(|a, b| a.order(b));
    let mut kept = Vec::with_capacity(sorted.len().min(limit));
    if sorted.len() <= limit {
        kept.extend(sorted.into_iter().map(Cow::Borrowed));
        return kept;
    }
    let services: Vec<&[&R]> =
        sorted.chunk_by(|a, b| a.service() == b.service()).filter(|s| !is_rest(s)).collect();
    let left = limit.saturating_sub(R::WIDTH);
    let share = fair_share(&services, left, R::WIDTH);
    let mut rest: Folded<R> = Folded::new(Arc::from(OVERFLOW));
    sorted.iter().filter(|row| &**row.service() == OVERFLOW).for_each(|row| rest.add(row));
    for service in &services {
        let needed = service.len().min(share);
        if kept.len() + needed > left {
            service.iter().for_each(|row| rest.add(row));
        } else if service.len() <= share {
            kept.extend(service.iter().copied().map(Cow::Borrowed));
        } else {
            keep_first(service, share - R::WIDTH, &mut kept);
        }
    }
    kept.extend(rest.rows.into_iter().map(Cow::Owned));
    kept.sort_by(|a, b| a.order(b));
    kept
}

/// The rows that were folded beyond all services before they came here.
fn is_rest<R: Row>(service: &[&R]) -> bool {
    service.first().is_some_and(|row| &**row.service() == OVERFLOW)
}

/// The largest number of rows each service may have so that all of them fit into `limit`; at least
/// `least`, with which they may not fit.
fn fair_share<R>(services: &[&[R]], limit: usize, least: usize) -> usize {
    let mut sizes: Vec<usize> = services.iter().map(|service| service.len()).collect();
    sizes.sort_unstable();
    let mut left = limit;
    for (done, size) in sizes.iter().enumerate() {
        let share = left / (sizes.len() - done);
        if *size > share {
            return share.max(least);
        }
        left -= size;
    }
    usize::MAX
}

/// Keeps the first `own` rows that have a name; the others fold into the overflow of the service.
fn keep_first<'a, R: Row>(service: &[&'a R], own: usize, kept: &mut Vec<Cow<'a, R>>) {
    let mut left = own;
    let mut folded: Option<Folded<R>> =
        service.first().map(|row| Folded::new(Arc::clone(row.service())));
    for row in service {
        if left > 0 && !row.is_overflow() {
            left -= 1;
            kept.push(Cow::Borrowed(row));
        } else if let Some(folded) = &mut folded {
            folded.add(row);
        }
    }
    kept.extend(folded.into_iter().flat_map(|folded| folded.rows).map(Cow::Owned));
}

/// The overflow rows of one service: at most [`Row::WIDTH`].
struct Folded<R> {
    service: Arc<str>,
    rows: Vec<R>,
}

impl<R: Row> Folded<R> {
    fn new(service: Arc<str>) -> Folded<R> {
        Folded { service, rows: Vec::new() }
    }

    fn add(&mut self, row: &R) {
        let row = row.folded(Arc::clone(&self.service));
        match self.rows.iter_mut().find(|known| known.order(&row) == Ordering::Equal) {
            Some(known) => known.absorb(&row),
            None => self.rows.push(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::publish::testing::operation;

    fn names(rows: &[Cow<'_, Operation>]) -> Vec<String> {
        rows.iter().map(|row| format!("{}/{} {}", row.service, row.name, row.spans)).collect()
    }

    #[test]
    fn below_the_limit_every_row_keeps_its_name() {
        let rows = [operation("b", "x", 1), operation("a", "x", 2), operation("a", "w", 3)];
        assert_eq!(names(&fold(&rows, 7)), ["a/w 3", "a/x 2", "b/x 1"]);
    }

    #[test]
    fn a_noisy_service_folds_and_its_neighbours_do_not() {
        let mut rows: Vec<Operation> = Vec::new();
        rows.extend((0..100).map(|n| operation("noisy", &format!("op{n:03}"), 1)));
        rows.extend((0..5).map(|n| operation("quiet", &format!("op{n}"), 1)));
        let folded = names(&fold(&rows, 31));
        // 31 less 6 for the rest of all leaves 25; quiet takes 5, noisy 20, of which 6 are overflow.
        assert_eq!(folded.iter().filter(|name| name.starts_with("quiet/op")).count(), 5);
        assert_eq!(folded.iter().filter(|name| name.starts_with("noisy/op")).count(), 14);
        assert!(folded.contains(&"noisy/__overflow__ 86".to_owned()), "{folded:?}");
    }

    #[test]
    fn too_many_services_fold_into_one() {
        let rows: Vec<_> = (0..100).map(|n| operation(&format!("s{n:02}"), "op", 1)).collect();
        let folded = names(&fold(&rows, 30));
        assert!(folded.contains(&"__overflow__/__overflow__ 76".to_owned()), "{folded:?}");
        assert_eq!(folded.len(), 25);
    }

    #[test]
    fn what_was_overflow_before_is_added_to_and_not_doubled() {
        let mut rows: Vec<_> = (0..50).map(|n| operation("a", &format!("op{n:02}"), 1)).collect();
        rows.push(operation("a", OVERFLOW, 1_000));
        rows.push(operation(OVERFLOW, OVERFLOW, 10_000));
        let folded = names(&fold(&rows, 20));
        // 20 less 6 leaves 14, of which 8 keep their names.
        assert!(folded.contains(&"a/__overflow__ 1042".to_owned()), "{folded:?}");
        assert!(folded.contains(&"__overflow__/__overflow__ 10000".to_owned()), "{folded:?}");
    }

    fn any_operation() -> impl Strategy<Value = Operation> {
        let overflow = OVERFLOW.to_owned();
        let service = prop_oneof![9 => "[a-h]", 1 => Just(overflow.clone())];
        let name = prop_oneof![9 => "[a-z]{1,2}", 1 => Just(overflow)];
        (service, name, 0..6usize, 0..1000u64).prop_map(|(service, name, kind, spans)| Operation {
            kind: SpanKind::ALL[kind],
            flagged: spans / 3,
            ..operation(&service, &name, spans)
        })
    }

    proptest! {
        /// Whatever the limit: it holds, no count is lost, no key is there twice, order is kept.
        #[test]
        fn folding_keeps_the_limit_the_sums_and_the_keys_apart(
            mut rows in prop::collection::vec(any_operation(), 0..300),
            limit in 12..320usize,
        ) {
            rows.sort_by(Row::order);
            rows.dedup_by(|a, b| a.order(b) == Ordering::Equal);
            let folded = fold(&rows, limit);
            prop_assert!(folded.len() <= limit);
            let spans = |rows: &mut dyn Iterator<Item = &Operation>| {
                rows.fold((0, 0), |sum, row| (sum.0 + row.spans, sum.1 + row.flagged))
            };
            prop_assert_eq!(spans(&mut folded.iter().map(|r| &**r)), spans(&mut rows.iter()));
            for pair in folded.windows(2) {
                prop_assert_eq!(pair[0].order(&pair[1]), Ordering::Less);
            }
        }
    }
}
