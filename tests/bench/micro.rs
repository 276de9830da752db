//! Micro benches of the pieces a span and a verdict pass through, each on its own, through the library's
//! public parts: `cargo bench --bench micro [-- NAME]`. Figures are per span, per value or per page, as the
//! throughput says. What they cannot show is what the pieces cost together: see the load bench.

// Time is what is measured.
#![allow(clippy::disallowed_methods)]
// All counts are the bench's own, and small.
#![allow(clippy::cast_possible_truncation)]

// Each part is used by one of the programs that share it.
#[allow(dead_code)]
mod payload;
mod template;
#[allow(dead_code)]
mod world;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use laghound::engine::EngineParams;
use laghound::engine::histogram::{Dense, Distribution as _, Sparse, bucket_of};
use laghound::engine::params::AssemblyParams;
use laghound::engine::verdict::{Board, Operation};
use laghound::model::{AttrSetId, InternCache, Nanos, SpanKind, SpanRecord, Timestamp};
use laghound::otlp::{CostLimits, count};
use laghound::publish::Format;
use laghound::publish::exposition::Limits;
use laghound::publish::ledger::Ledger;
use laghound::publish::metrics_page::MetricsPage;

use crate::payload::{Shape, Stream};
use crate::world::{BEGIN, World, decode};

const SHAPE: Shape = Shape { keys: 10_000, trace: 8, open: 20_000, batch: 512 };

/// Messages of a stream, as they come at `now`.
fn messages(shape: Shape, amount: usize) -> Vec<Vec<u8>> {
    let mut stream = Stream::new(shape, 1);
    (0..amount).map(|_| stream.next_request(BEGIN.0).message).collect()
}

fn endless() -> EngineParams {
    let assembly = AssemblyParams {
        max_traces: usize::MAX / 4,
        max_spans: usize::MAX / 4,
        ..AssemblyParams::default()
    };
    EngineParams { assembly, ..EngineParams::default() }
}

fn walk(c: &mut Criterion) {
    let messages = messages(SHAPE, 64);
    let mut world = World::new(endless(), 1);
    let mut group = c.benchmark_group("walk");
    group.throughput(Throughput::Elements((messages.len() * SHAPE.batch) as u64));
    group.bench_function("count", |b| {
        b.iter(|| {
            for message in &messages {
                let _ = black_box(count(message, &CostLimits::default()));
            }
        });
    });
    group.bench_function("bytes to spans", |b| {
        b.iter(|| {
            let spans = |message: &Vec<u8>| decode(&mut world.decoder, message).spans.len();
            messages.iter().map(spans).sum::<usize>()
        });
    });
    group.finish();
}

fn intern(c: &mut Criterion) {
    let world = World::new(endless(), 1);
    let mut group = c.benchmark_group("intern");
    for keys in [100_usize, 10_000] {
        let names: Vec<String> =
            (0..keys).map(|key| format!("GET /api/v2/resource{key}/{{id}}")).collect();
        let mut cache = InternCache::default();
        let resource = cache.resource(&world.names, b"cart", AttrSetId::EMPTY);
        group.throughput(Throughput::Elements(keys as u64));
        group.bench_function(format!("{keys} known names"), |b| {
            b.iter(|| {
                for name in &names {
                    let key = cache.key(&world.names, resource, name.as_bytes(), SpanKind::Server);
                    black_box(key);
                }
            });
        });
    }
    group.finish();
}

