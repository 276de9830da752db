//! Configuration: what people write, checked once, into what the program needs.
//!
//! [`Sources::resolve`] takes a file, the environment and the flags and gives a [`Config`], after
//! which nobody checks again. Every key is one line of one table (`settings.rs`), from which the
//! file's keys, the flags, the variables, the help and the annotated example are made. Nothing here
//! starts anything, and nothing but [`ConfigFile::read`] touches the outside.

mod check;
mod endpoint;
mod example;
mod expand;
mod kafka;
mod keys;
mod memory;
mod problem;
mod resolve;
mod settings;
mod value;
mod web;
mod yaml;

pub use endpoint::Endpoint;
pub use example::example;
pub use kafka::{Brokers, Name, Security};
pub use keys::Key;
pub use memory::MemoryLimit;
pub use problem::{ConfigError, Excerpt, Place, Problem};
pub use resolve::{Changed, ConfigFile, Environment, FILE_VARIABLE, Loaded, Sources};
pub use settings::{
    Admin, Assembly, Config, Connections, DetectionKnobs, Engine, EvidenceKept, KEYS, Kafka,
    LinkTargets, Log, Memory, Names, Publish, Receiver, Shutdown, State, Where,
};
pub use value::{LogFormat, LogLevel, MAX_LIST_ITEMS, ValueDefect, parse_duration};
pub use web::{TraceAddress, WebAddress};

use std::path::PathBuf;

use crate::engine::params::{AssemblyParams, DetectionParams, EngineParams};
use crate::engine::reservoir::KeepLimits;
use crate::live::access::{AccessFiles, AuthFiles, TlsFiles};
use crate::live::kafka::KafkaSource;
use crate::live::net::ConnectionLimits;
use crate::live::server;
use crate::live::snapshot::StateSettings;
use crate::model::{InternLimits, Nanos};
use crate::otlp::receive::ReceiveLimits;
use crate::otlp::receive::kafka::{KafkaSettings, KafkaTls};
use crate::otlp::{CostLimits, Interest};
use crate::publish::api::{ApiSettings, Links};

/// TLS, if its two files are given; `check.rs` has seen to it that they are together.
fn tls(
    certificate: &Option<PathBuf>,
    key: &Option<PathBuf>,
    client_authority: &Option<PathBuf>,
) -> Option<TlsFiles> {
    let (certificate, key) = (certificate.clone()?, key.clone()?);
    Some(TlsFiles { certificate, key, client_authority: client_authority.clone() })
}

impl Config {
    /// Everything the engine goes by.
    pub fn engine_params(&self) -> EngineParams {
        EngineParams {
            assembly: self.assembly_params(),
            detection: self.detection_params(),
            max_nodes: self.engine.max_nodes,
            max_paths: self.engine.max_paths,
            max_incidents: self.publish.max_incidents,
            expire_after: self.publish.series_expiration,
        }
    }

    /// Everything the server goes by.
    pub fn server_settings(&self) -> server::Settings {
        let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        server::Settings {
            grpc: self.receiver.grpc_endpoint.to_string(),
            http: self.receiver.http_endpoint.to_string(),
            admin: self.admin.endpoint.to_string(),
            request: ReceiveLimits {
                message_bytes: bytes(self.receiver.max_request_size),
                cost: CostLimits {
                    spans: self.receiver.max_spans_per_request,
                    elements: self.receiver.max_elements_per_request,
                },
                body: self.connections.request_timeout,
            },
            memory_limit: match self.memory.limit {
                MemoryLimit::Auto => None,
                MemoryLimit::Bytes(bytes) => Some(bytes),
            },
            max_in_flight: bytes(self.receiver.max_in_flight),
            connections: self.connection_limits(),
            threads: self.engine.threads,
            engine: self.engine_params(),
            names: self.intern_limits(),
            interest: self.interest(),
            max_series: self.publish.max_series,
            keep: KeepLimits {
                bytes: bytes(self.evidence.max_trace_memory),
                incidents: self.engine_params().max_incidents,
            },
            api: ApiSettings {
                links: self.links(),
                max_upload_bytes: bytes(self.admin.max_upload_size),
                listen_for: Nanos::from_secs(20),
            },
            receiver_access: self.receiver_access(),
            admin_access: self.admin_access(),
            state: self.state.directory.as_ref().map(|directory| StateSettings {
                directory: directory.clone(),
                interval: self.state.interval,
            }),
            kafka: self.kafka_source(),
        }
    }

