//! What a file is, by its first bytes and, for JSON, by the names of its first object.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::frame::{Frame, Frames, Framing};
use super::{Place, Problem};

/// The formats that are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Json,
    Protobuf,
    ProtobufStream,
    Jaeger,
    Zipkin,
}

impl Format {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Format::Json => "OTLP/JSON",
            Format::Protobuf => "OTLP protobuf",
            Format::ProtobufStream => "OTLP protobuf, length-prefixed",
            Format::Jaeger => "Jaeger JSON",
            Format::Zipkin => "Zipkin v2 JSON",
        }
    }

    pub(super) fn framing(self) -> Framing {
        match self {
            Format::Json | Format::Jaeger | Format::Zipkin => Framing::Json,
            Format::Protobuf => Framing::Whole,
            Format::ProtobufStream => Framing::LengthPrefixed,
        }
    }
}

const EXPECTED: &str =
    "OTLP (JSON, protobuf or length-prefixed protobuf), Jaeger JSON or Zipkin v2 JSON";
/// Key of the first field of an OTLP trace message: number 1, length-delimited.
const FIRST_KEY: u8 = 0x0a;

/// Recognises what `frames` holds; for JSON the first message has then been taken from it.
pub(super) fn recognise(frames: &mut Frames) -> Result<(Format, Option<Frame>), (Place, Problem)> {
    let head = frames.peek(64)?;
    if head.is_empty() {
        return Err((Place::File, Problem::Empty));
    }
    if looks_like_json(head) {
        let Some(frame) = frames.next(Framing::Json)? else {
            return Err((Place::File, Problem::Empty));
        };
        let format = json_format(frames.bytes(&frame)).map_err(|problem| (frame.place, problem))?;
        return Ok((format, Some(frame)));
    }
    match head {
        [FIRST_KEY, ..] => Ok((Format::Protobuf, None)),
        [_, _, _, _, FIRST_KEY, ..] | [0, 0, 0, 0, ..] => Ok((Format::ProtobufStream, None)),
        _ => Err((Place::Byte(0), Problem::UnknownFormat { expected: EXPECTED })),
    }
}

/// Whether the bytes begin as JSON does. A line feed is also the first byte of a protobuf message, and
/// `{` may be its length; but there no quoted word follows.
fn looks_like_json(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    match head {
        [] => true,
        [b'{', rest @ ..] => match rest.trim_ascii_start() {
            [b'"', letter, ..] => letter.is_ascii_alphanumeric() || *letter == b'"',
            [] | [b'"' | b'}', ..] => true,
            _ => false,
        },
        [b'[', rest @ ..] => matches!(rest.trim_ascii_start(), [] | [b'{' | b'[' | b']', ..]),
        _ => false,
    }
}

/// By the names of the first object, which for Zipkin stands within one list or two.
fn json_format(text: &[u8]) -> Result<Format, Problem> {
    let inner = text.iter().position(|byte| *byte != b'[' && !byte.is_ascii_whitespace());
    let first = inner.map_or(&[][..], |inner| &text[inner..]);
    let mut keys = Keys::default();
    // Whether the text is JSON throughout is for the reader of the format to say.
    let _ = serde_json::Deserializer::from_slice(first).deserialize_map(&mut keys);
    match (text.starts_with(b"["), keys.found) {
        (false, Some(Found::Format(format))) => Ok(format),
        (false, Some(Found::OtherSignal(signal))) => Err(Problem::NotTraces(signal)),
        // `{}` is the empty OTLP request, and so is a first object that is broken at once.
        (false, None) if keys.count == 0 => Ok(Format::Json),
        (true, Some(Found::Format(Format::Zipkin))) => Ok(Format::Zipkin),
        (true, None) if keys.count == 0 => Ok(Format::Zipkin),
        _ => {
            let expected = "an object with `resourceSpans` (OTLP) or `data` (Jaeger), or an array of \
                            spans with `traceId` (Zipkin)";
            Err(Problem::UnknownFormat { expected })
        }
    }
}

/// What the first telling name of an object tells.
#[derive(Clone, Copy)]
enum Found {
    Format(Format),
    OtherSignal(&'static str),
}

/// Reads the names of an object until one gives the format away.
#[derive(Default)]
struct Keys {
    found: Option<Found>,
    count: usize,
}

impl<'de> Visitor<'de> for &mut Keys {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            self.count += 1;
            self.found = match &*key {
                "resourceSpans" => Some(Found::Format(Format::Json)),
                "data" | "spans" | "processes" => Some(Found::Format(Format::Jaeger)),
                "traceId" => Some(Found::Format(Format::Zipkin)),
                "resourceMetrics" => Some(Found::OtherSignal("metrics")),
                "resourceLogs" => Some(Found::OtherSignal("logs")),
                _ => None,
            };
            if self.found.is_some() {
                // The rest may be large, and is read again anyway.
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
