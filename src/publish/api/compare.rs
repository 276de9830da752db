//! `/api/v1/compare`: two kept traces by id (GET), or two recordings sent in (POST).
//!
//! The answer is the document of `laghound compare --format json`, with what a waterfall needs besides. A
//! comparison takes a CPU for as long as it takes, so there is one at a time; who comes meanwhile is told to
//! come again.

use std::sync::Arc;

use axum::extract::{FromRequest, Multipart, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::super::comparison::to_detailed_json;
use super::answer::{Problem, Wishes, body, quoted};
use super::query::{Params, trace_id};
use super::source::{CompareError, Upload};
use super::{Api, query};
use crate::compare::verdict::Comparison;
use crate::model::TraceId;

/// Which two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    baseline: String,
    spiked: String,
}

/// Compares two kept traces.
pub(super) async fn kept(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(pair): Params<Pair>,
) -> Result<Response, Problem> {
    let (baseline, spiked) = (trace_id(&pair.baseline)?, trace_id(&pair.spiked)?);
    let permit = permit(&api)?;
    api.answer(&headers, move |api, wishes| {
        let _permit = permit;
        Ok(shown(wishes, &api.compare_kept(baseline, spiked)?))
    })
    .await
}

/// Compares two recordings, sent in as the files `baseline` and `spiked` of a form.
pub(super) async fn uploads(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(query::Nothing {}): Params<query::Nothing>,
    request: Request,
) -> Result<Response, Problem> {
    // Held while the files come in, so that it also bounds what they take.
    let permit = permit(&api)?;
    let limit = api.settings.max_upload_bytes;
    let form = Multipart::from_request(request, &()).await.map_err(|rejection| {
        Problem::new(rejection.status(), "expected multipart/form-data with two files")
    })?;
    let (baseline, spiked) = files(form, limit).await?;
    api.answer(&headers, move |api, wishes| {
        let _permit = permit;
        Ok(shown(wishes, &api.compare_uploads(baseline, spiked)?))
    })
    .await
}

/// What a comparison needs, as long as it goes on.
pub(super) fn permit(api: &Arc<Api>) -> Result<OwnedSemaphorePermit, Problem> {
    let free = Arc::clone(&api.comparisons).try_acquire_owned();
    free.map_err(|_| Problem::busy("another comparison is under way; try again in a moment"))
}

async fn files(mut form: Multipart, limit: usize) -> Result<(Upload, Upload), Problem> {
    let (mut baseline, mut spiked) = (None, None);
    let broken = |error: axum::extract::multipart::MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail =
                format!("the two files may have {limit} bytes together (admin.max_upload_size)");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        }
        status => Problem::new(status, quoted(&error.body_text())),
    };
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let side = match field.name() {
            Some("baseline") => &mut baseline,
            Some("spiked") => &mut spiked,
            other => {
                let name = quoted(other.unwrap_or_default());
                return Err(Problem::bad_request(format!(
                    "unexpected part \"{name}\"; there are baseline and spiked"
                )));
            }
        };
        let name = field.file_name().map_or_else(|| "(unnamed)".to_owned(), quoted);
        let content = field.bytes().await.map_err(broken)?;
        if side.replace(Upload { name, content }).is_some() {
            return Err(Problem::bad_request("one file a side; put several traces into one file"));
        }
    }
    let missing = |side| Problem::bad_request(format!("the file {side} is missing"));
    Ok((baseline.ok_or_else(|| missing("baseline"))?, spiked.ok_or_else(|| missing("spiked"))?))
}

fn shown(wishes: &Wishes, comparison: &Comparison) -> Response {
    body(wishes, "application/json", Bytes::from(to_detailed_json(comparison)))
}

impl Api {
    pub(super) fn compare_kept(
        &self,
        baseline: TraceId,
        spiked: TraceId,
    ) -> Result<Comparison, Problem> {
        self.evidence.compare_kept(baseline, spiked).map_err(Problem::from)
    }

    pub(super) fn compare_uploads(
        &self,
        baseline: Upload,
        spiked: Upload,
    ) -> Result<Comparison, Problem> {
        self.evidence.compare_uploads(baseline, spiked).map_err(Problem::from)
    }
}

impl From<CompareError> for Problem {
    fn from(error: CompareError) -> Problem {
        match error {
            CompareError::NotKept(_) => Problem::not_found(error.to_string()),
            CompareError::Unreadable(_) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, quoted(&error.to_string()))
            }
        }
    }
}
