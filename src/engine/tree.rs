//! One trace as a forest: every span under its parent, cut where work is asynchronous.
//!
//! Copes with what strangers send: orphans, cycles, self-parents, a client and a server span under
//! one id (Zipkin), clocks that disagree. Spans are held in an arena in which a parent stands before
//! its children, so every walk is a loop. Clock skew is corrected here and nowhere else, in the
//! analysis only; how much was shifted is kept, so that it can be said.

use crate::model::{Key, Nanos, Span, SpanId, SpanKind, Sym, Timestamp};

/// A child of another service that sticks out of its parent by at most this is moved the least
/// amount that fits; what sticks out by more is a clock difference and is centred. Hosts that keep
/// time with NTP agree to about a millisecond.
const NUDGE: Nanos = Nanos::from_millis(2);

/// Position in the arena.
pub type Index = usize;

/// A span in its place.
#[derive(Clone, Copy, Debug)]
pub struct TreeSpan {
    /// The span, start and end corrected for skew.
    pub span: Span,
    /// Its operation, resolved.
    pub key: Key,
    /// Its parent, always at a lower index. `None` for roots, orphans and entries cut off.
    pub parent: Option<Index>,
    /// It begins a request: its duration is what users wait for.
    pub entry: bool,
}

impl TreeSpan {
    /// How long it took.
    #[inline]
    pub fn duration(&self) -> Nanos {
        self.span.end.since(self.span.start)
    }

    #[inline]
    fn shift(&mut self, by: i64) {
        if by != 0 {
            let duration = self.duration();
            self.span.start = Timestamp(self.span.start.0.saturating_add_signed(by));
            self.span.end = self.span.start + duration;
        }
    }
}

/// The forest of one trace. Reused from trace to trace, so that building one allocates nothing.
#[derive(Default)]
pub struct Tree {
    spans: Vec<TreeSpan>,
    /// Children of each span: `children[first[i]..first[i + 1]]`, by descending end.
    first: Vec<usize>,
    children: Vec<Index>,
    /// Spans whose id had been seen before in the trace.
    pub duplicates: usize,
    /// Spans moved because their clock disagreed with their parent's.
    pub skewed: usize,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    /// Where the spans stand that came, by id.
    by_id: Vec<(SpanId, usize)>,
    /// Ascending by id.
    kept: Vec<Kept>,
    /// Of each that was kept.
    links: Vec<Link>,
    /// What was kept, in the order of the arena.
    order: Vec<usize>,
    shifts: Vec<i64>,
}

/// A span that is no duplicate.
#[derive(Clone, Copy)]
struct Kept {
    id: SpanId,
    key: Key,
    /// Where it stands among the spans that came.
    at: usize,
}

/// Nobody, where a span's number is expected.
const NONE: usize = usize::MAX;

/// Who stands above, below and beside a kept span, before they are put in order.
#[derive(Clone, Copy)]
struct Link {
    parent: usize,
    /// The parent is named but not among the spans.
    orphan: bool,
    first_child: usize,
    next_sibling: usize,
}

impl Tree {
    /// Rebuilds the forest from the spans of one trace, in order of arrival. `resolve` tells what a
    /// span's key stands for.
    pub fn build(&mut self, spans: &[Span], resolve: impl FnMut(&Span) -> Key) {
        self.keep_first_of_each_id(spans, resolve);
        self.find_parents(spans);
        self.arrange(spans);
        if self.spans.len() < self.scratch.kept.len() {
            // What hangs from no root hangs in a circle.
            self.break_cycles(spans);
            self.arrange(spans);
        }
        debug_assert_eq!(
            self.spans.len(),
            self.scratch.kept.len(),
            "every span hangs from a root once cycles are cut"
        );
        self.mark_entries();
        self.correct_skew();
        self.link_children();
    }

    /// The spans, parents before children.
    #[inline]
    pub fn spans(&self) -> &[TreeSpan] {
        &self.spans
    }

