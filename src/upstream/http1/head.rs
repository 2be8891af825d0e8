//! What does the head of a reply say, and is it clear?
//!
//! Knows no sockets. What two readers could read differently is no reply: line ends without CR, unequal
//! lengths, codings that nobody asked for (RFC 9112 §2.2, §6.3, §11.2).

use http::{StatusCode, Version, response};
use hyper::ext::ReasonPhrase;

use super::{
    FIELDS_MAX,
    body::Body,
    fields::collect,
    length::{body, is_kept},
};

/// The longest head, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A head shorter than this is looked at whenever a byte of it comes, a longer one at each line's end:
/// so garbage is told at once, and a trickle does not cost its length squared.
const EAGER_BYTES: usize = 1024;

/// What the request asked for, as far as it decides what the reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Only for the head.
    Head,
    /// For a change of protocol.
    Upgrade,
    /// For anything else.
    Other,
}

/// The head of the final reply, understood.
#[derive(Debug)]
pub(crate) struct Head {
    /// Status and fields, with at most one length, and none beside chunks.
    pub(crate) parts: response::Parts,
    pub(super) body: Body,
    /// Whether another request may follow on the connection, once the body has ended.
    pub(super) is_kept: bool,
}

/// Reads a head as it comes.
#[derive(Debug)]
pub(super) struct HeadReader {
    asked: Asked,
    /// The start of a head whose end has not come.
    /// Invariant: at most `HEAD_BYTES_MAX`.
    carry: Vec<u8>,
    has_begun: bool,
}

impl HeadReader {
    pub(super) fn new(asked: Asked) -> Self {
        Self {
            asked,
            carry: Vec::new(),
            has_begun: false,
        }
    }

    /// Whether any byte has come.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Takes the next piece; gives the final head once it is whole, and where in the piece it ended.
    /// Heads before the final are read over, however many they are (RFC 9110 §15.2).
    ///
    /// # Errors
    /// This is no reply: the reason why.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Option<(Head, usize)>, &'static str> {
        self.has_begun |= !piece.is_empty();
        if self.carry.is_empty() {
            return self.read(piece);
        }
        let carried = self.carry.len();
        let mut bytes = std::mem::take(&mut self.carry);
        bytes.extend_from_slice(piece);
        if bytes.len() > EAGER_BYTES && bytes.len() <= HEAD_BYTES_MAX && !piece.contains(&b'\n') {
            self.carry = bytes;
            return Ok(None);
        }
        let found = self.read(&bytes)?;
        // A final head ends within the piece: it was not whole before.
        Ok(found.map(|(head, used)| (head, used - carried)))
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Option<(Head, usize)>, &'static str> {
        let mut at = 0;
        while at < bytes.len() {
            let Some((head, length)) = parse(&bytes[at..], self.asked)? else {
                self.carry = bytes[at..].to_vec();
                break;
            };
            at += length;
            if let Some(head) = head {
                return Ok(Some((head, at)));
            }
        }
        Ok(None)
    }
}

/// The head at the front of `bytes` and its length, once it is whole; no head where it is not the final.
fn parse(bytes: &[u8], asked: Asked) -> Result<Option<(Option<Head>, usize)>, &'static str> {
    // httparse would read over empty lines.
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return Err("an empty line comes first");
    }
    let mut parsed = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut reply = httparse::Response::new(&mut parsed);
    let length = match reply.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(_) => return Err("the head is too long"),
        Err(_) => return Err("the head is malformed"),
    };
    if has_bare_lf(&bytes[..length]) {
        return Err("a line of the head ends without CR");
    }
    let head = understand(&reply, asked)?;
    Ok(Some((head, length)))
}

fn has_bare_lf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// What a parsed head means; `None` where a final one is still to come.
fn understand(
    reply: &httparse::Response<'_, '_>,
    asked: Asked,
) -> Result<Option<Head>, &'static str> {
    let status = reply.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or("there is no such status")?;
    let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
    if is_switch && asked != Asked::Upgrade {
        return Err("it changes the protocol, which the request did not ask for");
    }
    if status.is_informational() && !is_switch {
        return Ok(None);
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.version = match reply.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    parts.headers = collect(reply.headers).ok_or("a field of the head is none")?;
    let reason = reply.reason.unwrap_or_default();
    if status.canonical_reason() != Some(reason)
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        parts.extensions.insert(reason);
    }
    let is_kept = is_kept(&parts);
    let body = body(&mut parts, asked)?;
    Ok(Some(Head {
        is_kept: is_kept && !is_switch && !matches!(body, Body::UntilClose),
        body,
        parts,
    }))
}
