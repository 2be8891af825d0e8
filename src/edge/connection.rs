//! How is one connection driven, and when must it go?
//!
//! hyper speaks the protocol; each time it has been driven, the edge looks at what hyper does not
//! tell: whether the client is gone or takes nothing, and whether the connection has been idle.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::{
    Timeouts,
    transport::{Transport, View},
};
use crate::{
    alarm::Alarm,
    drain,
    proxy::{
        Proxy,
        link::{ConnectionLink, StreamLink},
    },
};

/// The longest request head, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The most that hyper buffers for an HTTP/1 connection, in each direction, in bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// What a request's body may have under way before it is taken, in bytes.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for all requests of a connection together, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// How many streams a client may have open on one connection.
const STREAMS_MAX: u32 = 256;
/// What a response may have buffered in HTTP/2 before more is asked of it, in bytes.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// How long the client may take to close its side after ours, as long as it sends the rest of a body.
const LINGER: Duration = Duration::from_secs(30);
/// The same where no request came in time, so that nothing has been written lately.
const LINGER_IDLE: Duration = Duration::from_secs(1);

/// Why a connection was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The protocol says that it is over, or broken.
    Protocol,
    /// The response was cut, and nothing but the close can tell.
    Cut,
    /// The client left while hyper did not look.
    Gone,
    /// The client takes nothing.
    Stalled,
    /// No request came in time.
    Idle,
}

