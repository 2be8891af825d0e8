//! Does a stream reach the client at once, alive, and with a truthful end?

use std::time::Duration;

use h2::Reason;
use tokio::{io::AsyncWriteExt as _, time::Instant};

use crate::support::{NDJSON, client::Client, client2::Client2, proxied};

#[tokio::test]
async fn chunks_of_plain_text_pass_one_by_one_over_http1() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream("text/plain").await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.field("content-type"), "text/plain");
    upstream.chunk("ping").await;
    assert_eq!(client.chunk().await.as_deref(), Some("ping"));
    upstream.chunk(":pong!").await;
    assert_eq!(client.chunk().await.as_deref(), Some(":pong!"));
    upstream.end().await;
    assert_eq!(client.chunk().await, None);
    // The connection is whole and takes the next request.
    client
        .send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    assert!(upstream.request().await.starts_with("get /next "));
}

#[tokio::test]
async fn chunks_of_plain_text_pass_one_by_one_over_http2() {
    let (backend, weir) = proxied("").await;
    let client = Client2::connect(weir.address()).await;
    let (mut response, mut upstream) = tokio::join!(client.get("/"), backend.stream("text/plain"));
    upstream.chunk("ping").await;
    assert_eq!(response.data().await, Some(Ok("ping".into())));
    upstream.chunk(":pong!").await;
    assert_eq!(response.data().await, Some(Ok(":pong!".into())));
    upstream.end().await;
    assert_eq!(response.rest().await, (String::new(), None));
}

#[tokio::test]
async fn the_head_goes_out_before_the_first_event_and_each_event_before_the_next() {
    let (backend, weir) = proxied("from = \"ndjson\"").await;
    let mut client = Client::get(weir.address(), "/", "Accept: text/event-stream\r\n").await;
    let mut upstream = backend.accept().await;
    let request = upstream.request().await;
    assert!(
        request.contains("accept-encoding: identity\r\n"),
        "{request}"
    );
    upstream
        .send(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nETag: \"1\"\r\n\
             Accept-Ranges: bytes\r\nX-Kept: yes\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await;
    let head = client.head().await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("incremental", "?1"),
        ("vary", "Accept"),
        ("x-kept", "yes"),
        ("etag", ""),
        ("accept-ranges", ""),
        ("content-length", ""),
        ("content-encoding", ""),
    ] {
        assert_eq!(head.field(name), value, "{name}");
    }
    upstream.chunk("{\"a\":1}\n{\"b\"").await;
    assert_eq!(client.chunk().await.as_deref(), Some("data: {\"a\":1}\n\n"));
    upstream.chunk(":2}\n").await;
    assert_eq!(client.chunk().await.as_deref(), Some("data: {\"b\":2}\n\n"));
    upstream.end().await;
    assert_eq!(client.chunk().await, None);
}

#[tokio::test]
async fn what_is_ready_together_leaves_together() {
    let (backend, weir) = proxied("event = { name = \"tick\", retry = \"3s\" }").await;
    let client = Client2::connect(weir.address()).await;
    let (mut response, mut upstream) = tokio::join!(client.get("/"), backend.stream(NDJSON));
    upstream.chunk("1\n2\n3\n").await;
    let expected =
        "event: tick\nretry: 3000\ndata: 1\n\nevent: tick\ndata: 2\n\nevent: tick\ndata: 3\n\n";
    assert_eq!(response.data().await, Some(Ok(expected.into())));
}

#[tokio::test]
async fn silence_is_broken_by_comments_between_events_only() {
    let (backend, weir) = proxied("heartbeat = { every = \"1s\" }").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    let begun = Instant::now();
    upstream.chunk("{\"half\":").await;
    assert_eq!(client.chunk().await.as_deref(), Some(":\n"));
    let first = begun.elapsed();
    assert!(first >= Duration::from_millis(880), "{first:?}");
    assert_eq!(client.chunk().await.as_deref(), Some(":\n"));
    upstream.chunk("1}\n").await;
    assert_eq!(
        client.chunk().await.as_deref(),
        Some("data: {\"half\":1}\n\n")
    );
    assert_eq!(client.chunk().await.as_deref(), Some(":\n"));
}

#[tokio::test]
async fn what_passes_as_it_is_gets_no_heartbeat() {
    let (backend, weir) =
        proxied("to = \"as-is\"\nheartbeat = { every = \"1s\" }\ntimeouts = { idle = \"2s\" }")
            .await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    assert_eq!(client.head().await.field("content-type"), NDJSON);
    upstream.chunk("{\"a\":").await;
    assert_eq!(client.chunk().await.as_deref(), Some("{\"a\":"));
    // The next thing to happen is the idle timeout: the message stays incomplete.
    assert_eq!(client.rest().await, "");
    upstream.closed().await;
}

