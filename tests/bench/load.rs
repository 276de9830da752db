//! The load generator: makes requests, compresses them, sends them, and knows what was acknowledged.
//!
//! Messages are made by threads of their own, just ahead of time, so that the stamps in them are fresh and
//! a run may last as long as it likes. Connections take them from one queue: as fast as they are answered,
//! or at a pace. A canary of its own connection asks every 50 ms how long a small request takes meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::client::{Answer, Client, Compression, Protocol};
use crate::payload::{Request, Shape, Stream};

/// How the spans are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Way {
    pub(crate) protocol: Protocol,
    pub(crate) compression: Compression,
    pub(crate) connections: usize,
    /// Requests under way on one connection. One for HTTP, which is version 1.1.
    pub(crate) in_flight: usize,
    /// Spans a second; as fast as they are answered if none.
    pub(crate) rate: Option<f64>,
}

/// What has happened so far.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) spans: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// A load under way.
pub(crate) struct Load {
    pub(crate) counters: Arc<Counters>,
    canary: Arc<std::sync::Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    makers: Vec<std::thread::JoinHandle<()>>,
}

/// How often the canary sings.
const CANARY: Duration = Duration::from_millis(50);
/// What is refused for want of room is sent again after this.
const RETRY: Duration = Duration::from_millis(20);

impl Load {
    /// Starts sending to `port` of this machine.
    pub(crate) async fn start(port: u16, shape: Shape, way: Way) -> Load {
        let counters = Arc::new(Counters::default());
        let canary = Arc::new(std::sync::Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        // What is ready to be sent: enough that nobody waits, not so much that stamps get old.
        let (sender, receiver) = mpsc::channel(2 * way.connections * way.in_flight);
        let makers = makers(shape, way, &sender, &stop);
        drop(sender);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut tasks = JoinSet::new();
        for _ in 0..way.connections {
            let client = Client::connect(port, way.protocol, way.compression).await;
            for _ in 1..way.in_flight {
                let client = client.clone();
                tasks.spawn(send(client, Arc::clone(&receiver), Arc::clone(&counters)));
            }
            tasks.spawn(send(client, Arc::clone(&receiver), Arc::clone(&counters)));
        }
        let client = Client::connect(port, way.protocol, Compression::Plain).await;
        tasks.spawn(sing(client, Arc::clone(&canary), Arc::clone(&stop)));
        Load { counters, canary, stop, tasks, makers }
    }

    /// Forgets the latencies so far.
    pub(crate) fn begin_window(&self) {
        self.canary.lock().expect("nobody panicked").clear();
    }

    /// Latencies of the canary since then, ascending.
    pub(crate) fn latencies(&self) -> Vec<Duration> {
        let mut latencies = self.canary.lock().expect("nobody panicked").clone();
        latencies.sort_unstable();
        latencies
    }

    /// Stops; what is under way is answered.
    pub(crate) async fn stop(mut self) {
        self.stop.store(true, Relaxed);
        while self.tasks.join_next().await.is_some() {}
        for maker in self.makers {
            maker.join().expect("the makers do not panic");
        }
    }
}

/// Threads that make messages: one, or two where each is also compressed.
fn makers(
    shape: Shape,
    way: Way,
    sender: &mpsc::Sender<(Bytes, u64)>,
    stop: &Arc<AtomicBool>,
) -> Vec<std::thread::JoinHandle<()>> {
    let count = if way.compression == Compression::Plain { 1 } else { 2 };
    let start = Instant::now();
    let make = |seed: usize| {
        let shape = Shape { open: shape.open / count, ..shape };
        let rate = way.rate.map(|rate| rate / count as f64);
        let (sender, stop) = (sender.clone(), Arc::clone(stop));
        std::thread::spawn(move || {
            let mut stream = Stream::new(shape, seed as u64 ^ entropy());
            let mut sent = 0.0;
            while !stop.load(Relaxed) {
                if let Some(rate) = rate {
                    let due = start + Duration::from_secs_f64(sent / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                let Request { message, spans } = stream.next_request(unix_nanos());
                sent += spans as f64;
                let body = way.compression.pack(message, way.protocol);
                if sender.blocking_send((body, spans as u64)).is_err() {
                    break;
                }
            }
        })
    };
    (0..count).map(make).collect()
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn unix_nanos() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Two runs against one server must not send the same traces.
fn entropy() -> u64 {
    unix_nanos() << 8
}

async fn send(
    mut client: Client,
    queue: Arc<Mutex<mpsc::Receiver<(Bytes, u64)>>>,
    counters: Arc<Counters>,
) {
    loop {
        let next = queue.lock().await.recv().await;
        let Some((body, spans)) = next else { break };
        loop {
            counters.requests.fetch_add(1, Relaxed);
            match client.post(body.clone()).await {
                Answer::Taken => {
                    counters.spans.fetch_add(spans, Relaxed);
                    break;
                }
                Answer::Refused => {
                    counters.refused.fetch_add(1, Relaxed);
                    tokio::time::sleep(RETRY).await;
                }
                Answer::Failed => {
                    counters.failed.fetch_add(1, Relaxed);
                    break;
                }
            }
        }
    }
}

async fn sing(
    mut client: Client,
    latencies: Arc<std::sync::Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
) {
    let shape = Shape { keys: 8, trace: 1, open: 1, batch: 1 };
    let mut stream = Stream::new(shape, entropy() ^ 0x00ca_4a47);
    let mut beat = tokio::time::interval(CANARY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.load(Relaxed) {
        beat.tick().await;
        let message = stream.next_request(unix_nanos()).message;
        let body = Compression::Plain.pack(message, client.protocol());
        let asked = Instant::now();
        let answer = client.post(body).await;
        if answer == Answer::Taken {
            latencies.lock().expect("nobody panicked").push(asked.elapsed());
        }
    }
}
