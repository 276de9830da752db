//! What judging costs: CPU time a slice and bytes a key, against the number of keys; and what its thread does
//! now and then, taking a snapshot and giving names back, and how long others wait for that.
//!
//! `cargo run --profile fast --example bench_judge [KEYS...]`. Made-up sums go straight to the judge, as shards
//! would hand them over; making them is not counted. It knows no spans, so it says nothing of decoding.

use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use laghound::engine::EngineParams;
use laghound::engine::aggregate::{
    AttrSum, Calls, Delta, Detail, EntrySum, FanOut, GroupKey, GroupSum, Id, NodeKey, NodeSum,
    PathSum, SliceSums, Slowest,
};
use laghound::engine::histogram::{Sparse, bucket_of};
use laghound::engine::judge::Judge;
use laghound::engine::snapshot;
use laghound::live::snapshot::image::Image;
use laghound::model::{
    AttrSetId, Held, InternLimits, Interner, KeyId, Nanos, SpanKind, Sym, Timestamp, TraceId,
};

/// Keys of one request: an entry, three calls of other services, their work, and a query of each.
const KEYS: usize = 10;
/// Calls of a key in a slice.
const CALLS: u64 = 20;
/// Sets of attributes among the calls of a key.
const INSTANCES: u32 = 3;

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let asked = if asked.is_empty() { vec![1_000, 10_000, 100_000] } else { asked };
    println!(
        "| keys | active | CPU ms a slice, median | longest | board, ms | bytes a key | resident bytes a key |"
    );
    println!("|---|---|---|---|---|---|---|");
    let rare: Vec<String> = asked.iter().map(|&keys| measure(keys)).collect();
    println!("\n| keys | snapshot, CPU ms | MiB | MiB as it lies on the disk |\n|---|---|---|---|");
    rare.iter().for_each(|line| println!("{line}"));
    println!(
        "\n| operations | names | given back | CPU ms | longest wait of who asks for a name, ms |\n|---|---|---|---|---|"
    );
    let of = |operations| InternLimits {
        services: operations / KEYS,
        operations,
        operations_per_service: operations,
        strings: operations,
        attr_sets: operations,
        ..InternLimits::default()
    };
    for limits in asked.into_iter().map(of).chain([InternLimits::default()]) {
        println!("{}", names_given_back(limits));
    }
}

/// What a snapshot costs the judge's thread.
fn snapshot_of(bench: &Bench, keys: usize) -> String {
    let mut content = 0;
    let start = cpu_nanos();
    let image = Image::take(Timestamp::default(), |out| {
        let mut counted = Counted { out, bytes: 0 };
        snapshot::save(&bench.judge, &bench.names, &mut counted)?;
        content = counted.bytes;
        Ok(())
    });
    let cpu = cpu_nanos() - start;
    let image = image.expect("memory takes whatever is written to it");
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let (content, file) = (mib(content), mib(image.bytes().len()));
    format!("| {keys} | {:.0} | {content:.1} | {file:.1} |", cpu as f64 / 1e6)
}

/// A writer that counts.
struct Counted<'a> {
    out: &'a mut dyn Write,
    bytes: usize,
}

impl Write for Counted<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.bytes += written;
        Ok(written)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Fills every table of names to its limit and has half of it given back, while somebody asks for a name again
/// and again.
#[allow(clippy::disallowed_methods)] // a wait is what is measured
fn names_given_back(limits: InternLimits) -> String {
    let names = Interner::new(limits);
    let fill = |part: usize| {
        let text = |what: &str, number: usize| format!("{what} {part} {number}").into_bytes();
        for number in 0..limits.services / 2 {
            let service = names.service(&text("service", number));
            for operation in 0..limits.operations / limits.services {
                names.key(service, &text("GET /operation", operation), SpanKind::Server);
            }
        }
        let name = names.string(b"name");
        for number in 0..limits.strings / 2 {
            let value = names.string(&text("value", number));
            names.attr_set(&mut [(name, value)]);
        }
    };
    fill(0);
    names.give_back(&Held::new(1));
    fill(1);
    let (begun, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let (cpu, longest) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !ended.load(Ordering::Relaxed) {
                let began = Instant::now();
                names.string(b"name");
                begun.store(true, Ordering::Relaxed);
                longest = longest.max(began.elapsed());
            }
            longest
        });
        while !begun.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let began = cpu_nanos();
        names.give_back(&Held::new(1));
        let cpu = cpu_nanos() - began;
        ended.store(true, Ordering::Relaxed);
        (cpu, asking.join().expect("asking cannot fail"))
    });
    let all = limits.services + limits.operations + limits.strings + limits.attr_sets;
    let (cpu, longest) = (cpu as f64 / 1e6, longest.as_secs_f64() * 1e3);
    let operations = limits.operations;
    format!("| {operations} | {all} | {} | {cpu:.1} | {longest:.1} |", names.given_back())
}

