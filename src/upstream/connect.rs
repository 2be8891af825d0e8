//! How is an endpoint reached?
//!
//! TCP with happy eyeballs over the resolved addresses (hyper-util's connector), unix sockets, and
//! TLS by rustls. Resolving, connecting and the handshake share one time limit.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Ready, ready},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use rustls_platform_verifier::ConfigVerifierExt as _;
use socket2::Socket;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;
use tower_service::Service;
use tracing::debug;

use super::{
    EndpointAddress, HttpVersion, Means, Settings, TlsSettings, member::Member, source::root_cause,
};
use crate::{
    error::{Kind, Refusal, is_exhausted},
    limits::Limits,
    reactor::{Reactor, Watched},
    telemetry::metrics::upstream::UpstreamMetrics,
};

/// How long one address family is tried alone before the other is tried beside it (RFC 8305 §5).
const HAPPY_EYEBALLS_DELAY: Duration = Duration::from_millis(250);
/// After this much silence the kernel asks whether the peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// How long sent bytes may stay unacknowledged before the connection is given up.
const TCP_USER_TIMEOUT: Duration = Duration::from_mins(1);

/// A connection to an endpoint. What most streams go over takes no step further; the rest is boxed twice, to take no
/// more room.
pub(crate) type Io = Either<Watched, Box<Box<dyn Duplex>>>;

/// What bytes go over both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection of another kind.
pub(crate) fn boxed(io: impl Duplex + 'static) -> Io {
    Either::Right(Box::new(Box::new(io)))
}

/// How long to wait for a descriptor or a port where there is none.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// A fresh connection, and which version of HTTP it speaks.
pub(crate) struct Connected {
    pub(crate) io: Io,
    pub(crate) is_http2: bool,
}

/// Why an endpoint could not be reached.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("connecting took longer than {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    #[error("{0}")]
    Refused(String),
    /// For want of descriptors, ports or memory of our own.
    #[error("{0}")]
    Exhausted(String),
    #[error("its name could not be resolved: {0}")]
    Unresolved(Arc<str>),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("the endpoint does not speak HTTP/2 (ALPN gave {0})")]
    NoHttp2(String),
}

impl ConnectError {
    /// Why the system did not connect.
    fn new(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        let is_ours = causes.any(|error| {
            let error = error.downcast_ref::<io::Error>();
            let has_no_port = |error: &io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
            error.is_some_and(|error| is_exhausted(error) || has_no_port(error))
        });
        let reason = root_cause(error);
        if is_ours {
            Self::Exhausted(reason)
        } else {
            Self::Refused(reason)
        }
    }

    /// Whether it says nothing of the endpoint.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Exhausted(_))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Timeout(_) => Kind::ConnectTimeout,
            Self::Refused(_) => Kind::ConnectFailed,
            Self::Exhausted(_) => Kind::Exhausted,
            Self::Unresolved(_) => Kind::NameFailed,
            Self::Tls(_) | Self::NoHttp2(_) => Kind::TlsFailed,
        }
    }

    pub(crate) fn refusal(&self) -> Refusal {
        let detail = match self {
            Self::Timeout(_) => "the upstream could not be connected to in time",
            Self::Refused(_) => "the upstream could not be connected to",
            Self::Exhausted(_) => {
                let detail = "the proxy has no descriptor or port left to connect to the upstream";
                return Refusal::come_again(Kind::Exhausted, detail);
            }
            Self::Unresolved(_) => "the upstream's name could not be resolved",
            Self::Tls(_) | Self::NoHttp2(_) => {
                "no trusted connection to the upstream could be made"
            }
        };
        Refusal::new(self.kind(), detail)
    }
}

/// Reaches the endpoints of one upstream.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: Option<Tls>,
    http: HttpVersion,
    limit: Duration,
    /// Where connections are counted, if anywhere.
    metrics: Option<Arc<UpstreamMetrics>>,
    /// Who is told where a descriptor is missing, if anybody.
    limits: Option<Arc<Limits>>,
    /// What watches the connections; `None`: the runtime.
    reactor: Option<Arc<Reactor>>,
}

#[derive(Clone)]
struct Tls {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

impl Connector {
    /// Makes the connector of one upstream, in one worker. `tls` is `None` where no endpoint needs it.
    pub(crate) fn new(settings: &Settings, tls: Option<&Arc<ClientConfig>>) -> Self {
        let server_name = settings.tls.server_name.clone();
        Self {
            tls: tls.map(|config| Tls {
                connector: TlsConnector::from(Arc::clone(config)),
                server_name: server_name.and_then(|name| ServerName::try_from(name).ok()),
            }),
            http: settings.http,
            limit: settings.connect_timeout,
            metrics: None,
            limits: None,
            reactor: None,
        }
    }

