//! `/api/v1/suspects`, `/api/v1/incidents` and one incident with all that it rests on.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::header::HeaderMap;
use serde::{Deserialize, Serialize};

use super::super::sentence::Sentence;
use super::super::shapes::{BucketsShape, IncidentShape, SuspectShape};
use super::super::words::rounded;
use super::answer::{Problem, json};
use super::links::IncidentLinks;
use super::query::{Nothing, Page, Params, instant, parsed, suspect_kind};
use super::traces::{KeptShape, kept_shapes};
use super::{Answer, Api};
use crate::engine::evidence::{Graph, KeptTrace, Role, SuspectDistribution};
use crate::engine::verdict::{Board, Incident, Suspect, SuspectKind};
use crate::model::Timestamp;

/// Which suspects.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuspectQuery {
    service: Option<String>,
    kind: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// The same, checked.
pub(super) struct SuspectFilter {
    pub(super) service: Option<String>,
    pub(super) kind: Option<SuspectKind>,
}

impl SuspectFilter {
    fn takes(&self, suspect: &Suspect) -> bool {
        self.service.as_deref().is_none_or(|service| *suspect.service == *service)
            && self.kind.is_none_or(|kind| suspect.kind == kind)
    }

    /// With the incident of each, by incident and rank.
    pub(super) fn choose<'a>(&self, board: &'a Board) -> Vec<(u64, &'a Suspect)> {
        let all = board.open.iter().flat_map(|incident| {
            incident.suspects.iter().map(move |suspect| (incident.id, suspect))
        });
        all.filter(|(_, suspect)| self.takes(suspect)).collect()
    }
}

#[derive(Serialize)]
struct Suspects<'a> {
    total: usize,
    suspects: Vec<CurrentSuspect<'a>>,
}

/// A suspect with the number of its incident.
#[derive(Serialize)]
struct CurrentSuspect<'a> {
    incident: u64,
    #[serde(flatten)]
    suspect: SuspectShape<'a>,
}

/// The suspects of all open incidents, by incident and rank.
pub(super) async fn suspects(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(query): Params<SuspectQuery>,
) -> Result<Response, Problem> {
    let page = Page::of(query.limit, query.offset)?;
    let service = query.service.filter(|service| !service.is_empty());
    let filter = SuspectFilter { service, kind: suspect_kind_of(query.kind.as_deref())? };
    api.answer(&headers, move |api, wishes| {
        let board = api.source.board();
        let chosen = filter.choose(&board);
        let total = chosen.len();
        let shape =
            |(incident, suspect)| CurrentSuspect { incident, suspect: SuspectShape::from(suspect) };
        let suspects = page.cut(chosen).into_iter().map(shape).collect();
        Ok(json(wishes, &Answer::new(&board, Suspects { total, suspects })))
    })
    .await
}

fn suspect_kind_of(text: Option<&str>) -> Result<Option<SuspectKind>, Problem> {
    parsed("kind", text, "service, dependency or edge", suspect_kind)
}

/// Which incidents.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IncidentQuery {
    state: Option<String>,
    service: Option<String>,
    kind: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// The same, checked.
pub(super) struct Filter {
    pub(super) open: bool,
    pub(super) closed: bool,
    /// One of its suspects.
    pub(super) suspect: SuspectFilter,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

impl Filter {
    fn of(query: IncidentQuery) -> Result<(Filter, Page), Problem> {
        let page = Page::of(query.limit, query.offset)?;
        let state = |text: &str| match text {
            "open" => Some((true, false)),
            "closed" => Some((false, true)),
            "all" => Some((true, true)),
            _ => None,
        };
        let state = parsed("state", query.state.as_deref(), "open, closed or all", state)?;
        let (open, closed) = state.unwrap_or((true, true));
        let time = "seconds since 1970 or a date as in RFC 3339";
        let filter = Filter {
            open,
            closed,
            suspect: SuspectFilter {
                service: query.service.filter(|service| !service.is_empty()),
                kind: suspect_kind_of(query.kind.as_deref())?,
            },
            since: parsed("since", query.since.as_deref(), time, instant)?,
            until: parsed("until", query.until.as_deref(), time, instant)?,
        };
        Ok((filter, page))
    }

