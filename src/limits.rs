//! Who may still come in?
//!
//! A [`Gate`] stands before each route: it lets a request in with a [`Place`] among the open streams, or
//! says why not and when to come again. What it counts is shared by all workers, touched only where a
//! stream begins or ends, and outlives the generations of the configuration.

mod cgroup;
mod descriptors;
mod memory;
mod peers;
mod rate;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

pub use self::{descriptors::ConnectionPlace, memory::MemoryBudget, rate::Rate};
use self::{
    descriptors::Descriptors,
    memory::Memory,
    peers::{PeerKey, Peers},
    rate::PeerRate,
};
use crate::error::{Kind, Refusal};

/// What the configuration says of who is let into one route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Admission {
    /// The most streams open at once; `None` is no limit.
    pub streams_max: Option<usize>,
    /// The same for one peer.
    pub streams_per_peer_max: Option<usize>,
    /// How many requests one peer may make in a time.
    pub rate: Option<Rate>,
}

/// What the configuration says of the whole process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// The most streams open at once, over all routes; `None` is no limit.
    pub streams_max: Option<usize>,
    /// The most connections of clients open at once, over all listeners; `None` is what the process's descriptors
    /// allow.
    pub connections_max: Option<usize>,
    /// What the process may have allocated before new streams are refused.
    pub memory: MemoryBudget,
}

/// What a process may open, with the descriptors that it may have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How many files, sockets included.
    pub files: usize,
    /// How many connections of clients: each has another one to its upstream.
    pub connections: usize,
}

/// What a process may open that is started like this one; `None` where that cannot be told.
#[must_use]
pub fn allowance() -> Option<Allowance> {
    // The hard limit, as the soft one is raised to it.
    let (_, files) = rlimit::getrlimit(rlimit::Resource::NOFILE).ok()?;
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    Some(Allowance {
        files,
        connections: descriptors::connections_max(files, 0),
    })
}

/// The limits of the process, and what is counted against them.
#[derive(Debug)]
pub struct Limits {
    process: Arc<Process>,
    routes: Mutex<BTreeMap<String, Route>>,
    descriptors: Descriptors,
}

/// The gate of one route, in one generation.
#[derive(Debug, Default)]
pub struct Gate {
    admission: Admission,
    route: Route,
}

/// One stream among those that are open; given back when dropped.
#[derive(Debug)]
pub struct Place {
    open: Arc<Open>,
    /// Whose stream it is, where streams are counted by peer.
    peer: Option<PeerKey>,
}

/// What is counted of one route: the same for all generations that have a route of that name.
#[derive(Debug, Clone, Default)]
struct Route {
    open: Arc<Open>,
    /// Kept as long as the rate stays the same.
    rate: Option<Arc<PeerRate>>,
}

/// The open streams of one route.
#[derive(Debug, Default)]
struct Open {
    streams: AtomicUsize,
    peers: Peers<usize>,
    process: Arc<Process>,
}

/// What is counted of the process.
#[derive(Debug, Default)]
struct Process {
    streams: AtomicUsize,
    /// 0 is no limit.
    streams_max: AtomicUsize,
    memory: Memory,
}

impl Limits {
    /// Counts nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        let limits = Self {
            process: Arc::default(),
            routes: Mutex::default(),
            descriptors: Descriptors::default(),
        };
        limits.renew(settings);
        Arc::new(limits)
    }

    /// Holds new streams to these limits from here on; those that are open stay, and count.
    pub fn renew(&self, settings: Settings) {
        let streams_max = settings.streams_max.unwrap_or(0);
        self.process.streams_max.store(streams_max, Relaxed);
        self.process.memory.set_budget(settings.memory);
        self.descriptors.ask(settings.connections_max);
        lock(&self.routes).retain(|_, route| route.is_used());
    }

    /// The gate of the route of that name, with what earlier generations counted. Peers' rates begin anew
    /// where the rate is another.
    #[must_use]
    pub fn gate(&self, name: &str, admission: Admission) -> Gate {
        let mut routes = lock(&self.routes);
        let route = routes.entry(name.to_owned()).or_insert_with(|| Route {
            open: Arc::new(Open {
                process: Arc::clone(&self.process),
                ..Open::default()
            }),
            rate: None,
        });
        if route.rate.as_ref().map(|rate| rate.rate()) != admission.rate {
            route.rate = admission.rate.map(|rate| Arc::new(PeerRate::new(rate)));
        }
        Gate {
            admission,
            route: route.clone(),
        }
    }

    /// Lets in as many connections as a process that may have `files_max` descriptors, and has `files_open` whoever
    /// comes, unless the settings say how many.
    pub fn allow_connections(&self, files_max: usize, files_open: usize) {
        self.descriptors.allow(files_max, files_open);
    }

    /// How many connections of clients may be open at once, over all listeners; `None` is no limit.
    #[must_use]
    pub fn connections_max(&self) -> Option<usize> {
        self.descriptors.connections_max()
    }

    /// Waits until a connection may come in, at its listener and into the process; `None` where the listener
    /// takes no more.
    pub async fn connection(&self, listener: &Arc<Semaphore>) -> Option<ConnectionPlace> {
        self.descriptors.place(listener).await
    }

    /// Asks every worker for an idle connection's place.
    pub fn want_room(&self) {
        self.descriptors.room.notify_waiters();
    }

    /// Waits until somebody wants room.
    pub async fn room_wanted(&self) {
        self.descriptors.room.notified().await;
    }

    /// Asks every worker for the descriptors of connections that nothing goes over, as one is missing.
    pub fn want_descriptors(&self) {
        self.descriptors.shortage.notify_waiters();
    }

    /// Waits until somebody misses a descriptor.
    pub async fn descriptors_wanted(&self) {
        self.descriptors.shortage.notified().await;
    }

    /// Whether connections wait to come in, so that who has been served had better go.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.descriptors.are_short()
    }

    /// Compares what is allocated with the budget. Gives the time until it is to be called again.
    pub fn look_at_memory(&self) -> Duration {
        self.process.memory.look()
    }

    /// Forgets peers that have been quiet for so long that they are like new ones; to be called every few
    /// seconds.
    pub fn forget_quiet_peers(&self) {
        for route in lock(&self.routes).values() {
            route.open.peers.retain(|streams| *streams > 0);
            if let Some(rate) = &route.rate {
                rate.forget_quiet();
            }
        }
    }

    /// How many bytes the process has allocated.
    #[must_use]
    pub fn allocated_bytes(&self) -> u64 {
        memory::allocated_bytes()
    }

    /// How many it may have before new streams are refused; `None` is no limit.
    #[must_use]
    pub fn memory_budget_bytes(&self) -> Option<u64> {
        self.process.memory.budget_bytes()
    }
}

