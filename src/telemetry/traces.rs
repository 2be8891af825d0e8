//! What does a trace tell of a request?
//!
//! Of every request that is traced there is a span at once: a server span from the request to its
//! response's head, whose child is a client span from the request that we send to the upstream's reply.
//! A stream may last for days, and a span is told only when it is over: so all that comes after the head is
//! a span of its own, a child of the server span, told at the stream's end. Of a response without a
//! stream there is no such third span, and the server span ends with it.
//!
//! Nothing is held where a request is not traced, and nothing is done for an event.

pub mod context;
mod otlp;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderMap;
use tokio::sync::mpsc;

pub use self::otlp::{Span, document};
use self::{
    context::{Context, SpanId, TraceId},
    otlp::Kind,
};
use super::metrics::Metrics;

/// How many spans may wait for the collector; further ones are lost, and counted.
const SPANS_MAX: usize = 2048;

/// Decides which requests are traced, and takes their spans.
#[derive(Debug)]
pub struct Tracer {
    /// The share of traces that begin here, from 0 to 1.
    sample: f64,
    queue: mpsc::Sender<Span>,
    metrics: Arc<Metrics>,
}

/// One request that is traced.
#[derive(Debug)]
pub struct Trace {
    tracer: Arc<Tracer>,
    id: TraceId,
    /// The server span.
    request: SpanId,
    /// The client span, which the upstream knows as its parent.
    attempt: SpanId,
    parent: Option<SpanId>,
    /// What others along the trace say of it, as it came.
    state: Option<Box<str>>,
    began: SystemTime,
    /// All from the beginning.
    sent: Option<Duration>,
    replied: Option<Duration>,
    opened: Option<Duration>,
    first_heartbeat: Option<Duration>,
}

/// What is known of a request and its response.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The method.
    pub method: &'a str,
    /// The host that was asked for.
    pub host: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// Who asks; `None` over a unix socket.
    pub peer: Option<IpAddr>,
    /// The version of HTTP, such as `1.1`.
    pub version: &'static str,
    /// The route's name; `-` where none took the request.
    pub route: &'a str,
    /// The upstream's name; `-` where none is known.
    pub upstream: &'a str,
    /// The endpoint that answered.
    pub endpoint: Option<&'a str>,
    /// The response's status.
    pub status: Option<u16>,
    /// What the client is written.
    pub to: &'static str,
}

/// How a response ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// How, by the name that the log and the metrics have for it.
    pub ending: &'static str,
    /// Whether something is wrong with that.
    pub is_failed: bool,
    /// Events written.
    pub events: u64,
    /// Bytes of the body written.
    pub bytes: u64,
    /// Heartbeats written.
    pub heartbeats: u64,
    /// From the request to the first event.
    pub first_event: Option<Duration>,
}

impl Tracer {
    /// Makes a tracer that traces `sample` (from 0 to 1) of the requests that come without a trace, and
    /// the way on which its spans come.
    #[must_use]
    pub fn new(sample: f64, metrics: Arc<Metrics>) -> (Arc<Self>, mpsc::Receiver<Span>) {
        let (queue, spans) = mpsc::channel(SPANS_MAX);
        let tracer = Self {
            sample,
            queue,
            metrics,
        };
        (Arc::new(tracer), spans)
    }

    /// Begins to trace a request that came just now, where its sender or chance says so, and changes its
    /// fields to those that the upstream is to see.
    ///
    /// A request that its sender does not trace passes as it is. One without a trace, or whose trace cannot be
    /// understood, begins one (W3C Trace Context §3.4).
    #[must_use]
    pub fn begin(self: &Arc<Self>, headers: &mut HeaderMap) -> Option<Box<Trace>> {
        let came = context::read(headers);
        let is_traced = came.map_or_else(|| fastrand::f64() < self.sample, |came| came.is_sampled);
        if came.is_some() && !is_traced {
            return None;
        }
        let state = came.and_then(|_| context::state(headers));
        let id = came.map_or_else(TraceId::random, |came| came.trace);
        let attempt = SpanId::random();
        let ours = Context {
            trace: id,
            span: attempt,
            is_sampled: is_traced,
        };
        if came.is_none() {
            context::remove(headers);
        }
        context::write(ours, headers);
        is_traced.then(|| {
            Box::new(Trace {
                tracer: Arc::clone(self),
                id,
                request: SpanId::random(),
                attempt,
                parent: came.map(|came| came.span),
                state,
                began: SystemTime::now(),
                sent: None,
                replied: None,
                opened: None,
                first_heartbeat: None,
            })
        })
    }

