//! What the process says of itself is read back by an independent reader.

use super::*;
use crate::model::Nanos;
use crate::publish::ledger::{ListenerLedger, ReloadFigures, SnapshotFigures, Transport};
use crate::publish::testing::{Document, after, read};

fn ledger() -> Ledger {
    Ledger {
        skewed: 4,
        accepted: [(Transport::Grpc, 70), (Transport::Http, 30)].into(),
        refused: [((Transport::Grpc, "invalid_span_id"), 3)].into(),
        failed_requests: [((Transport::Http, "too_large"), 2)].into(),
        analyzed: 80,
        dropped: [("late", 4), ("duplicate", 6)].into(),
        traces_closed: [("root", 9), ("idle", 1)].into(),
        pending_traces: 5,
        pending_spans: 10,
        memory_bytes: [("traces", 4096), ("baselines", 512)].into(),
        memory_limit_bytes: 1 << 29,
        overflow_spans: 8,
        repaired_names: 6,
        limit_hits: [("where.max_attributes", 5)].into(),
        snapshot: SnapshotFigures {
            saved_at: Some(after(0)),
            bytes: 4321,
            encoding: Nanos::from_millis(20),
            writing: Nanos::from_millis(500),
            failures: [("io", 2)].into(),
            restored: Some("restored"),
        },
        reload: ReloadFigures { successful: true, at: after(3) },
        listeners: [("admin", listener())].into(),
        kafka: None,
    }
}

fn listener() -> ListenerLedger {
    ListenerLedger {
        open: 2,
        accepted: 11,
        refused: [("per_peer", 4)].into(),
        closed: [("idle", 9)].into(),
        denied: [("wrong", 7)].into(),
        streams_timed_out: 1,
    }
}

fn render(metrics: &ProcessMetrics, ledger: &Ledger, delays: &[f64], format: Format) -> Document {
    let counts = [FamilyCount { family: "some_family", series: 3, limit: 10 }];
    let mut out = String::new();
    metrics.write(ledger, delays, &counts, format, &mut out);
    read(&out)
}

fn assert_law(read: &Document) {
    let accepted = read.sum(ACCEPTED);
    let out = read.sum(ANALYZED) + read.sum(DROPPED) + read.sum(PENDING_SPANS);
    assert_eq!(accepted, out);
}

