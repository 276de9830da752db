//! Two sides of traces in, the cause of the difference out.
//!
//! One trace against one trace: the two trees are [aligned](align) span by span, and the difference of the
//! requests' durations, which the critical path partitions on both sides, is [shared out](difference) among
//! what the spans did otherwise. Anything larger: the engine's own [comparison of
//! sets](crate::engine::cohort), request by request of the same entry. Trees, critical paths, roles and the
//! judgement of gaps are the engine's in both cases. Nothing here reads files or writes text.

mod advice;
mod align;
mod causes;
mod difference;
mod events;
mod input;
mod pair;
mod population;
mod request;
mod rows;
pub mod verdict;
mod warnings;

pub use input::{Details, Event, Side, SideError};

use verdict::Comparison;

use crate::model::Interner;

/// Says what made the second side slow.
///
/// # Errors
/// [`SideError::Empty`] if a side has no span.
pub fn compare(names: &Interner, baseline: &Side, spiked: &Side) -> Result<Comparison, SideError> {
    match (baseline.only()?, spiked.only()?) {
        (Some(baseline), Some(spiked)) => Ok(pair::compare(names, baseline, spiked)),
        _ => Ok(population::compare(names, baseline, spiked)),
    }
}
