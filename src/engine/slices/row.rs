//! What was filed under one path in one slice: two lines of the processor's caches.
//!
//! A shard has some ten thousand rows for each slice and adds to a few of them for every trace, so what a
//! call adds up to stands in the row itself: counts of the buckets around the first call's, and the first
//! two sets of attributes. What does not fit goes to a list beside it. None of this can be seen from
//! outside: the row is handed over as the sums it stands for.

use super::super::aggregate::{AttrSum, Calls, Detail, FanOut, Id, NodeSum, PathSum, Slowest};
use super::super::histogram::{BUCKETS, Bucket, Distribution as _, Sparse, bucket_of};
use super::{Piece, clipped};
use crate::model::{AttrSetId, Nanos, TraceId};

/// Buckets counted in the row: five octaves, of which one and a half lie below the first call.
const NEAR: usize = 43;
const BELOW: Bucket = 12;
/// No bucket below a base is taken for one above it, however high that is.
const MAX_BASE: Bucket = 213;
const _: () = assert!(MAX_BASE as usize + NEAR == BUCKETS);

/// A path in a slice.
#[repr(align(64))]
pub(super) struct Row {
    slowest: Option<TraceId>,
    slowest_time: Nanos,
    critical: u64,
    attrs: [Attrs; 2],
    /// What found no room.
    aside: Option<Box<Aside>>,
    pub(super) path: Id,
    requests: u32,
    /// Calls from above that made one call of this.
    single: u32,
    /// The bucket that `near` begins with.
    base: Bucket,
    near: [u8; NEAR],
}

/// Calls with one set of attributes; none, if there are no calls.
#[derive(Clone, Copy)]
struct Attrs {
    attrs: AttrSetId,
    calls: u32,
    self_time: u64,
}

#[derive(Default)]
struct Aside {
    histogram: Sparse,
    by_attrs: Detail,
    /// Calls from above that made several calls of this.
    fan_out: FanOut,
}

/// What a row stands for.
pub(super) struct Sums {
    pub(super) path: PathSum,
    pub(super) node: NodeSum,
    /// How often one call from above made so many of this.
    pub(super) fan_out: FanOut,
}

impl Row {
    /// An empty one, for a path whose first call took so long.
    pub(super) fn new(path: Id, first: Nanos) -> Row {
        let none = Attrs { attrs: AttrSetId::EMPTY, calls: 0, self_time: 0 };
        Row {
            slowest: None,
            slowest_time: Nanos::ZERO,
            critical: 0,
            attrs: [none; 2],
            aside: None,
            path,
            requests: 0,
            single: 0,
            base: bucket_of(first).saturating_sub(BELOW).min(MAX_BASE),
            near: [0; NEAR],
        }
    }

    /// Files a piece of time.
    #[inline]
    pub(super) fn add(&mut self, piece: &Piece, trace: TraceId) {
        self.critical = self.critical.saturating_add(piece.critical.0);
        self.requests += u32::from(piece.first_of_request);
        let bucket = bucket_of(piece.self_time);
        match self.near.get_mut(usize::from(bucket.wrapping_sub(self.base))) {
            Some(count) if *count < u8::MAX => *count += 1,
            _ => self.count_aside(bucket),
        }
        if piece.self_time >= self.slowest_time {
            let slowest = (self.slowest_time, self.slowest).max((piece.self_time, Some(trace)));
            (self.slowest_time, self.slowest) = slowest;
        }
        let Attrs { attrs, calls, .. } = self.attrs[0];
        if attrs == piece.attrs || calls == 0 {
            self.attrs[0].add(piece);
        } else {
            self.add_other_attrs(piece);
        }
        match piece.siblings {
            0 => {}
            1 => self.single += 1,
            several => self.aside().fan_out.add(clipped(several), 1),
        }
    }

    #[inline]
    fn add_other_attrs(&mut self, piece: &Piece) {
        let Attrs { attrs, calls, .. } = self.attrs[1];
        if attrs == piece.attrs || calls == 0 {
            self.attrs[1].add(piece);
        } else {
            let sum = AttrSum { attrs: piece.attrs, calls: 1, self_time: piece.self_time.0 };
            self.aside().by_attrs.add_attrs(sum);
        }
    }

    /// A call in a bucket far away, or one more than a byte can hold.
    #[inline(never)]
    fn count_aside(&mut self, bucket: Bucket) {
        let near = self.near.get_mut(usize::from(bucket.wrapping_sub(self.base)));
        let counted = near.map_or(0, std::mem::take);
        self.aside().histogram.add(bucket, u32::from(counted) + 1);
    }

