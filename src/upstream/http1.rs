//! How is an HTTP/1.1 endpoint asked, and when is its connection kept?
//!
//! hyper's client speaks the protocol. Its connection is not a task of its own: whoever awaits the
//! reply or reads the body polls it, so that one task a stream suffices and dropping the stream
//! closes the connection at once.

use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::{
    connect::Io,
    source::{Fill, Source, SourceError},
    trailers,
    upload::{Upload, UploadWatch},
};
use crate::transcode::framing::EndOfInput;

/// How long a connection is kept without a request.
const IDLE: Duration = Duration::from_mins(1);
/// How many idle connections are kept, for each endpoint and worker.
const IDLE_CONNECTIONS_MAX: usize = 128;
/// The most of a reply that is read before someone takes it, and the longest head, in bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// One connection, ready for a request or in the midst of one.
pub(super) struct Connection {
    sender: SendRequest<Upload>,
    driver: http1::Connection<TokioIo<Io>, Upload>,
    idle_since: Option<Instant>,
}

/// Why a request got no reply head.
pub(super) struct SendError {
    pub(super) error: hyper::Error,
    /// The request, where nothing of it was sent.
    pub(super) request: Option<Request<Upload>>,
}

impl Connection {
    /// Begins to speak HTTP/1.1 over `io`.
    pub(super) async fn begin(io: Io) -> Result<Self, hyper::Error> {
        let (sender, driver) = builder().handshake(TokioIo::new(io)).await?;
        Ok(Self {
            sender,
            driver,
            idle_since: None,
        })
    }

    /// Whether it has carried a request before, so that the endpoint may have closed it meanwhile.
    pub(super) fn is_reused(&self) -> bool {
        self.idle_since.is_some()
    }

    /// Sends one request and waits for the head of its reply.
    pub(super) async fn send(
        mut self,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Self), SendError> {
        frame(&mut request);
        let mut reply = std::pin::pin!(self.sender.try_send_request(request));
        let mut is_driven = true;
        let outcome = std::future::poll_fn(|cx| {
            if is_driven {
                is_driven = Pin::new(&mut self.driver).poll(cx).is_pending();
            }
            reply.as_mut().poll(cx)
        })
        .await;
        match outcome {
            Ok(response) => Ok((response, self)),
            Err(mut error) => Err(SendError {
                request: error.take_message(),
                error: error.into_error(),
            }),
        }
    }

    /// Whether the connection can take another request now; polls what the endpoint did meanwhile.
    fn poll_is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        Pin::new(&mut self.driver).poll(cx).is_pending() && self.sender.is_ready()
    }
}

/// Sends a request that may turn the connection into a tunnel; the connection runs as its own task.
pub(super) async fn send_upgrade(
    io: Io,
    mut request: Request<Upload>,
) -> Result<Response<Incoming>, hyper::Error> {
    frame(&mut request);
    let (mut sender, driver) = builder().handshake(TokioIo::new(io)).await?;
    tokio::task::spawn_local(async move {
        // A fault ends the tunnel's or the reply's body, which tell whoever reads them.
        drop(driver.with_upgrades().await);
    });
    sender.send_request(request).await
}

/// Says what HTTP/1.1 wants said between neighbors: how a body of unknown length ends, whatever the
/// method (hyper would leave out that of a GET), and that `TE` is meant for this one (RFC 9110 §10.1.4).
fn frame(request: &mut Request<Upload>) {
    if request.headers().contains_key(header::TE) {
        let te = HeaderValue::from_static("te");
        request.headers_mut().append(header::CONNECTION, te);
    }
    let body = request.body();
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        let chunked = HeaderValue::from_static("chunked");
        request
            .headers_mut()
            .insert(header::TRANSFER_ENCODING, chunked);
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES_MAX);
    builder
}

/// The idle connections to one endpoint, in one worker; the one used last is taken first.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<VecDeque<Connection>>,
}

impl Pool {
    /// Takes a connection that is still open as far as can be told.
    pub(super) async fn take(&self) -> Option<Connection> {
        std::future::poll_fn(|cx| {
            while let Some(mut connection) = self.pop() {
                if connection.poll_is_ready(cx) {
                    return Poll::Ready(Some(connection));
                }
            }
            Poll::Ready(None)
        })
        .await
    }

