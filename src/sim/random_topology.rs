//! Call graphs drawn from a seed, for tests that must not depend on the shop's shape.
//!
//! Layered as systems of services are: entries call services that call services that query
//! databases. It makes no attempt at being any particular system.

use super::random::Random;
use super::topology::{BackendId, Call, OperationId, Step, Topology};
use super::work::Work;

/// 5 to 25 services in three to five layers, with databases behind the lower ones.
pub fn random_topology(seed: u64) -> Topology {
    let mut draw = Random::new(seed, u64::MAX);
    let mut topology = Topology::new();
    let databases: Vec<_> = (0..draw.between(1, 3))
        .map(|number| topology.database(&format!("db-{number}"), "postgresql", "data"))
        .collect();
    let services = draw.between(5, 25);
    let layers = draw.between(3, 5);
    let mut below: Vec<OperationId> = Vec::new();
    let mut number = 0;
    for layer in 0..layers {
        let last = layer + 1 == layers;
        // The bottom layers are wide; whatever is left over enters at the top.
        let left = services - number - (layers - 1 - layer);
        let size = if last { left } else { draw.between(1, (left / 2).max(1)) };
        let mut this_layer = Vec::new();
        for _ in 0..size {
            let name = format!("service-{number}");
            number += 1;
            let instances = draw.between(1, 3) as usize;
            let service = topology.service(&name, "1.0.0", instances);
            for operation in 0..draw.between(1, 3) {
                let steps = random_steps(&mut draw, &below, &databases);
                let name = format!("GET /{operation}");
                this_layer.push(topology.operation(service, &name, steps));
            }
        }
        if last {
            for operation in &this_layer {
                let weight = f64::from(draw.between(1, 10));
                topology.entry(*operation, weight);
            }
        }
        below.extend(this_layer);
    }
    topology
}

fn random_steps(draw: &mut Random, below: &[OperationId], databases: &[BackendId]) -> Vec<Step> {
    let mut steps = vec![random_work(draw)];
    if below.is_empty() || draw.chance(0.3) {
        let database = databases[draw.index(databases.len())];
        let work = Work::ms(1.0 + 9.0 * draw.unit());
        steps.push(Call::query(database, "SELECT", work).into());
    }
    if !below.is_empty() {
        let calls = (0..draw.between(1, 3)).map(|_| {
            let call = Call::to(below[draw.index(below.len())]);
            if draw.chance(0.2) { call.sometimes(0.5) } else { call }
        });
        let calls: Vec<_> = calls.collect();
        if draw.chance(0.3) {
            steps.push(Step::Together(calls));
        } else {
            steps.extend(calls.into_iter().map(Step::Call));
        }
    }
    steps.push(random_work(draw));
    steps
}

fn random_work(draw: &mut Random) -> Step {
    Step::Work(Work::ms(0.5 + 8.0 * draw.unit() * draw.unit()).sigma(0.1 + 0.4 * draw.unit()))
}

#[cfg(test)]
mod tests {
    use super::super::scenario::Scenario;
    use super::*;

    #[test]
    fn every_seed_gives_a_system_of_5_to_25_services_that_serves_requests() {
        for seed in 0..50 {
            let topology = random_topology(seed);
            let services = topology.service_names().count();
            assert!((5..=25).contains(&services), "seed {seed}: {services} services");
            let traces: Vec<_> = Scenario::new(topology, 2).traces().unwrap().collect();
            assert!(!traces.is_empty(), "seed {seed}");
            let spans = traces.iter().map(|trace| trace.spans.len()).max().unwrap_or(0);
            assert!(spans < super::super::request::MAX_SPANS, "seed {seed}: {spans} spans");
        }
    }

    #[test]
    fn a_seed_is_a_system() {
        let names = |seed| format!("{:?}", random_topology(seed));
        assert_eq!(names(4), names(4));
        assert_ne!(names(4), names(5));
    }
}
