//! From the judge to records. Everything saved is taken apart without `..`: what is new must be decided on.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};

use foldhash::fast::RandomState;
use prost::Message;

use super::records::{self, Kind, Record};
use super::{KEEP_IDLE, incidents};
use crate::engine::age::Age;
use crate::engine::aggregate::{AttrSum, Detail, GroupKey, Id, NodeKey};
use crate::engine::detect::Hot;
use crate::engine::graph::{Entry, Group, GroupOrder, Pair, Path};
use crate::engine::history::History;
use crate::engine::judge::{Judge, OpenIncident};
use crate::engine::node::Node;
use crate::engine::params::EngineParams;
use crate::engine::rolling::{Rolling, Tick};
use crate::engine::tape::{Packed, Tape};
use crate::model::{AttrSetId, Interner, Key, Sym};

/// Writes everything the judge has learned.
pub(super) fn save(judge: &Judge, names: &Interner, out: &mut dyn Write) -> io::Result<()> {
    let Judge {
        params,
        history,
        roles: _,      // worked out again from the nodes
        operations: _, // rows are; their counters begin again
        tally: _,      // counters begin again
        tick,
        cursor,
        empty_run,
        streak,
        candidate,
        open,
        closed,
        over,
        incidents,
        detection_delays: _, // those of this process
        timeline: _,         // for looking at
        forgetting: _,       // whoever goes on says so again
    } = judge;
    let kept = Kept::of(history, *tick, params);
    let mut writer = Writer::new(names, out);
    writer.put(Kind::Begin(records::Begin {
        slice_nanos: params.detection.slice.0,
        era_slices: params.detection.era,
        tick: *tick,
        cursor: *cursor,
        empty_run: *empty_run,
        streak: *streak,
        incidents: *incidents,
        judged: history.judged_slices().collect(),
        over: *over,
    }))?;
    writer.graph(judge, &kept)?;
    let hot = writer.hot(history, &kept, candidate)?;
    writer.put(Kind::Candidate(hot))?;
    if let Some(open) = open {
        let open = writer.open(history, &kept, open)?;
        writer.put(Kind::Open(open))?;
    }
    for incident in closed {
        writer.put(Kind::Closed(incidents::record(incident)))?;
    }
    writer.put(Kind::End(writer.records))
}

/// Which nodes, paths and entries are saved, and under which number.
struct Kept {
    nodes: Vec<Option<u32>>,
    paths: Vec<Option<u32>>,
    entries: Vec<Option<u32>>,
}

impl Kept {
    /// What was touched lately, and what that hangs from.
    fn of(history: &History, now: Tick, params: &EngineParams) -> Kept {
        let slices = KEEP_IDLE.0 / params.detection.slice.0.max(1);
        let era = params.detection.era;
        let is_young = |touched: Option<Tick>| touched.is_some_and(|at| at + slices >= now);
        let nodes = history.nodes.iter();
        let mut nodes: Vec<bool> = nodes.map(|node| is_young(node.calls.touched(era))).collect();
        let all_paths = &history.paths;
        let mut paths: Vec<bool> =
            all_paths.iter().map(|path| is_young(path.sums.touched(era))).collect();
        let mut entries = vec![false; history.entries().len()];
        // A path has a higher number than the one above it, so one walk from the last is enough.
        for (id, path) in all_paths.iter().enumerate().rev() {
            if paths[id] {
                nodes[path.node as usize] = true;
                entries[path.entry as usize] = true;
                if let Some(above) = path.above {
                    paths[above as usize] = true;
                }
            }
        }
        Kept { nodes: numbered(&nodes), paths: numbered(&paths), entries: numbered(&entries) }
    }

    fn node(&self, id: Id) -> Option<u32> {
        self.nodes[id as usize]
    }

    fn entry(&self, id: Id) -> Option<u32> {
        self.entries[id as usize]
    }
}

fn numbered(kept: &[bool]) -> Vec<Option<u32>> {
    let mut next = 0..;
    kept.iter().map(|&kept| if kept { next.next() } else { None }).collect()
}

