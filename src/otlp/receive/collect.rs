//! The bytes of a request's body, collected as they come: bounded, in time, and paid for before they
//! are kept.
//!
//! What a header says of the length is not believed, only counted bytes are. A body that arrives in
//! one piece is not copied.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::intake::Permit;
use super::refusal::Refusal;

/// What a body may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes, compressed or not.
    pub(super) bytes: usize,
    /// From its begin to its end.
    pub(super) within: Duration,
}

/// All bytes of `body`. `begin` looks at the first bytes of it, again whenever there are more, and may
/// say that the rest is not worth waiting for.
pub(super) async fn collect(
    body: Body,
    bounds: Bounds,
    permit: &mut impl Permit,
    begin: impl Fn(&[u8]) -> Result<(), Refusal>,
) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > bounds.bytes as u64 {
        return Err(Refusal::TooLarge { limit: bounds.bytes });
    }
    let collected = tokio::time::timeout(bounds.within, all(body, bounds.bytes, permit, begin));
    collected.await.unwrap_or(Err(Refusal::TimedOut))
}

async fn all(
    mut body: Body,
    limit: usize,
    permit: &mut impl Permit,
    begin: impl Fn(&[u8]) -> Result<(), Refusal>,
) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::Aborted)?.into_data() else { continue };
        let before = first.len() + rest.len();
        if data.len() > limit - before {
            return Err(Refusal::TooLarge { limit });
        }
        permit.receive(data.len())?;
        if before == 0 {
            first = data;
        } else {
            if rest.is_empty() {
                // What is announced is only a reason to make room: what is never filled takes no memory.
                let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
                rest.reserve(before + data.len() + announced.min(limit - before));
                rest.extend_from_slice(&first);
                first = Bytes::new();
            }
            rest.extend_from_slice(&data);
        }
        begin(if rest.is_empty() { &first } else { &rest })?;
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
