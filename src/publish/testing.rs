//! What the tests of this room share: small boards, and an independent reader of the metric formats.

pub(super) mod evidence;
pub(super) mod http;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::verdict::{
    Board, EntryExcessRow, EntryImpact, ExcessRow, Exemplar, Impacted, Incident, Operation,
    Pattern, Reason, Suspect, SuspectKind, Where,
};
use crate::model::{Nanos, SpanKind, Timestamp, TraceId};

/// 2026-09-21T14:20:00Z.
pub(super) const T0: Timestamp = Timestamp::from_secs(1_790_000_400);

pub(super) fn after(seconds: u64) -> Timestamp {
    T0 + Nanos::from_secs(seconds)
}

pub(super) fn trace(number: u128) -> TraceId {
    TraceId::new(number).unwrap()
}

pub(super) fn operation(service: &str, name: &str, spans: u64) -> Operation {
    Operation {
        service: service.into(),
        name: name.into(),
        kind: SpanKind::Server,
        spans,
        flagged: 0,
        baseline: None,
        recent: None,
        threshold: None,
        exemplar: None,
    }
}

pub(super) fn suspect(rank: usize, service: &str, score: f64) -> Suspect {
    Suspect {
        rank,
        service: service.into(),
        kind: SuspectKind::Service,
        operation: "GET /items".into(),
        span_kind: SpanKind::Server,
        score,
        excess_seconds: 12.4 * score,
        reason: Reason::SelfTime,
        pattern: Pattern::Sustained,
        where_: None,
        baseline_seconds: 0.004,
        recent_seconds: 0.031,
        calls: 812,
        example_trace_ids: vec![trace(0xabc)],
    }
}

pub(super) fn incident(id: u64, excess_seconds: f64, suspects: Vec<Suspect>) -> Incident {
    let explained: f64 = suspects.iter().map(|suspect| suspect.score).sum();
    Incident {
        id,
        start: after(5),
        detected: after(20),
        end: None,
        excess_seconds,
        unexplained_share: (1.0 - explained).max(0.0),
        confidence: 0.9,
        entries: vec![EntryImpact {
            service: "storefront".into(),
            operation: "GET /cart".into(),
            span_kind: SpanKind::Server,
            excess_seconds,
            baseline_seconds: 0.120,
            recent_seconds: 0.410,
        }],
        suspects,
        evidence: Default::default(),
        impacted: vec![Impacted { service: "storefront".into(), excess_seconds }],
    }
}

/// The incident of the contract: cart-2 makes the storefront slow.
pub(super) fn cart_incident() -> Incident {
    let mut cart = suspect(1, "cart", 0.93);
    cart.where_ =
        Some(Where { attribute: "k8s.pod.name".into(), value: "cart-2".into(), share: 0.97 });
    incident(1, 12.4, vec![cart])
}

/// A board with one of everything.
pub(super) fn board() -> Board {
    let exemplar = Some(Exemplar { trace: trace(0xabc), seconds: 0.031, at: after(19) });
    Board {
        at: after(20),
        learning: false,
        open: vec![cart_incident()],
        operations: vec![
            Arc::new(Operation {
                flagged: 40,
                baseline: Some([0.004, 0.006, 0.009]),
                recent: Some([0.031, 0.04, 0.05]),
                threshold: Some(0.012),
                exemplar,
                ..operation("cart", "GET /items", 812)
            }),
            Arc::new(operation("storefront", "GET /cart", 400)),
        ],
        excess: vec![ExcessRow {
            service: "cart".into(),
            kind: SuspectKind::Service,
            operation: "GET /items".into(),
            span_kind: SpanKind::Server,
            reason: Reason::SelfTime,
            seconds: 11.5,
            exemplar,
        }],
        entry_excess: vec![EntryExcessRow {
            service: "storefront".into(),
            operation: "GET /cart".into(),
            span_kind: SpanKind::Server,
            seconds: 12.4,
        }],
        detection_delays: vec![15.0],
        ..Board::default()
    }
}

/// One sample line.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
    pub(super) exemplar: Option<String>,
}

impl Sample {
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|label| label.0 == name).map_or("", |label| &label.1)
    }
}

/// A document as read back, with what every valid one obeys already checked.
pub(super) struct Document {
    pub(super) samples: Vec<Sample>,
    pub(super) types: BTreeMap<String, String>,
}

impl Document {
    pub(super) fn of(&self, name: &str) -> Vec<&Sample> {
        self.samples.iter().filter(|sample| sample.name == name).collect()
    }

    pub(super) fn sum(&self, name: &str) -> f64 {
        self.of(name).iter().map(|sample| sample.value).sum()
    }

    /// The value of the only series of this name and these labels.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let all = self.of(name);
        let mut found =
            all.iter().filter(|sample| labels.iter().all(|(k, v)| sample.label(k) == *v));
        let value = found.next().unwrap_or_else(|| panic!("no {name} {labels:?}")).value;
        assert!(found.next().is_none(), "two of {name} {labels:?}");
        value
    }
}

/// Reads a document: every family has HELP and TYPE once, before its samples and apart from other
/// families; no series is there twice; numbers are finite; names are lawful.
pub(super) fn read(text: &str) -> Document {
    let (mut samples, mut types) = (Vec::new(), BTreeMap::new());
    let (mut helped, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut family = String::new();
    assert!(text.ends_with('\n'), "the last line is cut");
    for line in text.strip_suffix('\n').unwrap().split('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty());
            assert!(helped.insert(name.to_owned()), "HELP {name} twice");
            family = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(name, family, "TYPE follows HELP");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "TYPE {name} twice");
        } else if line == "# EOF" {
            assert!(text.ends_with("# EOF\n"), "something after the end");
        } else {
            let sample = sample(line);
            assert!(sample.name.starts_with(&family), "{} is not of {family}", sample.name);
            assert!(sample.value.is_finite(), "{line}");
            assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
            samples.push(sample);
        }
    }
    assert_eq!(text.matches("# EOF").count(), usize::from(text.ends_with("# EOF\n")));
    Document { samples, types }
}

fn sample(line: &str) -> Sample {
    let at = line.find(['{', ' ']).expect("a value");
    let name = line[..at].to_owned();
    let lawful = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(name.chars().all(lawful) && !name.starts_with(char::is_numeric), "{name:?}");
    let mut rest = &line[at..];
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, value, left) = label(rest);
            assert!(label.chars().all(lawful) && !label.is_empty(), "{label:?}");
            assert!(labels.iter().all(|(known, _)| *known != label), "label {label} twice");
            labels.push((label, value));
            rest = left;
        }
        rest = &rest[1..];
    }
    let rest = rest.strip_prefix(' ').expect("a space before the value");
    let (value, exemplar) = match rest.split_once(" # ") {
        Some((value, exemplar)) => (value, Some(exemplar.to_owned())),
        None => (rest, None),
    };
    Sample { name, labels, value: value.parse().expect("a number"), exemplar }
}

/// Takes `name="value"` and a comma, if one follows, off the front.
fn label(text: &str) -> (String, String, &str) {
    let (name, rest) = text.split_once("=\"").expect("a label");
    let mut value = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let rest = &rest[at + 1..];
                return (name.to_owned(), value, rest.strip_prefix(',').unwrap_or(rest));
            }
            '\\' => match chars.next().expect("an escaped character").1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                c => panic!("unknown escape {c:?}"),
            },
            c => value.push(c),
        }
    }
    panic!("label value without an end: {text}")
}
