//! OTLP traces in protobuf, without building the message: one walk that picks what a span needs.
//!
//! Safe code, nothing allocated per span. Agrees with a generated decoder on everything it looks at:
//! fields in any order, repeated submessages merged, the last scalar wins, unknown fields skipped, and
//! what is broken is refused wherever it is. It differs in two points: text need not be UTF-8 (names are
//! repaired later, one bad name does not cost its batch), and groups are refused. [`count`] comes first:
//! it tells what a message would cost before anything is built from it.

mod check;
mod reader;

use std::hint::black_box;

pub use check::{Cost, CostLimits};
pub use reader::WireError;

use super::attributes::Value;
use super::decoder::{Decoder, Draft, RawIds};
use super::sink::SpanSink;
use crate::model::{ResourceRef, SpanKind, Timestamp};
use check::{Message, Tally, admits};
use reader::{Fault, Fields, Key, bytes, fixed32, fixed64, varint};

/// OTLP's status code ERROR.
pub(super) const STATUS_ERROR: u64 = 2;

/// Messages that a resource, and the parts of a span, stand in.
const RESOURCE_DEPTH: usize = 2;
const WITHIN_SPAN: usize = 4;

/// A message whose spans have been counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    message: &'a [u8],
    limits: CostLimits,
    /// What it holds.
    pub cost: Cost,
}

/// Counts the spans of an `ExportTraceServiceRequest` (or `TracesData`: the same on the wire), and the
/// resources and scopes they stand in, before anything is built from them: byte limits do not bound what a
/// message costs, 4 MiB hold two million empty spans. Stops at the first error and at the first limit.
/// What is within spans is looked at as they are read, once.
pub fn count<'a>(message: &'a [u8], limits: &CostLimits) -> Result<Counted<'a>, WireError> {
    let mut tally = Tally::new(Cost::default(), *limits);
    match count_resources(message, &mut tally) {
        Ok(()) => Ok(Counted { message, limits: *limits, cost: tally.cost }),
        Err(fault) => Err(tally.told(fault)),
    }
}

fn count_resources(message: &[u8], tally: &mut Tally) -> Result<(), Fault> {
    each(Message::Request, message, bytes(1), |resource_spans| {
        tally.elements(1)?;
        let mut fields = Fields::new(resource_spans);
        while let Some(key) = fields.key()? {
            const RESOURCE: Key = bytes(1);
            const SCOPE_SPANS: Key = bytes(2);
            match key {
                RESOURCE => {
                    fields.bytes()?;
                    tally.elements(1)?;
                }
                SCOPE_SPANS => {
                    tally.elements(1)?;
                    count_spans(fields.bytes()?, tally)?;
                }
                _ => unread(Message::ResourceSpans, key, &mut fields)?,
            }
        }
        Ok(())
    })
}

fn count_spans(scope_spans: &[u8], tally: &mut Tally) -> Result<(), Fault> {
    const SCOPE: Key = bytes(1);
    const SPAN: Key = bytes(2);
    let mut fields = Fields::new(scope_spans);
    while let Some(key) = fields.key()? {
        match key {
            SPAN => {
                ask_for(fields.bytes()?);
                tally.span()?;
            }
            SCOPE => {
                fields.bytes()?;
                tally.elements(1)?;
            }
            _ => unread(Message::ScopeSpans, key, &mut fields)?,
        }
    }
    Ok(())
}

/// Has memory bring a span, line by line: where the next one begins is only known once this one's length
/// has been read, and a message that has come in parts is in no near cache any more.
#[inline]
fn ask_for(span: &[u8]) {
    const LINE: usize = 64;
    black_box(span.iter().step_by(LINE).fold(0, |all, byte| all ^ byte));
}

/// Hands every span of a message to `sink`.
pub(super) fn walk<S: SpanSink>(
    decoder: &mut Decoder,
    counted: &Counted<'_>,
    sink: &mut S,
) -> Result<(), WireError> {
    let tally = Tally::new(counted.cost, counted.limits);
    let mut walk = Walk { decoder, sink, tally };
    let walked =
        each(Message::Request, counted.message, bytes(1), |message| walk.resource_spans(message));
    walked.map_err(|fault| walk.tally.told(fault))
}

struct Walk<'w, S> {
    decoder: &'w mut Decoder,
    sink: &'w mut S,
    tally: Tally,
}

/// A field that is not looked at: of the right shape if it is one of ours, of any if it is not.
#[inline(never)]
fn unread(message: Message, key: Key, fields: &mut Fields<'_>) -> Result<(), Fault> {
    admits(message, key)?;
    fields.skip(key)
}

