//! What may the configuration say of an upstream?

use std::{fmt, ops::RangeInclusive, path::PathBuf, time::Duration};

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
            endpoints: vec![endpoint],
            http: HttpVersion::Http1,
            balance: Balance::RoundRobin,
            hash_by: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            retry: RetrySettings::default(),
            health: HealthSettings::default(),
            tls,
            bridge: None,
        }
    }
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
