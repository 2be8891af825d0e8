//! What do all workers know of one endpoint?

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{EndpointAddress, key};
use crate::balance::Candidate;

/// One endpoint, as all workers share it.
#[derive(Debug)]
pub struct Member {
    /// Where it listens.
    pub address: EndpointAddress,
    /// What tells it from the others in every process.
    id: u64,
    open_streams: AtomicUsize,
}

impl Member {
    /// An endpoint without streams.
    pub(super) fn new(address: EndpointAddress) -> Self {
        Self {
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

    /// What is chosen by.
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            open_streams: self.open_streams(),
            weight: 1,
            id: self.id,
        }
    }

    /// Counts a stream that begins on it.
    pub(super) fn begin(&self) {
        self.open_streams.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a stream that has ended on it.
    pub(super) fn end(&self) {
        self.open_streams.fetch_sub(1, Ordering::Relaxed);
    }
}
