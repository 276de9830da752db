//! The walk against the generated decoder, on requests whole, damaged and hostile.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::model::SpanDefect;
use crate::otlp::sink::Batch;
use crate::otlp::testing::{self, Details, Seen, arbitrary};

fn decode(message: &[u8]) -> Result<(Vec<Seen>, Batch), WireError> {
    decode_within(message, &CostLimits::default())
}

fn decode_within(message: &[u8], limits: &CostLimits) -> Result<(Vec<Seen>, Batch), WireError> {
    let (names, rules) = testing::names_and_rules();
    let mut batch = Batch::default();
    let counted = count(message, limits)?;
    Decoder::new(names.clone(), rules).protobuf(&counted, &mut batch)?;
    assert_eq!(counted.cost.spans as u64, batch.spans.len() as u64 + batch.defects.total());
    Ok((testing::seen(&batch.spans, &names), batch))
}

fn spans_of(request: &ExportTraceServiceRequest) -> usize {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

/// All messages but the spans and the request itself.
fn elements_of(request: &ExportTraceServiceRequest) -> usize {
    let spans = |span: &Span| {
        let events = span.events.iter().map(|event| 1 + pairs(&event.attributes));
        let links = span.links.iter().map(|link| 1 + pairs(&link.attributes));
        let status = usize::from(span.status.is_some());
        pairs(&span.attributes) + events.sum::<usize>() + links.sum::<usize>() + status
    };
    let scopes = |scope_spans: &ScopeSpans| {
        let scope = scope_spans.scope.as_ref().map_or(0, |scope| 1 + pairs(&scope.attributes));
        1 + scope + scope_spans.spans.iter().map(spans).sum::<usize>()
    };
    let resources = |resource_spans: &ResourceSpans| {
        let resource = resource_spans.resource.as_ref();
        let resource = resource.map_or(0, |resource| 1 + pairs(&resource.attributes));
        1 + resource + resource_spans.scope_spans.iter().map(scopes).sum::<usize>()
    };
    request.resource_spans.iter().map(resources).sum()
}

fn pairs(attributes: &[KeyValue]) -> usize {
    attributes.iter().map(|pair| 1 + pair.value.as_ref().map_or(0, values)).sum()
}

/// A value and what is within it.
fn values(value: &AnyValue) -> usize {
    1 + match &value.value {
        Some(Any::ArrayValue(list)) => 1 + list.values.iter().map(values).sum::<usize>(),
        Some(Any::KvlistValue(map)) => 1 + pairs(&map.values),
        _ => 0,
    }
}

fn one_span(span: Span) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

fn valid_span() -> Span {
    Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..Span::default() }
}

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend(content);
    bytes
}

