//! Is this request let in, and whose is it?

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Request, header};
use http_body::Body;
use ipnet::IpNet;

use super::{headers::FORWARDED_FOR, link::Peer};
use crate::{
    error::{Kind, Refusal},
    limits::Place,
    route,
};

/// Takes a place for the request of `client` among the open streams of its route. Nothing has been sent
/// upstream yet.
///
/// # Errors
/// The body is too long, by what its head says, or one of the limits is reached.
pub(super) fn admit(
    request: &Request<impl Body>,
    route: &route::Settings,
    client: Option<IpAddr>,
) -> Result<Place, Refusal> {
    let body_bytes_max = route.policy.limits.body_bytes_max;
    if body_bytes_max.is_some_and(|most| request.body().size_hint().lower() > most) {
        return Err(body_too_large());
    }
    route.gate.admit(client)
}

/// The refusal of a request whose body is longer than the route takes.
pub(super) fn body_too_large() -> Refusal {
    let detail = "the request's body is longer than this route takes";
    Refusal::new(Kind::BodyTooLarge, detail)
}

/// Who asks, for whatever is decided by that or told of it: the peer, or where that is a trusted proxy, the
/// one nearest to us, by what the proxies say, that is none. `None` is somebody at a unix socket.
pub(super) fn client(fields: &HeaderMap, peer: &Peer, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut client = peer.address;
    if !peer.is_trusted {
        return client;
    }
    for node in nodes(fields).into_iter().rev() {
        // Behind what nobody can read there may be anybody.
        let Some(address) = address(node) else {
            break;
        };
        client = Some(address);
        if !trusted.iter().any(|network| network.contains(&address)) {
            break;
        }
    }
    client
}

/// Through whom the request came, the farthest first. Most proxies write X-Forwarded-For, and pass a
/// Forwarded on that they do not know, so the former counts where both are there.
fn nodes(fields: &HeaderMap) -> Vec<&str> {
    if fields.contains_key(FORWARDED_FOR) {
        return members(fields, &FORWARDED_FOR).collect();
    }
    members(fields, &header::FORWARDED)
        .map(|element| {
            let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
            let mut nodes = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
            nodes.next().map_or("", |(_, node)| node)
        })
        .collect()
}

/// The members of a list, of which one that is no text does not hide those that a proxy put behind it.
fn members<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = fields.get_all(name).into_iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members
        .map(|member| str::from_utf8(member).unwrap_or("unknown").trim())
        .filter(|member| !member.is_empty())
}

/// The address of a node (RFC 7239 §6), with a port or without.
fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim().trim_matches('"');
    let bare = match node.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        // More than one colon is an IPv6 address by itself.
        None => match node.split_once(':') {
            Some((ip, port)) if !port.contains(':') => ip,
            Some(_) | None => node,
        },
    };
    bare.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(peer: Option<&str>, fields: &[(&str, &str)], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let trusted: [IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let address: Option<IpAddr> = peer.map(|peer| peer.parse().unwrap());
        let peer = Peer {
            address,
            is_tls: false,
            is_trusted: address.is_none_or(|ip| trusted[0].contains(&ip)),
        };
        let expected = expected.map(|ip| ip.parse().unwrap());
        assert_eq!(
            client(&headers, &peer, &trusted),
            expected,
            "{address:?} {fields:?}"
        );
    }

    #[test]
    fn who_asks_is_the_nearest_that_is_no_proxy_of_ours() {
        let claim = [("x-forwarded-for", "192.0.2.1")];
        check(Some("198.51.100.9"), &claim, Some("198.51.100.9"));
        check(Some("10.0.0.1"), &claim, Some("192.0.2.1"));
        check(None, &claim, Some("192.0.2.1"));
        check(Some("10.0.0.1"), &[], Some("10.0.0.1"));
        check(None, &[], None);
        let forged = [("x-forwarded-for", "203.0.113.5, 192.0.2.1, 10.0.0.2")];
        check(Some("10.0.0.1"), &forged, Some("192.0.2.1"));
        let several = [
            ("x-forwarded-for", "203.0.113.5"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        check(Some("10.0.0.1"), &several, Some("192.0.2.1"));
        let odd = [("x-forwarded-for", "203.0.113.5 \u{fc}, , 192.0.2.1")];
        check(Some("10.0.0.1"), &odd, Some("192.0.2.1"));
        let inside = [("x-forwarded-for", "10.0.0.7, 10.0.0.2")];
        check(Some("10.0.0.1"), &inside, Some("10.0.0.7"));
        let unknown = [("x-forwarded-for", "192.0.2.1, unknown, 10.0.0.2")];
        check(Some("10.0.0.1"), &unknown, Some("10.0.0.2"));
    }

    #[test]
    fn forwarded_is_read_where_it_stands_alone() {
        let forwarded = |value| [("forwarded", value)];
        for (value, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1:8080\";proto=https", "192.0.2.1"),
            ("proto=https; for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=203.0.113.5, for=192.0.2.1;by=10.0.0.1", "192.0.2.1"),
            ("for=\"a, for=203.0.113.5, for=192.0.2.1", "192.0.2.1"),
            ("for=192.0.2.1, for=_hidden", "10.0.0.1"),
            ("for=192.0.2.1, proto=https", "10.0.0.1"),
        ] {
            check(Some("10.0.0.1"), &forwarded(value), Some(expected));
        }
        let both = [
            ("forwarded", "for=203.0.113.5"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        check(Some("10.0.0.1"), &both, Some("192.0.2.1"));
    }

    #[test]
    fn an_address_may_have_a_port_and_brackets() {
        for (node, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("\"[2001:db8::1]:80\"", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("unknown", None),
            ("_secret", None),
            ("[192.0.2.1", None),
            ("", None),
        ] {
            assert_eq!(
                address(node),
                expected.map(|ip| ip.parse().unwrap()),
                "{node}"
            );
        }
    }
}
