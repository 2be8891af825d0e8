//! Does an upstream that speaks WebSocket stream to clients that do not?

use std::time::Duration;

use h2::Reason;
use http::Request;
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

use crate::support::{
    Weir,
    backend::Backend,
    client::Client,
    client2::{Client2, Response2},
    soon, tls,
    websocket::{self, Server},
};

const TAKES_EVENTS: &str = "Accept: text/event-stream\r\n";

/// A proxy in front of a fresh backend that speaks WebSocket, with these keys.
async fn bridged(websocket: &str, route: &str) -> (Backend, Weir) {
    let backend = Backend::bind().await;
    let upstream = format!(
        "endpoints = [\"{}\"]\nwebsocket = {websocket}",
        backend.endpoint()
    );
    let weir = Weir::upstream(&upstream, route);
    (backend, weir)
}

/// A client's stream and the WebSocket behind it.
async fn stream(backend: &Backend, weir: &Weir) -> (Client, Server) {
    let mut client = Client::get(weir.address(), "/feed", TAKES_EVENTS).await;
    let server = Server::accept(backend, "").await;
    assert_eq!(client.head().await.status, 200);
    (client, server)
}

async fn stream2(backend: &Backend, weir: &Weir) -> (Response2, Server) {
    let client = Client2::connect(weir.address()).await;
    tokio::join!(client.get("/feed"), Server::accept(backend, ""))
}

#[tokio::test]
async fn each_message_is_an_event_as_soon_as_it_comes() {
    let (backend, weir) = bridged(
        "{ send = ['{\"op\":\"subscribe\"}', 'again'] }",
        "path = \"/api/*\"\nrewrite = { strip_prefix = \"/api\" }\nevent = { name = \"tick\" }",
    )
    .await;
    let fields = format!("{TAKES_EVENTS}Authorization: Bearer t\r\nConnection: close\r\n");
    let mut client = Client::get(weir.address(), "/api/feed?room=1", &fields).await;
    let mut server = Server::accept(&backend, "X-Kept: yes\r\nVary: Origin\r\n").await;
    assert!(
        server.request.starts_with("GET /feed?room=1 HTTP/1.1\r\n"),
        "{}",
        server.request
    );
    for (name, value) in [
        ("host", Some("test")),
        ("connection", Some("upgrade")),
        ("upgrade", Some("websocket")),
        ("sec-websocket-version", Some("13")),
        ("sec-websocket-protocol", None),
        ("sec-websocket-extensions", None),
        ("authorization", Some("Bearer t")),
        ("via", Some("1.1 weir")),
    ] {
        assert_eq!(server.field(name), value, "{name}");
    }
    let subscribe = br#"{"op":"subscribe"}"#.to_vec();
    assert_eq!(server.next().await, (0x81, subscribe));
    assert_eq!(server.next().await, (0x81, b"again".to_vec()));

    let head = client.head().await;
    assert_eq!(head.status, 200, "{head:?}");
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-kept", "yes"),
        ("vary", "Origin, Accept"),
        ("upgrade", ""),
        ("sec-websocket-accept", ""),
    ] {
        assert_eq!(head.field(name), value, "{name}");
    }
    server.text("{\"a\":1}").await;
    assert_eq!(
        client.chunk().await.as_deref(),
        Some("event: tick\ndata: {\"a\":1}\n\n")
    );
    server.frame(0x01, b"two ").await;
    server.frame(0x89, b"there?").await;
    assert_eq!(server.next().await, (0x8A, b"there?".to_vec()));
    server.frame(0x80, b"\nfragments").await;
    assert_eq!(
        client.chunk().await.as_deref(),
        Some("event: tick\ndata: two \ndata: fragments\n\n")
    );
    server.frame(0x82, b"binary").await;
    server.close(1000, "").await;
    assert_eq!(
        client.chunks_to_end().await,
        "event: tick\ndata: binary\n\n"
    );
    server.closed_with(1000).await;
}

#[tokio::test]
async fn each_message_is_an_event_over_http2() {
    let (backend, weir) = bridged("true", "").await;
    let (mut response, mut server) = stream2(&backend, &weir).await;
    assert_eq!(response.head.status, 200);
    assert_eq!(response.head.headers["content-type"], "text/event-stream");
    for round in 0..3 {
        server.text(&format!("round {round}")).await;
        let event = format!("data: round {round}\n\n");
        assert_eq!(response.data().await, Some(Ok(event)));
    }
    server.close(1001, "see you").await;
    assert_eq!(response.rest().await, (String::new(), None));
}

