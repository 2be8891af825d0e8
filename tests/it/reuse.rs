//! When is an upstream's connection used again, and what if it was closed meanwhile?

use crate::support::{
    Weir,
    backend::{Backend, Connection},
    client::Client,
    proxied, soon,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A client's connection, and an upstream's that has carried one request of it and is kept.
async fn kept(backend: &Backend, weir: &Weir) -> (Client, Connection) {
    let mut client = Client::get(weir.address(), "/first", "").await;
    let upstream = backend.answer(OK).await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.exactly(2).await, b"ok");
    (client, upstream)
}

/// Expects the next response to be this one.
async fn expect(client: &mut Client, status: u16) {
    let head = client.head().await;
    assert_eq!(head.status, status, "{head:?}");
    let length = head.field("content-length").parse().expect("a length");
    client.exactly(length).await;
}

#[tokio::test]
async fn a_kept_connection_carries_the_next_request() {
    let (backend, weir) = proxied("").await;
    let (mut client, mut upstream) = kept(&backend, &weir).await;
    // A length, chunks and nothing at all can all be followed by a next reply.
    for reply in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        client
            .send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n")
            .await;
        assert!(upstream.request().await.starts_with("get /next "));
        upstream.send(reply).await;
        let head = client.head().await;
        if head.field("transfer-encoding") == "chunked" {
            assert_eq!(client.chunks_to_end().await, "ok");
        } else if head.status == 200 {
            assert_eq!(client.exactly(2).await, b"ok");
        }
    }
    // Another client's request takes it, too.
    let mut other = Client::get(weir.address(), "/other", "").await;
    assert!(upstream.request().await.starts_with("get /other "));
    upstream.send(OK).await;
    expect(&mut other, 200).await;
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced_unnoticed() {
    let (backend, weir) = proxied("").await;
    for request in [
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let (mut client, upstream) = kept(&backend, &weir).await;
        drop(upstream);
        client.send(request).await;
        let mut upstream = backend.accept().await;
        let head = upstream.request().await;
        if head.contains("content-length") {
            assert_eq!(upstream.read(5).await, b"hello");
        } else if head.starts_with("post") {
            assert_eq!(upstream.read_chunks().await, (b"hello".to_vec(), true));
        }
        upstream
            .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            .await;
        expect(&mut client, 200).await;
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_request_that_may_be_repeated_is_where_a_kept_connection_closes_on_it() {
    let (backend, weir) = proxied("").await;
    let (mut client, mut upstream) = kept(&backend, &weir).await;
    client
        .send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    upstream.request().await;
    drop(upstream);
    let mut upstream = backend.accept().await;
    assert!(upstream.request().await.starts_with("get /again "));
    upstream.send(OK).await;
    expect(&mut client, 200).await;
}

#[tokio::test]
async fn a_request_is_not_sent_twice_that_may_have_been_done() {
    let (backend, weir) = proxied("").await;
    for request in [
        "POST /once HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
        "POST /once HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
        // May be repeated, but its body is gone.
        "PUT /once HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let (mut client, mut upstream) = kept(&backend, &weir).await;
        client.send(request).await;
        assert!(upstream.request().await.contains(" /once "));
        if request.ends_with("hello") {
            assert_eq!(upstream.read(5).await, b"hello");
        }
        drop(upstream);
        let head = client.head().await;
        assert_eq!(head.status, 502);
        assert_eq!(
            head.field("proxy-status"),
            "weir; error=connection_terminated"
        );
        client
            .exactly(head.field("content-length").parse().expect("a length"))
            .await;
        // What the upstream sees next is the next request.
        client
            .send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n")
            .await;
        let mut upstream = backend.accept().await;
        assert!(upstream.request().await.starts_with("get /next "));
        upstream
            .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            .await;
        expect(&mut client, 200).await;
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_fresh_connection_that_closes_is_an_answer() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    drop(upstream);
    assert_eq!(client.head().await.status, 502);
}

#[tokio::test]
async fn a_connection_with_bytes_left_over_is_not_used_again() {
    let (backend, weir) = proxied("").await;
    for (method, reply) in [
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nevil"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
    ] {
        let mut client = Client::connect(weir.address()).await;
        client
            .send(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"))
            .await;
        let mut poisoned = backend.answer(reply).await;
        let head = client.head().await;
        if method == "GET" && head.status == 200 {
            assert_eq!(client.exactly(2).await, b"ok");
        }
        client
            .send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n")
            .await;
        let mut upstream = backend.accept().await;
        assert!(
            upstream.request().await.starts_with("get /next "),
            "{reply:?}"
        );
        upstream
            .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            .await;
        expect(&mut client, 200).await;
        poisoned.closed().await;
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_connection_is_kept_as_the_reply_says_and_never_where_it_says_two_lengths() {
    for (fields, is_kept) in [
        (
            "1.1 200 OK\r\nConnection: x, close\r\nContent-Length: 2",
            false,
        ),
        ("1.0 200 OK\r\nContent-Length: 2", false),
        (
            "1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2",
            true,
        ),
        (
            "1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2",
            false,
        ),
    ] {
        let (backend, weir) = proxied("").await;
        let mut client = Client::get(weir.address(), "/", "").await;
        let is_chunked = fields.contains("chunked");
        let body = if is_chunked {
            "2\r\nok\r\n0\r\n\r\n"
        } else {
            "ok"
        };
        let reply = format!("HTTP/{fields}\r\n\r\n{body}");
        let mut upstream = backend.answer(&reply).await;
        client.head().await;
        if is_chunked {
            assert_eq!(client.chunks_to_end().await, "ok", "{fields}");
        } else {
            assert_eq!(client.exactly(2).await, b"ok", "{fields}");
        }
        if is_kept {
            client
                .send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n")
                .await;
            assert!(upstream.request().await.starts_with("get /next "));
        } else {
            upstream.closed().await;
        }
    }
}

#[tokio::test]
async fn a_reply_that_ends_before_the_upload_gives_its_connection_up() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nthe start")
        .await;
    let mut upstream = backend.answer(OK).await;
    expect(&mut client, 200).await;
    // Its end would be taken for the next request.
    soon("the upstream to be let go", upstream.closed()).await;
}
