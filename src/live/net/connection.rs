//! One connection, from its first byte to its end.
//!
//! hyper speaks the protocol; here are the deadlines it does not have, and the reason for which the
//! connection ends. An end in order is: no new requests, those under way are answered, within the
//! time that one of them may take.

use std::convert::Infallible;
use std::error::Error as _;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use bytes::Bytes;
use http::header::{HeaderMap, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower::Service as _;

use super::super::access::{Access, Denied};
use super::super::budget::Origin;
use super::census::{Census, Place};
use super::counts::{Closed, Counts};
use super::establish::{Seen, Version, sniff};
use super::limits::{ConnectionLimits, duration};
use super::phase::{Phase, Phases};
use super::secured::{Secured, secure};
use super::stream::Stream;
use crate::otlp::receive::jittered;
use crate::publish::api::is_grpc;
use crate::publish::ledger::ListenerLedger;

/// What all connections of one listener share.
pub(crate) struct Listener {
    pub(super) what: &'static str,
    routes: Router,
    /// Looked at when a connection begins.
    pub(super) limits: Arc<ArcSwap<ConnectionLimits>>,
    /// TLS is looked at when a connection begins, credentials at each request.
    access: Arc<ArcSwap<Access>>,
    pub(super) census: Arc<Census>,
    pub(super) counts: Counts,
}

/// Becomes true when the listener is to end.
pub(crate) type Stop = watch::Receiver<bool>;

/// When it is to end; at once if nobody is left to say so.
pub(super) async fn requested(stop: &mut Stop) {
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Listener {
    /// A listener without connections.
    pub(crate) fn new(
        what: &'static str,
        routes: Router,
        limits: Arc<ArcSwap<ConnectionLimits>>,
        access: Arc<ArcSwap<Access>>,
    ) -> Arc<Listener> {
        let (census, counts) = Default::default();
        // A router with its state set is cheaper to clone, which every request does.
        let routes = routes.with_state(());
        Arc::new(Listener { what, routes, limits, access, census, counts })
    }

    /// Its name, as in logs and labels.
    pub(crate) fn what(&self) -> &'static str {
        self.what
    }

    /// Its counters now.
    pub(crate) fn ledger(&self) -> ListenerLedger {
        self.counts.read(self.census.total())
    }

    /// Serves one connection to its end. `number` tells connections apart.
    pub(super) async fn connection<IO>(
        self: Arc<Listener>,
        io: IO,
        place: Place,
        number: u64,
        mut stop: Stop,
    ) where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let limits = self.limits.load_full();
        let established = tokio::select! {
            biased;
            () = requested(&mut stop) => Err(Closed::Shutdown),
            established = timeout(duration(limits.handshake), self.establish(io)) => {
                established.unwrap_or(Err(Closed::HandshakeTimeout))
            }
        };
        let closed = match established {
            Ok((io, version, seen)) => {
                let service = Tracked {
                    routes: self.routes.clone(),
                    phases: Arc::new(Phases::new()),
                    origin: Arc::clone(place.origin()),
                    listener: Arc::clone(&self),
                };
                let life = Life { limits: &limits, version, number };
                self.speak(io, seen, service, life, stop).await
            }
            Err(closed) => closed,
        };
        self.counts.closed(closed);
        drop(place);
    }

    /// Makes it as secure as it has to be, and finds out what the peer speaks.
    async fn establish<IO>(&self, io: IO) -> Result<(Secured<IO>, Version, Seen), Closed>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let access = self.access.load_full();
        let mut io = secure(io, access.tls.as_ref()).await.map_err(|error| match error.kind() {
            // What the peer sent is no TLS, or does not prove what it has to.
            ErrorKind::InvalidData => Closed::Tls,
            _ => Closed::Aborted,
        })?;
        match sniff(&mut io).await {
            Ok(Some((version, seen))) => Ok((io, version, seen)),
            Ok(None) => Err(Closed::Done),
            Err(_) => Err(Closed::Aborted),
        }
    }

    async fn speak<IO>(
        self: &Arc<Listener>,
        io: IO,
        seen: Seen,
        service: Tracked,
        life: Life<'_>,
        stop: Stop,
    ) -> Closed
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let phases = Arc::clone(&service.phases);
        match life.version {
            Version::Http1 => {
                let io = TokioIo::new(Stream::new(io, seen, Some(Arc::clone(&phases))));
                let connection = http_1(life.limits).serve_connection(io, service);
                life.drive(connection, &phases, stop).await
            }
            Version::Http2 => {
                let io = TokioIo::new(Stream::new(io, seen, None));
                let streams = Streams { limit: life.limits.exchange(), listener: Arc::clone(self) };
                let connection = http_2(streams, life.limits).serve_connection(io, service);
                life.drive(connection, &phases, stop).await
            }
        }
    }
}

fn http_1(limits: &ConnectionLimits) -> http1::Builder {
    /// Enough that a body is read in few pieces, small enough for thousands of connections.
    const READ_BUFFER: usize = 64 * 1024;
    /// Browsers and proxies send twenty to forty.
    const MAX_HEADERS: usize = 100;
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None) // `Phase::Head` has it, which is not idle as well
        .max_headers(MAX_HEADERS)
        .max_header_size(limits.header_bytes as usize)
        .max_buf_size(READ_BUFFER.max(limits.header_bytes as usize));
    builder
}

