//! A day and more in simulated time: does an hour cost what the first one cost, in CPU and in memory?
//!
//! A shop under a steady load whose pods are replaced every hour, so names and attribute sets come and go
//! as they do in life. Everything but the network is the product's; time is an argument to it.

use std::fmt::Write;

use laghound::engine::EngineParams;
use laghound::model::Nanos;

use crate::payload::{Shape, Stream};
use crate::process::{own_cpu_seconds, resident};
use crate::svg::{Axis, Chart, Line};
use crate::world::World;

const SHAPE: Shape = Shape { keys: 500, trace: 8, open: 400, batch: 512 };

/// Runs so many hours at so many spans a second; Markdown, and a picture.
pub(crate) fn run(hours: usize, rate: f64) -> (String, String) {
    let mut world = World::new(EngineParams::default(), 1);
    let mut rows = Vec::new();
    let messages = (3600.0 * rate / SHAPE.batch as f64) as usize;
    let after = Nanos::from_secs_f64(SHAPE.batch as f64 / rate);
    let mut stream = Stream::new(SHAPE, 1);
    for hour in 0..hours {
        stream.restart(hour);
        let mut cost = 0.0;
        for _ in 0..messages {
            let request = stream.next_request((world.now + after).0);
            let before = own_cpu_seconds();
            world.take(&request.message, after);
            cost += own_cpu_seconds() - before;
        }
        let memory = resident(std::process::id()) as f64 / 1e6;
        eprintln!("hour {hour}: {cost:.2} CPU s, {memory:.1} MB");
        rows.push((hour as f64, cost, memory));
    }
    (table(&rows, rate), chart(&rows))
}

fn table(rows: &[(f64, f64, f64)], rate: f64) -> String {
    let mut out = format!(
        "{} hours of simulated time at {rate:.0} spans a second, {} operations, all pods replaced every \
         hour.\n\n| hour | CPU s | resident MB |\n|---|---|---|\n",
        rows.len(),
        SHAPE.keys
    );
    for (hour, cost, memory) in rows.iter().filter(|(hour, ..)| hour % 3.0 == 0.0) {
        let _ = writeln!(out, "| {hour:.0} | {cost:.2} | {memory:.1} |");
    }
    // The first hour learns, the windows and eras fill in the first two.
    let settled: Vec<_> = rows.iter().filter(|(hour, ..)| *hour >= 2.0).copied().collect();
    if settled.len() > 2 {
        let cost = slope(settled.iter().map(|&(hour, cost, _)| (hour, cost)));
        let memory = slope(settled.iter().map(|&(hour, _, memory)| (hour, memory)));
        let mean = settled.iter().map(|row| row.1).sum::<f64>() / settled.len() as f64;
        let _ = writeln!(
            out,
            "\nSlope from hour 2 on: {:+.2} % of the cost of an hour per hour, {memory:+.3} MB per hour.",
            cost / mean * 100.0
        );
    }
    out
}

fn chart(rows: &[(f64, f64, f64)]) -> String {
    Chart {
        title: "Cost and memory of an hour, over simulated time",
        x: Axis { label: "hour", log: false },
        y: Axis { label: "CPU s; resident MB / 10", log: false },
        lines: vec![
            Line { name: "CPU s".into(), points: rows.iter().map(|r| (r.0, r.1)).collect() },
            Line {
                name: "MB / 10".into(),
                points: rows.iter().map(|r| (r.0, r.2 / 10.0)).collect(),
            },
        ],
    }
    .draw()
}

/// Of the straight line through the points, by least squares.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let points: Vec<(f64, f64)> = points.collect();
    let count = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let up: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let over: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    up / over
}