    /// The children of a span that belong to the same request, by descending end.
    #[inline]
    pub fn children(&self, of: Index) -> &[Index] {
        &self.children[self.first[of]..self.first[of + 1]]
    }

    fn keep_first_of_each_id(&mut self, spans: &[Span], mut resolve: impl FnMut(&Span) -> Key) {
        let Scratch { by_id, kept, .. } = &mut self.scratch;
        by_id.clear();
        by_id.extend(spans.iter().enumerate().map(|(at, span)| (span.id, at)));
        by_id.sort_unstable();
        kept.clear();
        self.duplicates = 0;
        for &(id, at) in by_id.iter() {
            let key = resolve(&spans[at]);
            let is_new = match kept.as_slice() {
                [.., two, one] if two.id == id && one.id == id => false,
                [.., one] if one.id == id => is_shared(&one.key, &key),
                _ => true,
            };
            if is_new {
                kept.push(Kept { id, key, at });
            } else {
                self.duplicates += 1;
            }
        }
    }

    /// `kept` is sorted by id, so a parent is found by bisection.
    fn find_parents(&mut self, spans: &[Span]) {
        let Scratch { kept, links, .. } = &mut self.scratch;
        links.clear();
        for (at, &Kept { id: own, key, at: came }) in kept.iter().enumerate() {
            let named = spans[came].parent;
            let parent = match (shared_client(kept, at), named) {
                (Some(client), _) => client,
                (None, Some(id)) if id != own => parent_named(kept, id, key.service),
                _ => NONE,
            };
            let orphan = parent == NONE && named.is_some();
            links.push(Link { parent, orphan, first_child: NONE, next_sibling: NONE });
        }
    }

    /// Where following parents comes back to where it began, the earliest span becomes an orphan.
    #[cold]
    fn break_cycles(&mut self, spans: &[Span]) {
        let Scratch { kept, links, .. } = &mut self.scratch;
        // The walk in which a span was met first.
        let mut met_in_walk = vec![NONE; kept.len()];
        for start in 0..kept.len() {
            let mut at = start;
            while met_in_walk[at] == NONE {
                met_in_walk[at] = start;
                if links[at].parent == NONE {
                    break;
                }
                at = links[at].parent;
            }
            if met_in_walk[at] == start && links[at].parent != NONE {
                let order = |at: usize| (spans[kept[at].at].start, kept[at].id);
                cut_cycle_through(links, order, at);
            }
        }
    }

    /// Breadth first from the roots: a parent gets a lower index than its children, and the children of
    /// one parent stand side by side.
    fn arrange(&mut self, spans: &[Span]) {
        let Scratch { kept, links, order, .. } = &mut self.scratch;
        order.clear();
        self.spans.clear();
        links.iter_mut().for_each(|link| link.first_child = NONE);
        // From the last to the first, so that the lists ascend.
        for at in (0..links.len()).rev() {
            match links[at].parent {
                NONE => order.push(at),
                parent => {
                    links[at].next_sibling = links[parent].first_child;
                    links[parent].first_child = at;
                }
            }
        }
        order
            .sort_unstable_by_key(|&at| (spans[kept[at].at].start, kept[at].id, kept[at].key.kind));
        let tree_span = |at: usize, parent| {
            let Kept { key, at, .. } = kept[at];
            TreeSpan { span: spans[at], key, parent, entry: false }
        };
        self.spans.extend(order.iter().map(|&root| tree_span(root, None)));
        let mut parent = 0;
        while parent < order.len() {
            let mut child = links[order[parent]].first_child;
            while child != NONE {
                order.push(child);
                self.spans.push(tree_span(child, Some(parent)));
                child = links[child].next_sibling;
            }
            parent += 1;
        }
    }

