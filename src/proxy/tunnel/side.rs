//! Who has ended a tunnel, and was it as it should be?

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;
use crate::upstream::{Lease, Rewind};

/// The upstream's side of a tunnel. Its endpoint is told at once where that breaks it off, as of any stream.
pub(super) struct UpstreamSide {
    io: Rewind,
    lease: Lease,
    /// What a WebSocket's two sides have said; other protocols are nobody's but theirs.
    said: Option<Box<Said>>,
    end: Option<End>,
}

/// What came from either side of a WebSocket.
#[derive(Default)]
struct Said {
    by_upstream: Frames,
    by_client: Frames,
}

/// Who has ended a tunnel, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client closed its side first.
    ByClient,
    /// The upstream closed its side as its protocol says, as far as that is known.
    Complete,
    /// The upstream broke off.
    Cut,
}

impl UpstreamSide {
    /// The side that has changed its protocol by a reply with these fields.
    pub(super) fn new(io: Rewind, lease: Lease, headers: &HeaderMap) -> Self {
        let protocol = headers.get(header::UPGRADE);
        let is_websocket =
            protocol.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
        Self {
            io,
            lease,
            said: is_websocket.then(Box::default),
            end: None,
        }
    }

    /// Who has ended the tunnel; `None` as long as that has not been seen on this side.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// The upstream has closed its side, or the connection has failed. A WebSocket without a close frame is
    /// cut either way (RFC 6455 §7.1.5); another protocol may end where its connection ends.
    fn ended(&mut self, is_failure: bool) {
        if self.end.is_some() {
            return;
        }
        let is_cut = match &self.said {
            Some(said) => !(said.by_upstream.has_closed() || said.by_client.has_closed()),
            None => is_failure,
        };
        if is_cut {
            self.lease.cut();
            self.end = Some(End::Cut);
        } else {
            self.lease.completed();
            self.end = Some(End::Complete);
        }
    }
}

impl AsyncRead for UpstreamSide {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        let came = &buffer.filled()[before..];
        if read.is_err() || (came.is_empty() && buffer.remaining() > 0) {
            self.ended(read.is_err());
        } else if let Some(said) = &mut self.said {
            said.by_upstream.pass(came);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for UpstreamSide {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        match &written {
            Ok(length) => {
                if let Some(said) = &mut self.said {
                    said.by_client.pass(&bytes[..*length]);
                }
            }
            Err(_) => self.ended(true),
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.io).poll_flush(cx));
        if flushed.is_err() {
            self.ended(true);
        }
        Poll::Ready(flushed)
    }

    /// The client has closed its side; whatever the upstream does now is no surprise.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.get_or_insert(End::ByClient);
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
