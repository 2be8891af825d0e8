//! Does every kind of connection come in, and go when it must?

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use weir::{app::App, config};

use crate::support::{Weir, backend::Backend, client::Client, client2::Client2, proxied, soon};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// A proxy in front of a fresh backend, whose listener has these keys.
async fn listening(keys: &str) -> (Backend, Weir) {
    listening_at(keys, "threads = 1\ndrain = \"1s\"").await
}

async fn listening_at(keys: &str, process: &str) -> (Backend, Weir) {
    let backend = Backend::bind().await;
    let weir = Weir::start_at(&text(keys, &backend.endpoint()), process);
    (backend, weir)
}

fn text(listener: &str, endpoint: &str) -> String {
    let address = if listener.contains("address") {
        ""
    } else {
        "address = \"127.0.0.1:0\"\n"
    };
    format!(
        "[[listener]]\n{address}{listener}\n[upstream.test]\nendpoints = [\"{endpoint}\"]\n\
         [[route]]\nname = \"test\"\nupstream = \"test\"\n"
    )
}

/// Sends a request and has it answered.
async fn exchange(client: &mut Client, backend: &Backend) {
    client.send(GET).await;
    let mut upstream = backend
        .answer("HTTP/1.1 200 OK\r\nConnection: close\r\n")
        .await;
    upstream.send("Content-Length: 2\r\n\r\nok").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.exactly(2).await, b"ok");
}

#[tokio::test]
async fn unix_sockets_are_listened_on_and_connected_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("weir.sock");
    // A file that nobody listens on any more is replaced.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let address = format!("unix:{}", socket.display());
    let (backend, inner) = listening(&format!("address = \"{address}\"")).await;
    assert_eq!(inner.address(), address);
    let mut client = Client::connect_unix(&socket).await;
    exchange(&mut client, &backend).await;
    let outer = Weir::route(&address, "");
    let mut client = Client::get(outer.address(), "/", "").await;
    let mut upstream = backend.accept().await;
    let head = upstream.request().await;
    // Whoever can open the socket's file is believed.
    assert!(
        head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nvia: 1.1 weir, 1.1 weir\r\n"), "{head}");
    upstream.send(OK).await;
    assert_eq!(client.head().await.status, 200);
    let error = refused(&text(
        &format!("address = \"{address}\""),
        &backend.endpoint(),
    ));
    assert!(error.contains("in use"), "{error}");
    drop(client);
    drop(outer);
    inner.stop();
    inner.ended().await;
    assert!(!socket.exists());
}

/// Why a proxy on this configuration cannot start.
fn refused(toml: &str) -> String {
    let loaded =
        config::parse(toml, Path::new("test.toml")).unwrap_or_else(|faults| panic!("{faults}"));
    App::bind(loaded.config).err().expect("a fault").to_string()
}

#[tokio::test]
async fn a_port_in_use_is_told_as_such() {
    let (backend, weir) = proxied("").await;
    let address = weir.address();
    let error = refused(&text(
        &format!("address = \"{address}\""),
        &backend.endpoint(),
    ));
    assert!(
        error.contains(address) && error.contains("in use"),
        "{error}"
    );
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Reads one HTTP/2 frame: its type and its payload.
async fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 9];
    soon("a frame", stream.read_exact(&mut head))
        .await
        .expect("a frame");
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    soon("a frame", stream.read_exact(&mut payload))
        .await
        .expect("a frame");
    (head[3], payload)
}

#[tokio::test]
async fn both_versions_come_in_on_one_port_whatever_pieces_the_preface_comes_in() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    exchange(&mut client, &backend).await;
    for at in [1, 3, 14, 23] {
        let mut stream = TcpStream::connect(weir.address())
            .await
            .expect("the proxy listens");
        stream.set_nodelay(true).expect("a socket");
        stream
            .write_all(&PREFACE[..at])
            .await
            .expect("an open connection");
        // Something else has its answer meanwhile, so the piece is there.
        exchange(&mut client, &backend).await;
        stream
            .write_all(&PREFACE[at..])
            .await
            .expect("an open connection");
        stream
            .write_all(EMPTY_SETTINGS)
            .await
            .expect("an open connection");
        let (kind, payload) = frame(&mut stream).await;
        assert_eq!(kind, 4, "SETTINGS come first");
        let settings = payload.chunks(6).map(|entry| {
            let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            (u16::from_be_bytes([entry[0], entry[1]]), value)
        });
        let streams = settings.into_iter().find(|&(id, _)| id == 3);
        assert!(
            streams.is_some_and(|(_, streams)| streams >= 256),
            "{payload:?}"
        );
    }
}

