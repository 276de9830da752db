//! How every answer of the API leaves: as JSON with a validator, compressed where asked, errors as
//! problem documents (RFC 9457).
//!
//! An answer whose ETag the client has already is answered with 304 and without a body. Nothing here knows
//! what is in an answer.

use std::hash::BuildHasher;
use std::io::Write;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use foldhash::quality::FixedState;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use serde::Serialize;

use super::super::admin::joined;
use super::super::negotiate;

/// What the client said that bears on the form of the answer.
#[derive(Clone, Debug, Default)]
pub(in crate::publish) struct Wishes {
    gzip: bool,
    known: Vec<String>,
}

impl Wishes {
    pub(in crate::publish) fn of(headers: &HeaderMap) -> Wishes {
        let known = joined(headers, header::IF_NONE_MATCH);
        let known = known.split(',').map(|tag| weakened(tag.trim()).to_owned());
        Wishes {
            gzip: negotiate::gzip(&joined(headers, header::ACCEPT_ENCODING)),
            known: known.filter(|tag| !tag.is_empty()).collect(),
        }
    }

    fn knows(&self, tag: &str) -> bool {
        self.known.iter().any(|known| known == "*" || known == weakened(tag))
    }
}

/// Weak comparison: `W/"x"` and `"x"` are the same.
fn weakened(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Bodies below this are not worth compressing.
const LEAST_GZIP: usize = 1_024;

/// A body of a type, with its validator.
pub(in crate::publish) fn body(
    wishes: &Wishes,
    content_type: &'static str,
    body: Bytes,
) -> Response {
    let level = if wishes.gzip { Compression::fast() } else { Compression::none() };
    packed(body, level).answer(wishes, content_type)
}

/// A body made ready, as it is and compressed.
pub(in crate::publish) struct Packed {
    plain: Bytes,
    /// Where that is worth it.
    gzip: Option<Bytes>,
    tag: String,
}

/// Makes a body ready; at level 0 it is not compressed.
pub(in crate::publish) fn packed(body: Bytes, level: Compression) -> Packed {
    let is_worth_it = level.level() > 0 && body.len() >= LEAST_GZIP;
    let gzip = is_worth_it.then(|| gzipped(&body, level));
    Packed { gzip, tag: tag_of(&body), plain: body }
}

impl Packed {
    /// Bytes that go over the wire to a browser.
    #[cfg(test)]
    pub(in crate::publish) fn wire_bytes(&self) -> usize {
        self.gzip.as_ref().unwrap_or(&self.plain).len()
    }

    pub(in crate::publish) fn answer(
        &self,
        wishes: &Wishes,
        content_type: &'static str,
    ) -> Response {
        let fixed = HeaderValue::from_static;
        let mut response = if wishes.knows(&self.tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else if let Some(gzip) = self.gzip.as_ref().filter(|_| wishes.gzip) {
            let mut response = Body::from(gzip.clone()).into_response();
            response.headers_mut().insert(header::CONTENT_ENCODING, fixed("gzip"));
            response
        } else {
            Body::from(self.plain.clone()).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, fixed(content_type));
        headers.insert(header::CACHE_CONTROL, fixed("no-cache"));
        headers.insert(header::VARY, fixed("accept-encoding"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
        headers.insert(header::REFERRER_POLICY, fixed("no-referrer"));
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}

/// A document.
pub(in crate::publish) fn json(wishes: &Wishes, document: &impl Serialize) -> Response {
    let json = serde_json::to_vec(document).expect("strings and finite numbers are valid JSON");
    body(wishes, "application/json", Bytes::from(json))
}

/// Weak, because the compressed body has the same.
fn tag_of(body: &[u8]) -> String {
    let state = FixedState::with_seed(0);
    format!("W/\"{:016x}-{:x}\"", state.hash_one(body), body.len())
}

/// Compressed at a level.
pub(in crate::publish) fn gzipped(body: &[u8], level: Compression) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), level);
    encoder.write_all(body).expect("writing to memory cannot fail");
    Bytes::from(encoder.finish().expect("writing to memory cannot fail"))
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::publish) struct Problem {
    pub(in crate::publish) status: StatusCode,
    pub(in crate::publish) detail: String,
}

/// RFC 9457.
#[derive(Serialize)]
struct ProblemShape<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    pub(in crate::publish) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into() }
    }

    pub(in crate::publish) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(in crate::publish) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// Too much at once; it will pass.
    pub(in crate::publish) fn busy(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let (status, detail) = (self.status.as_u16(), &*self.detail);
        let shape = ProblemShape { r#type: "about:blank", title, status, detail };
        let json = serde_json::to_vec(&shape).expect("strings are valid JSON");
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        let fixed = HeaderValue::from_static;
        headers.insert(header::CONTENT_TYPE, fixed("application/problem+json"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
        headers.insert(header::REFERRER_POLICY, fixed("no-referrer"));
        headers.insert(header::CACHE_CONTROL, fixed("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, fixed("1"));
        }
        response
    }
}

/// What a stranger sent, short enough to be quoted.
pub(in crate::publish) fn quoted(text: &str) -> String {
    const SHOWN: usize = 200;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(headers: &[(&'static str, &str)]) -> Wishes {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Wishes::of(&map)
    }

    #[test]
    fn a_validator_is_recognised_in_any_form() {
        let tag = tag_of(b"body");
        let bare = tag.strip_prefix("W/").unwrap();
        for known in [&tag, bare, "*", &format!("\"other\", {tag}")] {
            assert!(wishes(&[("if-none-match", known)]).knows(&tag), "{known}");
        }
        let two = wishes(&[("if-none-match", "\"other\""), ("if-none-match", bare)]);
        assert!(two.knows(&tag));
        assert!(!wishes(&[("if-none-match", "\"other\"")]).knows(&tag));
        assert!(!wishes(&[]).knows(&tag));
    }

    #[test]
    fn what_is_quoted_is_short() {
        assert_eq!(quoted("short"), "short");
        assert_eq!(quoted(&"é".repeat(300)), "é".repeat(200) + "…");
    }
}
