//! What the two older formats, Jaeger and Zipkin, have in common.
//!
//! Both count microseconds, write identifiers as text of any length, and mark failures by a tag named `error`.
//! Recordings are read whole trace by whole trace, so these readers build small structures, unlike the
//! OTLP walks.

use std::borrow::Cow;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess,
};

use crate::model::ResourceRef;
use crate::otlp::attributes::AttributeValue;
use crate::otlp::decoder::{Decoder, RawIds, SpanDraft};
use crate::otlp::json::JsonError;
use crate::otlp::json::scalar::SignedWhole;
use crate::otlp::sink::SpanSink;
use crate::otlp::wire::CostLimits;

/// What a reader of an older format needs at every level.
pub(super) struct Import<'w, S> {
    pub(super) decoder: &'w mut Decoder,
    pub(super) sink: &'w mut S,
    left: usize,
    limit: usize,
    exceeded: bool,
}

/// Runs `read` over `text`, which is repaired first where it is not UTF-8.
pub(super) fn import<S: SpanSink>(
    decoder: &mut Decoder,
    text: &[u8],
    limits: &CostLimits,
    sink: &mut S,
    read: impl FnOnce(
        &mut Import<'_, S>,
        &mut serde_json::Deserializer<serde_json::de::StrRead<'_>>,
    ) -> Result<(), serde_json::Error>,
) -> Result<(), JsonError> {
    let text = String::from_utf8_lossy(text);
    decoder.begin_message();
    let (left, limit) = (limits.spans, limits.spans);
    let mut import = Import { decoder, sink, left, limit, exceeded: false };
    let mut json = serde_json::Deserializer::from_str(&text);
    let result = read(&mut import, &mut json).and_then(|()| json.end());
    match result {
        Ok(()) => Ok(()),
        Err(_) if import.exceeded => Err(JsonError::TooManySpans { limit: import.limit }),
        Err(error) => Err(JsonError::new(&error)),
    }
}

/// A span of an older format, but for its name, kind and attributes.
pub(super) struct OlderSpan<'a> {
    pub(super) trace: &'a str,
    pub(super) id: &'a str,
    pub(super) parent: &'a str,
    pub(super) start: Micros,
    pub(super) duration: Micros,
}

impl<S: SpanSink> Import<'_, S> {
    /// Checks a span and hands it on; says whether it was valid.
    pub(super) fn span<E: Error>(
        &mut self,
        resource: ResourceRef,
        span: &OlderSpan<'_>,
        mut draft: SpanDraft<'_>,
    ) -> Result<bool, E> {
        let Some(left) = self.left.checked_sub(1) else {
            self.exceeded = true;
            return Err(E::custom("too many spans"));
        };
        self.left = left;
        draft.start = span.start.nanos();
        // A negative duration stays an end before the start, for the check to find.
        draft.end = Micros(span.start.0.saturating_add(span.duration.0)).nanos();
        let (trace, id, parent) = (trace_id(span.trace), span_id(span.id), span_id(span.parent));
        let ids = RawIds {
            trace: trace.as_ref().map_or(&[], |id| id),
            span: id.as_ref().map_or(&[], |id| id),
            parent: parent.as_ref().map_or(&[], |id| id),
        };
        Ok(self.decoder.end_span(resource, ids, &draft, self.sink))
    }

    /// Takes notice of a span's attribute.
    pub(super) fn attribute<'a>(
        &mut self,
        draft: &mut SpanDraft<'a>,
        name: &str,
        value: AttributeValue<'a>,
    ) {
        if self.decoder.wants_span_attribute(name.as_bytes()) {
            self.decoder.span_attribute(draft, 1, name.as_bytes(), &value);
        }
        draft.attributes += 1;
    }
}

/// A trace id as 16 bytes: up to 32 hexadecimal digits, filled up with zeros on the left as these systems
/// do. Any other text is hashed, so that invented traces (`"trace-1"`) can be read; `None` is empty.
fn trace_id(text: &str) -> Option<[u8; 16]> {
    let id = match u128::from_str_radix(text, 16) {
        _ if text.is_empty() => return None,
        Ok(id) if text.len() <= 32 && !text.starts_with('+') => id,
        _ => hash(text),
    };
    Some(id.to_be_bytes())
}

/// A span id as 8 bytes, by the same rule.
fn span_id(text: &str) -> Option<[u8; 8]> {
    let id = match u64::from_str_radix(text, 16) {
        _ if text.is_empty() => return None,
        Ok(id) if text.len() <= 16 && !text.starts_with('+') => id,
        _ => {
            let hash = hash(text);
            // Both halves, so that no bit of the hash is lost.
            u64::try_from((hash ^ (hash >> 64)) & u128::from(u64::MAX)).unwrap_or_default()
        }
    };
    Some(id.to_be_bytes())
}

