//! One trace as a forest: every span under its parent, cut where work is asynchronous.
//!
//! Copes with what strangers send: orphans, cycles, self-parents, a client and a server span under
//! one id (Zipkin), clocks that disagree. Spans are held in an arena in which a parent stands before
//! its children and these side by side, so every walk is a loop and nothing has to list them. Clock skew
//! is corrected here and nowhere else, in the analysis only; how much was shifted is kept, so that it can
//! be said.

use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::fast::RandomState;

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
    /// Where its children begin and end.
    children: [Index; 2],
    /// Which of the spans kept it is.
    kept: usize,
    /// How far it was moved.
    shift: i64,
}

impl TreeSpan {
    /// How long it took.
    #[inline]
    pub fn duration(&self) -> Nanos {
        self.span.end.since(self.span.start)
    }

    #[inline]
    fn move_by(&mut self, shift: i64) {
        if shift != 0 {
            let duration = self.duration();
            self.span.start = Timestamp(self.span.start.0.saturating_add_signed(shift));
            self.span.end = self.span.start + duration;
            self.shift = self.shift.saturating_add(shift);
        }
    }

    /// Roots and entries are told in the order in which they began.
    fn beginning(&self) -> (Timestamp, SpanId, SpanKind) {
        (self.span.start, self.span.id, self.key.kind)
    }

    /// Children are told from the one that ended last.
    fn ending(&self) -> (Timestamp, Timestamp, SpanId, SpanKind) {
        (self.span.end, self.span.start, self.span.id, self.key.kind)
    }
}

/// The forest of one trace. Reused from trace to trace, so that building one allocates nothing.
#[derive(Default)]
pub struct Tree {
    spans: Vec<TreeSpan>,
    /// Spans whose id had been seen before in the trace.
    pub duplicates: usize,
    /// Spans moved because their clock disagreed with their parent's.
    pub skewed: usize,
    /// The spans that are no duplicates, in order of arrival.
    kept: Vec<Kept>,
    by_id: ById,
}

/// A span that is no duplicate, and who stands above, below and beside it before all are put in order.
#[derive(Clone, Copy)]
struct Kept {
    id: SpanId,
    key: Key,
    /// Where it stands among the spans that came.
    at: usize,
    /// The other half of a shared id.
    twin: usize,
    parent: usize,
    /// The parent is named but not among the spans.
    orphan: bool,
    first_child: usize,
    next_sibling: usize,
}

/// Nobody, where a span's number is expected.
const NONE: usize = usize::MAX;

impl Tree {
    /// Rebuilds the forest from the spans of one trace, in order of arrival. `resolve` tells what a
    /// span's key stands for.
    pub fn build(&mut self, spans: &[Span], resolve: impl FnMut(&Span) -> Key) {
        self.keep_first_of_each_id(spans, resolve);
        self.find_parents(spans);
        self.arrange(spans);
        if self.spans.len() < self.kept.len() {
            // What hangs from no root hangs in a circle.
            self.break_cycles(spans);
            self.arrange(spans);
        }
        debug_assert_eq!(
            self.spans.len(),
            self.kept.len(),
            "every span hangs from a root once cycles are cut"
        );
    }

    /// The spans, parents before children.
    #[inline]
    pub fn spans(&self) -> &[TreeSpan] {
        &self.spans
    }

    /// The children of a span that belong to the same request, by descending end.
    #[inline]
    pub fn children(&self, of: Index) -> Range<Index> {
        let [from, upto] = self.spans[of].children;
        from..upto
    }

    fn keep_first_of_each_id(&mut self, spans: &[Span], mut resolve: impl FnMut(&Span) -> Key) {
        let Tree { kept, by_id, .. } = self;
        kept.clear();
        by_id.clear(spans.len());
        for (at, span) in spans.iter().enumerate() {
            let (id, key) = (span.id, resolve(span));
            let own = kept.len();
            let place = by_id.place(id, kept);
            let twin = *place;
            match kept.get_mut(twin) {
                None => *place = own,
                Some(one) if one.twin == NONE && is_shared(&one.key, &key) => one.twin = own,
                Some(_) => continue,
            }
            let (parent, first_child, next_sibling) = (NONE, NONE, NONE);
            kept.push(Kept { id, key, at, twin, parent, orphan: false, first_child, next_sibling });
        }
        self.duplicates = spans.len() - self.kept.len();
    }

