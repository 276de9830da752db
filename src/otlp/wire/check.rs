//! Whether the parts of a message that nobody reads are what they should be, and what they cost.
//!
//! A generated decoder refuses a request for a broken link in its last span, so it is looked at here,
//! too. The shapes are a table; the walk is a loop with a stack of its own, so depth is bounded. It
//! builds nothing and knows nothing of what the fields mean.

use super::reader::{Fault, Fields, Key, WireError};

/// Messages within messages: as many as protobuf libraries allow by default.
pub(super) const MAX_DEPTH: usize = 100;

/// What a message holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Spans.
    pub spans: usize,
    /// All other messages met so far: resources and scopes, and, once the spans have been read, events,
    /// links, and two for each attribute (the pair and its value), those within lists and maps included.
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
pub(super) enum Message {
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

/// What has been met of a message, against what it may hold.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) cost: Cost,
    limits: CostLimits,
    /// Messages that go on after the one being walked, and how much is left behind each.
    stack: Vec<(Message, usize)>,
}

impl Tally {
    pub(super) fn new(cost: Cost, limits: CostLimits) -> Tally {
        Tally { cost, limits, stack: Vec::new() }
    }

    /// One more span.
    pub(super) fn span(&mut self) -> Result<(), Fault> {
        self.cost.spans += 1;
        if self.cost.spans > self.limits.spans {
            return Err(Fault::TooManySpans);
        }
        Ok(())
    }

    /// So many more of anything else.
    #[inline]
    pub(super) fn elements(&mut self, count: usize) -> Result<(), Fault> {
        self.cost.elements += count;
        if self.cost.elements > self.limits.elements {
            return Err(Fault::TooManyElements);
        }
        Ok(())
    }

    /// A fault in words and figures.
    pub(super) fn told(&self, fault: Fault) -> WireError {
        match fault {
            Fault::Truncated => WireError::Truncated,
            Fault::Varint => WireError::Varint,
            Fault::FieldNumber => WireError::FieldNumber,
            Fault::WireType => WireError::WireType,
            Fault::Group => WireError::Group,
            Fault::Depth => WireError::Depth,
            Fault::TooManySpans => WireError::TooMany { what: "spans", limit: self.limits.spans },
            Fault::TooManyElements => {
                let what = "resources, scopes, events, links, attributes and values";
                WireError::TooMany { what, limit: self.limits.elements }
            }
        }
    }

    /// Checks the content of a message that stands in `depth` others, and counts what is within it.
    pub(super) fn check(
        &mut self,
        message: Message,
        content: &[u8],
        depth: usize,
    ) -> Result<(), Fault> {
        let (mut kind, mut fields) = (message, Fields::new(content));
        // The message at hand ends where so many bytes remain.
        let mut end = 0;
        self.stack.clear();
        loop {
            if fields.remaining() == end {
                match self.stack.pop() {
                    None => return Ok(()),
                    Some(outer) => (kind, end) = outer,
                }
                continue;
            }
            let Some(key) = fields.key()? else { return Err(Fault::Truncated) };
            match shape(kind, key >> 3) {
                Shape::Message(inner) if key & 7 == 2 => {
                    let length = fields.varint()?;
                    let room = fields.remaining().checked_sub(end).ok_or(Fault::Truncated)?;
                    let length = usize::try_from(length).ok().filter(|length| *length <= room);
                    self.elements(1)?;
                    if depth + self.stack.len() >= MAX_DEPTH {
                        return Err(Fault::Depth);
                    }
                    self.stack.push((kind, end));
                    end = fields.remaining() - length.ok_or(Fault::Truncated)?;
                    kind = inner;
                }
                expected => {
                    expected.admits(key)?;
                    fields.skip(key)?;
                    if fields.remaining() < end {
                        return Err(Fault::Truncated);
                    }
                }
            }
        }
    }
}

/// Whether a field that nobody reads may stand in a message as it does.
pub(super) fn admits(message: Message, key: Key) -> Result<(), Fault> {
    shape(message, key >> 3).admits(key)
}

impl Shape {
    fn admits(self, key: Key) -> Result<(), Fault> {
        let wire_type = match self {
            Shape::Varint => 0,
            Shape::Fixed64 => 1,
            Shape::Bytes | Shape::Message(_) => 2,
            Shape::Fixed32 => 5,
            Shape::Unknown => return Ok(()),
        };
        if key & 7 == wire_type { Ok(()) } else { Err(Fault::WireType) }
    }
}