#[test]
fn the_page_shows_the_ledger() {
    for format in [Format::Text, Format::OpenMetrics] {
        let read = render(&ProcessMetrics::new(), &ledger(), &[], format);
        assert_law(&read);
        assert_eq!(read.value(ACCEPTED, &[("transport", "grpc")]), 70.0);
        let refused = [("transport", "grpc"), ("reason", "invalid_span_id")];
        assert_eq!(read.value(REFUSED, &refused), 3.0);
        assert_eq!(read.value(FAILED, &[("transport", "http"), ("reason", "too_large")]), 2.0);
        assert_eq!(read.value(DROPPED, &[("reason", "late")]), 4.0);
        assert_eq!(read.value(CLOSED, &[("reason", "root")]), 9.0);
        assert_eq!(read.value(PENDING_TRACES, &[]), 5.0);
        assert_eq!(read.value(MEMORY, &[("part", "traces")]), 4096.0);
        assert_eq!(read.value(MEMORY_LIMIT, &[]), 536_870_912.0);
        assert_eq!(read.value(OVERFLOW_SPANS, &[]), 8.0);
        assert_eq!(read.value(SNAPSHOT, &[]), 1_790_000_400.0);
        assert_eq!(read.value(REPAIRED_NAMES, &[]), 6.0);
        assert_eq!(read.value(LIMIT_HITS, &[("limit", "where.max_attributes")]), 5.0);
        let admin = ("listener", "admin");
        assert_eq!(read.value(CONNECTIONS, &[admin]), 2.0);
        assert_eq!(read.value(CONNECTIONS_ACCEPTED, &[admin]), 11.0);
        assert_eq!(read.value(CONNECTIONS_REFUSED, &[admin, ("reason", "per_peer")]), 4.0);
        assert_eq!(read.value(RELOAD_SUCCESSFUL, &[]), 1.0);
        assert_eq!(read.value(RELOAD_AT, &[]), after(3).as_secs_f64());
        assert_eq!(read.value(REQUESTS_DENIED, &[admin, ("reason", "wrong")]), 7.0);
        assert_eq!(read.value(CONNECTIONS_CLOSED, &[admin, ("reason", "idle")]), 9.0);
        assert_eq!(read.value(STREAMS_TIMED_OUT, &[admin]), 1.0);
        assert_eq!(read.value(SNAPSHOT_SIZE, &[]), 4321.0);
        assert_eq!(read.value(SNAPSHOT_DURATION, &[("phase", "encode")]), 0.02);
        assert_eq!(read.value(SNAPSHOT_DURATION, &[("phase", "write")]), 0.5);
        assert_eq!(read.value(SNAPSHOT_FAILURES, &[("reason", "io")]), 2.0);
        assert_eq!(read.value(SNAPSHOT_RESTORES, &[("result", "restored")]), 1.0);
        assert_eq!(read.value(SERIES, &[("family", "some_family")]), 3.0);
        assert_eq!(read.value(SERIES_LIMIT, &[("family", "some_family")]), 10.0);
        assert_eq!(read.value(BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    }
}

#[test]
fn an_idle_process_has_every_family_and_zeros() {
    let read = render(&ProcessMetrics::new(), &Ledger::default(), &[], Format::Text);
    assert_eq!(read.types.len(), FAMILIES.len());
    for family in FAMILIES {
        assert!(read.types.contains_key(family.name), "{}", family.name);
    }
    for transport in ["grpc", "http"] {
        assert_eq!(read.value(ACCEPTED, &[("transport", transport)]), 0.0);
    }
    for name in [ANALYZED, PENDING_SPANS, PENDING_TRACES, OVERFLOW_SPANS, SNAPSHOT] {
        assert_eq!(read.value(name, &[]), 0.0, "{name}");
    }
    assert_eq!(read.value(&format!("{DELAY}_count"), &[]), 0.0);
}

#[test]
fn open_metrics_names_counters_without_their_suffix() {
    let read = render(&ProcessMetrics::new(), &ledger(), &[], Format::OpenMetrics);
    assert_eq!(read.types["laghound_receiver_accepted_spans"], "counter");
    assert_eq!(read.types["process_cpu_seconds"], "counter");
    assert_eq!(read.types[PENDING_SPANS], "gauge");
    assert_eq!(read.types[DELAY], "histogram");
}

#[test]
fn delays_are_counted_once_though_the_board_shows_them_at_every_scrape() {
    let metrics = ProcessMetrics::new();
    let bucket = format!("{DELAY}_bucket");
    let count = |delays: &[f64]| {
        let read = render(&metrics, &ledger(), delays, Format::Text);
        let below = |le| read.value(&bucket, &[("le", le)]);
        assert_eq!(below("+Inf"), read.value(&format!("{DELAY}_count"), &[]));
        (below("15.0"), below("30.0"), below("+Inf"), read.value(&format!("{DELAY}_sum"), &[]))
    };
    assert_eq!(count(&[]), (0.0, 0.0, 0.0, 0.0));
    assert_eq!(count(&[12.0, 40.0]), (1.0, 1.0, 2.0, 52.0));
    assert_eq!(count(&[12.0, 40.0]), (1.0, 1.0, 2.0, 52.0));
    // A board older than the one shown last.
    assert_eq!(count(&[12.0]), (1.0, 1.0, 2.0, 52.0));
    assert_eq!(count(&[12.0, 40.0]), (1.0, 1.0, 2.0, 52.0));
    // The board forgot the oldest and has a new one.
    assert_eq!(count(&[40.0, 20.0]), (1.0, 2.0, 3.0, 72.0));
    assert_eq!(count(&[7.0]), (2.0, 3.0, 4.0, 79.0));
}

#[test]
fn buckets_are_in_the_order_of_their_bounds() {
    let read = render(&ProcessMetrics::new(), &ledger(), &[], Format::OpenMetrics);
    let bounds: Vec<_> =
        read.of(&format!("{DELAY}_bucket")).iter().map(|s| s.label("le").to_owned()).collect();
    let expected = "1.0 2.5 5.0 10.0 15.0 20.0 30.0 45.0 60.0 120.0 300.0 +Inf";
    assert_eq!(bounds.join(" "), expected);
}

#[test]
fn a_scrape_that_was_overtaken_shows_the_later_numbers() {
    let metrics = ProcessMetrics::new();
    let mut later = ledger();
    later.accepted.insert(Transport::Grpc, 170);
    later.analyzed = 185;
    later.pending_spans = 5;
    assert_law(&render(&metrics, &later, &[], Format::Text));
    let overtaken = render(&metrics, &ledger(), &[], Format::OpenMetrics);
    assert_law(&overtaken);
    assert_eq!(overtaken.value(ANALYZED, &[]), 185.0);
}

#[test]
fn memory_that_a_part_gave_back_is_zero_not_stale() {
    let metrics = ProcessMetrics::new();
    render(&metrics, &ledger(), &[], Format::Text);
    let mut freed = ledger();
    freed.memory_bytes.remove("traces");
    let read = render(&metrics, &freed, &[], Format::Text);
    assert_eq!(read.value(MEMORY, &[("part", "traces")]), 0.0);
    assert_eq!(read.value(MEMORY, &[("part", "baselines")]), 512.0);
}
