//! The table of settings: every key once, with its meaning, type, default and range.
//!
//! To add a key, add a line. The comments above it become the help text, the annotated example
//! (`deploy/laghound.yaml`) and the field's documentation, so they speak to users. Rules that tie
//! two keys together are in `check.rs`; a number that belongs to the engine is taken from there.

use std::path::PathBuf;

use bytesize::ByteSize;

use super::endpoint::Endpoint;
use super::kafka::{Brokers, Name, Security};
use super::keys::{Key, settings};
use super::memory::MemoryLimit;
use super::value::{LogFormat, LogLevel, Setting, names, within};
use super::web::{TraceAddress, WebAddress};
use crate::engine::params::{AssemblyParams, DetectionParams, EngineParams};
use crate::engine::reservoir::KeepLimits;
use crate::live::net::ConnectionLimits;
use crate::model::{InternLimits, Nanos};
use crate::otlp::receive::kafka::{Begin, Mechanism};
use crate::otlp::{CostLimits, Interest};

settings! {
    /// Where spans come in, and how much of them at once.
    receiver: Receiver {
        /// Address of OTLP over gRPC. Only this machine can reach the default; port 0 takes any
        /// free port, and the one taken is logged.
        grpc_endpoint: Endpoint = "receiver.grpc.endpoint", Endpoint::loopback(4317);
        /// Address of OTLP over HTTP, protobuf and JSON, at /v1/traces. Only this machine can reach
        /// the default.
        http_endpoint: Endpoint = "receiver.http.endpoint", Endpoint::loopback(4318);
        /// Largest request taken, before and after decompression. OTLP recommends 64MiB; a quarter of
        /// it still holds tens of thousands of spans, and bounds what one sender can take.
        max_request_size: ByteSize = "receiver.max_request_size", ByteSize::mib(16),
            in ByteSize::kib(1)..=ByteSize::gib(1);
        /// Bytes of requests being received, decoded or waiting, all together: four of the largest by
        /// default, so that one connection, which has a quarter, can send the largest. Beyond it
        /// senders are told to come again later, which exporters do by themselves.
        max_in_flight: ByteSize = "receiver.max_in_flight", ByteSize::mib(64),
            in ByteSize::kib(1)..=ByteSize::gib(64);
        /// Spans of one request, counted before anything is built from it: an empty span takes two
        /// bytes on the wire, so the size alone says little. Exporters send hundreds to thousands.
        max_spans_per_request: usize = "receiver.max_spans_per_request", 100_000,
            in 1..=10_000_000;
        /// Everything else in one request: resources, scopes, events, links, attributes and their
        /// values, counted in the same pass. Twenty for each span.
        max_elements_per_request: usize = "receiver.max_elements_per_request",
            CostLimits::default().elements, in 1..=100_000_000;
        /// Certificate that is shown, PEM, with those that lead from it to its authority. Turns TLS on,
        /// together with the key. Read again when it changes.
        tls_cert_file: Option<PathBuf> = "receiver.tls.cert_file", None;
        /// The certificate's private key, PEM.
        tls_key_file: Option<PathBuf> = "receiver.tls.key_file", None;
        /// Authority of the certificates that senders must show, PEM. none asks for none.
        tls_client_ca_file: Option<PathBuf> = "receiver.tls.client_ca_file", None;
        /// File of the bearer tokens that are let in, one a line. Read again when it changes, so a
        /// token is rotated by writing the new one beside the old.
        bearer_token_file: Option<PathBuf> = "receiver.auth.bearer_token_file", None;
        /// File of the users that are let in, `user:password`, one a line, by basic authentication.
        /// Read again when it changes.
        password_file: Option<PathBuf> = "receiver.auth.password_file", None;
    }

    /// Spans read from Kafka, beside those that are sent.
    kafka: Kafka {
        /// Where to begin asking for the cluster, Kafka 3.9 or later: host:port of a few brokers. [] reads
        /// nothing from Kafka.
        brokers: Brokers = "receiver.kafka.brokers", Brokers::default();
        /// The topic, as the Collector's kafka exporter calls that of traces. Each message is an OTLP
        /// request, protobuf or JSON, of one trace (partition_traces_by_id).
        topic: Name = "receiver.kafka.topic", Name::new("otlp_spans");
        /// The group whose members share the partitions: the same for all replicas of one laghound, another
        /// for another installation.
        group_id: Name = "receiver.kafka.group_id", Name::new("laghound");
        /// Where a group begins that has committed nothing yet: latest or earliest. What is older than
        /// assembly.max_span_age is read and dropped, so earliest is for tests.
        initial_offset: Begin = "receiver.kafka.initial_offset", Begin::Latest;
        /// The partitions of a replica that is dead for this long go to the others. Brokers take 6s to 30m;
        /// a verdict on a third of the requests should not wait for the usual 45s.
        session_timeout: Nanos = "receiver.kafka.session_timeout", Nanos::from_secs(15),
            in Nanos::from_secs(6)..=Nanos::from_secs(1800);
        /// plaintext or tls.
        security: Security = "receiver.kafka.security", Security::Plaintext;
        /// Authority of the brokers' certificates, PEM. none takes the public authorities.
        tls_ca_file: Option<PathBuf> = "receiver.kafka.tls.ca_file", None;
        /// Certificate that is shown to brokers, PEM, if they ask for one.
        tls_cert_file: Option<PathBuf> = "receiver.kafka.tls.cert_file", None;
        /// The certificate's private key, PEM.
        tls_key_file: Option<PathBuf> = "receiver.kafka.tls.key_file", None;
        /// How to log in: none, plain, scram_sha_256 or scram_sha_512.
        sasl_mechanism: Option<Mechanism> = "receiver.kafka.sasl.mechanism", None;
        /// File of the user to log in with, `user:password`; the first line counts.
        sasl_password_file: Option<PathBuf> = "receiver.kafka.sasl.password_file", None;
    }

    /// Where people and Prometheus look.
    admin: Admin {
        /// Address of the page, the API, /metrics, /livez and /readyz. Only this machine can reach the
        /// default.
        endpoint: Endpoint = "admin.endpoint", Endpoint::loopback(9479);
        /// Under which address others reach the page, for links in alerts and answers; or none.
        external_url: WebAddress = "admin.external_url", WebAddress::default();
        /// Bytes of two recordings that are sent to the page to be compared, together. Unpacked they may
        /// be eight times as large, and are held while they are compared.
        max_upload_size: ByteSize = "admin.max_upload_size", ByteSize::mib(16),
            in ByteSize::kib(1)..=ByteSize::gib(1);
        /// Certificate that is shown, PEM, with those that lead from it to its authority. Turns TLS on,
        /// together with the key. Read again when it changes.
        tls_cert_file: Option<PathBuf> = "admin.tls.cert_file", None;
        /// The certificate's private key, PEM.
        tls_key_file: Option<PathBuf> = "admin.tls.key_file", None;
        /// Authority of the certificates that clients must show, PEM. none asks for none.
        tls_client_ca_file: Option<PathBuf> = "admin.tls.client_ca_file", None;
        /// File of the bearer tokens that are let in, one a line; /livez and /readyz need none. Read again
        /// when it changes, so a token is rotated by writing the new one beside the old.
        bearer_token_file: Option<PathBuf> = "admin.auth.bearer_token_file", None;
        /// File of the users that are let in, `user:password`, one a line, by basic authentication.
        /// Read again when it changes.
        password_file: Option<PathBuf> = "admin.auth.password_file", None;
    }

    /// Connections: the same for each of the three addresses, which count their own.
    connections: Connections {
        /// Connections at once; more are closed as soon as they come. A sidecar has a handful, a
        /// gateway one from each process it serves. Fewer if the limit of open files is lower, or
        /// memory_limit does not hold so many at 32KiB each: of 512MiB, 291, and 145 of one peer.
        max: usize = "connections.max", ConnectionLimits::default().max, in 1..=1_000_000;
        /// Connections at once from one IPv4 address or IPv6 /64: half, so that one peer alone
        /// cannot keep the others out.
        max_per_peer: usize = "connections.max_per_peer", ConnectionLimits::default().max_per_peer,
            in 1..=1_000_000;
        /// Time for a new connection to say something: a TLS handshake, an HTTP/2 preface, the
        /// first byte of a request. Peers do so at once; this allows for lost packets.
        handshake_timeout: Nanos = "connections.handshake_timeout",
            ConnectionLimits::default().handshake, in Nanos::from_millis(1)..=HOUR;
        /// Time for the head of an HTTP/1 request, from its first byte to its last. It fits one
        /// packet or two.
        header_timeout: Nanos = "connections.header_timeout", ConnectionLimits::default().header,
            in Nanos::from_millis(1)..=HOUR;
        /// Time for the body of a request. Exporters give up after 5 s to 10 s themselves.
        request_timeout: Nanos = "connections.request_timeout",
            ConnectionLimits::default().request, in Nanos::from_millis(1)..=HOUR;
        /// Time for the peer to read an answer, on top of that of the request. Prometheus gives up
        /// on a scrape after 10 s.
        response_timeout: Nanos = "connections.response_timeout",
            ConnectionLimits::default().response, in Nanos::from_millis(1)..=HOUR;
        /// A connection without a request for this long is closed: a few of the usual intervals
        /// between batches and scrapes.
        idle_timeout: Nanos = "connections.idle_timeout", ConnectionLimits::default().idle,
            in Nanos::from_millis(1)..=DAY;
        /// A connection of this age is closed in order, between requests, so that senders spread
        /// over new replicas and present their certificates anew; up to a tenth earlier, so that
        /// they do not do so all at once. 0s for never.
        max_age: Nanos = "connections.max_age", ConnectionLimits::default().max_age,
            in Nanos::ZERO..=WEEK;
        /// An HTTP/2 peer is asked this often whether it is still there, and has 20 s to answer.
        /// 0s for never.
        keepalive: Nanos = "connections.keepalive", ConnectionLimits::default().keepalive,
            in Nanos::ZERO..=DAY;
        /// Requests at once on one HTTP/2 connection. A Collector sends ten at once.
        max_streams: usize = "connections.max_streams",
            ConnectionLimits::default().streams as usize, in 1..=1_000;
        /// Size of a request's headers, all together. Those of exporters take a few hundred bytes,
        /// a token a few thousand.
        max_header_size: ByteSize = "connections.max_header_size",
            ByteSize::b(ConnectionLimits::default().header_bytes as u64),
            in ByteSize::kib(8)..=ByteSize::mib(1);
    }

    /// How much memory there is.
    memory: Memory {
        /// Memory of the process, all together, divided over requests, traces, baselines, series and
        /// connections; limits that would not fit are lowered at the start, which is logged. auto
        /// takes 90 % of what the cgroup (the container) allows, or 512MiB where it allows anything.
        limit: MemoryLimit = "memory_limit", MemoryLimit::Auto;
    }

    /// The analysis.
    engine: Engine {
        /// Threads that analyse traces. 0 takes one for each CPU available; the verdict does not
        /// depend on it.
        threads: usize = "engine.threads", 0, in 0..=1024;
        /// Nodes of the call graph (an operation, a call from it, a gap before or after the call) that
        /// one thread tells apart; the rest is one. Five for each operation.
        max_nodes: usize = "engine.max_nodes", EngineParams::default().max_nodes,
            in 10..=100_000_000;
        /// Paths from an entry to a node that one thread tells apart; the rest is one. Two for each
        /// node: a node is mostly reached in one or two ways.
        max_paths: usize = "engine.max_paths", EngineParams::default().max_paths,
            in 10..=100_000_000;
    }

    /// How spans are put together to traces.
    assembly: Assembly {
        /// A trace whose root span is there is closed after this long without a new span. SDKs send
        /// every 5 s, each service at its own time, so children may come that much after their root.
        grace: Nanos = "assembly.grace", AssemblyParams::default().grace,
            in Nanos::from_millis(1)..=HOUR;
        /// A trace without a root span is closed after this long without a new span: the root ends
        /// last, so it is worth waiting for longer than for the others.
        idle_timeout: Nanos = "assembly.idle_timeout", AssemblyParams::default().idle,
            in Nanos::from_millis(1)..=HOUR;
        /// A trace is closed at this age, whatever still comes: a verdict cannot wait for streams and
        /// jobs that run for hours.
        max_trace_age: Nanos = "assembly.max_trace_age", AssemblyParams::default().max_age,
            in Nanos::from_millis(1)..=DAY;
        /// Open traces, all together. Bounds the memory where most traces are small.
        max_traces: usize = "assembly.max_traces", AssemblyParams::default().max_traces,
            in 1..=100_000_000;
        /// Spans of one trace; what comes beyond is counted and dropped. Keeps a runaway loop in one
        /// trace from taking the room of the others.
        max_spans_per_trace: usize = "assembly.max_spans_per_trace",
            AssemblyParams::default().max_spans_per_trace, in 1..=10_000_000;
        /// Spans held in open traces, all together. Bounds the memory where traces are large.
        max_spans: usize = "assembly.max_spans", AssemblyParams::default().max_spans,
            in 1..=1_000_000_000;
        /// Spans that ended longer ago than this when they arrive are too old to be judged: a sender
        /// that was cut off gives up after 5 minutes.
        max_span_age: Nanos = "assembly.max_span_age", AssemblyParams::default().max_span_age,
            in Nanos::from_secs(1)..=WEEK;
        /// Spans that end further in the future than this come from a broken clock. Hosts that keep
        /// their clocks set are apart by far less.
        max_span_ahead: Nanos = "assembly.max_span_ahead", AssemblyParams::default().max_span_ahead,
            in Nanos::ZERO..=DAY;
        /// Spans longer than this are not believed, and dropped. A start time of zero makes one of 56
        /// years; what really takes hours reports long after its trace was closed.
        max_span_duration: Nanos = "assembly.max_span_duration",
            AssemblyParams::default().max_span_duration, in Nanos::from_secs(1)..=WEEK;
    }

    /// What counts as slower.
    detection: DetectionKnobs {
        /// How readily a slowdown is believed. Higher finds smaller things sooner and errs more
        /// often: 2 asks for half the evidence that 1 does. The accuracy figures are those of 1.
        sensitivity: f64 = "detection.sensitivity", 1.0, in 0.25..=4.0;
        /// Rises below this are never reported, however certain. Nobody is paged for less than a
        /// millisecond.
        min_rise: Nanos = "detection.min_rise", Nanos::from_millis(1), in Nanos::ZERO..=HOUR;
        /// Rises below this part of what is normal are never reported: 0.15 is 15 %. Smaller
        /// ones come and go with the load.
        min_rise_ratio: f64 = "detection.min_rise_ratio", 0.15, in 0.0..=100.0;
        /// A slowdown older than this is the new normal: the incident is closed and learned. Long
        /// enough that a night's incident is still one in the morning; a deployment that is lawfully
        /// slower is learned after it.
        adopt_after: Nanos = "detection.adopt_after", DetectionParams::default().adopt_after,
            in Nanos::from_secs(600)..=WEEK;
    }

    /// How many names are kept apart. What is beyond a limit is still counted, under `__overflow__`.
    /// A name that nobody has used for 35 minutes of traffic makes room for others; if it was learned,
    /// after two days, or once such names take half of the room.
    names: Names {
        /// Longest service or span name, in bytes; longer ones are cut and told apart by a hash. Names
        /// made for people are shorter; longer ones mostly hold a query or a URL.
        max_name_length: usize = "names.max_name_length", InternLimits::default().name_bytes,
            in 32..=4096;
        /// Services. Far more than one installation has, unless something makes their names up.
        max_services: usize = "names.max_services", InternLimits::default().services,
            in 1..=1_000_000;
        /// Operations (service, span name and kind), all together. Each takes 3 to 4 KiB.
        max_operations: usize = "names.max_operations", InternLimits::default().operations,
            in 1..=10_000_000;
        /// Operations of one service: the share of a service that puts ids into its span names.
        max_operations_per_service: usize = "names.max_operations_per_service",
            InternLimits::default().operations_per_service, in 1..=10_000_000;
        /// Names of dependencies and values of attributes, all together. Five for each operation.
        max_strings: usize = "names.max_strings", InternLimits::default().strings,
            in 1..=100_000_000;
        /// Combinations of attribute values: one for each instance, mostly.
        max_attribute_sets: usize = "names.max_attribute_sets", InternLimits::default().attr_sets,
            in 1..=100_000_000;
    }

    /// Attributes by which slow calls may be singled out: one instance, version or zone of many.
    where_: Where {
        /// Of the resource: what OpenTelemetry calls the instance, its version and its place.
        resource_attributes: Vec<String> = "where.resource_attributes", names(&[
            "service.instance.id", "k8s.pod.name", "host.name", "service.version",
            "cloud.availability_zone", "cloud.region",
        ]);
        /// Of the span. None by default: their values (user, URL, order) are often without number.
        span_attributes: Vec<String> = "where.span_attributes", names(&[]);
        /// Attributes of one span or one resource that are looked at: as many as SDKs allow a span.
        max_attributes: usize = "where.max_attributes", Interest::default().max_attributes,
            in 1..=10_000;
    }

    /// What outlives the process.
    state: State {
        /// Directory in which everything learned is kept, open incidents included, so that a restart
        /// costs no learning and no alert; --state-dir for short. One process at a time; made if it is
        /// not there. none keeps nothing.
        directory: Option<PathBuf> = "state.directory", None;
        /// How often it is saved, besides at the end. What a kill costs is at most this much learning.
        interval: Nanos = "state.interval", Nanos::from_secs(60),
            in Nanos::from_millis(100)..=HOUR;
    }

    /// What is published, and for how long.
    publish: Publish {
        /// The series of an operation that was idle for this long are removed: long enough to outlast
        /// a pause in traffic, short enough that a removed service does not linger.
        series_expiration: Nanos = "publish.series_expiration", Nanos::from_secs(900),
            in Nanos::from_secs(1)..=WEEK;
        /// Series on /metrics, all together; beyond it operations fold into `__overflow__`. About what
        /// one Prometheus target should be asked for at most.
        max_series: usize = "publish.max_series", 100_000, in 100..=10_000_000;
        /// Incidents that are over and still shown, on the page and by the API: more than anybody
        /// scrolls through.
        max_incidents: usize = "publish.max_incidents", EngineParams::default().max_incidents,
            in 0..=10_000;
    }

    /// Traces that are kept, to be looked at.
    evidence: EvidenceKept {
        /// Bytes of kept traces, all together: of each incident the slowest and the newest, of each entry
        /// a typical one, and for two minutes whatever may turn out to belong to an incident.
        max_trace_memory: ByteSize = "evidence.max_trace_memory",
            ByteSize::b(KeepLimits::default().bytes as u64), in ByteSize::kib(64)..=ByteSize::gib(16);
    }

    /// Where to go on from here: links on the page and in the API.
    links: LinkTargets {
        /// Address of a trace in the trace backend, with {trace_id} where the id belongs; or none.
        trace_url: TraceAddress = "links.trace_url", TraceAddress::default();
        /// Address of Prometheus, for a graph of each incident; or none.
        prometheus_url: WebAddress = "links.prometheus_url", WebAddress::default();
    }

    /// What is logged, to standard error.
    log: Log {
        /// Least important event that is logged: off, error, warn, info, debug or trace. Incidents
        /// are logged at info, so a quieter level hides them.
        level: LogLevel = "log.level", LogLevel::Info;
        /// text for people, json (one object a line) for machines.
        format: LogFormat = "log.format", LogFormat::Text;
        /// Lines a second, errors apart; more are left out and counted. What others send can make a line
        /// each, and nobody reads a hundred thousand.
        max_lines_per_second: usize = "log.max_lines_per_second", 100, in 1..=1_000_000;
    }

    /// How the process ends.
    shutdown: Shutdown {
        /// Time to answer open requests and to finish after SIGTERM. Kubernetes kills after 30 s, so
        /// this leaves room for a preStop hook.
        grace: Nanos = "shutdown.grace", Nanos::from_secs(10), in Nanos::ZERO..=HOUR;
    }
}

const HOUR: Nanos = Nanos::from_secs(3600);
const DAY: Nanos = Nanos::from_secs(24 * 3600);
const WEEK: Nanos = Nanos::from_secs(7 * 24 * 3600);
