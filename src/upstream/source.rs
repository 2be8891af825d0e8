//! What is a reply's body to whoever forwards it, whatever carries it?
//!
//! A [`Source`] is polled by the one task that owns the stream. Nothing is read ahead of it, so
//! not polling it is the back-pressure. Dropping it cancels the request at the upstream.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use thiserror::Error;

use crate::transcode::framing::EndOfInput;

/// The body of one reply.
pub trait Source {
    /// The next chunk as it came, or the end. Not to be called after the end or an error.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Chunk, SourceError>>;

    /// Does what must go on while nobody takes chunks: sends the rest of the request's body, and
    /// empties what the upstream shares with its other streams into this stream's own buffer.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }
}

/// A source that its stream polls and that its connection drives while the stream is not polled.
pub type SharedSource = Rc<RefCell<dyn Source>>;

/// One step of a source.
#[derive(Debug)]
pub enum Chunk {
    /// Bytes, at least one.
    Data(Bytes),
    /// The upstream ended its message.
    End {
        /// What it sent after the body.
        trailers: Option<HeaderMap>,
        /// Whether the message's framing said that this is its end.
        end: EndOfInput,
    },
}

/// Why a reply's body stopped before its end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// The upstream's connection ended inside the message.
    #[error("the upstream's connection ended inside its reply")]
    Truncated,
    /// The upstream broke its protocol, or gave the stream up.
    #[error("the upstream gave up its reply: {reason}")]
    Broken {
        /// What the protocol reported.
        reason: String,
    },
}

impl SourceError {
    /// Classes an error of either HTTP crate by what lies at its root.
    pub(crate) fn classify(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<std::io::Error>()
                && is_cut(io.kind())
            {
                return Self::Truncated;
            }
            if let Some(hyper) = error.downcast_ref::<hyper::Error>()
                && hyper.is_incomplete_message()
            {
                return Self::Truncated;
            }
            cause = error.source();
        }
        Self::Broken {
            reason: root_cause(error),
        }
    }
}

/// The innermost cause's sentence, which says most.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn is_cut(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof,
    };
    matches!(
        kind,
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected | TimedOut
    )
}
