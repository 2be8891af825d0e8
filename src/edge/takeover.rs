//! How is a stream's response written, once hyper has read its request?
//!
//! The relay is polled and its bytes are written to the socket by one task, from the thread's own
//! buffers. While nothing flows the task holds the relay and the socket, and no buffer at all; what the
//! client does not take at once is kept until it does, and until then the relay is not polled.

mod message;

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::response;
use tokio::{io::AsyncWrite as _, time::Instant};

use self::message::Message;
pub(super) use self::message::Terms;
use super::{
    Connection,
    guard::{End, Guard},
    http1,
    transport::Transport,
};
use crate::{
    alarm::Alarm,
    proxy::{
        body::GRACE,
        relay::{Given, Relay, Write},
    },
    upstream::source::Scratch,
};

/// How much is gathered for a stream's first write, if as much is ready, in bytes. It doubles while the
/// client takes all at once, and halves when it does not.
const TURN_BYTES_MIN: usize = 16 * 1024;
/// The most that is gathered for one write, in bytes, if the route allows as much.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// How many times as much the client must have taken without a pause before that doubles: the kernel takes
/// the first bytes for a client that does not read, and of what it does not take any more little is to be held.
const TURNS_PROVEN: u64 = 16;
/// How many writes a stream may make in a row before others have their turn.
const TURNS_MAX: usize = 4;

/// A stream's response that hyper has let go of.
pub(super) struct Taken {
    relay: Relay,
    message: Message,
    /// The response's head as bytes.
    head: Vec<u8>,
}

impl Taken {
    /// Takes the response that `head` begins and `relay` goes on with.
    pub(super) fn new(
        head: response::Parts,
        relay: Relay,
        terms: Terms,
        is_stopping: bool,
    ) -> Self {
        let (message, head) = Message::begin(head, terms, is_stopping);
        Self {
            relay,
            message,
            head,
        }
    }
}

/// The writing of one response, as a task: it is small, and what follows it is a task of its own.
pub(super) struct Takeover {
    /// `None` once the response is written.
    connection: Option<Connection>,
    relay: Relay,
    message: Message,
    /// What the client has not taken yet; at first, the response's head.
    /// Invariant: at most what one turn gathered.
    unsent: Vec<u8>,
    sent_bytes: usize,
    /// How much is gathered for the next write.
    turn_bytes: usize,
    /// How much the client has taken since it last did not take all.
    taken_bytes: u64,
    is_begun: bool,
    /// Whether the socket may still hold bytes that it took (TLS).
    is_unflushed: bool,
    outcome: Option<Outcome>,
    /// When a cut is told.
    cut_at: Option<Instant>,
    alarm: Alarm,
}

/// How the response ended, once all of it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Whole,
    Cut,
}

/// Why the task is done with the response.
enum Done {
    /// It is written, and the client may ask for the next thing.
    Next,
    End(End),
}

impl Future for Takeover {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut connection) = self.connection.take() else {
            return Poll::Ready(());
        };
        let Poll::Ready(done) = self.poll_response(cx, &mut connection) else {
            self.connection = Some(connection);
            return Poll::Pending;
        };
        connection.has_served = true;
        match done {
            Done::Next
                if connection.proxy.drain.window().is_none()
                    && !connection.link.is_retired()
                    && !connection.proxy.limits.is_crowded() =>
            {
                let watch = connection.proxy.drain.watch();
                tokio::task::spawn_local(http1::serve(connection, watch));
            }
            Done::Next => close(connection, End::Protocol),
            Done::End(end) => close(connection, end),
        }
        Poll::Ready(())
    }
}

impl Takeover {
    pub(super) fn new(taken: Taken, connection: Connection) -> Self {
        Self {
            connection: Some(connection),
            relay: taken.relay,
            message: taken.message,
            unsent: taken.head,
            sent_bytes: 0,
            turn_bytes: TURN_BYTES_MIN,
            taken_bytes: 0,
            is_begun: false,
            is_unflushed: false,
            outcome: None,
            cut_at: None,
            alarm: Alarm::default(),
        }
    }

