//! How much of the room what is idle takes, and which of it has to go: what was used longest ago.
//!
//! Whole eras go together: what was used last in the same one is not put in an order, which could only be
//! that of names.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

use super::Patience;
use crate::engine::aggregate::NodeKey;
use crate::engine::history::History;
use crate::engine::node::Node;
use crate::engine::roles::{Roles, key_of};
use crate::engine::rolling::Tick;
use crate::model::{InternLimits, Sym};

type Map<K> = HashMap<K, Tick, RandomState>;

/// Until when what is idle must have been used to stay, by what it takes the room of.
pub(super) struct Idle {
    node: Tick,
    path: Tick,
    key: Tick,
    service: Tick,
    peer: Tick,
    /// Of the operations of one service, where that has too many.
    in_service: Map<Sym>,
}

impl Idle {
    pub(super) fn of(
        history: &History,
        roles: &Roles,
        patience: &Patience,
        limits: &InternLimits,
    ) -> Idle {
        let (most_nodes, most_paths) = history.most.unwrap_or((usize::MAX, usize::MAX));
        let mut nodes = Vec::new();
        let (mut keys, mut services, mut peers) = (Map::default(), Map::default(), Map::default());
        for node in history.nodes() {
            let touched = node.calls.touched(patience.era);
            let Some(since) = patience.idle_since(touched, node.held()) else { continue };
            nodes.push(since);
            note(&mut peers, peer_of(node.key), since);
            note(&mut keys, key_of(node.key), since);
            note(&mut services, roles.key(node.key).map(|key| key.service), since);
        }
        let paths = history.paths.iter().filter_map(|path| {
            patience.idle_since(path.sums.touched(patience.era), path.sums.baseline().calls)
        });
        let mut by_service: HashMap<Sym, Vec<Tick>, RandomState> = HashMap::default();
        #[allow(clippy::iter_over_hash_type)] // into lists that are put in order
        for (&key, &since) in &keys {
            let service = roles.key(NodeKey::Own(key)).map(|key| key.service);
            service.into_iter().for_each(|its| by_service.entry(its).or_default().push(since));
        }
        let in_service = by_service.into_iter();
        let in_service =
            in_service.map(|(service, keys)| (service, cut(keys, limits.operations_per_service)));
        Idle {
            node: cut(nodes, most_nodes),
            path: cut(paths.collect(), most_paths),
            in_service: in_service.filter(|&(_, cut)| cut > 0).collect(),
            key: cut(keys.into_values().collect(), limits.operations),
            service: cut(services.into_values().collect(), limits.services),
            peer: cut(peers.into_values().collect(), limits.strings),
        }
    }

    /// Whether a node that was used last at `since` may stay.
    pub(super) fn has_room_for(&self, node: &Node, since: Tick, roles: &Roles) -> bool {
        let service = roles.key(node.key).map(|key| key.service);
        let here = service.and_then(|service| self.in_service.get(&service)).copied();
        let peer = peer_of(node.key).map_or(0, |_| self.peer);
        [self.node, self.key, self.service, peer, here.unwrap_or(0)].iter().all(|&cut| since > cut)
    }

    /// Whether a path that was used last at `since` may stay, if its node may.
    pub(super) fn has_room_for_path(&self, since: Tick) -> bool {
        since > self.path
    }
}

/// Something was used as late as at `since`.
fn note<K: Hash + Eq>(map: &mut Map<K>, what: Option<K>, since: Tick) {
    let Some(what) = what else { return };
    let known = map.entry(what).or_default();
    *known = since.max(*known);
}

/// What was used later than this fits half of `room`; 0 if all of it does.
fn cut(mut since: Vec<Tick>, room: usize) -> Tick {
    since.sort_unstable_by(|one, two| two.cmp(one));
    since.get(room / 2).copied().unwrap_or(0)
}

fn peer_of(node: NodeKey) -> Option<Sym> {
    match node {
        NodeKey::Leaf(_, peer) | NodeKey::Failed(_, peer) => peer,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_fits_half_of_the_room() {
        assert_eq!(cut(vec![5, 9, 7, 8, 6], 10), 0, "half of ten are five");
        assert_eq!(cut(vec![5, 9, 7, 8, 6], 6), 6, "7, 8 and 9 stay");
        assert_eq!(cut(vec![5, 9, 7, 7, 6], 4), 7, "9 stays: one of two that are alike does not");
        assert_eq!(cut(vec![5], 1), 5, "no room at all");
    }
}
