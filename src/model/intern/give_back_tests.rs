//! Names that are given back, against a table that never forgets.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::{InternCache, InternLimits, OVERFLOW, SpanKind};

const EPOCHS: u32 = 2;

fn limits() -> InternLimits {
    InternLimits {
        name_bytes: 32,
        services: 3,
        operations: 6,
        operations_per_service: 4,
        strings: 6,
        attr_sets: 4,
    }
}

fn operation(names: &Interner, service: &str, name: &str) -> KeyId {
    names.key(names.service(service.as_bytes()), name.as_bytes(), SpanKind::Server)
}

fn text(names: &Interner, key: KeyId) -> (String, String) {
    let key = names.resolve(key);
    (names.text(key.service).to_string(), names.text(key.name).to_string())
}

fn pass(names: &Interner, epochs: u32) {
    (0..epochs).for_each(|_| names.give_back(&Held::new(EPOCHS)));
}

#[test]
fn what_nobody_asks_for_makes_room_for_others_and_its_number_reads_as_the_overflow() {
    let names = Interner::new(limits());
    let old = ["a", "b", "c", "d"].map(|name| operation(&names, "cart", name));
    assert_eq!(text(&names, operation(&names, "cart", "new")).1, OVERFLOW);
    pass(&names, EPOCHS);
    assert!(old.iter().all(|&key| text(&names, key).1 != OVERFLOW), "for so many epochs they stay");
    pass(&names, 1);
    let new = operation(&names, "cart", "new");
    assert_eq!(text(&names, new), ("cart".into(), "new".into()));
    assert!(old.iter().all(|&key| key != new && text(&names, key).1 == OVERFLOW));
}

#[test]
fn what_is_held_stays_with_all_its_names() {
    let names = Interner::new(limits());
    let (key, peer) = (operation(&names, "cart", "a"), names.string(b"db"));
    let pair = (names.string(b"zone"), names.string(b"x"));
    let attrs = names.attr_set(&mut [pair]);
    let mut held = Held::new(EPOCHS);
    held.key(key);
    held.name(peer);
    held.attr_sets.insert(attrs);
    (0..10).for_each(|_| names.give_back(&held));
    assert_eq!((text(&names, key), &*names.text(peer)), (("cart".into(), "a".into()), "db"));
    assert_eq!(*names.attributes(attrs), [pair]);
    assert_eq!((&*names.text(pair.0), &*names.text(pair.1)), ("zone", "x"));
    assert_eq!((operation(&names, "cart", "a"), names.string(b"db")), (key, peer));
    names.give_back(&Held::new(EPOCHS));
    pass(&names, EPOCHS);
    assert_eq!((text(&names, key).0, names.symbols.len()), (OVERFLOW.into(), 1));
}

#[test]
fn a_cache_asks_again_in_every_epoch_so_that_what_is_in_use_stays() {
    let names = Interner::new(limits());
    let mut cache = InternCache::default();
    let mut keys = BTreeSet::new();
    for _ in 0..10 {
        cache.trim(&names);
        let service = cache.resource(&names, b"cart", AttrSetId::EMPTY);
        keys.insert(cache.key(&names, service, b"a", SpanKind::Server));
        pass(&names, 1);
    }
    assert_eq!(keys.len(), 1);
}

#[test]
fn a_lasting_string_is_never_given_back() {
    let names = Interner::new(limits());
    let (lasting, other) = (names.lasting_string(b"zone"), names.string(b"other"));
    pass(&names, 5);
    assert_eq!((&*names.text(lasting), &*names.text(other)), ("zone", OVERFLOW));
}

