//! Lives of a process, one after the other, in worlds chosen by seeds: the short form of the example
//! `months`, which runs the same for months.

use std::sync::Arc;

use laghound::engine::verdict::{Board, Event, Incident};
use laghound::model::{Nanos, Timestamp};
use laghound::sim::Random;

use crate::world::choice::Choice;
use crate::world::{Setup, World, laws, steps};

/// Random steps in worlds where every limit is met: strangers, broken disks, kills, power cuts, clocks.
#[test]
fn the_laws_hold_at_every_step_of_worlds_nobody_chose() {
    let mut restored = 0;
    for (shards, seed) in [1, 2, 3, 1, 2, 3].into_iter().zip(0..) {
        let mut world = World::new(Setup { shards, ..Setup::tight(seed) });
        let mut draw = Random::new(seed, 3);
        for _ in 0..250 {
            steps::step(&mut world, &mut draw);
        }
        restored += world.tally.restored;
        assert!(world.tally.starts > 3 && world.tally.failed_saves > 0, "{:?}", world.tally);
    }
    assert!(restored > 10);
}

#[test]
fn a_seed_is_a_world_to_the_byte() {
    let run = |seed| {
        let mut world = World::new(Setup::tight(seed));
        let mut draw = Random::new(seed, 3);
        for _ in 0..80 {
            steps::step(&mut world, &mut draw);
        }
        (world.tally, world.life.engine.board(), world.image().bytes().to_vec())
    };
    let (tally, board, image) = run(1);
    assert!(run(1) == (tally, board, image.clone()));
    assert!(run(2).2 != image);
}

/// Found by the fuzzer: a process killed between renaming and syncing is followed by one that finds the new
/// snapshot, which the power may still take. What comes back then is the one before, or none if there was none.
#[test]
fn a_snapshot_that_was_found_and_never_synced_may_be_gone_after_a_power_cut() {
    let (mut gone, mut there) = (0, 0);
    for (steps, seed) in (0..8).flat_map(|steps| (0..10).map(move |seed| (steps, seed))) {
        for has_one in [false, true] {
            let mut world = World::new(Setup::tight(seed));
            world.pass(20);
            if has_one {
                world.save();
            }
            world.pass(20);
            world.disk.kill_after(steps);
            world.save();
            world.start(Nanos::ZERO, 1);
            let found = world.tally.restored;
            world.disk.power_cut(&mut Random::new(seed, 9));
            // Starting checks that what is found is one of those that may be.
            world.start(Nanos::ZERO, 1);
            let came_back = world.tally.restored > found;
            assert!(came_back || !has_one, "one that was acknowledged is gone");
            gone += u64::from(found > 0 && !came_back);
            there += u64::from(came_back);
        }
    }
    assert!(gone > 0 && there > 0, "{gone} and {there}");
}

/// Half an hour of learning; nothing may have been said in it.
fn learned(setup: Setup) -> World {
    let mut world = World::new(setup);
    world.pass(1800);
    assert!(world.said.is_empty(), "{:?}", world.said);
    world
}

/// The quantiles published, by operation.
fn baselines(board: &Board) -> Vec<(String, [f64; 3])> {
    let learned = board.operations.iter().filter_map(|operation| {
        Some((format!("{} {}", operation.service, operation.name), operation.baseline?))
    });
    learned.collect()
}

/// What was said and when, without what it rests on, which is not saved.
fn said(world: &World) -> Vec<(Timestamp, &'static str, Incident)> {
    let told = world.said.iter().map(|(at, event)| {
        let (what, incident) = match event {
            Event::Opened(incident) => ("opened", incident),
            Event::SuspectChanged { incident, .. } => ("changed", incident),
            Event::Closed(incident) => ("closed", incident),
        };
        (*at, what, Incident { evidence: Arc::default(), ..incident.clone() })
    });
    told.collect()
}

