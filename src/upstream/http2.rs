//! How is an HTTP/2 endpoint asked, over connections that its streams share?
//!
//! The h2 crate is used directly, not through hyper's client, for the sake of flow control: a
//! stream's frames are always taken at once into the stream's own buffer, and its window (64 KiB)
//! is given back only as the client takes them. So a client that does not read never leaves frames
//! inside the connection, where a few thousand small ones would end it for all of its streams.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{HeaderMap, Request, Uri, header, uri};
use http_body::Body as _;

use super::{
    connect::Io,
    source::{Fill, Source, SourceError},
    trailers,
    upload::{Upload, UploadWatch},
};
use crate::transcode::framing::EndOfInput;

/// What a stream may hold that its client has not taken, in bytes.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// How many streams one connection carries, if the endpoint allows as many.
const STREAMS_MAX: usize = 100;
/// Room for all streams' windows, so that none can hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * 100;
/// How much overhead of small frames (256 − length, each) may wait to be taken by its stream: a full
/// window of 20-byte frames on every stream at once.
const SMALL_FRAME_BUDGET: usize = 128 * 1024 * 1024;
/// The longest reply head, in bytes.
const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// How long frames of a stream that we reset are still expected.
const RESET_MEMORY: Duration = Duration::from_secs(10);
/// How many such streams are remembered.
const RESETS_MAX: usize = 4096;

/// A connection that several streams share.
pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    open: Rc<Cell<usize>>,
    /// Whether it takes no new stream: it has ended, or the endpoint has said that it will.
    is_closed: Rc<Cell<bool>>,
}

/// Why a request got no reply head.
pub(super) struct SendError {
    pub(super) error: h2::Error,
    /// The request, where nothing of it was sent.
    pub(super) request: Option<Box<Request<Upload>>>,
}

impl From<h2::Error> for SendError {
    fn from(error: h2::Error) -> Self {
        let request = None;
        Self { error, request }
    }
}

/// A stream's place on its connection, given back when dropped.
struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The connections to one endpoint, in one worker.
#[derive(Default)]
pub(super) struct Pool {
    connections: RefCell<Vec<Rc<Connection>>>,
}

impl Pool {
    /// A connection with room for one more stream.
    pub(super) fn find(&self) -> Option<Rc<Connection>> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.is_closed.get());
        connections
            .iter()
            .find(|connection| connection.has_room())
            .cloned()
    }

    /// Begins to speak HTTP/2 over `io`; the connection runs as its own task until its last stream and
    /// the pool have let go of it.
    pub(super) async fn begin(&self, io: Io) -> Result<Rc<Connection>, h2::Error> {
        let (sender, driver) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .data_frame_budget(SMALL_FRAME_BUDGET)
            .max_concurrent_reset_streams(RESETS_MAX)
            .reset_stream_duration(RESET_MEMORY)
            .max_local_error_reset_streams(None)
            .handshake::<_, Bytes>(io)
            .await?;
        let is_closed = Rc::new(Cell::new(false));
        let closed = Rc::clone(&is_closed);
        tokio::task::spawn_local(async move {
            // Each stream learns of a fault by itself.
            drop(driver.await);
            closed.set(true);
        });
        let connection = Rc::new(Connection {
            sender,
            open: Rc::default(),
            is_closed,
        });
        self.connections.borrow_mut().push(Rc::clone(&connection));
        Ok(connection)
    }

    /// Lets go of connections that carry no stream, but one.
    pub(super) fn sweep(&self) {
        let mut kept = false;
        self.connections.borrow_mut().retain(|connection| {
            let is_idle = connection.open.get() == 0;
            let keep = !connection.is_closed.get() && (!is_idle || !kept);
            kept |= keep && is_idle;
            keep
        });
    }
}

impl Connection {
    fn has_room(&self) -> bool {
        let allowed = self.sender.current_max_send_streams().min(STREAMS_MAX);
        self.open.get() < allowed
    }

    /// Sends one request and waits for the head of its reply.
    pub(super) async fn send(
        &self,
        request: Box<Request<Upload>>,
        scheme: uri::Scheme,
    ) -> Result<(http::response::Parts, Http2Source), SendError> {
        self.open.set(self.open.get() + 1);
        let place = Place(Rc::clone(&self.open));
        let mut sender = match self.sender.clone().ready().await {
            Ok(sender) => sender,
            Err(error) => {
                self.is_closed.set(true);
                let request = Some(request);
                return Err(SendError { error, request });
            }
        };
        let (head, upload) = request.into_parts();
        let watch = upload.watch();
        let request = Request::from_parts(absolute(head, scheme), ());
        let is_end = upload.is_end_stream();
        let (reply, stream) = sender.send_request(request, is_end)?;
        let mut sending = (!is_end).then(|| Sending {
            stream,
            body: upload,
            held: Bytes::new(),
        });
        let mut reply = std::pin::pin!(reply);
        let response = std::future::poll_fn(|cx| {
            poll_sending(&mut sending, cx);
            reply.as_mut().poll(cx)
        })
        .await?;
        let (head, recv) = response.into_parts();
        let source = Http2Source {
            recv,
            sending,
            taken: BytesMut::new(),
            ended: None,
            upload: watch,
            _place: place,
        };
        Ok((head, source))
    }
}

