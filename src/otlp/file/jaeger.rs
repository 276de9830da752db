//! Jaeger JSON, as its UI downloads it and its API answers: `{"data": [trace, ...]}`, also `{"data": trace}`
//! and a trace alone.
//!
//! A span's parent is the first CHILD_OF reference into its own trace, else the first FOLLOWS_FROM. Nobody waits
//! for what follows from something, so such a span counts as a CONSUMER unless it says what it is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess};

use super::older::{Import, Micros, Name, OlderSpan, TagValue, import, or_default};
use crate::model::{ResourceRef, SpanKind, Timestamp};
use crate::otlp::attributes::{AttributeValue, SERVICE_NAME};
use crate::otlp::decoder::{Decoder, SpanDraft};
use crate::otlp::json::JsonError;
use crate::otlp::json::scalar::{Fill, Object};
use crate::otlp::sink::SpanSink;
use crate::otlp::wire::CostLimits;

/// Hands every span of a Jaeger JSON text to `sink`.
pub(super) fn walk<S: SpanSink>(
    decoder: &mut Decoder,
    text: &[u8],
    limits: &CostLimits,
    sink: &mut S,
) -> Result<(), JsonError> {
    import(decoder, text, limits, sink, |import, json| {
        let mut top = Top { import, bare: Trace::default() };
        Fill(&mut top).deserialize(json)?;
        let Top { import, bare } = top;
        import.trace(&bare)
    })
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Trace<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    spans: Vec<Span<'a>>,
    #[serde(borrow, deserialize_with = "or_default")]
    processes: BTreeMap<Name<'a>, Process<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Process<'a> {
    #[serde(borrow)]
    service_name: Name<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    tags: Vec<Tag<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Span<'a> {
    #[serde(borrow, rename = "traceID")]
    trace_id: Name<'a>,
    #[serde(borrow, rename = "spanID")]
    span_id: Name<'a>,
    /// Of old recordings, which have no references.
    #[serde(borrow, rename = "parentSpanID")]
    parent_span_id: Name<'a>,
    #[serde(borrow)]
    operation_name: Name<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    references: Vec<Reference<'a>>,
    start_time: Micros,
    duration: Micros,
    #[serde(borrow, deserialize_with = "or_default")]
    tags: Vec<Tag<'a>>,
    #[serde(borrow, deserialize_with = "or_default")]
    logs: Vec<Log<'a>>,
    #[serde(borrow, rename = "processID")]
    process_id: Name<'a>,
    /// Where there is no table of processes.
    #[serde(borrow)]
    process: Option<Process<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Reference<'a> {
    #[serde(borrow)]
    ref_type: Name<'a>,
    #[serde(borrow, rename = "traceID")]
    trace_id: Name<'a>,
    #[serde(borrow, rename = "spanID")]
    span_id: Name<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Tag<'a> {
    #[serde(borrow)]
    key: Name<'a>,
    #[serde(borrow)]
    value: TagValue<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Log<'a> {
    timestamp: Micros,
    #[serde(borrow, deserialize_with = "or_default")]
    fields: Vec<Tag<'a>>,
}

/// The outermost object: an answer with `data`, or a trace alone.
struct Top<'i, 'w, 'de, S> {
    import: &'i mut Import<'w, S>,
    bare: Trace<'de>,
}

impl<'de, S: SpanSink> Object<'de> for Top<'_, '_, 'de, S> {
    const WHAT: &'static str = "a Jaeger trace object";

    fn field<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<(), A::Error> {
        match name {
            b"data" => map.next_value_seed(Data(self.import)),
            b"spans" => {
                self.bare.spans = map.next_value::<Option<_>>()?.unwrap_or_default();
                Ok(())
            }
            b"processes" => {
                self.bare.processes = map.next_value::<Option<_>>()?.unwrap_or_default();
                Ok(())
            }
            _ => map.next_value::<IgnoredAny>().map(drop),
        }
    }
}

/// A trace, or a list of traces of which one at a time is held.
struct Data<'i, 'w, S>(&'i mut Import<'w, S>);

impl<'de, S: SpanSink> DeserializeSeed<'de> for Data<'_, '_, S> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S: SpanSink> serde::de::Visitor<'de> for Data<'_, '_, S> {
    type Value = ();
    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a Jaeger trace or a list of them")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(trace) = list.next_element::<Option<Trace<'de>>>()? {
            self.0.trace(&trace.unwrap_or_default())?;
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let trace = Trace::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        self.0.trace(&trace)
    }
}

