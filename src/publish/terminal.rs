//! The demo's view of a terminal: how far learning is, then the verdict with its evidence.
//!
//! A function from what is known to lines of text; who draws them, and how often, is not decided
//! here. No line has more characters than the terminal has columns (a character counts as one column,
//! which is so for the demo's own names), and without colours there is no escape in it.

use super::sentence::Sentence;
use super::words::{Name, duration, percent};
use crate::engine::verdict::{Board, Incident, Suspect};
use crate::model::Nanos;

/// What is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Since the start.
    pub elapsed: Nanos,
    /// How long learning takes from the start, as far as known.
    pub learning: Nanos,
    /// What is going on: `cart gets 40 ms slower`.
    pub phase: &'a str,
    /// The verdicts.
    pub board: &'a Board,
    /// Columns of the terminal.
    pub width: usize,
    /// Whether to use colours.
    pub colour: bool,
}

/// Below this many columns lines are cut, not squeezed further.
const LEAST_WIDTH: usize = 20;
/// Suspects shown of an incident.
const SUSPECTS: usize = 5;

/// How a line looks.
#[derive(Clone, Copy)]
enum Look {
    Plain,
    Dim,
    Good,
    Alarm,
}

impl Look {
    fn code(self) -> Option<&'static str> {
        match self {
            Look::Plain => None,
            Look::Dim => Some("\u{1b}[2m"),
            Look::Good => Some("\u{1b}[32m"),
            Look::Alarm => Some("\u{1b}[1;31m"),
        }
    }
}

impl View<'_> {
    /// The lines, from the top.
    pub fn lines(&self) -> Vec<String> {
        let mut lines =
            Lines { width: self.width.max(LEAST_WIDTH), colour: self.colour, all: vec![] };
        let seconds = self.elapsed.0 / 1_000_000_000;
        let phase = Name(self.phase);
        lines.push(Look::Dim, &format!("{:2}:{:02}  {phase}", seconds / 60, seconds % 60));
        let board = self.board;
        if !board.open.is_empty() {
            board.open.iter().for_each(|incident| push_incident(&mut lines, incident));
        } else if board.learning {
            self.push_learning(&mut lines);
        } else {
            let (operations, spans) = totals(board);
            let seen = format!("normal: {operations} operations, {spans} spans judged");
            lines.push(Look::Good, &seen);
        }
        for incident in board.closed.iter().take(1) {
            lines.wrapped(Look::Dim, &format!("over: {}", Sentence(incident)));
        }
        lines.all
    }

    fn push_learning(&self, lines: &mut Lines) {
        const LABEL: &str = "learning ";
        // Room for the label, the brackets and `100 %`.
        let cells = lines.width.saturating_sub(LABEL.len() + 8).min(40);
        let share = if self.learning == Nanos::ZERO {
            1.0
        } else {
            (self.elapsed.as_secs_f64() / self.learning.as_secs_f64()).min(1.0)
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 40
        let full = (share * cells as f64) as usize;
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(cells - full));
        lines.push(Look::Plain, &format!("{LABEL}[{bar}] {}", percent(share)));
    }
}

fn totals(board: &Board) -> (usize, u64) {
    let spans = board.operations.iter().fold(0u64, |sum, one| sum.saturating_add(one.spans));
    (board.operations.len(), spans)
}

fn push_incident(lines: &mut Lines, incident: &Incident) {
    lines.push(Look::Plain, "");
    lines.wrapped(Look::Alarm, &Sentence(incident).to_string());
    for suspect in incident.suspects.iter().take(SUSPECTS) {
        lines.push(Look::Plain, &evidence(suspect));
    }
    let more = incident.suspects.len().saturating_sub(SUSPECTS);
    if more > 0 {
        lines.push(Look::Dim, &format!("     and {more} more"));
    }
    let rest = percent(incident.unexplained_share);
    lines.push(Look::Dim, &format!("  {rest:>5}  put on nobody"));
    if let Some(id) = incident.suspects.first().and_then(|one| one.example_trace_ids.first()) {
        lines.push(Look::Dim, &format!("  a trace that shows it: {id}"));
    }
}

