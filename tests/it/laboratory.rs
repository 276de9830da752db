//! The fault laboratory's simulator held to what is known without it: queueing theory, conservation of
//! spans, and that nothing but the seed and the fault decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sim::classes::{CLASSES, Case, class};
use crate::sim::delivery::{Batch, Network};
use crate::sim::effect::Effect;
use crate::sim::load::Waves;
use crate::sim::process::Life;
use crate::sim::rand::{Dist, secs};
use crate::sim::scenario::{Scenario, Variant};
use crate::sim::topology::{
    Call, Callee, Dep, DepKind, Edge, Entry, Instance, Kind, Label, Op, Service, Step, System,
    Target,
};
use crate::sim::world::World;

const SECOND: u64 = 1_000_000_000;
/// Mean service time of the queues below, and the standard deviation of its logarithm.
const MEAN: f64 = 10e6;
const SIGMA: f64 = 0.6;

fn work() -> Dist {
    Dist::log_normal(MEAN / (SIGMA * SIGMA / 2.0).exp(), SIGMA)
}

fn label(name: &str, kind: Kind) -> Label {
    Label { service: 0, name: name.into(), kind, peer: None, route: None }
}

/// One process that does `step` for every request, so many a second.
fn system(step: Step, workers: usize, rate: f64) -> System {
    let service = Service {
        name: "only".into(),
        tier: 0,
        instances: vec![0],
        workers,
        ops: vec![0],
        contention: 0.0,
        queue_in_span: true,
        pool_in_span: true,
        pauses: (1e9, 1.0),
    };
    System {
        services: vec![service],
        instances: vec![Instance { service: 0, ordinal: 0, host: 0 }],
        ops: vec![Op { service: 0, label: 0, steps: vec![step] }],
        labels: vec![label("GET /", Kind::Server), label("SELECT", Kind::Client)],
        edges: vec![Edge {
            caller: 0,
            callee: Callee::Dep(0),
            pool: 1_000_000,
            way: Dist::log_normal(1.0, 0.0),
            timeout: 0,
            retries: 0,
            back_off: 0,
            breaker: false,
        }],
        deps: vec![Dep { name: "db".into(), kind: DepKind::Database, servers: 1 }],
        topics: Vec::new(),
        entries: vec![Entry { op: 0, share: 1.0 }],
        hosts: vec!["node-1".into()],
        rate,
        sampling: 1.0,
        tenants: vec![("one".into(), 1.0)],
        regions: vec![("one".into(), 1.0)],
    }
}

fn scenario(system: System, seconds: u64) -> Scenario {
    let lives = vec![vec![Life::WHOLE]; system.instances.len()];
    Scenario {
        seed: 7,
        waves: Waves { hourly: 0.0, daily: 0.0, swing: 0.0 },
        network: Network { lost: 0.0, late: 0.0, late_by: 0 },
        skew: 0.0,
        sampling: system.sampling,
        length: seconds * SECOND,
        background: Vec::new(),
        faults: Vec::new(),
        sound_lives: lives.clone(),
        lives,
        system: Arc::new(system),
    }
}

/// Mean nanoseconds of a request.
fn mean_duration(system: System, seconds: u64) -> f64 {
    let mut world = World::new(&scenario(system, seconds), Variant::Faulty, 0, false);
    world.run_until(seconds * SECOND);
    let all = world.done();
    all.iter().map(|done| done.duration as f64).sum::<f64>() / all.len() as f64
}

/// Pollaczek and Khinchine: the mean time in an M/G/1 queue is E[S] + rate E[S^2] / (2 (1 - load)).
fn theory(rate: f64) -> f64 {
    let second_moment = MEAN * MEAN * (SIGMA * SIGMA).exp();
    let load = rate * MEAN / 1e9;
    MEAN + rate / 1e9 * second_moment / (2.0 * (1.0 - load))
}

#[test]
fn one_worker_is_the_queue_of_the_textbook() {
    for rate in [10.0, 50.0, 75.0] {
        let measured = mean_duration(system(Step::Work(work()), 1, rate), 3000);
        let off = measured / theory(rate) - 1.0;
        assert!(off.abs() < 0.06, "{rate}/s: {:.1} % off", 100.0 * off);
    }
}