/// Writes records, and names and attribute sets ahead of the first record that needs them.
struct Writer<'a> {
    names: &'a Interner,
    out: &'a mut dyn Write,
    symbols: HashMap<Sym, u32, RandomState>,
    attr_sets: HashMap<AttrSetId, u32, RandomState>,
    records: u64,
    scratch: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(names: &'a Interner, out: &'a mut dyn Write) -> Writer<'a> {
        let (symbols, attr_sets) = (HashMap::default(), HashMap::default());
        Writer { names, out, symbols, attr_sets, records: 0, scratch: Vec::new() }
    }

    fn put(&mut self, kind: Kind) -> io::Result<()> {
        self.scratch.clear();
        let record = Record { kind: Some(kind) };
        record.encode_length_delimited(&mut self.scratch).map_err(io::Error::other)?;
        self.records += 1;
        self.out.write_all(&self.scratch)
    }

    fn name(&mut self, sym: Sym) -> io::Result<u32> {
        if let Some(&number) = self.symbols.get(&sym) {
            return Ok(number);
        }
        let number = count(self.symbols.len());
        self.symbols.insert(sym, number);
        self.put(Kind::Name(self.names.text(sym).to_string()))?;
        Ok(number)
    }

    /// 0 is the empty set, which is not written.
    fn attrs(&mut self, set: AttrSetId) -> io::Result<u32> {
        if set == AttrSetId::EMPTY {
            return Ok(0);
        }
        if let Some(&number) = self.attr_sets.get(&set) {
            return Ok(number);
        }
        let mut names = Vec::new();
        for &(name, value) in self.names.attributes(set).iter() {
            names.extend([self.name(name)?, self.name(value)?]);
        }
        let number = count(self.attr_sets.len() + 1);
        self.attr_sets.insert(set, number);
        self.put(Kind::Attrs(records::Attrs { names }))?;
        Ok(number)
    }

    fn graph(&mut self, judge: &Judge, kept: &Kept) -> io::Result<()> {
        let history = &judge.history;
        for (node, _) in history.nodes.iter().zip(&kept.nodes).filter(|(_, kept)| kept.is_some()) {
            let node = self.node(judge, node)?;
            self.put(Kind::Node(node))?;
        }
        for (path, _) in history.paths.iter().zip(&kept.paths).filter(|(_, kept)| kept.is_some()) {
            let Path { above, node, entry: _, sums, active: _ } = path;
            let above = above.and_then(|above| kept.paths[above as usize]);
            let node = kept.node(*node).unwrap_or_default();
            self.put(Kind::Path(records::Path { above, node, sums: rolling(sums) }))?;
        }
        for (entry, _) in
            history.entries().iter().zip(&kept.entries).filter(|(_, kept)| kept.is_some())
        {
            let Entry { node: _, age: its, sums, groups: _, paths: _, active: _ } = entry;
            self.put(Kind::Entry(records::Entry { age: age(its), sums: rolling(sums) }))?;
        }
        for Group { entry, key, sums, active: _ } in &history.groups {
            let Some(entry) = kept.entry(*entry) else { continue };
            let key = Some(self.group_key(*key)?);
            self.put(Kind::Group(records::Group { entry, key, sums: rolling(sums) }))?;
        }
        for Pair { parent, child, sums, active: _ } in &history.pairs {
            if let (Some(parent), Some(child)) = (kept.node(*parent), kept.node(*child)) {
                self.put(Kind::Pair(records::Pair { parent, child, sums: rolling(sums) }))?;
            }
        }
        Ok(())
    }

    fn node(&mut self, judge: &Judge, node: &Node) -> io::Result<records::Node> {
        let Node {
            key,
            age: its,
            calls,
            spread,
            details,
            held: _,     // counted again
            fan_outs: _, // those of the pairs
            paths: _,    // those of the paths
            price: _,    // added up again
            limit: _,    // read off again
            fresh: _,    // counted before anything is saved
            active: _,
        } = node;
        let key = Some(self.node_key(judge, *key)?);
        Ok(records::Node {
            key,
            age: age(its),
            calls: rolling(calls),
            details: self.details(details)?,
            spread: rolling(spread),
        })
    }

    fn node_key(&mut self, judge: &Judge, node: NodeKey) -> io::Result<records::NodeKey> {
        let (sort, far) = match node {
            NodeKey::Own(_) => (0, None),
            NodeKey::Leaf(_, peer) => (1, peer),
            NodeKey::Edge(_, callee) => (2, Some(callee)),
            NodeKey::Request(_, callee) => (3, Some(callee)),
            NodeKey::Response(_, callee) => (4, Some(callee)),
            NodeKey::Retry(_, callee) => (6, Some(callee)),
            NodeKey::Failed(_, peer) => (7, peer),
            NodeKey::Overflow => return Ok(records::NodeKey { sort: 5, ..Default::default() }),
        };
        let Some(key) = judge.roles.key(node) else {
            return Ok(records::NodeKey { sort: 5, ..Default::default() });
        };
        Ok(records::NodeKey {
            sort,
            service: self.name(key.service)?,
            name: self.name(key.name)?,
            span_kind: key.kind as u32,
            far: far.map(|far| self.name(far)).transpose()?,
        })
    }

    fn group_key(&mut self, key: GroupKey) -> io::Result<records::GroupKey> {
        let (sort, name, far) = match key {
            GroupKey::Service(service) => (0, service, None),
            GroupKey::Peer(peer) => (1, peer, None),
            GroupKey::Unnamed(service) => (2, service, None),
            GroupKey::Request(from, to) => (3, from, Some(to)),
            GroupKey::Response(from, to) => (4, from, Some(to)),
            GroupKey::Overflow => return Ok(records::GroupKey { sort: 5, ..Default::default() }),
            GroupKey::Overlap(operation) => {
                let Key { service, name, kind } = self.names.resolve(operation);
                let (name, far) = (self.name(service)?, self.name(name)?);
                let span_kind = kind as u32;
                return Ok(records::GroupKey { sort: 6, name, far, span_kind });
            }
        };
        let name = self.name(name)?;
        let far = far.map(|far| self.name(far)).transpose()?.unwrap_or_default();
        Ok(records::GroupKey { sort, name, far, span_kind: 0 })
    }

    /// Attribute sets are numbered anew, so the tape is written anew.
    fn details(&mut self, details: &Tape<Detail>) -> io::Result<Option<records::Tape>> {
        let mut renumbered = Tape::default();
        for (tick, Detail { slowest, by_attrs }) in details.since(0) {
            let mut sums = Vec::with_capacity(by_attrs.len());
            for AttrSum { attrs, calls, self_time } in by_attrs {
                sums.push(AttrSum { attrs: AttrSetId(self.attrs(attrs)?), calls, self_time });
            }
            sums.sort_unstable_by_key(|sum| sum.attrs);
            renumbered.add(tick, &Detail { slowest, by_attrs: sums });
        }
        Ok(tape(&renumbered))
    }

    fn hot(&mut self, history: &History, kept: &Kept, hot: &Hot) -> io::Result<records::Hot> {
        let Hot { nodes, fan_outs, new_operations, overlaps } = hot;
        let fan_outs = fan_outs.iter().filter_map(|&(parent, child)| {
            let (parent, child) = (kept.node(parent)?, kept.node(child)?);
            Some(records::NodePair { parent, child })
        });
        Ok(records::Hot {
            nodes: nodes.iter().filter_map(|&id| kept.node(id)).collect(),
            fan_outs: fan_outs.collect(),
            new_operations: self.entry_groups(history, kept, new_operations)?,
            overlaps: self.entry_groups(history, kept, overlaps)?,
        })
    }

    fn entry_groups(
        &mut self,
        history: &History,
        kept: &Kept,
        groups: &BTreeSet<(Id, GroupOrder)>,
    ) -> io::Result<Vec<records::EntryGroup>> {
        let mut saved = Vec::new();
        for &(entry, order) in groups {
            let group = history.group(entry, order).map(|group| group.key);
            if let (Some(entry), Some(key)) = (kept.entry(entry), group) {
                saved.push(records::EntryGroup { entry, key: Some(self.group_key(key)?) });
            }
        }
        // In memory they are in the order of interned numbers, which the next process does not share.
        saved.sort_by_key(|one| {
            let key = one.key.clone().unwrap_or_default();
            (one.entry, key.sort, key.name, key.far, key.span_kind)
        });
        Ok(saved)
    }

    fn open(
        &mut self,
        history: &History,
        kept: &Kept,
        open: &OpenIncident,
    ) -> io::Result<records::Open> {
        let OpenIncident {
            published,
            first_suspect,
            hot,
            affected,
            frozen_nodes,
            onset,
            last_hot,
            quiet,
        } = open;
        Ok(records::Open {
            incident: Some(incidents::record(published)),
            first_kind: first_suspect.kind.as_str().to_owned(),
            first_name: self.name(first_suspect.name)?,
            hot: Some(self.hot(history, kept, hot)?),
            affected: affected.iter().filter_map(|&id| kept.entry(id)).collect(),
            frozen_nodes: frozen_nodes.iter().filter_map(|&id| kept.node(id)).collect(),
            onset: *onset,
            last_hot: *last_hot,
            quiet: *quiet,
        })
    }
}

fn age(age: &Age) -> Option<records::Age> {
    let Age { learned, absorbed_upto, tainted_upto, frozen, relearn } = *age;
    Some(records::Age { learned, absorbed_upto, tainted_upto, frozen, relearn })
}

fn rolling<T: Packed>(figure: &Rolling<T>) -> Option<records::Rolling> {
    // The baseline is the sum of the eras, and is added up again.
    Some(records::Rolling { eras: tape(&figure.all_eras()), recent: tape(figure.recent()) })
}

fn tape<T: Packed>(tape: &Tape<T>) -> Option<records::Tape> {
    let (first, records) = tape.packed()?;
    Some(records::Tape { first, records })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
