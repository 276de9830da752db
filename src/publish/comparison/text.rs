//! A comparison as text: the verdict first, then the causes, what to do, the waterfall, the doubts.
//!
//! No line has more characters than the terminal has columns, but for sentences, which are wrapped; and
//! without colours there is no escape in it.

use std::fmt::{self, Write};

use super::super::words::{Name, duration, percent};
use super::{headline, waterfall};
use crate::compare::verdict::{Cause, Change, Comparison, EventGap, Verdict};
use crate::engine::verdict::{Reason, SuspectKind};
use crate::model::Nanos;

/// The text, ready to be written.
#[derive(Clone, Copy, Debug)]
pub struct ComparisonText<'a> {
    /// What was found.
    pub comparison: &'a Comparison,
    /// Columns to fill.
    pub width: usize,
    /// Whether to use colours.
    pub colour: bool,
}

/// Fewer columns than these are not squeezed into.
const LEAST_WIDTH: usize = 40;
/// Entry operations shown.
const MAX_ENTRIES: usize = 10;

/// How a stretch of text looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Dim,
    Good,
    Alarm,
    Excess,
}

/// Wraps text in the colours of a look.
pub(super) fn painted(look: Look, colour: bool, text: &str) -> String {
    let code = match look {
        Look::Plain => return text.to_owned(),
        Look::Dim => "2",
        Look::Good => "32",
        Look::Alarm => "1;31",
        Look::Excess => "31",
    };
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

impl fmt::Display for ComparisonText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ComparisonText { comparison, colour, .. } = *self;
        let width = self.width.max(LEAST_WIDTH);
        let look = match comparison.verdict {
            Verdict::RootCause => Look::Alarm,
            Verdict::Faster | Verdict::NoDifference => Look::Good,
            Verdict::Inconclusive => Look::Plain,
        };
        // The verdict is one line, however long: it is what gets copied and grepped.
        writeln!(out, "{}", painted(look, colour, &headline(comparison)))?;
        if !comparison.root_causes.is_empty() {
            writeln!(out)?;
            table(out, &cause_rows(comparison), width)?;
        }
        if comparison.entries.is_some() {
            writeln!(out)?;
            table(out, &entry_rows(comparison), width)?;
        }
        writeln!(out)?;
        for line in waterfall::lines(comparison, width, colour) {
            writeln!(out, "{line}")?;
        }
        for (title, items) in [("warning", &comparison.warnings), ("next", &comparison.next_steps)]
        {
            for (at, item) in items.iter().enumerate() {
                if at == 0 {
                    writeln!(out)?;
                }
                wrapped(out, &format!("{title}: {}", safe(item)), width)?;
            }
        }
        if comparison.entries.is_none() && comparison.verdict == Verdict::RootCause {
            writeln!(out)?;
            wrapped(out, NOTE, width)?;
        }
        Ok(())
    }
}

const NOTE: &str = "One trace on each side tells what made that trace slow, chance included; many on each \
    side tell what makes requests slow.";

/// A sentence with names in it that may be hostile; not cut.
fn safe(text: &str) -> String {
    // `Name` cuts long names; a sentence is made safe piece by piece.
    text.split(' ').map(|word| Name(word).to_string()).collect::<Vec<_>>().join(" ")
}

/// `` each call of `GET /items` took 31.0 ms of its own instead of 4.00 ms ``.
pub(super) fn why(cause: &Cause) -> String {
    let operation = Name(&cause.operation);
    let (before, after) =
        (duration(cause.baseline_self_seconds), duration(cause.spiked_self_seconds));
    let Change::Worse(reason) = cause.reason else {
        return format!("`{operation}` takes less ({before} -> {after})");
    };
    match (reason, cause.kind) {
        (Reason::SelfTime, SuspectKind::Dependency) => {
            format!("called by `{operation}`, takes {before} -> {after}")
        }
        (Reason::SelfTime, _) => format!("own time of `{operation}` {before} -> {after}"),
        (Reason::CallGap, _) => format!("time on the way in `{operation}` {before} -> {after}"),
        (Reason::CallCount, _) => format!("more calls made in `{operation}`"),
        (Reason::LostParallelism, _) => {
            format!("calls of `{operation}` no longer run side by side")
        }
        (Reason::NewOperation, _) => format!("`{operation}` is new"),
    }
}

