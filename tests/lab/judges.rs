//! Who is asked for a verdict: laghound's engine, and whatever else takes the same spans.
//!
//! What they say is put in plain words here, times in seconds from the start of the run, so that
//! scoring knows no engine.

use std::sync::Arc;

use laghound::engine::verdict::{Event, Incident, Suspect};
use laghound::engine::{Engine, EngineParams};
use laghound::model::{Interner, SpanRecord, Timestamp};

use crate::rivals::{Rival, Rule};

/// Seconds are counted from here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) origin: Timestamp,
}

impl Clock {
    pub(crate) fn seconds(self, time: Timestamp) -> f64 {
        (time.0 as f64 - self.origin.0 as f64) / 1e9
    }
}

/// Somebody who can be made a judge.
#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) method: Method,
}

#[derive(Clone, Debug)]
pub(crate) enum Method {
    Laghound(Box<EngineParams>),
    Rival(Rule),
}

impl Contestant {
    pub(crate) fn laghound(name: &str, params: EngineParams) -> Contestant {
        Contestant { name: name.to_owned(), method: Method::Laghound(Box::new(params)) }
    }

    /// The three simple rules.
    pub(crate) fn rivals() -> [Contestant; 3] {
        let rival =
            |name: &str, rule| Contestant { name: name.to_owned(), method: Method::Rival(rule) };
        [
            rival("p99 over a threshold", Rule::Percentile),
            rival("EWMA plus three deviations", Rule::Ewma),
            rival("self-time over its p99", Rule::SelfTime),
        ]
    }

    pub(crate) fn judge(&self, names: &Arc<Interner>, clock: Clock) -> Box<dyn Judge> {
        let names = Arc::clone(names);
        match &self.method {
            Method::Laghound(params) => {
                Box::new(Laghound { engine: Engine::new(**params, names, 1), clock })
            }
            Method::Rival(rule) => Box::new(Rival::new(*rule, names, clock)),
        }
    }
}

/// Takes spans as they arrive and says who is slow.
pub(crate) trait Judge {
    fn take(&mut self, spans: &[SpanRecord], now: Timestamp);
    /// Lets time pass; what is new.
    fn tick(&mut self, now: Timestamp) -> Vec<Said>;
    /// The stream has ended.
    fn finish(&mut self, now: Timestamp) -> Vec<Said> {
        self.tick(now)
    }
    /// The incidents that are open.
    fn standing(&self) -> Vec<Verdict>;
}

/// What a judge did at a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Opened,
    Changed,
    Closed,
}

/// One statement.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Seconds of arrival time at which it was said.
    pub(crate) at: f64,
    pub(crate) step: Step,
    pub(crate) verdict: Verdict,
}

/// An incident as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) id: u64,
    /// Event time, seconds from the start of the run.
    pub(crate) start: f64,
    pub(crate) detected: f64,
    pub(crate) excess: f64,
    pub(crate) unexplained: f64,
    /// Entries that are slower: what, by how much, from and to what.
    pub(crate) entries: Vec<(String, f64, f64, f64)>,
    pub(crate) suspects: Vec<Named>,
    /// How sure the judge is of the first, 0 to 1, if it says so.
    pub(crate) confidence: Option<f64>,
}

/// A suspect.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) service: String,
    pub(crate) kind: &'static str,
    pub(crate) operation: String,
    pub(crate) reason: &'static str,
    pub(crate) pattern: &'static str,
    /// Attribute, value, share of the excess.
    pub(crate) where_: Option<(String, String, f64)>,
    pub(crate) score: f64,
    pub(crate) excess: f64,
    pub(crate) baseline: f64,
    pub(crate) recent: f64,
    pub(crate) calls: u64,
}

/// laghound itself.
struct Laghound {
    engine: Engine,
    clock: Clock,
}

impl Judge for Laghound {
    fn take(&mut self, spans: &[SpanRecord], now: Timestamp) {
        self.engine.ingest(spans, now);
    }

    fn tick(&mut self, now: Timestamp) -> Vec<Said> {
        let events = self.engine.tick(now);
        said(events, now, self.clock)
    }

    fn finish(&mut self, now: Timestamp) -> Vec<Said> {
        let events = self.engine.finish(now);
        said(events, now, self.clock)
    }

    fn standing(&self) -> Vec<Verdict> {
        let open = self.engine.board().open;
        open.iter().map(|incident| verdict(incident, self.clock)).collect()
    }
}

fn said(events: Vec<Event>, now: Timestamp, clock: Clock) -> Vec<Said> {
    let said = |event| {
        let (step, incident) = match event {
            Event::Opened(incident) => (Step::Opened, incident),
            Event::SuspectChanged { incident, .. } => (Step::Changed, incident),
            Event::Closed(incident) => (Step::Closed, incident),
        };
        Said { at: clock.seconds(now), step, verdict: verdict(&incident, clock) }
    };
    events.into_iter().map(said).collect()
}

fn verdict(incident: &Incident, clock: Clock) -> Verdict {
    let entry = |of: &laghound::engine::verdict::EntryImpact| {
        let name = format!("{} {}", of.service, of.operation);
        (name, of.excess_seconds, of.baseline_seconds, of.recent_seconds)
    };
    Verdict {
        id: incident.id,
        start: clock.seconds(incident.start),
        detected: clock.seconds(incident.detected),
        excess: incident.excess_seconds,
        unexplained: incident.unexplained_share,
        entries: incident.entries.iter().map(entry).collect(),
        suspects: incident.suspects.iter().map(named).collect(),
        confidence: Some(incident.confidence),
    }
}

fn named(suspect: &Suspect) -> Named {
    let where_ = suspect.where_.as_ref();
    Named {
        service: suspect.service.to_string(),
        kind: suspect.kind.as_str(),
        operation: suspect.operation.to_string(),
        reason: suspect.reason.as_str(),
        pattern: suspect.pattern.as_str(),
        where_: where_.map(|w| (w.attribute.to_string(), w.value.to_string(), w.share)),
        score: suspect.score,
        excess: suspect.excess_seconds,
        baseline: suspect.baseline_seconds,
        recent: suspect.recent_seconds,
        calls: suspect.calls,
    }
}
