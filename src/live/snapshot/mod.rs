//! Learned state that outlives the process: one file, saved now and then, restored at the start.
//!
//! The [`image`] is the bytes, the [`store`] puts them in place and gets them back, the [`disk`] is what
//! it needs of a file system, the [`saver`] does it on a thread of its own. What is in an image is
//! `engine::snapshot`'s matter. No failure in here ends the process or holds up a span: it is counted,
//! logged, and tried again.

pub mod disk;
pub mod image;
mod restore;
pub mod saver;
pub mod store;

pub use restore::{Beginning, StateInUse, StateSettings, begin};
