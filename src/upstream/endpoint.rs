//! How does one worker reach one endpoint?

use std::{cell::Cell, rc::Rc, sync::Arc, task::Context};

use http::StatusCode;
use tokio::time::{Instant, timeout};

use super::{
    HttpVersion, Settings,
    connect::{ConnectError, Connector},
    http1, http2,
    member::Member,
    upload::UploadWatch,
};
use crate::health::{Failure, Pass};

/// One endpoint of an upstream, with the worker's connections to it.
pub(super) struct Endpoint {
    pub(super) member: Arc<Member>,
    pub(super) http1: Rc<http1::Pool>,
    http2: http2::Pool,
    /// Whether the endpoint speaks HTTP/2, once a connection has shown it.
    is_http2: Cell<Option<bool>>,
    /// Held while connecting to an endpoint that may share connections, so that one is made, not many.
    connecting: tokio::sync::Mutex<()>,
}

/// A connection that a request can be sent over.
pub(super) enum Ready {
    Http1(http1::Connection),
    Http2(Rc<http2::Connection>),
}

impl Ready {
    /// Whether the endpoint may have left without our knowing yet.
    pub(super) fn may_be_stale(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_reused(),
            Self::Http2(_) => true,
        }
    }
}

/// One stream's place on an endpoint, given back when dropped.
pub struct Lease {
    pub(super) endpoint: Rc<Endpoint>,
    pass: Pass,
    has_failed: Cell<bool>,
}

impl Lease {
    /// Takes a place; `None` where there is none.
    pub(super) fn take(endpoint: &Rc<Endpoint>) -> Option<Self> {
        let pass = endpoint.member.begin()?;
        Some(Self {
            endpoint: Rc::clone(endpoint),
            pass,
            has_failed: Cell::new(false),
        })
    }

    /// The endpoint has answered with this status; one that says that it cannot serve is a failure.
    pub(super) fn answered(&self, status: StatusCode) {
        if is_failure(status) {
            self.failed(Failure::Status);
        } else {
            self.endpoint.member.condition.answered(self.pass);
        }
    }

    /// The stream has failed, and it was the endpoint.
    pub(super) fn failed(&self, failure: Failure) {
        self.has_failed.set(true);
        self.endpoint.member.condition.failed(failure, self.pass);
    }

    /// The endpoint has closed, reset or broken its connection before it replied; unless that was the client,
    /// by its own body.
    pub(super) fn gave_no_reply(&self, upload: &UploadWatch) {
        if !upload.is_broken() {
            self.failed(Failure::NoReply);
        }
    }

    /// To be kept while the reply is awaited: who is dropped because that took too long tells so.
    pub(super) fn await_reply<'a>(&'a self, upload: &'a UploadWatch) -> Awaited<'a> {
        Awaited {
            lease: self,
            upload,
        }
    }

    /// The endpoint broke its reply off midway.
    pub fn cut(&self) {
        self.failed(Failure::Cut);
    }

    /// The endpoint ended its reply as it should.
    pub fn completed(&self) {
        if !self.has_failed.get() {
            self.endpoint.member.condition.completed();
        }
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> Arc<Member> {
        Arc::clone(&self.endpoint.member)
    }
}

/// A reply that has not come.
pub(super) struct Awaited<'a> {
    lease: &'a Lease,
    upload: &'a UploadWatch,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        // A client that keeps the rest of its request to itself is not the endpoint's fault.
        if self.upload.is_given_up() && self.upload.is_whole() {
            self.lease.failed(Failure::FirstByteTimeout);
        }
    }
}

/// Whether the status says that the endpoint cannot serve now. 501 and 505 speak of the request.
fn is_failure(status: StatusCode) -> bool {
    let is_of_request = matches!(
        status,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED
    );
    status.is_server_error() && !is_of_request
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.member.end(self.pass);
    }
}

impl Endpoint {
    /// An endpoint without connections.
    pub(super) fn new(member: Arc<Member>) -> Self {
        Self {
            member,
            http1: Rc::default(),
            http2: http2::Pool::default(),
            is_http2: Cell::new(None),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    /// A connection to it: one that is kept, or a new one.
    pub(super) async fn ready(
        &self,
        connector: &Connector,
        settings: &Settings,
    ) -> Result<Ready, ConnectError> {
        if let Some(connection) = self.http1.take().await {
            return Ok(Ready::Http1(connection));
        }
        if let Some(connection) = self.http2.find() {
            return Ok(Ready::Http2(connection));
        }
        let may_share = self.is_http2.get().unwrap_or(match settings.http {
            HttpVersion::Http1 => false,
            HttpVersion::Http2 | HttpVersion::Auto => true,
        });
        // Boxed, so that who finds a connection needs no room for making one.
        if !may_share {
            return Box::pin(self.connect(connector)).await;
        }
        // Waiting for another's attempt counts as connecting.
        let limit = settings.connect_timeout;
        Box::pin(timeout(limit, self.connect_shared(connector)))
            .await
            .unwrap_or(Err(ConnectError::Timeout(limit)))
    }

    /// Closes what has been idle for too long and what the endpoint has closed.
    pub(super) fn sweep(&self, cx: &mut Context<'_>, now: Instant) {
        self.http1.sweep(cx, now);
        self.http2.sweep();
    }

    /// Connects, unless somebody else does just that and the connection has room for both.
    async fn connect_shared(&self, connector: &Connector) -> Result<Ready, ConnectError> {
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(connection) = self.http2.find() {
            return Ok(Ready::Http2(connection));
        }
        self.connect(connector).await
    }

    async fn connect(&self, connector: &Connector) -> Result<Ready, ConnectError> {
        let connected = connector.connect(&self.member).await?;
        self.is_http2.set(Some(connected.is_http2));
        if connected.is_http2 {
            let connection = self.http2.begin(connected.io).await;
            return connection
                .map(Ready::Http2)
                .map_err(|error| ConnectError::Refused(error.to_string()));
        }
        Ok(Ready::Http1(http1::Connection::new(connected.io)))
    }
}
