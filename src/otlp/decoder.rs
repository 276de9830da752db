//! One decoder's memory between messages, and the steps that every format shares.
//!
//! A format finds fields; what a resource and a span are is decided here, once for all of them. A
//! decoder is used by one task at a time and keeps the names it has met, so it is worth keeping.

use std::borrow::Cow;
use std::sync::Arc;

use super::attributes::{AttributeRules, PeerName, Selection, Value};
use super::json::{self, JsonError};
use super::sink::SpanSink;
use super::wire::{self, CostLimits, Counted, WireError};
use crate::model::{InternCache, Interner, ResourceRef, SpanKind, SpanParts};

/// Why a message could not be decoded: the sender's fault, and no use sending it again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Protobuf.
    #[error("invalid OTLP protobuf: {0}")]
    Protobuf(#[from] WireError),
    /// JSON of one of the formats.
    #[error("invalid {format} JSON: {error}")]
    Json {
        /// Which.
        format: &'static str,
        /// What is wrong.
        #[source]
        error: JsonError,
    },
}

impl DecodeError {
    pub(super) fn otlp_json(error: JsonError) -> DecodeError {
        DecodeError::Json { format: "OTLP", error }
    }

    /// Whether the message is well-formed as far as it was read, but holds too much.
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            DecodeError::Protobuf(WireError::TooMany { .. })
                | DecodeError::Json { error: JsonError::TooManySpans { .. }, .. }
        )
    }
}

/// Turns messages into spans. Not shared: one per task that decodes.
pub struct Decoder {
    pub(super) names: Arc<Interner>,
    pub(super) rules: Arc<AttributeRules>,
    cache: InternCache,
    resource: Selection,
    span: Selection,
}

/// What is known of a resource while its attributes are being read.
#[derive(Debug, Default)]
pub(super) struct ResourceDraft {
    service: Option<Vec<u8>>,
    attributes: usize,
}

/// What is known of a span while its fields are being read; the identifiers are the format's.
#[derive(Debug, Default)]
pub(super) struct Draft<T> {
    pub(super) name: T,
    pub(super) kind: SpanKind,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) failed: bool,
    pub(super) peer: PeerName<T>,
    /// How many of its attributes have been counted.
    pub(super) attributes: usize,
}

/// A span of a format with escapes.
pub(super) type SpanDraft<'a> = Draft<Cow<'a, [u8]>>;

/// The identifiers of a span as bytes, valid or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RawIds<'a> {
    pub(super) trace: &'a [u8],
    pub(super) span: &'a [u8],
    pub(super) parent: &'a [u8],
}

impl Decoder {
    /// A decoder with an empty memory.
    pub fn new(names: Arc<Interner>, rules: Arc<AttributeRules>) -> Decoder {
        Decoder {
            names,
            rules,
            cache: InternCache::default(),
            resource: Selection::default(),
            span: Selection::default(),
        }
    }

    /// Hands the spans of a protobuf message to `sink`. After an error what `sink` got is to be discarded.
    pub fn protobuf<S: SpanSink>(
        &mut self,
        message: &Counted<'_>,
        sink: &mut S,
    ) -> Result<(), WireError> {
        self.begin_message();
        wire::walk(self, message, sink)
    }

    /// Hands the spans of an OTLP/JSON text to `sink`, at most `limits.spans` of them. After an error what
    /// `sink` got is to be discarded.
    pub fn json<S: SpanSink>(
        &mut self,
        text: &[u8],
        limits: &CostLimits,
        sink: &mut S,
    ) -> Result<(), JsonError> {
        self.begin_message();
        json::walk(self, text, limits, sink)
    }

    /// To be called before each message: what was remembered of the last one may be too much, or too old.
    pub(super) fn begin_message(&mut self) {
        self.cache.trim(&self.names);
    }

    /// Whether a resource attribute of this name would be kept.
    pub(super) fn is_resource_attribute(&self, name: &str) -> bool {
        let want = self.rules.resource.find(name.as_bytes());
        want.is_some_and(|want| want.selected.is_some())
    }

