//! When is silence too long?

use std::time::Duration;

/// What the configuration says of heartbeats.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The longest silence towards the client; `None` is no heartbeats.
    pub every: Option<Duration>,
    /// When to commit a 200 although the upstream has not answered; `None` is never.
    pub before_reply: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every: Some(Duration::from_secs(15)),
            before_reply: None,
        }
    }
}

/// How long this silence may last: from 90 % to 100 % of `every`, by `fraction` from 0 to 1.
#[must_use]
pub fn due(every: Duration, fraction: f64) -> Duration {
    every.mul_f64(0.9 + 0.1 * fraction.clamp(0.0, 1.0))
}
