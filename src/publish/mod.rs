//! What leaves the program: metrics, JSON, the page, log events, reports for people.
//!
//! Everything here is a function of plain output ([`crate::engine::verdict`], [`crate::compare::verdict`])
//! and of one ledger of the process's own numbers. Nothing here decides who is guilty, reads the clock or keeps
//! state of the engine; names come from strangers and are escaped where they leave.

pub mod admin;
pub mod api;
pub mod client;
pub mod client_text;
pub mod comparison;
pub mod exposition;
pub mod ledger;
pub mod log;
pub mod metrics_page;
pub mod process;
pub mod report;
pub mod sentence;
pub mod shapes;
pub mod terminal;

mod fold;
mod impact;
mod kafka_metrics;
mod negotiate;
mod page;
mod process_metrics;
mod single_flight;
mod suspects;
mod text_format;
mod words;

#[cfg(test)]
mod testing;

pub use text_format::Format;
