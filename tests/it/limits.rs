//! Is nobody let in beyond the limits, and everybody else as before?

use std::time::Duration;

use http::Request;

use crate::support::{
    NDJSON, Weir, backend::Backend, client::Client, client2::Client2, proxied, proxied_at, soon,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A proxy whose listener trusts this machine, on a route with these keys.
async fn behind_proxy(route: &str) -> (Backend, Weir) {
    proxied_at(
        route,
        "threads = 2\ndrain = \"1s\"\ntrusted_proxies = [\"127.0.0.1\"]",
    )
    .await
}

/// Opens a stream, which goes on.
async fn open(
    backend: &Backend,
    weir: &Weir,
    fields: &str,
) -> (Client, crate::support::backend::Connection) {
    let mut client = Client::get(weir.address(), "/", fields).await;
    let upstream = backend.stream(NDJSON).await;
    assert_eq!(client.head().await.status, 200);
    (client, upstream)
}

/// Asks once, and expects to be refused in this way; nothing reaches the backend.
async fn refused(backend: &Backend, weir: &Weir, fields: &str, status: u16, error: &str) -> u64 {
    let mut client = Client::get(weir.address(), "/", fields).await;
    let head = client.head().await;
    assert_eq!(head.status, status);
    assert_eq!(head.field("proxy-status"), format!("weir; error={error}"));
    assert_eq!(head.field("content-type"), "application/problem+json");
    assert!(backend.is_alone().await, "it was sent upstream");
    let seconds = head.field("retry-after").parse();
    let seconds = seconds.unwrap_or_else(|_| panic!("{head:?}"));
    assert!(seconds > 0);
    seconds
}

/// Answers whatever reaches the backend.
async fn answer_all(backend: &Backend) {
    loop {
        backend.answer(OK).await;
    }
}

/// Asks until the answer is 200, which must come.
async fn let_in(backend: &Backend, weir: &Weir, fields: &str) {
    let ask = async {
        loop {
            let mut client = Client::get(weir.address(), "/", fields).await;
            if client.head().await.status == 200 {
                return;
            }
        }
    };
    let answer = async {
        backend.answer(OK).await;
    };
    soon("a place", async { tokio::join!(ask, answer) }).await;
}

#[tokio::test]
async fn a_route_that_is_full_says_so_until_a_stream_ends() {
    let (backend, weir) = proxied("limits = { streams = 2 }").await;
    let (mut first, mut upstream) = open(&backend, &weir, "").await;
    let client2 = Client2::connect(weir.address()).await;
    let (second, _upstream2) = tokio::join!(client2.get("/"), backend.stream(NDJSON));
    assert_eq!(second.head.status, 200);
    refused(&backend, &weir, "", 503, "connection_limit_reached").await;
    let mut third = client2.get("/").await;
    assert_eq!(third.head.status, 503);
    assert!(third.head.headers.contains_key("retry-after"));
    let (problem, reset) = third.rest().await;
    assert!(problem.contains("as many streams open"), "{problem}");
    assert_eq!(reset, None);
    // Those that are open go on.
    upstream.chunk("1\n").await;
    assert_eq!(first.chunk().await.as_deref(), Some("data: 1\n\n"));
    // A stream that its client leaves gives its place back as well as one that ends.
    drop(second);
    let_in(&backend, &weir, "").await;
    upstream.end().await;
    assert_eq!(first.chunk().await, None);
    // Else the next request would come over this connection.
    drop(upstream);
    let_in(&backend, &weir, "").await;
}

#[tokio::test]
async fn the_process_is_full_whichever_worker_and_route_has_the_streams() {
    let backend = Backend::bind().await;
    let routes = ["a", "b"].map(|name| {
        format!("[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"test\"\n")
    });
    let weir = Weir::start_at(
        &format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[upstream.test]\nendpoints = [\"{}\"]\n{}",
            backend.endpoint(),
            routes.concat()
        ),
        "threads = 3\ndrain = \"1s\"\nstreams = 6",
    );
    let mut streams = Vec::new();
    for number in 0..6 {
        let path = if number % 2 == 0 { "/a" } else { "/b" };
        let mut client = Client::get(weir.address(), path, "").await;
        let upstream = backend.stream(NDJSON).await;
        assert_eq!(client.head().await.status, 200);
        streams.push((client, upstream));
    }
    for path in ["/a", "/b"] {
        for _ in 0..6 {
            let mut client = Client::get(weir.address(), path, "").await;
            assert_eq!(client.head().await.status, 503);
        }
    }
    assert!(backend.is_alone().await);
}

#[tokio::test]
async fn tunnels_are_streams_too() {
    let (backend, weir) = proxied("limits = { streams = 1 }").await;
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let mut tunnel = Client::get(weir.address(), "/", upgrade).await;
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let upstream = backend.answer(switching).await;
    assert_eq!(tunnel.head().await.status, 101);
    refused(&backend, &weir, "", 503, "connection_limit_reached").await;
    refused(&backend, &weir, upgrade, 503, "connection_limit_reached").await;
    drop((tunnel, upstream));
    let_in(&backend, &weir, "").await;
}

#[tokio::test]
async fn requests_without_a_stream_give_their_places_back() {
    let (backend, weir) = proxied("limits = { streams = 1, streams_per_peer = 1 }").await;
    let mut client = Client::connect(weir.address()).await;
    let mut upstream = None;
    for method in ["GET", "HEAD", "GET", "HEAD", "GET"] {
        client
            .send(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"))
            .await;
        let mut connection = match upstream.take() {
            Some(connection) => connection,
            None => backend.accept().await,
        };
        connection.request().await;
        let body = if method == "GET" { "ok" } else { "" };
        connection
            .send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}"
            ))
            .await;
        assert_eq!(client.head().await.status, 200);
        assert_eq!(client.exactly(body.len()).await, body.as_bytes());
        upstream = Some(connection);
    }
    // One that the upstream does not answer as HTTP, and one that no upstream answers.
    drop(upstream);
    let mut broken = Client::get(weir.address(), "/", "").await;
    backend.answer("nonsense\r\n\r\n").await;
    assert_eq!(broken.head().await.status, 502);
    drop(backend);
    for _ in 0..3 {
        let mut lost = Client::get(weir.address(), "/", "").await;
        assert_eq!(lost.head().await.status, 502);
    }
}

