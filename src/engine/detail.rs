//! One operation looked at closely: its distributions, what its baseline is made of, how far learning is.
//!
//! Asked for by people, one operation at a time; the lists that everyone reads are made elsewhere.

use std::collections::BTreeMap;

use super::aggregate::NodeKey;
use super::detect::Scene;
use super::evidence::{Buckets, Distribution, Era, OperationDetail};
use super::histogram::{Dense, Distribution as _, Sparse};
use super::node::Node;
use super::operations::operation_of;
use super::params::DetectionParams;
use super::rolling::Tick;
use super::spread::slackened;
use crate::model::{Interner, SpanKind, Timestamp};

/// Which operation, by name.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) service: &'a str,
    pub(super) name: &'a str,
    pub(super) kind: SpanKind,
}

/// Looks at an operation; `None` if there is none of that name. `time_of` tells when a slice began.
pub(super) fn detail(
    scene: &Scene<'_>,
    wanted: Named<'_>,
    names: &Interner,
    time_of: impl Fn(Tick) -> Timestamp,
) -> Option<OperationDetail> {
    let is_its = |node: &&Node| {
        let key = operation_of(node.key).and_then(|key| scene.roles.key(NodeKey::Own(key)));
        key.is_some_and(|key| {
            key.kind == wanted.kind
                && *names.text(key.service) == *wanted.service
                && *names.text(key.name) == *wanted.name
        })
    };
    let nodes: Vec<&Node> = scene.history.nodes().filter(is_its).collect();
    (!nodes.is_empty()).then(|| of_nodes(&nodes, scene.now, scene.params, time_of))
}

/// Puts together what the nodes of an operation say.
fn of_nodes(
    nodes: &[&Node],
    now: Tick,
    params: &DetectionParams,
    time_of: impl Fn(Tick) -> Timestamp,
) -> OperationDetail {
    let [_, window, ..] = params.windows;
    let (mut baseline, mut recent) = (Dense::default(), Dense::default());
    let mut eras: BTreeMap<Tick, Sparse> = BTreeMap::new();
    for node in nodes {
        baseline.add(node.baseline());
        node.window((now + 1).saturating_sub(window), &mut recent);
        for (era, histogram) in node.eras() {
            eras.entry(era).or_default().merge(&histogram);
        }
    }
    let learned_slices = nodes.iter().map(|node| node.age.learned()).max().unwrap_or(0);
    let has_learned =
        learned_slices >= params.min_baseline && baseline.count() >= params.min_learned;
    let threshold = slackened(baseline.quantile(0.99), params) / 1e9;
    OperationDetail {
        distribution: Distribution {
            baseline: Buckets::of(&baseline),
            recent: Buckets::of(&recent),
            threshold_seconds: has_learned.then_some(threshold),
        },
        learned_slices,
        needed_slices: params.min_baseline,
        needed_calls: params.min_learned,
        is_frozen: nodes.iter().any(|node| node.age.is_frozen()),
        eras: eras.into_iter().map(|(era, calls)| told(era, &calls, params, &time_of)).collect(),
    }
}

fn told(
    era: Tick,
    histogram: &Sparse,
    params: &DetectionParams,
    time_of: impl Fn(Tick) -> Timestamp,
) -> Era {
    let mut dense = Dense::default();
    dense.add(histogram);
    Era {
        at: time_of(era * params.era),
        calls: dense.count(),
        quantiles: dense.quantiles([0.5, 0.9, 0.99]).map(|nanos| nanos / 1e9),
    }
}
