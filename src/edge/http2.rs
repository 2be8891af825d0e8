//! How is one HTTP/2 connection driven?

use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, header};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use super::{
    Connection, Settings,
    guard::{End, Guard},
};
use crate::{
    alarm::Alarm,
    drain,
    error::{Kind, Refusal},
    proxy::{Proxy, body::ResponseBody, link::StreamLink},
};

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

/// Serves HTTP/2 until the connection ends.
pub(super) async fn serve(of: Connection, watch: drain::Watch) {
    let newest: Rc<RefCell<Option<Rc<StreamLink>>>> = Rc::default();
    let mut guard = Guard::new(&of, watch);
    let Connection {
        transport,
        link,
        proxy,
        settings,
        ..
    } = of;
    transport.hold_writes();
    let executor = StreamExecutor(Rc::clone(&newest));
    let head_bytes_max = settings.heads.bytes_max;
    let service = service_fn(move |request: Request<Incoming>| {
        let stream = StreamLink::new(Rc::clone(&link));
        newest.replace(Some(Rc::clone(&stream)));
        answer(&proxy, request, stream, &settings)
    });
    let mut connection = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX))
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
        if let Poll::Ready(Err(_)) = guard.transport.poll_send_held(cx) {
            return Poll::Ready(End::Gone);
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
    // Boxed, or the task of every open connection would have room for it.
    Box::pin(guard.close(end, transport)).await;
}

/// Answers one request, if it has no more fields than it may: hyper does not count them.
fn answer(
    proxy: &Rc<Proxy>,
    request: Request<Incoming>,
    stream: Rc<StreamLink>,
    settings: &Settings,
) -> Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>>>> {
    let fields = request.headers();
    let crumbs = fields.get_all(header::COOKIE).iter().count();
    if fields.len() - crumbs.saturating_sub(1) > settings.heads.fields_max {
        let detail = "the request has more fields than this listener takes";
        let refusal = Refusal::new(Kind::TooManyFields, detail);
        let refused = proxy.refuse(&request, &stream, &settings.trusted_proxies, &refusal);
        return Box::pin(std::future::ready(Ok(refused)));
    }
    Box::pin(Rc::clone(proxy).handle(request, stream, &settings.trusted_proxies))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every open connection has one; with the task around it, it is to fit into 2048 bytes.
    #[test]
    fn a_connection_is_small() {
        fn size_of_future<F: Future>(_: fn(Connection, drain::Watch) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size_of_future(serve);
        assert!(bytes <= 1920, "{bytes}");
    }
}
