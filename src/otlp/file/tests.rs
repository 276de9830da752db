//! Files of every kind, whole and broken.

mod older;

use std::io::{Cursor, Write};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::*;
use crate::otlp::testing::{self, Seen};

fn reader(bytes: Vec<u8>, limits: ReadLimits) -> Result<(Reader, Arc<Interner>), FileError> {
    let (names, rules) = testing::names_and_rules();
    let reader = Reader::new("file", Cursor::new(bytes), Arc::clone(&names), rules, limits)?;
    Ok((reader, names))
}

fn read(bytes: Vec<u8>) -> Result<Vec<Vec<Seen>>, FileError> {
    let (mut reader, names) = reader(bytes, ReadLimits::default())?;
    let mut messages = Vec::new();
    for message in &mut reader {
        messages.push(testing::seen(&message?.batch.spans, &names));
    }
    Ok(messages)
}

fn error(bytes: Vec<u8>) -> String {
    read(bytes).unwrap_err().to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Two requests, and what is in them.
fn requests() -> ([ExportTraceServiceRequest; 2], Vec<Vec<Seen>>) {
    let requests = [testing::golden(1), testing::golden(2)];
    let seen = requests.each_ref().map(testing::oracle).to_vec();
    (requests, seen)
}

fn json_lines(requests: &[ExportTraceServiceRequest]) -> Vec<u8> {
    let lines = requests.iter().map(|request| serde_json::to_string(request).unwrap() + "\n");
    lines.collect::<String>().into_bytes()
}

fn length_prefixed(requests: &[ExportTraceServiceRequest]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for request in requests {
        let message = request.encode_to_vec();
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(message);
    }
    bytes
}

#[test]
fn every_otlp_format_gives_the_same_spans_plain_and_compressed() {
    let (requests, seen) = requests();
    let pretty: Vec<u8> =
        requests.iter().flat_map(|request| serde_json::to_vec_pretty(request).unwrap()).collect();
    let streams = [json_lines(&requests), length_prefixed(&requests), pretty];
    for bytes in streams {
        assert_eq!(read(bytes.clone()).unwrap(), seen);
        assert_eq!(read(gzip(&bytes)).unwrap(), seen);
        assert_eq!(read(zstd(&bytes)).unwrap(), seen);
    }
    let whole = requests[0].encode_to_vec();
    assert_eq!(read(whole.clone()).unwrap(), seen[..1]);
    assert_eq!(read(gzip(&whole)).unwrap(), seen[..1]);
}

#[test]
fn members_of_a_gzip_file_and_frames_of_a_zstd_file_are_joined() {
    let (requests, seen) = requests();
    let bytes = json_lines(&requests);
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    assert_eq!(read([gzip(head), gzip(tail)].concat()).unwrap(), seen);
    assert_eq!(read([zstd(head), zstd(tail)].concat()).unwrap(), seen);
}

#[test]
fn white_space_and_a_byte_order_mark_are_no_content() {
    let (requests, seen) = requests();
    let json = json_lines(&requests);
    assert_eq!(read([b"\xef\xbb\xbf".to_vec(), json.clone()].concat()).unwrap(), seen);
    assert_eq!(read([b"\n\r\n \t".to_vec(), json, b"\n\n".to_vec()].concat()).unwrap(), seen);
}

#[test]
fn a_line_feed_before_json_is_not_taken_for_protobuf() {
    // A resourceSpans of 0x7b bytes begins with the same two bytes as a line feed and a brace.
    let mut request = testing::golden(1);
    request.resource_spans.truncate(1);
    let first = request.resource_spans.first_mut().unwrap();
    first.scope_spans.clear();
    first.schema_url.clear();
    let pad = 0x7b - first.encoded_len() - 2;
    first.schema_url = "x".repeat(pad);
    let bytes = request.encode_to_vec();
    assert_eq!(bytes[..2], *b"\n{");
    assert_eq!(read(bytes).unwrap(), [vec![]]);
    assert_eq!(read(b"\n{\n\"resourceSpans\":[]}".to_vec()).unwrap(), [vec![]]);
}

#[test]
fn what_holds_no_spans_says_so() {
    assert_eq!(error(Vec::new()), "file: empty; expected spans as OTLP, Jaeger or Zipkin");
    assert!(error(b" \n ".to_vec()).starts_with("file: empty"));
    assert!(error(gzip(b"")).starts_with("file: empty"));
    assert!(error(b"not a trace".to_vec()).starts_with("file: byte 0: not a known format"));
    assert!(error(b"{\"a\":1}".to_vec()).starts_with("file: line 1: not a known format"));
    let metrics = b"{\"resourceMetrics\":[]}".to_vec();
    assert_eq!(error(metrics), "file: line 1: holds metrics, not traces");
}

#[test]
fn a_broken_line_is_named() {
    let (requests, _) = requests();
    let mut bytes = json_lines(&requests);
    bytes.extend(b"\n{\"resourceSpans\":\n  [{\"scopeSpans\": 7}]}\n");
    let text = error(bytes);
    assert!(text.starts_with("file: line 5: invalid OTLP JSON"), "{text}");
    let mut bytes = json_lines(&requests);
    bytes.extend(b"surplus");
    assert_eq!(error(bytes), "file: line 3: expected a JSON object or array, found 's'");
}

#[test]
fn a_cut_file_is_an_error_wherever_it_is_cut() {
    let (requests, _) = requests();
    let line = json_lines(&requests[..1]);
    // The line feed at the end may go.
    for end in 1..line.len() - 1 {
        assert!(error(line[..end].to_vec()).contains("the file ends inside"), "{end}");
    }
    let stream = length_prefixed(&requests);
    let first = length_prefixed(&requests[..1]).len();
    for end in (1..stream.len()).filter(|end| *end != first) {
        assert!(read(stream[..end].to_vec()).is_err(), "{end}");
    }
    let packed = gzip(&json_lines(&requests));
    for end in 2..packed.len() {
        let text = error(packed[..end].to_vec());
        assert!(
            text.contains("the gzip stream is cut off") || text.contains("cannot be read"),
            "{text}"
        );
    }
    let packed = zstd(&json_lines(&requests));
    for end in 4..packed.len() {
        assert!(error(packed[..end].to_vec()).contains("the zstd stream is cut off"), "{end}");
    }
}

#[test]
fn a_message_beyond_the_limit_is_refused_before_it_is_held() {
    let (requests, _) = requests();
    let limits = ReadLimits { message_bytes: 64, ..ReadLimits::default() };
    for bytes in [json_lines(&requests), length_prefixed(&requests), requests[0].encode_to_vec()] {
        let result = reader(bytes, limits)
            .and_then(|(mut reader, _)| reader.next().expect("there is a message").map(drop));
        let text = result.unwrap_err().to_string();
        assert!(text.contains("larger than the limit of 64 bytes"), "{text}");
    }
    let huge_length = [&[0x7f, 0xff, 0xff, 0xff, 0x0a][..], &[0; 8]].concat();
    assert!(error(huge_length).contains("larger than the limit"));
}

#[test]
fn a_missing_file_is_named() {
    let (names, rules) = testing::names_and_rules();
    let path = Path::new("no/such/file.json");
    let result = Reader::open(path, names, rules, ReadLimits::default());
    let text = result.err().expect("it is missing").to_string();
    assert!(text.starts_with("no/such/file.json: cannot be opened: "), "{text}");
}

#[test]
fn progress_is_counted_in_bytes_on_disk() {
    let (requests, _) = requests();
    let bytes = gzip(&json_lines(&requests));
    let size = bytes.len() as u64;
    let (reader, _) = reader(bytes, ReadLimits::default()).unwrap();
    assert_eq!(reader.last().unwrap().unwrap().bytes_read, size);
}
