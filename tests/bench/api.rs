//! What people who look cost those who send: the ingest benchmark while the API is asked all the time, and
//! while it is left alone.
//!
//! One server under a steady load; stretches with readers and without take turns, and a ratio is the median of the
//! ratios of neighbours. What readers cost is part of the figure: their answers are made by the same process.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Compression, Protocol};
use crate::load::{Load, Way};
use crate::measure::median;
use crate::payload::Shape;
use crate::scrape;
use crate::servers::{Kind, Programs, Server};

/// What pages, scripts and terminals ask for.
const PATHS: [&str; 6] = [
    "/api/v1/now",
    "/api/v1/suspects",
    "/api/v1/incidents?limit=25",
    "/api/v1/operations?sort=rise&limit=100",
    "/api/v1/timeline?points=180",
    "/api/v1/services",
];

/// How hard it is asked.
#[derive(Clone, Copy)]
pub(crate) struct Readers {
    pub(crate) count: usize,
    /// Each asks again after so long.
    pub(crate) every: Duration,
}

/// One stretch of time.
struct Stretch {
    /// CPU seconds a million spans: of all threads, and of those that answer nobody.
    all: f64,
    analysis: f64,
    rate: f64,
    p99: f64,
    answers: usize,
}

/// Measures so many pairs of stretches.
pub(crate) async fn run(
    programs: &Programs,
    readers: Readers,
    rate: f64,
    pairs: usize,
    stretch: Duration,
) -> anyhow::Result<String> {
    let server = Server::start(Kind::Laghound, programs, "");
    let shape = Shape { keys: 1_000, trace: 8, open: 20_000, batch: 512 };
    let way = Way {
        protocol: Protocol::Grpc,
        compression: Compression::Plain,
        connections: 4,
        in_flight: 4,
        rate: Some(rate),
    };
    let load = Load::start(server.grpc, shape, way).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut found: Vec<[Stretch; 2]> = Vec::new();
    for pair in 0..pairs {
        // Whoever is first changes, so that what grows with time is on neither side.
        let quiet_first = pair % 2 == 0;
        let one = measure(&server, &load, (!quiet_first).then_some(readers), stretch).await?;
        let two = measure(&server, &load, quiet_first.then_some(readers), stretch).await?;
        found.push(if quiet_first { [one, two] } else { [two, one] });
    }
    load.stop().await;
    server.process.stop();
    Ok(report(readers, &found))
}

async fn measure(
    server: &Server,
    load: &Load,
    readers: Option<Readers>,
    stretch: Duration,
) -> anyhow::Result<Stretch> {
    let mut asking = JoinSet::new();
    let end = Instant::now() + stretch;
    for number in 0..readers.map_or(0, |readers| readers.count) {
        let every = readers.map_or(stretch, |readers| readers.every);
        asking.spawn(ask(server.metrics, number, every, end));
    }
    load.begin_window();
    let (began, before) = (Instant::now(), server.process.usage());
    let spans = load.counters.spans.load(Relaxed);
    tokio::time::sleep(stretch).await;
    let used = server.process.usage().since(&before);
    let spans = (load.counters.spans.load(Relaxed) - spans) as f64;
    let rate = spans / began.elapsed().as_secs_f64();
    let latencies = load.latencies();
    let mut answers = 0;
    while let Some(asked) = asking.join_next().await {
        answers += asked??;
    }
    let analysis =
        used.cpu.iter().filter(|(name, _)| is_analysis(name)).map(|(_, cpu)| cpu).sum::<f64>();
    let p99 = latencies.get(latencies.len() * 99 / 100).map_or(0.0, Duration::as_secs_f64);
    let million = spans.max(1.0) / 1e6;
    Ok(Stretch {
        all: used.cpu_seconds() / million,
        analysis: analysis / million,
        rate,
        p99,
        answers,
    })
}

fn is_analysis(thread: &str) -> bool {
    ["shard", "judge"].iter().any(|name| thread.contains(name))
}

/// Asks in turn for everything there is, until `end`.
async fn ask(port: u16, number: usize, every: Duration, end: Instant) -> anyhow::Result<usize> {
    let mut answers = 0;
    for at in number.. {
        let began = Instant::now();
        if began >= end {
            break;
        }
        let page =
            scrape::get(port, PATHS[at % PATHS.len()], &[("accept-encoding", "gzip")]).await?;
        anyhow::ensure!(
            page.status == http::StatusCode::OK,
            "{} for {}",
            page.status,
            PATHS[at % PATHS.len()]
        );
        answers += 1;
        tokio::time::sleep((began + every).saturating_duration_since(Instant::now())).await;
    }
    Ok(answers)
}

/// One of its figures.
type Figure = fn(&Stretch) -> f64;

fn report(readers: Readers, found: &[[Stretch; 2]]) -> String {
    let of = |side: usize, figure: Figure| {
        median(found.iter().map(|pair| figure(&pair[side])).collect())
    };
    let ratio = |figure: Figure| {
        median(found.iter().map(|[quiet, asked]| figure(asked) / figure(quiet)).collect())
    };
    let mut out = format!(
        "### {} readers, each every {} ms; {} pairs\n\n| figure | left alone | asked | ratio |\n|---|---|---|---|\n",
        readers.count,
        readers.every.as_millis(),
        found.len()
    );
    let rows: [(&str, Figure); 4] = [
        ("spans taken in a second", |one| one.rate),
        ("CPU s a million spans, analysis", |one| one.analysis),
        ("CPU s a million spans, all threads", |one| one.all),
        ("canary p99, ms", |one| one.p99 * 1e3),
    ];
    for (name, figure) in rows {
        let _ = writeln!(
            out,
            "| {name} | {:.2} | {:.2} | {:.3} |",
            of(0, figure),
            of(1, figure),
            ratio(figure)
        );
    }
    let answers: usize = found.iter().map(|pair| pair[1].answers).sum();
    let _ = writeln!(out, "\n{answers} answers.");
    out
}
