//! How is a span written for a collector (OTLP 1.x, JSON Protobuf encoding)?

use serde_json::{Value, json};

use super::context::{SpanId, TraceId};

/// The flag of a span that is recorded, and of one that says whether its parent is in another process.
const SAMPLED: u32 = 0x001;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// A status that says: an error.
const STATUS_ERROR: u32 = 2;

/// One span, whole.
#[derive(Debug)]
pub struct Span {
    pub(super) trace: TraceId,
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    /// Whether its parent, if it has one, is in another process.
    pub(super) is_parent_remote: bool,
    pub(super) state: Option<Box<str>>,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// In nanoseconds since 1970.
    pub(super) began_ns: u64,
    /// In nanoseconds since 1970.
    pub(super) ended_ns: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
    /// Names and times, in nanoseconds since 1970.
    pub(super) events: Vec<(&'static str, u64)>,
    /// What went wrong.
    pub(super) error: Option<&'static str>,
}

/// What a span is of, by OTLP's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something within.
    Internal = 1,
    /// A request that came.
    Server = 2,
    /// A request that was sent.
    Client = 3,
}

impl Span {
    /// Adds what is known.
    pub(super) fn with(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push((name, value.into()));
    }

    /// Adds what happened, and when.
    pub(super) fn event(&mut self, name: &'static str, at_ns: u64) {
        self.events.push((name, at_ns));
    }

    fn to_json(&self) -> Value {
        let mut flags = SAMPLED | HAS_IS_REMOTE;
        if self.is_parent_remote && self.parent.is_some() {
            flags |= IS_REMOTE;
        }
        let attributes = self.attributes.iter();
        let attributes: Vec<_> = attributes
            .map(|(name, value)| attribute(name, value))
            .chain(
                self.error
                    .map(|error| attribute("error.type", &error.into())),
            )
            .collect();
        let event =
            |(name, at): &(&str, u64)| json!({"name": name, "timeUnixNano": at.to_string()});
        let events: Vec<_> = self.events.iter().map(event).collect();
        let mut span = json!({
            "traceId": self.trace.to_string(),
            "spanId": self.id.to_string(),
            "flags": flags,
            "name": self.name,
            "kind": self.kind as u32,
            "startTimeUnixNano": self.began_ns.to_string(),
            "endTimeUnixNano": self.ended_ns.to_string(),
            "attributes": attributes,
            "events": events,
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = parent.to_string().into();
        }
        if let Some(state) = &self.state {
            span["traceState"] = (**state).into();
        }
        if self.error.is_some() {
            span["status"] = json!({"code": STATUS_ERROR});
        }
        span
    }
}

/// What is posted for these spans: an `ExportTraceServiceRequest`.
#[must_use]
pub fn document(spans: &[Span], service: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let spans: Vec<_> = spans.iter().map(Span::to_json).collect();
    let resource = [
        attribute("service.name", &service.into()),
        attribute("service.version", &version.into()),
    ];
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "weir", "version": version}, "spans": spans}],
    }]})
    .to_string()
}

/// Numbers of 64 bits are strings in Protobuf's JSON.
fn attribute(name: &str, value: &Value) -> Value {
    let value = match value.as_u64() {
        Some(number) => json!({"intValue": number.to_string()}),
        None => json!({"stringValue": value}),
    };
    json!({"key": name, "value": value})
}
