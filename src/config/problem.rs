//! What is wrong with a configuration, and how it is shown: place, message, line and caret.
//!
//! The first line of a problem says everything, so that it survives a log; the lines below it show
//! the place. Text from files is shown with its control characters replaced and cut to fit.

use std::fmt;

use thiserror::Error;

use super::yaml::Mark;

/// A configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {file}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is far too large for a configuration.
    #[error("{file} is larger than {limit_bytes} bytes, which no configuration is")]
    TooLarge {
        /// The file.
        file: String,
        /// What is still read.
        limit_bytes: u64,
    },
    /// The file is not text.
    #[error("{file} is not UTF-8 text: byte {byte} does not belong there")]
    NotText {
        /// The file.
        file: String,
        /// The first byte at fault, from 0.
        byte: usize,
    },
    /// It can be read, but not meant.
    #[error("{}", Listed(.0))]
    Invalid(Vec<Problem>),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong, with which value, and what would be right.
    pub message: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody set it.
    Default,
    /// A file.
    File(Excerpt),
    /// An environment variable.
    Variable(String),
    /// A flag, by its name without dashes.
    Flag(&'static str),
}

/// A place in a file, with the line to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The file's name as given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    width: usize,
    text: String,
}

impl Excerpt {
    pub(super) fn new(file: &str, text: &str, at: Mark) -> Excerpt {
        Excerpt {
            file: file.to_owned(),
            line: at.line,
            column: at.column,
            width: at.width,
            text: text.lines().nth(at.line - 1).unwrap_or("").to_owned(),
        }
    }
}

impl Place {
    /// For sorting problems: those of the file first, in its order.
    pub(super) fn order(&self) -> (u8, usize, usize) {
        match self {
            Place::File(at) => (0, at.line, at.column),
            Place::Variable(_) => (1, 0, 0),
            Place::Flag(_) => (2, 0, 0),
            Place::Default => (3, 0, 0),
        }
    }
}

/// `laghound.yaml:3:5`, `LAGHOUND_LOG_LEVEL`, `--log.level`.
impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Default => out.write_str("default"),
            Place::File(at) => write!(out, "{}:{}:{}", at.file, at.line, at.column),
            Place::Variable(name) => out.write_str(name),
            Place::Flag(name) => write!(out, "--{name}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Default => write!(out, "{}", self.message),
            Place::File(at) => write!(out, "{}: {}\n{at}", self.place, self.message),
            place => write!(out, "{place}: {}", self.message),
        }
    }
}

/// The line and a caret under the place:
/// ```text
///   |
/// 3 |   grase: 5s
///   |   ^^^^^
/// ```
impl fmt::Display for Excerpt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// What fits a terminal beside the line number; the rest of a long line is left out.
        const MAX_COLUMNS: usize = 100;
        let skipped = self.column.saturating_sub(MAX_COLUMNS / 2);
        let skipped = if self.column <= MAX_COLUMNS { 0 } else { skipped };
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let shown: String =
            self.text.chars().skip(skipped).take(MAX_COLUMNS).map(printable).collect();
        let indent = self.column - 1 - skipped;
        let width = self.width.min(MAX_COLUMNS.saturating_sub(indent)).max(1);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(out, "{margin} |")?;
        writeln!(out, "{number} | {}", shown.trim_end())?;
        write!(out, "{margin} | {}{}", " ".repeat(indent), "^".repeat(width))
    }
}

/// All problems, one below the other, up to a limit.
struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More than a screenful helps nobody: the rest shows up once these are mended.
        const MAX_SHOWN: usize = 10;
        for (index, problem) in self.0.iter().take(MAX_SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "\nerror: " };
            write!(out, "{separator}{problem}")?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(out, "\nerror: and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(text: &str, line: usize, column: usize, width: usize) -> Excerpt {
        Excerpt::new("a.yaml", text, Mark { line, column, width })
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        let place = Place::File(excerpt("assembly:\n  grase: 5s\n", 2, 3, 5));
        let problem = Problem { place, message: "unknown key".to_owned() };
        let expected = "a.yaml:2:3: unknown key\n  |\n2 |   grase: 5s\n  |   ^^^^^";
        assert_eq!(problem.to_string(), expected);
    }

    #[test]
    fn the_caret_stays_near_the_place_on_a_long_line() {
        let text = format!("{}here{}", "x".repeat(5_000), "y".repeat(5_000));
        let shown = excerpt(&text, 1, 5_001, 4).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        let caret = lines[2].find('^').expect("a caret");
        assert_eq!(&lines[1][caret..caret + 4], "here");
        assert!(lines.iter().all(|line| line.len() <= 110));
    }

    #[test]
    fn a_place_past_the_end_of_the_text_is_shown_empty() {
        assert_eq!(excerpt("a: [1", 9, 1, 1).to_string(), "  |\n9 | \n  | ^");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let shown = excerpt("a\u{1b}[31m\tb", 1, 1, 1).to_string();
        assert!(!shown.contains(['\u{1b}', '\t']));
    }

    #[test]
    fn a_long_list_of_problems_is_cut() {
        let problem =
            |i| Problem { place: Place::Variable(format!("V{i}")), message: "bad".to_owned() };
        let shown = ConfigError::Invalid((0..12).map(problem).collect()).to_string();
        assert_eq!(shown.lines().count(), 11);
        assert!(shown.starts_with("V0: bad\nerror: V1: bad\n") && shown.ends_with("and 2 more"));
    }
}
