//! The loop of a consumer: read, hand over, commit what is analyzed; connect again for as long as it takes.
//!
//! One task owns it all but for the offsets, which the client asks for when a partition is taken away. What the brokers do is never
//! a reason to end: it is logged, and tried again with growing pauses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use krafka::auth::{AuthConfig, TlsConfig};
use krafka::consumer::{
    AutoOffsetReset, Consumer, ConsumerRebalanceListener, ConsumerRecord, OffsetAndMetadata,
    PartitionAssignmentStrategy, TopicPartition,
};
use krafka::{CloseOptions, Kafka, KrafkaError};
use tokio::sync::watch;
use tracing::{info, warn};

use super::super::body::Encoding;
use super::super::intake::{Intake, Permit, Transport};
use super::super::refusal::Refusal;
use super::super::{Receiver, jittered};
use super::offsets::Offsets;
use super::{Begin, KafkaSettings, KafkaTls, Login, Mechanism, Progress, SharedFigures, Stage};
use crate::model::{Nanos, Timestamp};

/// How often it is looked what may be committed.
const COMMIT: Nanos = Nanos::from_secs(1);
/// How long the brokers are waited for before looking at other things.
const POLL: Duration = Duration::from_millis(500);
/// Pauses after something failed: doubled each time, up to the last.
const FIRST_PAUSE: Nanos = Nanos::from_millis(500);
const LAST_PAUSE: Nanos = Nanos::from_secs(30);
/// After so many failures one after the other it is begun anew.
const PATIENCE: u32 = 5;
/// Of many messages that cannot be read, one is told of in this time.
const TELL_EVERY: Nanos = Nanos::from_secs(10);
/// A broker that has not answered for so long does not. It is asked twice a second.
const STALE: Nanos = Nanos::from_secs(5);
/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(2);
/// What is fetched at once and waits here, before it is asked for room: of all partitions of a broker, and of one.
const FETCH_BYTES: i32 = 8 << 20;
const FETCH_BYTES_OF_PARTITION: i32 = 1 << 20;
/// Messages of one poll.
const POLL_RECORDS: i32 = 200;

/// Reads until `stage` says that it is over. Never gives up before.
pub async fn consume<I: Progress>(
    receiver: Arc<Receiver<I>>,
    settings: KafkaSettings,
    figures: Arc<SharedFigures>,
    mut stage: watch::Receiver<Stage>,
) {
    let mut failures = 0;
    while *stage.borrow() == Stage::Reading {
        let offsets = Arc::new(Mutex::new(Offsets::default()));
        let ledger =
            Ledger { receiver: Arc::clone(&receiver), offsets, figures: Arc::clone(&figures) };
        let session = tokio::select! {
            biased;
            _ = at_least(&mut stage, Stage::Ending) => return,
            session = Session::begin(&settings, ledger) => session,
        };
        let error = match session {
            Ok(mut session) => match session.read(&mut stage, &mut failures).await {
                Ok(()) => return session.end(&mut stage).await,
                Err(error) => {
                    session.lose();
                    error
                }
            },
            Err(error) => error,
        };
        figures.change(|figures| figures.connected = false);
        let pause = pause_after(failures);
        failures += 1;
        let brokers = settings.brokers.join(",");
        warn!(%error, brokers, topic = settings.topic, again_in = %pause, "cannot read from Kafka");
        if rest(&mut stage, pause).await.is_err() {
            return;
        }
    }
}

/// It is time to end.
struct Ending;

/// Waits until the process is at least there.
async fn at_least(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
    // Whoever says how far the process is may be gone: then it is over, too.
    let _ = stage.wait_for(|stage| *stage >= wanted).await;
}

/// A pause, unless it is time to end.
async fn rest(stage: &mut watch::Receiver<Stage>, pause: Nanos) -> Result<(), Ending> {
    tokio::select! {
        biased;
        () = at_least(stage, Stage::Ending) => Err(Ending),
        () = tokio::time::sleep(Duration::from_nanos(pause.0)) => Ok(()),
    }
}

/// Replicas that lost the same broker come back one after the other.
fn pause_after(failures: u32) -> Nanos {
    let pause = Nanos(FIRST_PAUSE.0 << failures.min(8)).min(LAST_PAUSE);
    jittered(pause, u64::from(failures))
}

/// What was read, for whoever has to know: the loop, and the client when a partition goes.
struct Ledger<I> {
    receiver: Arc<Receiver<I>>,
    offsets: Arc<Mutex<Offsets>>,
    figures: Arc<SharedFigures>,
}

impl<I> Clone for Ledger<I> {
    fn clone(&self) -> Ledger<I> {
        Ledger {
            receiver: Arc::clone(&self.receiver),
            offsets: Arc::clone(&self.offsets),
            figures: Arc::clone(&self.figures),
        }
    }
}

