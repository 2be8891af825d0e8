//! What does a stream say in silence, and at its end?

use std::task::Context;

use http::HeaderMap;
use tokio::time::Instant;

use super::{Feed, Phase, Relay};
use crate::{
    drain::Window,
    proxy::{
        ending::{Ending, Fault},
        timers::Alarm,
    },
    transcode::framing::EndOfInput,
};

impl Relay {
    pub(super) fn sound(&mut self, alarm: Alarm, out: &mut Vec<u8>) {
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
        self.parts.record.count_heartbeat();
    }

    /// The time that the stream has to end in: all streams' share of a drain, or none where an operator
    /// has closed this one. What passes as it is takes no part in a drain, for it has no events to end at.
    pub(super) fn window(&mut self, cx: &Context<'_>) -> Option<Window> {
        let window = self.parts.watch.poll(cx);
        if self.parts.record.is_closed.get() {
            return Some(Window::over(Instant::now()));
        }
        window.filter(|_| self.parts.transcoder.is_some())
    }

    /// Ends the stream because we stop, it is old enough, or an operator wants it.
    pub(super) fn drained(&mut self, out: &mut Vec<u8>) {
        let ending = if self.parts.record.is_closed.get() {
            Ending::Closed
        } else {
            Ending::Drained
        };
        let Some(transcoder) = &self.parts.transcoder else {
            return self.close(ending, None, true);
        };
        transcoder.retry(fastrand::u64(DRAINED_RETRY_MS), out);
        if ending == Ending::Drained {
            // The client is to come back to whoever balances the load, not to this process.
            self.parts.link.connection.retire();
        }
        self.end(ending, None);
    }

    /// Says how much is ready that the client has not taken, in bytes.
    pub fn unsent(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.parts.record.unsent_bytes.set(bytes);
    }

    pub(super) fn end(&mut self, ending: Ending, trailers: Option<HeaderMap>) {
        self.close(ending, trailers, false);
    }

    /// Ends the stream as incomplete: what is whole in `out`, then the error for the client, then the cut.
    pub(super) fn fail(&mut self, fault: &Fault, out: &mut Vec<u8>) {
        let Some(transcoder) = &self.parts.transcoder else {
            self.blame(fault);
            return self.close(fault.ending, None, true);
        };
        let is_cut = matches!(
            fault.ending,
            Ending::UpstreamTruncated | Ending::IdleTimeout
        );
        // Behind the framing's own end nothing is missing but what the route says at the end.
        let has_ended = is_cut && transcoder.has_ended();
        if has_ended && self.finish(EndOfInput::Verified, out).is_ok() {
            return self.end(Ending::Complete, None);
        }
        if let Some(transcoder) = &self.parts.transcoder {
            if let (Some(code), Some(lane)) = (fault.undecodable, self.parts.record.lane()) {
                lane.undecodable(transcoder.framing().name, code);
            }
            transcoder.error(fault.ending.code(), &fault.message, out);
        }
        self.blame(fault);
        self.close(fault.ending, None, true);
    }

    /// Tells who chooses endpoints of one that cut the stream.
    fn blame(&self, fault: &Fault) {
        if fault.is_cut
            && let Some(lease) = &self.parts.lease
        {
            lease.cut();
        }
    }

    /// Keeps back the last byte of a stream that is cut, where the cut is a reset.
    ///
    /// Over HTTP/2 it goes by itself: it is taken only once the client's window has room for all that
    /// came before it, so that the reset cannot overtake the error.
    pub(super) fn keep_last_byte(&mut self, out: &mut Vec<u8>) {
        if let Phase::Closing {
            last_byte,
            is_cut: true,
            ..
        } = &mut self.phase
            && self.parts.link.connection.is_http2
        {
            *last_byte = out.pop();
        }
    }

    /// Lets go of the upstream; what is left is to tell the client.
    fn close(&mut self, ending: Ending, trailers: Option<HeaderMap>, is_cut: bool) {
        self.parts.record.ending = ending;
        if ending == Ending::Complete
            && let Some(lease) = &self.parts.lease
        {
            lease.completed();
        }
        self.parts.link.share(None);
        self.parts.feed = Feed::EMPTY;
        self.parts.lease = None;
        self.held = None;
        self.trailers = trailers.map(Box::new);
        self.phase = Phase::Closing {
            last_byte: None,
            is_cut,
        };
    }
}

/// What a drained client is told to wait before it comes back, in milliseconds.
const DRAINED_RETRY_MS: std::ops::RangeInclusive<u64> = 1000..=5000;
