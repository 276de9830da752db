//! The whole of laghound in virtual time: senders, shards, judge, pages, snapshots on a disk, and a
//! process that is killed and comes back. Every step is chosen by a seed (or a fuzzer), and after every
//! step the laws are checked.
//!
//! There is no thread, no clock and no disk in it, so a seed is a run to the byte: months pass in minutes,
//! and a failure comes back as often as it is asked for. Three programs share it: `cargo test` runs some
//! minutes of it, the example `months` runs months, the fuzz target `engine` lets coverage choose.
// Each of the three uses its part, and a world that breaks its own promises ends by a panic.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod choice;
pub mod disk;
pub mod laws;
pub mod steps;
pub mod traffic;

use std::sync::Arc;

use laghound::engine::account::Account;
use laghound::engine::verdict::{Board, Event};
use laghound::engine::{Engine, EngineParams};
use laghound::live::snapshot::image::Image;
use laghound::live::snapshot::store::{Found, Store};
use laghound::model::{InternLimits, Interner, Nanos, SpanRecord, Timestamp};
use laghound::otlp::{AttributeRules, Interest};
use laghound::sim::Random;

use disk::FaultyDisk;
use traffic::Traffic;

/// What a world begins with.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Which world.
    pub seed: u64,
    /// The engine's settings.
    pub params: EngineParams,
    /// Names kept apart.
    pub names: InternLimits,
    /// Shards of the first process; later ones have one to three.
    pub shards: usize,
    /// When it begins.
    pub start: Timestamp,
}

impl Setup {
    /// The default settings on an ordinary day.
    pub fn new(seed: u64) -> Setup {
        Setup {
            seed,
            params: EngineParams::default(),
            names: InternLimits::default(),
            shards: 1,
            start: Timestamp::from_secs(1_790_000_000),
        }
    }

    /// Limits so small that each is met within minutes.
    pub fn tight(seed: u64) -> Setup {
        let mut setup = Setup::new(seed);
        setup.params.assembly.max_traces = 40;
        setup.params.assembly.max_spans = 150;
        setup.params.assembly.max_spans_per_trace = 12;
        setup.params.max_nodes = 24;
        setup.params.max_paths = 40;
        setup.params.max_incidents = 3;
        // What is idle is forgotten within minutes, after longer than a span may be late.
        setup.params.detection.era = 12;
        setup.params.detection.eras = 4;
        setup.params.expire_after = Nanos::from_secs(120);
        setup.names.services = 6;
        setup.names.operations = 14;
        setup.names.operations_per_service = 5;
        setup.names.strings = 10;
        setup.names.attr_sets = 4;
        setup
    }
}

/// One run of the process.
pub struct Life {
    pub engine: Engine,
    pub names: Arc<Interner>,
    pub rules: Arc<AttributeRules>,
    /// Spans given to it.
    pub handed_in: u64,
    /// The account when the laws were last checked.
    pub before: Account,
    /// The board when the laws were last checked.
    pub board: Board,
}

/// A snapshot of which it was said that it is on the disk.
pub struct Saved {
    pub image: Image,
    /// The board of the moment it was taken.
    pub board: Board,
}

/// The world.
pub struct World {
    pub setup: Setup,
    pub life: Life,
    /// Arrival time as the process sees it.
    pub now: Timestamp,
    pub disk: FaultyDisk,
    pub store: Store<FaultyDisk>,
    /// Snapshots that a process that comes back may find: the last that was acknowledged, and those
    /// tried since.
    pub saved: Vec<Saved>,
    /// Whether the oldest of `saved` was acknowledged; else there may also be none.
    pub acknowledged: bool,
    pub traffic: Traffic,
    /// Spans of late, which are sent again by senders that got no answer.
    pub sent: Vec<SpanRecord>,
    /// Everything said so far, with the time it was said at.
    pub said: Vec<(Timestamp, Event)>,
    /// Steps so far.
    pub steps: u64,
    pub tally: Tally,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub spans: u64,
    pub ticks: u64,
    pub scrapes: u64,
    pub saves: u64,
    pub failed_saves: u64,
    pub starts: u64,
    pub restored: u64,
    pub cold: u64,
    pub incidents: u64,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let World { setup, steps, tally, .. } = self;
            eprintln!("the world of seed {} broke at step {steps}: {tally:?}", setup.seed);
        }
    }
}

impl Life {
    fn names(setup: &Setup) -> (Arc<Interner>, Arc<AttributeRules>) {
        let names = Arc::new(Interner::new(setup.names));
        let rules = Arc::new(AttributeRules::new(&Interest::default(), &names));
        (names, rules)
    }

