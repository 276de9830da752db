//! What the receivers need of the runtime, and what they tell it.

use std::sync::Arc;

use crate::model::{Interner, Nanos, SpanRecord};

/// The runtime as the receivers see it. All calls are short and block nobody.
///
/// A request goes through `admit`, reading, decoding, and `offer`. The permit that `admit` gives stands for
/// the memory of the request and grows with it, always before the memory is used; it travels with the spans
/// and is dropped when they have been taken in. So what is on its way is bounded by bytes, not by requests.
pub trait Intake: Send + Sync + 'static {
    /// Gives back what was taken when it is dropped.
    type Permit: Permit;

    /// The names that all decoders share.
    fn names(&self) -> &Arc<Interner>;

    /// A request is about to be read. `extensions` are those of the request, where the runtime finds what it
    /// has put there of the connection.
    fn admit(&self, extensions: &http::Extensions) -> Result<Self::Permit, Overloaded>;

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

/// The right to so much memory.
pub trait Permit: Send + 'static {
    /// So many bytes more, of a body that is not complete yet.
    fn receive(&mut self, bytes: usize) -> Result<(), Overloaded>;

    /// The body is complete.
    fn complete(&mut self);

    /// So many bytes more, for what is made of the body.
    fn grow(&mut self, bytes: usize) -> Result<(), Overloaded>;

    /// Gives back all but `bytes`.
    fn shrink(&mut self, bytes: usize);
}

/// The reason under which spans and requests of an overloaded moment are counted.
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
    /// Messages read from Kafka, protobuf or JSON.
    Kafka,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 4] =
        [Transport::Grpc, Transport::HttpProtobuf, Transport::HttpJson, Transport::Kafka];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Grpc => "grpc",
            Transport::HttpProtobuf => "http_protobuf",
            Transport::HttpJson => "http_json",
            Transport::Kafka => "kafka",
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
    /// The sender went away.
    Aborted,
    /// The body was not complete in time.
    TimedOut,
}

impl Failure {
    /// All of them.
    pub const ALL: [Failure; 7] = [
        Failure::BadData,
        Failure::TooLarge,
        Failure::UnsupportedEncoding,
        Failure::UnsupportedMediaType,
        Failure::Overloaded,
        Failure::Aborted,
        Failure::TimedOut,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::BadData => "bad_data",
            Failure::TooLarge => "too_large",
            Failure::UnsupportedEncoding => "unsupported_encoding",
            Failure::UnsupportedMediaType => "unsupported_media_type",
            Failure::Overloaded => OVERLOAD,
            Failure::Aborted => "aborted",
            Failure::TimedOut => "timed_out",
        }
    }
}
