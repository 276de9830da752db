//! Two lanes for each span, the baseline above, on one scale; the critical path and the excess visible.
//!
//! `=` lies on the critical path, `-` does not, `#` is what the span takes longer than before. Of sets, in
//! which no span has a place in time, each operation's mean is a bar from the left.

use super::super::words::{Name, duration};
use super::text::{Look, cut, painted};
use crate::compare::verdict::{Comparison, Figures, Match, SpanRow};

/// Spans drawn; a trace of thousands does not fit a terminal.
const MAX_ROWS: usize = 40;
/// Columns for a duration: `  999 µs`.
const TIME_COLUMNS: usize = 10;
/// Columns a bar needs at least.
const LEAST_BAR: usize = 10;

/// The lines, none wider than `width`.
pub(super) fn lines(comparison: &Comparison, width: usize, colour: bool) -> Vec<String> {
    let (shown, left_out) = chosen(comparison);
    let longest = shown.iter().map(|row| label(row).chars().count()).max().unwrap_or(0);
    let label_columns = longest.min(width * 2 / 5).max(8);
    let bar_columns = width.saturating_sub(label_columns + TIME_COLUMNS + 4).max(LEAST_BAR);
    let end = shown
        .iter()
        .flat_map(|row| [row.baseline, row.spiked])
        .map(|figures| figures.offset_seconds + figures.seconds)
        .fold(0.0, f64::max);
    let scale = Scale { columns: bar_columns, end };
    let what = if comparison.entries.is_some() { "mean per call; " } else { "" };
    let legend = format!(
        "{what}upper lane baseline, lower lane spiked; = critical path, # longer than before"
    );
    let mut lines = vec![painted(Look::Dim, colour, &cut(&legend, width))];
    for row in shown {
        lines.extend(lanes(row, &scale, label_columns, colour));
    }
    if left_out > 0 {
        lines.push(painted(Look::Dim, colour, &format!("and {left_out} spans more")));
    }
    lines
}

/// All rows if they fit; else those that differ most or carry most of the path, in their order.
fn chosen(comparison: &Comparison) -> (Vec<&SpanRow>, usize) {
    let rows: Vec<&SpanRow> = comparison.spans.iter().collect();
    if rows.len() <= MAX_ROWS {
        return (rows, 0);
    }
    let weight = |row: &SpanRow| {
        let change = (row.spiked.critical_seconds - row.baseline.critical_seconds).abs();
        change.max(0.1 * row.spiked.critical_seconds)
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&one, &two| weight(rows[two]).total_cmp(&weight(rows[one])).then(one.cmp(&two)));
    order.truncate(MAX_ROWS);
    order.sort_unstable();
    let left_out = rows.len() - order.len();
    (order.into_iter().map(|at| rows[at]).collect(), left_out)
}

/// Seconds to columns.
struct Scale {
    columns: usize,
    end: f64,
}

impl Scale {
    fn column(&self, seconds: f64) -> usize {
        if self.end <= 0.0 {
            return 0;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to the columns
        let column = (seconds / self.end * self.columns as f64).round() as usize;
        column.min(self.columns)
    }
}

/// `+ GET /items (cart)`, indented by depth; `!` where it took longer than in any of many traces.
fn label(row: &SpanRow) -> String {
    /// Deeper spans are indented no further.
    const MAX_INDENT: usize = 12;
    let mark = match row.match_ {
        Match::Matched => "",
        Match::Added => "+ ",
        Match::Removed => "- ",
    };
    let indent = " ".repeat(row.depth.min(MAX_INDENT));
    let outside = if row.outside_normal { "! " } else { "" };
    format!("{indent}{outside}{mark}{} ({})", Name(&row.operation), Name(&row.service))
}

fn lanes(row: &SpanRow, scale: &Scale, label_columns: usize, colour: bool) -> Vec<String> {
    let label = cut(&label(row), label_columns);
    let excess = (row.spiked.seconds - row.baseline.seconds).max(0.0);
    let mut lines = Vec::new();
    if row.match_ != Match::Added {
        let bar = bar(&row.baseline, 0.0, scale, colour);
        let time = duration(row.baseline.seconds).to_string();
        lines.push(format!("{label:<label_columns$} |{bar}| {time:>9}"));
    }
    if row.match_ != Match::Removed {
        let excess = if row.match_ == Match::Added { row.spiked.seconds } else { excess };
        let bar = bar(&row.spiked, excess, scale, colour);
        let time = duration(row.spiked.seconds).to_string();
        let label = if lines.is_empty() { &label[..] } else { "" };
        lines.push(format!("{label:<label_columns$} |{bar}| {time:>9}"));
    }
    lines
}

fn bar(figures: &Figures, excess: f64, scale: &Scale, colour: bool) -> String {
    let from = scale.column(figures.offset_seconds);
    let end = figures.offset_seconds + figures.seconds;
    let mut to = scale.column(end);
    if to == from && figures.seconds > 0.0 && to < scale.columns {
        to += 1; // however short, it is there
    }
    // What does not fill a column is no excess that could be seen.
    let longer = to - scale.column(excess).min(to - from);
    let plain = if figures.critical_seconds > 0.0 { "=" } else { "-" };
    let body = plain.repeat(longer - from);
    let tail = painted(Look::Excess, colour && to > longer, &"#".repeat(to - longer));
    let (left, right) = (" ".repeat(from), " ".repeat(scale.columns - to));
    format!("{left}{body}{tail}{right}")
}
