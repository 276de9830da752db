//! The command line of the laboratory.

use std::ops::Range;
use std::path::PathBuf;

use clap::Parser;

/// A fault laboratory: simulates systems in which something goes wrong, has laghound judge them, and
/// prints how right it was.
#[derive(Parser, Debug)]
#[command(name = "lab")]
pub(crate) struct Args {
    /// Classes to run, separated by commas; `faults` and `quiet` stand for all of a kind
    #[arg(long, value_delimiter = ',', default_value = "faults,quiet")]
    pub(crate) classes: Vec<String>,
    /// Seeds, `A..B` without B. 1 to 1000 are for development, those from 5000 on are held out
    #[arg(long, value_parser = range, default_value = "1..6")]
    pub(crate) seeds: Range<u64>,
    /// Sizes of the faults: percent by which the entry that suffers most takes longer
    #[arg(long, value_delimiter = ',', default_value = "10,20,50,100,300")]
    pub(crate) sizes: Vec<f64>,
    /// Threads
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Two seeds of every class that does not take hours, at two sizes: minutes on two cores
    #[arg(long)]
    pub(crate) quick: bool,
    /// One case of every fault that takes minutes, against the least that has to come out; a minute of CPU
    #[arg(long)]
    pub(crate) floor: bool,
    /// Writes the report, a line for every case and the curve into this folder, too
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Prints the classes and what happens in each
    #[arg(long)]
    pub(crate) list: bool,
    /// Tells one case in full: `class/size/seed`
    #[arg(long, value_name = "CASE")]
    pub(crate) explain: Option<String>,
    /// Runs the three simple rules beside laghound
    #[arg(long)]
    pub(crate) rivals: bool,
    /// Sets a parameter of the engine, durations in seconds; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Halves and doubles every parameter (or those named) and prints what that does to the totals
    #[arg(long, value_name = "NAMES", num_args = 0.., value_delimiter = ',')]
    pub(crate) sensitivity: Option<Vec<String>>,
    /// Replays the recordings of a folder with a `labels.json` instead of simulating
    #[arg(long, value_name = "FOLDER")]
    pub(crate) recordings: Option<PathBuf>,
    /// Writes one case as OTLP/JSON lines to `--out` (a file), for `laghound replay`
    #[arg(long, value_name = "CASE")]
    pub(crate) dump: Option<String>,
    /// Prints a line for every case, as it is done
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let both = text.split_once("..").ok_or("expected A..B")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    Ok(number(both.0)?..number(both.1)?)
}