/// `   93 %  cart  GET /items: self_time, sustained, 4.00 ms -> 31.00 ms, 812 calls`.
fn evidence(suspect: &Suspect) -> String {
    format!(
        "  {:>5}  {}  {}: {}, {}, {} -> {}, {} calls",
        percent(suspect.score),
        Name(&suspect.service),
        Name(&suspect.operation),
        suspect.reason.as_str(),
        suspect.pattern.as_str(),
        duration(suspect.baseline_seconds),
        duration(suspect.recent_seconds),
        suspect.calls
    )
}

struct Lines {
    width: usize,
    colour: bool,
    all: Vec<String>,
}

impl Lines {
    /// One line; what does not fit is cut.
    fn push(&mut self, look: Look, text: &str) {
        let mut line: String = text.chars().take(self.width).collect();
        if text.chars().count() > self.width {
            line.pop();
            line.push('…');
        }
        self.all.push(match look.code().filter(|_| self.colour) {
            Some(code) => format!("{code}{line}\u{1b}[0m"),
            None => line,
        });
    }

    /// As many lines as it takes, broken between words.
    fn wrapped(&mut self, look: Look, text: &str) {
        let mut line = String::new();
        for word in text.split(' ') {
            let fits = line.chars().count() + 1 + word.chars().count() <= self.width;
            if !line.is_empty() && !fits {
                self.push(look, &line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.push(look, &line);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::publish::testing::{after, board};

    fn view(board: &Board) -> View<'_> {
        View {
            elapsed: Nanos::from_secs(75),
            learning: Nanos::from_secs(100),
            phase: "cart gets slower",
            board,
            width: 80,
            colour: false,
        }
    }

    #[test]
    fn while_learning_the_bar_grows_with_time() {
        let board = Board { learning: true, ..Board::default() };
        let lines = view(&board).lines();
        assert_eq!(lines[0], " 1:15  cart gets slower");
        // Three quarters of 40 cells.
        assert_eq!(lines[1], format!("learning [{}{}] 75 %", "#".repeat(30), "-".repeat(10)));
        let late = View { elapsed: Nanos::from_secs(500), ..view(&board) }.lines();
        assert_eq!(late[1], format!("learning [{}] 100 %", "#".repeat(40)));
        let unknown = View { learning: Nanos::ZERO, ..view(&board) }.lines();
        assert!(unknown[1].ends_with("100 %"));
    }

    #[test]
    fn the_verdict_comes_with_its_evidence() {
        let lines = View { width: 200, ..view(&board()) }.lines();
        assert!(lines[2].starts_with("`cart` makes `GET /cart` of `storefront` 290 ms slower"));
        let evidence =
            "   93 %  cart  GET /items: self_time, sustained, 4.00 ms -> 31.00 ms, 812 calls";
        assert_eq!(lines[3], evidence);
        assert_eq!(lines[4], "    7 %  put on nobody");
        assert_eq!(lines[5], "  a trace that shows it: 00000000000000000000000000000abc");
    }

    #[test]
    fn when_it_is_over_the_last_incident_is_remembered() {
        let mut board = board();
        let mut over = board.open.remove(0);
        over.end = Some(after(65));
        board.closed = vec![over];
        let text = view(&board).lines().join("\n");
        assert!(text.contains("normal: 2 operations, 1212 spans judged"), "{text}");
        assert!(text.contains("over: `cart` makes"), "{text}");
    }

    #[test]
    fn colours_are_escapes_and_only_when_wanted() {
        let board = board();
        assert!(view(&board).lines().iter().all(|line| !line.contains('\u{1b}')));
        let coloured = View { colour: true, ..view(&board) }.lines();
        assert!(
            coloured[2].starts_with("\u{1b}[1;31m`cart`") && coloured[2].ends_with("\u{1b}[0m")
        );
    }

    proptest! {
        /// Whatever the names and the terminal, no line is too wide, and none steers the terminal.
        #[test]
        fn no_line_is_wider_than_the_terminal(name in "\\PC{0,200}|\u{1b}\\[2J", width in 0..300usize) {
            let mut board = board();
            board.open[0].suspects[0].service = name.as_str().into();
            board.open[0].entries[0].operation = name.as_str().into();
            let lines = View { width, phase: &name, ..view(&board) }.lines();
            for line in lines {
                prop_assert!(line.chars().count() <= width.max(LEAST_WIDTH), "{}", line);
                let steers = line.chars().any(char::is_control);
                prop_assert!(!steers, "{:?}", line);
            }
        }
    }
}
