//! Does a connection that changes its protocol become a tunnel, and end when either side does?

use tokio::io::AsyncReadExt as _;

use crate::support::{
    Weir,
    backend::{Backend, Connection},
    client::Client,
    proxied, soon,
};

const ASK: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A tunnel through the proxy: its client's end and its upstream's.
async fn tunnel(backend: &Backend, weir: &Weir) -> (Client, Connection) {
    let mut client = Client::get(weir.address(), "/socket", ASK).await;
    let mut upstream = backend.accept().await;
    let request = upstream.request().await;
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-key: dghlihnhbxbszsbub25jzq==",
        "sec-websocket-version: 13",
    ] {
        assert!(
            request.contains(&format!("\r\n{line}\r\n")),
            "{line} in {request}"
        );
    }
    // The first bytes may come with the head.
    upstream
        .send([SWITCH.as_bytes(), b"welcome"].concat())
        .await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("upgrade")), (101, "websocket"));
    assert!(
        head.field("connection").eq_ignore_ascii_case("upgrade"),
        "{head:?}"
    );
    assert_eq!(
        head.field("sec-websocket-accept"),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    assert_eq!(head.field("content-length"), "");
    assert_eq!(client.exactly(7).await, b"welcome");
    (client, upstream)
}

#[tokio::test]
async fn bytes_flow_both_ways_until_the_client_closes() {
    let (backend, weir) = proxied("").await;
    let (mut client, mut upstream) = tunnel(&backend, &weir).await;
    for round in 0..3 {
        let (up, down) = (format!("up {round}"), format!("down {round}"));
        client.send(&up).await;
        assert_eq!(upstream.read(up.len()).await, up.as_bytes());
        upstream.send(&down).await;
        assert_eq!(client.exactly(down.len()).await, down.as_bytes());
    }
    drop(client);
    upstream.closed().await;
}

#[tokio::test]
async fn the_upstreams_last_bytes_come_before_its_close() {
    let (backend, weir) = proxied("").await;
    let (mut client, mut upstream) = tunnel(&backend, &weir).await;
    upstream.send("the last").await;
    drop(upstream);
    assert_eq!(client.rest().await, "the last");
}

#[tokio::test]
async fn a_refused_upgrade_passes_and_the_connection_goes_on() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::get(weir.address(), "/socket", ASK).await;
    for reply in [
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
    ] {
        backend.answer(reply).await;
        let head = client.head().await;
        assert_eq!((head.status, head.field("upgrade")), (403, ""));
        assert_eq!(client.exactly(2).await, b"no");
        client
            .send(format!("GET /socket HTTP/1.1\r\nHost: test\r\n{ASK}\r\n"))
            .await;
    }
    backend.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.head().await.status, 204);
}

#[tokio::test]
async fn a_refusal_may_be_a_stream() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::get(weir.address(), "/socket", ASK).await;
    let mut upstream = backend.stream("application/x-ndjson").await;
    assert_eq!(
        client.head().await.field("content-type"),
        "text/event-stream"
    );
    upstream.chunk("1\n").await;
    assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
    drop(client);
    upstream.closed().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_the_request() {
    let (backend, weir) = proxied("").await;
    let client = Client::get(weir.address(), "/socket", ASK).await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    drop(client);
    upstream.closed().await;
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_no_reply() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.answer(SWITCH).await;
    let head = client.head().await;
    assert_eq!(head.status, 502, "{head:?}");
    assert_eq!(
        head.field("proxy-status"),
        "weir; error=http_protocol_error"
    );
    upstream.closed().await;
}

#[tokio::test]
async fn a_drain_lets_tunnels_be_until_its_time_is_over() {
    let (backend, weir) = proxied("").await;
    let (mut client, mut upstream) = tunnel(&backend, &weir).await;
    weir.stop();
    // What flows while the drain goes on still arrives.
    client.send("late").await;
    assert_eq!(upstream.read(4).await, b"late");
    upstream.closed().await;
    let mut rest = Vec::new();
    let socket = client.socket();
    drop(soon("the proxy to close", socket.read_to_end(&mut rest)).await);
    assert_eq!(rest, b"");
    weir.ended().await;
}
