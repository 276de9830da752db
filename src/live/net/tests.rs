//! What connections are allowed, over pipes and in virtual time: every deadline, every limit, the end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::accept::{Accept, serve};
use super::connection::Listener;
use super::limits::ConnectionLimits;
use crate::live::access::Access;
use crate::model::Nanos;
use crate::publish::ledger::ListenerLedger;

type Arrival = io::Result<(DuplexStream, SocketAddr)>;

/// What stands for a listening socket: whatever the test sends.
struct Door(mpsc::UnboundedReceiver<Arrival>);

impl Accept for Door {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> Arrival {
        match self.0.recv().await {
            Some(arrival) => arrival,
            None => std::future::pending().await,
        }
    }
}

pub(super) struct World {
    door: mpsc::UnboundedSender<Arrival>,
    pub(super) listener: Arc<Listener>,
    pub(super) access: Arc<ArcSwap<Access>>,
    /// Requests that came to a handler of `/` or `/length`.
    pub(super) handled: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// What `/wait` waits for.
    go: Arc<Notify>,
}

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn limits() -> ConnectionLimits {
    let secs = Nanos::from_secs;
    ConnectionLimits {
        max: 3,
        max_per_peer: 2,
        handshake: secs(10),
        header: secs(5),
        request: secs(20),
        response: secs(10),
        idle: secs(100),
        max_age: Nanos::ZERO,
        keepalive: Nanos::ZERO,
        streams: 4,
        header_bytes: 8 * 1024,
    }
}

impl World {
    pub(super) fn new(limits: ConnectionLimits) -> World {
        World::with(limits, Access::default())
    }

    pub(super) fn with(limits: ConnectionLimits, access: Access) -> World {
        let handled = Arc::new(AtomicUsize::new(0));
        let (here, length) = (Arc::clone(&handled), Arc::clone(&handled));
        let go = Arc::new(Notify::new());
        let wait = Arc::clone(&go);
        let endless = || async {
            let chunks = std::iter::repeat_with(|| Ok::<_, io::Error>(Bytes::from(vec![7; 1024])));
            Body::from_stream(tokio_stream::iter(chunks))
        };
        let routes = Router::new()
            .route(
                "/",
                get(async move || {
                    here.fetch_add(1, Ordering::Relaxed);
                    "here"
                }),
            )
            .route(
                "/length",
                post(async move |body: Bytes| {
                    length.fetch_add(1, Ordering::Relaxed);
                    body.len().to_string()
                }),
            )
            .route("/livez", get(|| async { "alive" }))
            .route("/endless", get(endless))
            .route(
                "/wait",
                get(async move || {
                    wait.notified().await;
                    "done"
                }),
            );
        let access = Arc::new(ArcSwap::from_pointee(access));
        let limits = Arc::new(ArcSwap::from_pointee(limits));
        let listener = Listener::new("test", routes, limits, Arc::clone(&access));
        let (door, arrivals) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(Door(arrivals), Arc::clone(&listener), stopped));
        World { door, listener, access, handled, stop, serving, go }
    }

    pub(super) fn connect_from(&self, address: &str) -> DuplexStream {
        let (ours, theirs) = duplex(4 * 1024);
        let peer = SocketAddr::new(address.parse().unwrap(), 1);
        self.door.send(Ok((theirs, peer))).unwrap();
        ours
    }

    pub(super) fn connect(&self) -> DuplexStream {
        self.connect_from("10.0.0.1")
    }

    async fn connect_http_2(&self) -> (http2::SendRequest<Empty<Bytes>>, JoinHandle<bool>) {
        let io = TokioIo::new(self.connect());
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(io)
            .await
            .unwrap();
        (requests, tokio::spawn(async { connection.await.is_ok() }))
    }

    pub(super) fn ledger(&self) -> ListenerLedger {
        self.listener.ledger()
    }

    /// How often what has happened, as far as it has happened at all.
    pub(super) fn happened(&self) -> Vec<(&'static str, u64)> {
        let ledger = self.ledger();
        let both = ledger.refused.into_iter().chain(ledger.closed);
        both.filter(|(_, count)| *count > 0).collect()
    }

    pub(super) async fn settle(&self) {
        // Virtual time: everything that can happen without time passing has happened before it does.
        sleep(Duration::from_millis(1)).await;
    }
}

/// Whether the peer closes `stream` after `time`, to the tenth of a second, whatever it sends before.
async fn closes_after(time: Duration, stream: &mut DuplexStream) {
    let mut rest = Vec::new();
    let mut end = std::pin::pin!(stream.read_to_end(&mut rest));
    let early = timeout(time - SECOND / 10, &mut end).await;
    assert!(early.is_err(), "closed before {time:?}");
    timeout(SECOND / 5, end).await.expect("closed in time").unwrap();
}

