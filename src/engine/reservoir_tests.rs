//! Traces go by; which of them are still there afterwards?

use super::*;
use crate::engine::testing::{Draft, service};
use crate::model::{InternLimits, Span, SpanKind};

struct World {
    names: Interner,
    reservoir: Reservoir,
    next: u128,
}

impl World {
    fn new(bytes: usize) -> World {
        let names = Interner::new(InternLimits::default());
        let limits = KeepLimits { bytes, incidents: 3 };
        World { names, reservoir: Reservoir::new(limits), next: 1 }
    }

    fn entry(&self, service: &str) -> KeyId {
        let service = self.names.service(service.as_bytes());
        self.names.key(service, b"GET /", SpanKind::Server)
    }

    /// A trace that ended at `at` seconds and took `millis`; its number.
    fn pass(&mut self, service: &str, at: u64, millis: u64, open: &[Incident]) -> u128 {
        let number = self.next;
        self.next += 1;
        let sample = Arc::new(Sample {
            trace: TraceId::new(number).expect("not zero"),
            entry: self.entry(service),
            end: Timestamp::from_secs(at),
            duration: Nanos::from_millis(millis),
            spans: spans(10),
        });
        let samples = Samples { usual: vec![Arc::clone(&sample)], slowest: vec![sample] };
        self.reservoir.absorb(samples, open, &self.names);
        number
    }

    fn has(&self, number: u128) -> bool {
        self.reservoir.find(TraceId::new(number).expect("not zero")).is_some()
    }

    fn roles(&self, incident: u64) -> Vec<(Role, u128)> {
        let kept = self.reservoir.of_incident(incident, &self.names);
        kept.iter().map(|one| (one.role, one.trace.get())).collect()
    }
}

fn spans(count: u64) -> Vec<Span> {
    let drafts: Vec<Draft> = (1..=count).map(|id| Draft::new(id, 0, service(1))).collect();
    Draft::build(&drafts).0
}

fn incident(id: u64, start: u64, entry: &str, baseline_ms: u64) -> Incident {
    Incident {
        id,
        start: Timestamp::from_secs(start),
        entries: vec![EntryImpact {
            service: entry.into(),
            operation: "GET /".into(),
            span_kind: SpanKind::Server,
            excess_seconds: 1.0,
            baseline_seconds: baseline_ms as f64 / 1e3,
            recent_seconds: 1.0,
        }],
        ..Incident::default()
    }
}

#[test]
fn the_typical_trace_is_the_one_nearest_to_the_median() {
    let mut world = World::new(1 << 20);
    for (at, millis) in [(0, 500), (5, 90), (10, 110), (15, 100), (20, 20), (25, 130)] {
        world.pass("shop", at, millis, &[]);
    }
    // Sorted: 20, 90, 100, 110, 130, 500; the lower of the two middle ones is 100.
    let kept = world.reservoir.all(&world.names);
    let typical: Vec<f64> =
        kept.iter().filter(|one| one.role == Role::Typical).map(|one| one.seconds).collect();
    assert_eq!(typical, [0.100]);
}

#[test]
fn a_typical_trace_that_is_old_gives_way() {
    let mut world = World::new(1 << 20);
    let old = world.pass("shop", 0, 100, &[]);
    for at in 1..=50 {
        world.pass("shop", 10 * at, 100, &[]);
    }
    assert!(world.has(old), "as near to the median as any, and young enough");
    let new = world.pass("shop", 601, 180, &[]);
    assert!(!world.has(old) && world.has(new));
}

#[test]
fn an_incident_takes_its_first_traces_from_the_last_minutes() {
    let mut world = World::new(1 << 20);
    let usual = world.pass("shop", 100, 100, &[]);
    let slow = world.pass("shop", 121, 400, &[]);
    let early = world.pass("shop", 119, 390, &[]);
    let elsewhere = world.pass("other", 122, 900, &[]);
    world.pass("quiet", 123, 1, &[incident(1, 120, "shop", 150)]);
    assert_eq!(world.roles(1), [(Role::Typical, usual), (Role::Slowest, slow)]);
    assert!(!world.roles(1).iter().any(|&(_, trace)| trace == early || trace == elsewhere));
}

