//! The stream of suspects: all of them at once, and again whenever they change.
//!
//! Each message says everything, so whoever reads slowly lacks none but those that newer ones have overtaken; these
//! are counted. Nothing waits for a reader but its own task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;

use super::super::Api;
use super::super::answer::Problem;
use super::super::incidents::SuspectFilter;
use super::v1;

type Message = v1::WatchSuspectsResponse;

/// Tells one reader until it leaves, its time is over, or the process ends.
pub(super) async fn tell(
    api: Arc<Api>,
    reader: mpsc::Sender<Result<Message, Status>>,
    _permit: OwnedSemaphorePermit,
) {
    let mut beats = api.evidence.beats();
    // No answer lasts for ever here: before it is cut off, it ends in order.
    let end = tokio::time::sleep(Duration::from_nanos(api.settings.listen_for.0));
    tokio::pin!(end);
    let mut latest = None;
    let mut unsent: Option<Message> = None;
    while !beats.borrow_and_update().ending {
        let Ok(now) = suspects(&api).await else { return };
        if latest.as_ref() != Some(&now.suspects) {
            latest = Some(now.suspects.clone());
            let skipped = unsent.map_or(0, |overtaken| {
                api.listeners.skip();
                overtaken.skipped + 1
            });
            unsent = Some(Message { skipped, ..now });
        }
        loop {
            tokio::select! {
                biased;
                room = reader.reserve(), if unsent.is_some() => match (room, unsent.take()) {
                    (Ok(room), Some(message)) => room.send(Ok(message)),
                    _ => return,
                },
                changed = beats.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = reader.closed() => return,
                () = &mut end => return,
            }
        }
    }
}

async fn suspects(api: &Arc<Api>) -> Result<Message, Problem> {
    let all = SuspectFilter { service: None, kind: None };
    let put_together = move |api: &Api| {
        let board = api.source.board();
        let suspects = all.choose(&board).into_iter().map(Into::into).collect();
        Ok(Message { head: Some((&*board).into()), suspects, skipped: 0 })
    };
    Arc::clone(api).work(put_together).await
}
