//! Is this reply converted, and from what?
//!
//! The route's `from` and `to`, the request's `Accept` (RFC 9110 §12.5.1) and the reply's head
//! decide together; the reply passes as it is wherever one of them does not ask for conversion.

use http::{HeaderMap, Method, StatusCode, header, response};

use crate::{
    route::{From, Policy, To},
    transcode::{
        framing::{self, Framing},
        output::{OUTPUTS, Output, sse},
    },
};

const SSE: &str = "text/event-stream";

/// Fields that make a request conditional or ask for a part: their answers pass as they are.
const PLAIN_FIELDS: [header::HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// What of a request decides about conversion.
#[derive(Debug, Clone)]
pub(super) struct Wants {
    is_plain: bool,
    accept: Option<String>,
}

/// What is done with a reply.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plan {
    /// Its bytes pass as they are.
    Pass,
    /// Its records become events.
    Convert(&'static Framing, Chosen),
}

/// What is written, and by which of its names it was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen {
    pub(super) output: &'static Output,
    pub(super) media_type: &'static str,
}

impl Wants {
    /// Reads a request.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let is_plain = matches!(*method, Method::HEAD | Method::CONNECT)
            || PLAIN_FIELDS.iter().any(|name| headers.contains_key(name));
        let accept: Vec<&str> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        Self {
            is_plain,
            accept: (!accept.is_empty()).then(|| accept.join(",")),
        }
    }

    /// Whether only the reply as it is can answer.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// What the client is written, if it is written events at all: what the route says, else what the
    /// client accepts best, and Server-Sent Events where it does not mind.
    pub(super) fn output(&self, policy: &Policy) -> Option<Chosen> {
        if self.is_plain {
            return None;
        }
        match policy.to {
            To::AsIs => None,
            To::Output(output) => Some(self.best_name(output)),
            To::Auto => {
                let chosen = OUTPUTS.iter().map(|output| self.best_name(output));
                // Of equals the first counts; `max_by_key` takes the last.
                let best = chosen
                    .rev()
                    .max_by_key(|chosen| self.quality(chosen.media_type));
                best.filter(|chosen| self.quality(chosen.media_type) > 0)
            }
        }
    }

    fn best_name(&self, output: &'static Output) -> Chosen {
        let names = output.media_types.iter().rev();
        let best = names.max_by_key(|name| self.quality(name));
        Chosen {
            output,
            media_type: best.expect("every output has a media type"),
        }
    }

    /// Whether conversion is likely enough to ask the upstream not to compress: the route names a
    /// framing, or the client names the event stream.
    pub(super) fn expects_conversion(&self, policy: &Policy) -> bool {
        let is_named = self
            .accept
            .as_deref()
            .is_some_and(|accept| accept.to_ascii_lowercase().contains(SSE));
        self.output(policy).is_some() && (matches!(policy.from, From::Framing(_)) || is_named)
    }

    /// Whether the client wants a reply of this type rather than what was chosen, or wants just this type.
    pub(super) fn prefers(&self, reply_type: &str, chosen: Chosen) -> bool {
        if reply_type.is_empty() {
            return false;
        }
        let is_it = chosen.output.name != sse::OUTPUT.name
            && chosen.output.media_types.contains(&reply_type);
        let (reply, best) = (self.quality(reply_type), self.quality(chosen.media_type));
        reply > best || (is_it && reply == best)
    }

    /// Whether the client says that it takes this very type.
    fn names(&self, media_type: &str) -> bool {
        let accept = self.accept.as_deref().unwrap_or_default();
        let (specificity, quality) = accept_quality(accept, media_type);
        specificity == EXACT && quality > 0
    }

    /// How much the client wants this media type, in thousandths; 1000 for all where it says nothing.
    fn quality(&self, media_type: &str) -> u16 {
        self.accept
            .as_deref()
            .map_or(1000, |accept| accept_quality(accept, media_type).1)
    }
}

/// What was decided about a reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Negotiated {
    pub(super) plan: Plan,
    /// Whether another `Accept` could have decided otherwise.
    pub(super) is_by_accept: bool,
}

/// Decides about a reply; `bridged` is how its records are cut, where a bridge made it.
pub(super) fn plan(
    policy: &Policy,
    wants: &Wants,
    reply: &response::Parts,
    bridged: Option<&'static Framing>,
) -> Negotiated {
    let Some(framing) = convertible(policy, wants, reply, bridged) else {
        return Negotiated {
            plan: Plan::Pass,
            is_by_accept: false,
        };
    };
    let is_by_accept = matches!(policy.to, To::Auto);
    let reply_type = media_type(&reply.headers);
    let chosen = wants.output(policy);
    let is_its_own = framing.is_for_its_own_clients && matches!(policy.from, From::Auto);
    let chosen = chosen.filter(|chosen| {
        let is_wanted = !is_its_own || wants.names(chosen.media_type);
        let is_preferred = bridged.is_none() && wants.prefers(&reply_type, *chosen);
        !is_by_accept || (is_wanted && !is_preferred)
    });
    Negotiated {
        plan: chosen.map_or(Plan::Pass, |chosen| Plan::Convert(framing, chosen)),
        is_by_accept,
    }
}

