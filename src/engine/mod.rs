//! The domain core: spans in, verdicts out. Pure: no clock, no IO, no threads.

pub mod account;
pub mod aggregate;
mod analyze;
pub mod assemble;
pub mod critical_path;
pub mod histogram;
pub mod params;
pub mod rolling;
pub mod shard;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod verdict;
