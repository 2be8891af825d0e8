//! What is a reply's body to whoever forwards it, whatever carries it?
//!
//! A [`Source`] is polled by the one task that owns the stream. Nothing is read ahead of it, so
//! not polling it is the back-pressure. Dropping it cancels the request at the upstream.

use std::{
    cell::{RefCell, RefMut},
    io,
    ops::Range,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use thiserror::Error;

use crate::transcode::framing::{DecodeError, EndOfInput};

/// The body of one reply.
pub trait Source {
    /// What is ready now, or the end. Bytes may be put into `scratch`, which is the thread's: what it held
    /// before is forgotten. Not to be called after the end or an error.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<Fill, SourceError>>;

    /// Does what must go on while nobody takes bytes: sends the rest of the request's body, and
    /// empties what the upstream shares with its other streams into this stream's own buffer.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }
}

/// A source that its stream polls and that its connection drives while the stream is not polled.
pub type SharedSource = Rc<RefCell<dyn Source>>;

/// How much a scratch holds, in bytes: the most that is read at once.
pub const SCRATCH_BYTES: usize = 256 * 1024;

/// What all that one thread reads is read into, lent to one stream at a time.
#[derive(Debug, Clone)]
pub struct Scratch(Rc<RefCell<Box<[u8]>>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; SCRATCH_BYTES].into())))
    }
}

impl Scratch {
    /// Lends the buffer. Not to be kept while a future of the same thread is polled.
    #[must_use]
    pub fn lend(&self) -> RefMut<'_, Box<[u8]>> {
        self.0.borrow_mut()
    }
}

/// One step of a source.
#[derive(Debug)]
pub enum Fill {
    /// These bytes of the scratch, at least one.
    Scratch(Range<usize>),
    /// Bytes in a buffer of their own, at least one.
    Bytes(Bytes),
    /// The upstream ended its message.
    End {
        /// What it sent after the body.
        trailers: Option<HeaderMap>,
        /// Whether the message's framing said that this is its end.
        end: EndOfInput,
    },
}

impl Fill {
    /// How many bytes came.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Scratch(range) => range.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::End { .. } => 0,
        }
    }
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
    /// The stream ends for a reason that does not make the endpoint suspect: it closed in good order and said
    /// why, or the request's own body broke off.
    #[error("the upstream gave up its reply: {reason}")]
    Closed {
        /// What was said.
        reason: String,
    },
    /// What came can be no record.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
}

impl SourceError {
    /// Classes an error of a connection.
    pub(crate) fn classify(error: &io::Error) -> Self {
        if is_cut(error.kind()) {
            return Self::Truncated;
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

fn is_cut(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof,
    };
    matches!(
        kind,
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected | TimedOut
    )
}
