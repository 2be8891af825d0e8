//! What does the client make of HTTP/1.1? A request, and a reply that it hands on part by part.

pub mod chunked;

use std::{cell::RefCell, pin::Pin};

use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};

use self::chunked::Chunked;
use crate::{
    connect::Connection,
    stream::{Cut, Head},
};

/// One connection, for one request at a time.
#[derive(Debug)]
pub struct Http1 {
    connection: Connection,
    /// What came and was not taken yet.
    received: Vec<u8>,
    body: Body,
    /// Whether the reply was the last on this connection.
    is_last: bool,
}

/// How the reply's body ends (RFC 9112 §6.3).
#[derive(Debug)]
enum Body {
    Chunked(Chunked),
    Length(u64),
    UntilClose,
}

impl Http1 {
    /// Takes a connection that nothing was sent on.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            received: Vec::new(),
            body: Body::Length(0),
            is_last: false,
        }
    }

    /// Sends a request and waits for the reply's head.
    ///
    /// # Errors
    /// When the connection fails, or what comes is no reply.
    pub async fn request(
        &mut self,
        request: &[u8],
        scratch: &RefCell<Vec<u8>>,
    ) -> Result<Head, Cut> {
        self.connection.write_all(request).await?;
        loop {
            if let Some((head, body, length)) = parse(&self.received)? {
                self.received.drain(..length);
                // An interim reply (RFC 9110 §15.2) says nothing to us.
                if !(100..200).contains(&head.status) {
                    self.body = body;
                    self.is_last = head.is_last;
                    return Ok(head);
                }
                continue;
            }
            let received = &mut self.received;
            let length = read(&mut self.connection, scratch, |bytes| {
                received.extend_from_slice(bytes);
            })
            .await?;
            if length == 0 {
                return Err(Cut(
                    "the connection was closed before the reply's head".into()
                ));
            }
        }
    }

    /// Waits for a part of the body and gives it to `data`; `false` at the body's end.
    ///
    /// # Errors
    /// When the body is cut off, or is not what its head promised.
    pub async fn part(
        &mut self,
        scratch: &RefCell<Vec<u8>>,
        mut data: impl FnMut(&[u8]),
    ) -> Result<bool, Cut> {
        if !self.received.is_empty() {
            let received = std::mem::take(&mut self.received);
            let taken = self.body.push(&received, data)?;
            self.received.extend_from_slice(&received[taken..]);
            return Ok(!self.body.is_at_end());
        }
        if self.body.is_at_end() {
            return Ok(false);
        }
        let (body, received) = (&mut self.body, &mut self.received);
        let mut taken = Ok(0);
        let length = read(&mut self.connection, scratch, |bytes| {
            taken = body.push(bytes, &mut data);
            if let Ok(taken) = taken {
                received.extend_from_slice(&bytes[taken..]);
            }
        })
        .await?;
        taken?;
        if length == 0 {
            return match self.body {
                Body::UntilClose => Ok(false),
                Body::Chunked(_) => {
                    Err(Cut("the connection was closed before the last chunk".into()))
                }
                Body::Length(left) => {
                    Err(Cut(format!("the connection was closed {left} bytes early")))
                }
            };
        }
        Ok(!self.body.is_at_end())
    }

    /// Whether another request may follow.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.received.is_empty() && self.body.is_at_end() && !self.is_last
    }
}

impl Body {
    /// Takes bytes and returns how many of them are the body's.
    fn push(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, Cut> {
        match self {
            Self::Chunked(chunked) => chunked.push(bytes, data).map_err(|error| Cut(error.into())),
            Self::Length(left) => {
                let length = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                data(&bytes[..length]);
                *left -= length as u64;
                Ok(length)
            }
            Self::UntilClose => {
                data(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn is_at_end(&self) -> bool {
        match self {
            Self::Chunked(chunked) => chunked.is_at_end(),
            Self::Length(left) => *left == 0,
            Self::UntilClose => false,
        }
    }
}

/// Waits for bytes and lends them to `take` out of the one buffer that all streams share; 0 is the end.
async fn read(
    connection: &mut Connection,
    scratch: &RefCell<Vec<u8>>,
    mut take: impl FnMut(&[u8]),
) -> std::io::Result<usize> {
    std::future::poll_fn(|context| {
        let mut scratch = scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        let polled = Pin::new(&mut *connection).poll_read(context, &mut buffer);
        polled.map_ok(|()| {
            take(buffer.filled());
            buffer.filled().len()
        })
    })
    .await
}

/// The head at the start of what came, how its body ends, and its length; `None` when it is not there in full.
fn parse(received: &[u8]) -> Result<Option<(Head, Body, usize)>, Cut> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response
        .parse(received)
        .map_err(|error| Cut(format!("no reply of HTTP/1.1: {error}")))?;
    let httparse::Status::Complete(length) = parsed else {
        let is_bounded = received.len() <= HEAD_BYTES_MAX;
        return if is_bounded {
            Ok(None)
        } else {
            Err(Cut("the reply's head is too long".into()))
        };
    };
    let header = |name: &str| {
        let found = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let body = match (header("transfer-encoding"), header("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => {
            Body::Chunked(Chunked::default())
        }
        (Some(coding), _) => return Err(Cut(format!("the transfer coding {coding}"))),
        (None, Some(length)) => {
            let length = length.trim().parse();
            Body::Length(length.map_err(|_| Cut("a content length that is no number".into()))?)
        }
        (None, None) => Body::UntilClose,
    };
    let head = Head {
        status: response.code.unwrap_or_default(),
        content_type: header("content-type").unwrap_or_default().to_owned(),
        is_last: header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    };
    let length_is_all = (100..200).contains(&head.status);
    Ok(Some((
        head,
        if length_is_all { Body::Length(0) } else { body },
        length,
    )))
}

const HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_none_until_it_is_whole() {
        let wire = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        for length in 0..wire.len() {
            assert!(parse(&wire[..length]).unwrap().is_none(), "{length} bytes");
        }
        let (head, body, length) = parse(wire).unwrap().unwrap();
        assert_eq!((head.status, length), (200, wire.len()));
        assert_eq!(head.content_type, "text/event-stream");
        assert!(matches!(body, Body::Chunked(_)));
    }
}