/// Spans that come in while so many traces are open, in batches as they come from the network.
fn buffer(c: &mut Criterion) {
    let mut group = c.benchmark_group("buffer");
    group.sample_size(10);
    for open in [20_000, 200_000] {
        let shape = Shape { open, ..SHAPE };
        let World { names, mut decoder, mut shards, .. } = World::new(endless(), 1);
        let warm = messages(shape, open * 6 / 512);
        for message in &warm[..warm.len() - 64] {
            let batch = decode(&mut decoder, message);
            shards[0].ingest(&batch.spans, BEGIN, &names);
        }
        drop(warm);
        let mut seed = 2;
        group.throughput(Throughput::Elements(64 * 512));
        group.bench_function(format!("{open} open traces"), |b| {
            b.iter_batched(
                || {
                    seed += 1;
                    let mut stream = Stream::new(shape, seed);
                    let messages = (0..64).map(|_| stream.next_request(BEGIN.0).message);
                    messages.map(|message| decode(&mut decoder, &message).spans).collect::<Vec<_>>()
                },
                |batches: Vec<Vec<SpanRecord>>| {
                    for batch in &batches {
                        shards[0].ingest(batch, BEGIN, &names);
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// Traces that close: tree, self-time, critical path, sums.
fn close(c: &mut Criterion) {
    let mut group = c.benchmark_group("close");
    group.sample_size(20);
    for trace in [8_usize, 64] {
        let shape = Shape { trace, keys: 1_000, open: 64, batch: 512 };
        let World { names, mut decoder, .. } = World::new(endless(), 1);
        let mut seed = 0;
        group.throughput(Throughput::Elements(128 * 512));
        group.bench_function(format!("traces of {trace} spans"), |b| {
            b.iter_batched_ref(
                || {
                    seed += 1;
                    let mut stream = Stream::new(shape, seed);
                    let mut shard = laghound::engine::shard::Shard::new(&endless(), 1);
                    for _ in 0..128 {
                        let message = stream.next_request(BEGIN.0).message;
                        let batch = decode(&mut decoder, &message);
                        shard.ingest(&batch.spans, BEGIN, &names);
                    }
                    shard
                },
                |shard| black_box(shard.finish(&names)),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn sketch(c: &mut Criterion) {
    let values: Vec<Nanos> =
        (0..4096).map(|value| Nanos(1_000_000 + payload::mix(value) % 50_000_000)).collect();
    let mut group = c.benchmark_group("sketch");
    group.throughput(Throughput::Elements(values.len() as u64));
    group.bench_function("bucket of a value", |b| {
        b.iter(|| values.iter().map(|&value| u64::from(bucket_of(value))).sum::<u64>());
    });
    group.bench_function("value into a slice", |b| {
        b.iter(|| {
            let mut slice = Sparse::default();
            values.iter().for_each(|&value| slice.add(bucket_of(value), 1));
            slice
        });
    });
    let mut slice = Sparse::default();
    values.iter().for_each(|&value| slice.add(bucket_of(value), 1));
    let mut dense = Dense::default();
    group.throughput(Throughput::Elements(1));
    group.bench_function("slice into a baseline", |b| b.iter(|| dense.add(black_box(&slice))));
    group.bench_function("three quantiles", |b| {
        b.iter(|| dense.quantiles(black_box([0.5, 0.9, 0.99])))
    });
    group.finish();
}

/// A second of the judge's life, one in five of which ends a slice.
fn judge(c: &mut Criterion) {
    let mut group = c.benchmark_group("judge");
    group.sample_size(10);
    for keys in [1_000, 10_000] {
        let shape = Shape { keys, open: 100, ..SHAPE };
        let mut world = World::new(endless(), 1);
        let mut stream = Stream::new(shape, 1);
        let rate = keys as f64 * 2.0;
        // Two minutes: the windows are full.
        world.run(&mut stream, (120.0 * rate / 512.0) as usize, shape, rate);
        group.throughput(Throughput::Elements(keys as u64));
        group.bench_function(format!("{keys} keys, a slice"), |b| {
            b.iter_custom(|slices| {
                let mut spent = std::time::Duration::ZERO;
                for _ in 0..slices {
                    spent += slice(&mut world, &mut stream, shape, rate);
                }
                spent
            });
        });
    }
    group.finish();
}

/// Five seconds of traffic; how long the judge took of them.
fn slice(world: &mut World, stream: &mut Stream, shape: Shape, rate: f64) -> std::time::Duration {
    let after = Nanos::from_secs_f64(shape.batch as f64 / rate);
    let end = world.now + Nanos::from_secs(5);
    while world.now < end {
        world.now = world.now + after;
        let message = stream.next_request(world.now.0).message;
        let batch = decode(&mut world.decoder, &message);
        world.shards[0].ingest(&batch.spans, world.now, &world.names);
    }
    let delta = world.shards[0].tick(world.now, &world.names);
    let began = std::time::Instant::now();
    world.judge.merge(0, delta, &world.names);
    world.judge.advance(world.now, &world.names);
    black_box(world.judge.board(&world.names));
    began.elapsed()
}

fn scrape(c: &mut Criterion) {
    let mut group = c.benchmark_group("scrape");
    group.sample_size(10);
    for keys in [10_000_u32, 100_000] {
        let board = board(keys);
        let page = MetricsPage::new(Limits::new(12 * keys as usize));
        group.throughput(Throughput::Elements(u64::from(keys)));
        group.bench_function(format!("{keys} operations"), |b| {
            b.iter(|| page.render(&board, &Ledger::default(), Format::OpenMetrics).len());
        });
    }
    group.finish();
}

/// A board on which every operation has all its series.
fn board(keys: u32) -> Board {
    let operation = |key: u32| {
        let quantile = f64::from(key + 1).sqrt() / 1e4;
        Operation {
            service: format!("service-{:03}", key % 100).into(),
            name: format!("GET /api/v2/resource{key}/{{id}}").into(),
            kind: SpanKind::Server,
            spans: u64::from(key) * 17,
            flagged: u64::from(key),
            baseline: Some([quantile, quantile * 1.7, quantile * 3.1]),
            recent: Some([quantile, quantile * 1.9, quantile * 4.3]),
            threshold: Some(quantile * 4.7),
            exemplar: None,
        }
    };
    let mut operations: Vec<Arc<Operation>> = (0..keys).map(operation).map(Arc::new).collect();
    operations.sort_by(|one, two| (&one.service, &one.name).cmp(&(&two.service, &two.name)));
    Board { at: Timestamp(BEGIN.0), operations, ..Board::default() }
}

criterion_group!(benches, walk, intern, buffer, close, sketch, judge, scrape);
criterion_main!(benches);
