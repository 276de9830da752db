//! `compare` from the outside: made-up traces of which the right answer is known by arithmetic.
//!
//! Times are microseconds. What the program prints is tested in `program`, what holds for all traces in
//! `laws`.

mod laws;
mod program;
mod sets;
mod trace;

use laghound::compare::verdict::{Comparison, Match, Verdict};
use laghound::engine::evidence::Stretch;
use trace::{Draft, one_against_one, span};

/// Who is named first, with what: (service, reason, microseconds).
fn first(comparison: &Comparison) -> (&str, &str, f64) {
    let first = comparison.first().unwrap_or_else(|| panic!("nobody is named: {comparison:#?}"));
    (&first.service, first.reason.as_str(), (first.excess_seconds * 1e6).round())
}

fn says(comparison: &Comparison, what: &str) -> bool {
    comparison.warnings.iter().chain(&comparison.next_steps).any(|said| said.contains(what))
}

fn assert_adds_up(comparison: &Comparison) {
    let causes: f64 = comparison.root_causes.iter().map(|cause| cause.excess_seconds).sum();
    let sum = causes + comparison.unexplained_seconds;
    assert!((sum - comparison.delta_seconds).abs() < 1e-9, "{comparison:#?}");
    // Of sets there is no path to draw: rows are means.
    let is_pair = comparison.baseline.trace_id.is_some() && comparison.spiked.trace_id.is_some();
    let rows = if is_pair { comparison.spans.as_slice() } else { &[] };
    for row in rows {
        let length = |path: &[Stretch]| -> f64 {
            path.iter().map(|stretch| stretch.to_seconds - stretch.from_seconds).sum()
        };
        let before = length(&row.baseline_path) - row.baseline.critical_seconds;
        let after = length(&row.spiked_path) - row.spiked.critical_seconds;
        assert!(before.abs() < 1e-9 && after.abs() < 1e-9, "{row:#?}");
    }
}

/// web -> pre-processor -> inference server.
fn inference(own_time: i64) -> Vec<Draft> {
    let post = 422_967;
    vec![
        span(1, 0, "Web-Server", "inference-span", 0, own_time + post + 9_188),
        span(2, 1, "Pre-Processor", "preprocess-request", 4_000, own_time + post)
            .event(4_000 + own_time - 5_000, "successful_response"),
        span(3, 2, "Inference-Server", "inference-service-post", 4_000 + own_time, post),
    ]
}

#[test]
fn the_longest_span_is_the_root_and_not_the_cause() {
    let comparison = one_against_one(&inference(5_400), &inference(775_229));
    assert_eq!(comparison.verdict, Verdict::RootCause);
    assert_eq!(first(&comparison), ("Pre-Processor", "self_time", 769_829.0));
    assert_eq!(comparison.spiked.duration_seconds, 1.207_384);
    let cause = &comparison.root_causes[0];
    assert_eq!((&*cause.operation, cause.spiked_self_seconds), ("preprocess-request", 0.775_229));
    let gap = &cause.event_gaps[0];
    assert_eq!((&*gap.from, &*gap.to), ("(span start)", "successful_response"));
    assert_eq!((gap.baseline_seconds, gap.spiked_seconds), (0.000_4, 0.770_229));
    assert_adds_up(&comparison);
}

#[test]
fn the_same_trace_twice_is_no_difference_and_names_nobody() {
    let comparison = one_against_one(&inference(5_400), &inference(5_400));
    assert_eq!(comparison.verdict, Verdict::NoDifference);
    assert!(comparison.root_causes.is_empty() && comparison.next_steps.is_empty());
    assert_eq!((comparison.delta_seconds, comparison.unexplained_seconds), (0.0, 0.0));
}

#[test]
fn durations_within_a_twentieth_and_half_a_millisecond_are_no_difference() {
    let verdict = |own| one_against_one(&inference(5_400), &inference(own)).verdict;
    // 437,555 us: 5 % and 500 us are 22,377 us.
    assert_eq!(verdict(5_400 + 22_377), Verdict::NoDifference);
    assert_eq!(verdict(5_400 + 22_378), Verdict::RootCause);
}

