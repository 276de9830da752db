//! The classes of faults, and the cases of each: a class, a size and a seed make one run and its truth.

mod calls;
mod draft;
mod fleet;
mod quiet;
mod several;
mod work;

use draft::{Draft, Recipe};

use super::build::Wish;
use super::effect::Effect;
use super::faults::Fault;
use super::process::Life;
use super::rand::mix;
use super::scenario::{Scenario, Variant};
use super::truth::Truth;

/// One kind of thing that may happen.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    /// What happens, in words.
    pub(crate) about: &'static str,
    /// Nobody should be named.
    pub(crate) quiet: bool,
    /// Its size can be chosen; otherwise it is as large as it is.
    pub(crate) sized: bool,
    times: Times,
    wish: fn() -> Wish,
    recipe: fn(&mut Draft) -> Recipe,
}

/// Seconds: when it begins (at the earliest, and within how long), how long it lasts, what follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) before: f64,
    pub(crate) spread: f64,
    pub(crate) lasts: f64,
    pub(crate) after: f64,
}

const USUAL: Times = Times { before: 420.0, spread: 60.0, lasts: 240.0, after: 90.0 };

/// A class, a size and a seed.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) class: &'static Class,
    /// By what share the entry that suffers most should take longer, about.
    pub(crate) size: f64,
    pub(crate) seed: u64,
}

/// A case made ready to run.
pub(crate) struct Built {
    pub(crate) scenario: Scenario,
    pub(crate) truth: Truth,
    /// The size of the fault in its own unit: nanoseconds, a share, a number of calls.
    pub(crate) magnitude: f64,
}

impl Class {
    const fn fault(
        name: &'static str,
        about: &'static str,
        recipe: fn(&mut Draft) -> Recipe,
    ) -> Class {
        Class { name, about, quiet: false, sized: true, times: USUAL, wish: Wish::default, recipe }
    }

    const fn quiet(
        name: &'static str,
        about: &'static str,
        recipe: fn(&mut Draft) -> Recipe,
    ) -> Class {
        let times = Times { before: 420.0, spread: 60.0, lasts: 1200.0, after: 1800.0 };
        Class { name, about, quiet: true, sized: false, times, wish: Wish::default, recipe }
    }

    /// How long a run of it is, about.
    pub(crate) fn seconds(&self) -> f64 {
        self.times.before + self.times.lasts + self.times.after
    }

    const fn of(self, wish: fn() -> Wish) -> Class {
        Class { wish, ..self }
    }

    const fn timed(self, times: Times) -> Class {
        Class { times, ..self }
    }

    const fn unsized_(self) -> Class {
        Class { sized: false, ..self }
    }
}

/// All classes, faults first.
pub(crate) static CLASSES: &[Class] = &[
    Class::fault("slow_service", "every operation of a service is slower", work::slow_service),
    Class::fault("slow_operation", "one operation of a service is slower", work::slow_operation),
    Class::fault("slow_database", "a database answers more slowly", calls::slow_database),
    Class::fault("slow_third_party", "a third party answers more slowly", calls::slow_third_party),
    Class::fault("edge_delay", "the network between two services is slower", calls::edge_delay),
    Class::fault("host_delay", "the network of a whole host is slower", calls::host_delay),
    Class::fault(
        "edge_stalls",
        "packets are lost: stalls in 2-8 % of the calls of an edge",
        calls::edge_stalls,
    ),
    Class::fault("intermittent", "1-20 % of the calls of a service stall", work::intermittent),
    Class::fault("ramp", "a service gets slower over three minutes", work::ramp)
        .timed(Times { lasts: 360.0, ..USUAL }),
    Class::fault("n_plus_one", "an operation makes one of its calls many times", calls::n_plus_one),
    Class::fault(
        "lost_parallelism",
        "parallel calls run one after the other",
        calls::lost_parallelism,
    )
    .unsized_(),
    Class::fault("bad_instance", "one instance of several is slower", fleet::bad_instance),
    Class::fault("bad_version", "a rolling deployment brings a slower version", fleet::bad_version),
    Class::fault("slow_tenant", "a service is slower for one tenant or region", work::slow_tenant),
    Class::fault("lock_contention", "a lock in a service is held longer", work::lock_contention),
    Class::fault(
        "pool_exhaustion",
        "a slow callee exhausts its caller's connections",
        calls::pool_exhaustion,
    ),
    Class::fault("retry_storm", "an operation fails and is tried again", calls::retry_storm),
    Class::fault(
        "timeouts",
        "some calls of an operation hang until the caller gives up",
        calls::timeouts,
    ),
    Class::fault(
        "cache_stampede",
        "a cache misses, its store is asked instead",
        calls::cache_stampede,
    ),
    Class::fault("gc_pauses", "the processes of a service stop again and again", work::gc_pauses),
    Class::fault(
        "cpu_throttling",
        "the processes of a service stop in every period",
        work::cpu_throttling,
    ),
    Class::fault("cold_start", "instances added in a surge are cold", fleet::cold_start)
        .timed(Times { lasts: 150.0, ..USUAL }),
    Class::fault(
        "slow_consumer",
        "a consumer of messages is slower and falls behind",
        work::slow_consumer,
    ),
    Class::fault("two_faults", "two of these at once", several::two),
    Class::fault("three_faults", "three of these at once", several::three),
    Class::fault(
        "while_learning",
        "a service is slow from the second minute on",
        work::slow_service,
    )
    .timed(Times { before: 90.0, spread: 60.0, lasts: 480.0, after: 90.0 }),
    Class::fault("ramp_hours", "a service gets slower over two hours", work::ramp_hours)
        .timed(Times { before: 1200.0, spread: 60.0, lasts: 9000.0, after: 300.0 }),
    Class::fault("six_hours", "a service is slow for six hours", work::slow_service).timed(Times {
        before: 1200.0,
        spread: 60.0,
        lasts: 21600.0,
        after: 600.0,
    }),
    Class::quiet("steady", "nothing happens", quiet::steady),
    Class::quiet("surge", "twice to three times the requests for twenty minutes", quiet::surge),
    Class::quiet("mix_change", "one entry gets four times its requests", quiet::mix_change),
    Class::quiet("waves", "high hourly and daily waves of load", quiet::steady).timed(Times {
        before: 420.0,
        spread: 60.0,
        lasts: 10800.0,
        after: 300.0,
    }),
    Class::quiet(
        "slower_version",
        "a deployment makes a small operation 1.5 times as slow",
        quiet::slower_version,
    ),
    Class::quiet("drift", "everything of a service gets 10 % slower over two hours", quiet::drift)
        .timed(Times { before: 420.0, spread: 60.0, lasts: 7200.0, after: 300.0 }),
    Class::quiet("restart", "half the instances of every service are restarted", quiet::restart),
    Class::quiet(
        "nightly_batch",
        "a batch of other requests for twenty minutes",
        quiet::nightly_batch,
    ),
    Class::quiet(
        "lost_spans",
        "one batch of spans in ten is lost for twenty minutes",
        quiet::lost_spans,
    ),
    Class::quiet(
        "day",
        "a working day: waves, a batch, surges, a deployment, restarts, lost spans",
        quiet::day,
    )
    .timed(Times { before: 420.0, spread: 60.0, lasts: 86400.0, after: 60.0 })
    .of(small),
];

