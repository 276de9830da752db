//! One case told in full: the system, the truth, what was said over time, and what the spans themselves
//! say changed. For finding out why a verdict was wrong.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use crate::judges::{Named, Said, Verdict};
use crate::run::Outcome;
use crate::score;
use crate::sim::delivery::RawSpan;
use crate::sim::topology::{Callee, Edge, Step, System};
use crate::sim::world::EPOCH;

/// Lines of the table of what changed.
const CHANGES: usize = 14;

pub(crate) fn explain(outcome: &Outcome) -> String {
    let mut text = String::new();
    system(&mut text, outcome);
    truth(&mut text, outcome);
    effect(&mut text, outcome);
    said(&mut text, outcome);
    text += &changes(&outcome.built.scenario.system, outcome);
    let _ = writeln!(text, "\nscore: {:#?}", score::score(outcome, 0));
    text
}

fn system(text: &mut String, outcome: &Outcome) {
    let scenario = &outcome.built.scenario;
    let system = &scenario.system;
    let _ = writeln!(
        text,
        "{}: {} services, {} instances on {} hosts, {:.1} requests/s, {:.0} % traced, {} spans made, {} lost\n",
        outcome.case.name(),
        system.services.len(),
        system.instances.len(),
        system.hosts.len(),
        system.rate,
        100.0 * scenario.sampling,
        outcome.ledger.made,
        outcome.ledger.lost,
    );
    for service in &system.services {
        let names =
            service.ops.iter().map(|&op| format!("{} ({})", system.op_name(op), calls(system, op)));
        let _ = writeln!(
            text,
            "  {} x{} of {} workers{}{}: {}",
            service.name,
            service.instances.len(),
            service.workers,
            if service.queue_in_span { ", queue in span" } else { "" },
            if service.pool_in_span { ", pool in span" } else { "" },
            names.collect::<Vec<_>>().join("; ")
        );
    }
    for edge in system.edges.iter().filter(|edge| is_near(outcome, edge)) {
        let _ = writeln!(
            text,
            "  {} -> {}: {} connections, {:.2} ms there and back, gives up after {:.1} s, {} retries after {:.0} ms",
            system.service_name(edge.caller),
            system.callee_name(edge.callee),
            edge.pool,
            2.0 * edge.way.mean() / 1e6,
            edge.timeout as f64 / 1e9,
            edge.retries,
            edge.back_off as f64 / 1e6,
        );
    }
    let deps = system.deps.iter().map(|dep| format!("{} x{}", dep.name, dep.servers));
    let _ = writeln!(text, "  backends: {}", deps.collect::<Vec<_>>().join(", "));
}

/// It begins or ends at a culprit.
fn is_near(outcome: &Outcome, edge: &Edge) -> bool {
    let system = &outcome.built.scenario.system;
    let ends = [system.service_name(edge.caller), system.callee_name(edge.callee)];
    let names = outcome.built.truth.culprits.iter().flat_map(|culprit| &culprit.names);
    names.clone().any(|(name, _)| ends.contains(&name.as_str()))
}

/// Whom an operation calls, in short.
fn calls(system: &System, op: usize) -> String {
    let one = |call: &crate::sim::topology::Call| {
        let edge = &system.edges[call.edge];
        let times = if call.times > 1 { format!("{}x ", call.times) } else { String::new() };
        let chance = if call.chance < 1.0 {
            format!(" {:.0} %", 100.0 * call.chance)
        } else {
            String::new()
        };
        format!("{times}{}{chance}", system.callee_name(edge.callee))
    };
    let step = |step: &Step| match step {
        Step::Parallel(calls) => {
            let each: Vec<String> = calls.iter().map(one).collect();
            Some(format!("[{}]", each.join(" | ")))
        }
        Step::Cached { cache, store, hit } => {
            Some(format!("{}, {:.0} % of the time {}", one(cache), 100.0 * (1.0 - hit), one(store)))
        }
        Step::Call(call) => Some(one(call)),
        Step::Publish { .. } => Some("publish".to_owned()),
        Step::Locked(_) => Some("lock".to_owned()),
        _ => None,
    };
    let steps: Vec<String> = system.ops[op].steps.iter().filter_map(step).collect();
    steps.join(", ")
}