    /// What is read from Kafka, if brokers are given.
    fn kafka_source(&self) -> Option<KafkaSource> {
        let kafka = &self.kafka;
        let tls = || KafkaTls {
            authority: kafka.tls_ca_file.clone(),
            identity: kafka.tls_cert_file.clone().zip(kafka.tls_key_file.clone()),
        };
        let settings = KafkaSettings {
            brokers: kafka.brokers.addresses(),
            topic: kafka.topic.get().to_owned(),
            group: kafka.group_id.get().to_owned(),
            begin: kafka.initial_offset,
            session: kafka.session_timeout,
            tls: (kafka.security == Security::Tls).then(tls),
            login: None,
        };
        let login = kafka.sasl_mechanism.zip(kafka.sasl_password_file.clone());
        (!kafka.brokers.is_empty()).then_some(KafkaSource { settings, login })
    }

    /// What senders must prove.
    pub fn receiver_access(&self) -> AccessFiles {
        let receiver = &self.receiver;
        AccessFiles {
            tls: tls(&receiver.tls_cert_file, &receiver.tls_key_file, &receiver.tls_client_ca_file),
            auth: AuthFiles {
                bearer_tokens: receiver.bearer_token_file.clone(),
                passwords: receiver.password_file.clone(),
            },
        }
    }

    /// What those must prove who look.
    pub fn admin_access(&self) -> AccessFiles {
        let admin = &self.admin;
        AccessFiles {
            tls: tls(&admin.tls_cert_file, &admin.tls_key_file, &admin.tls_client_ca_file),
            auth: AuthFiles {
                bearer_tokens: admin.bearer_token_file.clone(),
                passwords: admin.password_file.clone(),
            },
        }
    }

    /// How many connections, and how long each may take for what.
    pub fn connection_limits(&self) -> ConnectionLimits {
        let connections = &self.connections;
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        ConnectionLimits {
            max: connections.max,
            max_per_peer: connections.max_per_peer,
            handshake: connections.handshake_timeout,
            header: connections.header_timeout,
            request: connections.request_timeout,
            response: connections.response_timeout,
            idle: connections.idle_timeout,
            max_age: connections.max_age,
            keepalive: connections.keepalive,
            streams: small(connections.max_streams as u64),
            header_bytes: small(connections.max_header_size.as_u64()),
        }
    }

    /// Where to go on from the page.
    fn links(&self) -> Links {
        let owned = |address: Option<&str>| address.map(str::to_owned);
        Links {
            trace_url: owned(self.links.trace_url.get()),
            prometheus_url: owned(self.links.prometheus_url.get()),
            external_url: owned(self.admin.external_url.get()),
        }
    }

    /// What is believed. Sensitivity divides the evidence asked for; a standard error is the square
    /// root of evidence.
    fn detection_params(&self) -> DetectionParams {
        let knobs = &self.detection;
        let default = DetectionParams::default();
        DetectionParams {
            min_evidence: default.min_evidence / knobs.sensitivity,
            min_evidence_of_pool: default.min_evidence_of_pool / knobs.sensitivity,
            min_evidence_of_claim: default.min_evidence_of_claim / knobs.sensitivity,
            min_standard_errors: default.min_standard_errors / knobs.sensitivity.sqrt(),
            min_rise: knobs.min_rise.0 as f64,
            min_rise_ratio: knobs.min_rise_ratio,
            adopt_after: knobs.adopt_after,
            ..default
        }
    }

    /// Which attributes tell slow calls from others.
    pub fn interest(&self) -> Interest {
        Interest {
            resource: self.where_.resource_attributes.clone(),
            span: self.where_.span_attributes.clone(),
            max_attributes: self.where_.max_attributes,
        }
    }

    /// How traces are put together.
    pub fn assembly_params(&self) -> AssemblyParams {
        let assembly = &self.assembly;
        AssemblyParams {
            grace: assembly.grace,
            idle: assembly.idle_timeout,
            max_age: assembly.max_trace_age,
            max_span_age: assembly.max_span_age,
            max_span_ahead: assembly.max_span_ahead,
            max_span_duration: assembly.max_span_duration,
            max_traces: assembly.max_traces,
            max_spans_per_trace: assembly.max_spans_per_trace,
            max_spans: assembly.max_spans,
            ..AssemblyParams::default()
        }
    }

