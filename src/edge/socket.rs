//! How is an address opened, and how do connections come out of it?

use std::{
    io, mem,
    net::{SocketAddr, TcpListener as StdTcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use thiserror::Error;
use tracing::debug;

use super::{
    ListenerAddress,
    inherited::{Bequest, Inherited, InheritedListener},
    tls::TlsError,
};
use crate::reactor::{Reactor, Watched};

/// How many connections the kernel holds for us to accept.
const BACKLOG: i32 = 4096;
/// After this much silence the kernel asks whether the peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

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

/// The sockets of an address. Dropped, they are closed, once the workers let go of their shares.
pub(crate) struct Opened {
    /// The address that was asked for.
    asked: ListenerAddress,
    /// The address, with the port that was found where 0 was asked for.
    pub(crate) address: String,
    /// Each of them, to be handed to the next process.
    sockets: Vec<BoundSocket>,
    /// What each worker accepts from, until the workers have it.
    shares: Vec<Vec<BoundSocket>>,
    /// The unix socket's file, removed with the listener.
    file: Option<SocketFile>,
}

impl Opened {
    /// What each worker accepts from; empty when asked again.
    pub(crate) fn shares(&mut self) -> Vec<Vec<BoundSocket>> {
        mem::take(&mut self.shares)
    }

    /// Has connections that come from now on be given up after so long without an acknowledgement.
    pub(crate) fn tune(&self, unacknowledged: Duration) {
        for socket in &self.sockets {
            socket.tune(unacknowledged);
        }
    }

    /// Duplicates of the sockets, for the next process.
    pub(crate) fn bequests(&self) -> io::Result<Vec<Bequest>> {
        let is_file_ours = self.file.is_some();
        let bequest = |socket| Bequest::of(socket, &self.asked, is_file_ours);
        self.sockets.iter().map(bequest).collect()
    }

    /// Says whether the unix socket's file goes with this process.
    pub(crate) fn keep_file(&mut self, is_kept: bool) {
        if let Some(file) = &mut self.file {
            file.is_kept = is_kept;
        }
    }
}

/// Opens the sockets of an address for this many workers, or takes those that were inherited.
pub(crate) fn open(
    address: &ListenerAddress,
    workers: usize,
    inherited: &mut Inherited,
    unacknowledged: Duration,
) -> Result<Opened, BindError> {
    let fault = |source: io::Error| {
        let address = address.to_string();
        if source.kind() == io::ErrorKind::AddrInUse {
            BindError::InUse { address }
        } else {
            BindError::Io { address, source }
        }
    };
    let inherited = inherited.take(address);
    let is_inherited = inherited.is_some();
    let InheritedListener {
        found,
        is_file_ours,
        sockets,
    } = match inherited {
        Some(listener) => listener,
        None => create(address, workers, unacknowledged).map_err(fault)?,
    };
    // Those that were inherited may be fewer than the workers, or more.
    let mut shares: Vec<Vec<BoundSocket>> = (0..workers).map(|_| Vec::new()).collect();
    for index in 0..workers.max(sockets.len()) {
        let socket = &sockets[index % sockets.len()];
        if is_inherited {
            socket.prepare(unacknowledged).map_err(fault)?;
        }
        shares[index % workers].push(socket.try_clone().map_err(fault)?);
    }
    let file = match &found {
        // Whoever had it goes on to need it, should this start fail.
        ListenerAddress::Unix(path) if is_file_ours => Some(SocketFile {
            path: path.clone(),
            is_kept: is_inherited,
        }),
        ListenerAddress::Tcp(_) | ListenerAddress::Unix(_) => None,
    };
    Ok(Opened {
        asked: address.clone(),
        address: found.to_string(),
        sockets,
        shares,
        file,
    })
}

/// Opens sockets where none were inherited.
fn create(
    address: &ListenerAddress,
    workers: usize,
    unacknowledged: Duration,
) -> io::Result<InheritedListener> {
    let sockets = match address {
        ListenerAddress::Tcp(address) => {
            let sockets = open_tcp(*address, workers, unacknowledged)?.into_iter();
            sockets.map(BoundSocket::Tcp).collect()
        }
        ListenerAddress::Unix(path) => vec![BoundSocket::Unix(open_unix(path)?)],
    };
    Ok(InheritedListener {
        found: sockets[0].address()?,
        is_file_ours: true,
        sockets,
    })
}

/// A socket that listens and belongs to no runtime yet.
pub enum BoundSocket {
    /// A TCP port.
    Tcp(StdTcpListener),
    /// A file.
    Unix(StdUnixListener),
}

impl BoundSocket {
    /// Where it listens.
    ///
    /// # Errors
    /// It has no address, or none that the file could name.
    pub(super) fn address(&self) -> io::Result<ListenerAddress> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(ListenerAddress::Tcp),
            Self::Unix(socket) => {
                let address = socket.local_addr()?;
                let path = address.as_pathname().ok_or(io::ErrorKind::Unsupported)?;
                Ok(ListenerAddress::Unix(path.to_owned()))
            }
        }
    }

    /// Another descriptor of the same socket: both accept from one queue.
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    fn tune(&self, unacknowledged: Duration) {
        if let Self::Tcp(socket) = self {
            tune(&SockRef::from(socket), unacknowledged);
        }
    }

    /// Sets it up as if we had opened it.
    fn prepare(&self, unacknowledged: Duration) -> io::Result<()> {
        self.tune(unacknowledged);
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(true),
            Self::Unix(socket) => socket.set_nonblocking(true),
        }
    }
}

