//! Where do connections come from?

use std::{
    io, mem,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use thiserror::Error;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{
    ListenerAddress, Settings, connection,
    tls::{self, TlsError},
    transport::{Duplex, Transport},
};
use crate::proxy::{
    Proxy,
    link::{ConnectionLink, Peer},
};

/// How many connections the kernel holds for us to accept.
const BACKLOG: i32 = 4096;
/// After this much silence the kernel asks whether the peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// How long sent bytes may stay unacknowledged before the connection is given up.
const TCP_USER_TIMEOUT: Duration = Duration::from_mins(1);
/// How long to wait when no connection can be accepted, for lack of descriptors or memory.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why a listener could not be set up.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process has the address.
    #[error(
        "listener {address}: the address is in use by another process; stop it, or choose another address"
    )]
    InUse {
        /// The address.
        address: String,
    },
    /// The address cannot be listened on.
    #[error("listener {address}: {source}")]
    Io {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("listener {address}: {source}")]
    Tls {
        /// The address.
        address: String,
        /// What is wrong.
        source: TlsError,
    },
}

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

/// A socket that listens and belongs to no runtime yet.
pub enum BoundSocket {
    /// A TCP port.
    Tcp(StdTcpListener),
    /// A file.
    Unix(StdUnixListener),
}

/// A socket in the file system, removed when dropped.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already; nobody is left to be told.
        drop(std::fs::remove_file(&self.0));
    }
}

/// The sockets of an address.
pub(crate) struct Opened {
    /// The address, with the port that was found where 0 was asked for.
    pub(crate) address: String,
    /// One for each worker.
    pub(crate) sockets: Vec<BoundSocket>,
    /// The unix socket's file.
    pub(crate) file: Option<SocketFile>,
}

/// Opens the sockets of an address, one for each worker.
pub(crate) fn open(address: &ListenerAddress, workers: usize) -> Result<Opened, BindError> {
    let fault = |source: io::Error| {
        let address = address.to_string();
        if source.kind() == io::ErrorKind::AddrInUse {
            BindError::InUse { address }
        } else {
            BindError::Io { address, source }
        }
    };
    match address {
        ListenerAddress::Tcp(address) => {
            let sockets = open_tcp(*address, workers).map_err(fault)?;
            let found = sockets[0].local_addr().map_err(fault)?;
            Ok(Opened {
                address: found.to_string(),
                sockets: sockets.into_iter().map(BoundSocket::Tcp).collect(),
                file: None,
            })
        }
        ListenerAddress::Unix(path) => {
            let sockets = open_unix(path, workers).map_err(fault)?;
            Ok(Opened {
                address: address.to_string(),
                sockets: sockets.into_iter().map(BoundSocket::Unix).collect(),
                file: Some(SocketFile(path.clone())),
            })
        }
    }
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

/// One socket a worker on the same port; the kernel spreads connections over them.
///
/// The first is opened without `SO_REUSEPORT`, for with it the port of another Weir would be shared
/// silently instead of reported as in use.
fn open_tcp(address: SocketAddr, workers: usize) -> io::Result<Vec<StdTcpListener>> {
    let probe = tcp_socket(address, false)?;
    let found = probe.local_addr()?;
    drop(probe);
    (0..workers).map(|_| tcp_socket(found, true)).collect()
}

fn tcp_socket(address: SocketAddr, is_shared: bool) -> io::Result<StdTcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One socket, cloned for each worker; a file that nobody listens on any more is replaced.
fn open_unix(path: &Path, workers: usize) -> io::Result<Vec<StdUnixListener>> {
    if StdUnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let is_stale = std::fs::symlink_metadata(path)
        .is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()));
    if is_stale {
        std::fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    let mut listeners = (1..workers)
        .map(|_| listener.try_clone())
        .collect::<io::Result<Vec<_>>>()?;
    listeners.push(listener);
    Ok(listeners)
}

/// A socket that the runtime watches for connections.
pub(crate) enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    pub(crate) fn new(socket: BoundSocket) -> io::Result<Self> {
        Ok(match socket {
            BoundSocket::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
            BoundSocket::Unix(socket) => Self::Unix(UnixListener::from_std(socket)?),
        })
    }

    pub(crate) async fn accept(&self) -> io::Result<(Box<dyn Duplex>, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                tune(&stream);
                Ok((Box::new(stream), Some(peer)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), None))
            }
        }
    }
}

/// Sends small writes at once, and has the kernel find out when the peer is dead.
fn tune(stream: &tokio::net::TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE);
    let tuned = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT)));
    if let Err(error) = tuned {
        debug!(%error, "A connection's socket could not be tuned.");
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

/// A connection that was accepted and speaks no HTTP yet.
struct Incoming {
    settings: Arc<Settings>,
    tls: Option<TlsAcceptor>,
    proxy: Rc<Proxy>,
    peer: Option<SocketAddr>,
    place: OwnedSemaphorePermit,
}

impl Incoming {
    async fn serve(self, io: Box<dyn Duplex>) {
        let timeouts = self.settings.timeouts;
        let Some((transport, is_http2)) = self.agree(io).await else {
            return;
        };
        let peer = self.peer();
        let (proxy, place) = (self.proxy, self.place);
        let link = ConnectionLink::new(peer, is_http2, place);
        // A task of its own, for either protocol: this one is as big as a handshake, and one for both would
        // be as big as the bigger of them.
        if is_http2 {
            let serving = connection::serve_http2(transport, link, proxy, timeouts);
            tokio::task::spawn_local(serving);
        } else {
            let serving = connection::serve_http1(transport, link, proxy, timeouts);
            tokio::task::spawn_local(serving);
        }
    }

    /// Agrees with the client on TLS and on the version of HTTP, in time.
    async fn agree(&self, io: Box<dyn Duplex>) -> Option<(Transport, bool)> {
        let timeouts = self.settings.timeouts;
        let Some(acceptor) = &self.tls else {
            let transport = Transport::new(io);
            let is_http2 = timeout(timeouts.header, self.sniff(&transport))
                .await
                .ok()?;
            return Some((transport, is_http2));
        };
        let handshake = timeout(timeouts.handshake, acceptor.accept(io)).await;
        let stream = handshake
            .map_err(io::Error::from)
            .and_then(|stream| stream)
            .inspect_err(|error| debug!(peer = ?self.peer, %error, "A TLS handshake failed."))
            .ok()?;
        let alpn = stream.get_ref().1.alpn_protocol();
        let is_http2 = alpn == Some(b"h2") || !self.settings.http.is_http1;
        Some((Transport::new(Box::new(stream)), is_http2))
    }

    /// Whether a cleartext client speaks HTTP/2 by prior knowledge.
    async fn sniff(&self, transport: &Transport) -> bool {
        let http = self.settings.http;
        if !(http.is_http1 && http.is_http2) {
            return http.is_http2;
        }
        let is_decided = |ahead: &[u8]| ahead.len() >= PREFACE.len() || !PREFACE.starts_with(ahead);
        transport.read_ahead(is_decided).await;
        transport.ahead_starts_with(PREFACE)
    }

    fn peer(&self) -> Peer {
        let address = self.peer.map(|peer| peer.ip().to_canonical());
        Peer {
            address,
            is_tls: self.tls.is_some(),
            // Who can open the socket's file was let in by whoever owns it.
            is_trusted: address.is_none_or(|ip| {
                let trusted = &self.settings.trusted_proxies;
                trusted.iter().any(|network| network.contains(&ip))
            }),
        }
    }
}
