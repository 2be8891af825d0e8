//! What do all workers know of one endpoint?

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{EndpointAddress, Settings, condition::Condition, key};
use crate::{
    balance::Candidate,
    health::{Pass, Summary},
};

/// One endpoint, as all workers share it.
#[derive(Debug)]
pub struct Member {
    /// Where it listens.
    pub address: EndpointAddress,
    /// What tells it from the others in every process.
    id: u64,
    open_streams: AtomicUsize,
    pub(super) condition: Condition,
}

impl Member {
    /// An endpoint without streams, which is up until something else shows.
    pub(super) fn new(address: EndpointAddress, settings: &Settings) -> Self {
        let health = settings.health.of_endpoint();
        Self {
            condition: Condition::new(health, &settings.name, address.to_string()),
            id: key::hash(address.to_string().as_bytes()),
            open_streams: AtomicUsize::new(0),
            address,
        }
    }

    /// How many streams are open on it.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.open_streams.load(Ordering::Relaxed)
    }

    /// Whether it is up: neither ejected nor taken down by its checks.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.condition.is_up()
    }

    /// What operators are told of its health.
    #[must_use]
    pub fn state(&self) -> Summary {
        self.condition.summary()
    }

    /// How often it was ejected or taken down, by reason.
    #[must_use]
    pub fn ejections(&self) -> Vec<(&'static str, u64)> {
        let ejections = self.condition.ejections().into_iter();
        ejections
            .map(|(reason, count)| (reason.code(), count))
            .collect()
    }

    /// How many checks succeeded, and how many failed.
    #[must_use]
    pub fn checks(&self) -> (u64, u64) {
        self.condition.checks()
    }

    /// What is chosen by.
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            open_streams: self.open_streams(),
            weight: 1,
            id: self.id,
        }
    }

    /// Counts a stream that begins on it.
    pub(super) fn begin(&self) -> Pass {
        self.open_streams.fetch_add(1, Ordering::Relaxed);
        self.condition.begin()
    }

    /// Counts a stream that has ended on it.
    pub(super) fn end(&self, pass: Pass) {
        self.open_streams.fetch_sub(1, Ordering::Relaxed);
        self.condition.left(pass);
    }
}
