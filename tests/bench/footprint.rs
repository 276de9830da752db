//! What laghound takes where nobody sends anything: memory, CPU, the time until it is ready, its size.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::measure::median;
use crate::report::judged;
use crate::scrape;
use crate::servers::{Kind, Programs, Server};

const STARTS: usize = 5;
const IDLE: Duration = Duration::from_secs(20);

/// Starts it a few times and lets the last one idle.
pub(crate) async fn run(programs: &Programs) -> anyhow::Result<String> {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(time_to_ready(programs).await?);
    }
    let server = Server::start(Kind::Laghound, programs, "");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = server.process.usage();
    tokio::time::sleep(IDLE).await;
    let used = server.process.usage().since(&before);
    server.process.stop();
    let size = std::fs::metadata(&programs.laghound)?.len() as f64 / 1e6;
    let rows = [
        ("idle: resident MB", used.peak_rss as f64 / 1e6, 15.0),
        ("idle: ms of CPU a second", used.cpu_seconds() * 1e3 / IDLE.as_secs_f64(), 1.0),
        ("ms until ready", median(starts) * 1e3, 100.0),
        ("MB of the stripped binary", size, 15.0),
    ];
    let mut out = String::from("| figure | measured | hold | stretch | |\n|---|---|---|---|---|\n");
    for (name, measured, hold) in rows {
        let judged = judged(measured, hold, 0.0);
        writeln!(out, "| {name} | {measured:.2} | {hold} | | {judged} |")?;
    }
    Ok(out)
}

/// Seconds from the start of the process until `/readyz` says yes.
async fn time_to_ready(programs: &Programs) -> anyhow::Result<f64> {
    let began = Instant::now();
    let server = Server::spawn(Kind::Laghound, programs, "");
    while began.elapsed() < Duration::from_secs(10) {
        if let Ok(page) = scrape::get(server.metrics, "/readyz", &[]).await
            && page.status == http::StatusCode::OK
        {
            let took = began.elapsed().as_secs_f64();
            server.process.stop();
            return Ok(took);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    anyhow::bail!("not ready after 10 s")
}