impl<I: Progress> Ledger<I> {
    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what is analyzed by now, of all partitions or of some.
    async fn commit(
        &self,
        consumer: &Consumer,
        topic: &str,
        of: impl Fn(i32) -> bool,
    ) -> Result<(), KrafkaError> {
        let mut due = {
            let mut offsets = self.offsets();
            offsets.analyzed(self.receiver.intake.analyzed_before());
            offsets.due()
        };
        due.retain(|(partition, _)| of(*partition));
        if due.is_empty() {
            return Ok(());
        }
        let named = due.iter().map(|(partition, offset)| {
            (TopicPartition::new(topic, *partition), OffsetAndMetadata::new(*offset))
        });
        consumer.commit_offsets(named.collect::<Vec<_>>()).await?;
        self.offsets().committed(&due);
        Ok(())
    }

    /// Partitions are somebody else's now.
    fn give_back(&self, partitions: &[TopicPartition]) {
        let given_back: u64 = {
            let mut offsets = self.offsets();
            partitions.iter().map(|lost| offsets.give_back(lost.partition)).sum()
        };
        self.figures.change(|figures| {
            figures.given_back += given_back;
            for lost in partitions {
                figures.partitions.remove(&lost.partition);
            }
        });
    }
}

/// Called by the client, within a poll, when partitions come and go.
struct Listener<I> {
    ledger: Ledger<I>,
    topic: String,
    /// The consumer, once it is there.
    consumer: Arc<OnceLock<Weak<Consumer>>>,
}

impl<I: Progress> ConsumerRebalanceListener for Listener<I> {
    async fn on_partitions_assigned(&self, partitions: &[TopicPartition]) {
        info!(topic = self.topic, partitions = ?numbers(partitions), "partitions assigned");
        self.ledger.figures.change(|figures| {
            for new in partitions {
                figures.partitions.entry(new.partition).or_default();
            }
        });
    }

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        info!(topic = self.topic, partitions = ?numbers(partitions), "partitions given back");
        if let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) {
            let going = numbers(partitions);
            let of = |partition: i32| going.contains(&partition);
            if let Err(error) = self.ledger.commit(&consumer, &self.topic, of).await {
                warn!(%error, "what is analyzed could not be committed; it will be read again");
            }
        }
        self.ledger.give_back(partitions);
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        warn!(topic = self.topic, partitions = ?numbers(partitions), "partitions lost");
        self.ledger.give_back(partitions);
    }
}

fn numbers(partitions: &[TopicPartition]) -> Vec<i32> {
    partitions.iter().map(|partition| partition.partition).collect()
}

/// One connection to the cluster and membership in the group.
struct Session<I> {
    ledger: Ledger<I>,
    topic: String,
    consumer: Arc<Consumer>,
    /// When it was last looked what may be committed.
    looked: Timestamp,
    /// When the brokers were last asked for more.
    polled: Timestamp,
    told: Option<Timestamp>,
}

impl<I: Progress> Session<I> {
    async fn begin(settings: &KafkaSettings, ledger: Ledger<I>) -> Result<Session<I>, KrafkaError> {
        let kafka = Kafka::builder(settings.brokers.join(","))
            .client_id("laghound")
            .security(security(settings))
            .connect()
            .await?;
        let topic = settings.topic.clone();
        let slot = Arc::new(OnceLock::new());
        let listener =
            Listener { ledger: ledger.clone(), topic: topic.clone(), consumer: Arc::clone(&slot) };
        let begin = match settings.begin {
            Begin::Latest => AutoOffsetReset::Latest,
            Begin::Earliest => AutoOffsetReset::Earliest,
        };
        let session = Duration::from_nanos(settings.session.0);
        let consumer = kafka
            .consumer(settings.group.clone())
            .auto_offset_reset(begin)
            .enable_auto_commit(false)
            .partition_assignment_strategy(PartitionAssignmentStrategy::CooperativeSticky)
            .session_timeout(session)
            .heartbeat_interval(session / 5)
            .fetch_max_bytes(FETCH_BYTES)
            .max_partition_fetch_bytes(FETCH_BYTES_OF_PARTITION)
            .lag_staleness_threshold(Duration::from_nanos(STALE.0))
            .max_poll_records(POLL_RECORDS)
            .max_buffered_records(POLL_RECORDS)
            .rebalance_listener(listener)
            .build()
            .await?;
        let consumer = Arc::new(consumer);
        // Set once: the slot is new.
        let _ = slot.set(Arc::downgrade(&consumer));
        consumer.subscribe([&topic]).await?;
        let looked = ledger.receiver.intake.now();
        Ok(Session { ledger, topic, consumer, looked, polled: looked, told: None })
    }

    /// Until it is time to end.
    async fn read(
        &mut self,
        stage: &mut watch::Receiver<Stage>,
        failures: &mut u32,
    ) -> Result<(), KrafkaError> {
        let mut in_a_row = 0;
        loop {
            let consumer = Arc::clone(&self.consumer);
            let polled = tokio::select! {
                biased;
                () = at_least(stage, Stage::Ending) => return Ok(()),
                polled = consumer.poll(POLL) => polled,
            };
            match polled {
                Ok(records) => {
                    (in_a_row, *failures) = (0, 0);
                    self.polled = self.ledger.receiver.intake.now();
                    if self.hand_over(records, stage).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) if error.is_fatal() || in_a_row >= PATIENCE => return Err(error),
                Err(error) => {
                    warn!(%error, "cannot read from Kafka at the moment");
                    if rest(stage, pause_after(in_a_row)).await.is_err() {
                        return Ok(());
                    }
                    in_a_row += 1;
                }
            }
            self.look_after().await;
        }
    }