    /// Entries: roots, what a broker handed over, and, where no root was seen, servers whose caller
    /// is missing. A CLIENT root (a browser, a load generator) hands the role to the servers it calls.
    fn mark_entries(&mut self) {
        let Scratch { links, order, .. } = &self.scratch;
        let is_orphan = |index: Index| links[order[index]].orphan;
        let roots = self.spans.iter().take_while(|span| span.parent.is_none()).count();
        let has_root = (0..roots).any(|root| !is_orphan(root));
        for root in 0..roots {
            let kind = self.spans[root].key.kind;
            self.spans[root].entry = !is_orphan(root)
                || kind == SpanKind::Consumer
                || (!has_root && kind == SpanKind::Server);
        }
        let mut are_cut = false;
        for index in roots..self.spans.len() {
            let TreeSpan { key, parent, .. } = self.spans[index];
            let is_entry = parent.is_some_and(|parent| {
                let caller = &self.spans[parent];
                key.kind == SpanKind::Consumer
                    || caller.key.kind == SpanKind::Producer
                    || (key.kind == SpanKind::Server && is_client_root(caller))
            });
            self.spans[index].entry = is_entry;
            are_cut |= is_entry;
        }
        if are_cut {
            self.cut_entries_off();
        }
    }

    fn cut_entries_off(&mut self) {
        for index in 0..self.spans.len() {
            let TreeSpan { key, parent, entry, .. } = self.spans[index];
            if !entry {
                continue;
            }
            if let Some(parent) = parent
                && is_client_root(&self.spans[parent])
                && key.kind == SpanKind::Server
            {
                self.spans[parent].entry = false;
            }
            self.spans[index].parent = None;
        }
    }

    /// Top down: moving a span moves everything below it.
    fn correct_skew(&mut self) {
        let shifts = &mut self.scratch.shifts;
        shifts.clear();
        self.skewed = 0;
        for index in 0..self.spans.len() {
            let (before, above) = self.spans.split_at_mut(index);
            let child = &mut above[0];
            let mut shift = 0_i64;
            if let Some(parent) = child.parent {
                let inherited = shifts[parent];
                child.shift(inherited);
                let parent = &before[parent];
                if child.key.service != parent.key.service {
                    shift = shift_into(&parent.span, &child.span);
                    child.shift(shift);
                    self.skewed += usize::from(shift.unsigned_abs() > NUDGE.0);
                }
                shift = inherited.saturating_add(shift);
            }
            shifts.push(shift);
        }
    }

    /// The children of one parent stand side by side, those of the next parent behind them.
    fn link_children(&mut self) {
        self.first.clear();
        self.children.clear();
        for (index, span) in self.spans.iter().enumerate() {
            let Some(parent) = span.parent else { continue };
            while self.first.len() <= parent {
                self.first.push(self.children.len());
            }
            self.children.push(index);
        }
        while self.first.len() <= self.spans.len() {
            self.first.push(self.children.len());
        }
        let ends_later = |&one: &Index, &two: &Index| {
            let key = |at: Index| {
                let TreeSpan { span, key, .. } = &self.spans[at];
                (span.end, span.start, span.id, key.kind)
            };
            key(two).cmp(&key(one))
        };
        for range in self.first.windows(2).filter(|range| range[1] > range[0] + 1) {
            self.children[range[0]..range[1]].sort_unstable_by(ends_later);
        }
    }
}

fn is_client_root(span: &TreeSpan) -> bool {
    span.parent.is_none() && span.key.kind == SpanKind::Client
}

/// Zipkin lets the server's span share the id of the client's.
fn is_shared(one: &Key, two: &Key) -> bool {
    matches!(
        (one.kind, two.kind),
        (SpanKind::Client, SpanKind::Server) | (SpanKind::Server, SpanKind::Client)
    )
}

/// If the span at `at` is the server half of a shared id, its client half.
#[inline]
fn shared_client(kept: &[Kept], at: usize) -> Option<usize> {
    if kept[at].key.kind != SpanKind::Server {
        return None;
    }
    let is_twin = |other: usize| {
        let half = kept.get(other)?;
        (half.id == kept[at].id && half.key.kind == SpanKind::Client).then_some(other)
    };
    at.checked_sub(1).and_then(is_twin).or_else(|| is_twin(at + 1))
}

