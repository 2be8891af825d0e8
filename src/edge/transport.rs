//! What does a connection's socket say beyond its bytes?
//!
//! hyper owns the connection; the edge keeps a second handle on the socket beneath. It sees when
//! writing is blocked, and it reads ahead (bounded) where hyper does not read, because a client that
//! pipelined or whose request body lies unread could otherwise leave unnoticed.

mod held;

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::{Instant, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use self::held::Held;
use crate::reactor::Watched;

/// The most that is read ahead of hyper, in bytes.
const AHEAD_BYTES_MAX: usize = 16 * 1024;
/// The most that is read and forgotten after our last byte, in bytes.
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long the client may send nothing before it must have closed its side, too.
const LINGER_SILENCE_MAX: Duration = Duration::from_secs(1);

/// What bytes go over: a socket, or TLS on one.
pub(super) type Io = Either<Watched, Box<TlsStream<Watched>>>;

/// A handle on a connection's socket; clones share it.
#[derive(Clone)]
pub(super) struct Transport(Arc<Mutex<Socket>>);

struct Socket {
    io: Io,
    /// Read from the client, not yet by hyper.
    /// Invariant: at most `AHEAD_BYTES_MAX`, plus one read.
    ahead: Vec<u8>,
    /// Whether hyper's last read in this turn waits for the client.
    is_read_awaited: bool,
    /// Whether the client's side of the connection has ended.
    is_ended: bool,
    blocked_since: Option<Instant>,
    read_bytes: u64,
    /// Where writes are held for the end of the turn; `None` where they go on at once.
    held: Option<Held>,
}

/// How the socket was left at the end of a turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Since when bytes wait for the client to take some.
    pub(super) blocked_since: Option<Instant>,
    /// Whether hyper waits for the client's bytes, and so would see it leave.
    pub(super) is_read_awaited: bool,
    /// How many bytes came in all.
    pub(super) read_bytes: u64,
}

/// What the client took of what was to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// So many bytes.
    pub(super) taken: usize,
    /// Whether nothing of that waits in the connection (TLS).
    pub(super) is_flushed: bool,
}

impl Transport {
    pub(super) fn new(io: Io) -> Self {
        Self(Arc::new(Mutex::new(Socket {
            io,
            ahead: Vec::new(),
            is_read_awaited: false,
            is_ended: false,
            blocked_since: None,
            read_bytes: 0,
            held: None,
        })))
    }

    /// From here on, holds what is written in a turn until [`Transport::poll_send_held`].
    pub(super) fn hold_writes(&self) {
        self.socket().held.get_or_insert_default();
    }

    /// Sends what was written in this turn.
    pub(super) fn poll_send_held(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = &mut *self.socket();
        let Some(held) = &mut socket.held else {
            return Poll::Ready(Ok(()));
        };
        let sent = held.poll_send(cx, &mut socket.io);
        socket.note(sent)
    }

