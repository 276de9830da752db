//! Log-linear histograms of self-time: eight buckets an octave, merged and split by adding integers.
//!
//! Why not a sketch from a library: the baseline must lose a slice as exactly as it won it, and a
//! bucket index must cost a few instructions. What this does not do: remember exact values. A bucket
//! is at most one eighth of its lower bound wide, so a quantile is right to 12.5 % (6 % in the mean).

use std::sync::LazyLock;

use super::rolling::Sum;
use crate::model::Nanos;

/// A bucket of the histogram. All values below 1.024 µs share eight linear ones; above 2^41 ns
/// (37 minutes) all share the last.
pub type Bucket = u8;

/// How many buckets there are.
pub const BUCKETS: usize = 256;

/// Bits of the mantissa that choose the bucket within an octave.
const MANTISSA_BITS: u32 = 3;
/// Values below `1 << LINEAR_BITS` ns are bucketed linearly.
const LINEAR_BITS: u32 = 10;

/// The bucket of a value.
#[inline]
pub fn bucket_of(value: Nanos) -> Bucket {
    let exponent = 63 - (value.0 | 1).leading_zeros();
    let index = if exponent < LINEAR_BITS {
        value.0 >> (LINEAR_BITS - MANTISSA_BITS)
    } else {
        let octave = u64::from(exponent - LINEAR_BITS + 1);
        let mantissa = (value.0 >> (exponent - MANTISSA_BITS)) & ((1 << MANTISSA_BITS) - 1);
        (octave << MANTISSA_BITS) + mantissa
    };
    Bucket::try_from(index).unwrap_or(Bucket::MAX)
}

/// The smallest value of a bucket, in nanoseconds.
pub fn lower_bound(bucket: Bucket) -> u64 {
    let (octave, mantissa) = (u64::from(bucket) >> MANTISSA_BITS, u64::from(bucket) & 7);
    match octave {
        0 => mantissa << (LINEAR_BITS - MANTISSA_BITS),
        _ => (8 + mantissa) << (octave + u64::from(LINEAR_BITS) - 1 - u64::from(MANTISSA_BITS)),
    }
}

/// The first value beyond a bucket, in nanoseconds.
pub fn upper_bound(bucket: Bucket) -> u64 {
    match bucket.checked_add(1) {
        Some(next) => lower_bound(next),
        None => lower_bound(bucket) + (lower_bound(bucket) >> MANTISSA_BITS),
    }
}

/// The few buckets that one slice of one node fills: sorted by bucket, no zero counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sparse(Vec<(Bucket, u32)>);

impl Sparse {
    /// From (bucket, count) pairs in any order.
    pub fn from_counts(mut counts: Vec<(Bucket, u32)>) -> Sparse {
        counts.sort_unstable();
        counts.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
        Sparse(counts)
    }

    /// From what was packed, which need not be sound if others packed it.
    pub(super) fn from_packed(counts: Vec<(Bucket, u32)>) -> Sparse {
        Sparse(counts)
    }

    /// By bucket, each once, none without a count.
    pub(super) fn is_in_order(&self) -> bool {
        self.0.is_sorted_by(|one, two| one.0 < two.0) && self.0.iter().all(|&(_, count)| count > 0)
    }

    /// Adds `count` values to a bucket.
    #[inline]
    pub fn add(&mut self, bucket: Bucket, count: u32) {
        match self.0.binary_search_by_key(&bucket, |&(bucket, _)| bucket) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(count),
            Err(at) => self.insert(at, bucket, count),
        }
    }

    #[inline(never)]
    fn insert(&mut self, at: usize, bucket: Bucket, count: u32) {
        // Not by doubling: there is one of these for every node, and most stay small.
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(4);
        }
        self.0.insert(at, (bucket, count));
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Sparse) {
        for &(bucket, count) in &other.0 {
            self.add(bucket, count);
        }
    }

    /// (bucket, count), by bucket.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Bucket, u32)> + '_ {
        self.0.iter().copied()
    }

    /// Nothing counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Buckets filled.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes held outside of the value itself.
    pub(super) fn capacity_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(Bucket, u32)>()
    }
}

impl Sum for Sparse {
    fn add(&mut self, other: &Sparse) {
        self.merge(other);
    }
    fn subtract(&mut self, other: &Sparse) {
        for &(bucket, count) in &other.0 {
            if let Ok(at) = self.0.binary_search_by_key(&bucket, |&(bucket, _)| bucket) {
                self.0[at].1 = self.0[at].1.saturating_sub(count);
            }
        }
        self.0.retain(|&(_, count)| count > 0);
    }
}

