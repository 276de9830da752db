//! The verdict series of `/metrics`, written from the engine's [`Board`].
//!
//! They come and go with operations and incidents, carry names from strangers and, in OpenMetrics,
//! exemplars; a metrics registry is made for none of these, so they are written here, into one buffer,
//! sorted, from what the board says at one moment. The process's own series are not made here, and
//! neither is the end of the document.

use std::borrow::Cow;

use super::fold::{Row, fold};
use super::impact;
use super::suspects::{Combined, combine};
use super::text_format::{Family, Format, Kind, push_exemplar, push_label, push_number, put};
use crate::engine::verdict::{
    Board, EntryExcessRow, EntryImpact, ExcessRow, Exemplar, Incident, Operation, QUANTILES,
    Quantiles, Where,
};
use crate::model::{OVERFLOW, SpanKind};

/// How many series each family may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    operations: usize,
    excess: usize,
    entries: usize,
    suspects: usize,
}

impl Limits {
    /// `publish.max_series`: with it ten thousand operations have all their series.
    pub const DEFAULT_MAX_SERIES: usize = 100_000;

    /// Divides `max_series` among the families. An operation has nine series in five families, which
    /// get nine tenths; a twentieth goes to excess by suspect, a fortieth to excess by entry. What is
    /// there only during an incident shares two hundredths: at most eight series for each suspect or
    /// entry, and the one that is always there.
    pub fn new(max_series: usize) -> Limits {
        Limits {
            operations: (max_series / 10).max(Operation::WIDTH),
            excess: (max_series / 20).max(ExcessRow::WIDTH),
            entries: (max_series / 40).max(EntryExcessRow::WIDTH),
            suspects: (max_series / 500).max(1),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(Limits::DEFAULT_MAX_SERIES)
    }
}

/// How many series of a family were written, and how many there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FamilyCount {
    /// The name of the series.
    pub family: &'static str,
    /// Series written.
    pub series: usize,
    /// The most that would be written.
    pub limit: usize,
}

type VerdictFamily = Family<'static>;

const ENTRY_BASELINE: VerdictFamily = Family {
    name: "laghound_entry_baseline_seconds",
    kind: Kind::Gauge,
    help: "Mean seconds of a request entering here, learned; absent unless it is slower now.",
};
const ENTRY_RECENT: VerdictFamily = Family {
    name: "laghound_entry_recent_seconds",
    kind: Kind::Gauge,
    help: "Mean seconds of a request entering here during the incident; absent unless slower.",
};
const INCIDENT_START: VerdictFamily = Family {
    name: "laghound_incident_start_timestamp_seconds",
    kind: Kind::Gauge,
    help: "When the slowdown of an open incident began, as far as the data tells.",
};
const LEARNING: VerdictFamily = Family {
    name: "laghound_learning",
    kind: Kind::Gauge,
    help: "1 while nothing has been learned and no verdict is possible, else 0.",
};
const ENTRY_EXCESS: VerdictFamily = Family {
    name: "laghound_entry_excess_seconds_total",
    kind: Kind::Counter,
    help: "Seconds by which requests entering here took longer than expected.",
};
const EXCESS: VerdictFamily = Family {
    name: "laghound_excess_seconds_total",
    kind: Kind::Counter,
    help: "Seconds of critical-path time above expectation put on this suspect; may be summed.",
};
const FLAGGED: VerdictFamily = Family {
    name: "laghound_operation_flagged_spans_total",
    kind: Kind::Counter,
    help: "Spans whose self-time exceeded the baseline.",
};
const SPANS: VerdictFamily =
    Family { name: "laghound_operation_spans_total", kind: Kind::Counter, help: "Spans judged." };
const BASELINE: VerdictFamily = Family {
    name: "laghound_self_time_baseline_seconds",
    kind: Kind::Summary,
    help: "Learned quantiles of the self-time of the operation's spans.",
};
const RECENT: VerdictFamily = Family {
    name: "laghound_self_time_recent_seconds",
    kind: Kind::Summary,
    help: "Quantiles of the self-time of the operation's spans over the recent window.",
};
const THRESHOLD: VerdictFamily = Family {
    name: "laghound_self_time_threshold_seconds",
    kind: Kind::Gauge,
    help: "Self-time above which a span is flagged; absent while learning.",
};
const SUSPECT_INFO: VerdictFamily = Family {
    name: "laghound_suspect_info",
    kind: Kind::Gauge,
    help: "Why this is suspected: the operation that carries most, reason, pattern, and where.",
};
const SUSPECT_SCORE: VerdictFamily = Family {
    name: "laghound_suspect_score",
    kind: Kind::Gauge,
    help: "Share of the current excess latency put on this suspect, 0 to 1; absent if not suspected.",
};
const SUSPECT_TRACE_INFO: VerdictFamily = Family {
    name: "laghound_suspect_trace_info",
    kind: Kind::Gauge,
    help: "Traces that show why this is suspected, the worst; absent if not suspected.",
};

