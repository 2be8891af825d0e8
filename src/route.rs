//! Which upstream takes a request, and under which policy?
//!
//! A [`Table`](table::Table) is one generation of all routes: it is built once and never changes. The most
//! specific route wins: exact host before `*.host` (the longer first) before any host; then exact
//! path before the longer prefix; then a route that names methods; then the one that asks for more
//! headers; then the one that stands first in the file. ([`shadow`] holds it as a sort key.)

pub mod shadow;
pub mod table;

use std::{sync::Arc, time::Duration};

use encoding_rs::Encoding;
use http::{HeaderName, HeaderValue, Method};

use crate::{
    limits::{Admission, Gate},
    telemetry::metrics::RouteMetrics,
    transcode::{compress, framing::Framing, heartbeat, mapping, output::Output},
};

/// What the configuration says of one route.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name in logs and metrics; unique in the file.
    pub name: String,
    /// Hosts it answers for; `None` is every host.
    pub host: Option<HostPattern>,
    /// Paths it answers for.
    pub path: PathPattern,
    /// Methods it answers for; empty is every method.
    pub methods: Vec<Method>,
    /// Fields that a request must carry with exactly these values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The upstream's name in `[upstream.NAME]`.
    pub upstream: String,
    /// What is done with the requests and replies.
    pub policy: Policy,
    /// Where its streams are counted; the table says where.
    pub metrics: Arc<RouteMetrics>,
    /// Who lets requests in; the table says who.
    pub gate: Arc<Gate>,
}

/// What a route does with its requests and replies.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How the reply's records are cut.
    pub from: From,
    /// What the client is written.
    pub to: To,
    /// The charset of the reply; what its content type says where there is none.
    pub charset: Option<&'static Encoding>,
    /// How a record becomes an event; shared with every open stream.
    pub event: Arc<mapping::Settings>,
    /// When silence is broken.
    pub heartbeat: heartbeat::Settings,
    /// How long each part may take.
    pub timeouts: Timeouts,
    /// How much each part may hold.
    pub limits: Limits,
    /// How the path changes on its way to the upstream.
    pub rewrite: Rewrite,
    /// What converted streams are compressed with.
    pub compress: compress::Settings,
}

/// How the records of a reply are cut.
#[derive(Debug, Clone, Copy)]
pub enum From {
    /// By the reply's content type; replies of other types pass as they are.
    Auto,
    /// By this framing, whatever textual type the reply claims.
    Framing(&'static Framing),
}

/// What the client is written.
#[derive(Debug, Clone, Copy)]
pub enum To {
    /// By the request's `Accept`: Server-Sent Events where anything goes.
    Auto,
    /// This output, whatever the client accepts.
    Output(&'static Output),
    /// The reply's own bytes.
    AsIs,
}

/// How long each part of an exchange may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the last byte of the request to the head of the reply.
    pub first_byte: Duration,
    /// Without a byte from the upstream, once the reply has begun.
    pub idle: Duration,
    /// From the request to the end of the response; `None` is no limit.
    pub total: Option<Duration>,
    /// After about so long a converted stream is ended at an event boundary, and its client told to come back;
    /// `None` is never. Each stream's own limit is from 0.9 to 1.1 times as long.
    pub max_age: Option<Duration>,
    /// Without the client taking a byte that waits for it.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_mins(1),
            idle: Duration::from_mins(5),
            total: None,
            max_age: None,
            write: Duration::from_secs(30),
        }
    }
}

/// How much each part of an exchange may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest record, in bytes without its delimiter.
    pub record_bytes_max: usize,
    /// The most output gathered into one write, in bytes (plus one event).
    pub buffer_bytes_max: usize,
    /// The longest body of a request, in bytes; `None` is no limit.
    pub body_bytes_max: Option<u64>,
    /// How many may come in.
    pub admission: Admission,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes_max: 1024 * 1024,
            buffer_bytes_max: 256 * 1024,
            body_bytes_max: None,
            admission: Admission::default(),
        }
    }
}

/// How the path changes on its way to the upstream.
#[derive(Debug, Clone, Default)]
pub struct Rewrite {
    /// Taken off the front; starts with `/`, has no `/` at its end. Replies 404 where it is not there.
    pub strip_prefix: Option<String>,
    /// Put in front, after stripping; starts with `/`, has no `/` at its end.
    pub add_prefix: Option<String>,
}

/// The hosts a route answers for, in lower case and without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This host alone.
    Exact(String),
    /// Every host below this one: `*.example.com` is kept as `example.com`.
    Below(String),
}

/// The paths a route answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// This path alone.
    Exact(String),
    /// This prefix and everything below: `/api/*` is kept as `/api/`, and `/*` as `/`.
    Prefix(String),
}