    fn tell(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.metrics.spans.dropped(1);
        }
    }
}

impl Trace {
    /// The request goes to its upstream, so long after it came.
    pub fn sent(&mut self, after: Duration) {
        self.sent = Some(after);
    }

    /// The upstream has replied.
    pub fn replied(&mut self, facts: &Facts<'_>, after: Duration) {
        self.replied = Some(after);
        if self.sent.is_some() {
            self.tracer.tell(self.attempt(facts, after));
        }
    }

    /// The head of a stream's response goes out: what is known by now is told.
    pub fn opened(&mut self, facts: &Facts<'_>, after: Duration) {
        self.opened = Some(after);
        self.tracer.tell(self.request(facts, after));
    }

    /// The first heartbeat was written.
    pub fn first_heartbeat(&mut self, after: Duration) {
        self.first_heartbeat.get_or_insert(after);
    }

    /// The response has ended.
    pub fn ended(&self, facts: &Facts<'_>, outcome: &Outcome, after: Duration) {
        if self.sent.is_some() && self.replied.is_none() {
            let mut attempt = self.attempt(facts, after);
            attempt.error = Some(outcome.ending);
            self.tracer.tell(attempt);
        }
        let mut last = match self.opened {
            None => self.request(facts, after),
            Some(opened) => {
                let mut stream = self.span(Kind::Internal, (opened, after));
                stream.name = format!("stream {}", facts.route);
                stream.parent = Some(self.request);
                stream.with_route(facts);
                if let Some(replied) = self.replied.filter(|replied| *replied > opened) {
                    stream.event("reply", self.at(replied));
                }
                stream
            }
        };
        if let Some(first) = outcome.first_event {
            last.event("first_event", self.at(first));
        }
        if let Some(first) = self.first_heartbeat {
            last.event("first_heartbeat", self.at(first));
        }
        last.event("end", self.at(after));
        last.with("weir.ending", outcome.ending);
        for (name, count) in [
            ("weir.events", outcome.events),
            ("weir.bytes", outcome.bytes),
            ("weir.heartbeats", outcome.heartbeats),
        ] {
            last.with(name, count);
        }
        // What a client does wrong is no error of ours (OpenTelemetry's conventions for HTTP servers).
        let is_ours = self.opened.is_some() || facts.status.is_none_or(|status| status >= 500);
        last.error = Some(outcome.ending).filter(|_| outcome.is_failed && is_ours);
        self.tracer.tell(last);
    }

    fn request(&self, facts: &Facts<'_>, after: Duration) -> Span {
        let mut span = self.span(Kind::Server, (Duration::ZERO, after));
        span.id = self.request;
        (span.parent, span.is_parent_remote) = (self.parent, true);
        let method = method(facts.method);
        span.name = match facts.route {
            "-" => method.to_owned(),
            route => format!("{method} {route}"),
        };
        span.with("http.request.method", method);
        span.with("url.path", facts.path);
        span.with("server.address", facts.host);
        span.with("network.protocol.version", facts.version);
        if let Some(peer) = facts.peer {
            span.with("client.address", peer.to_string());
        }
        if let Some(status) = facts.status {
            span.with("http.response.status_code", u64::from(status));
        }
        span.with_route(facts);
        if let Some(replied) = self.replied {
            span.event("reply", self.at(replied));
        }
        span
    }

    fn attempt(&self, facts: &Facts<'_>, after: Duration) -> Span {
        let sent = self.sent.unwrap_or_default();
        let mut span = self.span(Kind::Client, (sent, after));
        span.id = self.attempt;
        span.parent = Some(self.request);
        let method = method(facts.method);
        span.name = format!("{method} {}", facts.upstream);
        span.with("http.request.method", method);
        if let Some(status) = facts.status.filter(|_| facts.endpoint.is_some()) {
            span.with("http.response.status_code", u64::from(status));
        }
        span.with_route(facts);
        span
    }

