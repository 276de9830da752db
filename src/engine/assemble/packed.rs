//! A buffered span: 44 bytes, four of them to a block, the blocks of a trace in a chain.
//!
//! What a [`Span`] spends on alignment and on saying "none" counts when millions wait for their trace.

use std::hint::black_box;

use super::slab::{NONE, Slot};
use crate::model::{AttrSetId, KeyId, Span, SpanId, Sym, Timestamp};

/// Spans of a block. Fewer would spend more on the chain, more would leave more of the last block empty.
pub(super) const BLOCK: usize = 4;

/// Some spans of one trace, and where there are more.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) spans: [Packed; BLOCK],
    /// The next block of the trace, or [`NONE`].
    pub(super) next: Slot,
}

impl Block {
    pub(super) const EMPTY: Block = Block { spans: [Packed { words: [0; 11] }; BLOCK], next: NONE };

    /// Has memory bring the place that the next span goes to; 0 is one in the next block.
    #[inline]
    pub(super) fn ask_for(&self, within: usize) {
        match within {
            0 => black_box(self.next),
            _ => {
                let [first, .., last] = self.spans[within].words;
                black_box(first) ^ black_box(last)
            }
        };
    }
}

/// A span in eleven words of four bytes.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    words: [u32; 11],
}

/// The bit of the attribute set's number that says "failed". Sets are numbered up to a limit far below.
const FAILED: u32 = 1 << 31;

impl Packed {
    #[inline]
    pub(super) fn new(span: &Span) -> Packed {
        let Span { id, parent, start, end, key, peer, attrs, failed } = *span;
        let [id0, id1] = halves(id.get());
        let [parent0, parent1] = halves(parent.map_or(0, SpanId::get));
        let [start0, start1] = halves(start.0);
        let [end0, end1] = halves(end.0);
        // Nobody is called 2^32 - 1: no table of names is that long.
        let peer = peer.map_or(u32::MAX, |peer| peer.0);
        let attrs = (attrs.0 & !FAILED) | (u32::from(failed) * FAILED);
        Packed {
            words: [id0, id1, parent0, parent1, start0, start1, end0, end1, key.0, peer, attrs],
        }
    }

    /// The span, if there is one: an empty place has no id.
    #[inline]
    pub(super) fn unpack(&self) -> Option<Span> {
        let [id0, id1, parent0, parent1, start0, start1, end0, end1, key, peer, attrs] = self.words;
        Some(Span {
            id: SpanId::new(whole(id0, id1))?,
            parent: SpanId::new(whole(parent0, parent1)),
            start: Timestamp(whole(start0, start1)),
            end: Timestamp(whole(end0, end1)),
            key: KeyId(key),
            peer: (peer != u32::MAX).then_some(Sym(peer)),
            attrs: AttrSetId(attrs & !FAILED),
            failed: attrs & FAILED != 0,
        })
    }
}

#[inline]
#[allow(clippy::cast_possible_truncation)] // one half each
fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

#[inline]
fn whole(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_buffered_span_takes_45_bytes() {
        assert_eq!(size_of::<Block>(), 45 * BLOCK);
        assert!(Block::EMPTY.spans.iter().all(|span| span.unpack().is_none()));
    }

    proptest! {
        #[test]
        fn a_span_comes_out_as_it_went_in(
            ids in (1..=u64::MAX, any::<u64>()),
            times in (any::<u64>(), any::<u64>()),
            numbers in (any::<u32>(), prop::option::of(0..u32::MAX), 0..FAILED),
            failed in any::<bool>(),
        ) {
            let span = Span {
                id: SpanId::new(ids.0).unwrap(),
                parent: SpanId::new(ids.1),
                start: Timestamp(times.0),
                end: Timestamp(times.1),
                key: KeyId(numbers.0),
                peer: numbers.1.map(Sym),
                attrs: AttrSetId(numbers.2),
                failed,
            };
            prop_assert_eq!(Packed::new(&span).unpack(), Some(span));
        }
    }
}