type Row = Vec<String>;

fn signed(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "-" } else { "+" };
    match duration(seconds.abs()) {
        Nanos::ZERO => "0 s".to_owned(),
        size => format!("{sign}{size}"),
    }
}

fn cause_rows(comparison: &Comparison) -> Vec<Row> {
    let heads = ["#", "cause", "kind", "operation", "share", "excess", "reason", "own time"];
    let mut rows: Vec<Row> = vec![heads.map(str::to_owned).to_vec()];
    for cause in &comparison.root_causes {
        rows.push(vec![
            cause.rank.to_string(),
            Name(&cause.service).to_string(),
            cause.kind.as_str().to_owned(),
            Name(&cause.operation).to_string(),
            percent(cause.share),
            signed(cause.excess_seconds),
            cause.reason.as_str().to_owned(),
            format!(
                "{} -> {}",
                duration(cause.baseline_self_seconds),
                duration(cause.spiked_self_seconds)
            ),
        ]);
        // The whole span says nothing that the row above does not.
        let gaps = cause.event_gaps.iter().filter(|gap| !gap.is_whole_span());
        rows.extend(gaps.map(gap_row));
    }
    let mut rest: Row = vec![String::new(); heads.len()];
    rest[1] = "(unexplained)".to_owned();
    rest[5] = signed(comparison.unexplained_seconds);
    rows.push(rest);
    rows
}

fn gap_row(gap: &EventGap) -> Row {
    let times = format!("{} -> {}", duration(gap.baseline_seconds), duration(gap.spiked_seconds));
    let between = format!("  between {} and {}: {times}", Name(&gap.from), Name(&gap.to));
    vec![String::new(), between]
}

fn entry_rows(comparison: &Comparison) -> Vec<Row> {
    let entries = comparison.entries.as_deref().unwrap_or_default();
    let heads = ["entry", "service", "traces", "mean", "slower by"];
    let mut rows: Vec<Row> = vec![heads.map(str::to_owned).to_vec()];
    for entry in entries.iter().take(MAX_ENTRIES) {
        rows.push(vec![
            Name(&entry.operation).to_string(),
            Name(&entry.service).to_string(),
            format!("{} -> {}", entry.baseline_traces, entry.spiked_traces),
            format!("{} -> {}", duration(entry.baseline_seconds), duration(entry.spiked_seconds)),
            signed(entry.excess_seconds),
        ]);
    }
    let more = entries.len().saturating_sub(MAX_ENTRIES);
    if more > 0 {
        rows.push(vec![format!("and {more} more")]);
    }
    rows
}

/// Columns as wide as their widest cell. A row of fewer cells runs on; a line too long is cut.
fn table(out: &mut fmt::Formatter<'_>, rows: &[Row], width: usize) -> fmt::Result {
    let columns = rows.first().map_or(0, Vec::len);
    let full = || rows.iter().filter(|row| row.len() == columns);
    let widths: Vec<usize> = (0..columns)
        .map(|at| full().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "  {cell:<width$}")?;
        }
        writeln!(out, "{}", cut(line.trim_end(), width))?;
    }
    Ok(())
}

/// The text, or as much of it as fits.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

/// Broken at blanks; what follows is indented.
fn wrapped(out: &mut fmt::Formatter<'_>, text: &str, width: usize) -> fmt::Result {
    let mut line = String::new();
    for word in text.split(' ') {
        let has_room = line.chars().count() + 1 + word.chars().count() <= width;
        if !line.trim().is_empty() && !has_room {
            writeln!(out, "{}", line.trim_end())?;
            line = "  ".to_owned();
        } else if !line.trim().is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
