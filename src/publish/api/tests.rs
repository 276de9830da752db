//! Requests against the API: every answer is what the OpenAPI document says, and says what it should.

use std::io::Read;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::listeners::MAX_LISTENERS;
use super::*;
use crate::publish::ledger::Ledger;
use crate::publish::testing::evidence::{FixedEvidence, board_with_evidence};
use crate::publish::testing::http::{Got, send};
use crate::publish::testing::{after, operation, trace};

struct Fixed(Arc<Board>);

impl Source for Fixed {
    fn board(&self) -> Arc<Board> {
        Arc::clone(&self.0)
    }
    fn ledger(&self) -> Ledger {
        Ledger { dropped: [("late", 3)].into(), ..Ledger::default() }
    }
    fn ready(&self) -> Result<(), Vec<String>> {
        Ok(())
    }
}

pub(super) fn settings() -> ApiSettings {
    let trace_url = Some("https://traces.example/{trace_id}".to_owned());
    let links = Links { trace_url, ..Links::default() };
    let listen_for = crate::model::Nanos::from_secs(20);
    ApiSettings { links, max_upload_bytes: 4_096, listen_for }
}

fn api() -> Router {
    with(board_with_evidence())
}

fn with(board: Board) -> Router {
    router(Arc::new(Fixed(Arc::new(board))), Arc::new(FixedEvidence::new()), settings())
}

async fn fetch(path: &str) -> Got {
    send(api(), Request::get(path).body(Body::empty()).unwrap()).await
}

/// What the API answers to a request, as a client gets it.
pub(in crate::publish) fn answer(path: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let got = runtime.block_on(fetch(path));
    assert_eq!(got.status, StatusCode::OK, "{path}");
    String::from_utf8(got.body.to_vec()).unwrap()
}

const CART: &str = "service=cart&operation=GET%20/items&kind=SPAN_KIND_SERVER";

/// A request for every path of the document.
fn examples() -> Vec<(&'static str, String)> {
    let id = trace(0xabc);
    let given = |path: &'static str, rest: &str| (path, format!("{path}{rest}"));
    vec![
        given("/api/v1/now", ""),
        given("/api/v1/suspects", "?service=cart&kind=service&limit=5&offset=0"),
        given("/api/v1/incidents", "?state=all&since=0&until=2554-01-01T00:00:00Z"),
        ("/api/v1/incidents/{id}", "/api/v1/incidents/1".to_owned()),
        given("/api/v1/timeline", "?points=10"),
        given("/api/v1/services", "?q=CA"),
        given("/api/v1/operations", "?q=cart&state=flagged&sort=rise"),
        given("/api/v1/operation", &format!("?{CART}")),
        given("/api/v1/traces", "?role=typical"),
        ("/api/v1/traces/{trace_id}", format!("/api/v1/traces/{id}")),
        given("/api/v1/compare", &format!("?baseline={id}&spiked={id}")),
        given("/api/v1/health", ""),
    ]
}

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// The schema at a place of the document, with what it refers to.
fn schema(document: &Value, operation: &Value, status: &str, content_type: &str) -> Value {
    let of = &operation["responses"][status]["content"][content_type]["schema"];
    assert!(of.is_object(), "{status} {content_type} of {}", operation["operationId"]);
    json!({"allOf": [of], "components": document["components"]})
}

