//! How many connections do the process's descriptors allow?

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::Instant,
};
use tracing::{debug, warn};

use super::lock;

/// How many descriptors are kept for what is no client: the log, names, checks, operators, files that are read
/// again.
const SPARE: usize = 64;
/// How many descriptors a connection takes, with the one to its upstream.
const PER_CONNECTION: usize = 2;
/// How long after somebody has waited more are thought to come.
const MOMENT: Duration = Duration::from_secs(1);
/// How often it is said that newcomers wait.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// The connections that may be open at once, over all listeners.
#[derive(Debug)]
pub(super) struct Descriptors {
    places: Arc<Places>,
    bound: Mutex<Bound>,
    crowd: Mutex<Crowd>,
    /// Tells that somebody wants an idle connection's place.
    pub(super) room: Notify,
    /// Tells that somebody misses a descriptor.
    pub(super) shortage: Notify,
}

/// The places for connections: as many as the bound says, less those that are taken.
#[derive(Debug)]
struct Places {
    free: Semaphore,
    /// How many of those that are taken are not to be free again, as there are fewer now.
    owed: AtomicUsize,
}

/// How many places there are.
#[derive(Debug)]
struct Bound {
    places: usize,
    /// As the configuration says.
    asked: Option<usize>,
    /// As the descriptors allow, where that is known.
    allowed: Option<usize>,
}

/// Who waits for a place.
#[derive(Debug, Default)]
struct Crowd {
    waiting: usize,
    /// When one last got a place, or left: more may wait in the kernel's queue.
    waited_at: Option<Instant>,
    warned_at: Option<Instant>,
}

/// A connection's place among those of its listener and those of the process, given back when dropped.
#[derive(Debug)]
pub struct ConnectionPlace {
    listener: Arc<Semaphore>,
    process: Arc<Places>,
}

impl Default for Descriptors {
    /// Without a bound, until one is said.
    fn default() -> Self {
        Self {
            places: Arc::new(Places {
                free: Semaphore::new(Semaphore::MAX_PERMITS),
                owed: AtomicUsize::new(0),
            }),
            bound: Mutex::new(Bound {
                places: Semaphore::MAX_PERMITS,
                asked: None,
                allowed: None,
            }),
            crowd: Mutex::default(),
            room: Notify::new(),
            shortage: Notify::new(),
        }
    }
}

impl Descriptors {
    /// Lets in as many connections as a process that may have `files_max` descriptors, and has `files_open`
    /// whoever comes, unless it was asked for another number.
    pub(super) fn allow(&self, files_max: usize, files_open: usize) {
        let allowed = connections_max(files_max, files_open);
        let mut bound = lock(&self.bound);
        bound.allowed = Some(allowed);
        self.renew(&mut bound);
        debug!(
            connections = bound.places,
            allowed,
            files_max,
            "So many connections may be open at once, and so many the limit of open files allows."
        );
    }

    /// Lets in so many connections, or as many as the descriptors allow. Those that are open stay, and count.
    pub(super) fn ask(&self, connections: Option<usize>) {
        let mut bound = lock(&self.bound);
        bound.asked = connections;
        self.renew(&mut bound);
    }

    fn renew(&self, bound: &mut Bound) {
        let places = bound.asked.or(bound.allowed);
        let places = places.map_or(Semaphore::MAX_PERMITS, |most| {
            most.min(Semaphore::MAX_PERMITS)
        });
        let before = std::mem::replace(&mut bound.places, places);
        if places > before {
            self.places.add(places - before);
        } else {
            self.places.take_away(before - places);
        }
    }

    /// How many connections may be open at once; `None` is no limit.
    pub(super) fn connections_max(&self) -> Option<usize> {
        Some(lock(&self.bound).places).filter(|places| *places < Semaphore::MAX_PERMITS)
    }

    /// Waits for a place, first the listener's. `None` where the listener takes no more.
    pub(super) async fn place(&self, listener: &Arc<Semaphore>) -> Option<ConnectionPlace> {
        let first = listener.acquire().await.ok()?;
        let second = match self.places.free.try_acquire() {
            Ok(place) => place,
            Err(_) => self.wait().await?,
        };
        first.forget();
        second.forget();
        Some(ConnectionPlace {
            listener: Arc::clone(listener),
            process: Arc::clone(&self.places),
        })
    }

    async fn wait(&self) -> Option<SemaphorePermit<'_>> {
        let _waiting = Waiting::new(&self.crowd);
        self.places.free.acquire().await.ok()
    }

    /// Whether newcomers wait, or did a moment ago, so that who has been served had better go.
    pub(super) fn are_short(&self) -> bool {
        let crowd = lock(&self.crowd);
        crowd.waiting > 0 || crowd.waited_at.is_some_and(|at| at.elapsed() < MOMENT)
    }
}

