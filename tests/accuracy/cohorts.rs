//! The second table: each recording cut at the fault's start into two sets, compared as `laghound compare`
//! does it; and, for the error rate, what is said of normal stretches cut in two, where nothing is the
//! matter. A trace belongs to the side in which it starts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use laghound::compare::verdict::{Comparison, Verdict};
use laghound::compare::{Side, compare};
use laghound::model::{InternLimits, Interner, SpanRecord, TraceId};
use laghound::otlp::file::{ReadLimits, Reader};
use laghound::otlp::{AttributeRules, Interest};

use super::Label;

type Failure = Box<dyn std::error::Error>;

/// A recording's traces, with the second in which each starts.
pub(super) struct Recording {
    names: Arc<Interner>,
    traces: BTreeMap<TraceId, (f64, Vec<SpanRecord>)>,
}

impl Recording {
    pub(super) fn read(file: &Path) -> Result<Recording, Failure> {
        let names = Arc::new(Interner::new(InternLimits::default()));
        let rules = Arc::new(AttributeRules::new(&Interest::default(), &names));
        let reader = Reader::open(file, Arc::clone(&names), rules, ReadLimits::default())?;
        let mut traces: BTreeMap<TraceId, (f64, Vec<SpanRecord>)> = BTreeMap::new();
        for message in reader {
            for record in message?.batch.spans {
                let (start, spans) = traces.entry(record.trace).or_insert((f64::MAX, Vec::new()));
                *start = start.min(record.span.start.as_secs_f64());
                spans.push(record);
            }
        }
        Ok(Recording { names, traces })
    }

    /// Before the fault against during it.
    pub(super) fn fault(&self, label: &Label) -> Result<Comparison, Failure> {
        self.compare((0.0, label.fault_start), (label.fault_start, label.fault_end))
    }

    /// The first half of the normal stretch against the second, both ways. Nothing is the matter.
    pub(super) fn halves(&self, label: &Label) -> Result<[Comparison; 2], Failure> {
        let normal = self.traces.values().map(|(start, _)| *start);
        let mut normal: Vec<f64> = normal.filter(|start| *start < label.fault_start).collect();
        normal.sort_by(f64::total_cmp);
        let middle = normal.get(normal.len() / 2).copied().unwrap_or(label.fault_start);
        let (first, second) = ((0.0, middle), (middle, label.fault_start));
        Ok([self.compare(first, second)?, self.compare(second, first)?])
    }

    fn compare(&self, before: (f64, f64), after: (f64, f64)) -> Result<Comparison, Failure> {
        let side = |(from, to): (f64, f64)| {
            let mut side = Side::default();
            let chosen = self.traces.values().filter(|(start, _)| (from..to).contains(start));
            chosen.flat_map(|(_, spans)| spans).for_each(|&record| side.span(record));
            side
        };
        Ok(compare(&self.names, &side(before), &side(after))?)
    }
}

/// A recording of one trace against itself.
pub(super) fn with_itself(file: &Path) -> Result<Comparison, Failure> {
    Recording::read(file)?.compare((0.0, f64::MAX), (0.0, f64::MAX))
}

/// The table and how many are right.
#[derive(Default)]
pub(super) struct Table {
    rows: String,
    files: usize,
    right: usize,
    halves: usize,
    false_alarms: usize,
}

impl Table {
    pub(super) fn add(
        &mut self,
        file: &str,
        label: &Label,
        fault: &Comparison,
        halves: &[Comparison; 2],
    ) {
        let named = |comparison: &Comparison| {
            let first = comparison.first().filter(|_| comparison.verdict == Verdict::RootCause);
            first.map(|first| (first.service.to_string(), 100.0 * first.share))
        };
        let (said, share) = match named(fault) {
            Some((first, share)) if first == label.root_cause => ("yes".to_owned(), share),
            Some((first, share)) => (format!("no: {first}"), share),
            None => (format!("no: {}", fault.verdict.as_str()), 0.0),
        };
        let normal: Vec<String> = halves.iter().filter_map(|half| Some(named(half)?.0)).collect();
        let name = file.split('.').next().unwrap_or(file);
        let Label { fault_type, root_cause, .. } = label;
        let alarms = if normal.is_empty() { "-".to_owned() } else { normal.join(", ") };
        self.rows += &format!(
            "| {name} | {fault_type} of {root_cause} | {said} | {share:.0} % | {alarms} |\n"
        );
        self.files += 1;
        self.right += usize::from(said == "yes");
        self.halves += halves.len();
        self.false_alarms += normal.len();
    }

    pub(super) fn finish(self) -> String {
        let Table { rows, files, right, halves, false_alarms } = self;
        format!(
            "| recording, before against during | fault | first named right | share | named in the normal \
             stretch, halved |\n|---|---|---|---|---|\n{rows}\n{files} faults: {right} named right; \
             somebody named in {false_alarms} of {halves} comparisons of normal halves.\n"
        )
    }
}
