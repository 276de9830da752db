//! laghound: says which service made requests slow.
#![warn(missing_docs)]

pub mod cli;
pub mod compare;
pub mod config;
pub mod engine;
pub mod live;
pub mod model;
pub mod otlp;
pub mod publish;
pub mod sim;
