//! How is a watched socket read and written?

use std::{
    io::{self, ErrorKind, IoSlice, Write as _},
    mem::MaybeUninit,
    net::Shutdown,
    os::fd::AsFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use mio::Interest;
use rustix::net::{RecvFlags, recv};
use socket2::Socket;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop::poll_proceed,
};

use super::{Reactor, Side};

/// How much is read at once where the reader's memory is not initialized, in bytes.
const READ_BYTES_MAX: usize = 16 * 1024;

/// A socket that does not block, and its place with a reactor.
#[derive(Debug)]
pub(crate) struct Watched<S: AsFd = Socket> {
    socket: S,
    key: u32,
    reactor: Arc<Reactor>,
}

impl Watched {
    /// Watches a connected socket.
    pub(crate) fn stream(socket: impl Into<Socket>, reactor: &Arc<Reactor>) -> io::Result<Self> {
        let both = Interest::READABLE.add(Interest::WRITABLE);
        Self::new(socket.into(), both, reactor)
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Reads into memory that is not initialized: to initialize all of it would touch what stays unused. Apart from
    /// the other way, which need not have room for this on its stack.
    #[inline(never)]
    fn poll_read_copied(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut scratch = [MaybeUninit::uninit(); READ_BYTES_MAX];
        let room = buffer.remaining().min(READ_BYTES_MAX);
        let read = self.poll_act(
            Side::Read,
            cx,
            |length| *length < room,
            |socket| {
                let ((came, _), _) = recv(socket, &mut scratch[..room], RecvFlags::empty())?;
                buffer.put_slice(came);
                Ok(came.len())
            },
        );
        read.map_ok(drop)
    }

    /// Writes as much as the peer takes of so many bytes.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        bytes: usize,
        write: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_act(Side::Write, cx, |taken| *taken < bytes, write)
    }
}

impl<S: AsFd> Watched<S> {
    fn new(socket: S, interest: Interest, reactor: &Arc<Reactor>) -> io::Result<Self> {
        Ok(Self {
            key: reactor.add(&socket, interest)?,
            socket,
            reactor: Arc::clone(reactor),
        })
    }

    /// Watches a socket that listens.
    pub(crate) fn listener(socket: S, reactor: &Arc<Reactor>) -> io::Result<Self> {
        Self::new(socket, Interest::READABLE, reactor)
    }

    /// Accepts a connection by `accept`.
    pub(crate) async fn accept<T>(&self, accept: impl Fn(&S) -> io::Result<T>) -> io::Result<T> {
        std::future::poll_fn(|cx| self.poll_act(Side::Read, cx, |_| false, &accept)).await
    }

    /// Does what a side's readiness allows. After something that `is_short` nothing more can be done until the
    /// socket tells.
    fn poll_act<T>(
        &self,
        side: Side,
        cx: &mut Context<'_>,
        is_short: impl Fn(&T) -> bool,
        mut act: impl FnMut(&S) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let budget = ready!(poll_proceed(cx));
        loop {
            let ready = ready!(self.reactor.poll_take(self.key, side, cx));
            let done = match act(&self.socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                done => done,
            };
            if ready.is_closed || !done.as_ref().is_ok_and(&is_short) {
                self.reactor.put_back(self.key, side, ready);
            }
            match done {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => {
                    budget.made_progress();
                    return Poll::Ready(done);
                }
            }
        }
    }
}

impl<S: AsFd> Drop for Watched<S> {
    fn drop(&mut self) {
        self.reactor.remove(&self.socket, self.key);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        if buffer.initialized().len() == buffer.capacity() {
            let unfilled = buffer.initialize_unfilled();
            let read = self.poll_act(
                Side::Read,
                cx,
                |length| *length < room,
                |socket| Ok(recv(socket, &mut *unfilled, RecvFlags::empty())?.1),
            );
            buffer.advance(ready!(read)?);
            return Poll::Ready(Ok(()));
        }
        self.poll_read_copied(cx, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes.len(), |mut socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        self.poll_send(cx, bytes, |mut socket| socket.write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(Shutdown::Write))
    }
}
