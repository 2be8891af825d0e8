//! How does a request go out while its reply is awaited and streamed?

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Request};
use http_body::Body as _;
use tokio::io::AsyncWrite as _;

use super::request::{self, Framing};
use crate::upstream::{connect::Io, upload::Upload};

/// How many pieces of a body are sent before others have their turn.
const PIECES_MAX: usize = 32;
/// The head, a chunk's line, its payload and its end.
const SLICES: usize = 4;

/// A request on its way out.
pub(super) struct Sending {
    request: Box<Request<Upload>>,
    framing: Framing,
    /// What is to be written next, in this order.
    queue: [Bytes; SLICES],
    /// Whether any byte has been written.
    has_begun: bool,
    /// Whether the body's end is in the queue or written.
    is_ended: bool,
}

/// How sending ended.
#[derive(Debug)]
pub(super) enum Sent {
    /// All of it is written.
    Whole,
    /// The connection takes no more; a reply may still come.
    Cut,
    /// The client's body broke off, which the endpoint must see.
    Broken,
}

impl Sending {
    pub(super) fn new(request: Box<Request<Upload>>) -> Self {
        let (head, framing) = request::head(&request);
        let mut queue = [const { Bytes::new() }; SLICES];
        queue[0] = head.into();
        Self {
            is_ended: framing.is_done(),
            request,
            framing,
            queue,
            has_begun: false,
        }
    }

    /// The request, where nothing of it was sent.
    pub(super) fn take_back(mut self) -> Option<Box<Request<Upload>>> {
        if self.has_begun {
            return None;
        }
        let data = std::mem::take(&mut self.queue[2]);
        self.request.body_mut().put_back(data);
        Some(self.request)
    }

    /// Sends as much as there is and as the connection takes.
    pub(super) fn poll(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Poll<Sent> {
        for _ in 0..PIECES_MAX {
            // The first of the body goes with the head, if it is there.
            let is_waiting = match self.poll_body(cx) {
                Poll::Ready(Err(sent)) => return Poll::Ready(sent),
                Poll::Ready(Ok(())) => false,
                Poll::Pending => true,
            };
            match ready!(self.poll_queue(io, cx)) {
                Err(_) => return Poll::Ready(Sent::Cut),
                Ok(()) if self.is_ended => return Poll::Ready(Sent::Whole),
                Ok(()) if is_waiting => return Poll::Pending,
                Ok(()) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Puts the next of the body into the queue, unless some is there.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Sent>> {
        let has_body = self.queue[1..].iter().any(|bytes| !bytes.is_empty());
        if has_body || self.is_ended {
            return Poll::Ready(Ok(()));
        }
        let body = Pin::new(self.request.body_mut());
        let trailers = match ready!(body.poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Poll::Ready(self.push(data)),
                Err(frame) => frame.into_trailers().ok(),
            },
            Some(Err(_)) => return Poll::Ready(Err(Sent::Broken)),
            None => None,
        };
        self.is_ended = true;
        Poll::Ready(match self.framing.end(trailers) {
            Some(end) => {
                self.queue[3] = end;
                Ok(())
            }
            None => Err(Sent::Broken),
        })
    }

    fn push(&mut self, data: Bytes) -> Result<(), Sent> {
        if data.is_empty() {
            return Ok(());
        }
        let [line, data, end] = self.framing.data(data).ok_or(Sent::Broken)?;
        self.queue[1] = line;
        self.queue[2] = data;
        self.queue[3] = end;
        self.is_ended = self.framing.is_done();
        Ok(())
    }

    fn poll_queue(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.queue.iter().any(|bytes| !bytes.is_empty()) {
            let slices = self.queue.each_ref().map(|bytes| IoSlice::new(bytes));
            let written = ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if !self.has_begun {
                self.has_begun = true;
                // Not kept for as long as the body takes.
                *self.request.headers_mut() = HeaderMap::new();
            }
            self.advance(written);
        }
        // TLS may hold what TCP has not taken.
        Pin::new(io).poll_flush(cx)
    }

    fn advance(&mut self, mut written: usize) {
        for bytes in &mut self.queue {
            let length = written.min(bytes.len());
            bytes.advance(length);
            written -= length;
            if bytes.is_empty() {
                // Lets go of the buffer.
                *bytes = Bytes::new();
            }
        }
    }
}
