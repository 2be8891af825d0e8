//! How is one HTTP/1 connection driven?
//!
//! hyper reads and checks each request. The response of a stream is not hyper's to write: the
//! connection is taken over from it while the stream lasts ([`takeover`]), so that a silent stream holds
//! none of its buffers, and goes back to a new hyper connection for the next request.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::Future,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::Poll,
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use super::{
    Connection,
    guard::{End, Guard},
    takeover::{Taken, Takeover, Terms},
};
use crate::{
    drain,
    proxy::{Proxy, body::ResponseBody, link::StreamLink},
};

/// The most that hyper buffers for a connection, in each direction, in bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Why hyper is done with a connection.
enum Done {
    End(End),
    /// A stream's response is to be written.
    Taken(Box<Taken>),
}

/// What the service and whoever drives hyper tell each other.
#[derive(Default)]
struct Desk {
    newest: RefCell<Weak<StreamLink>>,
    /// A response that is not for hyper to write.
    taken: RefCell<Option<Box<Taken>>>,
    is_stopping: Cell<bool>,
}

/// Serves HTTP/1.0 and HTTP/1.1 until the connection ends or a stream begins, which goes on as a task of
/// its own: this one is as big as hyper's connection.
pub(super) async fn serve(connection: Connection, watch: drain::Watch) {
    let transport = connection.transport.clone();
    let mut guard = Guard::new(&connection, watch);
    let done = match await_request(&mut guard).await {
        Some(end) => Done::End(end),
        None => drive(&mut guard, &connection).await,
    };
    match done {
        Done::End(end) => {
            drop(connection);
            guard.close(end, transport).await;
        }
        Done::Taken(taken) => {
            drop((guard, transport));
            tokio::task::spawn_local(Takeover::new(*taken, connection));
        }
    }
}

/// Waits for a request's first byte: until then nothing is held. The reason, where there will be none.
async fn await_request(guard: &mut Guard) -> Option<End> {
    std::future::poll_fn(|cx| {
        // A request that has come is answered, also in a drain.
        if let Poll::Ready(is_ended) = guard.transport.poll_first_byte(cx) {
            return Poll::Ready(is_ended.then_some(End::Protocol));
        }
        if let Poll::Ready(end) = guard.poll_dismissed(cx) {
            return Poll::Ready(Some(end));
        }
        let view = guard.end_turn();
        guard.poll_deadlines(view, cx).map(Some)
    })
    .await
}

async fn drive(guard: &mut Guard, of: &Connection) -> Done {
    let desk: Rc<Desk> = Rc::default();
    let service = {
        let (desk, link, proxy) = (Rc::clone(&desk), Rc::clone(&of.link), Rc::clone(&of.proxy));
        let settings = Arc::clone(&of.settings);
        service_fn(move |request: Request<Incoming>| {
            let stream = StreamLink::new(Rc::clone(&link));
            desk.newest.replace(Rc::downgrade(&stream));
            let terms = Terms::of(&request);
            let handled = Rc::clone(&proxy).handle(request, stream, &settings.trusted_proxies);
            let (desk, proxy) = (Rc::clone(&desk), Rc::clone(&proxy));
            Box::pin(async move { answer(handled.await?, terms, &desk, &proxy).await })
                as Pin<Box<dyn Future<Output = _>>>
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The guard keeps both the time for a head and the time without a request.
        .header_read_timeout(None)
        .half_close(false)
        .writev(false)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_header_size(of.settings.heads.bytes_max)
        .max_headers(of.settings.heads.fields_max)
        .serve_connection(TokioIo::new(of.transport.clone()), service)
        .with_upgrades();
    let end = std::future::poll_fn(|cx| {
        let is_told = guard.is_told_to_stop(cx);
        desk.is_stopping.set(is_told || desk.is_stopping.get());
        guard.begin_turn();
        let mut polled = Pin::new(&mut connection).poll(cx);
        if is_told && polled.is_pending() {
            // Not before: a connection of which hyper has read nothing yet is idle to it, and closed.
            Pin::new(&mut connection).graceful_shutdown();
            polled = Pin::new(&mut connection).poll(cx);
        }
        if let Poll::Ready(outcome) = polled {
            let Err(error) = outcome else {
                return Poll::Ready(Some(End::Protocol));
            };
            debug!(%error, "An HTTP/1 connection broke.");
            let is_cut = error.is_user() && guard.link.ends_by_close();
            return Poll::Ready(Some(if is_cut { End::Cut } else { End::Protocol }));
        }
        let view = guard.end_turn();
        // What hyper has written (a 100, say) goes first.
        if view.blocked_since.is_none() && desk.taken.borrow().is_some() {
            return Poll::Ready(None);
        }
        let stream = desk.newest.borrow().upgrade();
        if let Some(stream) = stream {
            if !view.is_read_awaited && guard.transport.poll_is_gone(cx) {
                return Poll::Ready(Some(End::Gone));
            }
            if stream.held_since().is_some() {
                stream.drive(cx);
            }
        }
        guard.poll_deadlines(view, cx).map(Some)
    })
    .await;
    if let Some(end) = end {
        return Done::End(end);
    }
    let parts = connection.into_parts();
    match (parts, desk.taken.take()) {
        (Some(parts), Some(taken)) => {
            of.transport.unread(&parts.read_buf);
            Done::Taken(taken)
        }
        _ => Done::End(End::Protocol),
    }
}

/// Answers as the proxy does; a stream's response is put on the desk, and hyper gets none.
async fn answer(
    response: Response<ResponseBody>,
    terms: Terms,
    desk: &Desk,
    proxy: &Proxy,
) -> Result<Response<ResponseBody>, Infallible> {
    let (mut head, body) = response.into_parts();
    let is_crowded = proxy.limits.is_crowded();
    match body.into_relay() {
        Ok(relay) => {
            let is_stopping = desk.is_stopping.get() || is_crowded;
            let taken = Taken::new(head, relay, terms, is_stopping);
            desk.taken.replace(Some(Box::new(taken)));
            std::future::pending().await
        }
        Err(body) => {
            if is_crowded && head.status != StatusCode::SWITCHING_PROTOCOLS {
                let close = HeaderValue::from_static("close");
                head.headers.insert(header::CONNECTION, close);
            }
            Ok(Response::from_parts(head, body))
        }
    }
}
