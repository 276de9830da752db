//! Incidents as log events: one when it opens, when its first suspect changes, and when it closes.
//!
//! The fields are those of the API, the message is the sentence. How a subscriber writes them (text
//! or JSON), and where, is not decided here.

use tracing::{info, warn};

use super::sentence::{Place, Sentence};
use super::words::{rfc3339, rounded};
use crate::engine::verdict::{Event, Incident, Suspect};

/// Emits what changed at a tick.
pub fn emit(event: &Event) {
    /// One event; the level is a constant of the call, so it is a macro and not a function.
    macro_rules! emit {
        ($level:ident, $incident:expr, $event:literal, $was:expr) => {{
            let fields = Fields::of($incident);
            let suspect = fields.first;
            $level!(
                event = $event,
                incident = $incident.id,
                suspect = suspect.map(|one| &*one.service),
                suspect_kind = suspect.map(|one| one.kind.as_str()),
                operation = suspect.map(|one| &*one.operation),
                reason = suspect.map(|one| one.reason.as_str()),
                pattern = suspect.map(|one| one.pattern.as_str()),
                score = suspect.map(|one| rounded(one.score)),
                "where" = fields.place,
                excess_seconds = rounded($incident.excess_seconds),
                unexplained_share = rounded($incident.unexplained_share),
                confidence = rounded($incident.confidence),
                entry_service = $incident.entries.first().map(|entry| &*entry.service),
                entry = $incident.entries.first().map(|entry| &*entry.operation),
                start = rfc3339($incident.start),
                end = $incident.end.map(rfc3339),
                trace_ids = fields.trace_ids,
                was = $was,
                "{}",
                fields.message
            );
        }};
    }
    match event {
        Event::Opened(incident) => emit!(warn, incident, "incident_opened", None::<&str>),
        Event::SuspectChanged { incident, was } => {
            emit!(warn, incident, "suspect_changed", Some(&**was));
        }
        Event::Closed(incident) => emit!(info, incident, "incident_closed", None::<&str>),
    }
}

/// What has to be put together before it can be a field.
struct Fields<'a> {
    first: Option<&'a Suspect>,
    place: Option<String>,
    trace_ids: Option<String>,
    message: String,
}

impl Fields<'_> {
    fn of(incident: &Incident) -> Fields<'_> {
        let first = incident.suspects.first();
        let ids = first.map(|one| one.example_trace_ids.as_slice()).unwrap_or_default();
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let over = if incident.end.is_some() { "over: " } else { "" };
        Fields {
            first,
            place: first.and_then(|one| one.where_.as_ref()).map(|at| Place(at).to_string()),
            trace_ids: (!ids.is_empty()).then(|| ids.join(",")),
            message: format!("{over}{}", Sentence(incident)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::publish::testing::{after, cart_incident, incident};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Captured {
        type Writer = Captured;
        fn make_writer(&'a self) -> Captured {
            self.clone()
        }
    }

    /// What a JSON subscriber writes for the events, one value a line.
    fn logged(events: &[Event]) -> Vec<Value> {
        let captured = Captured::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .without_time()
            .with_writer(captured.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || events.iter().for_each(emit));
        let bytes = captured.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn an_opened_incident_is_one_warning_with_its_evidence() {
        let lines = logged(&[Event::Opened(cart_incident())]);
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        for (field, expected) in [
            ("level", "WARN"),
            ("event", "incident_opened"),
            ("suspect", "cart"),
            ("suspect_kind", "service"),
            ("operation", "GET /items"),
            ("reason", "self_time"),
            ("pattern", "sustained"),
            ("where", "k8s.pod.name=cart-2"),
            ("entry", "GET /cart"),
            ("entry_service", "storefront"),
            ("start", "2026-09-21T14:20:05Z"),
            ("trace_ids", "00000000000000000000000000000abc"),
        ] {
            assert_eq!(line[field], expected, "{field}");
        }
        assert_eq!(line["incident"], 1);
        assert_eq!(line["score"], 0.93);
        assert_eq!(line["excess_seconds"], 12.4);
        assert_eq!(line["unexplained_share"], 0.07);
        assert!(line["message"].as_str().unwrap().starts_with("`cart` makes `GET /cart`"));
        assert!(line.get("end").is_none() && line.get("was").is_none());
    }

    #[test]
    fn a_changed_suspect_says_who_it_was_before() {
        let incident = cart_incident();
        let lines = logged(&[Event::SuspectChanged { incident, was: "storefront".into() }]);
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0]["event"], "suspect_changed");
        assert_eq!(lines[0]["was"], "storefront");
        assert_eq!(lines[0]["suspect"], "cart");
    }

    #[test]
    fn a_closed_incident_is_information_with_its_end() {
        let mut over = cart_incident();
        over.end = Some(after(65));
        let lines = logged(&[Event::Closed(over)]);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["end"], "2026-09-21T14:21:05Z");
        assert!(lines[0]["message"].as_str().unwrap().starts_with("over: `cart` makes"));
    }

    #[test]
    fn an_incident_without_a_suspect_has_no_suspect_fields() {
        let lines = logged(&[Event::Opened(incident(3, 1.0, vec![]))]);
        assert_eq!(lines[0]["incident"], 3);
        assert!(lines[0].get("suspect").is_none() && lines[0].get("trace_ids").is_none());
    }
}
