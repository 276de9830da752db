//! The process's own series: set from one [`Ledger`] through the `metrics` facade, rendered by its
//! Prometheus exporter, brought into the format asked for.
//!
//! The recorder is local to the page, not the process's global one: what is shown comes from the
//! ledger and from nowhere else, as only one consistent look makes the accounting law hold at every
//! scrape. Nothing counts here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use super::exposition::FamilyCount;
use super::ledger::Ledger;
use super::process::ProcessStats;
use super::text_format::{Family, Format, Kind};

const fn family(name: &'static str, kind: Kind, help: &'static str) -> Family<'static> {
    Family { name, kind, help }
}

const ACCEPTED: &str = "laghound_receiver_accepted_spans_total";
const REFUSED: &str = "laghound_receiver_refused_spans_total";
const FAILED: &str = "laghound_receiver_failed_requests_total";
const ANALYZED: &str = "laghound_spans_analyzed_total";
const SKEWED: &str = "laghound_skewed_spans_total";
const DROPPED: &str = "laghound_spans_dropped_total";
const CLOSED: &str = "laghound_traces_closed_total";
const PENDING_TRACES: &str = "laghound_pending_traces";
const PENDING_SPANS: &str = "laghound_pending_spans";
const MEMORY: &str = "laghound_memory_bytes";
const MEMORY_LIMIT: &str = "laghound_memory_limit_bytes";
const SERIES: &str = "laghound_series";
const SERIES_LIMIT: &str = "laghound_series_limit";
const OVERFLOW_SPANS: &str = "laghound_overflow_spans_total";
const DELAY: &str = "laghound_detection_delay_seconds";
const REPAIRED_NAMES: &str = "laghound_repaired_names_total";
const LIMIT_HITS: &str = "laghound_limit_hits_total";
const CONNECTIONS: &str = "laghound_connections";
const CONNECTIONS_ACCEPTED: &str = "laghound_connections_accepted_total";
const CONNECTIONS_REFUSED: &str = "laghound_connections_refused_total";
const CONNECTIONS_CLOSED: &str = "laghound_connections_closed_total";
const RELOAD_SUCCESSFUL: &str = "laghound_config_last_reload_successful";
const RELOAD_AT: &str = "laghound_config_last_reload_success_timestamp_seconds";
const REQUESTS_DENIED: &str = "laghound_requests_denied_total";
const STREAMS_TIMED_OUT: &str = "laghound_streams_timed_out_total";
const SNAPSHOT: &str = "laghound_snapshot_last_success_timestamp_seconds";
const SNAPSHOT_FAILURES: &str = "laghound_snapshot_failures_total";
const SNAPSHOT_RESTORES: &str = "laghound_snapshot_restores_total";
const SNAPSHOT_SIZE: &str = "laghound_snapshot_size_bytes";
const SNAPSHOT_DURATION: &str = "laghound_snapshot_duration_seconds";
const BUILD_INFO: &str = "laghound_build_info";
const CPU: &str = "process_cpu_seconds_total";
const RESIDENT: &str = "process_resident_memory_bytes";
const VIRTUAL: &str = "process_virtual_memory_bytes";
const START: &str = "process_start_time_seconds";
const OPEN_FDS: &str = "process_open_fds";
const MAX_FDS: &str = "process_max_fds";

