//! One trace taken apart for people to look at: the same tree and the same critical path by which it
//! was judged, with names spelled out and every stretch of the path listed.
//!
//! Done when somebody asks, for one trace at a time; the analysis of the stream does not come here.

use super::critical_path::{Costs, Window};
use super::evidence::{SpanDetail, Stretch, TraceDetail};
use super::segments::segments;
use super::tree::{Index, Tree};
use crate::model::{Interner, Span, Timestamp, TraceId};

/// Takes a trace apart; `None` if it has no span.
pub fn dissect(trace: TraceId, spans: &[Span], names: &Interner) -> Option<TraceDetail> {
    let (mut tree, mut costs) = (Tree::default(), Costs::default());
    tree.build(spans, |span| names.resolve(span.key));
    costs.compute(&tree);
    let entry = main_entry(&tree)?;
    let origin = tree.spans()[entry].span.start;
    let order = depth_first(&tree, entry);
    let mut position = vec![0; order.len()];
    for (at, &(index, _)) in order.iter().enumerate() {
        position[index] = at;
    }
    let detail = |&(index, depth): &(Index, usize)| {
        let found = span_detail(&tree, &costs, index, origin, names);
        let parent = tree.spans()[index].parent.map(|parent| position[parent]);
        SpanDetail { parent, depth, ..found }
    };
    Some(TraceDetail {
        trace,
        start: origin,
        seconds: tree.spans()[entry].duration().as_secs_f64(),
        entry: position[entry],
        spans: order.iter().map(detail).collect(),
        skewed: tree.skewed,
    })
}

fn span_detail(
    tree: &Tree,
    costs: &Costs,
    index: Index,
    origin: Timestamp,
    names: &Interner,
) -> SpanDetail {
    let node = &tree.spans()[index];
    let (span, key) = (&node.span, node.key);
    let mut attributes: Vec<_> = names
        .attributes(span.attrs)
        .iter()
        .map(|&(name, value)| (names.text(name), names.text(value)))
        .collect();
    attributes.sort();
    let stretch = |low, high| Stretch {
        from_seconds: seconds_after(origin, low),
        to_seconds: seconds_after(origin, high),
    };
    let path = segments(tree, costs, index).into_iter();
    SpanDetail {
        id: span.id,
        parent: None,
        depth: 0,
        service: names.text(key.service),
        operation: names.text(key.name),
        span_kind: key.kind,
        peer: span.peer.map(|peer| names.text(peer)),
        is_entry: node.entry,
        failed: span.failed,
        stretch: stretch(span.start, span.end),
        self_seconds: costs.of(index).self_time.as_secs_f64(),
        path: path.map(|Window { low, high }| stretch(low, high)).collect(),
        attributes,
    }
}

/// Seconds from one instant to another, which may lie before it.
pub fn seconds_after(origin: Timestamp, at: Timestamp) -> f64 {
    if at >= origin { at.since(origin).as_secs_f64() } else { -origin.since(at).as_secs_f64() }
}

/// The entry that a trace is known by: its first, or its first span if nothing enters.
pub fn main_entry(tree: &Tree) -> Option<Index> {
    let spans = tree.spans();
    let first = spans.iter().position(|span| span.entry);
    first.or_else(|| (!spans.is_empty()).then_some(0))
}

/// All spans with their depth: the tree of `first` first, the others by position.
fn depth_first(tree: &Tree, first: Index) -> Vec<(Index, usize)> {
    let spans = tree.spans();
    let others = (0..spans.len()).filter(|&at| spans[at].parent.is_none() && at != first);
    let mut stack: Vec<(Index, usize)> = others.map(|at| (at, 0)).collect();
    stack.reverse();
    // A main entry has no parent: entries are cut off from what called them.
    stack.push((first, 0));
    let mut order = Vec::with_capacity(spans.len());
    while let Some((at, depth)) = stack.pop() {
        order.push((at, depth));
        let mut below: Vec<Index> = tree.children(at).collect();
        below.sort_unstable_by_key(|&child| {
            let span = &spans[child].span;
            std::cmp::Reverse((span.start, span.end, span.id))
        });
        stack.extend(below.into_iter().map(|child| (child, depth + 1)));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AttrSetId, InternLimits, SpanId, SpanKind};

    struct World {
        names: Interner,
        spans: Vec<Span>,
    }

    impl World {
        fn new() -> World {
            World { names: Interner::new(InternLimits::default()), spans: Vec::new() }
        }

        fn span(mut self, id: u64, parent: u64, service: &str, times: (u64, u64)) -> World {
            let service = self.names.service(service.as_bytes());
            let zone = (self.names.string(b"zone"), self.names.string(b"a"));
            self.spans.push(Span {
                id: SpanId::new(id).expect("not zero"),
                parent: SpanId::new(parent),
                start: Timestamp(times.0),
                end: Timestamp(times.1),
                key: self.names.key(service, b"work", SpanKind::Internal),
                peer: None,
                attrs: if id == 1 { self.names.attr_set(&mut [zone]) } else { AttrSetId::EMPTY },
                failed: id == 2,
            });
            self
        }

        fn dissect(&self) -> Option<TraceDetail> {
            dissect(TraceId::new(7).expect("not zero"), &self.spans, &self.names)
        }
    }

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_trace_is_told_from_its_entry_depth_first() {
        let world = World::new()
            .span(1, 0, "a", (10 * S, 20 * S))
            .span(3, 1, "c", (16 * S, 19 * S))
            .span(2, 1, "b", (11 * S, 15 * S))
            .span(4, 2, "d", (12 * S, 13 * S));
        let detail = world.dissect().expect("has spans");
        let told: Vec<_> = detail
            .spans
            .iter()
            .map(|span| (&*span.service, span.depth, span.parent, span.stretch.from_seconds))
            .collect();
        let expected = [
            ("a", 0, None, 0.0),
            ("b", 1, Some(0), 1.0),
            ("d", 2, Some(1), 2.0),
            ("c", 1, Some(0), 6.0),
        ];
        assert_eq!(told, expected);
        assert_eq!((detail.seconds, detail.start, detail.entry), (10.0, Timestamp(10 * S), 0));
        assert!(detail.spans[1].failed && !detail.spans[0].failed);
        assert_eq!(detail.spans[0].attributes.len(), 1);
        assert_eq!(detail.spans[1].self_seconds, 3.0);
    }

    #[test]
    fn the_path_adds_up_to_the_duration() {
        let world = World::new().span(1, 0, "a", (0, 9 * S)).span(2, 1, "b", (2 * S, 5 * S));
        let detail = world.dissect().expect("has spans");
        let path = detail.spans.iter().flat_map(|span| &span.path);
        assert_eq!(path.map(Stretch::seconds).sum::<f64>(), 9.0);
    }

    #[test]
    fn the_first_entry_comes_first_and_the_others_count_from_it() {
        let world = World::new()
            .span(1, 0, "later", (2 * S, 9 * S))
            .span(2, 0, "first", (S, 3 * S))
            .span(3, 99, "orphan", (0, 2 * S));
        let detail = world.dissect().expect("has spans");
        let services: Vec<_> = detail.spans.iter().map(|span| &*span.service).collect();
        assert_eq!(services, ["first", "orphan", "later"]);
        assert_eq!(detail.spans[1].stretch, Stretch { from_seconds: -1.0, to_seconds: 1.0 });
    }

    #[test]
    fn without_spans_there_is_nothing_to_show() {
        assert_eq!(World::new().dissect(), None);
    }
}
