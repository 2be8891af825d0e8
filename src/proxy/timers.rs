//! When must something happen on a stream although nothing comes?
//!
//! One timer a stream, armed for the earliest of its deadlines and never moved by an event: events
//! only note the time, and the deadline is looked at again when the timer fires.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::record::Record;
use crate::{alarm, drain::Window, route::Policy, transcode::heartbeat};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The client has heard nothing for long enough.
    Heartbeat,
    /// The upstream has said nothing for too long.
    Idle,
    /// The stream has lasted as long as it may.
    Total,
    /// This stream's turn to end has come.
    Drain,
}

/// The deadlines of one stream.
pub(super) struct Timers {
    clock: alarm::Alarm,
    /// The time of the last look at the clock.
    now: Instant,
    read_at: Option<Instant>,
    written_at: Instant,
    total_at: Option<Instant>,
    drain_at: Option<Instant>,
    /// This silence's share of `every`; `None` where no heartbeat is written.
    silence: Option<Duration>,
}

impl Timers {
    pub(super) fn new(policy: &Policy, is_converted: bool, record: &Record, now: Instant) -> Self {
        let every = policy.heartbeat.every.filter(|_| is_converted);
        Self {
            clock: alarm::Alarm::default(),
            now,
            read_at: None,
            written_at: now,
            total_at: policy.timeouts.total.map(|total| record.begun_at() + total),
            drain_at: None,
            silence: every.map(jittered),
        }
    }

    /// The time of the last look at the clock.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Notes that the upstream sent something.
    pub(super) fn read(&mut self) {
        self.now = Instant::now();
        self.read_at = Some(self.now);
    }

    /// Notes that the client was given something.
    pub(super) fn wrote(&mut self) {
        self.written_at = self.now;
    }

    /// Chooses this stream's moment in the window, once.
    pub(super) fn drain(&mut self, window: Window) {
        self.drain_at
            .get_or_insert_with(|| window.spread(fastrand::f64()));
    }

    /// What must end even a stream that is never silent.
    pub(super) fn overdue(&mut self) -> Option<Alarm> {
        let first = [(self.drain_at, Alarm::Drain), (self.total_at, Alarm::Total)]
            .into_iter()
            .find_map(|(at, alarm)| Some((at?, alarm)))?;
        self.now = Instant::now();
        (first.0 <= self.now).then_some(first.1)
    }

    /// What is due, or `Pending` with the timer armed for what is due next.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, policy: &Policy) -> Poll<Alarm> {
        loop {
            self.now = Instant::now();
            let Some((at, alarm)) = self.next(policy) else {
                return Poll::Pending;
            };
            if at <= self.now {
                if alarm == Alarm::Heartbeat {
                    self.written_at = self.now;
                    self.silence = policy.heartbeat.every.map(jittered);
                }
                return Poll::Ready(alarm);
            }
            ready!(self.clock.poll_until(at, cx));
        }
    }

    fn next(&self, policy: &Policy) -> Option<(Instant, Alarm)> {
        let heartbeat = self.silence.map(|silence| self.written_at + silence);
        let idle = self.read_at.map(|at| at + policy.timeouts.idle);
        [
            (self.drain_at, Alarm::Drain),
            (self.total_at, Alarm::Total),
            (idle, Alarm::Idle),
            (heartbeat, Alarm::Heartbeat),
        ]
        .into_iter()
        .filter_map(|(at, alarm)| Some((at?, alarm)))
        .min_by_key(|&(at, _)| at)
    }
}

fn jittered(every: Duration) -> Duration {
    heartbeat::due(every, fastrand::f64())
}
