//! Does our reader understand what hyper's understands, and refuse what it refuses?
//!
//! Replies are made from likely parts, then damaged, and read in random pieces by both. Where ours alone
//! refuses, [`STRICTER`] must say why.

use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1 as client;
use hyper_util::rt::TokioIo;
use proptest::{collection::vec, prelude::*, sample};

use bytes::Bytes;
use http::{Method, Request, header, response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::upstream::{
    connect::boxed,
    http1::{Connection, Http1Source, SendError},
    source::{Fill, SCRATCH_BYTES, Scratch, Source as _, SourceError},
    trailers,
    upload::Upload,
};

/// Why ours refuses, or ends as broken, what hyper's reads.
const STRICTER: &[(&str, &str)] = &[
    (
        "an empty line comes first",
        "httparse reads over it; it is left over from another message",
    ),
    (
        "a line of the head ends without CR",
        "RFC 9112 §2.2 allows it, and readers differ (§11.2)",
    ),
    (
        "the body has a transfer coding that was not asked for",
        "hyper reads to the close, or leaves the inner coding in place",
    ),
    (
        "the body has a transfer coding, which HTTP/1.0 does not know",
        "hyper does not look where there is no body",
    ),
    (
        "a trailer's line does not end with CR LF",
        "httparse takes a bare LF for a line's end, or for the end of all",
    ),
    (
        "the lengths of the body differ",
        "hyper does not look where there is no body, or chunks",
    ),
    (
        "the length of the body is no number",
        "hyper does not look where there is no body, or chunks",
    ),
];

/// What was understood.
#[derive(Debug, PartialEq, Eq)]
enum Understood {
    Nothing,
    Reply {
        status: u16,
        fields: Vec<String>,
        body: Vec<u8>,
        trailers: Vec<String>,
        is_whole: bool,
    },
}

fn sorted(fields: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = lines(fields).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Reads the request's head, sends the pieces one by one, and closes.
async fn send(mut far: DuplexStream, pieces: &[Vec<u8>]) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match far.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    for piece in pieces {
        // Whoever refuses the reply may be gone already.
        if far.write_all(piece).await.is_err() {
            return;
        }
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }
}

/// What we understand, and why it is not a whole reply.
async fn ours(method: Method, near: DuplexStream) -> (Understood, Option<String>) {
    let request = Request::builder().method(&method).uri("/");
    let request = request.body(Upload::none()).unwrap();
    let (upload, scratch) = (request.body().watch(), Scratch::default());
    let asked = if method == Method::HEAD {
        Asked::Head
    } else {
        Asked::Other
    };
    let answer = match Connection::new(boxed(near))
        .send(Box::new(request), asked, &scratch)
        .await
    {
        Ok(answer) => answer,
        Err(SendError::BadReply(reason)) => return (Understood::Nothing, Some(reason.to_owned())),
        Err(_) => return (Understood::Nothing, None),
    };
    let (parts, mut source) = Http1Source::new(answer, std::rc::Rc::default(), upload);
    let (mut body, mut last, mut fault) = (Vec::new(), None, None);
    let mut room = vec![0; SCRATCH_BYTES];
    let mut is_over = source.is_empty();
    while !is_over {
        let fill = std::future::poll_fn(|cx| source.poll_fill(cx, &mut room)).await;
        match fill {
            Ok(Fill::Scratch(range)) => body.extend_from_slice(&room[range]),
            Ok(Fill::Bytes(bytes)) => body.extend_from_slice(&bytes),
            Ok(Fill::End { trailers, .. }) => {
                last = trailers;
                is_over = true;
            }
            Err(error) => {
                fault = Some(error);
                is_over = true;
            }
        }
    }
    let understood = understood(&parts, body, last, fault.is_none());
    let reason = match fault {
        Some(SourceError::Broken { reason } | SourceError::Closed { reason }) => Some(reason),
        Some(SourceError::Truncated | SourceError::Undecodable(_)) | None => None,
    };
    (understood, reason)
}

async fn theirs(method: Method, near: DuplexStream) -> Understood {
    let nothing = Understood::Nothing;
    let (mut sender, connection) = client::handshake(TokioIo::new(near)).await.unwrap();
    let drive = async { drop(connection.await) };
    let read = async move {
        let request = Request::builder().method(method).uri("/");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let Ok(reply) = sender.send_request(request).await else {
            return nothing;
        };
        let (mut parts, mut frames) = reply.into_parts();
        if parts.status.as_u16() == 101 {
            return nothing;
        }
        tell_one_length(&mut parts);
        let (mut body, mut last, mut is_whole) = (Vec::new(), None, true);
        while let Some(frame) = frames.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => body.extend_from_slice(&data),
                Ok(Err(frame)) => last = frame.into_trailers().ok(),
                Err(_) => is_whole = false,
            }
        }
        understood(&parts, body, last.and_then(trailers::forwardable), is_whole)
    };
    tokio::join!(read, drive).0
}

