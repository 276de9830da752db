//! Settings that must fit each other.
//!
//! What one value allows by itself is said in the table; here are only rules between two.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::endpoint::Endpoint;
use super::kafka::Security;
use super::keys::Key;
use super::problem::{Place, Problem};
use super::settings::Config;

/// A setting that must not be larger than another.
struct Order {
    small: &'static str,
    large: &'static str,
    broken: fn(&Config) -> bool,
    why: &'static str,
}

const ORDERS: [Order; 6] = [
    Order {
        small: "connections.max_per_peer",
        large: "connections.max",
        broken: |config| config.connections.max_per_peer > config.connections.max,
        why: "one peer cannot have more connections than all of them",
    },
    Order {
        small: "assembly.grace",
        large: "assembly.idle_timeout",
        broken: |config| config.assembly.grace > config.assembly.idle_timeout,
        why: "a trace that has its root waits less than one that has not",
    },
    Order {
        small: "assembly.idle_timeout",
        large: "assembly.max_trace_age",
        broken: |config| config.assembly.idle_timeout > config.assembly.max_trace_age,
        why: "a trace would be closed before it could be idle",
    },
    Order {
        small: "assembly.max_spans_per_trace",
        large: "assembly.max_spans",
        broken: |config| config.assembly.max_spans_per_trace > config.assembly.max_spans,
        why: "one trace cannot hold more spans than all of them",
    },
    Order {
        small: "receiver.max_request_size",
        large: "receiver.max_in_flight",
        broken: |config| config.receiver.max_request_size > config.receiver.max_in_flight,
        why: "the largest request would never be let in",
    },
    Order {
        small: "names.max_operations_per_service",
        large: "names.max_operations",
        broken: |config| config.names.max_operations_per_service > config.names.max_operations,
        why: "one service cannot have more operations than all of them",
    },
];

/// A setting that is of no use without another.
struct Need {
    key: &'static str,
    needs: &'static str,
    broken: fn(&Config) -> bool,
}

const NEEDS: [Need; 11] = [
    Need {
        key: "receiver.tls.cert_file",
        needs: "receiver.tls.key_file",
        broken: |config| lacks(&config.receiver.tls_cert_file, &config.receiver.tls_key_file),
    },
    Need {
        key: "receiver.tls.key_file",
        needs: "receiver.tls.cert_file",
        broken: |config| lacks(&config.receiver.tls_key_file, &config.receiver.tls_cert_file),
    },
    Need {
        key: "receiver.tls.client_ca_file",
        needs: "receiver.tls.cert_file",
        broken: |config| lacks(&config.receiver.tls_client_ca_file, &config.receiver.tls_cert_file),
    },
    Need {
        key: "admin.tls.cert_file",
        needs: "admin.tls.key_file",
        broken: |config| lacks(&config.admin.tls_cert_file, &config.admin.tls_key_file),
    },
    Need {
        key: "admin.tls.key_file",
        needs: "admin.tls.cert_file",
        broken: |config| lacks(&config.admin.tls_key_file, &config.admin.tls_cert_file),
    },
    Need {
        key: "admin.tls.client_ca_file",
        needs: "admin.tls.cert_file",
        broken: |config| lacks(&config.admin.tls_client_ca_file, &config.admin.tls_cert_file),
    },
    Need {
        key: "receiver.kafka.tls.cert_file",
        needs: "receiver.kafka.tls.key_file",
        broken: |config| lacks(&config.kafka.tls_cert_file, &config.kafka.tls_key_file),
    },
    Need {
        key: "receiver.kafka.tls.key_file",
        needs: "receiver.kafka.tls.cert_file",
        broken: |config| lacks(&config.kafka.tls_key_file, &config.kafka.tls_cert_file),
    },
    Need {
        key: "receiver.kafka.tls.ca_file",
        needs: "receiver.kafka.security",
        broken: |config| config.kafka.tls_ca_file.is_some() && !is_tls(config),
    },
    Need {
        key: "receiver.kafka.tls.cert_file",
        needs: "receiver.kafka.security",
        broken: |config| config.kafka.tls_cert_file.is_some() && !is_tls(config),
    },
    Need {
        key: "receiver.kafka.sasl.mechanism",
        needs: "receiver.kafka.sasl.password_file",
        broken: |config| {
            config.kafka.sasl_mechanism.is_some() && config.kafka.sasl_password_file.is_none()
        },
    },
];

fn is_tls(config: &Config) -> bool {
    config.kafka.security == Security::Tls
}

fn lacks(key: &Option<PathBuf>, needs: &Option<PathBuf>) -> bool {
    key.is_some() && needs.is_none()
}

/// Where each setting that is not a default comes from.
type Places = BTreeMap<&'static str, Place>;