fn assert_valid(schema: &Value, instance: &Value) {
    let validator = jsonschema::draft202012::new(schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(instance)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{instance:#}");
}

#[tokio::test]
async fn every_answer_is_what_the_document_says() {
    let document = document();
    let mut untested: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    for (path, url) in examples() {
        let got = fetch(&url).await;
        assert_eq!(got.status, StatusCode::OK, "{url}: {:?}", got.body);
        assert_eq!(got.header("content-type"), "application/json", "{url}");
        let get = &document["paths"][path]["get"];
        assert_valid(&schema(&document, get, "200", "application/json"), &got.json());
        untested.retain(|known| *known != path);
    }
    assert_eq!(untested, ["/api/v1/events", "/api/v1/openapi.json"]);
}

#[tokio::test]
async fn an_empty_board_is_answered_as_the_document_says() {
    let document = document();
    for (path, url) in examples().into_iter().filter(|(path, _)| !path.contains('{')) {
        if path == "/api/v1/operation" {
            continue;
        }
        let request = Request::get(&url).body(Body::empty()).unwrap();
        let got = send(with(Board::default()), request).await;
        let get = &document["paths"][path]["get"];
        assert_valid(&schema(&document, get, "200", "application/json"), &got.json());
    }
}

#[tokio::test]
async fn every_parameter_of_the_document_is_taken_and_no_other() {
    let document = document();
    for (path, url) in examples() {
        let operation = &document["paths"][path]["get"];
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let bare = url.split('?').next().unwrap();
            let required = parameters.iter().any(|parameter| parameter["required"] == true);
            let asked = if required || url.contains(&format!("{name}=")) {
                url.clone()
            } else {
                format!("{bare}?{name}={}", example_of(parameter))
            };
            let status = fetch(&asked).await.status;
            assert_eq!(status, StatusCode::OK, "{asked}");
        }
        let join = if url.contains('?') { '&' } else { '?' };
        let got = fetch(&format!("{url}{join}colour=red")).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{url}");
        assert!(got.json()["detail"].as_str().unwrap().contains("colour"), "{url}");
        let problem = schema(&document, operation, "400", "application/problem+json");
        assert_valid(&problem, &got.json());
    }
}

fn example_of(parameter: &Value) -> String {
    let schema = &parameter["schema"];
    let first = schema["enum"].get(0).and_then(Value::as_str);
    match (first, schema["type"].as_str()) {
        (Some(one), _) => one.to_owned(),
        (None, Some("integer")) => "1".to_owned(),
        _ => "1".to_owned(),
    }
}

#[tokio::test]
async fn bad_parameters_are_problems_that_say_what_is_expected() {
    for (url, part) in [
        ("/api/v1/incidents?state=new", "state must be open, closed or all"),
        ("/api/v1/incidents?limit=0", "limit must be 1 to 1000"),
        ("/api/v1/incidents?limit=many", "limit"),
        ("/api/v1/incidents?since=yesterday", "since must be seconds since 1970"),
        ("/api/v1/suspects?kind=human", "kind must be service, dependency or edge"),
        ("/api/v1/operations?sort=size", "sort must be name, spans"),
        ("/api/v1/operation?service=a&operation=b&kind=server", "kind must be a span kind"),
        ("/api/v1/operation?service=a", "operation"),
        ("/api/v1/timeline?points=100000", "points must be 1 to 1000"),
        ("/api/v1/traces/xyz", "hexadecimal"),
        ("/api/v1/compare?baseline=1", "spiked"),
        ("/api/v1/incidents/first", "is a number"),
    ] {
        let got = fetch(url).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{url}");
        assert_eq!(got.header("content-type"), "application/problem+json", "{url}");
        let detail = got.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(part), "{url}: {detail}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_missing() {
    for url in [
        "/api/v1/incidents/99",
        "/api/v1/traces/99",
        "/api/v1/compare?baseline=99&spiked=98",
        "/api/v1/operation?service=a&operation=b&kind=SPAN_KIND_SERVER",
    ] {
        let got = fetch(url).await;
        assert_eq!(got.status, StatusCode::NOT_FOUND, "{url}");
        assert_eq!(got.json()["title"], "Not Found");
    }
}

#[tokio::test]
async fn an_answer_the_client_has_is_not_sent_again() {
    let first = fetch("/api/v1/incidents").await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\"") && first.header("cache-control") == "no-cache");
    let again = Request::get("/api/v1/incidents").header("if-none-match", &tag);
    let again = send(api(), again.body(Body::empty()).unwrap()).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert!(again.body.is_empty() && again.header("etag") == tag);
    let other = Request::get("/api/v1/suspects").header("if-none-match", &tag);
    assert_eq!(send(api(), other.body(Body::empty()).unwrap()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn answers_are_compressed_where_asked() {
    let plain = fetch("/api/v1/openapi.json").await;
    let request = Request::get("/api/v1/openapi.json").header("accept-encoding", "gzip, br");
    let packed = send(api(), request.body(Body::empty()).unwrap()).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(packed.header("etag"), plain.header("etag"));
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    assert!(packed.body.len() * 4 < plain.body.len());
}

#[tokio::test]
async fn incidents_can_be_chosen_by_state_suspect_and_time() {
    let mut board = board_with_evidence();
    let mut over = board.open[0].clone();
    (over.id, over.start, over.end) = (7, after(0), Some(after(90)));
    over.suspects[0].service = "payments".into();
    board.closed = vec![over];
    let ids = async |query: &str| {
        let request = Request::get(format!("/api/v1/incidents?{query}"));
        let got = send(with(board.clone()), request.body(Body::empty()).unwrap()).await;
        let ids = got.json()["incidents"].as_array().unwrap().clone();
        ids.iter().map(|one| one["id"].as_u64().unwrap()).collect::<Vec<u64>>()
    };
    assert_eq!(ids("").await, [1, 7]);
    assert_eq!(ids("state=open").await, [1]);
    assert_eq!(ids("state=closed").await, [7]);
    assert_eq!(ids("service=payments").await, [7]);
    assert_eq!(ids("service=payments&kind=edge").await, [0u64; 0]);
    assert_eq!(ids("since=2026-09-21T15:00:00Z").await, [1], "still open");
    assert_eq!(ids("until=2026-09-21T14:20:02Z").await, [7], "begun by then");
    assert_eq!(ids("limit=1&offset=1").await, [7]);
}

#[tokio::test]
async fn two_hundred_incidents_and_five_thousand_operations_come_in_pages() {
    let small = board_with_evidence();
    let mut large = small.clone();
    let closed = |id| {
        let end = Some(after(90));
        crate::engine::verdict::Incident { id, end, ..small.open[0].clone() }
    };
    large.closed = (1..=200).rev().map(closed).collect();
    let operation = |at| Arc::new(operation("shop", &format!("GET /{at:04}"), 1));
    large.operations = (0..5_000).map(operation).collect();
    let of = async |board: &Board, path: &str| {
        send(with(board.clone()), Request::get(path).body(Body::empty()).unwrap()).await
    };
    // What every listener is sent does not grow with the past, nor with the number of keys.
    let (few, many) = (of(&small, "/api/v1/now").await, of(&large, "/api/v1/now").await);
    assert!(many.body.len() < 2 * few.body.len() + 1_000, "{}", many.body.len());
    for (path, rows, total) in [
        ("/api/v1/incidents?state=closed&limit=25&offset=175", 25, 200),
        ("/api/v1/incidents?state=closed", 100, 200),
        ("/api/v1/operations", 100, 5_000),
        ("/api/v1/operations?limit=1000&offset=4900", 100, 5_000),
        ("/api/v1/operations?q=get%20/0042", 1, 1),
    ] {
        let got = of(&large, path).await.json();
        let list = got.get("incidents").or(got.get("operations")).unwrap().as_array().unwrap();
        assert_eq!((list.len(), &got["total"]), (rows, &json!(total)), "{path}");
    }
}

#[tokio::test]
async fn an_incident_comes_with_what_it_rests_on() {
    let json = fetch("/api/v1/incidents/1").await.json();
    let sentence = json["incident"]["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("`cart` makes `GET /cart` of `storefront` 290 ms slower"));
    let evidence = &json["evidence"];
    assert_eq!(evidence["distributions"][0]["service"], "cart");
    assert_eq!(evidence["distributions"][0]["baseline"]["count"], 400);
    assert_eq!(evidence["graph"]["links"][0]["excess_seconds"], 12.0);
    let url = format!("https://traces.example/{}", trace(0xabc));
    assert_eq!(evidence["traces"][1]["url"], url);
    // 410 ms is what the incident's requests take in the mean; 400 ms is nearer than 900 ms.
    let pair = json!({"baseline": trace(0xa).to_string(), "spiked": trace(0xabc).to_string()});
    assert_eq!(evidence["pair"], pair);
}

fn form(parts: &[(&str, &str)]) -> Request<Body> {
    let mut body = String::new();
    for (name, content) in parts {
        body.push_str(&format!(
            "--cut\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}.json\"\r\n\r\n{content}\r\n"
        ));
    }
    body.push_str("--cut--\r\n");
    Request::post("/api/v1/compare")
        .header("content-type", "multipart/form-data; boundary=cut")
        .body(Body::from(body))
        .unwrap()
}

#[tokio::test]
async fn two_files_are_compared_and_what_is_no_form_is_refused() {
    let document = document();
    let post = &document["paths"]["/api/v1/compare"]["post"];
    let got = send(api(), form(&[("baseline", "one"), ("spiked", "two")])).await;
    assert_eq!(got.status, StatusCode::OK, "{:?}", got.body);
    assert_valid(&schema(&document, post, "200", "application/json"), &got.json());
    let large = "x".repeat(5_000);
    for (parts, status) in [
        (vec![("baseline", "one")], 400),
        (vec![("baseline", "one"), ("other", "two")], 400),
        (vec![("baseline", "one"), ("baseline", "two")], 400),
        (vec![("baseline", "broken"), ("spiked", "two")], 422),
        (vec![("baseline", &*large), ("spiked", "two")], 413),
    ] {
        let got = send(api(), form(&parts)).await;
        assert_eq!(got.status.as_u16(), status, "{:?}", got.body);
        let problem = schema(&document, post, &status.to_string(), "application/problem+json");
        assert_valid(&problem, &got.json());
    }
    let plain = Request::post("/api/v1/compare").body(Body::from("{}")).unwrap();
    assert!(send(api(), plain).await.status.is_client_error());
}

#[tokio::test]
async fn one_comparison_at_a_time() {
    let evidence = Arc::new(FixedEvidence::new());
    let source = Arc::new(Fixed(Arc::new(board_with_evidence())));
    let api = router(source, evidence.clone(), settings());
    let url = format!("/api/v1/compare?baseline={0}&spiked={0}", trace(0xabc));
    let request = || Request::get(&url).body(Body::empty()).unwrap();
    let held = evidence.hold_comparison();
    let first = tokio::spawn(send(api.clone(), request()));
    evidence.comparing().await;
    let second = send(api, request()).await;
    assert_eq!(second.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(second.header("retry-after"), "1");
    drop(held);
    assert_eq!(first.await.unwrap().status, StatusCode::OK);
}

/// The next event of a stream: its name and its document.
async fn event(body: &mut Body) -> Option<(String, Value)> {
    let frame = body.frame().await?.unwrap().into_data().unwrap();
    let text = std::str::from_utf8(&frame).unwrap().to_owned();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
    };
    Some((field("event:"), serde_json::from_str(&field("data:")).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn listeners_hear_of_every_board_and_that_the_connection_lives() {
    let evidence = Arc::new(FixedEvidence::new());
    let source = Arc::new(Fixed(Arc::new(board_with_evidence())));
    let api = router(source, evidence.clone(), settings());
    let request = Request::get("/api/v1/events").body(Body::empty()).unwrap();
    let response = api.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let (name, now) = event(&mut body).await.unwrap();
    assert_eq!((&*name, &now["incidents"][0]["id"]), ("board", &json!(1)));
    let document = document();
    let get = &document["paths"]["/api/v1/now"]["get"];
    assert_valid(&schema(&document, get, "200", "application/json"), &now);
    assert_eq!(event(&mut body).await.unwrap().0, "beat");
    evidence.beat();
    assert_eq!(event(&mut body).await.unwrap().0, "board");
    evidence.end();
    assert!(event(&mut body).await.is_none(), "the process is on its way out");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_by_itself_before_it_is_cut_off() {
    let request = Request::get("/api/v1/events").body(Body::empty()).unwrap();
    let mut body = api().oneshot(request).await.unwrap().into_body();
    let mut beats = 0;
    while event(&mut body).await.is_some() {
        beats += 1;
    }
    // Twenty seconds at one every two, and the one at the beginning.
    assert!((10..=11).contains(&beats), "{beats}");
}

#[tokio::test]
async fn no_more_listeners_than_there_is_room_for() {
    let api = api();
    let request = || Request::get("/api/v1/events").body(Body::empty()).unwrap();
    let mut open = Vec::new();
    for _ in 0..MAX_LISTENERS {
        open.push(api.clone().oneshot(request()).await.unwrap());
    }
    let turned_away = api.clone().oneshot(request()).await.unwrap();
    assert_eq!(turned_away.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(open.iter().all(|response| response.status() == StatusCode::OK));
}