/// Every family, with what its HELP says.
const FAMILIES: &[Family<'static>] = &[
    family(ACCEPTED, Kind::Counter, "Spans accepted from senders."),
    family(REFUSED, Kind::Counter, "Spans refused, and answered as refused."),
    family(FAILED, Kind::Counter, "Requests that failed as a whole."),
    family(ANALYZED, Kind::Counter, "Accepted spans analyzed with their trace."),
    family(
        SKEWED,
        Kind::Counter,
        "Spans moved in the analysis because their host's clock disagreed with the caller's.",
    ),
    family(DROPPED, Kind::Counter, "Accepted spans that were not analyzed."),
    family(CLOSED, Kind::Counter, "Traces closed, by what closed them."),
    family(PENDING_TRACES, Kind::Gauge, "Traces being put together."),
    family(PENDING_SPANS, Kind::Gauge, "Accepted spans neither analyzed nor dropped yet."),
    family(MEMORY, Kind::Gauge, "Bytes in use, by what uses them."),
    family(MEMORY_LIMIT, Kind::Gauge, "Bytes that may be used."),
    family(SERIES, Kind::Gauge, "Series of a family on this page."),
    family(SERIES_LIMIT, Kind::Gauge, "The most series of a family there may be on this page."),
    family(OVERFLOW_SPANS, Kind::Counter, "Spans counted under the overflow operation."),
    family(
        DELAY,
        Kind::Histogram,
        "Seconds from the end of a span that shows a slowdown to the verdict.",
    ),
    family(
        REPAIRED_NAMES,
        Kind::Counter,
        "Names that were not UTF-8 or too long, and were mended.",
    ),
    family(
        LIMIT_HITS,
        Kind::Counter,
        "How often a limit has bitten, by the setting that holds it.",
    ),
    family(CONNECTIONS, Kind::Gauge, "Connections there are."),
    family(CONNECTIONS_ACCEPTED, Kind::Counter, "Connections taken."),
    family(CONNECTIONS_REFUSED, Kind::Counter, "Connections not taken, by the limit reached."),
    family(CONNECTIONS_CLOSED, Kind::Counter, "Connections that ended, by how."),
    family(
        RELOAD_SUCCESSFUL,
        Kind::Gauge,
        "1 if the last change of the configuration was taken over.",
    ),
    family(RELOAD_AT, Kind::Gauge, "When the configuration in force was taken over."),
    family(
        REQUESTS_DENIED,
        Kind::Counter,
        "Requests without a valid credential, by what was wrong.",
    ),
    family(
        STREAMS_TIMED_OUT,
        Kind::Counter,
        "HTTP/2 requests ended because they, or the reading of their answer, took too long.",
    ),
    family(SNAPSHOT, Kind::Gauge, "When the learned state was last saved; 0 if never."),
    family(SNAPSHOT_FAILURES, Kind::Counter, "Snapshots of the learned state that were not saved."),
    family(
        SNAPSHOT_RESTORES,
        Kind::Counter,
        "What became of the snapshot looked for at the start, by result; one a process.",
    ),
    family(SNAPSHOT_SIZE, Kind::Gauge, "Bytes of the last snapshot saved."),
    family(SNAPSHOT_DURATION, Kind::Gauge, "Seconds the last snapshot took, by phase."),
    family(BUILD_INFO, Kind::Gauge, "Always 1; the labels say what is running."),
    family(CPU, Kind::Counter, "User and system CPU time of the process."),
    family(RESIDENT, Kind::Gauge, "Resident memory of the process."),
    family(VIRTUAL, Kind::Gauge, "Virtual memory of the process."),
    family(START, Kind::Gauge, "When the process started, since the Unix epoch."),
    family(OPEN_FDS, Kind::Gauge, "Open file descriptors."),
    family(MAX_FDS, Kind::Gauge, "The most file descriptors that may be open."),
];

/// Thirty seconds are promised; the bounds lie closer around that.
const DELAY_BOUNDS: [f64; 11] = [1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0];

/// The recorder behind the process's own series.
pub(super) struct ProcessMetrics {
    recorder: PrometheusRecorder,
    shown: Mutex<Shown>,
}

/// What the latest scrape showed.
#[derive(Default)]
struct Shown {
    ledger: Ledger,
    delays: Vec<f64>,
    memory_parts: BTreeSet<&'static str>,
}

