//! The rules of the house, read off the sources: which room may use which, who reads the clock,
//! how long a file may be, what lies at the top.
//!
//! Works on text with comments and strings taken out, not on a syntax tree. It is meant to catch a
//! slip, not somebody who wants to get around it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room, and what it may use: whole rooms, or one module of a room.
const ROOMS: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("engine", &["model"]),
    ("compare", &["model", "engine"]),
    ("otlp", &["model"]),
    ("sim", &["model"]),
    ("publish", &["model", "engine::verdict", "engine::evidence", "compare::verdict"]),
    ("live", &["model", "engine", "compare", "otlp", "sim", "publish"]),
    ("config", EVERYTHING),
    ("cli", EVERYTHING),
];

const EVERYTHING: &[&str] =
    &["model", "engine", "compare", "otlp", "sim", "publish", "live", "config", "cli"];

/// The one file that reads clocks, and what reading one looks like.
const CLOCK: &str = "src/live/clock.rs";
/// Measurements kept beside the code: they need a clock, and run only when asked for.
const MEASUREMENTS: [&str; 1] = ["src/publish/exposition_tests.rs"];
const CLOCKS: [&str; 4] = ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"];

const MAX_LINES: usize = 600;

/// What may lie at the top, besides dotfiles, licences and what a build leaves behind.
const TOP: [&str; 11] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "proto",
    "deploy",
    "tests",
    "Dockerfile",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `directory`, by its path from the top, sorted.
fn sources(directory: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            // A fuzzing package below tests/ has a target directory of its own.
            if path.is_dir() && !path.ends_with("target") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "no sources below {directory}");
    found
}

/// The room a source file belongs to; `None` for `lib.rs` and `main.rs`.
fn room_of(file: &str) -> Option<&str> {
    file.strip_prefix("src/")?.split_once('/').map(|(room, _)| room)
}

/// The words and marks of Rust code, without comments, strings and characters. `::` is one mark.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let rest = &code[at..];
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if word > 0 {
            match raw_string(&rest[word..]).filter(|_| ["r", "br", "cr"].contains(&&rest[..word])) {
                Some(string) => word + string,
                None => {
                    tokens.push(&rest[..word]);
                    word
                }
            }
        } else if let Some(skipped) = comment(rest).or_else(|| literal(rest)) {
            skipped
        } else {
            let mark =
                if rest.starts_with("::") { 2 } else { rest.chars().next().unwrap().len_utf8() };
            if !rest.starts_with(char::is_whitespace) {
                tokens.push(&rest[..mark]);
            }
            mark
        };
        at += length;
    }
    tokens
}

/// The length of the comment that `code` begins with. Comments within comments count.
fn comment(code: &str) -> Option<usize> {
    if code.starts_with("//") {
        return Some(code.find('\n').unwrap_or(code.len()));
    }
    code.strip_prefix("/*")?;
    let (mut depth, mut at) = (0_usize, 0);
    while at < code.len() {
        let (change, length) = match &code.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth = depth.saturating_add_signed(change);
        at += length;
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// The length of the string or character that `code` begins with. A lifetime is neither.
fn literal(code: &str) -> Option<usize> {
    let quote = code.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let mut escaped = false;
    for (at, c) in code.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + 1),
            // Two characters without a closing quote: the first quote opened a lifetime.
            _ if quote == '\'' && at > 1 && !code.starts_with("'\\") => return Some(1),
            _ => {}
        }
    }
    Some(1)
}

