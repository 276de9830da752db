//! What has been idle for long enough is forgotten, and its names are given back.
//!
//! Without that, names that somebody made up for an hour take the room of lawful ones until a restart. At
//! the end of every era the judge looks through what it remembers:
//!
//! - What is in use stays, to the bit. What was used in the last [`Patience::short`] stays too: a baseline
//!   in use is made of so many eras, so nothing of that age would be left of it in any case.
//! - What has been learned, by as many calls as a verdict takes, stays for as long as in a snapshot
//!   ([`KEEP_IDLE`]): jobs that run once a day are remembered. But whatever is idle may take half of the
//!   room at most, that of each service and that of all; if it is more, what was used last stays. So the
//!   other half is given back within the hour, whatever anybody does.
//! - What has been learned and an open incident froze, and whatever a shard may still hand in figures for,
//!   stays.
//!
//! The rest goes, and the judge's numbers close up, so that memory stays flat. Then the epoch of the names
//! ends: the table gives back what nobody asked for and nobody [holds](Held); decoders ask for their names
//! again, and shards number nodes and paths anew, so that both know only what is in use, and a span pays
//! nothing for it.
//!
//! Eras are counted in judged slices, so nothing is forgotten in silence, and the same is forgotten for any
//! number of shards. A table whose names are asked for once and used for ever must not be tidied: an
//! engine forgets only if it is told to.

mod idle;
mod moved;

use crate::engine::snapshot::KEEP_IDLE;
use crate::model::{Held, Interner, KeyId, Nanos, Sym};

use super::aggregate::{GroupKey, Id, NodeKey, SliceSums};
use super::detect::Hot;
use super::graph::{Group, Heap, Pair, Path};
use super::history::{ActivePath, History};
use super::judge::Judge;
use super::params::EngineParams;
use super::roles::{Roles, key_of};
use super::rolling::Tick;
use idle::Idle;
pub(super) use moved::Moved;

/// Whether the judge forgets.
#[derive(Default)]
pub(super) struct Forgetting {
    on: bool,
    /// An era is over, and names have not been given back since.
    is_due: bool,
}

/// For how long what is idle is remembered, in slices.
struct Patience {
    now: Tick,
    era: Tick,
    /// Whatever it is. Longer than it is published.
    short: Tick,
    /// What has been learned.
    long: Tick,
    /// Calls that make it so.
    learned: u64,
}

/// What stays, by number.
struct Kept {
    nodes: Vec<bool>,
    paths: Vec<bool>,
    entries: Vec<bool>,
}

impl Judge {
    /// The same, forgetting what is idle. Names are to be given back whenever there is something to
    /// [take](Judge::take_held).
    pub fn forgetting(mut self) -> Judge {
        self.forgetting.on = true;
        self.history.most = Some((self.params.max_nodes, self.params.max_paths));
        self
    }

    /// The names held, once after every era: with them, names may be given back.
    pub fn take_held(&mut self) -> Option<Held> {
        if !std::mem::take(&mut self.forgetting.is_due) {
            return None;
        }
        let EngineParams { assembly, detection, .. } = &self.params;
        // From the decoder to the judge: until its trace closes, and its slice, perhaps ahead, is judged.
        let on_the_way = assembly.max_age + assembly.max_span_ahead + detection.settle;
        let era = detection.era.saturating_mul(detection.slice.0).max(1);
        let eras = (detection.eras as u64).max(on_the_way.0.div_ceil(era));
        let mut held = Held::new(u32::try_from(eras + 1).unwrap_or(u32::MAX));
        for node in self.history.nodes() {
            hold_node(&mut held, node.key);
        }
        for group in &self.history.groups {
            hold_group(&mut held, group.key);
        }
        self.operations.hold(&mut held);
        self.tally.hold(&mut held);
        if let Some(open) = &self.open {
            held.name(open.first_suspect.name);
        }
        Some(held)
    }

    /// To be called between two slices: at the end of an era forgets what is idle.
    pub(super) fn end_era(&mut self, names: &Interner) {
        let era = self.params.detection.era.max(1);
        if self.forgetting.on && self.tick > 0 && self.tick.is_multiple_of(era) {
            self.forgetting.is_due = true;
            self.forget_idle(names);
        }
    }