/// Fills a baseline, then measures with everything active, with a tenth, and in an incident of all; returns what
/// a snapshot costs.
fn measure(keys: usize) -> String {
    let before = resident();
    let mut bench = Bench::new(keys);
    let full = if keys > 20_000 { 60 } else { 400 };
    for _ in 0..full {
        bench.slice(keys, 1.0);
    }
    let resident = resident().saturating_sub(before) / keys as u64;
    let bytes = bench.judge.bytes() / keys;
    for (name, active, slowdown) in
        [("all", keys, 1.0), ("a tenth", keys / 10, 1.0), ("all, a tenth of it slow", keys, 1.5)]
    {
        for _ in 0..20 {
            bench.slice(active, slowdown);
        }
        let mut costs: Vec<(u64, u64)> = (0..20).map(|_| bench.slice(active, slowdown)).collect();
        let boards = costs.iter().map(|cost| cost.1).sum::<u64>() / costs.len() as u64;
        costs.sort_unstable();
        let ms = |nanos: u64| nanos as f64 / 1e6;
        let (median, longest) = (ms(costs[costs.len() / 2].0), ms(costs[costs.len() - 1].0));
        println!(
            "| {keys} | {name} | {median:.1} | {longest:.1} | {:.1} | {bytes} | {resident} |",
            ms(boards)
        );
    }
    assert_eq!(bench.incidents, 1, "the last stretch is an incident, and nothing else is");
    snapshot_of(&bench, keys)
}

struct Bench {
    judge: Judge,
    names: Interner,
    entries: usize,
    slice: u64,
    defined: bool,
    board: laghound::engine::verdict::Board,
    incidents: usize,
    draw: u64,
}

impl Bench {
    fn new(keys: usize) -> Bench {
        const MANY: usize = 1 << 24;
        let limits = InternLimits {
            services: MANY,
            operations: MANY,
            operations_per_service: MANY,
            strings: MANY,
            ..InternLimits::default()
        };
        Bench {
            judge: Judge::new(EngineParams::default()),
            names: Interner::new(limits),
            entries: keys / KEYS,
            slice: 358_000_000,
            defined: false,
            board: laghound::engine::verdict::Board::default(),
            incidents: 0,
            draw: 1,
        }
    }

    /// Hands over and judges a slice; CPU nanoseconds for that and for the board.
    fn slice(&mut self, active: usize, slowdown: f64) -> (u64, u64) {
        let (nodes, paths) = if self.defined { Default::default() } else { self.definitions() };
        self.defined = true;
        let slice = self.slice;
        self.slice += 1;
        let sums = self.sums(active / KEYS, slowdown);
        let delta = Delta { nodes, paths, slices: vec![(slice, sums)], is_last: false };
        let now = Timestamp::from_secs((slice + 1) * 5 + 6);
        let start = cpu_nanos();
        self.judge.merge(0, delta, &self.names);
        self.judge.advance(now, &self.names);
        let judged = cpu_nanos();
        self.board = self.judge.board(&self.names);
        let published = cpu_nanos();
        self.incidents = self.board.open.len() + self.board.closed.len();
        (judged - start, published - judged)
    }

