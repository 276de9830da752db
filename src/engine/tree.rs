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
    pub fn duration(&self) -> Nanos {
        self.span.end.since(self.span.start)
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
    by_id: Vec<usize>,
    kept: Vec<Candidate>,
    links: Links,
    order: Vec<usize>,
    placed: Vec<Option<Index>>,
    shifts: Vec<i64>,
}

/// Children lists of the spans as they came, before they are put in order.
#[derive(Default)]
struct Links {
    first: Vec<usize>,
    children: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Candidate {
    span: Span,
    key: Key,
    parent: Option<usize>,
    /// The parent is named but not among the spans.
    orphan: bool,
}

impl Tree {
    /// Rebuilds the forest from the spans of one trace, in order of arrival. `resolve` tells what a
    /// span's key stands for.
    pub fn build(&mut self, spans: &[Span], mut resolve: impl FnMut(&Span) -> Key) {
        self.keep_first_of_each_id(spans, &mut resolve);
        self.find_parents();
        self.break_cycles();
        self.scratch.links.fill(self.scratch.kept.iter().map(|candidate| candidate.parent));
        self.arrange();
        self.mark_entries();
        self.correct_skew();
        self.link_children();
    }

    /// The spans, parents before children.
    pub fn spans(&self) -> &[TreeSpan] {
        &self.spans
    }

    /// The children of a span that belong to the same request, by descending end.
    pub fn children(&self, of: Index) -> &[Index] {
        &self.children[self.first[of]..self.first[of + 1]]
    }

    fn keep_first_of_each_id(&mut self, spans: &[Span], resolve: &mut impl FnMut(&Span) -> Key) {
        let Scratch { by_id, kept, .. } = &mut self.scratch;
        by_id.clear();
        by_id.extend(0..spans.len());
        by_id.sort_by_key(|&at| spans[at].id);
        kept.clear();
        self.duplicates = 0;
        for &at in by_id.iter() {
            let span = spans[at];
            let key = resolve(&span);
            let twin_start = kept.partition_point(|other| other.span.id < span.id);
            let twins = &kept[twin_start..];
            if twins.is_empty() || (twins.len() == 1 && is_shared(&twins[0].key, &key)) {
                kept.push(Candidate { span, key, parent: None, orphan: false });
            } else {
                self.duplicates += 1;
            }
        }
    }

    /// `kept` is sorted by id, so a parent is found by bisection.
    fn find_parents(&mut self) {
        let kept = &mut self.scratch.kept;
        for at in 0..kept.len() {
            let Candidate { span, key, .. } = kept[at];
            let twin = shared_client(kept, at);
            let parent = match (twin, span.parent) {
                (Some(client), _) => Some(client),
                (None, Some(id)) if id != span.id => parent_named(kept, id, key.service),
                _ => None,
            };
            kept[at].parent = parent;
            kept[at].orphan = parent.is_none() && span.parent.is_some();
        }
    }

    /// Where following parents comes back to where it began, the earliest span becomes an orphan.
    fn break_cycles(&mut self) {
        let Scratch { kept, order: seen_in_walk, .. } = &mut self.scratch;
        /// Not looked at yet.
        const UNSEEN: usize = usize::MAX;
        seen_in_walk.clear();
        seen_in_walk.resize(kept.len(), UNSEEN);
        for start in 0..kept.len() {
            let mut at = start;
            while seen_in_walk[at] == UNSEEN {
                seen_in_walk[at] = start;
                match kept[at].parent {
                    Some(parent) => at = parent,
                    None => break,
                }
            }
            if seen_in_walk[at] == start && kept[at].parent.is_some() {
                cut_cycle_through(kept, at);
            }
        }
    }

    /// Breadth first from the roots: a parent gets a lower index than its children.
    fn arrange(&mut self) {
        let Scratch { kept, links, order, placed, .. } = &mut self.scratch;
        order.clear();
        order.extend((0..kept.len()).filter(|&at| kept[at].parent.is_none()));
        order
            .sort_unstable_by_key(|&at| (kept[at].span.start, kept[at].span.id, kept[at].key.kind));
        let mut next = 0;
        while next < order.len() {
            order.extend_from_slice(links.of(order[next]));
            next += 1;
        }
        debug_assert_eq!(
            order.len(),
            kept.len(),
            "every span hangs from a root once cycles are cut"
        );
        placed.clear();
        placed.resize(kept.len(), None);
        self.spans.clear();
        for &at in order.iter() {
            let Candidate { span, key, parent, .. } = kept[at];
            placed[at] = Some(self.spans.len());
            let parent = parent.and_then(|parent| placed[parent]);
            self.spans.push(TreeSpan { span, key, parent, entry: false });
        }
    }

