//! How are the parts built, joined, reloaded and stopped?
//!
//! [`App::bind`] builds everything that can fail and opens every socket; [`App::start`] starts the
//! workers. Each worker is one thread with its own runtime, sockets and pools, and its tasks never
//! leave it; between the workers there are only the routes, the upstreams' loads and health, what counts
//! against the limits, what compressed streams may hold, what operators ask and the word to stop.
//! [`Running::reload`] builds a whole new generation beside the one at work, and then hands it over.

mod generation;
mod operators;
mod pulse;
mod worker;

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tracing::error;

pub use self::pulse::Pulse;
use self::{
    generation::{Generation, Trace},
    operators::Operators,
    worker::{Update, Worker},
};
use crate::{
    admin,
    collector::{CollectorError, Collectors},
    config::Config,
    edge::{
        ListenerAddress, Timeouts,
        inherited::{Bequest, Inherited},
        listener::{Bound, Offer, WorkerListener},
        socket::{self, BindError, Opened},
    },
    limits::Limits,
    proxy::streams::Query,
    telemetry::metrics::{Metrics, process},
    transcode::compress::Budget,
    upstream::TrustError,
};

/// How many descriptors a worker has for itself: four for events (the runtime's and the reactor's), one to be woken,
/// one for signals.
const WORKER_FILES: usize = 6;
/// How many generations may wait for a worker that is busy.
const UPDATES_MAX: usize = 4;

/// Why the process could not start, or keeps its old configuration.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listener cannot be set up.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An upstream's trust cannot be set up.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Traces cannot be sent to their collector.
    #[error("traces: {0}")]
    Traces(#[from] CollectorError),
    /// A thread cannot be started.
    #[error("a worker thread could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// Everything built and every socket open; nothing is served yet.
pub struct App {
    threads: usize,
    metrics: Arc<Metrics>,
    generation: Generation,
    listeners: Vec<Bound>,
    admin: Option<Opened>,
    asked_admin: Option<ListenerAddress>,
    served: admin::Served,
    compression: Arc<Budget>,
    collectors: Collectors,
    limits: Arc<Limits>,
}

/// The process at work; dropped without [`Running::stop`], it goes on until the process ends.
pub struct Running {
    stop: watch::Sender<bool>,
    workers: Vec<thread::JoinHandle<()>>,
    updates: Vec<mpsc::Sender<Update>>,
    queries: Vec<mpsc::Sender<Query>>,
    metrics: Arc<Metrics>,
    generation: Arc<Generation>,
    /// Earlier generations, until nobody uses them any more.
    traces: Vec<Trace>,
    listeners: Vec<Bound>,
    operators: Operators,
    compression: Arc<Budget>,
    collectors: Collectors,
    limits: Arc<Limits>,
}

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The number of the generation that is at work now.
    pub generation: u64,
    /// How many generations are, with those that open streams keep.
    pub alive: usize,
    /// Keys whose change waits for a restart.
    pub waiting: Vec<&'static str>,
}

