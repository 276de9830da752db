//! The first bytes of a connection: which HTTP it will be.
//!
//! Decided by as few bytes as tell them apart, so that an HTTP/1 peer waits for nothing. How long
//! that may take is the caller's matter.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Or nothing at all: whoever parses it will say so.
    Http1,
    Http2,
}

/// Bytes that were read to tell, and have not been given back.
#[derive(Debug)]
pub(super) struct Seen {
    bytes: [u8; PREFACE.len()],
    start: usize,
    end: usize,
}

impl Seen {
    /// None.
    pub(super) fn nothing() -> Seen {
        Seen { bytes: [0; PREFACE.len()], start: 0, end: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// As many as there is room for.
    pub(super) fn give_back(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = buffer.remaining().min(self.end - self.start);
        buffer.put_slice(&self.bytes[self.start..self.start + count]);
        self.start += count;
    }
}

/// Reads until it is clear; `None` if the peer leaves before.
pub(super) async fn sniff<IO: AsyncRead + Unpin>(
    io: &mut IO,
) -> io::Result<Option<(Version, Seen)>> {
    let mut seen = Seen::nothing();
    while seen.end < PREFACE.len() {
        let count = io.read(&mut seen.bytes[seen.end..]).await?;
        if count == 0 {
            return Ok(None);
        }
        seen.end += count;
        if !PREFACE.starts_with(&seen.bytes[..seen.end]) {
            return Ok(Some((Version::Http1, seen)));
        }
    }
    Ok(Some((Version::Http2, seen)))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn version(bytes: &[u8]) -> Option<Version> {
        sniff(&mut &*bytes).await.unwrap().map(|(version, _)| version)
    }

    #[tokio::test]
    async fn the_whole_preface_is_http_2_and_anything_else_is_not() {
        assert_eq!(version(PREFACE).await, Some(Version::Http2));
        assert_eq!(version(b"GET / HTTP/1.1\r\n").await, Some(Version::Http1));
        assert_eq!(version(b"\x16\x03\x01").await, Some(Version::Http1));
        let mut almost = *PREFACE;
        almost[23] = b'x';
        assert_eq!(version(&almost).await, Some(Version::Http1));
    }

    #[tokio::test]
    async fn whoever_leaves_before_it_is_clear_has_said_nothing() {
        for length in 0..PREFACE.len() {
            assert_eq!(version(&PREFACE[..length]).await, None, "{length}");
        }
    }
}
