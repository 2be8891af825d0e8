//! What may the configuration say of an upstream?

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use http::{HeaderValue, uri::PathAndQuery};

use super::{Bridge, key::HashBy, retry::RetrySettings};
use crate::{
    balance::Method as Balance,
    health::{self, Streaks},
};

/// What the configuration says of one upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name in `[upstream.NAME]`.
    pub name: String,
    /// At least one; no two with the same target.
    pub endpoints: Vec<EndpointSettings>,
    /// Which version of HTTP its endpoints are spoken to.
    pub http: HttpVersion,
    /// How the next endpoint is chosen.
    pub balance: Balance,
    /// What of a request makes its key, where keys choose: the first of these that it has.
    pub hash_by: Vec<HashBy>,
    /// How long an endpoint that joins or comes back takes to get its whole share; zero is at once.
    pub slow_start: Duration,
    /// Where requests wait while all endpoints are full.
    pub queue: QueueSettings,
    /// How names become addresses.
    pub dns: DnsSettings,
    /// For each endpoint tried: resolving, connecting and the TLS handshake together.
    pub connect_timeout: Duration,
    /// When another endpoint is asked.
    pub retry: RetrySettings,
    /// How `https://` endpoints are trusted.
    pub tls: TlsSettings,
    /// When its endpoints are left out for a while.
    pub health: HealthSettings,
    /// How endpoints that do not stream are made to; `None` where they stream, or nobody wants them to.
    pub bridge: Option<Bridge>,
}

impl Settings {
    /// One endpoint that is asked over HTTP/1.1 for something of our own, beside the proxy's upstreams.
    pub(crate) fn of_one(name: &str, endpoint: EndpointAddress, tls: TlsSettings) -> Self {
        Self {
            name: name.to_owned(),
            endpoints: vec![endpoint.into()],
            http: HttpVersion::Http1,
            balance: Balance::RoundRobin,
            hash_by: Vec::new(),
            slow_start: Duration::ZERO,
            queue: QueueSettings::default(),
            dns: DnsSettings::default(),
            connect_timeout: Duration::from_secs(5),
            retry: RetrySettings::default(),
            health: HealthSettings::default(),
            tls,
            bridge: None,
        }
    }
}

/// What the configuration says of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// What it is reached by.
    pub target: Target,
    /// How many streams it is to have beside others, from 1 to 1000.
    pub weight: u16,
    /// How many streams may be open on it; `None` is any number.
    pub streams_max: Option<usize>,
}

/// What the file names as an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// One place.
    Address(EndpointAddress),
    /// `srv+http://name` or `srv+https://name`: the places that SRV records tell (RFC 2782).
    Service {
        /// The records' name, such as `_http._tcp.chat.example.com`.
        name: String,
        /// Whether TLS is spoken there.
        is_tls: bool,
    },
}

impl Target {
    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Address(EndpointAddress::Https { .. }) => true,
            Self::Address(EndpointAddress::Http { .. } | EndpointAddress::Unix(_)) => false,
            Self::Service { is_tls, .. } => *is_tls,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Service { name, is_tls } => {
                let scheme = if *is_tls { "https" } else { "http" };
                write!(f, "srv+{scheme}://{name}")
            }
        }
    }
}

impl From<EndpointAddress> for EndpointSettings {
    /// One without a limit, whose share is as everyone's.
    fn from(address: EndpointAddress) -> Self {
        Self {
            target: Target::Address(address),
            weight: 1,
            streams_max: None,
        }
    }
}

/// Where requests wait while all endpoints have as many streams as they may: `[upstream.NAME.queue]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// How many may wait, over all workers; 0 is none.
    pub size: usize,
    /// How long each may.
    pub timeout: Duration,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            size: 100,
            timeout: Duration::from_secs(10),
        }
    }
}

/// How names become addresses: `[upstream.NAME.dns]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSettings {
    /// What of a name is an endpoint.
    pub mode: DnsMode,
    /// Whom to ask instead of those that the system asks.
    pub server: Option<SocketAddr>,
    /// How long an answer holds at least, whatever its TTL; more than zero.
    pub ttl_min: Duration,
    /// How long it holds at most.
    pub ttl_max: Duration,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            mode: DnsMode::Name,
            server: None,
            ttl_min: Duration::from_secs(1),
            ttl_max: Duration::from_secs(30),
        }
    }
}

/// What of a name is an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsMode {
    /// The name: a connection goes to whichever of its addresses answers.
    Name,
    /// Each of its addresses.
    Each,
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

impl EndpointAddress {
    /// The name to look up; `None` where there is none, or DNS has nothing to say about it: an address,
    /// a socket, and `localhost`, which every system knows itself (RFC 6761 §6.3).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let (Self::Http { host, .. } | Self::Https { host, .. }) = self else {
            return None;
        };
        let is_local = host == "localhost" || host.ends_with(".localhost");
        (!is_local && host.parse::<IpAddr>().is_err()).then_some(host)
    }

    /// What a request to it has as its `Host` by default.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Http { host, port: 80 } | Self::Https { host, port: 443 } => {
                Bracketed(host).to_string()
            }
            Self::Http { host, port } | Self::Https { host, port } => {
                format!("{}:{port}", Bracketed(host))
            }
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
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

/// When endpoints are left out for a while: `[upstream.NAME.health]`. By default never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthSettings {
    /// So many failures in a row eject an endpoint; 0: none do.
    pub failures: u32,
    /// A failure that is older than this when the next one comes is forgotten.
    pub within: Duration,
    /// How long an endpoint is ejected for the first time, and how much longer each further time.
    pub eject: Duration,
    /// The longest ejection, and how long an endpoint must be up for the next to be its first again.
    pub eject_max: Duration,
    /// How endpoints are checked; `None` where they are not.
    pub check: Option<CheckSettings>,
}

/// How endpoints are checked: `[upstream.NAME.health.check]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSettings {
    /// What to GET; `None`: that it can be connected to is enough.
    pub path: Option<PathAndQuery>,
    /// The `Host` of that request; the endpoint's own where `None`.
    pub host: Option<HeaderValue>,
    /// Which statuses succeed.
    pub status: RangeInclusive<u16>,
    /// From one check of an endpoint to the next, give or take a tenth.
    pub every: Duration,
    /// For a whole check, connecting included.
    pub timeout: Duration,
    /// How many in a row decide.
    pub streaks: Streaks,
}

impl HealthSettings {
    /// What of this decides the state of each endpoint.
    pub(super) fn of_endpoint(&self) -> health::Settings {
        health::Settings {
            failures: self.failures,
            within: self.within,
            eject: self.eject,
            eject_max: self.eject_max,
            streaks: self.check.as_ref().map(|check| check.streaks),
        }
    }
}
