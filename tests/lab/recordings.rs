//! The real incidents of a folder, for every contestant: replayed as `laghound replay` does it and held
//! against their labels.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use laghound::model::{InternLimits, Interner, Timestamp};
use laghound::otlp::file::{ReadLimits, Reader};
use laghound::otlp::{AttributeRules, Interest};
use serde::Deserialize;

use crate::judges::{Clock, Contestant, Judge, Said, Step, Verdict};
use crate::table::{percent, quantile};

type Failure = Box<dyn std::error::Error>;

/// What is known of a recording. Times are seconds since the Unix epoch.
#[derive(Deserialize)]
struct Label {
    fault_start: f64,
    fault_end: f64,
    root_cause: String,
    #[serde(default)]
    baseline_seconds: f64,
}

/// Shorter normal stretches cannot be learned from in time.
const MIN_BASELINE_SECONDS: f64 = 120.0;
/// Seconds after the fault in which what stands is still about it.
const GRACE: f64 = 30.0;

/// What one contestant made of one recording.
#[derive(Default)]
struct Result {
    /// Seconds from the fault's start to the first verdict, and whether it was right.
    first: Option<(f64, bool)>,
    /// The last first suspect while the fault lasted was right.
    end: bool,
    false_alarms: usize,
}

pub(crate) fn report(
    folder: &Path,
    contestants: &[Contestant],
) -> std::result::Result<String, Failure> {
    let labels = std::fs::read_to_string(folder.join("labels.json"))?;
    let labels: BTreeMap<String, Label> = serde_json::from_str(&labels)?;
    let mut results: Vec<Vec<Result>> = contestants.iter().map(|_| Vec::new()).collect();
    for (file, label) in &labels {
        if label.baseline_seconds >= MIN_BASELINE_SECONDS {
            let each = replay(&folder.join(file), label, contestants)?;
            for (all, result) in results.iter_mut().zip(each) {
                all.push(result);
            }
        }
    }
    let mut text = String::from(
        "| on recordings | faults | detected | first named right | right at the end | delay | longest | \
         false alarms before |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (contestant, results) in contestants.iter().zip(&results) {
        let count = |is: fn(&Result) -> bool| {
            let hits = results.iter().filter(|result| is(result)).count();
            percent(hits, results.len())
        };
        let delays: Vec<f64> = results.iter().filter_map(|r| Some(r.first?.0)).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.0} s | {:.0} s | {} |",
            contestant.name,
            results.len(),
            count(|result| result.first.is_some()),
            count(|result| result.first.is_some_and(|(_, right)| right)),
            count(|result| result.end),
            quantile(&delays, 0.5),
            quantile(&delays, 1.0),
            results.iter().map(|result| result.false_alarms).sum::<usize>(),
        );
    }
    Ok(text)
}

fn replay(
    file: &Path,
    label: &Label,
    contestants: &[Contestant],
) -> std::result::Result<Vec<Result>, Failure> {
    let names = Arc::new(Interner::new(InternLimits::default()));
    let rules = Arc::new(AttributeRules::new(&Interest::default(), &names));
    let reader = Reader::open(file, Arc::clone(&names), rules, ReadLimits::default())?;
    let clock = Clock { origin: Timestamp(0) };
    let mut judges: Vec<Box<dyn Judge>> =
        contestants.iter().map(|contestant| contestant.judge(&names, clock)).collect();
    let mut results: Vec<Result> = contestants.iter().map(|_| Result::default()).collect();
    let mut now = Timestamp(0);
    for message in reader {
        let spans = message?.batch.spans;
        now = spans.iter().map(|record| record.span.end).max().unwrap_or(now).max(now);
        for (judge, result) in judges.iter_mut().zip(&mut results) {
            judge.take(&spans, now);
            let said = judge.tick(now);
            result.note(&said, label);
            if (label.fault_start..=label.fault_end + GRACE).contains(&clock.seconds(now)) {
                result.stand(&judge.standing(), label);
            }
        }
    }
    for (judge, result) in judges.iter_mut().zip(&mut results) {
        result.note(&judge.finish(now), label);
        if clock.seconds(now) <= label.fault_end + GRACE {
            result.stand(&judge.standing(), label);
        }
    }
    Ok(results)
}

impl Result {
    fn note(&mut self, said: &[Said], label: &Label) {
        for said in said.iter().filter(|said| said.step == Step::Opened) {
            let delay = said.verdict.detected - label.fault_start;
            if delay < 0.0 {
                self.false_alarms += 1;
            } else if self.first.is_none() {
                self.first = Some((delay, is_right(&said.verdict, label)));
            }
        }
    }

    fn stand(&mut self, open: &[Verdict], label: &Label) {
        if let Some(verdict) = open.first() {
            self.end = is_right(verdict, label);
        }
    }
}

fn is_right(verdict: &Verdict, label: &Label) -> bool {
    verdict.suspects.first().is_some_and(|named| named.service == label.root_cause)
}
