//! What may stand behind the question mark: filters and limits, each checked, unknown ones refused.
//!
//! A filter that is misspelt and ignored would show everything as if it had been found.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Problem;
use crate::engine::verdict::SuspectKind;
use crate::model::{SpanKind, Timestamp, TraceId};

/// Parameters of a request, or a problem document that says what is wrong with them.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Params<T>, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Params(params)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
}

/// How many of a list, from where on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) offset: usize,
}

/// Rows of a list at most.
const MAX_LIMIT: usize = 1_000;
const USUAL_LIMIT: usize = 100;

impl Page {
    pub(super) fn of(limit: Option<usize>, offset: Option<usize>) -> Result<Page, Problem> {
        let limit = limit.unwrap_or(USUAL_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Problem::bad_request(format!("limit must be 1 to {MAX_LIMIT}")));
        }
        Ok(Page { limit, offset: offset.unwrap_or(0) })
    }

    /// The rows of this page.
    pub(super) fn cut<T>(self, rows: Vec<T>) -> Vec<T> {
        rows.into_iter().skip(self.offset).take(self.limit).collect()
    }
}

/// No parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A value that is checked after serde has taken it for a string: its own words in the complaint.
pub(super) fn parsed<T>(
    name: &str,
    text: Option<&str>,
    expected: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let found = read(text);
    let complain = || Problem::bad_request(format!("{name} must be {expected}"));
    found.map(Some).ok_or_else(complain)
}

pub(super) fn suspect_kind(text: &str) -> Option<SuspectKind> {
    use SuspectKind::{Dependency, Edge, Service};
    [Service, Dependency, Edge].into_iter().find(|kind| kind.as_str() == text)
}

pub(super) fn span_kind(text: &str) -> Option<SpanKind> {
    SpanKind::ALL.into_iter().find(|kind| kind.as_str() == text)
}

/// Seconds since the epoch, or RFC 3339.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        let nanos = crate::model::Nanos::from_secs_f64(seconds);
        return (seconds >= 0.0).then_some(Timestamp(nanos.0));
    }
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_nanosecond()).ok().map(Timestamp)
}

pub(super) fn trace_id(text: &str) -> Result<TraceId, Problem> {
    // Filled up with zeros on the left, as Jaeger and Zipkin shorten them.
    let long = if text.len() < 32 { format!("{text:0>32}") } else { text.to_owned() };
    TraceId::from_hex(&long).map_err(|defect| {
        Problem::bad_request(format!("a trace id is 32 hexadecimal digits: {defect}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded() {
        assert_eq!(Page::of(None, None), Ok(Page { limit: 100, offset: 0 }));
        assert_eq!(Page::of(Some(2), Some(1)).unwrap().cut(vec![1, 2, 3, 4]), [2, 3]);
        assert_eq!(Page::of(Some(5), Some(9)).unwrap().cut(vec![1, 2]), [0; 0]);
        assert!(Page::of(Some(0), None).is_err() && Page::of(Some(1_001), None).is_err());
    }

    #[test]
    fn instants_are_seconds_or_dates() {
        let expected = Some(Timestamp::from_secs(1_790_000_000));
        for text in ["1790000000", "1790000000.0", "2026-09-21T14:13:20Z"] {
            assert_eq!(instant(text), expected, "{text}");
        }
        for text in ["yesterday", "-1", "NaN", "1900-01-01T00:00:00Z"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn short_trace_ids_are_filled_up() {
        assert_eq!(trace_id("abc").unwrap(), TraceId::new(0xabc).unwrap());
        for text in ["", "0", "xyz", "é", &"1".repeat(33)] {
            assert!(trace_id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_empty_was_not_given() {
        assert_eq!(parsed("kind", Some(""), "a kind", span_kind), Ok(None));
        let kind = parsed("kind", Some("SPAN_KIND_SERVER"), "a kind", span_kind);
        assert_eq!(kind, Ok(Some(SpanKind::Server)));
        let wrong = parsed("kind", Some("server"), "a span kind", span_kind).unwrap_err();
        assert_eq!(wrong.detail, "kind must be a span kind");
        assert_eq!(suspect_kind("edge"), Some(SuspectKind::Edge));
    }
}
