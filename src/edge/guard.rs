//! When must a connection go?
//!
//! hyper speaks the protocol; each time it has been driven, the edge looks at what hyper does not
//! tell: whether the client is gone or takes nothing, and whether the connection has been idle.

use std::{
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{
    Connection, Timeouts,
    transport::{Transport, View},
};
use crate::{
    alarm::Alarm,
    drain,
    proxy::{
        idle::{IdleConnections, IdlePlace},
        link::ConnectionLink,
    },
};

/// How long the client may take to close its side after ours, as long as it sends the rest of a body.
const LINGER: Duration = Duration::from_secs(30);
/// The same where no request came in time, so that nothing has been written lately.
const LINGER_IDLE: Duration = Duration::from_secs(1);

/// How long into a drain a connection that was just accepted may take to send its first request.
pub(super) const NEWCOMER: Duration = Duration::from_secs(3);

/// Why a connection was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The protocol says that it is over, or broken.
    Protocol,
    /// The response was cut, and nothing but the close can tell.
    Cut,
    /// The client left.
    Gone,
    /// The client takes nothing.
    Stalled,
    /// No request came in time, or before a newcomer wanted the place.
    Idle,
}

/// What the edge watches of one connection.
pub(super) struct Guard {
    pub(super) transport: Transport,
    pub(super) link: Rc<ConnectionLink>,
    timeouts: Timeouts,
    watch: drain::Watch,
    is_stopping: bool,
    alarm: Alarm,
    /// Since when there has been no request, and how many bytes had come by then.
    quiet: Option<(Instant, u64)>,
    /// Since when a request's head has been coming.
    head_since: Option<Instant>,
    has_served: bool,
    /// The connection's place among those that wait for a next request, while it does.
    place: Option<IdlePlace>,
    idle: Rc<IdleConnections>,
}

impl Guard {
    pub(super) fn new(connection: &Connection, watch: drain::Watch) -> Self {
        Self {
            transport: connection.transport.clone(),
            link: Rc::clone(&connection.link),
            timeouts: connection.settings.timeouts,
            watch,
            is_stopping: false,
            alarm: Alarm::default(),
            quiet: None,
            head_since: None,
            has_served: connection.has_served,
            place: None,
            idle: Rc::clone(&connection.proxy.idle),
        }
    }

    /// Whether a drain has begun, or a stream has retired the connection, since the last time this was asked.
    pub(super) fn is_told_to_stop(&mut self, cx: &mut Context<'_>) -> bool {
        let is_first =
            !self.is_stopping && (self.link.is_retired() || self.watch.poll(cx).is_some());
        self.is_stopping |= is_first;
        is_first
    }

    /// Whether no request is waited for any more, as a drain has begun.
    ///
    /// A client that was accepted a moment ago counts on an answer to its first request, which is on its way.
    pub(super) fn poll_dismissed(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Some(window) = self.watch.poll(cx) else {
            return Poll::Pending;
        };
        if self.has_served {
            return Poll::Ready(End::Protocol);
        }
        self.alarm
            .poll_until(window.begun + NEWCOMER, cx)
            .map(|()| End::Idle)
    }

    /// Begins to stop a connection that is idle; false where it was stopping already.
    pub(super) fn stop_idle(&mut self) -> bool {
        (self.quiet, self.place) = (None, None);
        !std::mem::replace(&mut self.is_stopping, true)
    }

    pub(super) fn begin_turn(&self) {
        self.transport.begin_turn();
    }

    pub(super) fn end_turn(&self) -> View {
        let view = self.transport.end_turn();
        self.link.end_turn(view.blocked_since.is_some());
        view
    }

    pub(super) fn poll_deadlines(&mut self, view: View, cx: &mut Context<'_>) -> Poll<End> {
        let write = view
            .blocked_since
            .map(|since| (since + self.link.write_limit(), End::Stalled));
        let idle = self.idle_deadline(view, cx).map(|at| (at, End::Idle));
        if self.place.as_ref().is_some_and(IdlePlace::is_dismissed) {
            return Poll::Ready(End::Idle);
        }
        let Some((at, end)) = [write, idle]
            .into_iter()
            .flatten()
            .min_by_key(|&(at, _)| at)
        else {
            return Poll::Pending;
        };
        std::task::ready!(self.alarm.poll_until(at, cx));
        if end == End::Stalled {
            self.link.stall();
        }
        Poll::Ready(end)
    }

    /// Ends the connection so that what was written reaches the client, where the client still reads.
    pub(super) async fn close(self, end: End, transport: Transport) {
        // Those who stop wait for this, too.
        let _watch = self.watch;
        drop(self.transport);
        let limit = match end {
            End::Protocol => LINGER,
            End::Idle => LINGER_IDLE,
            End::Cut => return transport.reset(),
            End::Gone | End::Stalled => return,
        };
        if transport.is_alone() {
            // Bounded: whoever does not close in time is cut.
            drop(timeout(limit, transport.linger()).await);
        }
    }

    /// When a connection without a stream must go: the head of its next request is late, or none comes.
    fn idle_deadline(&mut self, view: View, cx: &Context<'_>) -> Option<Instant> {
        if self.link.open_streams() > 0 {
            (self.quiet, self.head_since, self.has_served) = (None, None, true);
            self.place = None;
            return None;
        }
        let now = Instant::now();
        let (since, bytes) = *self.quiet.get_or_insert((now, view.read_bytes));
        let is_head = view.read_bytes > bytes && !self.link.is_http2;
        if is_head || !self.has_served {
            let since = *self.head_since.get_or_insert(now);
            self.place = None;
            return Some(since + self.timeouts.header);
        }
        if !self.is_stopping {
            self.place.get_or_insert_with(|| self.idle.enter(cx));
        }
        Some(since + self.timeouts.idle)
    }
}
