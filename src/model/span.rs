//! A span as the engine keeps it: 48 bytes, names interned, validity established once.

use super::{AttrSetId, KeyId, SpanId, Sym, Timestamp, TraceId};

/// One finished operation. Its end is not before its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// This span.
    pub id: SpanId,
    /// The span that caused it, if any.
    pub parent: Option<SpanId>,
    /// When it began, by its own host's clock.
    pub start: Timestamp,
    /// When it ended, by its own host's clock.
    pub end: Timestamp,
    /// Service, name and kind.
    pub key: KeyId,
    /// What a CLIENT or PRODUCER span says it called.
    pub peer: Option<Sym>,
    /// Instance, version, zone and the like.
    pub attrs: AttrSetId,
    /// The span's status is ERROR.
    pub failed: bool,
}

/// A span with the trace it belongs to: what receivers and readers hand to the engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpanRecord {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: Span,
}

/// Why a span is not accepted. Each is a reason that receivers count and report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error)]
pub enum SpanDefect {
    /// The trace id is missing, all zero or of the wrong length.
    #[error("invalid trace id")]
    TraceId,
    /// The span id is missing, all zero or of the wrong length.
    #[error("invalid span id")]
    SpanId,
    /// The parent span id has the wrong length. (All zero means none, as some senders write it.)
    #[error("invalid parent span id")]
    ParentSpanId,
    /// The span ends before it starts.
    #[error("end before start")]
    EndBeforeStart,
}

impl SpanDefect {
    /// All of them, in the order of their reasons.
    pub const ALL: [SpanDefect; 4] = [
        SpanDefect::EndBeforeStart,
        SpanDefect::ParentSpanId,
        SpanDefect::SpanId,
        SpanDefect::TraceId,
    ];

    /// The value of the `reason` label.
    pub fn reason(self) -> &'static str {
        match self {
            SpanDefect::TraceId => "invalid_trace_id",
            SpanDefect::SpanId => "invalid_span_id",
            SpanDefect::ParentSpanId => "invalid_parent_span_id",
            SpanDefect::EndBeforeStart => "end_before_start",
        }
    }
}

/// What a reader found on the wire, before anyone has looked whether it makes sense.
#[derive(Clone, Copy, Debug)]
pub struct SpanParts<'a> {
    /// 16 bytes if valid.
    pub trace_id: &'a [u8],
    /// 8 bytes if valid.
    pub span_id: &'a [u8],
    /// Empty or 8 bytes if valid; all zero means no parent.
    pub parent_span_id: &'a [u8],
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// Nanoseconds since the Unix epoch.
    pub end: u64,
    /// The interned operation.
    pub key: KeyId,
    /// What it called.
    pub peer: Option<Sym>,
    /// Attributes of interest.
    pub attrs: AttrSetId,
    /// Status is ERROR.
    pub failed: bool,
}

impl SpanParts<'_> {
    /// The only way from the wire to a [`Span`]: after this nobody asks again.
    #[inline]
    pub fn check(&self) -> Result<SpanRecord, SpanDefect> {
        let trace = TraceId::from_bytes(self.trace_id).map_err(|_| SpanDefect::TraceId)?;
        let id = SpanId::from_bytes(self.span_id).map_err(|_| SpanDefect::SpanId)?;
        let parent = match self.parent_span_id {
            [] => None,
            bytes if bytes.len() == 8 => SpanId::from_bytes(bytes).ok(),
            _ => return Err(SpanDefect::ParentSpanId),
        };
        if self.end < self.start {
            return Err(SpanDefect::EndBeforeStart);
        }
        let SpanParts { key, peer, attrs, failed, .. } = *self;
        let (start, end) = (Timestamp(self.start), Timestamp(self.end));
        Ok(SpanRecord { trace, span: Span { id, parent, start, end, key, peer, attrs, failed } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>() -> SpanParts<'a> {
        SpanParts {
            trace_id: &[1; 16],
            span_id: &[2; 8],
            parent_span_id: &[],
            start: 10,
            end: 20,
            key: KeyId(0),
            peer: None,
            attrs: AttrSetId::EMPTY,
            failed: false,
        }
    }

    #[test]
    fn a_buffered_span_fits_its_budget() {
        assert!(size_of::<Span>() <= 56, "{}", size_of::<Span>());
    }

    #[test]
    fn an_all_zero_parent_means_none() {
        let root = SpanParts { parent_span_id: &[0; 8], ..parts() }.check().unwrap();
        assert_eq!(root.span.parent, None);
    }

    #[test]
    fn each_defect_is_named() {
        let defect = |parts: SpanParts<'_>| parts.check().unwrap_err();
        assert_eq!(defect(SpanParts { trace_id: &[0; 16], ..parts() }), SpanDefect::TraceId);
        assert_eq!(defect(SpanParts { span_id: &[1; 7], ..parts() }), SpanDefect::SpanId);
        assert_eq!(defect(SpanParts { parent_span_id: &[1], ..parts() }), SpanDefect::ParentSpanId);
        assert_eq!(defect(SpanParts { end: 9, ..parts() }), SpanDefect::EndBeforeStart);
    }
}
