//! Which fields cross the proxy, and which are ours?

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use super::link::Peer;
use crate::error::PROXY_NAME;

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const INCREMENTAL: HeaderName = HeaderName::from_static("incremental");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Fields between neighbors only (RFC 9110 §7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields that `Connection` cannot take away: what is decided upon must be what is forwarded.
const PROTECTED: [HeaderName; 10] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::AUTHORIZATION,
    header::COOKIE,
    header::FORWARDED,
    FORWARDED_FOR,
    FORWARDED_PROTO,
    FORWARDED_HOST,
];

/// Fields of a reply that are no longer true of its conversion (RFC 9110 §7.7).
const CONVERTED_AWAY: [&str; 13] = [
    "content-length",
    "content-encoding",
    "content-md5",
    "content-digest",
    "content-range",
    "accept-ranges",
    "age",
    "digest",
    "etag",
    "expires",
    "last-modified",
    "repr-digest",
    "trailer",
];

/// How often a request may have come through a proxy of our name before it is taken for a loop.
const LOOP_MAX: usize = 8;

/// Whether the request asks to turn the connection into another protocol; `h2c` does not count, it is
/// obsolete (RFC 9113 §3.1).
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = list(headers, &header::CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
    let protocol = headers.get(header::UPGRADE).filter(|_| asks)?;
    (!protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).then(|| protocol.clone())
}

/// Takes away what is between us and the neighbor that sent the message.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = list(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .filter(|name| !PROTECTED.contains(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The body's length in bytes, where the head says it.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Whether the client can take trailers (RFC 9110 §10.1.4).
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    list(headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case("trailers"))
}

/// Whether the request has come through us too often.
pub(super) fn is_loop(headers: &HeaderMap) -> bool {
    let ours = |hop: &&str| hop.split_whitespace().nth(1) == Some(PROXY_NAME);
    list(headers, &header::VIA).filter(ours).count() >= LOOP_MAX
}

/// Makes a request's fields those that the upstream gets.
pub(super) fn to_upstream(headers: &mut HeaderMap, peer: &Peer, host: &str, version: Version) {
    let takes_trailers = takes_trailers(headers);
    strip_hop_by_hop(headers);
    headers.remove(header::EXPECT);
    headers.remove("http2-settings");
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    join_cookies(headers);
    append(headers, &header::VIA, &via(version));
    forwarded(headers, peer, host);
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert(header::HOST, host);
    }
}

/// Asks the upstream for bytes that can be converted, as they come (RFC 10036).
pub(super) fn ask_for_stream(headers: &mut HeaderMap) {
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    headers.insert(INCREMENTAL, HeaderValue::from_static("?1"));
}

/// Asks the upstream for a tunnel, or tells the client of one.
pub(super) fn upgrade_to(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Makes a reply's fields those of a stream of events.
pub(super) fn converted(headers: &mut HeaderMap, media_type: &'static str) {
    for name in CONVERTED_AWAY {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(INCREMENTAL, HeaderValue::from_static("?1"));
}

/// Says that the response depends on the request's `Accept`.
pub(super) fn vary_by_accept(headers: &mut HeaderMap) {
    vary_by(headers, "Accept");
}

/// Says that the response depends on the request's `Accept-Encoding`.
pub(super) fn vary_by_accept_encoding(headers: &mut HeaderMap) {
    vary_by(headers, "Accept-Encoding");
}

fn vary_by(headers: &mut HeaderMap, field: &'static str) {
    let is_said =
        list(headers, &header::VARY).any(|name| name == "*" || name.eq_ignore_ascii_case(field));
    if !is_said {
        headers.append(header::VARY, HeaderValue::from_static(field));
    }
}

/// Whether the message asks everyone on its way to leave its content alone (RFC 9110 §7.7).
pub(super) fn forbids_transforming(headers: &HeaderMap) -> bool {
    list(headers, &header::CACHE_CONTROL)
        .any(|directive| directive.eq_ignore_ascii_case("no-transform"))
}

/// Who asked, and for what: added to what trusted peers say, in place of what others say (RFC 7239).
fn forwarded(headers: &mut HeaderMap, peer: &Peer, host: &str) {
    if !peer.is_trusted {
        for name in [
            &header::FORWARDED,
            &FORWARDED_FOR,
            &FORWARDED_PROTO,
            &FORWARDED_HOST,
        ] {
            headers.remove(name);
        }
    }
    let proto = if peer.is_tls { "https" } else { "http" };
    if let Some(address) = peer.address {
        append(headers, &FORWARDED_FOR, &address.to_string());
    }
    for (name, value) in [(&FORWARDED_PROTO, proto), (&FORWARDED_HOST, host)] {
        if !headers.contains_key(name)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    }
    let node = match peer.address {
        Some(IpAddr::V6(ip)) => format!("\"[{ip}]\""),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        None => "unknown".to_owned(),
    };
    let host = host.replace(['"', '\\'], "");
    append(
        headers,
        &header::FORWARDED,
        &format!("for={node};host=\"{host}\";proto={proto}"),
    );
}

/// HTTP/2 may split a cookie into several fields, HTTP/1.1 may not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, cookie);
    }
}