/// Traces shown of one suspect: as many as the engine keeps.
const TRACES: usize = 3;

/// Writes all verdict series into `out` and says how many there are of each family.
pub fn write(board: &Board, limits: &Limits, format: Format, out: &mut String) -> Vec<FamilyCount> {
    let operations = Labelled::new(fold(&board.operations, limits.operations), operation_labels);
    let excess = Labelled::new(fold(&board.excess, limits.excess), excess_labels);
    let entries = Labelled::new(fold(&board.entry_excess, limits.entries), entry_labels);
    // A line is about 130 bytes with names of ordinary length; too little only costs a copy.
    out.reserve((operations.rows.len() * 9 + excess.rows.len() + entries.rows.len()) * 130);
    let slower = impact::entries(&board.open, limits.suspects);
    let mut writer = Writer { out, format, counts: Vec::with_capacity(14) };

    writer.entries(&ENTRY_BASELINE, &slower, limits.suspects, |entry| entry.baseline_seconds);
    writer.family(&ENTRY_EXCESS, limits.entries, |series| {
        entries.each(|row, labels| series.counter(labels, row.seconds, None));
    });
    writer.entries(&ENTRY_RECENT, &slower, limits.suspects, |entry| entry.recent_seconds);
    writer.family(&EXCESS, limits.excess, |series| {
        excess.each(|row, labels| series.counter(labels, row.seconds, row.exemplar.as_ref()));
    });
    writer.incidents(&board.open, limits.suspects);
    writer.family(&LEARNING, 1, |series| series.gauge("", "", f64::from(board.learning)));
    writer.family(&FLAGGED, limits.operations, |series| {
        operations.each(|row, labels| series.count(labels, row.flagged, row.exemplar.as_ref()));
    });
    writer.family(&SPANS, limits.operations, |series| {
        operations.each(|row, labels| series.count(labels, row.spans, None));
    });
    writer.family(&BASELINE, limits.operations * QUANTILES.len(), |series| {
        operations.each_named(|row, labels| series.quantiles(labels, row.baseline.as_ref()));
    });
    writer.family(&RECENT, limits.operations * QUANTILES.len(), |series| {
        operations.each_named(|row, labels| series.quantiles(labels, row.recent.as_ref()));
    });
    writer.family(&THRESHOLD, limits.operations, |series| {
        operations.each_named(|row, labels| {
            row.threshold.iter().for_each(|seconds| series.gauge(labels, "", *seconds));
        });
    });
    writer.suspects(&combine(&board.open, limits.suspects), limits.suspects);
    writer.counts
}

struct Writer<'a> {
    out: &'a mut String,
    format: Format,
    counts: Vec<FamilyCount>,
}

impl Writer<'_> {
    fn family(
        &mut self,
        family: &VerdictFamily,
        limit: usize,
        write: impl FnOnce(&mut Series<'_>),
    ) {
        family.header(self.out, self.format);
        let mut series =
            Series { out: self.out, format: self.format, name: family.name, written: 0 };
        write(&mut series);
        let series = series.written;
        self.counts.push(FamilyCount { family: family.name, series, limit });
    }

    fn entries(
        &mut self,
        family: &VerdictFamily,
        entries: &[&EntryImpact],
        limit: usize,
        seconds: fn(&EntryImpact) -> f64,
    ) {
        let mut labels = String::new();
        self.family(family, limit, |series| {
            for entry in entries {
                labels.clear();
                push_label(&mut labels, "service_name", &entry.service);
                span_labels(&mut labels, &entry.operation, entry.span_kind);
                series.gauge(&labels, "", seconds(entry));
            }
        });
    }

    fn incidents(&mut self, open: &[Incident], limit: usize) {
        self.family(&INCIDENT_START, limit, |series| {
            for incident in open.iter().take(limit) {
                let labels = format!("incident=\"{}\"", incident.id);
                series.gauge(&labels, "", incident.start.as_secs_f64());
            }
        });
    }

    fn suspects(&mut self, suspects: &[Combined<'_>], limit: usize) {
        let mut labels = String::new();
        self.family(&SUSPECT_INFO, limit, |series| {
            for suspect in suspects {
                labels.clear();
                info_labels(&mut labels, suspect);
                series.gauge(&labels, "", 1.0);
            }
        });
        self.family(&SUSPECT_SCORE, limit, |series| {
            for suspect in suspects {
                labels.clear();
                score_labels(&mut labels, suspect);
                series.gauge(&labels, "", suspect.score);
            }
        });
        self.family(&SUSPECT_TRACE_INFO, limit * TRACES, |series| {
            for suspect in suspects {
                for trace in suspect.main.example_trace_ids.iter().take(TRACES) {
                    labels.clear();
                    score_labels(&mut labels, suspect);
                    push_label(&mut labels, ",trace_id", &trace.to_string());
                    series.gauge(&labels, "", 1.0);
                }
            }
        });
    }
}

/// Writes the lines of one family. A number that is none, or a counter below zero, is not written.
struct Series<'a> {
    out: &'a mut String,
    format: Format,
    name: &'static str,
    written: usize,
}

