//! Where decoded spans go.
//!
//! Readers of every format push into a [`SpanSink`]; what the consumer does not ask for is not looked at.

use std::fmt;

use crate::model::{SpanDefect, SpanRecord, Timestamp};

/// Takes the spans of a message, one after the other, in the order of the message.
pub trait SpanSink {
    /// Whether events and attributes are wanted. They cost a second look at every span, so the live path
    /// leaves this off.
    const WANTS_DETAIL: bool = false;

    /// A valid span.
    fn span(&mut self, record: SpanRecord);

    /// A span that is none. The rest of the message is read all the same.
    fn rejected(&mut self, defect: SpanDefect);

    /// An event of the span given last; only with [`SpanSink::WANTS_DETAIL`].
    fn event(&mut self, at: Timestamp, name: &[u8]) {
        let _ = (at, name);
    }

    /// An attribute of the span given last, if its value is text, a whole number or a truth value; only
    /// with [`SpanSink::WANTS_DETAIL`]. Bytes are as on the wire: not necessarily UTF-8.
    fn attribute(&mut self, name: &[u8], value: &[u8]) {
        let _ = (name, value);
    }

    /// Attributes beyond [`Interest::max_attributes`](super::Interest::max_attributes), not looked at.
    fn skipped_attributes(&mut self, count: usize) {
        let _ = count;
    }
}

/// How many spans were rejected, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Defects {
    counts: [u64; Defects::ORDER.len()],
}

impl Defects {
    const ORDER: [SpanDefect; 4] = [
        SpanDefect::TraceId,
        SpanDefect::SpanId,
        SpanDefect::ParentSpanId,
        SpanDefect::EndBeforeStart,
    ];

    /// One more.
    pub fn add(&mut self, defect: SpanDefect) {
        self.counts[Defects::index(defect)] += 1;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The reasons there were, in a fixed order, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (SpanDefect, u64)> {
        Defects::ORDER.into_iter().zip(self.counts).filter(|(_, count)| *count > 0)
    }

    fn index(defect: SpanDefect) -> usize {
        match defect {
            SpanDefect::TraceId => 0,
            SpanDefect::SpanId => 1,
            SpanDefect::ParentSpanId => 2,
            SpanDefect::EndBeforeStart => 3,
        }
    }
}

/// `2 × invalid span id, 1 × end before start`
impl fmt::Display for Defects {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (defect, count)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(out, "{separator}{count} × {defect}")?;
        }
        Ok(())
    }
}

/// The plainest sink: all spans of a message, and what was wrong with the others.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Valid spans, in the order of the message.
    pub spans: Vec<SpanRecord>,
    /// The others.
    pub defects: Defects,
    /// Attributes that were not looked at because their span or resource had too many.
    pub skipped_attributes: u64,
}

impl Batch {
    /// An empty batch with room for as many spans as have been counted.
    pub(super) fn with_capacity(spans: usize) -> Batch {
        Batch { spans: Vec::with_capacity(spans), ..Batch::default() }
    }
}

impl SpanSink for Batch {
    #[inline]
    fn span(&mut self, record: SpanRecord) {
        self.spans.push(record);
    }

    fn rejected(&mut self, defect: SpanDefect) {
        self.defects.add(defect);
    }

    fn skipped_attributes(&mut self, count: usize) {
        self.skipped_attributes += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defects_are_told_by_reason_with_how_often() {
        let mut defects = Defects::default();
        assert_eq!((defects.total(), defects.to_string()), (0, String::new()));
        for defect in [SpanDefect::EndBeforeStart, SpanDefect::SpanId, SpanDefect::SpanId] {
            defects.add(defect);
        }
        assert_eq!(defects.total(), 3);
        assert_eq!(defects.to_string(), "2 × invalid span id, 1 × end before start");
    }

    #[test]
    fn each_defect_has_its_own_place() {
        for (index, defect) in Defects::ORDER.into_iter().enumerate() {
            assert_eq!(Defects::index(defect), index);
        }
    }
}
