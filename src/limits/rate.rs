//! Does this peer ask too often?
//!
//! governor counts (by GCRA, a leaky bucket that remembers one time a peer) in a table of our own, which is
//! bounded: governor's grow with every address that asks.

use std::{fmt, num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};
use tokio::time::Instant;

use super::peers::{PeerKey, Peers, SHARDS};

/// How often one peer may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How long it takes until one more may come.
    pub every: Duration,
    /// How many may come at once, after a silence.
    pub burst: NonZeroU32,
}

/// What each peer has asked, as far as it matters still.
pub(super) struct PeerRate {
    rate: Rate,
    limiter: RateLimiter<PeerKey, Table, Ticks, NoOpMiddleware<Duration>>,
}

impl PeerRate {
    /// Nobody has asked yet.
    pub(super) fn new(rate: Rate) -> Self {
        let every = rate.every.max(Duration::from_nanos(1));
        let quota = Quota::with_period(every).expect("a period that is not zero");
        let clock = Ticks(Instant::now());
        Self {
            rate,
            limiter: RateLimiter::new(quota.allow_burst(rate.burst), Table::default(), clock),
        }
    }

    /// What it holds peers to.
    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Counts a request of the peer.
    ///
    /// # Errors
    /// It is one too many; when the next may come.
    pub(super) fn check(&self, peer: PeerKey) -> Result<(), Duration> {
        self.limiter
            .check_key(&peer)
            .map_err(|until| until.wait_time_from(self.limiter.clock().now()))
    }

    /// Forgets peers that have been quiet for so long that they are like new ones.
    pub(super) fn forget_quiet(&self) {
        self.limiter.retain_recent();
    }

    /// How many peers are remembered.
    #[cfg(test)]
    pub(super) fn peers(&self) -> usize {
        self.limiter.len()
    }
}

impl fmt::Debug for PeerRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rate.fmt(f)
    }
}

/// The time since the first look.
struct Ticks(Instant);

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// When each peer's requests are paid off.
///
/// Once it is full, peers that are not in it pass uncounted: whoever has so many addresses is not held by
/// a limit for each, and must neither exhaust the memory nor lock everybody else out.
#[derive(Default)]
struct Table(Peers<Nanos>);

impl StateStore for Table {
    type Key = PeerKey;

    fn measure_and_replace<T, F, E>(&self, peer: &PeerKey, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.with(*peer, |peers| {
            let known = peers.get_mut(peer);
            let (outcome, paid_off) = decide(known.as_deref().copied())?;
            if let Some(known) = known {
                *known = paid_off;
            } else if peers.len() < PEERS_MAX / SHARDS {
                peers.insert(*peer, paid_off);
            }
            Ok(outcome)
        })
    }
}

impl ShrinkableKeyedStateStore<PeerKey> for Table {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain(|paid_off| *paid_off > drop_below);
    }

    fn len(&self) -> usize {
        self.0.count()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How many peers are remembered for one route, each with some 20 to 40 bytes.
pub(super) const PEERS_MAX: usize = 128 * 1024;
