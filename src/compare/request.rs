//! One trace made ready: its tree, its critical path, and what is wrong with it.
//!
//! The tree is the engine's. What differs from the live path: a CLIENT root is part of the request,
//! because the one who asks wants to know why *that* took long; and spans whose parent is missing are put
//! where they lie in time, so that a missing span does not turn the work below it into somebody's own.

use std::collections::BTreeMap;

use super::input::{Details, Trace};
use crate::engine::cohort::{Cohorts, Place};
use crate::engine::critical_path::Costs;
use crate::engine::tree::{Index, Tree, TreeSpan};
use crate::model::{Interner, Key, Nanos, Span, SpanId, SpanKind, Sym};

/// A trace made ready.
pub(super) struct Request<'a> {
    trace: &'a Trace,
    pub(super) tree: Tree,
    pub(super) costs: Costs,
    /// The span whose duration is the request's.
    pub(super) entry: Index,
    /// Whose each span's own time is.
    places: Vec<Place>,
    /// The parent of the topmost span above (or of) each that the critical path does not run through in full.
    blamed: Vec<Option<Index>>,
    depths: Vec<usize>,
    /// Spans whose parent is missing, that were put where they lie in time.
    pub(super) adopted: usize,
    /// Spans of which it cannot be said what request they belong to.
    pub(super) stray: usize,
    /// The trace has no root: the longest orphan stands for it.
    pub(super) rootless: bool,
    /// By service: nanoseconds by which its clock was corrected, the most.
    pub(super) skew: BTreeMap<Sym, u64>,
}

/// A child sticks out of its parent by at most this through no fault but that of two clocks.
const CLOCK_TOLERANCE: Nanos = Nanos::from_millis(2);

/// Orphans a place is looked for, each among all spans; the others stay out of the request.
const MAX_ADOPTED: usize = 2_000;

impl<'a> Request<'a> {
    pub(super) fn new(trace: &'a Trace, names: &Interner, cohorts: &Cohorts<'_>) -> Request<'a> {
        let mut spans = trace.spans.clone();
        // The order of a file must not matter, not even for ids that come twice.
        spans.sort_unstable_by_key(|span| {
            let key = names.resolve(span.key);
            (span.start, span.end, span.id, span.parent, key.kind)
        });
        let (adopted, rootless) = mend(&mut spans);
        let mut tree = Tree::default();
        tree.build(&spans, |span| {
            let key = names.resolve(span.key);
            let is_client_root = span.parent.is_none() && key.kind == SpanKind::Client;
            Key { kind: if is_client_root { SpanKind::Internal } else { key.kind }, ..key }
        });
        let mut costs = Costs::default();
        costs.compute(&tree);
        let entry = main_entry(&tree);
        let places = (0..tree.spans().len()).map(|at| cohorts.place(&tree, at)).collect();
        let mut request = Request {
            trace,
            blamed: Vec::new(),
            depths: Vec::new(),
            skew: skew(&tree, &spans),
            tree,
            costs,
            entry,
            places,
            adopted,
            stray: 0,
            rootless,
        };
        request.stray =
            (0..request.len()).filter(|&at| request.costs.of(at).entry.is_none()).count();
        request.find_blamed();
        request
    }

    /// Spans of the trace.
    pub(super) fn len(&self) -> usize {
        self.tree.spans().len()
    }

    /// A span.
    pub(super) fn at(&self, index: Index) -> &TreeSpan {
        &self.tree.spans()[index]
    }

    /// Whether a span belongs to the request.
    pub(super) fn contains(&self, index: Index) -> bool {
        self.costs.of(index).entry == Some(self.entry)
    }

    /// How long the request took.
    pub(super) fn duration(&self) -> Nanos {
        self.at(self.entry).duration()
    }

    /// Whose a span's own time is.
    pub(super) fn place(&self, index: Index) -> Place {
        self.places[index]
    }

    /// The span under which others hid a part of this one.
    pub(super) fn blamed(&self, index: Index) -> Option<Index> {
        self.blamed[index]
    }

    /// Steps from the request's first span.
    pub(super) fn depth(&self, index: Index) -> usize {
        self.depths[index]
    }

    /// Whether the request has spans of this operation.
    pub(super) fn has(&self, key: Key) -> bool {
        self.tree.spans().iter().any(|span| span.key == key)
    }

    /// A span's children, the earliest first.
    pub(super) fn children(&self, index: Index) -> Vec<Index> {
        let mut children: Vec<Index> = self.tree.children(index).collect();
        children.sort_by_key(|&child| {
            let TreeSpan { span, key, .. } = self.at(child);
            (span.start, span.end, span.id, key.kind)
        });
        children
    }

    /// Events and attributes of a span.
    pub(super) fn details(&self, index: Index) -> Option<&'a Details> {
        self.trace.details(&self.at(index).span)
    }

    /// By how much a span was moved, forward or back.
    pub(super) fn shift(&self, index: Index) -> i128 {
        let moved = self.at(index).span;
        let as_sent =
            self.trace.spans.iter().find(|span| (span.id, span.key) == (moved.id, moved.key));
        as_sent.map_or(0, |span| i128::from(moved.start.0) - i128::from(span.start.0))
    }

    /// The services of the trace.
    pub(super) fn services(&self) -> Vec<Sym> {
        let mut services: Vec<Sym> =
            self.tree.spans().iter().map(|span| span.key.service).collect();
        services.sort_unstable();
        services.dedup();
        services
    }

    fn find_blamed(&mut self) {
        for index in 0..self.len() {
            let TreeSpan { span, parent, .. } = *self.at(index);
            let depth = parent.map_or(0, |parent| self.depths[parent] + 1);
            self.depths.push(depth);
            let above = parent.and_then(|parent| self.blamed[parent]);
            let window = self.costs.window(index);
            let is_whole = window.is_some_and(|w| (w.low, w.high) == (span.start, span.end));
            self.blamed.push(above.or(if is_whole { None } else { parent }));
        }
    }
}

