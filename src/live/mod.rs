//! The runtime: what drives the engine, from the wire or from a recording.

pub mod access;
pub mod books;
pub mod budget;
mod cgroup;
pub mod clock;
pub mod evidence;
pub mod intake;
pub mod kafka;
mod lanes;
pub mod log_lines;
pub mod marks;
mod memory;
pub mod net;
pub mod panics;
pub mod pipeline;
pub mod replay;
pub mod server;
pub mod sides;
pub mod simulated;
pub mod snapshot;
mod status;
mod supervisor;
