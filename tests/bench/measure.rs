//! One measurement: a server is started, loaded until it is in its stride, and watched for a while.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::load::{Load, Way};
use crate::payload::Shape;
use crate::process::Usage;
use crate::scrape;
use crate::servers::{Kind, Programs, Server};

/// How long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Before anything counts.
    pub(crate) warm: Duration,
    /// What counts.
    pub(crate) window: Duration,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// CPU seconds of the server per million spans acknowledged.
    pub(crate) cpu: f64,
    /// The same, by name of thread.
    pub(crate) by_thread: Vec<(String, f64)>,
    /// Spans acknowledged a second.
    pub(crate) rate: f64,
    /// Bytes, at most.
    pub(crate) rss: f64,
    /// Canary, seconds.
    pub p50: f64,
    pub p99: f64,
    /// Requests refused for want of room, of all.
    pub(crate) refused: f64,
    /// Requests that failed.
    pub(crate) failed: u64,
    /// Traces open at the end, where the server says it.
    pub(crate) open: Option<f64>,
}

/// Loads a server of this kind and says what it used.
pub(crate) async fn measure(
    kind: Kind,
    programs: &Programs,
    settings: &str,
    shape: Shape,
    way: Way,
    times: Times,
) -> Figures {
    let server = Server::start(kind, programs, settings);
    let port = match way.protocol {
        crate::client::Protocol::Grpc => server.grpc,
        crate::client::Protocol::Http => server.http,
    };
    let load = Load::start(port, shape, way).await;
    tokio::time::sleep(times.warm).await;
    load.begin_window();
    let began = Instant::now();
    let before = server.process.usage();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
    let spans = count(&load.counters.spans);
    tokio::time::sleep(times.window / 2).await;
    // As in life: every server that has metrics is asked for them.
    if matches!(kind, Kind::Laghound | Kind::CollectorSpanMetrics) {
        let _ = scrape::get(server.metrics, "/metrics", &scrape::PROMETHEUS).await;
    }
    tokio::time::sleep((began + times.window).saturating_duration_since(Instant::now())).await;
    let spans = (count(&load.counters.spans) - spans) as f64;
    let used = server.process.usage().since(&before);
    let seconds = began.elapsed().as_secs_f64();
    let open = match kind {
        Kind::Laghound => server.gauge("laghound_pending_traces").await,
        _ => None,
    };
    let latencies = load.latencies();
    let requests = count(&load.counters.requests).max(1) as f64;
    let refused = count(&load.counters.refused) as f64 / requests;
    let failed = count(&load.counters.failed);
    let figures = Figures {
        cpu: per_million(used.cpu_seconds(), spans),
        by_thread: by_thread(&used, spans),
        rate: spans / seconds,
        rss: used.peak_rss as f64,
        p50: at(&latencies, 0.5),
        p99: at(&latencies, 0.99),
        refused,
        failed,
        open,
    };
    load.stop().await;
    server.process.stop();
    figures
}

fn per_million(seconds: f64, spans: f64) -> f64 {
    seconds * 1e6 / spans.max(1.0)
}

fn by_thread(used: &Usage, spans: f64) -> Vec<(String, f64)> {
    used.cpu.iter().map(|(name, &cpu)| (name.clone(), per_million(cpu, spans))).collect()
}

/// The value at a share of the way through ascending ones.
fn at(ascending: &[Duration], share: f64) -> f64 {
    let index = (ascending.len() as f64 * share) as usize;
    ascending.get(index.min(ascending.len().saturating_sub(1))).map_or(0.0, Duration::as_secs_f64)
}

/// The middle one; of two, their mean.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}