    fn forget_idle(&mut self, names: &Interner) {
        let (until, expire) = (self.end_of(self.tick), self.params.expire_after);
        let patience = Patience::at(self.tick, &self.params);
        let idle = Idle::of(&self.history, &self.roles, &patience, names.limits());
        let kept = Kept::of(&self.history, &self.roles, &patience, &idle);
        let known = kept.names(&self.history, &self.roles);
        // Counters of what goes have not been published for a while.
        self.tally.forget(until, expire, |name| known.has_name(name));
        let nodes = Moved::to(&kept.nodes);
        let entries = Moved::to(&kept.entries);
        self.history.renumber(&kept, &nodes, &entries, &known, &patience);
        if nodes.is_everybody() && entries.is_everybody() {
            return;
        }
        follow_hot(&mut self.candidate, &nodes, &entries);
        if let Some(open) = &mut self.open {
            follow_hot(&mut open.hot, &nodes, &entries);
            open.affected = entries.set(&open.affected);
            open.frozen_nodes = nodes.set(&open.frozen_nodes);
        }
        // Roles follow from the nodes, as after a restart.
        self.roles = Roles::default();
        self.roles.meet(0..nodes.left(), &self.history, names);
        self.operations.renumber(&nodes, until, expire);
    }
}

fn follow_hot(hot: &mut Hot, nodes: &Moved, entries: &Moved) {
    let Hot { nodes: slow, fan_outs, new_operations, overlaps } = hot;
    *slow = nodes.set(slow);
    let pairs = fan_outs.iter();
    *fan_outs = pairs.filter_map(|&(one, two)| Some((nodes.get(one)?, nodes.get(two)?))).collect();
    for of_entries in [new_operations, overlaps] {
        let moved = of_entries.iter();
        *of_entries = moved.filter_map(|&(id, order)| Some((entries.get(id)?, order))).collect();
    }
}

impl Patience {
    fn at(now: Tick, params: &EngineParams) -> Patience {
        let detection = &params.detection;
        let slices = |time: Nanos| time.0.div_ceil(detection.slice.0.max(1));
        let eras = detection.eras as u64 + 1;
        let short = (eras * detection.era).max(slices(params.expire_after) + detection.era);
        let long = slices(KEEP_IDLE).max(short);
        Patience { now, era: detection.era, short, long, learned: detection.min_learned }
    }

    /// It is in use, or was until a moment ago.
    fn is_recent(&self, touched: Option<Tick>) -> bool {
        touched.is_some_and(|touched| touched + self.short >= self.now)
    }

    /// It is idle, and worth being remembered: when it was used last.
    fn idle_since(&self, touched: Option<Tick>, calls: u64) -> Option<Tick> {
        let learned = touched.filter(|_| calls >= self.learned && !self.is_recent(touched));
        learned.filter(|touched| touched + self.long >= self.now)
    }
}

impl Kept {
    fn of(history: &History, roles: &Roles, patience: &Patience, idle: &Idle) -> Kept {
        let nodes = history.nodes().map(|node| {
            let touched = node.calls.touched(patience.era);
            let since = patience.idle_since(touched, node.held());
            let is_worth_it = since
                .is_some_and(|since| node.age.is_frozen() || idle.has_room_for(node, since, roles));
            patience.is_recent(touched) || is_worth_it
        });
        let paths = history.paths.iter().map(|path| {
            let touched = path.sums.touched(patience.era);
            let since = patience.idle_since(touched, path.sums.baseline().calls);
            let node = history.node(path.node);
            let is_worth_it = since.is_some_and(|since| {
                node.age.is_frozen()
                    || idle.has_room_for_path(since) && idle.has_room_for(node, since, roles)
            });
            patience.is_recent(touched) || is_worth_it
        });
        let entries = vec![false; history.entries().len()];
        let mut kept = Kept { nodes: nodes.collect(), paths: paths.collect(), entries };
        for translation in &history.translations {
            kept.mark(&translation.nodes, &translation.paths);
        }
        history.pending.values().flatten().for_each(|sums| kept.mark_sums(sums));
        // A path has a higher number than the one above it, so one walk from the last is enough.
        for (id, path) in history.paths.iter().enumerate().rev() {
            if kept.paths[id] {
                kept.nodes[path.node as usize] = true;
                kept.entries[path.entry as usize] = true;
                if let Some(above) = path.above {
                    kept.paths[above as usize] = true;
                }
            }
        }
        kept
    }

