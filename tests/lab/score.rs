//! What was said held against what is true.

use crate::judges::{Named, Said, Step, Verdict};
use crate::run::{Outcome, Story};
use crate::sim::truth::{Culprit, Truth};

/// Seconds after a fault's end in which an incident may still be about it.
const GRACE: f64 = 60.0;
/// Seconds at the beginning in which nothing can be said: no quiet time.
const LEARNING: f64 = 120.0;

/// A case's marks.
#[derive(Clone, Debug)]
pub(crate) struct Score {
    pub(crate) class: &'static str,
    pub(crate) name: String,
    pub(crate) quiet: bool,
    /// Measured: the rise of the mean of the entry that suffers most, and over all affected entries.
    pub(crate) rise: f64,
    pub(crate) overall: f64,
    /// Requests a second that are traced.
    pub(crate) rate: f64,
    pub(crate) services: usize,
    /// Seconds from when the fault can be noticed to the first verdict about it, in event time.
    pub(crate) delay: Option<f64>,
    /// The same to the first verdict that names a culprit first.
    pub(crate) right_delay: Option<f64>,
    /// Position of the first right suspect, from 1, when first published and when the fault ended.
    pub(crate) first: Option<usize>,
    pub(crate) end: Option<usize>,
    /// Every culprit is among as many suspects as there are culprits and two more.
    pub(crate) all_named: bool,
    /// A service that only suffers stood first when the fault ended.
    pub(crate) impacted_first: bool,
    /// Incidents in the fault's time that never had a culprit first.
    pub(crate) beside: usize,
    /// Incidents in quiet time.
    pub(crate) false_alarms: usize,
    pub(crate) quiet_seconds: f64,
    pub(crate) where_: Mark,
    pub(crate) pattern: Mark,
    pub(crate) reason: Mark,
    /// First suspects with a confidence: it, and whether they were right.
    pub(crate) confidence: Vec<(f64, bool)>,
}

/// Whether a further statement about the right suspect is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    /// There was nothing to say, or no right suspect to say it of.
    None,
    Right,
    Wrong,
    /// Nothing was said where something should have been.
    Missing,
    /// Something was said where there was nothing to say.
    Unasked,
}

impl Score {
    /// Quiet time of all services together, in days.
    pub(crate) fn service_days(&self) -> f64 {
        self.quiet_seconds * self.services as f64 / 86_400.0
    }
}

/// Scores what judge number `judge` said.
pub(crate) fn score(outcome: &Outcome, judge: usize) -> Score {
    let (truth, story) = (&outcome.built.truth, &outcome.stories[judge]);
    let scenario = &outcome.built.scenario;
    let window = Window::of(truth, scenario.length);
    let class = outcome.case.class;
    let (delay, first) = match detection(story, truth, &window) {
        Some((at, verdict)) => {
            (Some((at - window.noticeable).max(0.0)), rank(truth, &verdict.suspects))
        }
        None => (None, None),
    };
    let last = last(story, &window);
    let suspects = last.as_ref().map_or(&[][..], |verdict| &verdict.suspects);
    let end = rank(truth, suspects);
    let right = end.map(|rank| &suspects[rank - 1]);
    let culprit = right.and_then(|named| truth.culprits.iter().find(|c| is(c, named)));
    let about = right.zip(culprit);
    let leader = suspects.first();
    let all = truth.culprits.iter().all(|culprit| {
        suspects.iter().take(truth.culprits.len() + 2).any(|named| is(culprit, named))
    });
    Score {
        class: class.name,
        name: outcome.case.name(),
        quiet: class.quiet,
        rise: outcome.effect.largest(scenario.least_requests()),
        overall: outcome.effect.overall(),
        rate: scenario.system.rate * scenario.sampling,
        services: scenario.system.services.len(),
        delay,
        right_delay: right_delay(story, truth, &window),
        first,
        end,
        all_named: all,
        impacted_first: end != Some(1)
            && leader.is_some_and(|named| truth.impacted.contains(&named.service)),
        beside: beside(story, truth, &window),
        false_alarms: false_alarms(story, truth, &window),
        quiet_seconds: window.quiet(),
        where_: about.map_or(Mark::None, |(named, culprit)| where_mark(culprit, named)),
        pattern: about.map_or(Mark::None, |(named, culprit)| match culprit.pattern {
            None => Mark::None,
            Some(pattern) if pattern == named.pattern => Mark::Right,
            Some(_) => Mark::Wrong,
        }),
        reason: about.map_or(Mark::None, |(named, culprit)| {
            if culprit.reasons.contains(&named.reason) { Mark::Right } else { Mark::Wrong }
        }),
        confidence: confidences(story, truth, &window),
    }
}

/// The moments of a run, in seconds.
struct Window {
    /// No fault at all: everything is quiet time.
    quiet: bool,
    from: f64,
    noticeable: f64,
    to: f64,
    length: f64,
}

impl Window {
    fn of(truth: &Truth, length: u64) -> Window {
        let seconds = |time: u64| time as f64 / 1e9;
        Window {
            quiet: truth.culprits.is_empty(),
            from: seconds(truth.from),
            noticeable: seconds(truth.noticeable),
            to: seconds(truth.to),
            length: seconds(length),
        }
    }

