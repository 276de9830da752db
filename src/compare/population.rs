//! Many traces on a side: requests of the same entry against each other, by the engine's own tests.
//!
//! Everything is a mean per request of the second side, at the second side's mix of entries: an entry that
//! is merely called more often is no slowdown. Nobody is named unless something stands out of the noise of
//! the two samples; one trace against many stands out if it took longer than all of them.

use std::collections::BTreeMap;

use super::advice;
use super::input::Side;
use super::pair::noise_floor;
use super::verdict::{
    Cause, Change, Comparison, EntryRow, Figures, Match, SpanRow, Summary, Verdict,
};
use crate::engine::cohort::{Cohorts, EntryPair, SetVerdict, TraceSpans};
use crate::engine::critical_path::Costs;
use crate::engine::tree::Tree;
use crate::model::{Interner, Nanos, Sym};

/// Least requests of an entry on each side before anything is said of it, unless one side is one trace.
const MIN_REQUESTS: u64 = 3;
/// Least share of their time by which slower entries must be slower for it to be felt.
const MIN_SHARE: f64 = 0.02;
/// Sentences of one sort; more say no more.
const MAX_OF_A_SORT: usize = 5;

/// Compares two sides.
pub(super) fn compare(names: &Interner, baseline: &Side, spiked: &Side) -> Comparison {
    let sets = [baseline, spiked].map(traces);
    let [before, after] = &sets;
    let forward = Cohorts::new(names, before, after).verdict();
    let backward = Cohorts::new(names, after, before).verdict();
    let sums = [before, after].map(|traces| SideSums::of(traces, names));
    let totals = Totals::of(&forward.entries);
    let mut warnings = warnings(&forward.entries, &sums);
    let verdict = conclude(&forward, &backward, &totals, &sums, &mut warnings);
    let causes = match verdict {
        Verdict::RootCause => causes(&forward, totals.spiked_requests, 1.0),
        Verdict::Faster => causes(&backward, totals.baseline_requests, -1.0),
        _ => Vec::new(),
    };
    let explained: f64 = causes.iter().map(|cause| cause.excess_seconds).sum();
    let [before, after] = [baseline, spiked].map(|side| side.traces());
    let summary = |side: &SideSums, traces, duration: f64| Summary {
        trace_id: None,
        traces,
        duration_seconds: duration / 1e9,
        spans: side.spans,
        services: side.services(names),
    };
    Comparison {
        verdict,
        baseline: summary(&sums[0], before, totals.spiked_mean - totals.delta),
        spiked: summary(&sums[1], after, totals.spiked_mean),
        delta_seconds: totals.delta / 1e9,
        unexplained_seconds: totals.delta / 1e9 - explained,
        next_steps: if verdict == Verdict::RootCause { advice::of_sets(&causes) } else { vec![] },
        root_causes: causes,
        spans: rows(&sums, names),
        entries: Some(entries(&forward.entries)),
        warnings,
    }
}

fn traces(side: &Side) -> Vec<TraceSpans<'_>> {
    let all = side.all().iter();
    all.map(|(&trace, of)| TraceSpans { trace, spans: &of.spans }).collect()
}

/// The entries on both sides, taken together; nanoseconds per request of the second side.
struct Totals {
    baseline_requests: f64,
    spiked_requests: f64,
    spiked_mean: f64,
    delta: f64,
    /// The fewest requests that any of them has on a side.
    fewest: u64,
}

fn is_on_both(entry: &&EntryPair) -> bool {
    entry.baseline_requests > 0 && entry.spiked_requests > 0
}

impl Totals {
    fn of(entries: &[EntryPair]) -> Totals {
        let both = || entries.iter().filter(is_on_both);
        let requests: u64 = both().map(|entry| entry.spiked_requests).sum();
        let baseline: u64 = both().map(|entry| entry.baseline_requests).sum();
        let per_request = |sum: f64| sum / requests.max(1) as f64;
        let most = both().map(|entry| entry.baseline_requests.min(entry.spiked_requests)).max();
        Totals {
            baseline_requests: baseline as f64,
            spiked_requests: requests as f64,
            spiked_mean: per_request(
                both().map(|entry| entry.spiked_mean * entry.spiked_requests as f64).sum(),
            ),
            delta: per_request(both().map(|entry| entry.excess as f64).sum()),
            fewest: most.unwrap_or(0),
        }
    }
}

