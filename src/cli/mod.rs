//! The command line: one file per subcommand, and how each of them ends.
//!
//! Results go to standard output, everything else to standard error. What a subcommand does lives
//! in the other rooms; here it is only asked for, shown, and turned into an exit code.

pub mod args;
pub mod check_config;
pub mod compare;
pub mod demo;
mod door;
pub mod health;
pub mod incident;
pub mod logging;
mod reload;
pub mod remote;
pub mod replay;
pub mod serve;
pub mod suspects;
pub mod top;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;

use crate::config::{ConfigFile, Environment, FILE_VARIABLE, Loaded, Sources};
use args::ConfigArgs;

/// How a subcommand failed, which decides the exit code.
#[derive(Debug, Error)]
pub enum CliError {
    /// Bad usage, bad configuration or unreadable input: exit code 2.
    #[error("{}", told(.0))]
    Usage(anyhow::Error),
    /// It failed while running: exit code 1.
    #[error("{}", told(.0))]
    Runtime(anyhow::Error),
}

impl CliError {
    /// What was asked for cannot be done as it was asked.
    pub fn usage(error: impl Into<anyhow::Error>) -> CliError {
        CliError::Usage(error.into())
    }

    /// It was asked for rightly and failed all the same.
    pub fn runtime(error: impl Into<anyhow::Error>) -> CliError {
        CliError::Runtime(error.into())
    }

    /// The exit code that goes with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) => 2,
            CliError::Runtime(_) => 1,
        }
    }

    /// Says it on standard error.
    pub fn report(&self) -> ExitCode {
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr(), "error: {self}");
        ExitCode::from(self.exit_code())
    }
}

/// An error and its causes in one line, each said once: most of our errors quote their cause already.
fn told(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// The process's environment variables. What is not UTF-8 is repaired: it will not be mistaken for
/// a value, but named in a message.
pub fn environment() -> Environment {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// The configuration that holds for a command: file, environment and flags.
///
/// # Errors
/// [`CliError::Usage`] with everything that is wrong with it.
pub fn load(args: &ConfigArgs, environment: Environment) -> Result<Loaded, CliError> {
    let path = config_path(args, &environment);
    let file = path.map(|path| ConfigFile::read(&path)).transpose().map_err(CliError::usage)?;
    let flags = args.settings.flags.clone();
    Sources { file, environment, flags }.resolve().map_err(CliError::usage)
}

/// The configuration file, if there is one.
fn config_path(args: &ConfigArgs, environment: &Environment) -> Option<PathBuf> {
    let named = environment.get(FILE_VARIABLE).filter(|path| !path.is_empty());
    args.config.clone().or_else(|| named.map(Into::into))
}

/// Writes a result to standard output. A reader that has gone away, as `head` does, is no failure.
///
/// # Errors
/// [`CliError::Runtime`] if it cannot be written, such as to a full disk.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let context = anyhow::Error::new(error).context("cannot write to standard output");
            Err(CliError::Runtime(context))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_exit_code_and_says_its_causes() {
        let cause = std::io::Error::other("disk full");
        let error = CliError::Runtime(anyhow::Error::new(cause).context("cannot save"));
        assert_eq!((error.exit_code(), error.to_string()), (1, "cannot save: disk full".into()));
        assert_eq!(CliError::usage(std::io::Error::other("no")).exit_code(), 2);
        #[derive(Debug, Error)]
        #[error("cannot read a.json: {0}")]
        struct Quoting(#[source] std::io::Error);
        let quoting = CliError::usage(Quoting(std::io::Error::other("no such file")));
        assert_eq!(quoting.to_string(), "cannot read a.json: no such file");
    }

    #[test]
    fn the_file_named_by_flag_beats_the_one_named_by_variable() {
        let environment: Environment =
            [(FILE_VARIABLE.to_owned(), "/nonexistent/variable.yaml".to_owned())].into();
        let mut args = ConfigArgs::default();
        let error = load(&args, environment.clone()).expect_err("is not there").to_string();
        assert!(error.contains("cannot read /nonexistent/variable.yaml: "), "{error}");
        args.config = Some("/nonexistent/flag.yaml".into());
        let error = load(&args, environment).expect_err("is not there").to_string();
        assert!(error.contains("cannot read /nonexistent/flag.yaml: "), "{error}");
    }

    #[test]
    fn an_empty_file_variable_names_no_file() {
        let environment: Environment = [(FILE_VARIABLE.to_owned(), String::new())].into();
        assert!(load(&ConfigArgs::default(), environment).is_ok());
    }
}
