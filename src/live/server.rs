//! The server as a whole: binds, starts, says where it listens, and ends in order.
//!
//! `serve` and `demo` run this very thing. The order of the end: not ready any more, no new
//! connections, requests under way are answered, the shards finish what they have, the judge judges
//! it. All of it within a grace; what takes longer is left behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{info, warn};

use super::books::Books;
use super::budget::Budget;
use super::clock::Clock;
use super::intake::{LiveIntake, failures, refusals};
use super::pipeline::{Pipeline, Threads};
use crate::engine::EngineParams;
use crate::engine::verdict::Board;
use crate::model::{InternLimits, Interner, Nanos, Span};
use crate::otlp::receive::{ReceiveLimits, Receiver, TraceService};
use crate::otlp::{AttributeRules, Interest};
use crate::publish::admin::{self, Source};
use crate::publish::exposition;
use crate::publish::ledger::Ledger;
use crate::publish::metrics_page::MetricsPage;

/// Everything the server goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where OTLP/gRPC is received.
    pub grpc: String,
    /// Where OTLP/HTTP is received.
    pub http: String,
    /// Where metrics, health and the page are served.
    pub admin: String,
    /// Bounds of one request.
    pub request: ReceiveLimits,
    /// Bytes of requests on their way, all together.
    pub max_in_flight: u64,
    /// Shards; 0 for as many as there are CPUs.
    pub threads: usize,
    /// The analysis.
    pub engine: EngineParams,
    /// Names kept apart.
    pub names: InternLimits,
    /// Attributes looked at.
    pub interest: Interest,
    /// Series published at most.
    pub max_series: usize,
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, not ours, or not allowed.
    #[error("cannot listen on {addr} for {what}: {source}; set {key} to another address")]
    Bind {
        /// What was to be served.
        what: &'static str,
        /// The setting.
        key: &'static str,
        /// Its value.
        addr: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No more threads.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Addresses really bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// OTLP/gRPC.
    pub grpc: SocketAddr,
    /// OTLP/HTTP.
    pub http: SocketAddr,
    /// Metrics, health, page.
    pub admin: SocketAddr,
}

/// The running server.
pub struct Server {
    addresses: Addresses,
    status: Arc<Status>,
    health: HealthReporter,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    threads: Threads,
}

