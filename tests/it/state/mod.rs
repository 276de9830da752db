//! State that survives: saving stopped at every step, on disks that fail in every way a disk fails;
//! lives one after the other; the files of every version written so far.

mod golden;
mod lives;
mod saving;
