//! A simulated system of services that sends spans and knows the truth about them.
//!
//! [`Topology`] says who calls whom and how long each piece of work takes, [`Traffic`] when requests
//! come, [`Fault`] what goes wrong and when, [`Delivery`] how spans reach a receiver. A [`Scenario`]
//! puts them together and runs them in event time: no clock, no IO, no threads, and the same bytes
//! for the same seed on every platform. Each fault reports its own [`Truth`].
//!
//! It exists so that `demo` has something to show and tests have something to be right about. For the
//! latter it shares no code with the engine: of the crate it knows only the words of `model`. It
//! does not simulate queues or thread pools: a service's own work does not depend on how busy it is.

mod delivery;
mod effects;
mod fault;
mod random;
mod random_topology;
mod request;
mod scenario;
mod shop;
mod span;
mod topology;
mod traffic;
#[cfg(test)]
mod truth_tests;
mod work;

pub use delivery::{Batch, Batches, Delivered, Delivery};
pub use fault::{Blame, Fault, FaultDefect, Slowdown, Truth, What};
pub use random::Random;
pub use random_topology::random_topology;
pub use scenario::{Scenario, Traces};
pub use shop::shop;
pub use span::{Attributes, Resource, SimSpan, to_records};
pub use topology::{
    BackendId, Call, Consumer, OperationId, Patience, ServiceId, Step, Target, Topology,
};
pub use traffic::{MixChange, Shape, Trace, Traffic};
pub use work::Work;
