//! How does a response become bytes in HTTP/1 (RFC 9112)?

use std::{io::Write as _, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header, response};

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
        let mut size = [0; 16];
        let mut rest = &mut size[..];
        // 16 digits hold every length.
        let _ = write!(rest, "{:x}", out.len() - data);
        let digits = 16 - rest.len();
        // Usually of the expected width, or of a short piece: little or nothing moves.
        out.splice(
            piece.at..piece.at + SIZE_DIGITS,
            size[..digits].iter().copied(),
        );
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

/// Where a piece of the body begins in the output.
#[derive(Debug)]
pub(super) struct Piece {
    at: usize,
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
    let reason = head.status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(reason.as_bytes());
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
