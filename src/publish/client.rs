//! What `/api/v1` answers, as a client reads it: the parts that a terminal shows.
//!
//! A client may be older or newer than the server, so fields that are not known are passed over and those that
//! came later may be missing. Nothing is asked for here; text is made of it in [`client_text`](super::client_text).

use serde::Deserialize;

/// `/api/v1/now`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Now {
    /// Up to when was judged.
    pub at: Option<String>,
    /// Too little was seen for any verdict.
    pub learning: bool,
    /// The server's time.
    pub now: String,
    /// It takes spans.
    pub ready: bool,
    /// Open incidents.
    pub incidents: Vec<Incident>,
    /// How many are over and still known.
    pub past_incidents: u64,
    /// The newest of these.
    pub last_incident: Option<Incident>,
    /// How far learning is.
    pub operations: Learned,
    /// What came in.
    pub intake: Intake,
    /// How much memory it takes.
    pub memory: Memory,
}

/// How many operations are known, and of how many it is known what is normal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub struct Learned {
    /// Seen lately.
    pub known: u64,
    /// With a baseline.
    pub learned: u64,
}

/// What became of the spans.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub struct Intake {
    /// Accepted since the start.
    pub accepted_spans: u64,
    /// Of these, in traces that are being put together.
    pub pending_spans: u64,
    /// Of these, not analyzed.
    pub dropped_spans: u64,
    /// Not accepted.
    pub refused_spans: u64,
}

/// Bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub struct Memory {
    /// In use.
    pub used_bytes: u64,
    /// That may be.
    pub limit_bytes: u64,
}

/// An incident.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: u64,
    /// When it began.
    pub start: String,
    /// When it was noticed.
    pub detected: String,
    /// When it was over.
    pub end: Option<String>,
    /// Seconds above expectation.
    pub excess_seconds: f64,
    /// The share of them that nobody has.
    pub unexplained_share: f64,
    /// How likely it is that the first suspect is right.
    pub confidence: f64,
    /// What got slower.
    pub entries: Vec<Entry>,
    /// Who made it so, by rank.
    pub suspects: Vec<Suspect>,
    /// Who is slow only because of them, by seconds.
    pub impacted: Vec<Impacted>,
    /// All of it in a sentence.
    pub sentence: String,
}

/// A service that is slow because it waits.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Impacted {
    /// Its name.
    pub service: String,
    /// Seconds that it waited longer.
    pub excess_seconds: f64,
}

/// An entry operation that got slower.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Entry {
    /// Its service.
    pub service: String,
    /// Its name.
    pub operation: String,
    /// Seconds above expectation.
    pub excess_seconds: f64,
    /// Mean seconds of a request, learned.
    pub baseline_seconds: f64,
    /// The same now.
    pub recent_seconds: f64,
}

/// A suspect.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Suspect {
    /// 1 is the first.
    pub rank: u64,
    /// Whose owner to page.
    pub service: String,
    /// What that is.
    pub kind: String,
    /// The operation that carries most.
    pub operation: String,
    /// Share of the excess.
    pub score: f64,
    /// How it costs more.
    pub reason: String,
    /// How many calls are slow.
    pub pattern: String,
    /// Where the slow calls are.
    #[serde(rename = "where")]
    pub place: Option<Place>,
    /// Mean seconds of a call, learned.
    pub baseline_seconds: f64,
    /// The same now.
    pub recent_seconds: f64,
    /// Calls.
    pub calls: u64,
}

/// The attribute value that singles out the slow calls.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Place {
    /// Its name.
    pub attribute: String,
    /// Its value.
    pub value: String,
    /// The share of the excess that has it.
    pub share: f64,
}

/// `/api/v1/incidents/{id}`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct IncidentDocument {
    /// The incident.
    pub incident: Incident,
    /// What it rests on.
    pub evidence: Evidence,
    /// Where to go on from it.
    pub links: Links,
}

/// What an incident rests on.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Evidence {
    /// Each suspect's self-time, normal and now.
    pub distributions: Vec<Distributions>,
    /// Traces that show it.
    pub traces: Vec<Kept>,
}

/// Self-time of a suspect's operation.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Distributions {
    /// The suspect.
    pub service: String,
    /// Learned.
    pub baseline: Distribution,
    /// Since it began.
    pub recent: Distribution,
    /// From where on a call is slow.
    pub threshold_seconds: Option<f64>,
}

/// A distribution.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Distribution {
    /// Calls.
    pub count: u64,
    /// Their quantiles.
    pub quantiles: Option<Quantiles>,
}

/// Quantiles in seconds.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
pub struct Quantiles {
    /// Half of the calls take less.
    #[serde(rename = "0.5")]
    pub median: f64,
    /// 99 of 100 take less.
    #[serde(rename = "0.99")]
    pub percentile: f64,
}

/// A kept trace.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Kept {
    /// Its id.
    pub trace_id: String,
    /// What it is kept as.
    pub role: String,
    /// The service it entered by.
    pub service: String,
    /// The operation it entered by.
    pub operation: String,
    /// How long that took.
    pub duration_seconds: f64,
    /// Where the trace backend has it.
    pub url: Option<String>,
}

/// Where to go on.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Links {
    /// The page.
    pub page: Option<String>,
    /// Prometheus.
    pub prometheus: Option<String>,
}

/// `/api/v1/operations`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Operations {
    /// They.
    pub operations: Vec<Operation>,
}

/// An operation and what is normal for it.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Operation {
    /// Its service.
    pub service: String,
    /// Its name.
    pub operation: String,
    /// Spans judged.
    pub spans: u64,
    /// Spans that were slow.
    pub flagged: u64,
    /// Learned self-time.
    pub baseline_seconds: Option<Quantiles>,
    /// The same over the last minute.
    pub recent_seconds: Option<Quantiles>,
}

/// Why there is no answer: `application/problem+json`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub detail: String,
}
