//! The bounded table of names: strings, operations and attribute sets become small numbers.
//!
//! Shared by everyone who decodes, which is where `dashmap` belongs; but no decoder asks it twice for
//! the same name: each owns an [`InternCache`] that is looked up by borrowed bytes, without a lock.
//! Names are bytes from strangers: invalid UTF-8 is repaired, overlong names are cut, and beyond the
//! limits everything folds into [`OVERFLOW`](super::OVERFLOW). Nothing is ever refused here.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{AttrSetId, Key, KeyId, OVERFLOW, SpanKind, Sym};

/// How much the table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternLimits {
    /// Longest name kept, in bytes; longer ones are cut and given a hash as suffix.
    pub name_bytes: usize,
    /// Services with names of their own.
    pub services: usize,
    /// Operations with names of their own, over all services.
    pub operations: usize,
    /// Operations with names of their own, within one service.
    pub operations_per_service: usize,
    /// Dependency names and attribute values, together.
    pub strings: usize,
    /// Distinct combinations of attribute values.
    pub attr_sets: usize,
}

impl Default for InternLimits {
    fn default() -> InternLimits {
        InternLimits {
            name_bytes: 256,
            services: 2_000,
            operations: 20_000,
            operations_per_service: 2_000,
            strings: 100_000,
            attr_sets: 100_000,
        }
    }
}

/// Strings, operations and attribute sets by number.
pub struct Interner {
    limits: InternLimits,
    symbols: Table<Box<str>, Arc<str>>,
    /// Those with a name of their own, and how many operations each has.
    services: DashMap<Sym, usize, RandomState>,
    /// Those interned as dependency names or attributes, whatever else they are.
    strings: DashMap<Sym, (), RandomState>,
    keys: Table<Key, Key>,
    /// Keys with a name of their own. What is beyond the limits is not counted, so that whatever found
    /// room once finds it again in another order, after a restart.
    operations: AtomicUsize,
    attr_sets: Table<AttrSet, AttrSet>,
    repaired_names: AtomicU64,
    overflowed_names: AtomicU64,
}

type AttrSet = Arc<[(Sym, Sym)]>;

/// A map to numbers that can be read back by number. Numbers are dense and never reused.
struct Table<K, V> {
    ids: DashMap<K, u32, RandomState>,
    values: RwLock<Vec<V>>,
}

impl<K: Eq + Hash, V: Clone> Table<K, V> {
    fn new() -> Table<K, V> {
        Table { ids: DashMap::default(), values: RwLock::new(Vec::new()) }
    }

    fn len(&self) -> usize {
        self.values.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn get(&self, id: u32) -> Option<V> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        values.get(id as usize).cloned()
    }

    /// The number of `key`; a new one only while fewer than `limit` are out.
    fn intern(&self, key: K, limit: usize, value: impl FnOnce() -> V) -> Option<u32> {
        if let Some(id) = self.ids.get(&key) {
            return Some(*id);
        }
        // The entry is held while the value is pushed, so that two threads agree on one number.
        let entry = self.ids.entry(key);
        if let dashmap::Entry::Occupied(known) = &entry {
            return Some(*known.get());
        }
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        if values.len() >= limit {
            return None;
        }
        let id = u32::try_from(values.len()).ok()?;
        values.push(value());
        entry.insert(id);
        Some(id)
    }
}

/// `service.name` where the resource does not say.
const UNKNOWN_SERVICE: &str = "unknown_service";
/// The name of a span that has none.
const UNNAMED: &str = "(unnamed)";
const OVERFLOW_SYM: Sym = Sym(0);

impl Interner {
    /// An empty table.
    pub fn new(limits: InternLimits) -> Interner {
        let interner = Interner {
            limits,
            symbols: Table::new(),
            services: DashMap::default(),
            strings: DashMap::default(),
            keys: Table::new(),
            operations: AtomicUsize::new(0),
            attr_sets: Table::new(),
            repaired_names: AtomicU64::new(0),
            overflowed_names: AtomicU64::new(0),
        };
        let overflow = interner.symbol(OVERFLOW.as_bytes());
        debug_assert_eq!(overflow, OVERFLOW_SYM);
        interner.attr_sets.intern(Arc::from([]), 1, || Arc::from([]));
        interner
    }

    /// The number of a string that names a dependency, an attribute or its value.
    pub fn string(&self, bytes: &[u8]) -> Sym {
        self.among(&self.strings, self.limits.strings, (), bytes)
    }

    /// The number of a service name; empty is `unknown_service`.
    pub fn service(&self, name: &[u8]) -> Sym {
        let name = if name.is_empty() { UNKNOWN_SERVICE.as_bytes() } else { name };
        self.among(&self.services, self.limits.services, 0, name)
    }

