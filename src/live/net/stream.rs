//! A connection's bytes, with those that were looked at first given back, and the begin of an HTTP/1
//! head told to its [`Phases`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::establish::Seen;
use super::phase::Phases;

/// A stream that begins with what was already read of it.
pub(super) struct Stream<IO> {
    io: IO,
    seen: Seen,
    heads: Option<Arc<Phases>>,
}

impl<IO> Stream<IO> {
    /// `heads` for HTTP/1, where bytes without a request are the begin of one.
    pub(super) fn new(io: IO, seen: Seen, heads: Option<Arc<Phases>>) -> Stream<IO> {
        Stream { io, seen, heads }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Stream<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let stream = &mut *self;
        let polled = if stream.seen.is_empty() {
            Pin::new(&mut stream.io).poll_read(context, buffer)
        } else {
            stream.seen.give_back(buffer);
            Poll::Ready(Ok(()))
        };
        if let Some(phases) = stream.heads.as_ref().filter(|_| buffer.filled().len() > before) {
            phases.bytes();
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Stream<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::super::establish::{Version, sniff};
    use super::*;

    #[tokio::test]
    async fn what_was_looked_at_is_read_again_in_pieces_of_any_size() {
        for size in [1, 3, 100] {
            let mut io: &[u8] = b"PRI * HTTP/1.1\r\nand more";
            let (version, seen) = sniff(&mut io).await.unwrap().unwrap();
            assert_eq!(version, Version::Http1);
            let mut stream = Stream::new(io, seen, None);
            let mut read = Vec::new();
            let mut piece = vec![0; size];
            loop {
                let count = stream.read(&mut piece).await.unwrap();
                if count == 0 {
                    break;
                }
                read.extend_from_slice(&piece[..count]);
            }
            assert_eq!(read, b"PRI * HTTP/1.1\r\nand more");
        }
    }
}