impl Distribution for Sparse {
    fn filled(&self) -> impl DoubleEndedIterator<Item = (Bucket, u32)> {
        self.0.iter().copied()
    }
    fn count(&self) -> u64 {
        self.0.iter().map(|&(_, count)| u64::from(count)).sum()
    }
}

/// Added to a self-time before its logarithm is taken: below a tenth of a millisecond nobody waits.
const LOG_OFFSET: f64 = 1e5;

/// Logarithms by bucket: every slice of every node takes some fifty of them.
static LOGS: LazyLock<[f64; BUCKETS]> = LazyLock::new(|| {
    let mut buckets = 0..=Bucket::MAX;
    std::array::from_fn(|_| (within(buckets.next().unwrap_or(Bucket::MAX), 0.5) + LOG_OFFSET).ln())
});

/// What can be read off counts by bucket.
pub trait Distribution {
    /// The buckets that are not empty, and their counts, by bucket.
    fn filled(&self) -> impl DoubleEndedIterator<Item = (Bucket, u32)>;

    /// Values counted.
    fn count(&self) -> u64;

    /// The value below which the share `q` lies, in nanoseconds, interpolated linearly within its
    /// bucket. Zero if nothing was counted.
    fn quantile(&self, q: f64) -> f64 {
        self.quantiles([q])[0]
    }

    /// Several quantiles in one walk; `qs` must ascend.
    fn quantiles<const N: usize>(&self, qs: [f64; N]) -> [f64; N] {
        debug_assert!(qs.is_sorted(), "quantiles are read in one walk");
        let total = self.count() as f64;
        let mut values = [0.0; N];
        let mut next = 0;
        let mut below = 0.0;
        for (bucket, count) in self.filled() {
            let count = f64::from(count);
            while next < N && below + count >= qs[next] * total {
                let inside = (qs[next] * total - below) / count;
                values[next] = within(bucket, inside);
                next += 1;
            }
            below += count;
        }
        values
    }

    /// How many values lie above `cut` nanoseconds, interpolated linearly within the bucket of `cut`.
    fn count_above(&self, cut: f64) -> f64 {
        let mut above = 0.0;
        for (bucket, count) in self.filled().rev() {
            let (low, high) = bounds(bucket);
            if high <= cut {
                break;
            }
            let share = if low >= cut { 1.0 } else { (high - cut) / (high - low) };
            above += f64::from(count) * share;
        }
        above
    }

    /// Mean in nanoseconds, values taken at the middle of their bucket.
    fn mean(&self) -> f64 {
        let values = self.filled().map(|(bucket, count)| within(bucket, 0.5) * f64::from(count));
        match self.count() {
            0 => 0.0,
            count => values.sum::<f64>() / count as f64,
        }
    }

    /// Mean of the lower share `q` of the values, in nanoseconds.
    fn mean_below(&self, q: f64) -> f64 {
        let most = q * self.count() as f64;
        let (mut sum, mut counted) = (0.0, 0.0);
        for (bucket, count) in self.filled() {
            let taken = f64::from(count).min(most - counted);
            sum += within(bucket, 0.5) * taken;
            counted += taken;
        }
        if counted > 0.0 { sum / counted } else { 0.0 }
    }

    /// Mean and variance of `ln(value + LOG_OFFSET)`, values taken at the middle of their bucket.
    fn log_moments(&self) -> (f64, f64) {
        let (mut sum, mut squares, mut all) = (0.0, 0.0, 0u64);
        for (bucket, count) in self.filled() {
            let log = LOGS[usize::from(bucket)];
            sum += log * f64::from(count);
            squares += log * log * f64::from(count);
            all += u64::from(count);
        }
        if all == 0 {
            return (0.0, 0.0);
        }
        let n = all as f64;
        let mean = sum / n;
        (mean, (squares / n - mean * mean).max(0.0))
    }
}

/// A distribution in the making, from many slices: counts by bucket, and which are not zero.
#[derive(Clone, PartialEq, Eq)]
pub struct Dense {
    /// Half an hour of 2 million calls a second fits; beyond it a bucket stands still.
    counts: Box<[u32; BUCKETS]>,
    filled: [u64; BUCKETS / 64],
    total: u64,
}

impl Default for Dense {
    fn default() -> Dense {
        Dense { counts: Box::new([0; BUCKETS]), filled: [0; BUCKETS / 64], total: 0 }
    }
}

impl std::fmt::Debug for Dense {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_map().entries(self.filled()).finish()
    }
}

impl Dense {
    /// Adds to a bucket.
    pub(super) fn add_to(&mut self, bucket: Bucket, count: u32) {
        let at = usize::from(bucket);
        let slot = &mut self.counts[at];
        let added = count.min(u32::MAX - *slot);
        *slot += added;
        self.total += u64::from(added);
        self.filled[at / 64] |= u64::from(added > 0) << (at % 64);
    }