    fn aside(&mut self) -> &mut Aside {
        self.aside.get_or_insert_default()
    }

    /// What it all comes to. What found no room in the row is not there any more afterwards.
    pub(super) fn take(&mut self) -> Sums {
        let Aside { histogram: far, by_attrs: mut detail, mut fan_out } =
            self.aside.take().map_or_else(Aside::default, |aside| *aside);
        let near = (self.base..=Bucket::MAX).zip(self.near).filter(|(_, count)| *count > 0);
        let near = near.map(|(bucket, count)| (bucket, u32::from(count)));
        let mut histogram = Sparse::from_counts(near.collect());
        histogram.merge(&far);
        detail.slowest = self.slowest.map(|trace| Slowest { self_time: self.slowest_time, trace });
        for Attrs { attrs, calls, self_time } in self.attrs {
            if calls > 0 {
                detail.add_attrs(AttrSum { attrs, calls: u64::from(calls), self_time });
            }
        }
        if self.single > 0 {
            fan_out.add(1, self.single);
        }
        let path = PathSum { calls: histogram.count(), critical: self.critical };
        let calls = Calls { requests: u64::from(self.requests), histogram };
        Sums { path, node: NodeSum { calls, detail }, fan_out }
    }
}

impl Attrs {
    #[inline]
    fn add(&mut self, piece: &Piece) {
        self.attrs = piece.attrs;
        self.calls += 1;
        self.self_time = self.self_time.saturating_add(piece.self_time.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trace(number: u64) -> TraceId {
        TraceId::new(u128::from(number) + 1).expect("not zero")
    }

    /// A piece whose self-time, attributes and siblings are these.
    fn piece((nanos, attrs, siblings): (u64, u32, u32)) -> Piece {
        Piece {
            path: 7,
            self_time: Nanos(nanos),
            critical: Nanos(nanos / 2),
            attrs: AttrSetId(attrs),
            first_of_request: nanos % 3 == 0,
            siblings,
        }
    }

    #[test]
    fn a_row_takes_two_lines_of_the_caches() {
        assert_eq!(size_of::<Row>(), 128);
    }

    #[test]
    fn a_bucket_that_a_byte_cannot_count_is_counted_all_the_same() {
        let mut row = Row::new(7, Nanos(0));
        (0..100_000).for_each(|_| row.add(&piece((1 << 20, 1, 1)), trace(0)));
        let Sums { node, fan_out, .. } = row.take();
        assert_eq!(
            node.calls.histogram,
            Sparse::from_counts(vec![(bucket_of(Nanos(1 << 20)), 100_000)])
        );
        assert_eq!(fan_out, Sparse::from_counts(vec![(1, 100_000)]));
    }

    proptest! {
        /// The oracle adds up each figure on its own, without a row.
        #[test]
        fn a_row_is_the_sum_of_its_pieces(
            pieces in prop::collection::vec(
                ((0u32..64, any::<u64>()).prop_map(|(bits, value)| value >> bits), 0u32..100, 0u32..4),
                1..400,
            ),
        ) {
            let mut row = Row::new(7, Nanos(pieces[0].0));
            let mut detail = Detail::default();
            let (mut critical, mut requests) = (0u64, 0);
            for (at, &one) in (0..).zip(&pieces) {
                let piece = piece(one);
                row.add(&piece, trace(at));
                critical = critical.saturating_add(piece.critical.0);
                requests += u64::from(piece.first_of_request);
                let self_time = piece.self_time;
                detail.add_attrs(AttrSum { attrs: piece.attrs, calls: 1, self_time: self_time.0 });
                detail.slowest = detail.slowest.max(Some(Slowest { self_time, trace: trace(at) }));
            }
            let Sums { path, node, fan_out } = row.take();
            prop_assert_eq!(path, PathSum { calls: pieces.len() as u64, critical });
            let buckets = pieces.iter().map(|&(nanos, ..)| (bucket_of(Nanos(nanos)), 1));
            prop_assert_eq!(node.calls.histogram, Sparse::from_counts(buckets.collect()));
            prop_assert_eq!(node.calls.requests, requests);
            prop_assert_eq!(node.detail, detail);
            let calls = pieces.iter().filter(|one| one.2 > 0).map(|one| (clipped(one.2), 1));
            prop_assert_eq!(fan_out, Sparse::from_counts(calls.collect()));
        }
    }
}
