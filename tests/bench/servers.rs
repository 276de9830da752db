//! What is measured against what: how each server is started, and on which ports.
//!
//! All of them get free ports of this machine and the defaults they ship with; the Collector is spared
//! everything that costs and is not asked for (its own telemetry, batching, queues).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::Process;

/// A program that takes OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A tonic service that reads and drops bytes.
    Floor,
    /// The generated tonic service: decodes and drops.
    Decode,
    /// `laghound serve`.
    Laghound,
    /// The Collector with an exporter that drops.
    CollectorNop,
    /// The Collector with span metrics and a Prometheus exporter.
    CollectorSpanMetrics,
}

impl Kind {
    pub(crate) const ALL: [Kind; 5] =
        [Kind::Floor, Kind::Decode, Kind::Laghound, Kind::CollectorNop, Kind::CollectorSpanMetrics];

    /// Its name in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Floor => "raw bytes, drop (floor)",
            Kind::Decode => "generated decode, drop",
            Kind::Laghound => "laghound",
            Kind::CollectorNop => "Collector, nop exporter",
            Kind::CollectorSpanMetrics => "Collector, spanmetrics",
        }
    }

    pub(crate) fn is_collector(self) -> bool {
        matches!(self, Kind::CollectorNop | Kind::CollectorSpanMetrics)
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) laghound: PathBuf,
    /// None: its rows are left out.
    pub(crate) collector: Option<PathBuf>,
    /// Files of a run.
    pub(crate) scratch: PathBuf,
}

/// A server that listens.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) grpc: u16,
    pub(crate) http: u16,
    /// Where its metrics are.
    pub(crate) metrics: u16,
}

impl Server {
    /// Starts one and waits until it listens. `settings` are lines of laghound's configuration.
    pub(crate) fn start(kind: Kind, programs: &Programs, settings: &str) -> Server {
        let server = Server::spawn(kind, programs, settings);
        wait_for(server.grpc);
        server
    }

    /// Starts one.
    pub(crate) fn spawn(kind: Kind, programs: &Programs, settings: &str) -> Server {
        let [grpc, http, metrics] = free_ports();
        let command = match kind {
            Kind::Floor => ourselves("serve-raw", &[grpc]),
            Kind::Decode => ourselves("serve-decode", &[grpc, http]),
            Kind::Laghound => laghound(programs, [grpc, http, metrics], settings),
            Kind::CollectorNop | Kind::CollectorSpanMetrics => {
                collector(kind, programs, [grpc, http, metrics])
            }
        };
        let process = Process::start(command);
        Server { process, grpc, http, metrics }
    }

    /// The value of a series of laghound's, summed over its labels. None if there is none.
    pub(crate) async fn gauge(&self, name: &str) -> Option<f64> {
        let page = crate::scrape::get(self.metrics, "/metrics", &[]).await.ok()?;
        let page = String::from_utf8(page.body).ok()?;
        let values = page.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }
}

/// Ports nobody listens on. All are held until all are chosen, so they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [std::net::TcpListener; N] =
        std::array::from_fn(|_| std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

fn wait_for(port: u16) {
    for _ in 0..600 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the server does not listen on port {port} after 30 s");
}

fn ourselves(role: &str, ports: &[u16]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg(role).args(ports.iter().map(u16::to_string));
    command
}

fn write(scratch: &Path, name: &str, text: &str) -> PathBuf {
    let path = scratch.join(name);
    std::fs::write(&path, text).expect("the scratch directory can be written");
    path
}

fn laghound(programs: &Programs, [grpc, http, admin]: [u16; 3], settings: &str) -> Command {
    let config = format!(
        "receiver:\n  grpc:\n    endpoint: 127.0.0.1:{grpc}\n  http:\n    endpoint: 127.0.0.1:{http}\n\
         admin:\n  endpoint: 127.0.0.1:{admin}\n{settings}"
    );
    let config = write(&programs.scratch, "laghound.yaml", &config);
    let mut command = Command::new(&programs.laghound);
    command.arg("serve").arg("--config").arg(config).stderr(log(programs, "laghound.log"));
    command
}

fn collector(kind: Kind, programs: &Programs, [grpc, http, metrics]: [u16; 3]) -> Command {
    let pipelines = match kind {
        Kind::CollectorSpanMetrics => {
            "    traces: {receivers: [otlp], exporters: [spanmetrics]}\n    \
             metrics: {receivers: [spanmetrics], exporters: [prometheus]}\n"
        }
        _ => "    traces: {receivers: [otlp], exporters: [nop]}\n",
    };
    let config = format!(
        "receivers:\n  otlp:\n    protocols:\n      grpc: {{endpoint: '127.0.0.1:{grpc}'}}\n      \
         http: {{endpoint: '127.0.0.1:{http}'}}\n\
         exporters:\n  nop: {{}}\n  prometheus: {{endpoint: '127.0.0.1:{metrics}'}}\n\
         connectors:\n  spanmetrics: {{metrics_flush_interval: 15s}}\n\
         service:\n  telemetry: {{logs: {{level: error}}, metrics: {{level: none}}}}\n  \
         pipelines:\n{pipelines}"
    );
    let config = write(&programs.scratch, "collector.yaml", &config);
    let program = programs.collector.as_ref().expect("not asked for without one");
    let mut command = Command::new(program);
    command.arg("--config").arg(config).stderr(log(programs, "collector.log"));
    command
}

/// The log of a server that misbehaves is worth reading.
fn log(programs: &Programs, name: &str) -> Stdio {
    let file = std::fs::File::create(programs.scratch.join(name));
    file.map_or_else(|_| Stdio::null(), Stdio::from)
}
