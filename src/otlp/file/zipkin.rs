//! Zipkin v2 JSON: an array of spans, an array of such arrays (as the API answers), or spans one by one.
//!
//! A CLIENT span and the SERVER span it caused may have the same id (`shared`); both are handed on as they
//! are, for the tree to tell apart by their kinds. Zipkin has no resources: what an exporter made of
//! resource attributes is found among the tags.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::older::{Import, Micros, Name, OlderSpan, TagValue, import, or_default};
use crate::model::{ResourceRef, SpanKind, Timestamp};
use crate::otlp::attributes::{AttributeValue, SERVICE_NAME};
use crate::otlp::decoder::Decoder;
use crate::otlp::json::JsonError;
use crate::otlp::sink::SpanSink;
use crate::otlp::wire::CostLimits;

/// Hands every span of a Zipkin v2 JSON text to `sink`.
pub(super) fn walk<S: SpanSink>(
    decoder: &mut Decoder,
    text: &[u8],
    limits: &CostLimits,
    sink: &mut S,
) -> Result<(), JsonError> {
    import(decoder, text, limits, sink, |import, json| Spans(import).deserialize(json))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Span<'a> {
    #[serde(borrow)]
    trace_id: Name<'a>,
    #[serde(borrow)]
    parent_id: Name<'a>,
    #[serde(borrow)]
    id: Name<'a>,
    #[serde(borrow)]
    kind: Name<'a>,
    #[serde(borrow)]
    name: Name<'a>,
    timestamp: Option<Micros>,
    duration: Micros,
    #[serde(borrow, deserialize_with = "or_default")]
    local_endpoint: Endpoint<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    remote_endpoint: Endpoint<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    annotations: Vec<Annotation<'a>>,
    #[serde(borrow, deserialize_with = "or_default")]
    tags: BTreeMap<Name<'a>, TagValue<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint<'a> {
    #[serde(borrow)]
    service_name: Name<'a>,
    #[serde(borrow)]
    ipv4: Name<'a>,
    #[serde(borrow)]
    ipv6: Name<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Annotation<'a> {
    timestamp: Micros,
    #[serde(borrow)]
    value: Name<'a>,
}

/// A span, or a list of what this is.
struct Spans<'i, 'w, S>(&'i mut Import<'w, S>);

impl<'de, S: SpanSink> DeserializeSeed<'de> for Spans<'_, '_, S> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S: SpanSink> Visitor<'de> for Spans<'_, '_, S> {
    type Value = ();
    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a Zipkin span or a list of them")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    // How deep lists may be nested is bounded by the parser.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Spans(self.0))?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let span = Span::deserialize(MapAccessDeserializer::new(map))?;
        self.0.zipkin_span(&span)
    }
}

impl<S: SpanSink> Import<'_, S> {
    fn zipkin_span<E: Error>(&mut self, span: &Span<'_>) -> Result<(), E> {
        let resource = self.zipkin_resource(span);
        let mut draft = self.decoder.begin_span();
        draft.name = Cow::Borrowed(span.name.0.as_bytes());
        draft.kind = kind(&span.kind.0);
        draft.failed = span.tags.get(&Name(Cow::Borrowed("error"))).is_some_and(failed);
        for (name, value) in &span.tags {
            self.attribute(&mut draft, &name.0, value.0.clone());
        }
        // After the tags, so that what was said on purpose comes first.
        let remote = &span.remote_endpoint;
        for (name, value) in [
            ("peer.service", &remote.service_name),
            ("net.sock.peer.addr", &remote.ipv4),
            ("net.sock.peer.addr", &remote.ipv6),
        ] {
            if !value.0.is_empty() {
                let value = AttributeValue::Text(Cow::Borrowed(value.0.as_bytes()));
                self.attribute(&mut draft, name, value);
            }
        }
        let older = OlderSpan {
            trace: &span.trace_id.0,
            id: &span.id.0,
            parent: &span.parent_id.0,
            start: span.start(),
            duration: span.duration,
        };
        if self.span(resource, &older, draft)? && S::WANTS_DETAIL {
            for (name, value) in &span.tags {
                value.0.with_text(|text| self.sink.attribute(name.0.as_bytes(), text));
            }
            for annotation in &span.annotations {
                let at = Timestamp(annotation.timestamp.nanos());
                self.sink.event(at, annotation.value.0.as_bytes());
            }
        }
        Ok(())
    }

    fn zipkin_resource(&mut self, span: &Span<'_>) -> ResourceRef {
        let mut draft = self.decoder.begin_resource();
        let service = span.local_endpoint.service_name.0.as_bytes();
        let service = AttributeValue::Text(Cow::Borrowed(service));
        let tags = span.tags.iter().filter(|(name, _)| self.decoder.is_resource_attribute(&name.0));
        let tags: Vec<_> = tags.map(|(name, value)| (name.0.as_bytes(), value.0.clone())).collect();
        for (name, value) in std::iter::once((SERVICE_NAME, service)).chain(tags) {
            self.decoder.resource_attribute(&mut draft, name, &value);
        }
        self.decoder.end_resource(&draft, self.sink)
    }
}

impl Span<'_> {
    /// Incomplete spans have no timestamp of their own; their first annotation is the earliest sign of them.
    fn start(&self) -> Micros {
        let first = self.annotations.iter().map(|annotation| annotation.timestamp.0).min();
        self.timestamp.unwrap_or(Micros(first.unwrap_or(0)))
    }
}

/// In Zipkin the mere presence of the tag means failure, whatever it says; but some write "false".
fn failed(tag: &TagValue<'_>) -> bool {
    let empty = matches!(&tag.0, AttributeValue::Text(text) if text.is_empty());
    empty || tag.means_failure()
}

/// Zipkin leaves the kind out for local work.
fn kind(text: &str) -> SpanKind {
    match text {
        "SERVER" => SpanKind::Server,
        "CLIENT" => SpanKind::Client,
        "PRODUCER" => SpanKind::Producer,
        "CONSUMER" => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}
