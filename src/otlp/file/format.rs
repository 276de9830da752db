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
}

impl Format {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Format::Json => "OTLP/JSON",
            Format::Protobuf => "OTLP protobuf",
            Format::ProtobufStream => "OTLP protobuf, length-prefixed",
        }
    }

    pub(super) fn framing(self) -> Framing {
        match self {
            Format::Json => Framing::Json,
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

fn json_format(text: &[u8]) -> Result<Format, Problem> {
    if text.starts_with(b"[") {
        return Err(Problem::UnknownFormat { expected: EXPECTED });
    }
    let mut keys = KnownKeys::default();
    // Whether the text is JSON throughout is for the reader of the format to say.
    let _ = serde_json::Deserializer::from_slice(text).deserialize_map(&mut keys);
    match keys {
        KnownKeys { otlp: true, .. } => Ok(Format::Json),
        KnownKeys { other: Some(signal), .. } => Err(Problem::NotTraces(signal)),
        // `{}` is the empty OTLP request, and so is a first object that is cut or broken at once.
        KnownKeys { keys: 0, .. } => Ok(Format::Json),
        _ => Err(Problem::UnknownFormat {
            expected: "an object with `resourceSpans` (OTLP) or `data` (Jaeger), or an array (Zipkin)",
        }),
    }
}

/// Names of the first object that give the format away.
#[derive(Default)]
struct KnownKeys {
    otlp: bool,
    other: Option<&'static str>,
    keys: usize,
}

impl<'de> Visitor<'de> for &mut KnownKeys {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            self.keys += 1;
            match &*key {
                "resourceSpans" => self.otlp = true,
                "resourceMetrics" => self.other = Some("metrics"),
                "resourceLogs" => self.other = Some("logs"),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            }
            // The rest may be large, and is read again anyway.
            return Ok(());
        }
        Ok(())
    }
}
