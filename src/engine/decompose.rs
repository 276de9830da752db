//! The sum that everything rests on: by how much requests took longer, and which parts make it up.
//!
//! An entry's duration is the sum of the critical time on its paths. What a path's calls should have
//! cost is their number times the price learned for one; the rest is the path's rise. Rises are
//! rounded to the nanosecond where they arise, so they add up in any order.

use super::aggregate::{EntrySum, Id, PathSum};
use super::graph::Entry;
use super::history::{ActivePath, History};
use super::params::DetectionParams;
use super::rolling::Cohort;

/// One entry in a cohort.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct EntryPart {
    /// Requests of the cohort.
    pub requests: u64,
    /// Sum of their durations, nanoseconds.
    pub duration: u64,
    /// By how much longer they took than expected, nanoseconds.
    pub excess: i64,
    /// Mean nanoseconds of a request, learned; zero if the entry is new.
    pub baseline_mean: f64,
}

/// One node in a cohort, over all entries looked at.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct NodePart {
    /// Calls on the paths that end here.
    pub calls: u64,
    /// Their critical time, nanoseconds.
    pub critical: u64,
    /// By how much more critical time they took than their number explains, nanoseconds.
    pub per_call: i64,
    /// Critical time of a node that has no baseline, nanoseconds.
    pub new: i64,
    /// Duration of the requests of the entries it occurs under, nanoseconds.
    pub entry_duration: u64,
}

/// A cohort taken apart.
#[derive(Clone, Default)]
pub(super) struct Decomposition {
    /// By entry, ascending.
    pub entries: Vec<(Id, EntryPart)>,
    /// By node, ascending.
    pub nodes: Vec<(Id, NodePart)>,
    /// Sum of the entries' excess, nanoseconds.
    pub total: i64,
}

impl Decomposition {
    /// The part of one entry.
    pub(super) fn entry(&self, id: Id) -> Option<&EntryPart> {
        let at = self.entries.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        Some(&self.entries[at].1)
    }
}

/// Takes several cohorts apart at once, for the entries that `chosen` picks. Costs what is recent.
pub(super) fn decompose<const N: usize>(
    history: &History,
    cohorts: &[Cohort; N],
    chosen: impl Fn(Id) -> bool,
    params: &DetectionParams,
) -> [Decomposition; N] {
    let mut parts: [Decomposition; N] = std::array::from_fn(|_| Decomposition::default());
    let mut requests: Requests<N> = Requests::new(history);
    for &id in history.active_entries() {
        if chosen(id) {
            requests.add(id, history.entry(id).sums.sums(cohorts));
        }
    }
    let paths = history.active_paths();
    for of_node in paths.chunk_by(|one, two| one.0 == two.0) {
        for (parts, part) in
            parts.iter_mut().zip(node_parts(history, cohorts, of_node, &mut requests, params))
        {
            parts.nodes.extend(part.map(|part| (of_node[0].0, part)));
        }
    }
    for (&id, recent) in requests.ids.iter().zip(&requests.recent) {
        for (parts, recent) in parts.iter_mut().zip(recent) {
            if let Some(part) = recent.part(history.entry(id)) {
                parts.entries.push((id, part));
                parts.total = parts.total.saturating_add(part.excess);
            }
        }
    }
    parts
}

/// The chosen entries in each of `N` cohorts.
struct Requests<const N: usize> {
    ids: Vec<Id>,
    recent: Vec<[Recent; N]>,
    /// Where an entry stands in the lists, by its number.
    places: Vec<u32>,
}

/// An entry in one cohort.
#[derive(Clone, Copy)]
struct Recent {
    sum: EntrySum,
    /// What its calls should have cost, nanoseconds.
    expected: i64,
    /// The last node that was found under it.
    node: Option<Id>,
}

impl<const N: usize> Requests<N> {
    const NOT_CHOSEN: u32 = u32::MAX;

    fn new(history: &History) -> Requests<N> {
        let places = vec![Self::NOT_CHOSEN; history.entries().len()];
        Requests { ids: Vec::new(), recent: Vec::new(), places }
    }

    fn add(&mut self, id: Id, sums: [EntrySum; N]) {
        self.places[id as usize] = u32::try_from(self.ids.len()).unwrap_or(Self::NOT_CHOSEN);
        self.ids.push(id);
        self.recent.push(sums.map(|sum| Recent { sum, expected: 0, node: None }));
    }

    fn of(&mut self, entry: Id) -> Option<&mut [Recent; N]> {
        self.recent.get_mut(self.places[entry as usize] as usize)
    }
}

impl Recent {
    fn part(&self, entry: &Entry) -> Option<EntryPart> {
        let EntrySum { requests, duration } = self.sum;
        let baseline = entry.sums.baseline();
        let (baseline_mean, expected) = match baseline.requests {
            0 => (0.0, self.expected),
            learned => {
                let mean = baseline.duration as f64 / learned as f64;
                (mean, rounded(requests as f64 * mean))
            }
        };
        let excess = signed(duration) - expected;
        (requests > 0).then_some(EntryPart { requests, duration, excess, baseline_mean })
    }
}

/// Adds up what the paths of one node say, in each cohort in which it occurs.
fn node_parts<const N: usize>(
    history: &History,
    cohorts: &[Cohort; N],
    paths: &[ActivePath],
    requests: &mut Requests<N>,
    params: &DetectionParams,
) -> [Option<NodePart>; N] {
    let mut parts = [None; N];
    for &(node, entry, id) in paths {
        let Some(of_entry) = requests.of(entry) else { continue };
        let price = history.price_of_path(id, params.shrink);
        let sums = history.path(id).sums.sums(cohorts);
        for ((part, recent), sum) in parts.iter_mut().zip(of_entry).zip(&sums) {
            if sum.calls > 0 {
                let part = part.get_or_insert_with(NodePart::default);
                part.add(sum, price, recent);
                if recent.node.replace(node) != Some(node) {
                    let duration = part.entry_duration.saturating_add(recent.sum.duration);
                    part.entry_duration = duration;
                }
            }
        }
    }
    parts
}

impl NodePart {
    /// Adds the calls on one path; what they should have cost is noted for their entry.
    fn add(&mut self, sum: &PathSum, price: Option<f64>, entry: &mut Recent) {
        self.calls += sum.calls;
        self.critical = self.critical.saturating_add(sum.critical);
        match price {
            Some(price) => {
                let expected = rounded(sum.calls as f64 * price);
                let rise = signed(sum.critical) - expected;
                entry.expected = entry.expected.saturating_add(expected);
                self.per_call = self.per_call.saturating_add(rise);
            }
            None => self.new = self.new.saturating_add(signed(sum.critical)),
        }
    }
}

/// Nanoseconds as a signed number; 2^63 ns are 292 years.
pub(super) fn signed(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

/// To the nanosecond.
pub(super) fn rounded(nanos: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)] // `as` saturates
    {
        nanos.round() as i64
    }
}
