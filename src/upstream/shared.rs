//! What do all workers share of one upstream?

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicUsize, Ordering},
};

use rustls::ClientConfig;

use super::{Settings, TrustError, key::Key, member::Member, retry::Retries, trust};
use crate::{
    balance::{self, Candidate, Draw},
    telemetry::metrics::upstream::UpstreamMetrics,
};

/// The endpoints of an upstream at one time; another list takes its place where they change.
pub type Members = Arc<[Arc<Member>]>;

/// What all workers share of one upstream.
#[derive(Debug)]
pub struct Shared {
    pub(super) settings: Settings,
    pub(super) trust: Option<Arc<ClientConfig>>,
    /// What the file of authorities held when it was read.
    authorities: Option<Vec<u8>>,
    members: RwLock<Members>,
    turn: AtomicUsize,
    pub(super) retries: Retries,
    /// Where its connections are counted.
    pub(super) metrics: Arc<UpstreamMetrics>,
}

impl Shared {
    /// Sets up trust and loads; connections are counted in `metrics`.
    ///
    /// # Errors
    /// The certificates to trust cannot be used.
    pub fn new(settings: Settings, metrics: Arc<UpstreamMetrics>) -> Result<Self, TrustError> {
        let member =
            |address: &super::EndpointAddress| Arc::new(Member::new(address.clone(), &settings));
        let members: Members = settings.endpoints.iter().map(member).collect();
        Ok(Self {
            trust: trust(&settings)?,
            authorities: settings
                .tls
                .ca
                .as_ref()
                .and_then(|file| std::fs::read(file).ok()),
            members: RwLock::new(members),
            turn: AtomicUsize::new(0),
            retries: Retries::new(&settings.retry),
            metrics,
            settings,
        })
    }

    /// The name in `[upstream.NAME]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// How often another endpoint was asked.
    #[must_use]
    pub fn retries(&self) -> &Retries {
        &self.retries
    }

    /// Whether the other would do just the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.settings == other.settings && self.authorities == other.authorities
    }

    /// The endpoints as they are now.
    #[must_use]
    pub fn members(&self) -> Members {
        // Nothing is done under this lock that could leave the list half changed.
        Arc::clone(&self.members.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The endpoint whose turn it is among `candidates`; for a key, the key's.
    pub(super) fn choose(
        &self,
        candidates: &[Option<Candidate>],
        key: Option<Key>,
    ) -> Option<usize> {
        if candidates.iter().all(Option::is_none) {
            // Nobody has had a turn.
            return None;
        }
        let random = fastrand::u64(..);
        let draw = Draw {
            turn: self.turn.fetch_add(1, Ordering::Relaxed),
            random,
            key: key.map_or(random, |key| key.0),
        };
        balance::choose(self.settings.balance, candidates, draw)
    }
}