#[tokio::test]
async fn each_peer_has_its_own_places_also_behind_a_proxy() {
    let (backend, weir) = behind_proxy("limits = { streams_per_peer = 1 }").await;
    let of = |ip: &str| format!("Forwarded: for=\"{ip}\"\r\n");
    let (first, _upstream) = open(&backend, &weir, &of("192.0.2.1")).await;
    // Whatever a client says of itself stands before what the proxy says.
    let forged = "Forwarded: for=203.0.113.77, for=192.0.2.1\r\n";
    for fields in [of("192.0.2.1"), of("192.0.2.1:555"), forged.to_owned()] {
        refused(&backend, &weir, &fields, 429, "http_request_error").await;
    }
    let _second = open(&backend, &weir, &of("192.0.2.2")).await;
    let _third = open(&backend, &weir, &of("[2001:db8:0:1::1]")).await;
    let neighbor = of("[2001:db8:0:1:ffff::2]:80");
    refused(&backend, &weir, &neighbor, 429, "http_request_error").await;
    let _fourth = open(&backend, &weir, "X-Forwarded-For: 2001:db8:0:2::1\r\n").await;
    drop(first);
    let_in(&backend, &weir, &of("192.0.2.1")).await;
}

#[tokio::test]
async fn strangers_cannot_pass_for_others() {
    let (backend, weir) = proxied("limits = { streams_per_peer = 1 }").await;
    let _first = open(&backend, &weir, "X-Forwarded-For: 192.0.2.1\r\n").await;
    for fields in [
        "",
        "X-Forwarded-For: 192.0.2.2\r\n",
        "Forwarded: for=192.0.2.3\r\n",
    ] {
        refused(&backend, &weir, fields, 429, "http_request_error").await;
    }
}

