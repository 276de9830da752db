//! The domain core: spans in, verdicts out. Pure: no clock, no IO, no threads.

pub mod params;
pub mod verdict;