impl ProcessMetrics {
    pub(super) fn new() -> ProcessMetrics {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(DELAY.to_owned()), &DELAY_BOUNDS)
            .expect("there are bounds")
            .build_recorder();
        metrics::with_local_recorder(&recorder, describe);
        ProcessMetrics { recorder, shown: Mutex::default() }
    }

    /// Appends all families to `out`. `delays` are those of the board: one per incident so far.
    ///
    /// Scrapes that overlap show the later ledger: one that overtook another cannot be taken back.
    pub(super) fn write(
        &self,
        ledger: &Ledger,
        delays: &[f64],
        series: &[FamilyCount],
        format: Format,
        out: &mut String,
    ) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if ledger.progress() >= shown.ledger.progress() {
            shown.ledger = ledger.clone();
        }
        let shown = &mut *shown;
        shown.memory_parts.extend(shown.ledger.memory_bytes.keys());
        metrics::with_local_recorder(&self.recorder, || {
            set_counters(&shown.ledger);
            set_gauges(&shown.ledger, &shown.memory_parts);
            set_listeners(&shown.ledger);
            set_series(series);
            set_process(&ProcessStats::read());
            let histogram = histogram!(DELAY);
            let new = unseen(&shown.delays, delays);
            new.iter().for_each(|seconds| histogram.record(*seconds));
            if !new.is_empty() {
                shown.delays = delays.to_vec();
            }
        });
        append(&self.recorder.handle().render(), format, out);
    }
}

fn describe() {
    for family in FAMILIES {
        match family.kind {
            Kind::Counter => describe_counter!(family.name, family.help),
            Kind::Gauge => describe_gauge!(family.name, family.help),
            Kind::Histogram | Kind::Summary => describe_histogram!(family.name, family.help),
        }
    }
}

fn set_counters(ledger: &Ledger) {
    for (transport, spans) in &ledger.accepted {
        counter!(ACCEPTED, "transport" => transport.as_str()).absolute(*spans);
    }
    for (name, counts) in [(REFUSED, &ledger.refused), (FAILED, &ledger.failed_requests)] {
        for ((transport, reason), count) in counts {
            counter!(name, "transport" => transport.as_str(), "reason" => *reason).absolute(*count);
        }
    }
    for (name, counts) in [(DROPPED, &ledger.dropped), (CLOSED, &ledger.traces_closed)] {
        for (reason, count) in counts {
            counter!(name, "reason" => *reason).absolute(*count);
        }
    }
    counter!(ANALYZED).absolute(ledger.analyzed);
    counter!(SKEWED).absolute(ledger.skewed);
    counter!(OVERFLOW_SPANS).absolute(ledger.overflow_spans);
    counter!(REPAIRED_NAMES).absolute(ledger.repaired_names);
    for (limit, hits) in &ledger.limit_hits {
        counter!(LIMIT_HITS, "limit" => *limit).absolute(*hits);
    }
    for (reason, count) in &ledger.snapshot.failures {
        counter!(SNAPSHOT_FAILURES, "reason" => *reason).absolute(*count);
    }
    if let Some(result) = ledger.snapshot.restored {
        counter!(SNAPSHOT_RESTORES, "result" => result).absolute(1);
    }
}

fn set_gauges(ledger: &Ledger, memory_parts: &BTreeSet<&'static str>) {
    gauge!(PENDING_TRACES).set(ledger.pending_traces as f64);
    gauge!(PENDING_SPANS).set(ledger.pending_spans as f64);
    gauge!(MEMORY_LIMIT).set(ledger.memory_limit_bytes as f64);
    for part in memory_parts {
        let bytes = ledger.memory_bytes.get(part).copied().unwrap_or(0);
        gauge!(MEMORY, "part" => *part).set(bytes as f64);
    }
    gauge!(RELOAD_SUCCESSFUL).set(f64::from(u8::from(ledger.reload.successful)));
    gauge!(RELOAD_AT).set(ledger.reload.at.as_secs_f64());
    let snapshot = &ledger.snapshot;
    gauge!(SNAPSHOT).set(snapshot.saved_at.map_or(0.0, |at| at.as_secs_f64()));
    gauge!(SNAPSHOT_SIZE).set(snapshot.bytes as f64);
    for (phase, took) in [("encode", snapshot.encoding), ("write", snapshot.writing)] {
        gauge!(SNAPSHOT_DURATION, "phase" => phase).set(took.as_secs_f64());
    }
    gauge!(
        BUILD_INFO,
        "version" => env!("CARGO_PKG_VERSION"),
        "os" => std::env::consts::OS,
        "arch" => std::env::consts::ARCH
    )
    .set(1.0);
}

