//! What is compared: the spans of each side by trace, with the events and attributes inside them.
//!
//! Spans come in any order. Details are kept up to a limit, beyond which they are counted.

use std::collections::BTreeMap;

use crate::model::{KeyId, Span, SpanId, SpanRecord, Timestamp, TraceId};

/// Something that happened inside a span.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Event {
    /// When, by the span's clock.
    pub at: Timestamp,
    /// Its name.
    pub name: String,
}

/// What is known of a span beside its times.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Details {
    /// Its events, in the order in which they came.
    pub events: Vec<Event>,
    /// Its attributes by name.
    pub attributes: BTreeMap<String, String>,
}

/// One trace of a side.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Trace {
    pub(super) spans: Vec<Span>,
    details: BTreeMap<(SpanId, KeyId), Details>,
}

/// One side of a comparison.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Side {
    traces: BTreeMap<TraceId, Trace>,
    /// The span given last: what follows belongs to it.
    last: Option<(TraceId, SpanId, KeyId)>,
    kept_details: usize,
    /// Events and attributes beyond the limit.
    pub dropped_details: u64,
}

/// Why a side cannot be compared.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SideError {
    /// Nothing in it.
    #[error("no valid span in it")]
    Empty,
    /// The trace asked for is not there.
    #[error("no trace {wanted} in it; it holds {held}")]
    NoSuchTrace {
        /// The trace asked for.
        wanted: TraceId,
        /// What there is instead.
        held: String,
    },
}

impl Side {
    /// Events and attributes kept, over all spans: some hundred megabytes at most.
    pub const MAX_DETAILS: usize = 2_000_000;

    /// Takes in a span.
    pub fn span(&mut self, record: SpanRecord) {
        let SpanRecord { trace, span } = record;
        self.traces.entry(trace).or_default().spans.push(span);
        self.last = Some((trace, span.id, span.key));
    }

    /// Takes in an event of the span given last.
    pub fn event(&mut self, at: Timestamp, name: &[u8]) {
        let name = String::from_utf8_lossy(name).into_owned();
        if let Some(details) = self.details() {
            details.events.push(Event { at, name });
        }
    }

    /// Takes in an attribute of the span given last.
    pub fn attribute(&mut self, name: &[u8], value: &[u8]) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (name, value) = (text(name), text(value));
        if let Some(details) = self.details() {
            details.attributes.insert(name, value);
        }
    }

    /// Keeps one trace and drops the others.
    ///
    /// # Errors
    /// If it is not there.
    pub fn choose(&mut self, wanted: TraceId) -> Result<(), SideError> {
        let Some(trace) = self.traces.remove(&wanted) else {
            return Err(SideError::NoSuchTrace { wanted, held: self.held() });
        };
        self.traces = BTreeMap::from([(wanted, trace)]);
        Ok(())
    }

    /// Traces in it.
    pub fn traces(&self) -> usize {
        self.traces.len()
    }

    pub(super) fn all(&self) -> &BTreeMap<TraceId, Trace> {
        &self.traces
    }

    /// The only trace, if there is but one.
    pub(super) fn only(&self) -> Result<Option<(TraceId, &Trace)>, SideError> {
        let mut traces = self.traces.iter().map(|(&id, trace)| (id, trace));
        match (traces.next(), traces.next()) {
            (None, _) => Err(SideError::Empty),
            (Some(only), None) => Ok(Some(only)),
            (Some(_), Some(_)) => Ok(None),
        }
    }

    fn held(&self) -> String {
        const SHOWN: usize = 3;
        let some: Vec<_> = self.traces.keys().take(SHOWN).map(ToString::to_string).collect();
        match self.traces.len().saturating_sub(SHOWN) {
            0 if some.is_empty() => "none".to_owned(),
            0 => some.join(", "),
            more => format!("{} and {more} more", some.join(", ")),
        }
    }

    fn details(&mut self) -> Option<&mut Details> {
        let (trace, id, key) = self.last?;
        if self.kept_details >= Side::MAX_DETAILS {
            self.dropped_details += 1;
            return None;
        }
        self.kept_details += 1;
        Some(self.traces.get_mut(&trace)?.details.entry((id, key)).or_default())
    }
}

impl Trace {
    /// What is known of a span beside its times.
    pub(super) fn details(&self, span: &Span) -> Option<&Details> {
        self.details.get(&(span.id, span.key))
    }
}
