//! Connections: how they are accepted, kept within bounds, and ended.
//!
//! One accept loop and one policy, used by all three listeners. tonic's and axum's own servers accept
//! without a limit, wait for ever for a peer that says nothing, and spin when descriptors run out;
//! here hyper is driven directly, under their routes. What a request means is not known here.
//!
//! ```text
//! accept ─► census (total, per peer) ─► secured (TLS) ─► establish (which protocol) ─► hyper ─► routes
//!               │ refused, counted          └── phase (quiet, head, busy), each with its deadline ──┘
//! ```

mod accept;
mod census;
mod connection;
mod counts;
mod descriptors;
mod establish;
mod limits;
mod phase;
mod secured;
mod stream;

pub use limits::ConnectionLimits;

pub(super) use accept::serve;
pub(super) use connection::Listener;
pub(super) use descriptors::raise as raise_descriptor_limit;

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod tests;
