//! The bytes of a file: decompressed, buffered, and counted before and after.

use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Place, Problem};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// As much as is asked for at a time.
const CHUNK_BYTES: usize = 256 * 1024;

type Failure = (Place, Problem);

/// A stream of decompressed bytes with a window into which more can be read.
pub(super) struct Source {
    input: Box<dyn Read + Send>,
    compression: Option<&'static str>,
    raw_bytes: Arc<AtomicU64>,
    data: Vec<u8>,
    /// Where the window begins in `data`: moving what is left for every message would cost more than reading.
    start: usize,
    /// Where the window begins in the stream.
    offset: u64,
    ended: bool,
    /// Bytes that may come in all, after decompression.
    limit: u64,
}

impl Source {
    /// Looks at the first bytes to see whether they are compressed.
    pub(super) fn new(input: Box<dyn Read + Send>, limit: u64) -> Result<Source, Failure> {
        let raw_bytes = Arc::new(AtomicU64::new(0));
        let mut input = Counting { input, count: Arc::clone(&raw_bytes) };
        let mut magic = Vec::with_capacity(ZSTD.len());
        let failed = |error| (Place::Byte(0), Problem::Read(error));
        (&mut input).take(ZSTD.len() as u64).read_to_end(&mut magic).map_err(failed)?;
        let (gzip, zstd) = (magic.starts_with(&GZIP), magic.starts_with(&ZSTD));
        let whole = BufReader::with_capacity(CHUNK_BYTES, Cursor::new(magic).chain(input));
        let (input, compression): (Box<dyn Read + Send>, _) = if gzip {
            (Box::new(flate2::bufread::MultiGzDecoder::new(whole)), Some("gzip"))
        } else if zstd {
            let decoder = zstd::stream::read::Decoder::with_buffer(whole).map_err(failed)?;
            (Box::new(decoder), Some("zstd"))
        } else {
            (Box::new(whole), None)
        };
        Ok(Source {
            input,
            compression,
            raw_bytes,
            data: Vec::new(),
            start: 0,
            offset: 0,
            ended: false,
            limit,
        })
    }

    /// What has been read and not yet been dropped.
    pub(super) fn window(&self) -> &[u8] {
        &self.data[self.start..]
    }

    /// Where the window begins in the stream.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes read before decompression.
    pub(super) fn raw_bytes(&self) -> u64 {
        self.raw_bytes.load(Ordering::Relaxed)
    }

    /// Reads more into the window; false at the end of the stream.
    pub(super) fn fill(&mut self) -> Result<bool, Failure> {
        if self.ended {
            return Ok(false);
        }
        self.data.drain(..self.start);
        self.start = 0;
        let before = self.data.len();
        let result = (&mut self.input).take(CHUNK_BYTES as u64).read_to_end(&mut self.data);
        let got = self.data.len() - before;
        match result {
            // Whatever came before the error is not handed out: the message it is in cannot be whole, and
            // the ones before it have been.
            Err(error) => {
                self.ended = true;
                let place = Place::Byte(self.offset + self.data.len() as u64);
                Err((place, self.explain(error)))
            }
            Ok(_) if self.offset + self.data.len() as u64 > self.limit => {
                self.ended = true;
                Err((Place::File, Problem::TooLong { limit: self.limit }))
            }
            Ok(_) => {
                self.ended = got == 0;
                Ok(got > 0)
            }
        }
    }

    /// Drops the first `count` bytes of the window.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    fn explain(&self, error: io::Error) -> Problem {
        match (self.compression, error.kind()) {
            (Some(compression), ErrorKind::UnexpectedEof) => Problem::Cut(compression),
            _ => Problem::Read(error),
        }
    }
}

struct Counting<R> {
    input: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read(buffer)?;
        self.count.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}
