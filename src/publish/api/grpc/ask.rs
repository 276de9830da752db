//! Questions as they come over the wire, checked: the same filters and bounds as those behind a question mark.
//!
//! What is not set means all; a number that stands for nothing known is refused, as it would be ignored otherwise.

use super::super::answer::{Problem, quoted};
use super::super::incidents::{Filter as IncidentFilter, SuspectFilter};
use super::super::operations::{Filter as OperationFilter, Order, Stage, words_of};
use super::super::query::Page;
use super::super::source::{OperationName, Upload};
use super::super::timeline::Window;
use super::super::traces::Filter as TraceFilter;
use super::v1;
use super::words::{TRACE_ROLES, instant, span_kind, suspect_kind};
use crate::model::SpanKind;

/// What is empty was not given.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn unknown(field: &str, number: i32) -> Problem {
    Problem::bad_request(format!("{field} {number} is unknown here"))
}

pub(super) fn page(page: Option<v1::Page>) -> Result<Page, Problem> {
    let v1::Page { limit, offset } = page.unwrap_or_default();
    let limit = (limit > 0).then_some(limit as usize);
    Page::of(limit, Some(offset as usize))
}

pub(super) fn suspects(asked: v1::ListSuspectsRequest) -> Result<(SuspectFilter, Page), Problem> {
    let filter = SuspectFilter { service: given(asked.service), kind: suspect_kind(asked.kind)? };
    Ok((filter, page(asked.page)?))
}

pub(super) fn incidents(
    asked: v1::ListIncidentsRequest,
) -> Result<(IncidentFilter, Page), Problem> {
    use v1::IncidentState::{Closed, Open, Unspecified};
    let state = asked.state.try_into().map_err(|_| unknown("state", asked.state))?;
    let filter = IncidentFilter {
        open: matches!(state, Unspecified | Open),
        closed: matches!(state, Unspecified | Closed),
        suspect: SuspectFilter { service: given(asked.service), kind: suspect_kind(asked.kind)? },
        since: instant("since", asked.since)?,
        until: instant("until", asked.until)?,
    };
    Ok((filter, page(asked.page)?))
}

pub(super) fn window(asked: v1::GetTimelineRequest) -> Result<Window, Problem> {
    let points = (asked.points > 0).then_some(asked.points as usize);
    Window::of(instant("since", asked.since)?, instant("until", asked.until)?, points)
}

pub(super) fn operations(
    asked: v1::ListOperationsRequest,
) -> Result<(OperationFilter, Page), Problem> {
    let state = match asked.state.try_into().map_err(|_| unknown("state", asked.state))? {
        v1::OperationState::Unspecified => None,
        v1::OperationState::Learning => Some(Stage::Learning),
        v1::OperationState::Learned => Some(Stage::Learned),
        v1::OperationState::Flagged => Some(Stage::Flagged),
    };
    let order = match asked.order.try_into().map_err(|_| unknown("order", asked.order))? {
        v1::OperationOrder::Unspecified => Order::Name,
        v1::OperationOrder::Spans => Order::Spans,
        v1::OperationOrder::Baseline => Order::Baseline,
        v1::OperationOrder::Recent => Order::Recent,
        v1::OperationOrder::Rise => Order::Rise,
        v1::OperationOrder::Flagged => Order::Flagged,
    };
    let (service, words) = (given(asked.service), words_of(&asked.query));
    let kind = span_kind(asked.span_kind)?;
    Ok((OperationFilter { service, words, kind, state, order }, page(asked.page)?))
}

pub(super) fn operation(asked: v1::GetOperationRequest) -> Result<OperationName, Problem> {
    // What is beyond the limits of names is counted together, without a kind.
    let kind = span_kind(asked.span_kind)?.unwrap_or(SpanKind::Unspecified);
    Ok(OperationName { service: asked.service, name: asked.operation, kind })
}

pub(super) fn traces(asked: v1::ListTracesRequest) -> Result<(TraceFilter, Page), Problem> {
    let role = match asked.role.try_into().map_err(|_| unknown("role", asked.role))? {
        v1::TraceRole::Unspecified => None,
        wanted => TRACE_ROLES.into_iter().find(|(_, said)| *said == wanted).map(|(role, _)| role),
    };
    let incident = (asked.incident > 0).then_some(asked.incident);
    Ok((TraceFilter { incident, role, service: given(asked.service) }, page(asked.page)?))
}

pub(super) fn recordings(
    asked: v1::CompareRecordingsRequest,
    limit: usize,
) -> Result<(Upload, Upload), Problem> {
    let side = |name: &str, recording: Option<v1::Recording>| {
        let v1::Recording { name, content } =
            recording.ok_or_else(|| Problem::bad_request(format!("{name} is missing")))?;
        let name = if name.is_empty() { "(unnamed)".to_owned() } else { quoted(&name) };
        Ok::<_, Problem>(Upload { name, content })
    };
    let (baseline, spiked) = (side("baseline", asked.baseline)?, side("spiked", asked.spiked)?);
    if baseline.content.len() + spiked.content.len() > limit {
        let status = http::StatusCode::PAYLOAD_TOO_LARGE;
        let detail =
            format!("the two recordings may have {limit} bytes together (admin.max_upload_size)");
        return Err(Problem::new(status, detail));
    }
    Ok((baseline, spiked))
}
