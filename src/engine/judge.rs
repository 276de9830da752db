//! The one who decides: at the end of every slice, is anything hot, and whose is it?
//!
//! Owns the history and the incident at hand. Time is an argument; slices are judged in order of event
//! time once `now` is far enough past them. Stretches without data are skipped once everything that
//! could change in them has.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::aggregate::{Delta, Id, SliceIndex};
use super::attribute::{Attribution, attribute};
use super::confidence::confidence;
use super::decompose::{Decomposition, decompose};
use super::detail::{Named, detail};
use super::detect::{Hot, Scene};
use super::evidence::OperationDetail;
use super::felt;
use super::forget::Forgetting;
use super::gather::gather;
use super::history::History;
use super::operations::Operations;
use super::params::{DetectionParams, EngineParams, WINDOWS};
use super::report;
use super::roles::{Party, Roles};
use super::rolling::{Cohort, Tick};
use super::tally::Tally;
use super::timeline::Timeline;
use super::verdict::{Board, Event, Incident, Suspect};
use crate::model::{Interner, Nanos, SpanKind, Timestamp};

/// History in, verdicts out.
pub struct Judge {
    pub(super) params: EngineParams,
    pub(super) history: History,
    pub(super) roles: Roles,
    pub(super) operations: Operations,
    pub(super) tally: Tally,
    pub(super) tick: Tick,
    /// The next slice to be judged.
    pub(super) cursor: Option<SliceIndex>,
    /// Slices without data in a row.
    pub(super) empty_run: u64,
    /// Hot slices in a row while no incident is open, and what was hot in them.
    pub(super) streak: u32,
    pub(super) candidate: Hot,
    pub(super) open: Option<OpenIncident>,
    pub(super) closed: VecDeque<Incident>,
    /// The last slice of the last incident that is over.
    pub(super) over: Tick,
    pub(super) incidents: u64,
    pub(super) detection_delays: Vec<f64>,
    pub(super) timeline: Timeline,
    pub(super) forgetting: Forgetting,
}

/// The incident at hand.
pub(super) struct OpenIncident {
    pub(super) published: Incident,
    pub(super) first_suspect: Party,
    pub(super) hot: Hot,
    pub(super) affected: BTreeSet<Id>,
    pub(super) frozen_nodes: BTreeSet<Id>,
    pub(super) onset: Tick,
    pub(super) last_hot: Tick,
    pub(super) quiet: u32,
}

impl Judge {
    /// Empty slices after which nothing can change any more: all windows are empty, any incident
    /// has closed.
    fn max_empty_run(params: &DetectionParams) -> u64 {
        let [.., longest] = params.windows;
        longest + u64::from(params.close_after)
    }

    /// One cause of so much of the time is felt whatever the traffic mix makes of the sum.
    const LARGE: f64 = 1.0 / 3.0;

    /// The windows that are tested place by place: all but the longest, which is for what is too rare for
    /// that. Within it any place has waves of its own.
    fn place_by_place([first, second, third, _]: [u64; WINDOWS]) -> [u64; WINDOWS - 1] {
        [first, second, third]
    }

    /// Delays kept for the histogram.
    const MAX_DELAYS: usize = 10_000;

    /// One that knows nothing.
    pub fn new(params: EngineParams) -> Judge {
        Judge {
            params,
            history: History::default(),
            roles: Roles::default(),
            operations: Operations::default(),
            tally: Tally::default(),
            tick: 0,
            cursor: None,
            empty_run: 0,
            streak: 0,
            candidate: Hot::default(),
            open: None,
            closed: VecDeque::new(),
            over: 0,
            incidents: 0,
            detection_delays: Vec::new(),
            timeline: Timeline::default(),
            forgetting: Forgetting::default(),
        }
    }

    /// Takes in what a shard hands over.
    pub fn merge(&mut self, shard: usize, delta: Delta, names: &Interner) {
        let new_nodes = self.history.define(shard, &delta);
        self.roles.meet(new_nodes.clone(), &self.history, names);
        self.operations.meet(new_nodes, &mut self.history, &self.roles);
        self.history.merge(shard, delta.slices);
        if delta.is_last {
            self.history.end_numbers(shard);
        }
    }