fn via(version: Version) -> String {
    let version = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        _ => "1.1",
    };
    format!("{version} {PROXY_NAME}")
}

/// Adds `value` at the end of a list field, in one line.
fn append(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    let mut whole = headers
        .get_all(name)
        .iter()
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect::<Vec<_>>()
        .join(", ");
    if !whole.is_empty() {
        whole.push_str(", ");
    }
    whole.push_str(value);
    if let Ok(value) = HeaderValue::from_str(&whole) {
        headers.insert(name, value);
    }
}

/// The members of a comma-separated list field.
pub(super) fn list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in rows {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    fn peer(is_trusted: bool) -> Peer {
        Peer {
            address: Some("192.0.2.7".parse().unwrap()),
            is_tls: true,
            is_trusted,
        }
    }

    #[test]
    fn hop_by_hop_fields_and_those_named_by_connection_go() {
        let mut fields = headers(&[
            ("connection", "close, X-Secret, Authorization"),
            ("x-secret", "1"),
            ("authorization", "Bearer t"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers, deflate"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("accept", "*/*"),
        ]);
        to_upstream(&mut fields, &peer(false), "example.com", Version::HTTP_11);
        for gone in [
            "connection",
            "x-secret",
            "keep-alive",
            "transfer-encoding",
            "upgrade",
            "expect",
        ] {
            assert!(!fields.contains_key(gone), "{gone}");
        }
        assert_eq!(fields["authorization"], "Bearer t");
        assert_eq!(fields["te"], "trailers");
        assert_eq!(fields["via"], "1.1 weir");
        assert_eq!(fields["host"], "example.com");
    }

    #[test]
    fn what_untrusted_peers_say_of_themselves_is_replaced() {
        let said = [
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=10.0.0.1"),
        ];
        let mut fields = headers(&said);
        to_upstream(&mut fields, &peer(false), "example.com", Version::HTTP_2);
        assert_eq!(fields["x-forwarded-for"], "192.0.2.7");
        assert_eq!(fields["x-forwarded-proto"], "https");
        assert_eq!(fields["x-forwarded-host"], "example.com");
        assert_eq!(
            fields["forwarded"],
            "for=192.0.2.7;host=\"example.com\";proto=https"
        );
        let mut fields = headers(&said);
        to_upstream(&mut fields, &peer(true), "example.com", Version::HTTP_2);
        assert_eq!(fields["x-forwarded-for"], "10.0.0.1, 192.0.2.7");
        assert_eq!(fields["x-forwarded-proto"], "gopher");
        assert_eq!(
            fields["forwarded"],
            "for=10.0.0.1, for=192.0.2.7;host=\"example.com\";proto=https"
        );
    }

    #[test]
    fn cookies_are_joined_and_loops_seen() {
        let mut fields = headers(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut fields);
        assert_eq!(fields["cookie"], "a=1; b=2");
        let once = "1.1 weir, ";
        assert!(!is_loop(&headers(&[("via", &once.repeat(7))])));
        assert!(is_loop(&headers(&[("via", &once.repeat(8))])));
        assert!(!is_loop(&headers(&[("via", &"1.1 other, ".repeat(9))])));
    }

    #[test]
    fn a_converted_reply_tells_the_truth_of_its_new_body() {
        let mut fields = headers(&[
            ("content-type", "application/x-ndjson"),
            ("content-length", "12"),
            ("etag", "\"x\""),
            ("vary", "Accept-Encoding"),
            ("x-request-id", "7"),
        ]);
        converted(&mut fields, "text/event-stream");
        vary_by_accept(&mut fields);
        vary_by_accept(&mut fields);
        assert_eq!(fields["content-type"], "text/event-stream");
        assert_eq!(fields["cache-control"], "no-cache, no-transform");
        assert_eq!(fields["x-accel-buffering"], "no");
        assert_eq!(fields["incremental"], "?1");
        assert!(!fields.contains_key("content-length") && !fields.contains_key("etag"));
        assert_eq!(fields["x-request-id"], "7");
        assert_eq!(fields.get_all("vary").iter().count(), 2);
    }
}