impl App {
    /// Builds everything and opens every socket.
    ///
    /// # Errors
    /// A socket cannot be opened, or certificates cannot be used.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        Self::bind_inheriting(config, &mut Inherited::default())
    }

    /// The same with the sockets that this process was started with, each for the listener that has its
    /// address; those that no listener asks for are closed.
    ///
    /// # Errors
    /// A socket cannot be opened, or certificates cannot be used.
    pub fn bind_inheriting(config: Config, inherited: &mut Inherited) -> Result<Self, StartError> {
        let compression = Budget::new(config.compression_bytes_max);
        let metrics = Metrics::new(config.threads, Arc::clone(&compression));
        let limits = Limits::new(config.limits);
        let mut generation = Generation::build(1, &config, None, &metrics, &limits)?;
        let mut collectors = Collectors::default();
        generation.tracer = collectors.tracer(config.traces.as_ref(), &metrics)?;
        let served = operators::served(&generation, &config, SystemTime::now());
        let bound = |settings| Bound::open(settings, config.threads, inherited, &metrics);
        let listeners = config.listeners.into_iter().map(bound);
        let listeners = listeners.collect::<Result<_, _>>()?;
        let admin = config.admin.as_ref();
        let unacknowledged = Timeouts::default().unacknowledged;
        let admin = admin.map(|admin| socket::open(&admin.address, 1, inherited, unacknowledged));
        let admin = admin.transpose()?;
        inherited.close_rest();
        Ok(Self {
            threads: config.threads,
            metrics,
            generation,
            listeners,
            asked_admin: config.admin.map(|admin| admin.address),
            admin,
            served,
            compression,
            collectors,
            limits,
        })
    }

    /// The listeners' addresses, with the ports that were found, in the order of the file.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        addresses(&self.listeners)
    }

    /// The admin listener's address, with the port that was found.
    #[must_use]
    pub fn admin_address(&self) -> Option<&str> {
        self.admin.as_ref().map(|admin| admin.address.as_str())
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(mut self) -> Result<Running, StartError> {
        if let Some((files_max, files_open)) = process::files() {
            // A connection that waits for a place is open, one of each listener in each worker.
            let of_worker = WORKER_FILES + self.listeners.len();
            let files_open = files_open + of_worker * self.threads;
            self.limits.allow_connections(files_max, files_open);
        }
        let (stop, stopped) = watch::channel(false);
        let generation = Arc::new(self.generation);
        let (mut workers, mut updates, mut queries) = (Vec::new(), Vec::new(), Vec::new());
        for (number, opened) in shares(&mut self.listeners, self.threads).enumerate() {
            let (sender, receiver) = mpsc::channel(UPDATES_MAX);
            let (asked, asking) = mpsc::channel(operators::QUERIES_MAX);
            let worker = Worker {
                first: Update {
                    generation: Arc::clone(&generation),
                    opened,
                },
                metrics: self.metrics.of_worker(number),
                is_first: number == 0,
                queries: asking,
                compression: Arc::clone(&self.compression),
                limits: Arc::clone(&self.limits),
                updates: receiver,
                stopped: stopped.clone(),
            };
            let thread = thread::Builder::new().name(format!("weir-{number}"));
            workers.push(thread.spawn(move || worker.run())?);
            updates.push(sender);
            queries.push(asked);
        }
        let mut operators = Operators::new(self.asked_admin, self.admin, self.served);
        operators.start((&self.metrics, &self.limits), queries.clone())?;
        Ok(Running {
            stop,
            workers,
            updates,
            queries,
            metrics: self.metrics,
            generation,
            traces: Vec::new(),
            listeners: self.listeners,
            operators,
            compression: self.compression,
            collectors: self.collectors,
            limits: self.limits,
        })
    }
}

impl Running {
    /// Serves as `config` says from here on: builds all of it, and then hands it to every worker at once.
    /// Listeners at the same addresses keep their sockets, upstreams that are the same their connections;
    /// open streams keep the generation that they began with.
    ///
    /// # Errors
    /// Something could not be built; everything is as it was.
    pub async fn reload(&mut self, config: Config) -> Result<Reloaded, StartError> {
        let number = self.generation.table.number + 1;
        let before = Some(&*self.generation);
        let (metrics, limits) = (&self.metrics, &self.limits);
        let mut generation = Generation::build(number, &config, before, metrics, limits)?;
        let waiting = self.waiting(&config);
        let mut prepared = Vec::new();
        // Several listeners may ask for any port: each keeps one of those that were found.
        let mut is_kept = vec![false; self.listeners.len()];
        for settings in config.listeners.clone() {
            let mut old = self.listeners.iter().zip(&is_kept);
            let old = old.position(|(old, is_kept)| !is_kept && old.is_at(&settings.address));
            prepared.push(if let Some(old) = old {
                is_kept[old] = true;
                Listening::Kept(old, Offer::new(settings)?)
            } else {
                let (workers, inherited) = (self.workers.len(), &mut Inherited::default());
                let bound = Bound::open(settings, workers, inherited, &self.metrics)?;
                Listening::Opened(bound)
            });
        }
        let traces = config.traces.as_ref();
        generation.tracer = self.collectors.tracer(traces, &self.metrics)?;
        generation.enter();
        let mut opened = self.listen(prepared);
        let served = operators::served(&generation, &config, SystemTime::now());
        self.compression.resize(config.compression_bytes_max);
        self.limits.renew(config.limits);
        self.traces.push(self.generation.trace());
        self.generation = Arc::new(generation);
        let shares: Vec<_> = shares(&mut opened, self.workers.len()).collect();
        self.listeners.append(&mut opened);
        for (update, opened) in self.updates.iter().zip(shares) {
            let generation = Arc::clone(&self.generation);
            // A worker that is gone has been reported, and serves nobody.
            let _ = update.send(Update { generation, opened }).await;
        }
        self.traces.retain(Trace::is_alive);
        let alive = 1 + self.traces.len();
        self.operators.update(served);
        self.metrics.reloaded(number, alive);
        Ok(Reloaded {
            generation: number,
            alive,
            waiting,
        })
    }