fn truth(text: &mut String, outcome: &Outcome) {
    let truth = &outcome.built.truth;
    let seconds = |time: u64| time as f64 / 1e9;
    let _ = writeln!(
        text,
        "\ntruth: {:.0} s to {:.0} s, noticeable from {:.0} s, magnitude {:.4e}",
        seconds(truth.from),
        seconds(truth.to),
        seconds(truth.noticeable),
        outcome.built.magnitude,
    );
    for culprit in &truth.culprits {
        let _ = writeln!(
            text,
            "  culprit {:?} by {:?}, {}, where {:?}",
            culprit.names,
            culprit.reasons,
            culprit.pattern.unwrap_or("any pattern"),
            culprit.wheres
        );
    }
    let _ = writeln!(text, "  impacted: {}", truth.impacted.join(", "));
    for fault in &outcome.built.scenario.faults {
        let place = match &fault.what {
            crate::sim::faults::What::Way {
                ways: crate::sim::faults::Ways::Edge(edge), ..
            } => {
                let edge = &outcome.built.scenario.system.edges[*edge];
                let system = &outcome.built.scenario.system;
                let to: Callee = edge.callee;
                format!(" ({} -> {})", system.service_name(edge.caller), system.callee_name(to))
            }
            _ => String::new(),
        };
        let _ = writeln!(text, "  {:?}{place}", fault.what);
    }
}

fn effect(text: &mut String, outcome: &Outcome) {
    let system = &outcome.built.scenario.system;
    let _ = writeln!(
        text,
        "\nmeasured: +{:.1} % for the entry that suffers most, +{:.1} % over all affected",
        100.0 * outcome.effect.largest(outcome.built.scenario.least_requests()),
        100.0 * outcome.effect.overall()
    );
    for (entry, effect) in outcome.effect.entries.iter().enumerate() {
        let op = match system.entries.get(entry) {
            Some(entry) => entry.op,
            None => system.topics[entry - system.entries.len()].consumer,
        };
        let _ = writeln!(
            text,
            "  {:>6} x {} {}: {:.2} -> {:.2} ms (+{:.1} %)",
            effect.requests,
            system.service_name(system.ops[op].service),
            system.op_name(op),
            effect.sound / 1e6,
            effect.faulty / 1e6,
            100.0 * effect.rise()
        );
    }
}

fn said(text: &mut String, outcome: &Outcome) {
    let story = &outcome.stories[0];
    let _ = writeln!(text, "\nsaid:");
    for Said { at, step, verdict } in &story.said {
        let _ = writeln!(text, " {at:.0} s: {step:?}");
        tell(text, outcome, verdict);
    }
    // Only where it is not what was told last.
    let gist = |verdict: &Verdict| -> Vec<_> {
        let gist = |named: &Named| {
            (named.service.clone(), named.kind, named.reason, named.pattern, named.where_.is_some())
        };
        verdict.suspects.iter().map(gist).collect()
    };
    let mut told = Vec::new();
    for (at, open) in &story.glimpses {
        for verdict in open {
            let now = gist(verdict);
            if now != told {
                let _ = writeln!(text, " {at:.0} s: open");
                tell(text, outcome, verdict);
            }
            told = now;
        }
    }
    if story.said.is_empty() {
        let _ = writeln!(text, " nothing");
    }
}

