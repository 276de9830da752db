//! Accepted = analyzed + dropped by reason + pending, after every step of any sequence of arrivals,
//! ticks and ends, whatever the spans say and whatever the clock does.

use std::cell::RefCell;
use std::collections::BTreeSet;

use laghound::engine::account::{Account, CloseReason, DropReason};
use laghound::engine::params::AssemblyParams;
use laghound::engine::{Engine, EngineParams};
use laghound::model::{Interner, Nanos, SpanKind, SpanRecord, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::world::{Draft, is_finite, names};

const START: Timestamp = Timestamp::from_secs(1_790_000_000);
const HOUR: Nanos = Nanos::from_secs(3600);
const FIFTY_YEARS: Nanos = Nanos::from_secs(50 * 365 * 86_400);

/// Limits so small that each is met.
fn params() -> EngineParams {
    let assembly = AssemblyParams {
        max_age: Nanos::from_secs(12),
        idle: Nanos::from_secs(8),
        remember: Nanos::from_secs(20),
        max_traces: 4,
        max_spans: 14,
        max_spans_per_trace: 4,
        ..AssemblyParams::default()
    };
    let max_incidents = 2;
    EngineParams {
        assembly,
        max_nodes: 12,
        max_paths: 16,
        max_incidents,
        ..EngineParams::default()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arrive(Vec<Stranger>),
    Clock(Clock),
    Tick,
    /// The end of the stream; what comes after it is taken all the same.
    End,
}

#[derive(Clone, Copy, Debug)]
enum Clock {
    Forward(Nanos),
    /// Somebody set it back.
    Back(Nanos),
    EndOfTime,
}

/// A span from strangers: ids are drawn from so few that duplicates, cycles, self-parents, shared ids
/// and orphans are common.
#[derive(Clone, Debug)]
struct Stranger {
    trace: u128,
    id: u64,
    parent: u64,
    service: usize,
    name: usize,
    kind: usize,
    when: When,
}

#[derive(Clone, Copy, Debug)]
enum When {
    /// Ended so many milliseconds ago and took so many.
    Lately(u64, u64),
    SinceTheEpoch,
    AtTheEpoch,
    UntilTheEndOfTime,
    AtTheEndOfTime,
    Ahead(Nanos),
    LongAgo(Nanos),
}

impl When {
    fn times(self, now: Timestamp) -> (Timestamp, Timestamp) {
        match self {
            When::Lately(ago, took) => {
                let end = now.saturating_sub(Nanos::from_millis(ago));
                (end.saturating_sub(Nanos::from_millis(took)), end)
            }
            When::SinceTheEpoch => (Timestamp(0), now),
            When::AtTheEpoch => (Timestamp(0), Timestamp(0)),
            When::UntilTheEndOfTime => (now, Timestamp(u64::MAX)),
            When::AtTheEndOfTime => (Timestamp(u64::MAX), Timestamp(u64::MAX)),
            When::Ahead(by) => (now + by, now + by),
            When::LongAgo(by) => (now.saturating_sub(by), now.saturating_sub(by)),
        }
    }
}

impl Stranger {
    fn record(&self, names: &Interner, now: Timestamp) -> SpanRecord {
        let (start, end) = self.when.times(now);
        let draft = Draft {
            trace: self.trace,
            id: self.id,
            parent: self.parent,
            service: ["shop", "cart", "bank"][self.service],
            name: ["a", "b", "c"][self.name],
            kind: SpanKind::ALL[self.kind],
            start,
            end,
        };
        draft.record(names)
    }
}

fn whens() -> impl Strategy<Value = When> {
    prop_oneof![
        20 => (0u64..20_000, 0u64..3_000).prop_map(|(ago, took)| When::Lately(ago, took)),
        1 => Just(When::SinceTheEpoch),
        1 => Just(When::AtTheEpoch),
        1 => Just(When::UntilTheEndOfTime),
        1 => Just(When::AtTheEndOfTime),
        1 => Just(When::Ahead(Nanos::from_secs(50))),
        1 => Just(When::Ahead(HOUR)),
        1 => Just(When::LongAgo(Nanos::from_secs(250))),
        1 => Just(When::LongAgo(HOUR)),
    ]
}

fn strangers() -> impl Strategy<Value = Stranger> {
    (1u128..9, 1u64..9, 0u64..11, 0usize..3, 0usize..3, 0..SpanKind::ALL.len(), whens()).prop_map(
        |(trace, id, parent, service, name, kind, when)| {
            // One span in eleven by chance alone is a root; half of what is sent is.
            let parent = if id == 1 { 0 } else { parent };
            Stranger { trace, id, parent, service, name, kind, when }
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let clock = prop_oneof![
        20 => (0u64..6_000).prop_map(|ms| Clock::Forward(Nanos::from_millis(ms))),
        3 => (0u64..600).prop_map(|secs| Clock::Forward(Nanos::from_secs(secs))),
        1 => Just(Clock::Forward(HOUR)),
        1 => Just(Clock::Forward(FIFTY_YEARS)),
        2 => (0u64..20).prop_map(|secs| Clock::Back(Nanos::from_secs(secs))),
        1 => Just(Clock::EndOfTime),
    ];
    let step = prop_oneof![
        8 => prop::collection::vec(strangers(), 0..8).prop_map(Step::Arrive),
        6 => clock.prop_map(Step::Clock),
        6 => Just(Step::Tick),
        1 => Just(Step::End),
    ];
    prop::collection::vec(step, 1..60)
}

/// What must hold between two looks at the books.
fn check(before: &Account, after: &Account, handed_in: u64, shards: usize) {
    assert!(after.balances(), "{after:?}");
    assert_eq!(after.accepted, handed_in);
    assert!(after.analyzed >= before.analyzed);
    for reason in DropReason::ALL {
        assert!(after.dropped.get(&reason) >= before.dropped.get(&reason), "{reason:?}");
    }
    for reason in CloseReason::ALL {
        assert!(after.closed.get(&reason) >= before.closed.get(&reason), "{reason:?}");
    }
    // Each shard has its part of the limits, rounded up.
    let limit = |limit: usize| (limit.div_ceil(shards) * shards) as u64;
    assert!(after.pending_spans <= limit(params().assembly.max_spans));
    assert!(after.pending_traces <= limit(params().assembly.max_traces));
    assert_eq!(after.pending_traces == 0, after.pending_spans == 0);
}

fn run(steps: &[Step], shards: usize) -> Account {
    let names = names();
    let mut engine = Engine::new(params(), names.clone(), shards);
    let (mut now, mut handed_in, mut before) = (START, 0, Account::default());
    for step in steps.iter().chain([&Step::End]) {
        match step {
            Step::Arrive(strangers) => {
                let spans: Vec<_> =
                    strangers.iter().map(|stranger| stranger.record(&names, now)).collect();
                handed_in += spans.len() as u64;
                engine.ingest(&spans, now);
            }
            Step::Clock(Clock::Forward(by)) => now = now + *by,
            Step::Clock(Clock::Back(by)) => now = now.saturating_sub(*by),
            Step::Clock(Clock::EndOfTime) => now = Timestamp(u64::MAX),
            Step::Tick => drop(engine.tick(now)),
            Step::End => drop(engine.finish(now)),
        }
        let after = engine.account();
        check(&before, &after, handed_in, shards);
        before = after;
    }
    assert!(is_finite(&engine.board()), "{:?}", engine.board());
    assert_eq!((before.pending_spans, before.pending_traces), (0, 0), "the stream has ended");
    before
}

#[test]
fn every_span_is_analyzed_dropped_for_a_reason_or_pending_whatever_strangers_send() {
    let met: RefCell<BTreeSet<&'static str>> = RefCell::default();
    let mut runner = TestRunner::new(Config { cases: 1024, ..Config::default() });
    let law = runner.run(&(steps(), 1usize..4), |(steps, shards)| {
        let account = run(&steps, shards);
        let mut met = met.borrow_mut();
        met.extend(account.dropped.keys().map(|reason| reason.as_str()));
        met.extend(account.closed.keys().map(|reason| reason.as_str()));
        Ok(())
    });
    law.unwrap();
    let mut all: BTreeSet<&str> = DropReason::ALL.map(DropReason::as_str).into();
    all.extend(CloseReason::ALL.map(CloseReason::as_str));
    assert_eq!(met.into_inner(), all, "each way out was taken");
}
