//! What `/metrics` costs: CPU and bytes by encoding and number of operations, a thousand scrapers at once,
//! and what the spans that come in meanwhile notice of it.

use std::fmt::Write;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Compression, Protocol};
use crate::load::{Load, Way};
use crate::measure::median;
use crate::payload::Shape;
use crate::scrape::{self, PROMETHEUS};
use crate::servers::{Kind, Programs, Server};

const TEXT: [(&str, &str); 1] = [("accept", "text/plain;version=0.0.4")];
const REPEATS: usize = 9;
const CROWD: usize = 1_000;

/// Measures a server that knows so many operations, all of them with a baseline.
pub(crate) async fn run(
    programs: &Programs,
    keys: usize,
    learn: Duration,
) -> anyhow::Result<String> {
    // All scrapers are one peer: of its connections half may be a peer's, and memory for all of them is
    // part of the limit.
    let settings = format!(
        "names:\n  max_operations: {}\n  max_operations_per_service: 20000\npublish:\n  max_series: {}\n\
         connections:\n  max: {}\n  max_per_peer: {}\nmemory_limit: 4GiB\n",
        keys * 2,
        keys * 12,
        4 * CROWD,
        2 * CROWD
    );
    let server = Server::start(Kind::Laghound, programs, &settings);
    let shape = Shape { keys, trace: 8, open: 20_000, batch: 512 };
    let busy = Way {
        protocol: Protocol::Grpc,
        compression: Compression::Plain,
        connections: 4,
        in_flight: 4,
        rate: Some((keys as f64).max(50_000.0)),
    };
    let load = Load::start(server.grpc, shape, busy).await;
    tokio::time::sleep(learn).await;
    let idle = canary(&load, Duration::from_secs(10)).await;
    let crowded = {
        let crowd = tokio::spawn(crowd(server.metrics));
        let latencies = canary(&load, Duration::from_secs(10)).await;
        (crowd.await??, latencies)
    };
    load.stop().await;
    // What is under way is judged, and then only scrapes cost.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let mut out = format!(
        "### {keys} operations\n\n| page | CPU | bytes sent | series |\n|---|---|---|---|\n"
    );
    for (name, headers) in [("text", &TEXT[..]), ("OpenMetrics, gzip", &PROMETHEUS[..])] {
        let page = scrape::get(server.metrics, "/metrics", headers).await?;
        let cpu = cpu_of_scrapes(&server, headers).await?;
        let series = server.gauge("laghound_series").await.unwrap_or_default();
        let _ = writeln!(
            out,
            "| {name} | {:.1} ms | {:.2} MB | {series:.0} |",
            cpu * 1e3,
            page.body.len() as f64 / 1e6
        );
    }
    let (cost, slowest) = crowded.0;
    let _ = writeln!(
        out,
        "\n{CROWD} scrapers at once (gzip): {:.2} s until the last has its page, {cost:.2} CPU s of the server, \
         spans taken in meanwhile included.\nCanary p99 without scrapes {:.1} ms, with {:.1} ms; peak RSS {:.0} MB.\n",
        slowest,
        idle * 1e3,
        crowded.1 * 1e3,
        server.process.usage().peak_rss as f64 / 1e6
    );
    server.process.stop();
    Ok(out)
}

/// CPU seconds of one scrape. What the server does anyway meanwhile is measured and taken off.
async fn cpu_of_scrapes(server: &Server, headers: &[(&str, &str)]) -> anyhow::Result<f64> {
    let mut costs = Vec::new();
    for _ in 0..REPEATS {
        let before = server.process.usage();
        let began = Instant::now();
        scrape::get(server.metrics, "/metrics", headers).await?;
        let took = began.elapsed();
        let after = server.process.usage();
        tokio::time::sleep(took).await;
        let rest = server.process.usage().since(&after).cpu_seconds();
        costs.push(after.since(&before).cpu_seconds() - rest);
    }
    Ok(median(costs))
}

/// A thousand ask at the same moment. Returns CPU seconds of this and seconds until the last was served.
async fn crowd(port: u16) -> anyhow::Result<(f64, f64)> {
    let before = scrape_cpu(port).await?;
    let began = Instant::now();
    let mut asking = JoinSet::new();
    for _ in 0..CROWD {
        asking.spawn(async move { scrape::get(port, "/metrics", &PROMETHEUS).await });
    }
    while let Some(page) = asking.join_next().await {
        anyhow::ensure!(page??.status == http::StatusCode::OK, "a scraper was turned away");
    }
    let took = began.elapsed().as_secs_f64();
    Ok((scrape_cpu(port).await? - before, took))
}

/// What the server says it has used.
async fn scrape_cpu(port: u16) -> anyhow::Result<f64> {
    let page = scrape::get(port, "/metrics", &TEXT).await?;
    let text = String::from_utf8(page.body)?;
    let line = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
    line.and_then(|value| value.parse().ok())
        .ok_or_else(|| anyhow::anyhow!("no CPU time on the page"))
}

async fn canary(load: &Load, time: Duration) -> f64 {
    load.begin_window();
    tokio::time::sleep(time).await;
    let latencies = load.latencies();
    latencies.get(latencies.len() * 99 / 100).map_or(0.0, Duration::as_secs_f64)
}
