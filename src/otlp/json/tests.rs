//! JSON as senders write it, and as they should not.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::otlp::sink::Batch;
use crate::otlp::testing::{self, Seen, arbitrary};
use crate::otlp::wire;

fn decode(text: &str) -> Result<(Vec<Seen>, Batch), JsonError> {
    decode_bytes(text.as_bytes())
}

fn decode_bytes(text: &[u8]) -> Result<(Vec<Seen>, Batch), JsonError> {
    let (names, rules) = testing::names_and_rules();
    let mut batch = Batch::default();
    Decoder::new(names.clone(), rules).json(text, &CostLimits::default(), &mut batch)?;
    Ok((testing::seen(&batch.spans, &names), batch))
}

/// A span of the given fields, the identifiers aside.
fn with_span(fields: &str) -> String {
    let ids = r#""traceId":"5B8EFFF798038103d269b633813fc60c","spanId":"eee19b7ec3c1B174""#;
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{ids}{fields}}}]}}]}}]}}"#)
}

fn one(fields: &str) -> Seen {
    let (mut seen, _) = decode(&with_span(fields)).unwrap();
    seen.pop().expect("one span")
}

fn message(text: &str) -> String {
    decode(text).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn a_request_is_the_same_as_json_and_as_protobuf(request in arbitrary::request()) {
        let json = decode(&serde_json::to_string(&request).unwrap()).unwrap();
        let (names, rules) = testing::names_and_rules();
        let mut batch = Batch::default();
        let message = request.encode_to_vec();
        let counted = wire::count(&message, &CostLimits::default()).unwrap();
        Decoder::new(names.clone(), rules).protobuf(&counted, &mut batch).unwrap();
        prop_assert_eq!(&json.0, &testing::seen(&batch.spans, &names));
        prop_assert_eq!(json.1.defects, batch.defects);
        prop_assert_eq!(json.0, testing::oracle(&request));
    }

    #[test]
    fn no_text_makes_it_crash(text in "[\\[\\]{}\",:0-9a-z\\\\ ]{0,80}") {
        let _ = decode(&text);
    }

    #[test]
    fn the_order_of_fields_does_not_matter(request in arbitrary::request()) {
        let value = serde_json::to_value(&request).unwrap();
        let backwards = reversed(&value);
        prop_assert_eq!(decode(&backwards).unwrap().0, testing::oracle(&request));
    }
}