/// Calls `then` with every submessage of one field.
fn each<'a>(
    message: Message,
    content: &'a [u8],
    wanted: Key,
    mut then: impl FnMut(&'a [u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut fields = Fields::new(content);
    while let Some(key) = fields.key()? {
        if key == wanted { then(fields.bytes()?)? } else { unread(message, key, &mut fields)? }
    }
    Ok(())
}

impl<S: SpanSink> Walk<'_, S> {
    /// The resource may come after its spans, so it is looked for first.
    fn resource_spans(&mut self, message: &[u8]) -> Result<(), Fault> {
        let mut draft = self.decoder.begin_resource();
        each(Message::ResourceSpans, message, bytes(1), |resource| {
            self.tally.check(Message::Resource, resource, RESOURCE_DEPTH)?;
            each(Message::Resource, resource, bytes(1), |attribute| {
                let (name, value) = pair(attribute)?;
                self.decoder.resource_attribute(&mut draft, name, &value);
                Ok(())
            })
        })?;
        let resource = self.decoder.end_resource(&draft, self.sink);
        each(Message::ResourceSpans, message, bytes(2), |scope_spans| {
            let mut fields = Fields::new(scope_spans);
            while let Some(key) = fields.key()? {
                const SCOPE: Key = bytes(1);
                const SPAN: Key = bytes(2);
                match key {
                    SPAN => self.span(resource, fields.bytes()?)?,
                    SCOPE => self.tally.check(Message::Scope, fields.bytes()?, WITHIN_SPAN - 1)?,
                    _ => unread(Message::ScopeSpans, key, &mut fields)?,
                }
            }
            Ok(())
        })
    }

    fn span(&mut self, resource: ResourceRef, message: &[u8]) -> Result<(), Fault> {
        const TRACE_ID: Key = bytes(1);
        const SPAN_ID: Key = bytes(2);
        const TRACE_STATE: Key = bytes(3);
        const PARENT_SPAN_ID: Key = bytes(4);
        const NAME: Key = bytes(5);
        const KIND: Key = varint(6);
        const START: Key = fixed64(7);
        const END: Key = fixed64(8);
        const ATTRIBUTE: Key = bytes(9);
        const EVENT: Key = bytes(11);
        const LINK: Key = bytes(13);
        const STATUS: Key = bytes(15);
        const FLAGS: Key = fixed32(16);
        let mut ids = RawIds::default();
        let mut draft = self.decoder.begin_span();
        let mut fields = Fields::new(message);
        usual_head(&mut fields, &mut ids, &mut draft);
        self.usual_attributes(&mut fields, &mut draft)?;
        self.tally.elements(usual_tail(&mut fields))?;
        while let Some(key) = fields.key()? {
            match key {
                TRACE_ID => ids.trace = fields.bytes()?,
                SPAN_ID => ids.span = fields.bytes()?,
                PARENT_SPAN_ID => ids.parent = fields.bytes()?,
                NAME => draft.name = fields.bytes()?,
                KIND => draft.kind = SpanKind::from_number(fields.enumeration()?),
                START => draft.start = fields.fixed64()?,
                END => draft.end = fields.fixed64()?,
                ATTRIBUTE => {
                    self.attribute(&mut draft, fields.bytes()?)?;
                    self.usual_attributes(&mut fields, &mut draft)?;
                }
                STATUS => self.status(&mut draft, fields.bytes()?)?,
                EVENT => self.aside(Message::Event, fields.bytes()?)?,
                LINK => self.aside(Message::Link, fields.bytes()?)?,
                TRACE_STATE | FLAGS => fields.skip(key)?,
                _ => unread(Message::Span, key, &mut fields)?,
            }
        }
        if self.decoder.end_span(resource, ids, &draft, self.sink) && S::WANTS_DETAIL {
            detail(message, self.decoder.rules.max_attributes, self.sink)?;
        }
        Ok(())
    }

    /// A part of a span that only those look at who want detail.
    fn aside(&mut self, message: Message, content: &[u8]) -> Result<(), Fault> {
        self.tally.elements(1)?;
        self.tally.check(message, content, WITHIN_SPAN)
    }

    /// Attributes as all encoders write them. Stops at the first that is not, or is something else.
    #[inline]
    fn usual_attributes<'a>(
        &mut self,
        fields: &mut Fields<'a>,
        draft: &mut Draft<&'a [u8]>,
    ) -> Result<(), Fault> {
        let mut rest = fields.rest();
        let mut count = 0;
        while let Some((attribute, after)) = usual_attribute(rest) {
            rest = after;
            count += 1;
            // Hardly any attribute is wanted, so finding that out comes first.
            if self.decoder.wants_span_attribute(attribute.name) {
                self.wanted_attribute(attribute, count, draft)?;
            }
        }
        *fields = Fields::new(rest);
        draft.attributes += count;
        // Nothing is built from them, so they can be counted together.
        self.tally.elements(2 * count)
    }

    #[inline(never)]
    fn wanted_attribute<'a>(
        &mut self,
        attribute: UsualAttribute<'a>,
        number: usize,
        draft: &mut Draft<&'a [u8]>,
    ) -> Result<(), Fault> {
        let UsualAttribute { name, content } = attribute;
        let mut value = Value::Other;
        last_variant(content, &mut value)?;
        self.decoder.span_attribute(draft, number, name, &value);
        Ok(())
    }

    /// Any other attribute.
    #[inline(never)]
    fn attribute<'a>(
        &mut self,
        draft: &mut Draft<&'a [u8]>,
        attribute: &'a [u8],
    ) -> Result<(), Fault> {
        let (name, value) = match plain_pair(attribute) {
            Some(pair) => {
                self.tally.elements(2)?;
                pair
            }
            None => {
                self.aside(Message::KeyValue, attribute)?;
                pair(attribute)?
            }
        };
        if self.decoder.wants_span_attribute(name) {
            self.decoder.span_attribute(draft, 1, name, &value);
        }
        draft.attributes += 1;
        Ok(())
    }

    fn status(&mut self, draft: &mut Draft<&[u8]>, message: &[u8]) -> Result<(), Fault> {
        const CODE: Key = varint(3);
        self.tally.elements(1)?;
        let mut fields = Fields::new(message);
        while let Some(key) = fields.key()? {
            match key {
                CODE => draft.failed = fields.enumeration()? == STATUS_ERROR,
                _ => unread(Message::Status, key, &mut fields)?,
            }
        }
        Ok(())
    }
}