/// HTTP/2 has no Host field: the authority stands in the target (RFC 9113 §8.3.1).
fn absolute(mut head: http::request::Parts, scheme: uri::Scheme) -> http::request::Parts {
    let mut target = head.uri.into_parts();
    target.scheme = Some(scheme);
    target.authority = head
        .headers
        .remove(header::HOST)
        .and_then(|host| uri::Authority::try_from(host.as_bytes()).ok())
        .or_else(|| Some(uri::Authority::from_static("localhost")));
    head.uri = Uri::from_parts(target).unwrap_or_default();
    head.version = http::Version::HTTP_2;
    head
}

/// The rest of a request's body, on its way.
struct Sending {
    stream: SendStream<Bytes>,
    body: Upload,
    held: Bytes,
}

/// Sends what the endpoint takes; `sending` is `None` once the body is sent or refused.
fn poll_sending(sending: &mut Option<Sending>, cx: &mut Context<'_>) {
    if let Some(rest) = sending
        && rest.poll(cx).is_ready()
    {
        *sending = None;
    }
}

impl Sending {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(());
            }
            if !self.held.is_empty() {
                std::task::ready!(self.poll_held(cx));
                continue;
            }
            match std::task::ready!(std::pin::Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.held = data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok();
                        // An error means that the stream is over, and with it the upload.
                        match trailers.and_then(trailers::forwardable) {
                            Some(trailers) => drop(self.stream.send_trailers(trailers)),
                            None => drop(self.stream.send_data(Bytes::new(), true)),
                        }
                        return Poll::Ready(());
                    }
                },
                Some(Err(_)) => {
                    self.stream.send_reset(h2::Reason::CANCEL);
                    return Poll::Ready(());
                }
                None => {
                    drop(self.stream.send_data(Bytes::new(), true));
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Sends as much of the held chunk as the windows allow; empties it where the stream is over.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.reserve_capacity(self.held.len());
        let Some(Ok(capacity)) = std::task::ready!(self.stream.poll_capacity(cx)) else {
            self.held = Bytes::new();
            return Poll::Ready(());
        };
        let granted = capacity.min(self.held.len());
        if granted > 0
            && self
                .stream
                .send_data(self.held.split_to(granted), false)
                .is_err()
        {
            self.held = Bytes::new();
        }
        Poll::Ready(())
    }
}

/// The body of a reply over HTTP/2.
pub(super) struct Http2Source {
    recv: RecvStream,
    sending: Option<Sending>,
    /// What was taken off the connection and the client has not taken yet.
    /// Invariant: at most `STREAM_WINDOW_BYTES`, since its window is not given back.
    taken: BytesMut,
    ended: Option<Result<Option<HeaderMap>, SourceError>>,
    upload: Rc<UploadWatch>,
    _place: Place,
}

impl Http2Source {
    /// Whether the reply has no body at all.
    pub(super) fn is_empty(&self) -> bool {
        self.recv.is_end_stream()
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended.is_some() {
            return Poll::Ready(None);
        }
        let outcome = match std::task::ready!(self.recv.poll_data(cx)) {
            Some(Ok(data)) => return Poll::Ready(Some(data)),
            Some(Err(error)) => Err(self.fault(&error)),
            None => match std::task::ready!(self.recv.poll_trailers(cx)) {
                Ok(trailers) => Ok(trailers.and_then(trailers::forwardable)),
                Err(error) => Err(self.fault(&error)),
            },
        };
        self.ended = Some(outcome);
        Poll::Ready(None)
    }

    fn fault(&self, error: &h2::Error) -> SourceError {
        if self.upload.is_broken() {
            // What the client broke off we have reset ourselves.
            let reason = "the request's body broke off".to_owned();
            return SourceError::Closed { reason };
        }
        if error.is_io() {
            return SourceError::Truncated;
        }
        SourceError::Broken {
            reason: error.to_string(),
        }
    }

    fn give(&mut self, data: Bytes) -> Poll<Result<Fill, SourceError>> {
        // An error means that the stream is over, and with it its window.
        drop(self.recv.flow_control().release_capacity(data.len()));
        Poll::Ready(Ok(Fill::Bytes(data)))
    }

    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.taken.is_empty() {
            return self.poll_frame(cx);
        }
        Poll::Ready(Some(self.taken.split().freeze()))
    }
}

impl Source for Http2Source {
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        _scratch: &mut [u8],
    ) -> Poll<Result<Fill, SourceError>> {
        poll_sending(&mut self.sending, cx);
        self.upload.poll_discard(cx);
        while let Some(data) = std::task::ready!(self.poll_taken(cx)) {
            if !data.is_empty() {
                return self.give(data);
            }
        }
        let trailers = self.ended.take().unwrap_or(Ok(None))?;
        Poll::Ready(Ok(Fill::End {
            trailers,
            end: EndOfInput::Verified,
        }))
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        poll_sending(&mut self.sending, cx);
        self.upload.poll_discard(cx);
        while let Poll::Ready(Some(data)) = self.poll_frame(cx) {
            self.taken.extend_from_slice(&data);
        }
    }
}
