//! Is a head read where it is clear, and refused where it is not?

use super::*;

/// Expects this reply's status, fields and body, and whether its connection is kept.
fn check(asked: Asked, reply: &str, (status, fields, body, is_kept): (u16, &str, &str, bool)) {
    let read = read_every_way(asked, reply.as_bytes());
    let read = read.unwrap_or_else(|reason| panic!("{reply:?}: {reason}"));
    let got = (read.status, &*read.fields, &*read.body, read.is_kept);
    assert_eq!(got, (status, fields, body, is_kept), "{reply:?}");
}

/// Expects this reply to be refused for this reason.
fn check_refused(reply: &str, reason: &str) {
    let read = read_every_way(Asked::Other, reply.as_bytes());
    assert_eq!(read, Err(reason), "{reply:?}");
}

#[test]
fn what_is_clear_is_read() {
    for (reply, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            (200, "content-length: 2\n", "ok", true),
        ),
        (
            "HTTP/1.1 299\r\nX:  a \r\ncontent-length:2\r\n\r\nok",
            (299, "x: a\ncontent-length: 2\n", "ok", true),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok",
            (200, "content-length: 2\n", "ok", true),
        ),
        ("HTTP/1.1 200 OK\r\n\r\nok", (200, "", "ok", false)),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            (200, "content-length: 2\n", "ok", false),
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok",
            (
                200,
                "connection: Keep-Alive\ncontent-length: 2\n",
                "ok",
                true,
            ),
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
            (
                200,
                "connection: x, Close\ncontent-length: 2\n",
                "ok",
                false,
            ),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 7\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            (200, "transfer-encoding: Chunked\n", "ok", false),
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
            (204, "", "", true),
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            (304, "content-length: 9\n", "", true),
        ),
    ] {
        check(Asked::Other, reply, expected);
    }
    let reply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    check(Asked::Head, reply, (200, "content-length: 2\n", "", true));
    let reply = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
    check(Asked::Upgrade, reply, (101, "upgrade: x\n", "", false));
}

#[test]
fn what_is_not_clear_is_refused() {
    let malformed = "the head is malformed";
    let no_cr = "a line of the head ends without CR";
    let no_length = "the length of the body is no number";
    let coding = "the body has a transfer coding that was not asked for";
    for (reply, reason) in [
        ("garbage\r\n\r\n", malformed),
        ("HTTP/2.0 200 OK\r\n\r\n", malformed),
        ("HTTP/1.1 20 OK\r\n\r\n", malformed),
        ("HTTP/1.1 099 OK\r\n\r\n", "there is no such status"),
        ("HTTP/1.1 200 OK\r\n X: folded\r\n\r\n", malformed),
        ("HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n", malformed),
        ("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", malformed),
        ("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", malformed),
        ("HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", malformed),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", "an empty line comes first"),
        ("\nHTTP/1.1 200 OK\r\n\r\n", "an empty line comes first"),
        ("HTTP/1.1 200 OK\n\r\n", no_cr),
        ("HTTP/1.1 200 OK\r\nX: a\n\r\n", no_cr),
        ("HTTP/1.1 200 OK\r\nX: a\r\n\n", no_cr),
        ("HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\r\n\r\n", no_cr),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
            "the lengths of the body differ",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4, 5\r\n\r\n",
            "the lengths of the body differ",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\n", no_length),
        ("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", no_length),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4,\r\n\r\n", no_length),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n",
            no_length,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            coding,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
            coding,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            coding,
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "the body has a transfer coding, which HTTP/1.0 does not know",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "it changes the protocol, which the request did not ask for",
        ),
        ("HTTP/1.1 200 OK\r\nX: a", "there is no whole head"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "there is no whole head"),
    ] {
        check_refused(reply, reason);
    }
}

#[test]
fn a_head_is_bounded_in_bytes_and_in_fields() {
    let fields = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: a\r\n".repeat(count));
    let value = |length| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(length));
    let pieces = |reply: &str| {
        let pieces: Vec<_> = reply.as_bytes().chunks(1000).map(<[u8]>::to_vec).collect();
        read(Asked::Other, pieces.iter().map(|piece| &piece[..])).map(|read| read.status)
    };
    assert_eq!(pieces(&fields(100)), Ok(200));
    assert_eq!(pieces(&fields(101)), Err("the head is malformed"));
    assert_eq!(pieces(&value(64 * 1024 - 24)), Ok(200));
    assert_eq!(pieces(&value(64 * 1024 - 23)), Err("the head is too long"));
    assert_eq!(pieces(&value(1024 * 1024)), Err("the head is too long"));
}
