//! Who is one peer, and what is kept of each?

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    num::NonZeroU64,
    sync::Mutex,
};

use super::lock;

/// What tells peers apart: an IPv4 address, or the first 64 bits of an IPv6 address, which is what one
/// subscriber gets at least (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PeerKey(NonZeroU64);

/// Something of each peer, in parts that are locked one by one.
#[derive(Debug)]
pub(super) struct Peers<T> {
    shards: [Mutex<HashMap<PeerKey, T>>; SHARDS],
    /// Keyed by chance, so that nobody can choose addresses that meet.
    hasher: RandomState,
}

impl PeerKey {
    /// The key of this address.
    pub(super) fn of(address: IpAddr) -> Self {
        let bits = match address.to_canonical() {
            // Beside all IPv6: nobody is given 0:1::/32.
            IpAddr::V4(ip) => (1 << 32) | u64::from(ip.to_bits()),
            IpAddr::V6(ip) => {
                let [network @ .., _, _, _, _] = ip.segments();
                network
                    .iter()
                    .fold(0, |bits, segment| bits << 16 | u64::from(*segment))
            }
        };
        // ::/64, which holds the loopback address, is as good as any other that nobody else has.
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }
}

impl<T> Peers<T> {
    /// Looks at the part that the peer is in.
    pub(super) fn with<R>(
        &self,
        peer: PeerKey,
        look: impl FnOnce(&mut HashMap<PeerKey, T>) -> R,
    ) -> R {
        let hash = self.hasher.hash_one(peer);
        let shard = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        look(&mut lock(&self.shards[shard]))
    }

    /// Forgets those that are not to be kept, and gives back what they took.
    pub(super) fn retain(&self, is_kept: impl Fn(&T) -> bool) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.retain(|_, value| is_kept(value));
            if shard.capacity() > SPARE * shard.len() {
                shard.shrink_to_fit();
            }
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }
}

impl<T> Default for Peers<T> {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }
}

/// In how many parts peers are kept.
pub(super) const SHARDS: usize = 16;

/// How many times the room that is needed may be kept.
const SPARE: usize = 8;