#[tokio::test]
async fn over_a_unix_socket_only_those_who_are_named_are_peers() {
    let backend = Backend::bind().await;
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("weir.sock");
    let _weir = Weir::start(&format!(
        "[[listener]]\naddress = \"unix:{}\"\n[upstream.test]\nendpoints = [\"{}\"]\n\
         [[route]]\nname = \"test\"\nupstream = \"test\"\nlimits = {{ rate = \"1/h\" }}\n",
        socket.display(),
        backend.endpoint()
    ));
    let ask = async |fields: &str| {
        let mut client = Client::connect_unix(&socket).await;
        client
            .send(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
            .await;
        client
    };
    for fields in ["", "", "", "X-Forwarded-For: 192.0.2.1\r\n"] {
        let mut client = ask(fields).await;
        backend.answer(OK).await;
        assert_eq!(client.head().await.status, 200);
    }
    let mut client = ask("X-Forwarded-For: 192.0.2.1\r\n").await;
    assert_eq!(client.head().await.status, 429);
    assert!(backend.is_alone().await);
}

#[tokio::test]
async fn whoever_waits_as_long_as_told_is_let_in() {
    let (backend, weir) = proxied("limits = { rate = \"20/m\", burst = 2 }").await;
    let client2 = Client2::connect(weir.address()).await;
    let ask = async |is_http2: bool| {
        let ask = async {
            if is_http2 {
                let head = client2.get("/").await.head;
                let after = head.headers.get("retry-after");
                let after = after.map_or("", |value| value.to_str().unwrap());
                return (head.status.as_u16(), after.to_owned());
            }
            let mut client = Client::get(weir.address(), "/", "").await;
            let head = client.head().await;
            (head.status, head.field("retry-after").to_owned())
        };
        tokio::select! {
            answer = ask => answer,
            () = answer_all(&backend) => unreachable!("it goes on"),
        }
    };
    assert_eq!(ask(false).await, (200, String::new()));
    assert_eq!(ask(true).await, (200, String::new()));
    // Where this takes long, more have fallen due.
    let (mut status, mut after, mut is_http2) = (200, String::new(), false);
    while status == 200 {
        is_http2 = !is_http2;
        (status, after) = ask(is_http2).await;
    }
    assert_eq!(status, 429);
    let wait = after.parse().unwrap();
    assert!((1..=3).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_secs(wait)).await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let (head, _) = tokio::join!(client.head(), backend.answer(OK));
    assert_eq!(head.status, 200);
}

#[tokio::test]
async fn a_reload_forgets_neither_streams_nor_requests() {
    let backend = Backend::bind().await;
    let config = |limits: &str| {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[upstream.test]\nendpoints = [\"{}\"]\n\
             [[route]]\nname = \"test\"\nupstream = \"test\"\nlimits = {{ {limits} }}\n",
            backend.endpoint()
        )
    };
    let mut weir = Weir::start(&config(""));
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(open(&backend, &weir, "").await);
    }
    // What was unlimited has been counted.
    let refuses = async |weir: &Weir, kind: u16, error: &str| {
        soon("the new generation", async {
            loop {
                let mut client = Client::get(weir.address(), "/", "").await;
                // A worker may take a request before it hears of the generation.
                let answered = tokio::select! {
                    head = client.head() => head,
                    () = answer_all(&backend) => unreachable!("it goes on"),
                };
                if answered.status != 200 {
                    assert_eq!(answered.status, kind);
                    assert!(answered.field("proxy-status").ends_with(error));
                    return;
                }
            }
        })
        .await;
    };
    weir.reload(&config("streams = 2")).await.unwrap();
    refuses(&weir, 503, "connection_limit_reached").await;
    weir.reload(&config("streams = 3")).await.unwrap();
    let_in(&backend, &weir, "").await;
    weir.reload(&config("streams = 3, rate = \"2/h\""))
        .await
        .unwrap();
    refuses(&weir, 429, "http_request_error").await;
    let same = config("streams = 5, rate = \"2/h\"");
    weir.reload(&same).await.unwrap();
    weir.reload(&same).await.unwrap();
    refused(&backend, &weir, "", 429, "http_request_error").await;
    let (mut first, mut upstream) = streams.remove(0);
    upstream.chunk("1\n").await;
    assert_eq!(first.chunk().await.as_deref(), Some("data: 1\n\n"));
    weir.reload(&config("")).await.unwrap();
    let_in(&backend, &weir, "").await;
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_long_is_not_sent_upstream() {
    let (backend, weir) = proxied("limits = { body = \"1kB\" }").await;
    for length in [1001, 5_000_000] {
        let mut client = Client::connect(weir.address()).await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
            ))
            .await;
        let head = client.head().await;
        assert_eq!(head.status, 413);
        assert_eq!(head.field("proxy-status"), "weir; error=http_request_error");
        assert!(backend.is_alone().await);
    }
    let client2 = Client2::connect(weir.address()).await;
    let request = Request::post("http://test/").header("content-length", "1001");
    let mut sender = client2.sender().ready().await.unwrap();
    let (response, _body) = sender
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    let response = soon("a response", response).await.unwrap();
    assert_eq!(response.status(), 413);
    assert!(backend.is_alone().await);
    // As long as it may be.
    let mut client = Client::connect(weir.address()).await;
    let body = "x".repeat(1000);
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n{body}"
        ))
        .await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    assert_eq!(upstream.read(1000).await, body.as_bytes());
    upstream.send(OK).await;
    assert_eq!(client.head().await.status, 200);
}