    fn span(&self, kind: Kind, (from, to): (Duration, Duration)) -> Span {
        Span {
            trace: self.id,
            id: SpanId::random(),
            parent: None,
            is_parent_remote: false,
            state: self.state.clone(),
            name: String::new(),
            kind,
            began_ns: self.at(from),
            ended_ns: self.at(to),
            attributes: Vec::new(),
            events: Vec::new(),
            error: None,
        }
    }

    /// In nanoseconds since 1970.
    fn at(&self, after: Duration) -> u64 {
        let since = self.began.duration_since(UNIX_EPOCH).unwrap_or_default() + after;
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Span {
    /// Where the request went.
    fn with_route(&mut self, facts: &Facts<'_>) {
        self.with("weir.route", facts.route);
        self.with("weir.upstream", facts.upstream);
        self.with("weir.to", facts.to);
        if let Some(endpoint) = facts.endpoint {
            self.with("weir.endpoint", endpoint);
        }
    }
}

/// The method, where it is one that is known: names of spans are few (OpenTelemetry's conventions for HTTP).
fn method(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" => {
            method
        }
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcode::compress::Budget;

    const CAME: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn begin(sample: f64, fields: &[(&'static str, &str)]) -> (Option<Box<Trace>>, HeaderMap) {
        let (tracer, _) = Tracer::new(sample, Metrics::new(1, Budget::new(0)));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        (tracer.begin(&mut headers), headers)
    }

    #[test]
    fn a_senders_decision_counts_and_chance_decides_the_rest() {
        let (trace, headers) = begin(0.0, &[("traceparent", CAME), ("tracestate", "a=1")]);
        let trace = trace.unwrap();
        let seen = context::read(&headers).unwrap();
        assert_eq!((seen.trace, seen.span), (trace.id, trace.attempt));
        assert_eq!(trace.parent.unwrap().to_string(), "b7ad6b7169203331");
        assert_eq!(headers["tracestate"], "a=1");

        let unsampled = CAME.replace("-01", "-00");
        let (trace, headers) = begin(1.0, &[("traceparent", &unsampled), ("tracestate", "a=1")]);
        assert!(trace.is_none());
        assert_eq!(headers["traceparent"], unsampled);
        assert_eq!(headers["tracestate"], "a=1");

        let (trace, headers) = begin(1.0, &[]);
        let trace = trace.unwrap();
        assert!(trace.parent.is_none() && context::read(&headers).unwrap().is_sampled);

        let (trace, headers) = begin(0.0, &[]);
        assert!(trace.is_none() && !context::read(&headers).unwrap().is_sampled);
    }

    #[test]
    fn what_cannot_be_understood_restarts_the_trace() {
        let broken = CAME.replace("b7ad", "xxxx");
        let (trace, headers) = begin(1.0, &[("traceparent", &broken), ("tracestate", "a=1")]);
        let trace = trace.unwrap();
        assert!(trace.parent.is_none());
        assert_ne!(trace.id.to_string(), CAME[3..35]);
        assert!(!headers.contains_key("tracestate"));
    }

    #[test]
    fn spans_that_find_no_room_are_counted() {
        let metrics = Metrics::new(1, Budget::new(0));
        let (tracer, mut spans) = Tracer::new(1.0, Arc::clone(&metrics));
        let facts = Facts {
            method: "BREW",
            host: "a",
            path: "/",
            peer: None,
            version: "1.1",
            route: "r",
            upstream: "u",
            endpoint: None,
            status: Some(200),
            to: "sse",
        };
        for _ in 0..=SPANS_MAX {
            let trace = tracer.begin(&mut HeaderMap::new());
            trace.unwrap().opened(&facts, Duration::ZERO);
        }
        let dropped = &metrics.spans.dropped;
        assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(spans.try_recv().unwrap().name, "_OTHER r");
    }
}
