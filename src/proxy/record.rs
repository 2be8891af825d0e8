//! What does the access log say of a request?
//!
//! One record at a stream's start and one at its end, which is written when the record is dropped:
//! whatever happens to a stream, its end is logged once.

use std::{net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use http::{Method, StatusCode, Version};
use tokio::time::Instant;
use tracing::info;

use super::ending::Ending;
use crate::{
    route,
    telemetry::{
        metrics::{Lane, WorkerMetrics},
        traces::{Facts, Outcome, Trace},
    },
    transcode::{compress::Coding, output::Output},
};

/// What is known of one request and its response so far.
#[derive(Debug)]
pub(super) struct Record {
    /// Method, host and path in one, since every open stream keeps them.
    asked: Box<str>,
    method_bytes: u16,
    host_bytes: u16,
    peer: Option<IpAddr>,
    version: Version,
    begun_at: Instant,
    /// The route that took the request.
    pub(super) route: Option<Arc<route::Settings>>,
    /// The endpoint that answered.
    endpoint: Option<Rc<str>>,
    /// The status sent to the client.
    pub(super) status: Option<StatusCode>,
    /// What the client is written.
    pub(super) to: Written,
    /// What we compress that with.
    pub(super) coding: Option<Coding>,
    /// How it ended; the client left where nothing else is said.
    pub(super) ending: Ending,
    /// From the request to the first event, in milliseconds.
    first_event_ms: Option<u32>,
    /// Events written.
    pub(super) events: u64,
    /// Bytes of the body written.
    pub(super) bytes: u64,
    /// Heartbeats written.
    heartbeats: u64,
    /// When the last event was written, in milliseconds from the request.
    last_event_ms: u32,
    /// Whether it is counted among the open streams.
    is_open: bool,
    metrics: Rc<WorkerMetrics>,
    /// What is told of it to a collector, if anything.
    pub(super) trace: Option<Box<Trace>>,
}

/// What a client is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written {
    /// The reply as it is.
    AsIs,
    /// Events, in this output.
    Events(&'static Output),
    /// The bytes of another protocol.
    Tunnel,
}

impl Written {
    fn as_str(self) -> &'static str {
        match self {
            Self::AsIs => "as-is",
            Self::Events(output) => output.name,
            Self::Tunnel => "tunnel",
        }
    }
}

/// What of a request the log tells; never its query, which may hold secrets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The method.
    pub(super) method: &'a Method,
    /// The host.
    pub(super) host: &'a str,
    /// The path, without the query.
    pub(super) path: &'a str,
    /// The version of HTTP.
    pub(super) version: Version,
}

/// Logs what is known at a stream's start, and what else is known at its end.
macro_rules! log_record {
    ($record:expr, $message:literal $(, $field:ident = $value:expr)* $(,)?) => {
        info!(
            route = $record.route_name(),
            upstream = $record.upstream_name(),
            endpoint = $record.endpoint.as_deref().unwrap_or("-"),
            status = $record.status.map_or(0, |status| status.as_u16()),
            to = $record.to.as_str(),
            coding = $record.coding.map(Coding::name),
            $($field = $value,)*
            method = %$record.asked().0,
            host = %$record.asked().1,
            path = %$record.asked().2,
            peer = %$record.peer_name(),
            version = ?$record.version,
            $message
        )
    };
}

impl Record {
    /// Begins the record of a request.
    #[must_use]
    pub(super) fn new(
        asked: Asked<'_>,
        peer: Option<IpAddr>,
        now: Instant,
        metrics: Rc<WorkerMetrics>,
    ) -> Self {
        Self {
            asked: [asked.method.as_str(), asked.host, asked.path]
                .concat()
                .into_boxed_str(),
            method_bytes: length(asked.method.as_str()),
            host_bytes: length(asked.host),
            peer,
            version: asked.version,
            begun_at: now,
            route: None,
            endpoint: None,
            status: None,
            to: Written::AsIs,
            coding: None,
            ending: Ending::ClientGone,
            first_event_ms: None,
            events: 0,
            bytes: 0,
            heartbeats: 0,
            last_event_ms: 0,
            is_open: false,
            metrics,
            trace: None,
        }
    }

