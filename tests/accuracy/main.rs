//! The real incidents of a folder, replayed and held against their labels: a table in Markdown.
//!
//! `cargo run --profile fast --example accuracy -- FOLDER`, where FOLDER holds recordings and a
//! `labels.json` (`{"file": {"fault_start": seconds, "fault_end": seconds, "root_cause": "service"}}`).
//! Every recording is read and judged as `laghound replay` does it, with the default settings. Times
//! are event time. This file measures; it sets no threshold. Recordings whose normal stretch is too
//! short to learn from are left to `compare`.

mod cohorts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use laghound::compare::verdict::Verdict;
use laghound::engine::EngineParams;
use laghound::engine::verdict::Event;
use laghound::live::replay::Replay;
use laghound::model::{InternLimits, Interner};
use laghound::otlp::file::{ReadLimits, Reader};
use laghound::otlp::{AttributeRules, Interest};
use serde::Deserialize;

/// What is known of a recording.
#[derive(Deserialize)]
struct Label {
    fault_start: f64,
    fault_end: f64,
    root_cause: String,
    fault_type: String,
    #[serde(default)]
    baseline_seconds: f64,
}

/// Shorter normal stretches cannot be learned from in time: the first verdict takes a minute.
const MIN_BASELINE_SECONDS: f64 = 120.0;

/// What came of a recording.
struct Outcome {
    /// Seconds from the fault's start to the first verdict in it, and whom it named.
    first: Option<(f64, String)>,
    /// Who was first when the fault ended.
    last: Option<String>,
    /// Incidents opened before the fault.
    false_alarms: usize,
}

fn main() -> ExitCode {
    let folder =
        std::env::args_os().nth(1).map_or_else(|| "../shared/data/rca".into(), PathBuf::from);
    match run(&folder) {
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}: {error}", folder.display());
            ExitCode::from(2)
        }
    }
}

fn run(folder: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let labels = std::fs::read_to_string(folder.join("labels.json"))?;
    let labels: BTreeMap<String, Label> = serde_json::from_str(&labels)?;
    let mut table = Table::default();
    for (file, label) in &labels {
        if label.baseline_seconds >= MIN_BASELINE_SECONDS {
            table.add(file, label, &replay(&folder.join(file), label)?);
        }
    }
    let mut sets = cohorts::Table::default();
    for (file, label) in &labels {
        let recording = cohorts::Recording::read(&folder.join(file))?;
        sets.add(file, label, &recording.fault(label)?, &recording.halves(label)?);
    }
    let alike = single_traces(&folder.join("../traces"))?;
    Ok(format!("{}\n{}\n{alike}", table.finish(), sets.finish()))
}

/// Every trace of a folder beside, if there is one, against itself.
fn single_traces(folder: &Path) -> Result<String, Box<dyn std::error::Error>> {
    if !folder.is_dir() {
        return Ok(format!(
            "{}: not there, no traces compared with themselves.\n",
            folder.display()
        ));
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    files.sort();
    let mut differing = Vec::new();
    for file in &files {
        let comparison = cohorts::with_itself(file)?;
        if comparison.verdict != Verdict::NoDifference || comparison.first().is_some() {
            differing.push(file.display().to_string());
        }
    }
    Ok(format!(
        "{} files of traces compared with themselves: {} differ. {}\n",
        files.len(),
        differing.len(),
        differing.join(" ")
    ))
}

fn replay(file: &Path, label: &Label) -> Result<Outcome, Box<dyn std::error::Error>> {
    let names = Arc::new(Interner::new(InternLimits::default()));
    let rules = Arc::new(AttributeRules::new(&Interest::default(), &names));
    let reader = Reader::open(file, Arc::clone(&names), rules, ReadLimits::default())?;
    let mut replay = Replay::new(EngineParams::default(), names, 1);
    let mut outcome = Outcome { first: None, last: None, false_alarms: 0 };
    for message in reader {
        let events = replay.message(&message?.batch.spans);
        let now = replay.range().map_or(0.0, |(_, to)| to.as_secs_f64());
        outcome.note(&events, label, now, &replay);
    }
    let events = replay.finish();
    outcome.note(&events, label, label.fault_start, &replay);
    if !replay.account().balances() {
        return Err(format!("{}: spans are missing from the account", file.display()).into());
    }
    Ok(outcome)
}

impl Outcome {
    fn note(&mut self, events: &[Event], label: &Label, now: f64, replay: &Replay) {
        for event in events {
            let Event::Opened(incident) = event else { continue };
            let delay = incident.detected.as_secs_f64() - label.fault_start;
            if delay < 0.0 {
                self.false_alarms += 1;
            } else if self.first.is_none() {
                let named = incident.suspects.first().map(|suspect| suspect.service.to_string());
                self.first = Some((delay, named.unwrap_or_default()));
            }
        }
        if (label.fault_start..=label.fault_end + 30.0).contains(&now) {
            let open = replay.incidents().into_iter().find(|incident| incident.end.is_none());
            let named =
                open.and_then(|incident| Some(incident.suspects.first()?.service.to_string()));
            self.last = named.or(self.last.take());
        }
    }
}

#[derive(Default)]
struct Table {
    rows: String,
    files: usize,
    first_right: usize,
    last_right: usize,
    false_alarms: usize,
    delays: Vec<f64>,
}

impl Table {
    fn add(&mut self, file: &str, label: &Label, outcome: &Outcome) {
        let is_right = |named: &str| named == label.root_cause;
        let verdict = |named: &str| {
            if is_right(named) { "yes".to_owned() } else { format!("no: {named}") }
        };
        let (delay, first) = match &outcome.first {
            Some((delay, named)) => (format!("{delay:.0} s"), verdict(named)),
            None => ("-".to_owned(), "not detected".to_owned()),
        };
        let last = outcome.last.as_deref().map_or("-".to_owned(), verdict);
        let name = file.split('.').next().unwrap_or(file);
        let Label { fault_type, root_cause, .. } = label;
        let alarms = outcome.false_alarms;
        self.rows += &format!(
            "| {name} | {fault_type} of {root_cause} | {delay} | {first} | {last} | {alarms} |\n"
        );
        self.files += 1;
        self.false_alarms += alarms;
        self.delays.extend(outcome.first.as_ref().map(|(delay, _)| *delay));
        let first = outcome.first.as_ref().map(|(_, named)| named.as_str());
        self.first_right += usize::from(first.is_some_and(is_right));
        self.last_right += usize::from(outcome.last.as_deref().is_some_and(is_right));
    }

    fn finish(mut self) -> String {
        self.delays.sort_by(f64::total_cmp);
        let median = self.delays.get(self.delays.len() / 2).copied().unwrap_or(f64::NAN);
        let longest = self.delays.last().copied().unwrap_or(f64::NAN);
        format!(
            "| recording | fault | delay | first named right | right at the end | false alarms before |\n\
             |---|---|---|---|---|---|\n{}\n\
             {} faults: {} detected, {} right when first published, {} right at the end; \
             delay {median:.0} s (median), {longest:.0} s (longest); {} false alarms before the fault.\n",
            self.rows,
            self.files,
            self.delays.len(),
            self.first_right,
            self.last_right,
            self.false_alarms,
        )
    }
}
