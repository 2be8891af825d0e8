//! Where do connections come from?

use std::{io, pin::pin, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{
    ListenerAddress, Settings,
    incoming::Incoming,
    inherited::{Bequest, Inherited},
    socket::{Accepting, BindError, BoundSocket, Opened, open},
    tls,
};
use crate::{
    error::is_exhausted,
    limits::ConnectionPlace,
    proxy::Proxy,
    telemetry::metrics::{
        Metrics,
        listener::{Certificate, ListenerMetrics},
    },
};

/// How long to wait when no connection can be accepted, for lack of descriptors or memory.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait for a dismissed connection's place before another one is dismissed: longer than one lingers.
const ROOM_PAUSE: Duration = Duration::from_secs(3);

/// A listener whose sockets are open, one for each worker. Dropped, it accepts nothing any more.
pub struct Bound {
    /// Where the file says that it listens.
    asked: ListenerAddress,
    offer: watch::Sender<Arc<Offer>>,
    opened: Opened,
    metrics: Arc<ListenerMetrics>,
}

/// What a listener offers to the connections that come from now on.
pub struct Offer {
    settings: Arc<Settings>,
    tls: Option<TlsAcceptor>,
    certificates: Vec<Certificate>,
    connections: Arc<Semaphore>,
}

/// One socket of a worker's share of a listener.
pub struct WorkerListener {
    offer: watch::Receiver<Arc<Offer>>,
    socket: BoundSocket,
    metrics: Arc<ListenerMetrics>,
}

impl Offer {
    /// Reads the certificates.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(settings: Settings) -> Result<Self, BindError> {
        let (tls, certificates) = if settings.tls.is_empty() {
            (None, Vec::new())
        } else {
            let config = tls::server_config(&settings.tls, settings.http);
            let (config, certificates) = config.map_err(|source| BindError::Tls {
                address: settings.address.to_string(),
                source,
            })?;
            (Some(config), certificates)
        };
        Ok(Self {
            connections: Arc::new(Semaphore::new(settings.connections_max)),
            settings: Arc::new(settings),
            tls: tls.map(TlsAcceptor::from),
            certificates,
        })
    }

    /// Counts the connections of `old`, too, where both allow as many.
    fn in_place_of(mut self, old: &Self) -> Self {
        if self.settings.connections_max == old.settings.connections_max {
            self.connections = Arc::clone(&old.connections);
        }
        self
    }
}

impl Bound {
    /// Opens a listener for `workers` workers, which counts by its address, with the sockets that were
    /// inherited for that if there are any.
    ///
    /// # Errors
    /// The address cannot be listened on, or TLS cannot be set up.
    pub fn open(
        settings: Settings,
        workers: usize,
        inherited: &mut Inherited,
        metrics: &Metrics,
    ) -> Result<Self, BindError> {
        let asked = settings.address.clone();
        let unacknowledged = settings.timeouts.unacknowledged;
        let offer = Offer::new(settings)?;
        let opened = open(&asked, workers, inherited, unacknowledged)?;
        let metrics = metrics.listener(&opened.address);
        metrics.certify(offer.certificates.clone());
        Ok(Self {
            asked,
            opened,
            offer: watch::Sender::new(Arc::new(offer)),
            metrics,
        })
    }

    /// The address, with the port that was found where the file says 0.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.opened.address
    }

    /// Whether the file means this listener by `address`.
    #[must_use]
    pub fn is_at(&self, address: &ListenerAddress) -> bool {
        self.asked == *address
    }

    /// Offers something else to the connections that come from now on.
    pub fn renew(&self, offer: Offer) {
        self.metrics.certify(offer.certificates.clone());
        self.opened.tune(offer.settings.timeouts.unacknowledged);
        self.offer
            .send_modify(|old| *old = Arc::new(offer.in_place_of(old)));
    }

    /// Gives each worker its share.
    pub fn shares(&mut self) -> Vec<Vec<WorkerListener>> {
        let offer = &self.offer;
        let listener = |socket| WorkerListener {
            offer: offer.subscribe(),
            socket,
            metrics: Arc::clone(&self.metrics),
        };
        let share = |sockets: Vec<BoundSocket>| sockets.into_iter().map(listener).collect();
        self.opened.shares().into_iter().map(share).collect()
    }

    /// Duplicates of its sockets, for the next process.
    ///
    /// # Errors
    /// There are no further descriptors.
    pub fn bequests(&self) -> io::Result<Vec<Bequest>> {
        self.opened.bequests()
    }

    /// Says whether a unix socket's file stays when this listener goes, as another process has it.
    pub fn keep_file(&mut self, is_kept: bool) {
        self.opened.keep_file(is_kept);
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Nobody need renew a certificate that is not in use.
        self.metrics.certify(Vec::new());
    }
}

impl WorkerListener {
    /// Accepts connections and serves each as a task of this thread; ends with the [`Bound`] that it is a
    /// share of.
    ///
    /// # Errors
    /// The socket cannot be watched.
    pub async fn serve(mut self, proxy: Rc<Proxy>) -> io::Result<()> {
        let accepting = Accepting::new(self.socket, &proxy.reactor)?;
        loop {
            let accepted = tokio::select! {
                accepted = accepting.accept(&proxy.reactor) => accepted,
                changed = self.offer.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                },
            };
            let (io, peer) = match accepted {
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
            // From here on a drain waits for it.
            let watch = proxy.drain.watch();
            let offer = Arc::clone(&self.offer.borrow());
            // Only now: a place held while nothing comes would be missing where something does.
            let Some(place) = find_place(&proxy, &offer).await else {
                return Ok(());
            };
            let incoming = Incoming {
                settings: Arc::clone(&offer.settings),
                tls: offer.tls.clone(),
                proxy: Rc::clone(&proxy),
                peer,
                place,
                metrics: Arc::clone(&self.metrics),
            };
            tokio::task::spawn_local(incoming.serve(io, watch));
        }
    }
}

/// Waits for a newcomer's place. Where the process has none left, the connections go that have been idle for longest:
/// of this worker, or else of the others. `None` where the listener takes no more.
async fn find_place(proxy: &Proxy, offer: &Offer) -> Option<ConnectionPlace> {
    let mut place = pin!(proxy.limits.connection(&offer.connections));
    let mut pause = Duration::ZERO;
    loop {
        if let Ok(place) = timeout(pause, &mut place).await {
            return place;
        }
        if proxy.limits.is_crowded() && !proxy.idle.dismiss() {
            proxy.limits.want_room();
        }
        pause = ROOM_PAUSE;
    }
}
