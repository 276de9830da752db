//! Records by tick, packed into one run of bytes: how a figure's slices are kept.
//!
//! A judge of a hundred thousand keys keeps millions of small records. As values in lists they would be
//! four times as large and lie scattered; on a tape all slices of one figure are a few neighbouring
//! cache lines, read from the oldest to the newest. Adding to the newest record and taking the oldest
//! away are cheap; adding to one in between (a trace that closed late) packs the tape anew. It knows
//! nothing of what the records mean.

use std::marker::PhantomData;

use super::rolling::{Sum, Tick};

/// A value that can be written as bytes and read back.
pub(super) trait Packed: Sum {
    /// Appends the bytes.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads what was written.
    fn read(from: &mut Unpacker<'_>) -> Self;
    /// Bytes held outside of the value itself, unpacked.
    fn heap_bytes(&self) -> usize {
        0
    }
    /// Whether it is a value that can be added up; what others packed may be none.
    fn is_sound(&self) -> bool {
        true
    }
}

/// Appends an integer, seven bits a byte, the lowest first.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

/// Appends a large integer: its length in bytes, and these.
pub(super) fn put_wide(out: &mut Vec<u8>, value: u128) {
    let length = (128 - value.leading_zeros()).div_ceil(8) as usize;
    out.push(low_byte(length as u64));
    out.extend_from_slice(&value.to_le_bytes()[..length]);
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Reads what [`put`] and [`put_wide`] wrote. Beyond the end everything is zero.
#[derive(Clone, Copy)]
pub(super) struct Unpacker<'a>(&'a [u8]);

impl<'a> Unpacker<'a> {
    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// The next integer.
    #[inline]
    pub(super) fn int(&mut self) -> u64 {
        let byte = self.byte();
        if byte < 0x80 { u64::from(byte) } else { self.long_int(byte) }
    }

    fn long_int(&mut self, mut byte: u8) -> u64 {
        let mut value = u64::from(byte & 0x7f);
        let mut shift = 7;
        while byte >= 0x80 && shift < 64 {
            byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        value
    }

    /// The next large integer.
    pub(super) fn wide(&mut self) -> u128 {
        let length = usize::from(self.byte()).min(16).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        let mut value = [0; 16];
        value[..length].copy_from_slice(bytes);
        u128::from_le_bytes(value)
    }

    /// The next bytes, if there are so many.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (&first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(first)
    }

    /// All has been read.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Unpacker<'a> {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        Unpacker(taken)
    }
}

/// Records by tick, ascending.
pub(super) struct Tape<T> {
    /// Per record: the length of what follows, the ticks since the record before, the value.
    bytes: Vec<u8>,
    first: u32,
    last: u32,
    /// Where the last record begins.
    tail: u32,
    records: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Default for Tape<T> {
    fn default() -> Tape<T> {
        Tape { bytes: Vec::new(), first: 0, last: 0, tail: 0, records: 0, of: PhantomData }
    }
}

/// Ticks are counted in 32 bits here: slices of five seconds last for 680 years.
fn short(tick: Tick) -> u32 {
    u32::try_from(tick).unwrap_or(u32::MAX)
}

impl<T: Packed> Tape<T> {
    /// No records.
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// How many records.
    pub(super) fn len(&self) -> usize {
        self.records as usize
    }

    /// The tick of the oldest record.
    pub(super) fn first(&self) -> Option<Tick> {
        (self.records > 0).then(|| Tick::from(self.first))
    }

    /// The tick of the newest record.
    pub(super) fn last(&self) -> Option<Tick> {
        (self.records > 0).then(|| Tick::from(self.last))
    }

    /// The same records.
    pub(super) fn copy(&self) -> Tape<T> {
        let Tape { ref bytes, first, last, tail, records, of } = *self;
        Tape { bytes: bytes.clone(), first, last, tail, records, of }
    }

    /// The first tick and the bytes, as they are saved: the first record stands at distance zero.
    pub(super) fn packed(&self) -> Option<(u32, Vec<u8>)> {
        self.first()?;
        let mut rest = Unpacker(&self.bytes);
        let (_, body) = open(&mut rest);
        let mut bytes = Vec::with_capacity(self.bytes.len() + 1);
        put(&mut bytes, body.0.len() as u64 + 1);
        bytes.push(0);
        bytes.extend_from_slice(body.0);
        bytes.extend_from_slice(rest.0);
        Some((self.first, bytes))
    }

