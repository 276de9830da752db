//! Whose time a node's time is: decided here from all that has been seen, not where spans come in.
//!
//! A CLIENT span without a child is a dependency if nobody of that name sends spans; if somebody does,
//! the far side was lost, and its time is nobody's to blame. A dependency that begins to send spans
//! changes sides with its whole history, because only the label changes.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::aggregate::{GroupKey, Id, NodeKey};
use super::history::History;
use super::verdict::SuspectKind;
use crate::model::{Interner, Key, KeyId, Sym};

/// Whose time it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// The service's own.
    Own(Sym),
    /// A callee's that sends no spans.
    Dependency(Sym),
    /// Between two services, before the callee's span (`Request`) or after it (`Response`).
    Gap(Gap),
    /// Time that a failure cost, and whose: a call that nobody answered, the wait before the next one.
    Failure(Party),
    /// An edge as a whole; its time is in its two gaps.
    Edge,
    /// Unknown: the far side's spans are missing, or there were too many names.
    Unknown,
}

/// One direction of the calls from one service to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Gap {
    /// Who calls.
    pub caller: Sym,
    /// Who is called.
    pub callee: Sym,
    /// The way there or the way back.
    pub direction: Direction,
}

/// The way there or the way back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Direction {
    /// Before the callee's span starts.
    Request,
    /// After it ended.
    Response,
}

/// Somebody who can be suspected: a service, a dependency, or the callee of a suspected link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Party {
    /// What sort.
    pub kind: SuspectKind,
    /// Its name.
    pub name: Sym,
}

impl Party {
    /// An instrumented service.
    pub(super) fn service(name: Sym) -> Party {
        Party { kind: SuspectKind::Service, name }
    }

    /// A callee that sends no spans.
    pub(super) fn dependency(name: Sym) -> Party {
        Party { kind: SuspectKind::Dependency, name }
    }
}

/// The roles of all nodes at one tick, and the names behind their numbers. A role is worked out when its
/// node is met, and again only when something it depends on may have changed.
#[derive(Default)]
pub(super) struct Roles {
    roles: Vec<Role>,
    keys: HashMap<KeyId, Key, RandomState>,
    /// The names of services, operations and peers, for putting equals in order.
    texts: HashMap<Sym, Arc<str>, RandomState>,
    /// Services that send spans, by their names in lower case.
    services: HashMap<String, Sym, RandomState>,
    known_services: BTreeSet<Sym>,
    /// Which service that sends spans a peer's name stands for, if one.
    peers: HashMap<Sym, Option<Sym>, RandomState>,
    /// Nodes that name a peer.
    naming: Vec<Id>,
    /// Client operations by the nodes they are split into.
    clients: HashMap<KeyId, Client, RandomState>,
    /// Nodes met since the last update.
    new_nodes: Vec<Id>,
    /// A service was met that had not sent spans before.
    new_service: bool,
}

/// The nodes of a client operation.
#[derive(Default)]
struct Client {
    /// Without a child and without a name.
    leaf: Option<Id>,
    /// The same, failed.
    failed: Option<Id>,
    /// With a child in another service.
    edges: Vec<Id>,
}

impl Roles {
    /// Takes up nodes that the history has just met.
    pub(super) fn meet(&mut self, nodes: Range<Id>, history: &History, names: &Interner) {
        for id in nodes {
            let key = history.node(id).key;
            if let Some(operation) = key_of(key) {
                let service = self.learn(operation, names).service;
                if self.known_services.insert(service) {
                    self.know(service, names);
                    self.new_service = true;
                }
            }
            match key {
                NodeKey::Leaf(_, Some(_)) | NodeKey::Failed(_, Some(_)) => self.naming.push(id),
                NodeKey::Leaf(client, None) => {
                    self.clients.entry(client).or_default().leaf = Some(id);
                }
                NodeKey::Failed(client, None) => {
                    self.clients.entry(client).or_default().failed = Some(id);
                }
                NodeKey::Edge(client, _) => {
                    self.clients.entry(client).or_default().edges.push(id);
                }
                _ => {}
            }
            self.roles.push(Role::Unknown);
            self.new_nodes.push(id);
        }
    }

