//! What came of one stream, and when?

use std::time::Duration;

use serde_json::Value;

use super::client::OpenError;

/// A stream, or why there was none.
pub(super) type Outcome = Result<Trace, OpenError>;

/// What came of one stream. Times are since the request, unless they say otherwise.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace {
    /// When the request was sent, since the probe began.
    pub(super) asked: Duration,
    pub(super) status: u16,
    /// The response's `Content-Encoding`, where there is one.
    pub(super) coding: Option<String>,
    pub(super) head_after: Duration,
    /// Every piece of the body; never empty ones.
    pub(super) chunks: Vec<Chunk>,
    pub(super) events: Vec<Event>,
    /// The data of the last event.
    pub(super) last_data: Vec<u8>,
    /// Why the body could not be read as events, where it could not.
    pub(super) fault: Option<String>,
    pub(super) end: End,
    /// When it ended, or reading stopped.
    pub(super) ended_after: Duration,
}

/// A piece of the body, as it came over the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub(super) after: Duration,
    pub(super) bytes: usize,
}

/// An event that was complete.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) after: Duration,
    /// When the backend sent it, on the backend's clock; foreign ones do not tell.
    pub(super) sent: Option<Duration>,
}

/// How the body ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum End {
    /// It had not when reading stopped.
    #[default]
    Open,
    /// As a message should.
    Whole,
    /// By a cut that HTTP shows.
    Broken,
}

impl Trace {
    /// When the first event came.
    pub(super) fn first_after(&self) -> Option<Duration> {
        self.events.first().map(|event| event.after)
    }

    /// How far the probe's clock seems before the backend's by the event that was quickest, in microseconds.
    /// The true value is less by the time the event took.
    pub(super) fn least_shift_us(&self) -> Option<i64> {
        self.events.iter().filter_map(|e| self.shift_us(e)).min()
    }

    /// How late each event came, where one that was not late would show `least_shift_us`.
    pub(super) fn lateness(&self, least_shift_us: i64) -> Vec<Duration> {
        let shifts = self.events.iter().filter_map(|event| self.shift_us(event));
        shifts
            .map(|shift| u64::try_from(shift - least_shift_us).unwrap_or(0))
            .map(Duration::from_micros)
            .collect()
    }

    fn shift_us(&self, event: &Event) -> Option<i64> {
        let came = i64::try_from((self.asked + event.after).as_micros()).ok()?;
        Some(came - i64::try_from(event.sent?.as_micros()).ok()?)
    }

    /// How many bytes came with the first ones, without a pause of `pause` between them.
    pub(super) fn first_burst_bytes(&self, pause: Duration) -> usize {
        let mut last = self.chunks.first().map(|chunk| chunk.after);
        let burst = self.chunks.iter().take_while(|chunk| {
            let is_near = last.is_some_and(|last| chunk.after.saturating_sub(last) < pause);
            last = Some(chunk.after);
            is_near
        });
        burst.map(|chunk| chunk.bytes).sum()
    }

    /// What the last event tells, where it is one of the probe's backend.
    pub(super) fn told(&self) -> Option<Value> {
        let told: Value = serde_json::from_slice(&self.last_data).ok()?;
        (told.get("weir_probe")? == 1).then_some(told)
    }

    /// Whether there is a stream at all.
    pub(super) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}