/// Serves HTTP/1.0 and HTTP/1.1 until the connection ends.
pub(super) async fn serve_http1(
    transport: Transport,
    link: Rc<ConnectionLink>,
    proxy: Rc<Proxy>,
    timeouts: Timeouts,
) {
    let newest: Rc<RefCell<Weak<StreamLink>>> = Rc::default();
    let mut guard = Guard::new(&transport, &link, &proxy, timeouts);
    let service = {
        let newest = Rc::clone(&newest);
        service_fn(move |request: Request<Incoming>| {
            let stream = StreamLink::new(Rc::clone(&link));
            newest.replace(Rc::downgrade(&stream));
            Box::pin(Rc::clone(&proxy).handle(request, stream))
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The guard keeps both the time for a head and the time without a request.
        .header_read_timeout(None)
        .half_close(false)
        .writev(false)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(transport.clone()), service)
        .with_upgrades();
    let end = std::future::poll_fn(|cx| {
        if guard.is_told_to_stop(cx) {
            Pin::new(&mut connection).graceful_shutdown();
        }
        guard.begin_turn();
        if let Poll::Ready(outcome) = Pin::new(&mut connection).poll(cx) {
            let Err(error) = outcome else {
                return Poll::Ready(End::Protocol);
            };
            debug!(%error, "An HTTP/1 connection broke.");
            let is_cut = error.is_user() && guard.link.ends_by_close();
            return Poll::Ready(if is_cut { End::Cut } else { End::Protocol });
        }
        let view = guard.end_turn();
        let stream = newest.borrow().upgrade();
        if let Some(stream) = stream {
            if !view.is_read_awaited && guard.transport.poll_is_gone(cx) {
                return Poll::Ready(End::Gone);
            }
            if stream.held_since().is_some() {
                stream.drive(cx);
            }
        }
        guard.poll_deadlines(view, cx)
    })
    .await;
    drop(connection);
    guard.close(end, transport).await;
}

/// Serves HTTP/2 until the connection ends.
pub(super) async fn serve_http2(
    transport: Transport,
    link: Rc<ConnectionLink>,
    proxy: Rc<Proxy>,
    timeouts: Timeouts,
) {
    let newest: Rc<RefCell<Option<Rc<StreamLink>>>> = Rc::default();
    let mut guard = Guard::new(&transport, &link, &proxy, timeouts);
    let executor = StreamExecutor(Rc::clone(&newest));
    let service = service_fn(move |request: Request<Incoming>| {
        let stream = StreamLink::new(Rc::clone(&link));
        newest.replace(Some(Rc::clone(&stream)));
        Box::pin(Rc::clone(&proxy).handle(request, stream))
    });
    let mut connection = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .serve_connection(TokioIo::new(transport.clone()), service);
    let end = std::future::poll_fn(|cx| {
        if guard.is_told_to_stop(cx) {
            Pin::new(&mut connection).graceful_shutdown();
        }
        guard.begin_turn();
        if let Poll::Ready(outcome) = Pin::new(&mut connection).poll(cx) {
            outcome.unwrap_or_else(|error| debug!(%error, "An HTTP/2 connection broke."));
            return Poll::Ready(End::Protocol);
        }
        let view = guard.end_turn();
        let end = std::task::ready!(guard.poll_deadlines(view, cx));
        if end == End::Idle && guard.stop_idle() {
            // The client is told first, in case it asks for something in this moment.
            Pin::new(&mut connection).graceful_shutdown();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(end)
    })
    .await;
    drop(connection);
    guard.close(end, transport).await;
}

/// What the edge watches of one connection.
struct Guard {
    transport: Transport,
    link: Rc<ConnectionLink>,
    timeouts: Timeouts,
    watch: drain::Watch,
    is_stopping: bool,
    alarm: Alarm,
    /// Since when there has been no request, and how many bytes had come by then.
    quiet: Option<(Instant, u64)>,
    /// Since when a request's head has been coming.
    head_since: Option<Instant>,
    has_served: bool,
}

impl Guard {
    fn new(
        transport: &Transport,
        link: &Rc<ConnectionLink>,
        proxy: &Proxy,
        timeouts: Timeouts,
    ) -> Self {
        Self {
            transport: transport.clone(),
            link: Rc::clone(link),
            timeouts,
            watch: proxy.drain.watch(),
            is_stopping: false,
            alarm: Alarm::default(),
            quiet: None,
            head_since: None,
            has_served: false,
        }
    }

    /// Whether a drain has begun since the last time this was asked.
    fn is_told_to_stop(&mut self, cx: &mut Context<'_>) -> bool {
        let is_first = !self.is_stopping && self.watch.poll(cx).is_some();
        self.is_stopping |= is_first;
        is_first
    }

    /// Begins to stop a connection that is idle; false where it was stopping already.
    fn stop_idle(&mut self) -> bool {
        self.quiet = None;
        !std::mem::replace(&mut self.is_stopping, true)
    }

    fn begin_turn(&self) {
        self.transport.begin_turn();
    }

    fn end_turn(&self) -> View {
        let view = self.transport.end_turn();
        self.link.end_turn(view.blocked_since.is_some());
        view
    }

    fn poll_deadlines(&mut self, view: View, cx: &mut Context<'_>) -> Poll<End> {
        let write = view
            .blocked_since
            .map(|since| (since + self.link.write_limit(), End::Stalled));
        let idle = self.idle_deadline(view).map(|at| (at, End::Idle));
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
    async fn close(self, end: End, transport: Transport) {
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
    fn idle_deadline(&mut self, view: View) -> Option<Instant> {
        if self.link.open_streams() > 0 {
            (self.quiet, self.head_since, self.has_served) = (None, None, true);
            return None;
        }
        let now = Instant::now();
        let (since, bytes) = *self.quiet.get_or_insert((now, view.read_bytes));
        let is_head = view.read_bytes > bytes && !self.link.is_http2;
        if is_head || !self.has_served {
            let since = *self.head_since.get_or_insert(now);
            return Some(since + self.timeouts.header);
        }
        Some(since + self.timeouts.idle)
    }
}

/// Runs the streams of one HTTP/2 connection as tasks of the connection's thread.
///
/// hyper calls the service and hands over the stream's future one right after the other, so the
/// newest link belongs to the future.
#[derive(Clone)]
struct StreamExecutor(Rc<RefCell<Option<Rc<StreamLink>>>>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let task = StreamTask {
            stream: Box::pin(stream),
            link: self.0.take(),
            alarm: Alarm::default(),
        };
        tokio::task::spawn_local(task);
    }
}

/// One HTTP/2 stream: hyper's future, and what must go on while that waits for the client's window.
struct StreamTask<F> {
    stream: Pin<Box<F>>,
    link: Option<Rc<StreamLink>>,
    alarm: Alarm,
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        if task.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(link) = &task.link else {
            return Poll::Pending;
        };
        let Some(since) = link.held_since() else {
            return Poll::Pending;
        };
        link.drive(cx);
        std::task::ready!(task.alarm.poll_until(since + link.write_limit(), cx));
        link.stall();
        Poll::Ready(())
    }
}