/// The oracle of everything that is saved: two lives of the same world, one of them saved and restored at
/// every turn, say the same, word for word and figure for figure.
#[test]
fn whoever_is_restored_says_what_it_would_have_said() {
    for seed in [600, 601, 602] {
        let (mut whole, mut cut) = (learned(Setup::new(seed)), learned(Setup::new(seed)));
        for (slow_ms, seconds) in
            [(0, 60), (100, 15), (100, 45), (100, 300), (0, 10), (0, 200), (40, 90)]
        {
            for world in [&mut whole, &mut cut] {
                // Until nothing is on its way: what is, is lost to a process that is killed.
                world.traffic.rate = 0;
                world.pass(20);
                world.traffic.rate = 2_000;
                world.traffic.slow_ms = slow_ms;
            }
            cut.save();
            cut.start(Nanos::ZERO, 3);
            whole.pass(seconds);
            cut.pass(seconds);
            assert_eq!(said(&whole), said(&cut));
            let (whole, cut) = (whole.life.engine.board(), cut.life.engine.board());
            assert_eq!(laws::bare(&whole.open), laws::bare(&cut.open));
            assert_eq!(laws::bare(&whole.closed), laws::bare(&cut.closed));
            // An operation is published again once a slice with it has been judged.
            if seconds > 20 {
                assert_eq!(baselines(&whole), baselines(&cut));
            }
        }
        assert!(cut.said.len() >= 2 && cut.tally.restored == 7, "{:?}", cut.said);
    }
}

fn restart(world: &mut World, away: u64) {
    world.stop();
    world.start(Nanos::from_secs(away), 2);
    assert_eq!(world.tally.restored, 1);
}

#[test]
fn a_restart_costs_no_learning_and_no_alarm_however_long_it_takes() {
    for away in [0, 2, 20, 90, 600, 6 * 3600] {
        let mut world = learned(Setup::new(away));
        let before = baselines(&world.life.engine.board());
        assert!(before.len() >= 5);
        restart(&mut world, away);
        // The operations are published again once they are seen again.
        world.pass(20);
        let after = baselines(&world.life.engine.board());
        assert_eq!(after.len(), before.len());
        for (before, after) in before.iter().zip(&after) {
            let close =
                before.1.iter().zip(after.1).all(|(one, two)| (two / one - 1.0).abs() < 0.1);
            assert!(before.0 == after.0 && close, "{before:?} {after:?}");
        }
        world.pass(600);
        assert!(world.said.is_empty(), "after {away} s away: {:?}", world.said);
    }
}

#[test]
fn a_fault_right_after_a_restart_is_named_as_soon_as_ever() {
    for away in [0, 20, 3600] {
        let mut world = learned(Setup::new(100 + away));
        restart(&mut world, away);
        world.traffic.slow_ms = 100;
        world.pass(60);
        let [(at, Event::Opened(incident)), ..] = &world.said[..] else {
            panic!("after {away} s away: {:?}", world.said)
        };
        assert_eq!(&*incident.suspects[0].service, "stock");
        assert!(world.now.since(*at) >= Nanos::from_secs(10), "not at the last moment");
    }
}

#[test]
fn a_fault_that_began_while_nobody_watched_is_named() {
    let mut world = learned(Setup::new(7));
    world.stop();
    world.traffic.slow_ms = 100;
    world.start(Nanos::from_secs(600), 1);
    world.pass(60);
    assert!(matches!(&world.said[..], [(_, Event::Opened(_)), ..]), "{:?}", world.said);
}

#[test]
fn an_alert_that_fires_goes_on_firing_over_restarts_kills_and_outages() {
    for (away, kills) in [(0, false), (3, true), (25, false), (100, true), (3600, false)] {
        let mut world = learned(Setup::new(200 + away));
        world.traffic.slow_ms = 100;
        world.pass(60);
        if kills {
            world.save();
        } else {
            world.stop();
        }
        let fired = world.life.engine.board().open;
        assert_eq!(fired.len(), 1);
        world.said.clear();
        world.start(Nanos::from_secs(away), 2);
        assert_eq!(world.tally.restored, 1);
        // From the first moment, whether anything has come or not.
        let fires = world.life.engine.board().open;
        assert_eq!((fires[0].id, fires[0].start), (fired[0].id, fired[0].start));
        assert_eq!(
            (fires[0].detected, &fires[0].suspects),
            (fired[0].detected, &fired[0].suspects)
        );
        // Exporters come back one after the other: nothing for half a minute is no recovery.
        for _ in 0..30 {
            world.now = world.now + Nanos::from_secs(1);
            world.tick();
        }
        world.pass(120);
        let fires = &world.life.engine.board().open;
        assert_eq!(fires.len(), 1, "after {away} s away: {:?}", world.said);
        assert_eq!((fires[0].id, &*fires[0].suspects[0].service), (fired[0].id, "stock"));
        assert!(!world.said.iter().any(|(_, event)| matches!(event, Event::Opened(_))));
        world.traffic.slow_ms = 0;
        world.pass(150);
        let board = world.life.engine.board();
        assert!(board.open.is_empty() && board.closed[0].id == fired[0].id, "recovery is seen");
    }
}

