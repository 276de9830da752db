//! Things of one size under small numbers, in chunks: what the open traces of a shard are kept in.
//!
//! Growing never moves what is there, so there is no pause while it is copied; a chunk that has become
//! empty is given back. New things go to the lowest chunk with room, so that the others can drain. It
//! does not notice the use of a number that was given up: who holds numbers keeps them honest.

/// Things in a chunk.
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 12;

/// A thing's number.
pub(super) type Slot = u32;

/// No thing.
pub(super) const NONE: Slot = Slot::MAX;

/// Things by number.
pub(super) struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// One bit a chunk: it has room.
    room: Vec<u64>,
    used: usize,
}

struct Chunk<T> {
    /// Empty, or [`CHUNK`] long.
    things: Box<[T]>,
    /// Numbers within the chunk that are not in use, the next one last.
    free: Vec<u16>,
}

impl<T: Copy> Slab<T> {
    pub(super) fn new() -> Slab<T> {
        Slab { chunks: Vec::new(), room: Vec::new(), used: 0 }
    }

    /// Things in use.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Bytes held, in use or not.
    pub(super) fn bytes(&self) -> usize {
        let held = self.chunks.iter().filter(|chunk| !chunk.things.is_empty()).count();
        held * CHUNK * (size_of::<T>() + size_of::<u16>())
    }

    /// Takes a place for a thing; what is there is left from before, or `filler`. Writing is the
    /// caller's: of a large thing it may be only a part.
    #[inline]
    pub(super) fn take(&mut self, filler: T) -> Slot {
        let at = match self.first_with_room() {
            Some(at) => at,
            None => self.add_chunk(filler),
        };
        let chunk = &mut self.chunks[at];
        let Some(within) = chunk.free.pop() else { unreachable!("a chunk with room has some") };
        if chunk.free.is_empty() {
            self.room[at / 64] &= !(1 << (at % 64));
        }
        self.used += 1;
        slot(at, within)
    }

    /// Gives a thing up.
    #[inline]
    pub(super) fn remove(&mut self, slot: Slot) {
        let (at, within) = place(slot);
        let chunk = &mut self.chunks[at];
        chunk.free.push(u16::try_from(within).unwrap_or_default());
        self.room[at / 64] |= 1 << (at % 64);
        self.used -= 1;
        if chunk.free.len() == CHUNK {
            self.give_back(at);
        }
    }

    #[inline]
    pub(super) fn get(&self, slot: Slot) -> &T {
        let (at, within) = place(slot);
        &self.chunks[at].things[within]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut T {
        let (at, within) = place(slot);
        &mut self.chunks[at].things[within]
    }

    #[inline]
    fn first_with_room(&self) -> Option<usize> {
        let word = self.room.iter().position(|word| *word != 0)?;
        Some(word * 64 + self.room[word].trailing_zeros() as usize)
    }

    /// The number of a new chunk, or of one that had been given back.
    #[cold]
    fn add_chunk(&mut self, filler: T) -> usize {
        let gone = self.chunks.iter().position(|chunk| chunk.things.is_empty());
        let at = gone.unwrap_or(self.chunks.len());
        if at == self.chunks.len() {
            self.chunks.push(Chunk { things: Box::default(), free: Vec::new() });
            self.room.resize(self.chunks.len().div_ceil(64), 0);
        }
        let last = u16::try_from(CHUNK - 1).unwrap_or(u16::MAX);
        self.chunks[at] =
            Chunk { things: vec![filler; CHUNK].into(), free: (0..=last).rev().collect() };
        self.room[at / 64] |= 1 << (at % 64);
        at
    }

    /// An empty chunk goes, unless it is the only empty one: the next thing would bring it back.
    #[cold]
    fn give_back(&mut self, at: usize) {
        let is_empty = |chunk: &Chunk<T>| chunk.free.len() == CHUNK;
        let spare =
            self.chunks.iter().enumerate().find(|(other, chunk)| *other != at && is_empty(chunk));
        if let Some((other, _)) = spare {
            // Of two the higher one.
            let goes = at.max(other);
            self.chunks[goes] = Chunk { things: Box::default(), free: Vec::new() };
            self.room[goes / 64] &= !(1 << (goes % 64));
        }
    }
}

fn slot(chunk: usize, within: u16) -> Slot {
    // A shard holds at most a thousand million spans, which is the largest limit there is.
    let chunk = Slot::try_from(chunk).unwrap_or(Slot::MAX >> CHUNK_BITS);
    chunk << CHUNK_BITS | Slot::from(within)
}

#[inline]
fn place(slot: Slot) -> (usize, usize) {
    let slot = slot as usize;
    (slot >> CHUNK_BITS, slot & (CHUNK - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(slab: &mut Slab<usize>, thing: usize) -> Slot {
        let slot = slab.take(0);
        *slab.get_mut(slot) = thing;
        slot
    }

    #[test]
    fn things_are_found_under_their_number_until_they_are_given_up() {
        let mut slab = Slab::new();
        let slots: Vec<Slot> = (0..3 * CHUNK).map(|thing| insert(&mut slab, thing)).collect();
        for (thing, &slot) in slots.iter().enumerate() {
            assert_eq!(*slab.get(slot), thing);
        }
        slab.remove(slots[5]);
        assert_eq!(slab.len(), 3 * CHUNK - 1);
        assert_eq!(insert(&mut slab, 77), slots[5], "the lowest number that is free");
        *slab.get_mut(slots[5]) += 1;
        assert_eq!(*slab.get(slots[5]), 78);
    }

    #[test]
    fn memory_is_given_back_and_taken_again() {
        let mut slab = Slab::new();
        let chunk = CHUNK * (size_of::<usize>() + 2);
        let slots: Vec<Slot> = (0..5 * CHUNK).map(|thing| insert(&mut slab, thing)).collect();
        assert_eq!(slab.bytes(), 5 * chunk);
        for &slot in &slots[CHUNK..] {
            slab.remove(slot);
        }
        assert_eq!((slab.len(), slab.bytes()), (CHUNK, 2 * chunk), "one empty chunk is kept");
        for &slot in &slots[..CHUNK] {
            assert!(*slab.get(slot) < CHUNK);
            slab.remove(slot);
        }
        assert_eq!((slab.len(), slab.bytes()), (0, chunk));
        let again: Vec<Slot> = (0..5 * CHUNK).map(|thing| insert(&mut slab, thing)).collect();
        assert!(again.iter().enumerate().all(|(thing, &slot)| *slab.get(slot) == thing));
        assert_eq!(slab.bytes(), 5 * chunk);
    }
}
