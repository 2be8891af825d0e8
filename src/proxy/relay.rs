//! How does one stream flow from its source to the client, and how does it end?
//!
//! A relay owns all that its stream needs; dropping it cancels the upstream and gives everything
//! back. Whoever writes the response polls it when the client can take more: not being polled is the
//! back-pressure.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
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
        source::{Fill, Scratch, SharedSource},
    },
};

/// The most given to HTTP/2 in one frame, in bytes: it is buffered whole, beyond the client's window.
const HTTP2_FRAME_BYTES_MAX: usize = 16 * 1024;

/// What a relay gives whoever writes the response.
#[derive(Debug)]
pub enum Given {
    /// Bytes, appended to the output.
    Bytes,
    /// What stands after the body; nothing follows.
    Trailers(HeaderMap),
    /// The body is whole.
    End,
    /// The response is cut: its message stays incomplete, so that nobody takes it for whole. What was
    /// given before has to reach the client first.
    Cut(&'static str),
}

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
}

/// One stream, flowing.
pub struct Relay {
    parts: Parts,
    /// What came and is not yet written: only where a write was full.
    chunk: Bytes,
    phase: Phase,
    timers: Timers,
    /// How many bytes the head said that the body has.
    length: Option<u64>,
}

enum Phase {
    Flowing,
    /// The last steps are due: the last byte of a cut, then trailers, then the end.
    Closing {
        last_byte: Option<u8>,
        trailers: Option<Box<HeaderMap>>,
        is_cut: bool,
    },
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
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The stream's side of what it and its connection tell each other.
    pub fn link(&self) -> &Rc<StreamLink> {
        &self.parts.link
    }