impl Gate {
    /// Lets a request in. A peer without an address is held to what holds for all.
    ///
    /// # Errors
    /// There is no memory or no place left, or the peer asks for too much.
    pub fn admit(&self, peer: Option<IpAddr>) -> Result<Place, Refusal> {
        let Self { admission, route } = self;
        if route.open.process.memory.is_spent() {
            let detail = "the proxy has no memory left for further streams";
            return Err(Refusal::come_again(Kind::OutOfMemory, detail));
        }
        let is_by_peer = admission.streams_per_peer_max.is_some() || route.rate.is_some();
        let peer = peer.filter(|_| is_by_peer).map(PeerKey::of);
        if let (Some(rate), Some(peer)) = (&route.rate, peer)
            && let Err(wait) = rate.check(peer)
        {
            let detail = "too many requests from this address";
            return Err(Refusal::new(Kind::RateLimited, detail).retry_after(wait));
        }
        let mut place = Open::place(&route.open, admission.streams_max)?;
        if let (Some(most), Some(peer)) = (admission.streams_per_peer_max, peer) {
            place.count_for(peer, most)?;
        }
        Ok(place)
    }
}

impl Open {
    /// Takes a place, if neither the process nor the route is full.
    fn place(self: &Arc<Self>, streams_max: Option<usize>) -> Result<Place, Refusal> {
        let process = &self.process;
        let process_max = Some(process.streams_max.load(Relaxed)).filter(|most| *most > 0);
        if !take(&process.streams, process_max) {
            let detail = "the proxy has as many streams open as it may";
            return Err(Refusal::come_again(Kind::TooManyStreams, detail));
        }
        if !take(&self.streams, streams_max) {
            process.streams.fetch_sub(1, Relaxed);
            let detail = "the route has as many streams open as it may";
            return Err(Refusal::come_again(Kind::TooManyStreams, detail));
        }
        Ok(Place {
            open: Arc::clone(self),
            peer: None,
        })
    }
}

impl Place {
    /// Counts it as the peer's, if that has less than `most`.
    fn count_for(&mut self, peer: PeerKey, most: usize) -> Result<(), Refusal> {
        let is_counted = self.open.peers.with(peer, |peers| {
            let streams = peers.entry(peer).or_default();
            let is_free = *streams < most;
            *streams += usize::from(is_free);
            is_free
        });
        if !is_counted {
            let detail = "this address has as many streams open as it may";
            return Err(Refusal::come_again(Kind::PeerTooManyStreams, detail));
        }
        self.peer = Some(peer);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.process.streams.fetch_sub(1, Relaxed);
        self.open.streams.fetch_sub(1, Relaxed);
        let Some(peer) = self.peer else {
            return;
        };
        self.open.peers.with(peer, |peers| {
            if let Some(streams) = peers.get_mut(&peer) {
                *streams -= 1;
                if *streams == 0 {
                    peers.remove(&peer);
                }
            }
        });
    }
}

impl Route {
    /// Whether a generation or a stream still counts here, besides the registry.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.open) > 1
    }
}

/// Counts one more, if there are less than `most`.
fn take(count: &AtomicUsize, most: Option<usize>) -> bool {
    let more = |count: usize| most.is_none_or(|most| count < most).then_some(count + 1);
    count.fetch_update(Relaxed, Relaxed, more).is_ok()
}

/// Counts stay right although a thread that counted has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
