//! Which route comes first, and which can never match?

use super::{HostPattern, PathPattern, Settings};

/// How specific a route is: of two that match a request, the greater wins, and of equals the one
/// that stands first in the file.
pub(crate) fn rank(settings: &Settings) -> impl Ord + use<> {
    let host = match &settings.host {
        Some(HostPattern::Exact(_)) => (2, 0),
        // Of two that match one host, the longer lies below the shorter.
        Some(HostPattern::Below(name)) => (1, name.len()),
        None => (0, 0),
    };
    let path = match &settings.path {
        PathPattern::Exact(_) => (1, 0),
        PathPattern::Prefix(prefix) => (0, prefix.len()),
    };
    (
        host,
        path,
        !settings.methods.is_empty(),
        settings.headers.len(),
    )
}

/// The routes that can never match, each with the one that takes every request it could get.
///
/// Two routes that only together take all requests of a third are not found.
#[must_use]
pub fn shadowed(routes: &[Settings]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let is_before = |other: usize| match rank(&routes[other]).cmp(&rank(route)) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => other < index,
            std::cmp::Ordering::Greater => true,
        };
        let takes_all = |other: &usize| {
            *other != index && is_before(*other) && is_covered(route, &routes[*other])
        };
        if let Some(other) = (0..routes.len()).find(takes_all) {
            pairs.push((index, other));
        }
    }
    pairs
}

/// Whether every request that matches `route` also matches `by`.
fn is_covered(route: &Settings, by: &Settings) -> bool {
    let is_host_covered = match (&route.host, &by.host) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(HostPattern::Exact(name)), Some(HostPattern::Below(below))) => is_below(name, below),
        (Some(HostPattern::Below(name)), Some(HostPattern::Below(below))) => {
            name == below || is_below(name, below)
        }
        (Some(one), Some(other)) => one == other,
    };
    let is_path_covered = match (&route.path, &by.path) {
        (PathPattern::Exact(path) | PathPattern::Prefix(path), PathPattern::Prefix(prefix)) => {
            path.starts_with(prefix.as_str())
        }
        (one, other) => one == other,
    };
    let is_method_covered = by.methods.is_empty()
        || (!route.methods.is_empty() && route.methods.iter().all(|m| by.methods.contains(m)));
    let are_headers_covered = by.headers.iter().all(|field| route.headers.contains(field));
    is_host_covered && is_path_covered && is_method_covered && are_headers_covered
}

fn is_below(name: &str, below: &str) -> bool {
    name.strip_suffix(below)
        .is_some_and(|start| start.ends_with('.') && start.len() > 1)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method};

    use super::*;
    use crate::route::{From, Limits, Policy, Rewrite, Timeouts, To};

    /// Checks which of two routes is shadowed; a route is written `METHODS host/path field=value`.
    fn check(first: &str, second: &str, expected: &[(usize, usize)]) {
        let routes = [route(first), route(second)];
        assert_eq!(shadowed(&routes), expected, "{first} | {second}");
    }

    #[test]
    fn finds_the_routes_that_never_match() {
        check("- */a", "- */a", &[(1, 0)]);
        check("- */a", "- */b", &[]);
        check("- */*", "- */a", &[]);
        check("- */a/*", "- */a/*", &[(1, 0)]);
        check("- */*", "- x/*", &[]);
        check("- x/*", "- x/*", &[(1, 0)]);
        check("- x/*", "- y/*", &[]);
        check("- *.x/a", "- *.x/a", &[(1, 0)]);
        check("- *.x/a", "- *.b.x/a", &[]);
        check("- */a", "GET */a", &[]);
        check("GET */a", "- */a", &[]);
        check("GET,POST */a", "GET */a", &[(1, 0)]);
        check("GET */a", "GET,POST */a", &[]);
        check("- */a v=1", "- */a v=1", &[(1, 0)]);
        check("- */a v=1", "- */a v=2", &[]);
        check("- */a v=1", "- */a", &[]);
        check("- */a", "- */a v=1", &[]);
        check("GET */a v=1", "- */a v=1", &[]);
    }

    #[test]
    fn ranks_as_documented() {
        let ascending = [
            "- */*",
            "- */*  v=1",
            "GET */*",
            "- */a/*",
            "- */a",
            "- *.x/*",
            "- *.b.x/*",
            "- x/*",
            "GET x/a v=1",
        ];
        for pair in ascending.windows(2) {
            let (less, greater) = (route(pair[0]), route(pair[1]));
            assert!(rank(&less) < rank(&greater), "{} < {}", pair[0], pair[1]);
        }
    }

    fn route(text: &str) -> Settings {
        let mut words = text.split_whitespace();
        let methods = words.next().unwrap();
        let (host, path) = words.next().unwrap().split_once('/').unwrap();
        let field = words.next().and_then(|field| field.split_once('='));
        Settings {
            name: text.to_owned(),
            host: match host.strip_prefix('*') {
                Some("") => None,
                Some(below) => Some(HostPattern::Below(below[1..].to_owned())),
                None => Some(HostPattern::Exact(host.to_owned())),
            },
            path: match path.strip_suffix('*') {
                Some(prefix) => PathPattern::Prefix(format!("/{prefix}")),
                None => PathPattern::Exact(format!("/{path}")),
            },
            methods: match methods {
                "-" => Vec::new(),
                names => names
                    .split(',')
                    .map(|name| name.parse::<Method>().unwrap())
                    .collect(),
            },
            headers: field
                .map(|(name, value)| {
                    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                    (name, HeaderValue::from_str(value).unwrap())
                })
                .into_iter()
                .collect(),
            upstream: "x".to_owned(),
            policy: Policy {
                from: From::Auto,
                to: To::Auto,
                charset: None,
                event: std::sync::Arc::default(),
                heartbeat: crate::transcode::heartbeat::Settings::default(),
                timeouts: Timeouts::default(),
                limits: Limits::default(),
                rewrite: Rewrite::default(),
                compress: crate::transcode::compress::Settings::default(),
            },
            metrics: std::sync::Arc::default(),
            gate: std::sync::Arc::default(),
        }
    }
}
