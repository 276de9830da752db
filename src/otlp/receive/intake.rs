//! What the receivers need of the runtime, and what they tell it.

use std::sync::Arc;

use crate::model::{Interner, Nanos, SpanRecord};

/// The runtime as the receivers see it. All calls are short and block nobody.
///
/// A request goes through `reserve`, decoding, and `offer`. The permit that `reserve` gives stands for the
/// memory of the request; it travels with the spans and is dropped when they have been taken in, so what is
/// on its way is bounded by bytes, not by requests.
pub trait Intake: Send + Sync + 'static {
    /// Gives back what was reserved when it is dropped.
    type Permit: Send + 'static;

    /// The names that all decoders share.
    fn names(&self) -> &Arc<Interner>;

    /// Room for a request of that many spans and decompressed bytes, before anything is built from it.
    fn reserve(&self, spans: usize, wire_bytes: usize) -> Result<Self::Permit, Overloaded>;

    /// Takes all spans or none. The intake counts the taken ones as accepted by `transport` itself, so that
    /// its books agree at every moment; the refused ones are counted by the receiver.
    fn offer(
        &self,
        transport: Transport,
        spans: Vec<SpanRecord>,
        permit: Self::Permit,
    ) -> Result<(), Overloaded>;

    /// `count` spans were refused: [`OVERLOAD`], which the sender may retry, or the reason of a
    /// [`SpanDefect`](crate::model::SpanDefect), which it may not.
    fn refused(&self, transport: Transport, reason: &'static str, count: u64);

    /// A request failed as a whole.
    fn failed(&self, transport: Transport, failure: Failure);

    /// Attributes were not looked at because their span or resource had too many.
    fn skipped_attributes(&self, count: u64);
}

/// The reason under which spans of an overloaded moment are counted.
pub const OVERLOAD: &str = "overload";

/// No room at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded {
    /// When it is worth coming back, at the earliest.
    pub retry_after: Nanos,
}

/// The way a request came: the values of the `transport` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    HttpProtobuf,
    /// OTLP/HTTP with JSON.
    HttpJson,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 3] = [Transport::Grpc, Transport::HttpProtobuf, Transport::HttpJson];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Grpc => "grpc",
            Transport::HttpProtobuf => "http_protobuf",
            Transport::HttpJson => "http_json",
        }
    }
}

/// Why a request failed as a whole: the values of the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// The bytes are not what they are said to be.
    BadData,
    /// Too many bytes, spans or elements.
    TooLarge,
    /// A compression that is not spoken here.
    UnsupportedEncoding,
    /// Neither protobuf nor JSON.
    UnsupportedMediaType,
    /// No room at the moment.
    Overloaded,
    /// The sender went away or let its deadline pass.
    Aborted,
}

impl Failure {
    /// All of them.
    pub const ALL: [Failure; 6] = [
        Failure::BadData,
        Failure::TooLarge,
        Failure::UnsupportedEncoding,
        Failure::UnsupportedMediaType,
        Failure::Overloaded,
        Failure::Aborted,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::BadData => "bad_data",
            Failure::TooLarge => "too_large",
            Failure::UnsupportedEncoding => "unsupported_encoding",
            Failure::UnsupportedMediaType => "unsupported_media_type",
            Failure::Overloaded => "overloaded",
            Failure::Aborted => "aborted",
        }
    }
}
