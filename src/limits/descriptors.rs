//! How many connections do the process's descriptors allow?

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tracing::{info, warn};

use super::lock;

/// How many descriptors are kept for what is no client: the log, names, checks, operators, files that are read
/// again, and a connection for each worker that waits for a place.
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
    places: Arc<Semaphore>,
    crowd: Mutex<Crowd>,
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
    process: Arc<Semaphore>,
}

impl Default for Descriptors {
    /// Without a bound, until [`Descriptors::bound`] says one.
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            crowd: Mutex::default(),
        }
    }
}

impl Descriptors {
    /// Lets in as many connections as a process that may have `files_max` descriptors, and has `files_open`
    /// now. To be said before the first connection comes.
    pub(super) fn bound(&self, files_max: usize, files_open: usize) {
        let connections = connections_max(files_max, files_open);
        self.places
            .forget_permits(Semaphore::MAX_PERMITS - connections);
        info!(
            connections,
            files_max, "The limit of open files allows so many connections at once."
        );
    }

    /// Waits for a place, first the listener's. `None` where the listener takes no more.
    pub(super) async fn place(&self, listener: &Arc<Semaphore>) -> Option<ConnectionPlace> {
        let first = listener.acquire().await.ok()?;
        let second = match self.places.try_acquire() {
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
        self.places.acquire().await.ok()
    }

    /// Whether newcomers wait, or did a moment ago, so that who has been served had better go.
    pub(super) fn are_short(&self) -> bool {
        let crowd = lock(&self.crowd);
        crowd.waiting > 0 || crowd.waited_at.is_some_and(|at| at.elapsed() < MOMENT)
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.listener.add_permits(1);
        self.process.add_permits(1);
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
            warn!("Connections wait in the kernel's queue; raise the limit of open files.");
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

/// At least one, and at most what a semaphore can count.
fn connections_max(files_max: usize, files_open: usize) -> usize {
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
        descriptors.bound(8, 2);
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
        descriptors.bound(4, 1);
        let _first = descriptors.place(&listener).await;
        let second = timeout(Duration::from_secs(1), descriptors.place(&listener)).await;
        assert!(second.is_err());
        assert_eq!(listener.available_permits(), 9);
    }
}
