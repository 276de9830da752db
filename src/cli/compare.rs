//! `laghound compare BASELINE SPIKED`: what made the second one slow?
//!
//! Reads both sides, with what happened inside the spans, and hands them over. The comparison is `compare`'s;
//! the words are those of `publish`.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use super::args::{CompareArgs, Format};
use super::{CliError, print};
use crate::compare::{SideError, compare};
use crate::config::Environment;
use crate::live::sides::ReadSide;
use crate::model::{InternLimits, Interner, TraceId};
use crate::otlp::file::{FileError, ReadLimits, Reader, STDIN};
use crate::otlp::{AttributeRules, Interest};
use crate::publish::comparison::{ComparisonText, to_json};

/// Columns where there is no terminal to ask.
const DEFAULT_WIDTH: usize = 100;

/// Why a side cannot be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{file}: {problem}")]
    Side { file: String, problem: SideError },
    #[error("both sides are standard input; name a file for one of them")]
    BothStdin,
}

/// Reads the two sides, compares them, prints what was found.
///
/// # Errors
/// [`CliError::Usage`] if a side cannot be read or does not hold what was asked for.
pub fn run(args: &CompareArgs, environment: &Environment) -> Result<(), CliError> {
    let is_stdin = |path: &Path| path.as_os_str() == STDIN;
    if is_stdin(&args.baseline) && is_stdin(&args.spiked) {
        return Err(CliError::usage(ReadError::BothStdin));
    }
    // A user's own files need no protection from floods of names.
    let names = Arc::new(Interner::new(wide()));
    let rules = Arc::new(AttributeRules::new(&Interest::default(), &names));
    let read = |path: &Path, wanted| side(path, wanted, &names, &rules).map_err(CliError::usage);
    let baseline = read(&args.baseline, args.baseline_trace)?;
    let spiked = read(&args.spiked, args.spiked_trace)?;
    let mut comparison = compare(&names, &baseline.side, &spiked.side).map_err(|problem| {
        let empty = if baseline.side.traces() == 0 { &args.baseline } else { &args.spiked };
        let file = empty.display().to_string();
        CliError::usage(ReadError::Side { file, problem })
    })?;
    comparison.warnings.extend(baseline.complaints("baseline"));
    comparison.warnings.extend(spiked.complaints("spiked"));
    match args.format {
        Format::Json => print(&to_json(&comparison)),
        Format::Text => {
            let colour = wants_colour(environment);
            let text =
                ComparisonText { comparison: &comparison, width: width(environment), colour };
            print(&text.to_string())
        }
    }
}

fn wide() -> InternLimits {
    const MANY: usize = 10_000_000;
    InternLimits {
        services: MANY,
        operations: MANY,
        operations_per_service: MANY,
        strings: MANY,
        ..InternLimits::default()
    }
}

fn side(
    path: &Path,
    wanted: Option<TraceId>,
    names: &Arc<Interner>,
    rules: &Arc<AttributeRules>,
) -> Result<ReadSide, ReadError> {
    let limits = ReadLimits::default();
    let mut read =
        ReadSide::read(Reader::open(path, Arc::clone(names), Arc::clone(rules), limits)?)?;
    let fail = |problem| ReadError::Side { file: path.display().to_string(), problem };
    if let Some(wanted) = wanted {
        read.side.choose(wanted).map_err(fail)?;
    }
    Ok(read)
}

/// Only for eyes, and not where they have asked for none.
fn wants_colour(environment: &Environment) -> bool {
    let refused = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
    !refused && !is_dumb && std::io::stdout().is_terminal()
}

/// What COLUMNS says, else the columns of the terminal.
fn width(environment: &Environment) -> usize {
    let said = environment.get("COLUMNS").and_then(|columns| columns.parse().ok());
    // Asks standard output, standard error and standard input in turn, and only terminals answer.
    let terminal = || terminal_size::terminal_size().map(|(columns, _)| usize::from(columns.0));
    said.or_else(terminal).unwrap_or(DEFAULT_WIDTH)
}