proptest! {
    #[test]
    fn the_walk_reads_what_the_generated_decoder_reads(request in arbitrary::request()) {
        let (seen, batch) = decode(&request.encode_to_vec()).unwrap();
        let expected = testing::oracle(&request);
        let rejected = spans_of(&request) - expected.len();
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(batch.defects.total(), rejected as u64);
    }

    #[test]
    fn a_request_within_its_limits_is_read_and_one_span_or_element_more_is_not(
        request in arbitrary::request(),
    ) {
        let message = request.encode_to_vec();
        let limits = CostLimits { spans: spans_of(&request), elements: elements_of(&request) };
        prop_assert!(decode_within(&message, &limits).is_ok());
        if let Some(spans) = limits.spans.checked_sub(1) {
            let less = CostLimits { spans, ..limits };
            prop_assert!(count(&message, &less).is_err());
        }
        if let Some(elements) = limits.elements.checked_sub(1) {
            let result = decode_within(&message, &CostLimits { elements, ..limits });
            let too_many = matches!(result, Err(WireError::TooMany { .. }));
            prop_assert!(too_many);
        }
    }

    #[test]
    fn damaged_bytes_are_refused_by_both_or_read_alike(
        request in arbitrary::request(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = request.encode_to_vec();
        for (index, byte) in damage {
            if !bytes.is_empty() {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        agree(&bytes)?;
    }

    #[test]
    fn random_bytes_are_refused_by_both_or_read_alike(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        agree(&bytes)?;
    }
}

/// Two differences are meant: text that is not UTF-8 is read here, and groups are not.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    match (decode(bytes), ExportTraceServiceRequest::decode(bytes)) {
        (Ok((seen, _)), Ok(request)) => prop_assert_eq!(seen, testing::oracle(&request)),
        (Err(_), Err(_)) | (Err(WireError::Group), Ok(_)) => {}
        (Err(error), Ok(_)) => prop_assert!(false, "only the walk refuses: {error}"),
        (Ok(_), Err(error)) => {
            prop_assert!(error.to_string().contains("UTF-8"), "only the walk accepts: {error}");
        }
    }
    Ok(())
}

#[test]
fn the_golden_request_is_read_in_full() {
    let request = testing::golden(1);
    let (seen, _) = decode(&request.encode_to_vec()).unwrap();
    assert_eq!(seen, testing::oracle(&request));
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[1].peer.as_deref(), Some("database \"one\""));
    assert!(seen[1].attributes.contains(&("retry".into(), "true".into())));
    assert_eq!(seen.iter().map(|span| span.failed).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn a_request_cut_anywhere_is_an_error_or_the_shorter_request() {
    let bytes = testing::golden(1).encode_to_vec();
    for end in 0..bytes.len() {
        let result = decode(&bytes[..end]);
        match ExportTraceServiceRequest::decode(&bytes[..end]) {
            Ok(shorter) => assert_eq!(result.unwrap().0, testing::oracle(&shorter), "{end}"),
            Err(_) => assert!(result.is_err(), "{end}"),
        }
    }
}

#[test]
fn every_wire_type_of_every_key_is_refused_alike() {
    let bytes = testing::golden(1).encode_to_vec();
    for index in 0..bytes.len() {
        for wire_type in 0..8 {
            let mut bytes = bytes.clone();
            bytes[index] = bytes[index] & !7 | wire_type;
            agree(&bytes).unwrap();
        }
    }
}

#[test]
fn the_empty_request_succeeds() {
    assert_eq!(decode(&[]).unwrap().0, []);
}

#[test]
fn a_resource_after_its_spans_counts_and_two_are_merged() {
    let resource = |attributes| Resource { attributes, ..Resource::default() }.encode_to_vec();
    let scope = ScopeSpans { spans: vec![valid_span()], ..ScopeSpans::default() };
    let resource_spans = [
        field(2, &scope.encode_to_vec()),
        field(1, &resource(vec![testing::string("service.name", "shop")])),
        field(1, &resource(vec![testing::string("host.name", "h")])),
    ];
    let bytes = field(1, &resource_spans.concat());
    let (seen, _) = decode(&bytes).unwrap();
    assert_eq!(seen[0].service, "shop");
    assert_eq!(seen[0].attributes, [("host.name".into(), "h".into())]);
    agree(&bytes).unwrap();
}

#[test]
fn of_repeated_scalars_the_last_counts_and_of_repeated_messages_the_union() {
    let first = Span {
        name: "first".into(),
        kind: 2,
        status: Some(Status { code: 2, message: String::new() }),
        ..valid_span()
    };
    let second = Span {
        name: "second".into(),
        kind: 3,
        status: Some(Status { code: 0, message: "kept".into() }),
        ..Span::default()
    };
    let span = [first.encode_to_vec(), second.encode_to_vec()].concat();
    let bytes = field(1, &field(2, &field(2, &span)));
    let (seen, _) = decode(&bytes).unwrap();
    assert_eq!((seen[0].name.as_str(), seen[0].kind), ("second", "SPAN_KIND_CLIENT"));
    assert!(seen[0].failed, "the second status says nothing of the code");
    agree(&bytes).unwrap();
}

#[test]
fn names_that_are_not_utf8_are_repaired_and_the_batch_is_kept() {
    let text = |text: &[u8]| field(2, &field(1, text));
    let attribute = |key: &[u8], value: &[u8]| [field(1, key), text(value)].concat();
    let resource = field(1, &field(1, &attribute(b"service.name", b"caf\xe9")));
    let mut span = valid_span();
    span.kind = 3;
    let peer =
        [field(9, &attribute(b"peer.service", b"d\xff")), field(9, &attribute(b"\xff", b""))];
    let span = [span.encode_to_vec(), field(5, b"\xc3"), peer.concat()].concat();
    let whole = Span { name: "whole".into(), ..valid_span() }.encode_to_vec();
    let scope = field(2, &[field(2, &span), field(2, &whole)].concat());
    let (seen, _) = decode(&field(1, &[resource, scope].concat())).unwrap();
    assert_eq!(seen[0].service, "caf\u{fffd}");
    assert_eq!(seen[0].name, "\u{fffd}");
    assert_eq!(seen[0].peer.as_deref(), Some("d\u{fffd}"));
    assert_eq!(seen[1].name, "whole");
}

#[test]
fn each_invalid_span_is_rejected_by_its_reason_and_the_rest_is_kept() {
    let spans = vec![
        Span { trace_id: vec![0; 16], ..valid_span() },
        Span { span_id: vec![1; 7], ..valid_span() },
        Span { parent_span_id: vec![1], ..valid_span() },
        Span { start_time_unix_nano: 2, end_time_unix_nano: 1, ..valid_span() },
        Span { parent_span_id: vec![0; 8], end_time_unix_nano: u64::MAX, ..valid_span() },
    ];
    let mut request = one_span(valid_span());
    request.resource_spans[0].scope_spans[0].spans = spans;
    let (seen, batch) = decode(&request.encode_to_vec()).unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].parent, seen[0].times), (None, (0, u64::MAX)));
    let reasons: Vec<_> = batch.defects.iter().collect();
    let once = [
        SpanDefect::TraceId,
        SpanDefect::SpanId,
        SpanDefect::ParentSpanId,
        SpanDefect::EndBeforeStart,
    ];
    assert_eq!(reasons, once.map(|defect| (defect, 1)));
}

