//! What strangers send, in sizes and shapes that nobody would choose: it costs them, not their neighbours.
//!
//! The parsers' own limits are tested beside them and fuzzed; here it is the engine that has to bear what
//! the parsers let through.

mod names;
mod rotating;
mod spans;
