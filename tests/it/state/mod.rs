//! State that survives: saving stopped at every step, on disks that fail in every way a disk fails.

mod disk;
mod saving;