    /// Whether an incident of this time may be about the fault.
    fn may_be_about(&self, time: f64) -> bool {
        !self.quiet && time >= self.from && time < self.to + GRACE
    }

    /// Seconds in which nothing should be said.
    fn quiet(&self) -> f64 {
        let all = self.length - LEARNING;
        if self.quiet {
            all
        } else {
            (self.from - LEARNING).max(0.0) + (self.length - self.to - GRACE).max(0.0)
        }
    }
}

pub(crate) fn is(culprit: &Culprit, named: &Named) -> bool {
    // A rule that tells no kinds is right with the name.
    culprit.accepts(&named.service, named.kind)
        || (named.kind == "any" && culprit.names.iter().any(|(name, _)| *name == named.service))
}

/// Position of the first suspect that is a culprit, from 1.
pub(crate) fn rank(truth: &Truth, suspects: &[Named]) -> Option<usize> {
    let right = |named: &Named| truth.culprits.iter().any(|culprit| is(culprit, named));
    suspects.iter().position(right).map(|at| at + 1)
}

/// The first verdict in the fault's time: when, and what it was. An incident that was open before
/// counts from when a culprit comes first.
fn detection<'a>(story: &'a Story, truth: &Truth, window: &Window) -> Option<(f64, &'a Verdict)> {
    let about = story.said.iter().find(|said| match said.step {
        Step::Opened => window.may_be_about(said.verdict.detected),
        Step::Changed => {
            window.may_be_about(said.at) && rank(truth, &said.verdict.suspects) == Some(1)
        }
        Step::Closed => false,
    })?;
    Some((event_time(about), &about.verdict))
}

/// When it was said, in event time.
fn event_time(said: &Said) -> f64 {
    match said.step {
        Step::Opened => said.verdict.detected,
        // A change comes with the slice that ended about this much before.
        _ => said.at - SETTLE,
    }
}

/// Seconds from the end of a slice to its verdict.
const SETTLE: f64 = 6.0;

fn right_delay(story: &Story, truth: &Truth, window: &Window) -> Option<f64> {
    let right = story.said.iter().find(|said| {
        said.step != Step::Closed
            && window.may_be_about(event_time(said))
            && rank(truth, &said.verdict.suspects) == Some(1)
    })?;
    Some((event_time(right) - window.noticeable).max(0.0))
}

/// What stood when the fault ended: the incident with the largest excess; if none was open any more,
/// the last that was about the fault's time.
fn last(story: &Story, window: &Window) -> Option<Verdict> {
    let open = story.at_end.iter().max_by(|one, two| one.excess.total_cmp(&two.excess));
    if let Some(open) = open {
        return Some(open.clone());
    }
    let about = |said: &&Said| window.may_be_about(said.verdict.detected);
    story.said.iter().rfind(about).map(|said| said.verdict.clone())
}

/// Every incident: its id, when it was detected, and the statements about it.
fn incidents(story: &Story) -> Vec<(f64, Vec<&Said>)> {
    let opened = story.said.iter().filter(|said| said.step == Step::Opened);
    let of = |id: u64| story.said.iter().filter(|said| said.verdict.id == id).collect();
    opened.map(|said| (said.verdict.detected, of(said.verdict.id))).collect()
}

fn beside(story: &Story, truth: &Truth, window: &Window) -> usize {
    let wrong = |(at, said): &(f64, Vec<&Said>)| {
        window.may_be_about(*at)
            && !said.iter().any(|said| rank(truth, &said.verdict.suspects) == Some(1))
    };
    incidents(story).iter().filter(|incident| wrong(incident)).count()
}

fn false_alarms(story: &Story, truth: &Truth, window: &Window) -> usize {
    let alarm = |(at, said): &(f64, Vec<&Said>)| {
        let leader = said.first().and_then(|said| said.verdict.suspects.first());
        let tolerated = leader.is_some_and(|named| truth.tolerated.contains(&named.service));
        !window.may_be_about(*at) && !tolerated
    };
    incidents(story).iter().filter(|incident| alarm(incident)).count()
}

fn where_mark(culprit: &Culprit, named: &Named) -> Mark {
    // The other end is how a link is told; it is not asked for of a service.
    let is_end = |attribute: &str| matches!(attribute, "from" | "to");
    let mut asked =
        culprit.wheres.iter().filter(|(name, _)| is_end(name) == (named.kind == "edge"));
    let some = asked.clone().next().is_some();
    match &named.where_ {
        None if some => Mark::Missing,
        None => Mark::None,
        Some((attribute, value, _)) if asked.any(|(a, v)| (a, v) == (attribute, value)) => {
            Mark::Right
        }
        Some(_) if some => Mark::Wrong,
        Some(_) => Mark::Unasked,
    }
}

fn confidences(story: &Story, truth: &Truth, window: &Window) -> Vec<(f64, bool)> {
    let published = story.said.iter().filter(|said| said.step != Step::Closed);
    let verdicts = published.filter_map(|said| {
        let about = window.may_be_about(event_time(said));
        let right = about && rank(truth, &said.verdict.suspects) == Some(1);
        Some((said.verdict.confidence?, right))
    });
    verdicts.collect()
}