    fn poll_response(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<Done> {
        for _ in 0..TURNS_MAX {
            if self.is_begun && self.is_unsent() {
                match self.poll_unsent(cx, &mut connection.transport) {
                    Poll::Ready(Ok(())) => {
                        connection.link.end_turn(false);
                        self.relay.unsent(0);
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Done::End(End::Gone)),
                    Poll::Pending => return self.poll_blocked(cx, connection).map(Done::End),
                }
            }
            if let Some(outcome) = self.outcome {
                return self.poll_outcome(outcome, cx, &connection.transport);
            }
            let Connection {
                proxy, transport, ..
            } = &mut *connection;
            let (gathered, sent) = proxy.buffers.output.with(|out| {
                let gathered = self.gather(cx, &proxy.buffers.scratch, out);
                self.taken_bytes += out.len() as u64;
                (gathered, self.send(cx, transport, out))
            });
            if sent.is_err() {
                return Poll::Ready(Done::End(End::Gone));
            }
            if self.is_unsent() {
                self.turn_bytes = TURN_BYTES_MIN.max(self.turn_bytes / 2);
                self.taken_bytes = 0;
            } else if gathered.is_pending() {
                return poll_gone(cx, transport).map(Done::End);
            } else if self.taken_bytes >= TURNS_PROVEN * self.turn_bytes as u64 {
                self.turn_bytes = TURN_BYTES_MAX.min(self.turn_bytes * 2);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Gathers what is ready, up to one write of it; pending where no more is.
    fn gather(&mut self, cx: &mut Context<'_>, scratch: &Scratch, out: &mut Vec<u8>) -> Poll<()> {
        if !self.is_begun {
            // The head goes with the first events, where there are any.
            out.extend_from_slice(&std::mem::take(&mut self.unsent));
            self.is_begun = true;
        }
        let mut has_given = false;
        // The relay leaves a quarter for events to grow: to fill it up would cost a small read more.
        while out.len() < self.turn_bytes - self.turn_bytes / 4 {
            let piece = self.message.open_piece(out);
            let room = self.turn_bytes - piece.at();
            let mut write = Write::new(scratch, out, room);
            let given = if has_given {
                self.relay.poll_more(cx, &mut write)
            } else {
                self.relay.poll_next(cx, &mut write)
            };
            if let Poll::Ready(Given::Bytes) = given {
                self.message.close_piece(&piece, out);
                has_given = true;
                if self.relay.is_turn_over() {
                    return Poll::Ready(());
                }
                continue;
            }
            Message::drop_piece(&piece, out);
            let trailers = match ready!(given) {
                Given::Cut(_) => {
                    self.outcome = Some(Outcome::Cut);
                    return Poll::Ready(());
                }
                Given::Trailers(trailers) => Some(trailers),
                Given::Bytes | Given::End => None,
            };
            self.message.end(trailers.as_ref(), out);
            self.outcome = Some(Outcome::Whole);
            return Poll::Ready(());
        }
        Poll::Ready(())
    }

    /// Writes as much of `out` as the client takes now, and keeps the rest.
    fn send(&mut self, cx: &mut Context<'_>, transport: &Transport, out: &[u8]) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let sent = transport.send(cx, out)?;
        self.unsent = out[sent.taken..].to_vec();
        self.is_unflushed = !sent.is_flushed;
        Ok(())
    }

    /// Ready once the client has taken all that was gathered.
    fn poll_unsent(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport,
    ) -> Poll<io::Result<()>> {
        while self.sent_bytes < self.unsent.len() {
            let unsent = &self.unsent[self.sent_bytes..];
            match ready!(Pin::new(&mut *transport).poll_write(cx, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.sent_bytes += bytes,
            }
            self.is_unflushed = true;
        }
        (self.unsent, self.sent_bytes) = (Vec::new(), 0);
        if self.is_unflushed {
            ready!(Pin::new(transport).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn is_unsent(&self) -> bool {
        self.is_unflushed || !self.unsent.is_empty()
    }

    /// The client takes nothing: what must go on goes on, but not for ever.
    fn poll_blocked(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<End> {
        let view = connection.transport.end_turn();
        connection.link.end_turn(true);
        self.relay.unsent(self.unsent.len() - self.sent_bytes);
        self.relay.link().drive(cx);
        if connection.transport.poll_is_gone(cx) {
            return Poll::Ready(End::Gone);
        }
        let since = view.blocked_since.unwrap_or_else(Instant::now);
        ready!(
            self.alarm
                .poll_until(since + connection.link.write_limit(), cx)
        );
        connection.link.stall();
        Poll::Ready(End::Stalled)
    }

    /// All is given, and the client has it as far as the kernel is concerned.
    fn poll_outcome(
        &mut self,
        outcome: Outcome,
        cx: &mut Context<'_>,
        transport: &Transport,
    ) -> Poll<Done> {
        if outcome == Outcome::Whole {
            return Poll::Ready(if self.message.keeps_alive() {
                Done::Next
            } else {
                Done::End(End::Protocol)
            });
        }
        // Neither a reset nor the missing last chunk must overtake the last words.
        let until = *self.cut_at.get_or_insert_with(|| Instant::now() + GRACE);
        if self.alarm.poll_until(until, cx).is_ready() {
            // Where the close is the end of a body, only a reset can tell.
            return Poll::Ready(Done::End(if self.message.ends_by_close() {
                End::Cut
            } else {
                End::Protocol
            }));
        }
        poll_gone(cx, transport).map(Done::End)
    }
}

fn poll_gone(cx: &mut Context<'_>, transport: &Transport) -> Poll<End> {
    if transport.poll_is_gone(cx) {
        Poll::Ready(End::Gone)
    } else {
        Poll::Pending
    }
}

/// Ends the connection; as a task of its own, where that may take time.
fn close(connection: Connection, end: End) {
    if matches!(end, End::Gone | End::Stalled) {
        return;
    }
    let guard = Guard::new(&connection, connection.proxy.drain.watch());
    let transport = connection.transport;
    tokio::task::spawn_local(guard.close(end, transport));
}

#[cfg(test)]
mod tests {
    use super::Takeover;

    /// Every open stream over HTTP/1 is one, and the runtime's own 104 bytes are to fit into 512 with it.
    #[test]
    fn it_is_small() {
        assert!(size_of::<Takeover>() <= 408, "{}", size_of::<Takeover>());
    }
}