#[test]
fn the_gap_between_two_events_is_named() {
    let post = |inference: i64| {
        vec![
            span(1, 0, "web", "GET /", 0, 200_000 + inference),
            span(2, 1, "Inference-Server", "inference-service-post", 100_000, 50_000 + inference)
                .event(110_000, "Starting inference")
                .event(110_000 + inference, "Inference completed"),
        ]
    };
    let comparison = one_against_one(&post(100_000), &post(880_000));
    assert_eq!(first(&comparison), ("Inference-Server", "self_time", 780_000.0));
    let [gap] = &comparison.root_causes[0].event_gaps[..] else { panic!("{comparison:#?}") };
    assert_eq!((&*gap.from, &*gap.to), ("Starting inference", "Inference completed"));
    assert_eq!((gap.baseline_seconds, gap.spiked_seconds), (0.1, 0.88));
    assert!(says(&comparison, "between `Starting inference` and `Inference completed`"));
}

#[test]
fn of_two_spans_side_by_side_only_the_critical_part_counts() {
    let request = |a: i64| {
        vec![
            span(1, 0, "shop", "GET /", 0, a.max(100_000) + 20_000).server(),
            span(2, 1, "A", "a", 10_000, a).server(),
            span(3, 1, "B", "b", 10_000, 100_000).server(),
        ]
    };
    // A takes 100 ms more, of which 50 ms lie behind B.
    let comparison = one_against_one(&request(50_000), &request(150_000));
    assert_eq!(first(&comparison), ("A", "self_time", 50_000.0));
    assert_eq!(comparison.root_causes.len(), 1, "B got no faster: {comparison:#?}");
    assert!(says(&comparison, "two spans overlap"), "{comparison:#?}");
    assert!(says(&comparison, "100 ms (50.00 ms in the baseline)"), "{comparison:#?}");
    assert_adds_up(&comparison);
}

#[test]
fn events_that_are_no_errors_accuse_nobody() {
    let quiet = inference(5_400);
    let mut chatty = inference(5_400);
    chatty[2] = chatty[2].clone().event(20_000, "log").event(30_000, "retry later");
    let comparison = one_against_one(&quiet, &chatty);
    assert_eq!(comparison.verdict, Verdict::NoDifference);
    assert!(comparison.warnings.is_empty());
}

/// Ten services one below the other, each with a call of its own; the ninth is slow by `slow`.
fn chain(slow: i64) -> Vec<Draft> {
    let mut spans = Vec::new();
    let depth = 10;
    for level in 0..depth {
        let (start, end) = (level * 1_000, 300_000 - level * 1_000);
        let extra = if level < 9 { slow } else { 0 };
        let (id, service) = (2 * level as u64 + 1, format!("service-{level}"));
        let parent = if level == 0 { 0 } else { id - 2 };
        spans.push(span(id, parent, &service, "handle", start, end - start + extra));
        spans.push(span(id + 1, id, &service, "prepare", start + 100, 500));
    }
    spans
}

#[test]
fn with_missing_spans_the_right_one_is_named_or_nobody() {
    let (baseline, whole) = (chain(0), chain(400_000));
    assert_eq!(first(&one_against_one(&baseline, &whole)).0, "service-8");
    // Each way of losing every third span, and the root.
    for lost in 0..3 {
        let kept: Vec<Draft> = whole
            .iter()
            .enumerate()
            .filter(|(at, _)| at % 3 != lost)
            .map(|(_, span)| span.clone())
            .collect();
        let comparison = one_against_one(&baseline, &kept);
        assert!(says(&comparison, "missing"), "{comparison:#?}");
        if let Some(first) = comparison.first() {
            assert_eq!(&*first.service, "service-8", "{lost}: {comparison:#?}");
        } else {
            assert_eq!(comparison.verdict, Verdict::Inconclusive);
        }
        assert_adds_up(&comparison);
    }
}

#[test]
fn requests_of_different_entries_are_inconclusive_and_it_says_why() {
    let other = vec![span(1, 0, "Web-Server", "login", 0, 2_000_000)];
    let comparison = one_against_one(&inference(5_400), &other);
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert!(comparison.root_causes.is_empty());
    assert!(says(&comparison, "different entry operations"), "{:?}", comparison.warnings);
    assert_adds_up(&comparison);
}