    /// What is ready now: bytes are appended to `out`, at most one write of them (and one event).
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
        out: &mut Vec<u8>,
    ) -> Poll<Given> {
        loop {
            match &mut self.phase {
                Phase::Flowing => {
                    let before = out.len();
                    ready!(self.poll_flowing(cx, scratch, out));
                    if out.len() > before {
                        return self.given(out.len() - before);
                    }
                }
                Phase::Closing {
                    last_byte,
                    trailers,
                    is_cut,
                } => {
                    if let Some(byte) = last_byte.take() {
                        out.push(byte);
                        return self.given(1);
                    }
                    let given = match trailers.take() {
                        Some(trailers) => Given::Trailers(*trailers),
                        None if *is_cut => Given::Cut(self.parts.record.ending.code()),
                        None => Given::End,
                    };
                    self.phase = Phase::Over;
                    return Poll::Ready(given);
                }
                Phase::Over => return Poll::Ready(Given::End),
            }
        }
    }

    fn given(&mut self, bytes: usize) -> Poll<Given> {
        self.parts.record.bytes += bytes as u64;
        self.timers.wrote();
        Poll::Ready(Given::Bytes)
    }

    /// Appends what is ready now; ready without bytes where the phase has changed.
    fn poll_flowing(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
        out: &mut Vec<u8>,
    ) -> Poll<()> {
        if let Err(fault) = self.await_reply(cx) {
            self.fail(&fault, out);
            return Poll::Ready(());
        }
        if self.parts.transcoder.is_none() {
            return self.poll_passing(cx, scratch, out);
        }
        if let Some(window) = self.parts.watch.poll(cx) {
            self.timers.drain(window);
        }
        if let Some(alarm) = self.timers.overdue() {
            self.sound(alarm, out);
            return Poll::Ready(());
        }
        let before = out.len();
        match self.gather(cx, scratch, out) {
            Ok(Gathered::End) => self.end(Ending::Complete, None),
            Ok(Gathered::Waiting | Gathered::Full) if out.len() > before => {}
            Ok(_) => return self.poll_silence(cx, out),
            Err(fault) => self.fail(&fault, out),
        }
        Poll::Ready(())
    }

    /// Converts what is ready, at most one write of it (and one event).
    fn gather(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Gathered, Fault> {
        let limit = out.len() + self.write_bytes_max();
        loop {
            if !self.chunk.is_empty() {
                let mut chunk = std::mem::take(&mut self.chunk);
                let taken = self.convert(&chunk, out, limit)?;
                chunk.advance(taken);
                self.hold(chunk);
            }
            if out.len() >= limit {
                return Ok(Gathered::Full);
            }
            let mut lent = scratch.lend();
            match self.poll_source(cx, &mut lent) {
                Poll::Pending => return Ok(Gathered::Waiting),
                Poll::Ready(Ok(Fill::Scratch(range))) => {
                    let came = &lent[range];
                    let taken = self.convert(came, out, limit)?;
                    self.chunk = Bytes::copy_from_slice(&came[taken..]);
                }
                Poll::Ready(Ok(Fill::Bytes(chunk))) => self.chunk = chunk,
                Poll::Ready(Ok(Fill::End { end, .. })) => {
                    self.finish(end, out)?;
                    return Ok(Gathered::End);
                }
                Poll::Ready(Err(fault)) => return Err(fault),
            }
        }
    }

    /// Appends the events of `came` until `out` is full, and says how many of its bytes that took.
    fn convert(&mut self, came: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize, Fault> {
        let Some(transcoder) = self.parts.transcoder.as_mut() else {
            return Ok(came.len());
        };
        let mut rest = came;
        let events = transcoder.push(&mut rest, out, limit)?;
        self.parts.record.count_events(events, self.timers.now());
        Ok(came.len() - rest.len())
    }

    /// Keeps what a write had no room for. An empty rest would keep the memory of what it is the rest of.
    fn hold(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.chunk = chunk;
        }
    }

    fn finish(&mut self, end: EndOfInput, out: &mut Vec<u8>) -> Result<(), Fault> {
        if let Some(transcoder) = self.parts.transcoder.as_mut() {
            let events = transcoder.finish(end, out)?;
            self.parts.record.count_events(events, self.timers.now());
        }
        Ok(())
    }

    fn poll_passing(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
        out: &mut Vec<u8>,
    ) -> Poll<()> {
        let limit = self.write_bytes_max();
        let before = out.len();
        if self.chunk.is_empty() {
            let mut lent = scratch.lend();
            let room = limit.min(lent.len());
            match self.poll_source(cx, &mut lent[..room]) {
                Poll::Pending => return self.poll_silence(cx, out),
                Poll::Ready(Ok(Fill::Scratch(range))) => out.extend_from_slice(&lent[range]),
                Poll::Ready(Ok(Fill::Bytes(chunk))) => self.chunk = chunk,
                Poll::Ready(Ok(Fill::End { trailers, .. })) => {
                    self.end(Ending::Complete, trailers);
                    return Poll::Ready(());
                }
                Poll::Ready(Err(fault)) => {
                    self.fail(&fault, out);
                    return Poll::Ready(());
                }
            }
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        out.extend_from_slice(&chunk.split_to(chunk.len().min(limit)));
        self.hold(chunk);
        let passed = (out.len() - before) as u64;
        if self.length == Some(self.parts.record.bytes + passed) {
            self.end_by_length(cx, scratch);
        }
        Poll::Ready(())
    }

    /// Ends a body that is as long as its head said: nobody will ask for the end any more.
    fn end_by_length(&mut self, cx: &mut Context<'_>, scratch: &Scratch) {
        // The end, where it has come, gives the upstream's connection back for the next request.
        let _ = self.poll_source(cx, &mut scratch.lend());
        self.end(Ending::Complete, None);
        self.phase = Phase::Over;
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<Fill, Fault>> {
        let source = match &self.parts.feed {
            Feed::Open(source) => source,
            Feed::Awaited(_) => return Poll::Pending,
            Feed::Empty => {
                return Poll::Ready(Ok(Fill::End {
                    trailers: None,
                    end: EndOfInput::Verified,
                }));
            }
        };
        let fill = ready!(source.borrow_mut().poll_fill(cx, scratch))?;
        self.timers.read();
        Poll::Ready(Ok(fill))
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
    fn poll_silence(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<()> {
        loop {
            let alarm = ready!(self.timers.poll(cx, &self.parts.route.policy));
            // A client that does not read needs no heartbeat, and would have to be buffered for.
            if alarm != Alarm::Heartbeat || !self.parts.link.is_blocked() {
                self.sound(alarm, out);
                return Poll::Ready(());
            }
        }
    }

    fn sound(&mut self, alarm: Alarm, out: &mut Vec<u8>) {
        match alarm {
            Alarm::Heartbeat => self.heartbeat(out),
            Alarm::Drain => self.drained(out),
            Alarm::Idle => {
                let idle = humantime::format_duration(self.parts.route.policy.timeouts.idle);
                let message = format!("the upstream sent nothing for {idle}");
                self.fail(&Fault::new(Ending::IdleTimeout, message), out);
            }
            Alarm::Total => {
                let message = "the stream lasted as long as it may";
                self.fail(&Fault::new(Ending::TotalTimeout, message), out);
            }
        }
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        if let Some(transcoder) = &self.parts.transcoder {
            transcoder.heartbeat(out);
        }
        self.parts.record.heartbeats += 1;
    }

    fn drained(&mut self, out: &mut Vec<u8>) {
        if let Some(transcoder) = &self.parts.transcoder {
            transcoder.retry(fastrand::u64(DRAINED_RETRY_MS), out);
        }
        self.end(Ending::Drained, None);
    }

    fn end(&mut self, ending: Ending, trailers: Option<HeaderMap>) {
        self.close(ending, None, trailers, false);
    }

    /// Ends the stream as incomplete: what is whole in `out`, then the error for the client, then the cut.
    ///
    /// Over HTTP/2 the last byte goes by itself: it is taken only once the client's window has room for
    /// all that came before it, so that the reset cannot overtake the error.
    fn fail(&mut self, fault: &Fault, out: &mut Vec<u8>) {
        let Some(transcoder) = &self.parts.transcoder else {
            return self.close(fault.ending, None, None, true);
        };
        transcoder.error(fault.ending.code(), &fault.message, out);
        let last_byte = self
            .parts
            .link
            .connection
            .is_http2
            .then(|| out.pop())
            .flatten();
        self.close(fault.ending, last_byte, None, true);
    }

    /// Lets go of the upstream; what is left is to tell the client.
    fn close(
        &mut self,
        ending: Ending,
        last_byte: Option<u8>,
        trailers: Option<HeaderMap>,
        is_cut: bool,
    ) {
        self.parts.record.ending = ending;
        self.parts.link.share(None);
        self.parts.feed = Feed::Empty;
        self.parts.lease = None;
        self.chunk = Bytes::new();
        self.phase = Phase::Closing {
            last_byte,
            trailers: trailers.map(Box::new),
            is_cut,
        };
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

/// What a drained client is told to wait before it comes back, in milliseconds.
const DRAINED_RETRY_MS: std::ops::RangeInclusive<u64> = 1000..=5000;

#[cfg(test)]
mod tests;
