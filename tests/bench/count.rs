//! Work to be counted in instructions: the same piece of the path, so many times over.
//!
//! `callgrind.sh` runs it twice with different counts and divides the difference, so that what happens
//! once (start, templates, first sight of names) is not in the figure, and two commits can be compared to
//! a fraction of a percent on a machine that is busy with other things.

use std::hint::black_box;

use laghound::engine::EngineParams;
use laghound::engine::params::AssemblyParams;
use laghound::model::Nanos;
use laghound::otlp::{CostLimits, count};

use crate::payload::{Request, Shape, Stream};
use crate::world::{BEGIN, World, decode};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Piece {
    /// Making the messages, which all others do as well: to be taken off.
    Nothing,
    /// Counting what a message would cost.
    Count,
    /// Counting, walking, names, checks: bytes to spans.
    Walk,
    /// Everything up to the sums of a slice: bytes to aggregates, traces closed.
    Path,
    /// Everything, verdicts included.
    Whole,
}

/// Does it with so many messages of 512 spans: of so many operations, so many traces at a time, and so many
/// spans a second of simulated time.
pub(crate) fn run(piece: Piece, messages: usize, keys: usize, open: usize, rate: f64) {
    let shape = Shape { keys, trace: 8, open, batch: 512 };
    let lasts = Nanos::from_secs_f64((open * shape.trace) as f64 / rate);
    let assembly = AssemblyParams {
        grace: Nanos::from_millis(200),
        idle: lasts + Nanos::from_secs(2),
        ..AssemblyParams::default()
    };
    let mut world = World::new(EngineParams { assembly, ..EngineParams::default() }, 1);
    let mut stream = Stream::new(shape, 1);
    let mut now = BEGIN;
    let step = Nanos::from_secs_f64(shape.batch as f64 / rate);
    for at in 0..messages {
        now = now + step;
        let Request { message, .. } = stream.next_request(now.0);
        match piece {
            Piece::Nothing => {
                black_box(&message);
            }
            Piece::Count => {
                let _ = black_box(count(&message, &CostLimits::default()));
            }
            Piece::Walk => {
                black_box(decode(&mut world.decoder, &message));
            }
            Piece::Path => {
                let batch = decode(&mut world.decoder, &message);
                world.shards[0].ingest(&batch.spans, now, &world.names);
                if at.is_multiple_of(100) {
                    black_box(world.shards[0].tick(now, &world.names));
                }
            }
            Piece::Whole => world.take(&message, step),
        }
    }
}
