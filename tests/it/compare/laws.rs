//! What holds for any two traces, whatever they are.

use laghound::compare::verdict::{Comparison, Verdict};
use proptest::prelude::*;

use super::trace::{Draft, Format, in_format, one_against_one, span};

const SERVICES: [&str; 4] = ["shop", "cart", "pay", "mail"];
const OPERATIONS: [&str; 3] = ["get", "put", "list"];
const KINDS: [&str; 5] = ["internal", "server", "client", "producer", "consumer"];

/// How each span differs from one before it: (parent, service, operation, kind, start, duration).
type Shape = (prop::sample::Index, usize, usize, usize, i64, i64);

/// A request: spans anywhere in time below an earlier one, most of them within it.
fn request() -> impl Strategy<Value = Vec<Draft>> {
    let shape =
        (any::<prop::sample::Index>(), 0..4usize, 0..3usize, 0..5usize, 0..90i64, 1..120i64);
    (50..2_000i64, prop::collection::vec(shape, 0..14)).prop_map(|(length, shapes)| {
        let root = span(1, 0, SERVICES[0], "GET /", 0, length * 1_000).server();
        shapes.into_iter().fold(vec![root], |mut spans, shape| {
            spans.push(below(&spans, shape));
            spans
        })
    })
}

/// A request and the same calls at another time, taking another time.
fn the_same_calls_twice() -> impl Strategy<Value = (Vec<Draft>, Vec<Draft>)> {
    let times = || (50..2_000i64, prop::collection::vec((0..90i64, 1..120i64), 14));
    let shape = (any::<prop::sample::Index>(), 0..4usize, 0..3usize, 0..5usize);
    (prop::collection::vec(shape, 0..14), times(), times()).prop_map(|(shapes, one, other)| {
        let request = |(length, times): &(i64, Vec<(i64, i64)>)| {
            let root = span(1, 0, SERVICES[0], "GET /", 0, length * 1_000).server();
            let timed = shapes.iter().zip(times);
            timed.fold(vec![root], |mut spans, (&(parent, s, o, k), &(start, duration))| {
                spans.push(below(&spans, (parent, s, o, k, start, duration)));
                spans
            })
        };
        (request(&one), request(&other))
    })
}

/// `start` and `duration` are percents of the parent's duration.
fn below(spans: &[Draft], (parent, service, operation, kind, start, duration): Shape) -> Draft {
    let parent = parent.get(spans);
    let at = parent.start + parent.duration * start / 100;
    let duration = (parent.duration * duration / 100).max(1);
    let id = u64::try_from(spans.len()).unwrap() + 1;
    let draft = span(id, parent.id, SERVICES[service], OPERATIONS[operation], at, duration);
    draft.kind(KINDS[kind])
}

fn micros(seconds: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)] // made-up times are small
    {
        (seconds * 1e6).round() as i64
    }
}

/// What is said, but for the ids of the traces and the words.
fn essence(comparison: &Comparison) -> String {
    let Comparison { verdict, delta_seconds, root_causes, spans, warnings, .. } = comparison;
    format!("{verdict:?} {delta_seconds} {root_causes:#?} {spans:#?} {warnings:#?}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn causes_and_the_unexplained_add_up_to_the_difference(
        baseline in request(),
        spiked in request(),
    ) {
        let comparison = one_against_one(&baseline, &spiked);
        let causes: f64 = comparison.root_causes.iter().map(|cause| cause.excess_seconds).sum();
        let sum = causes + comparison.unexplained_seconds;
        prop_assert!((sum - comparison.delta_seconds).abs() < 1e-9);
        prop_assert_eq!(micros(comparison.delta_seconds), spiked[0].duration - baseline[0].duration);
        let critical = |of: fn(&laghound::compare::verdict::SpanRow) -> f64| {
            comparison.spans.iter().map(of).sum::<f64>()
        };
        prop_assert_eq!(micros(critical(|row| row.baseline.critical_seconds)), baseline[0].duration);
        prop_assert_eq!(micros(critical(|row| row.spiked.critical_seconds)), spiked[0].duration);
    }

    #[test]
    fn a_trace_against_itself_names_nobody(trace in request()) {
        let comparison = one_against_one(&trace, &trace);
        prop_assert_eq!(comparison.verdict, Verdict::NoDifference);
        prop_assert!(comparison.root_causes.is_empty());
        prop_assert!(comparison.spans.iter().all(|row| row.match_.as_str() == "matched"));
        prop_assert_eq!(comparison.spans.len(), trace.len());
    }

    #[test]
    fn swapping_the_sides_turns_the_verdict(baseline in request(), spiked in request()) {
        let there = one_against_one(&baseline, &spiked);
        let back = one_against_one(&spiked, &baseline);
        prop_assert_eq!(there.delta_seconds, -back.delta_seconds);
        let mirrored = match there.verdict {
            Verdict::RootCause => Verdict::Faster,
            Verdict::Faster => Verdict::RootCause,
            same => same,
        };
        prop_assert_eq!(mirrored, back.verdict);
    }

    /// Of calls that have another name on the other side it does not hold: which of them stands for
    /// which is decided from the baseline's side.
    #[test]
    fn swapping_the_sides_changes_the_signs((baseline, spiked) in the_same_calls_twice()) {
        let there = one_against_one(&baseline, &spiked);
        let back = one_against_one(&spiked, &baseline);
        let causes = |comparison: &Comparison, sign: f64| {
            let mut causes: Vec<(String, i64)> = comparison
                .root_causes
                .iter()
                .map(|cause| (cause.service.to_string(), micros(sign * cause.excess_seconds)))
                .collect();
            causes.sort();
            causes
        };
        let (there, back) = (causes(&there, 1.0), causes(&back, -1.0));
        // The last nanosecond of a share that does not divide goes to whoever comes last.
        let alike = there.len() == back.len()
            && there.iter().zip(&back).all(|(one, other)| {
                one.0 == other.0 && one.1.abs_diff(other.1) <= 1
            });
        prop_assert!(alike, "{there:?} {back:?}");
    }

    #[test]
    fn the_order_of_the_spans_in_a_file_does_not_matter(
        (baseline, shuffled) in request().prop_flat_map(|spans| {
            (Just(spans.clone()), Just(spans).prop_shuffle())
        }),
        (spiked, shuffled_too) in request().prop_flat_map(|spans| {
            (Just(spans.clone()), Just(spans).prop_shuffle())
        }),
    ) {
        let (one, other) =
            (one_against_one(&baseline, &spiked), one_against_one(&shuffled, &shuffled_too));
        prop_assert_eq!(essence(&one), essence(&other));
    }

    #[test]
    fn the_format_of_the_files_does_not_matter(baseline in request(), spiked in request()) {
        let [json, others @ ..] =
            Format::ALL.map(|format| essence(&in_format(format, &baseline, &spiked)));
        for other in others {
            prop_assert_eq!(&json, &other);
        }
    }

    #[test]
    fn a_slower_leaf_is_named(trace in request()) {
        // A span at the very end of the request, in nobody's shadow.
        let mut baseline = trace;
        let end = baseline[0].duration;
        baseline[0].duration += 10_000;
        let mut spiked = baseline.clone();
        baseline.push(span(90, 1, "suspect", "work", end, 10_000).server());
        let slow = 10 * end + 500_000;
        spiked[0].duration += slow;
        spiked.push(span(90, 1, "suspect", "work", end, 10_000 + slow).server());
        let comparison = one_against_one(&baseline, &spiked);
        let named = comparison.first().map(|first| &*first.service);
        prop_assert_eq!(named, Some("suspect"), "{:#?}", comparison);
    }
}