    /// Judges all slices that are over and settled at `now`.
    pub fn advance(&mut self, now: Timestamp, names: &Interner) -> Vec<Event> {
        self.judge_before(self.params.detection.settled_before(now), now, names)
    }

    /// Judges everything handed in: the stream has ended.
    pub fn finish(&mut self, now: Timestamp, names: &Interner) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(slice) = self.history.next_pending() {
            events.extend(self.judge_before(slice + 1, now, names));
        }
        events
    }

    /// Slices judged so far.
    pub fn ticks(&self) -> u64 {
        self.tick
    }

    /// Requests so far of which something was beyond the limits of nodes and paths.
    pub fn folded(&self) -> u64 {
        self.history.folded
    }

    /// Bytes held for baselines and windows.
    pub fn bytes(&self) -> usize {
        self.history.bytes()
    }

    /// What can be read now.
    pub fn board(&self, names: &Interner) -> Board {
        let until = self.judged_until();
        let expire = self.params.expire_after;
        let detection = &self.params.detection;
        let mut ages = self.history.entries().iter().map(|entry| entry.age);
        Board {
            at: until,
            learning: !ages.any(|age| age.has_learned(self.tick, detection)),
            open: self.open_incidents(),
            closed: self.closed.iter().cloned().collect(),
            operations: self.operations.list(until, expire),
            excess: self.tally.suspects(names, until, expire),
            entry_excess: self.tally.entries(names, until, expire),
            detection_delays: self.detection_delays.clone(),
            timeline: self.timeline.slices(),
        }
    }

    /// What is normal for one operation, looked at closely; `None` if there is none of that name.
    pub fn operation(
        &self,
        service: &str,
        name: &str,
        kind: SpanKind,
        names: &Interner,
    ) -> Option<OperationDetail> {
        let wanted = Named { service, name, kind };
        detail(&self.scene(), wanted, names, |tick| self.about(tick))
    }

    /// Open incidents, by id.
    pub fn open_incidents(&self) -> Vec<Incident> {
        self.open.iter().map(|open| open.published.clone()).collect()
    }

    /// All incidents, the oldest first, the open one last.
    pub fn incidents(&self) -> Vec<Incident> {
        let closed = self.closed.iter().rev().cloned();
        closed.chain(self.open.iter().map(|open| open.published.clone())).collect()
    }

    fn judge_before(&mut self, end: SliceIndex, now: Timestamp, names: &Interner) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let pending = self.history.next_pending();
            // A trace that closes after its slice was skipped is judged then: its slice is newer
            // than any that was judged, and left alone it would stay pending for ever.
            let Some(mut slice) = self.cursor.into_iter().chain(pending).min() else { break };
            if self.empty_run >= Judge::max_empty_run(&self.params.detection) {
                slice = slice.max(pending.unwrap_or(end).min(end));
            }
            self.cursor = Some(slice);
            if slice >= end {
                break;
            }
            let has_data = pending == Some(slice);
            self.empty_run = if has_data { 0 } else { self.empty_run + 1 };
            self.cursor = Some(slice + 1);
            events.extend(self.judge_slice(slice, now, names));
        }
        events
    }

    fn judge_slice(
        &mut self,
        slice: SliceIndex,
        now: Timestamp,
        names: &Interner,
    ) -> Option<Event> {
        self.begin_slice(slice, names);
        let windows = self.params.detection.windows;
        let parts = self.newest(windows, |entry| self.is_known(entry), &self.params.detection);
        let [first, second, third, _] = &parts;
        let mut hot = self.scene().hot(Judge::place_by_place(windows), [first, second, third]);
        let lately = !hot.is_empty();
        self.scene().find_pooled(windows, &parts, &mut hot);
        self.scene().find_failing(windows, &parts, &mut hot);
        match self.open.take() {
            None => self.consider(hot, now, names),
            Some(open) => self.follow_up(open, hot, lately, names),
        }
    }

    /// Requests of the slice that has just begun to be judged.
    fn clock_in(&mut self) {
        let entries = self.history.active_entries().iter();
        let sums = entries.map(|&id| self.history.entry(id).sums.sum(Cohort::at(self.tick)));
        let (requests, nanos) = sums.fold((0, 0u64), |(requests, nanos), sum| {
            (requests + sum.requests, nanos.saturating_add(sum.duration))
        });
        self.timeline.begin(self.start_of(self.tick), self.slice_length(), requests, nanos);
    }

    /// Moves everything on to a slice, without a verdict.
    pub(super) fn begin_slice(&mut self, slice: SliceIndex, names: &Interner) {
        self.end_era(names);
        self.tick += 1;
        self.history.begin(self.tick, slice, &self.params.detection);
        self.roles.update(&self.history, names);
        self.clock_in();
        let until = self.judged_until();
        self.operations.update(&mut self.history, self.tick, until, &self.params);
    }

    /// The entry has been seen often enough to say what is normal for it. The first calls of a new
    /// entry are slow for reasons of their own (cold caches, code never run before).
    fn is_known(&self, entry: Id) -> bool {
        let least = self.params.detection.min_learned_requests;
        self.history.entry(entry).sums.baseline().requests >= least
    }

    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            history: &self.history,
            roles: &self.roles,
            params: &self.params.detection,
            now: self.tick,
            since: self.over + 1,
        }
    }

    /// The newest slices, so many in each window, taken apart for the entries that `chosen` picks.
    fn newest<const N: usize>(
        &self,
        windows: [u64; N],
        chosen: impl Fn(Id) -> bool,
        params: &DetectionParams,
    ) -> [Decomposition; N] {
        let newest = |window| Cohort::newest(window, self.tick).not_before(self.over + 1);
        decompose(&self.history, &windows.map(newest), chosen, params)
    }

    /// No incident is open: does one open?
    fn consider(&mut self, hot: Hot, now: Timestamp, names: &Interner) -> Option<Event> {
        if hot.is_empty() {
            self.streak = 0;
            self.candidate = Hot::default();
            return None;
        }
        self.candidate.extend(&hot);
        self.streak += 1;
        if self.streak < self.params.detection.open_after {
            return None;
        }
        let hot = std::mem::take(&mut self.candidate);
        let affected = self.entries_with(&hot);
        let onset = self.onset(&hot, &affected);
        let believed = self.believed(&affected);
        let attribution = self.attribute(Cohort::since(onset), &affected, &hot, &believed);
        let mut incident = self.describe(&attribution, onset, names);
        let worth_it = self.is_felt(&attribution, onset, &affected, &incident.suspects)
            && self.is_ripe(&incident.suspects)
            && self.goes_on(onset, &hot, &affected);
        let Some(first) = attribution.accused.first().filter(|_| worth_it) else {
            // Something is slower, but no request is, or nobody can be named: not worth waking
            // anyone; look again.
            self.candidate = hot;
            return None;
        };
        let first_suspect = first.party;
        self.chart(onset, &affected, &hot);
        self.add_up(&attribution);
        self.incidents += 1;
        incident.id = self.incidents;
        incident.detected = self.judged_until();
        self.note_delay(now);
        self.streak = 0;
        let mut open = OpenIncident {
            published: incident.clone(),
            first_suspect,
            hot,
            affected,
            frozen_nodes: BTreeSet::new(),
            onset,
            last_hot: self.tick,
            quiet: 0,
        };
        self.freeze(&mut open);
        self.open = Some(open);
        Some(Event::Opened(incident))
    }

    /// An incident is open: does it go on, change or end?
    fn follow_up(
        &mut self,
        mut open: OpenIncident,
        hot: Hot,
        lately: bool,
        names: &Interner,
    ) -> Option<Event> {
        let lasted = self.judged_until().since(open.published.start);
        if lasted > self.params.detection.adopt_after {
            return Some(self.close(open, true));
        }
        let mut believed = self.believed(&open.affected);
        let now = Cohort::at(self.tick);
        let per_slice = self.attribute(now, &open.affected, &open.hot, &believed);
        self.add_up(&per_slice);
        self.timeline.charge(self.start_of(self.tick), &per_slice, &self.roles);
        if hot.is_empty() || !(lately || self.still_goes_on(&open)) {
            open.quiet += 1;
            if open.quiet >= self.params.detection.close_after {
                return Some(self.close(open, false));
            }
            self.open = Some(open);
            return None;
        }
        open.quiet = 0;
        open.last_hot = self.tick;
        open.hot.extend(&hot);
        let affected = self.entries_with(&open.hot);
        if affected != open.affected {
            believed = self.believed(&affected);
            open.affected = affected;
        }
        self.freeze(&mut open);
        let event = self.update(&mut open, &believed, names);
        self.open = Some(open);
        event
    }

    /// Computes the suspects of an open incident anew.
    fn update(
        &self,
        open: &mut OpenIncident,
        believed: &BTreeSet<Id>,
        names: &Interner,
    ) -> Option<Event> {
        let oldest = (self.tick + 1).saturating_sub(self.params.detection.cohort);
        let from = open.onset.max(oldest);
        let attribution = self.attribute(Cohort::since(from), &open.affected, &open.hot, believed);
        let described = self.describe(&attribution, from, names);
        let first = attribution.accused.first().filter(|_| !described.suspects.is_empty())?;
        let was = open.published.suspects.first().map(|suspect| suspect.service.clone());
        let Incident { id, start, detected, .. } = open.published;
        open.published = Incident { id, start, detected, ..described };
        let changed = open.first_suspect != first.party;
        open.first_suspect = first.party;
        let was = was.filter(|_| changed)?;
        Some(Event::SuspectChanged { incident: open.published.clone(), was })
    }

    fn close(&mut self, open: OpenIncident, adopt: bool) -> Event {
        for &entry in &open.affected {
            if adopt {
                self.history.adopt_entry(entry);
            } else {
                self.history.entry_mut(entry).age.thaw(open.last_hot);
            }
        }
        for &node in &open.frozen_nodes {
            if adopt {
                self.history.adopt_node(node);
            } else {
                self.history.node_mut(node).age.thaw(open.last_hot);
            }
        }
        self.over = open.last_hot;
        let mut incident = open.published;
        incident.end = Some(self.end_of(open.last_hot));
        self.closed.push_front(incident.clone());
        self.closed.truncate(self.params.max_incidents);
        self.candidate = Hot::default();
        Event::Closed(incident)
    }

    /// Nodes whose rise is believed within an incident. That requests are slow is known by then; where,
    /// asks for less than whether.
    fn believed(&self, affected: &BTreeSet<Id>) -> BTreeSet<Id> {
        let detection = self.params.detection;
        let params = DetectionParams {
            min_evidence: detection.min_evidence_of_claim,
            min_evidence_of_rest: 0.0,
            min_slow: 2.0,
            ..detection
        };
        let windows = Judge::place_by_place(params.windows);
        let parts = self.newest(windows, |entry| affected.contains(&entry), &params);
        let scene = Scene { params: &params, ..self.scene() };
        scene.hot(windows, parts.each_ref()).nodes
    }

    fn attribute(
        &self,
        cohort: Cohort,
        affected: &BTreeSet<Id>,
        hot: &Hot,
        believed: &BTreeSet<Id>,
    ) -> Attribution {
        attribute(&self.scene(), cohort, affected, hot, believed)
    }

    /// The verdict in words; id and times of an incident that is already known are the caller's.
    fn describe(&self, attribution: &Attribution, from: Tick, names: &Interner) -> Incident {
        let scene = self.scene();
        let whole = attribution.whole();
        let unexplained = attribution.unexplained().max(0.0);
        let suspects = report::suspects(&scene, names, attribution, from);
        let entries = report::entries(&scene, names, attribution);
        Incident {
            id: 0,
            start: self.start_of(from),
            detected: Timestamp::default(),
            end: None,
            excess_seconds: whole.max(0.0) / 1e9,
            unexplained_share: if whole > 0.0 { unexplained / whole } else { 0.0 },
            confidence: confidence(&suspects, &entries),
            entries,
            impacted: report::impacted(&scene, names, attribution, from),
            suspects,
            evidence: Arc::new(gather(&scene, attribution, from)),
        }
    }

    /// Requests take longer by a share that matters, and what is claimed is that share. Where they do not,
    /// because there are more of the quick ones, it takes one cause: a change of the mix leaves traces of
    /// waits and pauses everywhere.
    fn is_felt(
        &self,
        attribution: &Attribution,
        onset: Tick,
        affected: &BTreeSet<Id>,
        suspects: &[Suspect],
    ) -> bool {
        let parts = || attribution.parts.entries.iter().map(|(_, part)| part);
        let slower = parts().filter(|part| part.excess > 0);
        let (excess, duration) = slower.fold((0.0, 0.0), |(excess, duration), part| {
            (excess + part.excess as f64, duration + part.duration as f64)
        });
        let p = &self.params.detection;
        let share = felt::largest_share(&self.scene(), Cohort::since(onset), affected, attribution);
        let load = felt::load(&self.scene(), Cohort::since(onset), attribution);
        let least = p.min_felt * (1.0 + p.load_slack * (load - 1.0).max(0.0));
        let is_one = suspects.first().is_some_and(|first| first.score >= p.clear_score);
        share >= least && (excess > p.min_share * duration || is_one && share >= Judge::LARGE)
    }

    /// Somebody can be named: at once if one suspect stands out, after some more slices if several are
    /// nearly alike. What slows everybody a little for ten seconds is a pause of the machine.
    fn is_ripe(&self, suspects: &[Suspect]) -> bool {
        let p = &self.params.detection;
        let score = |at: usize| suspects.get(at).map_or(0.0, |suspect| suspect.score);
        let stands_out = score(0) >= p.clear_score && score(0) >= 2.0 * score(1);
        !suspects.is_empty() && (stands_out || self.streak >= p.open_after + p.open_later)
    }

    /// Entries under which something hot occurs.
    fn entries_with(&self, hot: &Hot) -> BTreeSet<Id> {
        let parents = hot.fan_outs.iter().map(|&(parent, _)| parent);
        let nodes = hot.nodes.iter().copied().chain(parents);
        let paths = nodes.flat_map(|node| &self.history.node(node).paths);
        let entries = paths.map(|&path| self.history.path(path).entry);
        let known = entries.filter(|&entry| self.is_known(entry));
        let structure = hot.new_operations.iter().chain(&hot.overlaps);
        known.chain(structure.map(|&(entry, _)| entry)).collect()
    }

    /// What is affected stops learning, with everything that occurs under it.
    fn freeze(&mut self, open: &mut OpenIncident) {
        for &id in &open.affected {
            let detection = &self.params.detection;
            let entry = self.history.entry_mut(id);
            entry.age.freeze(self.tick, detection);
            let paths = entry.paths.clone();
            for path in paths {
                let node = self.history.path(path).node;
                if open.frozen_nodes.insert(node) {
                    self.history.node_mut(node).age.freeze(self.tick, detection);
                }
            }
        }
    }

    fn add_up(&mut self, attribution: &Attribution) {
        let until = self.judged_until();
        let scene = Scene {
            history: &self.history,
            roles: &self.roles,
            params: &self.params.detection,
            now: self.tick,
            since: self.over + 1,
        };
        self.tally.add(&scene, attribution, until);
    }

    /// An incident opens: its course so far.
    fn chart(&mut self, onset: Tick, affected: &BTreeSet<Id>, hot: &Hot) {
        let believed = self.believed(affected);
        for tick in onset..=self.tick {
            let per_slice = self.attribute(Cohort::at(tick), affected, hot, &believed);
            self.timeline.charge(self.start_of(tick), &per_slice, &self.roles);
        }
    }

    fn note_delay(&mut self, now: Timestamp) {
        let streak = u64::from(self.streak.saturating_sub(1));
        let first_hot = self.tick.saturating_sub(streak);
        if self.detection_delays.len() < Judge::MAX_DELAYS {
            self.detection_delays.push(now.since(self.end_of(first_hot)).as_secs_f64());
        }
    }

    fn slice_length(&self) -> Nanos {
        self.params.detection.slice
    }

    fn start_of(&self, tick: Tick) -> Timestamp {
        let slice = self.history.slice_of(tick).unwrap_or_default();
        Timestamp(slice.saturating_mul(self.slice_length().0))
    }

    /// When a slice began; of one that is not remembered any more, as if none had been skipped since.
    fn about(&self, tick: Tick) -> Timestamp {
        match self.history.slice_of(tick) {
            Some(_) => self.start_of(tick),
            None => {
                let back = (self.tick + 1).saturating_sub(tick);
                let length = self.slice_length().0.saturating_mul(back);
                self.judged_until().saturating_sub(Nanos(length))
            }
        }
    }

    pub(super) fn end_of(&self, tick: Tick) -> Timestamp {
        self.start_of(tick) + self.slice_length()
    }

    /// The end of the last slice judged.
    fn judged_until(&self) -> Timestamp {
        if self.tick == 0 { Timestamp::default() } else { self.end_of(self.tick) }
    }
}