impl<S: SpanSink> Import<'_, S> {
    fn trace<E: Error>(&mut self, trace: &Trace<'_>) -> Result<(), E> {
        let nowhere = Process::default();
        let mut current: Option<(&Process<'_>, ResourceRef)> = None;
        for span in &trace.spans {
            let named = trace.processes.get(&span.process_id);
            let process = named.or(span.process.as_ref()).unwrap_or(&nowhere);
            let resource = match current {
                Some((same, resource)) if std::ptr::eq(same, process) => resource,
                _ => self.process(process),
            };
            current = Some((process, resource));
            self.jaeger_span(resource, span)?;
        }
        Ok(())
    }

    fn process(&mut self, process: &Process<'_>) -> ResourceRef {
        let mut draft = self.decoder.begin_resource();
        let service = AttributeValue::Text(Cow::Borrowed(process.service_name.0.as_bytes()));
        let tags = process.tags.iter().map(|tag| (resource_name(&tag.key.0), tag.value.0.clone()));
        for (name, value) in std::iter::once((SERVICE_NAME, service)).chain(tags) {
            self.decoder.resource_attribute(&mut draft, name, &value);
        }
        self.decoder.end_resource(&draft, self.sink)
    }

    fn jaeger_span<E: Error>(&mut self, resource: ResourceRef, span: &Span<'_>) -> Result<(), E> {
        let mut draft = self.decoder.begin_span();
        draft.name = Cow::Borrowed(span.operation_name.0.as_bytes());
        let (parent, follows) = span.parent();
        if follows {
            draft.kind = SpanKind::Consumer;
        }
        for tag in &span.tags {
            self.tag(&mut draft, tag);
        }
        let older = OlderSpan {
            trace: &span.trace_id.0,
            id: &span.span_id.0,
            parent,
            start: span.start_time,
            duration: span.duration,
        };
        if self.span(resource, &older, draft)? && S::WANTS_DETAIL {
            for Tag { key, value } in &span.tags {
                value.0.with_text(|text| self.sink.attribute(key.0.as_bytes(), text));
            }
            for log in &span.logs {
                self.sink.event(Timestamp(log.timestamp.nanos()), log.name());
            }
        }
        Ok(())
    }

    fn tag<'a>(&mut self, draft: &mut SpanDraft<'a>, tag: &'a Tag<'_>) {
        match &*tag.key.0 {
            "span.kind" => draft.kind = kind(tag.value.as_text()).unwrap_or(draft.kind),
            "error" => draft.failed |= tag.value.means_failure(),
            "otel.status_code" => draft.failed |= tag.value.as_text() == b"ERROR",
            _ => {}
        }
        self.attribute(draft, &tag.key.0, tag.value.0.clone());
    }
}

impl Span<'_> {
    /// The parent's id, and whether it is only followed from.
    fn parent(&self) -> (&str, bool) {
        let to = |ref_type: &str| {
            let mut own = self.references.iter().filter(|reference| {
                reference.ref_type.0 == ref_type
                    && (reference.trace_id == self.trace_id || reference.trace_id.0.is_empty())
            });
            own.next().map(|reference| &*reference.span_id.0)
        };
        match (to("CHILD_OF"), to("FOLLOWS_FROM")) {
            (Some(parent), _) => (parent, false),
            (None, Some(parent)) => (parent, true),
            (None, None) => (&self.parent_span_id.0, false),
        }
    }
}

impl Log<'_> {
    /// OpenTracing names an event by the field `event`; loggers write `message`. Else the first text.
    fn name(&self) -> &[u8] {
        let field = |name| self.fields.iter().find(|field| field.key.0 == name);
        let text = |field: &&Tag<'_>| !field.value.as_text().is_empty();
        let found = field("event").or_else(|| field("message")).filter(text);
        let found = found.or_else(|| self.fields.iter().find(text));
        found.map_or(&[], |field| field.value.as_text())
    }
}

fn kind(text: &[u8]) -> Option<SpanKind> {
    Some(match text {
        b"server" => SpanKind::Server,
        b"client" => SpanKind::Client,
        b"producer" => SpanKind::Producer,
        b"consumer" => SpanKind::Consumer,
        b"internal" => SpanKind::Internal,
        _ => return None,
    })
}

/// Jaeger's own clients name the host otherwise than OpenTelemetry does.
fn resource_name(tag: &str) -> &[u8] {
    match tag {
        "hostname" => b"host.name",
        other => other.as_bytes(),
    }
}
