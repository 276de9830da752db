//! One decoder's memory of the names it has met, so that no decoder asks the shared table twice for the
//! same name.
//!
//! Looked up by borrowed bytes, without a lock. It starts afresh with every epoch of the table: a name in
//! use is asked for again, which is how the table knows that it is in use, and the number of one that was
//! given back is not handed out any more. A span pays nothing for it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::Interner;
use crate::model::{AttrSetId, KeyId, SpanKind, Sym};

/// A service and the attributes of its resource, as a decoder keeps it between the spans of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceRef {
    slot: usize,
    /// The attributes of interest that hold for every span of the resource.
    pub attrs: AttrSetId,
}

/// One decoder's memory of the names it has met. Looked up by borrowed bytes; owns no lock.
#[derive(Default)]
pub struct InternCache {
    services: HashMap<Box<[u8]>, usize, RandomState>,
    /// The services behind [`ResourceRef`]s.
    slots: Vec<Sym>,
    known: Vec<Known>,
    /// The texts of all known names, one behind the other.
    texts: Vec<u8>,
    /// Where a name stands in `known`.
    names: HashTable<u32>,
    /// Names met lately, each in one of the two places where it would be if it is there: most batches are of
    /// few operations.
    recent: Vec<[Recent; 2]>,
    attr_sets: HashMap<Box<[(Sym, Sym)]>, AttrSetId, RandomState>,
    hasher: RandomState,
    entries: usize,
    /// The epoch in which everything here was asked for.
    epoch: u32,
}

/// A name that has been met, and its number.
#[derive(Clone, Copy)]
struct Known {
    /// Where its text begins and ends.
    text: [u32; 2],
    /// Of what it is the name: an operation of a service, or [`Known::STRING`].
    of: u32,
    number: u32,
}

/// A name met lately, and its number: a line of the processor's caches, so that it costs one wait.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Recent {
    of: u32,
    number: u32,
    length: u8,
    name: [u8; Recent::LONGEST],
}

impl Recent {
    /// Longer names are looked up.
    const LONGEST: usize = 55;

    /// No name: it is of nothing.
    const NONE: Recent =
        Recent { of: Known::STRING - 1, number: 0, length: 0, name: [0; Recent::LONGEST] };

    fn new(name: &[u8], of: u32, number: u32) -> Option<Recent> {
        let mut recent = Recent { of, number, ..Recent::NONE };
        recent.name.get_mut(..name.len())?.copy_from_slice(name);
        recent.length = u8::try_from(name.len()).ok()?;
        Some(recent)
    }

    #[inline]
    fn is(&self, name: &[u8], of: u32) -> bool {
        self.of == of && self.name.get(..usize::from(self.length)) == Some(name)
    }
}

impl Known {
    /// Neither service nor operation.
    const STRING: u32 = u32::MAX;

    #[inline]
    fn is(&self, texts: &[u8], name: &[u8], of: u32) -> bool {
        self.of == of && self.name(texts) == name
    }

    #[inline]
    fn name<'t>(&self, texts: &'t [u8]) -> &'t [u8] {
        let [from, upto] = self.text;
        texts.get(from as usize..upto as usize).unwrap_or_default()
    }
}

impl InternCache {
    /// Names remembered before the cache starts afresh: bounds what rotating names can take.
    const MAX_ENTRIES: usize = 65_536;
    /// Longer names are not worth remembering.
    const MAX_NAME_BYTES: usize = 512;

    /// The service of a resource. The result is good until [`InternCache::trim`].
    pub fn resource(&mut self, names: &Interner, service: &[u8], attrs: AttrSetId) -> ResourceRef {
        if let Some(&slot) = self.services.get(service) {
            return ResourceRef { slot, attrs };
        }
        let slot = self.slots.len();
        self.slots.push(names.service(service));
        self.services.insert(Box::from(service), slot);
        self.entries += 1;
        ResourceRef { slot, attrs }
    }

    /// The operation `name` of a resource's service.
    #[inline]
    pub fn key(
        &mut self,
        names: &Interner,
        resource: ResourceRef,
        name: &[u8],
        kind: SpanKind,
    ) -> KeyId {
        // Trimming keeps slots below 2^29.
        let of = u32::try_from(resource.slot << 3 | kind as usize).unwrap_or(Known::STRING - 2);
        KeyId(self.number(name, of, |slots| names.key(slots[resource.slot], name, kind).0))
    }

    /// A dependency's name, an attribute's name or its value.
    #[inline]
    pub fn string(&mut self, names: &Interner, bytes: &[u8]) -> Sym {
        Sym(self.number(bytes, Known::STRING, |_| names.string(bytes).0))
    }

