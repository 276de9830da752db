//! Evidence made up for the tests of the API and the page.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::{Notify, watch};

use super::{after, board, trace};
use crate::compare::verdict::{
    Cause, Change, Comparison, EventGap, Figures, Match, SpanRow, Summary, Verdict,
};
use crate::engine::evidence::{
    Buckets, Charge, Distribution, Era, Graph, GraphLink, GraphService, KeptTrace, OperationDetail,
    Role, SpanDetail, Stretch, SuspectDistribution, TimelineSlice, TraceDetail,
};
use crate::engine::verdict::{Board, Reason, SuspectKind};
use crate::model::{Nanos, SpanId, SpanKind, Timestamp, TraceId};
use crate::publish::api::{Beat, Busy, CompareError, Evidence, OperationName, Room, Upload};

pub(in crate::publish) struct FixedEvidence {
    beats: watch::Sender<Beat>,
    gate: Mutex<Option<mpsc::Receiver<()>>>,
    comparing: Notify,
}

impl FixedEvidence {
    pub(in crate::publish) fn new() -> FixedEvidence {
        let beats = watch::Sender::new(Beat::default());
        FixedEvidence { beats, gate: Mutex::default(), comparing: Notify::new() }
    }

    /// A new board.
    pub(in crate::publish) fn beat(&self) {
        self.beats.send_modify(|beat| beat.boards += 1);
    }

    pub(in crate::publish) fn end(&self) {
        self.beats.send_modify(|beat| beat.ending = true);
    }

    /// The next comparison does not come to an end while this is held.
    pub(in crate::publish) fn hold_comparison(&self) -> mpsc::Sender<()> {
        let (hold, gate) = mpsc::channel();
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(gate);
        hold
    }

    /// Waits until a comparison has begun.
    pub(in crate::publish) async fn comparing(&self) {
        self.comparing.notified().await;
    }
}

fn distribution() -> Distribution {
    Distribution {
        baseline: Buckets::from_counts(vec![(90, 300), (95, 100)]),
        recent: Buckets::from_counts(vec![(95, 10), (115, 70)]),
        threshold_seconds: Some(0.012),
    }
}

/// The board of the contract's incident, with what it rests on.
pub(in crate::publish) fn board_with_evidence() -> Board {
    let mut board = board();
    let service = |service: &str, is_entry, excess_seconds| GraphService {
        service: service.into(),
        kind: SuspectKind::Service,
        is_entry,
        calls: 800,
        excess_seconds,
    };
    let evidence = crate::engine::evidence::Evidence {
        distributions: vec![SuspectDistribution {
            service: "cart".into(),
            kind: SuspectKind::Service,
            distribution: distribution(),
        }],
        graph: Graph {
            services: vec![service("cart", false, 11.5), service("storefront", true, 0.4)],
            links: vec![GraphLink { from: 1, to: 0, calls: 800, excess_seconds: 12.0 }],
            left_out: 0,
        },
    };
    board.open[0].evidence = Arc::new(evidence);
    let charge = Charge { service: "cart".into(), kind: SuspectKind::Service, seconds: 1.5 };
    board.timeline = (0..4)
        .map(|at| {
            Arc::new(TimelineSlice {
                at: after(5 * at),
                length: Nanos::from_secs(5),
                requests: 40,
                request_seconds: 9.5,
                excess_seconds: 1.6,
                charges: vec![charge.clone()],
            })
        })
        .collect();
    board
}

fn kept(number: u128, role: Role, seconds: f64) -> KeptTrace {
    KeptTrace {
        trace: trace(number),
        role,
        incident: Some(1),
        service: "storefront".into(),
        operation: "GET /cart".into(),
        span_kind: SpanKind::Server,
        end: after(15),
        seconds,
        spans: 2,
    }
}

fn span(id: u64, parent: Option<usize>, service: &str, stretch: Stretch) -> SpanDetail {
    SpanDetail {
        id: SpanId::new(id).unwrap(),
        parent,
        depth: parent.map_or(0, |parent| parent + 1),
        service: service.into(),
        operation: "GET /cart".into(),
        span_kind: SpanKind::Server,
        peer: None,
        is_entry: parent.is_none(),
        failed: false,
        stretch,
        self_seconds: 0.1,
        path: vec![stretch],
        attributes: vec![("k8s.pod.name".into(), "cart-2".into())],
    }
}