    /// The number of a name that is one of `members`, or still may become one. Nothing is kept of a name
    /// that may not.
    fn among<T>(
        &self,
        members: &DashMap<Sym, T, RandomState>,
        limit: usize,
        new: T,
        bytes: &[u8],
    ) -> Sym {
        let known = self.find(bytes);
        if let Some(sym) = known.filter(|sym| *sym == OVERFLOW_SYM || members.contains_key(sym)) {
            return sym;
        }
        if members.len() >= limit {
            self.overflowed_names.fetch_add(1, Ordering::Relaxed);
            return OVERFLOW_SYM;
        }
        let sym = known.unwrap_or_else(|| self.symbol(bytes));
        if sym != OVERFLOW_SYM {
            members.entry(sym).or_insert(new);
        }
        sym
    }

    /// The number of an operation of `service`; folds into the overflow operation beyond the limits.
    pub fn key(&self, service: Sym, name: &[u8], kind: SpanKind) -> KeyId {
        let name = if name.is_empty() { UNNAMED.as_bytes() } else { name };
        let overflow = Key { service, name: OVERFLOW_SYM, kind };
        if service == OVERFLOW_SYM {
            return self.unbounded_key(overflow);
        }
        let known = self.find(name);
        let id = |name| self.keys.ids.get(&Key { service, name, kind }).map(|id| KeyId(*id));
        if let Some(id) = known.and_then(id) {
            return id;
        }
        // Held until the key is there, so that two threads count it once.
        let mut count = self.services.entry(service).or_insert(0);
        let id = known.or_else(|| self.find(name)).and_then(id);
        if let Some(id) = id {
            return id;
        }
        let has_room = *count < self.limits.operations_per_service
            && self.operations.load(Ordering::Relaxed) < self.limits.operations;
        let name = if has_room { self.symbol(name) } else { OVERFLOW_SYM };
        if name == OVERFLOW_SYM {
            self.overflowed_names.fetch_add(1, Ordering::Relaxed);
            return self.unbounded_key(overflow);
        }
        *count += 1;
        self.operations.fetch_add(1, Ordering::Relaxed);
        self.unbounded_key(Key { service, name, kind })
    }

    /// The number of a set of attributes, given as (name, value); the order does not matter.
    pub fn attr_set(&self, attributes: &mut [(Sym, Sym)]) -> AttrSetId {
        attributes.sort_unstable();
        let set: AttrSet = Arc::from(&*attributes);
        let id = self.attr_sets.intern(Arc::clone(&set), self.limits.attr_sets, || set);
        id.map_or(AttrSetId::EMPTY, AttrSetId)
    }

    /// What a number stands for.
    pub fn text(&self, sym: Sym) -> Arc<str> {
        self.symbols.get(sym.0).unwrap_or_else(|| Arc::from(OVERFLOW))
    }

    /// The operation behind a number.
    pub fn resolve(&self, id: KeyId) -> Key {
        self.keys.get(id.0).unwrap_or(Key {
            service: OVERFLOW_SYM,
            name: OVERFLOW_SYM,
            kind: SpanKind::Unspecified,
        })
    }

    /// The (name, value) pairs behind a number.
    pub fn attributes(&self, id: AttrSetId) -> Arc<[(Sym, Sym)]> {
        self.attr_sets.get(id.0).unwrap_or_else(|| Arc::from([]))
    }

    /// Whether this is the name into which whatever is beyond the limits folds.
    pub fn is_overflow(sym: Sym) -> bool {
        sym == OVERFLOW_SYM
    }

    /// Names repaired (invalid UTF-8) or cut (too long) so far.
    pub fn repaired_names(&self) -> u64 {
        self.repaired_names.load(Ordering::Relaxed)
    }

    /// Names folded into the overflow so far.
    pub fn overflowed_names(&self) -> u64 {
        self.overflowed_names.load(Ordering::Relaxed)
    }

    /// Operations known, those of the overflow included.
    pub fn operations(&self) -> usize {
        self.keys.len()
    }

    /// The overflow operations are as many as there are services and kinds, so need no other limit.
    fn unbounded_key(&self, key: Key) -> KeyId {
        KeyId(self.keys.intern(key, u32::MAX as usize, || key).unwrap_or(0))
    }

    /// The number of a name, if it has one.
    fn find(&self, bytes: &[u8]) -> Option<Sym> {
        let look_up = |text: &str| self.symbols.ids.get(text).map(|id| Sym(*id));
        match std::str::from_utf8(bytes) {
            Ok(text) if text.len() <= self.limits.name_bytes => look_up(text),
            _ => look_up(&clean(bytes, self.limits.name_bytes).0),
        }
    }

