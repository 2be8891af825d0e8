//! When must something happen on a stream although nothing comes?
//!
//! One time a stream, set to the earliest of its deadlines and never moved by an event: events
//! only note the time, and the deadline is looked at again when that time comes.

use std::{
    task::{Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    moment::{Clock, Moment},
    record::Record,
};
use crate::{
    drain::{self, Window},
    route::Policy,
    transcode::heartbeat,
};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The client has heard nothing for long enough.
    Heartbeat,
    /// The upstream has said nothing for too long.
    Idle,
    /// The stream has lasted as long as it may.
    Total,
    /// This stream's turn to end has come: in a drain, or by its age.
    Drain,
}

/// What ends a stream, or breaks its silence, at a given time: the same for its whole life but for the
/// drain.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) policy: &'a Policy,
    /// Knows when the stream began.
    pub(super) record: &'a Record,
    /// Whether silence is broken by heartbeats.
    pub(super) has_heartbeats: bool,
    /// Whether there are boundaries to end at.
    pub(super) is_converted: bool,
    /// Once a drain has begun that the stream takes part in.
    pub(super) window: Option<Window>,
}

/// The deadlines of one stream.
///
/// Every open stream has one, so that only what cannot be derived is kept.
pub(super) struct Timers {
    /// When the upstream sent something last; `None` before its reply.
    read_at: Option<Moment>,
    written_at: Moment,
    /// Where this silence's heartbeat lies in what it may vary by, from 0 to 1.
    silence_share: f32,
    /// Where this stream's end lies in a drain's window, and in what its greatest age may vary by, from 0 to 1.
    drain_share: f32,
}

impl Timers {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            read_at: None,
            written_at: now,
            silence_share: fastrand::f32(),
            drain_share: fastrand::f32(),
        }
    }

    /// When something last happened.
    pub(super) fn last(&self) -> Moment {
        self.read_at
            .map_or(self.written_at, |at| at.max(self.written_at))
    }

    /// Notes that the upstream sent something.
    pub(super) fn read(&mut self, clock: Clock) {
        self.read_at = Some(clock.now());
    }

    /// Notes that the client was given something.
    pub(super) fn wrote(&mut self, clock: Clock) {
        // What came since the last write is what was written: the clock was just read for it.
        self.written_at = match self.read_at {
            Some(at) if at > self.written_at => at,
            _ => clock.now(),
        };
    }

    /// What must end even a stream that is never silent.
    pub(super) fn overdue(&self, terms: Terms<'_>) -> Option<Alarm> {
        let (at, alarm) = self.end(terms)?;
        (at <= Instant::now()).then_some(alarm)
    }

    /// What is due, or `Pending`, and the stream's task is woken when the next thing is.
    ///
    /// Always polled by the same task. What happens on a stream only moves its deadlines later, but for
    /// a drain's begin: a time that is set is not looked at for each event.
    pub(super) fn poll(&mut self, watch: &drain::Watch, terms: Terms<'_>) -> Poll<Alarm> {
        if terms.window.is_none() && watch.is_pending() {
            return Poll::Pending;
        }
        loop {
            let Some((at, alarm)) = self.next(terms) else {
                return Poll::Pending;
            };
            let now = Instant::now();
            if at <= now {
                if alarm == Alarm::Heartbeat {
                    self.written_at = terms.record.clock().moment(now);
                    self.silence_share = fastrand::f32();
                }
                return Poll::Ready(alarm);
            }
            ready!(watch.poll_until(at));
        }
    }

    #[inline]
    fn end(&self, terms: Terms<'_>) -> Option<(Instant, Alarm)> {
        let timeouts = &terms.policy.timeouts;
        let is_endless = timeouts.total.is_none() && timeouts.max_age.is_none();
        if is_endless && terms.window.is_none() {
            return None;
        }
        self.earliest_end(terms)
    }

    fn earliest_end(&self, terms: Terms<'_>) -> Option<(Instant, Alarm)> {
        let drain = terms
            .window
            .map(|window| (window.spread(self.drain_share.into()), Alarm::Drain));
        let timeouts = &terms.policy.timeouts;
        let total = timeouts
            .total
            .map(|total| (terms.record.begun_at() + total, Alarm::Total));
        let max_age = timeouts.max_age.filter(|_| terms.is_converted);
        let aged = max_age.map(|age| (terms.record.begun_at() + self.vary(age), Alarm::Drain));
        [drain, total, aged]
            .into_iter()
            .flatten()
            .min_by_key(|&(at, _)| at)
    }

    /// The age that this stream may reach: from nine to eleven tenths of what the route says, as streams that
    /// began together must not end together.
    fn vary(&self, age: Duration) -> Duration {
        age.mul_f32(0.9 + 0.2 * self.drain_share)
    }

    fn next(&self, terms: Terms<'_>) -> Option<(Instant, Alarm)> {
        let clock = terms.record.clock();
        let every = terms.policy.heartbeat.every;
        let every = every.filter(|_| terms.has_heartbeats);
        let heartbeat = every.map(|every| {
            let silence = heartbeat::due(every, self.silence_share.into());
            (clock.instant(self.written_at) + silence, Alarm::Heartbeat)
        });
        let idle = terms.policy.timeouts.idle;
        let idle = self
            .read_at
            .map(|at| (clock.instant(at) + idle, Alarm::Idle));
        [self.end(terms), idle, heartbeat]
            .into_iter()
            .flatten()
            .min_by_key(|&(at, _)| at)
    }
}
