//! What is known of one stream while it is open?
//!
//! Its record writes it, and whoever asks for the streams reads it: counts are cells, so that neither
//! waits for the other, and an event costs no more than without anybody who asks.

use std::{
    cell::{Cell, OnceCell},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use crate::{route, transcode::output::Format, upstream::Member};
use http::{Method, StatusCode, Version};

/// What of a request the log tells; never its query, which may hold secrets.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) struct Asked<'a> {
    /// The method.
    pub(in crate::proxy) method: &'a Method,
    /// The host.
    pub(in crate::proxy) host: &'a str,
    /// The path, without the query.
    pub(in crate::proxy) path: &'a str,
    /// The version of HTTP.
    pub(in crate::proxy) version: Version,
}

/// What a client is written.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) enum Written {
    /// The reply as it is.
    AsIs,
    /// Events, in this output's format.
    Events(Format),
    /// The bytes of another protocol.
    Tunnel,
}

impl Written {
    pub(in crate::proxy) fn as_str(self) -> &'static str {
        match self {
            Self::AsIs => "as-is",
            Self::Events(format) => format.output().name,
            Self::Tunnel => "tunnel",
        }
    }
}

/// One request and its response so far. Every open stream has one, so that it is kept small.
#[derive(Debug)]
pub(in crate::proxy) struct Live {
    /// How many came before it in this worker.
    pub(super) number: u64,
    /// Method, host and path in one.
    asked: Box<str>,
    method_bytes: u16,
    host_bytes: u16,
    /// Who asks, also behind trusted proxies.
    pub(in crate::proxy) peer: Option<IpAddr>,
    pub(in crate::proxy) version: Version,
    /// When the request came, in nanoseconds since the worker began.
    begun_ns: u64,
    /// The route that took the request.
    pub(in crate::proxy) route: OnceCell<Arc<route::Settings>>,
    /// The endpoint that answered.
    pub(in crate::proxy) endpoint: OnceCell<Arc<Member>>,
    /// What the client is written.
    pub(super) to: Cell<Written>,
    /// The status sent to the client.
    pub(in crate::proxy) status: Cell<Option<StatusCode>>,
    /// Events written.
    pub(in crate::proxy) events: Cell<u64>,
    /// Bytes of the body written.
    pub(in crate::proxy) bytes: Cell<u64>,
    /// Heartbeats written.
    pub(in crate::proxy) heartbeats: Cell<u32>,
    /// From the request to the first event, in milliseconds; [`NEVER`] before it.
    pub(super) first_event_ms: Cell<u32>,
    /// When the last event was written, in milliseconds from the request.
    pub(super) last_event_ms: Cell<u32>,
    /// What is ready and the client has not taken, in bytes.
    pub(in crate::proxy) unsent_bytes: Cell<u32>,
    /// Its task's place among those that are woken when a drain begins.
    pub(super) place: Cell<u32>,
    /// Whether an operator has closed it.
    pub(in crate::proxy) is_closed: Cell<bool>,
    /// Whether anybody watches what it writes.
    pub(in crate::proxy) is_tapped: Cell<bool>,
}

impl Live {
    pub(super) fn new(
        number: u64,
        asked: Asked<'_>,
        peer: Option<IpAddr>,
        begun: Duration,
    ) -> Self {
        let parts = [asked.method.as_str(), asked.host, asked.path];
        Self {
            number,
            asked: parts.concat().into_boxed_str(),
            method_bytes: length(asked.method.as_str()),
            host_bytes: length(asked.host),
            peer,
            version: asked.version,
            // Five centuries are enough.
            begun_ns: u64::try_from(begun.as_nanos()).unwrap_or(u64::MAX),
            route: OnceCell::new(),
            endpoint: OnceCell::new(),
            to: Cell::new(Written::AsIs),
            status: Cell::new(None),
            events: Cell::new(0),
            bytes: Cell::new(0),
            heartbeats: Cell::new(0),
            first_event_ms: Cell::new(NEVER),
            last_event_ms: Cell::new(0),
            unsent_bytes: Cell::new(0),
            place: Cell::new(0),
            is_closed: Cell::new(false),
            is_tapped: Cell::new(false),
        }
    }

    /// Method, host and path.
    pub(in crate::proxy) fn asked(&self) -> (&str, &str, &str) {
        let (method, rest) = self.asked.split_at(self.method_bytes.into());
        let (host, path) = rest.split_at(self.host_bytes.into());
        (method, host, path)
    }

    /// What the client is written.
    pub(in crate::proxy) fn to(&self) -> Written {
        self.to.get()
    }

    /// Says what the client is written.
    pub(in crate::proxy) fn write(&self, to: Written) {
        self.to.set(to);
    }

    /// From the worker's begin to the request.
    pub(super) fn begun(&self) -> Duration {
        Duration::from_nanos(self.begun_ns)
    }

    /// Notes events written so long after the request: when that was, and since when there had been none, where there was
    /// one before.
    pub(in crate::proxy) fn note_events(&self, events: u64, after: Duration) -> Noted {
        self.events.set(self.events.get() + events);
        // The last value stands for "never", and 49 days later nobody asks for the millisecond.
        let after_ms = u32::try_from(after.as_millis()).map_or(NEVER - 1, |ms| ms.min(NEVER - 1));
        let last_ms = self.last_event_ms.replace(after_ms);
        let is_first = self.first_event_ms.get() == NEVER;
        if is_first {
            self.first_event_ms.set(after_ms);
        }
        let gap = Duration::from_millis(after_ms.saturating_sub(last_ms).into());
        Noted {
            after,
            gap: (!is_first).then_some(gap),
        }
    }

    /// From the request to the first event, in milliseconds.
    pub(in crate::proxy) fn first_event_ms(&self) -> Option<u32> {
        Some(self.first_event_ms.get()).filter(|ms| *ms != NEVER)
    }

    pub(in crate::proxy) fn route_name(&self) -> &str {
        self.route.get().map_or("-", |route| route.name.as_str())
    }

    pub(in crate::proxy) fn upstream_name(&self) -> &str {
        let route = self.route.get();
        route.map_or("-", |route| route.upstream.as_str())
    }
}

/// When events were written.
pub(in crate::proxy) struct Noted {
    /// So long after the request.
    pub(in crate::proxy) after: Duration,
    /// So long after those before them.
    pub(in crate::proxy) gap: Option<Duration>,
}

/// Stands for the time of an event that has not come.
const NEVER: u32 = u32::MAX;

/// A request's head is far shorter than what a `u16` holds.
fn length(part: &str) -> u16 {
    u16::try_from(part.len()).expect("a part of a head of at most 64 KiB")
}

#[cfg(test)]
mod tests {
    use super::Live;

    /// Every open stream holds one; what it takes is what the figures of an idle stream are made of.
    #[test]
    fn it_is_small() {
        assert!(size_of::<Live>() <= 112, "{}", size_of::<Live>());
    }
}
