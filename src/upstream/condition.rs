//! What do all workers make of one endpoint's health?

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;
use tracing::info;

use super::joining::Joining;
use crate::health::{Change, Failure, Health, Pass, Reason, Settings, Summary};

/// The health of one endpoint, as all workers share it, and what it is counted by.
///
/// As long as it is up and nothing fails, no stream waits for another: the lock is not touched.
#[derive(Debug)]
pub(super) struct Condition {
    upstream: String,
    endpoint: String,
    /// [`Health::is_up`].
    is_up: AtomicBool,
    /// [`Health::is_spotless`].
    is_spotless: AtomicBool,
    known_since: Instant,
    /// Told when it is up again.
    joining: Arc<Joining>,
    health: Mutex<Health>,
    /// In the order of [`Failure::ALL`].
    ejections: [AtomicU64; Failure::ALL.len()],
    /// How often its checks have taken it down.
    falls: AtomicU64,
    checks_succeeded: AtomicU64,
    checks_failed: AtomicU64,
}

impl Condition {
    /// An endpoint that is up until something else shows.
    pub(super) fn new(
        settings: Settings,
        upstream: &str,
        endpoint: String,
        joining: Arc<Joining>,
    ) -> Self {
        Self {
            upstream: upstream.to_owned(),
            endpoint,
            is_up: AtomicBool::new(true),
            is_spotless: AtomicBool::new(true),
            known_since: Instant::now(),
            joining,
            health: Mutex::new(Health::new(settings)),
            ejections: Default::default(),
            falls: AtomicU64::new(0),
            checks_succeeded: AtomicU64::new(0),
            checks_failed: AtomicU64::new(0),
        }
    }

    /// Whether it is up.
    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Relaxed)
    }

    /// Whether a stream may go there. Two that ask at once may both be told so where only one is meant to.
    pub(super) fn is_open(&self) -> bool {
        self.is_up() || self.with(|health| health.is_open(self.now()))
    }

    /// Lets a stream begin there.
    pub(super) fn begin(&self) -> Pass {
        if self.is_up() {
            return Pass::default();
        }
        self.with(|health| health.begin(self.now()))
    }

    /// A stream failed.
    pub(super) fn failed(&self, failure: Failure, pass: Pass) {
        self.note(&failure.code(), |health| {
            health.failed(failure, pass, self.now())
        });
    }

    /// A stream was answered, and not by a failure.
    pub(super) fn answered(&self, pass: Pass) {
        if !self.is_spotless.load(Relaxed) {
            self.note(&"a stream was answered", |health| {
                health.answered(pass, self.now())
            });
        }
    }

    /// From now on these settings hold.
    pub(super) fn follow(&self, settings: Settings) {
        self.note(&"nobody is to find that out any more", |health| {
            health.follow(settings, self.now())
        });
    }

    /// A stream that was answered ended as it should.
    pub(super) fn completed(&self) {
        if !self.is_spotless.load(Relaxed) {
            self.note(&"", |health| {
                health.completed();
                None
            });
        }
    }

    /// A stream is over without a word on its endpoint.
    pub(super) fn left(&self, pass: Pass) {
        if pass != Pass::default() {
            self.with(|health| health.left(pass));
        }
    }

    /// A check succeeded, or failed for a reason.
    pub(super) fn checked(&self, result: Result<(), &dyn fmt::Display>) {
        let count = match result {
            Ok(()) => &self.checks_succeeded,
            Err(_) => &self.checks_failed,
        };
        count.fetch_add(1, Relaxed);
        let detail = result.err().unwrap_or(&"its checks succeed");
        self.note(detail, |health| health.checked(result.is_ok(), self.now()));
    }

    pub(super) fn summary(&self) -> Summary {
        self.with(|health| health.summary(self.now()))
    }

    /// How often it was ejected or taken down, by reason.
    pub(super) fn ejections(&self) -> Vec<(Reason, u64)> {
        let reasons = Failure::ALL.map(Reason::Streams).into_iter();
        let counts = self.ejections.iter().map(|count| count.load(Relaxed));
        let falls = (Reason::Check, self.falls.load(Relaxed));
        reasons.zip(counts).chain([falls]).collect()
    }

    /// How many checks succeeded, and how many failed.
    pub(super) fn checks(&self) -> (u64, u64) {
        let failed = self.checks_failed.load(Relaxed);
        (self.checks_succeeded.load(Relaxed), failed)
    }

    /// Does something to its health, and tells what has become of it.
    fn note(&self, detail: &dyn fmt::Display, step: impl FnOnce(&mut Health) -> Option<Change>) {
        let change = self.with(|health| {
            let change = step(health);
            self.is_up.store(health.is_up(), Relaxed);
            self.is_spotless.store(health.is_spotless(), Relaxed);
            change
        });
        let (upstream, endpoint) = (&*self.upstream, &*self.endpoint);
        match change {
            Some(Change::Ejected { failure, lasts }) => {
                let failures = Failure::ALL.iter().zip(&self.ejections);
                for (_, count) in failures.filter(|(one, _)| **one == failure) {
                    count.fetch_add(1, Relaxed);
                }
                let reason = failure.code();
                info!(
                    upstream,
                    endpoint,
                    reason,
                    ?lasts,
                    "An endpoint is ejected."
                );
            }
            Some(Change::Down) => {
                self.falls.fetch_add(1, Relaxed);
                info!(upstream, endpoint, reason = %detail, "An endpoint is down: its checks fail.");
            }
            Some(Change::Up) => {
                self.joining.restart(Instant::now());
                info!(upstream, endpoint, reason = %detail, "An endpoint is up again.");
            }
            None => {}
        }
    }

    fn now(&self) -> Duration {
        self.known_since.elapsed()
    }

    fn with<T>(&self, look: impl FnOnce(&mut Health) -> T) -> T {
        // Nothing is done under this lock that could leave the state half changed.
        look(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
