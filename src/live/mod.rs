//! The runtime: what drives the engine, from a recording or from the wire.

pub mod replay;
