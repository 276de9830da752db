//! Everything that is tested from the outside, in one binary: one module for each subject.
//!
//! What a single file of `src` promises is tested beside it, not here.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends by a panic

mod compare;
mod config;
mod house;
mod laws;
mod poison;
mod promises;
mod scenarios;
mod state;
mod strangers;
