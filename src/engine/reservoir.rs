//! The traces that are kept for people to look at: of every entry a typical one, of every incident the
//! slowest and the newest, and for a while whatever the shards set aside.
//!
//! Everything has a bound in bytes. The last minutes are kept because an incident is known only some
//! slices after it began: its first traces are taken from there. Time is the traces' own. Nothing here
//! decides what an incident is; it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::evidence::{KeptTrace, Role};
use super::sampler::{Sample, Samples};
use super::verdict::{EntryImpact, Incident};
use crate::model::{Held, Interner, KeyId, Nanos, Timestamp, TraceId};

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepLimits {
    /// Bytes of all kept traces.
    pub bytes: usize,
    /// Incidents that traces are kept for.
    pub incidents: usize,
}

impl Default for KeepLimits {
    /// 32 MiB are some thirty thousand traces of twenty spans.
    fn default() -> KeepLimits {
        KeepLimits { bytes: 32 << 20, incidents: 200 }
    }
}

/// Kept traces.
pub struct Reservoir {
    limits: KeepLimits,
    typical: BTreeMap<KeyId, Typical>,
    typical_bytes: usize,
    recent: VecDeque<Arc<Sample>>,
    recent_bytes: usize,
    incidents: VecDeque<OfIncident>,
    /// Traces that could not be kept for want of room.
    turned_away: u64,
}

/// The typical trace of an entry: the one nearest to the median of the last samples.
struct Typical {
    durations: VecDeque<Nanos>,
    sample: Arc<Sample>,
    seen: Timestamp,
}

/// The traces of one incident.
struct OfIncident {
    id: u64,
    is_open: bool,
    /// By entry: how long it normally takes, and its traces.
    entries: BTreeMap<KeyId, OfEntry>,
    newest: VecDeque<Arc<Sample>>,
}

#[derive(Default)]
struct OfEntry {
    /// The largest excess first.
    slowest: Vec<Arc<Sample>>,
    /// As it was when the incident began: what is typical later may be something else.
    typical: Option<Arc<Sample>>,
}

/// An open incident's entries by name, for telling whether a trace is one of its.
struct Affected<'a> {
    incident: &'a Incident,
    by_name: BTreeMap<(&'a str, &'a str, crate::model::SpanKind), &'a EntryImpact>,
}

/// For how long whatever comes by is kept: an onset is looked for in the last 90 s, and traces take some
/// seconds to close.
const RECENT: Nanos = Nanos::from_secs(120);
/// Samples whose median says what is typical: two and a half minutes at one a slice.
const MEDIAN_OF: usize = 31;
/// One sample of an entry in this time counts for its median.
const SAMPLE_EVERY: Nanos = Nanos::from_secs(5);
/// A typical trace older than this gives way to any younger one.
const STALE: Nanos = Nanos::from_secs(600);
/// An entry without a sample for this long has no typical trace any more.
const FORGOTTEN: Nanos = Nanos::from_secs(3600);
/// Of each entry of an incident.
const SLOWEST: usize = 3;
/// Of each incident.
const NEWEST: usize = 4;
/// Entries of an incident that traces are kept of.
const ENTRIES: usize = 8;

impl Reservoir {
    /// An empty one.
    pub fn new(limits: KeepLimits) -> Reservoir {
        Reservoir {
            limits,
            typical: BTreeMap::new(),
            typical_bytes: 0,
            recent: VecDeque::new(),
            recent_bytes: 0,
            incidents: VecDeque::new(),
            turned_away: 0,
        }
    }

    /// Takes in what a shard set aside, and learns which incidents are open.
    pub fn absorb(&mut self, samples: Samples, open: &[Incident], names: &Interner) {
        let affected: Vec<Affected<'_>> = open.iter().map(Affected::new).collect();
        for kept in &mut self.incidents {
            kept.is_open = open.iter().any(|incident| incident.id == kept.id);
        }
        for one in &affected {
            if !self.incidents.iter().any(|kept| kept.id == one.incident.id) {
                self.begin(one, names);
            }
        }
        for sample in samples.usual {
            if !self.file(&affected, &sample, names) {
                self.offer_typical(sample);
            }
        }
        for sample in samples.slowest {
            self.file(&affected, &sample, names);
            self.recent_bytes += sample.bytes();
            self.recent.push_back(sample);
        }
        self.make_room();
    }

    /// A kept trace.
    pub fn find(&self, trace: TraceId) -> Option<Arc<Sample>> {
        let of_incidents =
            self.incidents.iter().flat_map(OfIncident::all).map(|(_, sample)| sample);
        let typical = self.typical.values().map(|typical| &typical.sample);
        let mut all = of_incidents.chain(typical).chain(&self.recent);
        all.find(|sample| sample.trace == trace).cloned()
    }

    /// What is kept for an incident: for each entry the typical and the slowest, then the newest.
    pub fn of_incident(&self, id: u64, names: &Interner) -> Vec<KeptTrace> {
        let kept = self.incidents.iter().find(|kept| kept.id == id);
        let all = kept.into_iter().flat_map(OfIncident::all);
        all.map(|(role, sample)| told(role, Some(id), sample, names)).collect()
    }

