//! The judge's memory as bytes and back: everything it has learned, so that a restart costs nothing.
//!
//! ```text
//! save: Judge ─► records, each with its length in front ─► any writer
//! load: any reader ─► records, none of them believed ─► Judge ─► resume (what a time without a process means)
//! ```
//!
//! Saved: the call graph with its baselines, ages and recent slices, what is hot, the open incident, the
//! closed ones, how many there were. Not saved: spans on their way, slices handed in and not yet judged,
//! counters of published series (a counter that begins again is what Prometheus expects of a restart), and
//! what people look at: the course of time, traces, what an incident rests on. That of an open incident is
//! gathered anew with the next slice.
//! Names travel as text: the numbers of one process mean nothing to the next. What is left out after a
//! while: whatever was idle for [`KEEP_IDLE`], so that names that somebody made up do not come back for
//! ever.
//!
//! # To add a field
//!
//! 1. Give it a tag of its own in `records.rs`. Never reuse one; old files lack it and read as zero, as
//!    `None`, as empty: choose a field for which that means "was not known".
//! 2. Write it in `save.rs`. What is saved is taken apart there field by field without `..`, so a new
//!    field of `Node`, `Age`, `Rolling` or their like does not compile until it was decided whether to
//!    save it, to work it out again, or to leave it.
//! 3. Read it in `load.rs`, bounded: whatever is read may be anything.
//! 4. A value in a [`Tape`](super::tape::Tape) (`Calls`, `PathSum` and their like): append to its
//!    `Packed::write` and `read`; beyond the end of an old one everything is zero.
//! 5. `cargo test --test it state::golden` reads the files of every version written so far; with
//!    `BLESS=1` it adds one of this version under `tests/fixtures/snapshot/`. The version of the container
//!    (`live/snapshot/image.rs`) changes only if an old release could not bear the new file.

mod incidents;
mod load;
mod rebuild;
mod records;
mod resume;
mod save;

use std::io::{Read, Write};

use super::judge::Judge;
use super::params::EngineParams;
use crate::model::{Interner, Nanos, Timestamp};

/// What has been idle for longer is not saved. Jobs that run once a day are remembered.
pub const KEEP_IDLE: Nanos = Nanos::from_secs(48 * 3600);

/// Why a content is of no use.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not what [`save`] writes.
    #[error("it makes no sense: {0}")]
    Malformed(&'static str),
    /// Its figures are counted in slices or eras of another length.
    #[error("its figures are counted in other units of time")]
    OtherUnits,
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What became of a judge's memory.
pub struct Restored {
    /// The judge that goes on.
    pub judge: Judge,
    /// Whether its baselines were young enough to go on with.
    pub baselines: bool,
}

/// Writes everything the judge has learned.
///
/// # Errors
/// Those of `out`.
pub fn save(judge: &Judge, names: &Interner, out: &mut dyn Write) -> std::io::Result<()> {
    save::save(judge, names, out)
}

/// Reads what [`save`] wrote at `saved_at`, for a process that begins at `now`.
///
/// # Errors
/// [`LoadError`]; nothing is left behind but names.
pub fn load(
    params: EngineParams,
    names: &Interner,
    from: &mut dyn Read,
    saved_at: Timestamp,
    now: Timestamp,
) -> Result<Restored, LoadError> {
    let judge = load::load(params, names, from)?;
    Ok(resume::resume(judge, names, saved_at, now))
}
