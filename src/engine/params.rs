//! Every number the engine goes by, with its reason. `config` may change the ones users can own;
//! the rest are properties of the method.

use super::aggregate::SliceIndex;
use crate::model::{Nanos, Timestamp};

/// Everything the engine goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineParams {
    /// How traces are put together.
    pub assembly: AssemblyParams,
    /// What is learned, and what is believed.
    pub detection: DetectionParams,
    /// Nodes of the call graph that one shard tells apart.
    pub max_nodes: usize,
    /// Call paths that one shard tells apart.
    pub max_paths: usize,
    /// Closed incidents that are kept.
    pub max_incidents: usize,
    /// An operation or a suspect that has been idle for this long is no longer published.
    pub expire_after: Nanos,
}

impl Default for EngineParams {
    fn default() -> EngineParams {
        EngineParams {
            assembly: AssemblyParams::default(),
            detection: DetectionParams::default(),
            max_nodes: 100_000,
            max_paths: 200_000,
            max_incidents: 200,
            expire_after: Nanos::from_secs(15 * 60),
        }
    }
}

/// How traces are put together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AssemblyParams {
    /// A trace whose root is there closes after this long without a new span. SDKs flush every 5 s,
    /// each service at its own time, so children may come that much after their root.
    pub grace: Nanos,
    /// A trace without a root closes after this long without a new span.
    pub idle: Nanos,
    /// A trace closes at this age, whatever still comes.
    pub max_age: Nanos,
    /// For how long a closed trace is remembered, so that what comes later is known to be late.
    pub remember: Nanos,
    /// Spans that ended longer before their arrival than this are too old to be judged.
    pub max_span_age: Nanos,
    /// Spans that end further in the future than this come from a broken clock.
    pub max_span_ahead: Nanos,
    /// Spans longer than this are not believed: a start time of zero makes one of 56 years, and its
    /// weight in its operation's mean would hide what happens there for as long as it is remembered.
    pub max_span_duration: Nanos,
    /// Open traces, over all shards.
    pub max_traces: usize,
    /// Spans of one trace.
    pub max_spans_per_trace: usize,
    /// Buffered spans, over all shards.
    pub max_spans: usize,
}

impl Default for AssemblyParams {
    fn default() -> AssemblyParams {
        AssemblyParams {
            grace: Nanos::from_secs(5),
            idle: Nanos::from_secs(30),
            max_age: Nanos::from_secs(120),
            remember: Nanos::from_secs(300),
            max_span_age: Nanos::from_secs(300),
            max_span_ahead: Nanos::from_secs(60),
            max_span_duration: Nanos::from_secs(3600),
            max_traces: 200_000,
            max_spans_per_trace: 10_000,
            max_spans: 4_000_000,
        }
    }
}

/// How many windows are tested.
pub const WINDOWS: usize = 4;