#[test]
fn an_incident_keeps_its_slowest_and_its_newest() {
    let mut world = World::new(1 << 20);
    let open = [incident(1, 100, "shop", 150)];
    let numbers: Vec<u128> =
        (0..20).map(|at| world.pass("shop", 100 + at, 1_000 - 10 * at, &open)).collect();
    let expected: Vec<(Role, u128)> = numbers[..3]
        .iter()
        .map(|&number| (Role::Slowest, number))
        .chain(numbers[16..].iter().rev().map(|&number| (Role::Newest, number)))
        .collect();
    assert_eq!(world.roles(1), expected);
    let fast = world.pass("shop", 130, 150, &open);
    assert!(!world.roles(1).iter().any(|&(_, trace)| trace == fast), "not slower than normal");
}

#[test]
fn what_was_typical_before_an_incident_is_kept_with_it() {
    let mut world = World::new(1 << 20);
    let before = world.pass("shop", 0, 100, &[]);
    let open = [incident(1, 10, "shop", 150)];
    let slow = world.pass("shop", 11, 900, &open);
    for at in 0..200 {
        world.pass("shop", 700 + 5 * at, 800, &[]);
    }
    let of = |number: u128| {
        let sample = world.reservoir.find(TraceId::new(number).expect("not zero"));
        let typical = world.reservoir.typical_for(&sample.expect("is kept"));
        typical.expect("has one").trace.get()
    };
    assert_eq!(of(slow), before);
    assert_ne!(of(world.next - 1), before, "today's normal is another");
}

#[test]
fn what_came_by_is_forgotten_after_two_minutes() {
    let mut world = World::new(1 << 20);
    world.pass("shop", 0, 100, &[]);
    let odd = world.pass("shop", 1, 777, &[]);
    assert!(world.has(odd));
    world.pass("shop", 122, 100, &[]);
    assert!(!world.has(odd));
}

#[test]
fn bytes_are_bounded_whatever_comes_and_what_finds_no_room_is_counted() {
    let limit = 60_000;
    let mut world = World::new(limit);
    for number in 0..200 {
        let open = [incident(1 + number / 50, 0, "shop", 10)];
        world.pass(&format!("service-{number}"), number, 100, &open);
        world.pass("shop", number, 1_000 + number, &open);
        assert!(world.reservoir.bytes() <= limit, "{}", world.reservoir.bytes());
    }
    assert!(world.reservoir.turned_away() > 0);
    assert!(!world.roles(4).is_empty(), "the open incident keeps some");
    assert!(world.roles(1).is_empty(), "more than three incidents were not to be kept");
}

#[test]
fn an_incident_that_is_over_gives_way_to_one_that_is_open() {
    let one = Sample {
        trace: TraceId::new(1).expect("not zero"),
        entry: KeyId(0),
        end: Timestamp::default(),
        duration: Nanos::ZERO,
        spans: spans(10),
    };
    // Room for six traces of incidents.
    let room = 3 * 6 * one.bytes();
    let mut world = World::new(room);
    for at in 0..10 {
        world.pass("shop", at, 500 + at, &[incident(1, 0, "shop", 10)]);
    }
    assert_eq!(
        world.roles(1).len(),
        4,
        "three slowest; of the four newest one that is not among them"
    );
    for at in 10..20 {
        world.pass("shop", at, 500 + at, &[incident(2, 10, "shop", 10)]);
    }
    assert_eq!((world.roles(1).len(), world.roles(2).len()), (0, 4));
    assert!(world.reservoir.bytes() <= room);
}

#[test]
fn everything_kept_is_listed_once_in_a_fixed_order() {
    let mut world = World::new(1 << 20);
    world.pass("b", 0, 100, &[]);
    world.pass("a", 1, 100, &[]);
    let open = [incident(1, 2, "b", 50)];
    let slow = world.pass("b", 3, 900, &open);
    let all: Vec<u128> =
        world.reservoir.all(&world.names).iter().map(|one| one.trace.get()).collect();
    assert_eq!(all, [1, slow, 2]);
}