    fn cold(setup: &Setup, shards: usize) -> Life {
        let (names, rules) = Life::names(setup);
        let engine = Engine::new(setup.params, Arc::clone(&names), shards).forgetting();
        Life::begin(engine, names, rules)
    }

    fn begin(engine: Engine, names: Arc<Interner>, rules: Arc<AttributeRules>) -> Life {
        let board = engine.board();
        Life { engine, names, rules, handed_in: 0, before: Account::default(), board }
    }
}

impl World {
    /// A world at its beginning: an empty disk, a process that knows nothing.
    pub fn new(setup: Setup) -> World {
        let disk = FaultyDisk::default();
        World {
            life: Life::cold(&setup, setup.shards),
            now: setup.start,
            store: Store::new(disk.clone()),
            disk,
            saved: Vec::new(),
            acknowledged: false,
            traffic: Traffic::new(Random::new(setup.seed, 1)),
            sent: Vec::new(),
            said: Vec::new(),
            steps: 0,
            tally: Tally { starts: 1, cold: 1, ..Tally::default() },
            setup,
        }
    }

    /// Hands spans in, now.
    pub fn ingest(&mut self, spans: &[SpanRecord]) {
        self.life.engine.ingest(spans, self.now);
        self.life.handed_in += spans.len() as u64;
        self.tally.spans += spans.len() as u64;
        /// Spans that a sender may still have and send again.
        const KEPT: usize = 64;
        self.sent.extend_from_slice(spans);
        let surplus = self.sent.len().saturating_sub(KEPT);
        self.sent.drain(..surplus);
    }

    /// Lets the engine close and judge what is due.
    pub fn tick(&mut self) {
        let events = self.life.engine.tick(self.now);
        self.hear(events);
        self.tally.ticks += 1;
    }

    fn hear(&mut self, events: Vec<Event>) {
        for event in events {
            self.tally.incidents += u64::from(matches!(event, Event::Opened(_)));
            self.said.push((self.now, event));
        }
    }

    /// Lets so many seconds pass as they do live: spans come, and a tick each second.
    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Nanos::from_secs(1);
            let spans = self.traffic.second(self.now, &self.life.names);
            self.ingest(&spans);
            self.tick();
        }
    }

    /// Takes a snapshot and tries to save it.
    pub fn save(&mut self) {
        let image = self.image();
        let board = self.life.engine.board();
        let result = self.store.save(&image);
        self.tally.saves += 1;
        if result.is_ok() {
            self.saved.clear();
        } else {
            self.tally.failed_saves += 1;
        }
        self.acknowledged |= result.is_ok();
        self.saved.push(Saved { image, board });
    }

    /// What would be saved now.
    pub fn image(&self) -> Image {
        Image::take(self.now, |out| self.life.engine.save(out)).expect("memory takes it all")
    }

    /// The process ends as it does after SIGTERM: everything is judged, and saved.
    pub fn stop(&mut self) {
        let events = self.life.engine.finish(self.now);
        self.hear(events);
        laws::check(self);
        self.save();
    }

    /// A process starts, on whatever is on the disk, after so much time without one.
    pub fn start(&mut self, after: Nanos, shards: usize) {
        self.now = self.now + after;
        self.sent.clear();
        self.disk.recover();
        let is_settled = self.disk.is_settled();
        let found = self.store.load(self.now);
        let life = self.revive(&found, shards);
        laws::check_found(self, &found);
        self.tally.starts += 1;
        let warm = life.as_ref().is_some_and(|(_, baselines)| *baselines);
        self.tally.restored += u64::from(warm);
        self.tally.cold += u64::from(!warm);
        self.life = life.map_or_else(|| Life::cold(&self.setup, shards), |(life, _)| life);
        // What was on its way to the disk when the last process ended is gone.
        let place = self
            .saved
            .iter()
            .position(|saved| matches!(&found, Found::Image(image) if *image == saved.image));
        self.saved.truncate(place.map_or(0, |place| place + 1));
        if is_settled && let Some(place) = place {
            self.saved.drain(..place);
            self.acknowledged = true;
        }
        // Else it is there as long as the power is: without it, one before it comes back, or none.
        self.acknowledged &= !self.saved.is_empty();
    }

    /// A process on what was found, and whether it still knows what is normal.
    fn revive(&self, found: &Found, shards: usize) -> Option<(Life, bool)> {
        let Found::Image(image) = found else { return None };
        let (names, rules) = Life::names(&self.setup);
        let mut content = image.content().expect("the decoder has memory");
        let params = self.setup.params;
        let (at, now) = (image.saved_at(), self.now);
        let restored = Engine::restore(params, Arc::clone(&names), shards, &mut content, at, now);
        let restored = restored.expect("what was saved can be restored");
        Some((Life::begin(restored.engine.forgetting(), names, rules), restored.baselines))
    }
}
