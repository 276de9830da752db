//! The API for other programs: `laghound.v1.QueryService` over gRPC, as `proto/laghound/v1/query.proto` says.
//!
//! The same answers as below `/api/v1`, chosen by the same code under the same bounds, in another encoding. The code
//! of the messages is generated from the file and committed, so that building takes a Rust toolchain and nothing
//! else; a test holds the two together. Reflection describes it to whoever asks.

mod ask;
mod comparison;
mod health;
mod incidents;
mod operations;
mod traces;
mod watch;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_reflection::server::Builder;

use super::answer::Problem;
use super::compare::permit;
use super::operations::services_of;
use super::{Api, query};
use crate::engine::verdict::Board;
use words::count;

/// The messages and the service, as generated.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod v1 {
    include!("../../../../proto/generated/laghound.v1.rs");

    /// The file itself, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!("../../../../proto/generated/laghound.v1.bin");
}

use v1::query_service_server::{QueryService, QueryServiceServer};

/// What a question takes at most: names are cut long before.
const MAX_QUESTION_BYTES: usize = 64 * 1024;
/// What goes with two recordings: their names, and the framing.
const AROUND_RECORDINGS: usize = 4 * 1024;

/// The service's name, as the health service knows it.
pub const QUERY_SERVICE: &str = "laghound.v1.QueryService";

const COMPARE_RECORDINGS: &str = "/laghound.v1.QueryService/CompareRecordings";

/// The routes of the service and of reflection.
pub(super) fn router(api: &Arc<Api>) -> Router {
    let service = |limit| {
        let queries = QueryServiceServer::new(Queries(Arc::clone(api)));
        queries.max_decoding_message_size(limit)
    };
    let recordings = api.settings.max_upload_bytes.saturating_add(AROUND_RECORDINGS);
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let committed = "the committed descriptors are what the proto file says";
    Router::new()
        .route_service(COMPARE_RECORDINGS, service(recordings))
        // Only what is routed above: taken before anything of the body is read.
        .route_layer(from_fn_with_state(Arc::clone(api), reserve))
        .route_service("/laghound.v1.QueryService/{method}", service(MAX_QUESTION_BYTES))
        .route_service(
            "/grpc.reflection.v1.ServerReflection/{method}",
            builder().build_v1().expect(committed),
        )
        .route_service(
            "/grpc.reflection.v1alpha.ServerReflection/{method}",
            builder().build_v1alpha().expect(committed),
        )
}

/// Whether this is a gRPC call, whose caller reads nothing but gRPC.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Held while recordings come in and are compared, so that it also bounds what they take.
type Reserved = Arc<OwnedSemaphorePermit>;

async fn reserve(
    State(api): State<Arc<Api>>,
    mut request: axum::extract::Request,
    next: Next,
) -> axum::response::Response {
    match permit(&api) {
        Ok(permit) => {
            request.extensions_mut().insert(Reserved::new(permit));
            next.run(request).await
        }
        Err(problem) => Status::from(problem).into_http::<Body>(),
    }
}

impl From<Problem> for Status {
    fn from(Problem { status, detail }: Problem) -> Status {
        match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                Status::invalid_argument(detail)
            }
            StatusCode::NOT_FOUND => Status::not_found(detail),
            StatusCode::SERVICE_UNAVAILABLE => Status::unavailable(detail),
            StatusCode::PAYLOAD_TOO_LARGE => Status::resource_exhausted(detail),
            _ => Status::internal(detail),
        }
    }
}

/// Answers.
struct Queries(Arc<Api>);

type Answer<T> = Result<Response<T>, Status>;

impl Queries {
    /// Puts an answer together on a thread that may wait.
    async fn answer<T: Send + 'static>(
        &self,
        make: impl FnOnce(&Api, &Board) -> Result<T, Problem> + Send + 'static,
    ) -> Answer<T> {
        let made = Arc::clone(&self.0).work(move |api| make(api, &api.source.board())).await;
        Ok(Response::new(made?))
    }
}

#[tonic::async_trait]
impl QueryService for Queries {
    type WatchSuspectsStream = ReceiverStream<Result<v1::WatchSuspectsResponse, Status>>;

    async fn list_suspects(
        &self,
        request: Request<v1::ListSuspectsRequest>,
    ) -> Answer<v1::ListSuspectsResponse> {
        let (filter, page) = ask::suspects(request.into_inner())?;
        self.answer(move |_, board| {
            let chosen = filter.choose(board);
            Ok(v1::ListSuspectsResponse {
                head: Some(board.into()),
                total: count(chosen.len()),
                suspects: page.cut(chosen).into_iter().map(Into::into).collect(),
            })
        })
        .await
    }

