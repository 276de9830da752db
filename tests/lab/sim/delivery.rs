//! How spans get out: a batching exporter in every process, batches lost and late on the way.
//!
//! An exporter sends what it has every 5 s, or as soon as it holds 512 spans, as the SDKs do by
//! default. Every span made is delivered, lost or still held: the three are counted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::rand::{Key, chance, mix, ns, secs, unit};
use super::topology::InstanceId;

/// A finished span as a process hands it to its exporter. Times are those of its host's clock,
/// nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RawSpan {
    pub(crate) trace: u64,
    pub(crate) id: u64,
    /// 0 is none.
    pub(crate) parent: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) label: u32,
    pub(crate) instance: u32,
    /// Which of the instance's lives.
    pub(crate) life: u16,
    pub(crate) tenant: u8,
    pub(crate) region: u8,
    pub(crate) failed: bool,
}

/// What arrives at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Batch {
    /// Nanoseconds since the start of the run.
    pub(crate) arrival: u64,
    pub(crate) instance: InstanceId,
    pub(crate) spans: Vec<RawSpan>,
}

/// Shares of batches that are lost or late, and seconds between flushes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Network {
    pub(crate) lost: f64,
    pub(crate) late: f64,
    /// How much later, nanoseconds, at most.
    pub(crate) late_by: u64,
}

/// Where every span went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) made: u64,
    pub(crate) lost: u64,
    pub(crate) delivered: u64,
}

pub(crate) const FLUSH_EVERY: u64 = 5_000_000_000;
const BATCH: usize = 512;

pub(crate) struct Exporters {
    seed: Key,
    network: Network,
    held: Vec<Vec<RawSpan>>,
    under_way: BinaryHeap<Reverse<(u64, u64)>>,
    batches: std::collections::HashMap<u64, Batch>,
    sent: u64,
    pub(crate) ledger: Ledger,
}

impl Exporters {
    pub(crate) fn new(instances: usize, network: Network, seed: Key) -> Exporters {
        Exporters {
            seed,
            network,
            held: vec![Vec::new(); instances],
            under_way: BinaryHeap::new(),
            batches: std::collections::HashMap::new(),
            sent: 0,
            ledger: Ledger::default(),
        }
    }

    /// When the exporter of a process sends for the first time.
    pub(crate) fn first_flush(&self, instance: InstanceId) -> u64 {
        ns(unit(mix(self.seed, instance as u64)) * FLUSH_EVERY as f64)
    }

    /// Takes a span; says whether the exporter is full.
    pub(crate) fn hold(&mut self, instance: InstanceId, span: RawSpan) -> bool {
        self.ledger.made += 1;
        self.held[instance].push(span);
        self.held[instance].len() >= BATCH
    }

    /// Sends what a process holds. `lost` is the share of batches lost on top of the usual.
    pub(crate) fn flush(&mut self, now: u64, instance: InstanceId, lost: f64) {
        if self.held[instance].is_empty() {
            return;
        }
        self.sent += 1;
        let key = mix(mix(self.seed, 1 << 40), self.sent);
        let spans = std::mem::take(&mut self.held[instance]);
        if chance(mix(key, 1), self.network.lost + lost) {
            self.ledger.lost += spans.len() as u64;
            return;
        }
        let mut arrival = now + secs(0.002 + 0.03 * unit(mix(key, 2)));
        if chance(mix(key, 3), self.network.late) {
            arrival += ns(self.network.late_by as f64 * unit(mix(key, 4)));
        }
        self.under_way.push(Reverse((arrival, self.sent)));
        self.batches.insert(self.sent, Batch { arrival, instance, spans });
    }

    /// The next batch that has arrived by now.
    pub(crate) fn arrived(&mut self, now: u64) -> Option<Batch> {
        let &Reverse((arrival, number)) = self.under_way.peek()?;
        if arrival > now {
            return None;
        }
        self.under_way.pop();
        let batch = self.batches.remove(&number)?;
        self.ledger.delivered += batch.spans.len() as u64;
        Some(batch)
    }

    /// Spans held by processes or on their way.
    #[allow(clippy::iter_over_hash_type)] // a sum does not depend on the order
    pub(crate) fn pending(&self) -> u64 {
        let held: usize = self.held.iter().map(Vec::len).sum();
        let under_way: usize = self.batches.values().map(|batch| batch.spans.len()).sum();
        (held + under_way) as u64
    }
}
