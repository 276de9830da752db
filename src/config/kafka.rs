//! The kinds of value that only Kafka needs: a list of brokers, and the words for where to begin and how to be secured.
//!
//! Whether a broker answers is not asked here. Values are read and written as in `value.rs`.

use super::endpoint::Endpoint;
use super::value::{Raw, Setting, ValueDefect, meant_by, word_of};
use crate::otlp::receive::kafka::{Begin, Mechanism};

/// Where to begin asking for a cluster; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brokers(Vec<Endpoint>);

impl Brokers {
    /// As they were written, `host:port` each.
    pub fn addresses(&self) -> Vec<String> {
        self.0.iter().map(Endpoint::to_string).collect()
    }

    /// Whether Kafka is not to be read from.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Setting for Brokers {
    const PLACEHOLDER: &'static str = "HOST:PORT,HOST:PORT...";
    const EXPECTED: &'static str = "a list of brokers; write a host and a port for each, such as \
        [kafka-0:9092, kafka-1:9092], or [] for none";

    fn parse(text: &str) -> Option<Brokers> {
        let brokers: Option<Vec<Endpoint>> =
            Vec::<String>::parse(text)?.iter().map(|one| Endpoint::parse(one)).collect();
        brokers.filter(|all| all.iter().all(|one| one.port() != 0)).map(Brokers)
    }

    fn show(&self) -> String {
        self.addresses().show()
    }

    fn read(raw: &Raw) -> Result<Brokers, ValueDefect> {
        let items = Vec::<String>::read(raw)?.join(",");
        Brokers::parse(&items)
            .ok_or(ValueDefect::Unreadable { value: items, expected: Brokers::EXPECTED })
    }
}

/// What a topic or a group is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// A name of ours.
    pub(super) fn new(name: &str) -> Name {
        Name(name.to_owned())
    }

    /// The name.
    pub fn get(&self) -> &str {
        &self.0
    }
}

impl Setting for Name {
    const PLACEHOLDER: &'static str = "NAME";
    const EXPECTED: &'static str =
        "a name; write up to 249 letters, digits, dots, underscores and hyphens";

    /// What Kafka allows a topic to be called.
    fn parse(text: &str) -> Option<Name> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_name = (1..=249).contains(&text.len()) && text.chars().all(fits);
        (is_name && text != "." && text != "..").then(|| Name(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

const BEGINS: [(Begin, &str); 2] = [(Begin::Latest, "latest"), (Begin::Earliest, "earliest")];

impl Setting for Begin {
    const PLACEHOLDER: &'static str = "WHERE";
    const EXPECTED: &'static str = "where to begin; allowed are latest and earliest";

    fn parse(text: &str) -> Option<Begin> {
        meant_by(&BEGINS, text)
    }

    fn show(&self) -> String {
        word_of(&BEGINS, *self).to_owned()
    }
}

/// How connections to brokers are secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Plaintext,
    /// By TLS.
    Tls,
}

const SECURITIES: [(Security, &str); 2] =
    [(Security::Plaintext, "plaintext"), (Security::Tls, "tls")];

impl Setting for Security {
    const PLACEHOLDER: &'static str = "HOW";
    const EXPECTED: &'static str = "how to be secured; allowed are plaintext and tls";

    fn parse(text: &str) -> Option<Security> {
        meant_by(&SECURITIES, text)
    }

    fn show(&self) -> String {
        word_of(&SECURITIES, *self).to_owned()
    }
}

const MECHANISMS: [(Option<Mechanism>, &str); 4] = [
    (None, "none"),
    (Some(Mechanism::Plain), "plain"),
    (Some(Mechanism::ScramSha256), "scram_sha_256"),
    (Some(Mechanism::ScramSha512), "scram_sha_512"),
];

impl Setting for Option<Mechanism> {
    const PLACEHOLDER: &'static str = "MECHANISM";
    const EXPECTED: &'static str =
        "a SASL mechanism; allowed are none, plain, scram_sha_256 and scram_sha_512";

    fn parse(text: &str) -> Option<Option<Mechanism>> {
        meant_by(&MECHANISMS, text)
    }

    fn show(&self) -> String {
        word_of(&MECHANISMS, *self).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Brokers, ValueDefect> {
        Brokers::read(&Raw::Text(text.to_owned()))
    }

    #[test]
    fn brokers_are_hosts_with_ports() {
        let brokers = read("kafka-0:9092, [::1]:9093").expect("are brokers");
        assert_eq!(brokers.addresses(), ["kafka-0:9092", "[::1]:9093"]);
        assert_eq!(brokers.show(), "[kafka-0:9092, [::1]:9093]");
        assert!(read("").expect("is none").is_empty());
        for wrong in ["kafka-0", "kafka-0:0", "kafka-0:9092,kafka-1", "PLAINTEXT://kafka-0:9092"] {
            let complaint = read(wrong).expect_err(wrong).to_string();
            assert!(complaint.contains("a host and a port"), "{complaint}");
        }
        assert!(matches!(read("a:1,a:1"), Err(ValueDefect::DuplicateItem(_))));
    }

    #[test]
    fn names_are_those_that_kafka_takes() {
        assert_eq!(Name::parse("otlp_spans").as_ref().map(Name::get), Some("otlp_spans"));
        for wrong in ["", "..", "a b", "traces/1", &"x".repeat(250)] {
            assert_eq!(Name::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn words_read_as_they_are_written() {
        for (mechanism, word) in MECHANISMS {
            assert_eq!(Option::<Mechanism>::parse(word), Some(mechanism));
            assert_eq!(mechanism.show(), word);
        }
        assert_eq!(Begin::parse("oldest"), None);
        assert_eq!(Security::parse("tls").map(|how| how.show()).as_deref(), Some("tls"));
    }
}
