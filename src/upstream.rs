//! Who can take this request?
//!
//! An [`Upstream`] is one worker's view of a named group of endpoints: their pools belong to the
//! worker, their loads are shared between the workers.

mod bridge;
mod connect;
mod http1;
mod http2;
pub mod key;
pub mod poll;
mod reply;
mod settings;
mod shared;
pub mod source;
mod trailers;
pub mod upload;
pub mod websocket;

use std::{
    cell::Cell,
    net::IpAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::Context,
};

use http::{Method, Request, StatusCode, uri::Scheme};
use tokio::time::{Instant, timeout};
use tracing::debug;

pub(crate) use self::connect::Connector;
pub use self::{
    bridge::Bridge,
    connect::{TrustError, trust},
    http1::Rewind,
    reply::{Reply, UpgradeReply},
    settings::{EndpointAddress, HttpVersion, Settings, TlsSettings},
    shared::Shared,
};
use self::{
    connect::{ConnectError, Io},
    http1::Asked,
    key::Key,
    source::Scratch,
    upload::Upload,
};
use crate::{
    balance,
    error::{Kind, Refusal},
};

/// How often a request is sent again that no endpoint has seen, or that may be seen twice.
const REPEATS_MAX: usize = 4;

/// One worker's view of an upstream.
pub struct Upstream {
    shared: Arc<Shared>,
    connector: Connector,
    endpoints: Vec<Rc<Endpoint>>,
    scratch: Scratch,
}

/// One address of an upstream, with the worker's connections to it.
struct Endpoint {
    address: EndpointAddress,
    label: Rc<str>,
    http1: Rc<http1::Pool>,
    http2: http2::Pool,
    /// Whether the endpoint speaks HTTP/2, once a connection has shown it.
    is_http2: Cell<Option<bool>>,
    /// Held while connecting to an endpoint that may share connections, so that one is made, not many.
    connecting: tokio::sync::Mutex<()>,
}

/// One stream's place on an endpoint, given back when dropped.
pub struct Lease {
    shared: Arc<Shared>,
    endpoint: Rc<Endpoint>,
    index: usize,
}

impl Lease {
    /// The endpoint's address, for logs.
    #[must_use]
    pub fn endpoint(&self) -> Rc<str> {
        Rc::clone(&self.endpoint.label)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.open_streams[self.index].fetch_sub(1, Ordering::Relaxed);
    }
}

enum Ready {
    Http1(http1::Connection),
    Http2(Rc<http2::Connection>),
}

impl Upstream {
    /// Makes one worker's view; `scratch` is what the worker reads into.
    #[must_use]
    pub fn new(shared: Arc<Shared>, scratch: Scratch) -> Self {
        let endpoints = shared.settings.endpoints.iter().map(|address| {
            Rc::new(Endpoint {
                address: address.clone(),
                label: address.to_string().into(),
                http1: Rc::default(),
                http2: http2::Pool::default(),
                is_http2: Cell::new(None),
                connecting: tokio::sync::Mutex::new(()),
            })
        });
        Self {
            endpoints: endpoints.collect(),
            connector: Connector::new(&shared.settings, shared.trust.as_ref()),
            // Polls are sent while their stream has been lent the worker's.
            scratch: match shared.settings.bridge {
                Some(Bridge::Poll(_)) => Scratch::default(),
                Some(Bridge::WebSocket(_)) | None => scratch,
            },
            shared,
        }
    }

