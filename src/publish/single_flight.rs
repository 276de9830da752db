//! One rendering for everyone who asks while it is being made.
//!
//! A thousand scrapers at once cost one rendering. It runs on a blocking thread and is finished even
//! if nobody waits any more; what comes after it has begun gets its result, which is no older than
//! the request by more than the rendering takes. Nothing is kept once it is handed out.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

/// The place where those who want the same thing meet.
#[derive(Default)]
pub(super) struct SingleFlight {
    running: Mutex<Option<watch::Receiver<Option<Bytes>>>>,
}

/// The rendering ended without a result.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("rendering failed; the log says why")]
pub(super) struct RenderingFailed;

impl SingleFlight {
    /// The result of the rendering under way, or of `render` if there is none.
    pub(super) async fn get(
        self: Arc<Self>,
        render: impl FnOnce() -> Bytes + Send + 'static,
    ) -> Result<Bytes, RenderingFailed> {
        let mut result = Arc::clone(&self).join_or_start(render);
        let done = result.wait_for(Option::is_some).await.map_err(|_| RenderingFailed)?;
        done.clone().ok_or(RenderingFailed)
    }

    fn join_or_start(
        self: Arc<Self>,
        render: impl FnOnce() -> Bytes + Send + 'static,
    ) -> watch::Receiver<Option<Bytes>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // A sender that is gone without a result has panicked: its place is free.
        if let Some(other) = running.as_ref().filter(|other| other.has_changed().is_ok()) {
            return other.clone();
        }
        let (sender, receiver) = watch::channel(None);
        *running = Some(receiver.clone());
        let meeting = Arc::clone(&self);
        // Not awaited: it ends by itself after one rendering, and everyone interested has a receiver.
        tokio::task::spawn_blocking(move || {
            let rendered = render();
            // Later requests start anew; those who wait already have their receivers.
            meeting.running.lock().unwrap_or_else(PoisonError::into_inner).take();
            sender.send_replace(Some(rendered));
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn those_who_ask_meanwhile_share_one_rendering() {
        let flight = Arc::new(SingleFlight::default());
        let renderings = Arc::new(AtomicUsize::new(0));
        let (go, wait) = mpsc::channel::<()>();
        let first = {
            let renderings = Arc::clone(&renderings);
            Arc::clone(&flight).join_or_start(move || {
                wait.recv().unwrap();
                renderings.fetch_add(1, Ordering::SeqCst);
                Bytes::from_static(b"page")
            })
        };
        let others: Vec<_> = (0..1000)
            .map(|_| {
                let renderings = Arc::clone(&renderings);
                Arc::clone(&flight).join_or_start(move || {
                    renderings.fetch_add(1, Ordering::SeqCst);
                    Bytes::from_static(b"another")
                })
            })
            .collect();
        go.send(()).unwrap();
        for mut result in std::iter::once(first).chain(others) {
            let page = result.wait_for(Option::is_some).await.unwrap().clone();
            assert_eq!(page.as_deref(), Some(&b"page"[..]));
        }
        assert_eq!(renderings.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_next_one_renders_anew() {
        let flight = Arc::new(SingleFlight::default());
        for page in [&b"one"[..], b"two"] {
            let rendered = Arc::clone(&flight).get(move || Bytes::from_static(page)).await;
            assert_eq!(rendered.as_deref(), Ok(page));
        }
        assert!(flight.running.lock().unwrap().is_none(), "nothing is kept");
    }

    #[tokio::test]
    async fn a_rendering_that_panics_does_not_block_the_next() {
        let flight = Arc::new(SingleFlight::default());
        let failed = Arc::clone(&flight).get(|| panic!("on purpose")).await;
        assert_eq!(failed, Err(RenderingFailed));
        let page = Arc::clone(&flight).get(|| Bytes::from_static(b"page")).await;
        assert_eq!(page.as_deref(), Ok(&b"page"[..]));
    }

    #[tokio::test]
    async fn a_rendering_nobody_waits_for_is_finished_all_the_same() {
        let flight = Arc::new(SingleFlight::default());
        let (done, finished) = tokio::sync::oneshot::channel();
        drop(Arc::clone(&flight).join_or_start(move || {
            done.send(()).unwrap();
            Bytes::new()
        }));
        finished.await.unwrap();
    }
}
