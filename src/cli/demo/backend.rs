//! What serves the demo's streams? An HTTP/1.1 server on a free port, in a thread of its own.
//!
//! It speaks as a legacy backend does: newline-delimited JSON, no heartbeats, no events.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, Sleep},
};

use super::script::{Act, Step, Steps, steps};
use crate::cli::serving::serve;

/// Starts the demo's backend on a free port of 127.0.0.1; it accepts connections on return.
///
/// # Errors
/// No port is free, or the system gives no thread or no event queue.
pub fn start_backend() -> io::Result<Backend> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = {
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let _inside = runtime.enter();
        TcpListener::from_std(socket)?
    };
    let address = listener.local_addr()?;
    let (stop, mut stopped) = watch::channel(());
    let (open_streams, watched) = watch::channel(0);
    let thread = thread::Builder::new()
        .name("demo-backend".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, move |request| respond(request, &open_streams)) => {}
                    // The sender is never used: its end is the signal.
                    _ = stopped.changed() => {}
                }
            });
        })?;
    Ok(Backend {
        address,
        open_streams: watched,
        running: Some((stop, thread)),
    })
}

/// The demo's backend; ends with all its streams when dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    open_streams: watch::Receiver<usize>,
    /// `None` only while it is dropped.
    running: Option<(watch::Sender<()>, thread::JoinHandle<()>)>,
}

impl Backend {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many streams it is sending, now and whenever that changes.
    #[must_use]
    pub fn open_streams(&self) -> watch::Receiver<usize> {
        self.open_streams.clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // A panic there has been reported by its own thread, and nothing is left to clean up.
            let _ = thread.join();
        }
    }
}

/// Answers one request.
fn respond<B>(
    request: &Request<B>,
    open_streams: &watch::Sender<usize>,
) -> Response<UnsyncBoxBody<Bytes, CutError>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri().path();
    if let Some(steps) = steps(path) {
        let mut response = Response::new(Played::new(steps, open_streams.clone()).boxed_unsync());
        set(&mut response, CONTENT_TYPE, NDJSON);
        return response;
    }
    match path {
        "/" => {
            let mut response = text(StatusCode::OK, HTML, PAGE);
            set(&mut response, CONTENT_SECURITY_POLICY, PAGE_MAY);
            set(&mut response, CACHE_CONTROL, "no-store");
            response
        }
        "/streams" => {
            let body = format!("{{\"open\":{}}}\n", *open_streams.borrow());
            let mut response = text(StatusCode::OK, JSON, body);
            set(&mut response, CACHE_CONTROL, "no-store");
            response
        }
        _ => text(StatusCode::NOT_FOUND, PLAIN, "nothing here; try /\n"),
    }
}

fn text(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<UnsyncBoxBody<Bytes, CutError>> {
    let body = Full::new(body.into())
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, content_type);
    response
}

fn set<B>(response: &mut Response<B>, name: HeaderName, value: &'static str) {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}

/// A stream being played: the body of its response.
struct Played {
    steps: Steps,
    /// What waits for `timer`.
    next: Option<Act>,
    timer: Pin<Box<Sleep>>,
    open_streams: watch::Sender<usize>,
}

impl Played {
    fn new(steps: Steps, open_streams: watch::Sender<usize>) -> Self {
        open_streams.send_modify(|count| *count += 1);
        Self {
            steps,
            next: None,
            timer: Box::pin(tokio::time::sleep_until(Instant::now())),
            open_streams,
        }
    }
}

impl Body for Played {
    type Data = Bytes;
    type Error = CutError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutError>>> {
        if self.next.is_none() {
            let Some(Step { pause, act }) = self.steps.next() else {
                return Poll::Ready(None);
            };
            self.timer.as_mut().reset(Instant::now() + pause);
            self.next = Some(act);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(self.next.take().map(|act| match act {
            Act::Write(text) => Ok(Frame::data(Bytes::from(text))),
            Act::Cut => Err(CutError),
        }))
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.open_streams.send_modify(|count| *count -= 1);
    }
}

/// The connection is cut on purpose.
#[derive(Debug, Error)]
#[error("cut on purpose")]
struct CutError;

const NDJSON: &str = "application/x-ndjson";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";
const PAGE: &str = include_str!("../demo.html");
/// The page holds its own style and script, and asks nobody but its origin.
const PAGE_MAY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests;
