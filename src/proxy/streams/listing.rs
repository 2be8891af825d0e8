//! What is told of a stream beyond its thread?

use std::{net::IpAddr, time::Duration};

use http::Version;
use tokio::time::Instant;

use super::{Live, StreamId, Written};

/// One open stream, as it was when it was asked for.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Who it is.
    pub id: StreamId,
    /// What was asked for, and by whom.
    pub request: Requested,
    /// What becomes of it: `awaiting` the upstream's reply, `flowing`, `blocked` by a client that does
    /// not take what is ready, or `ending` at an operator's word.
    pub state: &'static str,
    /// Since the request.
    pub age: Duration,
    /// Since the last event; without one, since the request.
    pub idle: Duration,
    /// What is ready and the client has not taken, in bytes.
    pub unsent_bytes: u32,
}

/// One response that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Who it was.
    pub id: StreamId,
    /// What was asked for, and by whom.
    pub request: Requested,
    /// How it ended, as in the access log.
    pub ending: &'static str,
    /// The status sent; 0 where none was.
    pub status: u16,
    /// From the request to the end.
    pub age: Duration,
    /// When.
    pub at: Instant,
}

/// A request, and what its response has come to.
#[derive(Debug, Clone)]
pub struct Requested {
    /// The route's name; `-` where none took the request.
    pub route: String,
    /// The upstream's name; `-` where there is none.
    pub upstream: String,
    /// The endpoint that answered.
    pub endpoint: Option<String>,
    /// Who asked; `None` is somebody at a unix socket.
    pub peer: Option<IpAddr>,
    /// The method.
    pub method: String,
    /// The host.
    pub host: String,
    /// The path; never the query, which may hold secrets.
    pub path: String,
    /// The version of HTTP: `1.0`, `1.1` or `2`.
    pub version: &'static str,
    /// What the client is written: an output's name, `as-is` or `tunnel`.
    pub to: &'static str,
    /// Events written.
    pub events: u64,
    /// Bytes of the body written, as the client gets them.
    pub bytes: u64,
    /// Heartbeats written.
    pub heartbeats: u32,
    /// From the request to the first event.
    pub first_event: Option<Duration>,
}

impl Listing {
    pub(super) fn new(id: StreamId, live: &Live, age: Duration) -> Self {
        let last_event = Duration::from_millis(live.last_event_ms.get().into());
        let unsent_bytes = live.unsent_bytes.get();
        let is_awaiting = live.endpoint.get().is_none() && matches!(live.to(), Written::Events(_));
        Self {
            id,
            request: Requested::new(live),
            state: match () {
                () if live.is_closed.get() => "ending",
                () if unsent_bytes > 0 => "blocked",
                () if is_awaiting => "awaiting",
                () => "flowing",
            },
            age,
            idle: age.saturating_sub(last_event),
            unsent_bytes,
        }
    }
}

impl Ended {
    pub(super) fn new(id: StreamId, live: &Live, ending: &'static str, age: Duration) -> Self {
        Self {
            id,
            request: Requested::new(live),
            ending,
            status: live.status.get().map_or(0, |status| status.as_u16()),
            age,
            at: Instant::now(),
        }
    }
}

impl Requested {
    fn new(live: &Live) -> Self {
        let (method, host, path) = live.asked();
        let first_event_ms = live.first_event_ms();
        Self {
            route: live.route_name().to_owned(),
            upstream: live.upstream_name().to_owned(),
            endpoint: live
                .endpoint
                .get()
                .map(|endpoint| endpoint.label().to_owned()),
            peer: live.peer,
            method: method.to_owned(),
            host: host.to_owned(),
            path: path.to_owned(),
            version: match live.version {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            to: live.to().as_str(),
            events: live.events.get(),
            bytes: live.bytes.get(),
            heartbeats: live.heartbeats.get(),
            first_event: first_event_ms.map(|ms| Duration::from_millis(ms.into())),
        }
    }
}
