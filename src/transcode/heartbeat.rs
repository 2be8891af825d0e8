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
