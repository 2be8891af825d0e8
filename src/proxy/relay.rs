//! How does one stream flow from its source to the client, and how does it end?
//!
//! A relay owns all that its stream needs; dropping it cancels the upstream and gives everything
//! back. Whoever writes the response polls it when the client can take more: not being polled is the
//! back-pressure.

mod closing;
mod pressing;

use std::{
    future::Future,
    num::NonZeroU64,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use super::{
    ending::{Ending, Fault},
    link::StreamLink,
    record::Record,
    timers::{Alarm, Terms, Timers},
};
use crate::{
    drain::{self, Window},
    route,
    transcode::{compress::Compressor, framing::EndOfInput, transcoder::Transcoder},
    upstream::{
        Lease, Member,
        source::{Fill, Scratch, SharedSource},
    },
};

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

/// What the relay is fed by. Every open stream has one, of two words: what is rare has a box around it for that.
pub(super) enum Feed {
    /// The upstream's reply.
    Open(SharedSource),
    /// A reply without a body, or one that has not come, although the client has its head already.
    NotOpen(Option<Box<Awaited>>),
}

/// The reply that a client waits for whose response has begun.
pub(super) type Awaited = Pin<Box<dyn Future<Output = Result<Opened, Fault>>>>;

impl Feed {
    /// Of a reply without a body.
    pub(super) const EMPTY: Self = Self::NotOpen(None);
}

/// What an awaited upstream answered.
pub(super) struct Opened {
    pub(super) source: Option<SharedSource>,
    pub(super) transcoder: Transcoder,
    pub(super) endpoint: Arc<Member>,
    pub(super) lease: Option<Lease>,
}

/// One write that is being gathered.
pub struct Write<'a> {
    scratch: &'a Scratch,
    out: &'a mut Vec<u8>,
    /// How long `out` may become, but for one event.
    limit: usize,
}

impl<'a> Write<'a> {
    /// Gathers into `out`, at most `room` bytes more.
    pub fn new(scratch: &'a Scratch, out: &'a mut Vec<u8>, room: usize) -> Self {
        Self {
            scratch,
            limit: out.len() + room,
            out,
        }
    }
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
    /// What is between the transcoder and the client, until the coding's end is written.
    pub(super) compressor: Option<Box<Compressor>>,
}

/// One stream, flowing.
pub struct Relay {
    parts: Parts,
    /// What came and is not yet written, where a write was full: at least one byte.
    held: Option<Box<Bytes>>,
    phase: Phase,
    /// What stands after the body, once it closes.
    trailers: Option<Box<HeaderMap>>,
    timers: Timers,
    /// How many bytes the head said that the body has; where it has any.
    length: Option<NonZeroU64>,
    /// Whether the source was pending when it was last asked.
    is_dry: bool,
}

enum Phase {
    Flowing,
    /// The last steps are due: the last byte of a cut, then trailers, then the end.
    Closing {
        last_byte: Option<u8>,
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

impl Parts {
    /// Whether silence is broken: where the format has something that means nothing, or its route wants it so.
    fn has_heartbeats(&self) -> bool {
        let is_asked_for = self.route.policy.heartbeat.is_asked_for;
        let transcoder = self.transcoder.as_ref();
        transcoder.is_some_and(|transcoder| is_asked_for || transcoder.has_heartbeats())
    }

    fn terms(&self, window: Option<Window>) -> Terms<'_> {
        Terms {
            policy: &self.route.policy,
            record: &self.record,
            has_heartbeats: self.has_heartbeats(),
            is_converted: self.transcoder.is_some(),
            window,
        }
    }
}

impl Relay {
    pub(super) fn new(mut parts: Parts, now: Instant) -> Self {
        parts.record.begin(&parts.watch);
        let clock = parts.record.clock();
        let mut timers = Timers::new(clock.moment(now));
        parts.link.limit_writes(parts.route.policy.timeouts.write);
        if let Feed::Open(source) = &parts.feed {
            parts.link.share(Some(Rc::clone(source)));
            timers.read(clock);
        }
        Self {
            parts,
            held: None,
            phase: Phase::Flowing,
            trailers: None,
            timers,
            length: None,
            is_dry: false,
        }
    }

    /// Keeps the place on the endpoint until the end, and logs the stream's start where its end cannot be
    /// foreseen by its `length` in bytes.
    pub(super) fn holding(mut self, lease: Option<Lease>, length: Option<u64>) -> Self {
        self.parts.lease = lease;
        self.length = length.and_then(NonZeroU64::new);
        if length.is_none() {
            self.parts.record.log_start();
        }
        self
    }

    /// Logs the stream's start.
    pub(super) fn begun(mut self) -> Self {
        self.parts.record.log_start();
        self
    }

    /// Whether the last frame has been given.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The stream's side of what it and its connection tell each other.
    #[must_use]
    pub fn link(&self) -> &Rc<StreamLink> {
        &self.parts.link
    }

