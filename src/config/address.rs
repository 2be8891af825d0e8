//! What does a string mean as an address, a network or an endpoint?
//!
//! Errors are the end of a sentence that has named the key and its value.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;

use crate::{
    edge::ListenerAddress,
    upstream::{EndpointAddress, Target},
};

/// Where a listener listens: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `unix:/path`.
pub(super) fn listener(text: &str) -> Result<ListenerAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(ListenerAddress::Unix(socket_path(path)?));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(ListenerAddress::Tcp(address));
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && let Ok(port) = port.parse::<u16>()
    {
        return match host {
            "localhost" => Ok(ListenerAddress::Tcp((Ipv4Addr::LOCALHOST, port).into())),
            "" | "*" => Err(format!(
                "it must name the address: \"127.0.0.1:{port}\" is for this machine alone, \
                 \"0.0.0.0:{port}\" and \"[::]:{port}\" for everyone"
            )),
            _ => Err(format!(
                "it must be an IP address of this machine, or \"localhost\", before the port; \
                 \"0.0.0.0:{port}\" is all of them"
            )),
        };
    }
    Err("it must be an address and a port such as \"127.0.0.1:8080\", or \"unix:/path\"".to_owned())
}

/// What an endpoint is reached by: an address, or a service as `srv+http://name` or `srv+https://name`.
pub(super) fn target(text: &str) -> Result<Target, String> {
    let (is_tls, name) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("srv+http") => (false, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("srv+https") => (true, rest),
        _ => return Ok(Target::Address(endpoint(text)?)),
    };
    let name = name.strip_suffix('/').unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    if !is_host_name(name) {
        let example = "\"srv+http://_http._tcp.chat.example.com\"";
        return Err(format!(
            "it must name SRV records, without a port, as in {example}"
        ));
    }
    Ok(Target::Service {
        name: name.to_ascii_lowercase(),
        is_tls,
    })
}

/// A server of DNS: an address, with a port where that is not 53.
pub(super) fn dns_server(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address, 53).into());
    }
    text.parse().map_err(|_| {
        "it must be an IP address, with or without a port, such as \"127.0.0.1:8600\"".to_owned()
    })
}

/// Where an endpoint listens: `http://host:port`, `https://host:port` or `unix:/path`.
pub(super) fn endpoint(text: &str) -> Result<EndpointAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(EndpointAddress::Unix(socket_path(path)?));
    }
    let (is_tls, authority) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
        _ => {
            return Err(
                "it must begin with http://, https://, srv+http://, srv+https:// or unix:/"
                    .to_owned(),
            );
        }
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains('@') {
        return Err("credentials do not belong in an endpoint; leave them out".to_owned());
    }
    if authority.contains(['/', '?', '#']) {
        let instead = "a route's rewrite add_prefix puts a path in front";
        return Err(format!("it must end after the host and port; {instead}"));
    }
    let (host, port) = host_and_port(authority)?;
    let port = port.unwrap_or(if is_tls { 443 } else { 80 });
    Ok(if is_tls {
        EndpointAddress::Https { host, port }
    } else {
        EndpointAddress::Http { host, port }
    })
}

/// A network such as `10.0.0.0/8`, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    text.parse().map_err(|_| {
        "it must be an address or a network such as \"10.0.0.0/8\" or \"::1\"".to_owned()
    })
}

/// A host as a certificate names it: a name or an address, without a port.
pub(super) fn server_name(text: &str) -> Result<String, String> {
    match host_and_port(text) {
        Ok((host, None)) => Ok(host),
        _ => Err("it must be a host name or an address, without a port".to_owned()),
    }
}

/// Whether the text can be the name of a host: letters, digits, `-`, `_` and single dots.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(is_allowed)
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; the host comes without brackets.
fn host_and_port(authority: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed_host(bracketed)?,
        None => named_host(authority)?,
    };
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err("its port must be from 1 to 65535".to_owned()),
    };
    Ok((host, port))
}

/// Splits what follows a `[`.
fn bracketed_host(text: &str) -> Result<(String, Option<&str>), String> {
    let (host, rest) = text.split_once(']').ok_or("a [ needs its ]")?;
    let wrong = "it must be an IPv6 address between the brackets";
    let host = host.parse::<Ipv6Addr>().map_err(|_| wrong.to_owned())?;
    let port = match rest {
        "" => None,
        _ => Some(rest.strip_prefix(':').ok_or("a : must follow the ]")?),
    };
    Ok((host.to_string(), port))
}

fn named_host(text: &str) -> Result<(String, Option<&str>), String> {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if !is_host_name(host) {
        let brackets = "an IPv6 address stands in brackets, as in \"http://[::1]:80\"";
        return Err(format!("it must name a host; {brackets}"));
    }
    Ok((host.to_ascii_lowercase(), port))
}

fn socket_path(path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') {
        return Err("the path after unix: must begin with /".to_owned());
    }
    if path.len() > SOCKET_PATH_BYTES_MAX || path.contains('\0') {
        let max = SOCKET_PATH_BYTES_MAX;
        return Err(format!(
            "the path of a socket must be at most {max} bytes long"
        ));
    }
    Ok(PathBuf::from(path))
}

/// What Linux takes in `sockaddr_un`, without the final zero (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;
