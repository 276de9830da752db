//! The configuration as people meet it: the annotated example, and `check-config` as a process.
//!
//! Reading single values, precedence and the rules between keys are tested beside the code.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use laghound::config::{Config, ConfigFile, KEYS, Place, Sources, example};

fn example_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/laghound.yaml")
}

/// A directory of one test's own, gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Scratch {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join("laghound.yaml");
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the program with the given environment and no other.
fn laghound(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_laghound"));
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command.output().expect("the program starts")
}

fn check_config(file: &Path, environment: &[(&str, &str)]) -> Output {
    laghound(&["check-config", file.to_str().unwrap()], environment)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// To write the file anew after a change of the table: `BLESS=1 cargo test --test it config`.
#[test]
fn the_example_is_what_the_table_says() {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(example_path(), example()).unwrap();
    }
    let written = std::fs::read_to_string(example_path()).unwrap();
    assert_eq!(written, example(), "BLESS=1 cargo test --test it config writes it anew");
}

#[test]
fn the_example_sets_every_key_to_its_default() {
    let file = ConfigFile::read(&example_path()).unwrap();
    let sources = Sources { file: Some(file), ..Sources::default() };
    let loaded = sources.resolve().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.config, Config::default());
    for key in KEYS {
        let place = loaded.place(key.name);
        assert!(matches!(place, Place::File(_)), "{} is set by {place}", key.name);
    }
}

#[test]
fn check_config_accepts_the_example() {
    let path = example_path();
    let output = check_config(&path, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), format!("{}: ok\n", path.display()));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn check_config_shows_what_differs_and_warns_of_variables_that_set_nothing() {
    let scratch = Scratch::new("check_config_shows");
    let path = scratch.file("assembly:\n  grace: ${env:WAIT:-4s}\n");
    let environment = [("LAGHOUND_LOG_LEVEL", "debug"), ("LAGHOUND_LOG_LEVLE", "debug")];
    let output = check_config(&path, &environment);
    let file = path.display();
    let expected = format!(
        "{file}: ok\n  assembly.grace: 4s  # {file}:2:10\n  log.level: debug  # LAGHOUND_LOG_LEVEL\n"
    );
    assert_eq!(text(&output.stdout), expected);
    assert!(text(&output.stderr).starts_with("warning: environment variable LAGHOUND_LOG_LEVLE"));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_bad_file_exits_with_2_and_a_caret_and_nothing_on_standard_output() {
    let scratch = Scratch::new("a_bad_file");
    let path = scratch.file("receiver:\n  max_request_sise: 1MiB\n");
    let output = check_config(&path, &[]);
    let expected = format!(
        "error: {}:2:3: unknown key \"receiver.max_request_sise\"; did you mean \
         receiver.max_request_size?\n  |\n2 |   max_request_sise: 1MiB\n  |   ^^^^^^^^^^^^^^^^\n",
        path.display()
    );
    assert_eq!(text(&output.stderr), expected);
    assert_eq!(text(&output.stdout), "");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn files_that_are_no_configuration_exit_with_2_and_one_line() {
    let scratch = Scratch::new("no_configuration");
    let missing = scratch.0.join("missing.yaml");
    let large = "# far too much\n".repeat(100_000);
    for (path, part) in [
        (missing, "cannot read"),
        (scratch.0.clone(), "cannot read"),
        (scratch.file(b"a: \xff\n"), "byte 3"),
    ] {
        let output = check_config(&path, &[]);
        let shown = text(&output.stderr);
        assert!(shown.contains(part) && shown.lines().count() == 1, "{shown}");
        assert_eq!(output.status.code(), Some(2));
    }
    let output = check_config(&scratch.file(large), &[]);
    assert!(text(&output.stderr).contains("larger than"));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    for (arguments, code) in [
        (&[][..], 2),
        (&["--no-such-flag"], 2),
        (&["no-such-command"], 2),
        (&["check-config"], 2),
        (&["check-config", "a", "--assembly.grase", "5s"], 2),
        (&["--help"], 0),
        (&["--version"], 0),
        (&["check-config", "--help"], 0),
    ] {
        let output = laghound(arguments, &[]);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let (results, rest) = (output.stdout.is_empty(), output.stderr.is_empty());
        assert_eq!((results, rest), (code == 2, code == 0), "{arguments:?}");
    }
}