    fn find_parents(&mut self, spans: &[Span]) {
        for at in 0..self.kept.len() {
            let one = self.kept[at];
            let named = spans[one.at].parent;
            let parent = match (self.shared_client(&one), named) {
                (Some(client), _) => client,
                (None, Some(id)) if id != one.id => self.parent_named(id, one.key.service),
                _ => NONE,
            };
            let orphan = parent == NONE && named.is_some();
            self.kept[at] = Kept { parent, orphan, ..one };
        }
    }

    /// If a span is the server half of a shared id, its client half.
    #[inline]
    fn shared_client(&self, one: &Kept) -> Option<usize> {
        let half = self.kept.get(one.twin)?;
        (one.key.kind == SpanKind::Server && half.key.kind == SpanKind::Client).then_some(one.twin)
    }

    /// The span with this id; of two halves of a shared id, the one that a child of `service` belongs to.
    #[inline]
    fn parent_named(&self, id: SpanId, service: Sym) -> usize {
        let found = self.by_id.find(id, &self.kept);
        let Some((one, twin)) =
            self.kept.get(found).and_then(|one| Some((one, self.kept.get(one.twin)?)))
        else {
            return found;
        };
        let is_client_first = one.key.kind == SpanKind::Client;
        let (client, server) = if is_client_first { (one, twin) } else { (twin, one) };
        let is_of_client = client.key.service == service && server.key.service != service;
        if is_of_client == is_client_first { found } else { one.twin }
    }

    /// Where following parents comes back to where it began, the earliest span becomes an orphan.
    #[cold]
    fn break_cycles(&mut self, spans: &[Span]) {
        let kept = &mut self.kept;
        // The walk in which a span was met first.
        let mut met_in_walk = vec![NONE; kept.len()];
        for start in 0..kept.len() {
            let mut at = start;
            while met_in_walk[at] == NONE {
                met_in_walk[at] = start;
                if kept[at].parent == NONE {
                    break;
                }
                at = kept[at].parent;
            }
            if met_in_walk[at] == start && kept[at].parent != NONE {
                cut_cycle_through(kept, spans, at);
            }
        }
    }

    /// Breadth first from the roots: a parent gets a lower index than its children, and the children of
    /// one parent stand side by side.
    fn arrange(&mut self, spans: &[Span]) {
        self.spans.clear();
        self.skewed = 0;
        self.kept.iter_mut().for_each(|one| one.first_child = NONE);
        for at in 0..self.kept.len() {
            match self.kept[at].parent {
                NONE => self.spans.push(placed(spans, &self.kept, at)),
                parent => {
                    let older = std::mem::replace(&mut self.kept[parent].first_child, at);
                    self.kept[at].next_sibling = older;
                }
            }
        }
        let roots = self.spans.len();
        self.mark_entries();
        for parent in 0..self.kept.len() {
            if parent == self.spans.len() {
                // The rest hangs in a circle.
                break;
            }
            self.add_children(spans, parent, parent < roots);
        }
    }

    /// Which roots are entries: those that have no caller, what a broker handed over, and, where no root
    /// was seen, servers whose caller is missing.
    fn mark_entries(&mut self) {
        let Tree { spans: roots, kept, .. } = self;
        if roots.len() > 1 {
            roots.sort_unstable_by_key(TreeSpan::beginning);
        }
        let is_orphan = |root: &TreeSpan| kept[root.kept].orphan;
        let has_root = !roots.iter().all(is_orphan);
        for root in roots {
            let kind = root.key.kind;
            root.entry = !is_orphan(root)
                || kind == SpanKind::Consumer
                || (!has_root && kind == SpanKind::Server);
        }
    }

