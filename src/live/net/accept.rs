//! Takes connections in, as many as there may be.
//!
//! A loop around `accept` must survive every error of it: at the limit of descriptors the call fails
//! at once and for ever, and a loop that only tries again takes half a core and says nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{error, warn};

use super::census::Peer;
use super::connection::{Listener, Stop, requested};
use super::counts::Refused;

/// Where connections come from.
pub(crate) trait Accept: Send {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next one. Nothing is lost if the call is given up.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // Answers are small and complete: nothing is gained by waiting for more of them.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer))
    }
}

/// Accepts and serves until told to stop, then waits for the connections there are. Each of them ends
/// within the time of one request; whoever cannot wait that long drops the future.
pub(crate) async fn serve(incoming: impl Accept, listener: Arc<Listener>, mut stop: Stop) {
    let mut connections = JoinSet::new();
    accept_all(incoming, &listener, &mut connections, &mut stop).await;
    while let Some(ended) = connections.join_next().await {
        report(&listener, ended);
    }
}

async fn accept_all(
    mut incoming: impl Accept,
    listener: &Arc<Listener>,
    connections: &mut JoinSet<()>,
    stop: &mut Stop,
) {
    let mut backoff = Backoff::default();
    let mut number = 0_u64;
    loop {
        let accepted = tokio::select! {
            biased;
            () = requested(stop) => return,
            Some(ended) = connections.join_next() => {
                report(listener, ended);
                continue;
            }
            accepted = incoming.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                backoff = Backoff::default();
                let limits = listener.limits.load();
                match listener.census.admit(Peer::from(peer.ip()), &limits) {
                    Ok(place) => {
                        listener.counts.accepted();
                        number += 1;
                        let serving =
                            Arc::clone(listener).connection(stream, place, number, stop.clone());
                        connections.spawn(serving);
                    }
                    Err(full) => {
                        listener.counts.refused(full.into());
                        warn!(what = listener.what, peer = %peer.ip(), limit = ?full, "connection refused");
                    }
                }
            }
            Err(error) if is_exhausted(&error) => {
                listener.counts.refused(Refused::Descriptors);
                warn!(what = listener.what, %error, "cannot accept connections");
                tokio::select! {
                    () = sleep(backoff.next()) => {}
                    () = requested(stop) => return,
                }
            }
            // The peer was gone before it was accepted.
            Err(_) => {}
        }
    }
}

/// Trying again at once would fail again at once.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

/// How long to wait for descriptors: from a moment, in which connections may have ended, to a second.
#[derive(Clone, Copy, Debug, Default)]
struct Backoff {
    doublings: u32,
}

impl Backoff {
    fn next(&mut self) -> Duration {
        const FIRST: Duration = Duration::from_millis(25);
        const LONGEST: Duration = Duration::from_secs(1);
        let wait = (FIRST * 2_u32.pow(self.doublings)).min(LONGEST);
        self.doublings = (self.doublings + 1).min(6);
        wait
    }
}

/// Without `panic = "abort"` a connection's panic ends that connection.
fn report(listener: &Listener, ended: Result<(), tokio::task::JoinError>) {
    if let Err(failed) = ended {
        error!(what = listener.what, error = %failed, "a connection failed");
    }
}