    /// Writes as much as the client takes now; how much that was, and whether all of it has left us.
    pub(super) fn send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<Sent> {
        let socket = &mut *self.socket();
        let mut taken = 0;
        while taken < bytes.len() {
            let written = Pin::new(&mut socket.io).poll_write(cx, &bytes[taken..]);
            match socket.note(written)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(more) => taken += more,
                Poll::Pending => {
                    return Ok(Sent {
                        taken,
                        is_flushed: false,
                    });
                }
            }
        }
        let flushed = Pin::new(&mut socket.io).poll_flush(cx);
        let is_flushed = socket.note(flushed)?.is_ready();
        Ok(Sent { taken, is_flushed })
    }

    /// Begins a turn of driving hyper.
    pub(super) fn begin_turn(&self) {
        self.socket().is_read_awaited = false;
    }

    /// How the turn left the socket.
    pub(super) fn end_turn(&self) -> View {
        let socket = self.socket();
        View {
            blocked_since: socket.blocked_since,
            is_read_awaited: socket.is_read_awaited,
            read_bytes: socket.read_bytes,
        }
    }

    /// Whether the client has left, as far as can be seen by reading ahead; the task is woken when it does.
    pub(super) fn poll_is_gone(&self, cx: &mut Context<'_>) -> bool {
        let mut socket = self.socket();
        while !socket.is_ended && socket.ahead.len() < AHEAD_BYTES_MAX {
            if socket.poll_ahead(cx).is_pending() {
                return false;
            }
        }
        socket.is_ended
    }

    /// Ready once the client has sent something that nobody has taken (false), or has left (true).
    pub(super) fn poll_first_byte(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut socket = self.socket();
        if socket.ahead.is_empty() && !socket.is_ended {
            ready!(socket.poll_ahead(cx));
        }
        Poll::Ready(socket.ahead.is_empty())
    }

    /// Puts back what was read and not used.
    pub(super) fn unread(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.socket().ahead.splice(..0, bytes.iter().copied());
        }
    }

    /// Reads ahead until `is_enough` of what came, or the client's end.
    pub(super) async fn read_ahead(&self, is_enough: impl Fn(&[u8]) -> bool) {
        std::future::poll_fn(|cx| {
            let mut socket = self.socket();
            while !socket.is_ended && !is_enough(&socket.ahead) {
                ready!(socket.poll_ahead(cx));
            }
            Poll::Ready(())
        })
        .await;
    }

    /// What was read ahead.
    pub(super) fn ahead_starts_with(&self, prefix: &[u8]) -> bool {
        self.socket().ahead.starts_with(prefix)
    }

    /// Whether nobody else holds the socket, so that it can be closed; an upgraded one lives on.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Closes so that the client cannot take what it has for all there is.
    pub(super) fn reset(self) {
        let socket = self.socket();
        let watched = match &socket.io {
            Either::Left(watched) => watched,
            Either::Right(tls) => tls.get_ref().0,
        };
        // An error means that the connection is gone already, or is no TCP.
        drop(watched.socket().set_linger(Some(Duration::ZERO)));
    }

    /// Closes our side and waits for the client's: bytes that it still sends would otherwise make the
    /// kernel reset the connection, and the reset destroy what the client has not read (RFC 9112 §9.6).
    pub(super) async fn linger(mut self) {
        if self.shutdown().await.is_err() {
            return;
        }
        let mut discarded = 0;
        while discarded < LINGER_BYTES_MAX {
            let read = std::future::poll_fn(|cx| self.poll_discard(cx));
            match timeout(LINGER_SILENCE_MAX, read).await {
                Ok(Ok(0) | Err(_)) | Err(_) => return,
                Ok(Ok(bytes)) => discarded += bytes,
            }
        }
    }

    /// Reads and forgets; 0 is the end.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // On the stack, for a connection that lingers holds nothing.
        let mut scratch = [MaybeUninit::uninit(); 4096];
        let mut buffer = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(self).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn socket(&self) -> MutexGuard<'_, Socket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Socket {
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [MaybeUninit::uninit(); 2048];
        let mut buffer = ReadBuf::uninit(&mut scratch);
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer));
        if read.is_err() || buffer.filled().is_empty() {
            self.is_ended = true;
        } else {
            self.read_bytes += buffer.filled().len() as u64;
            self.ahead.extend_from_slice(buffer.filled());
        }
        Poll::Ready(())
    }

    fn note<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked_since = None;
        } else if self.blocked_since.is_none() {
            self.blocked_since = Some(Instant::now());
        }
        written
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut socket = self.socket();
        if !socket.ahead.is_empty() {
            let length = socket.ahead.len().min(buffer.remaining());
            buffer.put_slice(&socket.ahead[..length]);
            socket.ahead.drain(..length);
            if socket.ahead.is_empty() {
                socket.ahead = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        if socket.is_ended {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut socket.io).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        socket.is_read_awaited = read.is_pending();
        socket.is_ended = read.is_ready() && bytes == 0;
        socket.read_bytes += bytes as u64;
        read
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let socket = &mut *self.socket();
        let written = match &mut socket.held {
            Some(held) => held.poll_take(cx, &[io::IoSlice::new(bytes)], &mut socket.io),
            None => Pin::new(&mut socket.io).poll_write(cx, bytes),
        };
        socket.note(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = &mut *self.socket();
        let written = match &mut socket.held {
            Some(held) => held.poll_take(cx, slices, &mut socket.io),
            None => Pin::new(&mut socket.io).poll_write_vectored(cx, slices),
        };
        socket.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        let socket = self.socket();
        socket.held.is_some() || socket.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = self.socket();
        if socket.held.is_some() {
            // At the end of the turn.
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut socket.io).poll_flush(cx);
        socket.note(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_held(cx))?;
        Pin::new(&mut self.socket().io).poll_shutdown(cx)
    }
}
