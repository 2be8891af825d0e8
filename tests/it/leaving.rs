//! Does a client that leaves, or takes nothing, cost what it should?

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, time::Instant};

use crate::support::{
    NDJSON, backend::Connection, client::Client, client2::Client2, proxied, soon,
};

/// How long after `leave` the upstream sees its request closed.
async fn cancelled_within(mut upstream: Connection, leave: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    leave();
    upstream.closed().await;
    begun.elapsed()
}

/// A loaded machine may be slow at anything; but not this slow without having missed the departure.
const CANCEL_LIMIT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_client_that_leaves_cancels_the_silent_upstream() {
    let (backend, weir) = proxied("heartbeat = { every = \"off\" }").await;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let mut client = Client::get(weir.address(), "/", "").await;
        let upstream = backend.stream(NDJSON).await;
        client.head().await;
        let elapsed = cancelled_within(upstream, || drop(client)).await;
        assert!(elapsed < CANCEL_LIMIT, "{elapsed:?}");
        fastest = fastest.min(elapsed);
    }
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_reply_cancels_the_request() {
    let (backend, weir) = proxied("").await;
    let client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    let elapsed = cancelled_within(upstream, || drop(client)).await;
    assert!(elapsed < CANCEL_LIMIT, "{elapsed:?}");
}

#[tokio::test]
async fn a_reset_http2_stream_cancels_the_silent_upstream_and_spares_its_siblings() {
    let (backend, weir) = proxied("heartbeat = { every = \"off\" }").await;
    let client = Client2::connect(weir.address()).await;
    let (sibling, mut other) = tokio::join!(client.get("/"), backend.stream(NDJSON));
    let mut sibling = sibling;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let (response, upstream) = tokio::join!(client.get("/"), backend.stream(NDJSON));
        let elapsed = cancelled_within(upstream, || drop(response)).await;
        assert!(elapsed < CANCEL_LIMIT, "{elapsed:?}");
        fastest = fastest.min(elapsed);
    }
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
    other.chunk("1\n").await;
    assert_eq!(sibling.data().await, Some(Ok("data: 1\n\n".into())));
}

#[tokio::test]
async fn a_client_that_pipelined_is_seen_to_leave() {
    let (backend, weir) = proxied("heartbeat = { every = \"off\" }").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let upstream = backend.stream(NDJSON).await;
    client.head().await;
    client
        .send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    let elapsed = cancelled_within(upstream, || drop(client)).await;
    assert!(elapsed < CANCEL_LIMIT, "{elapsed:?}");
}

#[tokio::test]
async fn a_client_whose_request_body_lies_unread_is_seen_to_leave() {
    let (backend, weir) = proxied("heartbeat = { every = \"off\" }").await;
    let mut client = Client::connect(weir.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nthe start")
        .await;
    // The backend answers early, and never reads the rest.
    let upstream = backend.stream(NDJSON).await;
    client.head().await;
    client.send("x".repeat(100_000)).await;
    let elapsed = cancelled_within(upstream, || drop(client)).await;
    assert!(elapsed < CANCEL_LIMIT, "{elapsed:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_upstream_back_and_is_cut_in_the_end() {
    let (backend, weir) =
        proxied("timeouts = { write = \"1s\" }\nheartbeat = { every = \"1s\" }").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    let record = format!("{}\n", "x".repeat(64 * 1024 - 1));
    let mut written = 0_u64;
    // The sockets' buffers fill; then nothing more is taken, and in the end the client is cut.
    let fill = async {
        let chunk = format!("{:x}\r\n{record}\r\n", record.len());
        loop {
            let sent = upstream.socket().write_all(chunk.as_bytes()).await;
            if sent.is_err() {
                return;
            }
            written += record.len() as u64;
        }
    };
    soon("the client to be cut", fill).await;
    assert!(
        written < 64 * 1024 * 1024,
        "{written} bytes were taken for a client that reads none"
    );
    drop(client);
}

#[tokio::test]
async fn an_http2_client_that_does_not_read_is_cut_alone() {
    let (backend, weir) = proxied("timeouts = { write = \"1s\" }").await;
    let client = Client2::connect(weir.address()).await;
    let (mut stalled, mut one) = tokio::join!(client.get("/"), backend.stream(NDJSON));
    let (mut healthy, mut two) = tokio::join!(client.get("/"), backend.stream(NDJSON));
    let record = format!("{}\n", "x".repeat(16 * 1024 - 1));
    let chunk = format!("{:x}\r\n{record}\r\n", record.len());
    let fill = async { while one.socket().write_all(chunk.as_bytes()).await.is_ok() {} };
    soon("the stalled stream to be cut", fill).await;
    two.chunk("1\n").await;
    assert_eq!(healthy.data().await, Some(Ok("data: 1\n\n".into())));
    let (_, reset) = stalled.rest().await;
    assert!(reset.is_some());
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_no_heartbeats_meanwhile() {
    let (backend, weir) = proxied("heartbeat = { every = \"1s\" }").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    let record = format!("{}\n", "x".repeat(64 * 1024 - 1));
    let chunk = format!("{:x}\r\n{record}\r\n", record.len());
    // Write until nothing is taken for a while: every buffer between here and the client is full.
    let (mut sent, mut at) = (0, 0);
    let full = Duration::from_millis(500);
    while let Ok(written) =
        tokio::time::timeout(full, upstream.socket().write(&chunk.as_bytes()[at..])).await
    {
        at += written.expect("an open connection");
        if at == chunk.len() {
            (sent, at) = (sent + 1, 0);
        }
    }
    // Silence for longer than two heartbeats' time, which is what this is about.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let finish = async {
        upstream.send(&chunk.as_bytes()[at..]).await;
        upstream.end().await;
    };
    let (body, ()) = tokio::join!(client.chunks_to_end(), finish);
    let event = format!("data: {record}\n");
    let heartbeats = body.matches("\n:\n").count();
    // One may be due in the moment in which the client begins to read.
    assert!(
        heartbeats <= 1,
        "{heartbeats} heartbeats for a client that did not read"
    );
    assert_eq!(
        body.len(),
        (sent + 1) * event.len() + heartbeats * ":\n".len()
    );
}
