//! The only room that knows wire types: what comes in as OTLP (or an older format) leaves as spans.
//!
//! ```text
//! bytes ─► wire (protobuf) ─┐
//! text  ─► json ────────────┼─► Decoder ─► SpanParts::check ─► SpanSink
//! files ─► file ────────────┘
//! ```
//! `wire` and `json` walk a message and build nothing but spans; [`receive`] puts them behind gRPC and
//! HTTP; [`mod@file`] reads recordings; [`send`] is the other direction, for the demo and for tests.
//! Nothing here knows of traces, baselines, shards or clocks.

mod attributes;
mod decoder;
pub mod file;
mod json;
pub mod receive;
pub mod send;
mod sink;
#[cfg(test)]
mod testing;
mod wire;

pub use attributes::{AttributeRules, Interest};
pub use decoder::{DecodeError, Decoder};
pub use json::JsonError;
pub use sink::{Batch, Defects, SpanSink};
pub use wire::{Cost, CostLimits, Counted, WireError, count};
