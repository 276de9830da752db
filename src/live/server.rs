//! The server as a whole: binds, starts, says where it listens, and ends in order.
//!
//! `serve` and `demo` run this very thing. The order of the end: not ready any more, no new
//! connections, requests under way are answered, the shards finish what they have, the judge judges
//! it, and the admin endpoint goes last. All of it within a grace; what takes longer is left behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Version};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{info, warn};

use super::access::{Access, AccessError, AccessFiles};
use super::books::Books;
use super::budget::Budget;
use super::clock::Clock;
use super::evidence::LiveEvidence;
use super::intake::{LiveIntake, failures, refusals};
use super::kafka::{self, KafkaError, KafkaSource};
use super::memory::{self, Plan};
use super::net::{self, ConnectionLimits, Listener};
use super::pipeline::{Pipeline, Threads};
use super::snapshot::{self, Beginning, StateInUse, StateSettings};
use super::status::Status;
use super::supervisor;
use crate::engine::EngineParams;
use crate::engine::reservoir::KeepLimits;
use crate::engine::verdict::Board;
use crate::model::{InternLimits, Interner, Nanos};
use crate::otlp::receive::kafka::KafkaSettings;
use crate::otlp::receive::{ReceiveLimits, Receiver, SERVICE};
use crate::otlp::{AttributeRules, Interest};
use crate::publish::admin::{self, Source};
use crate::publish::api::{ApiSettings, QUERY_SERVICE};
use crate::publish::exposition;
use crate::publish::ledger::{Ledger, Transport};
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
    /// Bytes of memory, all together; `None` for what the kernel allows.
    pub memory_limit: Option<u64>,
    /// Bytes of requests on their way, all together.
    pub max_in_flight: usize,
    /// Bounds of the connections to each address.
    pub connections: ConnectionLimits,
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
    /// Traces kept for people to look at.
    pub keep: KeepLimits,
    /// What the API goes by.
    pub api: ApiSettings,
    /// What senders must prove.
    pub receiver_access: AccessFiles,
    /// What those must prove who look.
    pub admin_access: AccessFiles,
    /// Where what is learned is kept; `None` keeps nothing.
    pub state: Option<StateSettings>,
    /// What is read from Kafka; `None` reads nothing.
    pub kafka: Option<KafkaSource>,
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
    /// Certificates or credentials are of no use.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Kafka cannot be read from.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// Another process has the state.
    #[error(transparent)]
    State(#[from] StateInUse),
    /// No more threads.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A thread of the analysis has ended.
#[derive(Debug, thiserror::Error)]
#[error("the analysis has stopped; the log says why")]
pub struct Failed;

/// Addresses really bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// OTLP/gRPC.
    pub grpc: SocketAddr,
    /// OTLP/HTTP.
    pub http: SocketAddr,
    /// Metrics, health, page, API.
    pub admin: SocketAddr,
}

/// The running server.
pub struct Server {
    addresses: Addresses,
    status: Arc<Status>,
    health: HealthReporter,
    receivers: Endpoints,
    admin: Endpoints,
    threads: Threads,
    /// What goes on beside serving; ends with the server.
    background: JoinSet<()>,
    doors: Doors,
    kafka: Option<kafka::Consumer>,
}

/// What listeners go by and may be changed while they serve.
struct Doors {
    limits: Arc<ArcSwap<ConnectionLimits>>,
    receiver: Arc<ArcSwap<Access>>,
    admin: Arc<ArcSwap<Access>>,
}

impl Doors {
    fn open(settings: &Settings) -> Result<Doors, AccessError> {
        let load = |files: &AccessFiles| Ok::<_, AccessError>(Arc::new(files.load()?));
        Ok(Doors {
            limits: Arc::new(ArcSwap::from_pointee(affordable(&settings.connections))),
            receiver: Arc::new(ArcSwap::new(load(&settings.receiver_access)?)),
            admin: Arc::new(ArcSwap::new(load(&settings.admin_access)?)),
        })
    }

    /// All of it, or nothing of it.
    fn change(&self, settings: &Settings) -> Result<(), AccessError> {
        let new = Doors::open(settings)?;
        self.limits.store(new.limits.load_full());
        self.receiver.store(new.receiver.load_full());
        self.admin.store(new.admin.load_full());
        Ok(())
    }
}

