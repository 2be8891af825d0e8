//! Is a message the same on the other side, but for what belongs to the neighbors?

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    Weir, backend::Backend, client::Client, client2::Client2, noise, proxied, soon,
};

/// Sends a request over HTTP/1.1 and gives what the upstream got; the reply is without a body.
async fn seen(backend: &Backend, weir: &Weir, request: &str) -> String {
    let mut client = Client::connect(weir.address()).await;
    client.send(request).await;
    let mut upstream = backend.accept().await;
    let seen = upstream.request().await;
    upstream
        .send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status, 204);
    seen
}

/// Whether a head, as [`seen`] gives it, has a line.
fn has(head: &str, line: &str) -> bool {
    head.contains(&format!("\r\n{line}\r\n"))
}

#[tokio::test]
async fn what_belongs_to_the_client_and_us_is_not_passed_on() {
    let (backend, weir) = proxied("").await;
    let head = seen(
        &backend,
        &weir,
        "GET /a?b=c HTTP/1.1\r\nHost: test\r\nConnection: X-Hop, keep-alive, Authorization\r\n\
         X-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nAuthorization: Bearer t\r\n\
         X-End: yes\r\n\r\n",
    )
    .await;
    assert!(head.starts_with("get /a?b=c http/1.1\r\n"), "{head}");
    for gone in [
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "te:",
        "upgrade",
        "http2-settings",
    ] {
        assert!(!head.contains(&format!("\r\n{gone}")), "{gone} in {head}");
    }
    assert!(
        has(&head, "x-end: yes") && has(&head, "authorization: bearer t"),
        "{head}"
    );
    assert!(
        has(&head, "host: test") && has(&head, "via: 1.1 weir"),
        "{head}"
    );
    assert!(
        !head.contains("content-length") && !head.contains("transfer-encoding"),
        "{head}"
    );
}

