//! Months of virtual time in minutes: a world that lives, has faults, restarts, is killed and keeps its
//! state, with names that rotate; every law checked every minute, every fault and every alarm counted, memory measured every hour.
//!
//! `cargo run --profile fast --example months -- [--days N] [--seed N] [--strangers N] [--leak BYTES]`
//!
//! Prints one line a week and the slope of what is allocated with its 95 % confidence interval. Exits
//! with 1 if a fault was not named, somebody was named without one, or memory grew; a broken law is a
//! panic that names the seed. `--strangers N` runs so many random steps of each of eight seeds after it,
//! with everything strangers send, broken disks and clocks that jump.
//!
//! What is allocated and not given back is counted by the allocator itself. What is resident is printed beside
//! and not judged: it is what the allocator keeps besides, moves by more than a leak would in weeks, and
//! differs from run to run. `--leak BYTES` keeps so many more every hour, and has to be found out.

#[path = "../world/mod.rs"]
mod world;

use std::process::ExitCode;

use laghound::engine::verdict::Event;
use laghound::model::{Nanos, Timestamp};
use laghound::sim::Random;

use peak_alloc::PeakAlloc;
use world::choice::Choice;
use world::{Setup, World, laws, steps};

/// Counts what is allocated and not given back.
#[global_allocator]
static HELD: PeakAlloc = PeakAlloc;

const DAY: u64 = 86_400;
/// Past incidents that are kept: so few that memory is measured with the list full, from the second week on.
const INCIDENTS: usize = 10;
/// KiB an hour: a megabyte in 14 months. What is allocated goes up and down by a megabyte a day, with the
/// names of the day; a line through the days of eight weeks is that certain.
const A_LEAK: f64 = 0.1;
/// Within this after its start a fault must be named.
const SOON: u64 = 120;

struct Options {
    days: u64,
    seed: u64,
    strangers: u64,
    leak: usize,
}

impl Options {
    fn read() -> Result<Options, String> {
        let mut options = Options { days: 90, seed: 1, strangers: 0, leak: 0 };
        let mut words = std::env::args().skip(1);
        while let Some(flag) = words.next() {
            let value: Option<u64> = words.next().and_then(|word| word.parse().ok());
            let value = value.ok_or_else(|| format!("{flag} needs a number"))?;
            match flag.as_str() {
                "--days" => options.days = value,
                "--seed" => options.seed = value,
                "--strangers" => options.strangers = value,
                "--leak" => options.leak = usize::try_from(value).unwrap_or(0),
                _ => {
                    let known = "--days, --seed, --strangers, --leak";
                    return Err(format!("unknown: {flag}; there are {known}"));
                }
            }
        }
        Ok(options)
    }
}

/// What the months came to.
#[derive(Default)]
struct Score {
    faults: u64,
    named: u64,
    /// Alarms without a fault.
    false_alarms: u64,
    delays: Vec<u64>,
    /// (hour, allocated KiB).
    memory: Vec<(f64, f64)>,
    /// Hours until the list of past incidents was full, from when on memory is judged.
    filling: usize,
    /// What was kept on purpose.
    leaked: Vec<Vec<u8>>,
}

/// A minute, in which the laws are checked once.
fn minute(world: &mut World) {
    world.pass(60);
    world.steps += 1;
    laws::check(world);
}

/// What was said since the last look, `cart`'s callee being the one at fault if any.
fn listen(world: &mut World, score: &mut Score, fault: Option<Timestamp>) -> bool {
    let mut named = false;
    for (at, event) in world.said.drain(..) {
        let Event::Opened(incident) = event else { continue };
        match fault {
            Some(from) if &*incident.suspects[0].service == "stock" => {
                named = true;
                score.delays.push(at.since(from).0 / 1_000_000_000);
            }
            _ => {
                score.false_alarms += 1;
                println!("  false alarm at {at:?}: {incident:?}");
            }
        }
    }
    named
}

/// A fault of five minutes, with a restart in the middle of every other one.
fn fault(world: &mut World, draw: &mut Random, score: &mut Score) {
    score.faults += 1;
    world.traffic.slow_ms = u64::from(draw.one_of(&[60u32, 150, 500]));
    let from = world.now;
    let mut named = false;
    for number in 0..5 {
        minute(world);
        named |= listen(world, score, Some(from));
        if number == 2 && draw.happens(500) {
            let open: Vec<u64> = world.life.engine.board().open.iter().map(|i| i.id).collect();
            world.stop();
            world.start(Nanos::from_secs(u64::from(draw.below(40))), 1);
            let after: Vec<u64> = world.life.engine.board().open.iter().map(|i| i.id).collect();
            assert_eq!(open, after, "what fires goes on firing");
        }
    }
    world.traffic.slow_ms = 0;
    score.named += u64::from(named);
    // Recovery, and time for the next fault to be one of its own.
    for _ in 0..10 {
        minute(world);
        listen(world, score, Some(from));
    }
    assert!(world.life.engine.board().open.is_empty(), "recovery is seen");
}