fn conclude(
    forward: &SetVerdict,
    backward: &SetVerdict,
    totals: &Totals,
    sums: &[SideSums; 2],
    warnings: &mut Vec<String>,
) -> Verdict {
    if totals.spiked_requests == 0.0 {
        warnings.insert(
            0,
            "no entry operation is on both sides: compare requests of the same operations"
                .to_owned(),
        );
        return Verdict::Inconclusive;
    }
    if let Some(range) = one_against_many(sums) {
        let (low, high, one) = range;
        let floor = noise_floor(high);
        if one <= high + floor && low <= one + floor {
            warnings.push(format!("the one trace took {one}, as others do: {low} to {high}"));
            return Verdict::NoDifference;
        }
    } else if totals.fewest < MIN_REQUESTS {
        warnings.insert(0, format!("fewer than {MIN_REQUESTS} traces of each entry on a side"));
        return Verdict::Inconclusive;
    }
    let floor = noise_floor(Nanos::from_secs_f64((totals.spiked_mean - totals.delta) / 1e9));
    let is_small = sums.iter().any(|side| side.traces < Cohorts::TESTABLE);
    if is_small && totals.delta.abs() <= floor.0 as f64 {
        return Verdict::NoDifference;
    }
    let says = |verdict: &SetVerdict| {
        verdict.hot && !verdict.suspects.is_empty() && is_felt(&verdict.entries)
    };
    match (says(forward), says(backward)) {
        (true, true) if totals.delta < 0.0 => Verdict::Faster,
        (true, _) => Verdict::RootCause,
        (false, true) => Verdict::Faster,
        (false, false) if is_small => {
            warnings.insert(
                0,
                "the difference is spread over many operations, none of which differs by \
                 more than drift"
                    .to_owned(),
            );
            Verdict::Inconclusive
        }
        (false, false) => Verdict::NoDifference,
    }
}

/// If one side is one trace: the shortest and the longest of the others, and it.
fn one_against_many(sums: &[SideSums; 2]) -> Option<(Nanos, Nanos, Nanos)> {
    let [before, after] = sums;
    let (one, many) = match (before.traces, after.traces) {
        (_, 1) => (after, before),
        (1, _) => (before, after),
        _ => return None,
    };
    let durations = many.durations.iter().filter(|(entry, _)| one.durations.contains_key(*entry));
    let all: Vec<Nanos> = durations.flat_map(|(_, all)| all.iter().copied()).collect();
    let one = one.durations.values().flatten().copied().max()?;
    Some((*all.iter().min()?, *all.iter().max()?, one))
}

/// The entries that got slower did so by a share that matters.
fn is_felt(entries: &[EntryPair]) -> bool {
    let slower = entries.iter().filter(|entry| entry.excess > 0);
    let (excess, duration) = slower.fold((0.0, 0.0), |(excess, duration), entry| {
        let of_entry = entry.spiked_mean * entry.spiked_requests as f64;
        (excess + entry.excess as f64, duration + of_entry)
    });
    excess > MIN_SHARE * duration
}

fn causes(verdict: &SetVerdict, requests: f64, sign: f64) -> Vec<Cause> {
    let causes = verdict.suspects.iter().map(|suspect| {
        let (before, after) = (suspect.baseline_seconds, suspect.recent_seconds);
        let is_worse = sign > 0.0;
        Cause {
            rank: suspect.rank,
            service: suspect.service.clone(),
            kind: suspect.kind,
            operation: suspect.operation.clone(),
            share: sign * suspect.score,
            excess_seconds: sign * suspect.excess_seconds / requests,
            baseline_self_seconds: if is_worse { before } else { after },
            spiked_self_seconds: if is_worse { after } else { before },
            reason: if is_worse { Change::Worse(suspect.reason) } else { Change::Improved },
            event_gaps: Vec::new(),
            pattern: Some(suspect.pattern),
            where_: suspect.where_.clone(),
            example_trace_ids: suspect.example_trace_ids.clone(),
        }
    });
    causes.collect()
}

fn entries(pairs: &[EntryPair]) -> Vec<EntryRow> {
    let both = pairs.iter().filter(is_on_both);
    let rows = both.map(|pair| EntryRow {
        service: pair.service.clone(),
        operation: pair.operation.clone(),
        baseline_traces: pair.baseline_requests,
        spiked_traces: pair.spiked_requests,
        baseline_seconds: pair.baseline_mean / 1e9,
        spiked_seconds: pair.spiked_mean / 1e9,
        excess_seconds: pair.excess as f64 / 1e9 / pair.spiked_requests.max(1) as f64,
    });
    rows.collect()
}

fn warnings(entries: &[EntryPair], sums: &[SideSums; 2]) -> Vec<String> {
    let mut warnings = Vec::new();
    let one_sided = entries.iter().filter(|entry| !is_on_both(entry)).map(|entry| {
        let side = if entry.spiked_requests == 0 { "baseline" } else { "spiked side" };
        format!("`{}` of `{}` is on the {side} only: not compared", entry.operation, entry.service)
    });
    let count = one_sided.clone().count();
    warnings.extend(one_sided.take(MAX_OF_A_SORT));
    if count > MAX_OF_A_SORT {
        warnings.push(format!("{} more entries are on one side only", count - MAX_OF_A_SORT));
    }
    for (side, sums) in ["baseline", "spiked side"].into_iter().zip(sums) {
        if sums.traces < Cohorts::TESTABLE {
            warnings.push(format!(
                "{side}: {} {}: too few to tell chance from change",
                sums.traces,
                if sums.traces == 1 { "trace" } else { "traces" }
            ));
        }
        if sums.strays > 0 {
            warnings.push(format!(
                "{side}: spans are missing: {} of {} belong to no request that can be told",
                sums.strays, sums.spans
            ));
        }
        if sums.skewed > 0 {
            warnings.push(format!("{side}: clock skew corrected on {} spans", sums.skewed));
        }
    }
    warnings
}

