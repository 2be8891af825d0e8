//! What does a string mean as a part of a route: host, path, method, prefix?
//!
//! Errors are the end of a sentence that has named the key and its value.

use std::net::Ipv6Addr;

use http::Method;

use super::address::is_host_name;
use crate::route::{HostPattern, PathPattern};

/// `api.example.com`, `*.example.com`, or an address; in lower case.
pub(super) fn host(text: &str) -> Result<HostPattern, String> {
    if text == "*" {
        return Err("leave it out to take every host".to_owned());
    }
    if let Some(v6) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address = v6.parse::<Ipv6Addr>();
        let address = address.map_err(|_| "it must be an IPv6 address between the brackets")?;
        return Ok(HostPattern::Exact(format!("[{address}]")));
    }
    if !text.is_ascii() {
        return Err("write it as it stands in DNS, beginning with xn--".to_owned());
    }
    if text.contains(':') {
        return Err("it must not hold a port or a scheme; every port is taken".to_owned());
    }
    let (is_below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    if name.contains('*') {
        return Err("a * stands only for the whole beginning, as in \"*.example.com\"".to_owned());
    }
    if !is_host_name(name) {
        return Err(
            "it must be a host such as \"api.example.com\" or \"*.example.com\"".to_owned(),
        );
    }
    let name = name.to_ascii_lowercase();
    Ok(if is_below {
        HostPattern::Below(name)
    } else {
        HostPattern::Exact(name)
    })
}

/// `/api/chat`, or `/api/*` for everything below.
pub(super) fn path(text: &str) -> Result<PathPattern, String> {
    check_path(text)?;
    let (prefix, is_prefix) = match text.strip_suffix("/*") {
        Some(_) => (text.strip_suffix('*').unwrap_or(text), true),
        None => (text, false),
    };
    if prefix.contains('*') {
        return Err("a * stands only for the last segment, as in \"/api/*\"".to_owned());
    }
    Ok(if is_prefix {
        PathPattern::Prefix(prefix.to_owned())
    } else {
        PathPattern::Exact(prefix.to_owned())
    })
}

/// `/api`: what is taken off or put in front of a path.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    check_path(text)?;
    if text.ends_with('/') || text.contains('*') {
        return Err(
            "it must be a path such as \"/api\", without a slash or * at its end".to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// `GET`, or any other method in the case in which it is sent.
pub(super) fn method(text: &str) -> Result<Method, String> {
    let method = Method::from_bytes(text.as_bytes());
    let method = method.map_err(|_| "it must be a method such as \"GET\"")?;
    let upper = text.to_ascii_uppercase();
    if upper != text && is_standard(&upper) {
        return Err(format!("methods are case-sensitive; write {upper:?}"));
    }
    Ok(method)
}

/// A name for logs and metrics.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.contains(char::is_control) {
        return Err("it must not be empty or hold control characters".to_owned());
    }
    Ok(text.to_owned())
}

fn check_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("it must begin with /".to_owned());
    }
    if text.contains(['?', '#']) {
        return Err("it must hold no query or fragment; routes match the path alone".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("write spaces and letters outside ASCII as they are sent: %20".to_owned());
    }
    Ok(())
}

/// The methods of RFC 9110 §9 and RFC 5789.
fn is_standard(method: &str) -> bool {
    let standard = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    standard.contains(&method)
}
