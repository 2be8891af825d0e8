//! How does a codec that reads and writes see a connection that is polled?

use std::{
    io::{self, ErrorKind, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

/// What has been read of a connection, and its writing side, for one poll.
pub(super) struct Pipe<'p, 'c, Io> {
    pub(super) came: Came<'p>,
    pub(super) io: &'p mut Io,
    pub(super) cx: &'p mut Context<'c>,
}

/// What a read has brought.
pub(super) enum Came<'p> {
    /// These bytes; there may be more later.
    Bytes(&'p [u8]),
    /// The end.
    End,
}

impl<Io> Read for Pipe<'_, '_, Io> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.came {
            Came::End => Ok(0),
            Came::Bytes([]) => Err(ErrorKind::WouldBlock.into()),
            Came::Bytes(bytes) => bytes.read(buffer),
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Write for Pipe<'_, '_, Io> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(Pin::new(&mut *self.io).poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        now(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}

fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}
