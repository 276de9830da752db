//! The consumer of Kafka as part of the server: started with it, ended in order with it.
//!
//! Reading ends before the analysis does, and the group is left after it: only then is known what may be committed. A binary
//! that was built without the feature `kafka` says so at the start instead.

use std::path::PathBuf;
use std::sync::Arc;

use super::access::{AuthError, credential_lines};
use crate::otlp::receive::kafka::{KafkaFigures, KafkaSettings, Login, Mechanism, SharedFigures};
use crate::publish::ledger::KafkaLedger;

/// What is read, and with whose credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSource {
    /// All but the credential.
    pub settings: KafkaSettings,
    /// How it is shown, and the file it is in, `user:password`.
    pub login: Option<(Mechanism, PathBuf)>,
}

/// Why Kafka cannot be read from.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// It is not built in.
    #[error(
        "receiver.kafka.brokers is set, but this laghound was built without Kafka: \
         build it with --features kafka, or leave the key out"
    )]
    NotBuiltIn,
    /// The file of the credential is of no use.
    #[error(transparent)]
    Credential(#[from] AuthError),
}

impl KafkaSource {
    /// Everything there is to know, if it can be of use.
    pub(super) fn complete(&self) -> Result<KafkaSettings, KafkaError> {
        if !cfg!(feature = "kafka") {
            return Err(KafkaError::NotBuiltIn);
        }
        Ok(KafkaSettings { login: self.login()?, ..self.settings.clone() })
    }

    fn login(&self) -> Result<Option<Login>, AuthError> {
        let Some((mechanism, file)) = &self.login else { return Ok(None) };
        let (_, line) = credential_lines(file)?.remove(0);
        let (user, password) = line.split_once(':').unwrap_or((&line, ""));
        let (user, password) = (user.to_owned(), password.to_owned());
        Ok(Some(Login { mechanism: *mechanism, user, password }))
    }
}

/// How reading goes, for `/metrics`.
pub(super) struct Watch {
    topic: String,
    figures: Arc<SharedFigures>,
}

impl Watch {
    /// Nothing is known yet.
    pub(super) fn new(settings: &KafkaSettings) -> Watch {
        Watch { topic: settings.topic.clone(), figures: Arc::default() }
    }

    /// For whoever writes them.
    pub(super) fn figures(&self) -> Arc<SharedFigures> {
        Arc::clone(&self.figures)
    }

    pub(super) fn read(&self) -> KafkaLedger {
        let KafkaFigures { connected, given_back, partitions } = self.figures.read();
        let partitions = partitions
            .into_iter()
            .map(|(number, of)| (number, (of.lag, of.uncommitted, of.committed)));
        let topic = self.topic.clone();
        KafkaLedger { topic, connected, given_back, partitions: partitions.collect() }
    }
}

#[cfg(feature = "kafka")]
pub(super) use built_in::Consumer;
#[cfg(not(feature = "kafka"))]
pub(super) use left_out::Consumer;

#[cfg(feature = "kafka")]
mod built_in {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::task::JoinHandle;
    use tracing::{info, warn};

    use crate::live::intake::LiveIntake;
    use crate::otlp::receive::Receiver;
    use crate::otlp::receive::kafka::{KafkaSettings, SharedFigures, Stage, consume};

    /// The running consumer.
    pub(in crate::live) struct Consumer {
        stage: watch::Sender<Stage>,
        task: JoinHandle<()>,
    }

    impl Consumer {
        pub(in crate::live) fn start(
            settings: KafkaSettings,
            receiver: &Arc<Receiver<LiveIntake>>,
            figures: Arc<SharedFigures>,
        ) -> Consumer {
            let (stage, told) = watch::channel(Stage::Reading);
            let tls = settings.tls.is_some();
            let (brokers, topic, group) =
                (settings.brokers.join(","), &settings.topic, &settings.group);
            info!(brokers, topic, group, tls, "reading from Kafka");
            let task = tokio::spawn(consume(Arc::clone(receiver), settings, figures, told));
            Consumer { stage, task }
        }

        /// Nothing more is read.
        pub(in crate::live) fn end_reading(&self) {
            self.stage.send_replace(Stage::Ending);
        }

        /// Everything that was read is analyzed: commits it, and leaves the group.
        pub(in crate::live) async fn leave(self, within: Duration) {
            self.stage.send_replace(Stage::Analyzed);
            if tokio::time::timeout(within, self.task).await.is_err() {
                warn!("Kafka did not answer in time; what was not committed is read again");
            }
        }
    }
}

#[cfg(not(feature = "kafka"))]
mod left_out {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::live::intake::LiveIntake;
    use crate::otlp::receive::Receiver;
    use crate::otlp::receive::kafka::{KafkaSettings, SharedFigures};

    /// There is none.
    pub(in crate::live) enum Consumer {}

    impl Consumer {
        pub(in crate::live) fn start(
            _settings: KafkaSettings,
            _receiver: &Arc<Receiver<LiveIntake>>,
            _figures: Arc<SharedFigures>,
        ) -> Consumer {
            unreachable!("settings are complete only where it is built in")
        }

        pub(in crate::live) fn end_reading(&self) {
            match *self {}
        }

        pub(in crate::live) async fn leave(self, _within: Duration) {
            match self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Nanos;
    use crate::otlp::receive::kafka::Begin;

    fn source() -> KafkaSource {
        let settings = KafkaSettings {
            brokers: vec!["b:9092".to_owned()],
            topic: "otlp_spans".to_owned(),
            group: "laghound".to_owned(),
            begin: Begin::Latest,
            session: Nanos::from_secs(15),
            tls: None,
            login: None,
        };
        KafkaSource { settings, login: None }
    }

    #[test]
    fn who_asks_for_kafka_without_having_it_is_told_what_to_do() {
        let complete = source().complete();
        if cfg!(feature = "kafka") {
            assert_eq!(complete.unwrap(), source().settings);
        } else {
            let said = complete.unwrap_err().to_string();
            assert!(said.contains("receiver.kafka.brokers") && said.contains("--features kafka"));
        }
    }

    #[test]
    fn the_first_credential_of_the_file_is_shown_to_the_brokers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kafka");
        std::fs::write(&file, "# of the week\nreader:a:b\nold:c\n").unwrap();
        let login = Some((Mechanism::ScramSha512, file));
        let mut source = KafkaSource { login, ..source() };
        let login = source.login().unwrap().unwrap();
        assert_eq!((&*login.user, &*login.password), ("reader", "a:b"));
        source.login = Some((Mechanism::Plain, folder.path().join("none")));
        assert!(source.login().unwrap_err().to_string().contains("none"));
    }
}
