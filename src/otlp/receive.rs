//! OTLP over the network: what arrives by gRPC or HTTP is decoded, offered to the runtime, and answered.
//!
//! [`Receiver`] makes a tonic service and an axum router; binding, serving, TLS, deadlines and shutdown belong
//! to the runtime, which is behind the [`Intake`] trait. All or nothing: a request is taken with all its
//! valid spans or refused as a whole, and the answer says which.

mod body;
mod grpc;
mod http;
mod intake;
mod pool;
mod retry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use grpc::TraceService;
pub use intake::{Failure, Intake, OVERLOAD, Overloaded, Transport};
pub use retry::jittered;

use super::attributes::AttributeRules;
use super::decoder::DecodeError;
use super::sink::{Batch, Defects};
use super::wire::{self, CostLimits};
use crate::model::Nanos;
use pool::DecoderPool;

/// How large a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveLimits {
    /// Largest body, before and after decompression, in bytes.
    pub message_bytes: usize,
    /// Most spans and elements.
    pub cost: CostLimits,
}

impl Default for ReceiveLimits {
    fn default() -> ReceiveLimits {
        ReceiveLimits { message_bytes: 16 * 1024 * 1024, cost: CostLimits::default() }
    }
}

/// The part of a receiver that all transports share.
pub struct Receiver<I> {
    intake: Arc<I>,
    decoders: DecoderPool,
    limits: ReceiveLimits,
    /// Refusals so far: what the jitter of their retry delays is made of.
    refusals: AtomicU64,
}

/// Why a request is refused as a whole.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    #[error("overloaded; retry later")]
    Overloaded {
        /// Jittered already.
        retry_after: Nanos,
    },
}

impl<I: Intake> Receiver<I> {
    /// A receiver that hands everything to `intake`.
    pub fn new(
        intake: Arc<I>,
        rules: Arc<AttributeRules>,
        limits: ReceiveLimits,
    ) -> Arc<Receiver<I>> {
        let decoders = DecoderPool::new(Arc::clone(intake.names()), rules);
        Arc::new(Receiver { intake, decoders, limits, refusals: AtomicU64::new(0) })
    }

    /// The gRPC service, to be added to a tonic server.
    pub fn grpc(self: &Arc<Self>) -> TraceService<I> {
        TraceService::new(Arc::clone(self))
    }

    /// The HTTP routes.
    pub fn http(self: &Arc<Self>) -> axum::Router {
        http::router(Arc::clone(self))
    }

    /// Takes a decompressed message; says how many of its spans were rejected, and why.
    fn take(&self, transport: Transport, message: &[u8]) -> Result<Defects, Refusal> {
        let (batch, permit) = match transport {
            Transport::Grpc | Transport::HttpProtobuf => self.protobuf(transport, message)?,
            Transport::HttpJson => self.json(transport, message)?,
        };
        for (defect, count) in batch.defects.iter() {
            self.intake.refused(transport, defect.reason(), count);
        }
        self.intake.skipped_attributes(batch.skipped_attributes);
        let spans = batch.spans.len();
        if spans > 0 {
            let offered = self.intake.offer(transport, batch.spans, permit);
            offered.map_err(|overloaded| self.overloaded(transport, spans, overloaded))?;
        }
        Ok(batch.defects)
    }

    fn protobuf(
        &self,
        transport: Transport,
        message: &[u8],
    ) -> Result<(Batch, I::Permit), Refusal> {
        let checked = wire::count(message, &self.limits.cost).map_err(DecodeError::from)?;
        let permit = self.reserve(transport, checked.cost.spans, message.len())?;
        let mut batch = Batch::with_capacity(checked.cost.spans);
        let decode = |decoder: &mut super::Decoder| decoder.protobuf(&checked, &mut batch);
        self.decoders.with(decode).map_err(DecodeError::from)?;
        Ok((batch, permit))
    }

    fn json(&self, transport: Transport, text: &[u8]) -> Result<(Batch, I::Permit), Refusal> {
        let expected = span_ids(text).min(self.limits.cost.spans);
        let mut permit = self.reserve(transport, expected, text.len())?;
        let mut batch = Batch::default();
        let decode =
            |decoder: &mut super::Decoder| decoder.json(text, &self.limits.cost, &mut batch);
        self.decoders.with(decode).map_err(DecodeError::otlp_json)?;
        if batch.spans.len() > expected {
            // Only who writes `"spanId"` with escapes gets here.
            drop(permit);
            permit = self.reserve(transport, batch.spans.len(), text.len())?;
        }
        Ok((batch, permit))
    }

    fn reserve(
        &self,
        transport: Transport,
        spans: usize,
        wire_bytes: usize,
    ) -> Result<I::Permit, Refusal> {
        let permit = self.intake.reserve(spans, wire_bytes);
        permit.map_err(|overloaded| self.overloaded(transport, spans, overloaded))
    }

    fn overloaded(&self, transport: Transport, spans: usize, overloaded: Overloaded) -> Refusal {
        self.intake.refused(transport, OVERLOAD, spans as u64);
        let refusal = self.refusals.fetch_add(1, Ordering::Relaxed);
        Refusal::Overloaded { retry_after: retry::jittered(overloaded.retry_after, refusal) }
    }
}

/// How many spans a JSON text holds at most, by its own word and before it is parsed. Links have span ids
/// too, so this may be too many, which does no harm.
fn span_ids(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'"').filter(|piece| *piece == b"spanId").count()
}

/// What is said of rejected spans, within the answer to the request whose other spans were taken.
fn partial_success(defects: &Defects) -> Option<(i64, String)> {
    let rejected = i64::try_from(defects.total()).unwrap_or(i64::MAX);
    (rejected > 0).then(|| (rejected, format!("rejected spans: {defects}")))
}

#[cfg(test)]
mod tests;
