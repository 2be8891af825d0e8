//! What does hyper write to the client?

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::time::Instant;

use super::{
    output::Output,
    relay::{Given, Relay, Write},
};
use crate::{
    alarm::Alarm,
    upstream::{source::Scratch, upload::UploadWatch},
};

/// How long a cut waits once the last words are on the wire: clients (Chromium for one) throw away what
/// they have received and not yet looked at when a reset comes, or the end of a message that is not whole. A client
/// that closes ends the wait.
pub const GRACE: Duration = Duration::from_secs(1);

/// How much is given to hyper at first, in KiB: it is buffered whole, beyond the client's window. It
/// doubles while hyper soon comes back for more, and begins anew when it does not.
const GIVEN_KIB_MIN: u16 = 16;
/// The most that is given to hyper at once, in KiB.
const GIVEN_KIB_MAX: u16 = 64;
/// How soon that is.
const SOON: Duration = Duration::from_millis(20);

/// The response is cut.
#[derive(Debug, Error)]
#[error("the stream was cut: {0}")]
pub struct Cut(&'static str);

/// The body of one response.
pub struct ResponseBody(Kind);

enum Kind {
    Empty,
    Whole(Bytes),
    Stream(Box<Stream>),
}

/// A relay, as hyper writes it.
struct Stream {
    relay: Relay,
    buffers: Rc<Buffers>,
    /// Whether the request has come whole.
    is_asked_whole: bool,
    /// Whether something was given (at first: the head) that hyper had not accepted by the last poll.
    is_given: bool,
    /// How much is given next.
    given_kib_max: u16,
    /// The connection's turn when hyper accepted what was given last; what was accepted in one turn is
    /// on the wire after the next.
    accepted_turn: u32,
    cut: Option<Box<Cutting>>,
}

/// A cut that waits until all that was given is on the wire.
struct Cutting {
    code: &'static str,
    grace: Alarm,
    until: Option<Instant>,
}

/// What a worker thread lends to the stream that it polls.
#[derive(Debug, Default)]
pub struct Buffers {
    /// Where bytes come in.
    pub scratch: Scratch,
    /// Where they are written.
    pub output: Output,
}

impl ResponseBody {
    pub(super) fn empty() -> Self {
        Self(Kind::Empty)
    }

    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(bytes))
    }

    pub(super) fn stream(relay: Relay, buffers: Rc<Buffers>, upload: &UploadWatch) -> Self {
        Self(Kind::Stream(Box::new(Stream {
            relay,
            buffers,
            is_asked_whole: upload.is_whole(),
            is_given: true,
            given_kib_max: GIVEN_KIB_MIN,
            accepted_turn: 0,
            cut: None,
        })))
    }

    /// The relay of a stream whose request has come whole, so that nothing needs hyper any more.
    ///
    /// # Errors
    /// The body as it was: there is no stream, or the request's body still comes.
    pub fn into_relay(self) -> Result<Relay, Self> {
        match self.0 {
            Kind::Stream(stream) if stream.is_asked_whole => Ok(stream.relay),
            kind @ (Kind::Empty | Kind::Whole(_) | Kind::Stream(_)) => Err(Self(kind)),
        }
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, Cut>>>;

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let link = self.relay.link();
        if self.is_given {
            self.accepted_turn = link.turn();
        }
        if let Some(since) = link.held_since() {
            let is_soon = since.elapsed() < SOON;
            let doubled = GIVEN_KIB_MAX.min(self.given_kib_max * 2);
            self.given_kib_max = if is_soon { doubled } else { GIVEN_KIB_MIN };
        }
        let polled = self.poll_relay(cx);
        self.is_given = matches!(polled, Poll::Ready(Some(Ok(_))));
        let given = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len),
            Poll::Ready(_) | Poll::Pending => 0,
        };
        self.relay.unsent(given);
        let gave_at = self.is_given.then(Instant::now);
        self.relay.link().polled(gave_at);
        polled
    }

    fn poll_relay(&mut self, cx: &mut Context<'_>) -> Polled {
        if let Some(cut) = &mut self.cut {
            return poll_cut(cut, &self.relay, self.accepted_turn, cx);
        }
        if self.is_given && self.relay.is_turn_over() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Buffers { scratch, output } = &*self.buffers;
        let (relay, room) = (&mut self.relay, usize::from(self.given_kib_max) * 1024);
        let polled = output.with(|out| {
            let given = relay.poll_next(cx, &mut Write::new(scratch, out, room));
            given.map(|given| (given, Bytes::copy_from_slice(out)))
        });
        let (given, bytes) = ready!(polled);
        Poll::Ready(match given {
            Given::Bytes => Some(Ok(Frame::data(bytes))),
            Given::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
            Given::End => None,
            Given::Cut(code) => {
                let cut = self.cut.insert(Box::new(Cutting {
                    code,
                    grace: Alarm::default(),
                    until: None,
                }));
                return poll_cut(cut, &self.relay, self.accepted_turn, cx);
            }
        })
    }
}

fn poll_cut(cut: &mut Cutting, relay: &Relay, accepted_turn: u32, cx: &mut Context<'_>) -> Polled {
    if relay.link().turn() == accepted_turn {
        relay.link().await_turn(cx);
        return Poll::Pending;
    }
    let until = *cut.until.get_or_insert_with(|| Instant::now() + GRACE);
    ready!(cut.grace.poll_until(until, cx));
    Poll::Ready(Some(Err(Cut(cut.code))))
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Stream(stream) => stream.cut.is_none() && stream.relay.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stream;

    /// Every open stream over HTTP/2 has one; the allocator's next size is 320.
    #[test]
    fn it_is_small() {
        assert!(size_of::<Stream>() <= 256, "{}", size_of::<Stream>());
    }
}