    /// The number of a name that has none yet.
    fn symbol(&self, bytes: &[u8]) -> Sym {
        let (text, repaired) = clean(bytes, self.limits.name_bytes);
        if repaired {
            self.repaired_names.fetch_add(1, Ordering::Relaxed);
        }
        // Strings, operations and services have limits of their own: there is room for all of them, and
        // for the overflow.
        let limit = 1 + self.limits.strings + self.limits.operations + self.limits.services;
        let shared: Arc<str> = Arc::from(text.as_str());
        self.symbols.intern(text.into_boxed_str(), limit, || shared).map_or(OVERFLOW_SYM, Sym)
    }
}

/// Valid UTF-8 of at most `limit` bytes, and whether anything had to be done for it. What is cut off
/// leaves a hash behind, so that two long names with the same beginning stay two.
fn clean(bytes: &[u8], limit: usize) -> (String, bool) {
    /// `~` and 16 hexadecimal digits.
    const SUFFIX: usize = 17;
    let text = String::from_utf8_lossy(bytes);
    let repaired = matches!(text, std::borrow::Cow::Owned(_));
    if text.len() <= limit {
        return (text.into_owned(), repaired);
    }
    let mut end = limit.saturating_sub(SUFFIX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // A fixed seed: the same name is cut to the same name in every process.
    let hash = foldhash::quality::FixedState::with_seed(0).hash_one(text.as_ref());
    (format!("{}~{hash:016x}", &text[..end]), true)
}

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
    /// Where a name stands in `known`.
    names: HashTable<u32>,
    /// Where the names met lately stand, each in the one place where it would be if it is there: most
    /// batches are of few operations.
    recent: Vec<u32>,
    attr_sets: HashMap<Box<[(Sym, Sym)]>, AttrSetId, RandomState>,
    hasher: RandomState,
    entries: usize,
}

/// A name that has been met, and its number.
struct Known {
    name: Box<[u8]>,
    /// Of what it is the name: an operation of a service, or [`Known::STRING`].
    of: u32,
    number: u32,
}

impl Known {
    /// Neither service nor operation.
    const STRING: u32 = u32::MAX;
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
        let of = u32::try_from(resource.slot << 3 | kind as usize).unwrap_or(Known::STRING - 1);
        KeyId(self.number(name, of, |slots| names.key(slots[resource.slot], name, kind).0))
    }

    /// A dependency's name, an attribute's name or its value.
    #[inline]
    pub fn string(&mut self, names: &Interner, bytes: &[u8]) -> Sym {
        Sym(self.number(bytes, Known::STRING, |_| names.string(bytes).0))
    }

    #[inline]
    fn number(&mut self, name: &[u8], of: u32, ask: impl FnOnce(&[Sym]) -> u32) -> u32 {
        if let Some(&at) = self.recent.get(place_of(name, of))
            && let Some(known) = self.known.get(at as usize)
            && known.of == of
            && *known.name == *name
        {
            return known.number;
        }
        self.look_up(name, of, ask)
    }

    #[inline(never)]
    fn look_up(&mut self, name: &[u8], of: u32, ask: impl FnOnce(&[Sym]) -> u32) -> u32 {
        let InternCache { known, names, hasher, .. } = self;
        let hash = hash_of(hasher, name, of);
        let is_it = |&at: &u32| known[at as usize].of == of && *known[at as usize].name == *name;
        let at = match names.find(hash, is_it) {
            Some(&at) => at,
            None => {
                let number = ask(&self.slots);
                if name.len() > InternCache::MAX_NAME_BYTES {
                    return number;
                }
                let at = u32::try_from(known.len()).unwrap_or(u32::MAX);
                known.push(Known { name: Box::from(name), of, number });
                names.insert_unique(hash, at, |&at| {
                    let Known { name, of, .. } = &known[at as usize];
                    hash_of(hasher, name, *of)
                });
                self.entries += 1;
                at
            }
        };
        self.recent.resize(RECENT, u32::MAX);
        self.recent[place_of(name, of)] = at;
        self.known[at as usize].number
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

    /// To be called between batches: forgets everything once too much has been remembered.
    pub fn trim(&mut self) {
        if self.entries > InternCache::MAX_ENTRIES {
            *self = InternCache::default();
        }
    }
}

