//! How does a response become bytes in HTTP/1 (RFC 9112)?

use std::{io::Write as _, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header, response};
use hyper::ext::ReasonPhrase;

/// What the client said of the response it can take.
#[derive(Debug, Clone, Copy)]
pub(in crate::edge) struct Terms {
    /// Whether the client speaks HTTP/1.0, which knows no chunks.
    is_http10: bool,
    /// Whether the connection may carry another request.
    keeps_alive: bool,
    /// Whether trailers are welcome (RFC 9110 §10.1.4).
    takes_trailers: bool,
}

impl Terms {
    /// Reads a request.
    pub(in crate::edge) fn of<B>(request: &Request<B>) -> Self {
        let is_http10 = request.version() == Version::HTTP_10;
        let names = |name: &HeaderName, member: &str| {
            let lines = request.headers().get_all(name).iter();
            lines
                .filter_map(|line| line.to_str().ok())
                .flat_map(|line| line.split(','))
                .any(|named| named.trim().eq_ignore_ascii_case(member))
        };
        let is_close = names(&header::CONNECTION, "close");
        Self {
            is_http10,
            keeps_alive: !is_close && (!is_http10 || names(&header::CONNECTION, "keep-alive")),
            takes_trailers: names(&header::TE, "trailers"),
        }
    }
}

/// How the response's body is delimited (RFC 9112 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Chunks,
    /// The head said how long the body is.
    Length,
    /// The connection's close.
    Close,
}

/// The rules by which one response is written.
#[derive(Debug)]
pub(super) struct Message {
    delimiter: Delimiter,
    keeps_alive: bool,
    takes_trailers: bool,
}

impl Message {
    /// The rules for this response, and its head as bytes.
    pub(super) fn begin(
        mut head: response::Parts,
        terms: Terms,
        is_stopping: bool,
    ) -> (Self, Vec<u8>) {
        let headers = &mut head.headers;
        let delimiter = if headers.contains_key(header::CONTENT_LENGTH) {
            Delimiter::Length
        } else if terms.is_http10 {
            Delimiter::Close
        } else {
            headers.insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
            Delimiter::Chunks
        };
        let keeps_alive = terms.keeps_alive && !is_stopping && delimiter != Delimiter::Close;
        if !keeps_alive {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else if terms.is_http10 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
        }
        let message = Self {
            delimiter,
            keeps_alive,
            takes_trailers: terms.takes_trailers,
        };
        (message, head_bytes(&head, terms.is_http10))
    }

    /// Whether another request may follow, if the body comes to its end.
    pub(super) fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// Whether a cut would look like the end, were the connection closed as usual.
    pub(super) fn ends_by_close(&self) -> bool {
        self.delimiter == Delimiter::Close
    }

    /// Makes room for what delimits a piece of the body, which is then written behind it.
    pub(super) fn open_piece(&self, out: &mut Vec<u8>) -> Piece {
        let at = out.len();
        if self.delimiter == Delimiter::Chunks {
            out.extend_from_slice(&[b'0'; SIZE_DIGITS]);
            out.extend_from_slice(b"\r\n");
        }
        Piece { at }
    }

    /// Takes the room back: there is no piece.
    pub(super) fn drop_piece(piece: &Piece, out: &mut Vec<u8>) {
        out.truncate(piece.at);
    }

