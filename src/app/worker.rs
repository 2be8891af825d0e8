//! What does one worker thread do?

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::{error, info};

use super::generation::Generation;
use crate::{
    drain::Drain,
    edge::listener::WorkerListener,
    limits::Limits,
    proxy::{
        Proxy, Serving,
        body::Buffers,
        streams::{Query, Streams},
    },
    reactor::Reactor,
    telemetry::metrics::WorkerMetrics,
    transcode::compress::{Budget, Press},
    upstream::{Checks, Means, Shared, Upstream},
};

/// How often pools are looked through for connections to close, and limits for peers to forget.
const SWEEP: Duration = Duration::from_secs(5);

/// What one thread works with.
pub(super) struct Worker {
    pub(super) first: Update,
    pub(super) metrics: WorkerMetrics,
    /// Whether this worker does what one does for all: it looks up endpoints' names, checks the endpoints, and
    /// tends the limits.
    pub(super) is_first: bool,
    /// What operators ask of its streams.
    pub(super) queries: mpsc::Receiver<Query>,
    pub(super) compression: Arc<Budget>,
    pub(super) limits: Arc<Limits>,
    pub(super) updates: mpsc::Receiver<Update>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// What is new to a worker.
pub(super) struct Update {
    pub(super) generation: Arc<Generation>,
    /// Listeners that it did not have.
    pub(super) opened: Vec<WorkerListener>,
}

impl Worker {
    /// Works until it is told to stop and every stream has ended, or the drain's time is over.
    pub(super) fn run(self) {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(async {
                match Reactor::start() {
                    Ok(reactor) => self.work(reactor).await,
                    Err(error) => error!(%error, "A worker cannot watch its sockets."),
                }
            }),
            Err(error) => error!(%error, "A worker's runtime could not be started."),
        }
    }

    async fn work(mut self, reactor: Arc<Reactor>) {
        let drain = Rc::new(Drain::default());
        let buffers: Rc<Buffers> = Rc::default();
        let means = Means {
            scratch: buffers.scratch.clone(),
            limits: Arc::clone(&self.limits),
            reactor: Arc::clone(&reactor),
        };
        let serving = view(&self.first.generation, &means, None);
        let proxy = Rc::new(Proxy {
            serving: RefCell::new(Rc::new(serving)),
            drain: Rc::clone(&drain),
            buffers,
            streams: Streams::new(self.metrics, Rc::clone(&drain)),
            press: Rc::new(Press::new(self.compression)),
            limits: Arc::clone(&self.limits),
            idle: Rc::default(),
            reactor,
        });
        let mut checks = self
            .is_first
            .then(|| Checks::new(proxy.buffers.scratch.clone()));
        if let Some(checks) = &mut checks {
            checks.follow(&self.first.generation.upstreams);
        }
        let mut window = self.first.generation.drain;
        accept(self.first.opened, &proxy);
        tokio::task::spawn_local(Rc::clone(&proxy.streams).answer(self.queries));
        tokio::task::spawn_local(sweep(Rc::clone(&proxy)));
        tokio::task::spawn_local(make_room(Rc::clone(&proxy)));
        let alarms = Rc::clone(&drain);
        tokio::task::spawn_local(async move { alarms.ring().await });
        if self.is_first {
            tokio::task::spawn_local(tend(self.limits));
        }
        let mut lookups = look_up(self.is_first, &self.first.generation);
        loop {
            tokio::select! {
                // An error means that whoever could stop us is gone, which stops us, too.
                _ = self.stopped.wait_for(|is_stopped| *is_stopped) => break,
                Some(update) = self.updates.recv() => {
                    window = update.generation.drain;
                    if let Some(checks) = &mut checks {
                        checks.follow(&update.generation.upstreams);
                    }
                    lookups = look_up(self.is_first, &update.generation);
                    let before = Rc::clone(&proxy.serving.borrow());
                    let serving = view(&update.generation, &means, Some(&before));
                    proxy.serving.replace(Rc::new(serving));
                    accept(update.opened, &proxy);
                }
            }
        }
        // They stay at work until the last stream has ended: some requests may still wait for an endpoint.
        drain.begin(Instant::now(), window);
        let emptied = tokio::time::timeout(window, drain.emptied()).await;
        if emptied.is_err() {
            info!("The drain's time is over; what is left is cut.");
        }
        drop(lookups);
    }
}

/// The worker's view of a generation; of upstreams that are the same it keeps the view that it has, and of
/// those that connect in the same way the connections.
fn view(generation: &Generation, means: &Means, before: Option<&Serving>) -> Serving {
    let upstreams = generation.upstreams.iter().map(|shared| {
        let before = before.and_then(|before| before.upstreams.get(shared.name()));
        let same = before.filter(|before| before.is_of(shared));
        let upstream = same.cloned().unwrap_or_else(|| {
            let before = before.map(|before| &**before);
            Rc::new(Upstream::new(Arc::clone(shared), means, before))
        });
        (upstream.name().to_owned(), upstream)
    });
    Serving {
        table: Arc::clone(&generation.table),
        upstreams: upstreams.collect::<HashMap<_, _>>(),
        tracer: generation.tracer.clone(),
    }
}

/// Accepts from these listeners, each until its [`Bound`](crate::edge::listener::Bound) goes.
fn accept(listeners: Vec<WorkerListener>, proxy: &Rc<Proxy>) {
    for listener in listeners {
        let proxy = Rc::clone(proxy);
        tokio::task::spawn_local(async move {
            if let Err(error) = listener.serve(proxy).await {
                error!(%error, "A listener could not be watched.");
            }
        });
    }
}

/// Keeps what all workers share up to date; one of them does it for all.
async fn tend(limits: Arc<Limits>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        let look = tokio::time::sleep(limits.look_at_memory());
        tokio::select! {
            () = look => {}
            _ = ticks.tick() => limits.forget_quiet_peers(),
        }
    }
}

/// Looks up the names of a generation's upstreams, where this worker does so, until dropped.
fn look_up(is_first: bool, generation: &Generation) -> JoinSet<()> {
    let mut lookups = JoinSet::new();
    let upstreams = generation.upstreams.iter().filter(|_| is_first);
    for lookup in upstreams.flat_map(Shared::lookups) {
        lookups.spawn_local(lookup);
    }
    lookups
}

/// Dismisses a client's idle connection each time that a worker which has none wants room for a newcomer, and lets
/// go of those to endpoints when a stream finds no descriptor for its own.
async fn make_room(proxy: Rc<Proxy>) {
    loop {
        tokio::select! {
            () = proxy.limits.room_wanted() => {
                proxy.idle.dismiss();
            }
            () = proxy.limits.descriptors_wanted() => {
                for upstream in proxy.serving.borrow().upstreams.values() {
                    upstream.let_go();
                }
            }
        }
    }
}

async fn sweep(proxy: Rc<Proxy>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        let now = ticks.tick().await;
        let serving = Rc::clone(&proxy.serving.borrow());
        std::future::poll_fn(|cx| {
            for upstream in serving.upstreams.values() {
                upstream.sweep(cx, now);
            }
            std::task::Poll::Ready(())
        })
        .await;
    }
}
