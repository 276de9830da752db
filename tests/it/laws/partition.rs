//! The critical path partitions every entry of every trace, exactly, however the trace is made: held
//! against a sweep back through time with a stack of the spans at work, which shares no code with the
//! engine's walk down the tree.

use std::cell::Cell;

use laghound::engine::critical_path::Costs;
use laghound::engine::tree::{Tree, TreeSpan};
use laghound::model::{AttrSetId, Key, KeyId, Nanos, Span, SpanId, SpanKind, Sym, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A tenth of a millisecond: clocks are off by up to 30 ms, on both sides of what the tree takes for
/// a clock difference.
const UNIT: u64 = 100_000;
const SERVICES: usize = 4;

/// One span: number, parent's number (0 none; numbers above the others are missing), service, kind,
/// start, length.
type Drawn = (u64, u64, usize, usize, u64, u64);

fn traces() -> impl Strategy<Value = (Vec<Drawn>, [u64; SERVICES])> {
    let kind = prop_oneof![
        4 => Just(SpanKind::Internal as usize),
        3 => Just(SpanKind::Server as usize),
        3 => Just(SpanKind::Client as usize),
        1 => Just(SpanKind::Producer as usize),
        1 => Just(SpanKind::Consumer as usize),
    ];
    let span = (1u64..30, 0u64..34, 0..SERVICES, kind, 0u64..1000, 0u64..400);
    let skews = prop::array::uniform4(0u64..600);
    (prop::collection::vec(span, 1..40), skews).prop_map(|(mut spans, skews)| {
        // Most numbers are used once, in order, by spans whose parent has a smaller one; what is left
        // as drawn makes cycles, shared ids, duplicates, self-parents and orphans.
        for (at, span) in (1u64..).zip(&mut spans) {
            if span.0 % 4 != 0 {
                span.0 = at;
            }
            if span.1 % 4 != 0 {
                span.1 %= at;
            }
        }
        (spans, skews)
    })
}

fn build(spans: &[Drawn], skews: [u64; SERVICES]) -> (Tree, Costs) {
    let key = |at: KeyId| {
        let (_, _, service, kind, ..) = spans[at.0 as usize];
        let service = Sym(u32::try_from(service).expect("there are four services"));
        Key { service, name: Sym(100), kind: SpanKind::ALL[kind] }
    };
    let records: Vec<Span> = (0u32..)
        .zip(spans)
        .map(|(at, &(id, parent, service, _, start, length))| Span {
            id: SpanId::new(id).expect("spans are numbered from 1"),
            parent: SpanId::new(parent),
            start: Timestamp((start + skews[service]) * UNIT),
            end: Timestamp((start + skews[service] + length) * UNIT),
            key: KeyId(at),
            peer: None,
            attrs: AttrSetId::EMPTY,
            failed: false,
        })
        .collect();
    let (mut tree, mut costs) = (Tree::default(), Costs::default());
    tree.build(&records, |span| key(span.key));
    costs.compute(&tree);
    (tree, costs)
}

/// Of several children at work at once, the request waited for the one that ended last.
fn precedence(node: &TreeSpan) -> (Timestamp, Timestamp, SpanId, SpanKind) {
    (node.span.end, node.span.start, node.span.id, node.key.kind)
}

/// Sweeps back through the time of an entry, from one start or end of any span to the next, and gives
/// each stretch to the span on top of the stack of those at work.
fn sweep(spans: &[TreeSpan], entry: usize, shares: &mut [u64]) {
    let mut moments: Vec<Timestamp> =
        spans.iter().flat_map(|node| [node.span.start, node.span.end]).collect();
    moments.sort_unstable();
    moments.dedup();
    let within = |at: &Timestamp| *at >= spans[entry].span.start && *at <= spans[entry].span.end;
    let moments: Vec<Timestamp> = moments.into_iter().filter(within).collect();
    let mut at_work = vec![entry];
    for pair in moments.windows(2).rev() {
        let (from, to) = (pair[0], pair[1]);
        let begun_later = at_work.iter().position(|&index| spans[index].span.start >= to);
        at_work.truncate(begun_later.unwrap_or(at_work.len()));
        loop {
            let top = at_work[at_work.len() - 1];
            let children = (0..spans.len()).filter(|&child| spans[child].parent == Some(top));
            let called = children
                .filter(|&child| spans[child].span.start <= from && spans[child].span.end >= to)
                .max_by_key(|&child| precedence(&spans[child]));
            match called {
                Some(child) => at_work.push(child),
                None => break,
            }
        }
        shares[at_work[at_work.len() - 1]] += to.since(from).0;
    }
}

/// The length of a span in which none of its children is at work, stretch by stretch.
fn alone(spans: &[TreeSpan], index: usize) -> u64 {
    let span = &spans[index].span;
    let children = || spans.iter().filter(|node| node.parent == Some(index)).map(|node| node.span);
    let mut moments: Vec<Timestamp> =
        children().flat_map(|child| [child.start, child.end]).collect();
    moments.extend([span.start, span.end]);
    moments.retain(|at| *at >= span.start && *at <= span.end);
    moments.sort_unstable();
    let idle = moments
        .windows(2)
        .filter(|pair| !children().any(|child| child.start <= pair[0] && child.end >= pair[1]));
    idle.map(|pair| pair[1].since(pair[0]).0).sum()
}

#[test]
fn critical_times_are_those_of_the_sweep_and_sum_to_each_entrys_duration() {
    let (entries, unused, skewed, duplicates) = Default::default();
    let count = |of: &Cell<usize>, more: usize| of.set(of.get() + more);
    let mut runner = TestRunner::new(Config { cases: 512, ..Config::default() });
    let law = runner.run(&traces(), |(drawn, skews)| {
        let (tree, costs) = build(&drawn, skews);
        let spans = tree.spans();
        prop_assert_eq!(spans.len() + tree.duplicates, drawn.len());
        let mut shares = vec![0; spans.len()];
        for entry in (0..spans.len()).filter(|&index| spans[index].entry) {
            sweep(spans, entry, &mut shares);
            let own = (0..spans.len()).filter(|&index| costs.of(index).entry == Some(entry));
            let total: u64 = own.map(|index| costs.of(index).critical.0).sum();
            prop_assert_eq!(Nanos(total), spans[entry].duration(), "entry {}", entry);
            count(&entries, 1);
        }
        for (index, node) in spans.iter().enumerate() {
            let cost = costs.of(index);
            prop_assert_eq!(cost.critical.0, shares[index], "span {}", index);
            prop_assert!(cost.critical_before <= cost.critical);
            prop_assert_eq!(cost.self_time.0, alone(spans, index), "span {}", index);
            let entry = if node.entry {
                Some(index)
            } else {
                node.parent.and_then(|at| costs.of(at).entry)
            };
            prop_assert_eq!(cost.entry, entry);
            count(&unused, usize::from(entry.is_none()));
        }
        count(&skewed, tree.skewed);
        count(&duplicates, tree.duplicates);
        Ok(())
    });
    law.unwrap();
    let met: [&Cell<usize>; 4] = [&entries, &unused, &skewed, &duplicates];
    assert!(met.iter().all(|met| met.get() > 512), "the traces were too tame: {met:?}");
}
