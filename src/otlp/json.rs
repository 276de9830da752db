//! OTLP/JSON, without building the message: visitors that pick what a span needs.
//!
//! The same rules as on the wire: fields in any order, unknown ones ignored. `null` means absent. Of a field
//! that comes twice in one object the last counts, lists are joined; only a second `resource` is an
//! error, because spans of the first may be through already. Text that is not UTF-8 is repaired first.
//! An identifier that is no hexadecimal number costs its span, not the batch.

pub(super) mod scalar;
mod span;

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::attributes::AttributeValue;
use super::decoder::{Decoder, ResourceDraft};
use super::sink::SpanSink;
use super::wire::CostLimits;
use crate::model::ResourceRef;
use scalar::{Each, Fill, Flag, List, Object, SignedWhole, Text};
use span::SpanList;

/// Why a text is not an OTLP/JSON message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or a field is not what it should be.
    #[error("{message}, line {line} column {column}")]
    Syntax {
        /// What was found or expected; short whatever was sent.
        message: String,
        /// Line within the text, from 1.
        line: usize,
        /// Byte within the line, from 1.
        column: usize,
    },
    /// More spans than one message may hold.
    #[error("more than {limit} spans in one request")]
    TooManySpans {
        /// How many are allowed.
        limit: usize,
    },
}

impl JsonError {
    /// Longest part of a parser's message that is passed on: it may quote the sender at length.
    const MAX_MESSAGE_BYTES: usize = 160;

    /// The position of an error in `part`, counted from the start of the `whole` of which it is a part.
    fn moved_to(self, part: &str, whole: &str) -> JsonError {
        let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        let before = whole.get(..start).unwrap_or_default();
        match self {
            JsonError::Syntax { message, line, column } => {
                let last = before.rsplit('\n').next().map_or(0, str::len);
                let column = if line == 1 { column + last } else { column };
                let line = line + before.matches('\n').count();
                JsonError::Syntax { message, line, column }
            }
            other => other,
        }
    }

    pub(super) fn new(error: &serde_json::Error) -> JsonError {
        let text = error.to_string();
        // The position is at the end, behind " at line ".
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        let mut end = message.len().min(JsonError::MAX_MESSAGE_BYTES);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        JsonError::Syntax {
            message: message[..end].to_owned(),
            line: error.line(),
            column: error.column(),
        }
    }
}

/// Hands every span of an `ExportTraceServiceRequest` to `sink`.
pub(super) fn walk<S: SpanSink>(
    decoder: &mut Decoder,
    text: &[u8],
    limits: &CostLimits,
    sink: &mut S,
) -> Result<(), JsonError> {
    let text = String::from_utf8_lossy(text);
    let mut walk =
        Walk { decoder, sink, text: &text, left: limits.spans, limit: limits.spans, failure: None };
    let mut json = serde_json::Deserializer::from_str(&text);
    let result = Fill(&mut Request { walk: &mut walk })
        .deserialize(&mut json)
        .and_then(|present| if present { Ok(()) } else { Err(Error::custom("expected an object")) })
        .and_then(|()| json.end());
    result.map_err(|error| walk.failure.take().unwrap_or_else(|| JsonError::new(&error)))
}

/// What every level of the walk needs.
pub(super) struct Walk<'w, S> {
    decoder: &'w mut Decoder,
    sink: &'w mut S,
    text: &'w str,
    /// Spans that may still come, and that may come altogether.
    left: usize,
    limit: usize,
    /// What went wrong, where the parser's error would not say it well.
    failure: Option<JsonError>,
}

struct Request<'r, 'w, S> {
    walk: &'r mut Walk<'w, S>,
}

impl<'de, S: SpanSink> Object<'de> for Request<'_, '_, S> {
    const WHAT: &'static str = "an OTLP request object";

    fn field<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error> {
        match name {
            b"resourceSpans" => map.next_value_seed(Each(self)),
            _ => map.next_value::<IgnoredAny>().map(drop),
        }
    }
}

impl<'de, S: SpanSink> List<'de> for Request<'_, '_, S> {
    const WHAT: &'static str = "a list of resourceSpans";

    fn item<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let mut object = ResourceSpans { walk: self.walk, resource: None, waiting: Vec::new() };
        if list.next_element_seed(Fill(&mut object))?.is_none() {
            return Ok(false);
        }
        object.finish().map_err(A::Error::custom)?;
        Ok(true)
    }
}

/// The resource may come after its spans: those wait as text.
struct ResourceSpans<'r, 'w, 'de, S> {
    walk: &'r mut Walk<'w, S>,
    resource: Option<ResourceRef>,
    waiting: Vec<&'de RawValue>,
}

