//! Recorded spans: files (or standard input) of any format we know, one message at a time.
//!
//! What a file is, is decided by its content, never by its name: gzip or zstd or neither, then the
//! format. Memory is bounded by one message: a line of the Collector's file exporter, a length-prefixed
//! message, or, where the file is one single object, the file; [`ReadLimits`] bounds that too. An error says
//! which file, where in it (after decompression), and what was expected. Nothing here knows of traces.

mod format;
mod frame;
mod jaeger;
mod older;
mod source;
mod zipkin;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::attributes::AttributeRules;
use super::decoder::{DecodeError, Decoder};
use super::sink::{Batch, SpanSink};
use super::wire::{self, CostLimits};
use crate::model::Interner;
use format::Format;
use frame::{Frame, Frames};
use source::Source;

/// Stands for standard input where a path is expected.
pub const STDIN: &str = "-";

/// How much one message of a file may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Longest message after decompression, in bytes.
    pub message_bytes: usize,
    /// Most spans and elements of a message.
    pub cost: CostLimits,
    /// Bytes of the whole file after decompression: a few kilobytes may unpack to terabytes.
    pub total_bytes: u64,
}

impl Default for ReadLimits {
    /// A file is the user's own, so the limits are wide: a GiB is more than two million spans of JSON.
    fn default() -> ReadLimits {
        let cost = CostLimits { spans: 20_000_000, elements: 500_000_000 };
        ReadLimits { message_bytes: 1 << 30, cost, total_bytes: u64::MAX }
    }
}

/// Where in a file, after decompression.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line, from 1.
    Line(u64),
    /// A byte, from 0.
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File => Ok(()),
            Place::Line(line) => write!(out, ": line {line}"),
            Place::Byte(byte) => write!(out, ": byte {byte}"),
        }
    }
}

