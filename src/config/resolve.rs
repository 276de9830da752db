//! From what people wrote to what holds: file, environment and flags become one checked [`Config`].
//!
//! Precedence: flag, then environment variable, then file, then default. Everything that is wrong is
//! reported at once. Nothing here reads the process's environment or arguments: they are given, so
//! that tests and reloads decide what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use super::check::check;
use super::expand::expand;
use super::keys::{Key, VARIABLE_PREFIX, suggest};
use super::problem::{ConfigError, Excerpt, Place, Problem};
use super::settings::{Config, KEYS};
use super::value::Raw;
use super::yaml::{Entry, Mark, Node, Value, parse};

/// A configuration file's name and text.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// As given, for messages.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// Everything that may say something about a setting.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<ConfigFile>,
    /// The variables: those called `LAGHOUND_...` override keys, all serve `${env:NAME}`.
    pub environment: Environment,
    /// Keys set by flag, with their values.
    pub flags: Vec<(&'static str, String)>,
}

/// A configuration and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// What is odd but does no harm, each a line to be logged.
    pub warnings: Vec<String>,
    places: BTreeMap<&'static str, Place>,
}

/// A setting that differs from its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The key.
    pub key: &'static str,
    /// Its value, as it would be written in a file.
    pub value: String,
    /// Who set it.
    pub place: Place,
}

impl ConfigFile {
    /// Far more than every key with a page of comments takes.
    const LIMIT_BYTES: u64 = 1 << 20;

    /// Reads a file. Its content is not looked at.
    ///
    /// # Errors
    /// It cannot be read, is larger than a megabyte, or is not UTF-8.
    pub fn read(path: &Path) -> Result<ConfigFile, ConfigError> {
        let name = path.display().to_string();
        let limit_bytes = ConfigFile::LIMIT_BYTES;
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(limit_bytes + 1).read_to_end(&mut bytes))
            .map_err(|source| ConfigError::Unreadable { file: name.clone(), source })?;
        if bytes.len() as u64 > limit_bytes {
            return Err(ConfigError::TooLarge { file: name, limit_bytes });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(ConfigFile { name, text }),
            Err(error) => {
                let byte = error.utf8_error().valid_up_to();
                Err(ConfigError::NotText { file: name, byte })
            }
        }
    }
}

impl Sources {
    /// The configuration that holds.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with everything that is wrong: syntax, unknown keys, values that
    /// cannot be read or are out of range, unset variables, settings that contradict each other.
    pub fn resolve(&self) -> Result<Loaded, ConfigError> {
        let mut draft = Draft::default();
        if let Some(file) = &self.file {
            draft.read_file(file, &self.environment);
        }
        draft.read_environment(&self.environment);
        for (name, value) in &self.flags {
            if let Some(key) = Key::find(name) {
                draft.set(key, &Raw::Text(value.clone()), Place::Flag(key.name));
            }
        }
        // Values that stand for those that could not be read would only raise false contradictions.
        if draft.problems.is_empty() {
            draft.problems = check(&draft.config, &draft.places);
        }
        if !draft.problems.is_empty() {
            draft.problems.sort_by_key(|problem| problem.place.order());
            return Err(ConfigError::Invalid(draft.problems));
        }
        let Draft { config, places, warnings, .. } = draft;
        Ok(Loaded { config, warnings, places })
    }
}

impl Loaded {
    /// Who set a key.
    pub fn place(&self, key: &str) -> Place {
        self.places.get(key).cloned().unwrap_or(Place::Default)
    }

    /// Every setting that differs from its default, in the order of the table.
    pub fn changed(&self) -> Vec<Changed> {
        let differing = KEYS.iter().filter(|key| key.value(&self.config) != key.default_value());
        differing
            .map(|key| Changed {
                key: key.name,
                value: key.value(&self.config),
                place: self.place(key.name),
            })
            .collect()
    }
}

/// A configuration in the making.
#[derive(Default)]
struct Draft {
    config: Config,
    places: BTreeMap<&'static str, Place>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Draft {
    fn set(&mut self, key: &'static Key, raw: &Raw, place: Place) {
        match (key.set)(&mut self.config, raw) {
            Ok(()) => {
                self.places.insert(key.name, place);
            }
            Err(defect) => self.complain(place, format!("{}: {defect}", key.name)),
        }
    }

    fn complain(&mut self, place: Place, message: String) {
        self.problems.push(Problem { place, message });
    }