impl AsFd for BoundSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// A socket in the file system, removed when dropped, unless another process has it.
struct SocketFile {
    path: PathBuf,
    is_kept: bool,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // It may be gone already; nobody is left to be told.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// One socket a worker on the same port; the kernel spreads connections over them.
///
/// The first is opened without `SO_REUSEPORT`, for with it the port of another Weir would be shared
/// silently instead of reported as in use.
fn open_tcp(
    address: SocketAddr,
    workers: usize,
    unacknowledged: Duration,
) -> io::Result<Vec<StdTcpListener>> {
    let probe = tcp_socket(address, false, unacknowledged)?;
    let found = probe.local_addr()?;
    drop(probe);
    let socket = |_| tcp_socket(found, true, unacknowledged);
    (0..workers).map(socket).collect()
}

fn tcp_socket(
    address: SocketAddr,
    is_shared: bool,
    unacknowledged: Duration,
) -> io::Result<StdTcpListener> {
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
    tune(&socket, unacknowledged);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One socket for all workers; a file that nobody listens on any more is replaced.
fn open_unix(path: &Path) -> io::Result<StdUnixListener> {
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
    Ok(listener)
}

/// A socket that is watched for connections.
pub(crate) enum Accepting {
    Tcp(Watched<TcpListener>),
    Unix(Watched<UnixListener>),
}

impl Accepting {
    pub(crate) fn new(socket: BoundSocket, reactor: &Arc<Reactor>) -> io::Result<Self> {
        Ok(match socket {
            BoundSocket::Tcp(socket) => {
                Self::Tcp(Watched::listener(TcpListener::from_std(socket), reactor)?)
            }
            BoundSocket::Unix(socket) => {
                Self::Unix(Watched::listener(UnixListener::from_std(socket), reactor)?)
            }
        })
    }

    /// Waits for a connection, to be watched by `reactor`.
    pub(crate) async fn accept(
        &self,
        reactor: &Arc<Reactor>,
    ) -> io::Result<(Watched, Option<SocketAddr>)> {
        let (stream, peer) = match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept(TcpListener::accept).await?;
                (
                    Watched::stream(TcpStream::from(stream), reactor)?,
                    Some(peer),
                )
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept(UnixListener::accept).await?;
                (Watched::stream(StdUnixStream::from(stream), reactor)?, None)
            }
        };
        Ok((stream, peer))
    }
}

/// Has connections send small writes at once, and the kernel find out when the peer is dead: they take
/// these options over from the socket that listens, which spares four system calls each.
fn tune(socket: &Socket, unacknowledged: Duration) {
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE);
    let tuned = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_user_timeout(Some(unacknowledged)));
    if let Err(error) = tuned {
        debug!(%error, "A listener's socket could not be tuned.");
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[test]
    fn connections_take_over_how_the_listener_is_tuned() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = open_tcp(any, 1, Duration::from_secs(7)).unwrap();
        let client = std::net::TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        listeners[0].set_nonblocking(false).unwrap();
        let (connection, _) = listeners[0].accept().unwrap();
        let socket = SockRef::from(&connection);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(
            socket.tcp_user_timeout().unwrap(),
            Some(Duration::from_secs(7))
        );
        drop(client);
    }
}
