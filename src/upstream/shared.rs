//! What do all workers share of one upstream?

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rustls::ClientConfig;

use super::{Settings, TrustError, key, key::Key, trust};
use crate::balance::{self, Candidate, Draw};

/// What all workers share of one upstream.
#[derive(Debug)]
pub struct Shared {
    pub(super) settings: Settings,
    pub(super) trust: Option<Arc<ClientConfig>>,
    /// What the file of authorities held when it was read.
    authorities: Option<Vec<u8>>,
    pub(super) open_streams: Vec<AtomicUsize>,
    /// What tells each endpoint from the others in every process.
    ids: Vec<u64>,
    turn: AtomicUsize,
}

impl Shared {
    /// Sets up trust and loads.
    ///
    /// # Errors
    /// The certificates to trust cannot be used.
    pub fn new(settings: Settings) -> Result<Self, TrustError> {
        Ok(Self {
            trust: trust(&settings)?,
            authorities: settings
                .tls
                .ca
                .as_ref()
                .and_then(|file| std::fs::read(file).ok()),
            open_streams: settings
                .endpoints
                .iter()
                .map(|_| AtomicUsize::new(0))
                .collect(),
            ids: settings
                .endpoints
                .iter()
                .map(|address| key::hash(address.to_string().as_bytes()))
                .collect(),
            turn: AtomicUsize::new(0),
            settings,
        })
    }

    /// Whether the other would do just the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.settings == other.settings && self.authorities == other.authorities
    }

    /// The endpoint whose turn it is among those that were not tried; for a key, the key's.
    pub(super) fn choose(&self, is_tried: &[bool], key: Option<Key>) -> Option<usize> {
        let endpoints = self.open_streams.iter().zip(&self.ids).zip(is_tried);
        let candidates: Vec<Option<Candidate>> = endpoints
            .map(|((open, &id), &is_tried)| {
                (!is_tried).then(|| Candidate {
                    open_streams: open.load(Ordering::Relaxed),
                    weight: 1,
                    id,
                })
            })
            .collect();
        let random = fastrand::u64(..);
        let draw = Draw {
            turn: self.turn.fetch_add(1, Ordering::Relaxed),
            random,
            key: key.map_or(random, |key| key.0),
        };
        balance::choose(self.settings.balance, &candidates, draw)
    }
}
