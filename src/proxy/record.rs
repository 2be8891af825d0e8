//! What does the access log say of a request?
//!
//! One record at a stream's start and one at its end, which is written when the record is dropped:
//! whatever happens to a stream, its end is logged once.

use std::{net::IpAddr, ops::Deref, rc::Rc, sync::Arc, time::Duration};

use http::{Method, Version};
use tokio::time::Instant;
use tracing::info;

use super::{
    ending::Ending,
    moment::{Clock, Moment},
    streams::{Asked, Live, Streams},
};
use crate::{
    drain,
    limits::Place,
    route,
    telemetry::{
        metrics::Lane,
        traces::{Facts, Outcome, Trace},
    },
    transcode::compress::Coding,
    upstream::Member,
};

/// What is known of one request and its response so far.
#[derive(Debug)]
pub(super) struct Record {
    /// What is told of it while it is open, too.
    live: Rc<Live>,
    streams: Rc<Streams>,
    /// What we compress with what the client is written.
    pub(super) coding: Option<Coding>,
    /// How it ended; the client left where nothing else is said.
    pub(super) ending: Ending,
    /// Whether it is counted among the open streams.
    is_open: bool,
    /// The stream's place among those that may be open, given back at its end.
    pub(super) place: Option<Place>,
    /// What is told of it to a collector, if anything.
    pub(super) trace: Option<Box<Trace>>,
}

impl Deref for Record {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.live
    }
}

/// Logs what is known at a stream's start, and what else is known at its end.
macro_rules! log_record {
    ($record:expr, $message:literal $(, $field:ident = $value:expr)* $(,)?) => {
        info!(
            stream = %$record.streams.id(&$record.live),
            route = $record.route_name(),
            upstream = $record.upstream_name(),
            endpoint = $record.endpoint.get().map_or("-", |endpoint| endpoint.label()),
            status = $record.status.get().map_or(0, |status| status.as_u16()),
            to = $record.to().as_str(),
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
        streams: Rc<Streams>,
    ) -> Self {
        Self {
            live: streams.begin(asked, peer, now),
            streams,
            coding: None,
            ending: Ending::ClientGone,
            is_open: false,
            place: None,
            trace: None,
        }
    }

    /// When the request came.
    pub(super) fn begun_at(&self) -> Instant {
        self.streams.begun_at(&self.live)
    }

    /// What the stream's moments count from.
    pub(super) fn clock(&self) -> Clock {
        self.streams.clock()
    }

    /// The request goes to its upstream.
    pub(super) fn sent(&mut self) {
        let after = self.begun_at().elapsed();
        if let Some(trace) = &mut self.trace {
            trace.sent(after);
        }
    }

    /// An endpoint has answered.
    pub(super) fn answered(&mut self, endpoint: Arc<Member>) {
        // There is one, once.
        let _ = self.live.endpoint.set(endpoint);
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

    /// Notes the route that took the request.
    pub(super) fn set_route(&self, route: Arc<route::Settings>) {
        // There is one, once.
        let _ = self.live.route.set(route);
    }

    /// Counts `events` events written at `now`.
    pub(super) fn count_events(&self, events: u64, now: Moment) {
        if events == 0 {
            return;
        }
        let after = self.clock().instant(now).duration_since(self.begun_at());
        let noted = self.note_events(events, after);
        if let Some(lane) = self.lane() {
            lane.events(events, noted.gap);
            if noted.gap.is_none() {
                lane.first_event(noted.after);
            }
        }
    }

    /// Counts records that were passed over because they are malformed.
    pub(super) fn count_skipped(&self, records: u64) {
        if records > 0
            && let Some(lane) = self.lane()
        {
            lane.skipped(records);
        }
    }

    /// Counts the stream among those that are open, as long as its task watches at that place; what it
    /// is written is known.
    pub(super) fn begin(&mut self, watch: &drain::Watch) {
        self.is_open = true;
        self.streams.enter(&self.live, watch.place());
        if let Some(lane) = self.lane() {
            lane.begun(self.to().as_str());
        }
    }

    /// Counts bytes that went to the client.
    pub(super) fn count_bytes(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
        if let Some(lane) = self.lane() {
            lane.bytes_out(bytes);
        }
    }

    /// Counts a heartbeat.
    pub(super) fn count_heartbeat(&mut self) {
        self.heartbeats.set(self.heartbeats.get().saturating_add(1));
        let after = self.begun_at().elapsed();
        if self.heartbeats.get() == 1
            && let Some(trace) = &mut self.trace
        {
            trace.first_heartbeat(after);
        }
        if let Some(lane) = self.lane() {
            lane.heartbeat();
        }
    }

    /// Shows what was written to whoever watches.
    pub(super) fn show(&self, written: &[u8]) {
        if self.is_tapped.get() {
            self.streams.copy(&self.live, written);
        }
    }

    /// Where the worker counts what happens on the route.
    #[must_use]
    pub(super) fn lane(&self) -> Option<&Lane> {
        let route = self.route.get().map(|route| &*route.metrics);
        self.streams.metrics.lane(route)
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
        tell(&mut trace, &self.facts(), self.begun_at().elapsed());
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
            endpoint: self.endpoint.get().map(|endpoint| endpoint.label()),
            status: self.status.get().map(|status| status.as_u16()),
            to: self.to().as_str(),
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            ending: self.ending.code(),
            is_failed: self.ending.is_failure(),
            events: self.events.get(),
            bytes: self.bytes.get(),
            heartbeats: self.heartbeats.get().into(),
            first_event: self
                .first_event_ms()
                .map(|after| Duration::from_millis(after.into())),
        }
    }

    fn peer_name(&self) -> String {
        self.peer
            .map_or_else(|| "unix".to_owned(), |ip| ip.to_string())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let age = self.begun_at().elapsed();
        if let Some(lane) = self.lane() {
            lane.ended(self.to().as_str(), self.ending.code(), age, self.is_open);
        }
        self.streams.leave(&self.live, self.ending.code());
        log_record!(
            self,
            "Stream ends.",
            ending = self.ending.code(),
            first_event_ms = self.first_event_ms(),
            events = self.events.get(),
            bytes = self.bytes.get(),
            heartbeats = self.heartbeats.get(),
            duration_ms = millis(age),
        );
        let outcome = self.outcome();
        self.traced(|trace, facts, after| trace.ended(facts, &outcome, after));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
