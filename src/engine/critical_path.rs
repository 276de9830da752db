//! What every span of a tree cost: its self-time, and its share of the critical path.
//!
//! The critical path partitions an entry's duration: walked backwards from the entry's end, every
//! instant belongs to the span that the request was waiting for. The shares add up to the duration
//! exactly, in integers. Children are taken as the tree gives them, by descending end.
//!
//! A failed call that is tried again lasts until its retry begins: the back-off in between is time
//! that the failure cost, not work of the caller.

use std::ops::Range;

use super::tree::{Index, Tree, TreeSpan};
use crate::model::{Nanos, Span, SpanKind, Timestamp};

/// What one span cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Duration minus the union of the children, clipped to the span.
    pub self_time: Nanos,
    /// Time of the entry's duration that belongs to this span.
    pub critical: Nanos,
    /// The part of `critical` before the first child the path goes through (all, if there is none, but
    /// for the wait).
    pub critical_before: Nanos,
    /// The part of `self_time` between a failure and the next attempt.
    pub wait: Nanos,
    /// The part of `critical` in that wait.
    pub critical_wait: Nanos,
    /// What its children saved by running side by side: their durations less their union.
    pub overlap: Nanos,
    /// The entry above it; `None` if it hangs from none.
    pub entry: Option<Index>,
}

/// The part of a span in which the critical path may run through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub low: Timestamp,
    /// Its end.
    pub high: Timestamp,
}

/// Costs of all spans of a tree, by index. Reused from trace to trace.
#[derive(Default)]
pub struct Costs {
    costs: Vec<Cost>,
    windows: Vec<Option<Window>>,
    /// When each span was over for its caller: its end, or the start of its retry.
    until: Vec<Timestamp>,
}

impl Costs {
    /// Computes them anew.
    pub fn compute(&mut self, tree: &Tree) {
        let spans = tree.spans();
        self.costs.clear();
        self.windows.clear();
        self.windows.resize(spans.len(), None);
        self.until.clear();
        self.until.extend(spans.iter().map(|node| node.span.end));
        // Parents come first, so by the time a span is reached its window is known.
        for (index, node) in spans.iter().enumerate() {
            if node.entry {
                self.windows[index] = Some(Window { low: node.span.start, high: node.span.end });
            }
            let entry = match node.parent {
                _ if node.entry => Some(index),
                Some(parent) => self.costs[parent].entry,
                None => None,
            };
            let mut cost = Cost { entry, ..Cost::default() };
            let children = tree.children(index);
            if children.len() > 1 {
                self.wait_for_retries(spans, children.clone());
            }
            self.cover(spans, index, children.clone(), &mut cost);
            if let Some(window) = self.windows[index] {
                self.walk(spans, index, children, window, &mut cost);
            }
            self.costs.push(cost);
        }
    }

    /// The cost of a span.
    #[inline]
    pub fn of(&self, index: Index) -> Cost {
        self.costs[index]
    }

    /// Where the critical path may run through a span; `None` if it passes it by.
    #[inline]
    pub fn window(&self, index: Index) -> Option<Window> {
        self.windows[index]
    }

    /// Lets each failed call last until its retry: the next call of the same operation, if nothing
    /// else was going on in between.
    fn wait_for_retries(&mut self, spans: &[TreeSpan], children: Range<Index>) {
        let until = &mut self.until[children.clone()];
        let mut calls = spans[children].iter().zip(until);
        let Some((&TreeSpan { span: mut next, .. }, _)) = calls.next() else { return };
        let mut next_start = next.start;
        for (TreeSpan { span, key, .. }, until) in calls {
            if span.failed
                && key.kind == SpanKind::Client
                && (next.key, next.peer) == (span.key, span.peer)
                && next.start == next_start
                && span.end <= next_start
            {
                *until = next_start;
            }
            next = *span;
            next_start = next_start.min(span.start);
        }
    }