/// A JSON text with the fields of every object in reverse order of their names.
fn reversed(value: &serde_json::Value) -> String {
    let quoted = |text: &String| serde_json::to_string(text).unwrap();
    match value {
        serde_json::Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .rev()
                .map(|(name, value)| quoted(name) + ":" + &reversed(value))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(reversed).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

#[test]
fn reversing_puts_the_resource_after_its_spans() {
    let text = reversed(&serde_json::to_value(testing::golden(1)).unwrap());
    assert!(text.find("scopeSpans") < text.find("service.name"));
    assert_eq!(decode(&text).unwrap().0, testing::oracle(&testing::golden(1)));
}

#[test]
fn identifiers_are_read_in_any_case_and_times_as_text_or_number() {
    let text = one(
        r#","startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"18446744073709551615""#,
    );
    assert_eq!(text.trace, 0x5b8e_fff7_9803_8103_d269_b633_813f_c60c);
    assert_eq!(text.id, 0xeee1_9b7e_c3c1_b174);
    assert_eq!(text.times, (1_544_712_660_000_000_000, u64::MAX));
    let number =
        one(r#","startTimeUnixNano":1544712660000000000,"endTimeUnixNano":18446744073709551615"#);
    assert_eq!(number, text);
    let float = one(r#","startTimeUnixNano":1.54471266e18,"endTimeUnixNano":1.6e18"#);
    assert_eq!(float.times, (1_544_712_660_000_000_000, 1_600_000_000_000_000_000));
}

#[test]
fn enums_are_read_as_number_or_name() {
    assert_eq!(one(r#","kind":3"#), one(r#","kind":"SPAN_KIND_CLIENT""#));
    assert_eq!(one(r#","kind":3"#).kind, "SPAN_KIND_CLIENT");
    assert_eq!(one(r#","kind":"SPAN_KIND_NEW""#).kind, "SPAN_KIND_UNSPECIFIED");
    assert_eq!(one(r#","kind":-1"#).kind, "SPAN_KIND_UNSPECIFIED");
    assert!(one(r#","status":{"code":2}"#).failed);
    assert!(one(r#","status":{"code":"STATUS_CODE_ERROR","message":"x"}"#).failed);
    assert!(!one(r#","status":{"code":1}"#).failed);
}

#[test]
fn null_is_absent_everywhere() {
    let plain = one("");
    let nulls = r#","name":null,"kind":null,"parentSpanId":null,"startTimeUnixNano":null,
        "endTimeUnixNano":null,"attributes":null,"events":null,"links":null,"status":null"#;
    assert_eq!(one(nulls), plain);
    assert_eq!(
        one(
            r#","attributes":[null,{"key":null,"value":null},{"key":"retry","value":{"boolValue":null}}]"#
        ),
        plain
    );
    for text in [
        r#"{"resourceSpans":null}"#,
        r#"{"resourceSpans":[null]}"#,
        r#"{"resourceSpans":[{"resource":null,"scopeSpans":null}]}"#,
        r#"{"resourceSpans":[{"resource":{"attributes":null},"scopeSpans":[null,{"spans":null}]}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[null]}]}]}"#,
        "{}",
    ] {
        let (seen, batch) = decode(text).expect(text);
        assert_eq!((seen.len(), batch.defects.total()), (0, 0), "{text}");
    }
}

#[test]
fn unknown_fields_are_skipped_however_deep() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert_eq!(one(&format!(r#","newField":{deep},"other":{{"a":[1,"2",null]}}"#)), one(""));
}

#[test]
fn depth_in_known_fields_is_an_error_not_a_crash() {
    let deep = r#"{"resourceSpans":"#.to_owned() + &"[".repeat(100_000);
    assert!(decode(&deep).is_err());
    let text = "[".repeat(100_000);
    assert!(decode(&text).is_err());
}

#[test]
fn of_duplicate_fields_the_last_counts_and_lists_are_joined() {
    assert_eq!(one(r#","name":"a","name":"b""#).name, "b");
    let joined = one(r#","kind":3,"attributes":[{"key":"retry","value":{"intValue":"1"}}],
            "attributes":[{"value":{"stringValue":"db"},"key":"peer.service"}]"#);
    assert_eq!(joined.peer.as_deref(), Some("db"));
    assert_eq!(joined.attributes, [("retry".into(), "1".into())]);
    let twice = r#"{"resourceSpans":[{"resource":{},"resource":{}}]}"#;
    assert!(message(twice).contains("duplicate field `resource`"));
}

#[test]
fn an_identifier_that_is_none_costs_its_span_only() {
    for id in ["", "abc", "zz", "W47/95gDgQPSabYzgT/GDA==", "00000000000000000000000000000000"] {
        let good = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}"#;
        let bad = format!(r#"{{"traceId":"{id}","spanId":"eee19b7ec3c1b174"}}"#);
        let text =
            format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{bad},{good}]}}]}}]}}"#);
        let (seen, batch) = decode(&text).unwrap();
        assert_eq!(
            (seen.len(), batch.defects.to_string().as_str()),
            (1, "1 × invalid trace id"),
            "{id}"
        );
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for value in
        ["NaN", "Infinity", "-1", "\"-1\"", "1.5", "\"x\"", "1e400", "18446744073709551616", "{}"]
    {
        let text = with_span(&format!(r#","startTimeUnixNano":{value}"#));
        assert!(decode(&text).is_err(), "{value}");
    }
}

#[test]
fn text_that_is_not_utf8_is_repaired_and_the_batch_is_kept() {
    let text = with_span(r#","name":"caf?""#).into_bytes();
    let broken: Vec<u8> =
        text.iter().map(|byte| if *byte == b'?' { 0xe9 } else { *byte }).collect();
    assert_eq!(decode_bytes(&broken).unwrap().0[0].name, "caf\u{fffd}");
    let half_a_pair = one(r#","name":"a\ud800b""#).name;
    assert!(
        half_a_pair.starts_with('a')
            && half_a_pair.ends_with('b')
            && half_a_pair.contains('\u{fffd}')
    );
}

#[test]
fn errors_are_short_and_say_where() {
    assert_eq!(
        message("{\n\"resourceSpans\": 7}"),
        "invalid type: integer `7`, expected a list of resourceSpans, line 2 column 18"
    );
    let late = "{\"resourceSpans\":[\n{\"scopeSpans\":[{\"spans\":7}]}]}";
    assert!(message(late).ends_with("line 2 column 25"), "{}", message(late));
    let long = format!(r#"{{"resourceSpans":"{}"}}"#, "x".repeat(10_000));
    assert!(message(&long).len() < 250);
    assert!(decode("null").is_err());
    assert!(decode("[]").is_err());
    assert!(decode("{} {}").is_err());
    assert!(decode("").is_err());
}

#[test]
fn more_spans_than_allowed_are_refused() {
    let (names, rules) = testing::names_and_rules();
    let text = serde_json::to_vec(&testing::golden(1)).unwrap();
    let decode = |spans| {
        let limits = CostLimits { spans, ..CostLimits::default() };
        let mut decoder = Decoder::new(names.clone(), rules.clone());
        decoder.json(&text, &limits, &mut Batch::default())
    };
    assert_eq!(decode(3), Ok(()));
    assert_eq!(decode(2), Err(JsonError::TooManySpans { limit: 2 }));
}

#[test]
fn a_text_cut_anywhere_is_an_error() {
    let request: ExportTraceServiceRequest = testing::golden(1);
    let text = serde_json::to_string(&request).unwrap();
    for end in 0..text.len() {
        if text.is_char_boundary(end) {
            assert!(decode(&text[..end]).is_err(), "{end}");
        }
    }
}