    async fn hand_over(
        &mut self,
        records: Vec<ConsumerRecord>,
        stage: &mut watch::Receiver<Stage>,
    ) -> Result<(), Ending> {
        for record in records {
            let mut tries = 0;
            // A message without a value holds no spans.
            while let Some(value) = record.value.clone() {
                let at = (record.partition, record.offset);
                match offer(&self.ledger.receiver, value).await {
                    Ok(()) => break,
                    Err(Refusal::Overloaded { retry_after }) => {
                        rest(stage, pause_after(tries).min(retry_after)).await?;
                        tries += 1;
                        self.look_after().await;
                    }
                    Err(refusal) => {
                        self.step_over(&refusal, at);
                        break;
                    }
                }
            }
            let now = self.ledger.receiver.intake.now();
            self.ledger.offsets().handed_over(record.partition, record.offset, now);
            self.look_after().await;
            // A full poll takes milliseconds; others have a turn in between.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// What cannot be decoded today cannot be tomorrow.
    fn step_over(&mut self, refusal: &Refusal, (partition, offset): (i32, i64)) {
        let intake = &self.ledger.receiver.intake;
        intake.failed(Transport::Kafka, refusal.failure());
        let now = intake.now();
        if self.told.is_none_or(|told| now.since(told) >= TELL_EVERY) {
            self.told = Some(now);
            let topic = &self.topic;
            warn!(%refusal, topic, partition, offset, "a message is no OTLP request and is stepped over");
        }
    }

    /// Now and then: commits, and says how far it is.
    async fn look_after(&mut self) {
        let now = self.ledger.receiver.intake.now();
        if now.since(self.looked) < COMMIT {
            return;
        }
        self.looked = now;
        if let Err(error) = self.ledger.commit(&self.consumer, &self.topic, |_| true).await {
            warn!(%error, "offsets could not be committed; they are tried again");
        }
        let lags = self.consumer.lag().await;
        let connected = match lags.is_empty() {
            // More members than partitions.
            true => self.consumer.group_metadata().await.is_some(),
            false => lags.values().any(|lag| !lag.stale),
        };
        let by_partition: BTreeMap<i32, Option<u64>> =
            lags.into_iter().map(|(of, lag)| (of.partition, lag.lag)).collect();
        let is_asking = now.since(self.polled) < STALE;
        self.ledger.figures.change(|figures| {
            // Who waits for room does not ask, and knows nothing new.
            if is_asking {
                figures.connected = connected;
            }
            for (partition, lag) in by_partition {
                figures.partitions.entry(partition).or_default().lag = lag;
            }
            self.ledger.offsets().show(figures);
        });
    }

    /// The connection or the membership is gone.
    fn lose(&self) {
        let given_back = self.ledger.offsets().give_all_back();
        self.ledger.figures.change(|figures| {
            figures.given_back += given_back;
            figures.partitions.clear();
        });
    }

    /// Commits what was read once it is analyzed, and leaves the group, so that nobody waits for this member.
    async fn end(&mut self, stage: &mut watch::Receiver<Stage>) {
        at_least(stage, Stage::Analyzed).await;
        let all = self.ledger.commit(&self.consumer, &self.topic, |_| true);
        match tokio::time::timeout(LEAVE, all).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "offsets could not be committed; others read again"),
            Err(_) => warn!("offsets could not be committed in time; others read again"),
        }
        if let Err(error) = self.consumer.close_with(CloseOptions::new().timeout(LEAVE)).await {
            warn!(%error, "the group could not be left in order");
        }
    }
}

/// Offers the spans of a message, all or nothing.
async fn offer<I: Intake>(receiver: &Arc<Receiver<I>>, value: Bytes) -> Result<(), Refusal> {
    let limit = receiver.limits.message_bytes;
    if value.len() > limit {
        return Err(Refusal::TooLarge { limit });
    }
    let mut permit = receiver.intake.admit(&http::Extensions::new())?;
    permit.grow(value.len())?;
    receiver.digest(Transport::Kafka, Encoding::Identity, value, permit).await.map(drop)
}

fn security(settings: &KafkaSettings) -> AuthConfig {
    let login =
        settings.login.as_ref().map(|Login { mechanism, user, password }| match mechanism {
            Mechanism::Plain => AuthConfig::sasl_plain(user, password),
            Mechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(user, password),
            Mechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(user, password),
        });
    let auth = login.unwrap_or_else(AuthConfig::plaintext);
    let Some(KafkaTls { authority, identity }) = &settings.tls else { return auth };
    let mut tls = TlsConfig::new();
    if let Some(file) = authority {
        tls = tls.with_ca_cert(file.display().to_string());
    }
    if let Some((certificate, key)) = identity {
        tls = tls.with_client_cert(certificate.display().to_string(), key.display().to_string());
    }
    auth.with_tls(tls)
}