    /// Self-time, and what the children saved by running side by side. By descending end, a child
    /// adds what lies below the earliest start seen so far. Nobody waits for what a failed call left
    /// running.
    #[inline]
    fn cover(&self, spans: &[TreeSpan], index: Index, children: Range<Index>, cost: &mut Cost) {
        let Span { start, end, .. } = spans[index].span;
        let (mut covered, mut added_up) = (Nanos::ZERO, Nanos::ZERO);
        let mut uncovered_upto = end;
        for (child, &to) in spans[children.clone()].iter().zip(&self.until[children]) {
            let from = child.span.start.max(start);
            covered += to.min(uncovered_upto).since(from);
            added_up += to.min(end).since(from);
            uncovered_upto = uncovered_upto.min(from);
        }
        cost.wait = self.until[index].since(end);
        cost.self_time = end.since(start) - covered + cost.wait;
        cost.overlap = added_up - covered;
    }

    /// Gives each instant of the window to a child or to the span itself, from the end backwards.
    #[inline]
    fn walk(
        &mut self,
        spans: &[TreeSpan],
        index: Index,
        children: Range<Index>,
        window: Window,
        cost: &mut Cost,
    ) {
        let start = spans[index].span.start.max(window.low);
        let until = self.until[index].min(window.high);
        let end = spans[index].span.end.max(start);
        let mut upto = until.min(end);
        let wait = until.since(upto);
        let windows = self.windows[children.clone()].iter_mut();
        let ends = self.until[children.clone()].iter().zip(windows);
        for (child, (&ended, window)) in spans[children].iter().zip(ends) {
            let began = child.span.start;
            let (from, to) = (began.max(start), ended.min(upto));
            if began < upto && to > from {
                cost.critical += upto.since(to);
                *window = Some(Window { low: from, high: to });
                upto = from;
            }
        }
        let before = upto.since(start);
        cost.critical += before + wait;
        cost.critical_before = before;
        cost.critical_wait = wait;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::testing::{Draft, service};

    fn costs(drafts: &[Draft]) -> (Tree, Costs) {
        let (spans, keys) = Draft::build(drafts);
        let (mut tree, mut costs) = (Tree::default(), Costs::default());
        tree.build(&spans, |span| keys[span.key.0 as usize]);
        costs.compute(&tree);
        (tree, costs)
    }

    fn figures(costs: &Costs, index: Index) -> (u64, u64) {
        (costs.of(index).self_time.0, costs.of(index).critical.0)
    }

    #[test]
    fn children_side_by_side_are_counted_once_and_the_later_one_is_critical() {
        let (_, costs) = costs(&[
            Draft::new(1, 0, service(1)).times(0, 100),
            Draft::new(2, 1, service(1)).times(10, 60),
            Draft::new(3, 1, service(1)).times(20, 90),
        ]);
        assert_eq!(figures(&costs, 0), (20, 20));
        // The child that ended last comes first.
        assert_eq!(figures(&costs, 1), (70, 70));
        assert_eq!(figures(&costs, 2), (50, 10));
    }

    #[test]
    fn children_that_touch_are_both_on_the_path() {
        let (_, costs) = costs(&[
            Draft::new(1, 0, service(1)).times(0, 100),
            Draft::new(2, 1, service(1)).times(0, 50),
            Draft::new(3, 1, service(1)).times(50, 100),
        ]);
        assert_eq!(figures(&costs, 0), (0, 0));
        assert_eq!((figures(&costs, 1).1, figures(&costs, 2).1), (50, 50));
    }

    #[test]
    fn a_child_that_outlives_its_parent_is_clipped() {
        let (_, costs) = costs(&[
            Draft::new(1, 0, service(1)).times(0, 100),
            Draft::new(2, 1, service(1)).times(30, 500),
        ]);
        assert_eq!(figures(&costs, 0), (30, 30));
        assert_eq!(figures(&costs, 1), (470, 70));
    }

    #[test]
    fn the_time_before_the_callee_is_told_from_the_time_after_it() {
        let (_, costs) = costs(&[
            Draft::new(1, 0, service(1)).server().times(0, 100),
            Draft::new(2, 1, service(1)).client().times(10, 90),
            Draft::new(3, 2, service(2)).server().times(30, 85),
        ]);
        assert_eq!(costs.of(1).critical, Nanos(25));
        assert_eq!(costs.of(1).critical_before, Nanos(20));
    }

    #[test]
    fn the_wait_before_a_retry_belongs_to_the_call_that_failed() {
        let call = |id, from, to| Draft::new(id, 1, service(1)).client().times(from, to);
        let drafts = [
            Draft::new(1, 0, service(1)).server().times(0, 100),
            call(2, 10, 30).failed(),
            call(3, 60, 80),
        ];
        let (_, tried_again) = costs(&drafts);
        // The retry ended last and comes first.
        assert_eq!([0, 1, 2].map(|index| figures(&tried_again, index).1), [30, 20, 50]);
        assert_eq!(
            (tried_again.of(2).wait, tried_again.of(2).critical_wait),
            (Nanos(30), Nanos(30))
        );
        // Other work in between: the caller did not wait.
        let busy = [drafts[0], drafts[1], Draft::new(4, 1, service(1)).times(40, 50), drafts[2]];
        let (tree, busy) = costs(&busy);
        let failed = tree.spans().iter().position(|node| node.span.failed).expect("it is there");
        assert_eq!(figures(&busy, failed), (20, 20));
        // A call that succeeded is over when it ends.
        let (_, repeated) = costs(&[drafts[0], call(2, 10, 30), drafts[2]]);
        assert_eq!(figures(&repeated, 0).1, 60);
    }

    #[test]
    fn overlap_is_what_running_side_by_side_saved() {
        let (_, costs) = costs(&[
            Draft::new(1, 0, service(1)).times(0, 100),
            Draft::new(2, 1, service(1)).times(10, 60),
            Draft::new(3, 1, service(1)).times(20, 90),
            Draft::new(4, 1, service(1)).times(95, 500),
        ]);
        assert_eq!(costs.of(0).overlap, Nanos(40));
        assert_eq!(costs.of(1).overlap, Nanos::ZERO);
    }

    /// A random tree: each span hangs from an earlier one, anywhere in time.
    fn drafts() -> impl Strategy<Value = Vec<Draft>> {
        let span = (any::<prop::sample::Index>(), 0u64..1000, 0u64..400);
        prop::collection::vec(span, 1..40).prop_map(|spans| {
            let drafts = spans.iter().enumerate().map(|(at, (parent, start, length))| {
                let parent = if at == 0 { 0 } else { parent.index(at) as u64 + 1 };
                Draft::new(at as u64 + 1, parent, service(1)).times(*start, start + length)
            });
            drafts.collect()
        })
    }

    /// Who owns the instant `[at, at + 1)`, decided top down without any of the code above: the
    /// child whose clipped end is the latest at or after the instant takes over, if it had begun.
    fn owner(tree: &Tree, at: u64) -> Index {
        let (mut index, mut low, mut high) = (0, tree.spans()[0].span.start.0, u64::MAX);
        loop {
            let span = &tree.spans()[index].span;
            low = low.max(span.start.0);
            let mut upto = high.min(span.end.0);
            let mut taken = None;
            for child in tree.children(index) {
                let other = &tree.spans()[child].span;
                let (from, to) = (other.start.0.max(low), other.end.0.min(upto));
                if from >= to {
                    continue;
                }
                if (from..to).contains(&at) {
                    taken = Some((child, from, to));
                }
                upto = from;
            }
            match taken {
                Some((child, from, to)) => (index, low, high) = (child, from, to),
                None => return index,
            }
        }
    }

    proptest! {
        #[test]
        fn the_path_partitions_the_entry_and_agrees_with_a_sweep_over_instants(drafts in drafts()) {
            let (tree, costs) = costs(&drafts);
            let entry = tree.spans()[0].span;
            let mut swept = vec![0u64; tree.spans().len()];
            for at in entry.start.0..entry.end.0 {
                swept[owner(&tree, at)] += 1;
            }
            let found: Vec<u64> =
                (0..tree.spans().len()).map(|index| costs.of(index).critical.0).collect();
            prop_assert_eq!(found.iter().sum::<u64>(), entry.end.0 - entry.start.0);
            prop_assert_eq!(found, swept);
        }

        #[test]
        fn self_time_is_what_no_child_covers(drafts in drafts()) {
            let (tree, costs) = costs(&drafts);
            for (index, node) in tree.spans().iter().enumerate() {
                let covered = |at: u64| {
                    tree.children(index).any(|child| {
                        let child = &tree.spans()[child].span;
                        (child.start.0..child.end.0).contains(&at)
                    })
                };
                let free = (node.span.start.0..node.span.end.0).filter(|&at| !covered(at)).count();
                prop_assert_eq!(costs.of(index).self_time.0, free as u64);
            }
        }
    }
}
