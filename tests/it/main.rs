//! Everything that is tested from the outside, in one binary: one module for each subject.
//!
//! What a single file of `src` promises is tested beside it, not here.

mod config;
mod house;
