//! The program itself: what it prints and how it ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compare").join(name)
}

fn compare(arguments: &[&str], files: [&str; 2]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_laghound"));
    command.arg("compare").args(arguments).env_clear().env("COLUMNS", "80");
    command.args(files.map(fixture)).output().unwrap()
}

const NORMAL: &str = "inference-normal.jaeger.json";
const SPIKED: &str = "inference-spiked.jaeger.json";

fn json(arguments: &[&str], files: [&str; 2]) -> Value {
    let output = compare(&[&["--format", "json"], arguments].concat(), files);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_json_has_the_names_of_the_contract_and_seconds_for_microseconds() {
    let said = json(&[], [NORMAL, SPIKED]);
    assert_eq!(said["verdict"], "root_cause");
    assert_eq!(said["spiked"]["duration_seconds"], 1.207_384);
    assert_eq!(said["spiked"]["spans"], 3);
    let services = ["Inference-Server", "Pre-Processor", "Web-Server"];
    assert_eq!(said["baseline"]["services"], serde_json::json!(services));
    let cause = &said["root_causes"][0];
    assert_eq!((&cause["service"], &cause["kind"]), (&"Pre-Processor".into(), &"service".into()));
    assert_eq!(cause["spiked_self_seconds"], 0.775_229);
    assert_eq!(cause["reason"], "self_time");
    assert_eq!(cause["event_gaps"][0]["to"], "successful_response");
    assert_eq!(said["spans"][1]["spiked_seconds"], 1.198_196);
    assert_eq!(said["spans"][1]["match"], "matched");
    let causes = said["root_causes"].as_array().unwrap();
    let sum: f64 = causes.iter().map(|cause| cause["excess_seconds"].as_f64().unwrap()).sum();
    let [delta, rest] =
        ["delta_seconds", "unexplained_seconds"].map(|at| said[at].as_f64().unwrap());
    assert!((sum + rest - delta).abs() < 1e-9);
}

#[test]
fn a_file_against_itself_is_no_difference() {
    let said = json(&[], [SPIKED, SPIKED]);
    assert_eq!(said["verdict"], "no_difference");
    assert_eq!(said["root_causes"], serde_json::json!([]));
}

#[test]
fn the_text_says_the_verdict_first_and_fits_the_terminal_without_escapes() {
    let output = compare(&[], [NORMAL, SPIKED]);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with("ROOT CAUSE: service `Pre-Processor`"), "{first}");
    assert!(first.contains("1.207 s"), "{first}");
    assert!(lines.all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\u{1b}'), "standard output is no terminal here");
    assert!(text.contains("successful_response") && text.contains('#'), "{text}");
}

#[test]
fn a_trace_can_be_chosen_and_one_that_is_not_there_is_exit_code_2() {
    let said = json(&["--spiked-trace", "af7651916cd43dd8448eb211c80319d"], [NORMAL, SPIKED]);
    assert_eq!(said["verdict"], "root_cause");
    for trace in ["1", "xyz"] {
        let output = compare(&["--baseline-trace", trace], [NORMAL, SPIKED]);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    let output = compare(&["--baseline-trace", "1"], [NORMAL, SPIKED]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no trace") && said.contains(NORMAL), "{said}");
}

#[test]
fn a_file_that_is_not_there_or_no_trace_is_exit_code_2_with_one_line() {
    for other in ["nothing.json", "../../README.md"] {
        let output = compare(&[], [NORMAL, other]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(Path::new(other).file_name().unwrap().to_str().unwrap()), "{said}");
    }
}

#[test]
fn both_sides_cannot_be_standard_input() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_laghound"));
    let output = command.args(["compare", "-", "-"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
