//! When is silence too long?

use std::time::Duration;

/// What the configuration says of heartbeats.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The longest silence towards the client; `None` is no heartbeats.
    pub every: Option<Duration>,
    /// Whether `every` was written, so that outputs have heartbeats that have none by themselves.
    pub is_asked_for: bool,
    /// When to commit a 200 although the upstream has not answered; `None` is never.
    pub before_reply: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every: Some(Duration::from_secs(15)),
            is_asked_for: false,
            before_reply: None,
        }
    }
}

/// How long after the last write the next heartbeat is due: from 90 % of `every` where `fraction`
/// is 0 to all of it where `fraction` is 1.
///
/// Drawn anew for each interval, so that streams opened together do not wake together; never more
/// than `every`, which is what intermediaries were promised. A `fraction` outside 0..=1 counts as
/// the nearer of the two.
#[must_use]
pub fn due(every: Duration, fraction: f64) -> Duration {
    // Multiplying by NaN would panic.
    let fraction = if fraction.is_nan() {
        0.0
    } else {
        fraction.clamp(0.0, 1.0)
    };
    every.saturating_sub((every / JITTER).mul_f64(1.0 - fraction))
}

/// A heartbeat comes early by up to this part of the interval.
const JITTER: u32 = 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::due;

    #[test]
    fn the_interval_lies_between_nine_tenths_and_all() {
        for (every_ms, fraction, due_ms) in [
            (10_000, 0.0, 9_000),
            (10_000, 0.5, 9_500),
            (10_000, 1.0, 10_000),
            (10_000, -1.0, 9_000),
            (10_000, 7.0, 10_000),
            (10_000, f64::INFINITY, 10_000),
            (10_000, f64::NAN, 9_000),
            (0, 0.5, 0),
        ] {
            assert_eq!(
                due(Duration::from_millis(every_ms), fraction),
                Duration::from_millis(due_ms),
                "{every_ms} ms, {fraction}"
            );
        }
        assert_eq!(due(Duration::MAX, 1.0), Duration::MAX);
        assert!(due(Duration::MAX, 0.0) < Duration::MAX);
    }
}
