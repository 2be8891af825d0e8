//! What is an operator sent?

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use tokio::{sync::mpsc, time::timeout};

/// The body of a response.
pub(super) enum Body {
    /// All that there is.
    Whole(Full<Bytes>),
    /// What comes, until its sender is dropped.
    Live(mpsc::Receiver<Bytes>),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Self::Live(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Live(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Live(_) => SizeHint::default(),
        }
    }
}

/// One or several lines for people.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = whole("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

/// A JSON document.
pub(super) fn json(value: &serde_json::Value) -> Response<Body> {
    whole("application/json", format!("{value}\n"))
}

/// A whole body of that type.
pub(super) fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    guarded(content_type, Body::Whole(Full::new(body.into())))
}

/// Nothing but that it is done.
pub(super) fn done() -> Response<Body> {
    let mut response = guarded("text/plain", Body::Whole(Full::default()));
    response.headers_mut().remove(header::CONTENT_TYPE);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The watcher has left, or takes nothing.
#[derive(Debug)]
pub(super) struct Left;

/// Gives a watcher its next piece: one that takes nothing for too long loses its place to others.
pub(super) async fn give(pieces: &mpsc::Sender<Bytes>, piece: Bytes) -> Result<(), Left> {
    let given = timeout(TAKE_LIMIT, pieces.send(piece)).await;
    given.map_err(|_| Left)?.map_err(|_| Left)
}

/// How long a watcher may take nothing.
const TAKE_LIMIT: Duration = Duration::from_secs(30);

/// Events as they come.
pub(super) fn events(pieces: mpsc::Receiver<Bytes>) -> Response<Body> {
    let mut response = guarded("text/event-stream", Body::Live(pieces));
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A response that no cache keeps and no page of another origin can use.
fn guarded(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in [
        ("cache-control", "no-store, no-transform"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watcher_that_takes_nothing_loses_its_place() {
        let (pieces, mut taken) = mpsc::channel(1);
        assert!(give(&pieces, Bytes::from_static(b"1")).await.is_ok());
        assert!(give(&pieces, Bytes::from_static(b"2")).await.is_err());
        assert_eq!(taken.recv().await.as_deref(), Some(&b"1"[..]));
        assert!(give(&pieces, Bytes::from_static(b"3")).await.is_ok());
    }
}
