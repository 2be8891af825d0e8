//! When are a stream's chunks due, so that all streams together are spread evenly?

use super::asked::Asked;

/// When a stream's chunks are due.
#[derive(Debug)]
pub(super) struct Times {
    period_ns: f64,
    /// When its time 0 was.
    base_ns: f64,
    /// Which time is next.
    number: f64,
}

impl Times {
    /// Multiples of the golden ratio fall evenly into the period, however many streams there will be.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(super) fn new(stream: u64, asked: &Asked, started_ns: u64) -> Self {
        let period_ns = asked.batch as f64 / asked.rate_per_s * 1e9;
        let phase = (stream as f64 * 0.618_033_988_749_895).fract();
        Self {
            period_ns,
            base_ns: started_ns as f64 + phase * period_ns,
            number: -1.0,
        }
    }

    /// The next time. The first is the first that is not past; later ones follow each other, late or not.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "nanoseconds since the machine's start: positive, and far below 2^52"
    )]
    pub(super) fn next_ns(&mut self, now_ns: u64) -> u64 {
        if self.number < 0.0 {
            self.number = ((now_ns as f64 - self.base_ns) / self.period_ns)
                .ceil()
                .max(0.0);
        } else {
            self.number += 1.0;
        }
        (self.base_ns + self.number * self.period_ns) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_share_the_period_evenly() {
        let asked = Asked {
            rate_per_s: 25.0,
            ..Asked::default()
        };
        let (mut first, now_ns) = (Vec::new(), 90_000_000);
        for stream in 0..200 {
            let mut times = Times::new(stream, &asked, 1_000_000);
            let at_ns = times.next_ns(now_ns);
            assert!((now_ns..now_ns + 40_000_001).contains(&at_ns));
            let next_ns = times.next_ns(now_ns);
            assert!((39_999_999..=40_000_001).contains(&(next_ns - at_ns)));
            first.push(at_ns);
        }
        first.sort_unstable();
        let widest = first.windows(2).map(|pair| pair[1] - pair[0]).max();
        // Even would be 200 µs each.
        assert!(widest < Some(500_000), "{widest:?}");
    }
}
