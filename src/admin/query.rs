//! What may stand behind the question mark?

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::proxy::streams::Filter;

/// Streams listed where nothing is said.
const LIMIT: usize = 1000;
/// The most streams listed.
const LIMIT_MAX: usize = 10_000;
/// Events copied by a tap in a second, where nothing is said.
const RATE: u32 = 10;
/// The most events copied by a tap in a second.
const RATE_MAX: u32 = 1000;

/// The parameters of a request; what a path has no use for is read all the same.
#[derive(Debug)]
pub(super) struct Parameters {
    /// Which streams.
    pub(super) filter: Filter,
    /// How many streams at most; `None` where nothing is said.
    limit: Option<usize>,
    /// How many events a second.
    pub(super) rate: u32,
}

/// A parameter cannot be read.
#[derive(Debug, Error)]
pub(super) enum ParameterFault {
    #[error("there is no parameter {0:?}; there are route, peer, limit and rate")]
    Unknown(String),
    #[error("{0} is {1:?}; it must be {2}")]
    Wrong(&'static str, String, String),
}

impl Parameters {
    /// Reads a query.
    pub(super) fn of(query: &str) -> Result<Self, ParameterFault> {
        let mut parameters = Self {
            filter: Filter::default(),
            limit: None,
            rate: RATE,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            match &*decoded(name) {
                "route" => parameters.filter.route = Some(value.into_owned()),
                "peer" if value == "unix" => parameters.filter.peer = Some(None),
                "peer" => {
                    let allowed = || "an IP address, or unix".to_owned();
                    let peer = value.parse();
                    let peer = peer.map_err(|_| wrong("peer", &value, allowed()))?;
                    parameters.filter.peer = Some(Some(peer));
                }
                "limit" => parameters.limit = Some(count("limit", &value, LIMIT_MAX)?),
                "rate" => {
                    let rate = count("rate", &value, RATE_MAX as usize)?;
                    parameters.rate = u32::try_from(rate).unwrap_or(RATE_MAX);
                }
                other => return Err(ParameterFault::Unknown(other.to_owned())),
            }
        }
        Ok(parameters)
    }

    /// How many streams to list at most.
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT)
    }

    /// The same, where `least` do and there is no use for all that one may ask for.
    pub(super) fn limit_up_to(&self, least: usize, most: usize) -> usize {
        self.limit.unwrap_or(least).min(most)
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

fn count(name: &'static str, value: &str, most: usize) -> Result<usize, ParameterFault> {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit());
    let count = value.parse().ok().filter(|_| is_plain);
    let count = count.filter(|count| (1..=most).contains(count));
    count.ok_or_else(|| wrong(name, value, format!("from 1 to {most}")))
}

fn wrong(name: &'static str, value: &str, allowed: String) -> ParameterFault {
    ParameterFault::Wrong(name, value.to_owned(), allowed)
}

#[cfg(test)]
mod tests {
    use super::Parameters;

    #[test]
    fn each_parameter_is_read_or_told_to_be_wrong() {
        let read = Parameters::of("route=a%20b+c&peer=unix&limit=7&rate=1000").unwrap();
        assert_eq!(read.filter.route.as_deref(), Some("a b c"));
        assert_eq!(
            (read.filter.peer, read.limit(), read.rate),
            (Some(None), 7, 1000)
        );
        assert_eq!(read.limit_up_to(50, 5), 5);
        let none = Parameters::of("").unwrap();
        assert_eq!(
            (none.limit(), none.limit_up_to(50, 200), none.rate),
            (1000, 50, 10)
        );
        for (query, message) in [
            ("limit=0", "limit is \"0\"; it must be from 1 to 10000"),
            ("limit=%2B1", "limit is \"+1\"; it must be from 1 to 10000"),
            (
                "limit=10001",
                "limit is \"10001\"; it must be from 1 to 10000",
            ),
            ("rate", "rate is \"\"; it must be from 1 to 1000"),
            (
                "peer=me",
                "peer is \"me\"; it must be an IP address, or unix",
            ),
            (
                "a=b",
                "there is no parameter \"a\"; there are route, peer, limit and rate",
            ),
        ] {
            assert_eq!(Parameters::of(query).unwrap_err().to_string(), message);
        }
    }
}
