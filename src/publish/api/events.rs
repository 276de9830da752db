//! `/api/v1/events`: server-sent events (WHATWG HTML, section 9.2), one with every board and one every two
//! seconds.
//!
//! Each carries the document of `/api/v1/now`, so that whoever comes late or missed some knows as much as the
//! others: there is no history to catch up with. `board` says that something was judged, `beat` that the
//! connection is alive and how the counters stand.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::Api;
use super::answer::Problem;
use super::query::{Nothing, Params};

/// How often a connection is heard of when nothing is judged.
const BEAT: Duration = Duration::from_secs(2);
/// How long a listener waits before it comes again. Answers end by themselves, so this is no sign of trouble.
const RETRY: Duration = Duration::from_millis(500);

/// Tells of every board from now on.
pub(super) async fn events(
    State(api): State<Arc<Api>>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Response, Problem> {
    let permit = api.listeners.enter()?;
    // One event waits while one is written: who reads slowly gets fewer, not older ones.
    let (sender, receiver) = mpsc::channel(1);
    // Ends with its connection, or with the process.
    tokio::spawn(tell(api, sender, permit));
    let mut response = Sse::new(ReceiverStream::new(receiver)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Proxies that collect answers before they pass them on are asked not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

async fn tell(
    api: Arc<Api>,
    listener: mpsc::Sender<Result<Event, Infallible>>,
    _permit: OwnedSemaphorePermit,
) {
    let mut beats = api.evidence.beats();
    let mut name = "board";
    // No request lasts for ever here: before it is cut off, it ends in order.
    let end = tokio::time::sleep(Duration::from_nanos(api.settings.listen_for.0));
    tokio::pin!(end);
    while !beats.borrow_and_update().ending {
        let event = state(Arc::clone(&api), name).await;
        let Some(event) = event else { return };
        if listener.send(Ok(event)).await.is_err() {
            return;
        }
        name = tokio::select! {
            changed = beats.changed() => match changed {
                Ok(()) => "board",
                Err(_) => return,
            },
            () = tokio::time::sleep(BEAT) => "beat",
            () = listener.closed() => return,
            () = &mut end => return,
        };
    }
}

async fn state(api: Arc<Api>, name: &'static str) -> Option<Event> {
    let _permit = api.answers.acquire().await.ok()?;
    let api = Arc::clone(&api);
    let json = tokio::task::spawn_blocking(move || {
        let board = api.source.board();
        serde_json::to_string(&api.now(&board)).expect("strings and finite numbers are valid JSON")
    });
    Some(Event::default().event(name).retry(RETRY).data(json.await.ok()?))
}
