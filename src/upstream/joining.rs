//! When did an endpoint join the others, and how much of its share has it had time for?

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::queue::Queue;

/// The share of its weight that an endpoint begins with where it starts slowly.
const FIRST_SHARE: f64 = 0.1;

/// What concerns all endpoints of an upstream, for as long as the upstream is there.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Who waits for room.
    pub(super) queue: Queue,
    /// An endpoint could not be connected to: what DNS said may no longer hold.
    pub(super) doubt: Notify,
}

/// When an endpoint joined, or came back.
#[derive(Debug)]
pub(super) struct Joining {
    born: Instant,
    /// Milliseconds after `born`.
    joined_ms: AtomicU64,
    pub(super) signals: Arc<Signals>,
}

impl Joining {
    /// Of an endpoint that is there from the beginning.
    pub(super) fn new(signals: Arc<Signals>) -> Self {
        Self {
            born: Instant::now(),
            joined_ms: AtomicU64::new(ALWAYS_THERE),
            signals,
        }
    }

    /// Says that the endpoint takes streams from now on, and did not until now: it starts slowly where the
    /// upstream says so, and whoever waits for room may have it.
    pub(super) fn restart(&self, now: Instant) {
        let after = now.saturating_duration_since(self.born).as_millis();
        self.joined_ms
            .store(u64::try_from(after).unwrap_or(ALWAYS_THERE), Relaxed);
        self.signals.queue.call();
    }

    /// How much of the endpoint's weight counts by now, from [`FIRST_SHARE`] to 1.
    pub(super) fn share(&self, now: Instant, slow_start: Duration) -> f64 {
        let joined_ms = self.joined_ms.load(Relaxed);
        if joined_ms == ALWAYS_THERE || slow_start.is_zero() {
            return 1.0;
        }
        let joined = self.born + Duration::from_millis(joined_ms);
        let risen = now.saturating_duration_since(joined).as_secs_f64() / slow_start.as_secs_f64();
        (FIRST_SHARE + (1.0 - FIRST_SHARE) * risen).min(1.0)
    }
}

/// In place of a time: it did not join later than the others.
const ALWAYS_THERE: u64 = u64::MAX;
