//! OTLP over the network: what arrives by gRPC or HTTP, or is read from Kafka, is decoded, offered to the runtime, and answered.
//!
//! [`Receiver`] makes a router for each transport; binding, serving, TLS and shutdown belong to the runtime,
//! which is behind the [`Intake`] trait and decides how much memory requests may take. All or nothing: a request is taken with all its
//! valid spans or refused as a whole, and the answer says which.

mod body;
mod collect;
mod grpc;
mod http;
mod intake;
pub mod kafka;
mod pool;
mod refusal;
mod retry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use tokio::sync::Semaphore;

pub use intake::{Failure, Intake, OVERLOAD, Overloaded, Permit, Transport};
pub use retry::jittered;

use super::attributes::AttributeRules;
use super::decoder::DecodeError;
use super::sink::{Batch, Defects};
use super::wire::{self, CostLimits};
use crate::model::{Nanos, SpanRecord};
use body::Encoding;
use pool::DecoderPool;
use refusal::Refusal;

/// The service's full name, for health checks.
pub const SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";

/// How large a request may be, and how long it may take to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveLimits {
    /// Largest body, before and after decompression, in bytes.
    pub message_bytes: usize,
    /// Most spans and elements.
    pub cost: CostLimits,
    /// Longest from the head of a request to the end of its body.
    pub body: Nanos,
}

impl Default for ReceiveLimits {
    fn default() -> ReceiveLimits {
        ReceiveLimits {
            message_bytes: 16 * 1024 * 1024,
            cost: CostLimits::default(),
            body: Nanos::from_secs(10),
        }
    }
}

/// The part of a receiver that all transports share.
pub struct Receiver<I> {
    intake: Arc<I>,
    decoders: DecoderPool,
    limits: ReceiveLimits,
    /// Refusals so far: what the jitter of their retry delays is made of.
    refusals: AtomicU64,
    /// Turns for requests that take long to decode: as many as there are CPUs.
    heavy: Semaphore,
}

/// What a decoded span takes: once as it comes out of the decoder, once as it goes to its shard.
pub const DECODED_SPAN: u64 = 2 * size_of::<SpanRecord>() as u64;

/// A message of this size is decoded within a millisecond or two, so it need not leave the thread that serves
/// connections; larger ones must, or a few of them would hold up everyone else's.
const LIGHT: usize = 1 << 20;

/// A compressed body of this size is usually that light; whether it is, is found out.
const LIGHT_COMPRESSED: usize = 64 << 10;

impl<I: Intake> Receiver<I> {
    /// A receiver that hands everything to `intake`.
    pub fn new(
        intake: Arc<I>,
        rules: Arc<AttributeRules>,
        limits: ReceiveLimits,
    ) -> Arc<Receiver<I>> {
        let decoders = DecoderPool::new(Arc::clone(intake.names()), rules);
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let heavy = Semaphore::new(cpus);
        Arc::new(Receiver { intake, decoders, limits, refusals: AtomicU64::new(0), heavy })
    }

    /// The routes of OTLP/gRPC.
    pub fn grpc(self: &Arc<Self>) -> Router {
        grpc::router(Arc::clone(self))
    }

    /// The routes of OTLP/HTTP.
    pub fn http(self: &Arc<Self>) -> Router {
        http::router(Arc::clone(self))
    }

    fn body_deadline(&self) -> Duration {
        Duration::from_nanos(self.limits.body.0)
    }