/// Gives spans without a parent one. Returns how many, and whether even the root was missing.
fn mend(spans: &mut [Span]) -> (usize, bool) {
    let mut ids: Vec<SpanId> = spans.iter().map(|span| span.id).collect();
    ids.sort_unstable();
    let is_orphan =
        |span: &Span| span.parent.is_some_and(|parent| ids.binary_search(&parent).is_err());
    let rootless = !spans.iter().any(|span| span.parent.is_none());
    if rootless {
        let longest = spans.iter_mut().filter(|span| is_orphan(span)).max_by_key(|span| {
            (span.end.since(span.start), std::cmp::Reverse((span.start, span.id)))
        });
        longest.into_iter().for_each(|span| span.parent = None);
    }
    let orphans = (0..spans.len()).filter(|&at| is_orphan(&spans[at]));
    let orphans: Vec<usize> = orphans.take(MAX_ADOPTED).collect();
    let mut adopted = 0;
    for orphan in orphans {
        // By the shortest span around it that has a way up to a root: orphans come earliest first.
        let host = (0..spans.len()).filter(|&at| {
            at != orphan && !is_orphan(&spans[at]) && surrounds(&spans[at], &spans[orphan])
        });
        let host = host.min_by_key(|&at| {
            let span = &spans[at];
            (span.end.since(span.start), std::cmp::Reverse(span.start), span.id)
        });
        if let Some(host) = host {
            spans[orphan].parent = Some(spans[host].id);
            adopted += 1;
        }
    }
    (adopted, rootless)
}

fn surrounds(outer: &Span, inner: &Span) -> bool {
    let longer = outer.end.since(outer.start) > inner.end.since(inner.start);
    longer
        && inner.start + CLOCK_TOLERANCE >= outer.start
        && outer.end + CLOCK_TOLERANCE >= inner.end
}

/// The longest of the entries that nobody called.
fn main_entry(tree: &Tree) -> Index {
    let entries = (0..tree.spans().len()).filter(|&at| tree.spans()[at].entry);
    let longest = entries.max_by_key(|&at| {
        let TreeSpan { span, .. } = &tree.spans()[at];
        let called = span.parent.is_some();
        (!called, tree.spans()[at].duration(), std::cmp::Reverse((span.start, span.id)))
    });
    longest.unwrap_or(0)
}

/// How far each service's clock was put right against that of its caller.
fn skew(tree: &Tree, as_sent: &[Span]) -> BTreeMap<Sym, u64> {
    let starts: BTreeMap<_, _> =
        as_sent.iter().map(|span| ((span.id, span.key), span.start)).collect();
    let shift = |at: Index| {
        let span = &tree.spans()[at].span;
        let sent = starts.get(&(span.id, span.key)).map_or(span.start, |&start| start);
        i128::from(span.start.0) - i128::from(sent.0)
    };
    let mut skew = BTreeMap::new();
    for (at, span) in tree.spans().iter().enumerate() {
        let Some(parent) = span.parent else { continue };
        let own = u64::try_from((shift(at) - shift(parent)).unsigned_abs()).unwrap_or(u64::MAX);
        if Nanos(own) > CLOCK_TOLERANCE {
            let most = skew.entry(span.key.service).or_insert(0);
            *most = own.max(*most);
        }
    }
    skew
}
