//! What does `weir probe --serve` answer? An HTTP/1.1 server that streams as each request's query says.
//!
//! Its heads say nothing against buffering unless they are asked to: what a hop does by itself is what
//! the probe is to find.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    time::{Instant, Sleep, sleep_until},
};

use super::script::{Ask, Plan, Step, Steps};
use crate::cli::serving::serve;

/// The backend that a probe is asked to find behind all hops.
#[derive(Debug)]
pub struct Backend {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    /// The time that events tell is since then.
    began: Instant,
    /// The latest streams that have an id, oldest first; at most [`SEEN_MAX`].
    seen: Mutex<VecDeque<Seen>>,
}

/// What became of a stream.
#[derive(Debug)]
struct Seen {
    id: u64,
    /// When its response was dropped; `None` while it is open.
    closed: Option<Instant>,
    /// Whether it was played to its end.
    is_whole: bool,
}

impl Backend {
    /// Listens; nothing is accepted before [`Backend::serve`].
    ///
    /// # Errors
    /// The address is none of this machine, or in use.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            shared: Arc::new(Shared {
                began: Instant::now(),
                seen: Mutex::default(),
            }),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves every connection until it is dropped.
    pub async fn serve(self) {
        let shared = self.shared;
        serve(self.listener, move |request| respond(request, &shared)).await;
    }
}

/// Answers one request: with a stream, or with one event that tells something.
fn respond<B>(
    request: &Request<B>,
    shared: &Arc<Shared>,
) -> Response<UnsyncBoxBody<Bytes, CutError>> {
    let told = match Ask::parse(request.uri().query().unwrap_or_default()) {
        Ask::Stream(plan) => {
            let mut response = Response::new(Played::new(plan, shared).boxed_unsync());
            set(&mut response, CACHE_CONTROL, "no-cache");
            if plan.has_hints {
                for (name, value) in HINTS {
                    set(&mut response, HeaderName::from_static(name), value);
                }
            }
            set(&mut response, CONTENT_TYPE, EVENT_STREAM);
            return response;
        }
        Ask::Hello => greeting(request, shared.began.elapsed()),
        Ask::Seen(id) => shared.told(id),
    };
    let body = Full::new(Bytes::from(format!("data: {told}\n\n")));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    set(&mut response, CACHE_CONTROL, "no-store");
    set(&mut response, CONTENT_TYPE, EVENT_STREAM);
    response
}

/// Who we are, and what came of the request.
fn greeting<B>(request: &Request<B>, at: Duration) -> Value {
    let fields = request.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        json!([name.as_str(), value])
    });
    json!({
        "weir_probe": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "at_us": us(at),
        "method": request.method().as_str(),
        "http": format!("{:?}", request.version()),
        "target": request.uri().to_string(),
        "fields": fields.collect::<Vec<_>>(),
    })
}

fn set<B>(response: &mut Response<B>, name: HeaderName, value: &'static str) {
    let value = HeaderValue::from_static(value);
    response.headers_mut().insert(name, value);
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Shared {
    fn open(&self, id: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() == SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back(Seen {
            id,
            closed: None,
            is_whole: false,
        });
    }

    fn close(&self, id: u64, is_whole: bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen.iter_mut().rev().find(|seen| seen.id == id) {
            seen.closed = Some(Instant::now());
            seen.is_whole = is_whole;
        }
    }

    fn told(&self, id: u64) -> Value {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = seen.iter().rev().find(|seen| seen.id == id);
        let closed = found.and_then(|seen| seen.closed);
        json!({
            "weir_probe": 1,
            "known": found.is_some(),
            "open": found.is_some_and(|seen| seen.closed.is_none()),
            "whole": found.is_some_and(|seen| seen.is_whole),
            "closed_ago_us": closed.map(|closed| us(closed.elapsed())),
        })
    }
}

/// A stream being played: the body of its response.
struct Played {
    plan: Plan,
    steps: Steps,
    /// What waits for `timer`.
    next: Option<Step>,
    timer: Pin<Box<Sleep>>,
    shared: Arc<Shared>,
    is_whole: bool,
}

impl Played {
    fn new(plan: Plan, shared: &Arc<Shared>) -> Self {
        shared.open(plan.id);
        Self {
            plan,
            steps: plan.steps(),
            next: None,
            timer: Box::pin(sleep_until(Instant::now())),
            shared: Arc::clone(shared),
            is_whole: false,
        }
    }

    /// An event that tells when it was sent.
    fn event(&self, number: u64) -> Bytes {
        let at_us = us(self.shared.began.elapsed());
        let mut event =
            format!("id: {number}\ndata: {{\"n\":{number},\"at_us\":{at_us},\"pad\":\"");
        let end = "\"}\n\n";
        let bytes = usize::try_from(self.plan.bytes).unwrap_or(usize::MAX);
        // Without a pattern, or compression would make a small event of a large one.
        let mut random = fastrand::Rng::with_seed(number);
        while event.len() + end.len() < bytes {
            event.push(random.alphanumeric());
        }
        event.push_str(end);
        Bytes::from(event)
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
            let Some((pause, step)) = self.steps.next() else {
                return Poll::Ready(None);
            };
            self.timer.as_mut().reset(Instant::now() + pause);
            self.next = Some(step);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(match self.next.take() {
            Some(Step::Event(number)) => Some(Ok(Frame::data(self.event(number)))),
            Some(Step::Beat) => Some(Ok(Frame::data(Bytes::from_static(b":\n")))),
            Some(Step::Cut) => Some(Err(CutError)),
            Some(Step::End) | None => {
                self.is_whole = true;
                None
            }
        })
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.shared.close(self.plan.id, self.is_whole);
    }
}

/// The connection is cut on purpose.
#[derive(Debug, Error)]
#[error("cut on purpose")]
struct CutError;

/// What a response can say against being held back: nginx's word, the standard one (RFC 10036), and
/// the one against compression (RFC 9111 §5.2.2.6).
pub(super) const HINTS: [(&str, &str); 3] = [
    ("x-accel-buffering", "no"),
    ("incremental", "?1"),
    ("cache-control", "no-cache, no-transform"),
];
const EVENT_STREAM: &str = "text/event-stream";
const SEEN_MAX: usize = 1024;