    /// Takes a complete body; says how many of its spans were rejected, and why.
    async fn digest(
        self: &Arc<Self>,
        transport: Transport,
        encoding: Encoding,
        sent: Bytes,
        mut permit: I::Permit,
    ) -> Result<Defects, Refusal> {
        permit.complete();
        let limit = self.limits.message_bytes;
        if encoding == Encoding::Identity && sent.len() <= LIGHT {
            return self.take(transport, &sent, permit);
        }
        if encoding != Encoding::Identity && sent.len() <= LIGHT_COMPRESSED {
            let light = limit.min(LIGHT);
            match body::inflate(sent.clone(), encoding, light, &mut |bytes| permit.grow(bytes)) {
                Ok(message) => return self.take(transport, &message, permit),
                // A light body that turns out to be none begins again where it holds nobody up.
                Err(Refusal::TooLarge { .. }) if light < limit => permit.shrink(sent.len()),
                Err(refusal) => return Err(refusal),
            }
        }
        let _turn = self.heavy.acquire().await;
        let receiver = Arc::clone(self);
        let work = move || {
            let message = body::inflate(sent, encoding, limit, &mut |bytes| permit.grow(bytes))?;
            receiver.take(transport, &message, permit)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(taken) => taken,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is gone.
                Err(_) => Err(Refusal::Aborted),
            },
        }
    }

    /// Takes a decompressed message, all of it or nothing.
    fn take(
        &self,
        transport: Transport,
        message: &[u8],
        mut permit: I::Permit,
    ) -> Result<Defects, Refusal> {
        let batch = match transport {
            Transport::Grpc | Transport::HttpProtobuf => {
                self.protobuf(transport, message, &mut permit)?
            }
            Transport::HttpJson => self.json(transport, message, &mut permit)?,
            // A byte that begins no field of a message.
            Transport::Kafka if message.trim_ascii_start().starts_with(b"{") => {
                self.json(transport, message, &mut permit)?
            }
            Transport::Kafka => self.protobuf(transport, message, &mut permit)?,
        };
        for (defect, count) in batch.defects.iter() {
            self.intake.refused(transport, defect.reason(), count);
        }
        self.intake.skipped_attributes(batch.skipped_attributes);
        let spans = batch.spans.len();
        if spans > 0 {
            // The body is done with as soon as this returns.
            permit.shrink(decoded(spans));
            let offered = self.intake.offer(transport, batch.spans, permit);
            offered.map_err(|overloaded| self.overloaded(transport, spans, overloaded))?;
        }
        Ok(batch.defects)
    }

    fn protobuf(
        &self,
        transport: Transport,
        message: &[u8],
        permit: &mut I::Permit,
    ) -> Result<Batch, Refusal> {
        let checked = wire::count(message, &self.limits.cost).map_err(DecodeError::from)?;
        self.reserve(transport, checked.cost.spans, permit)?;
        let mut batch = Batch::with_capacity(checked.cost.spans);
        let decode = |decoder: &mut super::Decoder| decoder.protobuf(&checked, &mut batch);
        self.decoders.with(decode).map_err(DecodeError::from)?;
        Ok(batch)
    }

    fn json(
        &self,
        transport: Transport,
        text: &[u8],
        permit: &mut I::Permit,
    ) -> Result<Batch, Refusal> {
        let expected = span_ids(text).min(self.limits.cost.spans);
        self.reserve(transport, expected, permit)?;
        let mut batch = Batch::default();
        let decode =
            |decoder: &mut super::Decoder| decoder.json(text, &self.limits.cost, &mut batch);
        self.decoders.with(decode).map_err(DecodeError::otlp_json)?;
        // Only who writes `"spanId"` with escapes has more.
        self.reserve(transport, batch.spans.len().saturating_sub(expected), permit)?;
        Ok(batch)
    }

    fn reserve(
        &self,
        transport: Transport,
        spans: usize,
        permit: &mut I::Permit,
    ) -> Result<(), Refusal> {
        let grown = permit.grow(decoded(spans));
        grown.map_err(|overloaded| self.overloaded(transport, spans, overloaded))
    }

    fn overloaded(&self, transport: Transport, spans: usize, overloaded: Overloaded) -> Refusal {
        // What was read from Kafka is not sent away: it waits, and is offered again.
        if transport != Transport::Kafka {
            self.intake.refused(transport, OVERLOAD, spans as u64);
        }
        overloaded.into()
    }

    /// Counts a refusal, once for each request that has one, and spreads the time of coming back.
    fn refuse(&self, transport: Transport, refusal: Refusal) -> Refusal {
        self.intake.failed(transport, refusal.failure());
        match refusal {
            Refusal::Overloaded { retry_after } => {
                let number = self.refusals.fetch_add(1, Ordering::Relaxed);
                Refusal::Overloaded { retry_after: jittered(retry_after, number) }
            }
            other => other,
        }
    }
}

fn decoded(spans: usize) -> usize {
    let bytes = (spans as u64).saturating_mul(DECODED_SPAN);
    usize::try_from(bytes).unwrap_or(usize::MAX)
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
