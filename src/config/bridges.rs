//! How do the keys of an upstream that does not stream become its bridge?

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method};
use humantime::format_duration;

use super::{fault::Remark, section::Section};
use crate::{
    route::{self, To},
    transcode::json::Pointer,
    upstream::{self, Bridge, poll, websocket},
};

/// Reads the bridge of one `[upstream.NAME]`, where it has one.
pub(super) fn read(upstream: &Section<'_>) -> Option<Bridge> {
    let websocket = websocket(upstream);
    let poll = poll(upstream);
    if websocket.is_some() && upstream.value("poll").is_some() {
        let message = "poll stands beside websocket; an upstream has one of them";
        upstream.fault(upstream.offset("poll"), message);
    }
    websocket.or(poll)
}

fn websocket(upstream: &Section<'_>) -> Option<Bridge> {
    let websocket = upstream.switch("websocket")?;
    if upstream.choice("http") == "2" {
        let message = "http is \"2\", which a WebSocket's handshake cannot cross; write \"1.1\"";
        upstream.fault(upstream.offset("http"), message);
    }
    let settings = websocket::Settings {
        subprotocol: websocket.text("subprotocol", subprotocol),
        send: websocket.texts("send", message).unwrap_or_default(),
    };
    Some(Bridge::WebSocket(Arc::new(settings)))
}

fn poll(upstream: &Section<'_>) -> Option<Bridge> {
    let poll = upstream.given("poll")?;
    let cursor = place(&poll, &poll.section("cursor"));
    let query = poll.text("query", non_empty);
    let initial = poll.text("initial", non_empty);
    let every = poll.duration("every");
    let backoff = backoff(&poll.section("backoff"));
    let settings = poll::Settings {
        cursor: cursor?,
        query: query?,
        initial,
        every,
        backoff,
    };
    Some(Bridge::Poll(Arc::new(settings)))
}

/// Gives the routes to upstreams that hold replies back the patience that this takes, where they do not say
/// how much they have.
pub(super) fn be_patient(
    routes: &mut [(Section<'_>, route::Settings)],
    upstreams: &[(Section<'_>, upstream::Settings)],
) {
    for (section, route) in routes {
        let is_polled = matches!(of(route, upstreams), Some(Bridge::Poll(_)));
        if is_polled && section.section("timeouts").value("idle").is_none() {
            route.policy.timeouts.idle = IDLE_POLLED;
        }
    }
}

/// Warns of what a route says in vain, or to its harm, because its upstream stands behind a bridge.
pub(super) fn warnings(
    (section, route): &(Section<'_>, route::Settings),
    upstreams: &[(Section<'_>, upstream::Settings)],
    warnings: &mut Vec<Remark>,
) {
    let Some(bridge) = of(route, upstreams) else {
        return;
    };
    let upstream = &route.upstream;
    if matches!(route.policy.to, To::AsIs) {
        let message = format!(
            "to is \"as-is\", so the bridge of upstream {upstream:?} is never used; write \"auto\", or name \
             another upstream"
        );
        warnings.push(section.remark("to", &message));
        return;
    }
    if !route.methods.is_empty() && !route.methods.contains(&Method::GET) {
        let message = format!(
            "methods leaves out \"GET\", and the bridge of upstream {upstream:?} takes nothing else; add it"
        );
        warnings.push(section.remark("methods", &message));
    }
    if let route::From::Framing(framing) = route.policy.from {
        let message = format!(
            "from is {:?}, but the bridge of upstream {upstream:?} says itself what a record is; leave it out",
            framing.name
        );
        warnings.push(section.remark("from", &message));
    }
    let idle = route.policy.timeouts.idle;
    if matches!(bridge, Bridge::Poll(_)) && idle < HELD_USUALLY {
        let message = format!(
            "idle is {}, and a server may hold a poll for longer (CouchDB for 1m, Consul for 5m and a sixteenth, \
             unless they are asked for less); write more than yours does",
            format_duration(idle)
        );
        let timeouts = section.section("timeouts");
        warnings.push(timeouts.remark("idle", &message));
    }
}

fn of<'u>(
    route: &route::Settings,
    upstreams: &'u [(Section<'_>, upstream::Settings)],
) -> Option<&'u Bridge> {
    let mut settings = upstreams.iter().map(|(_, settings)| settings);
    let upstream = settings.find(|upstream| upstream.name == route.upstream)?;
    upstream.bridge.as_ref()
}

/// Where each reply says how far it goes.
fn place(poll: &Section<'_>, cursor: &Section<'_>) -> Option<poll::Place> {
    let header = cursor.text("header", field);
    let at = cursor.text("at", pointer);
    let last = cursor.text("last", pointer);
    let add = cursor.count("add").map(|add| add as u64);
    let is = |name: &str| cursor.value(name).is_some();
    if is("header") {
        for name in ["at", "last", "add"].into_iter().filter(|name| is(name)) {
            let message =
                format!("{name} looks into the body, and header is the cursor; leave one out");
            cursor.fault(cursor.offset(name), &message);
        }
        return header.map(poll::Place::Header);
    }
    if !is("at") {
        let message = "cursor is missing; it must be { header = \"…\" } or { at = \"…\" }";
        poll.absence(message);
    }
    Some(poll::Place::Body { last, at: at?, add })
}

fn backoff(section: &Section<'_>) -> poll::Backoff {
    let backoff = poll::Backoff {
        first: section.duration("first"),
        most: section.duration("most"),
    };
    if backoff.most < backoff.first {
        let (first, most) = (backoff.first, backoff.most);
        let message = format!(
            "most is {}; it must be at least first, which is {}",
            format_duration(most),
            format_duration(first)
        );
        section.fault(section.offset("most"), &message);
    }
    backoff
}

fn non_empty(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it must not be empty".to_owned());
    }
    Ok(text.to_owned())
}

fn field(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| "it must be the name of a field".to_owned())
}

fn pointer(text: &str) -> Result<Pointer, String> {
    Pointer::parse(text).map_err(|error| error.to_string())
}

/// A name as a handshake can offer it (RFC 6455 §4.1): a token.
fn subprotocol(text: &str) -> Result<HeaderValue, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let reason = "it must be one name of letters, digits and any of !#$%&'*+-.^_`|~";
    if text.is_empty() || !text.bytes().all(is_token) {
        return Err(reason.to_owned());
    }
    HeaderValue::from_str(text).map_err(|_| reason.to_owned())
}

fn message(text: &str) -> Result<String, String> {
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(format!("it must have at most {MESSAGE_BYTES_MAX} bytes"));
    }
    Ok(text.to_owned())
}

/// The longest message to send, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// How long a route to an upstream that is polled waits for a byte, where it does not say.
const IDLE_POLLED: Duration = Duration::from_mins(10);
/// How long servers usually hold a poll, and a little more.
const HELD_USUALLY: Duration = Duration::from_secs(65);
