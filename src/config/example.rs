//! The annotated example: every key with its default and what the table says of it.
//!
//! `deploy/laghound.yaml` is this text; a test compares the two, so that the file cannot lag behind.

use super::settings::{Config, KEYS, SECTIONS};

const HEADER: &str = "\
laghound's configuration: every key there is, each with its default.

No file is needed to start, and a file needs only the keys that differ. Each key can also be set
by a flag, --assembly.grace 5s, or by an environment variable, LAGHOUND_ASSEMBLY_GRACE=5s.
Precedence: flag, variable, file, default. An unknown key is an error.

Values: durations 250ms, 30s, 5m, 6h; sizes 512KiB, 64MiB, 1GiB; addresses 127.0.0.1:4317,
\"[::1]:4317\" (in quotes), localhost:4317. ${env:NAME} and ${env:NAME:-default} insert an
environment variable anywhere in a value (in quotes inside a [list]); $$ is a dollar sign.

To try a file: laghound check-config FILE
";

/// The whole example.
pub fn example() -> String {
    let config = Config::default();
    let mut out = String::new();
    comment(&mut out, "", HEADER.lines());
    let mut open: Vec<&str> = Vec::new();
    for key in KEYS {
        let mut words: Vec<&str> = key.name.split('.').collect();
        let word = words.pop().unwrap_or_default();
        let shared = open.iter().zip(&words).take_while(|(a, b)| a == b).count();
        if shared < open.len() && shared == words.len() {
            // Back from a subsection, to a key of the section around it.
            out.push('\n');
        }
        open.truncate(shared);
        for section in &words[shared..] {
            out.push('\n');
            if open.is_empty() {
                comment(&mut out, "", docs_of(section).iter().map(|line| line.trim()));
            }
            out.push_str(&format!("{}{section}:\n", "  ".repeat(open.len())));
            open.push(section);
        }
        let indent = "  ".repeat(open.len());
        comment(&mut out, &indent, key.docs.iter().map(|line| line.trim()));
        out.push_str(&format!("{indent}{word}: {}\n", key.value(&config)));
    }
    out
}

fn comment<'a>(out: &mut String, indent: &str, lines: impl Iterator<Item = &'a str>) {
    for line in lines {
        out.push_str(format!("{indent}# {line}").trim_end());
        out.push('\n');
    }
}

/// A section's lines. Where its name is a word of the language, the field's ends in `_`.
fn docs_of(section: &str) -> &'static [&'static str] {
    let found = SECTIONS.iter().find(|(name, _)| name.trim_end_matches('_') == section);
    found.map_or(&[], |(_, docs)| docs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Key;

    #[test]
    fn every_section_has_its_lines() {
        for section in KEYS.iter().filter_map(|key| Some(key.name.split_once('.')?.0)) {
            assert!(!docs_of(section).is_empty(), "{section}");
        }
    }

    #[test]
    fn keys_of_one_section_stand_together() {
        let text = example();
        for (name, _) in SECTIONS {
            let name = name.trim_end_matches('_');
            // A section of the table whose keys have no common first word is none in the file.
            let is_section = Key::is_section(name);
            let heading = format!("\n{name}:\n");
            assert_eq!(text.matches(&heading).count(), usize::from(is_section), "{heading:?}");
        }
    }
}