    async fn watch_suspects(
        &self,
        _request: Request<v1::WatchSuspectsRequest>,
    ) -> Answer<Self::WatchSuspectsStream> {
        let permit = self.0.listeners.enter()?;
        // One message waits while one is written; those that come meanwhile are overtaken.
        let (sender, receiver) = mpsc::channel(1);
        // Ends with its connection, or with the process.
        tokio::spawn(watch::tell(Arc::clone(&self.0), sender, permit));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn list_incidents(
        &self,
        request: Request<v1::ListIncidentsRequest>,
    ) -> Answer<v1::ListIncidentsResponse> {
        let (filter, page) = ask::incidents(request.into_inner())?;
        self.answer(move |_, board| {
            let chosen = filter.choose(board);
            Ok(v1::ListIncidentsResponse {
                head: Some(board.into()),
                total: count(chosen.len()),
                incidents: page.cut(chosen).into_iter().map(Into::into).collect(),
            })
        })
        .await
    }

    async fn get_incident(
        &self,
        request: Request<v1::GetIncidentRequest>,
    ) -> Answer<v1::GetIncidentResponse> {
        let id = request.into_inner().id;
        self.answer(move |api, board| {
            let found = api.incident(board, id)?;
            Ok(incidents::one(board, found, &api.settings.links))
        })
        .await
    }

    async fn get_timeline(
        &self,
        request: Request<v1::GetTimelineRequest>,
    ) -> Answer<v1::GetTimelineResponse> {
        let window = ask::window(request.into_inner())?;
        self.answer(move |_, board| Ok(incidents::timeline(board, window.of_board(board)))).await
    }

    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Answer<v1::ListServicesResponse> {
        let v1::ListServicesRequest { query, page } = request.into_inner();
        let page = ask::page(page)?;
        self.answer(move |_, board| {
            let services = services_of(board, &query);
            Ok(v1::ListServicesResponse {
                head: Some(board.into()),
                total: count(services.len()),
                services: page.cut(services).into_iter().map(Into::into).collect(),
            })
        })
        .await
    }

    async fn list_operations(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Answer<v1::ListOperationsResponse> {
        let (filter, page) = ask::operations(request.into_inner())?;
        self.answer(move |_, board| {
            let chosen = filter.choose(board);
            Ok(v1::ListOperationsResponse {
                head: Some(board.into()),
                total: count(chosen.len()),
                operations: page.cut(chosen).into_iter().map(Into::into).collect(),
            })
        })
        .await
    }

    async fn get_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Answer<v1::GetOperationResponse> {
        let wanted = ask::operation(request.into_inner())?;
        self.answer(move |api, board| {
            let (operation, detail) = api.operation(board, &wanted)?;
            Ok(operations::one(board, operation, &detail))
        })
        .await
    }

    async fn list_traces(
        &self,
        request: Request<v1::ListTracesRequest>,
    ) -> Answer<v1::ListTracesResponse> {
        let (filter, page) = ask::traces(request.into_inner())?;
        self.answer(move |api, board| {
            let kept = api.kept(&filter);
            Ok(v1::ListTracesResponse {
                head: Some(board.into()),
                total: count(kept.len()),
                traces: traces::kept(&page.cut(kept), &api.settings.links),
            })
        })
        .await
    }

    async fn get_trace(
        &self,
        request: Request<v1::GetTraceRequest>,
    ) -> Answer<v1::GetTraceResponse> {
        let id = query::trace_id(&request.into_inner().trace_id)?;
        self.answer(move |api, board| Ok(traces::one(board, api.trace(id)?))).await
    }

    async fn compare_traces(
        &self,
        request: Request<v1::CompareTracesRequest>,
    ) -> Answer<v1::CompareTracesResponse> {
        let request = request.into_inner();
        let baseline = query::trace_id(&request.baseline_trace_id)?;
        let spiked = query::trace_id(&request.spiked_trace_id)?;
        let permit = permit(&self.0)?;
        self.answer(move |api, _| {
            let _permit = permit;
            let compared = api.compare_kept(baseline, spiked)?;
            Ok(v1::CompareTracesResponse { comparison: Some((&compared).into()) })
        })
        .await
    }

    async fn compare_recordings(
        &self,
        request: Request<v1::CompareRecordingsRequest>,
    ) -> Answer<v1::CompareRecordingsResponse> {
        let reserved = request.extensions().get::<Reserved>().cloned();
        let (baseline, spiked) =
            ask::recordings(request.into_inner(), self.0.settings.max_upload_bytes)?;
        self.answer(move |api, _| {
            let _reserved = reserved;
            let compared = api.compare_uploads(baseline, spiked)?;
            Ok(v1::CompareRecordingsResponse { comparison: Some((&compared).into()) })
        })
        .await
    }

    async fn get_health(
        &self,
        _request: Request<v1::GetHealthRequest>,
    ) -> Answer<v1::GetHealthResponse> {
        self.answer(|api, board| Ok(health::all(board, api.health(board)))).await
    }
}

#[cfg(test)]
mod tests;