/// The length of what follows the `r` of a raw string, if that is what this is.
fn raw_string(code: &str) -> Option<usize> {
    let hashes = code.find(|c| c != '#')?;
    let inner = code[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", &code[..hashes]);
    Some(hashes + 1 + inner.find(&close)? + close.len())
}

/// Paths from the top of the crate that `code` names, the first two words of each: `engine::verdict`,
/// or `engine` alone. `depth` is how many modules the file lies below the top, so that `super::`
/// is followed, too.
fn paths(code: &str, depth: usize) -> BTreeSet<String> {
    let tokens = tokens(code);
    let mut found = BTreeSet::new();
    // Inline modules that are open, each by the number of braces that were open before it.
    let (mut braces, mut modules) = (0_usize, Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            "{" => {
                if at >= 2 && tokens[at - 2] == "mod" {
                    modules.push(braces);
                }
                braces += 1;
            }
            "}" => {
                braces = braces.saturating_sub(1);
                modules.pop_if(|before| *before == braces);
            }
            "crate" if tokens.get(at + 1) == Some(&"::") => {
                found.extend(named(&tokens[at + 2..]));
            }
            "super" => {
                let words = tokens[at..].chunks(2);
                let ups = words.take_while(|pair| **pair == ["super", "::"]).count();
                if ups > 0 && ups >= depth + modules.len() {
                    found.extend(named(&tokens[at + 2 * ups..]));
                }
                at += (2 * ups).saturating_sub(1);
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// What the tokens after `crate::` name: `a::b::c` is `a::b`, `{a::{b, c}, d}` is all of
/// `a::b`, `a::c` and `d`.
fn named(tokens: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // What has been said before each open brace, and the path being read.
    let (mut before, mut path): (Vec<Vec<&str>>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut tokens = tokens.iter().copied().peekable();
    while let Some(token) = tokens.next() {
        match token {
            "{" => before.push(path.clone()),
            "::" => {}
            "," | "}" => {
                let Some(outer) = before.last() else { break };
                path.clone_from(outer);
                if token == "}" {
                    before.pop();
                }
            }
            "as" => {
                tokens.next();
            }
            word => {
                path.push(word);
                if path.len() >= 2 || tokens.peek() != Some(&"::") {
                    found.insert(path[..path.len().min(2)].join("::"));
                }
            }
        }
        let goes_on = matches!(token, "::" | "{") || !before.is_empty();
        if !goes_on && tokens.peek() != Some(&"::") {
            break;
        }
    }
    found
}

/// Whether `room` may name `path`.
fn may_use(room: &str, path: &str) -> bool {
    let target = path.split("::").next().unwrap_or(path);
    let allowed = ROOMS.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, may)| may);
    target == room || allowed.contains(&target) || allowed.contains(&path)
}

/// The files of a folder that belong to a file beside them by `#[path = "..."]`, not to the folder.
fn adopted(sources: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (file, code) in sources {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let attributes = code.lines().filter_map(|line| line.trim().strip_prefix("#[path = \""));
        let names = attributes.filter_map(|rest| rest.strip_suffix("\"]"));
        found.extend(names.map(|name| format!("{folder}/{name}")));
    }
    found
}

/// How many modules a source file lies below the top: 1 for `src/engine/mod.rs`.
fn depth_of(file: &str) -> usize {
    let steps = file.split('/').count() - 1;
    if file.ends_with("/mod.rs") { steps - 1 } else { steps }
}

#[test]
fn no_room_uses_what_it_must_not() {
    let mut wrong = Vec::new();
    let sources = sources("src");
    let adopted = adopted(&sources);
    for (file, code) in &sources {
        let Some(room) = room_of(file) else { continue };
        assert!(ROOMS.iter().any(|(name, _)| *name == room), "{file}: no such room as {room}");
        let depth = depth_of(file) + usize::from(adopted.contains(file));
        for path in paths(code, depth) {
            if !may_use(room, &path) {
                wrong.push(format!("{file}: {room} must not use {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn anyhow_is_for_the_command_line_only() {
    for (file, code) in sources("src") {
        let uses = tokens(&code).contains(&"anyhow");
        assert!(!uses || room_of(&file) == Some("cli"), "{file} uses anyhow");
    }
}

#[test]
fn one_file_reads_the_clock() {
    for (file, code) in sources("src") {
        let code = tokens(&code).concat();
        let may_read = file == CLOCK || MEASUREMENTS.contains(&&*file);
        for clock in CLOCKS {
            assert!(may_read || !code.contains(clock), "{file} calls {clock}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_is_not_too_long() {
    for (file, code) in sources("src").into_iter().chain(sources("tests")) {
        assert!(code.starts_with("//! "), "{file} does not begin with a //! header");
        let lines = code.lines().count();
        assert!(lines <= MAX_LINES, "{file} has {lines} lines; {MAX_LINES} are a stop");
    }
}

#[test]
fn nothing_strange_lies_at_the_top() {
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = TOP.contains(&&*name) || name.starts_with("LICENSE") || name.starts_with('.');
        assert!(known || name == "target", "{name} does not belong at the top");
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    for (code, depth, expected) in [
        ("use crate::model::Nanos;", 2, &["model::Nanos"][..]),
        ("use crate::model;", 2, &["model"]),
        (
            "use crate::{model::{Nanos, Span}, engine as e};",
            2,
            &["engine", "model::Nanos", "model::Span"],
        ),
        (
            "use crate::engine::{self, verdict::{Board, Event}};",
            2,
            &["engine::self", "engine::verdict"],
        ),
        ("fn f(a: crate::live::Clock, b: u8) {}", 2, &["live::Clock"]),
        ("f(crate :: cli :: print(x), other::thing)", 2, &["cli::print"]),
        ("use super::super::live::Clock;", 2, &["live::Clock"]),
        ("use super::live::Clock;", 1, &["live::Clock"]),
        ("use super::Nanos;", 2, &[]),
        ("mod tests { use super::*; use super::super::live; }", 1, &["live"]),
        ("mod tests { use super::*; } use super::live;", 1, &["live"]),
        (
            "// use crate::live;\n/* crate::live /* crate::cli */ */ \"crate::live \\\" crate::cli\"",
            2,
            &[],
        ),
        ("r#\"crate::live \" crate::cli\"# '\"' crate::sim \"", 2, &["sim"]),
        ("fn f<'a>(c: char) -> bool { c == '\\'' || c == '\"' } use crate::sim;", 2, &["sim"]),
        ("pub(crate) fn f() {}", 2, &[]),
        ("macro_rules! m { () => { $crate::live::x() } }", 2, &["live::x"]),
    ] {
        let found: Vec<String> = paths(code, depth).into_iter().collect();
        assert_eq!(found, expected, "{code}");
    }
}

#[test]
fn the_table_of_rooms_is_enforced() {
    for (room, path) in [
        ("model", "engine::Board"),
        ("engine", "live::Clock"),
        ("otlp", "engine::verdict"),
        ("sim", "engine"),
        ("publish", "engine::assemble"),
        ("publish", "engine"),
        ("live", "config::Config"),
        ("engine", "VERSION"),
    ] {
        assert!(!may_use(room, path), "{room} {path}");
    }
    for (room, path) in [
        ("model", "model::Nanos"),
        ("publish", "engine::verdict"),
        ("publish", "model"),
        ("live", "publish::page"),
        ("cli", "live"),
        ("config", "engine::params"),
    ] {
        assert!(may_use(room, path), "{room} {path}");
    }
}

#[test]
fn a_file_adopted_by_another_lies_one_module_deeper() {
    let code = "mod other;\n#[cfg(test)]\n    #[path = \"b_tests.rs\"]\nmod tests;\n";
    let sources = BTreeMap::from([("src/publish/b.rs".to_owned(), code.to_owned())]);
    assert_eq!(adopted(&sources), BTreeSet::from(["src/publish/b_tests.rs".to_owned()]));
}

#[test]
fn depth_counts_modules() {
    assert_eq!(depth_of("src/engine/mod.rs"), 1);
    assert_eq!(depth_of("src/engine/tree.rs"), 2);
    assert_eq!(depth_of("src/otlp/wire/mod.rs"), 2);
    assert_eq!(depth_of("src/lib.rs"), 1);
}
