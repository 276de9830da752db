//! What leaves the program: metrics, JSON, the page, log events, reports for people.
//!
//! Everything here is a function of the engine's plain output ([`crate::engine::verdict`]) and of one
//! ledger of the process's own numbers. Nothing here decides who is guilty, reads the clock or keeps
//! state of the engine; names come from strangers and are escaped where they leave.

pub mod exposition;
pub mod ledger;
pub mod metrics_page;

mod fold;
mod negotiate;
mod process;
mod process_metrics;
mod suspects;
mod text_format;

#[cfg(test)]
mod testing;

pub use text_format::Format;
