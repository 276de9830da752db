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
    /// A few minutes at most on two cores
    #[arg(long)]
    pub(crate) quick: bool,
    /// Writes the report, the scores and the curves into this folder, too
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Prints the classes and what happens in each
    #[arg(long)]
    pub(crate) list: bool,
    /// Tells one case in full: `class/size/seed`
    #[arg(long, value_name = "CASE")]
    pub(crate) explain: Option<String>,
    /// Prints a line for every case, as it is done
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let both = text.split_once("..").ok_or("expected A..B")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    Ok(number(both.0)?..number(both.1)?)
}