fn comparison() -> Comparison {
    let summary = |seconds| Summary {
        trace_id: Some(trace(1)),
        traces: 1,
        duration_seconds: seconds,
        spans: 1,
        services: vec!["cart".into()],
    };
    let figures = |seconds| Figures {
        offset_seconds: 0.0,
        seconds,
        self_seconds: seconds,
        critical_seconds: seconds,
    };
    let path = |to_seconds| vec![Stretch { from_seconds: 0.0, to_seconds }];
    Comparison {
        verdict: Verdict::RootCause,
        baseline: summary(0.1),
        spiked: summary(0.4),
        delta_seconds: 0.3,
        unexplained_seconds: 0.0,
        root_causes: vec![Cause {
            rank: 1,
            service: "cart".into(),
            kind: SuspectKind::Service,
            operation: "GET /items".into(),
            share: 1.0,
            excess_seconds: 0.3,
            baseline_self_seconds: 0.1,
            spiked_self_seconds: 0.4,
            reason: Change::Worse(Reason::SelfTime),
            event_gaps: vec![EventGap {
                from: EventGap::START.to_owned(),
                to: EventGap::END.to_owned(),
                baseline_seconds: 0.1,
                spiked_seconds: 0.4,
            }],
            pattern: None,
            where_: None,
            example_trace_ids: Vec::new(),
        }],
        spans: vec![SpanRow {
            service: "cart".into(),
            operation: "GET /items".into(),
            depth: 0,
            baseline: figures(0.1),
            spiked: figures(0.4),
            match_: Match::Matched,
            outside_normal: false,
            baseline_path: path(0.1),
            spiked_path: path(0.4),
        }],
        entries: None,
        warnings: Vec::new(),
        next_steps: Vec::new(),
    }
}

impl Evidence for FixedEvidence {
    fn now(&self) -> Timestamp {
        after(27)
    }

    fn beats(&self) -> watch::Receiver<Beat> {
        self.beats.subscribe()
    }

    fn operation(&self, operation: &OperationName) -> Result<Option<OperationDetail>, Busy> {
        let detail = OperationDetail {
            distribution: distribution(),
            learned_slices: 30,
            needed_slices: 6,
            needed_calls: 40,
            is_frozen: true,
            eras: vec![Era { at: after(0), calls: 400, quantiles: [0.004, 0.006, 0.009] }],
        };
        Ok((operation.service == "cart").then_some(detail))
    }

    fn kept(&self, _incident: Option<u64>) -> Vec<KeptTrace> {
        vec![
            kept(0xa, Role::Typical, 0.12),
            kept(0xabc, Role::Slowest, 0.4),
            kept(0xd, Role::Newest, 0.9),
        ]
    }

    fn trace(&self, trace: TraceId) -> Option<TraceDetail> {
        let whole = Stretch { from_seconds: 0.0, to_seconds: 0.4 };
        let part = Stretch { from_seconds: 0.1, to_seconds: 0.3 };
        let spans = vec![span(1, None, "storefront", whole), span(2, Some(0), "cart", part)];
        let detail =
            TraceDetail { trace, start: after(14), seconds: 0.4, entry: 0, spans, skewed: 0 };
        (trace == super::trace(0xabc)).then_some(detail)
    }

    fn normal_for(&self, _trace: TraceId) -> Option<TraceId> {
        Some(trace(0xa))
    }

    fn compare_kept(
        &self,
        baseline: TraceId,
        _spiked: TraceId,
    ) -> Result<Comparison, CompareError> {
        self.comparing.notify_one();
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner).take();
        gate.map(|gate| gate.recv());
        let is_kept = baseline == trace(0xabc);
        if is_kept { Ok(comparison()) } else { Err(CompareError::NotKept(baseline)) }
    }

    fn compare_uploads(
        &self,
        baseline: Upload,
        _spiked: Upload,
    ) -> Result<Comparison, CompareError> {
        match &baseline.content[..] {
            b"broken" => Err(CompareError::Unreadable("baseline.json: line 1: broken".to_owned())),
            _ => Ok(comparison()),
        }
    }

    fn room(&self) -> Room {
        Room { bytes: 1_000, limit_bytes: 32 << 20, turned_away: 0 }
    }
}
