//! Is a request refused that two readers could take for two different things?

use http::Request;

use crate::support::{Weir, backend::Backend, client::Client, client2::Client2, proxied};

/// What would be smuggled, were the end of the request before it mistaken.
const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";

/// Each is refused with one of these statuses (0: closed without a word), and reaches no upstream.
const REFUSED: &[(&str, &[u16])] = &[
    // Whom it is for.
    ("GET / HTTP/1.1\r\n\r\n", &[400]),
    ("GET http://test/ HTTP/1.1\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n", &[400]),
    (
        "GET / HTTP/1.1\r\nHost: test\r\nHost: other\r\n\r\n",
        &[400],
    ),
    ("GET / HTTP/1.1\r\nHost: test, other\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: te st\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: test/path\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: user@test\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: test:port\r\n\r\n", &[400]),
    (
        "GET http://user@test/ HTTP/1.1\r\nHost: test\r\n\r\n",
        &[400],
    ),
    // Where the body ends.
    (
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip\r\n\r\n",
        &[400, 501],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        &[501],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    (
        "POST / HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: +5\r\n\r\nhello",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: -5\r\n\r\nhello",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0x5\r\n\r\nhello",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: \r\n\r\nhello",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5 5\r\n\r\nhello",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5, 6\r\n\r\nhello",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
        &[400],
    ),
    // Where a line and a field end.
    ("GET / HTTP/1.1\r\nHost: test\r\nX: a\rb\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: test\r\nX: a\0b\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: test\r\nX: a\r\n b\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: test\r\n X: a\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\n Host: test\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: test\r\nX : a\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: test\r\nno colon\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: test\r\n: no name\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: test\r\nX\u{e9}: a\r\n\r\n", &[400]),
    // What is asked for.
    ("GET /a/../b HTTP/1.1\r\nHost: test\r\n\r\n", &[400]),
    ("GET /a/%2E%2e/b HTTP/1.1\r\nHost: test\r\n\r\n", &[400]),
    ("GET /./a HTTP/1.1\r\nHost: test\r\n\r\n", &[400]),
    ("GET /a b HTTP/1.1\r\nHost: test\r\n\r\n", &[400]),
    ("GET a HTTP/1.1\r\nHost: test\r\n\r\n", &[400, 404]),
    ("GET * HTTP/1.1\r\nHost: test\r\n\r\n", &[400, 404]),
    ("GET  HTTP/1.1\r\nHost: test\r\n\r\n", &[400]),
    ("GET / HTTP/1.1 \r\nHost: test\r\n\r\n", &[400]),
    ("GET / HTTP/2.0\r\nHost: test\r\n\r\n", &[0, 400, 505]),
    ("GET / HTTP/3.0\r\nHost: test\r\n\r\n", &[0, 400, 505]),
    ("GET / http/1.1\r\nHost: test\r\n\r\n", &[400]),
    ("GET /\r\n\r\n", &[0, 400]),
    ("G\u{e9}T / HTTP/1.1\r\nHost: test\r\n\r\n", &[400]),
    (
        "CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n",
        &[501],
    ),
    ("TRACE / HTTP/1.1\r\nHost: test\r\n\r\n", &[501]),
    // Not HTTP at all.
    (
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n",
        &[0, 400],
    ),
    ("\0\0\0\0\0\0\0\0\r\n\r\n", &[0, 400]),
    ("SSH-2.0-OpenSSH_9.9\r\n\r\n", &[0, 400]),
    ("{\"json\":1}\r\n\r\n", &[0, 400]),
];

#[tokio::test]
async fn an_ambiguous_request_is_refused_and_its_connection_closed() {
    let (backend, weir) = proxied("").await;
    for (request, statuses) in REFUSED {
        let mut client = Client::connect(weir.address()).await;
        client.send(format!("{request}{NEXT}")).await;
        let answer = String::from_utf8_lossy(&client.rest_bytes().await).into_owned();
        let status = answer.get(9..12).map_or(Ok(0), str::parse);
        let status: u16 = status.unwrap_or_else(|_| panic!("{request:?}: {answer:?}"));
        assert!(statuses.contains(&status), "{request:?}: {answer:?}");
        assert!(
            answer.matches("HTTP/1.1 ").count() <= 1,
            "{request:?}: {answer:?}"
        );
        assert!(backend.is_alone().await, "{request:?} reached the upstream");
    }
    works(&backend, &weir).await;
}

/// The proxy still answers.
async fn works(backend: &Backend, weir: &Weir) {
    let mut client = Client::get(weir.address(), "/", "").await;
    backend.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.head().await.status, 204);
}

