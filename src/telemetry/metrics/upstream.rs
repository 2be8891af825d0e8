//! How well are the endpoints of an upstream reached?

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use super::{
    histogram::{Histogram, Snapshot},
    lock,
};

/// The counts of one upstream, of all workers: it is connected to far less often than it streams.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    connect: Histogram,
    queue: Histogram,
    /// By endpoint and reason.
    failures: Mutex<Failures>,
}

/// By endpoint and reason.
pub(super) type Failures = BTreeMap<(String, &'static str), u64>;

impl UpstreamMetrics {
    /// Counts a connection, with how long it took to resolve, connect and agree on TLS.
    pub fn connected(&self, within: Duration) {
        self.connect.observe(within);
    }

    /// Counts a connection that did not come about.
    pub fn connect_failed(&self, endpoint: &str, reason: &'static str) {
        let mut failures = lock(&self.failures);
        *failures.entry((endpoint.to_owned(), reason)).or_default() += 1;
    }

    /// Counts a request that waited for an endpoint with room, whether it came to one or not.
    pub fn queued(&self, within: Duration) {
        self.queue.observe(within);
    }

    pub(super) fn connects(&self) -> Snapshot {
        Snapshot::of(std::iter::once(&self.connect))
    }

    pub(super) fn queues(&self) -> Snapshot {
        Snapshot::of(std::iter::once(&self.queue))
    }

    pub(super) fn failures(&self) -> Failures {
        lock(&self.failures).clone()
    }
}
