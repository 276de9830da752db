//! `/api/v1/timeline`: seconds above expectation per suspect, slice by slice.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::HeaderMap;
use serde::{Deserialize, Serialize, Serializer};

use super::super::words::rounded;
use super::answer::{Problem, json};
use super::query::{Params, instant, parsed};
use super::{Answer, Api, as_rfc3339};
use crate::engine::evidence::TimelineSlice;
use crate::engine::verdict::{Board, SuspectKind};
use crate::model::Timestamp;

/// Which stretch, and how finely.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimelineQuery {
    since: Option<String>,
    until: Option<String>,
    points: Option<usize>,
}

const USUAL_POINTS: usize = 240;
const MAX_POINTS: usize = 1_000;

#[derive(Serialize)]
pub(super) struct Timeline<'a> {
    pub(super) suspects: Vec<SuspectShape<'a>>,
    pub(super) slices: Vec<SliceShape>,
}

#[derive(Serialize)]
pub(super) struct SuspectShape<'a> {
    pub(super) service: &'a str,
    #[serde(serialize_with = "kind_as_str")]
    pub(super) kind: SuspectKind,
    pub(super) excess_seconds: f64,
}

#[derive(Serialize)]
pub(super) struct SliceShape {
    #[serde(serialize_with = "as_rfc3339")]
    pub(super) at: Timestamp,
    pub(super) seconds: f64,
    pub(super) requests: u64,
    pub(super) request_seconds: f64,
    pub(super) excess_seconds: f64,
    /// (position in the list of suspects, seconds).
    pub(super) suspects: Vec<(usize, f64)>,
}

fn kind_as_str<S: Serializer>(kind: &SuspectKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

/// Which stretch, and how finely, checked.
pub(super) struct Window {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    points: usize,
}

impl Window {
    pub(super) fn of(
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        points: Option<usize>,
    ) -> Result<Window, Problem> {
        let points = points.unwrap_or(USUAL_POINTS);
        if !(1..=MAX_POINTS).contains(&points) {
            return Err(Problem::bad_request(format!("points must be 1 to {MAX_POINTS}")));
        }
        Ok(Window { since, until, points })
    }

    pub(super) fn of_board<'a>(&self, board: &'a Board) -> Timeline<'a> {
        let all = board.timeline.iter().map(|slice| &**slice);
        let since = all.filter(|slice| self.since.is_none_or(|at| slice.at + slice.length > at));
        let chosen: Vec<&TimelineSlice> =
            since.filter(|slice| self.until.is_none_or(|until| slice.at <= until)).collect();
        shape(&chosen, self.points)
    }
}

/// The last slices; where there are more than asked for, neighbours are added up.
pub(super) async fn timeline(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(query): Params<TimelineQuery>,
) -> Result<Response, Problem> {
    let time = "seconds since 1970 or a date as in RFC 3339";
    let since = parsed("since", query.since.as_deref(), time, instant)?;
    let until = parsed("until", query.until.as_deref(), time, instant)?;
    let window = Window::of(since, until, query.points)?;
    api.answer(&headers, move |api, wishes| {
        let board = api.source.board();
        Ok(json(wishes, &Answer::new(&board, window.of_board(&board))))
    })
    .await
}

/// By name, which is also the order in which they are stacked: it must not change from one look to the next.
fn shape<'a>(slices: &[&'a TimelineSlice], points: usize) -> Timeline<'a> {
    let mut sums: BTreeMap<(&str, SuspectKind), f64> = BTreeMap::new();
    for charge in slices.iter().flat_map(|slice| &slice.charges) {
        *sums.entry((&charge.service, charge.kind)).or_default() += charge.seconds;
    }
    let position: BTreeMap<(&str, SuspectKind), usize> =
        sums.keys().enumerate().map(|(at, &name)| (name, at)).collect();
    let step = slices.len().div_ceil(points).max(1);
    let suspects = sums.into_iter().map(|((service, kind), seconds)| SuspectShape {
        service,
        kind,
        excess_seconds: rounded(seconds),
    });
    Timeline {
        suspects: suspects.collect(),
        slices: slices.chunks(step).map(|chunk| added_up(chunk, &position)).collect(),
    }
}

fn added_up(
    chunk: &[&TimelineSlice],
    position: &BTreeMap<(&str, SuspectKind), usize>,
) -> SliceShape {
    let mut suspects: BTreeMap<usize, f64> = BTreeMap::new();
    for charge in chunk.iter().flat_map(|slice| &slice.charges) {
        if let Some(&at) = position.get(&(&*charge.service, charge.kind)) {
            *suspects.entry(at).or_default() += charge.seconds;
        }
    }
    let sum = |figure: fn(&TimelineSlice) -> f64| -> f64 {
        rounded(chunk.iter().map(|slice| figure(slice)).sum())
    };
    SliceShape {
        at: chunk.first().map(|first| first.at).unwrap_or_default(),
        seconds: sum(|slice| slice.length.as_secs_f64()),
        requests: chunk.iter().map(|slice| slice.requests).sum(),
        request_seconds: sum(|slice| slice.request_seconds),
        excess_seconds: sum(|slice| slice.excess_seconds),
        suspects: suspects.into_iter().map(|(at, seconds)| (at, rounded(seconds))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::evidence::Charge;
    use crate::model::Nanos;
    use crate::publish::testing::after;

    fn slice(at: u64, charges: &[(&str, f64)]) -> TimelineSlice {
        let charge = |&(service, seconds): &(&str, f64)| Charge {
            service: service.into(),
            kind: SuspectKind::Service,
            seconds,
        };
        TimelineSlice {
            at: after(at),
            length: Nanos::from_secs(5),
            requests: 10,
            request_seconds: 2.0,
            excess_seconds: charges.iter().map(|charge| charge.1).sum(),
            charges: charges.iter().map(charge).collect(),
        }
    }

    #[test]
    fn neighbours_are_added_up_until_they_fit() {
        let slices: Vec<TimelineSlice> =
            (0..7).map(|at| slice(5 * at, &[("b", 1.0), ("a", 0.5)])).collect();
        let slices: Vec<&TimelineSlice> = slices.iter().collect();
        let shape = shape(&slices, 3);
        let names: Vec<&str> = shape.suspects.iter().map(|one| one.service).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(shape.suspects[1].excess_seconds, 7.0);
        let lengths: Vec<f64> = shape.slices.iter().map(|slice| slice.seconds).collect();
        assert_eq!(lengths, [15.0, 15.0, 5.0]);
        let SliceShape { requests, request_seconds, excess_seconds, .. } = shape.slices[0];
        assert_eq!((requests, request_seconds, excess_seconds), (30, 6.0, 4.5));
        assert_eq!(shape.slices[0].suspects, [(0, 1.5), (1, 3.0)]);
    }

    #[test]
    fn without_slices_there_is_nothing_to_draw() {
        let shape = shape(&[], 10);
        assert!(shape.slices.is_empty() && shape.suspects.is_empty());
    }
}
