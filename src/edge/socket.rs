//! How is an address opened, and how do connections come out of it?

use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tracing::debug;

use super::{ListenerAddress, tls::TlsError, transport::Duplex};

/// How many connections the kernel holds for us to accept.
const BACKLOG: i32 = 4096;
/// After this much silence the kernel asks whether the peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// How long sent bytes may stay unacknowledged before the connection is given up.
const TCP_USER_TIMEOUT: Duration = Duration::from_mins(1);

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
    tune(&socket);
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
                Ok((Box::new(stream), Some(peer)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), None))
            }
        }
    }
}

/// Has connections send small writes at once, and the kernel find out when the peer is dead: they take
/// these options over from the socket that listens, which spares four system calls each.
fn tune(socket: &Socket) {
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE);
    let tuned = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT)));
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
        let listeners = open_tcp(any, 1).unwrap();
        let client = std::net::TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        listeners[0].set_nonblocking(false).unwrap();
        let (connection, _) = listeners[0].accept().unwrap();
        let socket = SockRef::from(&connection);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(TCP_USER_TIMEOUT));
        drop(client);
    }
}