    /// What shows whether all workers work.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse {
            workers: self.queries.clone(),
            stopped: self.stop.subscribe(),
        }
    }

    /// Counts a configuration that could not be taken.
    pub fn refuse_reload(&self) {
        self.metrics.reload_refused();
    }

    /// Lets go of the listeners that are not prepared, and renews those that are kept. Returns the others.
    fn listen(&mut self, prepared: Vec<Listening>) -> Vec<Bound> {
        let mut old: Vec<Option<Bound>> = self.listeners.drain(..).map(Some).collect();
        let mut opened = Vec::new();
        for listening in prepared {
            match listening {
                Listening::Kept(index, offer) => {
                    if let Some(bound) = old[index].take() {
                        bound.renew(offer);
                        self.listeners.push(bound);
                    }
                }
                Listening::Opened(bound) => opened.push(bound),
            }
        }
        opened
    }

    fn waiting(&self, config: &Config) -> Vec<&'static str> {
        let is_changed = [
            ("process threads", config.threads != self.workers.len()),
            (
                "admin address",
                !self.operators.is_at(config.admin.as_ref()),
            ),
        ];
        let changed = is_changed.into_iter().filter(|(_, is_changed)| *is_changed);
        changed.map(|(key, _)| key).collect()
    }

    /// The listeners' addresses, with the ports that were found.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        addresses(&self.listeners)
    }

    /// Has `/readyz` fail while everything else goes on. Returns how long that is to last before
    /// [`Running::stop`].
    #[must_use]
    pub fn announce(&self) -> Duration {
        self.operators.announce();
        self.generation.drain_delay
    }

    /// Begins to drain: no connection is accepted any more, streams end within the window.
    pub fn stop(&mut self) {
        self.operators.announce();
        self.stop.send_replace(true);
        self.listeners.clear();
    }

    /// Duplicates of all listening sockets, for the next process.
    ///
    /// # Errors
    /// There are no further descriptors.
    pub fn bequests(&self) -> io::Result<Vec<Bequest>> {
        let listeners = self.listeners.iter().map(Bound::bequests);
        let admin = self.operators.opened().map(Opened::bequests);
        let bequests = listeners.chain(admin).collect::<io::Result<Vec<_>>>()?;
        Ok(bequests.into_iter().flatten().collect())
    }

    /// Begins to drain as [`Running::stop`] does, where another process has all sockets: it answers operators
    /// from here on, and the files of unix sockets are its own.
    pub fn hand_over(&mut self) {
        self.keep_files(true);
        self.stop.send_replace(true);
        self.listeners.clear();
        self.operators.hand_over();
    }

    /// Takes the files of unix sockets for its own, now that the process that had them has been told so.
    pub fn take_over(&mut self) {
        self.keep_files(false);
    }

    fn keep_files(&mut self, is_kept: bool) {
        for listener in &mut self.listeners {
            listener.keep_file(is_kept);
        }
        self.operators.keep_file(is_kept);
    }

    /// Waits until every worker has ended, which takes at most the drain's window and a moment.
    pub fn join(self) {
        for worker in self.workers {
            if worker.join().is_err() {
                error!("A worker thread panicked; its streams are lost.");
            }
        }
        drop((self.listeners, self.generation));
        self.operators.join();
        self.collectors.end();
    }
}

/// A listener of the next generation.
enum Listening {
    /// The listener that stands there has something else to offer.
    Kept(usize, Offer),
    /// There was none.
    Opened(Bound),
}

fn addresses(listeners: &[Bound]) -> Vec<String> {
    let addresses = listeners.iter().map(Bound::address);
    addresses.map(str::to_owned).collect()
}

/// Each worker's share of all the listeners.
fn shares(listeners: &mut [Bound], workers: usize) -> impl Iterator<Item = Vec<WorkerListener>> {
    let mut shares: Vec<Vec<WorkerListener>> = (0..workers).map(|_| Vec::new()).collect();
    for listener in listeners {
        for (share, worker) in listener.shares().into_iter().zip(&mut shares) {
            worker.extend(share);
        }
    }
    shares.into_iter()
}
