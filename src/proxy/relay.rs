//! How does one stream flow from its source to the client, and how does it end?
//!
//! A relay owns all that its stream needs; dropping it cancels the upstream and gives everything
//! back. It is polled by hyper when the client can take more: not being polled is the back-pressure.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http_body::Frame;
use thiserror::Error;
use tokio::time::Instant;

use super::{
    ending::{Ending, Fault},
    link::StreamLink,
    record::Record,
    timers::{Alarm, Timers},
};
use crate::{
    drain, route,
    transcode::{framing::EndOfInput, transcoder::Transcoder},
    upstream::{
        Lease,
        source::{Chunk, SharedSource},
    },
};

/// The most given to HTTP/2 in one frame, in bytes: it is buffered whole, beyond the client's window.
const HTTP2_FRAME_BYTES_MAX: usize = 16 * 1024;

/// The response is cut: its message stays incomplete, so that nobody takes it for whole.
#[derive(Debug, Error)]
#[error("the stream was cut: {0}")]
pub struct Cut(pub &'static str);

/// What the relay is fed by.
pub(super) enum Feed {
    /// The upstream has not answered, and the client has its head already.
    Awaited(Pin<Box<dyn Future<Output = Result<Opened, Fault>>>>),
    /// The upstream's reply.
    Open(SharedSource),
    /// A reply without a body.
    Empty,
}

/// What an awaited upstream answered.
pub(super) struct Opened {
    pub(super) source: Option<SharedSource>,
    pub(super) transcoder: Transcoder,
    pub(super) lease: Lease,
}

/// What a relay is made of.
pub(super) struct Parts {
    pub(super) feed: Feed,
    /// `None`: the bytes pass as they are.
    pub(super) transcoder: Option<Transcoder>,
    pub(super) route: Arc<route::Settings>,
    pub(super) link: Rc<StreamLink>,
    pub(super) watch: drain::Watch,
    pub(super) record: Record,
    /// The place on the endpoint, held until the end.
    pub(super) lease: Option<Lease>,
    pub(super) scratch: Rc<std::cell::RefCell<Vec<u8>>>,
}

/// One stream, flowing.
pub(super) struct Relay {
    parts: Parts,
    /// What came and is not yet written.
    chunk: Bytes,
    phase: Phase,
    timers: Timers,
    /// How many bytes the head said that the body has.
    length: Option<u64>,
    /// Whether something was given (at first: the head) that hyper had not accepted by the last poll.
    is_given: bool,
    /// The connection's turn when hyper accepted what was given last; what was accepted in one turn is
    /// on the wire after the next.
    accepted_turn: u64,
}

enum Phase {
    Flowing,
    /// The last frames are due: bytes, then trailers, then the end.
    Closing {
        rest: Bytes,
        trailers: Option<HeaderMap>,
        is_cut: bool,
    },
    /// All is given; a cut waits until it is on the wire.
    Flushing,
    Over,
}

/// What one look at the source brought.
enum Gathered {
    /// Nothing more is ready.
    Waiting,
    /// The write is full; more may be ready.
    Full,
    /// The upstream ended its message.
    End,
}

type Polled = Poll<Option<Result<Frame<Bytes>, Cut>>>;

impl Relay {
    pub(super) fn new(parts: Parts, now: Instant) -> Self {
        let is_converted = parts.transcoder.is_some();
        let mut timers = Timers::new(&parts.route.policy, is_converted, &parts.record, now);
        parts.link.limit_writes(parts.route.policy.timeouts.write);
        if let Feed::Open(source) = &parts.feed {
            parts.link.share(Some(Rc::clone(source)));
            timers.read();
        }
        Self {
            parts,
            chunk: Bytes::new(),
            phase: Phase::Flowing,
            timers,
            length: None,
            is_given: true,
            accepted_turn: 0,
        }
    }

    /// Keeps the place on the endpoint until the end, and logs the stream's start where its end cannot be
    /// foreseen by its `length` in bytes.
    pub(super) fn holding(mut self, lease: Lease, length: Option<u64>) -> Self {
        self.parts.lease = Some(lease);
        self.length = length;
        if length.is_none() {
            self.parts.record.log_start();
        }
        self
    }

    /// Logs the stream's start.
    pub(super) fn begun(self) -> Self {
        self.parts.record.log_start();
        self
    }

    /// Whether the last frame has been given.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.is_given {
            self.accepted_turn = self.parts.link.turn();
        }
        let polled = self.poll_phase(cx);
        self.is_given = matches!(polled, Poll::Ready(Some(Ok(_))));
        self.parts.link.polled(self.is_given.then(Instant::now));
        polled
    }

    fn poll_phase(&mut self, cx: &mut Context<'_>) -> Polled {
        loop {
            match &mut self.phase {
                Phase::Flowing => {
                    if let Some(bytes) = ready!(self.poll_flowing(cx)) {
                        return self.give(bytes);
                    }
                }
                Phase::Closing {
                    rest,
                    trailers,
                    is_cut,
                } => {
                    if !rest.is_empty() {
                        let rest = std::mem::take(rest);
                        return self.give(rest);
                    }
                    if let Some(trailers) = trailers.take() {
                        self.phase = Phase::Over;
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    self.phase = if *is_cut {
                        Phase::Flushing
                    } else {
                        Phase::Over
                    };
                }
                Phase::Flushing => {
                    if self.parts.link.turn() <= self.accepted_turn {
                        self.parts.link.await_turn(cx);
                        return Poll::Pending;
                    }
                    ready!(self.timers.poll_grace(cx));
                    self.phase = Phase::Over;
                    let cut = Cut(self.parts.record.ending.code());
                    return Poll::Ready(Some(Err(cut)));
                }
                Phase::Over => return Poll::Ready(None),
            }
        }
    }

    /// What is ready now, in one piece; `None` where the phase has changed without bytes.
    fn poll_flowing(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Err(fault) = self.await_reply(cx) {
            return Poll::Ready(self.fail(&fault, Vec::new()));
        }
        if self.parts.transcoder.is_none() {
            return self.poll_passing(cx);
        }
        if let Some(window) = self.parts.watch.poll(cx) {
            self.timers.drain(window);
        }
        if let Some(alarm) = self.timers.overdue() {
            return Poll::Ready(self.sound(alarm));
        }
        let scratch = Rc::clone(&self.parts.scratch);
        let mut out = scratch.take();
        out.clear();
        let polled = self.poll_converting(cx, &mut out);
        if out.capacity() <= SCRATCH_BYTES_KEPT {
            scratch.replace(out);
        }
        polled
    }

    fn poll_converting(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Option<Bytes>> {
        match self.gather(cx, out) {
            Ok(Gathered::End) => {
                self.end(Ending::Complete, None);
                let last = Bytes::copy_from_slice(out);
                Poll::Ready((!last.is_empty()).then_some(last))
            }
            Ok(Gathered::Waiting | Gathered::Full) if !out.is_empty() => {
                Poll::Ready(Some(Bytes::copy_from_slice(out)))
            }
            Ok(_) => self.poll_silence(cx),
            Err(fault) => Poll::Ready(self.fail(&fault, std::mem::take(out))),
        }
    }

    /// Converts what is ready, at most one write of it (and one event).
    fn gather(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Result<Gathered, Fault> {
        let limit = self.write_bytes_max();
        loop {
            self.convert(out, limit)?;
            if out.len() >= limit {
                return Ok(Gathered::Full);
            }
            match self.poll_source(cx) {
                Poll::Pending => return Ok(Gathered::Waiting),
                Poll::Ready(Ok(Chunk::Data(chunk))) => self.chunk = chunk,
                Poll::Ready(Ok(Chunk::End { end, .. })) => {
                    self.finish(end, out)?;
                    return Ok(Gathered::End);
                }
                Poll::Ready(Err(fault)) => return Err(fault),
            }
        }
    }

    fn convert(&mut self, out: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
        let Some(transcoder) = self.parts.transcoder.as_mut() else {
            return Ok(());
        };
        if self.chunk.is_empty() {
            return Ok(());
        }
        let mut input = &self.chunk[..];
        let converted = transcoder.push(&mut input, out, limit);
        let taken = self.chunk.len() - input.len();
        self.chunk.advance(taken);
        self.parts
            .record
            .count_events(converted?, self.timers.now());
        Ok(())
    }

    fn finish(&mut self, end: EndOfInput, out: &mut Vec<u8>) -> Result<(), Fault> {
        if let Some(transcoder) = self.parts.transcoder.as_mut() {
            let events = transcoder.finish(end, out)?;
            self.parts.record.count_events(events, self.timers.now());
        }
        Ok(())
    }

    fn poll_passing(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.chunk.is_empty() {
            match self.poll_source(cx) {
                Poll::Pending => return self.poll_silence(cx),
                Poll::Ready(Ok(Chunk::Data(chunk))) => self.chunk = chunk,
                Poll::Ready(Ok(Chunk::End { trailers, .. })) => {
                    self.end(Ending::Complete, trailers);
                    return Poll::Ready(None);
                }
                Poll::Ready(Err(fault)) => return Poll::Ready(self.fail(&fault, Vec::new())),
            }
        }
        let length = self.chunk.len().min(self.write_bytes_max());
        let piece = self.chunk.split_to(length);
        if self.length == Some(self.parts.record.bytes + piece.len() as u64) {
            self.end_by_length(cx);
        }
        Poll::Ready(Some(piece))
    }

    /// Ends a body that is as long as its head said: hyper will not ask for the end any more.
    fn end_by_length(&mut self, cx: &mut Context<'_>) {
        // The end, where it has come, gives the upstream's connection back for the next request.
        let _ = self.poll_source(cx);
        self.end(Ending::Complete, None);
        self.phase = Phase::Over;
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<Chunk, Fault>> {
        let source = match &self.parts.feed {
            Feed::Open(source) => source,
            Feed::Awaited(_) => return Poll::Pending,
            Feed::Empty => {
                return Poll::Ready(Ok(Chunk::End {
                    trailers: None,
                    end: EndOfInput::Verified,
                }));
            }
        };
        let chunk = ready!(source.borrow_mut().poll_chunk(cx))?;
        self.timers.read();
        Poll::Ready(Ok(chunk))
    }

    /// Lets an awaited reply come in; while it is awaited, only silence and time can happen.
    fn await_reply(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Feed::Awaited(answer) = &mut self.parts.feed else {
            return Ok(());
        };
        let Poll::Ready(answer) = answer.as_mut().poll(cx) else {
            return Ok(());
        };
        let opened = answer?;
        self.parts.record.endpoint = Some(opened.lease.endpoint());
        self.parts.lease = Some(opened.lease);
        self.parts.transcoder = Some(opened.transcoder);
        self.parts.feed = match opened.source {
            Some(source) => {
                self.parts.link.share(Some(Rc::clone(&source)));
                Feed::Open(source)
            }
            None => Feed::Empty,
        };
        self.timers.read();
        Ok(())
    }

    /// Nothing is ready: is the silence, or the stream, too long?
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let alarm = ready!(self.timers.poll(cx, &self.parts.route.policy));
            // A client that does not read needs no heartbeat, and would have to be buffered for.
            if alarm != Alarm::Heartbeat || !self.parts.link.is_blocked() {
                return Poll::Ready(self.sound(alarm));
            }
        }
    }

    fn sound(&mut self, alarm: Alarm) -> Option<Bytes> {
        let idle = self.parts.route.policy.timeouts.idle;
        let fault = match alarm {
            Alarm::Heartbeat => return Some(self.heartbeat()),
            Alarm::Drain => return Some(self.drained()),
            Alarm::Idle => {
                let idle = humantime::format_duration(idle);
                let message = format!("the upstream sent nothing for {idle}");
                Fault::new(Ending::IdleTimeout, message)
            }
            Alarm::Total => Fault::new(Ending::TotalTimeout, "the stream lasted as long as it may"),
        };
        self.fail(&fault, Vec::new())
    }

    fn heartbeat(&mut self) -> Bytes {
        let mut out = Vec::new();
        if let Some(transcoder) = &self.parts.transcoder {
            transcoder.heartbeat(&mut out);
        }
        self.parts.record.heartbeats += 1;
        out.into()
    }

    fn drained(&mut self) -> Bytes {
        let mut out = Vec::new();
        if let Some(transcoder) = &self.parts.transcoder {
            transcoder.retry(fastrand::u64(DRAINED_RETRY_MS), &mut out);
        }
        self.end(Ending::Drained, None);
        out.into()
    }

    fn end(&mut self, ending: Ending, trailers: Option<HeaderMap>) {
        self.close(ending, Bytes::new(), trailers, false);
    }

    /// Ends the stream as incomplete: what is whole in `out`, then the error for the client, then the cut.
    ///
    /// The last byte goes by itself: HTTP/2 takes it only once the client's window has room for all
    /// that came before it, so that the reset cannot overtake the error.
    fn fail(&mut self, fault: &Fault, mut out: Vec<u8>) -> Option<Bytes> {
        if let Some(transcoder) = &self.parts.transcoder {
            transcoder.error(fault.ending.code(), &fault.message, &mut out);
        }
        let mut last_words = Bytes::from(out);
        let rest = last_words.split_off(last_words.len().saturating_sub(1));
        self.close(fault.ending, rest, None, true);
        (!last_words.is_empty()).then_some(last_words)
    }

    /// Lets go of the upstream; what is left is to tell the client.
    fn close(&mut self, ending: Ending, rest: Bytes, trailers: Option<HeaderMap>, is_cut: bool) {
        self.parts.record.ending = ending;
        self.parts.link.share(None);
        self.parts.feed = Feed::Empty;
        self.parts.lease = None;
        self.chunk = Bytes::new();
        self.phase = Phase::Closing {
            rest,
            trailers,
            is_cut,
        };
    }

    fn give(&mut self, bytes: Bytes) -> Polled {
        self.parts.record.bytes += bytes.len() as u64;
        self.timers.wrote();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn write_bytes_max(&self) -> usize {
        let limit = self.parts.route.policy.limits.buffer_bytes_max;
        if self.parts.link.connection.is_http2 {
            limit.min(HTTP2_FRAME_BYTES_MAX)
        } else {
            limit
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.parts.link.share(None);
        if self.parts.record.ending != Ending::ClientGone {
            return;
        }
        if self.parts.link.is_stalled() {
            self.parts.record.ending = Ending::ClientStalled;
        } else if self.parts.watch.is_over(Instant::now()) {
            self.parts.record.ending = Ending::Drained;
        }
    }
}

/// The most that a worker's scratch keeps when a huge event has passed through it, in bytes.
const SCRATCH_BYTES_KEPT: usize = 1024 * 1024;

/// What a drained client is told to wait before it comes back, in milliseconds.
const DRAINED_RETRY_MS: std::ops::RangeInclusive<u64> = 1000..=5000;

#[cfg(test)]
mod tests;
