//! A pass over a whole trace message that builds nothing: is it well-formed, and how much is in it?
//!
//! Byte limits do not bound what a message costs: 4 MiB hold two million empty spans. So everything is
//! counted on the wire first, and whoever decodes afterwards meets only messages of the right shape.
//! The shapes are a table; the walk is a loop with a stack of its own, so depth is bounded.

use super::reader::{Fields, Value, WireError};

/// Messages within messages: as many as protobuf libraries allow by default.
pub(super) const MAX_DEPTH: usize = 100;

/// What a message holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Spans.
    pub spans: usize,
    /// All other messages: resources, scopes, events, links, and two for each attribute (the pair and its
    /// value), wherever they are, those within lists and maps included.
    pub elements: usize,
}

/// How much one message may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CostLimits {
    /// Most spans.
    pub spans: usize,
    /// Most resources, scopes, events, links, attributes and values together.
    pub elements: usize,
}

impl Default for CostLimits {
    /// The Collector batches 8,192 spans; 100,000 of the smallest real ones fill the default 16 MiB.
    fn default() -> CostLimits {
        CostLimits { spans: 100_000, elements: 2_000_000 }
    }
}

/// The messages of a trace export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Message {
    Request,
    ResourceSpans,
    Resource,
    EntityRef,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    Status,
    KeyValue,
    AnyValue,
    Array,
    KeyValueList,
}

/// What a field must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    Varint,
    Fixed64,
    Fixed32,
    Bytes,
    Message(Message),
    /// Not ours: skipped, whatever its wire type.
    Unknown,
}

/// The schema: opentelemetry-proto 1.x.
#[inline]
fn shape(message: Message, number: u32) -> Shape {
    use Message as M;
    use Shape::{Bytes, Fixed32, Fixed64, Unknown, Varint};
    let nested = Shape::Message;
    match (message, number) {
        (M::Request, 1) => nested(M::ResourceSpans),
        (M::ResourceSpans, 1) => nested(M::Resource),
        (M::ResourceSpans, 2) => nested(M::ScopeSpans),
        (M::Resource, 1) => nested(M::KeyValue),
        (M::Resource, 3) => nested(M::EntityRef),
        (M::ScopeSpans, 1) => nested(M::Scope),
        (M::ScopeSpans, 2) => nested(M::Span),
        (M::Scope, 3) => nested(M::KeyValue),
        (M::Span, 9) => nested(M::KeyValue),
        (M::Span, 11) => nested(M::Event),
        (M::Span, 13) => nested(M::Link),
        (M::Span, 15) => nested(M::Status),
        (M::Event, 3) | (M::Link, 4) | (M::KeyValueList, 1) => nested(M::KeyValue),
        (M::KeyValue, 2) | (M::Array, 1) => nested(M::AnyValue),
        (M::AnyValue, 5) => nested(M::Array),
        (M::AnyValue, 6) => nested(M::KeyValueList),
        (M::ResourceSpans | M::ScopeSpans, 3) | (M::Scope, 1 | 2) | (M::Span, 1..=5) => Bytes,
        (M::Event, 2) | (M::Link, 1..=3) | (M::Status, 2) | (M::KeyValue, 1) => Bytes,
        (M::AnyValue, 1 | 7) | (M::EntityRef, 1..=4) => Bytes,
        (M::Resource, 2) | (M::Scope, 4) | (M::Span, 6 | 10 | 12 | 14) | (M::Event, 4) => Varint,
        (M::Link, 5) | (M::Status, 3) | (M::KeyValue, 3) | (M::AnyValue, 2 | 3 | 8) => Varint,
        (M::Span, 7 | 8) | (M::Event, 1) | (M::AnyValue, 4) => Fixed64,
        (M::Span, 16) | (M::Link, 6) => Fixed32,
        _ => Unknown,
    }
}

/// Checks the shape of an `ExportTraceServiceRequest` (or `TracesData`: the same on the wire) and counts
/// what it holds. Stops at the first error and at the first limit.
pub(super) fn count(message: &[u8], limits: &CostLimits) -> Result<Cost, WireError> {
    let mut cost = Cost::default();
    let mut stack = [(Message::Request, Fields::new(&[])); MAX_DEPTH];
    let mut depth = 0;
    let (mut kind, mut fields) = (Message::Request, Fields::new(message));
    loop {
        let Some(field) = fields.next()? else {
            if depth == 0 {
                return Ok(cost);
            }
            depth -= 1;
            (kind, fields) = stack[depth];
            continue;
        };
        let inner = match (shape(kind, field.number), field.value) {
            (Shape::Message(inner), Value::Bytes(bytes)) => (inner, Fields::new(bytes)),
            (Shape::Varint, Value::Varint(_))
            | (Shape::Fixed64, Value::Fixed64(_))
            | (Shape::Fixed32, Value::Fixed32)
            | (Shape::Bytes, Value::Bytes(_))
            | (Shape::Unknown, _) => continue,
            _ => return Err(WireError::WireType),
        };
        cost.add(inner.0, limits)?;
        *stack.get_mut(depth).ok_or(WireError::Depth)? = (kind, fields);
        depth += 1;
        (kind, fields) = inner;
    }
}

impl Cost {
    fn add(&mut self, message: Message, limits: &CostLimits) -> Result<(), WireError> {
        if message == Message::Span {
            self.spans += 1;
            if self.spans > limits.spans {
                return Err(WireError::TooMany { what: "spans", limit: limits.spans });
            }
        } else {
            self.elements += 1;
            if self.elements > limits.elements {
                let what = "resources, scopes, events, links, attributes and values";
                return Err(WireError::TooMany { what, limit: limits.elements });
            }
        }
        Ok(())
    }
}