    /// Delimits what was written since the piece was opened; at least one byte, for an empty chunk would
    /// end the body.
    pub(super) fn close_piece(&self, piece: &Piece, out: &mut Vec<u8>) {
        if self.delimiter != Delimiter::Chunks {
            return;
        }
        let data = piece.at + SIZE_DIGITS + 2;
        debug_assert!(out.len() > data, "an empty chunk is the last");
        let mut digits = [0; usize::BITS as usize / 4];
        let size = hexadecimal(out.len() - data, &mut digits);
        // Usually of the expected width, or of a short piece: little or nothing moves.
        if size.len() > SIZE_DIGITS {
            out.splice(piece.at..piece.at + SIZE_DIGITS, size.iter().copied());
        } else {
            let end = piece.at + size.len();
            out[piece.at..end].copy_from_slice(size);
            let spare = SIZE_DIGITS - size.len();
            if spare > 0 {
                out.copy_within(end + spare.., end);
                out.truncate(out.len() - spare);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends what ends the body whole.
    pub(super) fn end(&self, trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
        if self.delimiter != Delimiter::Chunks {
            return;
        }
        out.extend_from_slice(b"0\r\n");
        if let Some(trailers) = trailers.filter(|_| self.takes_trailers) {
            fields(trailers, out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// A piece of the body that is being written.
#[derive(Debug)]
pub(super) struct Piece {
    at: usize,
}

impl Piece {
    /// Where it begins in the output.
    pub(super) fn at(&self) -> usize {
        self.at
    }
}

/// The digits of a chunk's size; at least one.
fn hexadecimal(mut size: usize, digits: &mut [u8; usize::BITS as usize / 4]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[size % 16];
        size /= 16;
        if size == 0 {
            return &digits[at..];
        }
    }
}

/// As many as a full write's length has, so that such a piece need not be moved.
const SIZE_DIGITS: usize = 5;

fn head_bytes(head: &response::Parts, is_http10: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(if is_http10 {
        b"HTTP/1.0 "
    } else {
        b"HTTP/1.1 "
    });
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    let said = head.extensions.get::<ReasonPhrase>();
    let usual = || head.status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(said.map_or_else(|| usual().as_bytes(), ReasonPhrase::as_bytes));
    out.extend_from_slice(b"\r\n");
    fields(&head.headers, &mut out);
    if !head.headers.contains_key(header::DATE) {
        out.extend_from_slice(b"date: ");
        let now = httpdate::HttpDate::from(SystemTime::now());
        write!(out, "{now}").expect("a Vec takes every byte");
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn fields(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn message(
        request: &[(&str, &str)],
        version: Version,
        length: Option<u64>,
    ) -> (Message, String) {
        let mut asked = Request::builder().version(version);
        for (name, value) in request {
            asked = asked.header(*name, *value);
        }
        let terms = Terms::of(&asked.body(()).unwrap());
        let mut response = Response::builder().status(200).header("date", "then");
        if let Some(length) = length {
            response = response.header("content-length", length);
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        let (message, head) = Message::begin(head, terms, false);
        (message, String::from_utf8(head).unwrap())
    }

    #[test]
    fn the_head_says_how_the_body_ends() {
        let (http10, http11) = (Version::HTTP_10, Version::HTTP_11);
        for (fields, version, length, said, keeps_alive) in [
            (
                &[][..],
                http11,
                None,
                "1.1|transfer-encoding: chunked",
                true,
            ),
            (
                &[("connection", "x, Close")],
                http11,
                None,
                "1.1|transfer-encoding: chunked|connection: close",
                false,
            ),
            (&[], http11, Some(5), "1.1|content-length: 5", true),
            (&[], http10, None, "1.0|connection: close", false),
            (
                &[("connection", "keep-alive")],
                http10,
                None,
                "1.0|connection: close",
                false,
            ),
            (
                &[("connection", "keep-alive")],
                http10,
                Some(5),
                "1.0|content-length: 5|connection: keep-alive",
                true,
            ),
            (
                &[],
                http10,
                Some(5),
                "1.0|content-length: 5|connection: close",
                false,
            ),
        ] {
            let (message, head) = message(fields, version, length);
            let mut lines = said.split('|');
            let status = format!("HTTP/{} 200 OK\r\n", lines.next().unwrap());
            assert!(
                head.starts_with(&status) && head.ends_with("\r\n\r\n"),
                "{head}"
            );
            let lines: Vec<_> = lines.collect();
            assert!(
                lines.iter().all(|line| head.contains(line)),
                "{head} {said}"
            );
            assert_eq!(head.lines().count(), lines.len() + 3, "{head} {said}");
            assert_eq!(message.keeps_alive(), keeps_alive, "{said}");
        }
    }

    #[test]
    fn a_piece_is_a_chunk_of_its_length_whatever_that_is() {
        let (message, _) = message(&[], Version::HTTP_11, None);
        let mut out = b"before".to_vec();
        let dropped = message.open_piece(&mut out);
        Message::drop_piece(&dropped, &mut out);
        for length in [
            1, 15, 16, 4095, 4096, 65_535, 65_536, 1_048_575, 1_048_576, 17_000_000,
        ] {
            out.truncate(6);
            let piece = message.open_piece(&mut out);
            out.resize(out.len() + length, b'x');
            message.close_piece(&piece, &mut out);
            let size = format!("before{length:x}\r\n");
            assert!(out.starts_with(size.as_bytes()), "{length}");
            assert_eq!(out.len(), size.len() + length + 2);
            assert!(
                out.ends_with(b"x\r\n") && out[size.len()..][..length].iter().all(|b| *b == b'x')
            );
        }
    }

    #[test]
    fn trailers_go_to_those_who_asked_for_them() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        for (te, end) in [("trailers", "0\r\nx-sum: 7\r\n\r\n"), ("gzip", "0\r\n\r\n")] {
            let (message, _) = message(&[("te", te)], Version::HTTP_11, None);
            let mut out = Vec::new();
            message.end(Some(&trailers), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), end);
        }
        let (message, _) = message(&[], Version::HTTP_11, Some(1));
        let mut out = Vec::new();
        message.end(None, &mut out);
        assert!(out.is_empty());
    }
}
