//! What a configuration key is, and the macro that turns one table into everything that needs it.
//!
//! The file's keys, the flags, the `LAGHOUND_...` variables, the help texts, the annotated example
//! and the defaults all come from the lines in `settings.rs`, so they cannot drift apart. What the
//! keys mean is said there; how a value is read, in `value.rs`; which source wins, in `resolve.rs`.

use super::settings::{Config, KEYS};
use super::value::{Raw, ValueDefect};

/// One key: its name, what it is for, and how it gets in and out of a [`Config`].
pub struct Key {
    /// The dotted name in the file, `assembly.grace`.
    pub name: &'static str,
    /// What it does and why its default is what it is, line by line, as written in the table.
    pub docs: &'static [&'static str],
    /// What stands for the value in a help text, `DURATION`.
    pub placeholder: &'static str,
    pub(super) set: fn(&mut Config, &Raw) -> Result<(), ValueDefect>,
    pub(super) show: fn(&Config) -> String,
}

impl Key {
    /// The key with this dotted name.
    pub fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Whether `path` is the beginning of some key's name, `receiver` or `receiver.grpc`.
    pub(super) fn is_section(path: &str) -> bool {
        KEYS.iter().any(|key| is_below(key.name, path))
    }

    /// The environment variable that overrides it, `LAGHOUND_ASSEMBLY_GRACE`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// Its value in `config`, written as it would be in a file.
    pub fn value(&self, config: &Config) -> String {
        (self.show)(config)
    }

    /// Its default, written as it would be in a file.
    pub fn default_value(&self) -> String {
        self.value(&Config::default())
    }

    /// All of [`Key::docs`] in one line, for a help text.
    pub fn help(&self) -> String {
        let lines: Vec<&str> = self.docs.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }
}

/// What every variable of ours begins with.
pub(super) const VARIABLE_PREFIX: &str = "LAGHOUND_";

/// Whether `name` lies in the section `path`.
fn is_below(name: &str, path: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
}

/// What somebody who wrote the unknown `path` probably meant: a key or section spelled alike, or the
/// only key that ends in the same word.
pub(super) fn suggest(path: &str) -> Option<String> {
    /// Two letters in ten may be wrong: `recever`, `max_traces_age`, `asembly.grase`.
    const ALIKE: f64 = 0.8;
    let mut candidates: Vec<&str> = Vec::new();
    for key in KEYS {
        candidates.push(key.name);
        candidates.extend(key.name.match_indices('.').map(|(at, _)| &key.name[..at]));
    }
    candidates.sort_unstable();
    candidates.dedup();
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(path, name);
    let nearest = candidates.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    if likeness(nearest) >= ALIKE {
        return Some((*nearest).to_owned());
    }
    let word = path.rsplit('.').next()?;
    let mut same_word =
        KEYS.iter().filter(|key| key.name.rsplit('.').next().is_some_and(|last| last == word));
    match (same_word.next(), same_word.next()) {
        (Some(only), None) => Some(only.name.to_owned()),
        _ => None,
    }
}

/// Makes, from sections of lines `field: Type = "dotted.name", default, in lowest..=highest;`, a
/// struct for each section, [`Config`] of all of them with its `Default`, and [`KEYS`].
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {$(
            $(#[doc = $doc:literal])+
            $field:ident: $type:ty = $name:literal, $default:expr $(, in $range:expr)?;
        )+}
    )+) => {
        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {$(
                $(#[doc = $doc])+
                pub $field: $type,
            )+}

            impl Default for $Section {
                fn default() -> $Section {
                    $Section { $($field: $default,)+ }
                }
            }
        )+

        /// Every setting, checked: whoever holds one need not ask again.
        #[derive(Clone, Debug, PartialEq, Default)]
        pub struct Config {$(
            $(#[doc = $section_doc])+
            pub $section: $Section,
        )+}

        /// Every key there is, in the order of the annotated example.
        pub static KEYS: &[Key] = &[$($(
            Key {
                name: $name,
                docs: &[$($doc),+],
                placeholder: <$type as Setting>::PLACEHOLDER,
                set: |config, raw| {
                    let value = <$type as Setting>::read(raw)?;
                    $(within(&value, &$range)?;)?
                    config.$section.$field = value;
                    Ok(())
                },
                show: |config| config.$section.$field.show(),
            },
        )+)+];

        /// What each section is for: its name and its lines.
        pub(super) static SECTIONS: &[(&str, &[&str])] =
            &[$((stringify!($section), &[$($section_doc),+]),)+];
    };
}
pub(super) use settings;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_variables_are_unique() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        let variables: BTreeSet<_> = KEYS.iter().map(Key::variable).collect();
        assert_eq!(names.len(), KEYS.len());
        assert_eq!(variables.len(), KEYS.len());
    }

    #[test]
    fn no_key_is_also_a_section() {
        for key in KEYS {
            assert!(!Key::is_section(key.name), "{}", key.name);
        }
    }

    #[test]
    fn names_are_snake_case_words_joined_by_dots() {
        for key in KEYS {
            let fits = |word: &str| {
                !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            };
            assert!(key.name.split('.').all(fits), "{}", key.name);
        }
    }

    #[test]
    fn every_default_is_within_its_own_range() {
        for key in KEYS {
            let text = key.default_value();
            let list = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let raw = Raw::Text(list.unwrap_or(&text).to_owned());
            let mut config = Config::default();
            assert!((key.set)(&mut config, &raw).is_ok(), "{} = {text}", key.name);
            assert_eq!(config, Config::default(), "{}", key.name);
        }
    }

    #[test]
    fn the_variable_is_the_name_in_capitals() {
        let key = Key::find("receiver.grpc.endpoint").expect("is in the table");
        assert_eq!(key.variable(), "LAGHOUND_RECEIVER_GRPC_ENDPOINT");
    }

    #[test]
    fn misspelled_keys_sections_and_misplaced_words_get_a_suggestion() {
        assert_eq!(suggest("assembly.grase").as_deref(), Some("assembly.grace"));
        assert_eq!(suggest("recever").as_deref(), Some("receiver"));
        assert_eq!(
            suggest("receiver.http.max_request_size").as_deref(),
            Some("receiver.max_request_size")
        );
        assert_eq!(suggest("colour"), None);
        assert_eq!(suggest("x.endpoint"), None, "three keys end in this word");
    }
}
