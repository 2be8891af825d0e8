//! Is an endpoint that breaks tunnels off found out, and one that ends them as it should be not?

use super::{LONG, ejections, in_turn, tells, toml, up};
use crate::{
    metrics::told,
    support::{
        Weir,
        backend::{Backend, Connection},
        client::Client,
    },
};

/// A text frame of the server's, and the beginning of a close frame of either side's.
const TEXT: [u8; 4] = [0x81, 2, b'h', b'i'];
const CLOSE: [u8; 4] = [0x88, 2, 0x03, 0xE8];
const CLOSE_MASKED: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];

/// A proxy in front of one endpoint, which a single cut ejects.
async fn start() -> (Backend, Weir) {
    let backend = Backend::bind().await;
    let upstream = in_turn(&[&backend.endpoint()], &format!("failures = 1, {LONG}"));
    let weir = Weir::start(&toml(&upstream, ""));
    (backend, weir)
}

/// A tunnel of that protocol, through which a frame has gone.
async fn tunnel(backend: &Backend, weir: &Weir, protocol: &str) -> (Client, Connection) {
    let upgrade = format!("Connection: Upgrade\r\nUpgrade: {protocol}\r\n");
    let mut client = Client::get(weir.address(), "/", &upgrade).await;
    let switch = format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n");
    let mut upstream = backend.answer(&switch).await;
    assert_eq!(client.head().await.status, 101);
    upstream.send(TEXT).await;
    assert_eq!(client.exactly(TEXT.len()).await, TEXT);
    (client, upstream)
}

/// Waits for the tunnel's end, and says what became of the endpoint.
async fn became(backend: &Backend, weir: &Weir, ending: &str, is_cut: bool) {
    let ended = format!("weir_streams_total{{route=\"test\",to=\"tunnel\",ending=\"{ending}\"}} 1");
    told(weir, &[&ended]).await;
    let endpoint = backend.endpoint();
    assert!(tells(weir, &up(&endpoint, !is_cut)).await, "{ending}");
    let cuts = ejections(&endpoint, "cut", usize::from(is_cut));
    assert!(tells(weir, &cuts).await, "{ending}");
}

#[tokio::test]
async fn a_websocket_without_a_close_frame_is_cut() {
    for protocol in ["websocket", "WebSocket"] {
        let (backend, weir) = start().await;
        let (mut client, upstream) = tunnel(&backend, &weir, protocol).await;
        drop(upstream);
        // The endpoint is known for it before its client has left.
        told(&weir, &[&up(&backend.endpoint(), false)]).await;
        assert_eq!(client.rest().await, "");
        drop(client);
        became(&backend, &weir, "upstream_truncated", true).await;
    }
}

#[tokio::test]
async fn a_websocket_that_either_side_closes_is_complete() {
    for by_client in [false, true] {
        let (backend, weir) = start().await;
        let (mut client, mut upstream) = tunnel(&backend, &weir, "websocket").await;
        if by_client {
            client.send(CLOSE_MASKED).await;
            assert_eq!(upstream.read(CLOSE_MASKED.len()).await, CLOSE_MASKED);
        } else {
            upstream.send(CLOSE).await;
            assert_eq!(client.exactly(CLOSE.len()).await, CLOSE);
        }
        drop(upstream);
        assert_eq!(client.rest().await, "");
        drop(client);
        became(&backend, &weir, "complete", false).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_no_fault_of_the_endpoint() {
    let (backend, weir) = start().await;
    let (mut client, mut upstream) = tunnel(&backend, &weir, "websocket").await;
    client.shutdown().await;
    upstream.closed().await;
    upstream.socket().set_zero_linger().expect("a socket");
    drop(upstream);
    became(&backend, &weir, "client_gone", false).await;
}

#[tokio::test]
async fn other_protocols_end_with_their_connection_and_are_cut_by_a_reset() {
    let (backend, weir) = start().await;
    let (mut client, upstream) = tunnel(&backend, &weir, "chat").await;
    drop(upstream);
    assert_eq!(client.rest().await, "");
    drop(client);
    became(&backend, &weir, "complete", false).await;
    let (_client, mut upstream) = tunnel(&backend, &weir, "chat").await;
    upstream.socket().set_zero_linger().expect("a socket");
    drop(upstream);
    became(&backend, &weir, "upstream_truncated", true).await;
}