    /// Of names that differ in their letters' case only, the first in order stands for all.
    fn know(&mut self, service: Sym, names: &Interner) {
        let text = names.text(service);
        let known = self.services.entry(text.to_lowercase()).or_insert(service);
        if text < names.text(*known) {
            *known = service;
        }
    }

    /// Brings the roles up to what the history now knows.
    pub(super) fn update(&mut self, history: &History, names: &Interner) {
        let mut stale = std::mem::take(&mut self.new_nodes);
        if std::mem::take(&mut self.new_service) {
            self.peers.clear();
            stale.extend(&self.naming);
        }
        for &id in history.active_nodes() {
            if let NodeKey::Edge(client, _)
            | NodeKey::Leaf(client, None)
            | NodeKey::Failed(client, None) = history.node(id).key
            {
                let client = self.clients.get(&client).filter(|client| !client.edges.is_empty());
                stale.extend(
                    client.into_iter().flat_map(|client| [client.leaf, client.failed]).flatten(),
                );
            }
        }
        for id in stale {
            let key = history.node(id).key;
            if let NodeKey::Leaf(_, Some(peer)) | NodeKey::Failed(_, Some(peer)) = key {
                self.look_up_peer(peer, names);
            }
            self.roles[id as usize] = self.role(key, history);
        }
    }

    /// Most calls of a client operation had a child in another service: one without lost it.
    fn is_lost(&self, client: KeyId, history: &History) -> bool {
        let Some(Client { leaf: Some(leaf), edges, .. }) = self.clients.get(&client) else {
            return false;
        };
        let with_far_side: u64 = edges.iter().map(|&edge| history.node(edge).held()).sum();
        with_far_side > history.node(*leaf).held()
    }

    /// Who answers most calls of a client operation.
    fn answers(&self, client: KeyId, history: &History) -> Option<Sym> {
        let edges = self.clients.get(&client)?.edges.iter().map(|&id| history.node(id));
        let callees = edges.filter_map(|node| match node.key {
            NodeKey::Edge(_, callee) => Some((node.held(), callee)),
            _ => None,
        });
        let order = |&(calls, callee): &(u64, Sym)| (calls, std::cmp::Reverse(self.text(callee)));
        callees.max_by(|one, two| order(one).cmp(&order(two))).map(|(_, callee)| callee)
    }

    fn learn(&mut self, id: KeyId, names: &Interner) -> Key {
        if let Some(&key) = self.keys.get(&id) {
            return key;
        }
        let key = names.resolve(id);
        self.keys.insert(id, key);
        for name in [key.service, key.name] {
            self.texts.entry(name).or_insert_with(|| names.text(name));
        }
        key
    }

    /// A name that occurred as a service, an operation or a peer.
    pub(super) fn text(&self, name: Sym) -> &str {
        self.texts.get(&name).map_or("", |text| text)
    }

    /// The same, to be kept.
    pub(super) fn shared_text(&self, name: Sym) -> Arc<str> {
        self.texts.get(&name).map_or_else(|| Arc::from(""), Arc::clone)
    }

