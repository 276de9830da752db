//! What HTTP senders are answered.

use ::http::{Request, StatusCode};
use axum::body::Body;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tonic::Code;
use tonic_types::{RetryInfo, pb};
use tower::ServiceExt as _;

use super::*;

#[tokio::test]
async fn http_takes_both_languages_in_every_encoding() {
    let world = World::new();
    let mut expected = Vec::new();
    let mut seed = 0;
    for content_type in [PROTOBUF, JSON, "Application/JSON; charset=utf-8"] {
        for encoding in [None, Some("identity"), Some("gzip"), Some("zstd"), Some("GZIP")] {
            seed += 1;
            let request = testing::golden(seed);
            expected.extend(testing::oracle(&request));
            let protobuf = content_type == PROTOBUF;
            let plain = match protobuf {
                true => request.encode_to_vec(),
                false => serde_json::to_vec(&request).unwrap(),
            };
            let body = match encoding {
                Some("gzip" | "GZIP") => gzip(&plain),
                Some("zstd") => zstd::encode_all(&plain[..], 1).unwrap(),
                _ => plain,
            };
            let answer = world.post(content_type, encoding, body).await;
            assert_eq!(answer.status, StatusCode::OK);
            if protobuf {
                assert_eq!((answer.content_type.as_str(), &answer.body[..]), (PROTOBUF, &b""[..]));
            } else {
                assert_eq!((answer.content_type.as_str(), &answer.body[..]), (JSON, &b"{}"[..]));
            }
        }
    }
    assert_eq!(world.seen(), expected);
    let accepted = [("accepted http_json", 30), ("accepted http_protobuf", 15)];
    assert_eq!(world.books(), books(&accepted));
}

#[tokio::test]
async fn http_says_how_many_spans_were_rejected_and_why() {
    let world = World::new();
    let answer = world.post(PROTOBUF, None, partly_invalid().encode_to_vec()).await;
    let response = ExportTraceServiceResponse::decode(answer.body).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (3, REASONS));
    let text = serde_json::to_vec(&partly_invalid()).unwrap();
    let answer = world.post(JSON, None, text).await;
    assert_eq!(answer.status, StatusCode::OK);
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "3");
    assert_eq!(partial["errorMessage"], REASONS);
}

#[tokio::test]
async fn http_overload_is_503_with_the_delay_in_header_and_body() {
    // Room for the body, but not for its spans.
    let body = testing::golden(1).encode_to_vec();
    let world = World::with(body.len(), false);
    let answer = world.post(PROTOBUF, None, body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let seconds: u64 = answer.retry_after.as_deref().unwrap().parse().unwrap();
    assert!((2..=3).contains(&seconds), "{seconds}");
    let status = answer.status_message();
    assert_eq!(status.code, Code::Unavailable as i32);
    assert_eq!(status.details[0].type_url, RetryInfo::TYPE_URL);
    let info = pb::RetryInfo::decode(&status.details[0].value[..]).unwrap();
    let delay = RetryInfo::from(info).retry_delay.unwrap();
    assert_eq!(delay.as_secs_f64().ceil(), seconds as f64);

    assert_eq!(world.books()["refused http_protobuf overload"], 3);

    let body = serde_json::to_vec(&testing::golden(1)).unwrap();
    let world = World::with(body.len(), false);
    let answer = world.post(JSON, None, body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.retry_after.is_some());
    let status = answer.json();
    assert_eq!(status["code"], Code::Unavailable as i32);
    assert_eq!(status["details"][0]["@type"], RetryInfo::TYPE_URL);
    assert!(status["details"][0]["retryDelay"].as_str().unwrap().ends_with('s'));
    // The golden spans have one link each, which has a span id as well.
    assert_eq!(world.books()["refused http_json overload"], 6);
}

#[tokio::test]
async fn http_oversize_is_413_before_and_after_inflation() {
    let world = World::new();
    let plain = oversize().encode_to_vec();
    let zipped = gzip(&plain);
    let zstandard = zstd::encode_all(&plain[..], 1).unwrap();
    for (encoding, body) in
        [(None, plain), (Some("gzip"), zipped), (Some("zstd"), zstandard), (None, amplified())]
    {
        let answer = world.post(PROTOBUF, encoding, body).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.retry_after, None);
        let status = answer.status_message();
        assert_eq!((status.code, status.details.len()), (Code::ResourceExhausted as i32, 0));
    }
    assert_eq!(world.books(), books(&[("failed http_protobuf too_large", 4)]));
}

