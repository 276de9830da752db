//! The fault laboratory: simulated systems in which something goes wrong, judged by the engine as their
//! spans arrive; how right it was, as a report.
//!
//! `cargo run --profile fast --example lab -- --help`. What is simulated is in `sim`, which knows nothing
//! of laghound; this folder hands the spans over and keeps the score. See `tests/lab/README.md`.

mod args;
mod explain;
mod judges;
mod records;
mod run;
mod score;
mod sim;
mod sweep;
mod table;

use std::process::ExitCode;

use clap::Parser;
use laghound::engine::EngineParams;

use args::Args;
use run::Setup;
use sim::classes::{CLASSES, Case};

fn main() -> ExitCode {
    let args = Args::parse();
    match dispatch(&args) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(args: &Args) -> Result<String, String> {
    let setup = Setup { params: EngineParams::default(), glimpse: 0, keep_spans: false };
    if args.list {
        return Ok(list());
    }
    if let Some(name) = &args.explain {
        let case = Case::parse(name).ok_or_else(|| format!("{name} is not class/size/seed"))?;
        let setup = Setup { glimpse: 30, keep_spans: true, ..setup };
        return Ok(explain::explain(&run::run(case, &setup)));
    }
    sweep::report(args, &setup)
}

fn list() -> String {
    let line = |class: &sim::classes::Class| {
        let sort = if class.quiet { "quiet" } else { "fault" };
        format!("{:<18} {sort}  {}\n", class.name, class.about)
    };
    CLASSES.iter().map(line).collect()
}
