//! Which route does this request match?

use std::sync::{Arc, Weak};

use http::{HeaderMap, Method, uri::PathAndQuery};

use super::{HostPattern, PathPattern, Rewrite, Settings, shadow::rank};
use crate::{limits::Limits, telemetry::metrics::Metrics};

/// One generation of all routes; never changes.
#[derive(Debug)]
pub struct Table {
    /// The generation's number, counted from 1.
    pub number: u64,
    /// Most specific first.
    routes: Vec<Arc<Settings>>,
}

/// What of a request decides its route.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The host, in any case, with or without a port.
    pub host: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The fields.
    pub headers: &'a HeaderMap,
}

impl Table {
    /// Builds a generation, whose routes count where those of their names did before.
    #[must_use]
    pub fn new(number: u64, routes: Vec<Settings>, metrics: &Metrics, limits: &Limits) -> Self {
        let counted = |mut route: Settings| {
            route.metrics = metrics.route(&route.name);
            let admission = route.policy.limits.admission;
            route.gate = Arc::new(limits.gate(&route.name, admission));
            Arc::new(route)
        };
        let mut routes: Vec<_> = routes.into_iter().map(counted).collect();
        // The sort is stable: among equals the file's order stays.
        routes.sort_by_cached_key(|route| std::cmp::Reverse(rank(route)));
        Self { number, routes }
    }

    /// Its routes, for whoever wants to know how long they are used.
    #[must_use]
    pub fn marks(&self) -> Vec<Weak<Settings>> {
        self.routes.iter().map(Arc::downgrade).collect()
    }

    /// The most specific route that takes the request.
    #[must_use]
    pub fn find(&self, asked: Asked<'_>) -> Option<&Arc<Settings>> {
        let host = normal_host(asked.host);
        self.routes.iter().find(|route| {
            route.path.matches(asked.path)
                && route
                    .host
                    .as_ref()
                    .is_none_or(|pattern| pattern.matches(&host))
                && (route.methods.is_empty() || route.methods.contains(asked.method))
                && route.headers.iter().all(|(name, value)| {
                    asked
                        .headers
                        .get_all(name)
                        .iter()
                        .any(|found| found == value)
                })
        })
    }
}

/// The host in lower case, without its port and the root's dot.
#[must_use]
pub fn normal_host(host: &str) -> String {
    let after_bracket = host.rfind(']').map_or(0, |end| end + 1);
    let name = match host[after_bracket..].find(':') {
        Some(colon) => &host[..after_bracket + colon],
        None => host,
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host == name,
            Self::Below(parent) => host
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }
}

impl PathPattern {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
        }
    }
}

impl Rewrite {
    /// The target to send upstream; `None` where the prefix to strip is not there.
    #[must_use]
    pub fn apply(&self, target: &PathAndQuery) -> Option<PathAndQuery> {
        if self.strip_prefix.is_none() && self.add_prefix.is_none() {
            return Some(target.clone());
        }
        let path = match &self.strip_prefix {
            None => target.path(),
            Some(prefix) => match target.path().strip_prefix(prefix.as_str())? {
                "" => "/",
                rest if rest.starts_with('/') => rest,
                _ => return None,
            },
        };
        let mut rewritten = self.add_prefix.clone().unwrap_or_default();
        rewritten.push_str(path);
        if let Some(query) = target.query() {
            rewritten.push('?');
            rewritten.push_str(query);
        }
        PathAndQuery::try_from(rewritten).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_case_port_and_root() {
        let rows = [
            ("API.Example.com:8080", "api.example.com"),
            ("example.com.", "example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ];
        for (host, expected) in rows {
            assert_eq!(normal_host(host), expected, "{host}");
        }
        let below = HostPattern::Below("example.com".into());
        assert!(below.matches("a.example.com"));
        assert!(below.matches("a.b.example.com"));
        assert!(!below.matches("example.com"));
        assert!(!below.matches("badexample.com"));
        assert!(!below.matches(".example.com"));
    }

    type Text = Option<&'static str>;

    #[test]
    fn a_rewrite_strips_whole_segments_and_keeps_the_query() {
        let rewrite = |strip: Option<&str>, add: Option<&str>, target: &str| {
            Rewrite {
                strip_prefix: strip.map(str::to_owned),
                add_prefix: add.map(str::to_owned),
            }
            .apply(&target.parse().expect("a target"))
            .map(|target| target.to_string())
        };
        let rows: &[(Text, Text, &str, Text)] = &[
            (None, None, "/a?b", Some("/a?b")),
            (Some("/api"), None, "/api/x?y=1", Some("/x?y=1")),
            (Some("/api"), None, "/api", Some("/")),
            (Some("/api"), None, "/api?q", Some("/?q")),
            (Some("/api"), None, "/apis", None),
            (Some("/api"), Some("/v1"), "/api/x", Some("/v1/x")),
            (None, Some("/v1"), "/x", Some("/v1/x")),
        ];
        for &(strip, add, target, expected) in rows {
            assert_eq!(rewrite(strip, add, target).as_deref(), expected, "{target}");
        }
    }
}
