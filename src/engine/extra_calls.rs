//! Calls as fast as ever, but more of them: whose doing is that?
//!
//! The number of calls on a path is a product, level by level, of calls for each call of the parent. A
//! factor that grew is claimed by the one who makes the calls, priced as they used to cost. But a call
//! that failed and is made again is no choice of the caller's: such attempts, and the waits before
//! them, are claimed for the callee that failed. Says nothing of how slow single calls are.

use std::collections::{BTreeMap, BTreeSet};

use super::aggregate::{Id, NodeKey, PathSum};
use super::attribute::Claim;
use super::decompose::rounded;
use super::detect::{Hot, Scene};
use super::roles::{Party, Role};
use super::rolling::Cohort;
use super::verdict::Reason;

/// Extra calls, priced as they used to cost, are claimed by the one who makes them; attempts after a
/// failure, and the waits before them, by the one who failed.
pub(super) fn claims(
    scene: &Scene<'_>,
    cohort: Cohort,
    affected: &BTreeSet<Id>,
    hot: &Hot,
) -> Vec<Claim> {
    if hot.fan_outs.is_empty() {
        return Vec::new();
    }
    let mut extra =
        ExtraCalls { scene, cohort, hot, retries: BTreeMap::new(), sums: BTreeMap::new() };
    for &entry in affected {
        let paths = &scene.history.entry(entry).paths;
        extra.find_retries(paths);
        paths.iter().for_each(|&path| extra.add(path));
    }
    let claims = extra.sums.into_iter().map(|((party, node, reason), extra)| Claim {
        party,
        node,
        reason,
        nanos: extra.nanos as f64,
        hit: 1.0,
        calls: extra.calls,
        cost: extra.cost as f64,
    });
    claims.collect()
}

/// Calls beyond what one call of the parent used to make.
struct ExtraCalls<'a> {
    scene: &'a Scene<'a>,
    cohort: Cohort,
    hot: &'a Hot,
    /// By path of a call: that of the wait after it failed.
    retries: BTreeMap<Id, Id>,
    /// By who is to blame, for calls of what, and how.
    sums: BTreeMap<(Party, Id, Reason), Extra>,
}

#[derive(Default)]
struct Extra {
    nanos: i64,
    cost: u64,
    calls: u64,
}

