//! The words everything else is written in: time, identifiers, names, spans.
//!
//! Nothing here knows of wires, clocks, threads or statistics. A [`Span`] that exists is valid: its
//! identifiers are non-zero, its name is interned, its end is not before its start.

mod id;
mod intern;
mod key;
mod span;
mod time;

pub use id::{IdDefect, SpanId, TraceId};
pub use intern::{Held, InternCache, InternLimits, Interner, ResourceRef};
pub use key::{AttrSetId, Key, KeyId, SpanKind, Sym};
pub use span::{Span, SpanDefect, SpanParts, SpanRecord};
pub use time::{Nanos, Timestamp};

/// The name under which operations beyond the cardinality limit are counted.
pub const OVERFLOW: &str = "__overflow__";