impl Server {
    /// Binds all addresses and starts serving.
    ///
    /// # Errors
    /// An address cannot be bound, or there are no more threads. Nothing is left running.
    pub async fn start(settings: Settings) -> Result<Server, StartError> {
        let grpc = bind("otlp_grpc", "receiver.grpc.endpoint", &settings.grpc).await?;
        let http = bind("otlp_http", "receiver.http.endpoint", &settings.http).await?;
        let admin = bind("admin", "admin.endpoint", &settings.admin).await?;
        let addresses = Addresses {
            grpc: grpc.local_addr()?,
            http: http.local_addr()?,
            admin: admin.local_addr()?,
        };
        let (receiver, status, threads) = analysis(&settings)?;
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_service_status("", ServingStatus::Serving).await;
        health.set_serving::<TraceService<LiveIntake>>().await;
        let page = Arc::new(MetricsPage::new(exposition::Limits::new(settings.max_series)));
        let source: Arc<dyn Source> = Arc::clone(&status) as Arc<dyn Source>;
        // A gRPC call has a path of its own, so both can be served on one port.
        let admin_routes = admin::router(source, page)
            .route_service("/grpc.health.v1.Health/{method}", health_service.clone());
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let services = Routes::new(receiver.grpc()).add_service(health_service);
        tasks.spawn(serve_grpc(grpc, services, stopped.clone()));
        tasks.spawn(serve_http("otlp_http", http, receiver.http(), stopped.clone()));
        tasks.spawn(serve_http("admin", admin, admin_routes, stopped));
        let server = Server { addresses, status, health, stop, tasks, threads };
        server.announce();
        Ok(server)
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The verdicts as of the last slice.
    pub fn board(&self) -> Arc<Board> {
        self.status.pipeline.board()
    }

    /// The process's own numbers.
    pub fn ledger(&self) -> Ledger {
        self.status.ledger()
    }

    /// Ends in order, within `grace`. Returns whether everything was finished.
    pub async fn stop(self, grace: Nanos) -> bool {
        let Server { status, health, stop, mut tasks, threads, .. } = self;
        status.stopping.store(true, Ordering::Relaxed);
        health.set_service_status("", ServingStatus::NotServing).await;
        health.set_not_serving::<TraceService<LiveIntake>>().await;
        // Nobody left to tell is what is wanted.
        let _ = stop.send(true);
        let finished = async {
            while tasks.join_next().await.is_some() {}
            // The last way into the pipeline closes here, and with it the lanes.
            status.pipeline.close();
            let _ = tokio::task::spawn_blocking(move || threads.join()).await;
        };
        let in_time = tokio::time::timeout(Duration::from_nanos(grace.0), finished).await.is_ok();
        if !in_time {
            warn!(grace = %grace, "the grace is over before everything was finished");
        }
        in_time
    }

    fn announce(&self) {
        let Addresses { grpc, http, admin } = self.addresses;
        for (what, addr) in [("otlp_grpc", grpc), ("otlp_http", http), ("admin", admin)] {
            info!(what, %addr, "listening");
            if !addr.ip().is_loopback() {
                warn!(what, %addr, "reachable from other machines, without encryption or access control");
            }
        }
    }
}

/// What the admin endpoint shows.
struct Status {
    pipeline: Arc<Pipeline>,
    budget: Arc<Budget>,
    stopping: AtomicBool,
}

impl Source for Status {
    fn board(&self) -> Arc<Board> {
        self.pipeline.board()
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = self.pipeline.books().read();
        ledger.memory_bytes.insert("in_flight", self.budget.used());
        ledger.memory_bytes.insert("traces", ledger.pending_spans * size_of::<Span>() as u64);
        ledger.memory_limit_bytes = self.budget.limit();
        ledger.overflow_spans =
            self.board().operations.iter().filter(|op| op.is_overflow()).map(|op| op.spans).sum();
        ledger
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(vec!["shutting down".to_owned()]);
        }
        if self.pipeline.is_running() {
            return Ok(());
        }
        Err(vec!["the analysis has stopped".to_owned()])
    }
}

type Analysis = (Arc<Receiver<LiveIntake>>, Arc<Status>, Threads);

/// Starts the threads and what leads to them.
fn analysis(settings: &Settings) -> Result<Analysis, StartError> {
    let names = Arc::new(Interner::new(settings.names));
    let rules = Arc::new(AttributeRules::new(&settings.interest, &names));
    let books = Arc::new(Books::new(&refusals(), &failures()));
    let clock = Arc::new(Clock::start());
    let shards = match settings.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let (pipeline, threads) =
        Pipeline::start(settings.engine, shards, clock, names, Arc::clone(&books))?;
    let pipeline = Arc::new(pipeline);
    let budget = Budget::new(settings.max_in_flight);
    let intake = LiveIntake::new(Arc::clone(&pipeline), books, Arc::clone(&budget));
    let receiver = Receiver::new(Arc::new(intake), rules, settings.request);
    let status = Arc::new(Status { pipeline, budget, stopping: AtomicBool::new(false) });
    Ok((receiver, status, threads))
}

async fn bind(
    what: &'static str,
    key: &'static str,
    addr: &str,
) -> Result<TcpListener, StartError> {
    let fail = |source| StartError::Bind { what, key, addr: addr.to_owned(), source };
    TcpListener::bind(addr).await.map_err(fail)
}

async fn serve_grpc(listener: TcpListener, services: Routes, mut stopped: watch::Receiver<bool>) {
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_routes(services);
    let stop = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let incoming = TcpListenerStream::new(listener);
    if let Err(error) = server.serve_with_incoming_shutdown(incoming, stop).await {
        warn!(what = "otlp_grpc", %error, "the receiver ended");
    }
}

/// Streams of one connection; a Collector has ten consumers.
const MAX_STREAMS: u32 = 100;
/// A peer that has gone away is found out by asking.
const KEEPALIVE: Duration = Duration::from_secs(60);

async fn serve_http(
    what: &'static str,
    listener: TcpListener,
    routes: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let stop = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(stop).await {
        warn!(what, %error, "the endpoint ended");
    }
}
