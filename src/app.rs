//! How are the parts built, joined and stopped?
//!
//! [`App::bind`] builds everything that can fail and opens every socket; [`App::start`] starts the
//! workers. Each worker is one thread with its own runtime, sockets and pools, and its tasks never
//! leave it; between the workers there are only the routes, the upstreams' loads and the word to stop.

use std::{collections::HashMap, future::Future, io, rc::Rc, sync::Arc, thread, time::Duration};

use thiserror::Error;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::watch,
    time::Instant,
};
use tracing::{error, info};

use crate::{
    admin,
    config::Config,
    drain::Drain,
    edge::{
        listener::{Bound, WorkerListener},
        socket::{self, BindError, BoundSocket, Opened},
    },
    proxy::{Proxy, body::Buffers},
    route::table::Table,
    upstream::{self, TrustError, Upstream},
};

/// How often pools are looked through for connections to close.
const SWEEP: Duration = Duration::from_secs(5);

/// Why the process could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listener cannot be set up.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An upstream's trust cannot be set up.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A thread cannot be started.
    #[error("a worker thread could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// Everything built and every socket open; nothing is served yet.
pub struct App {
    threads: usize,
    drain: Duration,
    listeners: Vec<Bound>,
    admin: Option<Opened>,
    table: Arc<Table>,
    upstreams: Vec<Arc<upstream::Shared>>,
}

/// The process at work; dropped without [`Running::stop`], it goes on until the process ends.
pub struct Running {
    stop: watch::Sender<bool>,
    workers: Vec<thread::JoinHandle<()>>,
    listeners: Vec<Bound>,
    admin: Option<Opened>,
}

impl App {
    /// Builds everything and opens every socket.
    ///
    /// # Errors
    /// A socket cannot be opened, or certificates cannot be used.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        let shared = |settings| upstream::Shared::new(settings).map(Arc::new);
        let upstreams = config.upstreams.into_iter().map(shared);
        let upstreams = upstreams.collect::<Result<_, _>>()?;
        let bound = |settings| Bound::open(settings, config.threads);
        let listeners = config.listeners.into_iter().map(bound);
        let listeners = listeners.collect::<Result<_, _>>()?;
        let admin = config.admin.as_ref();
        let admin = admin.map(|address| socket::open(address, 1)).transpose()?;
        Ok(Self {
            threads: config.threads,
            drain: config.drain,
            listeners,
            admin,
            table: Arc::new(Table::new(1, config.routes)),
            upstreams,
        })
    }

    /// The listeners' addresses, with the ports that were found, in the order of the file.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let addresses = self.listeners.iter().map(Bound::address);
        addresses.map(str::to_owned).collect()
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
        let (stop, stopped) = watch::channel(false);
        let mut shares: Vec<Vec<WorkerListener>> = (0..self.threads).map(|_| Vec::new()).collect();
        for listener in &mut self.listeners {
            for (share, worker) in listener.shares().into_iter().zip(&mut shares) {
                worker.push(share);
            }
        }
        let mut admin = self.admin.as_mut().and_then(|admin| admin.sockets.pop());
        let mut workers = Vec::new();
        for (number, listeners) in shares.into_iter().enumerate() {
            let worker = Worker {
                listeners,
                admin: admin.take(),
                table: Arc::clone(&self.table),
                upstreams: self.upstreams.clone(),
                stopped: stopped.clone(),
                window: self.drain,
            };
            let thread = thread::Builder::new().name(format!("weir-{number}"));
            workers.push(thread.spawn(move || worker.run())?);
        }
        Ok(Running {
            stop,
            workers,
            listeners: self.listeners,
            admin: self.admin,
        })
    }
}

impl Running {
    /// Begins to drain: no connection is accepted any more, streams end within the window.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until every worker has ended, which takes at most the drain's window and a moment.
    pub fn join(self) {
        for worker in self.workers {
            if worker.join().is_err() {
                error!("A worker thread panicked; its streams are lost.");
            }
        }
        self.listeners.into_iter().for_each(Bound::close);
        drop(self.admin);
    }
}

/// What one thread works with.
struct Worker {
    listeners: Vec<WorkerListener>,
    admin: Option<BoundSocket>,
    table: Arc<Table>,
    upstreams: Vec<Arc<upstream::Shared>>,
    stopped: watch::Receiver<bool>,
    window: Duration,
}

impl Worker {
    fn run(self) {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(self.work()),
            Err(error) => error!(%error, "A worker's runtime could not be started."),
        }
    }

    async fn work(mut self) {
        let drain = Rc::new(Drain::default());
        let proxy = Rc::new(self.proxy(&drain));
        let accepting: Vec<_> = self
            .listeners
            .into_iter()
            .map(|listener| spawn(listener.serve(Rc::clone(&proxy))))
            .collect();
        if let Some(socket) = self.admin {
            spawn(admin::serve(socket, Rc::clone(&drain)));
        }
        tokio::task::spawn_local(sweep(Rc::clone(&proxy)));
        // An error means that whoever could stop us is gone, which stops us, too.
        let _ = self.stopped.wait_for(|is_stopped| *is_stopped).await;
        for listener in accepting {
            listener.abort();
        }
        drain.begin(Instant::now(), self.window);
        let emptied = tokio::time::timeout(self.window, drain.emptied()).await;
        if emptied.is_err() {
            info!("The drain's time is over; what is left is cut.");
        }
    }

    fn proxy(&self, drain: &Rc<Drain>) -> Proxy {
        let buffers: Rc<Buffers> = Rc::default();
        let upstreams = self.upstreams.iter().map(|shared| {
            let upstream = Upstream::new(Arc::clone(shared), buffers.scratch.clone());
            (upstream.name().to_owned(), Rc::new(upstream))
        });
        Proxy {
            table: Arc::clone(&self.table),
            upstreams: upstreams.collect::<HashMap<_, _>>(),
            drain: Rc::clone(drain),
            buffers,
        }
    }
}

fn spawn(task: impl Future<Output = io::Result<()>> + 'static) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn_local(async move {
        if let Err(error) = task.await {
            error!(%error, "A listener could not be watched.");
        }
    })
}

async fn sweep(proxy: Rc<Proxy>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        let now = ticks.tick().await;
        std::future::poll_fn(|cx| {
            for upstream in proxy.upstreams.values() {
                upstream.sweep(cx, now);
            }
            std::task::Poll::Ready(())
        })
        .await;
    }
}