impl ExtraCalls<'_> {
    fn find_retries(&mut self, paths: &[Id]) {
        let history = self.scene.history;
        self.retries.clear();
        self.retries.extend(paths.iter().filter_map(|&id| {
            let path = history.path(id);
            let is_wait = matches!(history.node(path.node).key, NodeKey::Retry(..));
            Some((path.above.filter(|_| is_wait)?, id))
        }));
    }

    /// The number of calls on a path is the product of the calls per parent call of its levels; it is
    /// changed level by level, from the entry down, so that the terms add up to the whole change.
    fn add(&mut self, path: Id) {
        let history = self.scene.history;
        let Some(price) = self.price(path) else { return };
        let mut chain = vec![path];
        while let Some(above) = chain.last().and_then(|&last| history.path(last).above) {
            chain.push(above);
        }
        chain.reverse();
        for (level, parent_and_child) in chain.windows(2).enumerate() {
            let &[parent, child] = parent_and_child else { continue };
            let (of_caller, of_callee) = self.more(parent, child);
            if of_caller <= 0.0 && of_callee <= 0.0 {
                continue;
            }
            // Below the level that changed, calls per call are those of the baseline where it knows any.
            let below = chain[level + 1..].windows(2).map(|pair| self.usual(pair[0], pair[1]));
            let nanos = self.recent(parent) * below.product::<f64>() * price;
            let cost = history.path(path).sums.sum(self.cohort).critical;
            let caller = self.scene.roles.key(history.node(history.path(parent).node).key);
            if let Some(caller) = caller.filter(|_| of_caller > 0.0) {
                let sum = (Party::service(caller.service), parent, Reason::CallCount);
                self.charge(sum, of_caller * nanos, cost);
            }
            // The child is the failure, or it is an attempt and the failure stands below it.
            let failure = [Some(child), self.retries.get(&child).copied()].into_iter().flatten();
            let failure = failure.filter_map(|path| Some((path, self.failing(path)?))).next();
            if let Some((failure, party)) = failure.filter(|_| of_callee > 0.0) {
                self.charge((party, failure, Reason::CallGap), of_callee * nanos, cost);
            }
        }
    }

    fn charge(&mut self, (party, path, reason): (Party, Id, Reason), nanos: f64, cost: u64) {
        let path = self.scene.history.path(path);
        let calls = path.sums.sum(self.cohort).calls;
        let sum = self.sums.entry((party, path.node, reason)).or_default();
        sum.nanos = sum.nanos.saturating_add(rounded(nanos));
        sum.cost = sum.cost.saturating_add(cost);
        sum.calls = sum.calls.max(calls);
    }

    /// Who failed, if the path ends with a failure.
    fn failing(&self, path: Id) -> Option<Party> {
        match self.scene.roles.of(self.scene.history.path(path).node) {
            Role::Failure(party) => Some(party),
            _ => None,
        }
    }

    /// What a call costs; a failure, where none had ever failed, what it costs now.
    fn price(&self, path: Id) -> Option<f64> {
        let history = self.scene.history;
        history.price_of_path(path, self.scene.params.shrink).or_else(|| {
            let PathSum { calls, critical } = history.path(path).sums.sum(self.cohort);
            (self.failing(path).is_some() && calls > 0).then(|| critical as f64 / calls as f64)
        })
    }

    /// How many more calls of the child a call of the parent makes, as far as it is believed: by its own
    /// doing, and because calls failed.
    fn more(&self, parent: Id, child: Id) -> (f64, f64) {
        // Most are not, and nothing is read of them.
        let is_hot = self.is_hot(parent, child);
        let retry = self.retries.get(&child).filter(|&&retry| self.is_hot(child, retry));
        if (!is_hot && retry.is_none()) || self.recent(parent) == 0.0 {
            return (0.0, 0.0);
        }
        let added = |path| {
            let before = self.before(parent);
            let then = if before > 0.0 { self.before(path) / before } else { 0.0 };
            (self.recent(path) / self.recent(parent) - then).max(0.0)
        };
        let more = if is_hot { added(child) } else { 0.0 };
        if self.failing(child).is_some() {
            return (0.0, more);
        }
        let failed = retry.map_or(0.0, |&retry| added(retry).min(added(child)));
        ((more - failed).max(0.0), failed)
    }

    fn usual(&self, parent: Id, child: Id) -> f64 {
        match (self.before(parent), self.recent(parent)) {
            (calls, _) if calls > 0.0 => self.before(child) / calls,
            (_, calls) if calls > 0.0 => self.recent(child) / calls,
            _ => 0.0,
        }
    }

    fn is_hot(&self, parent: Id, child: Id) -> bool {
        let node = |path| self.scene.history.path(path).node;
        self.hot.fan_outs.contains(&(node(parent), node(child)))
    }

    fn recent(&self, path: Id) -> f64 {
        self.scene.history.path(path).sums.sum(self.cohort).calls as f64
    }

    fn before(&self, path: Id) -> f64 {
        self.scene.history.path(path).sums.baseline().calls as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::cohort::SetVerdict;
    use super::super::testing::{Draft, compared, service};
    use crate::model::{InternLimits, Interner, Span, SpanKind, TraceId};

    const MS: u64 = 1_000_000;

    /// Forty requests of `shop`, which asks `cart` and lets it answer in 20 ms: so many times in vain, with
    /// 50 ms between the attempts, of which the last one succeeds.
    fn requests(names: &Interner, failures: u64) -> Vec<(TraceId, Vec<Span>)> {
        let key = |name: &str, operation: &str, kind| {
            let service = names.service(name.as_bytes());
            names.key(service, operation.as_bytes(), kind)
        };
        let shop = key("shop", "GET /", SpanKind::Server);
        let call = key("shop", "items", SpanKind::Client);
        let cart = key("cart", "items", SpanKind::Server);
        (1..=40)
            .map(|trace| {
                let end = 30 + 80 * failures;
                let mut drafts = vec![(Draft::new(1, 0, service(1)).times(0, end * MS), shop)];
                for attempt in 0..=failures {
                    let from = 5 + 80 * attempt;
                    let client = Draft::new(10 + attempt, 1, service(1));
                    let client = client.times(from * MS, (from + 30 - 10) * MS);
                    let client = if attempt < failures { client.failed() } else { client };
                    let far = Draft::new(20 + attempt, 10 + attempt, service(2));
                    let far = far.times((from + 1) * MS, (from + 19) * MS);
                    drafts.extend([(client, call), (far, cart)]);
                }
                let (drafts, keys): (Vec<Draft>, Vec<_>) = drafts.into_iter().unzip();
                let (mut spans, _) = Draft::build(&drafts);
                for (span, key) in spans.iter_mut().zip(keys) {
                    span.key = key;
                }
                (TraceId::new(trace).expect("ids are not zero"), spans)
            })
            .collect()
    }

    fn verdict(failures: u64) -> SetVerdict {
        let names = Interner::new(InternLimits::default());
        compared(&names, &[0, failures].map(|failures| requests(&names, failures)))
    }

    #[test]
    fn calls_made_again_after_a_failure_are_put_on_who_failed() {
        let verdict = verdict(1);
        // An attempt of 20 ms and a wait of 60 for each request.
        assert_eq!(verdict.excess, 40 * 80 * 1_000_000);
        let first = &verdict.suspects[0];
        assert_eq!(&*first.service, "cart", "{verdict:?}");
        assert!(first.score > 0.95, "{verdict:?}");
    }
}