fn hour(world: &mut World, draw: &mut Random, score: &mut Score) {
    // Day and night: a third to one and two thirds of the mean.
    let time_of_day = (world.now.0 / 1_000_000_000 % DAY) as f64 / DAY as f64;
    let wave = 1.0 - 0.66 * (std::f64::consts::TAU * time_of_day).cos();
    // Never negative, never more than 1,660.
    #[allow(clippy::cast_possible_truncation)]
    {
        world.traffic.rate = (1_000.0 * wave) as u64;
    }
    for number in 0..60 {
        minute(world);
        listen(world, score, None);
        if number % 10 == 0 {
            world.save();
        }
    }
    if draw.happens(60) {
        fault(world, draw, score);
    }
    if draw.happens(20) {
        world.start(Nanos::from_secs(u64::from(draw.below(300))), 1);
        listen(world, score, None);
    }
    laws::scrape(world);
    // Those of an hour and a half, and what all share.
    let operations = world.life.names.operations();
    assert!(operations < 200, "{operations} names are remembered");
}

/// What is allocated now.
fn allocated_kib() -> f64 {
    HELD.current_usage() as f64 / 1024.0
}

fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0.0)
}

/// Of the last week.
fn weekly_mean(points: &[(f64, f64)]) -> f64 {
    let week = &points[points.len().saturating_sub(168)..];
    week.iter().map(|point| point.1).sum::<f64>() / week.len().max(1) as f64
}

/// Slope of a line through the points, and half the width of its 95 % confidence interval. Hours next to
/// each other are alike, so blocks of a day count as one point each.
fn slope(points: &[(f64, f64)]) -> (f64, f64) {
    let days: Vec<(f64, f64)> = points
        .chunks(24)
        .map(|day| {
            let count = day.len() as f64;
            let sum = day.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
            (sum.0 / count, sum.1 / count)
        })
        .collect();
    let count = days.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| days.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|day| day.0), mean(|day| day.1));
    let xx: f64 = days.iter().map(|day| (day.0 - x).powi(2)).sum();
    let xy: f64 = days.iter().map(|day| (day.0 - x) * (day.1 - y)).sum();
    let slope = xy / xx;
    let rest: f64 = days.iter().map(|day| (day.1 - y - slope * (day.0 - x)).powi(2)).sum();
    let error = (rest / (count - 2.0).max(1.0) / xx).sqrt();
    (slope, 1.96 * error)
}

fn months(options: &Options) -> Score {
    let mut setup = Setup::new(options.seed);
    setup.params.max_incidents = INCIDENTS;
    let mut world = World::new(setup);
    // Some seventeen hundred a day, of two thousand that find room in a service.
    world.traffic.made_up_every = 50;
    let mut draw = Random::new(options.seed, 2);
    let hours = options.days * 24;
    // Room for all at once, so that what is measured is not the measuring.
    let room = usize::try_from(hours).unwrap_or(0);
    let mut score = Score { memory: Vec::with_capacity(room), ..Score::default() };
    score.leaked.reserve(room);
    score.delays.reserve(room);
    for hour_number in 0..hours {
        hour(&mut world, &mut draw, &mut score);
        if options.leak > 0 {
            score.leaked.push(vec![0; options.leak]);
        }
        score.memory.push((hour_number as f64, allocated_kib()));
        if world.life.engine.incidents().len() < INCIDENTS {
            score.filling = score.memory.len();
        }
        if hour_number % 168 == 167 {
            println!(
                "day {:>4}: {:?}, {} of {} faults named, {} false alarms, {:.0} KiB allocated, {:.1} MiB resident",
                hour_number / 24 + 1,
                world.tally,
                score.named,
                score.faults,
                score.false_alarms,
                weekly_mean(&score.memory),
                resident_kib() / 1024.0
            );
        }
    }
    score
}

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let mut score = months(&options);
    score.delays.sort_unstable();
    let median = score.delays.get(score.delays.len() / 2).copied().unwrap_or(0);
    let longest = score.delays.last().copied().unwrap_or(0);
    let (slope, half) = slope(&score.memory[score.filling..]);
    println!(
        "{} days: {} of {} faults named, after {median} s (median), {longest} s at most; {} false alarms",
        options.days, score.named, score.faults, score.false_alarms
    );
    println!("allocated: {slope:+.3} ± {half:.3} KiB an hour");
    if half > A_LEAK {
        println!("too short to tell a leak of {A_LEAK} KiB an hour");
    }
    for seed in 0..if options.strangers > 0 { 8 } else { 0 } {
        let mut world = World::new(Setup::tight(options.seed + seed));
        let mut draw = Random::new(options.seed + seed, 3);
        for _ in 0..options.strangers {
            steps::step(&mut world, &mut draw);
        }
        println!(
            "strangers, seed {}: {} steps, {:?}",
            options.seed + seed,
            world.steps,
            world.tally
        );
    }
    let grows = slope - half > 0.0 && slope > A_LEAK;
    let missed = score.named < score.faults || longest > SOON;
    ExitCode::from(u8::from(grows || missed || score.false_alarms > 0))
}