/// What contradicts what in `config`.
pub(super) fn check(config: &Config, places: &Places) -> Vec<Problem> {
    let mut problems = Vec::new();
    for order in ORDERS.iter().filter(|order| (order.broken)(config)) {
        let value = |name| described(config, places, name);
        let (small, large) = (value(order.small), value(order.large));
        problems.push(Problem {
            place: place_of_either(places, order.small, order.large),
            message: format!("{small} must not be larger than {large}: {}", order.why),
        });
    }
    let endpoints = endpoints(config);
    for (index, (one, first)) in endpoints.iter().enumerate() {
        for (two, second) in &endpoints[index + 1..] {
            if first.collides(second) {
                problems.push(Problem {
                    place: place_of_either(places, two, one),
                    message: format!(
                        "{} takes the address of {}: give one of them another port",
                        described(config, places, two),
                        described(config, places, one),
                    ),
                });
            }
        }
    }
    for need in NEEDS.iter().filter(|need| (need.broken)(config)) {
        let Need { key, needs, .. } = need;
        problems.push(Problem {
            place: place_of_either(places, key, needs),
            message: format!("{key} is of no use without {needs}"),
        });
    }
    problems
}

/// Everything that is listened on.
fn endpoints(config: &Config) -> [(&'static str, &Endpoint); 3] {
    [
        ("receiver.grpc.endpoint", &config.receiver.grpc_endpoint),
        ("receiver.http.endpoint", &config.receiver.http_endpoint),
        ("admin.endpoint", &config.admin.endpoint),
    ]
}

/// `assembly.grace = 40s (default)`.
fn described(config: &Config, places: &Places, name: &str) -> String {
    let value = Key::find(name).map(|key| key.value(config)).unwrap_or_default();
    match places.get(name) {
        Some(place) => format!("{name} = {value} ({place})"),
        None => format!("{name} = {value} (default)"),
    }
}

/// Of two settings, the place of the first one that somebody set.
fn place_of_either(places: &Places, one: &str, two: &str) -> Place {
    places.get(one).or_else(|| places.get(two)).cloned().unwrap_or(Place::Default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn complaint(flags: &[(&'static str, &str)]) -> Option<String> {
        let flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let sources = Sources { flags, ..Sources::default() };
        sources.resolve().err().map(|error| error.to_string())
    }

    #[test]
    fn the_defaults_contradict_nothing() {
        assert_eq!(check(&Config::default(), &Places::new()), []);
    }

    #[test]
    fn half_a_pair_of_tls_files_is_an_error_that_names_the_other_half() {
        for section in ["receiver", "admin"] {
            let key = |name: &str| -> &'static str {
                Key::find(&format!("{section}.tls.{name}")).expect("is in the table").name
            };
            let (cert, private, authority) =
                (key("cert_file"), key("key_file"), key("client_ca_file"));
            for (given, lacking) in [(cert, private), (private, cert), (authority, cert)] {
                let said = complaint(&[(given, "/a")]).expect("is an error");
                assert!(said.contains(given) && said.contains(lacking), "{said}");
            }
            assert_eq!(complaint(&[(cert, "/a"), (private, "/b"), (authority, "/c")]), None);
        }
    }

    #[test]
    fn every_rule_names_keys_that_exist() {
        for order in &ORDERS {
            assert!(Key::find(order.small).is_some(), "{}", order.small);
            assert!(Key::find(order.large).is_some(), "{}", order.large);
        }
        for Need { key, needs, .. } in &NEEDS {
            assert!(Key::find(key).is_some() && Key::find(needs).is_some(), "{key} {needs}");
        }
        for (name, endpoint) in endpoints(&Config::default()) {
            let key = Key::find(name).expect("is in the table");
            assert_eq!(key.default_value(), endpoint.to_string());
        }
    }

    #[test]
    fn what_is_larger_than_it_may_be_is_refused_and_equal_is_not() {
        for (small, large, equal) in [
            ("assembly.grace", "assembly.idle_timeout", "20s"),
            ("connections.max_per_peer", "connections.max", "500"),
            ("assembly.idle_timeout", "assembly.max_trace_age", "60s"),
            ("assembly.max_spans_per_trace", "assembly.max_spans", "5000"),
            ("receiver.max_request_size", "receiver.max_in_flight", "20MiB"),
            ("names.max_operations_per_service", "names.max_operations", "3000"),
        ] {
            assert_eq!(complaint(&[(small, equal), (large, equal)]), None, "{small}");
            // One digit more is larger, whatever the unit.
            let shown = complaint(&[(small, &format!("1{equal}")), (large, equal)]);
            let shown = shown.expect(small);
            assert!(shown.contains(&format!("must not be larger than {large}")), "{shown}");
        }
    }

    #[test]
    fn a_contradiction_says_both_values_and_who_set_them() {
        let shown = complaint(&[("assembly.grace", "40s")]);
        let expected = "--assembly.grace: assembly.grace = 40s (--assembly.grace) must not be larger \
            than assembly.idle_timeout = 30s (default): a trace that has its root waits less than one \
            that has not";
        assert_eq!(shown.as_deref(), Some(expected));
    }

    #[test]
    fn two_endpoints_at_one_address_are_refused_unless_the_port_is_free_to_choose() {
        let one = ("receiver.http.endpoint", "0.0.0.0:4317");
        let shown = complaint(&[one]).expect("collides");
        assert!(shown.contains("takes the address of receiver.grpc.endpoint = 127.0.0.1:4317"));
        let free = [
            ("receiver.grpc.endpoint", "127.0.0.1:0"),
            ("receiver.http.endpoint", "127.0.0.1:0"),
            ("admin.endpoint", "127.0.0.1:0"),
        ];
        assert_eq!(complaint(&free), None);
    }
}
