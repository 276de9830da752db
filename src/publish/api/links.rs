//! Where to go on from here: the trace backend, Prometheus, and this page as others reach it.
//!
//! All of it comes from the configuration; where nothing is configured there is no link. Names and ids
//! are escaped where they become part of an address.

use std::fmt::Write;

use serde::Serialize;

use super::super::words::rfc3339;
use crate::engine::verdict::Incident;
use crate::model::{Nanos, Timestamp, TraceId};

/// What is configured.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Links {
    /// Address of a trace in the backend, with `{trace_id}` where the id belongs.
    pub trace_url: Option<String>,
    /// Address of Prometheus.
    pub prometheus_url: Option<String>,
    /// Address under which others reach this page.
    pub external_url: Option<String>,
}

/// What stands for the id in a template.
pub const TRACE_ID: &str = "{trace_id}";

/// Where to go on from an incident.
#[derive(Serialize)]
pub(super) struct IncidentLinks {
    pub(super) page: Option<String>,
    pub(super) prometheus: Option<String>,
}

impl Links {
    /// A trace in the backend.
    pub(super) fn trace(&self, trace: TraceId) -> Option<String> {
        let template = self.trace_url.as_ref()?;
        Some(template.replace(TRACE_ID, &trace.to_string()))
    }

    /// An incident on this page.
    pub fn incident(&self, id: u64) -> Option<String> {
        let base = self.external_url.as_ref()?;
        Some(format!("{}/#/incident/{id}", base.trim_end_matches('/')))
    }

    pub(super) fn of_incident(&self, incident: &Incident, now: Timestamp) -> IncidentLinks {
        let page = self.incident(incident.id);
        let end = incident.end.unwrap_or(now).max(incident.start);
        IncidentLinks { page, prometheus: self.graph(incident.start, end) }
    }

    /// The suspects' excess over a stretch of time, as Prometheus draws it.
    fn graph(&self, start: Timestamp, end: Timestamp) -> Option<String> {
        const QUERY: &str =
            "sum by (service_name, suspect_kind) (rate(laghound_excess_seconds_total[1m]))";
        /// Before and after, so that the edges can be seen.
        const MARGIN: Nanos = Nanos::from_secs(300);
        let base = self.prometheus_url.as_ref()?.trim_end_matches('/');
        let seconds = (end + MARGIN).since(start.saturating_sub(MARGIN)).0 / 1_000_000_000;
        let until = rfc3339(Timestamp::from_secs((end + MARGIN).0 / 1_000_000_000));
        Some(format!(
            "{base}/graph?g0.expr={}&g0.tab=0&g0.end_input={}&g0.range_input={seconds}s",
            encoded(QUERY),
            encoded(until.trim_end_matches('Z')),
        ))
    }
}

/// Percent-encoded but for what RFC 3986 leaves unreserved.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::testing::{after, cart_incident, trace};

    fn links() -> Links {
        Links {
            trace_url: Some("https://traces.example/trace/{trace_id}?view={trace_id}".to_owned()),
            prometheus_url: Some("https://prometheus.example/".to_owned()),
            external_url: Some("https://laghound.example/eu/".to_owned()),
        }
    }

    #[test]
    fn the_id_goes_wherever_the_template_says() {
        let id = "00000000000000000000000000000abc";
        let expected = format!("https://traces.example/trace/{id}?view={id}");
        assert_eq!(links().trace(trace(0xabc)), Some(expected));
        assert_eq!(Links::default().trace(trace(1)), None);
    }

    #[test]
    fn an_incident_links_to_the_page_and_to_prometheus_around_its_time() {
        let mut incident = cart_incident();
        incident.end = Some(after(65));
        let found = links().of_incident(&incident, after(900));
        assert_eq!(found.page.as_deref(), Some("https://laghound.example/eu/#/incident/1"));
        let prometheus = found.prometheus.unwrap();
        // 14:20:05 to 14:21:05, five minutes more on each side.
        assert!(prometheus.starts_with("https://prometheus.example/graph?g0.expr=sum%20by%20%28"));
        assert!(prometheus.ends_with("&g0.end_input=2026-09-21T14%3A26%3A05&g0.range_input=660s"));
    }

    #[test]
    fn without_configuration_there_are_no_links() {
        let found = Links::default().of_incident(&cart_incident(), after(60));
        assert!(found.page.is_none() && found.prometheus.is_none());
    }
}