    fn definitions(&self) -> (Vec<NodeKey>, Vec<(Option<Id>, Id)>) {
        let (mut nodes, mut paths) = (Vec::new(), Vec::new());
        for entry in 0..self.entries {
            let mut place = |above: Option<Id>, key: NodeKey| {
                let id = Id::try_from(nodes.len()).expect("a bench is small");
                nodes.push(key);
                paths.push((above, id));
                id
            };
            let shop = self.names.service(format!("shop-{entry}").as_bytes());
            let key = |service: Sym, name: &str, kind| -> KeyId {
                self.names.key(service, name.as_bytes(), kind)
            };
            let root = place(None, NodeKey::Own(key(shop, "GET /", SpanKind::Server)));
            for call in 0..3 {
                let callee = self.names.service(format!("callee-{entry}-{call}").as_bytes());
                let peer = self.names.string(format!("db-{entry}-{call}").as_bytes());
                let client = key(shop, &format!("call {call}"), SpanKind::Client);
                let edge = place(Some(root), NodeKey::Edge(client, callee));
                place(Some(edge), NodeKey::Request(client, callee));
                place(Some(edge), NodeKey::Response(client, callee));
                let server =
                    place(Some(edge), NodeKey::Own(key(callee, "serve", SpanKind::Server)));
                let query = key(callee, "SELECT", SpanKind::Client);
                place(Some(server), NodeKey::Leaf(query, Some(peer)));
            }
        }
        (nodes, paths)
    }

    /// The sums of one slice. A node is a path here: each occurs under one entry.
    fn sums(&mut self, entries: usize, slowdown: f64) -> SliceSums {
        const NODES: usize = 16;
        let mut sums = SliceSums::default();
        for entry in 0..entries {
            let first = entry * NODES;
            let id = |node: usize| Id::try_from(first + node).expect("a bench is small");
            let mut duration = 0;
            for node in 0..NODES {
                let slow = entry % 10 == 0 && node == 4;
                let factor = if slow { slowdown } else { 1.0 };
                let (sum, critical) = self.node(first + node, factor);
                duration += critical;
                sums.nodes.push((id(node), sum));
                sums.paths.push((id(node), PathSum { calls: CALLS, critical }));
                let group = match node {
                    0 => GroupKey::Service(Sym(1)),
                    _ => GroupKey::Service(Sym(2 + u32::try_from(node % 13).unwrap_or(0))),
                };
                if node < 13 {
                    let mean = u128::from(critical / CALLS);
                    let squares = mean * mean * u128::from(CALLS) * 11 / 10;
                    sums.groups.push(((id(0), group), GroupSum { critical, squares }));
                }
            }
            for call in 0..3 {
                let edge = 1 + 5 * call;
                for (parent, child) in [(0, edge), (edge, edge + 3), (edge + 3, edge + 4)] {
                    let calls = u32::try_from(CALLS).unwrap_or(0);
                    sums.pairs
                        .push(((id(parent), id(child)), FanOut::from_counts(vec![(1, calls)])));
                }
            }
            sums.entries.push((id(0), EntrySum { requests: CALLS, duration }));
        }
        sums
    }

    /// Calls of a node, log-normal about a typical time of its own between 0.1 and 30 ms.
    fn node(&mut self, number: usize, factor: f64) -> (NodeSum, u64) {
        let usual = 1e5 * 300f64.powf((number * 7_919 % 1_000) as f64 / 1e3) * factor;
        let mut counts = Vec::new();
        let mut by_attrs: Vec<AttrSum> = (0..INSTANCES)
            .map(|attrs| AttrSum { attrs: AttrSetId(attrs + 1), calls: 0, self_time: 0 })
            .collect();
        let (mut total, mut slowest) = (0, None);
        for call in 0..CALLS {
            let normal: f64 = (0..6).map(|_| self.unit()).sum::<f64>() - 3.0;
            let self_time = Nanos::from_secs_f64(usual * (0.5 * normal).exp() / 1e9);
            counts.push((bucket_of(self_time), 1));
            total += self_time.0;
            let sum = &mut by_attrs[usize::try_from(call).unwrap_or(0) % INSTANCES as usize];
            sum.calls += 1;
            sum.self_time += self_time.0;
            let trace =
                TraceId::new(u128::from(self.draw) << 64 | u128::from(call)).expect("not zero");
            slowest = slowest.max(Some(Slowest { self_time, trace }));
        }
        let calls = Calls { requests: CALLS, histogram: Sparse::from_counts(counts) };
        (NodeSum { calls, detail: Detail { slowest, by_attrs } }, total)
    }

    /// Between 0 and 1.
    fn unit(&mut self) -> f64 {
        self.draw = self
            .draw
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.draw >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// CPU time of this thread.
fn cpu_nanos() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}
