//! Addresses of other people's pages: where a trace, a graph or this page is found.
//!
//! They become links that people click, so nothing but `http` and `https` is taken. Nobody is asked whether
//! they exist.

use super::value::Setting;
use crate::publish::api::TRACE_ID;

/// An address, or none.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct WebAddress(Option<String>);

/// An address with a place for the id of a trace, or none.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TraceAddress(Option<String>);

/// What stands for no address.
const NONE: &str = "none";

impl WebAddress {
    /// The address, if there is one.
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl TraceAddress {
    /// The address, if there is one.
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

fn is_address(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_visible =
        |text: &str| text.chars().all(|c| c.is_ascii_graphic() && !"\"<>\\".contains(c));
    host.is_some_and(|host| host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['))
        && is_visible(text)
}

impl Setting for WebAddress {
    const PLACEHOLDER: &'static str = "URL";
    const EXPECTED: &'static str =
        "an address that begins with http:// or https://, such as https://example.com; or none";

    fn parse(text: &str) -> Option<WebAddress> {
        match text {
            NONE => Some(WebAddress(None)),
            _ => is_address(text).then(|| WebAddress(Some(text.to_owned()))),
        }
    }

    fn show(&self) -> String {
        self.get().unwrap_or(NONE).to_owned()
    }
}

impl Setting for TraceAddress {
    const PLACEHOLDER: &'static str = "URL";
    const EXPECTED: &'static str =
        "an address with {trace_id} in it, such as https://example.com/trace/{trace_id}; or none";

    fn parse(text: &str) -> Option<TraceAddress> {
        match text {
            NONE => Some(TraceAddress(None)),
            _ => (is_address(text) && text.contains(TRACE_ID))
                .then(|| TraceAddress(Some(text.to_owned()))),
        }
    }

    fn show(&self) -> String {
        self.get().unwrap_or(NONE).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_clicked_safely_is_taken() {
        for text in ["http://a", "https://a.example:8080/b?c=d#e", "https://[::1]/"] {
            assert_eq!(WebAddress::parse(text).expect("is one").show(), text);
        }
        for text in
            ["", "a.example", "javascript:alert(1)", "https://", "https://a b", "https://\"<"]
        {
            assert_eq!(WebAddress::parse(text), None, "{text}");
        }
        assert_eq!(WebAddress::parse("none"), Some(WebAddress::default()));
        assert_eq!(WebAddress::default().show(), "none");
    }

    #[test]
    fn a_trace_needs_a_place_for_its_id() {
        let text = "https://a.example/trace/{trace_id}";
        assert_eq!(TraceAddress::parse(text).expect("is one").get(), Some(text));
        assert_eq!(TraceAddress::parse("https://a.example/trace/"), None);
        assert_eq!(TraceAddress::parse("none"), Some(TraceAddress::default()));
    }
}
