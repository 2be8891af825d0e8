//! What do a stream and its connection tell each other?
//!
//! hyper polls a response's body only when it can take more of it. What must go on all the same
//! (noticing that the client does not read, sending the rest of an upload, waiting until the last
//! bytes are on the wire) goes through here, between the body and the edge that drives hyper.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    limits::ConnectionPlace, telemetry::metrics::listener::OpenConnection,
    upstream::source::SharedSource,
};

/// How long a client may take nothing before a route has said otherwise.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// Who connected, and how.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address; `None` for a unix socket.
    pub address: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
    /// Whether its `Forwarded` and `X-Forwarded-*` are believed.
    pub is_trusted: bool,
}

/// What the streams of one connection know of it.
#[derive(Debug)]
pub struct ConnectionLink {
    /// Who connected.
    pub peer: Peer,
    /// Whether streams share the connection.
    pub is_http2: bool,
    /// Its place among those that the listener and the process may serve, given back with the last stream or tunnel.
    _place: (ConnectionPlace, OpenConnection),
    turn: Cell<u32>,
    is_blocked: Cell<bool>,
    is_stalled: Cell<bool>,
    ends_by_close: Cell<bool>,
    is_retired: Cell<bool>,
    write_limit: Cell<Duration>,
    awaiting_turn: RefCell<Vec<Waker>>,
    open_streams: Cell<usize>,
}

impl ConnectionLink {
    /// Makes the link of a new connection, which is counted as long as it has its place.
    #[must_use]
    pub fn new(peer: Peer, is_http2: bool, place: (ConnectionPlace, OpenConnection)) -> Rc<Self> {
        Rc::new(Self {
            peer,
            is_http2,
            _place: place,
            turn: Cell::new(0),
            is_blocked: Cell::new(false),
            is_stalled: Cell::new(false),
            ends_by_close: Cell::new(false),
            is_retired: Cell::new(false),
            write_limit: Cell::new(WRITE_LIMIT),
            awaiting_turn: RefCell::default(),
            open_streams: Cell::new(0),
        })
    }

    /// The edge says how the connection was left after it was driven: blocked, or with all that was
    /// ready written and flushed, which ends a turn.
    pub fn end_turn(&self, is_blocked: bool) {
        self.is_blocked.set(is_blocked);
        if is_blocked {
            return;
        }
        self.turn.set(self.turn.get().wrapping_add(1));
        let mut awaiting = self.awaiting_turn.borrow_mut();
        if !awaiting.is_empty() {
            awaiting.drain(..).for_each(Waker::wake);
        }
    }

    /// How long the connection may be blocked: as long as its stream allows, or the most patient of them.
    #[must_use]
    pub fn write_limit(&self) -> Duration {
        self.write_limit.get()
    }

    /// The edge says that the client took nothing for too long.
    pub fn stall(&self) {
        self.is_stalled.set(true);
    }

    /// The response says that only the connection's close ends its body, and only the close can tell of a cut.
    pub(super) fn end_by_close(&self) {
        self.ends_by_close.set(true);
    }

    /// Whether a cut response would look complete, were the connection closed as usual.
    #[must_use]
    pub fn ends_by_close(&self) -> bool {
        self.ends_by_close.get()
    }

    /// A stream has sent its client away: no further request is to come over this connection.
    pub(super) fn retire(&self) {
        self.is_retired.set(true);
    }

    /// Whether no further request is to come over this connection.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.is_retired.get()
    }

    /// How many streams are between their request's head and their response's end.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.open_streams.get()
    }
}

/// What one stream and its connection tell each other. Every open stream has one, so that it is kept small.
pub struct StreamLink {
    /// The connection that carries the stream.
    pub connection: Rc<ConnectionLink>,
    gave_at: Cell<Option<Instant>>,
    source: Cell<Option<SharedSource>>,
    write_limit_ms: Cell<u32>,
    is_stalled: Cell<bool>,
}

impl StreamLink {
    /// Makes the link of a new stream.
    #[must_use]
    pub fn new(connection: Rc<ConnectionLink>) -> Rc<Self> {
        connection.open_streams.set(connection.open_streams() + 1);
        Rc::new(Self {
            connection,
            gave_at: Cell::new(None),
            source: Cell::new(None),
            write_limit_ms: Cell::new(milliseconds(WRITE_LIMIT)),
            is_stalled: Cell::new(false),
        })
    }

    /// The body says how it left its last poll: with a frame given at that time, or waiting.
    pub fn polled(&self, gave_at: Option<Instant>) {
        self.gave_at.set(gave_at);
    }

    /// Since when hyper has held a frame without asking for the next.
    #[must_use]
    pub fn held_since(&self) -> Option<Instant> {
        self.gave_at.get()
    }

    /// The body says how long the client may take nothing.
    pub fn limit_writes(&self, limit: Duration) {
        self.write_limit_ms.set(milliseconds(limit));
        let connection = &self.connection.write_limit;
        connection.set(if self.connection.is_http2 {
            limit.max(connection.get())
        } else {
            limit
        });
    }

    /// How long the client may take nothing.
    #[must_use]
    pub fn write_limit(&self) -> Duration {
        Duration::from_millis(self.write_limit_ms.get().into())
    }

    /// The edge says that the client took nothing for too long.
    pub fn stall(&self) {
        self.is_stalled.set(true);
    }

    /// Whether the client took nothing for too long.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.is_stalled.get() || self.connection.is_stalled.get()
    }

    /// The body shares its source, to be driven while the body is not polled; `None` at its end.
    pub fn share(&self, source: Option<SharedSource>) {
        self.source.set(source);
    }

    /// The edge lets go on what must go on while the body is not polled.
    pub fn drive(&self, cx: &mut Context<'_>) {
        let source = self.source.take();
        if let Some(source) = &source
            && let Ok(mut source) = source.try_borrow_mut()
        {
            source.drive(cx);
        }
        self.source.set(source);
    }

    /// Whether bytes that are ready wait for the client.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.connection.is_blocked.get()
    }

    /// The connection's turn now, to be compared after the bytes given until now had their chance.
    #[must_use]
    pub fn turn(&self) -> u32 {
        self.connection.turn.get()
    }

    /// Has the task woken at the end of the connection's turn.
    pub fn await_turn(&self, cx: &Context<'_>) {
        let mut awaiting = self.connection.awaiting_turn.borrow_mut();
        if !awaiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            awaiting.push(cx.waker().clone());
        }
    }
}

impl Drop for StreamLink {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.open_streams.set(connection.open_streams() - 1);
    }
}

/// As much as seven weeks.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::StreamLink;

    /// Every open stream has one; with two counts it is to fit into 64 bytes.
    #[test]
    fn it_is_small() {
        assert!(size_of::<StreamLink>() <= 48, "{}", size_of::<StreamLink>());
    }
}
