//! How is a request brought to an endpoint?

use std::rc::Rc;

use http::{Method, Request, StatusCode, uri::Scheme};
use tracing::debug;

use super::{
    EndpointAddress, Reply, UpgradeReply, Upstream,
    connect::{ConnectError, Io},
    endpoint::{Endpoint, Lease, Ready},
    http1::{self, Asked, Rewind},
    http2,
    key::Key,
    upload::Upload,
};
use crate::error::{Kind, Refusal};

/// How often a request is sent again that no endpoint has seen, or that may be seen twice.
const REPEATS_MAX: usize = 4;

/// The endpoints that one request may still go to.
struct Choice {
    endpoints: Rc<[Rc<Endpoint>]>,
    is_tried: Vec<bool>,
    key: Option<Key>,
}

impl Choice {
    /// All endpoints that there are now.
    fn new(upstream: &Upstream, request: &Request<Upload>) -> Self {
        let endpoints = upstream.endpoints();
        Self {
            is_tried: vec![false; endpoints.len()],
            endpoints,
            key: request.extensions().get::<Key>().copied(),
        }
    }

    /// A place on the endpoint whose turn it is; `None` where all have been tried.
    fn lease(&mut self, upstream: &Upstream) -> Option<Lease> {
        let endpoints = self.endpoints.iter().zip(&self.is_tried);
        let candidates: Vec<_> = endpoints
            .map(|(endpoint, is_tried)| (!is_tried).then(|| endpoint.member.candidate()))
            .collect();
        let index = upstream.shared.choose(&candidates, self.key)?;
        self.is_tried[index] = true;
        Some(Lease::new(Rc::clone(&self.endpoints[index])))
    }

    /// Lets all be tried again.
    fn reset(&mut self) {
        self.is_tried.fill(false);
    }
}

impl Upstream {
    /// Sends a request (target in origin form, with `Host`) to an endpoint and waits for its reply's head.
    ///
    /// Another endpoint is tried where one cannot be connected to; a kept connection that turns out
    /// to be closed is replaced (RFC 9112 §9.3.1). There is no time limit but that on connecting.
    ///
    /// # Errors
    /// No endpoint answered; the refusal says why the last one did not.
    pub async fn send(&self, mut request: Request<Upload>) -> Result<Reply, Refusal> {
        let mut choice = Choice::new(self, &request);
        let mut refusal = Refusal::new(Kind::ConnectFailed, "the upstream has no endpoint");
        let mut repeats = 0;
        while let Some(lease) = choice.lease(self) {
            let ready = match lease
                .endpoint
                .ready(&self.connector, &self.shared.settings)
                .await
            {
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
                    choice.reset();
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
        let mut choice = Choice::new(self, &request);
        let mut refusal = Refusal::new(Kind::ConnectFailed, "the upstream has no endpoint");
        let connector = self.connector.for_upgrade();
        while let Some(lease) = choice.lease(self) {
            let io = match connector.connect(&lease.endpoint.member.address).await {
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

    fn connect_failed(&self, lease: &Lease, error: &ConnectError) -> Refusal {
        let (upstream, endpoint) = (self.name(), &*lease.endpoint.label);
        debug!(upstream, endpoint, %error, "An endpoint could not be connected to.");
        error.refusal()
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
    let scheme = match lease.endpoint.member.address {
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
