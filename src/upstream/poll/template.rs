//! What of a request is repeated with every poll?

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{
    transcode::framing::parcels::ID_BYTES_MAX,
    upstream::upload::{Upload, UploadWatch},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A request without its cursor.
pub(super) struct Template {
    /// The target without the parameter.
    target: String,
    /// The parameter's name, as it stands in a target.
    parameter: String,
    headers: HeaderMap,
    upload: Rc<UploadWatch>,
}

impl Template {
    /// Takes a request apart; the cursor that it came with stands beside it: the id of the last event that
    /// the client has seen, else the parameter that it asks with.
    pub(super) fn new(request: Request<Upload>, query: &str) -> (Self, Option<String>) {
        let (mut head, body) = request.into_parts();
        let last_event_id = head.headers.remove(LAST_EVENT_ID);
        let (target, asked) = split(&head.uri, query);
        // What is wanted is what can be read here, whatever the client is written in the end.
        let accept = HeaderValue::from_static("application/json, */*;q=0.1");
        head.headers.insert(header::ACCEPT, accept);
        let identity = HeaderValue::from_static("identity");
        head.headers.insert(header::ACCEPT_ENCODING, identity);
        let template = Self {
            target,
            parameter: encoded(query),
            headers: head.headers,
            upload: body.watch(),
        };
        let seen = last_event_id.and_then(|id| String::from_utf8(id.as_bytes().to_vec()).ok());
        let is_cursor = |id: &String| !id.is_empty() && id.len() <= ID_BYTES_MAX;
        (template, seen.filter(is_cursor).or(asked.filter(is_cursor)))
    }

    /// The request from this cursor on.
    pub(super) fn request(&self, cursor: Option<&str>) -> Request<Upload> {
        let mut request = Request::new(Upload::empty_again(&self.upload));
        *request.headers_mut() = self.headers.clone();
        let target = match cursor {
            None => self.target.clone(),
            Some(cursor) => {
                let mark = if self.target.contains('?') { '&' } else { '?' };
                let (target, parameter) = (&self.target, &self.parameter);
                format!("{target}{mark}{parameter}={}", encoded(cursor))
            }
        };
        // It came as a target, and what was added is encoded: only its length could be at fault, and then the
        // cursor goes.
        let uri = Uri::try_from(target).or_else(|_| Uri::try_from(&self.target));
        *request.uri_mut() = uri.unwrap_or_default();
        request
    }
}

/// A target without the parameter `name`, and the parameter's value.
fn split(uri: &Uri, name: &str) -> (String, Option<String>) {
    let mut value = None;
    let mut kept = Vec::new();
    for pair in uri.query().unwrap_or_default().split('&') {
        let (key, text) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(key) == name {
            value = Some(decoded(text));
        } else if !pair.is_empty() {
            kept.push(pair);
        }
    }
    let path = uri.path();
    if kept.is_empty() {
        return (path.to_owned(), value);
    }
    (format!("{path}?{}", kept.join("&")), value)
}

/// A name or value of a query as text.
fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// All that may mean something in a query (RFC 3986 §2.3 names the rest).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    fn template(target: &str, last_event_id: Option<&str>) -> (Template, Option<String>) {
        let mut request = Request::new(Upload::none());
        *request.uri_mut() = target.parse().unwrap();
        let headers = request.headers_mut();
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("text/event-stream"),
        );
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1"));
        if let Some(id) = last_event_id {
            let id = HeaderValue::from_bytes(id.as_bytes()).unwrap();
            headers.insert(LAST_EVENT_ID, id);
        }
        Template::new(request, "since")
    }

    #[test]
    fn the_cursor_takes_the_place_of_the_parameter() {
        for (target, cursor, asked) in [
            ("/db", None, "/db"),
            ("/db", Some("1"), "/db?since=1"),
            ("/db?", Some("1"), "/db?since=1"),
            ("/db?since=0", None, "/db"),
            ("/db?since=0", Some("1"), "/db?since=1"),
            ("/db?a=b&since=0&c", Some("1"), "/db?a=b&c&since=1"),
            ("/db?a=b%26&sin%63e=0&since", None, "/db?a=b%26"),
            (
                "/db?sinces=0",
                Some("[1,\"é\"]"),
                "/db?sinces=0&since=%5B1%2C%22%C3%A9%22%5D",
            ),
            ("/db", Some("a b+c&d=e"), "/db?since=a%20b%2Bc%26d%3De"),
        ] {
            let (template, _) = template(target, None);
            let request = template.request(cursor);
            assert_eq!(request.uri().to_string(), asked, "{target} {cursor:?}");
            assert_eq!(request.headers()["accept-encoding"], "identity");
            assert_eq!(request.headers()["accept"], "application/json, */*;q=0.1");
            assert_eq!(request.headers()["cookie"], "a=1");
        }
    }

    #[test]
    fn a_client_comes_with_the_id_that_it_has_seen_else_with_what_it_asks() {
        for (target, id, expected) in [
            ("/db", None, None),
            ("/db?since=now", None, Some("now")),
            ("/db?since=a%20b+c", None, Some("a b c")),
            ("/db?since=", None, None),
            ("/db?since=now", Some("3-x"), Some("3-x")),
            ("/db", Some("é"), Some("é")),
            ("/db?since=now", Some(""), Some("now")),
        ] {
            let (template, came_with) = template(target, id);
            assert_eq!(came_with.as_deref(), expected, "{target} {id:?}");
            let request = template.request(None);
            assert!(!request.headers().contains_key("last-event-id"));
        }
        let long = "x".repeat(ID_BYTES_MAX + 1);
        assert_eq!(template("/db", Some(&long)).1, None);
    }

    #[test]
    fn a_target_that_cannot_be_goes_without_its_cursor() {
        let (template, _) = template(&format!("/{}", "x".repeat(60_000)), None);
        let request = template.request(Some(&"y".repeat(10_000)));
        assert_eq!(request.uri().query(), None);
    }
}
