//! Is the payload of chunks found, and every fault of their framing?

use super::*;
use crate::upstream::http1::{body::Body, chunked::Chunked};

const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Expects these chunks to hold this payload and these trailers, and to come this far.
fn check(chunks: &str, (body, trailers, progress): (&str, &str, Progress)) {
    let reply = format!("{HEAD}{chunks}");
    let read = read_every_way(Asked::Other, reply.as_bytes()).expect("a head");
    let got = (&*read.body, &*read.trailers, read.progress);
    assert_eq!(got, (body, trailers, progress), "{chunks:?}");
}

#[test]
fn whole_bodies_are_read() {
    for (chunks, body, trailers) in [
        ("0\r\n\r\n", "", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
        ("5\r\nhello\r\n6\r\n world\r\n00\r\n\r\n", "hello world", ""),
        ("5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n", "hello", ""),
        ("5 \t;a\r\nhello\r\n0 \r\n\r\n", "hello", ""),
        (
            "00000000000000000000a\r\n0123456789\r\n0\r\n\r\n",
            "0123456789",
            "",
        ),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""),
        (
            "2\r\nok\r\n0\r\nX-Sum: 1\r\nx-sum:  2 \r\nConnection: close\r\n\r\n",
            "ok",
            "x-sum: 1\nx-sum: 2\n",
        ),
    ] {
        check(chunks, (body, trailers, Progress::Done));
    }
}

#[test]
fn what_is_left_over_is_counted() {
    let reply = format!("{HEAD}2\r\nok\r\n0\r\n\r\nHTTP/1.1");
    let read = read_every_way(Asked::Other, reply.as_bytes()).expect("a head");
    assert_eq!((read.progress, read.left_over), (Progress::Done, 8));
}

#[test]
fn what_is_cut_goes_on() {
    for chunks in [
        "",
        "5",
        "5\r\nhell",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\n0\r\nX: a\r\n\r",
    ] {
        let body = if chunks.contains("hello") {
            "hello"
        } else {
            &chunks[chunks.len().min(3)..]
        };
        check(chunks, (body, "", Progress::Going));
    }
}

#[test]
fn faults_are_told_after_the_payload_before_them() {
    let (no_size, no_cr) = (
        "the line that begins a chunk is no size",
        "the line that begins a chunk ends without CR",
    );
    let (long, last) = (
        "a chunk is longer than its size says",
        "the last line is not empty",
    );
    let trailer = "a trailer's line does not end with CR LF";
    let no_fields = "what follows the last chunk is no fields";
    for (chunks, reason) in [
        ("\r\n", no_size),
        ("zz\r\n", no_size),
        ("-1\r\n", no_size),
        ("0x1\r\n", no_size),
        (" 1\r\n", no_size),
        ("1 1\r\n", no_size),
        ("5\n", no_size),
        ("5\rx", no_size),
        (";a\r\n", no_size),
        ("5;a\n", no_cr),
        ("5;a\rb\r\n", no_size),
        (
            "fffffffffffffffff\r\n",
            "a chunk's size is beyond all bounds",
        ),
        ("1\r\na\n", long),
        ("1\r\nab\r\n", long),
        ("1\r\na\rb", long),
        ("0\r\n\rx", last),
        ("0\r\nX: a\n", trailer),
        ("0\r\nX: a\rb", trailer),
        ("0\r\nno colon\r\n\r\n", no_fields),
        ("0\r\nX: a\r\n folded\r\n\r\n", no_fields),
        ("0\r\nX: a\0b\r\n\r\n", no_fields),
    ] {
        let chunks = format!("2\r\nok\r\n{chunks}");
        let body = if reason == long { "oka" } else { "ok" };
        check(&chunks, (body, "", Progress::Bad(reason)));
    }
}

#[test]
fn lines_and_trailers_are_bounded_and_extensions_of_the_whole_body_are_not() {
    let progress = |chunks: String| {
        let mut body = Body::Chunked(Chunked::new());
        body.decode(&mut chunks.into_bytes());
        match (body.progress(), body.take_trailers()) {
            (Progress::Done, Err(reason)) => Progress::Bad(reason),
            (progress, _) => progress,
        }
    };
    let extension = |length| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(length));
    assert_eq!(progress(extension(4092)), Progress::Done);
    let reason = "the line that begins a chunk is too long";
    assert_eq!(progress(extension(4093)), Progress::Bad(reason));
    let many = format!(
        "{}0\r\n\r\n",
        "1;sig=0123456789abcdef\r\na\r\n".repeat(5000)
    );
    assert_eq!(progress(many), Progress::Done);
    let trailer = |length| format!("0\r\nX: {}\r\n\r\n", "a".repeat(length));
    assert_eq!(progress(trailer(16 * 1024 - 5)), Progress::Done);
    let reason = "what follows the last chunk is too long";
    assert_eq!(progress(trailer(16 * 1024 - 4)), Progress::Bad(reason));
    let trailers = |count| format!("0\r\n{}\r\n", "X: a\r\n".repeat(count));
    assert_eq!(progress(trailers(100)), Progress::Done);
    let reason = "what follows the last chunk is no fields";
    assert_eq!(progress(trailers(101)), Progress::Bad(reason));
}

#[test]
fn one_chunk_is_not_moved_and_several_are_joined_to_the_first() {
    let mut body = Body::Chunked(Chunked::new());
    let mut piece = b"5\r\nhello\r\n6;x\r\n world\r\n1\r\n".to_vec();
    let decoded = body.decode(&mut piece);
    assert_eq!(
        (decoded.payload.clone(), decoded.used),
        (3..14, piece.len())
    );
    assert_eq!(&piece[decoded.payload], b"hello world");
    let decoded = body.decode(&mut b"!\r\n".to_vec());
    assert_eq!((decoded.payload, decoded.used), (0..1, 3));
}