    /// The same, with its connections counted.
    pub(super) fn counting(mut self, metrics: Arc<UpstreamMetrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// The same, with what a worker gives it.
    pub(super) fn with(mut self, means: &Means) -> Self {
        self.limits = Some(Arc::clone(&means.limits));
        self.reactor = Some(Arc::clone(&means.reactor));
        self
    }

    /// The same, but for requests that only HTTP/1.1 carries; prior knowledge of HTTP/2 stays.
    pub(crate) fn for_upgrade(&self) -> Self {
        let mut connector = self.clone();
        if connector.http == HttpVersion::Auto {
            connector.http = HttpVersion::Http1;
        }
        connector
    }

    /// Reaches an endpoint, within the upstream's time limit; that includes its name's first resolution, and
    /// waiting for a descriptor or a port where there is none.
    pub(crate) async fn connect(&self, member: &Member) -> Result<Connected, ConnectError> {
        let shortage = Cell::new(None);
        let connect = async {
            let ips = match member.addresses().await {
                None => None,
                Some(Ok(ips)) => Some(Known::of(&ips)),
                Some(Err(reason)) => return Err(ConnectError::Unresolved(reason)),
            };
            let name = member.server_name.as_deref();
            loop {
                let connected = self.connect_unlimited(&member.address, ips.clone(), name);
                match connected.await {
                    Err(error) if error.is_ours() => {
                        debug!(%error, "A stream waits for a descriptor or a port.");
                        self.limits
                            .iter()
                            .for_each(|limits| limits.want_descriptors());
                        shortage.set(Some(error));
                    }
                    connected => return connected,
                }
                sleep(SHORTAGE_PAUSE).await;
            }
        };
        let began = Instant::now();
        let connected = timeout(self.limit, connect).await.unwrap_or_else(|_| {
            let timeout = ConnectError::Timeout(self.limit);
            Err(shortage.take().unwrap_or(timeout))
        });
        match (&self.metrics, &connected) {
            (Some(metrics), Ok(_)) => metrics.connected(began.elapsed()),
            (Some(metrics), Err(error)) => {
                metrics.connect_failed(member.label(), error.kind().code());
            }
            (None, _) => {}
        }
        connected
    }

    /// Reaches an address whose name, if it has one, the system resolves, within the same limit.
    pub(crate) async fn connect_to(
        &self,
        address: &EndpointAddress,
    ) -> Result<Connected, ConnectError> {
        timeout(self.limit, self.connect_unlimited(address, None, None))
            .await
            .unwrap_or(Err(ConnectError::Timeout(self.limit)))
    }

    /// `name` is what a certificate must name where the configuration does not say it, and not the host.
    async fn connect_unlimited(
        &self,
        address: &EndpointAddress,
        ips: Option<Known>,
        name: Option<&str>,
    ) -> Result<Connected, ConnectError> {
        let is_http2 = self.http == HttpVersion::Http2;
        match address {
            EndpointAddress::Unix(path) => {
                let io = UnixStream::connect(path)
                    .await
                    .and_then(|io| match &self.reactor {
                        Some(reactor) => watch(io.into_std()?, reactor),
                        None => Ok(boxed(io)),
                    })
                    .map_err(|error| ConnectError::new(&error))?;
                Ok(Connected { io, is_http2 })
            }
            EndpointAddress::Http { host, port } => Ok(Connected {
                io: self.tcp(host, *port, ips).await?,
                is_http2,
            }),
            EndpointAddress::Https { host, port } => {
                let io = self.tcp(host, *port, ips).await?;
                self.handshake(name.unwrap_or(host), io).await
            }
        }
    }

    /// Connects to a host, at one of these addresses where they are known.
    async fn tcp(&self, host: &str, port: u16, ips: Option<Known>) -> Result<Io, ConnectError> {
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let uri: Uri = format!("http://{host}:{port}/")
            .parse()
            .map_err(|error: http::uri::InvalidUri| ConnectError::Refused(error.to_string()))?;
        let connected = match ips {
            Some(ips) => set(HttpConnector::new_with_resolver(ips)).call(uri).await,
            None => set(HttpConnector::new()).call(uri).await,
        };
        let io = connected.map_err(|error| ConnectError::new(&error))?;
        let io = TokioIo::into_inner(io);
        match &self.reactor {
            Some(reactor) => io.into_std().and_then(|io| watch(io, reactor)),
            None => Ok(boxed(io)),
        }
        .map_err(|error| ConnectError::new(&error))
    }

    async fn handshake(&self, host: &str, io: Io) -> Result<Connected, ConnectError> {
        let tls = self
            .tls
            .as_ref()
            .ok_or_else(|| ConnectError::Tls("no roots were loaded for this upstream".into()))?;
        let name = match &tls.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())
                .map_err(|error| ConnectError::Tls(error.to_string()))?,
        };
        let stream = tls
            .connector
            .with_alpn(alpn(self.http))
            .connect(name, io)
            .await
            .map_err(|error: io::Error| ConnectError::Tls(error.to_string()))?;
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let is_http2 = alpn.as_deref() == Some(b"h2");
        if self.http == HttpVersion::Http2 && !is_http2 {
            let got = alpn.map_or_else(
                || "nothing".to_owned(),
                |alpn| String::from_utf8_lossy(&alpn).into_owned(),
            );
            return Err(ConnectError::NoHttp2(got));
        }
        Ok(Connected {
            io: boxed(stream),
            is_http2,
        })
    }
}

