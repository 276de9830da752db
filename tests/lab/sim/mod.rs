//! The simulator of the fault laboratory: systems, their load and what goes wrong, and the truth about
//! it. It knows nothing of laghound, not even its types; what it makes are plain spans.

pub(crate) mod build;
pub(crate) mod classes;
pub(crate) mod client;
pub(crate) mod delivery;
pub(crate) mod effect;
pub(crate) mod faults;
pub(crate) mod load;
pub(crate) mod names;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod rand;
pub(crate) mod scenario;
pub(crate) mod topology;
pub(crate) mod truth;
pub(crate) mod world;