#[tokio::test]
async fn a_body_that_becomes_too_long_is_broken_off() {
    let (backend, weir) = proxied("limits = { body = \"1kB\" }").await;
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let begin = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    // As long as it may be.
    let mut client = Client::connect(weir.address()).await;
    client.send(format!("{begin}{chunk}{chunk}0\r\n\r\n")).await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    assert_eq!(upstream.read_chunks().await.0.len(), 1000);
    let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    upstream.send(last).await;
    assert_eq!(client.head().await.status, 200);
    // One byte more, before there is a reply.
    let mut client = Client::connect(weir.address()).await;
    client.send(format!("{begin}{chunk}")).await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    assert_eq!(upstream.read_chunk().await.unwrap().len(), 500);
    client.send(&chunk).await;
    assert_eq!(upstream.read_chunk().await.unwrap().len(), 500);
    client.send("1\r\nx\r\n").await;
    let (rest, is_whole) = upstream.read_chunks().await;
    assert!(rest.is_empty() && !is_whole, "{rest:?}");
    let head = client.head().await;
    assert_eq!(head.status, 413);
    assert_eq!(head.field("proxy-status"), "weir; error=http_request_error");
    // The same over HTTP/2.
    let client2 = Client2::connect(weir.address()).await;
    let request = Request::post("http://test/").body(()).unwrap();
    let mut sender = client2.sender().ready().await.unwrap();
    let (response, mut body) = sender.send_request(request, false).unwrap();
    body.send_data("x".repeat(1000).into(), false).unwrap();
    let mut upstream = backend.accept().await;
    upstream.request().await;
    assert_eq!(upstream.read_chunk().await.unwrap().len(), 1000);
    body.send_data("x".into(), false).unwrap();
    let (rest, is_whole) = upstream.read_chunks().await;
    assert!(rest.is_empty() && !is_whole, "{rest:?}");
    let response = soon("a response", response).await.unwrap();
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn a_stream_does_not_go_on_beside_a_body_that_is_too_long() {
    let (backend, weir) = proxied("limits = { body = \"1kB\" }").await;
    let mut client = Client::connect(weir.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        .await;
    let mut upstream = backend.stream(NDJSON).await;
    assert_eq!(upstream.read_chunk().await.unwrap(), b"x");
    upstream.chunk("1\n").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
    client
        .send(format!("3e8\r\n{}\r\n", "x".repeat(1000)))
        .await;
    let (rest, is_whole) = upstream.read_chunks().await;
    assert!(rest.is_empty() && !is_whole);
    drop(upstream);
    let (said, is_whole) = client.rest_or_last_chunk().await;
    assert!(
        said.contains("event: stream-error") && !is_whole,
        "{said:?}"
    );
}

#[tokio::test]
async fn heads_may_be_as_long_as_the_listener_says() {
    let backend = Backend::bind().await;
    let weir = Weir::start(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nlimits = {{ header = \"8KiB\", headers = 20 }}\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nlimits = {{ header = \"64KiB\", headers = 300 }}\n\
         [upstream.test]\nendpoints = [\"{}\"]\n[[route]]\nname = \"test\"\nupstream = \"test\"\n",
        backend.endpoint()
    ));
    let [strict, lenient] = [0, 1].map(|index| weir.addresses[index].as_str());
    let many = "X: 1\r\n".repeat(250);
    let long = format!("X: {}\r\n", "x".repeat(60_000));
    for fields in [&many, &long] {
        let mut client = Client::get(strict, "/", fields).await;
        assert_eq!(client.head().await.status, 431);
        assert!(backend.is_alone().await);
        let mut client = Client::get(lenient, "/", fields).await;
        backend.answer(OK).await;
        assert_eq!(client.head().await.status, 200);
    }
    let fields = |count: usize, name: &'static str, value: &str| {
        let request = Request::get("http://test/");
        let fields = (0..count).fold(request, |request, _| request.header(name, value));
        fields.body(()).unwrap()
    };
    let value = "x".repeat(60_000);
    let client2 = Client2::connect(strict).await;
    for request in [fields(21, "x", "1"), fields(1, "x", &value[..12_000])] {
        let response = client2.send(request, "").await;
        assert_eq!(response.head.status, 431);
        assert!(backend.is_alone().await);
    }
    // A cookie is one field, into however many it is divided.
    for (address, request) in [
        (strict, fields(50, "cookie", "a=b")),
        (lenient, fields(250, "x", "1")),
        (lenient, fields(1, "x", &value)),
    ] {
        let client2 = Client2::connect(address).await;
        let (response, _) = tokio::join!(client2.send(request, ""), backend.answer(OK));
        assert_eq!(response.head.status, 200);
    }
}