/// shop calls pay; the clock of pay is off.
fn payment(call: i64, work: i64, clock: i64) -> Vec<Draft> {
    vec![
        span(1, 0, "shop", "GET /", 0, call + 20_000).server(),
        span(2, 1, "shop", "call pay", 10_000, call).client(),
        span(3, 2, "pay", "charge", 12_000 + clock, work).server(),
    ]
}

#[test]
fn clocks_200_ms_apart_are_corrected_and_said() {
    let baseline = payment(100_000, 96_000, 200_000);
    let comparison = one_against_one(&baseline, &payment(400_000, 396_000, -200_000));
    assert_eq!(first(&comparison), ("pay", "self_time", 300_000.0));
    assert!(says(&comparison, "baseline: clock skew corrected on `pay`: 200 ms"));
    assert!(says(&comparison, "spiked: clock skew corrected on `pay`: 200 ms"));
}

#[test]
fn what_a_server_does_after_its_caller_gave_up_is_not_counted() {
    let baseline = payment(100_000, 96_000, 0);
    let comparison = one_against_one(&baseline, &payment(1_000_000, 3_000_000, 0));
    // The caller waited 998 ms for pay, 96 of which are normal.
    assert_eq!(first(&comparison), ("pay", "self_time", 902_000.0));
    assert!(says(&comparison, "the caller had given up"), "{:?}", comparison.warnings);
    assert_adds_up(&comparison);
}

#[test]
fn a_far_side_without_spans_makes_it_inconclusive() {
    let mut spiked = payment(400_000, 396_000, 0);
    spiked.pop();
    let comparison = one_against_one(&payment(100_000, 96_000, 0), &spiked);
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert!(says(&comparison, "whose far side sent no spans"), "{:?}", comparison.warnings);
}

/// One query after another.
fn queries(count: i64, each: i64) -> Vec<Draft> {
    let mut spans = vec![span(1, 0, "shop", "GET /", 0, 20_000 + count * each).server()];
    for n in 0..count {
        let id = 2 + u64::try_from(n).unwrap();
        let query = span(id, 1, "shop", "SELECT", 10_000 + n * each, each).client();
        spans.push(query.tag("peer.service", "mysql"));
    }
    spans
}

#[test]
fn more_calls_are_the_callers_and_slower_calls_the_callees() {
    let more = one_against_one(&queries(1, 5_000), &queries(10, 5_000));
    assert_eq!(first(&more), ("shop", "call_count", 45_000.0));
    let slower = one_against_one(&queries(10, 5_000), &queries(10, 50_000));
    assert_eq!(first(&slower), ("mysql", "self_time", 450_000.0));
    // Retries of a call that hangs: nine more calls at 5 ms each are the caller's, the rest is not.
    let both = one_against_one(&queries(1, 5_000), &queries(10, 50_000));
    assert_eq!(first(&both), ("mysql", "self_time", 450_000.0));
    let caller = &both.root_causes[1];
    assert_eq!((&*caller.service, caller.reason.as_str()), ("shop", "call_count"));
    assert_eq!((caller.excess_seconds * 1e6).round(), 45_000.0);
    let added = both.spans.iter().filter(|row| row.match_ == Match::Added);
    assert_eq!(added.count(), 9);
    assert!(both.spans.iter().all(|row| row.match_ != Match::Removed));
}

/// Three calls, side by side or in a row.
fn fan_out(in_a_row: bool) -> Vec<Draft> {
    let step = if in_a_row { 100_000 } else { 0 };
    let mut spans = vec![span(1, 0, "agg", "GET /", 0, 120_000 + 2 * step).server()];
    for n in 0..3 {
        let id = 2 + 2 * u64::try_from(n).unwrap();
        let start = 10_000 + n * step;
        spans.push(span(id, 1, "agg", &format!("call {n}"), start, 100_000).client());
        let work = span(id + 1, id, &format!("svc-{n}"), "work", start + 1_000, 98_000);
        spans.push(work.server());
    }
    spans
}