    /// What is ready now: bytes are appended, at most as many as have room (and one event).
    pub fn poll_next(&mut self, cx: &mut Context<'_>, write: &mut Write<'_>) -> Poll<Given> {
        let allowed = self.write_bytes_max();
        write.limit = write.limit.min(write.out.len() + allowed);
        loop {
            match &mut self.phase {
                Phase::Flowing => {
                    let before = write.out.len();
                    ready!(self.poll_flowing(cx, write));
                    if write.out.len() > before {
                        return self.given(write.out, before);
                    }
                }
                Phase::Closing { last_byte, is_cut } => {
                    if let Some(byte) = last_byte.take() {
                        write.out.push(byte);
                        return self.count(1);
                    }
                    if !*is_cut && let Some(compressor) = self.parts.compressor.take() {
                        let before = write.out.len();
                        compressor.finish(write.out, before);
                        return self.count(write.out.len() - before);
                    }
                    let given = match self.trailers.take() {
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

    /// The same after bytes were given in this very poll: the source is not asked again where it had no
    /// more.
    pub fn poll_more(&mut self, cx: &mut Context<'_>, write: &mut Write<'_>) -> Poll<Given> {
        if matches!(self.phase, Phase::Flowing) && self.is_dry {
            let before = write.out.len();
            let window = self.window(cx);
            ready!(self.poll_silence(window, write.out));
            if write.out.len() > before {
                return self.given(write.out, before);
            }
        }
        self.poll_next(cx, write)
    }

    /// Makes what was appended since `before` what the client gets.
    fn given(&mut self, out: &mut Vec<u8>, before: usize) -> Poll<Given> {
        self.parts.record.show(&out[before..]);
        self.compress(out, before);
        self.keep_last_byte(out);
        self.count(out.len() - before)
    }

    fn count(&mut self, bytes: usize) -> Poll<Given> {
        self.parts.record.count_bytes(bytes);
        self.timers.wrote(self.parts.record.clock());
        Poll::Ready(Given::Bytes)
    }

    /// Appends what is ready now; ready without bytes where the phase has changed.
    fn poll_flowing(&mut self, cx: &mut Context<'_>, write: &mut Write<'_>) -> Poll<()> {
        if let Err(fault) = self.await_reply(cx) {
            self.fail(&fault, write.out);
            return Poll::Ready(());
        }
        if self.parts.transcoder.is_none() {
            return self.poll_passing(cx, write);
        }
        let window = self.window(cx);
        if let Some(alarm) = self.timers.overdue(self.parts.terms(window)) {
            self.sound(alarm, write.out);
            return Poll::Ready(());
        }
        let before = write.out.len();
        match self.gather(cx, write) {
            Ok(Gathered::End) => self.end(Ending::Complete, None),
            Ok(Gathered::Waiting | Gathered::Full) if write.out.len() > before => {}
            Ok(_) => return self.poll_silence(window, write.out),
            Err(fault) => self.fail(&fault, write.out),
        }
        Poll::Ready(())
    }

    /// Converts what is ready, at most one write of it (and one event).
    fn gather(&mut self, cx: &mut Context<'_>, write: &mut Write<'_>) -> Result<Gathered, Fault> {
        // Events are longer than their records: what is read must usually fit, or it is copied to be held.
        let enough = write.limit - (write.limit - write.out.len()) / 4;
        loop {
            if let Some(held) = self.held.take() {
                self.convert(&held, write)?;
            }
            if self.is_said_to_be_complete() {
                // The upstream's own end, where it has come, gives its connection back for the next request.
                let _ = self.poll_source(cx, &mut write.scratch.lend());
                return Ok(Gathered::End);
            }
            if write.out.len() >= enough {
                return Ok(Gathered::Full);
            }
            let mut lent = write.scratch.lend();
            let room = (enough - write.out.len()).min(lent.len());
            match self.poll_source(cx, &mut lent[..room]) {
                Poll::Pending => return Ok(Gathered::Waiting),
                Poll::Ready(Ok(Fill::Scratch(range))) => self.convert(&lent[range], write)?,
                Poll::Ready(Ok(Fill::Bytes(chunk))) => self.convert(&chunk, write)?,
                Poll::Ready(Ok(Fill::End { end, .. })) => {
                    self.finish(end, write.out)?;
                    return Ok(Gathered::End);
                }
                Poll::Ready(Err(fault)) => return Err(fault),
            }
        }
    }

    /// Appends the events of `came` until the write is full, and holds the rest.
    fn convert(&mut self, came: &[u8], write: &mut Write<'_>) -> Result<(), Fault> {
        let Some(transcoder) = self.parts.transcoder.as_mut() else {
            return Ok(());
        };
        let mut rest = came;
        let events = transcoder.push(&mut rest, write.out, write.limit);
        self.parts.record.count_skipped(transcoder.take_skipped());
        self.parts.record.count_events(events?, self.timers.last());
        if !rest.is_empty() {
            self.held = Some(Box::new(Bytes::copy_from_slice(rest)));
        }
        Ok(())
    }

    /// Whether a record has said that it is the last.
    fn is_said_to_be_complete(&self) -> bool {
        let transcoder = self.parts.transcoder.as_ref();
        transcoder.is_some_and(Transcoder::is_complete)
    }

    fn finish(&mut self, end: EndOfInput, out: &mut Vec<u8>) -> Result<(), Fault> {
        if let Some(transcoder) = self.parts.transcoder.as_mut() {
            let events = transcoder.finish(end, out)?;
            self.parts.record.count_events(events, self.timers.last());
        }
        Ok(())
    }

    fn poll_passing(&mut self, cx: &mut Context<'_>, write: &mut Write<'_>) -> Poll<()> {
        let window = self.window(cx);
        if window.is_some() {
            self.drained(write.out);
            return Poll::Ready(());
        }
        let before = write.out.len();
        let limit = write.limit - before;
        let filled = if let Some(held) = self.held.take() {
            Poll::Ready(Ok(Fill::Bytes(*held)))
        } else {
            let mut lent = write.scratch.lend();
            let room = limit.min(lent.len());
            let filled = self.poll_source(cx, &mut lent[..room]);
            if let Poll::Ready(Ok(Fill::Scratch(range))) = &filled {
                write.out.extend_from_slice(&lent[range.clone()]);
            }
            filled
        };
        match filled {
            Poll::Pending => return self.poll_silence(window, write.out),
            Poll::Ready(Ok(Fill::Scratch(_))) => {}
            Poll::Ready(Ok(Fill::Bytes(mut chunk))) => {
                write
                    .out
                    .extend_from_slice(&chunk.split_to(chunk.len().min(limit)));
                self.held = (!chunk.is_empty()).then(|| Box::new(chunk));
            }
            Poll::Ready(Ok(Fill::End { trailers, .. })) => {
                self.end(Ending::Complete, trailers);
                return Poll::Ready(());
            }
            Poll::Ready(Err(fault)) => {
                self.fail(&fault, write.out);
                return Poll::Ready(());
            }
        }
        let passed = (write.out.len() - before) as u64;
        if self.length == NonZeroU64::new(self.parts.record.bytes.get() + passed) {
            self.end_by_length(cx, write.scratch);
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
            Feed::NotOpen(Some(_)) => return Poll::Pending,
            Feed::NotOpen(None) => {
                return Poll::Ready(Ok(Fill::End {
                    trailers: None,
                    end: EndOfInput::Verified,
                }));
            }
        };
        let filled = source.borrow_mut().poll_fill(cx, scratch);
        self.is_dry = filled.is_pending();
        let fill = ready!(filled)?;
        self.timers.read(self.parts.record.clock());
        if let Some(lane) = self.parts.record.lane() {
            lane.bytes_in(fill.bytes());
        }
        Poll::Ready(Ok(fill))
    }

    /// Lets an awaited reply come in; while it is awaited, only silence and time can happen.
    fn await_reply(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Feed::NotOpen(Some(answer)) = &mut self.parts.feed else {
            return Ok(());
        };
        let Poll::Ready(answer) = Pin::new(answer).poll(cx) else {
            return Ok(());
        };
        let opened = answer?;
        self.parts.record.answered(opened.endpoint);
        self.parts.lease = opened.lease;
        self.parts.transcoder = Some(opened.transcoder);
        self.parts.feed = match opened.source {
            Some(source) => {
                self.parts.link.share(Some(Rc::clone(&source)));
                Feed::Open(source)
            }
            None => Feed::EMPTY,
        };
        self.timers.read(self.parts.record.clock());
        Ok(())
    }

    /// Nothing is ready: is the silence, or the stream, too long?
    fn poll_silence(&mut self, window: Option<Window>, out: &mut Vec<u8>) -> Poll<()> {
        loop {
            let parts = &self.parts;
            let alarm = ready!(self.timers.poll(&parts.watch, parts.terms(window)));
            // A client that does not read needs no heartbeat, and would have to be buffered for.
            if alarm != Alarm::Heartbeat || !self.parts.link.is_blocked() {
                self.sound(alarm, out);
                return Poll::Ready(());
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.parts.link.share(None);
        if self.parts.record.ending != Ending::ClientGone {
            return;
        }
        let left_at = Instant::now();
        self.parts.feed = Feed::EMPTY;
        if let Some(lane) = self.parts.record.lane() {
            lane.cancelled(left_at.elapsed());
        }
        if self.parts.link.is_stalled() {
            self.parts.record.ending = Ending::ClientStalled;
        } else if self.parts.watch.is_over(Instant::now()) {
            self.parts.record.ending = Ending::Drained;
        }
    }
}

#[cfg(test)]
mod tests;