#[test]
fn one_backend_server_is_the_queue_of_the_textbook() {
    for rate in [10.0, 60.0] {
        let call =
            Call { edge: 0, target: Target::Dep(0, work()), label: 1, chance: 1.0, times: 1 };
        let measured = mean_duration(system(Step::Call(call), 1_000_000, rate), 3000);
        let off = measured / theory(rate) - 1.0;
        assert!(off.abs() < 0.06, "{rate}/s: {:.1} % off", 100.0 * off);
    }
}

/// Everything a case sends, to the end of the run.
fn batches(case: &Case, seconds: u64) -> (World, Vec<Batch>) {
    let scenario = case.build().scenario;
    let mut world = World::new(&scenario, Variant::Faulty, 0, true);
    let mut batches = Vec::new();
    for second in 1..=seconds {
        world.run_until(second * SECOND);
        batches.extend(std::iter::from_fn(|| world.batch()));
    }
    (world, batches)
}

fn case(name: &str) -> Case {
    Case::parse(name).expect("a case is class/size/seed")
}

#[test]
fn a_seed_reproduces_a_run_to_the_last_span() {
    let run = |name: &str| batches(&case(name), 120).1;
    assert!(run("retry_storm/50/1").len() > 100);
    assert_eq!(run("retry_storm/50/1"), run("retry_storm/50/1"));
    assert_ne!(run("retry_storm/50/1"), run("retry_storm/50/2"));
}

#[test]
fn every_span_is_delivered_lost_or_still_held() {
    let (world, batches) = batches(&case("lost_spans/0/3"), 700);
    let (ledger, held) = world.ledger();
    let arrived: u64 = batches.iter().map(|batch| batch.spans.len() as u64).sum();
    assert!(ledger.lost > 0 && held > 0 && arrived > 0);
    assert_eq!(ledger.delivered, arrived);
    assert_eq!(ledger.made, ledger.delivered + ledger.lost + held);
}

#[test]
fn spans_have_parents_that_begin_before_them_and_ids_of_their_own() {
    let mut case = case("timeouts/50/2").build();
    (case.scenario.skew, case.scenario.network.lost) = (0.0, 0.0);
    let mut world = World::new(&case.scenario, Variant::Faulty, 0, true);
    let mut starts = BTreeMap::new();
    let mut children = Vec::new();
    for second in 1..=300 {
        world.run_until(second * SECOND);
        while let Some(batch) = world.batch() {
            for span in batch.spans {
                assert!(span.end >= span.start);
                assert_eq!(starts.insert(span.id, span.start), None, "an id twice");
                children.push(span);
            }
        }
    }
    let mut found = 0;
    for span in children.iter().filter(|span| span.parent != 0) {
        if let Some(parent) = starts.get(&span.parent) {
            assert!(*parent <= span.start);
            found += 1;
        }
    }
    assert!(found > 1000);
}

#[test]
fn a_fault_of_no_size_has_no_effect_and_others_have_about_the_size_asked_for() {
    for name in ["slow_service", "slow_database", "edge_delay"] {
        for size in [0.0, 0.5] {
            let case = Case { class: class(name).expect("listed"), size, seed: 4 };
            let built = case.build();
            let span = (built.truth.from, built.truth.to);
            let run = |variant| Effect::run(&built.scenario, variant, span);
            let effect = Effect::between(&run(Variant::Sound), &run(Variant::Faulty), span);
            let rise = effect.largest(built.scenario.least_requests());
            assert!((rise - size).abs() <= 0.2 * size, "{name} of {size}: {rise}");
        }
    }
}

#[test]
fn every_class_names_who_is_right_unless_it_is_quiet() {
    for class in CLASSES.iter().filter(|class| class.name != "day") {
        let case = Case { class, size: 0.0, seed: 1 };
        let truth = case.build().truth;
        assert_eq!(truth.culprits.is_empty(), class.quiet, "{}", class.name);
        assert!(truth.culprits.iter().all(|culprit| !culprit.names.is_empty()));
        assert!(truth.from >= secs(60.0) && truth.to > truth.from, "{}", class.name);
        assert!(truth.noticeable >= truth.from && truth.noticeable < truth.to);
    }
}
