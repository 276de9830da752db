//! The second table: each recording cut at the fault's start into two sets, compared as `laghound compare`
//! does it. A trace belongs to the side in which it starts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use laghound::engine::cohort::{Cohorts, SetVerdict, TraceSpans};
use laghound::model::{InternLimits, Interner, Span, Timestamp, TraceId};
use laghound::otlp::file::{ReadLimits, Reader};
use laghound::otlp::{AttributeRules, Interest};

use super::Label;

type Traces = BTreeMap<TraceId, Vec<Span>>;

/// Compares one recording's two sides.
pub(super) fn compare(
    file: &Path,
    label: &Label,
) -> Result<SetVerdict, Box<dyn std::error::Error>> {
    let names = Arc::new(Interner::new(InternLimits::default()));
    let rules = Arc::new(AttributeRules::new(&Interest::default(), &names));
    let reader = Reader::open(file, Arc::clone(&names), rules, ReadLimits::default())?;
    let mut traces = Traces::new();
    for message in reader {
        for record in message?.batch.spans {
            traces.entry(record.trace).or_default().push(record.span);
        }
    }
    let start = |spans: &[Span]| spans.iter().map(|span| span.start).min().unwrap_or_default();
    let seconds = |at: Timestamp| at.as_secs_f64();
    let side = |from: f64, to: f64| -> Vec<TraceSpans<'_>> {
        let inside = |spans: &[Span]| (from..to).contains(&seconds(start(spans)));
        let chosen = traces.iter().filter(|(_, spans)| inside(spans));
        chosen.map(|(&trace, spans)| TraceSpans { trace, spans }).collect()
    };
    let (baseline, spiked) =
        (side(0.0, label.fault_start), side(label.fault_start, label.fault_end));
    Ok(Cohorts::new(&names, &baseline, &spiked).verdict())
}

/// The table and how many are right.
#[derive(Default)]
pub(super) struct Table {
    rows: String,
    files: usize,
    right: usize,
}

impl Table {
    pub(super) fn add(&mut self, file: &str, label: &Label, verdict: &SetVerdict) {
        let first = verdict.suspects.first().filter(|_| verdict.hot);
        let right = first.is_some_and(|first| *first.service == *label.root_cause);
        let said = match first {
            Some(_) if right => "yes".to_owned(),
            Some(first) => format!("no: {}", first.service),
            None => "no: nobody".to_owned(),
        };
        let share = first.map_or(0.0, |first| 100.0 * first.score);
        let name = file.split('.').next().unwrap_or(file);
        let Label { fault_type, root_cause, .. } = label;
        self.rows +=
            &format!("| {name} | {fault_type} of {root_cause} | {said} | {share:.0} % |\n");
        self.files += 1;
        self.right += usize::from(right);
    }

    pub(super) fn finish(self) -> String {
        let Table { rows, files, right } = self;
        format!(
            "| recording, before against during | fault | first named right | share |\n\
             |---|---|---|---|\n{rows}\n{files} faults: {right} named right.\n"
        )
    }
}
