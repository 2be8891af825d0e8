//! Does a connection bring its reply without holding memory, and go home when it can?

use std::{future::poll_fn, rc::Rc};

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::upstream::{
    connect::boxed,
    http1::{Connection, Http1Source, Pool, SendError},
    source::{Fill, SCRATCH_BYTES, Scratch, Source, SourceError},
    upload::Upload,
};

/// What came of one reply, fill by fill.
#[derive(Debug, Default, PartialEq, Eq)]
struct Got {
    fills: Vec<String>,
    error: Option<SourceError>,
    /// Whether the connection went home.
    is_home: bool,
}

/// Asks over a connection whose other end sends these pieces, one by one as they are read, and then closes.
async fn ask(pieces: &[&str]) -> Result<Got, SendError> {
    let (near, mut far) = duplex(1 << 20);
    let scratch = Scratch::default();
    let request = Box::new(Request::get("/").body(Upload::none()).unwrap());
    let upload = request.body().watch();
    let (first, others) = pieces.split_first().unwrap();
    let connection = Connection::new(boxed(near));
    let asked = connection.send(request, Asked::Other, &scratch);
    let (answer, ()) = tokio::join!(asked, answer(&mut far, first));
    let (home, mut got) = (Rc::new(Pool::default()), Got::default());
    let (_, mut source) = Http1Source::new(answer?, Rc::clone(&home), upload);
    let (mut others, mut far) = (others.iter(), Some(far));
    let mut room = vec![0; SCRATCH_BYTES];
    let mut is_over = source.is_empty();
    while !is_over {
        let filled = poll_fn(|cx| {
            let polled = source.poll_fill(cx, &mut room);
            std::task::Poll::Ready(polled)
        });
        match filled.await {
            std::task::Poll::Pending => match (others.next(), &mut far) {
                (Some(piece), Some(far)) => far.write_all(piece.as_bytes()).await.unwrap(),
                _ => drop(far.take()),
            },
            std::task::Poll::Ready(Ok(Fill::Scratch(range))) => {
                let text = String::from_utf8_lossy(&room[range]).into_owned();
                got.fills.push(text);
            }
            std::task::Poll::Ready(Ok(Fill::Bytes(bytes))) => {
                got.fills
                    .push(format!("({})", String::from_utf8_lossy(&bytes)));
            }
            std::task::Poll::Ready(Ok(Fill::End { .. })) => is_over = true,
            std::task::Poll::Ready(Err(error)) => {
                got.error = Some(error);
                is_over = true;
            }
        }
    }
    got.is_home = home.take().await.is_some();
    Ok(got)
}

/// Reads a request's head and sends this.
pub(super) async fn answer(far: &mut DuplexStream, piece: &str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(far.read_u8().await.unwrap());
    }
    far.write_all(piece.as_bytes()).await.unwrap();
}

/// Expects these fills (in parentheses: in a buffer of their own), this error, and whether the connection goes home.
async fn check(pieces: &[&str], fills: &[&str], error: Option<SourceError>, is_home: bool) {
    let got = ask(pieces).await.unwrap_or_else(|_| panic!("{pieces:?}"));
    let fills = fills.iter().map(|fill| (*fill).to_owned()).collect();
    let expected = Got {
        fills,
        error,
        is_home,
    };
    assert_eq!(got, expected, "{pieces:?}");
}

pub(super) const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n";

#[tokio::test]
async fn a_body_comes_read_by_read() {
    check(&[LENGTH, "ab", "cd"], &["ab", "cd"], None, true).await;
    check(&[&format!("{LENGTH}ab"), "cd"], &["(ab)", "cd"], None, true).await;
    check(&[LENGTH, "abcde"], &["abcd"], None, false).await;
    check(&[&format!("{LENGTH}abcde")], &["(abcd)"], None, false).await;
    check(
        &[
            CHUNKED,
            "1\r\na\r\n1\r\nb\r\n",
            "1;x",
            "\r\nc\r\n",
            "0\r\n\r\n",
        ],
        &["ab", "c"],
        None,
        true,
    )
    .await;
    check(
        &[&format!("{CHUNKED}1\r\na\r\n0\r"), "\n\r\n"],
        &["(a)"],
        None,
        true,
    )
    .await;
    check(&[CHUNKED, "1\r\na\r\n0\r\n\r\nx"], &["a"], None, false).await;
    check(&[CLOSE, "ab", "cd"], &["ab", "cd"], None, false).await;
    check(&["HTTP/1.1 204 No Content\r\n\r\n"], &[], None, true).await;
    check(&["HTTP/1.1 204 No Content\r\n\r\nx"], &[], None, false).await;
}

#[tokio::test]
async fn a_cut_is_told_after_what_came() {
    let cut = || Some(SourceError::Truncated);
    check(&[LENGTH, "ab"], &["ab"], cut(), false).await;
    check(&[CHUNKED, "3\r\nab"], &["ab"], cut(), false).await;
    check(&[CHUNKED, "1\r\na\r\n0\r\n"], &["a"], cut(), false).await;
    let reason = "the line that begins a chunk is no size".to_owned();
    let broken = SourceError::Broken { reason };
    check(&[CHUNKED, "1\r\na\r\nzz"], &["a"], Some(broken), false).await;
}

#[tokio::test]
async fn what_is_no_reply_is_told() {
    assert!(matches!(
        ask(&["garbage\r\n"]).await,
        Err(SendError::BadReply(_))
    ));
    let (near, far) = duplex(1024);
    drop(far);
    let request = Box::new(Request::get("/").body(Upload::none()).unwrap());
    let (connection, scratch) = (Connection::new(boxed(near)), Scratch::default());
    let sent = connection.send(request, Asked::Other, &scratch);
    // Nothing was sent, so it can be sent again.
    assert!(matches!(sent.await, Err(SendError::Unsent(_))));
}

#[test]
fn a_source_is_small_at_rest() {
    let bytes = size_of::<Http1Source>();
    assert!(bytes <= 208, "{bytes}");
}