    /// The name in `[upstream.NAME]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.settings.name
    }

    /// What makes the request's key; `None` where keys do not choose.
    #[must_use]
    pub fn key<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Option<Key> {
        let settings = &self.shared.settings;
        if settings.balance != balance::Method::Hash {
            return None;
        }
        settings.hash_by.iter().find_map(|by| by.key(request, peer))
    }

    /// How many streams are open on each endpoint, over all workers.
    #[must_use]
    pub fn loads(&self) -> Vec<(&EndpointAddress, usize)> {
        let open = self.shared.open_streams.iter();
        let open = open.map(|open| open.load(Ordering::Relaxed));
        self.shared.settings.endpoints.iter().zip(open).collect()
    }

    /// Whether this is a view of that upstream.
    #[must_use]
    pub fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// Sends a request (target in origin form, with `Host`) to an endpoint and waits for its reply's head.
    ///
    /// Another endpoint is tried where one cannot be connected to; a kept connection that turns out
    /// to be closed is replaced (RFC 9112 §9.3.1). There is no time limit but that on connecting.
    ///
    /// # Errors
    /// No endpoint answered; the refusal says why the last one did not.
    pub async fn send(&self, mut request: Request<Upload>) -> Result<Reply, Refusal> {
        let key = request.extensions().get::<Key>().copied();
        let mut is_tried = vec![false; self.endpoints.len()];
        let mut refusal = Refusal::new(Kind::ConnectFailed, "the upstream has no endpoint");
        let mut repeats = 0;
        while let Some(lease) = self.lease(&mut is_tried, key) {
            let ready = match self.ready(&lease.endpoint).await {
                Ok(ready) => ready,
                Err(error) => {
                    refusal = self.connect_failed(&lease, &error);
                    continue;
                }
            };
            let outcome = match ready {
                Ready::Http1(connection) => self.send_http1(lease, connection, request).await,
                Ready::Http2(connection) => send_http2(lease, &connection, request).await,
            };
            match outcome {
                Err(Unsent::Again(again)) if repeats < REPEATS_MAX => {
                    request = *again;
                    repeats += 1;
                    is_tried.fill(false);
                }
                Err(Unsent::Again(_)) => {
                    let detail = "the upstream closed every connection before it replied";
                    return Err(Refusal::new(Kind::Disconnected, detail));
                }
                Err(Unsent::Refused(refusal)) => return Err(refusal),
                Ok(reply) => return Ok(reply),
            }
        }
        Err(refusal)
    }

    /// Sends a request that may turn its connection into a tunnel, over HTTP/1.1 and a connection of its own.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn send_upgrade(&self, request: Request<Upload>) -> Result<UpgradeReply, Refusal> {
        let key = request.extensions().get::<Key>().copied();
        let mut is_tried = vec![false; self.endpoints.len()];
        let mut refusal = Refusal::new(Kind::ConnectFailed, "the upstream has no endpoint");
        let connector = self.connector.for_upgrade();
        while let Some(lease) = self.lease(&mut is_tried, key) {
            let io = match connector.connect(&lease.endpoint.address).await {
                Ok(connected) if connected.is_http2 => {
                    let detail = "the upstream speaks HTTP/2, which this upgrade cannot cross";
                    return Err(Refusal::new(Kind::NotImplemented, detail));
                }
                Ok(connected) => connected.io,
                Err(error) => {
                    refusal = self.connect_failed(&lease, &error);
                    continue;
                }
            };
            return self.upgrade(lease, io, request).await;
        }
        Err(refusal)
    }

    /// Closes what has been idle for too long and what endpoints have closed; to be called every few seconds.
    pub fn sweep(&self, cx: &mut Context<'_>, now: Instant) {
        for endpoint in &self.endpoints {
            endpoint.http1.sweep(cx, now);
            endpoint.http2.sweep();
        }
    }

    fn lease(&self, is_tried: &mut [bool], key: Option<Key>) -> Option<Lease> {
        let index = self.shared.choose(is_tried, key)?;
        is_tried[index] = true;
        self.shared.open_streams[index].fetch_add(1, Ordering::Relaxed);
        Some(Lease {
            shared: Arc::clone(&self.shared),
            endpoint: Rc::clone(&self.endpoints[index]),
            index,
        })
    }

    fn connect_failed(&self, lease: &Lease, error: &ConnectError) -> Refusal {
        let (upstream, endpoint) = (self.name(), &*lease.endpoint.label);
        debug!(upstream, endpoint, %error, "An endpoint could not be connected to.");
        error.refusal()
    }

    async fn ready(&self, endpoint: &Endpoint) -> Result<Ready, ConnectError> {
        if let Some(connection) = endpoint.http1.take().await {
            return Ok(Ready::Http1(connection));
        }
        if let Some(connection) = endpoint.http2.find() {
            return Ok(Ready::Http2(connection));
        }
        let may_share = endpoint
            .is_http2
            .get()
            .unwrap_or(match self.shared.settings.http {
                HttpVersion::Http1 => false,
                HttpVersion::Http2 | HttpVersion::Auto => true,
            });
        if !may_share {
            return self.connect(endpoint).await;
        }
        // Waiting for another's attempt counts as connecting.
        let limit = self.shared.settings.connect_timeout;
        timeout(limit, self.connect_shared(endpoint))
            .await
            .unwrap_or(Err(ConnectError::Timeout(limit)))
    }

    /// Connects, unless somebody else does just that and the connection has room for both.
    async fn connect_shared(&self, endpoint: &Endpoint) -> Result<Ready, ConnectError> {
        let _one_at_a_time = endpoint.connecting.lock().await;
        if let Some(connection) = endpoint.http2.find() {
            return Ok(Ready::Http2(connection));
        }
        self.connect(endpoint).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Ready, ConnectError> {
        let connected = self.connector.connect(&endpoint.address).await?;
        endpoint.is_http2.set(Some(connected.is_http2));
        if connected.is_http2 {
            let connection = endpoint.http2.begin(connected.io).await;
            return connection
                .map(Ready::Http2)
                .map_err(|error| ConnectError::Refused(error.to_string()));
        }
        Ok(Ready::Http1(http1::Connection::new(connected.io)))
    }

    async fn send_http1(
        &self,
        lease: Lease,
        connection: http1::Connection,
        request: Request<Upload>,
    ) -> Result<Reply, Unsent> {
        let upload = request.body().watch();
        let again = (connection.is_reused() && can_repeat(&request)).then(|| repeat(&request));
        let asked = match *request.method() {
            Method::HEAD => Asked::Head,
            _ => Asked::Other,
        };
        let answer = match connection.send(request, asked, &self.scratch).await {
            Ok(answer) => answer,
            Err(http1::SendError::Unsent(request)) => return Err(Unsent::Again(request)),
            Err(error) => {
                let is_unanswered = matches!(error, http1::SendError::Unanswered);
                return Err(match again.filter(|_| is_unanswered) {
                    Some(request) => Unsent::Again(Box::new(request)),
                    None => Unsent::Refused(no_reply(&error)),
                });
            }
        };
        let home = Rc::clone(&lease.endpoint.http1);
        Ok(Reply::over_http1(answer, home, upload, lease))
    }

    async fn upgrade(
        &self,
        lease: Lease,
        io: Io,
        request: Request<Upload>,
    ) -> Result<UpgradeReply, Refusal> {
        let upload = request.body().watch();
        let connection = http1::Connection::new(io);
        let answer = connection
            .send(request, Asked::Upgrade, &self.scratch)
            .await
            .map_err(|error| no_reply(&error))?;
        if answer.head.parts.status != StatusCode::SWITCHING_PROTOCOLS {
            let refused = Reply::over_http1(answer, Rc::default(), upload, lease);
            return Ok(UpgradeReply::Refused(refused));
        }
        let io = answer.connection.into_io().await;
        let io = io.ok_or_else(|| no_reply(&http1::SendError::Disconnected))?;
        Ok(UpgradeReply::Switched {
            head: answer.head.parts,
            io: Rewind::new(answer.rest, io),
            lease,
        })
    }
}