    /// Adds a slice.
    pub fn add(&mut self, slice: &Sparse) {
        slice.iter().for_each(|(bucket, count)| self.add_to(bucket, count));
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.filled = [0; BUCKETS / 64];
        self.total = 0;
    }
}

impl Distribution for Dense {
    fn filled(&self) -> impl DoubleEndedIterator<Item = (Bucket, u32)> {
        let words = [0u8, 64, 128, 192].into_iter().zip(self.filled);
        let buckets = words.flat_map(|(first, bits)| Bits(bits).map(move |bit| first + bit));
        buckets.map(|bucket| (bucket, self.counts[usize::from(bucket)]))
    }
    fn count(&self) -> u64 {
        self.total
    }
}

/// The numbers of the bits that are set.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let bit = self.0.trailing_zeros();
        self.0 &= self.0.checked_sub(1)?;
        u8::try_from(bit).ok()
    }
}

impl DoubleEndedIterator for Bits {
    fn next_back(&mut self) -> Option<u8> {
        let bit = 63u32.checked_sub(self.0.leading_zeros())?;
        self.0 &= !(1 << bit);
        u8::try_from(bit).ok()
    }
}

fn bounds(bucket: Bucket) -> (f64, f64) {
    (lower_bound(bucket) as f64, upper_bound(bucket) as f64)
}

fn within(bucket: Bucket, share: f64) -> f64 {
    let (low, high) = bounds(bucket);
    low + (high - low) * share
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bucket_edges_meet_without_gap_or_overlap() {
        for bucket in 0..Bucket::MAX {
            assert_eq!(bucket_of(Nanos(lower_bound(bucket))), bucket);
            assert_eq!(bucket_of(Nanos(upper_bound(bucket) - 1)), bucket);
            assert_eq!(upper_bound(bucket), lower_bound(bucket + 1));
        }
        assert_eq!(bucket_of(Nanos(u64::MAX)), Bucket::MAX);
    }

    #[test]
    fn a_constant_has_its_bucket_as_every_quantile() {
        let mut dense = Dense::default();
        dense.add(&Sparse::from_counts(vec![(bucket_of(Nanos::from_millis(10)), 100)]));
        for value in dense.quantiles([0.01, 0.5, 0.99]) {
            assert!((value / 1e7 - 1.0).abs() < 0.125, "{value}");
        }
    }

    #[test]
    fn an_empty_histogram_has_nothing_above_and_zero_quantiles() {
        let dense = Dense::default();
        assert_eq!(dense.quantile(0.99), 0.0);
        assert_eq!(dense.count_above(0.0), 0.0);
        assert_eq!(dense.log_moments(), (0.0, 0.0));
    }

    fn sparse() -> impl Strategy<Value = Sparse> {
        prop::collection::vec((any::<Bucket>(), 1u32..1000), 0..40).prop_map(Sparse::from_counts)
    }

    proptest! {
        #[test]
        fn what_is_added_can_be_taken_out_exactly(one in sparse(), two in sparse()) {
            let mut sum = one.clone();
            sum.merge(&two);
            prop_assert_eq!(sum.count(), one.count() + two.count());
            let mut dense = Dense::default();
            [&one, &two].into_iter().for_each(|part| dense.add(part));
            prop_assert_eq!(dense.filled().collect::<Vec<_>>(), sum.filled().collect::<Vec<_>>());
            prop_assert_eq!(dense.filled().rev().collect::<Vec<_>>(), sum.filled().rev().collect::<Vec<_>>());
            sum.subtract(&two);
            prop_assert_eq!(sum, one);
        }

        #[test]
        fn quantiles_are_within_a_bucket_of_the_sorted_values(
            mut values in prop::collection::vec(1u64..10_000_000_000, 1..300),
            q in 0.0f64..1.0,
        ) {
            let mut dense = Dense::default();
            for &value in &values {
                dense.add(&Sparse::from_counts(vec![(bucket_of(Nanos(value)), 1)]));
            }
            values.sort_unstable();
            let below = values.len() as f64 * q;
            let rank = (1..values.len()).find(|&rank| rank as f64 >= below).unwrap_or(values.len()) - 1;
            let exact = values[rank] as f64;
            let read = dense.quantile(q);
            prop_assert!((read - exact).abs() <= exact * 0.125 + 128.0, "{} for {}", read, exact);
        }

        #[test]
        fn counts_above_fall_as_the_cut_rises(one in sparse(), low in 0.0f64..1e12, by in 0.0f64..1e12) {
            let mut dense = Dense::default();
            dense.add(&one);
            prop_assert!(dense.count_above(low) >= dense.count_above(low + by));
            prop_assert_eq!(dense.count_above(0.0), one.count() as f64);
        }
    }
}
