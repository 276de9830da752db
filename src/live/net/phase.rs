//! What a connection is doing, as far as its deadlines go.
//!
//! Bytes alone do not tell a slow peer from a busy one: who sends a byte a second is never idle. So
//! the deadline is that of the phase, which only the next phase ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Each phase has a deadline of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No request.
    Quiet,
    /// HTTP/1: the head of a request has begun.
    Head,
    /// At least one request.
    Busy,
}

/// The phase of one connection, set by its stream and its requests.
#[derive(Debug)]
pub(super) struct Phases {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    phase: Phase,
    requests: usize,
}

/// A request under way, until its answer has been handed over.
#[derive(Debug)]
pub(super) struct Request {
    phases: Arc<Phases>,
}

impl Phases {
    pub(super) fn new() -> Phases {
        Phases { state: watch::Sender::new(State { phase: Phase::Quiet, requests: 0 }) }
    }

    /// Bytes came in on an HTTP/1 connection.
    pub(super) fn bytes(&self) {
        self.state.send_if_modified(|state| {
            let begins = state.phase == Phase::Quiet;
            if begins {
                state.phase = Phase::Head;
            }
            begins
        });
    }

    /// A request's head is complete.
    pub(super) fn request(self: &Arc<Phases>) -> Request {
        self.state.send_if_modified(|state| {
            state.requests += 1;
            let begins = state.phase != Phase::Busy;
            state.phase = Phase::Busy;
            begins
        });
        Request { phases: Arc::clone(self) }
    }

    /// Waits until a phase has lasted longer than `limit` says it may, and says which.
    pub(super) async fn expired(&self, limit: impl Fn(Phase) -> Duration) -> Phase {
        let mut changes = self.state.subscribe();
        loop {
            let phase = changes.borrow_and_update().phase;
            tokio::select! {
                biased;
                // The sender is `self`, so this cannot fail while it is waited for.
                _ = changes.changed() => {}
                () = tokio::time::sleep(limit(phase)) => return phase,
            }
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.phases.state.send_if_modified(|state| {
            state.requests -= 1;
            let ends = state.requests == 0;
            if ends {
                state.phase = Phase::Quiet;
            }
            ends
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(phase: Phase) -> Duration {
        match phase {
            Phase::Quiet => 10 * SECOND,
            Phase::Head => 2 * SECOND,
            Phase::Busy => 5 * SECOND,
        }
    }

    /// Whether `work` ends after `time`, to the millisecond.
    async fn ends_after<T>(time: Duration, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let early = tokio::time::timeout(time - Duration::from_millis(1), &mut work).await;
        assert!(early.is_err(), "ended before {time:?}");
        tokio::time::timeout(Duration::from_millis(2), work).await.expect("ends in time")
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_do_not_put_the_end_of_a_head_off() {
        let phases = Phases::new();
        let trickle = async {
            loop {
                phases.bytes();
                tokio::time::sleep(SECOND / 10).await;
            }
        };
        let expired = async {
            tokio::select! {
                phase = phases.expired(limit) => phase,
                () = trickle => unreachable!("never ends"),
            }
        };
        assert_eq!(ends_after(2 * SECOND, expired).await, Phase::Head);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_of_several_requests_ends_the_busy_phase() {
        let phases = Arc::new(Phases::new());
        let requests = async {
            let one = phases.request();
            tokio::time::sleep(SECOND).await;
            let two = phases.request();
            drop(one);
            tokio::time::sleep(SECOND).await;
            drop(two);
            std::future::pending::<()>().await;
        };
        let expired = async {
            tokio::select! {
                phase = phases.expired(limit) => phase,
                () = requests => unreachable!("never ends"),
            }
        };
        assert_eq!(ends_after(12 * SECOND, expired).await, Phase::Quiet);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_end_is_told() {
        let phases = Arc::new(Phases::new());
        phases.bytes();
        let _request = phases.request();
        // Its own body's bytes begin nothing.
        phases.bytes();
        assert_eq!(ends_after(5 * SECOND, phases.expired(limit)).await, Phase::Busy);
    }
}
