//! `laghound check-config FILE`: is this configuration one, and what does it change?
//!
//! Starts nothing and looks up no address: what only binding can tell is not told.

use std::fmt::Write;

use super::args::{CheckConfigArgs, ConfigArgs};
use super::{CliError, load, print};
use crate::config::{Environment, Loaded};

/// Prints `FILE: ok` and the settings that differ from their defaults.
///
/// # Errors
/// [`CliError::Usage`] with everything that is wrong with the file.
pub fn run(args: CheckConfigArgs, environment: Environment) -> Result<(), CliError> {
    let name = args.file.display().to_string();
    let args = ConfigArgs { config: Some(args.file), settings: args.settings };
    let loaded = load(&args, environment)?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    print(&report(&name, &loaded))
}

fn report(name: &str, loaded: &Loaded) -> String {
    let mut out = format!("{name}: ok\n");
    for changed in loaded.changed() {
        let _ = writeln!(out, "  {}: {}  # {}", changed.key, changed.value, changed.place);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigFile, Sources};

    #[test]
    fn the_report_lists_what_differs_from_the_defaults_and_who_set_it() {
        let file = ConfigFile {
            name: "a.yaml".to_owned(),
            text: "assembly:\n  grace: 4s\n  max_traces: 200_000\n".to_owned(),
        };
        let flags = vec![("log.level", "debug".to_owned())];
        let sources = Sources { file: Some(file), flags, ..Sources::default() };
        let loaded = sources.resolve().expect("is fine");
        let expected = "a.yaml: ok\n  assembly.grace: 4s  # a.yaml:2:10\n  log.level: debug  \
            # --log.level\n";
        assert_eq!(report("a.yaml", &loaded), expected);
    }
}