impl Series<'_> {
    fn start(&mut self, labels: &str, more: &str) {
        self.written += 1;
        self.out.push_str(self.name);
        if !labels.is_empty() {
            for part in ["{", labels, more, "}"] {
                self.out.push_str(part);
            }
        }
        self.out.push(' ');
    }

    fn end(&mut self, exemplar: Option<&Exemplar>) {
        if let (Some(exemplar), Format::OpenMetrics) = (exemplar, self.format) {
            push_exemplar(self.out, exemplar);
        }
        self.out.push('\n');
    }

    fn count(&mut self, labels: &str, value: u64, exemplar: Option<&Exemplar>) {
        self.start(labels, "");
        put(self.out, format_args!("{value}"));
        self.end(exemplar);
    }

    fn counter(&mut self, labels: &str, value: f64, exemplar: Option<&Exemplar>) {
        if value.is_finite() && value >= 0.0 {
            self.start(labels, "");
            push_number(self.out, value);
            self.end(exemplar);
        }
    }

    fn gauge(&mut self, labels: &str, more: &str, value: f64) {
        if value.is_finite() {
            self.start(labels, more);
            push_number(self.out, value);
            self.end(None);
        }
    }

    fn quantiles(&mut self, labels: &str, values: Option<&Quantiles>) {
        /// In the order of [`QUANTILES`]; a test compares them.
        const LABELS: [&str; 3] = [",quantile=\"0.5\"", ",quantile=\"0.9\"", ",quantile=\"0.99\""];
        for (label, value) in LABELS.iter().zip(values.into_iter().flatten()) {
            self.gauge(labels, label, *value);
        }
    }
}

/// Rows with their labels, escaped once for all families they appear in.
struct Labelled<'a, R: Row> {
    rows: Vec<Cow<'a, R>>,
    labels: String,
    ends: Vec<usize>,
}

impl<'a, R: Row> Labelled<'a, R> {
    fn new(rows: Vec<Cow<'a, R>>, write: fn(&mut String, &R)) -> Labelled<'a, R> {
        let mut labels = String::with_capacity(rows.len() * 80);
        let mut ends = Vec::with_capacity(rows.len());
        for row in &rows {
            write(&mut labels, row);
            if row.is_overflow() {
                labels.push_str(",otel_metric_overflow=\"true\"");
            }
            ends.push(labels.len());
        }
        Labelled { rows, labels, ends }
    }

    fn each(&self, mut visit: impl FnMut(&R, &str)) {
        let mut start = 0;
        for (row, end) in self.rows.iter().zip(&self.ends) {
            visit(row, &self.labels[start..*end]);
            start = *end;
        }
    }

    /// Without the overflow: what is normal for a mix of unknown operations means nothing.
    fn each_named(&self, mut visit: impl FnMut(&R, &str)) {
        self.each(|row, labels| {
            if !row.is_overflow() {
                visit(row, labels);
            }
        });
    }
}

fn span_labels(out: &mut String, operation: &str, kind: SpanKind) {
    push_label(out, ",span_name", operation);
    push_label(out, ",span_kind", kind.as_str());
}

fn operation_labels(out: &mut String, row: &Operation) {
    push_label(out, "service_name", &row.service);
    span_labels(out, &row.name, row.kind);
}

fn entry_labels(out: &mut String, row: &EntryExcessRow) {
    push_label(out, "service_name", &row.service);
    span_labels(out, &row.operation, row.span_kind);
}

fn excess_labels(out: &mut String, row: &ExcessRow) {
    push_label(out, "service_name", &row.service);
    push_label(out, ",suspect_kind", row.kind.as_str());
    span_labels(out, &row.operation, row.span_kind);
    push_label(out, ",reason", row.reason.as_str());
}

fn score_labels(out: &mut String, suspect: &Combined<'_>) {
    push_label(out, "service_name", &suspect.main.service);
    push_label(out, ",suspect_kind", suspect.main.kind.as_str());
    if &*suspect.main.service == OVERFLOW {
        out.push_str(",otel_metric_overflow=\"true\"");
    }
}

fn info_labels(out: &mut String, suspect: &Combined<'_>) {
    let main = suspect.main;
    push_label(out, "service_name", &main.service);
    push_label(out, ",suspect_kind", main.kind.as_str());
    push_label(out, ",span_name", &main.operation);
    push_label(out, ",reason", main.reason.as_str());
    push_label(out, ",pattern", main.pattern.as_str());
    push_label(out, ",where", &main.where_.as_ref().map_or_else(String::new, where_text));
    if &*main.service == OVERFLOW || &*main.operation == OVERFLOW {
        out.push_str(",otel_metric_overflow=\"true\"");
    }
}

/// `k8s.pod.name=cart-2`.
fn where_text(place: &Where) -> String {
    format!("{}={}", place.attribute, place.value)
}

#[cfg(test)]
#[path = "exposition_tests.rs"]
mod tests;