fn set_listeners(ledger: &Ledger) {
    for (what, listener) in &ledger.listeners {
        gauge!(CONNECTIONS, "listener" => *what).set(listener.open as f64);
        counter!(CONNECTIONS_ACCEPTED, "listener" => *what).absolute(listener.accepted);
        counter!(STREAMS_TIMED_OUT, "listener" => *what).absolute(listener.streams_timed_out);
        let by_reason = [
            (CONNECTIONS_REFUSED, &listener.refused),
            (CONNECTIONS_CLOSED, &listener.closed),
            (REQUESTS_DENIED, &listener.denied),
        ];
        for (name, counts) in by_reason {
            for (reason, count) in counts {
                counter!(name, "listener" => *what, "reason" => *reason).absolute(*count);
            }
        }
    }
}

fn set_series(series: &[FamilyCount]) {
    for count in series {
        gauge!(SERIES, "family" => count.family).set(count.series as f64);
        gauge!(SERIES_LIMIT, "family" => count.family).set(count.limit as f64);
    }
}

fn set_process(stats: &ProcessStats) {
    let set = |name: &'static str, value: Option<f64>| {
        if let Some(value) = value {
            gauge!(name).set(value);
        }
    };
    // A counter of the facade holds integers, so the CPU's fractional seconds are set as a gauge; they
    // are shown as the counter they are, since the type shown is that of `FAMILIES`.
    set(CPU, stats.cpu_seconds);
    set(START, stats.start_seconds);
    set(RESIDENT, stats.resident_bytes.map(|bytes| bytes as f64));
    set(VIRTUAL, stats.virtual_bytes.map(|bytes| bytes as f64));
    set(OPEN_FDS, stats.open_fds.map(|count| count as f64));
    set(MAX_FDS, stats.max_fds.map(|count| count as f64));
}

/// The delays of `now` that were not among `before`. Both are windows onto one growing list that
/// loses its oldest when it is full, so the new ones follow the longest end of `before` that `now`
/// begins with. A board that was overtaken by a later one has nothing new.
fn unseen<'a>(before: &[f64], now: &'a [f64]) -> &'a [f64] {
    if now.is_empty() || before.windows(now.len()).any(|known| known == now) {
        return &[];
    }
    let known = (0..=before.len())
        .map(|lost| &before[lost..])
        .find(|rest| now.starts_with(rest))
        .map_or(0, <[f64]>::len);
    &now[known..]
}

/// Appends what the exporter rendered: families sorted and all there, headers in `format`.
fn append(rendered: &str, format: Format, out: &mut String) {
    let mut lines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in rendered.lines() {
        if let Some(header) = line.strip_prefix("# TYPE ") {
            current = header.split(' ').next().unwrap_or_default();
        } else if !line.is_empty() && !line.starts_with('#') {
            lines.entry(current).or_default().push(line);
        }
    }
    let mut families: Vec<&Family<'_>> = FAMILIES.iter().collect();
    families.sort_by_key(|family| family.name);
    for family in families {
        family.header(out, format);
        let mut lines = lines.remove(family.name).unwrap_or_default();
        // The buckets of a histogram have an order of their own, which the exporter keeps.
        if family.kind != Kind::Histogram {
            lines.sort_unstable();
        }
        for line in lines {
            push_line(out, line);
        }
    }
    debug_assert!(lines.is_empty(), "families without a description: {:?}", lines.keys());
}

/// Appends a line; a bucket's bound is written as `le="5.0"`, as OpenMetrics has it, in both formats,
/// so that it is one series whichever format a scrape asks for.
fn push_line(out: &mut String, line: &str) {
    const LE: &str = "le=\"";
    let bound = line.find(LE).map(|at| at + LE.len());
    let end = bound.and_then(|start| line[start..].find('"').map(|length| start + length));
    match bound.zip(end) {
        Some((start, end)) if line[start..end].bytes().all(|b| b.is_ascii_digit()) => {
            out.extend([&line[..end], ".0", &line[end..]]);
        }
        _ => out.push_str(line),
    }
    out.push('\n');
}

#[cfg(test)]
#[path = "process_metrics_tests.rs"]
mod tests;
