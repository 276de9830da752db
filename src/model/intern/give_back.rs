//! Names that nobody uses are given back, so that names which somebody made up for an hour do not take
//! the room of others for ever.
//!
//! A name goes once nobody has asked for it for some epochs and whoever keeps numbers does not hold it:
//! the judge (what is normal, what is wrong) and the traces kept to be looked at say what they hold. What
//! is on its way from a decoder to the judge needs no saying, because so many epochs are longer than that
//! takes. The judge ends an epoch, by slices judged; nothing here reads a clock.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use foldhash::fast::RandomState;

use super::{Interner, Members, OVERFLOW_SYM};
use crate::model::{AttrSetId, KeyId, Span, Sym};

type Set<T> = HashSet<T, RandomState>;

/// Numbers that are kept somewhere, whether or not anybody asks for their names.
#[derive(Debug, Default)]
pub struct Held {
    /// Epochs that a name is kept for after it was last asked for.
    pub epochs: u32,
    keys: Set<KeyId>,
    names: Set<Sym>,
    attr_sets: Set<AttrSetId>,
}

impl Held {
    /// Nothing, yet.
    pub fn new(epochs: u32) -> Held {
        Held { epochs, ..Held::default() }
    }

    /// An operation, with its names.
    pub fn key(&mut self, key: KeyId) {
        self.keys.insert(key);
    }

    /// A service or a dependency.
    pub fn name(&mut self, name: Sym) {
        self.names.insert(name);
    }

    /// Everything that a span says.
    pub fn span(&mut self, span: &Span) {
        self.keys.insert(span.key);
        self.names.extend(span.peer);
        self.attr_sets.insert(span.attrs);
    }

    /// Whether it is an operation that is held.
    pub fn has_key(&self, key: KeyId) -> bool {
        self.keys.contains(&key)
    }

    /// Whether it is the name of a service or a dependency that is held.
    pub fn has_name(&self, name: Sym) -> bool {
        self.names.contains(&name)
    }
}

impl Interner {
    /// The epoch: counts up whenever names were given back. Who remembers numbers by their names asks
    /// again in every epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Operations, services, dependencies and attribute sets that were given back so far.
    pub fn given_back(&self) -> u64 {
        self.given_back.load(Ordering::Relaxed)
    }

    /// Ends the epoch, then gives back whatever nobody has asked for since `held.epochs` epochs and is not
    /// in `held`. Who is to go is found out while others ask for names; whoever asks for one of them then is
    /// known by the new epoch, and it stays. The rest goes a few at a time, from what names others to what is
    /// named, and others wait for these few only.
    pub fn give_back(&self, held: &Held) {
        let now = 1 + self.while_nobody_asks(|| self.epoch.fetch_add(1, Ordering::Relaxed));
        let oldest = now.saturating_sub(held.epochs);
        let mut given_back = self.give_back_attr_sets(held, oldest);
        given_back += self.give_back_keys(held, oldest);
        given_back += self.give_back_strings(held, oldest);
        given_back += self.give_back_services(held, oldest);
        self.give_back_symbols(held, now);
        self.given_back.fetch_add(given_back as u64, Ordering::Relaxed);
    }

    fn while_nobody_asks<T>(&self, step: impl FnOnce() -> T) -> T {
        let _nobody_asks = self.asking.write().unwrap_or_else(PoisonError::into_inner);
        step()
    }

    /// Lets go of some of those that are idle, and then of others; returns how many went.
    fn in_steps<T>(&self, idle: &[T], step: impl Fn(&[T]) -> usize) -> usize {
        /// A tenth of a millisecond of work, or two.
        const AT_ONCE: usize = 256;
        idle.chunks(AT_ONCE).map(|some| self.while_nobody_asks(|| step(some))).sum()
    }

    fn give_back_attr_sets(&self, held: &Held, oldest: u32) -> usize {
        let idle = self.attr_sets.idle(|number, seen| {
            seen.is_before(oldest) && !held.attr_sets.contains(&AttrSetId(number))
        });
        self.in_steps(&idle, |some| self.attr_sets.give_back(some, oldest).len())
    }

    fn give_back_keys(&self, held: &Held, oldest: u32) -> usize {
        let idle =
            self.keys.idle(|number, seen| seen.is_before(oldest) && !held.has_key(KeyId(number)));
        self.in_steps(&idle, |some| {
            let gone = self.keys.give_back(some, oldest);
            for key in gone.iter().filter(|key| key.name != OVERFLOW_SYM) {
                self.operations.fetch_sub(1, Ordering::Relaxed);
                if let Some(mut service) = self.services.get_mut(&key.service) {
                    service.operations = service.operations.saturating_sub(1);
                }
            }
            gone.len()
        })
    }

    fn give_back_strings(&self, held: &Held, oldest: u32) -> usize {
        let mut used: Set<Sym> = Set::default();
        self.attr_sets.for_each(|set| used.extend(set.iter().flat_map(|&(name, of)| [name, of])));
        self.leave(&self.strings, held, oldest, &used)
    }

    fn give_back_services(&self, held: &Held, oldest: u32) -> usize {
        let mut used: Set<Sym> = Set::default();
        self.keys.for_each(|key| used.extend([key.service]));
        self.leave(&self.services, held, oldest, &used)
    }

    /// Lets go of those of `members` that are idle and neither used nor held.
    fn leave(&self, members: &Members, held: &Held, oldest: u32, used: &Set<Sym>) -> usize {
        let idle = members.iter().filter(|member| {
            let name = member.key();
            member.seen.is_before(oldest) && !used.contains(name) && !held.has_name(*name)
        });
        let idle: Vec<Sym> = idle.map(|member| *member.key()).collect();
        self.in_steps(&idle, |some| {
            let goes = |name| members.remove_if(name, |_, member| member.seen.is_before(oldest));
            some.iter().filter_map(goes).count()
        })
    }

    /// Symbols are in use as long as anything is named by them. What came to use one after `now` began has
    /// asked for it.
    fn give_back_symbols(&self, held: &Held, now: u32) {
        let mut used: Set<Sym> = Set::default();
        self.keys.for_each(|key| used.extend([key.service, key.name]));
        for members in [&self.services, &self.strings] {
            used.extend(members.iter().map(|member| *member.key()));
        }
        let idle = self.symbols.idle(|number, seen| {
            let name = Sym(number);
            seen.is_before(now) && !used.contains(&name) && !held.has_name(name)
        });
        self.in_steps(&idle, |some| self.symbols.give_back(some, now).len());
    }
}

#[cfg(test)]
#[path = "give_back_tests.rs"]
mod tests;