/// What a client of each version gets after its head, and whether the message was complete.
async fn both_ends(
    route: &str,
    script: impl AsyncFn(crate::support::backend::Connection),
) -> Vec<(String, bool)> {
    let (backend, weir) = proxied(route).await;
    let mut ends = Vec::new();
    let mut client = Client::get(weir.address(), "/", "").await;
    script(backend.stream(NDJSON).await).await;
    client.head().await;
    let raw = client.rest_or_last_chunk().await;
    ends.push(raw);
    let client = Client2::connect(weir.address()).await;
    let (mut response, upstream) = tokio::join!(client.get("/"), backend.stream(NDJSON));
    let ((), (body, reset)) = tokio::join!(script(upstream), response.rest());
    assert!(
        matches!(reset, None | Some(Reason::INTERNAL_ERROR)),
        "{reset:?}"
    );
    ends.push((body, reset.is_none()));
    ends
}

#[tokio::test]
async fn a_complete_reply_ends_completely() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    upstream.chunk("1\n{\"last\":true}").await;
    upstream.end().await;
    client.head().await;
    let body = client.chunks_to_end().await;
    assert_eq!(body, "data: 1\n\ndata: {\"last\":true}\n\n");
}

/// The error that a cut stream ends with.
fn error_of(body: &str) -> (&str, String) {
    let (events, error) = body
        .split_once("event: stream-error\n")
        .unwrap_or_else(|| panic!("no error in {body:?}"));
    let data = error
        .strip_prefix("data: ")
        .and_then(|data| data.strip_suffix("\n\n"));
    let data = data.unwrap_or_else(|| panic!("a torn error in {body:?}"));
    let error: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty())
    );
    (events, error["code"].as_str().expect("a code").to_owned())
}

/// Both versions end incompletely with this code, after this event and nothing torn.
async fn ends_with(
    code: &str,
    route: &str,
    script: impl AsyncFn(crate::support::backend::Connection),
) {
    for (body, is_complete) in both_ends(route, script).await {
        let (events, found) = error_of(&body);
        assert_eq!(found, code);
        assert_eq!(events, "data: {\"a\":1}\n\n");
        assert!(!is_complete, "{code}: a cut stream looks complete");
    }
}

#[tokio::test]
async fn a_cut_upstream_is_told_and_never_looks_complete() {
    ends_with("upstream_truncated", "", async |mut upstream| {
        upstream.chunk("{\"a\":1}\n{\"torn\":").await;
    })
    .await;
}

#[tokio::test]
async fn a_reset_upstream_is_told_as_cut() {
    ends_with("upstream_truncated", "", async |mut upstream| {
        upstream.chunk("{\"a\":1}\n").await;
        upstream.socket().set_zero_linger().expect("a socket");
    })
    .await;
}

#[tokio::test]
async fn bad_chunks_from_upstream_are_told() {
    ends_with("upstream_error", "", async |mut upstream| {
        upstream.chunk("{\"a\":1}\n").await;
        upstream.send("zz\r\n").await;
        upstream.closed().await;
    })
    .await;
}

#[tokio::test]
async fn a_silent_upstream_is_cut_although_heartbeats_flow() {
    let route = "heartbeat = { every = \"off\" }\ntimeouts = { idle = \"1s\" }";
    ends_with("idle_timeout", route, async |mut upstream| {
        upstream.chunk("{\"a\":1}\n").await;
        upstream.closed().await;
    })
    .await;
    let (backend, weir) =
        proxied("heartbeat = { every = \"1s\" }\ntimeouts = { idle = \"2500ms\" }").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    let body = client.chunks_until("stream-error").await;
    assert!(body.starts_with(":\n:\n"), "{body:?}");
    assert!(body.contains("idle_timeout"), "{body:?}");
    upstream.closed().await;
}

#[tokio::test]
async fn a_stream_ends_at_its_total_limit_although_it_is_busy() {
    let (backend, weir) = proxied("timeouts = { total = \"1s\" }").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    let feed = async {
        while upstream.socket().write_all(b"2\r\n1\n\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let (body, ()) = tokio::join!(client.chunks_until("\"}\n\n"), feed);
    let (events, code) = error_of(&body);
    assert_eq!(code, "total_timeout");
    assert!(events.starts_with("data: 1\n\n") && events.ends_with("data: 1\n\n"));
}

