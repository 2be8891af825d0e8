//! Where does the load go? To this machine only: whoever is not asked is not loaded.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;

/// A URL on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// Host and port as written, for the request.
    pub authority: String,
    /// The host as written, for TLS.
    pub host: String,
    /// Whether the connection is TLS.
    pub is_tls: bool,
    /// The path, with its query if it has one.
    pub path: String,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// A sentence, when it is no `http` or `https` URL, or not one of a loopback address.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{url}: it must start with http:// or https://")),
        };
        let host = uri.host().unwrap_or_default();
        let ip = loopback(host).ok_or_else(|| {
            format!("{url}: {host} is not of this machine; only loopback addresses are loaded")
        })?;
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self {
            address: SocketAddr::new(ip, port),
            authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
            host: host.trim_matches(['[', ']']).to_owned(),
            is_tls,
            path: uri
                .path_and_query()
                .map_or("/", http::uri::PathAndQuery::as_str)
                .to_owned(),
        })
    }

    /// The path with more keys in its query.
    #[must_use]
    pub fn path_with(&self, query: &str) -> String {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        format!("{}{separator}{query}", self.path)
    }
}

/// The loopback address that a host is; `localhost` is never looked up, so that no resolver leads elsewhere.
fn loopback(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let host = host.trim_matches(['[', ']']);
    let ip = host
        .parse::<Ipv4Addr>()
        .map(IpAddr::V4)
        .or_else(|_| host.parse::<Ipv6Addr>().map(IpAddr::V6));
    ip.ok().filter(IpAddr::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_a_target() {
        for url in [
            "http://127.0.0.1:81/a",
            "https://127.9.9.9/",
            "http://[::1]:5/x?y=1",
            "http://localhost/",
        ] {
            assert!(Target::parse(url).is_ok(), "{url}");
        }
        for url in [
            "http://example.com/",
            "http://10.0.0.1/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://localhost.example.com/",
            "http://[::ffff:127.0.0.1]/",
            "ftp://127.0.0.1/",
            "127.0.0.1:80",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_query_grows() {
        let target = Target::parse("http://127.0.0.1:81/a").unwrap();
        assert_eq!(target.path_with("b=1"), "/a?b=1");
        let target = Target::parse("http://127.0.0.1:81/a?x=2").unwrap();
        assert_eq!(target.path_with("b=1"), "/a?x=2&b=1");
    }
}
