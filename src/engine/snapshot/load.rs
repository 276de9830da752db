//! From records to a judge. Nothing read is believed: every length is bounded by the bytes there are, every
//! number that refers to something is looked up, and what can be worked out is not read.

use std::collections::BTreeSet;
use std::io::{BufReader, Read};
use std::sync::Arc;

use prost::Message;

use super::records::{self, Kind, Record};
use super::{LoadError, incidents};
use crate::engine::age::Age;
use crate::engine::aggregate::{Detail, GroupKey, Id, NodeKey};
use crate::engine::detect::Hot;
use crate::engine::graph::order;
use crate::engine::judge::{Judge, OpenIncident};
use crate::engine::params::EngineParams;
use crate::engine::roles::Party;
use crate::engine::rolling::{Rolling, Tick};
use crate::engine::tape::{Packed, Tape};
use crate::engine::verdict::SuspectKind;
use crate::model::{AttrSetId, Interner, KeyId, SpanKind, Sym};

/// No record is longer: an incident with two thousand entries comes closest, with a megabyte.
const MAX_RECORD_BYTES: u64 = 16 << 20;
/// Slices or eras of one figure: some six eras and sixty recent slices by default.
const MAX_ON_TAPE: usize = 10_000;
/// Ticks fit the tapes' 32 bits with room to go on for another 300 years.
const MAX_TICK: Tick = 1 << 31;

/// Reads what `save` wrote.
pub(super) fn load(
    params: EngineParams,
    names: &Interner,
    from: &mut dyn Read,
) -> Result<Judge, LoadError> {
    let mut records = Records { from: BufReader::new(from), scratch: Vec::new(), read: 0 };
    let Some(Kind::Begin(begin)) = records.next()? else {
        return Err(malformed("it does not begin as it should"));
    };
    let mut loader = Loader::begin(params, names, &begin)?;
    loop {
        let before = records.read;
        match records.next()? {
            Some(Kind::End(count)) if count == before => break,
            Some(Kind::End(_)) => return Err(malformed("records are missing")),
            Some(kind) => loader.take(kind)?,
            // Of a later release, whose files may be read as far as they are understood.
            None => {}
        }
    }
    Ok(loader.finish())
}

fn malformed(what: &'static str) -> LoadError {
    LoadError::Malformed(what)
}

struct Records<R> {
    from: BufReader<R>,
    scratch: Vec<u8>,
    read: u64,
}

impl<R: Read> Records<R> {
    fn next(&mut self) -> Result<Option<Kind>, LoadError> {
        let length = self.length()?;
        if length > MAX_RECORD_BYTES {
            return Err(malformed("a record that is too long"));
        }
        self.scratch.clear();
        // Reads what there is; room is made as it comes.
        self.from.by_ref().take(length).read_to_end(&mut self.scratch)?;
        if self.scratch.len() as u64 != length {
            return Err(malformed("it ends within a record"));
        }
        self.read += 1;
        let record = Record::decode(&*self.scratch).map_err(|_| malformed("a record"))?;
        Ok(record.kind)
    }

    fn length(&mut self) -> Result<u64, LoadError> {
        let mut length = 0u64;
        for shift in (0..35).step_by(7) {
            let mut byte = [0];
            self.from.read_exact(&mut byte).map_err(|_| malformed("it ends without an end"))?;
            length |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(length);
            }
        }
        Err(malformed("a length"))
    }
}

/// A judge in the making.
struct Loader<'a> {
    judge: Judge,
    names: &'a Interner,
    texts: Vec<Arc<str>>,
    attr_sets: Vec<AttrSetId>,
    /// From the file's numbers to the judge's. What was two may be one under today's limits of names.
    nodes: Vec<Id>,
    paths: Vec<Id>,
    /// `None` for one that is another's double, whose figures are not wanted.
    entries: Vec<(Id, bool)>,
    entries_read: usize,
}