    fn read_file(&mut self, file: &ConfigFile, environment: &Environment) {
        let place = |at: Mark| Place::File(Excerpt::new(&file.name, &file.text, at));
        let root = match parse(&file.text) {
            Ok(root) => root,
            Err(defect) => return self.complain(place(defect.at), defect.message),
        };
        let mut seen = BTreeSet::new();
        // Sections still to be looked into; only known ones get here, so the table bounds the depth.
        let mut sections = vec![(String::new(), root)];
        while let Some((section, node)) = sections.pop() {
            let entries = match node.value {
                Value::Map(entries) => entries,
                Value::Null => continue,
                _ => {
                    self.complain(place(node.at), keys_expected(&section));
                    continue;
                }
            };
            for Entry { name, name_at, node } in entries {
                let path = if section.is_empty() { name } else { format!("{section}.{name}") };
                if let Some(key) = Key::find(&path) {
                    if !seen.insert(key.name) {
                        self.complain(place(name_at), format!("{path}: is set twice in this file"));
                        continue;
                    }
                    let at = place(if node.value == Value::Null { name_at } else { node.at });
                    match raw(node, environment) {
                        Ok(raw) => self.set(key, &raw, at),
                        Err(message) => self.complain(at, format!("{path}: {message}")),
                    }
                } else if Key::is_section(&path) {
                    sections.push((path, node));
                } else {
                    self.complain(place(name_at), unknown(&path));
                }
            }
        }
    }

    fn read_environment(&mut self, environment: &Environment) {
        let variables: BTreeMap<String, &'static Key> =
            KEYS.iter().map(|key| (key.variable(), key)).collect();
        let ours = environment.iter().filter(|(name, _)| name.starts_with(VARIABLE_PREFIX));
        for (name, value) in ours {
            match variables.get(name.as_str()) {
                // Empty is how compose files and manifests write "not set".
                Some(_) if value.is_empty() => {}
                Some(key) => {
                    self.set(key, &Raw::Text(value.clone()), Place::Variable(name.clone()));
                }
                None if name == FILE_VARIABLE || is_service_link(name) => {}
                None => self.warnings.push(unknown_variable(name, &variables)),
            }
        }
    }
}

/// The variable that names the file, for those who give no `--config`.
pub const FILE_VARIABLE: &str = "LAGHOUND_CONFIG";

/// What was written, with its references replaced.
fn raw(node: Node, environment: &Environment) -> Result<Raw, String> {
    let text = |text: &str| {
        expand(text, |name| environment.get(name).map(String::as_str))
            .map_err(|defect| defect.to_string())
    };
    match node.value {
        Value::Text(written) => Ok(Raw::Text(text(&written)?)),
        Value::List(items) => {
            let items = items.into_iter().map(|item| match item.value {
                Value::Text(written) => text(&written),
                _ => Err("a list item must be a word".to_owned()),
            });
            Ok(Raw::List(items.collect::<Result<_, _>>()?))
        }
        Value::Null => Err("has no value; leave the key out to get its default".to_owned()),
        Value::Map(_) => Err("is a setting and has no keys below it".to_owned()),
    }
}

fn keys_expected(section: &str) -> String {
    let below = if section.is_empty() { String::new() } else { format!("{section}.") };
    let example = KEYS.iter().find(|key| key.name.starts_with(&below)).map_or("", |key| key.name);
    let what = if section.is_empty() { "a configuration" } else { section };
    format!("{what}: keys are expected here, such as {example}")
}

fn unknown(path: &str) -> String {
    match suggest(path) {
        Some(meant) => format!("unknown key {path:?}; did you mean {meant}?"),
        None => {
            format!("unknown key {path:?}; --help and deploy/laghound.yaml list all there are")
        }
    }
}

fn unknown_variable(name: &str, variables: &BTreeMap<String, &'static Key>) -> String {
    let path = name[VARIABLE_PREFIX.len()..].to_ascii_lowercase();
    let likeness =
        |other: &str| strsim::normalized_damerau_levenshtein(&path, &other.replace('.', "_"));
    let nearest = variables.values().max_by(|a, b| likeness(a.name).total_cmp(&likeness(b.name)));
    match nearest {
        Some(key) if likeness(key.name) >= 0.8 => {
            format!("environment variable {name} sets nothing; did you mean {}?", key.variable())
        }
        _ => format!("environment variable {name} sets nothing: there is no such setting"),
    }
}

