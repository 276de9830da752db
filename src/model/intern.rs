//! The bounded table of names: strings, operations and attribute sets become small numbers.
//!
//! Shared by everyone who decodes, which is where `dashmap` belongs; but no decoder asks it twice for
//! the same name: each owns an [`InternCache`] that is looked up by borrowed bytes, without a lock.
//! Names are bytes from strangers: invalid UTF-8 is repaired, overlong names are cut, and beyond the
//! limits everything folds into [`OVERFLOW`](super::OVERFLOW). Nothing is ever refused here. What nobody
//! uses any more is [given back](Interner::give_back), if whoever owns the table does so; a number whose
//! name was given back reads as the overflow.

mod cache;
mod give_back;
mod table;

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::{AttrSetId, Key, KeyId, OVERFLOW, SpanKind, Sym};
pub use cache::{InternCache, ResourceRef};
pub use give_back::Held;
use table::{ALWAYS, Seen, Table};

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
    /// Those with a name of their own.
    services: Members,
    /// Those interned as dependency names or attributes, whatever else they are.
    strings: Members,
    keys: Table<Key, Key>,
    /// Keys with a name of their own. What is beyond the limits is not counted, so that whatever found
    /// room once finds it again in another order, after a restart.
    operations: AtomicUsize,
    attr_sets: Table<AttrSet, AttrSet>,
    /// Shared by all who ask for a name, and nobody's else while names are given back: a name found is
    /// there until it is used.
    asking: RwLock<()>,
    /// Counts up whenever names are given back.
    epoch: AtomicU32,
    given_back: AtomicU64,
    repaired_names: AtomicU64,
    overflowed_names: AtomicU64,
}

type AttrSet = Arc<[(Sym, Sym)]>;

type Members = DashMap<Sym, Member, RandomState>;

/// What is known of a service, or of a string.
struct Member {
    seen: Seen,
    /// Operations with a name of their own; of a string none.
    operations: usize,
}