async fn send_http2(
    lease: Lease,
    connection: &http2::Connection,
    request: Request<Upload>,
) -> Result<Reply, Unsent> {
    let again = request.body().is_empty().then(|| repeat(&request));
    let scheme = match lease.endpoint.address {
        EndpointAddress::Https { .. } => Scheme::HTTPS,
        EndpointAddress::Http { .. } | EndpointAddress::Unix(_) => Scheme::HTTP,
    };
    match connection.send(request, scheme).await {
        Ok((head, source)) => Ok(Reply::over_http2(head, source, lease)),
        Err(http2::SendError { error, request }) => {
            let again = again.filter(|_| is_unprocessed(&error));
            Err(match request.or(again) {
                Some(request) => Unsent::Again(Box::new(request)),
                None => Unsent::Refused(no_reply_http2(&error)),
            })
        }
    }
}

/// Why a request has no reply yet.
enum Unsent {
    /// It can be sent once more: the endpoint has not seen it, or may see it twice.
    Again(Box<Request<Upload>>),
    Refused(Refusal),
}

/// Whether the request may be sent again although the endpoint may have seen it (RFC 9110 §9.2.2).
fn can_repeat(request: &Request<Upload>) -> bool {
    request.method().is_idempotent() && request.body().is_empty()
}

fn repeat(request: &Request<Upload>) -> Request<Upload> {
    let mut again = Request::new(Upload::empty_again(&request.body().watch()));
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    again
}

/// Whether the endpoint says that it has not processed the request (RFC 9113 §8.7).
fn is_unprocessed(error: &h2::Error) -> bool {
    let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (error.is_go_away() || is_refused)
}

fn no_reply(error: &http1::SendError) -> Refusal {
    if let http1::SendError::BadReply(reason) = error {
        debug!(reason, "What an endpoint sent is no reply.");
        return Refusal::new(Kind::BadReply, "the upstream's reply is not valid HTTP");
    }
    let detail = "the upstream closed the connection before it replied";
    Refusal::new(Kind::Disconnected, detail)
}

fn no_reply_http2(error: &h2::Error) -> Refusal {
    if error.is_io() || error.is_remote() {
        let detail = "the upstream gave up the request before it replied";
        return Refusal::new(Kind::Disconnected, detail);
    }
    Refusal::new(Kind::BadReply, "the upstream's reply is not valid HTTP/2")
}
