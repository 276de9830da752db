//! Sequences of everything that can happen to the whole of it: spans, ticks, scrapes, clocks, snapshots on
//! broken disks, kills and restarts, in the order that coverage chooses; the laws are the oracle.
#![no_main]

#[path = "../../world/mod.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use world::choice::Bytes;
use world::{Setup, World, steps};

/// What bytes beyond this many steps say is not worth the time.
const MOST: usize = 80;

fuzz_target!(|bytes: &[u8]| {
    let mut choice = Bytes(bytes);
    let mut world = World::new(Setup::tight(0));
    for _ in 0..MOST {
        if choice.is_empty() {
            break;
        }
        steps::step(&mut world, &mut choice);
    }
});
