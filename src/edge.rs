//! How does a connection come in, and when must it go?

mod guard;
mod http1;
mod http2;
mod incoming;
pub mod inherited;
pub mod listener;
pub mod socket;
mod takeover;
pub mod tls;
mod transport;

use std::{fmt, net::SocketAddr, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use ipnet::IpNet;

use self::transport::Transport;
use crate::proxy::{Proxy, link::ConnectionLink};

/// One connection of a client, whatever it speaks.
struct Connection {
    transport: Transport,
    link: Rc<ConnectionLink>,
    proxy: Rc<Proxy>,
    settings: Arc<Settings>,
    /// Whether it has carried a request before.
    has_served: bool,
}

/// What the configuration says of one listener.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub address: ListenerAddress,
    /// The versions of HTTP it speaks; at least one of the two.
    pub http: HttpVersions,
    /// Certificates by SNI, the first for clients that name none; empty is cleartext.
    pub tls: Vec<CertificateSettings>,
    /// Peers whose `Forwarded` and `X-Forwarded-*` are kept and added to.
    pub trusted_proxies: Arc<[IpNet]>,
    /// How long a connection may take over each part.
    pub timeouts: Timeouts,
    /// The most connections served at once; one more for each worker waits for a place, and further ones
    /// wait in the kernel's queue.
    pub connections_max: usize,
    /// How long a request's head may be.
    pub heads: HeadLimits,
}

/// How long a request's head may be.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// All of it, in bytes; over HTTP/2 each field counts 32 more (RFC 9113 §6.5.2).
    pub bytes_max: usize,
    /// The number of its fields; a cookie is one, however HTTP/2 divides it.
    pub fields_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            bytes_max: 32 * 1024,
            fields_max: 100,
        }
    }
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerAddress {
    /// An address and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket in the file system; a stale one is replaced.
    Unix(PathBuf),
}

impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The versions of HTTP that a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpVersions {
    /// HTTP/1.0 and HTTP/1.1.
    pub is_http1: bool,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without.
    pub is_http2: bool,
}

/// A certificate chain and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSettings {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// How long a connection may take over each part.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The TLS handshake.
    pub handshake: Duration,
    /// From a request's first byte (or the connection's start) to the end of its head.
    pub header: Duration,
    /// Without a request.
    pub idle: Duration,
    /// Of bytes that were sent to a client, or of the kernel's question whether it is there, without an
    /// acknowledgement (`TCP_USER_TIMEOUT`).
    pub unacknowledged: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            unacknowledged: Duration::from_mins(1),
        }
    }
}
