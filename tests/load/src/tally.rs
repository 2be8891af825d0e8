//! What came, what did not, and how late was it?

use std::ops::{Add, Sub};

use hdrhistogram::Histogram;

/// Everything that the client counts, over all its streams.
#[derive(Debug)]
pub struct Tally {
    /// The counts so far.
    pub counts: Counts,
    /// Nanoseconds from emission to receipt, since [`Tally::open_window`].
    pub latency_ns: Histogram<u64>,
    /// The first faults in words. Invariant: at most `FAULTS_MAX`.
    pub faults: Vec<String>,
}

/// Counts that only grow.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Whole records received.
    pub events: u64,
    /// Comments in a stream of events.
    pub heartbeats: u64,
    /// Records that never came although a later one of their stream did.
    pub gaps: u64,
    /// Records that came once more.
    pub duplicates: u64,
    /// Records that came after a later one of their stream.
    pub reordered: u64,
    /// Bad records, error events, refused requests, failed connections.
    pub errors: u64,
    /// Streams that ended before they should have.
    pub ended_early: u64,
}

impl Tally {
    /// Nothing yet.
    ///
    /// # Panics
    /// Never: the bounds of the histogram are allowed ones.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: Counts::default(),
            latency_ns: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)
                .expect("the bounds and the digits are allowed ones"),
            faults: Vec::new(),
        }
    }

    /// Counts a record of a stream, received at `now_ns`.
    pub fn record(&mut self, sequence: &mut Sequence, record: crate::record::Record, now_ns: u64) {
        self.counts.events += 1;
        self.latency_ns
            .saturating_record(now_ns.saturating_sub(record.at_ns));
        match sequence.next(record.seq) {
            Order::Expected => {}
            Order::Gap(missing) => {
                self.counts.gaps += missing;
                self.note(|| format!("{missing} records missing before record {}", record.seq));
            }
            Order::Duplicate => {
                self.counts.duplicates += 1;
                self.note(|| format!("record {} came again", record.seq));
            }
            Order::Late => {
                self.counts.gaps -= 1;
                self.counts.reordered += 1;
                self.note(|| format!("record {} came after a later one", record.seq));
            }
        }
    }

    /// Counts an error.
    pub fn error(&mut self, words: impl FnOnce() -> String) {
        self.counts.errors += 1;
        self.note(words);
    }

    /// Counts a stream that ended too early.
    pub fn ended_early(&mut self, words: impl FnOnce() -> String) {
        self.counts.ended_early += 1;
        self.note(words);
    }

    /// Forgets the latencies of the ramp.
    pub fn open_window(&mut self) -> Counts {
        self.latency_ns.reset();
        self.counts
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(words());
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

impl Counts {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_faultless(&self) -> bool {
        self.gaps + self.duplicates + self.reordered + self.errors + self.ended_early == 0
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            heartbeats: self.heartbeats + other.heartbeats,
            gaps: self.gaps + other.gaps,
            duplicates: self.duplicates + other.duplicates,
            reordered: self.reordered + other.reordered,
            errors: self.errors + other.errors,
            ended_early: self.ended_early + other.ended_early,
        }
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            events: self.events - earlier.events,
            heartbeats: self.heartbeats - earlier.heartbeats,
            gaps: self.gaps.saturating_sub(earlier.gaps),
            duplicates: self.duplicates - earlier.duplicates,
            reordered: self.reordered - earlier.reordered,
            errors: self.errors - earlier.errors,
            ended_early: self.ended_early - earlier.ended_early,
        }
    }
}

/// Which records of one stream have come.
#[derive(Debug, Default)]
pub struct Sequence {
    /// The number after the largest that came; `None` while any may be the first.
    expected: Option<u64>,
    /// What was left out, as ranges without their end. Invariant: at most `RANGES_MAX`.
    missing: Vec<(u64, u64)>,
}

/// How a record follows those before it.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// Right after them.
    Expected,
    /// So many records were left out.
    Gap(u64),
    /// It has been there.
    Duplicate,
    /// It had been left out.
    Late,
}

impl Sequence {
    /// A stream that starts with record 0.
    #[must_use]
    pub fn from_start() -> Self {
        Self {
            expected: Some(0),
            missing: Vec::new(),
        }
    }

    /// A stream that may be joined on its way.
    #[must_use]
    pub fn from_anywhere() -> Self {
        Self::default()
    }

    /// Takes the next number.
    pub fn next(&mut self, seq: u64) -> Order {
        let expected = self.expected.unwrap_or(seq);
        if seq >= expected {
            self.expected = Some(seq.saturating_add(1));
            if seq == expected {
                return Order::Expected;
            }
            if self.missing.len() < RANGES_MAX {
                self.missing.push((expected, seq));
            }
            return Order::Gap(seq - expected);
        }
        let range = self
            .missing
            .iter()
            .position(|(start, end)| (*start..*end).contains(&seq));
        let Some(range) = range else {
            return Order::Duplicate;
        };
        let (start, end) = self.missing.swap_remove(range);
        for part in [(start, seq), (seq + 1, end)] {
            if part.0 < part.1 && self.missing.len() < RANGES_MAX {
                self.missing.push(part);
            }
        }
        Order::Late
    }
}

const FAULTS_MAX: usize = 20;
const RANGES_MAX: usize = 64;
const LATENCY_NS_MAX: u64 = 600_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    fn counted(seqs: &[u64]) -> Counts {
        let (mut tally, mut sequence) = (Tally::new(), Sequence::from_start());
        for &seq in seqs {
            tally.record(&mut sequence, Record { seq, at_ns: 1 }, 2);
        }
        tally.counts
    }

    #[test]
    fn gaps_duplicates_and_late_records_are_told_apart() {
        for (seqs, gaps, duplicates, reordered) in [
            (&[0, 1, 2, 3][..], 0, 0, 0),
            (&[0, 2, 3], 1, 0, 0),
            (&[3], 3, 0, 0),
            (&[0, 1, 1, 2], 0, 1, 0),
            (&[0, 2, 1, 3], 0, 0, 1),
            (&[0, 5, 2, 3], 2, 0, 2),
            (&[0, 5, 2, 2, 4, 1, 3, 6], 0, 1, 4),
            (&[0, 1, 0, 1], 0, 2, 0),
        ] {
            let counts = counted(seqs);
            assert_eq!(
                (counts.gaps, counts.duplicates, counts.reordered),
                (gaps, duplicates, reordered),
                "{seqs:?}"
            );
            assert_eq!(counts.is_faultless(), gaps + duplicates + reordered == 0);
        }
    }

    #[test]
    fn a_stream_joined_on_its_way_has_no_gap_before_it() {
        let mut sequence = Sequence::from_anywhere();
        assert_eq!(sequence.next(7), Order::Expected);
        assert_eq!(sequence.next(9), Order::Gap(1));
        assert_eq!(sequence.next(6), Order::Duplicate);
    }
}
