//! One decoder's memory between messages, and the steps that every format shares.
//!
//! A format finds fields; what a resource and a span are is decided here, once for all of them. A
//! decoder is used by one task at a time and keeps the names it has met, so it is worth keeping.

use std::borrow::Cow;
use std::sync::Arc;

use super::attributes::{AttributeRules, AttributeValue, PeerName, SERVICE_NAME, Selection};
use super::json::{self, JsonError};
use super::sink::SpanSink;
use super::wire::{self, Checked, CostLimits, WireError};
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
pub(super) struct ResourceDraft<'a> {
    service: Option<Cow<'a, [u8]>>,
    attributes: usize,
}

/// What is known of a span while its fields are being read; the identifiers are the format's.
#[derive(Debug, Default)]
pub(super) struct SpanDraft<'a> {
    pub(super) name: Cow<'a, [u8]>,
    pub(super) kind: SpanKind,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) failed: bool,
    pub(super) peer: PeerName<'a>,
    attributes: usize,
}

/// The identifiers of a span as bytes, valid or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RawIds<'a> {
    pub(super) trace: &'a [u8],
    pub(super) span: &'a [u8],
    pub(super) parent: &'a [u8],
}

/// What somebody wants an attribute's value for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    peer_rank: Option<u8>,
    selected: Option<crate::model::Sym>,
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
        message: &Checked<'_>,
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

    /// To be called between messages: what was remembered of the last one may be too much.
    pub(super) fn begin_message(&mut self) {
        self.cache.trim();
    }

    /// Whether a resource attribute of this name would be kept.
    pub(super) fn is_resource_attribute(&self, name: &str) -> bool {
        self.rules.resource.iter().any(|(wanted, _)| **wanted == *name.as_bytes())
    }

    /// Begins a resource: forgets the attributes of the one before.
    pub(super) fn begin_resource<'a>(&mut self) -> ResourceDraft<'a> {
        self.resource.clear();
        ResourceDraft::default()
    }

    /// Takes notice of a resource attribute. `value` is asked for only if it is wanted.
    pub(super) fn resource_attribute<'a, E>(
        &mut self,
        draft: &mut ResourceDraft<'a>,
        name: &[u8],
        value: impl FnOnce() -> Result<AttributeValue<'a>, E>,
    ) -> Result<(), E> {
        draft.attributes += 1;
        if draft.attributes > self.rules.max_attributes {
            return Ok(());
        }
        if name == SERVICE_NAME && draft.service.is_none() {
            draft.service = value()?.text();
        } else if let Some(sym) = self.resource.wants(&self.rules.resource, name) {
            self.resource.offer(sym, value()?, &mut self.cache, &self.names);
        }
        Ok(())
    }

    /// Ends a resource: from here its spans can be finished.
    pub(super) fn end_resource(
        &mut self,
        draft: &ResourceDraft<'_>,
        sink: &mut impl SpanSink,
    ) -> ResourceRef {
        if draft.attributes > self.rules.max_attributes {
            sink.skipped_attributes(draft.attributes - self.rules.max_attributes);
        }
        let attrs = self.resource.intern_with(&[], &self.names);
        self.cache.resource(&self.names, draft.service.as_deref().unwrap_or_default(), attrs)
    }

    /// Begins a span: forgets the attributes of the one before.
    pub(super) fn begin_span<'a>(&mut self) -> SpanDraft<'a> {
        self.span.clear();
        SpanDraft::default()
    }

    /// Whether the value of a span attribute of this name is wanted; counts it.
    pub(super) fn wants_span_attribute(
        &self,
        draft: &mut SpanDraft<'_>,
        name: &[u8],
    ) -> Option<Wanted> {
        draft.attributes += 1;
        if draft.attributes > self.rules.max_attributes {
            return None;
        }
        let peer_rank = draft.peer.wants(name);
        let selected = self.span.wants(&self.rules.span, name);
        (peer_rank.is_some() || selected.is_some()).then_some(Wanted { peer_rank, selected })
    }

    /// Takes notice of a span attribute that was wanted.
    pub(super) fn span_attribute<'a>(
        &mut self,
        draft: &mut SpanDraft<'a>,
        wanted: Wanted,
        value: AttributeValue<'a>,
    ) {
        if let Some(rank) = wanted.peer_rank {
            draft.peer.offer(rank, &value);
        }
        if let Some(name) = wanted.selected {
            self.span.offer(name, value, &mut self.cache, &self.names);
        }
    }

    /// Ends a span: checks it and hands it on. Says whether it was valid.
    pub(super) fn end_span(
        &mut self,
        resource: ResourceRef,
        ids: RawIds<'_>,
        draft: &SpanDraft<'_>,
        sink: &mut impl SpanSink,
    ) -> bool {
        if draft.attributes > self.rules.max_attributes {
            sink.skipped_attributes(draft.attributes - self.rules.max_attributes);
        }
        let attrs = if self.span.is_empty() {
            resource.attrs
        } else {
            self.span.intern_with(self.resource.pairs(), &self.names)
        };
        let peer = draft.peer.of(draft.kind);
        let parts = SpanParts {
            trace_id: ids.trace,
            span_id: ids.span,
            parent_span_id: ids.parent,
            start: draft.start,
            end: draft.end,
            key: self.cache.key(&self.names, resource, &draft.name, draft.kind),
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
