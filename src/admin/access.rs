//! Who may ask for what?
//!
//! With a token, whoever knows it, over whatever address. Without one, whoever is on this machine: over a
//! unix socket, whose file says who may use it, or at a loopback address, where a page of another
//! origin in a browser of this machine must be kept off, too. At any other address only what probes and
//! scrapers need is open without a token.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header, uri::Authority};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use super::reply::{self, Body};
use crate::edge::ListenerAddress;

/// What operators must know; shown nowhere.
#[derive(Clone)]
pub struct Token(String);

/// Why a text can be no token. It goes on where "it must be" might stand.
#[derive(Debug, Error)]
pub enum TokenFault {
    /// Too easy to guess, or to send.
    #[error("it must be from {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} characters")]
    Length,
    /// No field of a request can hold it.
    #[error("it must be visible ASCII characters alone, without spaces")]
    Characters,
}

/// Fewer could be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// More would be no token.
const TOKEN_BYTES_MAX: usize = 512;

impl Token {
    /// The token of that text.
    ///
    /// # Errors
    /// It is too short, too long, or holds something that is no visible ASCII character.
    pub fn new(text: &str) -> Result<Self, TokenFault> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenFault::Characters);
        }
        if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len()) {
            return Err(TokenFault::Length);
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether the request brings it, compared in a time that does not tell how much of it is right.
    fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return false;
        };
        let Some((scheme, credentials)) = field.to_str().ok().and_then(|text| text.split_once(' '))
        else {
            return false;
        };
        let is_equal: bool = credentials
            .trim()
            .as_bytes()
            .ct_eq(self.0.as_bytes())
            .into();
        scheme.eq_ignore_ascii_case("bearer") && is_equal
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Who can ask for a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// Anybody: probes.
    Everybody,
    /// Scrapers, which need the token only where there is one.
    Scrapers,
    /// Whoever will have to say the token later: what the page is made of.
    Visitors,
    /// Whoever may see and do everything.
    Operators,
}

/// How the listener can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Over a socket's file.
    Unix,
    /// From this machine.
    Loopback,
    /// From other machines, too.
    Network,
}

impl Access {
    pub(super) fn of(address: &ListenerAddress) -> Self {
        match address {
            ListenerAddress::Unix(_) => Self::Unix,
            ListenerAddress::Tcp(address) if address.ip().is_loopback() => Self::Loopback,
            ListenerAddress::Tcp(_) => Self::Network,
        }
    }

    /// Lets the request pass, or says why not.
    pub(super) fn check(
        self,
        whom: For,
        token: Option<&Token>,
        headers: &HeaderMap,
    ) -> Result<(), Box<Response<Body>>> {
        let deny = |status, text: &'static str| Err(Box::new(reply::text(status, text)));
        let is_known = token.is_some_and(|token| token.is_in(headers));
        match (whom, token) {
            (For::Everybody, _) | (For::Visitors, Some(_)) | (For::Scrapers, None) => return Ok(()),
            (For::Scrapers | For::Operators, Some(_)) if !is_known => {
                let text = "say the token: Authorization: Bearer TOKEN\n";
                let mut response = reply::text(StatusCode::UNAUTHORIZED, text);
                let scheme = HeaderValue::from_static("Bearer realm=\"weir\"");
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, scheme);
                return Err(Box::new(response));
            }
            (For::Visitors | For::Operators, None) if self == Self::Network => {
                let text = "this address can be reached from other machines, where this takes a token: \
                            set [admin] token_file\n";
                return deny(StatusCode::FORBIDDEN, text);
            }
            (For::Scrapers | For::Visitors | For::Operators, _) => {}
        }
        if token.is_none() && self == Self::Loopback && !is_host_of_loopback(headers) {
            let text = "the Host is neither an IP address nor localhost; a page that is made to resolve \
                        to this machine would say such a one\n";
            return deny(StatusCode::MISDIRECTED_REQUEST, text);
        }
        // Who knows the token is no page that has lured an operator: nothing sends it along by itself.
        if token.is_none() && whom == For::Operators && is_cross_origin(headers) {
            let text = "a page of another origin asks; only this one's own may\n";
            return deny(StatusCode::FORBIDDEN, text);
        }
        Ok(())
    }
}

