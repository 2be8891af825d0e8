//! How is a request brought to an endpoint?

use std::rc::Rc;

use http::{Method, Request, StatusCode, uri::Scheme};
use tracing::debug;

use super::{
    EndpointAddress, Reply, UpgradeReply, Upstream,
    connect::{ConnectError, Io},
    course::{Choice, Course, Why},
    endpoint::{Lease, Ready},
    http1::{self, Asked, Rewind},
    http2,
    retry::Reason,
    upload::Upload,
};
use crate::{
    error::{Kind, Refusal},
    health::Failure,
};

impl Upstream {
    /// Sends a request (target in origin form, with `Host`) to an endpoint and waits for its reply's head.
    ///
    /// Another endpoint is asked where one cannot be connected to, and as [`RetrySettings`] say; a kept
    /// connection that turns out to be closed is replaced (RFC 9112 §9.3.1). There is no time limit but that
    /// on connecting.
    ///
    /// [`RetrySettings`]: super::RetrySettings
    ///
    /// # Errors
    /// No endpoint answered; the refusal says why the last one did not.
    pub async fn send(&self, mut request: Box<Request<Upload>>) -> Result<Reply, Refusal> {
        self.shared.retries.begin();
        let mut course = Course::new(Choice::new(&request));
        let Some(mut lease) = course.choice.lease(self).await? else {
            return Err(no_endpoint());
        };
        loop {
            let failed = match self.attempt(lease, request).await {
                Ok(reply) => return Ok(reply),
                Err(failed) => *failed,
            };
            let Some((why, again)) = failed.again else {
                return failed.end;
            };
            match course.next(self, why).await? {
                Some(next) => (lease, request) = (next, again),
                None => return failed.end,
            }
        }
    }

    /// Sends the request to one endpoint.
    async fn attempt(
        &self,
        lease: Lease,
        request: Box<Request<Upload>>,
    ) -> Result<Reply, Box<Failed>> {
        let endpoint = &lease.endpoint;
        let ready = match endpoint.ready(&self.connector, &self.shared.settings).await {
            Ok(ready) => ready,
            Err(error) => {
                let end = Err(self.connect_failed(&lease, &error));
                let again = Some((Why::Retry(Reason::Connect), request));
                return Err(Failed::new(again, end));
            }
        };
        let is_needed = ready.may_be_stale() || self.endpoints().len() > 1;
        let spare = (is_needed && request.body().is_empty()).then(|| repeat(&request));
        let is_idempotent = request.method().is_idempotent();
        // Whoever may have seen a request may have done what it asks for (RFC 9110 §9.2.2).
        let unseen = |spare: Option<_>| spare.map(|spare| (Why::Stale, spare));
        let seen = |why, spare: Option<_>| Some(why).zip(spare.filter(|_| is_idempotent));
        let sent = match ready {
            Ready::Http1(connection) => self.send_http1(lease, connection, request).await,
            Ready::Http2(connection) => send_http2(lease, &connection, request).await,
        };
        Err(match sent {
            Ok(reply) if self.shared.retries.is_for(reply.head.status) => {
                Failed::new(seen(Why::Retry(Reason::Status), spare), Ok(reply))
            }
            Ok(reply) => return Ok(reply),
            Err(Unsent::Whole(request)) => Failed::new(unseen(Some(request)), Err(closed())),
            Err(Unsent::Unprocessed) => Failed::new(unseen(spare), Err(closed())),
            Err(Unsent::Stale) => Failed::new(seen(Why::Stale, spare), Err(lost())),
            Err(Unsent::Lost(refusal)) => {
                Failed::new(seen(Why::Retry(Reason::Reset), spare), Err(refusal))
            }
            Err(Unsent::Refused(refusal)) => Failed::new(None, Err(refusal)),
        })
    }

