//! Where do connections come from?

use std::{io, mem, rc::Rc, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{
    Settings,
    incoming::Incoming,
    socket::{Accepting, BindError, BoundSocket, Opened, SocketFile, open},
    tls,
};
use crate::proxy::Proxy;

/// How long to wait when no connection can be accepted, for lack of descriptors or memory.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A listener whose sockets are open, one for each worker.
pub struct Bound {
    settings: Arc<Settings>,
    tls: Option<Arc<ServerConfig>>,
    connections: Arc<Semaphore>,
    address: String,
    sockets: Vec<BoundSocket>,
    /// The unix socket's file, to be removed at the end.
    file: Option<SocketFile>,
}

/// One worker's share of a listener.
pub struct WorkerListener {
    settings: Arc<Settings>,
    tls: Option<TlsAcceptor>,
    connections: Arc<Semaphore>,
    socket: BoundSocket,
}

impl Bound {
    /// Opens a listener for `workers` workers.
    ///
    /// # Errors
    /// The address cannot be listened on, or TLS cannot be set up.
    pub fn open(settings: Settings, workers: usize) -> Result<Self, BindError> {
        let text = settings.address.to_string();
        let tls = if settings.tls.is_empty() {
            None
        } else {
            let config = tls::server_config(&settings.tls, settings.http);
            Some(config.map_err(|source| BindError::Tls {
                address: text.clone(),
                source,
            })?)
        };
        let Opened {
            address,
            sockets,
            file,
        } = open(&settings.address, workers)?;
        Ok(Self {
            connections: Arc::new(Semaphore::new(settings.connections_max)),
            settings: Arc::new(settings),
            tls,
            address,
            sockets,
            file,
        })
    }

    /// The address, with the port that was found where the file says 0.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Gives each worker its share.
    pub fn shares(&mut self) -> Vec<WorkerListener> {
        let share = |socket| WorkerListener {
            settings: Arc::clone(&self.settings),
            tls: self.tls.clone().map(TlsAcceptor::from),
            connections: Arc::clone(&self.connections),
            socket,
        };
        mem::take(&mut self.sockets)
            .into_iter()
            .map(share)
            .collect()
    }

    /// Removes the unix socket's file.
    pub fn close(mut self) {
        self.file = None;
    }
}

impl WorkerListener {
    /// Accepts connections and serves each as a task of this thread; ends when dropped.
    ///
    /// # Errors
    /// The runtime cannot watch the socket.
    pub async fn serve(self, proxy: Rc<Proxy>) -> io::Result<()> {
        let accepting = Accepting::new(self.socket)?;
        loop {
            let (io, peer) = match accepting.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_exhausted(&error) => {
                    warn!(%error, "No connection can be accepted; raise the limit of open files.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
                Err(error) => {
                    debug!(%error, "A connection was lost before it was accepted.");
                    continue;
                }
            };
            // Only now: a place held while nothing comes would be missing where something does.
            let Ok(place) = Arc::clone(&self.connections).acquire_owned().await else {
                return Ok(());
            };
            let incoming = Incoming {
                settings: Arc::clone(&self.settings),
                tls: self.tls.clone(),
                proxy: Rc::clone(&proxy),
                peer,
                place,
            };
            tokio::task::spawn_local(incoming.serve(io));
        }
    }
}

/// Whether accepting failed for lack of descriptors or memory, which passes.
fn is_exhausted(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ENOBUFS: i32 = 105;
    const ENOMEM: i32 = 12;
    matches!(
        error.raw_os_error(),
        Some(EMFILE | ENFILE | ENOBUFS | ENOMEM)
    )
}
