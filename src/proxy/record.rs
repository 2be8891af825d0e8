//! What does the access log say of a request?
//!
//! One record at a stream's start and one at its end, which is written when the record is dropped:
//! whatever happens to a stream, its end is logged once.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{Method, StatusCode, Version};
use tokio::time::Instant;
use tracing::info;

use super::ending::Ending;
use crate::route;

/// What is known of one request and its response so far.
#[derive(Debug)]
pub(super) struct Record {
    method: Method,
    host: Box<str>,
    path: Box<str>,
    peer: Box<str>,
    version: Version,
    begun_at: Instant,
    /// The route that took the request.
    pub(super) route: Option<Arc<route::Settings>>,
    /// The endpoint that answered.
    pub(super) endpoint: Option<Rc<str>>,
    /// The status sent to the client.
    pub(super) status: Option<StatusCode>,
    /// What the client is written: `sse` or `as-is`.
    pub(super) to: &'static str,
    /// How it ended; the client left where nothing else is said.
    pub(super) ending: Ending,
    /// From the request to the first event.
    pub(super) first_event: Option<Duration>,
    /// Events written.
    pub(super) events: u64,
    /// Bytes of the body written.
    pub(super) bytes: u64,
    /// Heartbeats written.
    pub(super) heartbeats: u64,
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
            to = $record.to,
            $($field = $value,)*
            method = %$record.method,
            host = %$record.host,
            path = %$record.path,
            peer = %$record.peer,
            version = ?$record.version,
            $message
        )
    };
}

impl Record {
    /// Begins the record of a request.
    #[must_use]
    pub(super) fn new(asked: Asked<'_>, peer: String, now: Instant) -> Self {
        Self {
            method: asked.method.clone(),
            host: asked.host.into(),
            path: asked.path.into(),
            peer: peer.into_boxed_str(),
            version: asked.version,
            begun_at: now,
            route: None,
            endpoint: None,
            status: None,
            to: "as-is",
            ending: Ending::ClientGone,
            first_event: None,
            events: 0,
            bytes: 0,
            heartbeats: 0,
        }
    }

    /// Whether the request asks for a head alone.
    #[must_use]
    pub(super) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Whether the request came over HTTP/2.
    #[must_use]
    pub(super) fn is_http2(&self) -> bool {
        self.version == Version::HTTP_2
    }

    /// When the request came.
    #[must_use]
    pub(super) fn begun_at(&self) -> Instant {
        self.begun_at
    }

    /// Counts `events` events written at `now`.
    pub(super) fn count_events(&mut self, events: u64, now: Instant) {
        self.events += events;
        if events > 0 && self.first_event.is_none() {
            self.first_event = Some(now.duration_since(self.begun_at));
        }
    }

    /// Logs that a stream begins.
    pub(super) fn log_start(&self) {
        log_record!(self, "Stream begins.");
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
        log_record!(
            self,
            "Stream ends.",
            ending = self.ending.code(),
            first_event_ms = self.first_event.map(millis),
            events = self.events,
            bytes = self.bytes,
            heartbeats = self.heartbeats,
            duration_ms = millis(self.begun_at.elapsed()),
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
