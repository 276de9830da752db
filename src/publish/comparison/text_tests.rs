//! How a comparison looks: what fits, what is coloured, what is escaped.

use super::*;
use crate::compare::verdict::{Figures, Match, SpanRow, Summary};
use crate::publish::comparison::to_json;

fn row(operation: &str, baseline: (f64, f64), spiked: (f64, f64), match_: Match) -> SpanRow {
    let figures = |(offset_seconds, seconds): (f64, f64)| Figures {
        offset_seconds,
        seconds,
        self_seconds: seconds,
        critical_seconds: seconds,
    };
    SpanRow {
        service: "cart".into(),
        operation: operation.into(),
        depth: 0,
        baseline: figures(baseline),
        spiked: figures(spiked),
        match_,
        outside_normal: false,
        baseline_path: Vec::new(),
        spiked_path: Vec::new(),
    }
}

fn cause(service: &str) -> Cause {
    Cause {
        rank: 1,
        service: service.into(),
        kind: SuspectKind::Service,
        operation: "GET /items".into(),
        share: 0.75,
        excess_seconds: 0.75,
        baseline_self_seconds: 0.25,
        spiked_self_seconds: 1.0,
        reason: Change::Worse(Reason::SelfTime),
        event_gaps: Vec::new(),
        pattern: None,
        where_: None,
        example_trace_ids: Vec::new(),
    }
}

fn comparison(verdict: Verdict, service: &str, spans: Vec<SpanRow>) -> Comparison {
    let summary = |duration_seconds| Summary { traces: 1, duration_seconds, ..Summary::default() };
    Comparison {
        verdict,
        baseline: summary(1.0),
        spiked: summary(2.0),
        delta_seconds: 1.0,
        unexplained_seconds: 0.25,
        root_causes: vec![cause(service)],
        spans,
        entries: None,
        warnings: vec!["w ".repeat(100)],
        next_steps: Vec::new(),
    }
}

fn rows() -> Vec<SpanRow> {
    vec![
        row("GET /items", (0.0, 1.0), (0.0, 2.0), Match::Matched),
        row("new", (0.0, 0.0), (1.0, 1.0), Match::Added),
        row("gone", (0.5, 0.5), (0.0, 0.0), Match::Removed),
    ]
}

fn text(comparison: &Comparison, width: usize, colour: bool) -> String {
    ComparisonText { comparison, width, colour }.to_string()
}

#[test]
fn all_but_the_verdict_fits_the_width() {
    let comparison = comparison(Verdict::RootCause, "cart", rows());
    for width in [40, 60, 133] {
        let text = text(&comparison, width, false);
        assert!(text.starts_with("ROOT CAUSE: service `cart`"), "{text}");
        let longest = text.lines().skip(1).map(|line| line.chars().count()).max();
        assert!(longest <= Some(width), "{width}: {text}");
    }
}

#[test]
fn the_second_half_of_a_span_twice_as_long_is_excess() {
    let text = text(&comparison(Verdict::RootCause, "cart", rows()), 80, false);
    let bars: Vec<&str> = text.lines().filter_map(|line| line.split('|').nth(1)).collect();
    let count = |bar: &str, c| bar.chars().filter(|found| *found == c).count();
    let columns = bars[0].chars().count();
    assert_eq!((count(bars[0], '='), count(bars[0], '#')), (columns.div_ceil(2), 0));
    assert_eq!(count(bars[1], '=') + count(bars[1], '#'), columns);
    assert!(count(bars[1], '=').abs_diff(count(bars[1], '#')) <= 1, "{}", bars[1]);
    // One lane each for what is on one side only: added is excess, removed is not.
    assert_eq!(bars.len(), 4);
    assert!(count(bars[2], '#') > 0 && count(bars[2], '=') == 0);
    assert!(count(bars[3], '=') > 0 && count(bars[3], '#') == 0);
}

#[test]
fn colours_come_only_when_asked_for() {
    let comparison = comparison(Verdict::RootCause, "cart", rows());
    assert!(!text(&comparison, 80, false).contains('\u{1b}'));
    let coloured = text(&comparison, 80, true);
    assert!(coloured.starts_with("\u{1b}[1;31mROOT CAUSE"), "{coloured}");
    let mut plain = coloured;
    for code in ["\u{1b}[1;31m", "\u{1b}[31m", "\u{1b}[2m", "\u{1b}[0m"] {
        plain = plain.replace(code, "");
    }
    assert_eq!(plain, text(&comparison, 80, false));
}

#[test]
fn hostile_names_cannot_steer_a_terminal_but_reach_programs_unchanged() {
    let hostile = "a\nb\u{1b}[2J\u{202e}";
    let mut comparison = comparison(Verdict::RootCause, hostile, rows());
    comparison.warnings = vec![format!("`{hostile}` overlaps")];
    let text = text(&comparison, 80, false);
    assert!(!text.chars().any(|c| c != '\n' && c.is_control() || c == '\u{202e}'), "{text:?}");
    let json: serde_json::Value = serde_json::from_str(&to_json(&comparison)).unwrap();
    assert_eq!(json["root_causes"][0]["service"], hostile);
}

#[test]
fn each_verdict_has_words_of_its_own() {
    let said = |verdict| {
        let text = text(&comparison(verdict, "cart", rows()), 80, false);
        text.split([' ', ':']).next().unwrap().to_owned()
    };
    assert_eq!(said(Verdict::RootCause), "ROOT");
    assert_eq!(said(Verdict::Faster), "FASTER");
    assert_eq!(said(Verdict::NoDifference), "NO");
    assert_eq!(said(Verdict::Inconclusive), "INCONCLUSIVE");
}

#[test]
fn a_trace_of_thousands_of_spans_shows_those_that_differ() {
    let mut spans = vec![row("small", (0.0, 0.1), (0.0, 0.1), Match::Matched); 1_000];
    spans[700] = row("GET /items", (0.0, 0.1), (0.0, 1.1), Match::Matched);
    let text = text(&comparison(Verdict::RootCause, "cart", spans), 80, false);
    assert!(text.contains("GET /items (cart)") && text.contains("and 960 spans more"), "{text}");
    assert!(text.lines().count() < 120);
}