/// The span with this id; of two halves of a shared id, the one the child belongs to.
fn parent_named(kept: &[Kept], id: SpanId, service: Sym) -> usize {
    let from = kept.partition_point(|other| other.id < id);
    match &kept[from..] {
        [one, two, ..] if one.id == id && two.id == id => {
            let (client, server) =
                if one.key.kind == SpanKind::Client { (one, two) } else { (two, one) };
            let of_client = client.key.service == service && server.key.service != service;
            from + usize::from(of_client != (one.key.kind == SpanKind::Client))
        }
        [one, ..] if one.id == id => from,
        _ => NONE,
    }
}

fn cut_cycle_through<T: Ord>(links: &mut [Link], order: impl Fn(usize) -> T, start: usize) {
    let mut earliest = start;
    let mut at = links[start].parent;
    while at != start && at != NONE {
        if order(at) < order(earliest) {
            earliest = at;
        }
        at = links[at].parent;
    }
    links[earliest] = Link { parent: NONE, orphan: true, ..links[earliest] };
}

/// How far to move a child of another service so that it lies in its parent.
fn shift_into(parent: &Span, child: &Span) -> i64 {
    let (room, need) = (parent.end.since(parent.start), child.end.since(child.start));
    let early = parent.start.since(child.start);
    let over = child.end.since(parent.end);
    let distance = |from: Timestamp, to: Timestamp| {
        let magnitude = i64::try_from(from.0.abs_diff(to.0)).unwrap_or(i64::MAX);
        if to >= from { magnitude } else { -magnitude }
    };
    if need > room {
        // It outlived its caller, or began on a clock that is behind.
        return if early > Nanos::ZERO { distance(child.start, parent.start) } else { 0 };
    }
    match early.max(over) {
        Nanos::ZERO => 0,
        out if out > NUDGE => distance(child.start, parent.start + Nanos((room - need).0 / 2)),
        _ if early > Nanos::ZERO => distance(child.start, parent.start),
        _ => distance(child.end, parent.end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Draft, service};

    fn build(drafts: &[Draft]) -> Tree {
        let (spans, keys) = Draft::build(drafts);
        let mut tree = Tree::default();
        tree.build(&spans, |span| keys[span.key.0 as usize]);
        tree
    }

    fn entries(tree: &Tree) -> Vec<u64> {
        let entries = tree.spans().iter().filter(|span| span.entry);
        entries.map(|span| span.span.id.get()).collect()
    }

    #[test]
    fn parents_stand_before_their_children_whatever_the_order_of_arrival() {
        let drafts = [
            Draft::new(3, 2, service(1)).times(20, 30),
            Draft::new(1, 0, service(1)).times(0, 100),
            Draft::new(2, 1, service(1)).times(10, 50),
        ];
        let tree = build(&drafts);
        for (index, span) in tree.spans().iter().enumerate() {
            assert!(span.parent.is_none_or(|parent| parent < index));
        }
        assert_eq!(entries(&tree), [1]);
    }

    #[test]
    fn a_second_span_with_the_same_id_is_a_duplicate() {
        let draft = Draft::new(1, 0, service(1)).times(0, 100);
        assert_eq!(build(&[draft, draft]).duplicates, 1);
    }

    #[test]
    fn a_shared_id_is_a_client_and_its_server() {
        let tree = build(&[
            Draft::new(1, 0, service(1)).server().times(0, 100),
            Draft::new(2, 1, service(1)).client().times(10, 90),
            Draft::new(2, 1, service(2)).server().times(20, 80),
            Draft::new(3, 2, service(2)).times(30, 40),
        ]);
        assert_eq!((tree.duplicates, tree.spans().len()), (0, 4));
        let kinds: Vec<_> = tree.spans().iter().map(|span| span.key.kind).collect();
        use SpanKind::{Client, Internal, Server};
        assert_eq!(kinds, [Server, Client, Server, Internal]);
        let parents: Vec<_> = tree.spans().iter().map(|span| span.parent).collect();
        assert_eq!(parents, [None, Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn cycles_are_cut_at_their_earliest_span() {
        let tree = build(&[
            Draft::new(1, 3, service(1)).times(5, 10),
            Draft::new(2, 1, service(1)).times(1, 10),
            Draft::new(3, 2, service(1)).times(7, 10),
            Draft::new(4, 4, service(1)).times(0, 10),
        ]);
        assert_eq!(tree.spans().len(), 4);
        let roots = tree.spans().iter().filter(|span| span.parent.is_none());
        assert_eq!(roots.map(|span| span.span.id.get()).collect::<Vec<_>>(), [4, 2]);
    }

    #[test]
    fn what_a_broker_hands_over_is_an_entry_of_its_own() {
        let tree = build(&[
            Draft::new(1, 0, service(1)).server().times(0, 100),
            Draft::new(2, 1, service(1)).producer().times(10, 20),
            Draft::new(3, 2, service(2)).consumer().times(500, 900),
        ]);
        assert_eq!(entries(&tree), [1, 3]);
        assert!(tree.children(1).is_empty());
    }

    #[test]
    fn a_client_root_hands_its_role_to_the_server_it_calls() {
        let tree = build(&[
            Draft::new(1, 0, service(1)).client().times(0, 100),
            Draft::new(2, 1, service(2)).server().times(10, 90),
        ]);
        assert_eq!(entries(&tree), [2]);
        let alone = build(&[Draft::new(1, 0, service(1)).client().times(0, 100)]);
        assert_eq!(entries(&alone), [1]);
    }

    #[test]
    fn without_a_root_servers_with_a_missing_caller_are_entries() {
        let orphan_server = Draft::new(2, 99, service(2)).server().times(10, 90);
        let orphan_internal = Draft::new(3, 98, service(2)).times(10, 90);
        assert_eq!(entries(&build(&[orphan_server, orphan_internal])), [2]);
        let root = Draft::new(1, 0, service(1)).times(0, 100);
        assert_eq!(entries(&build(&[root, orphan_server])), [1]);
    }

    #[test]
    fn a_clock_behind_is_centred_and_moves_all_below_it() {
        let ms = 1_000_000;
        let tree = build(&[
            root(),
            Draft::new(1, 9, service(1)).client().times(1_000 * ms, 1_100 * ms),
            Draft::new(2, 1, service(2)).server().times(800 * ms, 880 * ms),
            Draft::new(3, 2, service(2)).times(810 * ms, 820 * ms),
        ]);
        let starts: Vec<_> = tree.spans().iter().map(|span| span.span.start.0 / ms).collect();
        assert_eq!(starts[1..], [1_000, 1_010, 1_020]);
        assert_eq!(tree.skewed, 1);
    }

    #[test]
    fn a_child_just_outside_is_moved_the_least_that_fits() {
        let us = 1_000;
        let tree = build(&[
            root(),
            Draft::new(1, 9, service(1)).client().times(100_000 * us, 110_000 * us),
            Draft::new(2, 1, service(2)).server().times(99_900 * us, 105_000 * us),
        ]);
        assert_eq!(tree.spans()[2].span.start.0, 100_000 * us);
        assert_eq!(tree.skewed, 0);
    }

    #[test]
    fn a_server_that_outlives_its_timed_out_caller_stays_where_it_is() {
        let tree = build(&[
            root(),
            Draft::new(1, 9, service(1)).client().times(100, 200),
            Draft::new(2, 1, service(2)).server().times(120, 900),
        ]);
        assert_eq!(tree.spans()[2].span.start.0, 120);
    }

    #[test]
    fn times_at_the_end_of_the_number_line_do_not_overflow() {
        let tree = build(&[
            root(),
            Draft::new(1, 9, service(1)).client().times(0, u64::MAX),
            Draft::new(2, 1, service(2)).server().times(u64::MAX - 1, u64::MAX),
            Draft::new(3, 2, service(3)).server().times(0, 1),
        ]);
        assert_eq!(tree.spans().len(), 4);
    }

    /// A request above the caller, so that the caller is not a CLIENT root.
    fn root() -> Draft {
        Draft::new(9, 0, service(1)).times(0, u64::MAX)
    }
}
