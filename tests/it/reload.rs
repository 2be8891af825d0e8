//! Does a new configuration take over without a stream being lost?

use std::fs;

use tokio::net::TcpStream;

use crate::support::{NDJSON, Weir, backend::Backend, client::Client, soon, tls};

/// A listener, an upstream at `endpoint`, and a route whose events have this name.
fn config(listener: &str, endpoint: &str, name: &str) -> String {
    format!(
        "[[listener]]\naddress = \"{listener}\"\n[upstream.test]\nendpoints = [\"{endpoint}\"]\n\
         [[route]]\nname = \"test\"\nupstream = \"test\"\nevent = {{ name = \"{name}\" }}\n"
    )
}

const ANY: &str = "127.0.0.1:0";

#[tokio::test]
async fn open_streams_keep_their_generation_and_new_requests_get_the_next() {
    let backend = Backend::bind().await;
    let mut weir = Weir::start(&config(ANY, &backend.endpoint(), "old"));
    let address = weir.address().to_owned();
    let mut before = Client::get(&address, "/", "").await;
    let mut upstream_before = backend.stream(NDJSON).await;
    before.head().await;
    // A connection that is open and idle while the configuration changes.
    let mut kept = Client::get(&address, "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    kept.head().await;
    upstream.end().await;
    assert_eq!(kept.chunk().await, None);

    let reloaded = weir.reload(&config(ANY, &backend.endpoint(), "new")).await;
    let reloaded = reloaded.unwrap();
    assert_eq!((reloaded.generation, reloaded.alive), (2, 2));
    assert_eq!(reloaded.waiting, Vec::<&str>::new());
    assert_eq!(weir.address(), address, "the listener keeps its socket");

    upstream_before.chunk("1\n").await;
    assert_eq!(
        before.chunk().await.as_deref(),
        Some("event: old\ndata: 1\n\n")
    );
    // The upstream is the same, so the pooled connection is, too.
    soon("the new route", async {
        loop {
            kept.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
            upstream.request().await;
            upstream
                .send("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n2\n\r\n0\r\n\r\n")
                .await;
            kept.head().await;
            // The worker may have taken this request before it heard of the new generation.
            if kept.chunks_to_end().await == "event: new\ndata: 2\n\n" {
                break;
            }
        }
    })
    .await;
    upstream_before.end().await;
    assert_eq!(before.chunk().await, None);
    let reloaded = weir
        .reload(&config(ANY, &backend.endpoint(), "newer"))
        .await;
    assert_eq!(reloaded.unwrap().generation, 3);
}

#[tokio::test]
async fn listeners_come_and_go_and_their_streams_stay() {
    let backend = Backend::bind().await;
    let first = config(ANY, &backend.endpoint(), "a");
    let mut weir = Weir::start(&first);
    let old = weir.address().to_owned();
    let mut client = Client::get(&old, "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("weir.sock");
    let second = config(
        &format!("unix:{}", socket.display()),
        &backend.endpoint(),
        "a",
    );
    weir.reload(&second).await.unwrap();
    assert!(weir.address().starts_with("unix:"));
    soon("the old listener's end", async {
        while TcpStream::connect(&old).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    upstream.chunk("1\n").await;
    assert_eq!(
        client.chunk().await.as_deref(),
        Some("event: a\ndata: 1\n\n")
    );
    let mut local = Client::connect_unix(&socket).await;
    local.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    backend.stream(NDJSON).await;
    assert_eq!(local.head().await.status, 200);
    weir.reload(&first).await.unwrap();
    assert!(!socket.exists(), "its file goes with it");
}

#[tokio::test]
async fn listeners_on_any_port_keep_theirs() {
    let backend = Backend::bind().await;
    let two = format!(
        "[[listener]]\naddress = \"{ANY}\"\n{}",
        config(ANY, &backend.endpoint(), "a")
    );
    let mut weir = Weir::start(&two);
    let before = weir.addresses.clone();
    weir.reload(&two).await.unwrap();
    assert_eq!(weir.addresses, before);
    for address in &before {
        let mut client = Client::get(address, "/", "").await;
        let mut upstream = backend.stream(NDJSON).await;
        client.head().await;
        upstream.chunk("1\n").await;
        assert_eq!(
            client.chunk().await.as_deref(),
            Some("event: a\ndata: 1\n\n")
        );
        upstream.end().await;
    }
}

#[tokio::test]
async fn what_cannot_be_built_changes_nothing() {
    let backend = Backend::bind().await;
    let good = config(ANY, &backend.endpoint(), "a");
    let mut weir = Weir::start(&good);
    let other = std::net::TcpListener::bind(ANY).unwrap();
    let taken = other.local_addr().unwrap();
    let listener = format!("{good}[[listener]]\naddress = \"{taken}\"\n");
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        directory.path().join("c.pem"),
        directory.path().join("k.pem"),
    );
    fs::write(&certificate, "no certificate").unwrap();
    fs::write(&key, "no key").unwrap();
    let tls = format!(
        "{good}[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = {certificate:?}, key = {key:?} }}\n"
    );
    let before = weir.addresses.clone();
    for bad in [tls, listener] {
        assert!(weir.reload(&bad).await.is_err(), "{bad}");
        assert_eq!(weir.addresses, before);
    }
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    upstream.chunk("1\n").await;
    assert_eq!(
        client.chunk().await.as_deref(),
        Some("event: a\ndata: 1\n\n")
    );
}

#[tokio::test]
async fn certificates_are_read_again() {
    let backend = Backend::bind().await;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let config = format!(
        "{}tls = {{ certificate = {:?}, key = {:?} }}\n[upstream.test]\nendpoints = [\"{}\"]\n\
         [[route]]\nname = \"test\"\nupstream = \"test\"\n",
        "[[listener]]\naddress = \"127.0.0.1:0\"\n",
        path("a.pem"),
        path("a.key"),
        backend.endpoint()
    );
    let old = tls::certificate(directory.path(), "a", &["localhost"]);
    let mut weir = Weir::start(&config);
    tls::connect(weir.address(), "localhost", &old, &[])
        .await
        .unwrap();
    let new = tls::certificate(directory.path(), "a", &["localhost"]);
    weir.reload(&config).await.unwrap();
    tls::connect(weir.address(), "localhost", &new, &[])
        .await
        .unwrap();
    assert!(
        tls::connect(weir.address(), "localhost", &old, &[])
            .await
            .is_err()
    );
}

#[tokio::test]
async fn what_waits_for_a_restart_is_told() {
    let backend = Backend::bind().await;
    let good = config(ANY, &backend.endpoint(), "a");
    let mut weir = Weir::start(&good);
    let reloaded = weir
        .reload(&format!("{good}[admin]\naddress = \"127.0.0.1:0\"\n"))
        .await;
    assert_eq!(reloaded.unwrap().waiting, ["admin address"]);
}