/// FNV-1a of 128 bits: the same in every process and on every machine.
fn hash(text: &str) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    text.bytes().fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// Microseconds, as number or as text; absent is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Micros(pub(super) i64);

impl Micros {
    /// Nanoseconds since the epoch; before it is the epoch, beyond what fits is the last instant.
    pub(super) fn nanos(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0).saturating_mul(1_000)
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Micros, D::Error> {
        Ok(Micros(SignedWhole.deserialize(json)?.unwrap_or(0)))
    }
}

/// The value of a tag, of whatever type.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct TagValue<'a>(pub(super) AttributeValue<'a>);

impl Default for TagValue<'_> {
    fn default() -> Self {
        TagValue(AttributeValue::Other)
    }
}

impl TagValue<'_> {
    /// Whether a tag `error` of this value means that the span failed: anything but a plain no.
    pub(super) fn means_failure(&self) -> bool {
        match &self.0 {
            AttributeValue::Text(text) => !matches!(&**text, b"" | b"false" | b"0"),
            AttributeValue::Int(number) => *number != 0,
            AttributeValue::Bool(flag) => *flag,
            AttributeValue::Other => false,
        }
    }

    pub(super) fn as_text(&self) -> &[u8] {
        match &self.0 {
            AttributeValue::Text(text) => text,
            _ => &[],
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TagValue<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(TagVisitor).map(TagValue)
    }
}

struct TagVisitor;

impl<'de> serde::de::Visitor<'de> for TagVisitor {
    type Value = AttributeValue<'de>;
    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a tag's value")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(AttributeValue::Text(Cow::Borrowed(text.as_bytes())))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(AttributeValue::Text(Cow::Owned(text.as_bytes().to_vec())))
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(AttributeValue::Bool(flag))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(AttributeValue::Int(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(AttributeValue::Other, AttributeValue::Int))
    }
    fn visit_f64<E>(self, _number: f64) -> Result<Self::Value, E> {
        Ok(AttributeValue::Other)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(AttributeValue::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(AttributeValue::Other)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(AttributeValue::Other)
    }
}

/// For fields in which `null` means absent.
pub(super) fn or_default<'de, T, D>(json: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(json)?.unwrap_or_default())
}

/// A string that is borrowed where it can be. `null` is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Name<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let bytes = crate::otlp::json::scalar::Text.deserialize(json)?.unwrap_or_default();
        // Half a surrogate pair can be escaped in JSON; it is replaced like all that is not UTF-8.
        Ok(Name(match bytes {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_identifiers_are_filled_up_with_zeros_on_the_left() {
        assert_eq!(span_id("A"), Some([0, 0, 0, 0, 0, 0, 0, 0xa]));
        assert_eq!(
            span_id("0fc331c5c8fbdb80").map(u64::from_be_bytes),
            Some(0x0fc3_31c5_c8fb_db80)
        );
        assert_eq!(
            trace_id("1e223ff1f80f1c69").map(u128::from_be_bytes),
            Some(0x1e22_3ff1_f80f_1c69)
        );
        assert_eq!(trace_id(""), None);
        assert_eq!(span_id("0"), Some([0; 8]), "which the check rejects");
    }

    #[test]
    fn what_is_not_hexadecimal_is_hashed_and_stays_apart() {
        // The published FNV-1a test vectors of 128 bits, for "" and "a".
        assert_eq!(hash(""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(hash("a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        let ids = ["trace-1", "trace-2", "+1", "1e223ff1f80f1c691e223ff1f80f1c691"].map(trace_id);
        for (index, id) in ids.iter().enumerate() {
            assert!(id.is_some() && !ids[..index].contains(id));
        }
        assert_ne!(span_id("span-1"), span_id("span-2"));
    }

    #[test]
    fn microseconds_become_nanoseconds_within_bounds() {
        assert_eq!(Micros(1_198_196).nanos(), 1_198_196_000);
        assert_eq!(Micros(-1).nanos(), 0);
        assert_eq!(Micros(i64::MAX).nanos(), u64::MAX);
    }

    #[test]
    fn an_error_tag_means_failure_unless_it_says_no() {
        let failed =
            |json: &str| serde_json::from_str::<TagValue<'_>>(json).unwrap().means_failure();
        for json in ["true", "\"true\"", "\"ClientSideError\"", "1"] {
            assert!(failed(json), "{json}");
        }
        for json in ["false", "\"false\"", "\"\"", "0", "null", "[1]", "{\"a\":[]}", "0.5"] {
            assert!(!failed(json), "{json}");
        }
    }
}