/// One operation over all traces of a side; nanoseconds.
#[derive(Clone, Copy, Default)]
struct OperationSums {
    calls: u64,
    duration: u64,
    own: u64,
    critical: u64,
    longest: u64,
}

/// An operation by service and name.
type Operation = (Sym, Sym);

/// What the table and the warnings need of a side.
#[derive(Default)]
struct SideSums {
    traces: usize,
    spans: usize,
    strays: usize,
    skewed: usize,
    operations: BTreeMap<Operation, OperationSums>,
    /// Of the requests, by entry.
    durations: BTreeMap<Operation, Vec<Nanos>>,
}

impl SideSums {
    fn of(traces: &[TraceSpans<'_>], names: &Interner) -> SideSums {
        let mut sums = SideSums { traces: traces.len(), ..SideSums::default() };
        let (mut tree, mut costs) = (Tree::default(), Costs::default());
        for TraceSpans { spans, .. } in traces {
            tree.build(spans, |span| names.resolve(span.key));
            costs.compute(&tree);
            sums.spans += spans.len();
            sums.skewed += tree.skewed;
            for (at, span) in tree.spans().iter().enumerate() {
                let (cost, duration) = (costs.of(at), span.duration());
                sums.strays += usize::from(cost.entry.is_none());
                let operation = (span.key.service, span.key.name);
                let sum = sums.operations.entry(operation).or_default();
                sum.calls += 1;
                sum.duration += duration.0;
                sum.own += cost.self_time.0;
                sum.critical += cost.critical.0;
                sum.longest = sum.longest.max(duration.0);
                if span.entry {
                    sums.durations.entry(operation).or_default().push(duration);
                }
            }
        }
        sums
    }

    fn services(&self, names: &Interner) -> Vec<std::sync::Arc<str>> {
        let mut services: Vec<Sym> = self.operations.keys().map(|&(service, _)| service).collect();
        services.dedup();
        let mut services: Vec<_> =
            services.into_iter().map(|service| names.text(service)).collect();
        services.sort();
        services
    }
}

/// One row an operation: means of a call, what changed most on the critical path first.
fn rows(sums: &[SideSums; 2], names: &Interner) -> Vec<SpanRow> {
    let [before, after] = sums;
    let mut operations: Vec<Operation> =
        before.operations.keys().chain(after.operations.keys()).copied().collect();
    operations.sort_unstable();
    operations.dedup();
    let is_one_against_many = after.traces == 1 && before.traces > 1;
    let rows = operations.into_iter().map(|operation| {
        let (was, is) = (before.operations.get(&operation), after.operations.get(&operation));
        let per_request = |sums: Option<&OperationSums>, side: &SideSums| {
            sums.map_or(0.0, |sums| sums.critical as f64 / side.traces as f64)
        };
        let change = (per_request(is, after) - per_request(was, before)).abs();
        let longest = |sums: Option<&OperationSums>| sums.map_or(0, |sums| sums.longest);
        let row = SpanRow {
            service: names.text(operation.0),
            operation: names.text(operation.1),
            depth: 0,
            baseline: was.map(figures).unwrap_or_default(),
            spiked: is.map(figures).unwrap_or_default(),
            match_: match (was, is) {
                (Some(_), None) => Match::Removed,
                (None, _) => Match::Added,
                _ => Match::Matched,
            },
            outside_normal: is_one_against_many
                && longest(is) > longest(was) + noise_floor(Nanos(longest(was))).0,
            baseline_path: Vec::new(),
            spiked_path: Vec::new(),
        };
        (change, row)
    });
    let mut rows: Vec<(f64, SpanRow)> = rows.collect();
    rows.sort_by(|one, two| {
        let names = |row: &SpanRow| (row.service.clone(), row.operation.clone());
        two.0.total_cmp(&one.0).then_with(|| names(&one.1).cmp(&names(&two.1)))
    });
    rows.into_iter().map(|(_, row)| row).collect()
}

fn figures(sums: &OperationSums) -> Figures {
    let mean = |sum: u64| sum as f64 / sums.calls.max(1) as f64 / 1e9;
    Figures {
        offset_seconds: 0.0,
        seconds: mean(sums.duration),
        self_seconds: mean(sums.own),
        critical_seconds: mean(sums.critical),
    }
}