    /// Entries: roots, what a broker handed over, and, where no root was seen, servers whose caller
    /// is missing. A CLIENT root (a browser, a load generator) hands the role to the servers it calls.
    fn mark_entries(&mut self) {
        let Scratch { kept, order, .. } = &self.scratch;
        let has_root = order.iter().any(|&at| kept[at].parent.is_none() && !kept[at].orphan);
        for index in 0..self.spans.len() {
            let candidate = &kept[order[index]];
            let TreeSpan { key, parent, .. } = self.spans[index];
            self.spans[index].entry = match parent {
                None if candidate.orphan => {
                    key.kind == SpanKind::Consumer || (!has_root && key.kind == SpanKind::Server)
                }
                None => true,
                Some(parent) => {
                    let caller = &self.spans[parent];
                    key.kind == SpanKind::Consumer
                        || caller.key.kind == SpanKind::Producer
                        || (is_client_root(caller) && key.kind == SpanKind::Server)
                }
            };
        }
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
        shifts.resize(self.spans.len(), 0);
        self.skewed = 0;
        for index in 0..self.spans.len() {
            let Some(parent) = self.spans[index].parent else { continue };
            let (before, above) = self.spans.split_at_mut(index);
            let (parent_span, child) = (&before[parent], &mut above[0]);
            let inherited = shifts[parent];
            child.span = shifted(child.span, inherited);
            let own = if child.key.service == parent_span.key.service {
                0
            } else {
                shift_into(&parent_span.span, &child.span)
            };
            child.span = shifted(child.span, own);
            self.skewed += usize::from(own.unsigned_abs() > NUDGE.0);
            shifts[index] = inherited.saturating_add(own);
        }
    }

    fn link_children(&mut self) {
        let mut links = Links {
            first: std::mem::take(&mut self.first),
            children: std::mem::take(&mut self.children),
        };
        links.fill(self.spans.iter().map(|span| span.parent));
        for index in 0..self.spans.len() {
            let (from, to) = (links.first[index], links.first[index + 1]);
            links.children[from..to].sort_unstable_by(|&one, &two| {
                let key = |at: Index| {
                    let span = &self.spans[at].span;
                    (span.end, span.start, span.id, self.spans[at].key.kind)
                };
                key(two).cmp(&key(one))
            });
        }
        self.first = links.first;
        self.children = links.children;
    }
}

impl Links {
    /// Counts, then places: the children of each parent side by side, in their own order.
    fn fill(&mut self, parents: impl ExactSizeIterator<Item = Option<usize>> + Clone) {
        let count = parents.len();
        self.first.clear();
        self.first.resize(count + 2, 0);
        for parent in parents.clone().flatten() {
            self.first[parent + 2] += 1;
        }
        for index in 2..self.first.len() {
            self.first[index] += self.first[index - 1];
        }
        self.children.clear();
        self.children.resize(self.first[count + 1], 0);
        for (child, parent) in parents.enumerate() {
            if let Some(parent) = parent {
                self.children[self.first[parent + 1]] = child;
                self.first[parent + 1] += 1;
            }
        }
        self.first.pop();
    }

    fn of(&self, parent: usize) -> &[usize] {
        &self.children[self.first[parent]..self.first[parent + 1]]
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
fn shared_client(kept: &[Candidate], at: usize) -> Option<usize> {
    if kept[at].key.kind != SpanKind::Server {
        return None;
    }
    let is_twin = |other: usize| {
        let other_half = kept.get(other)?;
        let twin =
            other_half.span.id == kept[at].span.id && other_half.key.kind == SpanKind::Client;
        twin.then_some(other)
    };
    at.checked_sub(1).and_then(is_twin).or_else(|| is_twin(at + 1))
}

/// The span with this id; of two halves of a shared id, the one the child belongs to.
fn parent_named(kept: &[Candidate], id: SpanId, service: Sym) -> Option<usize> {
    let from = kept.partition_point(|candidate| candidate.span.id < id);
    let halves = kept[from..].iter().take_while(|candidate| candidate.span.id == id).count();
    match halves {
        0 => None,
        1 => Some(from),
        _ => {
            let client = from + usize::from(kept[from].key.kind != SpanKind::Client);
            let server = from + usize::from(client == from);
            let of_client =
                kept[client].key.service == service && kept[server].key.service != service;
            Some(if of_client { client } else { server })
        }
    }
}

fn cut_cycle_through(kept: &mut [Candidate], start: usize) {
    let mut earliest = start;
    let mut at = start;
    while let Some(parent) = kept[at].parent {
        let order = |index: usize| (kept[index].span.start, kept[index].span.id);
        if order(parent) < order(earliest) {
            earliest = parent;
        }
        at = parent;
        if at == start {
            break;
        }
    }
    kept[earliest].parent = None;
    kept[earliest].orphan = true;
}

fn shifted(span: Span, by: i64) -> Span {
    let duration = span.end.since(span.start);
    let start = Timestamp(span.start.0.saturating_add_signed(by));
    Span { start, end: start + duration, ..span }
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
