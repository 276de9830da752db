//! One side of a comparison, read from a recording with everything that happened inside its spans.
//!
//! What is wrong with single spans does not end the reading; it is said afterwards.

use crate::compare::Side;
use crate::model::{SpanDefect, SpanRecord, Timestamp};
use crate::otlp::file::{FileError, Reader};
use crate::otlp::{Defects, SpanSink};

/// A side as read.
#[derive(Default)]
pub struct ReadSide {
    /// Its traces.
    pub side: Side,
    defects: Defects,
}

impl ReadSide {
    /// Reads a recording to its end.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read(mut reader: Reader) -> Result<ReadSide, FileError> {
        let mut read = ReadSide::default();
        while reader.next_into(&mut read)?.is_some() {}
        Ok(read)
    }

    /// What was left out, as warnings about `side`.
    pub fn complaints(&self, side: &str) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.defects.total() > 0 {
            complaints.push(format!("{side}: spans that are none were left out: {}", self.defects));
        }
        if self.side.dropped_details > 0 {
            let count = self.side.dropped_details;
            complaints
                .push(format!("{side}: {count} events and attributes were left out: too many"));
        }
        complaints
    }
}

impl SpanSink for ReadSide {
    const WANTS_DETAIL: bool = true;

    fn span(&mut self, record: SpanRecord) {
        self.side.span(record);
    }

    fn rejected(&mut self, defect: SpanDefect) {
        self.defects.add(defect);
    }

    fn event(&mut self, at: Timestamp, name: &[u8]) {
        self.side.event(at, name);
    }

    fn attribute(&mut self, name: &[u8], value: &[u8]) {
        self.side.attribute(name, value);
    }
}