#[tokio::test]
async fn what_is_odd_but_clear_is_served() {
    let (backend, weir) = proxied("").await;
    for request in [
        "\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET / HTTP/1.1\r\nhOST:test\t \r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET http://test HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET /%2e%2e%2e/..a/a..?/../ HTTP/1.1\r\nHost: test\r\n\r\n",
        "M-SEARCH / HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n",
    ] {
        let mut client = Client::connect(weir.address()).await;
        client.send(request).await;
        let mut upstream = backend.accept().await;
        let head = upstream.request().await;
        assert!(
            head.matches("content-length").count() <= 1,
            "{request:?}: {head}"
        );
        upstream
            .send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .await;
        assert_eq!(client.head().await.status, 204, "{request:?}");
    }
}

#[tokio::test]
async fn chunks_win_over_a_length_and_end_the_connection() {
    let (backend, weir) = proxied("").await;
    for lengths in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let mut client = Client::connect(weir.address()).await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: test\r\n{lengths}\r\n0\r\n\r\n{NEXT}"
            ))
            .await;
        let mut upstream = backend.accept().await;
        let head = upstream.request().await;
        assert!(!head.contains("content-length"), "{head}");
        assert_eq!(upstream.read_chunks().await, (Vec::new(), true));
        upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        let answer = client.rest().await;
        assert!(
            answer.starts_with("HTTP/1.1 204 ") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
        assert!(backend.is_alone().await);
        drop(upstream);
    }
}

#[tokio::test]
async fn broken_chunks_never_reach_the_upstream_as_a_whole_body() {
    let (backend, weir) = proxied("").await;
    for chunks in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5 x\r\nhello\r\n0\r\n\r\n",
        "5;a=\n5\r\nhello\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
    ] {
        let mut client = Client::connect(weir.address()).await;
        let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}{chunks}{NEXT}")).await;
        let mut upstream = backend.accept().await;
        let seen = upstream.rest().await;
        let seen = String::from_utf8_lossy(&seen);
        assert!(
            !seen.contains("\r\n0\r\n"),
            "{chunks:?} arrived as {seen:?}"
        );
        assert!(!seen.contains("smuggled"), "{chunks:?} arrived as {seen:?}");
        let answer = client.rest().await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{chunks:?}: {answer}"
        );
        assert!(backend.is_alone().await, "{chunks:?}");
    }
    works(&backend, &weir).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_told_so() {
    let (backend, weir) = proxied("").await;
    let fields = "X: 1\r\n".repeat(200);
    let (value, path) = ("x".repeat(48 * 1024), "x".repeat(80 * 1024));
    for (request, statuses) in [
        (
            format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"),
            [431, 431],
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: test\r\nX: {value}\r\n\r\n"),
            [431, 431],
        ),
        (
            format!("GET /{path} HTTP/1.1\r\nHost: test\r\n\r\n"),
            [414, 431],
        ),
    ] {
        let mut client = Client::connect(weir.address()).await;
        client.send(request).await;
        let status = client.head().await.status;
        assert!(statuses.contains(&status), "{status}");
        client.rest().await;
        assert!(backend.is_alone().await);
    }
    let client = Client2::connect(weir.address()).await;
    let mut sender = client.sender().ready().await.expect("an open connection");
    let request = Request::get("http://test/")
        .header("x", value)
        .body(())
        .expect("a request");
    let (response, _) = sender.send_request(request, true).expect("a request");
    let refused = response.await;
    assert!(refused.map_or(true, |response| response.status() == 431));
    assert!(backend.is_alone().await);
    works(&backend, &weir).await;
}

#[tokio::test]
async fn bad_requests_over_http2_are_refused() {
    let (backend, weir) = proxied("").await;
    let client = Client2::connect(weir.address()).await;
    let request = |method: &str, uri: &str| Request::builder().method(method).uri(uri);
    for (request, status) in [
        (request("GET", "http://test/").header("host", "other"), 400),
        (request("GET", "http://test/a/../b"), 400),
        (request("GET", "http://user@test/"), 400),
        (request("TRACE", "http://test/"), 501),
        (
            request("GET", "http://test/").header("via", "1.1 weir, ".repeat(9)),
            502,
        ),
    ] {
        let response = client.send(request.body(()).expect("a request"), "").await;
        assert_eq!(response.head.status, status);
        assert!(!response.head.headers.contains_key("connection"));
        assert!(backend.is_alone().await);
    }
    works(&backend, &weir).await;
}