impl<'a> Loader<'a> {
    fn begin(
        params: EngineParams,
        names: &'a Interner,
        begin: &records::Begin,
    ) -> Result<Loader<'a>, LoadError> {
        let detection = &params.detection;
        if (begin.slice_nanos, begin.era_slices) != (detection.slice.0, detection.era) {
            return Err(LoadError::OtherUnits);
        }
        let judged = &begin.judged;
        let is_ascending = judged.is_sorted_by(|one, two| one < two);
        if begin.tick > MAX_TICK || judged.len() as u64 > begin.tick || !is_ascending {
            return Err(malformed("the slices judged"));
        }
        let mut judge = Judge::new(params);
        judge.tick = begin.tick;
        judge.cursor = begin.cursor;
        judge.empty_run = begin.empty_run;
        judge.streak = begin.streak;
        judge.incidents = begin.incidents;
        judge.over = begin.over.min(begin.tick);
        judge.history.set_judged(begin.tick, judged);
        Ok(Loader {
            judge,
            names,
            texts: Vec::new(),
            attr_sets: vec![AttrSetId::EMPTY],
            nodes: Vec::new(),
            paths: Vec::new(),
            entries: Vec::new(),
            entries_read: 0,
        })
    }

    fn take(&mut self, kind: Kind) -> Result<(), LoadError> {
        match kind {
            Kind::Begin(_) | Kind::End(_) => Err(malformed("a second beginning")),
            Kind::Name(text) => {
                self.texts.push(Arc::from(text));
                Ok(())
            }
            Kind::Attrs(attrs) => self.attrs(&attrs),
            Kind::Node(node) => self.node(node),
            Kind::Path(path) => self.path(path),
            Kind::Entry(entry) => self.entry(entry),
            Kind::Group(group) => self.group(group),
            Kind::Pair(pair) => self.pair(pair),
            Kind::Candidate(hot) => {
                self.judge.candidate = self.hot(hot)?;
                Ok(())
            }
            Kind::Open(open) => self.open(open),
            Kind::Closed(incident) => {
                let incident = incidents::incident(incident)?;
                let closed = &mut self.judge.closed;
                if incident.end.is_none()
                    || closed.back().is_some_and(|last| last.id <= incident.id)
                {
                    return Err(malformed("the closed incidents"));
                }
                if closed.len() < self.judge.params.max_incidents {
                    closed.push_back(incident);
                }
                Ok(())
            }
        }
    }

    fn attrs(&mut self, attrs: &records::Attrs) -> Result<(), LoadError> {
        let (pairs, []) = attrs.names.as_chunks::<2>() else {
            return Err(malformed("an attribute without a value"));
        };
        let mut set = Vec::with_capacity(pairs.len());
        for [name, value] in pairs {
            let sym = |number| Ok::<_, LoadError>(self.names.string(self.text(number)?.as_bytes()));
            set.push((sym(*name)?, sym(*value)?));
        }
        self.attr_sets.push(self.names.attr_set(&mut set));
        Ok(())
    }

    fn text(&self, number: u32) -> Result<&str, LoadError> {
        self.texts.get(number as usize).map(|text| &**text).ok_or(malformed("a name's number"))
    }

    fn node(&mut self, record: records::Node) -> Result<(), LoadError> {
        let key = self.node_key(&record.key.unwrap_or_default())?;
        let calls = self.rolling(record.calls)?;
        let spread = self.rolling(record.spread)?;
        let details = self.details(record.details)?;
        let age = self.age(record.age)?;
        let (id, is_new) = self.judge.history.restore_node(key, age, (calls, spread), details);
        if is_new {
            let Judge { history, roles, operations, .. } = &mut self.judge;
            roles.meet(id..id + 1, history, self.names);
            operations.meet(id..id + 1, history, roles);
        }
        self.nodes.push(id);
        Ok(())
    }

    fn node_key(&self, record: &records::NodeKey) -> Result<NodeKey, LoadError> {
        let far = || record.far.map(|far| self.text(far)).transpose();
        let peer = || -> Result<Option<Sym>, LoadError> {
            Ok(far()?.map(|far| self.names.string(far.as_bytes())))
        };
        let callee = || -> Result<Sym, LoadError> {
            Ok(self.names.service(far()?.ok_or(malformed("no callee"))?.as_bytes()))
        };
        Ok(match record.sort {
            0 => NodeKey::Own(self.key(record)?),
            1 => NodeKey::Leaf(self.key(record)?, peer()?),
            2 => NodeKey::Edge(self.key(record)?, callee()?),
            3 => NodeKey::Request(self.key(record)?, callee()?),
            4 => NodeKey::Response(self.key(record)?, callee()?),
            5 => NodeKey::Overflow,
            6 => NodeKey::Retry(self.key(record)?, callee()?),
            7 => NodeKey::Failed(self.key(record)?, peer()?),
            _ => return Err(malformed("a node of an unknown sort")),
        })
    }

    fn key(&self, record: &records::NodeKey) -> Result<KeyId, LoadError> {
        let service = self.names.service(self.text(record.service)?.as_bytes());
        let kind = SpanKind::from_number(record.span_kind.into());
        Ok(self.names.key(service, self.text(record.name)?.as_bytes(), kind))
    }

    fn path(&mut self, record: records::Path) -> Result<(), LoadError> {
        let above = record.above.map(|above| look_up(&self.paths, above)).transpose()?;
        let node = look_up(&self.nodes, record.node)?;
        let sums = self.rolling(record.sums)?;
        let restored = self.judge.history.restore_path(above, node, sums);
        self.paths.push(restored.path);
        if above.is_none() {
            self.entries.push((restored.entry, restored.is_new));
        }
        Ok(())
    }

    fn entry(&mut self, record: records::Entry) -> Result<(), LoadError> {
        let entry = self.entries.get(self.entries_read).copied();
        let (id, is_new) = entry.ok_or(malformed("an entry without a path"))?;
        self.entries_read += 1;
        let (age, sums) = (self.age(record.age)?, self.rolling(record.sums)?);
        if is_new {
            self.judge.history.restore_entry(id, age, sums);
        }
        Ok(())
    }

    fn entry_number(&self, number: u32) -> Result<Id, LoadError> {
        let entry = self.entries.get(number as usize);
        entry.map(|&(id, _)| id).ok_or(malformed("an entry's number"))
    }

    fn group(&mut self, record: records::Group) -> Result<(), LoadError> {
        let entry = self.entry_number(record.entry)?;
        let key = self.group_key(&record.key.unwrap_or_default())?;
        let sums = self.rolling(record.sums)?;
        self.judge.history.restore_group(entry, key, sums);
        Ok(())
    }

    fn group_key(&self, record: &records::GroupKey) -> Result<GroupKey, LoadError> {
        let service =
            |number| Ok::<_, LoadError>(self.names.service(self.text(number)?.as_bytes()));
        Ok(match record.sort {
            0 => GroupKey::Service(service(record.name)?),
            1 => GroupKey::Peer(self.names.string(self.text(record.name)?.as_bytes())),
            2 => GroupKey::Unnamed(service(record.name)?),
            3 => GroupKey::Request(service(record.name)?, service(record.far)?),
            4 => GroupKey::Response(service(record.name)?, service(record.far)?),
            5 => GroupKey::Overflow,
            6 => {
                let kind = SpanKind::from_number(record.span_kind.into());
                let name = self.text(record.far)?.as_bytes();
                GroupKey::Overlap(self.names.key(service(record.name)?, name, kind))
            }
            _ => return Err(malformed("a group of an unknown sort")),
        })
    }

    fn pair(&mut self, record: records::Pair) -> Result<(), LoadError> {
        let parent = look_up(&self.nodes, record.parent)?;
        let child = look_up(&self.nodes, record.child)?;
        let sums = self.rolling(record.sums)?;
        self.judge.history.restore_pair(parent, child, sums);
        Ok(())
    }

    fn age(&self, record: Option<records::Age>) -> Result<Age, LoadError> {
        let records::Age { learned, absorbed_upto, tainted_upto, frozen, relearn } =
            record.unwrap_or_default();
        let now = self.judge.tick;
        // An age moves on slice by slice through an incident, which has an end.
        let longest_incident = 1 << 20;
        let incident = tainted_upto.saturating_sub(absorbed_upto);
        if learned > MAX_TICK
            || absorbed_upto > now
            || tainted_upto > now
            || incident > longest_incident
        {
            return Err(malformed("an age"));
        }
        Ok(Age { learned, absorbed_upto, tainted_upto, frozen, relearn })
    }

    fn rolling<T: Packed>(
        &self,
        record: Option<records::Rolling>,
    ) -> Result<Rolling<T>, LoadError> {
        let records::Rolling { eras, recent } = record.unwrap_or_default();
        let era = self.judge.params.detection.era.max(1);
        let eras = self.tape(eras, self.judge.tick / era)?;
        let recent = self.tape(recent, self.judge.tick)?;
        Ok(Rolling::restore(eras, recent))
    }

    fn details(&self, record: Option<records::Tape>) -> Result<Tape<Detail>, LoadError> {
        let mut details = Tape::default();
        for (tick, mut detail) in self.tape::<Detail>(record, self.judge.tick)? {
            for sum in &mut detail.by_attrs {
                sum.attrs = look_up(&self.attr_sets, sum.attrs.0)?;
            }
            detail.by_attrs.sort_unstable_by_key(|sum| sum.attrs);
            // Sets that have become one under today's limits.
            detail.by_attrs.dedup_by(|next, kept| {
                let same = next.attrs == kept.attrs;
                if same {
                    kept.calls += next.calls;
                    kept.self_time = kept.self_time.saturating_add(next.self_time);
                }
                same
            });
            details.add(tick, &detail);
        }
        Ok(details)
    }

    fn tape<T: Packed>(
        &self,
        record: Option<records::Tape>,
        last: Tick,
    ) -> Result<Vec<(Tick, T)>, LoadError> {
        let Some(records::Tape { first, records }) = record else { return Ok(Vec::new()) };
        let values = Tape::parse(first, &records, MAX_ON_TAPE);
        let values = values.ok_or(malformed("a tape"))?;
        if values.last().is_some_and(|&(tick, _)| tick > last) {
            return Err(malformed("figures of the future"));
        }
        Ok(values)
    }

    fn hot(&self, record: records::Hot) -> Result<Hot, LoadError> {
        let mut hot = Hot { nodes: self.node_numbers(&record.nodes)?, ..Hot::default() };
        for records::NodePair { parent, child } in record.fan_outs {
            hot.fan_outs.insert((look_up(&self.nodes, parent)?, look_up(&self.nodes, child)?));
        }
        for records::EntryGroup { entry, key } in record.new_operations {
            let key = self.group_key(&key.unwrap_or_default())?;
            hot.new_operations.insert((self.entry_number(entry)?, order(key)));
        }
        for records::EntryGroup { entry, key } in record.overlaps {
            let key = self.group_key(&key.unwrap_or_default())?;
            hot.overlaps.insert((self.entry_number(entry)?, order(key)));
        }
        Ok(hot)
    }

    fn node_numbers(&self, numbers: &[u32]) -> Result<BTreeSet<Id>, LoadError> {
        numbers.iter().map(|&number| look_up(&self.nodes, number)).collect()
    }

    fn open(&mut self, record: records::Open) -> Result<(), LoadError> {
        let published = incidents::incident(record.incident.unwrap_or_default())?;
        let now = self.judge.tick;
        if self.judge.open.is_some() || published.end.is_some() || published.suspects.is_empty() {
            return Err(malformed("the open incident"));
        }
        if record.onset > now || record.last_hot > now {
            return Err(malformed("the open incident's time"));
        }
        let kind = incidents::suspect_kind(&record.first_kind)?;
        let name = self.text(record.first_name)?.as_bytes();
        let name = match kind {
            SuspectKind::Dependency => self.names.string(name),
            SuspectKind::Service | SuspectKind::Edge => self.names.service(name),
        };
        let affected = record.affected.iter().map(|&number| self.entry_number(number));
        self.judge.open = Some(OpenIncident {
            published,
            first_suspect: Party { kind, name },
            hot: self.hot(record.hot.unwrap_or_default())?,
            affected: affected.collect::<Result<_, _>>()?,
            frozen_nodes: self.node_numbers(&record.frozen_nodes)?,
            onset: record.onset,
            last_hot: record.last_hot,
            quiet: record.quiet,
        });
        Ok(())
    }

    fn finish(self) -> Judge {
        let mut judge = self.judge;
        let newest =
            judge.closed.front().into_iter().chain(judge.open.iter().map(|open| &open.published));
        let newest = newest.map(|incident| incident.id).max().unwrap_or(0);
        judge.incidents = judge.incidents.max(newest);
        judge.history.settle();
        judge.roles.update(&judge.history, self.names);
        judge.operations.restore(&mut judge.history, judge.tick, &judge.params);
        judge
    }
}

fn look_up<T: Copy>(numbers: &[T], number: u32) -> Result<T, LoadError> {
    numbers.get(number as usize).copied().ok_or(malformed("a number of nothing"))
}