    /// All that the nodes name which stay.
    fn names(&self, history: &History, roles: &Roles) -> Held {
        let mut known = Held::default();
        for (node, _) in history.nodes().zip(&self.nodes).filter(|(_, stays)| **stays) {
            hold_node(&mut known, node.key);
            if let Some(key) = roles.key(node.key) {
                [key.service, key.name].into_iter().for_each(|name| known.name(name));
            }
        }
        known
    }

    fn mark(&mut self, nodes: &[Id], paths: &[Id]) {
        nodes.iter().for_each(|&id| self.nodes[id as usize] = true);
        paths.iter().for_each(|&id| self.paths[id as usize] = true);
    }

    fn mark_sums(&mut self, sums: &SliceSums) {
        let SliceSums { entries, paths, nodes, pairs, groups } = sums;
        nodes.iter().for_each(|&(id, _)| self.nodes[id as usize] = true);
        for &((parent, child), _) in pairs {
            self.mark(&[parent, child], &[]);
        }
        let of_paths = paths.iter().map(|&(id, _)| id);
        let of_entries = entries.iter().map(|&(id, _)| id);
        let all = of_paths.chain(of_entries).chain(groups.iter().map(|&((id, _), _)| id));
        all.for_each(|id| self.paths[id as usize] = true);
    }
}

impl History {
    /// Lets go of what does not stay, and closes up the numbers of the rest.
    fn renumber(
        &mut self,
        kept: &Kept,
        nodes: &Moved,
        entries: &Moved,
        known: &Held,
        patience: &Patience,
    ) {
        for (path, _) in self.paths.iter().zip(&kept.paths).filter(|(_, stays)| !**stays) {
            let node = &mut self.nodes[path.node as usize];
            node.reprice(path.sums.baseline(), &Default::default());
        }
        let paths = Moved::to(&kept.paths);
        let groups = Moved::to(&self.groups_kept(kept, known, patience));
        let pairs = self.pairs.iter();
        let stays =
            |pair: &Pair| kept.nodes[pair.parent as usize] && kept.nodes[pair.child as usize];
        let pairs = Moved::to(&pairs.map(stays).collect::<Vec<bool>>());
        let all = [nodes, &paths, entries, &groups, &pairs];
        if all.into_iter().all(Moved::is_everybody) {
            return;
        }
        self.close_up(nodes, &paths, entries, &groups, &pairs);
        self.recount();
    }

    /// Groups stay with whom they name; those of what is beyond the limits name somebody without a node.
    fn groups_kept(&self, kept: &Kept, known: &Held, patience: &Patience) -> Vec<bool> {
        let stays = |group: &Group| {
            let is_recent = patience.is_recent(group.sums.touched(patience.era));
            kept.entries[group.entry as usize] && (is_recent || is_known(known, group.key))
        };
        self.groups.iter().map(stays).collect()
    }