/// Whether Kubernetes set it: beside a Service called `laghound` every container of the namespace
/// finds `LAGHOUND_SERVICE_HOST`, `LAGHOUND_PORT_4317_TCP_ADDR` and their like.
fn is_service_link(name: &str) -> bool {
    let of_port = |rest: &str| {
        rest.starts_with(|c: char| c.is_ascii_digit())
            && ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| rest.contains(protocol))
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| of_port(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogLevel;
    use crate::model::Nanos;

    fn sources(
        file: &str,
        environment: &[(&str, &str)],
        flags: &[(&'static str, &str)],
    ) -> Sources {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Sources {
            file: Some(ConfigFile { name: "a.yaml".to_owned(), text: file.to_owned() }),
            environment: environment.iter().map(owned).collect(),
            flags: flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
        }
    }

    fn file(text: &str) -> Result<Loaded, ConfigError> {
        sources(text, &[("GRACE", "7s"), ("ZONES", "a,b"), ("HOSTILE", "5s\nmax_traces: 1")], &[])
            .resolve()
    }

    fn complaint(text: &str) -> String {
        file(text).expect_err(text).to_string()
    }

    #[test]
    fn nothing_at_all_gives_the_defaults() {
        let loaded = Sources::default().resolve().expect("needs nothing");
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.changed().is_empty() && loaded.warnings.is_empty());
        for text in ["", "# nothing\n", "assembly:\n", "receiver:\n  grpc:\n"] {
            assert_eq!(file(text).expect(text).config, Config::default());
        }
    }

    #[test]
    fn flag_beats_variable_beats_file_beats_default() {
        let text = "assembly:\n  grace: 2s\n  idle_timeout: 22s\n  max_trace_age: 99s\n";
        let environment =
            [("LAGHOUND_ASSEMBLY_GRACE", "3s"), ("LAGHOUND_ASSEMBLY_IDLE_TIMEOUT", "33s")];
        let flags = [("assembly.grace", "4s")];
        let loaded = sources(text, &environment, &flags).resolve().expect("is fine");
        let assembly = &loaded.config.assembly;
        assert_eq!(assembly.grace, Nanos::from_secs(4));
        assert_eq!(assembly.idle_timeout, Nanos::from_secs(33));
        assert_eq!(assembly.max_trace_age, Nanos::from_secs(99));
        assert_eq!(assembly.max_traces, Config::default().assembly.max_traces);
        let places: Vec<String> =
            loaded.changed().iter().map(|changed| changed.place.to_string()).collect();
        assert_eq!(places, ["--assembly.grace", "LAGHOUND_ASSEMBLY_IDLE_TIMEOUT", "a.yaml:4:18"]);
    }

    #[test]
    fn an_empty_variable_is_not_set_but_an_empty_flag_is() {
        let variable = [("LAGHOUND_WHERE_RESOURCE_ATTRIBUTES", "")];
        let loaded = sources("", &variable, &[]).resolve().expect("is fine");
        assert_eq!(loaded.config, Config::default());
        let flag = [("where.resource_attributes", "")];
        let loaded = sources("", &[], &flag).resolve().expect("is fine");
        assert!(loaded.config.where_.resource_attributes.is_empty());
    }

    #[test]
    fn dotted_names_and_nested_sections_are_the_same() {
        let nested = file("receiver:\n  grpc:\n    endpoint: localhost:1\n").expect("is fine");
        let dotted = file("receiver.grpc.endpoint: localhost:1\n").expect("is fine");
        assert_eq!(nested.config, dotted.config);
        let twice = "receiver: {grpc: {endpoint: 'a:1'}}\nreceiver.grpc.endpoint: 'a:1'\n";
        assert!(complaint(twice).contains("receiver.grpc.endpoint: is set twice"));
    }

    #[test]
    fn references_work_for_every_kind_of_value() {
        let text = "assembly.grace: ${env:GRACE}\nassembly.max_traces: ${env:NO:-17}\n\
            detection.sensitivity: ${env:NO:-2}\nlog: {level: \"${env:NO:-warn}\"}\n\
            receiver.grpc.endpoint: localhost:${env:NO:-99}\nwhere.span_attributes: ${env:ZONES}\n\
            where.resource_attributes: ['${env:GRACE}', c]\n";
        let config = file(text).expect("is fine").config;
        assert_eq!(config.assembly.grace, Nanos::from_secs(7));
        assert_eq!(config.assembly.max_traces, 17);
        assert_eq!(config.detection.sensitivity, 2.0);
        assert_eq!(config.log.level, LogLevel::Warn);
        assert_eq!(config.receiver.grpc_endpoint.to_string(), "localhost:99");
        assert_eq!(config.where_.span_attributes, ["a", "b"]);
        assert_eq!(config.where_.resource_attributes, ["7s", "c"]);
    }

    #[test]
    fn a_variable_cannot_bring_structure_with_it() {
        let shown = complaint("assembly:\n  grace: ${env:HOSTILE}\n");
        assert!(shown.starts_with("a.yaml:2:10: assembly.grace: \"5s\\nmax_traces: 1\" is not"));
    }

    #[test]
    fn unset_variables_are_named_at_their_place() {
        let shown = complaint("assembly:\n  grace: ${env:NO_SUCH}\n");
        assert!(shown.starts_with("a.yaml:2:10: assembly.grace: the environment variable NO_SUCH"));
    }

    #[test]
    fn unknown_keys_point_at_the_name_and_suggest() {
        let shown = complaint("assembly:\n  grase: 5s\n");
        let expected = "a.yaml:2:3: unknown key \"assembly.grase\"; did you mean assembly.grace?\n  \
            |\n2 |   grase: 5s\n  |   ^^^^^";
        assert_eq!(shown, expected);
        assert!(complaint("colour: red\n").contains("unknown key \"colour\"; --help"));
        assert!(complaint("recever:\n  a: 1\n").contains("did you mean receiver?"));
    }

    #[test]
    fn values_of_the_wrong_shape_are_refused() {
        for (text, part) in [
            ("just a word\n", "a configuration: keys are expected here"),
            ("assembly: 5s\n", "assembly: keys are expected here, such as assembly.grace"),
            ("assembly.grace: {a: 1}\n", "is a setting and has no keys below it"),
            ("assembly.grace:\n", "a.yaml:1:1: assembly.grace: has no value"),
            ("assembly.grace: [5s]\n", "a list is not a duration"),
            ("assembly.grace: 5\n", "\"5\" is not a duration; write a number with its unit"),
            ("where.span_attributes: [[a]]\n", "a list item must be a word"),
            ("detection.sensitivity: 9\n", "9.0 is out of range; allowed is 0.25 to 4.0"),
            ("log.level: loud\n", "\"loud\" is not a log level; allowed are off, error"),
            ("receiver.grpc.endpoint: ':4317'\n", "\":4317\" is not an address"),
            ("a: [\n", "not valid YAML"),
        ] {
            let shown = complaint(text);
            assert!(shown.contains(part), "{text:?}: {shown}");
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once_in_the_order_of_the_file() {
        let text = "log.level: loud\nassembly:\n  grase: 5s\n  max_traces: many\n";
        let sources =
            sources(text, &[("LAGHOUND_ENGINE_THREADS", "few")], &[("log.format", "xml")]);
        let Err(ConfigError::Invalid(problems)) = sources.resolve() else { panic!("must fail") };
        let places: Vec<String> =
            problems.iter().map(|problem| problem.place.to_string()).collect();
        let expected =
            ["a.yaml:1:12", "a.yaml:3:3", "a.yaml:4:15", "LAGHOUND_ENGINE_THREADS", "--log.format"];
        assert_eq!(places, expected);
    }

    #[test]
    fn unknown_variables_of_ours_are_warned_of_and_others_are_not() {
        let environment = [
            ("LAGHOUND_ASSEMBLY_GRASE", "5s"),
            ("LAGHOUND_COLOUR", "red"),
            ("LAGHOUND_CONFIG", "a.yaml"),
            ("LAGHOUND_SERVICE_HOST", "10.0.0.1"),
            ("LAGHOUND_SERVICE_PORT_GRPC", "4317"),
            ("LAGHOUND_PORT", "tcp://10.0.0.1:4317"),
            ("LAGHOUND_PORT_4317_TCP_ADDR", "10.0.0.1"),
            ("PATH", "/bin"),
        ];
        let loaded = sources("", &environment, &[]).resolve().expect("is fine");
        let expected = [
            "environment variable LAGHOUND_ASSEMBLY_GRASE sets nothing; \
                did you mean LAGHOUND_ASSEMBLY_GRACE?",
            "environment variable LAGHOUND_COLOUR sets nothing: there is no such setting",
        ];
        assert_eq!(loaded.warnings, expected);
    }

    #[test]
    fn no_file_can_make_it_panic() {
        let text = "assembly:\n  grace: [${env:GRACE}, \"\u{7f}\", 'ä']\n? {a: b}\n: - x\n";
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let (head, tail) = text.split_at(end);
            for part in [head, tail] {
                if let Err(error) = file(part) {
                    assert!(!error.to_string().is_empty());
                }
            }
        }
    }
}
