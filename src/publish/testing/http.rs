//! Requests against a router, without a socket.

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// An answer with all of its body.
pub(in crate::publish) struct Got {
    pub(in crate::publish) status: StatusCode,
    pub(in crate::publish) headers: HeaderMap,
    pub(in crate::publish) body: Bytes,
}

impl Got {
    /// A header; empty if there is none.
    pub(in crate::publish) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(in crate::publish) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(in crate::publish) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{:?}", self.body))
    }
}

/// What the router answers to a request.
pub(in crate::publish) async fn send(router: Router, request: Request<Body>) -> Got {
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Got { status: parts.status, headers: parts.headers, body }
}