/// The first fields of a span as all encoders write them: by number, with lengths of one byte. Reads
/// what is like that and leaves the rest; what comes again later counts all the same.
#[inline]
fn usual_head<'a>(fields: &mut Fields<'a>, ids: &mut RawIds<'a>, draft: &mut Draft<&'a [u8]>) {
    if let Some(chunk) = fields.peek::<28>()
        && let [0x0a, 16, trace @ .., 0x12, 8, _, _, _, _, _, _, _, _] = chunk
    {
        (ids.trace, ids.span) = (trace, &chunk[20..]);
        fields.pass(28);
    }
    if let Some([0x22, 8, parent @ ..]) = fields.peek::<10>() {
        ids.parent = parent;
        fields.pass(10);
    }
    if let [0x2a, length @ 0..0x80, rest @ ..] = fields.rest()
        && let Some(name) = rest.get(..usize::from(*length))
    {
        draft.name = name;
        fields.pass(2 + name.len());
    }
    if let Some(chunk) = fields.peek::<20>()
        && let [0x30, kind @ 0..0x80, 0x39, start @ .., 0x41, _, _, _, _, _, _, _, _] = chunk
        && let (Some(start), Some(end)) = (start.first_chunk(), chunk.last_chunk())
    {
        draft.kind = SpanKind::from_number(u64::from(*kind));
        (draft.start, draft.end) = (u64::from_le_bytes(*start), u64::from_le_bytes(*end));
        fields.pass(20);
    }
}

/// The last fields of a span: a status that says nothing, and flags.
#[inline]
fn usual_tail(fields: &mut Fields<'_>) -> usize {
    let statuses = match fields.rest() {
        [0x7a, 0, ..] => {
            fields.pass(2);
            1
        }
        _ => 0,
    };
    if let [0x85, 0x01, _, _, _, _] = fields.rest() {
        fields.pass(6);
    }
    statuses
}

/// A span's attribute as all encoders write it: a key, then a value of a single text or small number,
/// lengths of one byte.
struct UsualAttribute<'a> {
    name: &'a [u8],
    /// What the `AnyValue` holds.
    content: &'a [u8],
}

/// The attribute that comes next, and what comes after it; `None` for anything else, well-formed or not.
/// Tags and lengths stand in pairs, so two pairs are looked at in one go; and as all lengths within one
/// attribute follow from two of them, a text takes a single comparison.
#[inline]
fn usual_attribute(rest: &[u8]) -> Option<(UsualAttribute<'_>, &[u8])> {
    /// Of four bytes, those that are tags, and of the lengths the bit that says there is more.
    const MASK: u32 = u32::from_le_bytes([0xff, 0x80, 0xff, 0x80]);
    const PAIR: u32 = u32::from_le_bytes([0x4a, 0, 0x0a, 0]);
    const EMPTY_TEXT: u32 = u32::from_le_bytes([0x12, 2, 0x0a, 0]);
    /// A byte more of text is a byte more of its value.
    const LENGTHS: u32 = u32::from_le_bytes([0, 1, 0, 1]);
    let head = u32::from_le_bytes(*rest.first_chunk()?);
    if head & MASK != PAIR {
        return None;
    }
    let (attribute, after) = rest.split_at_checked(2 + (head >> 8 & 0x7f) as usize)?;
    let (name, value) = attribute.get(4..)?.split_at_checked((head >> 24) as usize)?;
    let head = u32::from_le_bytes(*value.first_chunk()?);
    #[allow(clippy::cast_possible_truncation)] // it is within an attribute of less than 128 bytes
    let text = value.len() as u32 - 4;
    let is_text = head == EMPTY_TEXT + text * LENGTHS;
    let content = &value[2..];
    if !is_text && !is_usual_number(head, content) {
        return None;
    }
    Some((UsualAttribute { name, content }, after))
}

