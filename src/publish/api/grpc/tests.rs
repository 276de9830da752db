//! A client over a socket: every answer says what the JSON one says, under the same bounds.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::service::Routes;
use tonic::transport::{Channel, Server};

use super::super::listeners::MAX_LISTENERS;
use super::super::tests::{answer, settings};
use super::super::{Evidence, Source};
use super::*;
use crate::publish::ledger::Ledger;
use crate::publish::testing::evidence::{FixedEvidence, board_with_evidence};
use crate::publish::testing::{suspect, trace};
use v1::query_service_client::QueryServiceClient;

struct Changing {
    board: Mutex<Arc<Board>>,
    /// How often somebody has looked.
    looks: AtomicUsize,
}

impl Changing {
    fn new() -> Arc<Changing> {
        let board = Mutex::new(Arc::new(board_with_evidence()));
        Arc::new(Changing { board, looks: AtomicUsize::new(0) })
    }

    fn change(&self, change: impl FnOnce(&mut Board)) {
        change(Arc::make_mut(&mut self.board.lock().unwrap()));
    }
}

impl Source for Changing {
    fn board(&self) -> Arc<Board> {
        let board = Arc::clone(&self.board.lock().unwrap());
        self.looks.fetch_add(1, Ordering::SeqCst);
        board
    }
    fn ledger(&self) -> Ledger {
        Ledger { dropped: [("late", 3)].into(), ..Ledger::default() }
    }
    fn ready(&self) -> Result<(), Vec<String>> {
        Ok(())
    }
}

/// A server on a port of its own, as long as this lives.
struct World {
    source: Arc<Changing>,
    evidence: Arc<FixedEvidence>,
    addr: SocketAddr,
    _server: tokio::task::JoinHandle<()>,
}

impl World {
    async fn new() -> World {
        let source = Changing::new();
        let evidence = Arc::new(FixedEvidence::new());
        let routes = super::super::router(
            Arc::clone(&source) as Arc<dyn Source>,
            Arc::clone(&evidence) as Arc<dyn Evidence>,
            settings(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = Server::builder().add_routes(Routes::from(routes));
        let server = server.serve_with_incoming(TcpListenerStream::new(listener));
        let server = async { server.await.unwrap() };
        World { source, evidence, addr, _server: tokio::spawn(server) }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.addr)).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn client(&self) -> QueryServiceClient<Channel> {
        QueryServiceClient::new(self.channel().await)
    }
}

/// What an answer says, each figure by its name: what is empty or zero is left out, as messages do.
fn said(name: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| said(name, value, found)),
        Value::Array(rows) => rows.iter().for_each(|row| match (name, row) {
            // Pairs and triples have names in a message.
            ("buckets", Value::Array(of)) => {
                named(&["low_seconds", "high_seconds", "count"], of, found);
            }
            ("suspects", Value::Array(of)) => named(&["suspect", "excess_seconds"], of, found),
            ("attributes", Value::Array(of)) => named(&["name", "value"], of, found),
            (path, Value::Array(of)) if path.ends_with("critical_path") => {
                named(&["from_seconds", "to_seconds"], of, found);
            }
            (name, row) => said(name, row, found),
        }),
        Value::Null | Value::Bool(false) => {}
        Value::String(text) => found.extend(word(name, text)),
        Value::Bool(true) => found.push((name.to_owned(), "true".to_owned())),
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            found.extend((number != 0.0).then(|| (name.to_owned(), number.to_string())));
        }
    }
}

fn named(names: &[&str], values: &[Value], found: &mut Vec<(String, String)>) {
    names.iter().zip(values).for_each(|(name, value)| said(name, value, found));
}

/// Messages write long integers as strings, and words of a kind with its name before them.
fn word(name: &str, text: &str) -> Option<(String, String)> {
    let kinds = ["SUSPECT_KIND_", "REASON_", "PATTERN_", "TRACE_ROLE_", "VERDICT_", "MATCH_"];
    let bare = kinds.iter().find_map(|kind| text.strip_prefix(kind));
    let text = bare.map_or_else(|| text.to_owned(), str::to_lowercase);
    (!text.is_empty() && text != "0").then(|| (name.to_owned(), text))
}

