//! The domain core: spans in, verdicts out. Pure: no clock, no IO, no threads.
//!
//! A span comes into a [`Shard`](shard::Shard), which assembles its trace, builds the
//! [tree], prices it by self-time and [critical path](critical_path::Costs) and adds it to the
//! [sums](aggregate) of a slice. The [`Judge`](judge::Judge) merges the sums of all shards into a
//! history, finds what is hot, takes the excess apart and says whose it is: a
//! [`verdict`]. [`Engine`] is all of it in one thread, for replay and tests.

pub mod account;
mod age;
pub mod aggregate;
mod analyze;
pub mod assemble;
mod attribute;
pub mod cohort;
mod confidence;
pub mod critical_path;
mod decompose;
mod detail;
mod detect;
pub mod dissect;
pub mod evidence;
mod extra_calls;
mod failures;
mod felt;
mod forget;
mod gaps;
mod gather;
mod graph;
pub mod histogram;
mod history;
mod impact;
pub mod judge;
mod lasting;
mod node;
mod numbering;
mod operations;
mod overlap;
pub mod params;
mod pools;
mod report;
pub mod reservoir;
mod roles;
pub mod rolling;
pub mod sampler;
pub mod segments;
pub mod shard;
mod single;
mod slices;
pub mod snapshot;
mod spread;
mod statistics;
mod tally;
mod tape;
#[cfg(test)]
mod testing;
mod timeline;
pub mod tree;
pub mod verdict;

pub use params::EngineParams;
pub use single::{Engine, shard_of};