/// Whether the request names the host as nobody can who has had a name resolve to this machine.
fn is_host_of_loopback(headers: &HeaderMap) -> bool {
    let authority = |value: &HeaderValue| value.to_str().ok()?.parse::<Authority>().ok();
    let Some(authority) = headers.get(header::HOST).and_then(authority) else {
        return false;
    };
    let host = authority.host();
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok()
        || bracketed.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
}

/// Whether a browser says that another origin's page asks.
fn is_cross_origin(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| origin.strip_prefix(scheme));
    let own = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    host.is_none() || host != own
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn status(
        access: Access,
        whom: For,
        has_token: bool,
        fields: &[(&'static str, &'static str)],
    ) -> u16 {
        let token = has_token.then(|| Token::new(TOKEN).unwrap());
        match access.check(whom, token.as_ref(), &headers(fields)) {
            Ok(()) => 200,
            Err(response) => response.status().as_u16(),
        }
    }

    #[test]
    fn who_comes_from_elsewhere_needs_a_token() {
        let named = [("host", "weir.example:9900")];
        for (whom, without, with) in [
            (For::Everybody, 200, 200),
            (For::Scrapers, 200, 401),
            (For::Visitors, 403, 200),
            (For::Operators, 403, 401),
        ] {
            assert_eq!(
                status(Access::Network, whom, false, &named),
                without,
                "{whom:?}"
            );
            assert_eq!(
                status(Access::Network, whom, true, &named),
                with,
                "{whom:?}"
            );
        }
    }

    #[test]
    fn only_the_very_token_opens() {
        let check = |value| {
            status(
                Access::Network,
                For::Operators,
                true,
                &[("authorization", value)],
            )
        };
        assert_eq!(check("Bearer 0123456789abcdef"), 200);
        assert_eq!(check("bearer 0123456789abcdef"), 200);
        for wrong in [
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Bearer",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
        ] {
            assert_eq!(check(wrong), 401, "{wrong}");
        }
        let twice = [("authorization", "Bearer 0123456789abcdef"); 2];
        assert_eq!(status(Access::Network, For::Operators, true, &twice), 401);
        assert_eq!(format!("{:?}", Token::new(TOKEN).unwrap()), "Token(…)");
    }

    #[test]
    fn a_name_that_was_made_to_resolve_to_this_machine_is_refused() {
        let check = |whom, host| status(Access::Loopback, whom, false, &[("host", host)]);
        for host in [
            "localhost",
            "LOCALHOST:9900",
            "127.0.0.1:9900",
            "[::1]:9900",
            "192.0.2.1",
        ] {
            assert_eq!(check(For::Operators, host), 200, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "a b",
        ] {
            assert_eq!(check(For::Operators, host), 421, "{host}");
            assert_eq!(check(For::Visitors, host), 421, "{host}");
            assert_eq!(check(For::Scrapers, host), 200, "{host}");
        }
        assert_eq!(status(Access::Unix, For::Operators, false, &[]), 200);
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let host = ("host", "127.0.0.1:9900");
        for (fields, expected) in [
            (vec![host, ("origin", "http://127.0.0.1:9900")], 200),
            (vec![host, ("sec-fetch-site", "same-origin")], 200),
            (vec![host, ("sec-fetch-site", "none")], 200),
            (vec![host, ("origin", "http://127.0.0.1:8080")], 403),
            (vec![host, ("origin", "http://evil.example")], 403),
            (vec![host, ("origin", "null")], 403),
            (vec![host, ("sec-fetch-site", "cross-site")], 403),
            (vec![host, ("sec-fetch-site", "same-site")], 403),
        ] {
            assert_eq!(
                status(Access::Loopback, For::Operators, false, &fields),
                expected,
                "{fields:?}"
            );
            let unix = status(Access::Unix, For::Operators, false, &fields);
            assert_eq!(unix, expected, "{fields:?}");
            // A link to the page may stand anywhere.
            assert_eq!(status(Access::Loopback, For::Visitors, false, &fields), 200);
        }
    }
}