impl Member {
    fn new(epoch: u32) -> Member {
        Member { seen: Seen::in_epoch(epoch), operations: 0 }
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
            asking: RwLock::new(()),
            epoch: AtomicU32::new(0),
            given_back: AtomicU64::new(0),
            repaired_names: AtomicU64::new(0),
            overflowed_names: AtomicU64::new(0),
        };
        let overflow = interner.symbol(OVERFLOW.as_bytes(), ALWAYS);
        debug_assert_eq!(overflow, OVERFLOW_SYM);
        interner.attr_sets.intern(Arc::from([]), ALWAYS, 1, || Arc::from([]));
        interner
    }

    /// How much it may hold.
    pub fn limits(&self) -> &InternLimits {
        &self.limits
    }

    /// The number of a string that names a dependency, an attribute or its value.
    pub fn string(&self, bytes: &[u8]) -> Sym {
        let _asking = self.ask();
        self.among(&self.strings, self.limits.strings, bytes, self.epoch())
    }

    /// The same for a string whose number is remembered without asking again: it is never given back.
    pub fn lasting_string(&self, bytes: &[u8]) -> Sym {
        let _asking = self.ask();
        self.among(&self.strings, self.limits.strings, bytes, ALWAYS)
    }

    /// The number of a service name; empty is `unknown_service`.
    pub fn service(&self, name: &[u8]) -> Sym {
        let _asking = self.ask();
        let name = if name.is_empty() { UNKNOWN_SERVICE.as_bytes() } else { name };
        self.among(&self.services, self.limits.services, name, self.epoch())
    }

    /// The number of a name that is one of `members`, or still may become one. Nothing is kept of a name
    /// that may not.
    fn among(&self, members: &Members, limit: usize, bytes: &[u8], epoch: u32) -> Sym {
        let known = self.find(bytes, epoch);
        if known == Some(OVERFLOW_SYM) {
            return OVERFLOW_SYM;
        }
        if let Some((sym, member)) = known.and_then(|sym| Some((sym, members.get(&sym)?))) {
            member.seen.again(epoch);
            return sym;
        }
        if members.len() >= limit {
            self.overflowed_names.fetch_add(1, Ordering::Relaxed);
            return OVERFLOW_SYM;
        }
        let sym = known.unwrap_or_else(|| self.symbol(bytes, epoch));
        if sym != OVERFLOW_SYM {
            members.entry(sym).or_insert_with(|| Member::new(epoch)).seen.again(epoch);
        }
        sym
    }

    /// The number of an operation of `service`; folds into the overflow operation beyond the limits.
    pub fn key(&self, service: Sym, name: &[u8], kind: SpanKind) -> KeyId {
        let _asking = self.ask();
        let name = if name.is_empty() { UNNAMED.as_bytes() } else { name };
        let overflow = Key { service, name: OVERFLOW_SYM, kind };
        if service == OVERFLOW_SYM {
            return self.unbounded_key(overflow);
        }
        let epoch = self.epoch();
        let known = self.find(name, epoch);
        let id = |name| self.keys.find(&Key { service, name, kind }, epoch).map(KeyId);
        if let Some(id) = known.and_then(id) {
            return id;
        }
        // Held until the key is there, so that two threads count it once.
        let mut its = self.services.entry(service).or_insert_with(|| Member::new(epoch));
        let id = known.or_else(|| self.find(name, epoch)).and_then(id);
        if let Some(id) = id {
            return id;
        }
        let has_room = its.operations < self.limits.operations_per_service
            && self.operations.load(Ordering::Relaxed) < self.limits.operations;
        let name = if has_room { self.symbol(name, epoch) } else { OVERFLOW_SYM };
        if name == OVERFLOW_SYM {
            self.overflowed_names.fetch_add(1, Ordering::Relaxed);
            return self.unbounded_key(overflow);
        }
        its.operations += 1;
        self.operations.fetch_add(1, Ordering::Relaxed);
        self.unbounded_key(Key { service, name, kind })
    }

    /// The number of a set of attributes, given as (name, value); the order does not matter.
    pub fn attr_set(&self, attributes: &mut [(Sym, Sym)]) -> AttrSetId {
        attributes.sort_unstable();
        let set: AttrSet = Arc::from(&*attributes);
        let _asking = self.ask();
        let limit = self.limits.attr_sets;
        let id = self.attr_sets.intern(Arc::clone(&set), self.epoch(), limit, || set);
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

    fn ask(&self) -> RwLockReadGuard<'_, ()> {
        self.asking.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The overflow operations are as many as there are services and kinds, so need no other limit.
    fn unbounded_key(&self, key: Key) -> KeyId {
        let id = self.keys.intern(key, self.epoch(), u32::MAX as usize, || key);
        KeyId(id.unwrap_or(0))
    }

    /// The number of a name, if it has one.
    fn find(&self, bytes: &[u8], epoch: u32) -> Option<Sym> {
        let look_up = |text: &str| self.symbols.find(text, epoch).map(Sym);
        match std::str::from_utf8(bytes) {
            Ok(text) if text.len() <= self.limits.name_bytes => look_up(text),
            _ => look_up(&clean(bytes, self.limits.name_bytes).0),
        }
    }

    /// The number of a name that has none yet.
    fn symbol(&self, bytes: &[u8], epoch: u32) -> Sym {
        let (text, repaired) = clean(bytes, self.limits.name_bytes);
        if repaired {
            self.repaired_names.fetch_add(1, Ordering::Relaxed);
        }
        // Strings, operations and services have limits of their own: there is room for all of them, and
        // for the overflow.
        let limit = 1 + self.limits.strings + self.limits.operations + self.limits.services;
        let shared: Arc<str> = Arc::from(text.as_str());
        let symbol = self.symbols.intern(text.into_boxed_str(), epoch, limit, || shared);
        symbol.map_or(OVERFLOW_SYM, Sym)
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
