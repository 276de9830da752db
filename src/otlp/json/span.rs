//! A span in OTLP/JSON.

use std::borrow::Cow;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess};

use super::scalar::{Each, Enumeration, Fill, List, Object, Text, Whole};
use super::{JsonError, KeyValue, Walk};
use crate::model::{ResourceRef, SpanKind, Timestamp};
use crate::otlp::decoder::{RawIds, SpanDraft};
use crate::otlp::sink::SpanSink;
use crate::otlp::wire::STATUS_ERROR;

/// OTLP's names of the span kinds, by number.
const KINDS: [&str; 6] = [
    SpanKind::Unspecified.as_str(),
    SpanKind::Internal.as_str(),
    SpanKind::Server.as_str(),
    SpanKind::Client.as_str(),
    SpanKind::Producer.as_str(),
    SpanKind::Consumer.as_str(),
];

/// OTLP's names of the status codes, by number.
const STATUS_CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// The spans of one scope.
pub(super) struct SpanList<'r, 'w, S> {
    pub(super) walk: &'r mut Walk<'w, S>,
    pub(super) resource: ResourceRef,
}

/// An identifier's bytes; what is no identifier becomes a length that none has.
#[derive(Clone, Copy, Default)]
pub(in crate::otlp) struct HexBytes {
    bytes: [u8; 16],
    len: usize,
}

impl HexBytes {
    /// What stands for "not hexadecimal": longer than nothing, shorter than any identifier.
    const INVALID: HexBytes = HexBytes { bytes: [0; 16], len: 1 };

    pub(in crate::otlp) fn parse(digits: &[u8]) -> HexBytes {
        if !digits.len().is_multiple_of(2) || digits.len() > 32 {
            return HexBytes::INVALID;
        }
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        let mut parsed = HexBytes { bytes: [0; 16], len: digits.len() / 2 };
        for (byte, pair) in parsed.bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
                return HexBytes::INVALID;
            };
            *byte = u8::try_from(high << 4 | low).unwrap_or_default();
        }
        parsed
    }

    pub(in crate::otlp) fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

struct SpanObject<'r, 'w, 'de, S> {
    walk: &'r mut Walk<'w, S>,
    trace: HexBytes,
    span: HexBytes,
    parent: HexBytes,
    draft: SpanDraft<'de>,
    /// Kept only for sinks that want them: the span has to be known to be valid first.
    events: Vec<Event<'de>>,
    attributes: Vec<Attribute<'de>>,
}

impl<'de, S: SpanSink> List<'de> for SpanList<'_, '_, S> {
    const WHAT: &'static str = "a list of spans";

    fn item<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let draft = self.walk.decoder.begin_span();
        let mut object = SpanObject {
            walk: self.walk,
            trace: HexBytes::default(),
            span: HexBytes::default(),
            parent: HexBytes::default(),
            draft,
            events: Vec::new(),
            attributes: Vec::new(),
        };
        match list.next_element_seed(Fill(&mut object))? {
            None => return Ok(false),
            Some(false) => {}
            Some(true) => object.finish(self.resource).map_err(A::Error::custom)?,
        }
        Ok(true)
    }
}

impl<S: SpanSink> SpanObject<'_, '_, '_, S> {
    fn finish(self, resource: ResourceRef) -> Result<(), &'static str> {
        let Some(left) = self.walk.left.checked_sub(1) else {
            self.walk.failure = Some(JsonError::TooManySpans { limit: self.walk.limit });
            return Err("too many spans");
        };
        self.walk.left = left;
        let ids =
            RawIds { trace: self.trace.get(), span: self.span.get(), parent: self.parent.get() };
        if self.walk.decoder.end_span(resource, ids, &self.draft, self.walk.sink) {
            for attribute in &self.attributes {
                self.walk.sink.attribute(&attribute.name, &attribute.value);
            }
            for event in &self.events {
                self.walk.sink.event(Timestamp(event.at), &event.name);
            }
        }
        Ok(())
    }
}

impl<'de, S: SpanSink> Object<'de> for SpanObject<'_, '_, 'de, S> {
    const WHAT: &'static str = "a span object";

    fn field<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error> {
        match name {
            b"traceId" => self.trace = id(map)?,
            b"spanId" => self.span = id(map)?,
            b"parentSpanId" => self.parent = id(map)?,
            b"name" => self.draft.name = map.next_value_seed(Text)?.unwrap_or_default(),
            b"kind" => {
                self.draft.kind = SpanKind::from_number(map.next_value_seed(Enumeration(&KINDS))?);
            }
            b"startTimeUnixNano" => self.draft.start = map.next_value_seed(Whole)?.unwrap_or(0),
            b"endTimeUnixNano" => self.draft.end = map.next_value_seed(Whole)?.unwrap_or(0),
            b"attributes" => map.next_value_seed(Each(&mut Attributes(self)))?,
            b"events" if S::WANTS_DETAIL => map.next_value_seed(Each(&mut Events(self)))?,
            b"status" => drop(map.next_value_seed(Fill(&mut Status(&mut self.draft)))?),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

fn id<'de, A: MapAccess<'de>>(map: &mut A) -> Result<HexBytes, A::Error> {
    Ok(HexBytes::parse(&map.next_value_seed(Text)?.unwrap_or_default()))
}

struct Attributes<'o, 'r, 'w, 'de, S>(&'o mut SpanObject<'r, 'w, 'de, S>);

impl<'de, S: SpanSink> List<'de> for Attributes<'_, '_, '_, 'de, S> {
    const WHAT: &'static str = "a list of attributes";

    fn item<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let mut attribute = KeyValue::default();
        if list.next_element_seed(Fill(&mut attribute))?.is_none() {
            return Ok(false);
        }
        let KeyValue { key, value } = attribute;
        let SpanObject { walk, draft, attributes, .. } = &mut *self.0;
        if S::WANTS_DETAIL
            && attributes.len() < walk.decoder.rules.max_attributes
            && let Some(value) = value.to_text()
        {
            attributes.push(Attribute { name: key.clone(), value });
        }
        if walk.decoder.wants_span_attribute(&key) {
            walk.decoder.span_attribute(draft, 1, &key, &value);
        }
        draft.attributes += 1;
        Ok(true)
    }
}

struct Attribute<'de> {
    name: Cow<'de, [u8]>,
    value: Vec<u8>,
}

#[derive(Default)]
struct Event<'de> {
    at: u64,
    name: Cow<'de, [u8]>,
}

struct Events<'o, 'r, 'w, 'de, S>(&'o mut SpanObject<'r, 'w, 'de, S>);

impl<'de, S: SpanSink> List<'de> for Events<'_, '_, '_, 'de, S> {
    const WHAT: &'static str = "a list of events";

    fn item<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let mut event = Event::default();
        let present = list.next_element_seed(Fill(&mut event))?;
        if present == Some(true) {
            self.0.events.push(event);
        }
        Ok(present.is_some())
    }
}

impl<'de> Object<'de> for Event<'de> {
    const WHAT: &'static str = "an event object";

    fn field<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error> {
        match name {
            b"timeUnixNano" => self.at = map.next_value_seed(Whole)?.unwrap_or(0),
            b"name" => self.name = map.next_value_seed(Text)?.unwrap_or_default(),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

struct Status<'o, 'de>(&'o mut SpanDraft<'de>);

impl<'de> Object<'de> for Status<'_, 'de> {
    const WHAT: &'static str = "a status object";

    fn field<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error> {
        match name {
            b"code" => {
                self.0.failed = map.next_value_seed(Enumeration(&STATUS_CODES))? == STATUS_ERROR;
            }
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}