    #[inline]
    fn number(&mut self, name: &[u8], of: u32, ask: impl FnOnce(&[Sym]) -> u32) -> u32 {
        let mut places = self.recent.get(place_of(name, of)).into_iter().flatten();
        match places.find(|recent| recent.is(name, of)) {
            Some(recent) => recent.number,
            None => self.look_up(name, of, ask),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, name: &[u8], of: u32, ask: impl FnOnce(&[Sym]) -> u32) -> u32 {
        let InternCache { known, texts, names, hasher, .. } = self;
        let hash = hash_of(hasher, name, of);
        let at = match names.find(hash, |&at| known[at as usize].is(texts, name, of)) {
            Some(&at) => at,
            None => {
                let number = ask(&self.slots);
                if name.len() > InternCache::MAX_NAME_BYTES {
                    return number;
                }
                let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
                let at = place(known.len());
                let from = texts.len();
                texts.extend_from_slice(name);
                known.push(Known { text: [from, texts.len()].map(place), of, number });
                names.insert_unique(hash, at, |&at| {
                    let known = &known[at as usize];
                    hash_of(hasher, known.name(texts), known.of)
                });
                self.entries += 1;
                at
            }
        };
        let number = self.known[at as usize].number;
        if let Some(met) = Recent::new(name, of, number) {
            self.recent.resize(RECENT, [Recent::NONE; 2]);
            let [first, second] = &mut self.recent[place_of(name, of)];
            *second = std::mem::replace(first, met);
        }
        number
    }

    /// A set of attributes, given as (name, value); the order does not matter.
    pub fn attr_set(&mut self, names: &Interner, attributes: &mut [(Sym, Sym)]) -> AttrSetId {
        attributes.sort_unstable();
        if let Some(&id) = self.attr_sets.get(attributes) {
            return id;
        }
        let id = names.attr_set(attributes);
        self.attr_sets.insert(Box::from(&*attributes), id);
        self.entries += 1;
        id
    }

    /// To be called before each batch: forgets everything once too much has been remembered, and what was
    /// asked for in another epoch.
    pub fn trim(&mut self, names: &Interner) {
        let epoch = names.epoch();
        if self.entries > InternCache::MAX_ENTRIES || self.epoch != epoch {
            *self = InternCache { epoch, ..InternCache::default() };
        }
    }
}

/// Pairs of places for names met lately.
const RECENT: usize = 1 << RECENT_BITS;
/// A megabyte: of ten thousand operations four in five find room.
const RECENT_BITS: u32 = 13;

/// Names differ at their end more than anywhere else. Those that do not take each other's place, and
/// are looked up.
#[inline]
fn place_of(name: &[u8], of: u32) -> usize {
    /// Odd, and without a pattern.
    const MIX: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    let short = || name.iter().fold(0, |read: u64, byte| read << 8 | u64::from(*byte));
    let part = |part: Option<&[u8; 8]>| part.map_or_else(short, |part| u64::from_le_bytes(*part));
    let end = name.last_chunk();
    let before = name.last_chunk::<16>().map_or(name.first_chunk(), |end| end.first_chunk());
    let (end, before) = (part(end) ^ MIX[0], part(before) ^ MIX[1] ^ u64::from(of) << 32);
    // All bits of one meet all bits of the other.
    let mixed = u128::from(end) * u128::from(before);
    usize::try_from((mixed ^ mixed >> 64) >> (64 - RECENT_BITS) & (RECENT as u128 - 1))
        .unwrap_or_default()
}

#[inline]
fn hash_of(hasher: &RandomState, name: &[u8], of: u32) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(name);
    hasher.write_u32(of);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_prepared_against_one_cache_do_not_meet_in_another() {
        const NAMES: usize = 300;
        let cell = |hasher: &RandomState, name: u64| {
            let [low, high, ..] = hash_of(hasher, &name.to_le_bytes(), 0).to_le_bytes();
            usize::from(u16::from_le_bytes([low, high]) % 4_096)
        };
        let fullest = |hasher: &RandomState, names: &[u64]| {
            let mut cells = [0; 4_096];
            names.iter().for_each(|&name| cells[cell(hasher, name)] += 1);
            cells.into_iter().max()
        };
        let (one, other) = (InternCache::default().hasher, InternCache::default().hasher);
        let prepared: Vec<u64> = (0..).filter(|&name| cell(&one, name) == 0).take(NAMES).collect();
        assert_eq!(fullest(&one, &prepared), Some(NAMES));
        // That seven of 300 meet by chance happens once in a hundred million runs.
        assert!(fullest(&other, &prepared) < Some(7));
    }
}
