//! Runs a scenario through the engine in event time and holds the verdicts to what was expected.
//!
//! `now` is the arrival of the batches; a tick comes every second of it, as it does in production.

use std::sync::Arc;

use laghound::engine::Engine;
use laghound::engine::params::EngineParams;
use laghound::engine::verdict::{Event, Incident, Suspect};
use laghound::model::{InternCache, InternLimits, Interner, Nanos, Timestamp};
use laghound::sim::{Scenario, to_records};

use super::{Case, Culprit, Expect};

const TICK: Nanos = Nanos::from_secs(1);
/// Ticks after the last batch: what is open closes, what is hot cools down.
const AFTERMATH: u64 = 60;

/// What the engine said in the course of a scenario.
pub(crate) struct Story {
    /// Each event with the time of the tick that brought it.
    pub(crate) events: Vec<(Timestamp, Event)>,
    /// The incidents open when the faults ended (the scenario, if there is none).
    pub(crate) open_at_end: Vec<Incident>,
    /// At the end a verdict was possible: silence meant something.
    pub(crate) learned: bool,
}

/// Runs a case and panics with the whole story when the verdict is not the expected one.
pub(super) fn check(case: &Case) {
    let story = run(&case.scenario);
    let result = match &case.expect {
        Expect::Quiet => quiet(&story),
        Expect::Names { faults, within } => named(&case.scenario, faults, *within, &story),
    };
    if let Err(wrong) = result {
        panic!("{}: {wrong}\n{}", case.name, tell(&case.scenario, &story));
    }
}

/// The scenario through an engine of two shards.
pub(crate) fn run(scenario: &Scenario) -> Story {
    let names = Arc::new(Interner::new(InternLimits::default()));
    let mut engine = Engine::new(EngineParams::default(), Arc::clone(&names), 2);
    let mut cache = InternCache::default();
    let fault_end = scenario.truths().iter().map(|truth| truth.to).min();
    let fault_end = fault_end.unwrap_or(scenario.start + scenario.duration);
    let mut story = Story { events: Vec::new(), open_at_end: Vec::new(), learned: false };
    let mut now = scenario.start;
    let tick = |engine: &mut Engine, story: &mut Story, now: Timestamp| {
        story.events.extend(engine.tick(now).into_iter().map(|event| (now, event)));
        if now >= fault_end && now < fault_end + TICK {
            story.open_at_end = engine.board().open.clone();
        }
    };
    for batch in scenario.batches().expect("the faults name what there is") {
        while now + TICK <= batch.arrival {
            now = now + TICK;
            tick(&mut engine, &mut story, now);
        }
        engine.ingest(&to_records(&mut cache, &names, &batch.spans), batch.arrival);
    }
    for _ in 0..AFTERMATH {
        now = now + TICK;
        tick(&mut engine, &mut story, now);
    }
    story.learned = !engine.board().learning;
    story.events.extend(engine.finish(now).into_iter().map(|event| (now, event)));
    story
}

fn quiet(story: &Story) -> Result<(), String> {
    if !story.learned {
        return Err("nothing was learned, so silence says nothing".into());
    }
    let opened = story.events.iter().find(|(_, event)| matches!(event, Event::Opened(_)));
    opened.map_or(Ok(()), |_| Err("an incident where nothing is wrong".into()))
}

fn named(
    scenario: &Scenario,
    faults: &[Culprit],
    within: Nanos,
    story: &Story,
) -> Result<(), String> {
    let truths = scenario.truths();
    let from = truths.iter().map(|truth| truth.from).min().expect("a fault to name");
    if story.events.iter().any(|(at, _)| *at < from) {
        return Err("an incident before the fault".into());
    }
    let right = |suspect: Option<&Suspect>| {
        suspect.is_some_and(|s| faults.iter().any(|culprit| is(culprit, s)))
    };
    let first = story.events.iter().find_map(|(at, event)| match event {
        Event::Opened(incident) | Event::SuspectChanged { incident, .. } => {
            right(incident.suspects.first()).then_some(*at)
        }
        Event::Closed(_) => None,
    });
    match first {
        None => return Err("never named".into()),
        Some(at) if at > from + within => {
            return Err(format!("named after {}, not within {within}", at.since(from)));
        }
        Some(_) => {}
    }
    let open = &story.open_at_end;
    if !open.iter().any(|incident| right(incident.suspects.first())) {
        return Err("not the first suspect at the end of the fault".into());
    }
    for culprit in faults {
        let mut suspects = open.iter().flat_map(|incident| &incident.suspects);
        let Some(suspect) = suspects.find(|suspect| is(culprit, suspect)) else {
            return Err(format!("{:?} is not among the suspects", culprit.names));
        };
        evidence(culprit, suspect)?;
    }
    match story.events.last() {
        Some((_, Event::Closed(_))) => Ok(()),
        _ => Err("the incident is not over after the fault".into()),
    }
}

fn is(culprit: &Culprit, suspect: &Suspect) -> bool {
    culprit.is(&suspect.service, suspect.kind.as_str(), suspect.reason.as_str())
}

/// What else the suspect must say.
fn evidence(culprit: &Culprit, suspect: &Suspect) -> Result<(), String> {
    if let Some(pattern) = culprit.pattern
        && suspect.pattern.as_str() != pattern
    {
        return Err(format!("pattern {}, not {pattern}", suspect.pattern.as_str()));
    }
    if let Some((attribute, value)) = culprit.singled_out {
        let said = suspect.where_.as_ref().map(|w| (&*w.attribute, &*w.value));
        if said != Some((attribute, value)) {
            return Err(format!("where is {said:?}, not {attribute}={value}"));
        }
    }
    Ok(())
}

/// The story in words, times counted from the start of the scenario.
fn tell(scenario: &Scenario, story: &Story) -> String {
    let mut told = String::new();
    let mut line = |when: &str, incident: &Incident| {
        told += &format!(
            "{when} incident {} since {}: {:.2} s of excess, {:.0} % unexplained\n",
            incident.id,
            incident.start.since(scenario.start),
            incident.excess_seconds,
            100.0 * incident.unexplained_share,
        );
        for suspect in &incident.suspects {
            told += &format!(
                "    {:>3.0} % {} {} by {} ({}), {}\n",
                100.0 * suspect.score,
                suspect.kind.as_str(),
                suspect.service,
                suspect.reason.as_str(),
                suspect.pattern.as_str(),
                suspect.operation,
            );
        }
    };
    for (at, event) in &story.events {
        let at = at.since(scenario.start);
        match event {
            Event::Opened(incident) => line(&format!("{at} opened"), incident),
            Event::SuspectChanged { incident, was } => {
                line(&format!("{at} no longer {was}"), incident);
            }
            Event::Closed(incident) => line(&format!("{at} closed"), incident),
        }
    }
    for incident in &story.open_at_end {
        line("at the end of the faults", incident);
    }
    told
}