#[test]
fn two_million_empty_spans_are_refused_before_any_is_built() {
    let spans = [0x12, 0x00].repeat(2_097_000);
    let message = field(1, &field(2, &spans));
    let limits = CostLimits::default();
    let error = count(&message, &limits).unwrap_err();
    assert_eq!(error, WireError::TooMany { what: "spans", limit: limits.spans });
}

#[test]
fn hosts_of_anything_else_are_refused() {
    let of = |number: u8| [number << 3 | 2, 0x00].repeat(2_097_000);
    let span = |content: Vec<u8>| field(1, &field(2, &field(2, &content)));
    let hosts = [
        ("resources", of(1)),
        ("scopes", field(1, &of(2))),
        ("attributes", span(of(9))),
        ("events", span(of(11))),
        ("links", span(of(13))),
    ];
    for (what, message) in hosts {
        let error = decode(&message).unwrap_err();
        assert!(matches!(error, WireError::TooMany { what, .. } if what != "spans"), "{what}");
    }
}

#[test]
fn nesting_is_bounded_without_recursion() {
    let nested = |levels: usize| {
        let mut value = AnyValue { value: Some(Any::StringValue("deep".into())) };
        for _ in 0..levels {
            value = AnyValue { value: Some(Any::ArrayValue(ArrayValue { values: vec![value] })) };
        }
        let attribute = KeyValue { key: "k".into(), value: Some(value), ..KeyValue::default() };
        one_span(Span { attributes: vec![attribute], ..valid_span() }).encode_to_vec()
    };
    // Request, resource, scope, span, attribute and value are there anyway; each list is two more.
    assert!(decode(&nested(47)).is_ok());
    agree(&nested(47)).unwrap();
    assert_eq!(decode(&nested(48)).err(), Some(WireError::Depth));
    agree(&nested(48)).unwrap();
    let mut bytes = Vec::new();
    for level in 0..20_000 {
        bytes = field(if level % 2 == 0 { 1 } else { 5 }, &bytes);
    }
    let bytes = field(1, &field(2, &field(2, &field(9, &field(2, &bytes)))));
    assert_eq!(decode(&bytes).err(), Some(WireError::Depth));
}

#[test]
fn attributes_beyond_the_limit_are_counted_and_not_looked_at() {
    let mut attributes = vec![testing::string("filler", "x"); 128];
    attributes.push(testing::string("peer.service", "beyond"));
    let span = Span { kind: 3, attributes, ..valid_span() };
    let (seen, batch) = decode(&one_span(span).encode_to_vec()).unwrap();
    assert_eq!(seen[0].peer, None);
    assert_eq!(batch.skipped_attributes, 1);
}

#[test]
fn those_who_want_detail_get_it_after_the_span_from_both_formats() {
    let mut request = testing::golden(1);
    let spans = &mut request.resource_spans[0].scope_spans[0].spans;
    spans.truncate(1);
    spans.push(Span { span_id: vec![], ..spans[0].clone() });
    request.resource_spans.truncate(1);
    let (names, rules) = testing::names_and_rules();
    let mut decoder = Decoder::new(names, rules);
    let expected = [
        "span 72340172838076673", // eight times the byte 1
        "peer.service=database \"one\"",
        "retry=true",
        "size=-3",
        "@1700000000000000100ns began",
        "invalid span id",
    ];
    let message = request.encode_to_vec();
    let mut details = Details::default();
    let limits = CostLimits::default();
    let counted = count(&message, &limits).unwrap();
    decoder.protobuf(&counted, &mut details).unwrap();
    assert_eq!(details.0, expected);
    let mut details = Details::default();
    decoder.json(&serde_json::to_vec(&request).unwrap(), &limits, &mut details).unwrap();
    assert_eq!(details.0, expected);
}
