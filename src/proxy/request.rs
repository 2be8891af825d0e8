//! Is this request one that a gateway may forward, and what does the upstream get of it?

use std::{net::IpAddr, rc::Rc};

use http::{Method, Request, Uri, Version, header, uri::PathAndQuery};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    headers,
    link::Peer,
    record::Record,
    streams::{Asked, Streams},
};
use crate::{
    error::{Kind, Refusal},
    route::Policy,
    upstream::upload::Upload,
};

/// Begins the access record of a request that `client` makes.
pub(super) fn record(
    request: &Request<Incoming>,
    client: Option<IpAddr>,
    now: Instant,
    streams: &Rc<Streams>,
) -> Record {
    let host = authority(request.uri()).or_else(|| host_field(request).next().flatten());
    let asked = Asked {
        method: request.method(),
        host: host.unwrap_or("-"),
        path: request.uri().path(),
        version: request.version(),
    };
    Record::new(asked, client, now, Rc::clone(streams))
}

/// The host that the request asks for, where the request is sound.
///
/// # Errors
/// The request is ambiguous, or asks for what a gateway of streams does not do.
pub(super) fn check(request: &Request<Incoming>) -> Result<String, Refusal> {
    let bad = |detail: &str| Err(Refusal::new(Kind::BadRequest, detail));
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        let detail = format!("the method {} is not implemented", request.method());
        return Err(Refusal::new(Kind::NotImplemented, detail));
    }
    if is_coded(request) {
        let detail = "the request has a transfer coding other than chunked";
        return Err(Refusal::new(Kind::NotImplemented, detail));
    }
    if !is_path(request) {
        return bad("the target is neither a path nor a whole URI");
    }
    if has_dot_segment(request.uri().path()) {
        return bad("the path has a segment . or .., which clients resolve before they send it");
    }
    if headers::is_loop(request.headers()) {
        let detail = "the request has come through this proxy before; an upstream leads back to it";
        return Err(Refusal::new(Kind::Loop, detail));
    }
    host(request).map_err(|detail| Refusal::new(Kind::BadRequest, detail))
}

/// The one host that target and fields agree upon (RFC 9112 §3.2); empty where HTTP/1.0 names none.
fn host(request: &Request<Incoming>) -> Result<String, &'static str> {
    let mut fields = host_field(request);
    let field = fields.next();
    if fields.next().is_some() {
        return Err("the request has more than one Host field");
    }
    let field = match field {
        Some(None) => return Err("the Host field is not text"),
        Some(field) => field,
        None => None,
    };
    let version = request.version();
    let target = authority(request.uri());
    if [field, target]
        .into_iter()
        .flatten()
        .any(|host| !is_host(host))
    {
        return Err("the host is not a name or address, with a port or without");
    }
    match (target, field) {
        (_, None) if version == Version::HTTP_11 => Err("the request has no Host field"),
        (Some(target), Some(field))
            if version == Version::HTTP_2 && !target.eq_ignore_ascii_case(field) =>
        {
            Err("the Host field and the :authority differ")
        }
        (Some(host), _) | (None, Some(host)) => Ok(host.to_owned()),
        (None, None) if version == Version::HTTP_10 => Ok(String::new()),
        (None, None) => Err("the request has no Host field"),
    }
}

/// The request for the upstream: our fields, the rewritten target, the client's body.
///
/// # Errors
/// The route's prefix to strip is not in the path.
pub(super) fn to_upstream(
    request: Request<Incoming>,
    policy: &Policy,
    peer: &Peer,
    host: &str,
) -> Result<Box<Request<Upload>>, Refusal> {
    let (head, body) = request.into_parts();
    let root = PathAndQuery::from_static("/");
    let target = policy
        .rewrite
        .apply(head.uri.path_and_query().unwrap_or(&root))
        .ok_or_else(|| Refusal::new(Kind::NoRoute, "no route takes this path"))?;
    let upload = Upload::new(body, Instant::now()).at_most(policy.limits.body_bytes_max);
    // Boxed, for it is moved through many hands.
    let mut upstream = Box::new(Request::new(upload));
    *upstream.method_mut() = head.method;
    *upstream.uri_mut() = Uri::from(target);
    *upstream.headers_mut() = head.headers;
    headers::to_upstream(upstream.headers_mut(), peer, host, head.version);
    Ok(upstream)
}

fn authority(uri: &Uri) -> Option<&str> {
    uri.authority().map(http::uri::Authority::as_str)
}

fn host_field(request: &Request<Incoming>) -> impl Iterator<Item = Option<&str>> {
    request
        .headers()
        .get_all(header::HOST)
        .iter()
        .map(|value| value.to_str().ok())
}

/// Whether the target is a path, also within a whole URI; `*` is one for OPTIONS (RFC 9112 §3.2).
fn is_path(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    path.starts_with('/') || (path == "*" && *request.method() == Method::OPTIONS)
}

/// Whether the text is a host and perhaps a port (RFC 9110 §7.2); user information is neither.
fn is_host(text: &str) -> bool {
    let after_bracket = text.rfind(']').map_or(0, |end| end + 1);
    let port = text[after_bracket..]
        .split_once(':')
        .map_or("", |(_, port)| port);
    let is_authority = text.is_empty() || text.parse::<http::uri::Authority>().is_ok();
    is_authority && !text.contains('@') && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the body is in a transfer coding beyond one chunked, which hyper leaves in place.
fn is_coded(request: &Request<Incoming>) -> bool {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    let is_other = codings.next().is_some_and(|coding| {
        !coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    });
    is_other || codings.next().is_some()
}

/// Whether a segment is `.` or `..`, also with its dots or slashes percent-encoded: routes match the path as
/// it is written, and what an upstream would resolve could leave its route.
fn has_dot_segment(path: &str) -> bool {
    let plain = path.to_ascii_lowercase().replace("%2e", ".");
    let plain = plain.replace("%2f", "/").replace("%5c", "\\");
    plain
        .split(['/', '\\'])
        .any(|segment| segment == "." || segment == "..")
}

#[cfg(test)]
mod tests {
    use super::{has_dot_segment, is_host};

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "",
            "a",
            "a.b:80",
            "127.0.0.1",
            "[::1]",
            "[::1]:80",
            "a:",
            "a_b",
        ] {
            assert!(is_host(host), "{host:?}");
        }
        for host in [
            "a b", "a/b", "a@b", "a:b", "a, b", "[::1", "[::1]:x", "a?b", "a#b", "::1", "a:1:2",
        ] {
            assert!(!is_host(host), "{host:?}");
        }
    }

    #[test]
    fn dot_segments_are_seen_through_their_encoding() {
        for path in [
            "/a/../b",
            "/..",
            "/./",
            "/%2e%2E/x",
            "/a/.%2e",
            "/a/..%2F..%2fb",
            "/a%5c..%5Cb",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in [
            "/",
            "/a",
            "/a..b",
            "/...",
            "/.well-known/x",
            "/a.b/c",
            "/a%2Fb",
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}
