//! Where a world's decisions come from: a seed, or the bytes of a fuzzer.

use laghound::sim::Random;

/// Makes decisions.
pub trait Choice {
    /// A number below `count`.
    fn below(&mut self, count: u32) -> u32;

    /// Whether something of this chance happens, in thousandths.
    fn happens(&mut self, thousandths: u32) -> bool {
        self.below(1000) < thousandths
    }

    /// One of a list.
    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(u32::try_from(list.len()).unwrap_or(u32::MAX)) as usize]
    }
}

impl Choice for Random {
    fn below(&mut self, count: u32) -> u32 {
        self.between(0, count.max(1) - 1)
    }
}

/// Decisions read off bytes; all zero once they are used up.
pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    /// Nothing is left to decide by.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Choice for Bytes<'_> {
    fn below(&mut self, count: u32) -> u32 {
        // As many bytes as the number needs, so that most changes of a byte change one decision.
        let width = match count {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 4,
        };
        let (taken, rest) = self.0.split_at(width.min(self.0.len()));
        self.0 = rest;
        let value = taken.iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        u32::try_from(value % u64::from(count.max(1))).unwrap_or(0)
    }
}
