//! Does a request go out whole, and is its reply read whatever becomes of it?

use std::{future::poll_fn, rc::Rc};

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::{
    connection::{LENGTH, answer},
    *,
};
use crate::upstream::{
    connect::boxed,
    http1::{Connection, Http1Source, Pool, SendError},
    source::{Fill, SCRATCH_BYTES, Scratch, Source as _},
    upload::{Upload, UploadWatch},
};

/// A request with this body, and the watch over it.
fn upload(body: Vec<u8>) -> (Box<Request<Upload>>, Rc<UploadWatch>) {
    let mut upload = Upload::none();
    upload.put_back(body.into());
    let watch = upload.watch();
    (Box::new(Request::post("/").body(upload).unwrap()), watch)
}

#[tokio::test]
async fn a_head_goes_out_together_with_its_body() {
    let (near, mut far) = duplex(1 << 20);
    let (request, _watch) = upload(b"hello".to_vec());
    let (connection, scratch) = (Connection::new(boxed(near)), Scratch::default());
    let asked = connection.send(request, Asked::Other, &scratch);
    let serve = async {
        let mut written = vec![0; 1000];
        let length = far.read(&mut written).await.unwrap();
        far.write_all(LENGTH.as_bytes()).await.unwrap();
        String::from_utf8(written[..length].to_vec()).unwrap()
    };
    let (answer, written) = tokio::join!(asked, serve);
    assert_eq!(written, "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello");
    assert!(answer.is_ok_and(|answer| answer.connection.is_kept()));
}

#[tokio::test]
async fn a_reply_is_not_lost_with_the_rest_of_its_request() {
    let (near, mut far) = duplex(64 * 1024);
    let (request, watch) = upload(vec![b'x'; 1 << 20]);
    let (connection, scratch) = (Connection::new(boxed(near)), Scratch::default());
    let asked = connection.send(request, Asked::Other, &scratch);
    let serve = async {
        answer(&mut far, &format!("{LENGTH}much")).await;
        drop(far);
    };
    let (answer, ()) = tokio::join!(asked, serve);
    let answer = answer.unwrap_or_else(|_| panic!("the reply is lost"));
    let home = Rc::new(Pool::default());
    let (head, mut source) = Http1Source::new(answer, Rc::clone(&home), watch);
    assert_eq!(head.status, 200);
    let mut room = vec![0; SCRATCH_BYTES];
    let mut fill = async || poll_fn(|cx| source.poll_fill(cx, &mut room)).await;
    assert!(matches!(fill().await, Ok(Fill::Bytes(bytes)) if bytes == "much"));
    assert!(matches!(fill().await, Ok(Fill::End { .. })));
    assert!(home.take().await.is_none());
}

#[tokio::test]
async fn only_silence_is_told_as_no_answer() {
    for (reply, is_unanswered) in [
        ("", true),
        ("H", false),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", false),
    ] {
        let (near, mut far) = duplex(64 * 1024);
        let request = Box::new(Request::get("/").body(Upload::none()).unwrap());
        let (connection, scratch) = (Connection::new(boxed(near)), Scratch::default());
        let asked = connection.send(request, Asked::Other, &scratch);
        let serve = async {
            answer(&mut far, reply).await;
            drop(far);
        };
        let (sent, ()) = tokio::join!(asked, serve);
        let is_silence = matches!(sent, Err(SendError::Unanswered));
        assert_eq!(is_silence, is_unanswered, "{reply:?}");
        let is_cut = matches!(sent, Err(SendError::Disconnected));
        assert_eq!(is_cut, !is_unanswered, "{reply:?}");
    }
}