/// Sorted, so that only what is said counts.
fn sorted(value: &Value) -> Vec<(String, String)> {
    const QUANTILES: [(&str, &str); 3] = [("0.5", "p50"), ("0.9", "p90"), ("0.99", "p99")];
    let mut found = Vec::new();
    said("", value, &mut found);
    for (name, _) in &mut found {
        if let Some((_, as_field)) = QUANTILES.iter().find(|(quantile, _)| quantile == name) {
            *name = (*as_field).to_owned();
        }
    }
    found.sort();
    found
}

/// A message as its JSON form, by what the proto file says and nothing of the code generated from it.
fn form(name: &str, message: &impl prost::Message) -> Value {
    let pool = DescriptorPool::decode(v1::DESCRIPTORS).unwrap();
    let descriptor = pool.get_message_by_name(&format!("laghound.v1.{name}")).unwrap();
    let dynamic = DynamicMessage::decode(descriptor, &message.encode_to_vec()[..]).unwrap();
    let options = prost_reflect::SerializeOptions::new().use_proto_field_name(true);
    dynamic.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// Fields that only one of them has, for a reason.
const APART: [&str; 1] = ["span_kind"];

macro_rules! assert_same {
    ($name:literal, $got:expr, $path:expr) => {{
        let got = $got.unwrap().into_inner();
        let path: &str = &$path;
        let expected: Value =
            serde_json::from_str(&tokio::task::block_in_place(|| answer(path))).unwrap();
        let without = |all: Vec<(String, String)>| -> Vec<(String, String)> {
            all.into_iter().filter(|(name, _)| !APART.contains(&&**name)).collect()
        };
        let (got, expected) = (without(sorted(&form($name, &got))), without(sorted(&expected)));
        assert!(!expected.is_empty());
        assert_eq!(got, expected, "{}", $name);
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_the_json_one_says() {
    let mut client = World::new().await.client().await;
    let cart = || "cart".to_owned();
    let id = trace(0xabc).to_string();
    let request = v1::ListSuspectsRequest { service: cart(), ..Default::default() };
    let got = client.list_suspects(request).await;
    assert_same!("ListSuspectsResponse", got, "/api/v1/suspects?service=cart");
    let got = client.list_incidents(v1::ListIncidentsRequest::default()).await;
    assert_same!("ListIncidentsResponse", got, "/api/v1/incidents");
    let got = client.get_incident(v1::GetIncidentRequest { id: 1 }).await;
    assert_same!("GetIncidentResponse", got, "/api/v1/incidents/1");
    let request = v1::GetTimelineRequest { points: 3, ..Default::default() };
    let got = client.get_timeline(request).await;
    assert_same!("GetTimelineResponse", got, "/api/v1/timeline?points=3");
    let request = v1::ListServicesRequest { query: "CA".to_owned(), page: None };
    let got = client.list_services(request).await;
    assert_same!("ListServicesResponse", got, "/api/v1/services?q=CA");
    let order = v1::OperationOrder::Rise.into();
    let got = client.list_operations(v1::ListOperationsRequest { order, ..Default::default() });
    assert_same!("ListOperationsResponse", got.await, "/api/v1/operations?sort=rise");
    let request = v1::GetOperationRequest {
        service: cart(),
        operation: "GET /items".to_owned(),
        span_kind: v1::SpanKind::Server.into(),
    };
    let got = client.get_operation(request).await;
    let path = "/api/v1/operation?service=cart&operation=GET%20/items&kind=SPAN_KIND_SERVER";
    assert_same!("GetOperationResponse", got, path);
    let got = client.list_traces(v1::ListTracesRequest::default()).await;
    assert_same!("ListTracesResponse", got, "/api/v1/traces");
    let got = client.get_trace(v1::GetTraceRequest { trace_id: id.clone() }).await;
    assert_same!("GetTraceResponse", got, format!("/api/v1/traces/{id}"));
    let request = v1::CompareTracesRequest {
        baseline_trace_id: id.clone(),
        spiked_trace_id: "abc".to_owned(),
    };
    let got = client.compare_traces(request).await;
    let path = format!("/api/v1/compare?baseline={id}&spiked={id}");
    assert_same!("CompareTracesResponse", got, path);
    let got = client.get_health(v1::GetHealthRequest {}).await;
    assert_same!("GetHealthResponse", got, "/api/v1/health");
}

#[test]
fn a_figure_that_differs_or_is_missing_is_seen() {
    let one = serde_json::json!({"kind": "service", "rows": [[1, 2]], "excess_seconds": 0.5});
    for other in [
        serde_json::json!({"kind": "edge", "excess_seconds": 0.5}),
        serde_json::json!({"kind": "service", "excess_seconds": 0.25}),
        serde_json::json!({"kind": "service", "other_seconds": 0.5}),
        serde_json::json!({"kind": "service"}),
    ] {
        assert_ne!(sorted(&one), sorted(&other));
    }
    let message = serde_json::json!({"rows": ["1", "2"], "excess_seconds": 0.5, "calls": "0",
        "kind": "SUSPECT_KIND_SERVICE"});
    assert_eq!(sorted(&one), sorted(&message));
}

fn recording(content: &[u8]) -> Option<v1::Recording> {
    Some(v1::Recording { name: "a.json".to_owned(), content: content.to_vec().into() })
}

#[tokio::test]
async fn two_recordings_are_compared_and_what_cannot_be_is_refused() {
    let mut client = World::new().await.client().await;
    let mut compare = async |baseline, spiked| {
        let request = v1::CompareRecordingsRequest { baseline, spiked };
        client.compare_recordings(request).await.map_err(|status| status.code())
    };
    let compared = compare(recording(b"one"), recording(b"two")).await.unwrap().into_inner();
    assert_eq!(compared.comparison.unwrap().verdict(), v1::Verdict::RootCause);
    let code = Code::InvalidArgument;
    assert_eq!(compare(recording(b"broken"), recording(b"two")).await.unwrap_err(), code);
    assert_eq!(compare(None, recording(b"two")).await.unwrap_err(), code);
    // 4,096 bytes are allowed together; what is far more is not even taken in.
    for size in [3_000, 1_000_000] {
        let large = || recording(&vec![b'x'; size]);
        let refused = compare(large(), large()).await.unwrap_err();
        assert!([Code::ResourceExhausted, Code::OutOfRange].contains(&refused), "{refused}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_or_is_not_there_is_said() {
    let mut client = World::new().await.client().await;
    let page = Some(v1::Page { limit: 1_001, offset: 0 });
    let request = v1::ListIncidentsRequest { page, ..Default::default() };
    let status = client.list_incidents(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "limit must be 1 to 1000");
    let request = v1::ListOperationsRequest { state: 77, ..Default::default() };
    let status = client.list_operations(request).await.unwrap_err();
    assert_eq!(status.message(), "state 77 is unknown here");
    let status = client.get_incident(v1::GetIncidentRequest { id: 99 }).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let request = v1::GetTraceRequest { trace_id: "xyz".to_owned() };
    assert_eq!(client.get_trace(request).await.unwrap_err().code(), Code::InvalidArgument);
    let long = v1::ListServicesRequest { query: "x".repeat(100_000), page: None };
    assert_eq!(client.list_services(long).await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_comparison_at_a_time_whichever_way_it_is_asked_for() {
    let world = World::new().await;
    let (mut first, mut second) = (world.client().await, world.client().await);
    let id = trace(0xabc).to_string();
    let request = v1::CompareTracesRequest { baseline_trace_id: id.clone(), spiked_trace_id: id };
    let held = world.evidence.hold_comparison();
    let under_way = tokio::spawn({
        let request = request.clone();
        async move { first.compare_traces(request).await }
    });
    world.evidence.comparing().await;
    let recordings =
        v1::CompareRecordingsRequest { baseline: recording(b"a"), spiked: recording(b"b") };
    let refused = second.compare_recordings(recordings.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(second.compare_traces(request).await.unwrap_err().code(), Code::Unavailable);
    drop(held);
    assert!(under_way.await.unwrap().is_ok());
    assert!(second.compare_recordings(recordings).await.is_ok());
}

fn services(message: &v1::WatchSuspectsResponse) -> Vec<&str> {
    message.suspects.iter().map(|one| &*one.suspect.as_ref().unwrap().service).collect()
}

#[tokio::test]
async fn a_reader_is_told_of_every_change_and_of_nothing_else() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut stream = client.watch_suspects(v1::WatchSuspectsRequest {}).await.unwrap().into_inner();
    assert_eq!(services(&stream.message().await.unwrap().unwrap()), ["cart"]);
    // A board on which the suspects are the same, and one on which they are not.
    world.evidence.beat();
    world.source.change(|board| board.open[0].suspects.push(suspect(2, "db", 0.05)));
    world.evidence.beat();
    let changed = stream.message().await.unwrap().unwrap();
    assert_eq!((services(&changed), changed.skipped), (vec!["cart", "db"], 0));
    world.source.change(|board| board.open.clear());
    world.evidence.beat();
    assert_eq!(services(&stream.message().await.unwrap().unwrap()), [""; 0]);
    world.evidence.end();
    assert_eq!(stream.message().await.unwrap(), None, "the process is on its way out");
}

/// Lets the others go on until it is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reader_that_is_too_slow_gets_the_last_state_and_the_number_it_missed() {
    let (source, evidence) = (Changing::new(), Arc::new(FixedEvidence::new()));
    let (shown, beats) = (Arc::clone(&source) as Arc<dyn Source>, Arc::clone(&evidence));
    let api = Arc::new(Api::new(shown, beats, settings()));
    let (sender, mut reader) = mpsc::channel(1);
    let permit = api.listeners.enter().unwrap();
    let telling = tokio::spawn(watch::tell(Arc::clone(&api), sender, permit));
    until(|| source.looks.load(Ordering::SeqCst) == 1).await;
    // Nobody reads: the first message waits in the channel, the others overtake each other.
    for change in 1..=5 {
        source.change(|board| board.open[0].suspects[0].calls = change);
        evidence.beat();
        until(|| source.looks.load(Ordering::SeqCst) as u64 == change + 1).await;
    }
    until(|| api.listeners.figures().skipped_changes == 4).await;
    let mut next = async || {
        let message = reader.recv().await.unwrap().unwrap();
        (message.suspects[0].suspect.as_ref().unwrap().calls, message.skipped)
    };
    assert_eq!((next().await, next().await), ((812, 0), (5, 4)));
    drop(reader);
    telling.await.unwrap();
    assert_eq!(api.listeners.figures().listening, 0);
}

#[tokio::test]
async fn streams_are_as_many_as_there_is_room_for_and_share_it_with_the_page() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut open = Vec::new();
    for _ in 0..MAX_LISTENERS {
        open.push(client.watch_suspects(v1::WatchSuspectsRequest {}).await.unwrap());
    }
    let refused = client.watch_suspects(v1::WatchSuspectsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let health = client.get_health(v1::GetHealthRequest {}).await.unwrap().into_inner();
    let listeners = health.listeners.unwrap();
    assert_eq!((listeners.listening, listeners.turned_away), (64, 1));
    assert_eq!(health.intake.unwrap().dropped[0].reason, "late");
}

#[tokio::test]
async fn reflection_describes_the_service() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let mut client = ServerReflectionClient::new(World::new().await.channel().await);
    let mut ask = async |question| {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
        answers.into_inner().message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) =
        ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!()
    };
    let names: Vec<&str> = list.service.iter().map(|one| &*one.name).collect();
    assert!(names.contains(&"laghound.v1.QueryService"), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
    let symbol = "laghound.v1.QueryService.WatchSuspects".to_owned();
    let MessageResponse::FileDescriptorResponse(files) =
        ask(MessageRequest::FileContainingSymbol(symbol)).await
    else {
        panic!()
    };
    let file = prost_types::FileDescriptorProto::decode(&files.file_descriptor_proto[0][..]);
    assert_eq!(file.unwrap().name(), "laghound/v1/query.proto");
}
