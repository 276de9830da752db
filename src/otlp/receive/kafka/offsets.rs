//! Which offsets may be committed: what was handed over, when, and how far the analysis has come since.
//!
//! Messages of a second are one stretch, so what is kept of a partition is bounded by how far the analysis lags, which the
//! age of a trace bounds. An offset waits a second longer than it had to; it never goes first. No clock and no Kafka here.

use std::collections::{BTreeMap, VecDeque};

use super::{KafkaFigures, PartitionFigures};
use crate::model::{Nanos, Timestamp};

/// What is committed together.
const STRETCH: Nanos = Nanos::from_secs(1);

/// What is known of the partitions that this process has.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    partitions: BTreeMap<i32, Partition>,
}

#[derive(Debug)]
struct Partition {
    /// Handed over and not known to be analyzed, in order.
    waiting: VecDeque<Stretch>,
    /// The first that was handed over.
    begin: i64,
    /// All before this may be committed.
    safe: i64,
    /// The offset after the last that was handed over.
    next: i64,
    /// What was committed last.
    committed: Option<i64>,
}

/// Messages handed over one after the other.
#[derive(Debug)]
struct Stretch {
    next: i64,
    from: Timestamp,
    to: Timestamp,
}

impl Offsets {
    /// A message is out of our hands: its spans were offered, or it holds none. `at` is when that was done.
    pub(super) fn handed_over(&mut self, partition: i32, offset: i64, at: Timestamp) {
        let begin = || Partition {
            waiting: VecDeque::new(),
            begin: offset,
            safe: offset,
            next: offset,
            committed: None,
        };
        let known = self.partitions.entry(partition).or_insert_with(begin);
        known.next = offset + 1;
        match known.waiting.back_mut() {
            Some(last) if at.since(last.from) < STRETCH => {
                (last.next, last.to) = (known.next, last.to.max(at));
            }
            _ => known.waiting.push_back(Stretch { next: known.next, from: at, to: at }),
        }
    }

    /// Everything that was handed over before this is analyzed.
    pub(super) fn analyzed(&mut self, before: Timestamp) {
        for known in self.partitions.values_mut() {
            let done = known.waiting.iter().take_while(|stretch| stretch.to < before).count();
            if let Some(last) = known.waiting.drain(..done).next_back() {
                known.safe = last.next;
            }
        }
    }

    /// What may be committed and is not yet.
    pub(super) fn due(&self) -> Vec<(i32, i64)> {
        let due = self.partitions.iter().filter(|(_, known)| known.safe > known.done());
        due.map(|(partition, known)| (*partition, known.safe)).collect()
    }

    /// These were committed.
    pub(super) fn committed(&mut self, offsets: &[(i32, i64)]) {
        for (partition, offset) in offsets {
            if let Some(known) = self.partitions.get_mut(partition) {
                known.committed = known.committed.max(Some(*offset));
            }
        }
    }

    /// A partition is somebody else's now. Says how many of its messages will be read again.
    pub(super) fn give_back(&mut self, partition: i32) -> u64 {
        self.partitions.remove(&partition).map_or(0, |known| known.uncommitted())
    }

    /// The same of all there are.
    pub(super) fn give_all_back(&mut self) -> u64 {
        std::mem::take(&mut self.partitions).values().map(Partition::uncommitted).sum()
    }

    /// Shows how far each partition is; the lag is the broker's to say.
    pub(super) fn show(&self, figures: &mut KafkaFigures) {
        for (partition, known) in &self.partitions {
            let shown: &mut PartitionFigures = figures.partitions.entry(*partition).or_default();
            shown.uncommitted = known.uncommitted();
            shown.committed = known.committed;
        }
    }
}

impl Partition {
    /// All before this is committed, by us or before us.
    fn done(&self) -> i64 {
        self.committed.unwrap_or(self.begin)
    }

    fn uncommitted(&self) -> u64 {
        u64::try_from(self.next - self.done()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    #[test]
    fn nothing_is_committed_before_it_is_analyzed() {
        let mut offsets = Offsets::default();
        offsets.handed_over(0, 40, at(10));
        offsets.handed_over(0, 41, at(12));
        offsets.handed_over(1, 7, at(12));
        offsets.analyzed(at(10));
        assert_eq!(offsets.due(), []);
        offsets.analyzed(at(11));
        assert_eq!(offsets.due(), [(0, 41)], "the offset is that of the next message");
        offsets.committed(&[(0, 41)]);
        assert_eq!(offsets.due(), []);
        offsets.analyzed(at(13));
        assert_eq!(offsets.due(), [(0, 42), (1, 8)]);
    }

    #[test]
    fn what_could_not_be_committed_is_tried_again() {
        let mut offsets = Offsets::default();
        offsets.handed_over(3, 0, at(1));
        offsets.analyzed(at(2));
        assert_eq!(offsets.due(), [(3, 1)]);
        assert_eq!(offsets.due(), [(3, 1)]);
    }

    #[test]
    fn what_is_given_back_uncommitted_is_known() {
        let mut offsets = Offsets::default();
        for offset in 100..110 {
            offsets.handed_over(0, offset, at(offset.unsigned_abs()));
        }
        offsets.analyzed(at(104));
        offsets.committed(&[(0, 104)]);
        let mut figures = KafkaFigures::default();
        offsets.show(&mut figures);
        let shown = PartitionFigures { lag: None, uncommitted: 6, committed: Some(104) };
        assert_eq!(figures.partitions[&0], shown);
        assert_eq!((offsets.give_back(0), offsets.give_back(0)), (6, 0));
        offsets.handed_over(0, 200, at(200));
        offsets.handed_over(5, 9, at(200));
        assert_eq!((offsets.give_all_back(), offsets.due()), (2, vec![]));
    }

    proptest! {
        #[test]
        fn an_offset_never_passes_a_message_that_is_not_analyzed(
            steps in proptest::collection::vec((0..3_i32, 1..4_i64, 0..1_500_u64, any::<bool>(), 0..9_000_u64), 1..200),
        ) {
            let mut offsets = Offsets::default();
            let (mut now, mut mark) = (20_000, 0);
            let mut next = [0_i64; 3];
            // By partition: offsets with the millisecond of their hand-over.
            let mut handed_over: Vec<Vec<(i64, u64)>> = vec![Vec::new(); 3];
            for (partition, gap, pause, looks, lag) in steps {
                now += pause;
                let place = usize::try_from(partition).unwrap();
                // Kafka leaves out offsets: of transactions, of compacted messages.
                next[place] += gap;
                offsets.handed_over(partition, next[place], Timestamp(now * 1_000_000));
                handed_over[place].push((next[place], now));
                if looks {
                    mark = mark.max(now.saturating_sub(lag));
                    offsets.analyzed(Timestamp(mark * 1_000_000));
                }
                for (partition, safe) in offsets.due() {
                    let messages = &handed_over[usize::try_from(partition).unwrap()];
                    let open = messages.iter().find(|(_, at)| *at >= mark);
                    prop_assert!(open.is_none_or(|(offset, _)| safe <= *offset));
                    prop_assert!(safe <= messages[messages.len() - 1].0 + 1);
                }
                offsets.committed(&offsets.due());
            }
            offsets.analyzed(Timestamp((now + 1) * 1_000_000));
            offsets.committed(&offsets.due());
            prop_assert_eq!(offsets.give_all_back(), 0, "it gets everywhere in the end");
        }
    }
}
