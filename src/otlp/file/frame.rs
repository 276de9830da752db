//! Where one message of a file ends and the next begins.
//!
//! JSON messages are found by matching brackets, so it does not matter whether each stands on a line of its
//! own or is spread over many. Whether what is between the brackets is JSON is seen by the parser.

use super::source::Source;
use super::{Place, Problem};
use crate::otlp::decoder::DecodeError;
use crate::otlp::json::JsonError;

type Failure = (Place, Problem);

/// How messages are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// JSON values, one after the other.
    Json,
    /// The whole stream is one message.
    Whole,
    /// Each message comes after its length in four bytes, the most significant first.
    LengthPrefixed,
}

/// A message in the window of [`Frames`]: good until the next one is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    start: usize,
    end: usize,
    pub(super) place: Place,
}

impl Frame {
    /// Where an error is: within a JSON message the line is known.
    pub(super) fn place_of(&self, error: &DecodeError) -> Place {
        match (self.place, error) {
            (
                Place::Line(first),
                DecodeError::Json { error: JsonError::Syntax { line, .. }, .. },
            ) => Place::Line(first + (*line as u64).saturating_sub(1)),
            (place, _) => place,
        }
    }
}

/// The messages of a stream.
pub(super) struct Frames {
    source: Source,
    limit: usize,
    /// Length of the part of the window that has been handed out.
    used: usize,
    /// The line at the begin of the window, from 1.
    line: u64,
}

impl Frames {
    pub(super) fn new(source: Source, limit: usize) -> Frames {
        Frames { source, limit, used: 0, line: 1 }
    }

    pub(super) fn bytes(&self, frame: &Frame) -> &[u8] {
        &self.source.window()[frame.start..frame.end]
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.source.raw_bytes()
    }

    /// The first bytes of the stream, at least `count` if there are as many.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8], Failure> {
        while self.source.window().len() < count && self.source.fill()? {}
        Ok(self.source.window())
    }

    /// The next message, or `None` at the end of the stream.
    pub(super) fn next(&mut self, framing: Framing) -> Result<Option<Frame>, Failure> {
        self.source.consume(self.used);
        self.used = 0;
        match framing {
            Framing::Json => self.next_json(),
            Framing::Whole => self.whole(),
            Framing::LengthPrefixed => self.next_prefixed(),
        }
    }

    fn byte(&self, index: usize) -> Place {
        Place::Byte(self.source.offset() + index as u64)
    }

    fn whole(&mut self) -> Result<Option<Frame>, Failure> {
        loop {
            self.check_size(self.source.window().len(), self.byte(0))?;
            if !self.source.fill()? {
                break;
            }
        }
        let end = self.source.window().len();
        self.used = end;
        Ok((end > 0).then_some(Frame { start: 0, end, place: self.byte(0) }))
    }

    fn next_prefixed(&mut self) -> Result<Option<Frame>, Failure> {
        const PREFIX_BYTES: usize = 4;
        let place = self.byte(0);
        let window = self.peek(PREFIX_BYTES)?;
        if window.is_empty() {
            return Ok(None);
        }
        let Some(prefix) = window.first_chunk::<PREFIX_BYTES>() else {
            return Err((place, Problem::Truncated { expected: "a length of four bytes" }));
        };
        let length = u32::from_be_bytes(*prefix) as usize;
        self.check_size(length, place)?;
        let end = PREFIX_BYTES + length;
        if self.peek(end)?.len() < end {
            return Err((
                place,
                Problem::Truncated { expected: "as many bytes as its length says" },
            ));
        }
        self.used = end;
        Ok(Some(Frame { start: PREFIX_BYTES, end, place }))
    }

    fn next_json(&mut self) -> Result<Option<Frame>, Failure> {
        let Some(start) = self.skip_white()? else { return Ok(None) };
        let place = Place::Line(self.line);
        let first = self.source.window()[start];
        if !matches!(first, b'{' | b'[') {
            let rest = &self.source.window()[start..];
            let found = String::from_utf8_lossy(&rest[..rest.len().min(4)]).chars().next();
            return Err((place, Problem::NotJson { found: found.unwrap_or_default() }));
        }
        let mut brackets = Brackets::default();
        let mut end = start;
        loop {
            let window = self.source.window();
            if let Some(length) = brackets.feed(&window[end..]) {
                end += length;
                break;
            }
            end = window.len();
            self.check_size(end - start, place)?;
            if !self.source.fill()? {
                return Err((place, Problem::Truncated { expected: "its closing bracket" }));
            }
        }
        self.check_size(end - start, place)?;
        let lines = self.source.window()[start..end].iter().filter(|byte| **byte == b'\n').count();
        self.line += lines as u64;
        self.used = end;
        Ok(Some(Frame { start, end, place }))
    }

    /// The index of the next byte that is not white space.
    fn skip_white(&mut self) -> Result<Option<usize>, Failure> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        if self.source.offset() == 0 && self.peek(3)?.starts_with(BYTE_ORDER_MARK) {
            self.source.consume(BYTE_ORDER_MARK.len());
        }
        loop {
            let window = self.source.window();
            let white = window.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.line += window[..white].iter().filter(|byte| **byte == b'\n').count() as u64;
            let found = white < window.len();
            if found {
                return Ok(Some(white));
            }
            self.source.consume(white);
            if !self.source.fill()? {
                return Ok(None);
            }
        }
    }

    fn check_size(&self, size: usize, place: Place) -> Result<(), Failure> {
        if size > self.limit {
            return Err((place, Problem::TooLarge { limit: self.limit }));
        }
        Ok(())
    }
}

/// Finds the bracket that closes the first one, over any number of chunks.
#[derive(Default)]
struct Brackets {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Brackets {
    /// How many bytes of `chunk` belong to the value, if it ends there.
    fn feed(&mut self, chunk: &[u8]) -> Option<usize> {
        for (index, byte) in chunk.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}