    /// Sends a request that may turn its connection into a tunnel, over HTTP/1.1 and a connection of its own.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn send_upgrade(
        &self,
        request: Box<Request<Upload>>,
    ) -> Result<UpgradeReply, Refusal> {
        let mut choice = Choice::new(&request);
        let mut refusal = no_endpoint();
        let connector = self.connector.for_upgrade();
        while let Some(lease) = choice.lease(self).await? {
            let io = match connector.connect(&lease.endpoint.member).await {
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
        let (upstream, endpoint) = (self.name(), lease.endpoint.member.label());
        debug!(upstream, endpoint, %error, "An endpoint could not be connected to.");
        lease.endpoint.member.doubt();
        if !error.is_ours() {
            lease.failed(Failure::ConnectFailed);
        }
        error.refusal()
    }

    async fn send_http1(
        &self,
        lease: Lease,
        connection: http1::Connection,
        request: Box<Request<Upload>>,
    ) -> Result<Reply, Unsent> {
        let upload = request.body().watch();
        let is_reused = connection.is_reused();
        let asked = match *request.method() {
            Method::HEAD => Asked::Head,
            _ => Asked::Other,
        };
        let answer = {
            let _awaited = lease.await_reply(&upload);
            connection.send(request, asked, &self.scratch).await
        };
        let answer = answer.map_err(|error| {
            use http1::SendError::{BadReply, Disconnected, Unanswered, Unsent as NotSent};
            if !(is_reused && matches!(error, NotSent(_) | Unanswered)) {
                lease.gave_no_reply(&upload);
            }
            match error {
                NotSent(request) => Unsent::Whole(request),
                Unanswered if is_reused => Unsent::Stale,
                BadReply(_) => Unsent::Refused(no_reply(&error)),
                Unanswered | Disconnected => Unsent::Lost(no_reply(&error)),
            }
        })?;
        let home = Rc::clone(&lease.endpoint.http1);
        Ok(Reply::over_http1(answer, home, upload, lease))
    }

    async fn upgrade(
        &self,
        lease: Lease,
        io: Io,
        request: Box<Request<Upload>>,
    ) -> Result<UpgradeReply, Refusal> {
        let upload = request.body().watch();
        let connection = http1::Connection::new(io);
        let answer = {
            let _awaited = lease.await_reply(&upload);
            connection
                .send(request, Asked::Upgrade, &self.scratch)
                .await
        };
        let answer = answer.map_err(|error| {
            lease.gave_no_reply(&upload);
            no_reply(&error)
        })?;
        if answer.head.parts.status != StatusCode::SWITCHING_PROTOCOLS {
            let refused = Reply::over_http1(answer, Rc::default(), upload, lease);
            return Ok(UpgradeReply::Refused(refused));
        }
        lease.answered(answer.head.parts.status);
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
    request: Box<Request<Upload>>,
) -> Result<Reply, Unsent> {
    let scheme = scheme(&lease.endpoint.member.address);
    let upload = request.body().watch();
    let answer = {
        let _awaited = lease.await_reply(&upload);
        connection.send(request, scheme).await
    };
    match answer {
        Ok((head, source)) => Ok(Reply::over_http2(head, source, lease)),
        Err(http2::SendError { error, request }) => Err(match request {
            Some(request) => Unsent::Whole(request),
            None if is_unprocessed(&error) => Unsent::Unprocessed,
            None => {
                lease.gave_no_reply(&upload);
                no_reply_http2(&error)
            }
        }),
    }
}

/// What a request over HTTP/2 says of its way.
pub(super) fn scheme(address: &EndpointAddress) -> Scheme {
    match address {
        EndpointAddress::Https { .. } => Scheme::HTTPS,
        EndpointAddress::Http { .. } | EndpointAddress::Unix(_) => Scheme::HTTP,
    }
}

/// Why there is no reply.
enum Unsent {
    /// Nothing of the request was sent.
    Whole(Box<Request<Upload>>),
    /// The endpoint says that it has not processed it.
    Unprocessed,
    /// The connection was an old one, and the endpoint may have closed it before the request came.
    Stale,
    /// The endpoint left, and may have seen the request.
    Lost(Refusal),
    /// The endpoint's answer is of no use.
    Refused(Refusal),
}

/// An attempt that brought no reply, or none that is wanted.
struct Failed {
    /// The request, where it may be sent again, and why it would be.
    again: Option<(Why, Box<Request<Upload>>)>,
    /// What the client gets where it is not.
    end: Result<Reply, Refusal>,
}

impl Failed {
    fn new(again: Option<(Why, Box<Request<Upload>>)>, end: Result<Reply, Refusal>) -> Box<Self> {
        Box::new(Self { again, end })
    }
}

fn repeat(request: &Request<Upload>) -> Box<Request<Upload>> {
    let mut again = Request::new(Upload::empty_again(&request.body().watch()));
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Box::new(again)
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
    lost()
}

fn no_reply_http2(error: &h2::Error) -> Unsent {
    if error.is_io() || error.is_remote() {
        let detail = "the upstream gave up the request before it replied";
        return Unsent::Lost(Refusal::new(Kind::Disconnected, detail));
    }
    let detail = "the upstream's reply is not valid HTTP/2";
    Unsent::Refused(Refusal::new(Kind::BadReply, detail))
}

fn no_endpoint() -> Refusal {
    Refusal::new(Kind::ConnectFailed, "the upstream has no endpoint")
}

fn closed() -> Refusal {
    let detail = "the upstream closed every connection before it replied";
    Refusal::new(Kind::Disconnected, detail)
}

fn lost() -> Refusal {
    let detail = "the upstream closed the connection before it replied";
    Refusal::new(Kind::Disconnected, detail)
}