    /// How many names are kept apart.
    pub fn intern_limits(&self) -> InternLimits {
        let names = &self.names;
        InternLimits {
            name_bytes: names.max_name_length,
            services: names.max_services,
            operations: names.max_operations,
            operations_per_service: names.max_operations_per_service,
            strings: names.max_strings,
            attr_sets: names.max_attribute_sets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_engines_own() {
        let config = Config::default();
        assert_eq!(config.assembly_params(), AssemblyParams::default());
        assert_eq!(config.intern_limits(), InternLimits::default());
        assert_eq!(config.engine_params(), EngineParams::default());
        assert_eq!(config.interest(), Interest::default());
        assert_eq!(config.connection_limits(), ConnectionLimits::default());
    }

    #[test]
    fn every_connections_key_reaches_the_listeners() {
        let flags = [
            ("connections.max", "9"),
            ("connections.max_per_peer", "8"),
            ("connections.handshake_timeout", "1s"),
            ("connections.header_timeout", "2s"),
            ("connections.request_timeout", "3s"),
            ("connections.response_timeout", "4s"),
            ("connections.idle_timeout", "5s"),
            ("connections.max_age", "6s"),
            ("connections.keepalive", "7s"),
            ("connections.max_streams", "10"),
            ("connections.max_header_size", "8KiB"),
        ];
        assert_eq!(
            KEYS.iter().filter(|key| key.name.starts_with("connections.")).count(),
            flags.len()
        );
        let flags = flags.map(|(key, value)| (key, value.to_owned())).to_vec();
        let config = Sources { flags, ..Sources::default() }.resolve().expect("is fine").config;
        let secs = crate::model::Nanos::from_secs;
        let limits = ConnectionLimits {
            max: 9,
            max_per_peer: 8,
            handshake: secs(1),
            header: secs(2),
            request: secs(3),
            response: secs(4),
            idle: secs(5),
            max_age: secs(6),
            keepalive: secs(7),
            streams: 10,
            header_bytes: 8 * 1024,
        };
        assert_eq!(config.connection_limits(), limits);
    }

    #[test]
    fn every_assembly_and_names_key_reaches_the_engine() {
        let flags = [
            ("assembly.grace", "1s"),
            ("assembly.idle_timeout", "2s"),
            ("assembly.max_trace_age", "3s"),
            ("assembly.max_traces", "4"),
            ("assembly.max_spans_per_trace", "5"),
            ("assembly.max_spans", "6"),
            ("assembly.max_span_age", "7s"),
            ("assembly.max_span_ahead", "8s"),
            ("assembly.max_span_duration", "9s"),
            ("names.max_name_length", "99"),
            ("names.max_services", "10"),
            ("names.max_operations", "11"),
            ("names.max_operations_per_service", "9"),
            ("names.max_strings", "12"),
            ("names.max_attribute_sets", "13"),
        ];
        let handed = |name: &str| name.starts_with("assembly.") || name.starts_with("names.");
        assert_eq!(KEYS.iter().filter(|key| handed(key.name)).count(), flags.len());
        let flags = flags.map(|(key, value)| (key, value.to_owned())).to_vec();
        let sources = Sources { flags, ..Sources::default() };
        let config = sources.resolve().expect("is fine").config;
        let secs = crate::model::Nanos::from_secs;
        let assembly = AssemblyParams {
            grace: secs(1),
            idle: secs(2),
            max_age: secs(3),
            max_traces: 4,
            max_spans_per_trace: 5,
            max_spans: 6,
            max_span_age: secs(7),
            max_span_ahead: secs(8),
            max_span_duration: secs(9),
            ..AssemblyParams::default()
        };
        assert_eq!(config.assembly_params(), assembly);
        let names = InternLimits {
            name_bytes: 99,
            services: 10,
            operations: 11,
            operations_per_service: 9,
            strings: 12,
            attr_sets: 13,
        };
        assert_eq!(config.intern_limits(), names);
    }
}