    /// Begins a resource: forgets the attributes of the one before.
    pub(super) fn begin_resource(&mut self) -> ResourceDraft {
        self.resource.clear();
        ResourceDraft::default()
    }

    /// Takes notice of a resource attribute.
    pub(super) fn resource_attribute(
        &mut self,
        draft: &mut ResourceDraft,
        name: &[u8],
        value: &Value<impl AsRef<[u8]>>,
    ) {
        draft.attributes += 1;
        if draft.attributes > self.rules.max_attributes {
            return;
        }
        let Some(want) = self.rules.resource.find(name) else { return };
        if want.service && draft.service.is_none() {
            draft.service = value.to_text();
        } else if let Some(name) = want.selected.filter(|name| self.resource.wants(*name)) {
            self.resource.offer(name, value, &mut self.cache, &self.names);
        }
    }

    /// Ends a resource: from here its spans can be finished.
    pub(super) fn end_resource(
        &mut self,
        draft: &ResourceDraft,
        sink: &mut impl SpanSink,
    ) -> ResourceRef {
        if draft.attributes > self.rules.max_attributes {
            sink.skipped_attributes(draft.attributes - self.rules.max_attributes);
        }
        let attrs = self.resource.intern_with(&[], &mut self.cache, &self.names);
        self.cache.resource(&self.names, draft.service.as_deref().unwrap_or_default(), attrs)
    }

    /// Begins a span: forgets the attributes of the one before.
    #[inline]
    pub(super) fn begin_span<T: Default>(&mut self) -> Draft<T> {
        self.span.clear();
        Draft::default()
    }

    /// Whether a span attribute of this name may be wanted.
    #[inline]
    pub(super) fn wants_span_attribute(&self, name: &[u8]) -> bool {
        self.rules.span.may_find(name)
    }

    /// Takes notice of a span attribute, the `number`th since they were counted into the draft.
    #[inline(never)]
    pub(super) fn span_attribute<T: AsRef<[u8]> + Clone>(
        &mut self,
        draft: &mut Draft<T>,
        number: usize,
        name: &[u8],
        value: &Value<T>,
    ) {
        if draft.attributes + number > self.rules.max_attributes {
            return;
        }
        let Some(want) = self.rules.span.find(name) else { return };
        if let Some(rank) = want.peer_rank.filter(|rank| draft.peer.wants(*rank)) {
            draft.peer.offer(rank, value);
        }
        if let Some(name) = want.selected.filter(|name| self.span.wants(*name)) {
            self.span.offer(name, value, &mut self.cache, &self.names);
        }
    }

    /// Ends a span: checks it and hands it on. Says whether it was valid.
    #[inline]
    pub(super) fn end_span<T: AsRef<[u8]> + Clone>(
        &mut self,
        resource: ResourceRef,
        ids: RawIds<'_>,
        draft: &Draft<T>,
        sink: &mut impl SpanSink,
    ) -> bool {
        if draft.attributes > self.rules.max_attributes {
            sink.skipped_attributes(draft.attributes - self.rules.max_attributes);
        }
        let attrs = if self.span.is_empty() {
            resource.attrs
        } else {
            self.span.intern_with(self.resource.pairs(), &mut self.cache, &self.names)
        };
        let peer = draft.peer.of(draft.kind);
        let parts = SpanParts {
            trace_id: ids.trace,
            span_id: ids.span,
            parent_span_id: ids.parent,
            start: draft.start,
            end: draft.end,
            key: self.cache.key(&self.names, resource, draft.name.as_ref(), draft.kind),
            peer: peer.map(|name| self.cache.string(&self.names, name)),
            attrs,
            failed: draft.failed,
        };
        match parts.check() {
            Ok(record) => {
                sink.span(record);
                true
            }
            Err(defect) => {
                sink.rejected(defect);
                false
            }
        }
    }
}
