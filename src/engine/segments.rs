//! Which parts of a span the request waited for: the critical path, stretch by stretch.
//!
//! [`critical_path`](super::critical_path) adds these stretches up for every span of every trace; here
//! they are listed, for the few traces that somebody looks at: what of a span's window is not its
//! children's, so they add up to the same nanosecond.

use super::critical_path::{Costs, Window};
use super::tree::{Index, Tree};

/// The stretches of `index` that lie on the critical path of its entry, ascending.
pub fn segments(tree: &Tree, costs: &Costs, index: Index) -> Vec<Window> {
    let Some(window) = costs.window(index) else { return Vec::new() };
    let mut found = Vec::new();
    let mut upto = window.high;
    // By descending end, and on one path: their windows do not overlap.
    for child in tree.children(index).filter_map(|child| costs.window(child)) {
        found.push(Window { low: child.high, high: upto });
        upto = child.low;
    }
    found.push(Window { low: window.low, high: upto });
    found.retain(|stretch| stretch.high > stretch.low);
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::testing::{Draft, service};
    use crate::model::Nanos;

    fn made(drafts: &[Draft]) -> (Tree, Costs) {
        let (spans, keys) = Draft::build(drafts);
        let (mut tree, mut costs) = (Tree::default(), Costs::default());
        tree.build(&spans, |span| keys[span.key.0 as usize]);
        costs.compute(&tree);
        (tree, costs)
    }

    fn pairs(found: &[Window]) -> Vec<(u64, u64)> {
        found.iter().map(|stretch| (stretch.low.0, stretch.high.0)).collect()
    }

    #[test]
    fn a_span_waits_before_between_and_after_its_children() {
        let (tree, costs) = made(&[
            Draft::new(1, 0, service(1)).times(0, 100),
            Draft::new(2, 1, service(1)).times(10, 30),
            Draft::new(3, 1, service(1)).times(40, 90),
        ]);
        assert_eq!(pairs(&segments(&tree, &costs, 0)), [(0, 10), (30, 40), (90, 100)]);
    }

    #[test]
    fn a_child_that_another_hides_is_on_the_path_only_where_it_sticks_out() {
        let (tree, costs) = made(&[
            Draft::new(1, 0, service(1)).times(0, 100),
            Draft::new(2, 1, service(1)).times(10, 60),
            Draft::new(3, 1, service(1)).times(20, 90),
        ]);
        assert_eq!(pairs(&segments(&tree, &costs, 2)), [(10, 20)]);
        assert_eq!(pairs(&segments(&tree, &costs, 1)), [(20, 90)]);
    }

    proptest! {
        /// The stretches of all spans partition the entry: nothing twice, nothing left out.
        #[test]
        fn the_stretches_of_a_trace_partition_its_entry(
            spans in prop::collection::vec((0..8u64, 0..200u64, 0..200u64), 1..12),
        ) {
            let mut drafts = vec![Draft::new(1, 0, service(1)).times(50, 150)];
            for (id, &(parent, start, length)) in (2..).zip(&spans) {
                let parent = 1 + parent % (id - 1);
                drafts.push(Draft::new(id, parent, service(1)).times(start, start + length));
            }
            let (tree, costs) = made(&drafts);
            let mut all = Vec::new();
            for index in 0..tree.spans().len() {
                let own = segments(&tree, &costs, index);
                let sum = own.iter().fold(Nanos::ZERO, |sum, one| sum + one.high.since(one.low));
                prop_assert_eq!(sum, costs.of(index).critical);
                all.extend(pairs(&own));
            }
            all.sort_unstable();
            let mut at = 50;
            for (low, high) in all {
                prop_assert_eq!(low, at);
                at = high;
            }
            prop_assert_eq!(at, 150);
        }
    }
}