    fn takes(&self, incident: &Incident) -> bool {
        let anybody = self.suspect.service.is_none() && self.suspect.kind.is_none();
        let is_suspected =
            anybody || incident.suspects.iter().any(|suspect| self.suspect.takes(suspect));
        is_suspected
            && self.since.is_none_or(|since| incident.end.is_none_or(|end| end >= since))
            && self.until.is_none_or(|until| incident.start <= until)
    }

    /// The open ones, then those that are over, the newest first.
    pub(super) fn choose<'a>(&self, board: &'a Board) -> Vec<&'a Incident> {
        let open = board.open.iter().filter(|_| self.open);
        let all = open.chain(board.closed.iter().filter(|_| self.closed));
        all.filter(|incident| self.takes(incident)).collect()
    }
}

#[derive(Serialize)]
struct Incidents<'a> {
    total: usize,
    incidents: Vec<ListedIncident<'a>>,
}

/// An incident and what it says in one sentence.
#[derive(Serialize)]
pub(super) struct ListedIncident<'a> {
    #[serde(flatten)]
    incident: IncidentShape<'a>,
    sentence: String,
}

impl<'a> From<&'a Incident> for ListedIncident<'a> {
    fn from(incident: &'a Incident) -> ListedIncident<'a> {
        let sentence = Sentence(incident).to_string();
        ListedIncident { incident: IncidentShape::from(incident), sentence }
    }
}

/// The open incidents, then those that are over, the newest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Params(query): Params<IncidentQuery>,
) -> Result<Response, Problem> {
    let (filter, page) = Filter::of(query)?;
    api.answer(&headers, move |api, wishes| {
        let board = api.source.board();
        let chosen = filter.choose(&board);
        let total = chosen.len();
        let incidents = page.cut(chosen).into_iter().map(ListedIncident::from).collect();
        Ok(json(wishes, &Answer::new(&board, Incidents { total, incidents })))
    })
    .await
}

#[derive(Serialize)]
struct OneIncident<'a> {
    incident: ListedIncident<'a>,
    evidence: EvidenceShape<'a>,
    links: IncidentLinks,
}

/// What an incident rests on.
#[derive(Serialize)]
struct EvidenceShape<'a> {
    distributions: Vec<DistributionShape<'a>>,
    graph: GraphShape<'a>,
    traces: Vec<KeptShape<'a>>,
    /// The two traces that show it best.
    pair: Option<Pair>,
}

#[derive(Serialize)]
struct DistributionShape<'a> {
    service: &'a str,
    kind: &'static str,
    baseline: BucketsShape,
    recent: BucketsShape,
    threshold_seconds: Option<f64>,
}

impl<'a> From<&'a SuspectDistribution> for DistributionShape<'a> {
    fn from(one: &'a SuspectDistribution) -> DistributionShape<'a> {
        let measured = &one.distribution;
        DistributionShape {
            service: &one.service,
            kind: one.kind.as_str(),
            baseline: BucketsShape::from(&measured.baseline),
            recent: BucketsShape::from(&measured.recent),
            threshold_seconds: measured.threshold_seconds.map(rounded),
        }
    }
}

#[derive(Serialize)]
struct GraphShape<'a> {
    services: Vec<ServiceShape<'a>>,
    links: Vec<LinkShape>,
    left_out: usize,
}

#[derive(Serialize)]
struct ServiceShape<'a> {
    service: &'a str,
    kind: &'static str,
    entry: bool,
    calls: u64,
    excess_seconds: f64,
}

#[derive(Serialize)]
struct LinkShape {
    from: usize,
    to: usize,
    calls: u64,
    excess_seconds: f64,
}