#[tokio::test]
async fn http_counts_the_bytes_of_a_body_of_unknown_length() {
    let world = World::new();
    let chunks = (0..=LIMIT / 1024).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1024])));
    let body = Body::from_stream(tokio_stream::iter(chunks));
    let request = Request::post("/v1/traces").header("content-type", PROTOBUF).body(body).unwrap();
    assert_eq!(world.send(request).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn http_limits_are_exact() {
    let world = World::new();
    let with_size = |size: usize| {
        let mut request = testing::golden(1);
        request.resource_spans[0].schema_url = "x".repeat(60_000);
        let missing = size - request.encoded_len();
        request.resource_spans[0].schema_url = "x".repeat(60_000 + missing);
        let bytes = request.encode_to_vec();
        assert_eq!(bytes.len(), size);
        bytes
    };
    for (size, status) in [
        (LIMIT - 1, StatusCode::OK),
        (LIMIT, StatusCode::OK),
        (LIMIT + 1, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let bytes = with_size(size);
        assert_eq!(world.post(PROTOBUF, None, bytes.clone()).await.status, status);
        assert_eq!(world.post(PROTOBUF, Some("gzip"), gzip(&bytes)).await.status, status);
    }
}

#[tokio::test]
async fn http_bad_data_is_400_in_the_language_of_the_request() {
    let world = World::new();
    for (encoding, body) in [(None, vec![0xff; 40]), (Some("gzip"), vec![1, 2, 3])] {
        let answer = world.post(PROTOBUF, encoding, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.status_message().code, Code::InvalidArgument as i32);
    }
    let answer = world.post(JSON, None, b"{\"resourceSpans\": NaN}".to_vec()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let status = answer.json();
    assert_eq!(status["code"], Code::InvalidArgument as i32);
    assert!(status["message"].as_str().unwrap().contains("line 1 column"), "{status}");
    let expected = [("failed http_json bad_data", 1), ("failed http_protobuf bad_data", 2)];
    assert_eq!(world.books(), books(&expected));
}

#[tokio::test]
async fn http_refuses_what_it_does_not_speak() {
    let world = World::new();
    for content_type in ["text/plain", "", "application/x-protobuffer"] {
        let answer = world.post(content_type, None, Vec::new()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        assert_eq!(answer.json()["code"], Code::InvalidArgument as i32);
    }
    for encoding in ["br", "deflate", "gzip, gzip"] {
        let answer = world.post(PROTOBUF, Some(encoding), Vec::new()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{encoding}");
    }
    let expected = [
        ("failed http_protobuf unsupported_encoding", 3),
        ("failed http_protobuf unsupported_media_type", 3),
    ];
    assert_eq!(world.books(), books(&expected));
}

#[tokio::test]
async fn http_has_one_path_and_one_method() {
    let world = World::new();
    let get = Request::get("/v1/traces").body(Body::empty()).unwrap();
    let answer = Answer::of(world.receiver.http().oneshot(get).await.unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    for path in ["/", "/v1/metrics", "/v1/traces/"] {
        let request = Request::post(path).body(Body::empty()).unwrap();
        assert_eq!(world.send(request).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn http_keys_written_with_escapes_are_reserved_for_all_the_same() {
    let world = World::new();
    let text = serde_json::to_string(&testing::golden(1)).unwrap();
    let escaped = text.replace("\"spanId\"", "\"span\\u0049d\"");
    let answer = world.post(JSON, None, escaped.clone().into_bytes()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(world.seen().len(), 3);
    let peak = world.intake.state.lock().unwrap().peak;
    assert_eq!(peak, escaped.len() + decoded(3));
    assert_eq!(world.books(), books(&[("accepted http_json", 3)]));
}

#[tokio::test]
async fn the_same_request_leaves_the_same_state_by_every_transport() {
    let request = testing::golden(1);
    let world = World::new();
    world.client().await.export(request.clone()).await.unwrap();
    world.post(PROTOBUF, None, request.encode_to_vec()).await;
    world.post(JSON, None, serde_json::to_vec(&request).unwrap()).await;
    let state = world.intake.state.lock().unwrap();
    assert_eq!(state.spans.len(), 9);
    assert_eq!(state.spans[..3], state.spans[3..6]);
    assert_eq!(state.spans[..3], state.spans[6..]);
}
