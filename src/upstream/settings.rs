//! What may the configuration say of an upstream?

use std::{fmt, path::PathBuf, time::Duration};

use super::{Bridge, key::HashBy, retry::RetrySettings};
use crate::balance::Method as Balance;

/// What the configuration says of one upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name in `[upstream.NAME]`.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<EndpointAddress>,
    /// Which version of HTTP its endpoints are spoken to.
    pub http: HttpVersion,
    /// How the next endpoint is chosen.
    pub balance: Balance,
    /// What of a request makes its key, where keys choose: the first of these that it has.
    pub hash_by: Vec<HashBy>,
    /// For each endpoint tried: resolving, connecting and the TLS handshake together.
    pub connect_timeout: Duration,
    /// When another endpoint is asked.
    pub retry: RetrySettings,
    /// How `https://` endpoints are trusted.
    pub tls: TlsSettings,
    /// How endpoints that do not stream are made to; `None` where they stream, or nobody wants them to.
    pub bridge: Option<Bridge>,
}

/// Which version of HTTP an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1, with a pool of kept connections.
    Http1,
    /// HTTP/2 by prior knowledge; over TLS, ALPN must agree.
    Http2,
    /// HTTP/2 where ALPN says so, else HTTP/1.1. Without TLS: HTTP/1.1.
    Auto,
}

/// Where one endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// `http://host:port`
    Http {
        /// A name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// 80 where the file gives none.
        port: u16,
    },
    /// `https://host:port`
    Https {
        /// A name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// 443 where the file gives none.
        port: u16,
    },
    /// `unix:/path`
    Unix(PathBuf),
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { host, port } => write!(f, "http://{}:{port}", Bracketed(host)),
            Self::Https { host, port } => write!(f, "https://{}:{port}", Bracketed(host)),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A host as a URL writes it: IPv6 addresses in brackets.
struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') {
            write!(f, "[{}]", self.0)
        } else {
            f.write_str(self.0)
        }
    }
}

/// How `https://` endpoints are trusted: `[upstream.NAME.tls]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// A PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The name to ask for and to check instead of the endpoint's host.
    pub server_name: Option<String>,
}
