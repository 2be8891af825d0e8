//! What do operators ask?
//!
//! Whether the process lives and takes new streams, what it counts, which streams are open and how the
//! last ones ended, what an upstream's endpoints are worth, and which configuration is at work; and a page
//! in a browser that shows all of it as it happens. `routes` says which answer stands where, `access`
//! who may have it.
//!
//! It has a thread of its own, and asks the workers as it must: an operator gets an answer also where a
//! worker is busy, and no stream waits for an operator.

mod access;
mod config;
mod feed;
mod page;
mod query;
mod reply;
mod routes;
mod streams;
mod tap;
mod upstreams;
mod workers;

use std::{
    convert::Infallible,
    io,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::{debug, error};

pub use self::access::{Token, TokenFault};
use self::workers::Workers;
use crate::{
    edge::{
        ListenerAddress,
        listener::ACCEPT_PAUSE,
        socket::{Accepting, BoundSocket},
    },
    limits::Limits,
    proxy::streams::Query,
    reactor::Reactor,
    telemetry::metrics::Metrics,
    upstream::Shared,
};

/// How many connections of operators are open at once; further ones wait.
const CONNECTIONS_MAX: usize = 256;
/// How many may watch at once, be it a stream or all of them.
const WATCHERS_MAX: usize = 16;
/// How long an operator may take for the head of a request, and be silent between two.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// What the configuration says of operators.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where they ask.
    pub address: ListenerAddress,
    /// What they must know.
    pub token: Option<Token>,
    /// Whether they may see what streams write.
    pub has_taps: bool,
}

/// What is at work now; a reload replaces it whole.
#[derive(Debug)]
pub struct Served {
    /// The number of the generation.
    pub generation: u64,
    /// When it was loaded.
    pub loaded_at: SystemTime,
    /// The file that it was read from.
    pub file: String,
    /// What that says, without secrets.
    pub config: serde_json::Value,
    /// The upstreams, in the order of the file.
    pub upstreams: Vec<Arc<Shared>>,
    /// What operators must know.
    pub token: Option<Token>,
    /// Whether operators may see what streams write.
    pub has_taps: bool,
}

/// What operators are answered from.
pub struct Admin {
    /// Where they ask.
    pub address: ListenerAddress,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is counted against the limits.
    pub limits: Arc<Limits>,
    /// Where each worker is asked.
    pub workers: Vec<mpsc::Sender<Query>>,
    /// What is at work; operators are answered until its sender is dropped.
    pub served: watch::Receiver<Arc<Served>>,
    /// Whether a drain will begin, or has begun.
    pub is_announced: watch::Receiver<bool>,
}

/// The same, in its thread.
struct Desk {
    access: access::Access,
    metrics: Arc<Metrics>,
    limits: Arc<Limits>,
    workers: Workers,
    served: watch::Receiver<Arc<Served>>,
    is_announced: watch::Receiver<bool>,
    begun_at: Instant,
    watchers: Arc<Semaphore>,
}

impl Desk {
    fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served.borrow())
    }

    fn is_draining(&self) -> bool {
        *self.is_announced.borrow()
    }
}

impl Admin {
    /// Answers operators at these sockets, as the work of the calling thread.
    pub fn run(self, sockets: Vec<BoundSocket>) {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                return error!(%error, "The admin listener's runtime could not be started.");
            }
        };
        let mut served = self.served.clone();
        let is_over = async move { while served.changed().await.is_ok() {} };
        runtime.block_on(async {
            tokio::select! {
                () = is_over => {}
                () = self.serve(sockets) => {}
            }
        });
    }

    async fn serve(self, sockets: Vec<BoundSocket>) {
        let desk = Rc::new(Desk {
            access: access::Access::of(&self.address),
            metrics: self.metrics,
            limits: self.limits,
            workers: Workers(self.workers),
            served: self.served,
            is_announced: self.is_announced,
            begun_at: Instant::now(),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
        });
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut listening = JoinSet::new();
        for socket in sockets {
            listening.spawn_local(accept(socket, Rc::clone(&desk), Arc::clone(&places)));
        }
        while let Some(ended) = listening.join_next().await {
            if let Ok(Err(error)) = ended {
                error!(%error, "The admin listener could not be watched.");
            }
        }
    }
}

async fn accept(socket: BoundSocket, desk: Rc<Desk>, places: Arc<Semaphore>) -> io::Result<()> {
    let reactor = Reactor::start()?;
    let accepting = Accepting::new(socket, &reactor)?;
    loop {
        let io = match accepting.accept(&reactor).await {
            Ok((io, _)) => io,
            Err(error) => {
                debug!(%error, "An operator's connection could not be accepted.");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Ok(());
        };
        let desk = Rc::clone(&desk);
        let service = service_fn(move |request: http::Request<Incoming>| {
            let desk = Rc::clone(&desk);
            async move { Ok::<_, Infallible>(routes::answer(&request, &desk).await) }
        });
        tokio::task::spawn_local(async move {
            let _place = place;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .serve_connection(TokioIo::new(io), service);
            if let Err(error) = connection.await {
                debug!(%error, "An operator's connection broke.");
            }
        });
    }
}