#[tokio::test]
async fn what_belongs_to_the_upstream_and_us_is_not_passed_on() {
    let (backend, weir) = proxied("").await;
    let head = "HTTP/1.1 200 OK\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                Proxy-Connection: close\r\nUpgrade: h2c\r\nX-End: yes\r\nContent-Length: 2\r\n\r\nok";
    let mut client = Client::get(weir.address(), "/", "").await;
    backend.answer(head).await;
    let first = client.head().await;
    for gone in [
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "connection",
        "upgrade",
    ] {
        assert_eq!(first.field(gone), "", "{gone}");
    }
    assert_eq!(
        (first.field("x-end"), first.field("content-length")),
        ("yes", "2")
    );
    assert_eq!(client.exactly(2).await, b"ok");
    // The upstream's close is its own: the client's connection goes on.
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    backend.answer(head).await;
    assert_eq!(client.head().await.status, 200);
    let client = Client2::connect(weir.address()).await;
    let (mut response, _) = tokio::join!(client.get("/"), backend.answer(head));
    for gone in [
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "connection",
        "upgrade",
    ] {
        assert!(!response.head.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(response.rest().await, ("ok".to_owned(), None));
}

const FORGED: &str = "GET / HTTP/1.1\r\nHost: Example.com:8080\r\nX-Forwarded-For: 10.0.0.1\r\n\
                      X-Forwarded-Proto: https\r\nX-Forwarded-Host: other\r\n\
                      Forwarded: for=10.0.0.1;proto=https\r\n\r\n";

#[tokio::test]
async fn what_a_stranger_says_of_itself_is_replaced() {
    let (backend, weir) = proxied("").await;
    let head = seen(&backend, &weir, FORGED).await;
    for line in [
        "host: example.com:8080",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: example.com:8080",
        "forwarded: for=127.0.0.1;host=\"example.com:8080\";proto=http",
    ] {
        assert!(has(&head, line), "{line} in {head}");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_kept_and_added_to() {
    let backend = Backend::bind().await;
    let weir = Weir::start(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.1/32\"]\n\
         [upstream.test]\nendpoints = [\"{}\"]\n[[route]]\nname = \"test\"\nupstream = \"test\"\n",
        backend.endpoint()
    ));
    let head = seen(&backend, &weir, FORGED).await;
    for line in [
        "x-forwarded-for: 10.0.0.1, 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: other",
        "forwarded: for=10.0.0.1;proto=https, for=127.0.0.1;host=\"example.com:8080\";proto=http",
    ] {
        assert!(has(&head, line), "{line} in {head}");
    }
}

#[tokio::test]
async fn the_host_is_kept_and_a_target_in_absolute_form_names_it() {
    let (backend, weir) = proxied("").await;
    let client = Client2::connect(weir.address()).await;
    let request = Request::get("http://api.example.com:81/x")
        .body(())
        .expect("a request");
    let serve = async {
        let mut upstream = backend.accept().await;
        let head = upstream.request().await;
        upstream
            .send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .await;
        head
    };
    let (_, head) = tokio::join!(client.send(request, ""), serve);
    assert!(
        has(&head, "host: api.example.com:81") && has(&head, "via: 2.0 weir"),
        "{head}"
    );
    let request = "GET http://a.example.com/x?y HTTP/1.1\r\nHost: other\r\n\r\n";
    let head = seen(&backend, &weir, request).await;
    assert!(head.starts_with("get /x?y http/1.1\r\n"), "{head}");
    assert!(
        has(&head, "host: a.example.com") && !head.contains("host: other"),
        "{head}"
    );
}

#[tokio::test]
async fn odd_and_repeated_fields_survive() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    let fields: &[u8] =
        b"x-a: 1\r\nx-a: 2, 3\r\nx-empty: \r\nx-latin: caf\xe9\r\nx-quoted: \"a, b;c\"\r\n";
    client
        .send([b"GET / HTTP/1.1\r\nHost: test\r\n", fields, b"\r\n"].concat())
        .await;
    let mut upstream = backend.accept().await;
    let head = upstream.head_bytes().await;
    for line in fields.split_inclusive(|&byte| byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        assert!(memchr::memmem::find(&head, line).is_some(), "{text:?}");
    }
    let cookies: &[u8] =
        b"set-cookie: a=1; Path=/\r\nset-cookie: b=2\r\nx-latin: caf\xe9\r\nx-empty: \r\n";
    let reply = [b"HTTP/1.1 204 Fine\r\n", cookies, b"\r\n"].concat();
    upstream.send(reply).await;
    let head = client.head_bytes().await;
    for line in cookies.split_inclusive(|&byte| byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        assert!(memchr::memmem::find(&head, line).is_some(), "{text:?}");
    }
}

/// Method, status and fields of replies without a body, and the `Content-Length` that the client gets.
const BARE: &[(&str, u16, &str, &str)] = &[
    (
        "HEAD",
        200,
        "Content-Length: 12\r\nContent-Type: application/x-ndjson\r\n",
        "12",
    ),
    ("HEAD", 200, "Transfer-Encoding: chunked\r\n", ""),
    ("HEAD", 200, "", ""),
    ("GET", 204, "", ""),
    ("GET", 304, "ETag: \"1\"\r\nContent-Length: 12\r\n", "12"),
    ("GET", 304, "ETag: \"1\"\r\n", ""),
    ("HEAD", 404, "Content-Length: 9\r\n", "9"),
];

#[tokio::test]
async fn replies_without_a_body_have_none_over_http1() {
    let (backend, weir) = proxied("from = \"ndjson\"").await;
    let mut client = Client::connect(weir.address()).await;
    let serve = async {
        let mut upstream = backend.accept().await;
        for (_, status, fields, _) in BARE {
            upstream.request().await;
            upstream
                .send(format!("HTTP/1.1 {status} X\r\n{fields}\r\n"))
                .await;
        }
        upstream
    };
    let ask = async {
        for (method, status, fields, length) in BARE {
            client
                .send(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"))
                .await;
            let head = client.head().await;
            let row = format!("{method} {status} {fields:?}: {head:?}");
            assert_eq!(head.status, *status, "{row}");
            // A 304 need not say the length.
            let found = head.field("content-length");
            assert!(
                found == *length || (*status == 304 && found.is_empty()),
                "{row}"
            );
            assert_ne!(head.field("content-type"), "text/event-stream", "{row}");
        }
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn replies_without_a_body_have_none_over_http2() {
    let (backend, weir) = proxied("from = \"ndjson\"").await;
    let client = Client2::connect(weir.address()).await;
    for (method, status, fields, length) in BARE {
        let request = Request::builder().method(*method).uri("http://test/");
        let request = request.body(()).expect("a request");
        let reply = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{fields}\r\n");
        let (mut response, _) = tokio::join!(client.send(request, ""), backend.answer(&reply));
        let row = format!("{method} {status} {fields:?}: {:?}", response.head);
        assert_eq!(response.head.status, *status, "{row}");
        let found = response.head.headers.get("content-length");
        assert_eq!(
            found.map_or("", |value| value.to_str().expect("text")),
            *length,
            "{row}"
        );
        assert_eq!(response.rest().await, (String::new(), None), "{row}");
    }
    // Our own answers have none either.
    let (_backend, weir) = proxied("path = \"/here\"").await;
    let client = Client2::connect(weir.address()).await;
    let request = Request::head("http://test/elsewhere")
        .body(())
        .expect("a request");
    let mut response = client.send(request, "").await;
    assert_eq!(response.head.status, 404);
    assert_eq!(response.rest().await, (String::new(), None));
    let mut client = Client::connect(weir.address()).await;
    client
        .send("HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status, 404);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_http10_client_is_told_the_end_by_the_close() {
    let (backend, weir) = proxied("").await;
    for (fields, content_type, expected) in [
        ("", "text/plain", "12"),
        ("Connection: keep-alive\r\n", "text/plain", "12"),
        (
            "Connection: keep-alive\r\n",
            "application/x-ndjson",
            "data: 12\n\n",
        ),
    ] {
        let mut client = Client::connect(weir.address()).await;
        client.send(format!("GET / HTTP/1.0\r\n{fields}\r\n")).await;
        let mut upstream = backend.stream(content_type).await;
        let head = client.head().await;
        assert_eq!(
            (head.status, head.field("connection")),
            (200, "close"),
            "{head:?}"
        );
        assert_eq!(head.field("transfer-encoding"), "", "{head:?}");
        assert!(head.line.starts_with("HTTP/1.0 200 "), "{head:?}");
        upstream.chunk("1").await;
        upstream.chunk("2").await;
        upstream.end().await;
        assert_eq!(client.rest().await, expected);
    }
    // A length says it as well, and lets the connection live where the client asks for that.
    let mut client = Client::connect(weir.address()).await;
    client
        .send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    let head = client.head().await;
    assert_eq!(
        (head.field("content-length"), head.field("connection")),
        ("2", "keep-alive")
    );
    assert_eq!(client.exactly(2).await, b"ok");
}

#[tokio::test]
async fn an_http10_client_is_told_a_cut_by_a_reset() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let mut upstream = backend.stream("text/plain").await;
    upstream.chunk("some").await;
    client.head().await;
    assert_eq!(client.exactly(4).await, b"some");
    drop(upstream);
    let mut rest = [0; 16];
    let read = soon("the cut", client.socket().read(&mut rest)).await;
    assert!(read.is_err(), "a cut response looks complete");
}

#[tokio::test]
async fn parts_conditions_and_media_pass_untouched_where_streams_are_converted() {
    let (backend, weir) = proxied("from = \"lines\"").await;
    let gzip = "\u{1f}\u{8}not really";
    for (asked, status, fields, body) in [
        (
            "Range: bytes=0-3\r\n",
            206,
            "Content-Range: bytes 0-3/9\r\nContent-Type: text/plain\r\n",
            "1\n2\n",
        ),
        (
            "Range: bytes=0-3\r\n",
            200,
            "Content-Type: text/plain\r\nAccept-Ranges: bytes\r\n",
            "1\n2\n",
        ),
        (
            "If-None-Match: \"1\"\r\n",
            200,
            "ETag: \"2\"\r\nContent-Type: text/plain\r\n",
            "1\n2\n",
        ),
        ("", 200, "Content-Type: audio/mpeg\r\n", "1\n2\n"),
        (
            "",
            200,
            "Content-Type: video/mp4\r\nAccept-Ranges: bytes\r\n",
            "1\n2\n",
        ),
        ("", 500, "Content-Type: text/plain\r\n", "1\n2\n"),
        (
            "Accept: image/png\r\n",
            200,
            "Content-Encoding: gzip\r\nContent-Type: text/plain\r\n",
            gzip,
        ),
    ] {
        let asked = format!("{asked}Accept-Encoding: gzip\r\nConnection: close\r\n");
        let mut client = Client::get(weir.address(), "/", &asked).await;
        let mut upstream = backend.accept().await;
        let request = upstream.request().await;
        assert_eq!(
            has(&request, "accept-encoding: gzip"),
            !asked.starts_with("Accept-Encoding")
        );
        let length = body.len();
        upstream
            .send(format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"))
            .await;
        let head = client.head().await;
        assert_eq!(head.status, status);
        for line in fields.lines() {
            let (name, value) = line.split_once(": ").expect("a field");
            assert_eq!(head.field(&name.to_lowercase()), value, "{fields}");
        }
        assert_eq!(client.rest().await, body, "{asked} {fields}");
    }
}

#[tokio::test]
async fn a_large_download_arrives_byte_by_byte_the_same() {
    let (backend, weir) = proxied("from = \"ndjson\"").await;
    let body = noise(48 * 1024 * 1024);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut client = Client::get(weir.address(), "/", "").await;
    let read = async {
        assert_eq!(
            client.head().await.field("content-length"),
            body.len().to_string()
        );
        client.exactly(body.len()).await
    };
    let (read, ()) = tokio::join!(read, give(&backend, &head, &body));
    assert!(read == body);
    let client = Client2::connect_with_window(weir.address(), 1 << 20).await;
    let read = async {
        let mut response = client.get("/").await;
        let mut read = Vec::new();
        while let Some(data) = response.bytes().await {
            read.extend_from_slice(&data.expect("a whole body"));
        }
        read
    };
    let (read, ()) = tokio::join!(read, give(&backend, &head, &body));
    assert!(read == body);
}

/// Answers one request with this head and this body, and closes.
async fn give(backend: &Backend, head: &str, body: &[u8]) {
    let mut upstream = backend.answer(head).await;
    let sent = soon("the proxy to read", upstream.socket().write_all(body)).await;
    sent.expect("an open connection");
}