#[tokio::test]
async fn what_only_begins_like_a_preface_is_http1() {
    let (_backend, weir) = listening("timeouts = { header = \"300ms\" }").await;
    for bytes in [
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI / HTTP/1.1\r\nConnection: close\r\n\r\n",
    ] {
        let mut client = Client::connect(weir.address()).await;
        client.send(bytes).await;
        let answer = client.rest().await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{bytes:?}: {answer}"
        );
    }
    // A preface that does not go on is closed in time.
    let mut client = Client::connect(weir.address()).await;
    client.send("PRI * HTT").await;
    assert_eq!(client.rest().await, "");
    let (_backend, weir) = listening("http = [\"1.1\"]").await;
    let mut client = Client::connect(weir.address()).await;
    client.send(PREFACE).await;
    assert_eq!(client.rest().await, "");
    let (backend, weir) = listening("http = [\"2\"]").await;
    let client = Client2::connect(weir.address()).await;
    let (response, _) = tokio::join!(client.get("/"), backend.answer(OK));
    assert_eq!(response.head.status, 200);
    let mut client = Client::connect(weir.address()).await;
    client.send(GET).await;
    assert!(!client.rest_bytes().await.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_not_waited_for() {
    let (backend, weir) = listening("timeouts = { header = \"300ms\", idle = \"60s\" }").await;
    // Nothing at all, a piece, a piece of a later head, and a trickle that never ends.
    let mut client = Client::connect(weir.address()).await;
    assert_eq!(client.rest().await, "");
    let mut client = Client::connect(weir.address()).await;
    client.send("GET / HTTP/1.1\r\nHo").await;
    assert_eq!(client.rest().await, "");
    let mut client = Client::connect(weir.address()).await;
    exchange(&mut client, &backend).await;
    client.send("GET / HTTP/1.1\r\nHo").await;
    assert_eq!(client.rest().await, "");
    let mut stream = TcpStream::connect(weir.address())
        .await
        .expect("the proxy listens");
    stream
        .write_all(b"GET / HTTP/1.1\r\nX: ")
        .await
        .expect("an open connection");
    soon("the trickle to be cut", async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while stream.write_all(b"x").await.is_ok() {
            ticks.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_goes_but_not_one_with_a_stream() {
    let (backend, weir) = listening("timeouts = { idle = \"1s\" }").await;
    let mut busy = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream("text/plain").await;
    busy.head().await;
    let client2 = Client2::connect(weir.address()).await;
    let (mut response, _) = tokio::join!(client2.get("/"), backend.answer(OK));
    assert_eq!(response.rest().await, ("ok".to_owned(), None));
    let mut idle = Client::connect(weir.address()).await;
    exchange(&mut idle, &backend).await;
    assert_eq!(idle.rest().await, "");
    let gone = async {
        loop {
            if let Err(error) = client2.sender().ready().await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    };
    let error = soon("the idle HTTP/2 connection to go", gone).await;
    assert!(
        error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR),
        "{error:?}"
    );
    upstream.chunk("still").await;
    assert_eq!(busy.chunk().await.as_deref(), Some("still"));
}

#[tokio::test]
async fn one_connection_too_many_waits_for_another_to_leave() {
    let (backend, weir) = listening("limits = { connections = 2 }").await;
    let mut first = Client::connect(weir.address()).await;
    exchange(&mut first, &backend).await;
    let mut second = Client::connect(weir.address()).await;
    exchange(&mut second, &backend).await;
    let mut third = Client::connect(weir.address()).await;
    third
        .send("GET /third HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    for client in [&mut first, &mut second] {
        exchange(client, &backend).await;
    }
    assert!(backend.is_alone().await, "the third was served");
    drop(first);
    let mut upstream = backend.accept().await;
    assert!(upstream.request().await.starts_with("get /third "));
    upstream
        .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(third.head().await.status, 200);
    exchange(&mut second, &backend).await;
}

#[tokio::test]
async fn a_tunnel_keeps_its_place() {
    let (backend, weir) = listening("limits = { connections = 1 }").await;
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let mut tunnel = Client::get(weir.address(), "/", upgrade).await;
    let mut upstream = backend
        .answer(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
    assert_eq!(tunnel.head().await.status, 101);
    let mut second = Client::get(weir.address(), "/second", "").await;
    for _ in 0..10 {
        tunnel.send("ping").await;
        assert_eq!(upstream.read(4).await, b"ping");
    }
    assert!(
        backend.is_alone().await,
        "the second was served beside the tunnel"
    );
    drop(tunnel);
    upstream.closed().await;
    drop(upstream);
    backend.answer(OK).await;
    assert_eq!(second.head().await.status, 200);
}

#[tokio::test]
async fn those_who_wait_for_a_place_are_served_whichever_worker_has_them() {
    let process = "threads = 3\ndrain = \"1s\"";
    let (backend, weir) = listening_at("limits = { connections = 1 }", process).await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(Client::get(weir.address(), "/", "Connection: close\r\n").await);
    }
    let serve = async {
        for _ in 0..12 {
            let mut upstream = backend
                .answer("HTTP/1.1 200 OK\r\nConnection: close\r\n")
                .await;
            assert!(backend.is_alone().await, "two were served at once");
            upstream.send("Content-Length: 2\r\n\r\nok").await;
        }
    };
    let read = async {
        let reads = clients.into_iter().map(|mut client| {
            tokio::spawn(async move { assert_eq!(client.head().await.status, 200) })
        });
        for read in reads.collect::<Vec<_>>() {
            read.await.expect("a response");
        }
    };
    tokio::join!(serve, read);
}

#[tokio::test]
async fn operators_learn_whether_it_lives_and_takes_streams() {
    let backend = Backend::bind().await;
    let admin = "[admin]\naddress = \"127.0.0.1:0\"\n";
    let weir = Weir::start(&format!("{admin}{}", text("", &backend.endpoint())));
    let address = weir.admin.clone().expect("an admin listener");
    let ask = async |path: &str| {
        let mut client = Client::get(&address, path, "Connection: close\r\n").await;
        (client.head().await.status, client.rest().await)
    };
    assert_eq!(ask("/livez").await, (200, "alive\n".to_owned()));
    assert_eq!(ask("/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(ask("/nowhere").await.0, 404);
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream("text/plain").await;
    client.head().await;
    weir.stop();
    soon("the drain to begin", async {
        while ask("/readyz").await.0 == 200 {}
    })
    .await;
    assert_eq!(ask("/readyz").await, (503, "draining\n".to_owned()));
    assert_eq!(ask("/livez").await.0, 200);
    upstream.chunk("still").await;
    assert_eq!(client.chunk().await.as_deref(), Some("still"));
}

#[tokio::test]
async fn a_shutdown_closes_what_is_idle_and_lets_what_is_short_end() {
    let process = "threads = 1\ndrain = \"15s\"";
    let (backend, weir) = listening_at("", process).await;
    let mut idle = Client::connect(weir.address()).await;
    exchange(&mut idle, &backend).await;
    let mut busy = Client::get(weir.address(), "/", "").await;
    let mut first = backend.accept().await;
    first.request().await;
    let client2 = Client2::connect(weir.address()).await;
    let ((), mut response) = tokio::join!(
        async {
            let mut second = backend.accept().await;
            second.request().await;
            weir.stop();
            // The idle one has gone, so the drain has begun.
            assert_eq!(idle.rest().await, "");
            second.send(OK).await;
        },
        client2.get("/"),
    );
    assert_eq!(response.rest().await, ("ok".to_owned(), None));
    let error = soon("GOAWAY", async {
        loop {
            match client2.sender().ready().await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        }
    })
    .await;
    assert!(
        error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR),
        "{error:?}"
    );
    first.send(OK).await;
    let head = busy.head().await;
    assert_eq!((head.status, head.field("connection")), (200, "close"));
    assert_eq!(busy.rest().await, "ok");
    drop(client2);
    let ended = tokio::time::timeout(Duration::from_secs(8), weir.ended()).await;
    assert!(ended.is_ok(), "the drain's whole time was waited for");
}