    /// Everything that is kept, each trace once: those of incidents first, then the typical ones, by name.
    pub fn all(&self, names: &Interner) -> Vec<KeptTrace> {
        let mut all: Vec<KeptTrace> = Vec::new();
        for kept in &self.incidents {
            all.extend(kept.all().map(|(role, one)| told(role, Some(kept.id), one, names)));
        }
        let typical = self.typical.values();
        all.extend(typical.map(|one| told(Role::Typical, None, &one.sample, names)));
        all.extend(self.recent.iter().map(|one| told(Role::Recent, None, one, names)));
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|one| seen.insert(one.trace));
        all.sort_by_key(order);
        all
    }

    /// The typical trace of the entry of `of`: as it was before the incident that `of` belongs to, if it does.
    pub fn typical_for(&self, of: &Sample) -> Option<Arc<Sample>> {
        let then = self.incidents.iter().find_map(|kept| {
            let entry = kept.entries.get(&of.entry)?;
            let is_its =
                kept.all().any(|(role, one)| role != Role::Typical && one.trace == of.trace);
            entry.typical.clone().filter(|_| is_its)
        });
        then.or_else(|| self.typical.get(&of.entry).map(|typical| Arc::clone(&typical.sample)))
    }

    /// Says which names it holds: what can be looked at can be read.
    pub fn hold(&self, held: &mut Held) {
        let of_incidents = self.incidents.iter().flat_map(OfIncident::all);
        let typical = self.typical.values().map(|typical| &typical.sample);
        let all = of_incidents.map(|(_, sample)| sample).chain(typical).chain(&self.recent);
        for sample in all {
            held.key(sample.entry);
            sample.spans.iter().for_each(|span| held.span(span));
        }
    }

    /// Bytes in use. A trace that is kept for two reasons is counted twice.
    pub fn bytes(&self) -> usize {
        self.typical_bytes + self.recent_bytes + self.incident_bytes()
    }

    /// Samples that found no room so far.
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// A third for each of the three sorts.
    fn share(&self) -> usize {
        self.limits.bytes / 3
    }

    fn incident_bytes(&self) -> usize {
        let all = self.incidents.iter().flat_map(OfIncident::all);
        all.map(|(_, sample)| sample.bytes()).sum()
    }

    /// A new incident: its first traces have come by already.
    fn begin(&mut self, affected: &Affected<'_>, names: &Interner) {
        let id = affected.incident.id;
        let mut kept =
            OfIncident { id, is_open: true, entries: BTreeMap::new(), newest: VecDeque::new() };
        for sample in &self.recent {
            if let Some(entry) = affected.entry_of(sample, names) {
                kept.add(sample, entry, &self.typical);
            }
        }
        self.incidents.push_back(kept);
    }

    /// Files a trace under the open incidents it belongs to; whether there is one whose entry it shares, fast
    /// or slow.
    fn file(&mut self, affected: &[Affected<'_>], sample: &Arc<Sample>, names: &Interner) -> bool {
        let mut is_affected = false;
        for one in affected {
            let Some(entry) = one.entry_of(sample, names) else { continue };
            is_affected = true;
            let kept = self.incidents.iter_mut().find(|kept| kept.id == one.incident.id);
            if let Some(kept) = kept {
                kept.add(sample, entry, &self.typical);
            }
        }
        is_affected
    }

    fn offer_typical(&mut self, sample: Arc<Sample>) {
        let (share, bytes) = (self.share(), sample.bytes());
        match self.typical.get_mut(&sample.entry) {
            Some(known) => {
                if sample.end.since(known.seen) < SAMPLE_EVERY {
                    return;
                }
                let before = known.sample.bytes();
                known.offer(sample);
                self.typical_bytes = self.typical_bytes + known.sample.bytes() - before;
            }
            None if self.typical_bytes + bytes > share => self.turned_away += 1,
            None => {
                self.typical_bytes += bytes;
                let durations = VecDeque::from([sample.duration]);
                let seen = sample.end;
                self.typical.insert(sample.entry, Typical { durations, sample, seen });
            }
        }
    }

    fn make_room(&mut self) {
        let latest = self.recent.iter().map(|sample| sample.end).max().unwrap_or_default();
        let share = self.share();
        while self
            .recent
            .front()
            .is_some_and(|oldest| self.recent_bytes > share || oldest.end + RECENT < latest)
        {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.bytes();
        }
        self.typical.retain(|_, typical| typical.seen + FORGOTTEN >= latest);
        self.typical_bytes = self.typical.values().map(|typical| typical.sample.bytes()).sum();
        while self.incidents.len() > self.limits.incidents.max(1) {
            self.incidents.pop_front();
        }
        let mut bytes = self.incident_bytes();
        while bytes > share {
            // The oldest that is over; an open one alone gives up its own oldest.
            let over = self.incidents.iter().position(|kept| !kept.is_open && !kept.is_empty());
            match over.or_else(|| self.incidents.iter().position(|kept| !kept.is_empty())) {
                Some(at) if over.is_some() => self.incidents[at].clear(),
                Some(at) => self.incidents[at].thin_out(),
                None => break,
            }
            self.turned_away += 1;
            bytes = self.incident_bytes();
        }
    }
}

