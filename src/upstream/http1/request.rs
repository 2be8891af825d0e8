//! How is a request written, head and body?
//!
//! Knows no sockets: a [`Framing`] says what goes around each piece of the body (RFC 9112 §6, §7.1).

use std::io::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body::Body as _;

use super::fields::members;
use crate::upstream::{trailers, upload::Upload};

/// Room for a head as most are, in bytes.
const HEAD_BYTES_USUAL: usize = 512;
/// What ends a chunk.
const CRLF: Bytes = Bytes::from_static(b"\r\n");
/// What ends a body in chunks.
const LAST_CHUNK: &[u8] = b"0\r\n";

/// How the end of a request's body is told.
#[derive(Debug)]
pub(super) enum Framing {
    /// By its length: so many bytes are still to go.
    Length(u64),
    /// By a last chunk, and after it the fields that were announced.
    Chunked(Vec<HeaderName>),
}

/// Up to three pieces to be written one after the other.
pub(super) type Pieces = [Bytes; 3];

/// The head, and how the body goes.
pub(super) fn head(request: &Request<Upload>) -> (Vec<u8>, Framing) {
    let framing = framing(request);
    let mut out = Vec::with_capacity(HEAD_BYTES_USUAL);
    out.extend_from_slice(request.method().as_str().as_bytes());
    // Writing to memory does not fail.
    let _ = write!(out, " {} HTTP/1.1\r\n", request.uri());
    for (name, value) in request.headers() {
        if !is_framing(name) {
            field(name, value, &mut out);
        }
    }
    match &framing {
        Framing::Chunked(_) => {
            let chunked = HeaderValue::from_static("chunked");
            field(&header::TRANSFER_ENCODING, &chunked, &mut out);
        }
        // No body at all needs no word, but may have one.
        Framing::Length(0) if !request.headers().contains_key(header::CONTENT_LENGTH) => {}
        Framing::Length(length) => {
            field(&header::CONTENT_LENGTH, &(*length).into(), &mut out);
        }
    }
    if request.headers().contains_key(header::TE) {
        // It is meant for this neighbor (RFC 9110 §10.1.4).
        field(
            &header::CONNECTION,
            &HeaderValue::from_static("te"),
            &mut out,
        );
    }
    out.extend_from_slice(b"\r\n");
    (out, framing)
}

/// A body of unknown length goes in chunks, whatever the method.
fn framing(request: &Request<Upload>) -> Framing {
    let body = request.body();
    if body.is_end_stream() {
        return Framing::Length(0);
    }
    match body.size_hint().exact() {
        Some(length) => Framing::Length(length),
        None => Framing::Chunked(announced(request.headers())),
    }
}

fn announced(fields: &HeaderMap) -> Vec<HeaderName> {
    let names = members(fields, &header::TRAILER);
    names
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .collect()
}

/// Whether the field says how the body is framed, which is ours to say.
fn is_framing(name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING
}

fn field(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

impl Framing {
    /// A piece of the body, which is not empty, as it goes out; `None` where it is longer than was said.
    pub(super) fn data(&mut self, data: Bytes) -> Option<Pieces> {
        match self {
            Self::Length(rest) => {
                *rest = rest.checked_sub(data.len() as u64)?;
                Some([Bytes::new(), data, Bytes::new()])
            }
            Self::Chunked(_) => {
                let size = format!("{:x}\r\n", data.len());
                Some([size.into(), data, CRLF])
            }
        }
    }

    /// Whether nothing more is to go, whatever may come.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// What ends the body; `None` where it is shorter than was said.
    pub(super) fn end(&self, trailers: Option<HeaderMap>) -> Option<Bytes> {
        let announced = match self {
            Self::Length(0) => return Some(Bytes::new()),
            Self::Length(_) => return None,
            Self::Chunked(announced) => announced,
        };
        let mut out = LAST_CHUNK.to_vec();
        for (name, value) in &trailers.and_then(trailers::forwardable).unwrap_or_default() {
            if announced.contains(name) {
                field(name, value, &mut out);
            }
        }
        out.extend_from_slice(b"\r\n");
        Some(out.into())
    }
}
