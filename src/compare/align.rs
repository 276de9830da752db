//! Which span of one trace is which of the other.
//!
//! Top down from the entries: children of a matched pair are matched by operation, repeated ones in their
//! order, as many as both sides have. What then is left over on both sides of one service is the same thing
//! renamed; what is left over elsewhere under the same name has moved. So a span is called added or
//! removed only if there is nothing on the other side that it could be.

use std::collections::{BTreeMap, VecDeque};

use super::request::Request;
use crate::engine::tree::Index;
use crate::model::{Key, SpanKind, Sym};

/// The pairs, and who has no counterpart.
pub(super) struct Alignment {
    /// (baseline, spiked), parents before their children.
    pub(super) pairs: Vec<(Index, Index)>,
    of_baseline: Vec<Option<Index>>,
    of_spiked: Vec<Option<Index>>,
}

/// Above this many combinations repeated siblings are matched one by one in their order, not by likeness.
const MAX_COMBINATIONS: usize = 1_000_000;

type Sides<'r, 'a> = (&'r Request<'a>, &'r Request<'a>);

impl Alignment {
    /// Matches two requests.
    pub(super) fn new(baseline: &Request<'_>, spiked: &Request<'_>) -> Alignment {
        let mut alignment = Alignment {
            pairs: Vec::new(),
            of_baseline: vec![None; baseline.len()],
            of_spiked: vec![None; spiked.len()],
        };
        let sides = (baseline, spiked);
        alignment.grow(sides, (baseline.entry, spiked.entry));
        alignment.find_moved(sides);
        alignment
    }

    /// The counterpart of a span of the baseline.
    pub(super) fn of_baseline(&self, index: Index) -> Option<Index> {
        self.of_baseline[index]
    }

    /// The counterpart of a span of the other side.
    pub(super) fn of_spiked(&self, index: Index) -> Option<Index> {
        self.of_spiked[index]
    }

    /// Matches a pair and what hangs below it.
    fn grow(&mut self, sides: Sides<'_, '_>, first: (Index, Index)) {
        let mut queue = VecDeque::from([first]);
        while let Some((before, after)) = queue.pop_front() {
            self.of_baseline[before] = Some(after);
            self.of_spiked[after] = Some(before);
            self.pairs.push((before, after));
            queue.extend(self.match_children(sides, (before, after)));
        }
    }

    fn match_children(&self, sides: Sides<'_, '_>, parents: (Index, Index)) -> Vec<(Index, Index)> {
        let mut before = sides.0.children(parents.0);
        let mut after = sides.1.children(parents.1);
        before.retain(|&child| self.of_baseline[child].is_none());
        after.retain(|&child| self.of_spiked[child].is_none());
        pair_up(sides, &before, &after)
    }

    /// The same operation left over on both sides, wherever it is: a level was put in or taken out.
    fn find_moved(&mut self, sides: Sides<'_, '_>) {
        loop {
            let mut left: BTreeMap<KeyOrder, (Vec<Index>, Vec<Index>)> = BTreeMap::new();
            for at in (0..sides.0.len()).filter(|&at| self.of_baseline[at].is_none()) {
                left.entry(order(sides.0.at(at).key)).or_default().0.push(at);
            }
            for at in (0..sides.1.len()).filter(|&at| self.of_spiked[at].is_none()) {
                left.entry(order(sides.1.at(at).key)).or_default().1.push(at);
            }
            let pairs = left.values().flat_map(|(before, after)| in_order(sides, before, after));
            let mut pairs: Vec<(Index, Index)> =
                pairs.filter(|pair| is_in_both(sides, *pair)).collect();
            if pairs.is_empty() {
                return;
            }
            // Topmost first, so that what hangs below comes along; the same whichever side is first.
            pairs.sort_by_key(|&(before, after)| {
                let depths = sides.0.depth(before) + sides.1.depth(after);
                let [was, is] = [sides.0.at(before), sides.1.at(after)].map(|at| at.duration().0);
                (depths, was.abs_diff(is), was.max(is), before + after)
            });
            for (before, after) in pairs {
                if self.of_baseline[before].is_none() && self.of_spiked[after].is_none() {
                    self.grow(sides, (before, after));
                }
            }
        }
    }
}

fn is_in_both(sides: Sides<'_, '_>, (before, after): (Index, Index)) -> bool {
    sides.0.contains(before) == sides.1.contains(after)
}

/// A key in an order; of interning, but only used to group.
type KeyOrder = (Sym, Sym, SpanKind);

fn order(key: Key) -> KeyOrder {
    (key.service, key.name, key.kind)
}

