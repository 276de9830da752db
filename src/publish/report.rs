//! What `replay` found: as JSON for programs, as text for people.
//!
//! Both are functions of one plain value, so the same outcome gives the same bytes. Nothing is
//! judged here, and nothing is printed: the caller has the standard output.

use std::fmt::{self, Write};

use serde::Serialize;

use super::ledger::ByReason;
use super::sentence::{Place, Sentence};
use super::shapes::IncidentShape;
use super::words::{Name, clock, date, duration, percent, rfc3339};
use crate::engine::verdict::{Incident, Suspect};
use crate::model::Timestamp;

/// The outcome of a replay.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplayReport {
    /// Spans read.
    pub spans: u64,
    /// Traces they belong to.
    pub traces: u64,
    /// The earliest start of a span; `None` without spans.
    pub from: Option<Timestamp>,
    /// The latest end of a span.
    pub to: Option<Timestamp>,
    /// What became of the spans.
    pub accounting: Accounting,
    /// All incidents, by id.
    pub incidents: Vec<Incident>,
    /// The recording ended before enough had been learned for any verdict. Said in the text only.
    pub learning: bool,
}

/// What became of the spans: accepted = analyzed + dropped.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Accounting {
    /// Spans accepted.
    pub accepted: u64,
    /// Spans analyzed with their trace.
    pub analyzed: u64,
    /// The others, by reason.
    pub dropped: ByReason,
}

#[derive(Serialize)]
struct ReplayShape<'a> {
    spans: u64,
    traces: u64,
    from: Option<String>,
    to: Option<String>,
    accounting: &'a Accounting,
    incidents: Vec<IncidentShape<'a>>,
}

impl ReplayReport {
    /// The JSON document, ending in a newline.
    pub fn to_json(&self) -> String {
        let shape = ReplayShape {
            spans: self.spans,
            traces: self.traces,
            from: self.from.map(rfc3339),
            to: self.to.map(rfc3339),
            accounting: &self.accounting,
            incidents: self.incidents.iter().map(IncidentShape::from).collect(),
        };
        let mut json = serde_json::to_string_pretty(&shape)
            .expect("strings and finite numbers can be written as JSON");
        json.push('\n');
        json
    }
}

/// The text for people.
impl fmt::Display for ReplayReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} spans of {} traces", self.spans, self.traces)?;
        if let (Some(from), Some(to)) = (self.from, self.to) {
            write!(out, ", {}", Stretch { from, to: Some(to) })?;
        }
        write!(out, "\n{} analyzed", self.accounting.analyzed)?;
        let mut dropped =
            self.accounting.dropped.iter().filter(|(_, count)| **count > 0).peekable();
        if dropped.peek().is_some() {
            let reasons: Vec<_> = dropped.map(|(why, count)| format!("{count} {why}")).collect();
            write!(out, ", not analyzed: {}", reasons.join(", "))?;
        }
        out.write_char('\n')?;
        if self.incidents.is_empty() {
            return writeln!(out, "\n{}", self.no_incident());
        }
        self.incidents.iter().try_for_each(|incident| write!(out, "\n{}", Story(incident)))
    }
}

impl ReplayReport {
    fn no_incident(&self) -> &'static str {
        match (self.spans, self.learning) {
            (0, _) => "No verdict: there were no spans.",
            (_, true) => {
                "No verdict: the recording ended before enough was learned to judge anything."
            }
            _ => "No incident: no request got slower than it should be.",
        }
    }
}

/// `2026-09-21 14:13:20 to 14:28:11 UTC`; the second date only if it is another.
struct Stretch {
    from: Timestamp,
    to: Option<Timestamp>,
}

impl fmt::Display for Stretch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = date(self.from);
        match self.to {
            None => write!(out, "since {first} {} UTC, still open", clock(self.from)),
            Some(to) if date(to) == first => {
                write!(out, "{first} {} to {} UTC", clock(self.from), clock(to))
            }
            Some(to) => {
                write!(out, "{first} {} to {} {} UTC", clock(self.from), date(to), clock(to))
            }
        }
    }
}

/// One incident with its evidence.
struct Story<'a>(&'a Incident);

impl fmt::Display for Story<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let incident = self.0;
        let stretch = Stretch { from: incident.start, to: incident.end };
        write!(out, "Incident {}, {stretch}", incident.id)?;
        writeln!(out, ", detected {}", clock(incident.detected))?;
        writeln!(out, "  {}", Sentence(incident))?;
        write_table(out, &suspect_rows(incident))?;
        for entry in &incident.entries {
            let (before, now) = (duration(entry.baseline_seconds), duration(entry.recent_seconds));
            write!(out, "  slower: {} of {}, ", Name(&entry.operation), Name(&entry.service))?;
            writeln!(out, "{before} -> {now}, {} in all", duration(entry.excess_seconds))?;
        }
        for suspect in incident.suspects.iter().filter(|one| !one.example_trace_ids.is_empty()) {
            let ids: Vec<_> = suspect.example_trace_ids.iter().map(ToString::to_string).collect();
            writeln!(out, "  traces of {}: {}", Name(&suspect.service), ids.join(" "))?;
        }
        Ok(())
    }
}

const COLUMNS: [&str; 10] = [
    "#",
    "suspect",
    "kind",
    "operation",
    "share",
    "excess",
    "reason",
    "pattern",
    "per call",
    "where",
];
type TableRow = [String; COLUMNS.len()];

fn suspect_rows(incident: &Incident) -> Vec<TableRow> {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(incident.suspects.iter().map(suspect_row));
    let mut rest = TableRow::default();
    rest[1] = "(unexplained)".to_owned();
    rest[4] = percent(incident.unexplained_share);
    rest[5] = duration(incident.unexplained_share * incident.excess_seconds).to_string();
    rows.push(rest);
    rows
}

fn suspect_row(suspect: &Suspect) -> TableRow {
    [
        suspect.rank.to_string(),
        Name(&suspect.service).to_string(),
        suspect.kind.as_str().to_owned(),
        Name(&suspect.operation).to_string(),
        percent(suspect.score),
        duration(suspect.excess_seconds).to_string(),
        suspect.reason.as_str().to_owned(),
        suspect.pattern.as_str().to_owned(),
        format!("{} -> {}", duration(suspect.baseline_seconds), duration(suspect.recent_seconds)),
        suspect.where_.as_ref().map(|place| Place(place).to_string()).unwrap_or_default(),
    ]
}

/// Columns as wide as their widest cell, no blanks at the end of a line.
fn write_table(out: &mut fmt::Formatter<'_>, rows: &[TableRow]) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..COLUMNS.len()).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "  {cell:<width$}")?;
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
