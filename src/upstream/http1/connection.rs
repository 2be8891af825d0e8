//! How is one request asked over an HTTP/1.1 connection?
//!
//! The connection is not a task of its own: whoever awaits the reply or reads the body polls it, so that
//! one task a stream suffices and dropping the stream closes the connection at once.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Request;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::{
    head::{Asked, Head, HeadReader},
    sending::{Sending, Sent},
};
use crate::upstream::{connect::Io, source::Scratch, upload::Upload};

/// How many reads of one poll may bring nothing to hand on, before others have their turn.
pub(super) const READS_MAX: usize = 32;

/// One connection, ready for a request or in the midst of one.
pub(crate) struct Connection {
    io: Io,
    /// What of the request is still to go; it holds no memory once that is nothing.
    sending: Option<Box<Sending>>,
    /// Whether it can take no further request: part of this one will never go, say.
    is_spent: bool,
    /// Whether it has carried a request before.
    is_reused: bool,
}

/// A reply's head, and what has come after it.
pub(crate) struct Answer {
    pub(crate) head: Head,
    /// What came with the head and is not part of it.
    pub(crate) rest: Vec<u8>,
    pub(crate) connection: Connection,
}

/// Why a request got no reply head.
pub(crate) enum SendError {
    /// Nothing of the request was sent; here it is.
    Unsent(Box<Request<Upload>>),
    /// The connection ended before any byte of a reply.
    Unanswered,
    /// The connection ended inside the reply's head, or the client's body broke off.
    Disconnected,
    /// What came is no reply.
    BadReply(&'static str),
}

impl Connection {
    /// A fresh connection.
    pub(crate) fn new(io: Io) -> Self {
        Self {
            io,
            sending: None,
            is_spent: false,
            is_reused: false,
        }
    }

    /// Whether it has carried a request before, so that the endpoint may have closed it meanwhile.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// It has carried a request, and waits for the next.
    pub(super) fn reuse(&mut self) {
        self.is_reused = true;
    }

    /// Sends one request and waits for the head of its reply.
    pub(crate) async fn send(
        mut self,
        request: Box<Request<Upload>>,
        asked: Asked,
        scratch: &Scratch,
    ) -> Result<Answer, SendError> {
        self.sending = Some(Box::new(Sending::new(request)));
        let mut reader = HeadReader::new(asked);
        let (head, rest) = poll_fn(|cx| {
            match self.poll_sending(cx) {
                Poll::Ready(Err(Unsent::TakenBack(request))) => {
                    return Poll::Ready(Err(SendError::Unsent(request)));
                }
                Poll::Ready(Err(Unsent::Broken)) => {
                    return Poll::Ready(Err(SendError::Disconnected));
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            self.poll_head(cx, &mut reader, &mut scratch.lend())
        })
        .await?;
        Ok(Answer {
            head,
            rest,
            connection: self,
        })
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut HeadReader,
        scratch: &mut [u8],
    ) -> Poll<Result<(Head, Vec<u8>), SendError>> {
        for _ in 0..READS_MAX {
            let length = match ready!(self.poll_read(cx, scratch)) {
                Ok(0) | Err(_) if reader.has_begun() => {
                    return Poll::Ready(Err(SendError::Disconnected));
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(SendError::Unanswered)),
                Ok(length) => length,
            };
            let piece = &scratch[..length];
            match reader.feed(piece) {
                Ok(Some((head, used))) => return Poll::Ready(Ok((head, piece[used..].to_vec()))),
                Ok(None) => {}
                Err(reason) => return Poll::Ready(Err(SendError::BadReply(reason))),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once; 0 is the end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Sends what is still to go. A connection that takes no more may still bring a reply, and is read on.
    pub(super) fn poll_sending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        let Some(sending) = &mut self.sending else {
            return Poll::Ready(Ok(()));
        };
        let sent = ready!(sending.poll(&mut self.io, cx));
        let Some(sending) = self.sending.take() else {
            return Poll::Ready(Ok(()));
        };
        Poll::Ready(match sent {
            Sent::Whole => Ok(()),
            Sent::Broken => Err(Unsent::Broken),
            Sent::Cut => {
                self.is_spent = true;
                match sending.take_back() {
                    Some(request) => Err(Unsent::TakenBack(request)),
                    None => Ok(()),
                }
            }
        })
    }

    /// It takes another request only if so.
    pub(super) fn keep_if(&mut self, is_kept: bool) {
        self.is_spent |= !is_kept;
    }

    /// Whether the whole request has gone, and it may take another one as far as is known.
    pub(super) fn is_kept(&self) -> bool {
        self.sending.is_none() && !self.is_spent
    }

    /// Whether nothing has come and the connection is open, as far as can be told.
    pub(super) fn poll_is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_read(cx, &mut [0]).is_pending()
    }

    /// Waits until the whole request has gone, and gives the connection away.
    pub(crate) async fn into_io(mut self) -> Option<Io> {
        let sent = poll_fn(|cx| self.poll_sending(cx)).await;
        (sent.is_ok() && self.is_kept()).then_some(self.io)
    }
}

/// Why a request did not go out whole.
pub(super) enum Unsent {
    /// Nothing of it went; here it is.
    TakenBack(Box<Request<Upload>>),
    /// The client's body broke off, which the endpoint is to see by the connection's end.
    Broken,
}