/// Has the worker's reactor watch a connection.
fn watch(socket: impl Into<Socket>, reactor: &Arc<Reactor>) -> io::Result<Io> {
    Watched::stream(socket, reactor).map(Either::Left)
}

/// Sets how connections are made, however names are resolved.
fn set<R>(mut tcp: HttpConnector<R>) -> HttpConnector<R> {
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(TCP_KEEPALIVE));
    tcp.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
    tcp.set_happy_eyeballs_timeout(Some(HAPPY_EYEBALLS_DELAY));
    tcp
}

/// The addresses of a host, in the order in which they are to be tried.
#[derive(Clone)]
struct Known(Vec<IpAddr>);

impl Known {
    /// IPv6 first (RFC 8305 §4); within a family another one first each time, so that all get their share.
    fn of(ips: &[IpAddr]) -> Self {
        let (mut v6, mut v4): (Vec<IpAddr>, Vec<IpAddr>) = ips.iter().partition(|ip| ip.is_ipv6());
        for family in [&mut v6, &mut v4] {
            let count = family.len();
            family.rotate_left(fastrand::usize(..count.max(1)).min(count));
        }
        v6.append(&mut v4);
        Self(v6)
    }
}

impl Service<Name> for Known {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        // The connector puts the URL's port in.
        let addresses: Vec<_> = self.0.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
        ready(Ok(addresses.into_iter()))
    }
}

/// Why an upstream's trust could not be set up.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file of authorities cannot be read.
    #[error("upstream {upstream:?}: tls ca {path}: {reason}")]
    Authorities {
        /// The upstream's name.
        upstream: String,
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system's roots cannot be used.
    #[error(
        "upstream {upstream:?}: the system's certificate roots cannot be used: {reason}; install ca-certificates or set tls ca"
    )]
    System {
        /// The upstream's name.
        upstream: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The name to check is no name.
    #[error(
        "upstream {upstream:?}: tls server_name {name:?} is neither a host name nor an IP address"
    )]
    ServerName {
        /// The upstream's name.
        upstream: String,
        /// What the file says.
        name: String,
    },
}

/// Sets up whom an upstream's `https://` endpoints are trusted by; `None` where it has none.
///
/// # Errors
/// The file of authorities, the system's roots or the server name cannot be used.
pub fn trust(settings: &Settings) -> Result<Option<Arc<ClientConfig>>, TrustError> {
    if !settings.endpoints.iter().any(|one| one.target.is_tls()) {
        return Ok(None);
    }
    if let Some(name) = &settings.tls.server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        return Err(TrustError::ServerName {
            upstream: settings.name.clone(),
            name: name.clone(),
        });
    }
    let config = client_config(&settings.name, &settings.tls)?;
    Ok(Some(Arc::new(config)))
}

/// What is offered to an endpoint over TLS.
fn alpn(http: HttpVersion) -> Vec<Vec<u8>> {
    let (http1, http2) = (b"http/1.1".to_vec(), b"h2".to_vec());
    match http {
        HttpVersion::Http1 => vec![http1],
        HttpVersion::Http2 => vec![http2],
        HttpVersion::Auto => vec![http2, http1],
    }
}

fn client_config(upstream: &str, tls: &TlsSettings) -> Result<ClientConfig, TrustError> {
    let Some(path) = &tls.ca else {
        return ClientConfig::with_platform_verifier().map_err(|error| TrustError::System {
            upstream: upstream.to_owned(),
            reason: error.to_string(),
        });
    };
    let fault = |reason: String| TrustError::Authorities {
        upstream: upstream.to_owned(),
        path: path.display().to_string(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for certificate in crate::pem::certificates(path).map_err(|error| fault(error.to_string()))? {
        roots
            .add(certificate)
            .map_err(|error| fault(error.to_string()))?;
    }
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}
