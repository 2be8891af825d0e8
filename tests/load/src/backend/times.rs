//! When are a stream's chunks due, so that all streams together are spread evenly?

use std::time::Duration;

use super::asked::Asked;

/// When a stream's chunks are due, counted from the backend's start.
#[derive(Debug)]
pub(super) struct Times {
    /// Invariant: at most `PERIOD_S_MAX`.
    period_s: f64,
    /// When its time 0 is. Invariant: within the first period.
    base_s: f64,
    /// Which time is next.
    number: f64,
}

impl Times {
    /// Multiples of the golden ratio fall evenly into the period, however many streams there will be.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(super) fn new(stream: u64, asked: &Asked) -> Self {
        let period_s = (asked.batch as f64 / asked.rate_per_s).min(PERIOD_S_MAX);
        let phase = (stream as f64 * 0.618_033_988_749_895).fract();
        Self {
            period_s,
            base_s: phase * period_s,
            number: -1.0,
        }
    }

    /// The next time. The first is the first that is not past; later ones follow each other, late or not.
    pub(super) fn next(&mut self, now: Duration) -> Duration {
        if self.number < 0.0 {
            self.number = ((now.as_secs_f64() - self.base_s) / self.period_s)
                .ceil()
                .max(0.0);
        } else {
            self.number += 1.0;
        }
        Duration::from_secs_f64(self.base_s + self.number * self.period_s)
    }
}

/// Some thirty years, for a rate of next to nothing: what a clock can still be set to.
const PERIOD_S_MAX: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(40);
    const ROUNDING: Duration = Duration::from_nanos(1);

    /// The first times of 200 streams of a rate that gives [`PERIOD`].
    fn first_times(now: Duration) -> Vec<Duration> {
        let asked = Asked {
            rate_per_s: 25.0,
            ..Asked::default()
        };
        let first_time = |stream| {
            let mut times = Times::new(stream, &asked);
            let first = times.next(now);
            assert!((now..=now + PERIOD + ROUNDING).contains(&first));
            assert!(times.next(now).abs_diff(first + PERIOD) <= ROUNDING);
            first
        };
        (0..200).map(first_time).collect()
    }

    #[test]
    fn streams_share_the_period_evenly() {
        let mut first = first_times(Duration::from_millis(90));
        first.sort_unstable();
        let widest = first.windows(2).map(|pair| pair[1].abs_diff(pair[0])).max();
        // Even would be 200 µs each.
        assert!(widest < Some(Duration::from_micros(500)), "{widest:?}");
    }

    #[test]
    fn a_rate_of_next_to_nothing_is_a_time_far_away() {
        let asked = Asked {
            rate_per_s: f64::MIN_POSITIVE / 2.0,
            ..Asked::default()
        };
        let first = Times::new(1, &asked).next(PERIOD);
        assert!(first > PERIOD);
        assert!(tokio::time::Instant::now().checked_add(first).is_some());
    }

    #[test]
    fn each_millisecond_gets_its_share_of_the_streams() {
        let mut counts = [0; 40];
        for first in first_times(Duration::from_millis(80)) {
            counts[usize::try_from(first.as_millis()).unwrap() % 40] += 1;
        }
        // Even would be 5 each.
        assert!(
            counts.iter().all(|count| (3..=7).contains(count)),
            "{counts:?}"
        );
    }
}
