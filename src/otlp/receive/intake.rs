//! What becomes of a request, whatever the protocol: counted, permitted, decoded, handed over.
//!
//! The order matters. What a request would cost is counted on the wire first; the permit for it is
//! taken before anything is built; then the spans are decoded and handed over, all or nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{Interner, Nanos, SpanRecord};
use crate::otlp::{AttributeRules, Batch, CostLimits, DecodeError, Decoder, Defects, wire};

/// By which protocol a request came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
}

/// There is no room now; the sender may come again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("busy; send it again later")]
pub struct Overloaded;

/// Who takes the spans: implemented by the runtime.
pub trait Intake: Send + Sync + 'static {
    /// Room for a request's bytes and spans; given back when dropped.
    type Permit: Send;

    /// The names that decoded spans refer to.
    fn names(&self) -> &Arc<Interner>;

    /// Takes room for a request that is about to be decoded, or none.
    ///
    /// # Errors
    /// [`Overloaded`] if there is none.
    fn reserve(&self, bytes: u64) -> Result<Self::Permit, Overloaded>;

    /// Takes the spans of a request, all or nothing. They are accepted from here on.
    ///
    /// # Errors
    /// [`Overloaded`] if the analysis has stopped.
    fn offer(
        &self,
        transport: Transport,
        spans: Vec<SpanRecord>,
        permit: Self::Permit,
    ) -> Result<(), Overloaded>;

    /// Spans were refused, for one of [`REFUSALS`].
    fn refused(&self, transport: Transport, reason: &'static str, spans: u64);

    /// A request failed, for one of [`FAILURES`].
    fn failed(&self, transport: Transport, reason: &'static str);
}

/// Reasons for which spans are refused.
pub const REFUSALS: [&str; 5] = [
    "end_before_start",
    "invalid_parent_span_id",
    "invalid_span_id",
    "invalid_trace_id",
    "overloaded",
];

/// Reasons for which a whole request fails.
pub const FAILURES: [&str; 5] =
    ["bad_data", "overloaded", "too_large", "unsupported_encoding", "unsupported_media_type"];

/// Bounds of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, before and after decompression.
    pub bytes: usize,
    /// Spans, counted before anything is built.
    pub spans: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 16 << 20, spans: 100_000 }
    }
}

impl Limits {
    fn cost(&self) -> CostLimits {
        /// Attributes, events, links and their like: what an SDK's default limits allow a span is
        /// 128 of each, what spans really have is a dozen.
        const ELEMENTS_PER_SPAN: usize = 64;
        CostLimits { spans: self.spans, elements: self.spans.saturating_mul(ELEMENTS_PER_SPAN) }
    }
}

/// How the message is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encoding {
    /// Protobuf.
    Protobuf,
    /// OTLP/JSON.
    Json,
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The sender's fault; of no use to send it again.
    #[error("{0}")]
    Bad(DecodeError),
    /// Beyond the limits; of no use to send it again in one piece.
    #[error("{0}; send smaller batches")]
    TooLarge(DecodeError),
    /// No room now.
    #[error("busy; send it again in {} ms", retry_after.0 / 1_000_000)]
    Overloaded {
        /// When.
        retry_after: Nanos,
    },
}

/// The common part of both receivers.
pub struct Desk<I: Intake> {
    intake: Arc<I>,
    rules: Arc<AttributeRules>,
    pub(super) limits: Limits,
    /// Idle decoders; each remembers the names it has met. One lock per request.
    decoders: Mutex<Vec<Decoder>>,
    refusals: AtomicU64,
}

impl<I: Intake> Desk<I> {
    /// Decoders that are kept while idle: more would only be of use to more cores.
    const MAX_IDLE_DECODERS: usize = 64;

    /// A desk in front of `intake`.
    pub fn new(intake: Arc<I>, rules: Arc<AttributeRules>, limits: Limits) -> Arc<Desk<I>> {
        let decoders = Mutex::new(Vec::new());
        Arc::new(Desk { intake, rules, limits, decoders, refusals: AtomicU64::new(0) })
    }

