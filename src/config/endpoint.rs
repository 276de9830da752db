//! Addresses to listen on: a host or IP address, and a port.
//!
//! A name is not looked up here: that is done when the address is bound, and may fail then.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::value::Setting;

/// An address to listen on. Displayed as it is written, which is also what binding it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Endpoint {
    /// This machine only, by IPv4.
    pub const fn loopback(port: u16) -> Endpoint {
        Endpoint { host: Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), port }
    }

    /// The port; 0 takes any free one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same as this machine reaches it: what listens on all addresses is found on the loopback.
    #[must_use]
    pub fn reachable(&self) -> Endpoint {
        let host = match &self.host {
            Host::Ip(IpAddr::V4(address)) if address.is_unspecified() => {
                Host::Ip(Ipv4Addr::LOCALHOST.into())
            }
            Host::Ip(IpAddr::V6(address)) if address.is_unspecified() => {
                Host::Ip(Ipv6Addr::LOCALHOST.into())
            }
            other => other.clone(),
        };
        Endpoint { host, port: self.port }
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(address) => address.is_loopback(),
            Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Whether binding both must fail: one port on overlapping addresses.
    pub fn collides(&self, other: &Endpoint) -> bool {
        self.port == other.port && self.port != 0 && self.host.overlaps(&other.host)
    }
}

impl Host {
    fn overlaps(&self, other: &Host) -> bool {
        match (self, other) {
            (Host::Ip(one), Host::Ip(two)) => {
                one == two || covers(*one, *two) || covers(*two, *one)
            }
            (Host::Name(one), Host::Name(two)) => one.eq_ignore_ascii_case(two),
            (Host::Ip(ip), Host::Name(name)) | (Host::Name(name), Host::Ip(ip)) => {
                ip.is_unspecified() || (ip.is_loopback() && name.eq_ignore_ascii_case("localhost"))
            }
        }
    }
}

/// `0.0.0.0` takes every IPv4 address, `[::]` every address of both families.
fn covers(wide: IpAddr, narrow: IpAddr) -> bool {
    wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(address)) => write!(out, "[{address}]:{}", self.port),
            Host::Ip(address) => write!(out, "{address}:{}", self.port),
            Host::Name(name) => write!(out, "{name}:{}", self.port),
        }
    }
}

impl Setting for Endpoint {
    const PLACEHOLDER: &'static str = "HOST:PORT";
    const EXPECTED: &'static str = "an address; write a host and a port from 0 to 65535, \
        such as 127.0.0.1:4317, [::1]:4317, localhost:4317 or, for all addresses, 0.0.0.0:4317";

    fn parse(text: &str) -> Option<Endpoint> {
        let (host, port) = text.rsplit_once(':')?;
        // `u16` alone would also take `+4317`.
        if port.is_empty() || !port.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let port = port.parse().ok()?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(address) => Host::Ip(IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)),
            None => parse_host(host)?,
        };
        Some(Endpoint { host, port })
    }

    /// In a YAML file an address that begins with a bracket must be quoted.
    fn show(&self) -> String {
        match self.host {
            Host::Ip(IpAddr::V6(_)) => format!("\"{self}\""),
            _ => self.to_string(),
        }
    }
}

/// An IPv4 address or a host name. Names of digits and dots alone are mistyped addresses.
fn parse_host(text: &str) -> Option<Host> {
    /// The longest name in DNS.
    const MAX_HOST_BYTES: usize = 253;
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Host::Ip(IpAddr::V4(address)));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let named = text.chars().any(|c| c.is_ascii_alphabetic());
    (named && text.len() <= MAX_HOST_BYTES && text.chars().all(fits))
        .then(|| Host::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse(text).expect("is an endpoint")
    }

    #[test]
    fn addresses_and_names_are_read_and_written_alike() {
        for text in ["127.0.0.1:4317", "[::1]:0", "localhost:4317", "0.0.0.0:65535", "otel-1:80"] {
            assert_eq!(endpoint(text).to_string(), text);
        }
        assert_eq!(endpoint("[::1]:0").port(), 0);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "4317",
            ":4317",
            "localhost",
            "localhost:",
            "localhost:99999",
            "localhost:+1",
            "http://localhost:4317",
            "::1:4317",
            "[::1]",
            "[localhost]:1",
            "127.0.0.1.1:80",
            "1.2.3:80",
            "a b:80",
            "localhost:4317/v1",
        ] {
            assert_eq!(Endpoint::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn equal_ports_collide_where_the_addresses_overlap() {
        for (one, two) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("localhost:1", "127.0.0.1:1"),
            ("localhost:1", "LOCALHOST:1"),
            ("shop:1", "0.0.0.0:1"),
        ] {
            assert!(endpoint(one).collides(&endpoint(two)), "{one} {two}");
            assert!(endpoint(two).collides(&endpoint(one)), "{two} {one}");
        }
        for (one, two) in [
            ("127.0.0.1:1", "127.0.0.1:2"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:1", "127.0.0.2:1"),
            ("0.0.0.0:1", "[::1]:1"),
            ("shop:1", "cart:1"),
        ] {
            assert!(!endpoint(one).collides(&endpoint(two)), "{one} {two}");
            assert!(!endpoint(two).collides(&endpoint(one)), "{two} {one}");
        }
    }

    #[test]
    fn what_listens_everywhere_is_reached_here() {
        for (listens, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("shop:1", "shop:1")]
        {
            assert_eq!(endpoint(listens).reachable().to_string(), reached);
        }
    }

    #[test]
    fn only_loopback_is_loopback() {
        assert!(Endpoint::loopback(4317).is_loopback());
        assert!(endpoint("[::1]:1").is_loopback() && endpoint("localhost:1").is_loopback());
        assert!(!endpoint("0.0.0.0:1").is_loopback() && !endpoint("shop:1").is_loopback());
    }
}
