//! The conservation laws, and what follows from them, held against traffic that nobody chose.
//!
//! Each file is one law. Inputs are random or simulated, time is passed in, and every expected value
//! is arithmetic on the input or a second computation that shares nothing with the first. What a verdict
//! must say about a given fault is not asked here but in the scenarios.

mod accounting;
mod additivity;
mod arrival;
mod determinism;
mod learning;
mod partition;
mod silence;
pub(crate) mod world;
