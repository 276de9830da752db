//! The domain core: spans in, verdicts out. Pure: no clock, no IO, no threads.

pub mod critical_path;
pub mod histogram;
pub mod params;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod verdict;