#[test]
fn an_incident_that_was_over_before_anybody_looked_again_closes() {
    let mut world = learned(Setup::new(300));
    world.traffic.slow_ms = 100;
    world.pass(60);
    world.stop();
    world.traffic.slow_ms = 0;
    world.start(Nanos::from_secs(60), 1);
    assert_eq!(world.life.engine.board().open.len(), 1);
    world.pass(90);
    assert!(world.life.engine.board().open.is_empty());
}

#[test]
fn without_any_data_after_a_restart_an_incident_closes_in_the_end() {
    let mut world = learned(Setup::new(301));
    world.traffic.slow_ms = 100;
    world.pass(60);
    restart(&mut world, 10);
    world.traffic.rate = 0;
    // Silence counts after two minutes. Then the windows must run empty, and stay so.
    let detection = world.setup.params.detection;
    let [.., longest] = detection.windows;
    let slices = longest + u64::from(detection.close_after);
    world.pass(120);
    assert_eq!(world.life.engine.board().open.len(), 1);
    world.pass(5 * slices + 10);
    assert!(world.life.engine.board().open.is_empty());
}

#[test]
fn what_was_learned_longer_ago_than_the_time_to_adopt_is_forgotten_but_incidents_are_not() {
    let mut world = learned(Setup::new(302));
    world.traffic.slow_ms = 100;
    world.pass(60);
    world.traffic.slow_ms = 0;
    world.pass(150);
    let closed = world.life.engine.board().closed;
    assert_eq!(closed.len(), 1);
    world.stop();
    let adopt = world.setup.params.detection.adopt_after;
    world.start(adopt + Nanos::from_secs(60), 1);
    let board = world.life.engine.board();
    assert!(board.learning && laws::bare(&board.closed) == laws::bare(&closed));
    world.pass(1800);
    world.traffic.slow_ms = 100;
    world.pass(60);
    assert_eq!(world.life.engine.board().open[0].id, closed[0].id + 1, "numbers go on");
}

#[test]
fn a_clock_set_back_between_two_lives_is_no_reason_to_be_deaf() {
    for back in [30, 3600, 365 * 86_400] {
        let mut world = learned(Setup::new(400 + back));
        world.stop();
        world.now = world.now.saturating_sub(Nanos::from_secs(back));
        world.start(Nanos::ZERO, 1);
        assert_eq!(world.tally.restored, 1);
        world.pass(120);
        assert!(world.said.is_empty(), "{:?}", world.said);
        world.traffic.slow_ms = 100;
        world.pass(60);
        let [(_, Event::Opened(incident)), ..] = &world.said[..] else {
            panic!("{back} s back: {:?}", world.said)
        };
        assert!(
            incident.start.since(world.now) == Nanos::ZERO
                && world.now.since(incident.start).0 < 120_000_000_000
        );
    }
}

/// Restarts in healthy traffic, again and again: each cuts traces in two.
#[test]
fn twenty_restarts_in_a_row_alert_nobody() {
    let mut world = learned(Setup::new(500));
    let mut draw = Random::new(500, 4);
    for _ in 0..20 {
        world.pass(u64::from(draw.below(90)));
        if draw.happens(500) {
            world.stop();
        } else {
            world.save();
        }
        world.start(Nanos::from_secs(u64::from(draw.below(40))), 1 + draw.below(3) as usize);
    }
    assert!(world.said.is_empty(), "{:?}", world.said);
    laws::check(&mut world);
}