fn tell(text: &mut String, outcome: &Outcome, verdict: &Verdict) {
    let _ = writeln!(
        text,
        "    incident {} since {:.0} s, detected {:.0} s: {:.2} s of excess, {:.0} % unexplained{}",
        verdict.id,
        verdict.start,
        verdict.detected,
        verdict.excess,
        100.0 * verdict.unexplained,
        verdict.confidence.map_or(String::new(), |c| format!(", confidence {c:.2}")),
    );
    for (name, excess, baseline, recent) in verdict.entries.iter().take(3) {
        let (from, to) = (1e3 * baseline, 1e3 * recent);
        let _ = writeln!(text, "      entry {name}: +{excess:.2} s, {from:.1} -> {to:.1} ms");
    }
    for named in &verdict.suspects {
        let right = outcome.built.truth.culprits.iter().any(|culprit| score::is(culprit, named));
        let _ = writeln!(
            text,
            "    {} {:>3.0} % {} {} by {} ({}) at {}: {:.2} s, {:.2} -> {:.2} ms a call, {} calls{}",
            if right { "*" } else { " " },
            100.0 * named.score,
            named.kind,
            named.service,
            named.reason,
            named.pattern,
            named.operation,
            named.excess,
            1e3 * named.baseline,
            1e3 * named.recent,
            named.calls,
            named.where_.as_ref().map_or(String::new(), |(attribute, value, share)| {
                format!(", where {attribute}={value} ({:.0} %)", 100.0 * share)
            }),
        );
    }
}

/// Sums over the spans of one label.
#[derive(Default, Clone, Copy)]
struct Sum {
    calls: f64,
    own: f64,
    whole: f64,
}

/// What the spans say, by arithmetic that shares nothing with the engine: per label, calls per request
/// and mean self-time before and during the fault, the largest rise of self-time per request first.
fn changes(system: &System, outcome: &Outcome) -> String {
    let truth = &outcome.built.truth;
    let span = |raw: &RawSpan| raw.start.saturating_sub(EPOCH);
    let side = |raw: &RawSpan| {
        let at = span(raw);
        match at {
            _ if (truth.from..truth.to).contains(&at) => Some(1),
            _ if at < truth.from && at > 60_000_000_000 => Some(0),
            _ => None,
        }
    };
    let mut covered: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
    for raw in &outcome.spans {
        covered.entry(raw.parent).or_default().push((raw.start, raw.end));
    }
    let mut sums: BTreeMap<u32, [Sum; 2]> = BTreeMap::new();
    let mut requests = [0.0; 2];
    for raw in &outcome.spans {
        let Some(side) = side(raw) else { continue };
        let whole = raw.end.saturating_sub(raw.start);
        let children = covered.get(&raw.id).map_or(0, |spans| union(spans, (raw.start, raw.end)));
        let sum = &mut sums.entry(raw.label).or_default()[side];
        sum.calls += 1.0;
        sum.own += whole.saturating_sub(children) as f64;
        sum.whole += whole as f64;
        requests[side] += f64::from(u8::from(raw.parent == 0));
    }
    let rise = |[before, during]: &[Sum; 2]| during.own / requests[1] - before.own / requests[0];
    let mut rows: Vec<(&u32, &[Sum; 2])> = sums.iter().collect();
    rows.sort_by(|one, two| rise(two.1).abs().total_cmp(&rise(one.1).abs()));
    let mut text = format!(
        "\nspans, before and during ({:.0} and {:.0} requests), by change of self-time per request:\n",
        requests[0], requests[1]
    );
    for (label, both) in rows.into_iter().take(CHANGES) {
        let label = &system.labels[*label as usize];
        let [before, during] = both;
        let peer = label.peer.as_ref().map_or(String::new(), |(_, peer)| format!(" -> {peer}"));
        let _ = writeln!(
            text,
            "  {:+9.3} ms  {} {} ({:?}){peer}: calls {:.3} -> {:.3}, self {:.2} -> {:.2} ms, whole {:.2} -> {:.2} ms",
            rise(both) / 1e6,
            system.service_name(label.service),
            label.name,
            label.kind,
            before.calls / requests[0],
            during.calls / requests[1],
            before.own / before.calls / 1e6,
            during.own / during.calls / 1e6,
            before.whole / before.calls / 1e6,
            during.whole / during.calls / 1e6,
        );
    }
    text
}

/// Nanoseconds of `within` that the spans cover.
fn union(spans: &[(u64, u64)], within: (u64, u64)) -> u64 {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    let (mut covered, mut reached) = (0, within.0);
    for (start, end) in spans {
        let (start, end) = (start.max(reached), end.min(within.1));
        if end > start {
            covered += end - start;
            reached = end;
        }
    }
    covered
}