/// Systems that can be simulated for a day.
fn small() -> Wish {
    Wish { rate: (1.0, 5.0), ..Wish::default() }
}

pub(crate) fn class(name: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|class| class.name == name)
}

impl Case {
    /// `class/size in percent/seed`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{:.0}/{}", self.class.name, 100.0 * self.size, self.seed)
    }

    pub(crate) fn parse(name: &str) -> Option<Case> {
        let mut parts = name.split('/');
        let (class, size, seed) = (class(parts.next()?)?, parts.next()?, parts.next()?);
        let size: f64 = size.parse().ok()?;
        Some(Case { class, size: size / 100.0, seed: seed.parse().ok()? })
    }

    /// The run and its truth. The size of the fault is fitted to what is asked for by running the time of
    /// the fault, without spans, a few times.
    pub(crate) fn build(&self) -> Built {
        let name = self.class.name.bytes().fold(0, |key, byte| mix(key, u64::from(byte)));
        let mut draft = Draft::new(mix(self.seed, name), (self.class.wish)(), self.class.times);
        draft.size = self.size;
        draft.is_waves = self.class.name == "waves";
        let recipe = (self.class.recipe)(&mut draft);
        draft.ready(self, recipe)
    }
}

/// What a recipe makes of a magnitude.
#[derive(Default)]
pub(crate) struct Happening {
    pub(crate) faults: Vec<Fault>,
    /// What becomes of the instances, where that is part of it.
    pub(crate) lives: Option<Vec<Vec<Life>>>,
}

/// How often the size is fitted at most, and by how much it may still be off.
const FITS: usize = 10;
const OFF: std::ops::Range<f64> = 0.88..1.14;

/// Finds the magnitude whose effect on the requests of `span` is about `size`.
fn fit(recipe: &Recipe, size: f64, span: (u64, u64), of: impl Fn(f64) -> Scenario) -> f64 {
    let (least, most) = recipe.bounds;
    let mut magnitude = recipe.guess.clamp(least, most);
    // The largest that was too little and the least that was too much.
    let (mut below, mut above) = (0.0, f64::MAX);
    let sound = Effect::run(&of(magnitude), Variant::Sound, span);
    for _ in 0..FITS {
        let scenario = of(magnitude);
        let faulty = Effect::run(&scenario, Variant::Faulty, span);
        let effect = Effect::between(&sound, &faulty, span);
        let off = size / effect.largest(scenario.least_requests()).max(1e-4);
        if OFF.contains(&off) {
            break;
        }
        if off > 1.0 {
            below = f64::max(below, magnitude);
        } else {
            above = f64::min(above, magnitude);
        }
        let next = magnitude * off.clamp(0.2, 4.0);
        // Where queues fill up, effects jump: then by halves.
        let inside = next > below && next < above;
        let halved = (below * above).sqrt();
        magnitude = if inside || below == 0.0 || above == f64::MAX { next } else { halved };
        magnitude = magnitude.clamp(least, most);
    }
    magnitude
}