/// What is wrong with a file, and where.
#[derive(Debug, thiserror::Error)]
#[error("{file}{place}: {problem}")]
pub struct FileError {
    /// The path as given, or `standard input`.
    pub file: String,
    /// Where the problem is.
    pub place: Place,
    /// What it is.
    #[source]
    pub problem: Problem,
}

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be opened.
    #[error("cannot be opened: {0}")]
    Open(std::io::Error),
    /// It cannot be read, or its compression is broken.
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    /// The compressed stream ends before its end.
    #[error("the {0} stream is cut off here; get the whole file")]
    Cut(&'static str),
    /// Nothing in it.
    #[error("empty; expected spans as OTLP, Jaeger or Zipkin")]
    Empty,
    /// Not one of the formats.
    #[error("not a known format: expected {expected}")]
    UnknownFormat {
        /// What would have been one.
        expected: &'static str,
    },
    /// OTLP, but not of traces.
    #[error("holds {0}, not traces")]
    NotTraces(&'static str),
    /// It ends inside a message.
    #[error("the file ends inside a message that begins here; expected {expected}")]
    Truncated {
        /// What is missing.
        expected: &'static str,
    },
    /// A message that would not fit into memory.
    #[error("a message larger than the limit of {limit} bytes begins here; split the file")]
    TooLarge {
        /// [`ReadLimits::message_bytes`].
        limit: usize,
    },
    /// It goes on for longer than allowed.
    #[error("more than {limit} bytes after decompression; send fewer traces")]
    TooLong {
        /// [`ReadLimits::total_bytes`].
        limit: u64,
    },
    /// Something else than a message where one should begin.
    #[error("expected a JSON object or array, found {found:?}")]
    NotJson {
        /// What is there.
        found: char,
    },
    /// A message that is not what it should be.
    #[error(transparent)]
    Message(#[from] DecodeError),
}

/// One message of a file.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its spans, and what was wrong with the others.
    pub batch: Batch,
    /// Where it begins.
    pub place: Place,
    /// Bytes of the file read so far, as they lie on disk: for a progress bar.
    pub bytes_read: u64,
}

/// Reads a file message by message.
pub struct Reader {
    name: String,
    total_bytes: Option<u64>,
    frames: Frames,
    format: Format,
    /// The message by which the format was recognised.
    first: Option<Frame>,
    decoder: Decoder,
    limits: ReadLimits,
}

impl Reader {
    /// Opens `path`, or standard input if it is [`STDIN`], and recognises what it is.
    pub fn open(
        path: &Path,
        names: Arc<Interner>,
        rules: Arc<AttributeRules>,
        limits: ReadLimits,
    ) -> Result<Reader, FileError> {
        if path.as_os_str() == STDIN {
            return Reader::new("standard input", std::io::stdin(), names, rules, limits);
        }
        let name = path.display().to_string();
        let fail = |error| at(&name, Place::File, Problem::Open(error));
        let file = std::fs::File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        let mut reader = Reader::new(&name, file, names, rules, limits)?;
        // A pipe has no size.
        reader.total_bytes = metadata.is_file().then_some(metadata.len());
        Ok(reader)
    }

    /// Reads whatever `input` gives; `name` is for error messages.
    pub fn new(
        name: &str,
        input: impl Read + Send + 'static,
        names: Arc<Interner>,
        rules: Arc<AttributeRules>,
        limits: ReadLimits,
    ) -> Result<Reader, FileError> {
        let fail = |(place, problem)| at(name, place, problem);
        let source = Source::new(Box::new(input), limits.total_bytes).map_err(fail)?;
        let mut frames = Frames::new(source, limits.message_bytes);
        let (format, first) = format::recognise(&mut frames).map_err(fail)?;
        let decoder = Decoder::new(names, rules);
        let name = name.to_owned();
        Ok(Reader { name, total_bytes: None, frames, format, first, decoder, limits })
    }

    /// Hands the spans of the next message to `sink` and says where it began; `None` at the end.
    pub fn next_into<S: SpanSink>(&mut self, sink: &mut S) -> Result<Option<Place>, FileError> {
        let frame = match self.first.take() {
            Some(frame) => Ok(Some(frame)),
            None => self.frames.next(self.format.framing()),
        };
        let frame = frame.map_err(|(place, problem)| at(&self.name, place, problem))?;
        let Some(frame) = frame else { return Ok(None) };
        let bytes = self.frames.bytes(&frame);
        let limits = &self.limits.cost;
        let result = match self.format {
            Format::Json => self.decoder.json(bytes, limits, sink).map_err(DecodeError::otlp_json),
            Format::Jaeger => jaeger::walk(&mut self.decoder, bytes, limits, sink)
                .map_err(|error| DecodeError::Json { format: "Jaeger", error }),
            Format::Zipkin => zipkin::walk(&mut self.decoder, bytes, limits, sink)
                .map_err(|error| DecodeError::Json { format: "Zipkin", error }),
            Format::Protobuf | Format::ProtobufStream => wire::count(bytes, limits)
                .and_then(|checked| self.decoder.protobuf(&checked, sink))
                .map_err(DecodeError::from),
        };
        match result {
            Ok(()) => Ok(Some(frame.place)),
            Err(error) => {
                let place = frame.place_of(&error);
                Err(at(&self.name, place, Problem::Message(error)))
            }
        }
    }

    /// Bytes of the file read so far, as they lie on disk.
    pub fn bytes_read(&self) -> u64 {
        self.frames.bytes_read()
    }

    /// Size of the file as it lies on disk; `None` where that is not known.
    pub fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// What the file was recognised as, in words.
    pub fn format(&self) -> &'static str {
        self.format.as_str()
    }
}

impl Iterator for Reader {
    type Item = Result<Message, FileError>;

    fn next(&mut self) -> Option<Result<Message, FileError>> {
        let mut batch = Batch::default();
        let place = self.next_into(&mut batch).transpose()?;
        let bytes_read = self.bytes_read();
        Some(place.map(|place| Message { batch, place, bytes_read }))
    }
}

fn at(file: &str, place: Place, problem: Problem) -> FileError {
    FileError { file: file.to_owned(), place, problem }
}

#[cfg(test)]
mod tests;
