//! The runtime: what drives the engine, from the wire or from a recording.

pub mod books;
pub mod budget;
pub mod clock;
pub mod intake;
pub mod net;
pub mod pipeline;
pub mod replay;
pub mod server;
mod status;