    /// Puts the children of a span behind all others, those that are entries of their own after the rest:
    /// what a broker handed over, and what a CLIENT root (a browser, a load generator) calls, which
    /// hands its role on.
    fn add_children(&mut self, spans: &[Span], parent: Index, is_root: bool) {
        let mut next = self.kept[self.spans[parent].kept].first_child;
        if next == NONE {
            return;
        }
        let above = self.spans[parent];
        let from = self.spans.len();
        let is_client_root = is_root && above.key.kind == SpanKind::Client;
        let (mut entries, mut hands_on) = (0, false);
        while next != NONE {
            let mut child = placed(spans, &self.kept, next);
            let kind = child.key.kind;
            let is_called = is_client_root && kind == SpanKind::Server;
            hands_on |= is_called;
            child.entry =
                is_called || kind == SpanKind::Consumer || above.key.kind == SpanKind::Producer;
            if child.entry {
                entries += 1;
            } else {
                child.parent = Some(parent);
                self.skewed += usize::from(is_skewed_until_moved(&mut child, &above));
            }
            self.spans.push(child);
            next = self.kept[next].next_sibling;
        }
        let upto = self.spans.len() - entries;
        let children = &mut self.spans[from..];
        if children.len() > 1 {
            children.sort_unstable_by(|one, two| {
                one.entry.cmp(&two.entry).then_with(|| two.ending().cmp(&one.ending()))
            });
            children[upto - from..].sort_unstable_by_key(TreeSpan::beginning);
        }
        let above = &mut self.spans[parent];
        above.children = [from, upto];
        above.entry &= !hands_on;
    }
}

/// A kept span, not yet below anything.
#[inline]
fn placed(spans: &[Span], kept: &[Kept], at: usize) -> TreeSpan {
    let Kept { key, at: came, .. } = kept[at];
    let (parent, children) = (None, [0; 2]);
    TreeSpan { span: spans[came], key, parent, entry: false, children, kept: at, shift: 0 }
}

/// Moves a span with what it hangs from, and into it if it is of another service; says whether its own
/// clock was off.
#[inline]
fn is_skewed_until_moved(child: &mut TreeSpan, above: &TreeSpan) -> bool {
    child.move_by(above.shift);
    if child.key.service == above.key.service {
        return false;
    }
    let shift = shift_into(&above.span, &child.span);
    child.move_by(shift);
    shift.unsigned_abs() > NUDGE.0
}

/// Which kept span has which id: a hash table with room to spare. Ids come from strangers, so the hash
/// is keyed.
#[derive(Default)]
struct ById {
    places: Vec<usize>,
    hasher: RandomState,
}

impl ById {
    /// Empty, with room for so many.
    fn clear(&mut self, spans: usize) {
        self.places.clear();
        self.places.resize((2 * spans).next_power_of_two(), NONE);
    }

    /// Where the first of an id stands, or is to stand.
    #[inline]
    fn place(&mut self, id: SpanId, kept: &[Kept]) -> &mut usize {
        let at = self.probe(id, kept);
        &mut self.places[at]
    }

    /// The first of an id, or [`NONE`].
    #[inline]
    fn find(&self, id: SpanId, kept: &[Kept]) -> usize {
        self.places[self.probe(id, kept)]
    }

    #[inline]
    fn probe(&self, id: SpanId, kept: &[Kept]) -> usize {
        let mask = self.places.len() - 1;
        #[allow(clippy::cast_possible_truncation)] // any bits will do
        let mut at = self.hasher.hash_one(id.get()) as usize & mask;
        while kept.get(self.places[at]).is_some_and(|one| one.id != id) {
            at = (at + 1) & mask;
        }
        at
    }
}

/// Zipkin lets the server's span share the id of the client's.
fn is_shared(one: &Key, two: &Key) -> bool {
    matches!(
        (one.kind, two.kind),
        (SpanKind::Client, SpanKind::Server) | (SpanKind::Server, SpanKind::Client)
    )
}

fn cut_cycle_through(kept: &mut [Kept], spans: &[Span], start: usize) {
    let order = |at: usize| (spans[kept[at].at].start, kept[at].id, kept[at].key.kind);
    let mut earliest = start;
    let mut at = kept[start].parent;
    while at != start && at != NONE {
        if order(at) < order(earliest) {
            earliest = at;
        }
        at = kept[at].parent;
    }
    kept[earliest] = Kept { parent: NONE, orphan: true, ..kept[earliest] };
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