#[tokio::test]
async fn a_subprotocol_is_asked_for_and_must_be_agreed_upon() {
    let agreed = "Sec-WebSocket-Protocol: v1.ticker\r\n";
    let offers = "Sec-WebSocket-Protocol: v2.ticker, v1.ticker\r\n";
    for (websocket, offered, answered, status) in [
        ("true", offers, agreed, 200),
        ("true", offers, "", 200),
        ("true", "", agreed, 502),
        ("{ subprotocol = \"v1.ticker\" }", "", agreed, 200),
        ("{ subprotocol = \"v3.ticker\" }", offers, agreed, 502),
        (
            "true",
            "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            502,
        ),
    ] {
        let (backend, weir) = bridged(websocket, "").await;
        let mut client = Client::get(weir.address(), "/", offered).await;
        let mut server = Server::accept(&backend, answered).await;
        assert_eq!(server.field("sec-websocket-extensions"), None);
        let head = client.head().await;
        assert_eq!(head.status, status, "{websocket} {offered} {answered}");
        if status == 502 {
            assert_eq!(
                head.field("proxy-status"),
                "weir; error=http_protocol_error"
            );
            server.connection().closed().await;
        }
    }
}

#[tokio::test]
async fn an_endpoint_may_be_reached_over_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let certificate = tls::certificate(directory.path(), "up", &["up.test"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = format!(
        "endpoints = [\"https://{}\"]\nhttp = \"auto\"\nwebsocket = true\n\
         tls = {{ ca = \"{}\", server_name = \"up.test\" }}",
        listener.local_addr().expect("a bound port"),
        directory.path().join("up.pem").display()
    );
    let weir = Weir::upstream(&upstream, "");
    let mut client = Client::get(weir.address(), "/feed", TAKES_EVENTS).await;
    let (stream, _) = soon("a connection", listener.accept()).await.expect("one");
    let stream = tls::accept(stream, &certificate, &["h2", "http/1.1"]);
    let stream = stream.await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let read = async {
        assert_eq!(client.head().await.status, 200);
        assert_eq!(client.chunk().await.as_deref(), Some("data: over TLS\n\n"));
        drop(client);
    };
    let ((request, rest), ()) = tokio::join!(websocket::serve_once(stream, "over TLS"), read);
    assert!(request.starts_with("GET /feed HTTP/1.1\r\n"), "{request}");
    // A masked close frame.
    assert_eq!((rest.len(), rest[0], rest[1]), (8, 0x88, 0x82), "{rest:?}");
}

/// Both versions end with this code in the error, after this event; `None` is a complete end.
async fn ends_with(code: Option<&str>, route: &str, script: impl AsyncFn(&mut Server)) {
    let (backend, weir) = bridged("true", route).await;
    let (mut client, mut server) = stream(&backend, &weir).await;
    script(&mut server).await;
    drop(server);
    let first = client.rest_or_last_chunk().await;
    let (mut response, mut server) = stream2(&backend, &weir).await;
    script(&mut server).await;
    drop(server);
    let (body, reset) = response.rest().await;
    assert!(matches!(reset, None | Some(Reason::INTERNAL_ERROR)));
    for (body, is_complete) in [first, (body, reset.is_none())] {
        assert_eq!(is_complete, code.is_none(), "{body:?}");
        let after = body.strip_prefix("data: event\n\n").expect(&body);
        match code {
            None => assert_eq!(after, ""),
            Some(code) => {
                let start = format!("event: stream-error\ndata: {{\"code\":\"{code}\"");
                assert!(after.starts_with(&start), "{after:?}");
                assert_eq!(after.matches("\n\n").count(), 1, "{after:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_close_code_is_the_ending() {
    ends_with(None, "", async |server| {
        server.text("event").await;
        server.frame(0x88, b"").await;
    })
    .await;
    ends_with(Some("upstream_error"), "", async |server| {
        server.text("event").await;
        server.close(1011, "out of order").await;
    })
    .await;
    ends_with(Some("upstream_truncated"), "", async |server| {
        server.text("event").await;
    })
    .await;
    ends_with(Some("bad_framing"), "", async |server| {
        server.text("event").await;
        server.frame(0xC1, b"compressed").await;
        server.closed_with(1002).await;
    })
    .await;
    let limits = "limits = { record = \"16B\" }";
    ends_with(Some("record_too_large"), limits, async |server| {
        server.text("event").await;
        server.text("seventeen letters").await;
        server.closed_with(1009).await;
    })
    .await;
}

#[tokio::test]
async fn the_clients_are_told_why_in_words() {
    let (backend, weir) = bridged("true", "").await;
    let (mut client, mut server) = stream(&backend, &weir).await;
    server.close(4003, "no\nsuch room").await;
    let (body, _) = client.rest_or_last_chunk().await;
    let data = body.lines().nth(1).expect("an error");
    let error: serde_json::Value =
        serde_json::from_str(data.trim_start_matches("data: ")).expect("JSON");
    assert_eq!(
        error["message"],
        "the upstream gave up its reply: it closed its WebSocket with 4003 (\"no\\nsuch room\")"
    );
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_websocket() {
    let (backend, weir) = bridged("true", "").await;
    let (client, mut server) = stream(&backend, &weir).await;
    drop(client);
    server.closed_with(1001).await;
    let client = Client2::connect(weir.address()).await;
    let (response, mut server) = tokio::join!(client.get("/"), Server::accept(&backend, ""));
    drop(response);
    server.closed_with(1001).await;
    // Before the handshake is answered, too.
    let client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    drop(client);
    upstream.closed().await;
}

#[tokio::test]
async fn a_drain_ends_it_as_any_stream() {
    let (backend, weir) = bridged("true", "").await;
    let (mut client, mut server) = stream(&backend, &weir).await;
    server.text("event").await;
    assert_eq!(client.chunk().await.as_deref(), Some("data: event\n\n"));
    weir.stop();
    let body = client.chunks_to_end().await;
    assert!(body.starts_with("retry: "), "{body:?}");
    server.closed_with(1001).await;
    weir.ended().await;
}

#[tokio::test]
async fn pings_are_signs_of_life_and_heartbeats_flow() {
    let (backend, weir) = bridged(
        "true",
        "heartbeat = { every = \"1s\" }\ntimeouts = { idle = \"2s\" }",
    )
    .await;
    let (mut client, mut server) = stream(&backend, &weir).await;
    for _ in 0..15 {
        server.frame(0x89, b"").await;
        assert_eq!(server.next().await, (0x8A, Vec::new()));
        sleep(Duration::from_millis(200)).await;
    }
    let body = client.chunks_until("idle_timeout").await;
    assert!(body.starts_with(":\n:\n:\n"), "{body:?}");
    server.closed_with(1001).await;
}

#[tokio::test]
async fn what_the_client_does_not_take_is_not_read() {
    let (backend, weir) = bridged("true", "").await;
    let (mut client, mut server) = stream(&backend, &weir).await;
    let message = "x".repeat(100_000);
    let mut sent = 0;
    // More than all sockets on the way hold.
    while timeout(Duration::from_millis(500), server.text(&message))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 1000, "the proxy reads what nobody takes");
    }
    // The last one was cut inside; all before it come.
    drop(server);
    let (body, is_complete) = soon("the rest", client.rest_or_last_chunk()).await;
    assert_eq!(body.matches(&message).count(), sent);
    assert!(body.contains("upstream_truncated") && !is_complete);
}

#[tokio::test]
async fn a_refused_handshake_passes() {
    let (backend, weir) = bridged("true", "").await;
    let mut client = Client::get(weir.address(), "/", TAKES_EVENTS).await;
    for (reply, status) in [
        (
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\nno",
            401,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno",
            200,
        ),
    ] {
        backend.answer(reply).await;
        let head = client.head().await;
        assert_eq!(head.status, status);
        assert_ne!(head.field("content-type"), "text/event-stream");
        assert_eq!(client.exactly(2).await, b"no");
        let again = format!("GET / HTTP/1.1\r\nHost: test\r\n{TAKES_EVENTS}\r\n");
        client.send(again).await;
    }
    backend.answer("HTTP/1.1 403 Forbidden\r\n\r\n").await;
    assert_eq!(client.head().await.status, 403);
}

#[tokio::test]
async fn only_a_get_that_takes_events_goes_over_the_bridge() {
    let (_backend, weir) = bridged("true", "").await;
    for (request, status) in [
        (
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
            405,
        ),
        (
            "GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: test\r\nAccept: application/json\r\n\r\n",
            406,
        ),
    ] {
        let mut client = Client::connect(weir.address()).await;
        client.send(request).await;
        let head = client.head().await;
        assert_eq!(head.status, status, "{request}");
        let allow = if status == 405 { "GET, HEAD" } else { "" };
        assert_eq!(head.field("allow"), allow);
    }
    let client = Client2::connect(weir.address()).await;
    let request = Request::post("http://test/").body(()).expect("a request");
    assert_eq!(client.send(request, "x").await.head.status, 405);
}

#[tokio::test]
async fn everything_else_is_asked_as_any_upstream() {
    for (route, request) in [
        ("", "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n"),
        (
            "",
            "GET / HTTP/1.1\r\nHost: test\r\nRange: bytes=0-1\r\n\r\n",
        ),
        (
            "to = \"as-is\"",
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        let (backend, weir) = bridged("true", route).await;
        let mut client = Client::connect(weir.address()).await;
        client.send(request).await;
        let mut upstream = backend.accept().await;
        let head = upstream.request().await;
        assert!(!head.contains("upgrade"), "{head}");
        upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.head().await.status, 204);
    }
}

#[tokio::test]
async fn a_clients_own_websocket_passes_through() {
    let (backend, weir) = bridged("{ send = [\"not for tunnels\"] }", "").await;
    let ask = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    let mut client = Client::get(weir.address(), "/", ask).await;
    let mut server = Server::accept(&backend, "").await;
    let head = client.head().await;
    assert_eq!(head.status, 101);
    assert_eq!(
        head.field("sec-websocket-accept"),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    server.frame(0x81, b"raw").await;
    assert_eq!(client.exactly(5).await, b"\x81\x03raw");
}