    /// Takes a request in and tells which of its spans were rejected.
    pub(super) fn accept(
        &self,
        transport: Transport,
        encoding: Encoding,
        message: &[u8],
    ) -> Result<Defects, Refusal> {
        let result = self.decode_and_offer(transport, encoding, message);
        let reason = match &result {
            Ok(defects) => {
                for (defect, spans) in defects.iter() {
                    self.intake.refused(transport, defect.reason(), spans);
                }
                return result;
            }
            Err(Refusal::Bad(_)) => "bad_data",
            Err(Refusal::TooLarge(_)) => "too_large",
            Err(Refusal::Overloaded { .. }) => "overloaded",
        };
        self.intake.failed(transport, reason);
        result
    }

    /// Counts a request that failed before it was a message.
    pub(super) fn failed(&self, transport: Transport, reason: &'static str) {
        self.intake.failed(transport, reason);
    }

    fn decode_and_offer(
        &self,
        transport: Transport,
        encoding: Encoding,
        message: &[u8],
    ) -> Result<Defects, Refusal> {
        let limits = self.limits.cost();
        let mut batch = Batch::default();
        let permit = match encoding {
            Encoding::Protobuf => {
                let checked =
                    wire::count(message, &limits).map_err(|error| refuse(error.into()))?;
                let spans = checked.cost.spans;
                let permit = self.reserve(transport, message.len(), spans)?;
                batch.spans.reserve_exact(spans);
                self.with_decoder(|decoder| decoder.protobuf(&checked, &mut batch))
                    .map_err(|error| refuse(error.into()))?;
                permit
            }
            Encoding::Json => {
                // JSON has no cheap count; a span takes at least this many bytes of it.
                const LEAST_SPAN_BYTES: usize = 100;
                let spans = (message.len() / LEAST_SPAN_BYTES).min(limits.spans);
                let permit = self.reserve(transport, message.len(), spans)?;
                self.with_decoder(|decoder| decoder.json(message, &limits, &mut batch))
                    .map_err(|error| refuse(error.into()))?;
                permit
            }
        };
        if !batch.spans.is_empty() {
            let spans = batch.spans.len();
            self.intake
                .offer(transport, batch.spans, permit)
                .map_err(|Overloaded| self.overloaded(transport, spans))?;
        }
        Ok(batch.defects)
    }

    fn reserve(
        &self,
        transport: Transport,
        bytes: usize,
        spans: usize,
    ) -> Result<I::Permit, Refusal> {
        let decoded = spans.saturating_mul(size_of::<SpanRecord>());
        let permit = self.intake.reserve(bytes.saturating_add(decoded) as u64);
        permit.map_err(|Overloaded| self.overloaded(transport, spans))
    }

    /// Senders that were refused together must not come back together.
    fn overloaded(&self, transport: Transport, spans: usize) -> Refusal {
        self.intake.refused(transport, "overloaded", spans as u64);
        let turn = self.refusals.fetch_add(1, Ordering::Relaxed);
        // The golden ratio spreads any run of turns evenly over the span.
        let spread = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let jitter = Nanos::from_millis(spread % 2_000);
        Refusal::Overloaded { retry_after: Nanos::from_secs(1) + jitter }
    }

    fn with_decoder<T>(&self, work: impl FnOnce(&mut Decoder) -> T) -> T {
        let idle = || self.decoders.lock().unwrap_or_else(PoisonError::into_inner);
        let known = idle().pop();
        let mut decoder = known.unwrap_or_else(|| {
            Decoder::new(Arc::clone(self.intake.names()), Arc::clone(&self.rules))
        });
        let result = work(&mut decoder);
        let mut idle = idle();
        if idle.len() < Desk::<I>::MAX_IDLE_DECODERS {
            idle.push(decoder);
        }
        result
    }
}

fn refuse(error: DecodeError) -> Refusal {
    if error.is_too_large() { Refusal::TooLarge(error) } else { Refusal::Bad(error) }
}

/// What a partially accepted request is told.
pub(super) fn rejection(defects: &Defects) -> Option<String> {
    (defects.total() > 0).then(|| format!("rejected: {defects}"))
}
