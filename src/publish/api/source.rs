//! What the API shows beyond verdicts, and who provides it: the runtime.
//!
//! All of it may take a moment (a lock, an answer from the judge, a comparison), so it is asked for on
//! threads that may wait, and by so many at a time that the analysis does not notice.

use bytes::Bytes;
use tokio::sync::watch;

use crate::compare::verdict::Comparison;
use crate::engine::evidence::{KeptTrace, OperationDetail, TraceDetail};
use crate::model::{SpanKind, Timestamp, TraceId};

/// An operation by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OperationName {
    /// Its service.
    pub service: String,
    /// Its span name.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
}

/// Counts up with every board; what waits for it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Beat {
    /// Boards so far.
    pub boards: u64,
    /// The process is on its way out: whoever holds a connection open lets go.
    pub ending: bool,
}

/// A recording that somebody sent in to be compared.
#[derive(Clone, Debug)]
pub struct Upload {
    /// How it is called in complaints.
    pub name: String,
    /// Its content, in any format that `compare` reads.
    pub content: Bytes,
}

/// Why two things could not be compared.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CompareError {
    /// It is not kept, or not any more.
    #[error("trace {0} is not kept; the list of kept traces is at /api/v1/traces")]
    NotKept(TraceId),
    /// It cannot be read, or there is nothing in it.
    #[error("{0}")]
    Unreadable(String),
}

/// How much of the room for evidence is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Room {
    /// Bytes of kept traces.
    pub bytes: u64,
    /// Bytes there are.
    pub limit_bytes: u64,
    /// Traces that found no room.
    pub turned_away: u64,
}

/// The judge did not answer in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the analysis is busy; ask again in a second")]
pub struct Busy;

/// Provides what is shown beyond verdicts.
pub trait Evidence: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Tells when there is a new board, and when it is over.
    fn beats(&self) -> watch::Receiver<Beat>;

    /// What is normal for one operation; `None` if there is none of that name.
    ///
    /// # Errors
    /// If the analysis does not answer in time.
    fn operation(&self, operation: &OperationName) -> Result<Option<OperationDetail>, Busy>;

    /// Kept traces: all, or those of one incident.
    fn kept(&self, incident: Option<u64>) -> Vec<KeptTrace>;

    /// A kept trace, taken apart.
    fn trace(&self, trace: TraceId) -> Option<TraceDetail>;

    /// The normal trace to hold against a kept one.
    fn normal_for(&self, trace: TraceId) -> Option<TraceId>;

    /// What makes one kept trace slower than another.
    ///
    /// # Errors
    /// If one of them is not kept.
    fn compare_kept(&self, baseline: TraceId, spiked: TraceId) -> Result<Comparison, CompareError>;

    /// What makes one recording slower than another.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn compare_uploads(&self, baseline: Upload, spiked: Upload)
    -> Result<Comparison, CompareError>;

    /// How much of the room for evidence is in use.
    fn room(&self) -> Room;
}
