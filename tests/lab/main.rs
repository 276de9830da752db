//! The fault laboratory: simulated systems in which something goes wrong, judged by the engine as their
//! spans arrive; how right it was, as a report.
//!
//! `cargo run --profile fast --example lab -- --help`. What is simulated is in `sim`, which knows nothing
//! of laghound; this folder hands the spans over and keeps the score. See `tests/lab/README.md`.

mod args;
mod curve;
mod dump;
mod explain;
mod floor;
mod judges;
mod knobs;
mod recordings;
mod records;
mod report;
mod rivals;
mod run;
mod score;
mod sensitivity;
mod sim;
mod sweep;
mod table;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use laghound::engine::EngineParams;

use args::Args;
use judges::Contestant;
use run::Setup;
use sim::classes::{CLASSES, Case, Class};

fn main() -> ExitCode {
    match dispatch(&Args::parse()) {
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
    let mut params = EngineParams::default();
    for assignment in &args.set {
        knobs::set(&mut params, assignment)?;
    }
    let mut contestants = vec![Contestant::laghound("laghound", params)];
    if args.rivals {
        contestants.extend(Contestant::rivals());
    }
    let setup = Setup { contestants, glimpse: 0, keep_spans: false };
    if args.list {
        return Ok(list());
    }
    if let Some(name) = &args.dump {
        let out = args.out.as_deref().ok_or("--dump wants --out FILE")?;
        return dump_case(case(name)?, out).map_err(|error| format!("{}: {error}", out.display()));
    }
    if let Some(name) = &args.explain {
        let setup = Setup { glimpse: 30, keep_spans: true, ..setup };
        return Ok(explain::explain(&run::run(case(name)?, &setup)));
    }
    if let Some(folder) = &args.recordings {
        let failed = |error| format!("{}: {error}", folder.display());
        return recordings::report(folder, &setup.contestants).map_err(failed);
    }
    if args.floor {
        return floor::check(&setup, args.threads);
    }
    match &args.sensitivity {
        Some(names) => sensitivity::report(args, &params, names),
        None => report::report(args, &setup),
    }
}

fn case(name: &str) -> Result<Case, String> {
    Case::parse(name).ok_or_else(|| format!("{name} is not class/size/seed"))
}

fn dump_case(case: Case, out: &Path) -> std::io::Result<String> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(out)?);
    let spans = dump::dump(case, &mut file)?;
    std::io::Write::flush(&mut file)?;
    Ok(format!("{spans} spans\n"))
}

fn list() -> String {
    let line = |class: &Class| {
        let sort = if class.quiet { "quiet" } else { "fault" };
        format!("{:<18} {sort}  {}\n", class.name, class.about)
    };
    CLASSES.iter().map(line).collect()
}