fn http_2(streams: Streams, limits: &ConnectionLimits) -> http2::Builder<Streams> {
    // What a peer may send before anybody reads. Bodies are read as they come, so this does not limit
    // them on a network where an answer takes a millisecond: 64 MiB/s each.
    const STREAM_WINDOW: u32 = 64 * 1024;
    const CONNECTION_WINDOW: u32 = 128 * 1024;
    const SEND_BUFFER: usize = 64 * 1024;
    const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
    let keepalive = (limits.keepalive.0 > 0).then(|| duration(limits.keepalive));
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(limits.header_bytes)
        .keep_alive_interval(keepalive)
        .keep_alive_timeout(KEEPALIVE_ANSWER);
    builder
}

/// What decides how long a connection lives.
struct Life<'a> {
    limits: &'a ConnectionLimits,
    version: Version,
    number: u64,
}

impl Life<'_> {
    /// Runs the connection until it ends or has to.
    async fn drive<C>(&self, connection: C, phases: &Phases, mut stop: Stop) -> Closed
    where
        C: GracefulConnection<Error = hyper::Error>,
    {
        let mut connection = pin!(connection);
        let reason = tokio::select! {
            ended = connection.as_mut() => return how(ended),
            phase = phases.expired(|phase| self.limit(phase)) => match phase {
                Phase::Quiet => Closed::Idle,
                Phase::Head => return Closed::HeaderTimeout,
                Phase::Busy => return Closed::RequestTimeout,
            },
            () = sleep(self.age()) => Closed::Age,
            () = requested(&mut stop) => Closed::Shutdown,
        };
        connection.as_mut().graceful_shutdown();
        // Whether the peer made use of it changes nothing about why it had to.
        let _ = timeout(self.limits.exchange(), connection).await;
        reason
    }

    fn limit(&self, phase: Phase) -> Duration {
        match (phase, self.version) {
            (Phase::Quiet, _) => duration(self.limits.idle),
            (Phase::Head, _) => duration(self.limits.header),
            (Phase::Busy, Version::Http1) => self.limits.exchange(),
            // Each stream has its own.
            (Phase::Busy, Version::Http2) => Duration::MAX,
        }
    }

    /// Less a tenth at most, so that connections made together do not end together.
    fn age(&self) -> Duration {
        let age = self.limits.max_age;
        if age.0 == 0 {
            return Duration::MAX;
        }
        let tenth = crate::model::Nanos(age.0 / 10);
        duration(age + tenth - jittered(tenth, self.number))
    }
}

/// Why hyper ended it.
fn how(ended: Result<(), hyper::Error>) -> Closed {
    let Err(error) = ended else { return Closed::Done };
    if error.is_parse() || error.is_parse_too_large() {
        return Closed::Protocol;
    }
    let h2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    match h2 {
        Some(h2) if !h2.is_io() && !h2.is_remote() => Closed::Protocol,
        _ => Closed::Aborted,
    }
}

/// Runs the streams of HTTP/2 connections, each no longer than a request and its answer may take. A
/// stream ends with its connection, which is the one that waits for it.
#[derive(Clone)]
struct Streams {
    limit: Duration,
    listener: Arc<Listener>,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let Streams { limit, listener } = self.clone();
        tokio::spawn(async move {
            if timeout(limit, stream).await.is_err() {
                listener.counts.stream_timed_out();
            }
        });
    }
}

/// The routes, with the connection's phase kept up to date.
#[derive(Clone)]
struct Tracked {
    routes: Router,
    phases: Arc<Phases>,
    origin: Arc<Origin>,
    listener: Arc<Listener>,
}

impl Tracked {
    /// Whether a request may go on to the routes. Decided before anything of its body is read.
    fn admit(&self, request: &Request<Incoming>) -> Result<(), Denied> {
        // Probes of a kubelet bear no credentials, and learn nothing but whether it is ready.
        if matches!(request.uri().path(), "/livez" | "/readyz") {
            return Ok(());
        }
        let admitted = self.listener.access.load().check(request.headers());
        admitted.inspect_err(|denied| self.listener.counts.denied(*denied))
    }
}

/// What somebody without a valid credential is told: gRPC clients in their own words, as some read whatever comes
/// with another status as a broken message.
fn denied(headers: &HeaderMap) -> Response<axum::body::Body> {
    if is_grpc(headers) {
        return tonic::Status::unauthenticated("a valid credential is needed").into_http();
    }
    let mut response = Response::new(axum::body::Body::from("a valid credential is needed\n"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    for scheme in ["Bearer", "Basic realm=\"laghound\""] {
        response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    response
}

impl hyper::service::Service<Request<Incoming>> for Tracked {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let under_way = self.phases.request();
        if self.admit(&request).is_err() {
            let response =
                denied(request.headers()).map(|body| Answer { body, _under_way: under_way });
            return Box::pin(std::future::ready(Ok(response)));
        }
        request.extensions_mut().insert(Arc::clone(&self.origin));
        let answered = self.routes.clone().call(request);
        Box::pin(async move {
            let response = answered.await?;
            Ok(response.map(|body| Answer { body, _under_way: under_way }))
        })
    }
}

/// An answer's body; the request is over when it is dropped.
struct Answer {
    body: axum::body::Body,
    _under_way: super::phase::Request,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