    /// The request goes to its upstream.
    pub(super) fn sent(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.sent(self.begun_at.elapsed());
        }
    }

    /// An endpoint has answered.
    pub(super) fn answered(&mut self, endpoint: Rc<str>) {
        self.endpoint = Some(endpoint);
        self.traced(Trace::replied);
    }

    /// Whether the request asks for a head alone.
    #[must_use]
    pub(super) fn is_head(&self) -> bool {
        self.asked().0 == Method::HEAD.as_str()
    }

    /// Whether the request came over HTTP/2.
    #[must_use]
    pub(super) fn is_http2(&self) -> bool {
        self.version == Version::HTTP_2
    }

    /// How many heartbeats were written.
    #[cfg(test)]
    pub(super) fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    /// When the request came.
    #[must_use]
    pub(super) fn begun_at(&self) -> Instant {
        self.begun_at
    }

    /// Counts `events` events written at `now`.
    pub(super) fn count_events(&mut self, events: u64, now: Instant) {
        if events == 0 {
            return;
        }
        self.events += events;
        let after = now.duration_since(self.begun_at);
        let after_ms = u32::try_from(millis(after)).unwrap_or(u32::MAX);
        let gap_ms = after_ms.saturating_sub(std::mem::replace(&mut self.last_event_ms, after_ms));
        let is_first = self.first_event_ms.is_none();
        if let Some(lane) = self.lane() {
            lane.events(
                events,
                (!is_first).then(|| Duration::from_millis(gap_ms.into())),
            );
            if is_first {
                lane.first_event(after);
            }
        }
        self.first_event_ms.get_or_insert(after_ms);
    }

    /// Counts records that were passed over because they are malformed.
    pub(super) fn count_skipped(&self, records: u64) {
        if records > 0
            && let Some(lane) = self.lane()
        {
            lane.skipped(records);
        }
    }

    /// Counts the stream among those that are open; `to` is known.
    pub(super) fn begin(&mut self) {
        self.is_open = true;
        if let Some(lane) = self.lane() {
            lane.begun(self.to.as_str());
        }
    }

    /// Counts bytes that went to the client.
    pub(super) fn count_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if let Some(lane) = self.lane() {
            lane.bytes_out(bytes);
        }
    }

    /// Counts a heartbeat.
    pub(super) fn count_heartbeat(&mut self) {
        self.heartbeats += 1;
        if self.heartbeats == 1
            && let Some(trace) = &mut self.trace
        {
            trace.first_heartbeat(self.begun_at.elapsed());
        }
        if let Some(lane) = self.lane() {
            lane.heartbeat();
        }
    }

    /// Where the worker counts what happens on the route.
    #[must_use]
    pub(super) fn lane(&self) -> Option<&Lane> {
        let route = self.route.as_ref().map(|route| &*route.metrics);
        self.metrics.lane(route)
    }

    /// Logs that a stream begins.
    pub(super) fn log_start(&mut self) {
        self.traced(Trace::opened);
        log_record!(self, "Stream begins.");
    }

    /// Tells a trace, where there is one, what is known after so long.
    fn traced(&mut self, tell: impl FnOnce(&mut Trace, &Facts<'_>, Duration)) {
        let Some(mut trace) = self.trace.take() else {
            return;
        };
        tell(&mut trace, &self.facts(), self.begun_at.elapsed());
        self.trace = Some(trace);
    }

    fn facts(&self) -> Facts<'_> {
        let (method, host, path) = self.asked();
        Facts {
            method,
            host,
            path,
            peer: self.peer,
            version: match self.version {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            route: self.route_name(),
            upstream: self.upstream_name(),
            endpoint: self.endpoint.as_deref(),
            status: self.status.map(|status| status.as_u16()),
            to: self.to.as_str(),
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            ending: self.ending.code(),
            is_failed: self.ending.is_failure(),
            events: self.events,
            bytes: self.bytes,
            heartbeats: self.heartbeats,
            first_event: self
                .first_event_ms
                .map(|after| Duration::from_millis(after.into())),
        }
    }

    /// Method, host and path.
    fn asked(&self) -> (&str, &str, &str) {
        let (method, rest) = self.asked.split_at(self.method_bytes.into());
        let (host, path) = rest.split_at(self.host_bytes.into());
        (method, host, path)
    }

    fn peer_name(&self) -> String {
        self.peer
            .map_or_else(|| "unix".to_owned(), |ip| ip.to_string())
    }

    fn route_name(&self) -> &str {
        self.route.as_ref().map_or("-", |route| route.name.as_str())
    }

    fn upstream_name(&self) -> &str {
        self.route
            .as_ref()
            .map_or("-", |route| route.upstream.as_str())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let age = self.begun_at.elapsed();
        if let Some(lane) = self.lane() {
            lane.ended(self.to.as_str(), self.ending.code(), age, self.is_open);
        }
        log_record!(
            self,
            "Stream ends.",
            ending = self.ending.code(),
            first_event_ms = self.first_event_ms,
            events = self.events,
            bytes = self.bytes,
            heartbeats = self.heartbeats,
            duration_ms = millis(age),
        );
        let outcome = self.outcome();
        self.traced(|trace, facts, after| trace.ended(facts, &outcome, after));
    }
}

/// A request's head is far shorter than what a `u16` holds.
fn length(part: &str) -> u16 {
    u16::try_from(part.len()).expect("a part of a head of at most 64 KiB")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
