//! What does the client get where the upstream's reply is garbage, late or never comes?

use std::time::Duration;

use tokio::{
    net::{TcpListener, TcpSocket},
    time::Instant,
};

use crate::support::{Weir, backend::Backend, client::Client, proxied, soon};

/// The proxy still answers on this client's connection, and tells the right reply.
async fn goes_on(client: &mut Client, backend: &Backend) {
    client
        .send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    let mut upstream = backend.accept().await;
    assert!(upstream.request().await.starts_with("get /next "));
    upstream
        .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnext")
        .await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.exactly(4).await, b"next");
}

/// Replies that are none: garbage, from which nothing must reach the client.
const GARBAGE: &[&str] = &[
    "garbage\r\n\r\n",
    "HTTP/1.1\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 abc OK\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/9.9 200 OK\r\n\r\n",
    "http/1.1 200 OK\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
    "<html>HTTP/0.9 it is</html>",
    "HTTP/1.1 200 OK\r\nno colon\r\n\r\nevil",
    "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\nevil",
    "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\nevil",
    "HTTP/1.1 200 OK\r\n folded: first\r\n\r\nevil",
    "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\nevil",
    "HTTP/1.1 200 OK\r\nX\u{e9}: a\r\n\r\nevil",
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nevil!",
    "HTTP/1.1 200 OK\r\nContent-Length: 4, 5\r\n\r\nevil!",
    "HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nevil",
    "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nevil",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nevil",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    "\u{16}\u{3}\u{1}\0\u{1}\0\r\n\r\n",
];

