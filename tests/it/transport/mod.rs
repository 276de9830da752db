//! The server as its neighbours meet it: over real sockets of this machine, and as a process.
//!
//! Deadlines and limits of connections are tested in virtual time beside the code (`src/live/net`); here
//! is what only the whole has. Waiting is for events, never for time.

mod process;
mod secured;
