//! What is counted?
//!
//! Each worker counts in a lane of its own, so that no core waits for another; a scrape adds them up.
//! Labels never hold a path, a peer or a payload.

mod histogram;
pub mod listener;
pub mod process;
pub mod scrape;
pub mod summary;
pub mod upstream;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use self::{histogram::Histogram, listener::ListenerMetrics, upstream::UpstreamMetrics};
use crate::transcode::compress::Budget;

/// The counts of the process.
#[derive(Debug)]
pub struct Metrics {
    workers: usize,
    routes: Mutex<BTreeMap<String, Arc<RouteMetrics>>>,
    /// Of requests that no route takes.
    unrouted: Arc<RouteMetrics>,
    upstreams: Mutex<BTreeMap<String, Arc<UpstreamMetrics>>>,
    listeners: Mutex<BTreeMap<String, Arc<ListenerMetrics>>>,
    /// What compressed streams may hold.
    compression: Arc<Budget>,
    reloads: AtomicU64,
    reloads_refused: AtomicU64,
    /// The number of the generation at work.
    generation: AtomicU64,
    /// How many generations of the configuration are in use.
    generations: AtomicU64,
    /// When the generation at work was built, in seconds since 1970.
    loaded_at: AtomicU64,
    /// What became of spans.
    pub spans: SpanCounts,
}

/// What became of the spans of traces.
#[derive(Debug, Default)]
pub struct SpanCounts {
    pub(super) sent: AtomicU64,
    pub(super) dropped: AtomicU64,
}

/// One worker's way to the counts.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    metrics: Arc<Metrics>,
    worker: usize,
}

/// The counts of one route, in a lane for each worker.
#[derive(Debug, Default)]
pub struct RouteMetrics(Box<[Lane]>);

/// One worker's counts of one route: in cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Lane {
    events: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    heartbeats: AtomicU64,
    skipped: AtomicU64,
    first_event: Histogram,
    gap: Histogram,
    age: Histogram,
    cancel: Histogram,
    /// Only touched where a stream begins or ends.
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    /// By output.
    open: BTreeMap<&'static str, u64>,
    /// By output and ending.
    ended: BTreeMap<(&'static str, &'static str), u64>,
    /// By framing and code.
    undecodable: BTreeMap<(&'static str, &'static str), u64>,
}

impl Metrics {
    /// Counts nothing yet, in lanes for so many workers; `compression` is what compressed streams may hold.
    #[must_use]
    pub fn new(workers: usize, compression: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            workers,
            routes: Mutex::default(),
            unrouted: Arc::new(RouteMetrics::new(workers)),
            upstreams: Mutex::default(),
            listeners: Mutex::default(),
            compression,
            reloads: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            generation: AtomicU64::new(1),
            generations: AtomicU64::new(1),
            loaded_at: AtomicU64::new(unix_time()),
            spans: SpanCounts::default(),
        })
    }

    /// The counts of the upstream of that name, which outlive its generation.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        let mut upstreams = lock(&self.upstreams);
        Arc::clone(upstreams.entry(name.to_owned()).or_default())
    }

    /// The counts of the listener at that address, with the port that was found.
    #[must_use]
    pub fn listener(&self, address: &str) -> Arc<ListenerMetrics> {
        let mut listeners = lock(&self.listeners);
        Arc::clone(listeners.entry(address.to_owned()).or_default())
    }

    /// The counts of the route of that name, which outlive its generation.
    #[must_use]
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        let mut routes = lock(&self.routes);
        if let Some(route) = routes.get(name) {
            return Arc::clone(route);
        }
        let route = Arc::new(RouteMetrics::new(self.workers));
        routes.insert(name.to_owned(), Arc::clone(&route));
        route
    }

    /// A worker's way to the counts; workers are numbered from 0.
    #[must_use]
    pub fn of_worker(self: &Arc<Self>, worker: usize) -> WorkerMetrics {
        WorkerMetrics {
            metrics: Arc::clone(self),
            worker,
        }
    }

    /// Counts a reload, after which generation `number` is at work, and so many are in use.
    pub fn reloaded(&self, number: u64, generations: usize) {
        self.reloads.fetch_add(1, Relaxed);
        self.generation.store(number, Relaxed);
        self.generations.store(generations as u64, Relaxed);
        self.loaded_at.store(unix_time(), Relaxed);
    }

    /// Counts a reload that changed nothing.
    pub fn reload_refused(&self) {
        self.reloads_refused.fetch_add(1, Relaxed);
    }
}

impl WorkerMetrics {
    /// Where this worker counts what happens on a route; `None` is none.
    #[must_use]
    pub fn lane<'a>(&'a self, route: Option<&'a RouteMetrics>) -> Option<&'a Lane> {
        route.unwrap_or(&self.metrics.unrouted).0.get(self.worker)
    }

    /// The worker's number.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// All counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

impl RouteMetrics {
    fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Lane::default()).collect())
    }

    fn sum(&self, count: impl Fn(&Lane) -> &AtomicU64) -> u64 {
        self.0.iter().map(|lane| count(lane).load(Relaxed)).sum()
    }
}

impl Lane {
    /// Counts a stream that begins to be written in `to`.
    pub fn begun(&self, to: &'static str) {
        *lock(&self.streams).open.entry(to).or_default() += 1;
    }

    /// Counts a stream that has ended; `was_open` where its beginning was counted.
    pub fn ended(&self, to: &'static str, ending: &'static str, age: Duration, was_open: bool) {
        self.age.observe(age);
        let mut streams = lock(&self.streams);
        *streams.ended.entry((to, ending)).or_default() += 1;
        if was_open && let Some(open) = streams.open.get_mut(to) {
            *open = open.saturating_sub(1);
        }
    }

    /// Counts events that were written together, so long after those before them.
    pub fn events(&self, events: u64, gap: Option<Duration>) {
        self.events.fetch_add(events, Relaxed);
        if let Some(gap) = gap {
            self.gap.observe(gap);
        }
    }

    /// Counts how long a client waited for its first event.
    pub fn first_event(&self, after: Duration) {
        self.first_event.observe(after);
    }

    /// Counts bytes of bodies that came from upstreams.
    pub fn bytes_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts bytes of bodies that went to clients.
    pub fn bytes_out(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts a heartbeat.
    pub fn heartbeat(&self) {
        self.heartbeats.fetch_add(1, Relaxed);
    }

    /// Counts records that were passed over because they are malformed.
    pub fn skipped(&self, records: u64) {
        self.skipped.fetch_add(records, Relaxed);
    }

    /// Counts a stream that could not be cut into records any more.
    pub fn undecodable(&self, framing: &'static str, code: &'static str) {
        let mut streams = lock(&self.streams);
        *streams.undecodable.entry((framing, code)).or_default() += 1;
    }

    /// Counts how long it took to let go of the upstream of a client that had left.
    pub fn cancelled(&self, within: Duration) {
        self.cancel.observe(within);
    }
}

impl SpanCounts {
    /// Counts spans that the collector has taken.
    pub fn sent(&self, spans: u64) {
        self.sent.fetch_add(spans, Relaxed);
    }

    /// Counts spans that were lost.
    pub fn dropped(&self, spans: u64) {
        self.dropped.fetch_add(spans, Relaxed);
    }
}

/// The time in seconds since 1970.
fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Counts stay right although a thread that counted has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