fn get_request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://test{path}")).body(Empty::new()).unwrap()
}

/// Reads one HTTP/1 answer with a `Content-Length` and gives its first line and its body.
pub(super) async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    (head.lines().next().unwrap().to_owned(), String::from_utf8(body).unwrap())
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_half_a_preface_is_closed() {
    let world = World::new(limits());
    let mut silent = world.connect();
    closes_after(10 * SECOND, &mut silent).await;
    let mut half = world.connect();
    half.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    closes_after(10 * SECOND, &mut half).await;
    assert_eq!(world.happened(), [("handshake_timeout", 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_port_scan_is_no_failure() {
    let world = World::new(limits());
    drop(world.connect());
    world.settle().await;
    assert_eq!(world.happened(), [("done", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_byte_by_byte_is_given_up() {
    let world = World::new(limits());
    let (mut reader, mut writer) = tokio::io::split(world.connect());
    let trickle = async {
        for byte in b"GET / HTTP/1.1\r\n".iter().chain(std::iter::repeat(&b'x')) {
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(SECOND / 2).await;
        }
    };
    let mut rest = Vec::new();
    let closed = timeout(6 * SECOND, reader.read_to_end(&mut rest));
    let (_, closed) = tokio::join!(trickle, closed);
    closed.expect("closed in time").unwrap();
    assert_eq!(world.happened(), [("header_timeout", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_second_head_has_its_own_deadline_and_the_pause_before_it_has_not() {
    let world = World::new(limits());
    let mut stream = world.connect();
    for _ in 0..3 {
        sleep(9 * SECOND).await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await.unwrap();
        sleep(4 * SECOND).await;
        stream.write_all(b"\r\n").await.unwrap();
        let (status, body) = answer(&mut stream).await;
        assert_eq!((&*status, &*body), ("http/1.1 200 ok", "here"));
    }
    stream.write_all(b"GET").await.unwrap();
    closes_after(5 * SECOND, &mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_at_a_byte_a_second_and_an_answer_nobody_reads_are_given_up() {
    let world = World::new(limits());
    let mut stream = world.connect();
    stream
        .write_all(b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n")
        .await
        .unwrap();
    sleep(SECOND).await;
    stream.write_all(b"x").await.unwrap();
    closes_after(29 * SECOND, &mut stream).await;
    let mut stream = world.connect();
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    sleep(31 * SECOND).await;
    assert_eq!(world.happened(), [("request_timeout", 2)]);
    assert_eq!(world.ledger().open, 0);
    // What the pipe still held, and then the end.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_end_is_reset_and_its_connection_stays() {
    let world = World::new(limits());
    let (mut requests, _connection) = world.connect_http_2().await;
    let mut waiting = tokio::spawn(requests.send_request(get_request("/wait")));
    assert!(timeout(29 * SECOND, &mut waiting).await.is_err(), "not yet");
    let unread = requests.send_request(get_request("/endless")).await.unwrap();
    sleep(31 * SECOND).await;
    assert!(waiting.await.unwrap().is_err(), "reset");
    assert_eq!(world.ledger().streams_timed_out, 2);
    drop(unread);
    let response = requests.send_request(get_request("/")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "here");
    assert_eq!(world.happened(), []);
}

#[tokio::test(start_paused = true)]
async fn without_a_request_it_is_over() {
    let world = World::new(limits());
    let mut stream = world.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    answer(&mut stream).await;
    closes_after(100 * SECOND, &mut stream).await;
    let (requests, connection) = world.connect_http_2().await;
    assert!(timeout(101 * SECOND, connection).await.unwrap().unwrap(), "in order");
    assert!(requests.is_closed());
    assert_eq!(world.happened(), [("idle", 2)]);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_answers_what_it_has_and_ends_in_order() {
    let world = World::new(ConnectionLimits { max_age: Nanos::from_secs(50), ..limits() });
    let (mut requests, connection) = world.connect_http_2().await;
    sleep(44 * SECOND).await;
    let response = tokio::spawn(requests.send_request(get_request("/wait")));
    sleep(8 * SECOND).await;
    assert!(!connection.is_finished());
    let late = requests.send_request(get_request("/")).await;
    assert!(late.is_err(), "no new requests");
    world.go.notify_one();
    let body = response.await.unwrap().unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "done");
    assert!(connection.await.unwrap(), "in order");
    assert_eq!(world.happened(), [("age", 1)]);
}

#[tokio::test(start_paused = true)]
async fn an_http_2_peer_that_is_gone_without_a_word_is_found_out() {
    let world = World::new(ConnectionLimits { keepalive: Nanos::from_secs(30), ..limits() });
    let mut stream = world.connect();
    // The preface, and an empty SETTINGS frame; nobody answers the PING.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    closes_after(50 * SECOND, &mut stream).await;
    assert_eq!(world.ledger().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_has_its_share_and_all_together_theirs() {
    let world = World::new(limits());
    let _first = world.connect();
    let second = world.connect();
    let mut third = world.connect();
    assert_eq!(third.read(&mut [0]).await.unwrap(), 0, "closed at once");
    let mut other = world.connect_from("10.0.0.2");
    other.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(answer(&mut other).await.1, "here", "somebody else is served");
    let mut fourth = world.connect_from("10.0.0.3");
    assert_eq!(fourth.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(world.happened(), [("per_peer", 1), ("total", 1)]);
    drop(second);
    world.settle().await;
    let mut fifth = world.connect();
    fifth.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(answer(&mut fifth).await.1, "here", "a place that was left is free");
    assert_eq!((world.ledger().open, world.ledger().accepted), (3, 4 + 1 - 1));
}

#[tokio::test(start_paused = true)]
async fn without_descriptors_it_waits_tells_and_recovers() {
    const EMFILE: i32 = 24;
    let world = World::new(limits());
    for _ in 0..1_000 {
        world.door.send(Err(io::Error::from_raw_os_error(EMFILE))).unwrap();
    }
    sleep(10 * SECOND).await;
    let tries = world.ledger().refused["descriptors"];
    // 25 ms, doubling to a second, then one a second: 6 in the first 1.6 s, 9 in the rest.
    assert!((10..=16).contains(&tries), "{tries}");
    // Resets before the call are no reason to wait.
    let world = World::new(limits());
    world.door.send(Err(io::Error::from_raw_os_error(EMFILE))).unwrap();
    for _ in 0..1_000 {
        world.door.send(Err(io::ErrorKind::ConnectionAborted.into())).unwrap();
    }
    let mut stream = world.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answered = timeout(SECOND / 10, answer(&mut stream)).await.expect("at once");
    assert_eq!(answered.1, "here");
}

#[tokio::test(start_paused = true)]
async fn the_end_answers_what_is_under_way_and_takes_nothing_new() {
    let world = World::new(limits());
    let mut idle = world.connect();
    let mut busy = world.connect();
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let (mut requests, connection) = {
        let io = TokioIo::new(world.connect_from("10.0.0.2"));
        http2::handshake(TokioExecutor::new(), io).await.unwrap()
    };
    let connection = tokio::spawn(connection);
    let response = tokio::spawn(requests.send_request(get_request("/wait")));
    world.settle().await;
    world.stop.send(true).unwrap();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "nothing was under way");
    world.settle().await;
    assert!(world.door.is_closed(), "the door is shut");
    assert!(!world.serving.is_finished());
    world.go.notify_waiters();
    assert_eq!(answer(&mut busy).await.1, "done");
    let body = response.await.unwrap().unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "done");
    connection.await.unwrap().unwrap();
    let World { serving, listener, .. } = world;
    serving.await.unwrap();
    assert_eq!(listener.ledger().closed["shutdown"], 3);
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_nobody_longer_than_a_request_may_take() {
    let world = World::new(limits());
    let mut busy = world.connect();
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    world.settle().await;
    world.stop.send(true).unwrap();
    timeout(31 * SECOND, world.serving).await.expect("over in time").unwrap();
}

#[tokio::test(start_paused = true)]
async fn garbage_is_told_from_an_abort() {
    let world = World::new(limits());
    let mut stream = world.connect();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await.unwrap();
    assert_eq!(answer(&mut stream).await.0, "http/1.1 400 bad request");
    let mut stream = world.connect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // A frame of 16 MiB, where 16 KiB are allowed.
    stream.write_all(&[&preface[..], b"\xff\xff\xff\x04\0\0\0\0\0"].concat()).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    world.settle().await;
    assert_eq!(world.happened(), [("protocol", 2)]);
    let mut stream = world.connect();
    stream
        .write_all(b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx")
        .await
        .unwrap();
    drop(stream);
    world.settle().await;
    assert_eq!(world.ledger().closed["protocol"], 2);
}

#[tokio::test(start_paused = true)]
async fn headers_beyond_the_limit_are_refused() {
    let world = World::new(limits());
    let large = "x".repeat(9 * 1024);
    let mut stream = world.connect();
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: {large}\r\n\r\n");
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let write = async {
        let _ = writer.write_all(request.as_bytes()).await;
    };
    let mut first = [0; 12];
    let (_, read) = tokio::join!(write, reader.read_exact(&mut first));
    read.unwrap();
    assert_eq!(&first, b"HTTP/1.1 431");
    let (mut requests, _connection) = world.connect_http_2().await;
    let mut request = get_request("/");
    request.headers_mut().insert("authorization", large.parse().unwrap());
    let status = requests.send_request(request).await.map(|response| response.status());
    assert_eq!(status.ok(), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
}