    /// Reads what [`Tape::packed`] gave, or anything else: `None` unless there are at most `most`
    /// records, each whole, sound and after the one before.
    pub(super) fn parse(first: u32, bytes: &[u8], most: usize) -> Option<Vec<(Tick, T)>> {
        let mut rest = Unpacker(bytes);
        let mut records: Vec<(Tick, T)> = Vec::new();
        while !rest.is_empty() {
            let length = usize::try_from(rest.int()).ok()?;
            if length > rest.0.len() || records.len() >= most {
                return None;
            }
            let mut body = rest.take(length);
            let age = body.int();
            let tick = match records.last() {
                None if age == 0 => Tick::from(first),
                Some(&(before, _)) if age > 0 => before.checked_add(age)?,
                _ => return None,
            };
            let value = T::read(&mut body);
            if !body.is_empty() || !value.is_sound() || tick > Tick::from(u32::MAX) {
                return None;
            }
            records.push((tick, value));
        }
        Some(records)
    }

    /// Adds to the record of `tick`.
    pub(super) fn add(&mut self, tick: Tick, value: &T) {
        let at = short(tick);
        if self.records == 0 || at > self.last {
            self.append(at, value);
        } else if at == self.last {
            let mut record = Unpacker(&self.bytes[self.tail as usize..]);
            let (age, mut body) = open(&mut record);
            let mut sum = T::read(&mut body);
            sum.add(value);
            self.bytes.truncate(self.tail as usize);
            self.write(age, &sum);
        } else {
            self.insert(at, value);
        }
        self.trim();
    }

    /// Takes away the oldest records, as long as `leaves` says so of their ticks. `each` may read them.
    pub(super) fn take_while(
        &mut self,
        leaves: impl Fn(Tick) -> bool,
        mut each: impl FnMut(Tick, Unpacker<'_>),
    ) {
        if self.records == 0 || !leaves(Tick::from(self.first)) {
            return;
        }
        let mut rest = Unpacker(&self.bytes);
        let mut taken = 0;
        while self.records > 0 && leaves(Tick::from(self.first)) {
            let (_, body) = open(&mut rest);
            each(Tick::from(self.first), body);
            taken = self.bytes.len() - rest.0.len();
            self.records -= 1;
            let mut next = rest;
            let (age, _) = open(&mut next);
            self.first += age;
        }
        self.bytes.drain(..taken);
        self.tail = self.tail.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
        self.trim();
    }

    /// All records, the oldest first; each is read only when asked for.
    pub(super) fn records(&self) -> impl Iterator<Item = (Tick, Unpacker<'_>)> {
        let mut rest = Unpacker(&self.bytes);
        let mut tick = Tick::from(self.first);
        (0..self.records).map(move |number| {
            let (age, body) = open(&mut rest);
            tick += if number == 0 { 0 } else { Tick::from(age) };
            (tick, body)
        })
    }

    /// The records from `from` on, read.
    pub(super) fn since(&self, from: Tick) -> impl Iterator<Item = (Tick, T)> {
        let young = self.records().filter(move |(tick, _)| *tick >= from);
        young.map(|(tick, mut body)| (tick, T::read(&mut body)))
    }

    /// What `read` makes of each record, added up from each of `froms` on, of which the newest stands
    /// first; in one walk.
    pub(super) fn sums_since<const N: usize>(
        &self,
        froms: &[Tick; N],
        read: impl Fn(Unpacker<'_>) -> u64,
    ) -> [u64; N] {
        let mut sums = [0u64; N];
        for (tick, body) in self.records() {
            // To the latest that it belongs to; those before it hold that.
            if let Some(at) = froms.iter().position(|&from| tick >= from) {
                sums[at] = sums[at].saturating_add(read(body));
            }
        }
        for at in 1..N {
            sums[at] = sums[at].saturating_add(sums[at - 1]);
        }
        sums
    }

    /// Bytes held outside of the value itself.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Tape::default();
    }

    fn append(&mut self, at: u32, value: &T) {
        let age = if self.records == 0 { 0 } else { at - self.last };
        self.first = if self.records == 0 { at } else { self.first };
        self.last = at;
        self.tail = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.records += 1;
        self.write(age, value);
    }

    fn insert(&mut self, at: u32, value: &T) {
        let mut records: Vec<(Tick, T)> = self.since(0).collect();
        let at = Tick::from(at);
        match records.binary_search_by_key(&at, |(tick, _)| *tick) {
            Ok(place) => records[place].1.add(value),
            Err(place) => {
                let mut copy = T::default();
                copy.add(value);
                records.insert(place, (at, copy));
            }
        }
        self.bytes.clear();
        self.records = 0;
        for (tick, value) in &records {
            self.append(short(*tick), value);
        }
    }

    /// Writes a record at the end. Its length stands in front in one byte; in the rare case that this
    /// is not enough, the record is moved up.
    fn write(&mut self, age: u32, value: &T) {
        let start = self.bytes.len();
        self.make_room();
        self.bytes.push(0);
        put(&mut self.bytes, u64::from(age));
        value.write(&mut self.bytes);
        let length = self.bytes.len() - start - 1;
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => self.bytes[start] = short,
            _ => {
                let mut prefix = Vec::with_capacity(3);
                put(&mut prefix, length as u64);
                self.bytes.splice(start..=start, prefix);
            }
        }
    }