#[test]
fn what_is_given_back_while_others_ask_is_never_taken_for_something_else() {
    let names = Interner::new(InternLimits { operations: 5_000, ..InternLimits::default() });
    let asked: Vec<String> = (0..50).map(|name| format!("asked {name}")).collect();
    std::thread::scope(|scope| {
        let ends = scope.spawn(|| {
            for round in 0..60 {
                for name in 0..500 {
                    operation(&names, "cart", &format!("{round} {name}"));
                }
                names.give_back(&Held::new(1));
            }
        });
        let mut rounds = 0;
        while !ends.is_finished() || rounds == 0 {
            for name in &asked {
                // Epochs may end between the two: then it reads as nothing.
                let (service, operation) = text(&names, operation(&names, "shop", name));
                assert!(service == "shop" || service == OVERFLOW, "{service}");
                assert!(operation == *name || operation == OVERFLOW, "{operation}");
            }
            rounds += 1;
        }
    });
    pass(&names, EPOCHS + 1);
    assert_eq!((names.operations(), names.symbols.len()), (0, 1), "counts come out even");
}

/// What somebody does with the table.
#[derive(Clone, Debug)]
enum Step {
    Operation(u8, u8),
    Attribute(u8, u8),
    /// The numbers with these ages are held, the others are not.
    GiveBack(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..5u8, 0..9u8).prop_map(|(service, name)| Step::Operation(service, name)),
        3 => (0..3u8, 0..6u8).prop_map(|(name, value)| Step::Attribute(name, value)),
        2 => any::<u8>().prop_map(Step::GiveBack),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    /// A number reads as what it was given out for or, once that was given back, as the overflow; never as
    /// something else. What is in use or held reads as itself. The limits hold, and counts come out even.
    #[test]
    fn a_number_is_never_confused_with_another(steps in steps()) {
        let names = Interner::new(limits());
        // All numbers ever given out, by what for, and when last.
        let mut keys: BTreeMap<KeyId, ((String, String), u32)> = BTreeMap::new();
        let mut sets: BTreeMap<AttrSetId, (String, u32)> = BTreeMap::new();
        for step in steps {
            let epoch = names.epoch();
            match step {
                Step::Operation(service, name) => {
                    let wanted = (format!("service {service}"), format!("name {name}"));
                    let key = operation(&names, &wanted.0, &wanted.1);
                    let got = text(&names, key);
                    let folded = |part: &str, wanted: &str| part == wanted || part == OVERFLOW;
                    prop_assert!(folded(&got.0, &wanted.0) && folded(&got.1, &wanted.1));
                    if let Some((before, _)) = keys.insert(key, (got.clone(), epoch)) {
                        prop_assert_eq!(before, got);
                    }
                }
                Step::Attribute(name, value) => {
                    let pair = [format!("name {name}"), format!("value {value}")];
                    let [name, value] = [0, 1].map(|at: usize| names.string(pair[at].as_bytes()));
                    let set = names.attr_set(&mut [(name, value)]);
                    let written = |set: AttrSetId| -> String {
                        let pairs = names.attributes(set);
                        pairs.iter().map(|&(n, v)| format!("{}={}", names.text(n), names.text(v))).collect()
                    };
                    let got = written(set);
                    if let Some((before, _)) = sets.insert(set, (got.clone(), epoch)) {
                        prop_assert_eq!(before, got);
                    }
                }
                Step::GiveBack(which) => {
                    let mut held = Held::new(EPOCHS);
                    let chosen = |number: u32| (which >> (number % 8)) & 1 == 1;
                    keys.keys().filter(|key| chosen(key.0)).for_each(|&key| held.key(key));
                    let before: Vec<_> =
                        keys.keys().map(|&key| (key, text(&names, key))).collect();
                    names.give_back(&held);
                    for (key, text_before) in before {
                        let now = text(&names, key);
                        let in_use = keys[&key].1 + EPOCHS >= names.epoch() || held.has_key(key);
                        prop_assert!(now == text_before || (now.1 == OVERFLOW && !in_use));
                    }
                }
            }
            let live = |key: &&KeyId| text(&names, **key).1 != OVERFLOW;
            prop_assert!(keys.keys().filter(live).count() <= limits().operations);
            prop_assert_eq!(names.operations.load(Ordering::Relaxed), keys.keys().filter(live).count());
            let per_service: usize = names.services.iter().map(|its| its.operations).sum();
            prop_assert_eq!(per_service, names.operations.load(Ordering::Relaxed));
            prop_assert!(names.services.len() <= limits().services && names.strings.len() <= limits().strings);
        }
    }
}