impl<'de, S: SpanSink> Object<'de> for ResourceSpans<'_, '_, 'de, S> {
    const WHAT: &'static str = "a resourceSpans object";

    fn field<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error> {
        match (name, self.resource) {
            (b"resource", Some(_)) => Err(A::Error::custom("duplicate field `resource`")),
            (b"resource", None) => {
                let draft = self.walk.decoder.begin_resource();
                let mut resource = Resource { decoder: self.walk.decoder, draft };
                if map.next_value_seed(Fill(&mut resource))? {
                    let draft = resource.draft;
                    self.resource = Some(self.walk.decoder.end_resource(&draft, self.walk.sink));
                }
                Ok(())
            }
            (b"scopeSpans", Some(resource)) => {
                map.next_value_seed(Each(&mut ScopeSpans { walk: self.walk, resource }))
            }
            (b"scopeSpans", None) => {
                self.waiting.push(map.next_value()?);
                Ok(())
            }
            _ => map.next_value::<IgnoredAny>().map(drop),
        }
    }
}

impl<S: SpanSink> ResourceSpans<'_, '_, '_, S> {
    fn finish(&mut self) -> Result<(), serde_json::Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let resource = match self.resource {
            Some(resource) => resource,
            None => {
                let draft = self.walk.decoder.begin_resource();
                self.walk.decoder.end_resource(&draft, self.walk.sink)
            }
        };
        for text in std::mem::take(&mut self.waiting) {
            let mut json = serde_json::Deserializer::from_str(text.get());
            let result = Each(&mut ScopeSpans { walk: self.walk, resource }).deserialize(&mut json);
            if let Err(error) = result {
                let failure = JsonError::new(&error).moved_to(text.get(), self.walk.text);
                self.walk.failure.get_or_insert(failure);
                return Err(error);
            }
        }
        Ok(())
    }
}

struct Resource<'r> {
    decoder: &'r mut Decoder,
    draft: ResourceDraft,
}

impl<'de> Object<'de> for Resource<'_> {
    const WHAT: &'static str = "a resource object";

    fn field<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error> {
        match name {
            b"attributes" => map.next_value_seed(Each(self)),
            _ => map.next_value::<IgnoredAny>().map(drop),
        }
    }
}

impl<'de> List<'de> for Resource<'_> {
    const WHAT: &'static str = "a list of attributes";

    fn item<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        let mut attribute = KeyValue::default();
        if list.next_element_seed(Fill(&mut attribute))?.is_none() {
            return Ok(false);
        }
        let KeyValue { key, value } = attribute;
        self.decoder.resource_attribute(&mut self.draft, &key, &value);
        Ok(true)
    }
}

/// An attribute.
struct KeyValue<'de> {
    key: Cow<'de, [u8]>,
    value: AttributeValue<'de>,
}

impl Default for KeyValue<'_> {
    fn default() -> Self {
        KeyValue { key: Cow::default(), value: AttributeValue::Other }
    }
}

impl<'de> Object<'de> for KeyValue<'de> {
    const WHAT: &'static str = "an attribute object";

    fn field<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error> {
        match name {
            b"key" => self.key = map.next_value_seed(Text)?.unwrap_or_default(),
            b"value" => drop(map.next_value_seed(Fill(&mut self.value))?),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl<'de> Object<'de> for AttributeValue<'de> {
    const WHAT: &'static str = "an attribute value object";

    fn field<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error> {
        let value = match name {
            b"stringValue" => map.next_value_seed(Text)?.map(AttributeValue::Text),
            b"intValue" => map.next_value_seed(SignedWhole)?.map(AttributeValue::Int),
            b"boolValue" => map.next_value_seed(Flag)?.map(AttributeValue::Bool),
            _ => map.next_value::<IgnoredAny>().map(|_| None)?,
        };
        if let Some(value) = value {
            *self = value;
        }
        Ok(())
    }
}

struct ScopeSpans<'r, 'w, S> {
    walk: &'r mut Walk<'w, S>,
    resource: ResourceRef,
}

impl<'de, S: SpanSink> List<'de> for ScopeSpans<'_, '_, S> {
    const WHAT: &'static str = "a list of scopeSpans";

    fn item<A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<bool, A::Error> {
        Ok(list.next_element_seed(Fill(self))?.is_some())
    }
}

impl<'de, S: SpanSink> Object<'de> for ScopeSpans<'_, '_, S> {
    const WHAT: &'static str = "a scopeSpans object";

    fn field<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error> {
        match name {
            b"spans" => map
                .next_value_seed(Each(&mut SpanList { walk: self.walk, resource: self.resource })),
            _ => map.next_value::<IgnoredAny>().map(drop),
        }
    }
}

#[cfg(test)]
mod tests;