    /// Doubling leaves up to half of a list unused, and there are too many lists here for that. So room is
    /// made for a record like the others and little more, where it lacks, and not given back at once: a
    /// list that loses a record as it wins one stays where it is.
    fn make_room(&mut self) {
        let used = self.bytes.len();
        let usual = used / (self.records as usize).max(1) + 4;
        if self.bytes.capacity() - used < usual {
            self.bytes.reserve_exact(usual);
        }
    }

    fn trim(&mut self) {
        let used = self.bytes.len();
        let usual = used / (self.records as usize).max(1) + 4;
        if self.bytes.capacity() > used + used / 16 + 2 * usual + 16 {
            self.bytes.shrink_to(used + usual);
        }
    }
}

/// The age of a record and its body; `rest` moves on to the next record.
#[inline]
fn open<'a>(rest: &mut Unpacker<'a>) -> (u32, Unpacker<'a>) {
    let length = usize::try_from(rest.int()).unwrap_or(usize::MAX);
    let mut body = rest.take(length);
    let age = u32::try_from(body.int()).unwrap_or(u32::MAX);
    (age, body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::aggregate::PathSum;
    use super::*;

    fn sum(calls: u64) -> PathSum {
        PathSum { calls, critical: calls.saturating_mul(1_000_003) }
    }

    fn unpacked(tape: &Tape<PathSum>) -> Vec<(Tick, PathSum)> {
        tape.since(0).collect()
    }

    #[test]
    fn integers_of_all_lengths_come_back() {
        let mut out = Vec::new();
        let all: Vec<u64> = (0..64).flat_map(|bit| [1 << bit, (1 << bit) - 1]).collect();
        all.iter().for_each(|&value| put(&mut out, value));
        all.iter().for_each(|&value| put_wide(&mut out, u128::from(value) << 60));
        let mut from = Unpacker(&out);
        assert!(all.iter().all(|&value| from.int() == value));
        assert!(all.iter().all(|&value| from.wide() == u128::from(value) << 60));
        assert!(from.0.is_empty() && from.int() == 0 && from.wide() == 0);
    }

    proptest! {
        /// The oracle is a sorted map.
        #[test]
        fn a_tape_is_a_sorted_map(steps in prop::collection::vec((0u64..40, 1u64..1 << 40, any::<bool>()), 1..60)) {
            let mut tape = Tape::default();
            let mut map = std::collections::BTreeMap::new();
            for (tick, calls, takes) in steps {
                tape.add(tick, &sum(calls));
                map.entry(tick).or_insert_with(PathSum::default).add(&sum(calls));
                if takes {
                    let mut taken = Vec::new();
                    tape.take_while(
                        |first| first < tick,
                        |tick, mut body| taken.push((tick, PathSum::read(&mut body))),
                    );
                    let rest = map.split_off(&tick);
                    prop_assert_eq!(taken, std::mem::replace(&mut map, rest).into_iter().collect::<Vec<_>>());
                }
                let expected: Vec<_> = map.iter().map(|(&tick, &value)| (tick, value)).collect();
                prop_assert_eq!(unpacked(&tape), expected);
                let froms = [tick, tick / 2, 0];
                let calls: [u64; 3] =
                    froms.map(|from| map.range(from..).map(|(_, sum)| sum.calls).sum());
                prop_assert_eq!(tape.sums_since(&froms, |mut body| body.int()), calls);
                prop_assert_eq!((tape.len(), tape.first()), (map.len(), map.keys().next().copied()));
                let usual = tape.bytes.len() / tape.len().max(1) + 4;
                prop_assert!(tape.heap_bytes() <= tape.bytes.len() * 17 / 16 + 2 * usual + 16);
            }
        }
    }
}
