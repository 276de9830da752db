//! Drives the engine from recorded messages, in event time: `now` comes from the recording.
//!
//! A message arrives when its last span ended, so a recording that was written as it arrived is
//! judged as it would have been live. One message may also hold everything, in any order.

use std::sync::Arc;

use crate::engine::account::Account;
use crate::engine::verdict::{Event, Incident};
use crate::engine::{Engine, EngineParams};
use crate::model::{Interner, Nanos, SpanRecord, Timestamp};

/// The engine over a recording.
pub struct Replay {
    engine: Engine,
    now: Timestamp,
    from: Option<Timestamp>,
    ends: Vec<Timestamp>,
}

/// One span in a hundred may end this long after all others; what ends later has a broken clock and
/// does not move time on.
const MAX_AHEAD: Nanos = Nanos::from_secs(3600);

impl Replay {
    /// An engine that knows nothing. The names of each message are asked for anew, as a decoder does.
    pub fn new(params: EngineParams, names: Arc<Interner>, shards: usize) -> Replay {
        Replay {
            engine: Engine::new(params, names, shards).forgetting(),
            now: Timestamp::default(),
            from: None,
            ends: Vec::new(),
        }
    }

    /// Takes in one message and lets time pass to where it ends.
    pub fn message(&mut self, records: &[SpanRecord]) -> Vec<Event> {
        self.ends.clear();
        self.ends.extend(records.iter().map(|record| record.span.end));
        self.ends.sort_unstable();
        let Some(&nearly_last) = self.ends.get((self.ends.len().saturating_sub(1)) * 99 / 100)
        else {
            return Vec::new();
        };
        let sane = self.ends.partition_point(|&end| end <= nearly_last + MAX_AHEAD);
        self.now = self.now.max(self.ends[sane - 1]);
        let first = records.iter().map(|record| record.span.start).min();
        self.from = self.from.into_iter().chain(first).min();
        self.engine.ingest(records, self.now);
        self.engine.tick(self.now)
    }

    /// The recording has ended.
    pub fn finish(&mut self) -> Vec<Event> {
        self.engine.finish(self.now)
    }

    /// All incidents so far, the oldest first.
    pub fn incidents(&self) -> Vec<Incident> {
        self.engine.incidents()
    }

    /// What became of the spans.
    pub fn account(&self) -> Account {
        self.engine.account()
    }

    /// The start of the earliest span and the time the recording has reached.
    pub fn range(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.from?, self.now))
    }

    /// The engine itself, for what is published beside incidents.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}