    fn close_up(
        &mut self,
        nodes: &Moved,
        paths: &Moved,
        entries: &Moved,
        groups: &Moved,
        pairs: &Moved,
    ) {
        nodes.retain(&mut self.nodes);
        for node in &mut self.nodes {
            pairs.follow(&mut node.fan_outs);
            paths.follow(&mut node.paths);
        }
        entries.retain(&mut self.entries);
        for entry in &mut self.entries {
            nodes.move_on(&mut entry.node);
            paths.follow(&mut entry.paths);
            entry.groups.retain_mut(|(_, group)| groups.move_on(group));
        }
        paths.retain(&mut self.paths);
        self.path_numbers.clear();
        for (id, path) in (0..).zip(&mut self.paths) {
            let Path { above, node, entry, .. } = path;
            *above = above.and_then(|above| paths.get(above));
            nodes.move_on(node);
            entries.move_on(entry);
            self.path_numbers.insert((*above, *node), id);
        }
        groups.retain(&mut self.groups);
        self.groups.iter_mut().for_each(|group| _ = entries.move_on(&mut group.entry));
        pairs.retain(&mut self.pairs);
        for Pair { parent, child, .. } in &mut self.pairs {
            nodes.move_on(parent);
            nodes.move_on(child);
        }
        self.node_numbers.retain(|_, node| nodes.move_on(node));
        self.node_numbers.shrink_to(2 * self.nodes.len());
        self.path_numbers.shrink_to(2 * self.paths.len());
        for translation in &mut self.translations {
            nodes.follow(&mut translation.nodes);
            paths.follow(&mut translation.paths);
        }
        self.pending.values_mut().flatten().for_each(|sums| follow_sums(sums, nodes, paths));
        let active = &mut self.active;
        nodes.follow(&mut active.nodes);
        entries.follow(&mut active.entries);
        groups.follow(&mut active.groups);
        pairs.follow(&mut active.pairs);
        active.paths.retain_mut(|(node, entry, path): &mut ActivePath| {
            paths.move_on(path) && nodes.move_on(node) && entries.move_on(entry)
        });
    }

    /// Adds up what is held outside of the lists.
    fn recount(&mut self) {
        let nodes: usize = self.nodes.iter().map(Heap::heap_bytes).sum();
        let paths: usize = self.paths.iter().map(Heap::heap_bytes).sum();
        let entries: usize = self.entries.iter().map(Heap::heap_bytes).sum();
        let groups: usize = self.groups.iter().map(Heap::heap_bytes).sum();
        let pairs: usize = self.pairs.iter().map(Heap::heap_bytes).sum();
        self.heap = nodes + paths + entries + groups + pairs;
    }
}

fn follow_sums(sums: &mut SliceSums, nodes: &Moved, paths: &Moved) {
    sums.entries.retain_mut(|(id, _)| paths.move_on(id));
    sums.paths.retain_mut(|(id, _)| paths.move_on(id));
    sums.groups.retain_mut(|((id, _), _)| paths.move_on(id));
    sums.nodes.retain_mut(|(id, _)| nodes.move_on(id));
    sums.pairs.retain_mut(|((parent, child), _)| nodes.move_on(parent) && nodes.move_on(child));
}

fn hold_node(held: &mut Held, node: NodeKey) {
    let far: Option<Sym> = match node {
        NodeKey::Own(_) | NodeKey::Overflow => None,
        NodeKey::Leaf(_, far) | NodeKey::Failed(_, far) => far,
        NodeKey::Edge(_, far)
        | NodeKey::Request(_, far)
        | NodeKey::Response(_, far)
        | NodeKey::Retry(_, far) => Some(far),
    };
    key_of(node).into_iter().for_each(|key| held.key(key));
    far.into_iter().for_each(|far| held.name(far));
}

fn hold_group(held: &mut Held, group: GroupKey) {
    let (names, key) = named(group);
    names.into_iter().flatten().for_each(|name| held.name(name));
    key.into_iter().for_each(|key| held.key(key));
}

fn is_known(held: &Held, group: GroupKey) -> bool {
    let (names, key) = named(group);
    names.into_iter().flatten().all(|name| held.has_name(name))
        && key.is_none_or(|key| held.has_key(key))
}

/// What a group is named by: up to two services or dependencies, or an operation.
fn named(group: GroupKey) -> ([Option<Sym>; 2], Option<KeyId>) {
    match group {
        GroupKey::Service(one) | GroupKey::Peer(one) | GroupKey::Unnamed(one) => {
            ([Some(one), None], None)
        }
        GroupKey::Request(one, two) | GroupKey::Response(one, two) => {
            ([Some(one), Some(two)], None)
        }
        GroupKey::Overlap(key) => ([None; 2], Some(key)),
        GroupKey::Overflow => ([None; 2], None),
    }
}