    /// A node by its names: the order of labels is the same in every process.
    pub(super) fn label(&self, node: NodeKey) -> impl Ord + use<'_> {
        let (sort, far) = match node {
            NodeKey::Own(_) => (0, None),
            NodeKey::Leaf(_, peer) => (1, peer),
            NodeKey::Edge(_, callee) => (2, Some(callee)),
            NodeKey::Request(_, callee) => (3, Some(callee)),
            NodeKey::Response(_, callee) => (4, Some(callee)),
            NodeKey::Overflow => (5, None),
            NodeKey::Retry(_, callee) => (6, Some(callee)),
            NodeKey::Failed(_, peer) => (7, peer),
        };
        let key = self.key(node).map(|key| (self.text(key.service), self.text(key.name), key.kind));
        (key, sort, far.map(|far| self.text(far)))
    }

    /// The role of a node.
    pub(super) fn of(&self, node: Id) -> Role {
        self.roles.get(node as usize).copied().unwrap_or(Role::Unknown)
    }

    /// The operation of a node.
    pub(super) fn key(&self, node: NodeKey) -> Option<Key> {
        self.keys.get(&key_of(node)?).copied()
    }

    /// Who the time of a group is put on, if anybody.
    pub(super) fn party_of_group(&self, group: GroupKey) -> Option<Party> {
        match group {
            GroupKey::Service(service) => Some(Party::service(service)),
            GroupKey::Peer(peer) if !self.is_instrumented(peer) => Some(Party::dependency(peer)),
            _ => None,
        }
    }

    fn role(&self, key: NodeKey, history: &History) -> Role {
        let service = |id: KeyId| self.keys.get(&id).map(|key| key.service);
        let gap = |id, callee, direction| match service(id) {
            Some(caller) => Role::Gap(Gap { caller, callee, direction }),
            None => Role::Unknown,
        };
        match key {
            NodeKey::Edge(..) => Role::Edge,
            // Many operations under one name: what rose there is nobody's in particular.
            _ if self.key(key).is_some_and(|key| is_overflow(&key)) => Role::Unknown,
            NodeKey::Own(id) => service(id).map_or(Role::Unknown, Role::Own),
            NodeKey::Request(id, callee) => gap(id, callee, Direction::Request),
            NodeKey::Response(id, callee) => gap(id, callee, Direction::Response),
            NodeKey::Retry(_, callee) => Role::Failure(Party::service(callee)),
            NodeKey::Failed(_, Some(peer)) => Role::Failure(match self.service_named(peer) {
                Some(service) => Party::service(service),
                None => Party::dependency(peer),
            }),
            NodeKey::Failed(id, None) => match self.answers(id, history) {
                Some(callee) => Role::Failure(Party::service(callee)),
                None => service(id).map_or(Role::Unknown, Role::Own),
            },
            NodeKey::Leaf(_, Some(peer)) if self.is_instrumented(peer) => Role::Unknown,
            NodeKey::Leaf(_, Some(peer)) => Role::Dependency(peer),
            NodeKey::Leaf(id, None) if self.is_lost(id, history) => Role::Unknown,
            NodeKey::Leaf(id, None) => service(id).map_or(Role::Unknown, Role::Own),
            NodeKey::Overflow => Role::Unknown,
        }
    }

    fn is_instrumented(&self, peer: Sym) -> bool {
        self.service_named(peer).is_some()
    }

    fn service_named(&self, peer: Sym) -> Option<Sym> {
        self.peers.get(&peer).copied().flatten()
    }

    /// `cart`, `cart:8080` and `cart.shop.svc.cluster.local` all name the service `cart`.
    fn look_up_peer(&mut self, peer: Sym, names: &Interner) {
        self.texts.entry(peer).or_insert_with(|| names.text(peer));
        let services = &self.services;
        self.peers.entry(peer).or_insert_with(|| {
            let text = names.text(peer).to_lowercase();
            let host = text.split(':').next().unwrap_or(&text);
            let label = host.split('.').next().unwrap_or(host);
            [text.as_str(), host, label].iter().find_map(|name| services.get(*name)).copied()
        });
    }
}

fn is_overflow(key: &Key) -> bool {
    Interner::is_overflow(key.name) || Interner::is_overflow(key.service)
}

/// The operation of a node.
pub(super) fn key_of(node: NodeKey) -> Option<KeyId> {
    match node {
        NodeKey::Own(id)
        | NodeKey::Leaf(id, _)
        | NodeKey::Edge(id, _)
        | NodeKey::Request(id, _)
        | NodeKey::Response(id, _)
        | NodeKey::Retry(id, _)
        | NodeKey::Failed(id, _) => Some(id),
        NodeKey::Overflow => None,
    }
}
