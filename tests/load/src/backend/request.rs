//! What does a request say that matters here? Its query, and whether another may follow.

use std::io;

use super::asked::Asked;

/// A request whose body is not looked at.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) asked: Result<Asked, String>,
    pub(super) is_head: bool,
    pub(super) is_last: bool,
}

impl Request {
    /// The request at the start of `received` and its length with its body; `None` when it is not there in full.
    pub(super) fn parse(received: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let head = request
            .parse(received)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let httparse::Status::Complete(head_bytes) = head else {
            return Ok(None);
        };
        let header = |name: &str| {
            let found = request
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let body_bytes: usize = header("content-length")
            .and_then(|length| length.trim().parse().ok())
            .unwrap_or(0);
        let length = head_bytes.saturating_add(body_bytes);
        if received.len() < length {
            return Ok(None);
        }
        let query = request.path.and_then(|path| path.split_once('?'));
        let parsed = Self {
            asked: Asked::parse(query.map_or("", |(_, query)| query)),
            is_head: request.method == Some("HEAD"),
            is_last: header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
                || request.version == Some(0),
        };
        Ok(Some((parsed, length)))
    }
}

const HEADERS_MAX: usize = 64;
