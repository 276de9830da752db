//! Random requests: mostly valid, with everything that senders get wrong in between.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;

/// Names that matter, so that they meet.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec![
            "service.name", "host.name", "k8s.pod.name", "http.route", "retry", "peer.service",
            "server.address", "net.peer.name", "db.namespace", "db.name", "db.system.name",
            "db.system", "net.peer.ip", "messaging.system", "messaging.destination.name",
        ]).prop_map(String::from),
        1 => ".{0,6}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => "[a-zé\"\\\\]{0,3}".prop_map(Value::StringValue),
        1 => any::<bool>().prop_map(Value::BoolValue),
        1 => any::<i64>().prop_map(Value::IntValue),
        1 => (-1e9..1e9).prop_map(Value::DoubleValue),
        1 => vec(any::<u8>(), 0..3).prop_map(Value::BytesValue),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let any_value = of(inner).prop_map(|value| AnyValue { value });
        prop_oneof![
            vec(any_value.clone(), 0..3)
                .prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec((key(), any_value), 0..3).prop_map(|pairs| {
                let pair =
                    |(key, value)| KeyValue { key, value: Some(value), ..Default::default() };
                let values = pairs.into_iter().map(pair).collect();
                Value::KvlistValue(KeyValueList { values })
            }),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let any_value = weighted(0.9, value()).prop_map(|value| AnyValue { value });
    let attribute = (key(), weighted(0.95, any_value)).prop_map(|(key, value)| KeyValue {
        key,
        value,
        ..Default::default()
    });
    vec(attribute, 0..5)
}

fn id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => vec(any::<u8>(), len),
        1 => Just(vec![0; len]),
        1 => Just(Vec::new()),
        1 => vec(any::<u8>(), 0..12),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), "[a-z]{0,3}", attributes()).prop_map(|(time_unix_nano, name, attributes)| {
        Event { time_unix_nano, name, attributes, ..Event::default() }
    })
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (id(16), id(8), prop_oneof![Just(Vec::new()), id(8)]);
    let what = (".{0,6}", prop_oneof![8 => 0..7i32, 1 => any::<i32>()]);
    let times = (any::<u64>(), prop_oneof![8 => 0..u64::MAX, 1 => Just(0u64)]);
    let link = attributes().prop_map(|attributes| Link { attributes, ..Link::default() });
    let status = (0..4i32, "[a-z]{0,3}").prop_map(|(code, message)| Status { message, code });
    let rest = (attributes(), vec(event(), 0..3), vec(link, 0..2), of(status));
    (ids, what, times, rest).prop_map(|(ids, what, times, rest)| Span {
        trace_id: ids.0,
        span_id: ids.1,
        parent_span_id: ids.2,
        name: what.0,
        kind: what.1,
        start_time_unix_nano: times.0,
        end_time_unix_nano: times.0.saturating_add(times.1),
        attributes: rest.0,
        events: rest.1,
        links: rest.2,
        status: rest.3,
        ..Span::default()
    })
}

/// A request of a few spans.
pub(crate) fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let resource =
        attributes().prop_map(|attributes| Resource { attributes, ..Resource::default() });
    let scope_spans =
        vec(span(), 0..4).prop_map(|spans| ScopeSpans { spans, ..ScopeSpans::default() });
    let resource_spans =
        (of(resource), vec(scope_spans, 0..3)).prop_map(|(resource, scope_spans)| ResourceSpans {
            resource,
            scope_spans,
            ..ResourceSpans::default()
        });
    vec(resource_spans, 0..3)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}