#[test]
fn lost_overlap_is_the_callers() {
    let comparison = one_against_one(&fan_out(false), &fan_out(true));
    assert_eq!(first(&comparison), ("agg", "lost_parallelism", 200_000.0));
    assert_eq!(comparison.root_causes.len(), 1);
    assert_adds_up(&comparison);
    let back = one_against_one(&fan_out(true), &fan_out(false));
    assert_eq!(back.verdict, Verdict::Faster);
    assert_eq!(first(&back), ("agg", "improved", -200_000.0));
}

#[test]
fn siblings_that_changed_places_are_matched() {
    let order = |first: &str, second: &str| {
        vec![
            span(1, 0, "shop", "GET /", 0, 100_000).server(),
            span(2, 1, "shop", first, 10_000, 30_000),
            span(3, 1, "shop", second, 50_000, 30_000),
        ]
    };
    let comparison = one_against_one(&order("a", "b"), &order("b", "a"));
    assert_eq!(comparison.verdict, Verdict::NoDifference);
    assert!(comparison.spans.iter().all(|row| row.match_ == Match::Matched));
}

#[test]
fn a_renamed_operation_is_the_same_one() {
    let named = |name: &str, own: i64| {
        vec![
            span(1, 0, "shop", "GET /", 0, 20_000 + own).server(),
            span(2, 1, "cart", name, 10_000, own).server(),
        ]
    };
    let comparison = one_against_one(&named("items", 10_000), &named("items-v2", 90_000));
    assert_eq!(first(&comparison), ("cart", "self_time", 80_000.0));
    assert!(comparison.spans.iter().all(|row| row.match_ == Match::Matched));
}

#[test]
fn a_level_put_in_between_moves_what_is_below_and_takes_nothing_away() {
    let below = |level: bool| {
        let mut spans = vec![
            span(1, 0, "shop", "GET /", 0, 100_000).server(),
            span(2, if level { 9 } else { 1 }, "shop", "load", 20_000, 50_000),
        ];
        if level {
            spans.push(span(9, 1, "shop", "middleware", 10_000, 70_000));
        }
        spans
    };
    let comparison = one_against_one(&below(false), &below(true));
    let unmatched: Vec<_> =
        comparison.spans.iter().filter(|row| row.match_ != Match::Matched).collect();
    assert_eq!(unmatched.len(), 1);
    assert_eq!((&*unmatched[0].operation, unmatched[0].match_), ("middleware", Match::Added));
}

#[test]
fn added_work_is_new_and_its_service_s() {
    let mut spiked = payment(100_000, 96_000, 0);
    spiked[0].duration += 80_000;
    spiked.push(span(4, 1, "fraud", "check", 110_000, 80_000).server());
    let comparison = one_against_one(&payment(100_000, 96_000, 0), &spiked);
    assert_eq!(first(&comparison), ("fraud", "new_operation", 80_000.0));
}

#[test]
fn a_slower_way_is_a_call_gap() {
    let comparison = one_against_one(&payment(100_000, 96_000, 0), &payment(400_000, 96_000, 0));
    let (_, reason, _) = first(&comparison);
    assert_eq!(reason, "call_gap");
    assert_adds_up(&comparison);
}

#[test]
fn asynchronous_work_is_not_part_of_the_request() {
    let publish = |work: i64| {
        vec![
            span(1, 0, "shop", "POST /order", 0, 50_000).server(),
            span(2, 1, "shop", "publish", 10_000, 5_000).kind("producer"),
            span(3, 2, "mail", "send", 500_000, work).kind("consumer"),
        ]
    };
    let comparison = one_against_one(&publish(10_000), &publish(5_000_000));
    assert_eq!(comparison.verdict, Verdict::NoDifference);
    assert!(says(&comparison, "`send` of `mail` (5.000 s) is not part of the request"));
}

#[test]
fn an_attribute_that_changed_on_the_cause_is_shown() {
    let tagged = |own, hit| {
        let mut spans = inference(own);
        spans[1] = spans[1].clone().tag("cache.hit", hit).tag("host", "a");
        spans
    };
    let comparison = one_against_one(&tagged(5_400, "true"), &tagged(775_229, "false"));
    assert!(says(&comparison, "cache.hit: true -> false"), "{:?}", comparison.next_steps);
    assert!(!says(&comparison, "host"));
}
