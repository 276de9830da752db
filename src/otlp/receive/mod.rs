//! Receivers: OTLP over gRPC and over HTTP.
//!
//! What both do with a request is in [`intake`]; each file here adds how its protocol asks and answers.
//! Binding, serving and shutting down are the runtime's business.

pub mod grpc;
pub mod http;
mod inflate;
pub mod intake;

pub use intake::{Intake, Limits, Overloaded, Transport};
