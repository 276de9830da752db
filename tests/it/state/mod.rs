//! State that survives: saving stopped at every step, on disks that fail in every way a disk fails.

#[path = "../../world/disk.rs"]
mod disk;
mod saving;
