//! Which listening sockets was this process started with?
//!
//! A service manager hands them over for socket activation (`sd_listen_fds(3)`), and a Weir that is being
//! upgraded does the same, by the same protocol. Then the descriptors' names say more: whether the file asked
//! for any port, whether the socket's file is ours to remove, and which of them takes the word that we serve.

use std::{
    env, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixDatagram,
    },
};

use listenfd::ListenFd;
use socket2::SockRef;
use tracing::warn;

use super::{ListenerAddress, socket::BoundSocket};

/// Sockets that were open before this process began.
#[derive(Default)]
pub struct Inherited {
    sockets: Vec<InheritedSocket>,
    ready: Option<UnixDatagram>,
}

/// One listening socket from an earlier process.
struct InheritedSocket {
    /// What the file of the earlier process says.
    asked: ListenerAddress,
    found: ListenerAddress,
    is_file_ours: bool,
    socket: BoundSocket,
}

/// All inherited sockets of one listener.
pub(crate) struct InheritedListener {
    pub(crate) found: ListenerAddress,
    /// Whether a unix socket's file is removed with the listener.
    pub(crate) is_file_ours: bool,
    /// At least one.
    pub(crate) sockets: Vec<BoundSocket>,
}

/// A descriptor for the next process, under a name that tells it what it is.
pub struct Bequest {
    /// The descriptor, a duplicate.
    pub descriptor: OwnedFd,
    /// Its name in `LISTEN_FDNAMES`.
    pub name: &'static str,
}

/// The name of the descriptor that takes [`READY`].
pub const READY_NAME: &str = "weir.ready";

/// What the next process says once it serves.
pub const READY: &[u8] = b"READY=1";

/// Names of sockets: one whose file says its port or path, one whose file asks for any port, one whose path
/// is removed with it.
const NAME: &str = "weir";
const NAME_ANY_PORT: &str = "weir.any-port";
const NAME_FILE: &str = "weir.file";

impl Inherited {
    /// Takes what the environment says, and takes it out of the environment; to be called once, before there
    /// are other threads that read it.
    #[must_use]
    pub fn from_environment() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut descriptors = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..descriptors.len() {
            let name = names.next().unwrap_or_default();
            if name == READY_NAME {
                inherited.ready = descriptors.take_unix_datagram(index).ok().flatten();
                continue;
            }
            match take(&mut descriptors, index) {
                Ok(socket) => inherited.add(socket, name),
                Err(error) => warn!(index, name, %error, "An inherited descriptor is of no use."),
            }
        }
        inherited
    }

    fn add(&mut self, socket: BoundSocket, name: &str) {
        let found = match socket.address() {
            Ok(found) => found,
            Err(error) => return warn!(name, %error, "An inherited socket has no address."),
        };
        let asked = match &found {
            ListenerAddress::Tcp(address) if name == NAME_ANY_PORT => {
                ListenerAddress::Tcp(SocketAddr::new(address.ip(), 0))
            }
            ListenerAddress::Tcp(_) | ListenerAddress::Unix(_) => found.clone(),
        };
        self.sockets.push(InheritedSocket {
            asked,
            found,
            is_file_ours: name == NAME_FILE,
            socket,
        });
    }

    /// Takes the sockets of the listener that the file means by `address`.
    pub(crate) fn take(&mut self, address: &ListenerAddress) -> Option<InheritedListener> {
        let is_meant =
            |socket: &&InheritedSocket| socket.asked == *address || socket.found == *address;
        let first = self.sockets.iter().find(is_meant)?;
        let (found, is_file_ours) = (first.found.clone(), first.is_file_ours);
        let taken = self.sockets.extract_if(.., |socket| socket.found == found);
        Some(InheritedListener {
            sockets: taken.map(|taken| taken.socket).collect(),
            found,
            is_file_ours,
        })
    }

    /// Closes what no listener has taken. Whoever opened it may go on to hold it, and then clients wait there.
    pub(crate) fn close_rest(&mut self) {
        for socket in self.sockets.drain(..) {
            let address = socket.found.to_string();
            warn!(
                address,
                "An inherited socket is closed, as no listener of the file has its address."
            );
        }
    }

    /// Tells the process that began this one that it serves; false where a service manager did.
    ///
    /// # Errors
    /// That process is gone.
    pub fn tell_ready(&mut self) -> io::Result<bool> {
        match self.ready.take() {
            Some(ready) => ready.send(READY).map(|_| true),
            None => Ok(false),
        }
    }
}

impl Bequest {
    /// Hands on this socket of a listener that the file means by `asked`.
    ///
    /// # Errors
    /// There is no further descriptor.
    pub(crate) fn of(
        socket: &BoundSocket,
        asked: &ListenerAddress,
        is_file_ours: bool,
    ) -> io::Result<Self> {
        let name = match asked {
            ListenerAddress::Tcp(address) if address.port() == 0 => NAME_ANY_PORT,
            ListenerAddress::Unix(_) if is_file_ours => NAME_FILE,
            ListenerAddress::Tcp(_) | ListenerAddress::Unix(_) => NAME,
        };
        let descriptor = socket.as_fd().try_clone_to_owned()?;
        Ok(Self { descriptor, name })
    }
}

/// Takes a descriptor that must be a listening socket.
fn take(descriptors: &mut ListenFd, index: usize) -> io::Result<BoundSocket> {
    let socket = match descriptors.take_tcp_listener(index) {
        Ok(socket) => socket.map(BoundSocket::Tcp),
        Err(_) => descriptors
            .take_unix_listener(index)?
            .map(BoundSocket::Unix),
    };
    let socket = socket.ok_or(io::ErrorKind::NotFound)?;
    if !SockRef::from(&socket).is_listener()? {
        let wrong = "it does not listen; write Accept=no in the socket's unit";
        return Err(io::Error::other(wrong));
    }
    Ok(socket)
}