/// Names remembered as met lately.
const RECENT: usize = 1 << RECENT_BITS;
/// Ten thousand operations mostly find room; 64 KiB are still in the processor's caches.
const RECENT_BITS: u32 = 14;

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

    fn small() -> Interner {
        Interner::new(InternLimits {
            name_bytes: 32,
            services: 2,
            operations: 4,
            operations_per_service: 2,
            strings: 4,
            attr_sets: 2,
        })
    }

    fn names(interner: &Interner, key: KeyId) -> (String, String) {
        let key = interner.resolve(key);
        (interner.text(key.service).to_string(), interner.text(key.name).to_string())
    }

    #[test]
    fn the_same_name_is_the_same_number_through_any_cache() {
        let interner = small();
        let (mut one, mut two) = (InternCache::default(), InternCache::default());
        let key = |cache: &mut InternCache| {
            let resource = cache.resource(&interner, b"cart", AttrSetId::EMPTY);
            cache.key(&interner, resource, b"GET /items", SpanKind::Server)
        };
        assert_eq!(key(&mut one), key(&mut two));
        assert_eq!(key(&mut one), key(&mut one));
    }

    #[test]
    fn operations_beyond_the_limit_fold_per_service_then_into_one() {
        let interner = small();
        let cart = interner.service(b"cart");
        for name in ["a", "b"] {
            let key = interner.key(cart, name.as_bytes(), SpanKind::Server);
            assert_eq!(names(&interner, key).1, name);
        }
        let third = interner.key(cart, b"c", SpanKind::Server);
        assert_eq!(names(&interner, third), ("cart".into(), OVERFLOW.into()));
        interner.service(b"shop");
        let beyond = interner.service(b"late");
        let folded = interner.key(beyond, b"a", SpanKind::Server);
        assert_eq!(names(&interner, folded), (OVERFLOW.into(), OVERFLOW.into()));
        assert_eq!(names(&interner, interner.key(cart, b"a", SpanKind::Server)).1, "a");
        assert_eq!(interner.overflowed_names(), 2);
    }

    #[test]
    fn nothing_is_kept_of_a_name_beyond_its_limit() {
        let interner = small();
        for name in 0..100 {
            interner.service(format!("service {name}").as_bytes());
            interner.string(format!("string {name}").as_bytes());
        }
        // The overflow, two services, four strings.
        assert_eq!(interner.symbols.len(), 7);
        assert_eq!(interner.overflowed_names(), 98 + 96);
        // What strangers filled takes no room from operations.
        let cart = interner.service(b"service 0");
        let key = interner.key(cart, b"a", SpanKind::Server);
        assert_eq!(names(&interner, key), ("service 0".into(), "a".into()));
    }

    #[test]
    fn what_found_room_finds_it_again_in_any_order() {
        let intern = |all: &[(String, String)]| -> Vec<_> {
            let interner = small();
            let key = |(service, name): &(String, String)| {
                let service = interner.service(service.as_bytes());
                names(&interner, interner.key(service, name.as_bytes(), SpanKind::Server))
            };
            all.iter().map(key).collect()
        };
        let all = [("cart", "a"), ("cart", "b"), ("cart", "c"), ("late", "a"), ("shop", "a")];
        let all = all.map(|(service, name)| (service.to_owned(), name.to_owned()));
        let mut found = intern(&all);
        assert_eq!(found[3], all[3], "what folded before it took no room");
        found.reverse();
        assert_eq!(intern(&found), found);
    }

    #[test]
    fn invalid_utf8_is_repaired_and_counted() {
        let interner = small();
        let sym = interner.string(b"caf\xe9");
        assert_eq!(&*interner.text(sym), "caf\u{fffd}");
        assert_eq!(interner.repaired_names(), 1);
    }

    #[test]
    fn long_names_are_cut_on_a_character_boundary_and_stay_apart() {
        let interner = small();
        let long = "ä".repeat(100);
        let one = interner.text(interner.string(format!("{long}1").as_bytes()));
        let two = interner.text(interner.string(format!("{long}2").as_bytes()));
        assert!(one.len() <= 32 && two.len() <= 32);
        assert_ne!(one, two);
        assert!(one.starts_with("äää"));
    }

    #[test]
    fn missing_names_have_a_name() {
        let interner = small();
        let service = interner.service(b"");
        let key = interner.key(service, b"", SpanKind::Client);
        assert_eq!(names(&interner, key), (UNKNOWN_SERVICE.into(), UNNAMED.into()));
    }

    #[test]
    fn attribute_sets_do_not_depend_on_order_and_are_bounded() {
        let interner = small();
        let (a, b) = (interner.string(b"a"), interner.string(b"b"));
        let one = interner.attr_set(&mut [(a, b), (b, a)]);
        assert_eq!(one, interner.attr_set(&mut [(b, a), (a, b)]));
        assert_eq!(interner.attr_set(&mut []), AttrSetId::EMPTY);
        assert_eq!(interner.attr_set(&mut [(a, a)]), AttrSetId::EMPTY, "beyond the limit");
    }
}