impl Places {
    /// Makes so many more of them, those first that are taken and were to go.
    fn add(&self, count: usize) {
        let mut owed = 0;
        let pay = |before: usize| {
            owed = before;
            Some(before.saturating_sub(count))
        };
        // It cannot fail, as there is always some number.
        let _ = self.owed.fetch_update(Relaxed, Relaxed, pay);
        self.free.add_permits(count.saturating_sub(owed));
    }

    /// Makes so many fewer of them: what is not free now goes once it is.
    fn take_away(&self, count: usize) {
        let gone = self.free.forget_permits(count);
        self.owed.fetch_add(count - gone, Relaxed);
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.listener.add_permits(1);
        self.process.add(1);
    }
}

/// One newcomer that waits.
struct Waiting<'a>(&'a Mutex<Crowd>);

impl<'a> Waiting<'a> {
    fn new(crowd: &'a Mutex<Crowd>) -> Self {
        let mut locked = lock(crowd);
        locked.waiting += 1;
        if locked.warned_at.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            locked.warned_at = Some(Instant::now());
            warn!(
                "Connections wait in the kernel's queue; raise the limit of open files, or [process] connections \
                 where that is less."
            );
        }
        Self(crowd)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut crowd = lock(self.0);
        crowd.waiting -= 1;
        crowd.waited_at = Some(Instant::now());
    }
}

/// How many connections a process may have open that may have `files_max` descriptors and needs `files_open`
/// whoever comes: at least one, and at most what a semaphore can count.
pub(super) fn connections_max(files_max: usize, files_open: usize) -> usize {
    let spare = SPARE.min(files_max / 4);
    let left = files_max.saturating_sub(files_open + spare);
    (left / PER_CONNECTION).clamp(1, Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::{advance, timeout};

    use super::*;

    #[test]
    fn half_of_what_is_not_needed_elsewhere_is_for_clients() {
        assert_eq!(connections_max(1024, 24), (1024 - 24 - 64) / 2);
        assert_eq!(connections_max(100, 20), (100 - 20 - 25) / 2);
        assert_eq!(connections_max(20, 30), 1);
        assert_eq!(connections_max(usize::MAX, 30), Semaphore::MAX_PERMITS);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_for_one_and_is_seen_to() {
        let descriptors = Descriptors::default();
        let listener = Arc::new(Semaphore::new(10));
        descriptors.allow(8, 2);
        let first = descriptors.place(&listener).await;
        let _second = descriptors.place(&listener).await;
        assert!(!descriptors.are_short());
        {
            let mut third = pin!(descriptors.place(&listener));
            assert!(timeout(Duration::from_secs(9), &mut third).await.is_err());
            assert!(descriptors.are_short());
            drop(first);
            assert!(third.await.is_some());
        }
        assert!(descriptors.are_short(), "more may come");
        advance(MOMENT).await;
        assert!(!descriptors.are_short());
        assert_eq!(listener.available_permits(), 9, "only the second is held");
        let fourth = timeout(Duration::ZERO, descriptors.place(&listener)).await;
        assert!(fourth.is_ok(), "what was given back is there again");
    }

    /// A worker that stops while it waits takes nothing with it.
    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_has_taken_no_place() {
        let descriptors = Descriptors::default();
        let listener = Arc::new(Semaphore::new(10));
        descriptors.allow(4, 1);
        let _first = descriptors.place(&listener).await;
        let second = timeout(Duration::from_secs(1), descriptors.place(&listener)).await;
        assert!(second.is_err());
        assert_eq!(listener.available_permits(), 9);
    }

    #[tokio::test]
    async fn what_is_asked_for_counts_before_what_is_allowed() {
        let descriptors = Descriptors::default();
        let listener = Arc::new(Semaphore::new(10));
        assert_eq!(descriptors.connections_max(), None);
        descriptors.ask(Some(3));
        descriptors.allow(8, 2);
        assert_eq!(descriptors.connections_max(), Some(3));
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(descriptors.place(&listener).await);
        }
        // Two of the three are not there any more: the next one comes in when only one is left of them.
        descriptors.ask(Some(1));
        for left in [3, 2, 1] {
            assert!(
                timeout(Duration::ZERO, descriptors.place(&listener))
                    .await
                    .is_err(),
                "{left} are left"
            );
            places.pop();
        }
        places.push(descriptors.place(&listener).await);
        descriptors.ask(None);
        assert_eq!(descriptors.connections_max(), Some(2), "(8 - 2 - 2) / 2");
        places.push(descriptors.place(&listener).await);
        assert!(
            timeout(Duration::ZERO, descriptors.place(&listener))
                .await
                .is_err()
        );
        drop(places);
        assert_eq!(descriptors.places.free.available_permits(), 2);
    }
}
