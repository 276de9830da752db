//! OTLP from Kafka, as the Collector's kafka exporter writes it: each message a request, all of a trace under one key.
//!
//! A consumer of a group reads its partitions, hands over what is in the messages as the other receivers do, and commits an offset
//! only when everything before it was analyzed, or dropped and counted. Whoever goes on after it reads the rest again: no span is
//! lost, some are seen twice. Where there is no room it waits, and what it does not read waits in Kafka. It does not write to Kafka.
//!
//! The client is krafka, behind the feature `kafka`: pure Rust, so its TLS is rustls like all of ours and the binary stays static;
//! librdkafka, which more people use, brings OpenSSL and a C build for every platform.

#[cfg(feature = "kafka")]
mod consumer;
#[cfg(any(feature = "kafka", test))]
mod offsets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::intake::Intake;
use crate::model::{Nanos, Timestamp};

#[cfg(feature = "kafka")]
pub use consumer::consume;

/// The runtime as a receiver sees it that must not forget a message before its spans are analyzed.
pub trait Progress: Intake {
    /// The time of arrival, now.
    fn now(&self) -> Timestamp;

    /// Every [`Intake::offer`] that had returned before this is done with: analyzed, or dropped and counted.
    fn analyzed_before(&self) -> Timestamp;
}

/// What is read, from where, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Where to begin asking for the cluster, `host:port` each.
    pub brokers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// The group that shares its partitions.
    pub group: String,
    /// Where a group begins that has committed nothing.
    pub begin: Begin,
    /// After so long without a sign of life a member's partitions go to others.
    pub session: Nanos,
    /// How connections are secured, if they are.
    pub tls: Option<KafkaTls>,
    /// What is shown to the brokers, if anything is.
    pub login: Option<Login>,
}

/// Where a group begins that has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With what comes from now on.
    Latest,
    /// With the oldest there is.
    Earliest,
}

/// TLS towards brokers: PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaTls {
    /// Who issues the brokers' certificates; without it the public authorities.
    pub authority: Option<PathBuf>,
    /// The certificate that is shown, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How a user is made known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// As it is: only over TLS.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

/// A user by SASL.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// How.
    pub mechanism: Mechanism,
    /// Who.
    pub user: String,
    /// Never shown.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Login {{ {:?}, {:?}, .. }}", self.mechanism, self.user)
    }
}

/// How far the process is: reading ends first, then the analysis, then the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Everything goes on.
    Reading,
    /// Nothing more is read.
    Ending,
    /// Everything that was read is analyzed.
    Analyzed,
}

/// How reading goes, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaFigures {
    /// The brokers answer, and this process is a member of the group.
    pub connected: bool,
    /// Messages that were read and given back with their partition before they could be committed: somebody reads them again.
    pub given_back: u64,
    /// The partitions that this process has.
    pub partitions: BTreeMap<i32, PartitionFigures>,
}

/// How far one partition is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionFigures {
    /// Messages that were not read yet; `None` until the broker has said.
    pub lag: Option<u64>,
    /// Messages that were read and not committed yet.
    pub uncommitted: u64,
    /// The offset committed last, by this process.
    pub committed: Option<i64>,
}

/// [`KafkaFigures`] that one writes and others read.
#[derive(Debug, Default)]
pub struct SharedFigures(Mutex<KafkaFigures>);

impl SharedFigures {
    /// As they are.
    pub fn read(&self) -> KafkaFigures {
        self.lock().clone()
    }

    #[cfg(feature = "kafka")]
    fn change(&self, change: impl FnOnce(&mut KafkaFigures)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, KafkaFigures> {
        // Whole numbers, whatever happened.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let (user, password) = ("reader".to_owned(), "s3cret".to_owned());
        let shown = format!("{:?}", Login { mechanism: Mechanism::Plain, user, password });
        assert!(shown.contains("reader") && !shown.contains("s3cret"), "{shown}");
    }
}