/// How the records of a reply are cut, if it may be converted at all.
pub(super) fn convertible(
    policy: &Policy,
    wants: &Wants,
    reply: &response::Parts,
    bridged: Option<&'static Framing>,
) -> Option<&'static Framing> {
    let is_whole = reply.status.is_success()
        && !matches!(
            reply.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
        );
    let is_asked_for = !wants.is_plain && !matches!(policy.to, To::AsIs);
    if !is_whole || !is_asked_for {
        return None;
    }
    bridged.or_else(|| choose_framing(policy.from, &media_type(&reply.headers)))
}

fn choose_framing(from: From, reply_type: &str) -> Option<&'static Framing> {
    let framing = match from {
        From::Auto => return framing::by_content_type(reply_type),
        From::Framing(framing) => framing,
    };
    if reply_type == SSE {
        return framing::by_content_type(SSE);
    }
    let takes_any_text = matches!(framing.name, "lines" | "chunks");
    (!is_never_records(reply_type) && (takes_any_text || !is_page(reply_type))).then_some(framing)
}

/// Types whose bytes are never records of text, whatever the route says.
fn is_never_records(reply_type: &str) -> bool {
    ["image/", "audio/", "video/", "font/"]
        .iter()
        .any(|prefix| reply_type.starts_with(prefix))
}

/// Types of the pages around a stream: an error page, a form, the page's own script.
fn is_page(reply_type: &str) -> bool {
    matches!(
        reply_type,
        "text/html" | "application/xhtml+xml" | "text/css" | "text/javascript"
    )
}

/// The media type of a message in lower case, without parameters; empty where it has none.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let media_type = content_type(headers).split(';').next();
    media_type.unwrap_or_default().trim().to_ascii_lowercase()
}

/// The content type of a message as it is written, with its parameters; empty where it has none.
pub(super) fn content_type(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// How specific a range is that gives the media type itself.
const EXACT: u8 = 3;

/// The quality that `accept` gives to `media_type`, in thousandths, and how specific the range is that
/// gives it: the most specific counts.
fn accept_quality(accept: &str, media_type: &str) -> (u8, u16) {
    let kind = media_type.split('/').next().unwrap_or_default();
    let mut best = (0_u8, 0_u16);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specificity = match name.split_once('/') {
            Some(("*", "*")) => 1,
            Some((left, "*")) if left == kind => 2,
            _ if name == media_type => EXACT,
            _ => continue,
        };
        let quality = parts
            .find_map(|parameter| {
                let (name, value) = parameter.split_once('=')?;
                name.trim()
                    .eq_ignore_ascii_case("q")
                    .then(|| thousandths(value.trim()))
            })
            .unwrap_or(1000);
        if specificity > best.0 || (specificity == best.0 && quality > best.1) {
            best = (specificity, quality);
        }
    }
    best
}

