//! Bytes of a buffered span and of a key with all its windows: what resident memory grows by.
//!
//! Each point is a process of its own that fills the product's parts in simulated time and reads what the
//! kernel says it holds; the figure is the slope between a small and a large one, so that whatever is there
//! without spans or keys does not count. Allocator overhead does.

use std::process::Command;

use laghound::engine::EngineParams;
use laghound::engine::params::AssemblyParams;
use laghound::model::Nanos;

use crate::payload::{Shape, Stream};
use crate::process::resident;
use crate::world::World;

/// What is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fill {
    /// Spans in open traces.
    Spans,
    /// Operations, until every window and era is full.
    Keys,
}

/// Fills, and prints `<filled> <resident bytes>`.
pub(crate) fn point(fill: Fill, amount: usize) {
    let filled = match fill {
        Fill::Spans => spans(amount),
        Fill::Keys => keys(amount),
    };
    println!("{} {}", filled.0, filled.1);
}

/// Traces half of whose spans have come, and nothing closes.
fn spans(amount: usize) -> (usize, u64) {
    let forever = Nanos::from_secs(3600);
    let assembly = AssemblyParams {
        grace: forever,
        idle: forever,
        max_age: forever,
        max_span_age: forever,
        max_traces: usize::MAX / 4,
        max_spans: usize::MAX / 4,
        ..AssemblyParams::default()
    };
    let mut world = World::new(EngineParams { assembly, ..EngineParams::default() }, 1);
    let shape = Shape { keys: 100, trace: 8, open: amount / 4, batch: 512 };
    let mut stream = Stream::new(shape, 1);
    // Eight spans a step once all traces are under way: half of that until then.
    world.run(&mut stream, amount / shape.batch, shape, 1e6);
    let pending = world.shards[0].account().pending_spans;
    (usize::try_from(pending).unwrap_or(usize::MAX), resident(std::process::id()))
}

/// Longer than the longest window and all eras: what is kept of a key is all there.
fn keys(amount: usize) -> (usize, u64) {
    let mut world = World::new(EngineParams::default(), 1);
    let shape = Shape { keys: amount, trace: 8, open: 100, batch: 512 };
    let mut stream = Stream::new(shape, 1);
    // Two calls of every operation in a slice of five seconds.
    let rate = amount as f64 * 0.4;
    let minutes = 45.0;
    world.run(&mut stream, (minutes * 60.0 * rate / 512.0) as usize, shape, rate);
    (stream.keys(), resident(std::process::id()))
}

/// Bytes by which memory grows with each of what is filled.
pub(crate) fn slope(fill: Fill) -> anyhow::Result<f64> {
    let (small, large) = match fill {
        Fill::Spans => (400_000, 2_400_000),
        Fill::Keys => (1_000, 4_000),
    };
    let (small, large) = (ask(fill, small)?, ask(fill, large)?);
    Ok((large.1 - small.1) / (large.0 - small.0))
}

fn ask(fill: Fill, amount: usize) -> anyhow::Result<(f64, f64)> {
    let fill = if fill == Fill::Spans { "spans" } else { "keys" };
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["memory-point", fill, &amount.to_string()]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(filled)), Some(Ok(bytes))) => Ok((filled, bytes)),
        _ => anyhow::bail!("no figures for {amount} {fill}: {text}"),
    }
}
