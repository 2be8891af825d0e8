//! What becomes of a stream whose polls fail?

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    metrics,
    support::{
        Weir,
        backend::Backend,
        client::Client,
        polled::{BY_BODY, BY_HEADER, Polled, bridged},
        soon,
    },
};

#[tokio::test]
async fn the_first_failure_is_the_clients_own() {
    let (backend, weir) = bridged(BY_HEADER, "").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    for status in [
        "404 Not Found",
        "503 Service Unavailable",
        "302 Found",
        "206 Partial Content",
    ] {
        server.asked().await;
        server.reply(status, "X-Kept: yes\r\n", "why").await;
        let head = client.head().await;
        assert_eq!(head.status.to_string(), status[..3]);
        assert_eq!(head.field("x-kept"), "yes");
        assert_eq!(client.exactly(3).await, b"why");
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    }
    server.asked().await;
    drop(server);
    // It is asked once more, as any GET over a kept connection; then nobody is there.
    let mut server = Polled::accept(&backend).await;
    server.asked().await;
    drop((server, backend));
    assert_eq!(client.head().await.status, 502);
}

#[tokio::test]
async fn later_failures_pass_unseen() {
    let (backend, weir) = bridged(BY_HEADER, "").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    server.asked().await;
    server.index("1", "one").await;
    for status in [
        "500 Internal Server Error",
        "502 Bad Gateway",
        "408 Request Timeout",
        "429 Too Many Requests",
    ] {
        assert_eq!(server.asked().await, "/?index=1");
        server.reply(status, "", "not for the client").await;
        // What nobody reads is not waited for.
        server = Polled::accept(&backend).await;
    }
    // Closed before a reply: asked again over a new connection. Cut inside one: that, too.
    for reply in [
        "",
        "HTTP/1.1 200 OK\r\nX-Index: 2\r\nContent-Length: 9\r\n\r\ncut",
        "junk\r\n\r\n",
    ] {
        assert_eq!(server.asked().await, "/?index=1");
        server.connection().send(reply).await;
        drop(server);
        server = Polled::accept(&backend).await;
    }
    assert_eq!(server.asked().await, "/?index=1");
    server.index("2", "two").await;
    assert_eq!(client.head().await.status, 200);
    let events = client.chunks_until("two\n\n").await;
    assert_eq!(events, "id: 1\ndata: one\n\nid: 2\ndata: two\n\n");
}

#[tokio::test]
async fn a_server_that_comes_back_is_found() {
    let backend = Backend::bind().await;
    let weir = Weir::start(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\nendpoints = [\"{}\"]\npoll = {{ {BY_HEADER} }}\n\
         [[route]]\nname = \"test\"\nupstream = \"test\"\n",
        backend.endpoint()
    ));
    let address = backend.address();
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    server.asked().await;
    server.index("1", "one").await;
    client.head().await;
    assert_eq!(client.chunks_until("\n\n").await, "id: 1\ndata: one\n\n");
    server.asked().await;
    drop((server, backend));
    let missed = "weir_connect_failures_total{upstream=\"test\"";
    soon("a poll that finds nobody", async {
        while !metrics::scrape(&weir).await.contains(missed) {}
    })
    .await;
    let backend = Backend::bind_to(address).await;
    let mut server = Polled::accept(&backend).await;
    assert_eq!(server.asked().await, "/?index=1");
    server.index("2", "two").await;
    assert_eq!(client.chunks_until("\n\n").await, "id: 2\ndata: two\n\n");
}

#[tokio::test]
async fn a_server_may_ask_for_more_time() {
    let (backend, weir) = bridged(BY_HEADER, "").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    server.asked().await;
    server.index("1", "one").await;
    server.asked().await;
    let begun = Instant::now();
    server
        .reply("429 Too Many Requests", "Retry-After: 1\r\n", "")
        .await;
    server.asked().await;
    assert!(begun.elapsed() >= Duration::from_millis(990));
    server.index("2", "two").await;
    client.head().await;
    client.chunks_until("data: two\n\n").await;
}

/// A stream of one event, whose second poll is answered by this, ends with this code in the error.
async fn ends_with(code: &str, route: &str, status: &str, fields: &str, body: &str) {
    let (backend, weir) = bridged(BY_BODY, route).await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    server.asked().await;
    server.json("{\"last_seq\":1}").await;
    server.asked().await;
    server.reply(status, fields, body).await;
    client.head().await;
    let (body, is_complete) = client.rest_or_last_chunk().await;
    assert!(!is_complete, "{body:?}");
    let error = body.strip_prefix("id: 1\ndata: {\"last_seq\":1}\n\n");
    let error = error.unwrap_or_else(|| panic!("{body:?}"));
    let start = format!("event: stream-error\ndata: {{\"code\":\"{code}\"");
    assert!(error.starts_with(&start), "{error:?}");
}

#[tokio::test]
async fn what_will_not_pass_ends_the_stream() {
    let (ok, error) = ("200 OK", "upstream_error");
    ends_with(error, "", "404 Not Found", "", "").await;
    ends_with(error, "", "302 Found", "", "").await;
    ends_with(error, "", ok, "Content-Encoding: gzip\r\n", "\x1F\x08").await;
    ends_with("bad_framing", "", ok, "", "{\"results\":[]}").await;
    ends_with("bad_framing", "", "202 Accepted", "", "").await;
    let limits = "limits = { record = \"20B\" }";
    let long = "{\"last_seq\":2,\"results\":[]}";
    ends_with("record_too_large", limits, ok, "", long).await;
}

#[tokio::test]
async fn a_failure_behind_the_clients_head_is_told() {
    let route = "heartbeat = { before_reply = \"100ms\" }";
    let (backend, weir) = bridged(BY_HEADER, route).await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    server.asked().await;
    assert_eq!(client.head().await.status, 200);
    server.reply("404 Not Found", "", "").await;
    let (body, is_complete) = client.rest_or_last_chunk().await;
    assert!(body.contains("upstream_error") && body.contains("404"));
    assert!(!is_complete);
}

#[tokio::test]
async fn a_drain_ends_a_polled_stream_as_any() {
    let (backend, weir) = bridged(BY_HEADER, "").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    server.asked().await;
    server.index("1", "one").await;
    client.head().await;
    client.chunks_until("one\n\n").await;
    server.asked().await;
    weir.stop();
    let body = client.chunks_to_end().await;
    assert!(body.starts_with("retry: "), "{body:?}");
    server.connection().closed().await;
    Weir::ended(weir).await;
}