fn understood(
    parts: &response::Parts,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    is_whole: bool,
) -> Understood {
    Understood::Reply {
        status: parts.status.as_u16(),
        fields: sorted(&parts.headers),
        body,
        trailers: sorted(&trailers.unwrap_or_default()),
        is_whole,
    }
}

/// What we make of lengths, which hyper compares and leaves as they are.
fn tell_one_length(head: &mut response::Parts) {
    let said = head.headers.remove(header::CONTENT_LENGTH);
    let length = said
        .as_ref()
        .and_then(|said| said.to_str().ok()?.split(',').next());
    if let Some(length) = length.and_then(|length| length.trim().parse::<u64>().ok())
        && !head.headers.contains_key(header::TRANSFER_ENCODING)
    {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
}

fn check(method: &Method, reply: &[u8], cuts: &[sample::Index]) -> Result<(), TestCaseError> {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(reply.len() + 1)).collect();
    at.extend([0, reply.len()]);
    at.sort_unstable();
    let pieces: Vec<_> = at
        .windows(2)
        .map(|ends| reply[ends[0]..ends[1]].to_vec())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let ((ours, reason), theirs) = runtime.block_on(async {
        let (near, far) = duplex(64 * 1024);
        let (ours, ()) = tokio::join!(ours(method.clone(), near), send(far, &pieces));
        let (near, far) = duplex(64 * 1024);
        let (theirs, ()) = tokio::join!(theirs(method.clone(), near), send(far, &pieces));
        (ours, theirs)
    });
    let is_stricter = reason.is_some_and(|reason| {
        let mut reasons = STRICTER.iter().map(|(reason, _)| *reason);
        reasons.any(|stricter| stricter == reason)
    });
    if !is_stricter {
        prop_assert_eq!(&ours, &theirs, "{:?}", String::from_utf8_lossy(reply));
    }
    Ok(())
}

fn any_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    sample::select(texts).prop_map(str::to_owned)
}

/// A body, with or without chunks; not always what the head says.
fn body() -> impl Strategy<Value = String> {
    let payload = any_of(&["a", "hello", "\r\n", "0\r\n\r\n", "ten bytes!"]);
    let end = any_of(&["\r\n", ";x=y\r\n", " \r\n", " ; a=\"b\"\r\n"]);
    let chunk = (payload, end).prop_map(|(text, end)| format!("{:x}{end}{text}\r\n", text.len()));
    let last = any_of(&[
        "0\r\n\r\n",
        "0\r\n\r\nmore",
        "0;x\r\nX-Sum: 1\r\nTE: x\r\n\r\n",
        "0\r\n",
        "",
    ]);
    let chunks = (vec(chunk, 0..5), last).prop_map(|(chunks, last)| chunks.concat() + &last);
    prop_oneof![4 => chunks, 1 => any_of(&["", "hello", "hello, world"])]
}

fn reply() -> impl Strategy<Value = Vec<u8>> {
    let interim = any_of(&[
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    ]);
    let line = any_of(&[
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 304 Not Modified\r\n",
        "HTTP/1.1 299\r\n",
        "HTTP/1.1 502 Odd \u{e9}\r\n",
    ]);
    let field = any_of(&[
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 7\r\n",
        "Connection: close\r\n",
        "X: \t y \r\n",
        "X-Empty:\r\n",
    ]);
    let head = (vec(interim, 0..2), line, vec(field, 0..4));
    (head, body()).prop_map(|((interims, line, fields), body)| {
        let head = interims.concat() + &line + &fields.concat();
        format!("{head}\r\n{body}").into_bytes()
    })
}

/// One damage: a byte replaced, inserted or removed.
fn damage() -> impl Strategy<Value = (sample::Index, u8, u8)> {
    let byte = sample::select(&b"\r\n\t :;,0159aFZ\0\x7f\x80"[..]);
    (any::<sample::Index>(), 0..3_u8, byte)
}

/// A reply that can be read when a test fails.
#[derive(Clone)]
struct Damaged(Vec<u8>);

impl std::fmt::Debug for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

fn damaged((mut reply, damages): (Vec<u8>, Vec<(sample::Index, u8, u8)>)) -> Damaged {
    for (at, kind, byte) in damages {
        let at = at.index(reply.len());
        match kind {
            0 => reply[at] = byte,
            1 => reply.insert(at, byte),
            _ => drop(reply.remove(at)),
        }
    }
    Damaged(reply)
}

proptest! {
    #[test]
    fn both_understand_the_same(
        reply in (reply(), vec(damage(), 0..3)).prop_map(damaged),
        cuts in vec(any::<sample::Index>(), 0..6),
        method in sample::select(vec![Method::GET, Method::GET, Method::GET, Method::HEAD]),
    ) {
        check(&method, &reply.0, &cuts)?;
    }
}
