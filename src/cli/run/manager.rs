//! What does a service manager learn of us?
//!
//! By `sd_notify(3)`, where `$NOTIFY_SOCKET` names a socket; else nobody asked.

use std::io;

use sd_notify::{NotifyState, notify};
use tracing::warn;

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
    told(notify(&[NotifyState::MainPid(id), NotifyState::Ready]));
}

fn told(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        warn!(%error, "The service manager could not be told.");
    }
}
