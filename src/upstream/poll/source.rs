//! How do the replies of a long poll become a stream of records?
//!
//! One poll at a time, and the next only when the stream is asked for more: not polling it is the
//! back-pressure. Dropping it cancels the poll in flight.

use std::{
    fmt::Display,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use tokio::time::Instant;
use tracing::debug;

use super::{Polls, backoff};
use crate::{
    alarm::Alarm,
    error::Refusal,
    transcode::framing::{DecodeError, parcels},
    upstream::{
        Lease, Reply,
        source::{Fill, SharedSource, Source, SourceError},
    },
};

/// An upstream that is polled again and again, read as a stream of parcels.
pub(super) struct PollSource {
    polls: Polls,
    phase: Phase,
    alarm: Alarm,
    asked_at: Instant,
    /// In a row.
    failures: u32,
    record_bytes_max: usize,
}

/// What the source waits for.
enum Phase {
    /// The time of the next poll.
    Pausing(Instant),
    /// The head of a reply.
    Asking(Pin<Box<dyn Future<Output = Result<Reply, Refusal>>>>),
    /// The rest of its body.
    Reading(Box<Reading>),
}

/// A reply on its way.
struct Reading {
    headers: HeaderMap,
    source: SharedSource,
    /// What has come of it; no longer than a record may be.
    body: Vec<u8>,
    /// Its place on the endpoint, given back with its end.
    lease: Option<Lease>,
}

impl PollSource {
    /// Begins with a reply that succeeded.
    pub(super) fn new(polls: Polls, first: Reply, record_bytes_max: usize) -> Self {
        Self {
            polls,
            phase: Phase::Asking(Box::pin(std::future::ready(Ok(first)))),
            alarm: Alarm::default(),
            // Nearly so: its reply has just come.
            asked_at: Instant::now(),
            failures: 0,
            record_bytes_max,
        }
    }

    fn ask(&mut self) {
        let upstream = Rc::clone(&self.polls.upstream);
        let request = self.polls.request();
        self.asked_at = Instant::now();
        self.phase = Phase::Asking(Box::pin(async move { upstream.send(request).await }));
    }

    /// Takes a reply's head, and with it all of a reply that has no body.
    fn replied(&mut self, reply: Reply) -> Result<Fill, SourceError> {
        let status = reply.head.status;
        if is_without_news(status) {
            return Ok(self.no_news());
        }
        if may_pass(status) {
            let asked = backoff::retry_after(&reply.head.headers, SystemTime::now());
            self.failed(&status, asked.unwrap_or_default());
            return Ok(alive());
        }
        if !is_success(status) {
            return Err(broken(format!("it answered a poll with {status}")));
        }
        if is_coded(&reply.head.headers) {
            return Err(broken("it compressed a reply unasked".to_owned()));
        }
        let Some(source) = reply.source else {
            return self.whole(&reply.head.headers, b"");
        };
        self.phase = Phase::Reading(Box::new(Reading {
            headers: reply.head.headers,
            source,
            body: Vec::new(),
            lease: reply.lease,
        }));
        Ok(alive())
    }

    /// What a whole reply says: a record, where it brings news.
    fn whole(&mut self, headers: &HeaderMap, body: &[u8]) -> Result<Fill, SourceError> {
        let found = self.polls.settings.cursor.find(headers, body);
        let found = found.map_err(|reason| DecodeError::BadFraming {
            framing: "poll",
            reason,
        })?;
        let Some(id) = found.and_then(|to| self.polls.cursor.advance(to)) else {
            return Ok(self.no_news());
        };
        let mut record = Vec::new();
        parcels::record_with_id(id.as_bytes(), body.trim_ascii_end(), &mut record);
        self.failures = 0;
        self.phase = Phase::Pausing(self.asked_at);
        Ok(Fill::Bytes(record.into()))
    }

    fn no_news(&mut self) -> Fill {
        self.failures = 0;
        self.phase = Phase::Pausing(self.asked_at + self.polls.settings.every);
        alive()
    }

    /// Tries again later, and not before `asked`.
    fn failed(&mut self, error: &dyn Display, asked: Duration) {
        self.failures = self.failures.saturating_add(1);
        let wait = self
            .polls
            .settings
            .backoff
            .wait(self.failures, fastrand::f64());
        let wait = wait.max(asked);
        let upstream = self.polls.upstream.name();
        debug!(upstream, %error, ?wait, "A poll failed, and is tried again.");
        self.phase = Phase::Pausing(Instant::now() + wait);
    }
}

impl Source for PollSource {
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<Fill, SourceError>> {
        loop {
            match &mut self.phase {
                Phase::Pausing(until) => {
                    if Instant::now() < *until {
                        ready!(self.alarm.poll_until(*until, cx));
                    }
                    self.ask();
                }
                Phase::Asking(reply) => match ready!(reply.as_mut().poll(cx)) {
                    Ok(reply) => return Poll::Ready(self.replied(reply)),
                    Err(refusal) => self.failed(&refusal.detail, Duration::ZERO),
                },
                Phase::Reading(reading) => {
                    match ready!(reading.poll(cx, scratch, self.record_bytes_max)) {
                        Ok(false) => return Poll::Ready(Ok(alive())),
                        Ok(true) => {
                            let (headers, body) = reading.take();
                            return Poll::Ready(self.whole(&headers, &body));
                        }
                        Err(error @ SourceError::Undecodable(_)) => return Poll::Ready(Err(error)),
                        Err(error) => {
                            reading.blame(&error);
                            self.failed(&error, Duration::ZERO);
                        }
                    }
                }
            }
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Phase::Reading(reading) = &self.phase {
            reading.source.borrow_mut().drive(cx);
        }
    }
}

impl Reading {
    /// Takes what is ready of the body; whether it is whole.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        record_bytes_max: usize,
    ) -> Poll<Result<bool, SourceError>> {
        let filled = ready!(self.source.borrow_mut().poll_fill(cx, scratch))?;
        let came = match &filled {
            Fill::Scratch(range) => &scratch[range.clone()],
            Fill::Bytes(bytes) => bytes,
            Fill::End { .. } => return Poll::Ready(Ok(true)),
        };
        if came.len() > record_bytes_max - self.body.len() {
            return Poll::Ready(Err(DecodeError::RecordTooLarge { record_bytes_max }.into()));
        }
        self.body.extend_from_slice(came);
        Poll::Ready(Ok(false))
    }

    /// Tells who chooses endpoints of one that cut its reply.
    fn blame(&self, error: &SourceError) {
        let is_cut = matches!(error, SourceError::Truncated | SourceError::Broken { .. });
        if let Some(lease) = self.lease.as_ref().filter(|_| is_cut) {
            lease.cut();
        }
    }

    /// Takes a reply that is whole.
    fn take(&mut self) -> (HeaderMap, Vec<u8>) {
        if let Some(lease) = &self.lease {
            lease.completed();
        }
        (
            std::mem::take(&mut self.headers),
            std::mem::take(&mut self.body),
        )
    }
}

/// What resets the idle timer and is no record.
fn alive() -> Fill {
    Fill::Bytes(Bytes::from_static(parcels::SIGN_OF_LIFE))
}

fn broken(reason: String) -> SourceError {
    SourceError::Broken { reason }
}

/// Whether a reply is one of those that a stream can begin or go on with.
pub(super) fn is_success(status: StatusCode) -> bool {
    status.is_success() && status != StatusCode::PARTIAL_CONTENT
}

/// Whether the status itself says that nothing has changed.
fn is_without_news(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

/// Whether the same request may well succeed later.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
        )
}

fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