/// What is learned, and what is believed. Windows are counted in slices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectionParams {
    /// Length of a slice of event time: reaction against evidence.
    pub slice: Nanos,
    /// A slice is judged this long after its end, so that its traces have closed.
    pub settle: Nanos,
    /// The windows tested, each ending with the newest slice; the last also keeps an onset out of
    /// the baseline.
    pub windows: [u64; WINDOWS],
    /// Slices that make an era; the baseline forgets by eras.
    pub era: u64,
    /// Eras that the baseline holds.
    pub eras: usize,
    /// Least slices of baseline before the first verdict.
    pub min_baseline: u64,
    /// Slices in a row that must be hot before an incident opens.
    pub open_after: u32,
    /// Slices that a slowdown must have gone on for.
    pub min_lasting: u64,
    /// So many more, where nobody stands out among the suspects.
    pub open_later: u32,
    /// Share of the excess from which on a suspect stands out.
    pub clear_score: f64,
    /// Slices in a row that must be quiet before it closes.
    pub close_after: u32,
    /// Slices of a long incident that its suspects are computed from.
    pub cohort: u64,
    /// An incident older than this is the new normal.
    pub adopt_after: Nanos,
    /// Evidence that a share of slow calls rose, in nats.
    pub min_evidence: f64,
    /// The same of places taken together: each is in several pools, and a wave meets all of a pool at once.
    pub min_evidence_of_pool: f64,
    /// Evidence that is enough for a claim once an incident is open, in nats.
    pub min_evidence_of_claim: f64,
    /// Evidence that a rare operation's mean rose, in standard errors.
    pub min_standard_errors: f64,
    /// The same without the slowest slice of the window: what has to be left of it.
    pub min_evidence_of_rest: f64,
    /// How far the mean logarithm of an operation's calls drifts while nothing is known of it.
    pub usual_drift: f64,
    /// How many times its usual drift the typical call must rise.
    pub min_drifts: f64,
    /// Least rise per call, as a share of what a call costs, that is told from the usual drift.
    pub min_drift: f64,
    /// What counts as drift: relative and absolute slack on the baseline's quantiles.
    pub slack_ratio: f64,
    /// See `slack_ratio`; nanoseconds.
    pub slack: f64,
    /// Least rise per call that matters, nanoseconds.
    pub min_rise: f64,
    /// Least rise per call that matters, as a share of what a call costs.
    pub min_rise_ratio: f64,
    /// Least share of the entries' time that a rise must make up.
    pub min_share: f64,
    /// Least share of some entry's usual time that the suspects add to it.
    pub min_felt: f64,
    /// How much more must be felt where there is more to do: per share by which requests are more than
    /// usual. Any system is somewhat slower under load; that is no fault of anybody's.
    pub load_slack: f64,
    /// Least rise per call off the critical path and of rare operations, nanoseconds.
    pub min_rise_off_path: f64,
    /// The same as a share of what a call costs.
    pub min_rise_ratio_off_path: f64,
    /// Least slow calls, recent calls and baseline calls for the share of slow calls.
    pub min_slow: f64,
    /// Least slow calls, where they are far beyond anything ever seen.
    pub min_slow_far: f64,
    /// See `min_slow`.
    pub min_recent: u64,
    /// See `min_slow`.
    pub min_learned: u64,
    /// Least requests in an entry's baseline before anything under it is judged.
    pub min_learned_requests: u64,
    /// How far calls of one request are dependent witnesses.
    pub dependence: f64,
    /// Growth of the number of child calls that is a fan-out.
    pub fan_out_growth: f64,
    /// Growth of the share of calls that make a child call at all, from which on it is made more often.
    /// Which way requests take through the code varies lawfully with what is asked for.
    pub more_often: f64,
    /// Evidence for a new operation, in standard deviations of the mean.
    pub min_new_operation_z: f64,
    /// Share of what calls side by side save that must be lost: a change of structure, not of speed.
    pub min_lost_overlap: f64,
    /// Calls worth of the node's own price that an unknown path borrows.
    pub shrink: f64,
    /// Prior that a gap belongs to the callee, for want of other edges.
    pub edge_prior: f64,
    /// How much milder a witness may be and still count in full.
    pub comparable: f64,
    /// Calls on other edges that both ends need before the link itself is named.
    pub min_witness_calls: f64,
    /// What those edges may show at most.
    pub clean_witness: f64,
    /// Suspects below this share are not reported.
    pub min_score: f64,
}

impl DetectionParams {
    /// The first slice that is not settled at `now`: those before it can be judged.
    pub fn settled_before(&self, now: Timestamp) -> SliceIndex {
        now.saturating_sub(self.settle).0 / self.slice.0
    }
}

impl Default for DetectionParams {
    /// The values of the algorithm's sensitivity study, but for what tells a wave from a fault (spread,
    /// persistence, and whether anybody feels it), which lets the evidence asked for be less; those
    /// were weighed in the fault laboratory (`tests/lab`) and on real incidents (`tests/accuracy`).
    fn default() -> DetectionParams {
        const MS: f64 = 1e6;
        DetectionParams {
            slice: Nanos::from_secs(5),
            settle: Nanos::from_secs(6),
            windows: [3, 12, 18, 36],
            era: 60,
            eras: 6,
            min_baseline: 6,
            open_after: 2,
            min_lasting: 4,
            open_later: 4,
            clear_score: 0.5,
            close_after: 6,
            cohort: 60,
            adopt_after: Nanos::from_secs(8 * 3600),
            min_evidence: 16.0,
            min_evidence_of_pool: 24.0,
            min_evidence_of_claim: 5.0,
            min_standard_errors: 8.0,
            min_evidence_of_rest: 4.0,
            usual_drift: 0.03,
            min_drifts: 5.0,
            min_drift: 0.05,
            slack_ratio: 0.25,
            slack: 0.5 * MS,
            min_rise: MS,
            min_rise_ratio: 0.15,
            min_share: 0.02,
            min_felt: 0.05,
            load_slack: 3.0,
            min_rise_off_path: 5.0 * MS,
            min_rise_ratio_off_path: 1.0,
            min_slow: 5.0,
            min_slow_far: 3.0,
            min_recent: 8,
            min_learned: 40,
            min_learned_requests: 5,
            dependence: 0.5,
            fan_out_growth: 1.3,
            more_often: 2.0,
            min_new_operation_z: 6.0,
            min_lost_overlap: 0.3,
            shrink: 5.0,
            edge_prior: 0.35,
            comparable: 3.0,
            min_witness_calls: 10.0,
            clean_witness: 0.2,
            min_score: 0.02,
        }
    }
}