#[tokio::test]
async fn a_record_over_the_limit_is_told_before_its_end_comes() {
    ends_with(
        "record_too_large",
        "limits = { record = \"1KiB\" }",
        async |mut upstream| {
            upstream.chunk("{\"a\":1}\n").await;
            upstream.chunk("x".repeat(1025)).await;
            upstream.closed().await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_pass_through_reply_that_is_cut_stays_incomplete() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream("text/plain").await;
    upstream.chunk("some").await;
    client.head().await;
    assert_eq!(client.chunk().await.as_deref(), Some("some"));
    drop(upstream);
    assert_eq!(client.rest().await, "");
    let client = Client2::connect(weir.address()).await;
    let (mut response, mut upstream) = tokio::join!(client.get("/"), backend.stream("text/plain"));
    upstream.chunk("some").await;
    assert_eq!(response.until("some").await, "some");
    drop(upstream);
    assert_eq!(
        response.rest().await,
        (String::new(), Some(Reason::INTERNAL_ERROR))
    );
}

#[tokio::test]
async fn the_error_arrives_although_the_client_opens_its_window_late() {
    let (backend, weir) = proxied("").await;
    // A window of ten bytes: the events and the error go out piece by piece, as the client reads them.
    let client = Client2::connect_with_window(weir.address(), 10).await;
    let (mut response, mut upstream) = tokio::join!(client.get("/"), backend.stream(NDJSON));
    upstream.chunk("{\"a\":1}\n").await;
    drop(upstream);
    let (body, reset) = response.rest().await;
    assert_eq!(
        error_of(&body),
        ("data: {\"a\":1}\n\n", "upstream_truncated".into())
    );
    assert_eq!(reset, Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn a_drain_ends_streams_cleanly_with_a_time_to_come_back() {
    let (backend, weir) = proxied("").await;
    let mut one = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    one.head().await;
    upstream.chunk("1\n{\"half\":").await;
    assert_eq!(one.chunk().await.as_deref(), Some("data: 1\n\n"));
    let client = Client2::connect(weir.address()).await;
    let (mut two, mut second) = tokio::join!(client.get("/"), backend.stream(NDJSON));
    weir.stop();
    let body = one.chunks_to_end().await;
    let retry: u64 = body
        .strip_prefix("retry: ")
        .and_then(|body| body.strip_suffix("\n\n"))
        .and_then(|retry| retry.parse().ok())
        .unwrap_or_else(|| panic!("no retry in {body:?}"));
    assert!((1000..=5000).contains(&retry));
    let (body, reset) = two.rest().await;
    assert!(
        body.starts_with("retry: ") && reset.is_none(),
        "{body:?} {reset:?}"
    );
    upstream.closed().await;
    second.closed().await;
    weir.ended().await;
}

#[tokio::test]
async fn an_awaited_reply_is_bridged_by_heartbeats() {
    let route = "from = \"ndjson\"\nheartbeat = { every = \"1s\", before_reply = \"100ms\" }";
    let (backend, weir) = proxied(route).await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    let head = client.head().await;
    assert_eq!(
        (head.status, head.field("content-type")),
        (200, "text/event-stream")
    );
    assert_eq!(client.chunk().await.as_deref(), Some(":\n"));
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1\n2\n")
        .await;
    let body = client.chunks_to_end().await;
    assert_eq!(body.replace(":\n", ""), "data: 1\n\ndata: 2\n\n");
    // What comes too late to be a status is told in the stream.
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    upstream.request().await;
    client.head().await;
    upstream
        .send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        .await;
    let body = client.chunks_until("\"}\n\n").await;
    let (_, code) = error_of(&body[body.find("event").expect("an event")..]);
    assert_eq!(code, "upstream_error");
    assert!(body.contains("503"), "{body}");
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_early_reply_keeps_its_status_on_a_route_that_could_bridge() {
    let route = "from = \"ndjson\"\nheartbeat = { before_reply = \"5m\" }";
    let (backend, weir) = proxied(route).await;
    let mut client = Client::get(weir.address(), "/", "").await;
    backend
        .answer("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
        .await;
    assert_eq!(client.head().await.status, 404);
    assert_eq!(client.exactly(2).await, b"no");
}

#[tokio::test]
async fn extensions_of_chunks_do_not_add_up() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream("application/x-ndjson").await;
    client.head().await;
    // 105 kB of extensions: signed chunks of an endless stream.
    let send = async {
        for _ in 0..5000 {
            upstream.send("2;sig=0123456789abcdef\r\n1\n\r\n").await;
        }
        upstream.end().await;
    };
    let (body, ()) = tokio::join!(client.chunks_to_end(), send);
    assert_eq!(body, "data: 1\n\n".repeat(5000));
}
