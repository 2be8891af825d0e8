//! What does a service manager learn of us?
//!
//! By `sd_notify(3)`, where `$NOTIFY_SOCKET` names a socket; else nobody asked.

use std::{io, time::Duration};

use sd_notify::{NotifyState, notify};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, warn};

use crate::app::Pulse;

/// The least that the time between two signs of life is held to.
const WATCHDOG_LEAST: Duration = Duration::from_millis(2);

/// We serve: at first, or again after a reload.
pub(super) fn ready() {
    told(notify(&[NotifyState::Ready]));
}

/// We read the file again, or another process is about to take over.
pub(super) fn reloading() {
    // The time tells the manager this one from another reload that it asked for meanwhile.
    let now = NotifyState::monotonic_usec_now();
    told(now.and_then(|now| notify(&[NotifyState::Reloading, now])));
}

/// We drain.
pub(super) fn stopping() {
    told(notify(&[NotifyState::Stopping]));
}

/// The process with this id serves in our place.
pub(super) fn succeeded_by(id: u32) {
    let mut news = vec![NotifyState::MainPid(id), NotifyState::Ready];
    // Nobody has listened to the other's signs of life until now.
    news.extend(watchdog().map(|_| NotifyState::Watchdog));
    told(notify(&news));
}

/// How long we may give no sign of life, where the manager watches us (`sd_watchdog_enabled(3)`).
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

/// Gives signs of life, twice as often as the manager asks for, as long as all workers work. One that is stuck
/// or gone leaves its share of the connections unserved for good, so that a restart is what helps.
pub(super) async fn live(pulse: Pulse) {
    let Some(limit) = watchdog().map(|limit| limit.max(WATCHDOG_LEAST)) else {
        return;
    };
    let mut signs = interval(limit / 2);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        signs.tick().await;
        if timeout(limit, pulse.beat()).await == Ok(true) {
            told(notify(&[NotifyState::Watchdog]));
        } else {
            error!("A worker is stuck or gone; the service manager will end this process.");
        }
    }
}

fn told(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        warn!(%error, "The service manager could not be told.");
    }
}