impl<'a> From<&'a Graph> for GraphShape<'a> {
    fn from(graph: &'a Graph) -> GraphShape<'a> {
        let service = |one: &'a crate::engine::evidence::GraphService| ServiceShape {
            service: &one.service,
            kind: one.kind.as_str(),
            entry: one.is_entry,
            calls: one.calls,
            excess_seconds: rounded(one.excess_seconds),
        };
        let link = |one: &crate::engine::evidence::GraphLink| LinkShape {
            from: one.from,
            to: one.to,
            calls: one.calls,
            excess_seconds: rounded(one.excess_seconds),
        };
        GraphShape {
            services: graph.services.iter().map(service).collect(),
            links: graph.links.iter().map(link).collect(),
            left_out: graph.left_out,
        }
    }
}

/// A slow trace and the normal one to hold against it.
#[derive(Serialize)]
pub(super) struct Pair {
    pub(super) baseline: String,
    pub(super) spiked: String,
}

/// Of the entry that lost most, the slow one that is as slow as the incident's requests are in the mean, because
/// the slowest of all has a story of its own; and rather one of the slowest than of the newest, which may be gone
/// before anybody has asked for it.
fn pair(incident: &Incident, kept: &[KeptTrace]) -> Option<Pair> {
    incident.entries.iter().find_map(|entry| {
        let of_entry = |one: &&KeptTrace| {
            (&one.service, &one.operation, one.span_kind)
                == (&entry.service, &entry.operation, entry.span_kind)
        };
        let baseline = kept.iter().filter(of_entry).find(|one| one.role == Role::Typical)?;
        let slow = kept.iter().filter(of_entry).filter(|one| one.role != Role::Typical);
        let distance = |one: &KeptTrace| (one.seconds - entry.recent_seconds).abs();
        let spiked = slow.min_by(|one, two| {
            let passes = |one: &KeptTrace| one.role != Role::Slowest;
            let by_distance = distance(one).total_cmp(&distance(two));
            passes(one).cmp(&passes(two)).then(by_distance).then(one.trace.cmp(&two.trace))
        })?;
        let (baseline, spiked) = (baseline.trace.to_string(), spiked.trace.to_string());
        Some(Pair { baseline, spiked })
    })
}

/// One incident, open or past, with all evidence.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Response, Problem> {
    let id: u64 =
        id.parse().map_err(|_| Problem::bad_request("the id of an incident is a number"))?;
    api.answer(&headers, move |api, wishes| {
        let board = api.source.board();
        let found = api.incident(&board, id)?;
        let rests_on = &found.incident.evidence;
        let rest = OneIncident {
            incident: ListedIncident::from(found.incident),
            evidence: EvidenceShape {
                distributions: rests_on.distributions.iter().map(Into::into).collect(),
                graph: GraphShape::from(&rests_on.graph),
                traces: kept_shapes(&found.kept, &api.settings.links),
                pair: found.pair,
            },
            links: found.links,
        };
        Ok(json(wishes, &Answer::new(&board, rest)))
    })
    .await
}

/// An incident with what is kept for it.
pub(super) struct Found<'a> {
    pub(super) incident: &'a Incident,
    pub(super) kept: Vec<KeptTrace>,
    pub(super) pair: Option<Pair>,
    pub(super) links: IncidentLinks,
}

impl Api {
    pub(super) fn incident<'a>(&self, board: &'a Board, id: u64) -> Result<Found<'a>, Problem> {
        let mut all = board.open.iter().chain(&board.closed);
        let incident = all.find(|incident| incident.id == id).ok_or_else(|| {
            Problem::not_found(format!(
                "there is no incident {id}; those that are over are kept for a while only"
            ))
        })?;
        let kept = self.evidence.kept(Some(id));
        let pair = pair(incident, &kept);
        let links = self.settings.links.of_incident(incident, board.at);
        Ok(Found { incident, kept, pair, links })
    }
}
