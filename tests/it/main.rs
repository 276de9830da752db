//! Everything that is tested from the outside, in one binary: one module for each subject.
//!
//! What a single file of `src` promises is tested beside it, not here.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends by a panic

mod compare;
mod config;
mod house;
mod laboratory;
mod laws;
mod poison;
mod promises;
mod proto;
mod scenarios;
mod seeds;
mod state;
mod strangers;
mod transport;

// The simulator of `tests/lab`, so that what it is trusted with is tested with everything else.
#[allow(dead_code)]
#[path = "../lab/sim/mod.rs"]
mod sim;

// One world for these tests, the example `months` and the fuzz target `engine`.
#[path = "../world/mod.rs"]
mod world;