/// A value of a single number or truth value: of one byte, or of two, such as a port or a status.
#[inline]
fn is_usual_number(head: u32, content: &[u8]) -> bool {
    let [tag, length, ..] = head.to_le_bytes();
    (tag, usize::from(length)) == (0x12, content.len())
        && matches!(content, [0x18, 0..0x80] | [0x10, 0..0x80] | [0x18, 0x80..=0xff, 0..0x80])
}

/// A `KeyValue` of a key and then a value of a single text, number or truth value, of whatever length.
/// `None` for anything else, well-formed or not.
fn plain_pair(message: &[u8]) -> Option<(&[u8], Value<&[u8]>)> {
    const KEY: Key = bytes(1);
    const VALUE: Key = bytes(2);
    const TEXT: Key = bytes(1);
    const BOOL: Key = varint(2);
    const INT: Key = varint(3);
    const DOUBLE: Key = fixed64(4);
    let mut fields = Fields::new(message);
    fields.key().ok()?.filter(|key| *key == KEY)?;
    let name = fields.bytes().ok()?;
    fields.key().ok()?.filter(|key| *key == VALUE)?;
    // Only if the value is the last there is, its own end need not be watched.
    let length = fields.varint().ok()?;
    if length != fields.remaining() as u64 {
        return None;
    }
    let value = match fields.key().ok()?? {
        TEXT => Value::Text(fields.bytes().ok()?),
        INT => Value::Int(fields.varint().ok()?.cast_signed()),
        BOOL => Value::Bool(fields.varint().ok()? != 0),
        DOUBLE => {
            fields.fixed64().ok()?;
            Value::Other
        }
        _ => return None,
    };
    (fields.remaining() == 0).then_some((name, value))
}

/// Key and value of a `KeyValue` that has been checked: of several the last, of several variants of a
/// value in one the last, too.
fn pair(message: &[u8]) -> Result<(&[u8], Value<&[u8]>), Fault> {
    let (mut name, mut value) = (&[][..], Value::Other);
    let mut fields = Fields::new(message);
    while let Some(key) = fields.key()? {
        match key >> 3 {
            1 => name = fields.bytes()?,
            2 => last_variant(fields.bytes()?, &mut value)?,
            _ => fields.skip(key)?,
        }
    }
    Ok((name, value))
}

fn last_variant<'a>(message: &'a [u8], found: &mut Value<&'a [u8]>) -> Result<(), Fault> {
    if let [0x0a, length @ 0..0x80, text @ ..] = message
        && usize::from(*length) == text.len()
    {
        *found = Value::Text(text);
        return Ok(());
    }
    let mut fields = Fields::new(message);
    while let Some(key) = fields.key()? {
        *found = match key >> 3 {
            1 => Value::Text(fields.bytes()?),
            2 => Value::Bool(fields.varint()? != 0),
            3 => Value::Int(fields.varint()?.cast_signed()),
            number => {
                fields.skip(key)?;
                if number > 8 {
                    continue;
                }
                Value::Other
            }
        };
    }
    Ok(())
}

/// The second look at a span that has been checked, for those who want events and attributes.
fn detail<S: SpanSink>(message: &[u8], max_attributes: usize, sink: &mut S) -> Result<(), Fault> {
    let mut attributes = 0;
    each(Message::Span, message, bytes(9), |attribute| {
        attributes += 1;
        let (name, value) = pair(attribute)?;
        if attributes <= max_attributes {
            value.with_text(|text| sink.attribute(name, text));
        }
        Ok(())
    })?;
    each(Message::Span, message, bytes(11), |event| {
        let (mut at, mut name) = (0, &[][..]);
        let mut fields = Fields::new(event);
        while let Some(key) = fields.key()? {
            match key >> 3 {
                1 => at = fields.fixed64()?,
                2 => name = fields.bytes()?,
                _ => fields.skip(key)?,
            }
        }
        sink.event(Timestamp(at), name);
        Ok(())
    })
}

#[cfg(test)]
mod tests;