/// Listeners that end together.
struct Endpoints {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Endpoints {
    fn new() -> Endpoints {
        Endpoints { stop: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    fn serve(&mut self, incoming: TcpListener, listener: &Arc<Listener>) {
        self.tasks.spawn(net::serve(incoming, Arc::clone(listener), self.stop.subscribe()));
    }

    /// No new connections; the requests under way are answered. What is not done in time is cut off.
    async fn stop(mut self, grace: Duration) -> bool {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(grace, ended).await.is_ok()
    }
}

impl Server {
    /// Binds all addresses and starts serving.
    ///
    /// # Errors
    /// An address cannot be bound, or there are no more threads. Nothing is left running.
    pub async fn start(mut settings: Settings) -> Result<Server, StartError> {
        let plan = Plan::of(memory::limit(settings.memory_limit));
        plan.fit(&mut settings);
        let doors = Doors::open(&settings)?;
        let kafka = settings.kafka.as_ref().map(KafkaSource::complete).transpose()?;
        let grpc = bind("otlp_grpc", "receiver.grpc.endpoint", &settings.grpc).await?;
        let http = bind("otlp_http", "receiver.http.endpoint", &settings.http).await?;
        let admin = bind("admin", "admin.endpoint", &settings.admin).await?;
        let addresses = Addresses {
            grpc: grpc.local_addr()?,
            http: http.local_addr()?,
            admin: admin.local_addr()?,
        };
        let (receiver, status, threads) = analysis(&settings, plan)?;
        let (health, health_service) = tonic_health::server::health_reporter();
        say(&health, ServingStatus::Serving).await;
        let page = Arc::new(MetricsPage::new(exposition::Limits::new(settings.max_series)));
        let source: Arc<dyn Source> = Arc::clone(&status) as Arc<dyn Source>;
        // A gRPC call has a path of its own, so both can be served on one port.
        let evidence = LiveEvidence::new(
            Arc::clone(&status.pipeline),
            settings.interest.clone(),
            settings.keep.bytes,
            settings.api.max_upload_bytes,
        );
        let api =
            ApiSettings { listen_for: settings.connections.listening(), ..settings.api.clone() };
        let admin_routes = admin::router(source, page, Arc::new(evidence), api)
            .route_service(HEALTH, health_service.clone());
        let grpc_routes =
            receiver.grpc().route_service(HEALTH, health_service).layer(from_fn(only_http_2));

        let listener = |what, routes, access: &Arc<_>| {
            Listener::new(what, routes, Arc::clone(&doors.limits), Arc::clone(access))
        };
        let listeners = vec![
            listener("otlp_grpc", grpc_routes, &doors.receiver),
            listener("otlp_http", receiver.http(), &doors.receiver),
            listener("admin", admin_routes, &doors.admin),
        ];
        let (mut receivers, mut endpoint) = (Endpoints::new(), Endpoints::new());
        receivers.serve(grpc, &listeners[0]);
        receivers.serve(http, &listeners[1]);
        endpoint.serve(admin, &listeners[2]);
        status.attach(listeners);
        let kafka = kafka.map(|settings| read_from(settings, &receiver, &status));
        let mut background = JoinSet::new();
        background.spawn(memory::watch(plan.limit, Arc::clone(&status.budget)));
        let analysis = Arc::clone(&status);
        background.spawn(supervisor::keep_watched(move || analysis.pipeline.progress()));
        let admin = endpoint;
        let server = Server {
            addresses,
            status,
            health,
            receivers,
            admin,
            threads,
            background,
            doors,
            kafka,
        };
        server.announce(&settings);
        supervisor::ready();
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

    /// Waits until something that cannot be done without has ended by itself. A server that goes on without
    /// it would be ready and analyze nothing.
    pub async fn failed(&self) -> Failed {
        const EVERY: Duration = Duration::from_millis(500);
        while self.status.pipeline.is_running() {
            tokio::time::sleep(EVERY).await;
        }
        Failed
    }

    /// Ends in order, within `grace`. Returns whether everything was finished.
    pub async fn stop(self, grace: Nanos) -> bool {
        let Server { status, health, receivers, admin, threads, background, kafka, .. } = self;
        let grace = Duration::from_nanos(grace.0);
        supervisor::stopping();
        status.stopping.store(true, Ordering::Relaxed);
        say(&health, ServingStatus::NotServing).await;
        if let Some(kafka) = &kafka {
            kafka.end_reading();
        }
        let finished = async {
            // A sender that does not come to an end must not take the time that is needed to analyze
            // what the others have sent.
            let answered = receivers.stop(grace / 2).await;
            if !answered {
                warn!("requests that were not complete in time are cut off");
            }
            // The last way into the pipeline closes here, and with it the lanes.
            status.pipeline.close();
            let _ = tokio::task::spawn_blocking(move || threads.join()).await;
            if let Some(kafka) = kafka {
                kafka.leave(grace / 4).await;
            }
            // Until here it could be seen how far it has come.
            status.pipeline.release();
            admin.stop(grace / 4).await;
            drop(background);
            answered
        };
        match tokio::time::timeout(grace, finished).await {
            Ok(answered) => answered,
            Err(_) => {
                warn!(grace = ?grace, "the grace is over before everything was finished");
                false
            }
        }
    }

    fn announce(&self, settings: &Settings) {
        let Addresses { grpc, http, admin } = self.addresses;
        let (receiver, looking) = (&settings.receiver_access, &settings.admin_access);
        for (what, addr, access) in [
            ("otlp_grpc", grpc, receiver),
            ("otlp_http", http, receiver),
            ("admin", admin, looking),
        ] {
            let tls = access.tls.is_some();
            info!(what, %addr, tls, "listening");
            if addr.ip().is_loopback() {
                continue;
            }
            if !access.knows_clients() {
                warn!(what, %addr, "whoever reaches this address is let in: set auth or tls.client_ca_file");
            }
            if !tls {
                warn!(what, %addr, "reachable from other machines without encryption: set tls.cert_file");
            }
        }
    }

    /// Has it known how the last change of the configuration went.
    pub fn note_reload(&self, successful: bool) {
        self.status.note_reload(successful);
    }

    /// Takes over what may be changed while it serves: limits of connections, certificates, credentials.
    /// All of it, or nothing of it.
    ///
    /// # Errors
    /// The new files are of no use; the old ones stay.
    pub fn change(&self, settings: &Settings) -> Result<(), AccessError> {
        let mut settings = settings.clone();
        self.status.plan().fit(&mut settings);
        self.doors.change(&settings)
    }
}

/// OTLP by gRPC, OTLP by HTTP, admin.
pub(super) const LISTENERS: usize = 3;

/// As many connections as there are descriptors for.
fn affordable(limits: &ConnectionLimits) -> ConnectionLimits {
    let descriptors = net::raise_descriptor_limit(limits.max.saturating_mul(LISTENERS));
    let affordable = limits.within(descriptors, LISTENERS);
    if affordable.max < limits.max {
        warn!(
            wanted = limits.max,
            max = affordable.max,
            "fewer connections than connections.max: the limit of open files is too low"
        );
    }
    affordable
}

/// The methods of the standard health service.
const HEALTH: &str = "/grpc.health.v1.Health/{method}";

/// Of the server as a whole, and of each service.
async fn say(health: &HealthReporter, status: ServingStatus) {
    for service in ["", SERVICE, QUERY_SERVICE] {
        health.set_service_status(service, status).await;
    }
}

/// HTTP/1 on the gRPC port is mostly an exporter that was given the wrong one of two numbers.
async fn only_http_2(request: Request, next: Next) -> Response {
    if request.version() >= Version::HTTP_2 {
        return next.run(request).await;
    }
    let message =
        "this port speaks OTLP over gRPC, which is HTTP/2; OTLP over HTTP has a port of its own\n";
    (StatusCode::HTTP_VERSION_NOT_SUPPORTED, message).into_response()
}

type Analysis = (Arc<Receiver<LiveIntake>>, Arc<Status>, Threads);

/// Starts the threads and what leads to them.
fn analysis(settings: &Settings, plan: Plan) -> Result<Analysis, StartError> {
    let names = Arc::new(Interner::new(settings.names));
    let rules = Arc::new(AttributeRules::new(&settings.interest, &names));
    let books = Arc::new(Books::new(&refusals(), &failures()));
    let clock = Arc::new(Clock::start());
    let shards = match settings.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let Beginning { judge, saver, figures } =
        snapshot::begin(settings.state.as_ref(), settings.engine, &names, &clock)?;
    let beginning = (judge, saver);
    let keep = settings.keep;
    let (pipeline, threads) = Pipeline::start(
        settings.engine,
        shards,
        Arc::clone(&clock),
        names,
        Arc::clone(&books),
        keep,
        beginning,
    )?;
    let pipeline = Arc::new(pipeline);
    let budget = Budget::new(settings.max_in_flight as u64);
    let intake = LiveIntake::new(Arc::clone(&pipeline), books, Arc::clone(&budget));
    let receiver = Receiver::new(Arc::new(intake), rules, settings.request);
    let status = Arc::new(Status::new(pipeline, budget, plan, figures, clock));
    Ok((receiver, status, threads))
}

/// Starts reading from Kafka.
fn read_from(
    settings: KafkaSettings,
    receiver: &Arc<Receiver<LiveIntake>>,
    status: &Status,
) -> kafka::Consumer {
    let watch = kafka::Watch::new(&settings);
    status.pipeline.books().expect(Transport::Kafka, &refusals(), &failures());
    let figures = watch.figures();
    status.attach_kafka(watch);
    kafka::Consumer::start(settings, receiver, figures)
}

async fn bind(
    what: &'static str,
    key: &'static str,
    addr: &str,
) -> Result<TcpListener, StartError> {
    let fail = |source| StartError::Bind { what, key, addr: addr.to_owned(), source };
    TcpListener::bind(addr).await.map_err(fail)
}
