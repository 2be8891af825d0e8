//! Does a request say what its body is, and nothing twice?

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request};

use crate::upstream::{
    http1::request::{Framing, head},
    upload::Upload,
};

/// Expects the head of a request without a body.
fn check(method: &str, target: &str, fields: &[(&str, &str)], expected: &str) {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (out, framing) = head(&request.body(Upload::none()).unwrap());
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert!(framing.is_done());
}

#[tokio::test]
async fn a_head_is_written_with_its_fields() {
    check(
        "GET",
        "/a?b=%20",
        &[("Host", "x")],
        "GET /a?b=%20 HTTP/1.1\r\nhost: x\r\n\r\n",
    );
    check(
        "OPTIONS",
        "*",
        &[("host", "x")],
        "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
    );
    // No body is framed by what was said of it, if anything was.
    check("POST", "/", &[], "POST / HTTP/1.1\r\n\r\n");
    check(
        "POST",
        "/",
        &[("content-length", "0")],
        "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
    );
    check(
        "POST",
        "/",
        &[("content-length", "5"), ("transfer-encoding", "x")],
        "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
    );
    check(
        "GET",
        "/",
        &[("te", "trailers"), ("connection", "upgrade")],
        "GET / HTTP/1.1\r\nte: trailers\r\nconnection: upgrade\r\nconnection: te\r\n\r\n",
    );
}

/// Expects what these pieces become on the wire; `None` where they are not what was said.
fn check_body(
    mut framing: Framing,
    pieces: &[&'static str],
    trailers: &[(&'static str, &str)],
    expected: Option<&str>,
) {
    let mut fields = HeaderMap::new();
    for (name, value) in trailers {
        fields.append(*name, value.parse().unwrap());
    }
    let written = (|| {
        let mut out = Vec::new();
        for piece in pieces {
            for part in framing.data(Bytes::from_static(piece.as_bytes()))? {
                out.extend_from_slice(&part);
            }
        }
        out.extend_from_slice(&framing.end(Some(fields))?);
        String::from_utf8(out).ok()
    })();
    assert_eq!(written.as_deref(), expected, "{pieces:?}");
}

#[test]
fn a_body_is_written_as_was_said() {
    let length = Framing::Length;
    check_body(length(10), &["hello", "world"], &[], Some("helloworld"));
    check_body(length(10), &["hello"], &[], None);
    check_body(length(4), &["hello"], &[], None);
    let chunked = |announced: &[&'static str]| {
        Framing::Chunked(
            announced
                .iter()
                .copied()
                .map(HeaderName::from_static)
                .collect(),
        )
    };
    check_body(chunked(&[]), &[], &[], Some("0\r\n\r\n"));
    check_body(
        chunked(&["x-sum", "host"]),
        &["hello", "sixteen bytes !!"],
        &[
            ("x-sum", "1"),
            ("x-sum", "2"),
            ("x-other", "1"),
            ("host", "x"),
        ],
        Some("5\r\nhello\r\n10\r\nsixteen bytes !!\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n"),
    );
}
