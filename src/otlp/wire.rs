//! OTLP traces in protobuf, without building the message: a walk that picks what a span needs.
//!
//! Safe code, nothing allocated per span. Agrees with a generated decoder on everything it looks at:
//! fields in any order, repeated submessages merged, the last scalar wins, unknown fields skipped. It differs
//! in two points: text need not be UTF-8 (names are repaired later, one bad name does not cost its
//! batch), and groups are refused. [`count`] comes first: it checks the whole message.

mod count;
mod reader;

use std::borrow::Cow;

pub use count::{Cost, CostLimits};
pub use reader::WireError;

use super::attributes::AttributeValue;
use super::decoder::{Decoder, RawIds, SpanDraft};
use super::sink::SpanSink;
use crate::model::{ResourceRef, SpanKind, Timestamp};
use reader::{Fields, Value};

/// OTLP's status code ERROR.
pub(super) const STATUS_ERROR: u64 = 2;

/// A protobuf message that is well-formed throughout and holds no more than it may.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a> {
    message: &'a [u8],
    /// What it holds.
    pub cost: Cost,
}

/// Checks the shape of an `ExportTraceServiceRequest` (or `TracesData`: the same on the wire) and counts
/// what it holds, before anything is built. Stops at the first error and at the first limit.
pub fn count<'a>(message: &'a [u8], limits: &CostLimits) -> Result<Checked<'a>, WireError> {
    Ok(Checked { message, cost: count::count(message, limits)? })
}

/// Hands every span of `message` to `sink`.
pub(super) fn walk<S: SpanSink>(
    decoder: &mut Decoder,
    message: &Checked<'_>,
    sink: &mut S,
) -> Result<(), WireError> {
    let mut fields = Fields::new(message.message);
    while let Some(field) = fields.next()? {
        if field.number == 1 {
            resource_spans(decoder, field.value.bytes()?, sink)?;
        }
    }
    Ok(())
}

/// The resource may come after its spans, so it is looked for first.
fn resource_spans<S: SpanSink>(
    decoder: &mut Decoder,
    message: &[u8],
    sink: &mut S,
) -> Result<(), WireError> {
    let mut draft = decoder.begin_resource();
    each(message, 1, |resource| {
        each(resource, 1, |attribute| {
            let (name, value) = (key(attribute)?, || any_value(attribute));
            decoder.resource_attribute(&mut draft, name, value)
        })
    })?;
    let resource = decoder.end_resource(&draft, sink);
    each(message, 2, |scope_spans| {
        each(scope_spans, 2, |message| span(decoder, resource, message, sink))
    })
}

/// Calls `then` with every submessage of one field.
fn each<'a>(
    message: &'a [u8],
    number: u32,
    mut then: impl FnMut(&'a [u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        if field.number == number {
            then(field.value.bytes()?)?;
        }
    }
    Ok(())
}

fn span<S: SpanSink>(
    decoder: &mut Decoder,
    resource: ResourceRef,
    message: &[u8],
    sink: &mut S,
) -> Result<(), WireError> {
    let mut ids = RawIds::default();
    let mut draft = decoder.begin_span();
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        let value = field.value;
        match field.number {
            1 => ids.trace = value.bytes()?,
            2 => ids.span = value.bytes()?,
            4 => ids.parent = value.bytes()?,
            5 => draft.name = Cow::Borrowed(value.bytes()?),
            6 => draft.kind = SpanKind::from_number(value.enumeration()?),
            7 => draft.start = value.fixed64()?,
            8 => draft.end = value.fixed64()?,
            9 => span_attribute(decoder, &mut draft, value.bytes()?)?,
            15 => status(&mut draft, value.bytes()?)?,
            _ => {}
        }
    }
    if decoder.end_span(resource, ids, &draft, sink) && S::WANTS_DETAIL {
        detail(message, decoder.rules.max_attributes, sink)?;
    }
    Ok(())
}

fn span_attribute<'a>(
    decoder: &mut Decoder,
    draft: &mut SpanDraft<'a>,
    attribute: &'a [u8],
) -> Result<(), WireError> {
    if let Some(wanted) = decoder.wants_span_attribute(draft, key(attribute)?) {
        decoder.span_attribute(draft, wanted, any_value(attribute)?);
    }
    Ok(())
}

fn status(draft: &mut SpanDraft<'_>, message: &[u8]) -> Result<(), WireError> {
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        if field.number == 3 {
            draft.failed = field.value.enumeration()? == STATUS_ERROR;
        }
    }
    Ok(())
}

/// The key of a `KeyValue`.
fn key(message: &[u8]) -> Result<&[u8], WireError> {
    let mut key = &[][..];
    each(message, 1, |bytes| {
        key = bytes;
        Ok(())
    })?;
    Ok(key)
}

/// The value of a `KeyValue`: of several, and of several variants in one, the last.
fn any_value(message: &[u8]) -> Result<AttributeValue<'_>, WireError> {
    let mut found = AttributeValue::Other;
    each(message, 2, |value| {
        let mut fields = Fields::new(value);
        while let Some(field) = fields.next()? {
            found = match (field.number, field.value) {
                (1, Value::Bytes(text)) => AttributeValue::Text(Cow::Borrowed(text)),
                (2, Value::Varint(flag)) => AttributeValue::Bool(flag != 0),
                (3, Value::Varint(number)) => AttributeValue::Int(number.cast_signed()),
                (4..=8, _) => AttributeValue::Other,
                _ => continue,
            };
        }
        Ok(())
    })?;
    Ok(found)
}

/// The second look at a span, for those who want events and attributes.
fn detail<S: SpanSink>(
    message: &[u8],
    max_attributes: usize,
    sink: &mut S,
) -> Result<(), WireError> {
    let mut attributes = 0;
    each(message, 9, |attribute| {
        attributes += 1;
        if attributes <= max_attributes
            && let Some(text) = any_value(attribute)?.text()
        {
            sink.attribute(key(attribute)?, &text);
        }
        Ok(())
    })?;
    each(message, 11, |event| {
        let (mut at, mut name) = (0, &[][..]);
        let mut fields = Fields::new(event);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => at = field.value.fixed64()?,
                2 => name = field.value.bytes()?,
                _ => {}
            }
        }
        sink.event(Timestamp(at), name);
        Ok(())
    })
}

#[cfg(test)]
mod tests;