/// Matches two lists of siblings, each the earliest first.
pub(super) fn pair_up(
    sides: Sides<'_, '_>,
    before: &[Index],
    after: &[Index],
) -> Vec<(Index, Index)> {
    let mut by_name: BTreeMap<KeyOrder, (Vec<Index>, Vec<Index>)> = BTreeMap::new();
    for &at in before {
        by_name.entry(order(sides.0.at(at).key)).or_default().0.push(at);
    }
    for &at in after {
        by_name.entry(order(sides.1.at(at).key)).or_default().1.push(at);
    }
    let mut pairs = Vec::new();
    // Names that are on one side only, by service and kind: candidates for a change of name.
    let mut renamed: BTreeMap<(Sym, SpanKind), (Vec<Index>, Vec<Index>)> = BTreeMap::new();
    for ((service, _, kind), (before, after)) in by_name {
        if before.is_empty() || after.is_empty() {
            let lists = renamed.entry((service, kind)).or_default();
            // What goes by its old name elsewhere has moved.
            lists.0.extend(before.into_iter().filter(|&at| !sides.1.has(sides.0.at(at).key)));
            lists.1.extend(after.into_iter().filter(|&at| !sides.0.has(sides.1.at(at).key)));
        } else {
            pairs.extend(in_order(sides, &before, &after));
        }
    }
    for (mut before, mut after) in renamed.into_values() {
        let when = |request: &Request<'_>, at: Index| {
            let span = request.at(at).span;
            (span.start, span.end, span.id)
        };
        before.sort_by_key(|&at| when(sides.0, at));
        after.sort_by_key(|&at| when(sides.1, at));
        pairs.extend(in_order(sides, &before, &after));
    }
    pairs
}

/// All of the shorter list against as many of the longer, in order, as alike in duration as can be.
fn in_order(sides: Sides<'_, '_>, before: &[Index], after: &[Index]) -> Vec<(Index, Index)> {
    let durations = |request: &Request<'_>, list: &[Index]| -> Vec<u64> {
        list.iter().map(|&at| request.at(at).duration().0).collect()
    };
    let (first, second) = (durations(sides.0, before), durations(sides.1, after));
    if first.len() <= second.len() {
        let chosen = most_alike(&first, &second);
        before.iter().zip(chosen).map(|(&before, at)| (before, after[at])).collect()
    } else {
        let chosen = most_alike(&second, &first);
        after.iter().zip(chosen).map(|(&after, at)| (before[at], after)).collect()
    }
}

/// For each of `short` the position in `long` that is its counterpart, ascending, so that the sum of the
/// differences is least.
fn most_alike(short: &[u64], long: &[u64]) -> Vec<usize> {
    let spare = long.len() - short.len();
    if spare == 0 || short.len().saturating_mul(spare) > MAX_COMBINATIONS {
        return (0..short.len()).collect();
    }
    // cost[i][s]: least cost of the first i of `short`, s of `long` having been passed over.
    let width = spare + 1;
    let mut cost = vec![0u64; (short.len() + 1) * width];
    for i in 1..=short.len() {
        let mut best = u64::MAX;
        for s in 0..width {
            let here =
                cost[(i - 1) * width + s].saturating_add(short[i - 1].abs_diff(long[i - 1 + s]));
            best = best.min(here);
            cost[i * width + s] = best;
        }
    }
    let mut chosen = vec![0; short.len()];
    let mut passed = spare;
    for i in (1..=short.len()).rev() {
        while passed > 0 && cost[i * width + passed - 1] == cost[i * width + passed] {
            passed -= 1;
        }
        chosen[i - 1] = i - 1 + passed;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_calls_are_matched_in_order_and_the_odd_one_is_left_over() {
        assert_eq!(most_alike(&[5, 5, 5], &[5, 500, 5, 5]), [0, 2, 3]);
        assert_eq!(most_alike(&[5], &[1000, 1000, 6]), [2]);
        assert_eq!(most_alike(&[], &[1, 2]), [] as [usize; 0]);
        assert_eq!(most_alike(&[7, 9], &[9, 7]), [0, 1]);
    }

    #[test]
    fn the_match_is_the_cheapest_that_keeps_the_order() {
        let cost = |short: &[u64], long: &[u64], at: &[usize]| -> u64 {
            short.iter().zip(at).map(|(one, &at)| one.abs_diff(long[at])).sum()
        };
        let (short, long) = ([3, 8, 4], [9, 3, 1, 8, 8, 5]);
        let chosen = most_alike(&short, &long);
        assert!(chosen.is_sorted_by(|one, two| one < two));
        let mut least = u64::MAX;
        for a in 0..long.len() {
            for b in a + 1..long.len() {
                for c in b + 1..long.len() {
                    least = least.min(cost(&short, &long, &[a, b, c]));
                }
            }
        }
        assert_eq!(cost(&short, &long, &chosen), least);
    }
}