/// Those of incidents first, the newest first; then by name.
fn order(kept: &KeptTrace) -> impl Ord + use<> {
    let incident = kept.incident.map_or((1, 0), |id| (0, u64::MAX - id));
    let name = (Arc::clone(&kept.service), Arc::clone(&kept.operation), kept.span_kind);
    (incident, kept.role, name, std::cmp::Reverse(kept.end), kept.trace)
}

fn told(role: Role, incident: Option<u64>, sample: &Sample, names: &Interner) -> KeptTrace {
    let key = names.resolve(sample.entry);
    KeptTrace {
        trace: sample.trace,
        role,
        incident,
        service: names.text(key.service),
        operation: names.text(key.name),
        span_kind: key.kind,
        end: sample.end,
        seconds: sample.duration.as_secs_f64(),
        spans: sample.spans.len(),
    }
}

impl Typical {
    fn offer(&mut self, sample: Arc<Sample>) {
        self.seen = self.seen.max(sample.end);
        self.durations.push_back(sample.duration);
        if self.durations.len() > MEDIAN_OF {
            self.durations.pop_front();
        }
        let median = self.median();
        let is_stale = self.sample.end + STALE < sample.end;
        if is_stale || distance(sample.duration, median) < distance(self.sample.duration, median) {
            self.sample = sample;
        }
    }

    fn median(&self) -> Nanos {
        let mut sorted: Vec<Nanos> = self.durations.iter().copied().collect();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) / 2]
    }
}

fn distance(one: Nanos, two: Nanos) -> u64 {
    one.0.abs_diff(two.0)
}

impl OfIncident {
    /// Adds a trace that may be one of its; `entry` says what is normal.
    fn add(
        &mut self,
        sample: &Arc<Sample>,
        entry: &EntryImpact,
        typical: &BTreeMap<KeyId, Typical>,
    ) {
        if sample.duration.as_secs_f64() <= entry.baseline_seconds {
            return;
        }
        if !self.entries.contains_key(&sample.entry) && self.entries.len() >= ENTRIES {
            return;
        }
        let of_entry = self.entries.entry(sample.entry).or_default();
        if of_entry.typical.is_none() {
            of_entry.typical =
                typical.get(&sample.entry).map(|typical| Arc::clone(&typical.sample));
        }
        let slowest = &mut of_entry.slowest;
        if slowest.iter().any(|known| known.trace == sample.trace) {
            return;
        }
        let at = slowest.partition_point(|known| known.duration >= sample.duration);
        if at < SLOWEST {
            slowest.insert(at, Arc::clone(sample));
            slowest.truncate(SLOWEST);
        }
        if !self.newest.iter().any(|known| known.trace == sample.trace) {
            self.newest.push_back(Arc::clone(sample));
            if self.newest.len() > NEWEST {
                self.newest.pop_front();
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = (Role, &Arc<Sample>)> {
        let typical = self.entries.values().filter_map(|entry| entry.typical.as_ref());
        let slowest = self.entries.values().flat_map(|entry| &entry.slowest);
        let newest = self.newest.iter().rev();
        let newest = newest.filter(|new| !self.is_slowest(new.trace));
        typical
            .map(|sample| (Role::Typical, sample))
            .chain(slowest.map(|sample| (Role::Slowest, sample)))
            .chain(newest.map(|sample| (Role::Newest, sample)))
    }

    fn is_slowest(&self, trace: TraceId) -> bool {
        let mut all = self.entries.values().flat_map(|entry| &entry.slowest);
        all.any(|sample| sample.trace == trace)
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.newest.is_empty()
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.newest.clear();
    }

    /// Gives up the least telling of its traces.
    fn thin_out(&mut self) {
        if self.newest.pop_front().is_some() {
            return;
        }
        let fullest = self.entries.values_mut().max_by_key(|entry| entry.slowest.len());
        if fullest.is_none_or(|entry| entry.slowest.pop().is_none()) {
            self.clear();
        }
    }
}

impl<'a> Affected<'a> {
    fn new(incident: &'a Incident) -> Affected<'a> {
        let name = |entry: &'a EntryImpact| (&*entry.service, &*entry.operation, entry.span_kind);
        let by_name = incident.entries.iter().map(|entry| (name(entry), entry)).collect();
        Affected { incident, by_name }
    }

    /// The incident's entry by which a trace came in while the incident lasted.
    fn entry_of(&self, sample: &Sample, names: &Interner) -> Option<&'a EntryImpact> {
        if sample.end < self.incident.start {
            return None;
        }
        let key = names.resolve(sample.entry);
        let (service, name) = (names.text(key.service), names.text(key.name));
        self.by_name.get(&(&*service, &*name, key.kind)).copied()
    }
}

#[cfg(test)]
#[path = "reservoir_tests.rs"]
mod tests;
