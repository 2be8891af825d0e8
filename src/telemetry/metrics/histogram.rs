//! How are durations counted?

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The upper bounds of the buckets, in milliseconds; the last has none.
const BOUNDS_MS: [u64; 14] = [
    1, 5, 10, 50, 100, 500, 1_000, 5_000, 15_000, 60_000, 300_000, 3_600_000, 21_600_000,
    86_400_000,
];

/// Durations from a millisecond to a day.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Not cumulative; the last is for what is beyond all bounds.
    counts: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

/// What one or several histograms hold together.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Snapshot {
    /// Upper bounds in seconds, each with its own count.
    pub(super) buckets: Vec<(f64, u64)>,
    pub(super) count: u64,
    /// In seconds.
    pub(super) sum: f64,
}

impl Histogram {
    /// Counts one.
    pub(super) fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.partition_point(|bound| bound * 1000 < us);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }
}

impl Snapshot {
    /// Adds the histograms up.
    pub(super) fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Self {
        let bounds = BOUNDS_MS
            .iter()
            .map(|ms| Duration::from_millis(*ms).as_secs_f64());
        let bounds = bounds.chain([f64::INFINITY]);
        let mut all = Self {
            buckets: bounds.map(|bound| (bound, 0)).collect(),
            ..Self::default()
        };
        for histogram in histograms {
            for ((_, sum), count) in all.buckets.iter_mut().zip(&histogram.counts) {
                let count = count.load(Relaxed);
                *sum += count;
                all.count += count;
            }
            all.sum += Duration::from_micros(histogram.sum_us.load(Relaxed)).as_secs_f64();
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Histogram, Snapshot};

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let (one, other) = (Histogram::default(), Histogram::default());
        for us in [0, 1_000, 1_001, 5_000] {
            one.observe(Duration::from_micros(us));
        }
        other.observe(Duration::from_secs(100_000));
        let all = Snapshot::of([&one, &other].into_iter());
        assert_eq!(all.buckets[..3], [(0.001, 2), (0.005, 2), (0.01, 0)]);
        assert_eq!(all.buckets.last(), Some(&(f64::INFINITY, 1)));
        assert_eq!((all.count, all.sum), (5, 100_000.007_001));
    }
}