/// Reads a qvalue (RFC 9110 §12.4.2); what cannot be read counts as 1.
pub(super) fn thousandths(value: &str) -> u16 {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if whole != "0" {
        return 1000;
    }
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).take(3);
    digits
        .zip([100, 10, 1])
        .map(|(digit, weight)| u16::from(digit - b'0') * weight)
        .sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderValue, Response};

    use super::*;
    use crate::{
        route::{Limits, Rewrite, Timeouts},
        transcode::{compress, heartbeat},
    };

    fn policy(from: &str, to: To) -> Policy {
        Policy {
            from: framing::by_name(from).map_or(From::Auto, From::Framing),
            to,
            charset: None,
            event: Arc::default(),
            heartbeat: heartbeat::Settings::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            rewrite: Rewrite::default(),
            compress: compress::Settings::default(),
        }
    }

    const AWS: &str = "application/vnd.amazon.eventstream";

    fn decide(policy: &Policy, accept: &str, status: u16, content_type: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        }
        let wants = Wants::of(&Method::GET, &headers);
        let mut reply = Response::builder().status(status);
        if !content_type.is_empty() {
            reply = reply.header(header::CONTENT_TYPE, content_type);
        }
        let (head, ()) = reply.body(()).unwrap().into_parts();
        match plan(policy, &wants, &head, None).plan {
            Plan::Pass => "pass",
            Plan::Convert(framing, chosen) if chosen.output.name == "sse" => framing.name,
            Plan::Convert(_, chosen) => chosen.media_type,
        }
    }

    #[test]
    fn the_route_the_client_and_the_reply_decide_together() {
        let ndjson = "application/x-ndjson";
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        let rows: &[(&str, To, &str, u16, &str, &str)] = &[
            ("auto", To::Auto, "", 200, ndjson, "ndjson"),
            (
                "auto",
                To::Auto,
                "*/*",
                200,
                "application/x-ndjson; charset=utf-8",
                "ndjson",
            ),
            ("auto", To::Auto, SSE, 200, ndjson, "ndjson"),
            ("auto", To::Auto, "text/*", 200, ndjson, "ndjson"),
            ("auto", To::Auto, browser, 200, ndjson, "ndjson"),
            ("auto", To::Auto, ndjson, 200, ndjson, "pass"),
            (
                "auto",
                To::Auto,
                "application/x-ndjson, */*;q=0.1",
                200,
                ndjson,
                "pass",
            ),
            (
                "auto",
                To::Auto,
                "application/x-ndjson, text/event-stream",
                200,
                ndjson,
                "ndjson",
            ),
            (
                "auto",
                To::Auto,
                "text/event-stream;q=0, */*",
                200,
                ndjson,
                "pass",
            ),
            ("auto", To::Auto, "image/png", 200, ndjson, "pass"),
            (
                "auto",
                To::Output(&sse::OUTPUT),
                "image/png",
                200,
                ndjson,
                "ndjson",
            ),
            ("auto", To::AsIs, SSE, 200, ndjson, "pass"),
            ("auto", To::Auto, SSE, 200, "text/plain", "pass"),
            ("auto", To::Auto, SSE, 200, "application/json", "pass"),
            ("auto", To::Auto, SSE, 200, "", "pass"),
            ("auto", To::Auto, SSE, 200, SSE, "sse"),
            ("auto", To::Auto, SSE, 404, ndjson, "pass"),
            ("auto", To::Auto, SSE, 204, ndjson, "pass"),
            ("auto", To::Auto, SSE, 206, ndjson, "pass"),
            ("auto", To::Auto, SSE, 201, ndjson, "ndjson"),
            ("ndjson", To::Auto, SSE, 200, "application/json", "ndjson"),
            (
                "ndjson",
                To::Auto,
                "application/json",
                200,
                "application/json",
                "pass",
            ),
            ("auto", To::Auto, ndjson, 200, SSE, ndjson),
            (
                "sse",
                To::Auto,
                "application/jsonl",
                200,
                SSE,
                "application/jsonl",
            ),
            (
                "lines",
                To::Auto,
                "application/json-seq",
                200,
                "text/plain",
                "application/json-seq",
            ),
            (
                "lines",
                To::Auto,
                "application/x-ndjson, */*",
                200,
                "text/plain",
                "lines",
            ),
            (
                "lines",
                To::Auto,
                "application/x-ndjson, */*;q=0.1",
                200,
                "text/plain",
                ndjson,
            ),
            ("auto", To::Auto, "*/*", 200, AWS, "pass"),
            ("auto", To::Auto, "", 200, AWS, "pass"),
            (
                "auto",
                To::Auto,
                "text/event-stream, */*",
                200,
                AWS,
                "aws-eventstream",
            ),
            (
                "auto",
                To::Output(&sse::OUTPUT),
                "*/*",
                200,
                AWS,
                "aws-eventstream",
            ),
            (
                "aws-eventstream",
                To::Auto,
                "*/*",
                200,
                AWS,
                "aws-eventstream",
            ),
            ("aws-eventstream", To::Auto, AWS, 200, AWS, "pass"),
            ("ndjson", To::Auto, "", 200, "", "ndjson"),
            ("ndjson", To::Auto, "", 200, SSE, "sse"),
            ("ndjson", To::Auto, "", 200, "image/png", "pass"),
            ("ndjson", To::Auto, "", 200, "text/html", "pass"),
            ("lines", To::Auto, "", 200, "text/html", "lines"),
        ];
        for &(from, to, accept, status, content_type, expected) in rows {
            let decided = decide(&policy(from, to), accept, status, content_type);
            assert_eq!(
                decided, expected,
                "{from} {to:?} {accept:?} {status} {content_type:?}"
            );
        }
    }

    #[test]
    fn qualities_are_read_as_thousandths() {
        let rows = [
            ("1", 1000),
            ("0", 0),
            ("0.5", 500),
            ("0.001", 1),
            ("0.12345", 123),
            ("x", 1000),
        ];
        for (value, expected) in rows {
            assert_eq!(thousandths(value), expected, "{value}");
        }
    }
}