    fn pop(&self) -> Option<Connection> {
        self.idle.borrow_mut().pop_back()
    }

    fn put(&self, mut connection: Connection) {
        connection.idle_since = Some(Instant::now());
        let mut idle = self.idle.borrow_mut();
        idle.push_back(connection);
        if idle.len() > IDLE_CONNECTIONS_MAX {
            idle.pop_front();
        }
    }

    /// Closes what has been idle for too long and what the endpoint has closed.
    pub(super) fn sweep(&self, cx: &mut Context<'_>, now: Instant) {
        self.idle.borrow_mut().retain_mut(|connection| {
            let is_young = connection
                .idle_since
                .is_some_and(|since| now.duration_since(since) < IDLE);
            is_young && connection.poll_is_ready(cx)
        });
    }
}

/// The body of a reply over HTTP/1.1, with the connection that brings it.
pub(super) struct Http1Source {
    body: Incoming,
    connection: Option<Connection>,
    home: Rc<Pool>,
    end: EndOfInput,
    trailers: Option<HeaderMap>,
    upload: Rc<UploadWatch>,
}

impl Http1Source {
    /// Takes over the body of `response`; the connection goes to `home` after its end.
    pub(super) fn new(
        response: Response<Incoming>,
        connection: Option<Connection>,
        home: Rc<Pool>,
        upload: Rc<UploadWatch>,
    ) -> (http::response::Parts, Self) {
        let (mut head, body) = response.into_parts();
        let end = end_of(&head);
        tell_one_length(&mut head);
        let source = Self {
            body,
            connection,
            home,
            end,
            trailers: None,
            upload,
        };
        (head, source)
    }

    /// Whether the reply has no body at all. Its connection then goes home at once.
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Sends the connection home, if it can take another request.
    pub(super) fn go_home(&mut self, cx: &mut Context<'_>) {
        if let Some(mut connection) = self.connection.take()
            && connection.poll_is_ready(cx)
        {
            self.home.put(connection);
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        loop {
            // A body whose length was said ends with its last byte, whatever hyper still waits for.
            let frame = if self.body.is_end_stream() {
                None
            } else {
                ready!(Pin::new(&mut self.body).poll_frame(cx))
            };
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.connection = None;
                    return Poll::Ready(Err(SourceError::classify(&error)));
                }
                None => {
                    self.go_home(cx);
                    return Poll::Ready(Ok(Fill::End {
                        trailers: self.trailers.take(),
                        end: self.end,
                    }));
                }
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Ok(Fill::Bytes(data))),
                Err(frame) => {
                    let trailers = frame.into_trailers().ok();
                    self.trailers = trailers.and_then(trailers::forwardable);
                }
            }
        }
    }

    /// Lets the connection read and write; whether there is one left to wait for.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        if Pin::new(&mut connection.driver).poll(cx).is_ready() {
            self.connection = None;
        }
        true
    }
}

impl Source for Http1Source {
    fn poll_fill(&mut self, cx: &mut Context<'_>, _: &mut [u8]) -> Poll<Result<Fill, SourceError>> {
        self.upload.poll_discard(cx);
        let first = self.poll_body(cx);
        if first.is_ready() || !self.poll_connection(cx) {
            return first;
        }
        self.poll_body(cx)
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        self.upload.poll_discard(cx);
        self.poll_connection(cx);
    }
}

/// Leaves one length, or none where chunks say it: hyper reads such a reply right, but would write it wrong
/// (RFC 9112 §6.3).
fn tell_one_length(head: &mut http::response::Parts) {
    let is_chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
    let said = head.headers.remove(header::CONTENT_LENGTH);
    // The same length may be said several times, as a list or as fields; hyper has compared them.
    let length = said
        .as_ref()
        .and_then(|said| said.to_str().ok()?.split(',').next());
    if let Some(length) = length.and_then(|length| length.trim().parse::<u64>().ok())
        && !is_chunked
    {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
}

/// Whether the end of this reply's body can be told from a cut (RFC 9112 §6.3).
fn end_of(head: &http::response::Parts) -> EndOfInput {
    let is_delimited = head.headers.contains_key(header::CONTENT_LENGTH)
        || (head.version == Version::HTTP_11
            && head.headers.contains_key(header::TRANSFER_ENCODING));
    if is_delimited {
        EndOfInput::Verified
    } else {
        EndOfInput::Unverified
    }
}