#[tokio::test]
async fn garbage_is_told_as_a_bad_gateway() {
    let (backend, weir) = proxied("").await;
    for reply in GARBAGE {
        let mut client = Client::get(weir.address(), "/", "").await;
        let mut upstream = backend.answer(reply).await;
        let head = client.head().await;
        assert_eq!(head.status, 502, "{reply:?}: {head:?}");
        assert_eq!(
            head.field("proxy-status"),
            "weir; error=http_protocol_error",
            "{reply:?}"
        );
        assert_eq!(head.field("content-type"), "application/problem+json");
        let length = head.field("content-length").parse().expect("a length");
        let body = client.exactly(length).await;
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(problem["status"], 502);
        goes_on(&mut client, &backend).await;
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_not_kept() {
    let (backend, weir) = proxied("").await;
    for piece in ["X: ", "X: 1\r\n"] {
        let mut client = Client::get(weir.address(), "/", "").await;
        let mut upstream = backend.answer("HTTP/1.1 200 OK\r\n").await;
        let flood = async {
            let piece = piece.repeat(4096);
            let mut written = 0;
            loop {
                use tokio::io::AsyncWriteExt as _;
                if upstream.socket().write_all(piece.as_bytes()).await.is_err() {
                    return written;
                }
                written += piece.len();
            }
        };
        let (head, written) = tokio::join!(client.head(), soon("the flood to be cut", flood));
        assert_eq!(head.status, 502);
        assert!(written < 32 * 1024 * 1024, "{written}");
    }
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_never_whole() {
    let (backend, weir) = proxied("").await;
    for (reply, expected) in [
        ("Content-Length: 10\r\n\r\nhello", "hello"),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "5\r\nhello\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            "5\r\nhello\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
            "5\r\nhello\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
            "5\r\nhello\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello",
            "",
        ),
    ] {
        let mut client = Client::get(weir.address(), "/", "").await;
        drop(backend.answer(&format!("HTTP/1.1 200 OK\r\n{reply}")).await);
        assert_eq!(client.head().await.status, 200, "{reply:?}");
        assert_eq!(client.rest().await, expected, "{reply:?}");
    }
}

#[tokio::test]
async fn what_is_odd_but_clear_is_passed_on() {
    let (backend, weir) = proxied("").await;
    for (reply, body) in [
        ("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok", "ok"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            "ok",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "ok",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "ok"),
        // Without a length the close is the end.
        ("HTTP/1.1 200 OK\r\n\r\nok", "2\r\nok\r\n0\r\n\r\n"),
        ("HTTP/1.0 200 OK\r\n\r\nok", "2\r\nok\r\n0\r\n\r\n"),
        // Chunks win over a length, which then must not be passed on (RFC 9112 §6.3).
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "2\r\nok\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n",
            "2\r\nok\r\n0\r\n\r\n",
        ),
    ] {
        let mut client = Client::get(weir.address(), "/", "Connection: close\r\n").await;
        drop(backend.answer(reply).await);
        let head = client.head().await;
        assert_eq!(head.status / 100, 2, "{reply:?}: {head:?}");
        let length = if body == "ok" { "2" } else { "" };
        assert_eq!(head.field("content-length"), length, "{reply:?}");
        assert_eq!(client.rest().await, body, "{reply:?}");
    }
}

/// What a client is told whose reply never comes: status and `Proxy-Status`.
async fn told(weir: &Weir) -> (u16, String) {
    let mut client = Client::get(weir.address(), "/", "").await;
    let head = client.head().await;
    (head.status, head.field("proxy-status").to_owned())
}

#[tokio::test]
async fn nobody_there_is_a_bad_gateway() {
    let backend = Backend::bind().await;
    let endpoint = backend.endpoint();
    drop(backend);
    for (endpoint, error) in [
        (&*endpoint, "connection_refused"),
        ("unix:/nonexistent/weir.sock", "connection_refused"),
        ("http://nowhere.invalid", "dns_error"),
    ] {
        let weir = Weir::route(endpoint, "");
        let (status, proxy_status) = told(&weir).await;
        assert_eq!(
            (status, proxy_status),
            (502, format!("weir; error={error}")),
            "{endpoint}"
        );
    }
}

/// A port whose queue is full, so that connecting to it neither succeeds nor fails.
async fn full() -> (String, Vec<tokio::net::TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("a bound port");
    let mut queued = Vec::new();
    // The queue holds one more than it says; the first that is not taken finds it full.
    while let Ok(stream) = tokio::time::timeout(
        Duration::from_millis(300),
        tokio::net::TcpStream::connect(address),
    )
    .await
    {
        queued.push(stream.expect("a connection"));
    }
    (format!("http://{address}"), queued, listener)
}

#[tokio::test]
async fn an_endpoint_that_does_not_accept_is_a_timeout() {
    let (endpoint, _queued, _listener) = full().await;
    let upstream = format!("endpoints = [\"{endpoint}\"]\nconnect_timeout = \"300ms\"");
    let weir = Weir::upstream(&upstream, "");
    assert_eq!(
        told(&weir).await,
        (504, "weir; error=connection_timeout".to_owned())
    );
}

#[tokio::test]
async fn those_who_wait_to_share_a_connection_wait_no_longer_than_one() {
    let (endpoint, _queued, _listener) = full().await;
    let upstream =
        format!("endpoints = [\"{endpoint}\"]\nhttp = \"2\"\nconnect_timeout = \"300ms\"");
    let weir = Weir::upstream(&upstream, "");
    let begun = Instant::now();
    for _round in 0..2 {
        let (first, second, third, fourth) =
            tokio::join!(told(&weir), told(&weir), told(&weir), told(&weir));
        for told in [first, second, third, fourth] {
            assert_eq!(told, (504, "weir; error=connection_timeout".to_owned()));
        }
    }
    // Two rounds of one time limit each; one after the other they would be eight.
    let elapsed = begun.elapsed();
    assert!(elapsed < Duration::from_millis(1600), "{elapsed:?}");
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_a_timeout() {
    let (backend, weir) = proxied("timeouts = { first_byte = \"300ms\" }").await;
    let silent = async {
        let mut upstream = backend.accept().await;
        upstream.request().await;
        upstream.closed().await;
    };
    let (told, ()) = tokio::join!(told(&weir), silent);
    assert_eq!(told, (504, "weir; error=http_response_timeout".to_owned()));
    // While a body comes, its reply is not late.
    let mut client = Client::connect(weir.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n")
        .await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..20 {
        ticks.tick().await;
        client.send("x").await;
        upstream.read(1).await;
    }
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.head().await.status, 204);
}
