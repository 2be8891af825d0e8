//! Do endpoints come, go and fill up without a stream being touched?

use crate::{
    metrics::told,
    support::{
        NDJSON, Weir,
        backend::{Backend, Connection},
        client::Client,
        dns::Dns,
        soon,
    },
};

/// A configuration with an admin listener, this upstream, and a route with these keys.
fn config(upstream: &str, route: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\n{upstream}\n\
         [[route]]\nname = \"test\"\nupstream = \"test\"\n{route}\n"
    )
}

/// A proxy with two threads, this upstream, and a route with these keys.
fn start(upstream: &str, route: &str) -> Weir {
    Weir::start_at(&config(upstream, route), "threads = 2\ndrain = \"20s\"")
}

async fn queued(weir: &Weir, count: usize) {
    let line = format!("weir_upstream_queued{{upstream=\"test\"}} {count}");
    told(weir, &[&line]).await;
}

/// Waits until so many requests have waited.
async fn waited(weir: &Weir, count: usize) {
    let line = format!("weir_queue_seconds_count{{upstream=\"test\"}} {count}");
    told(weir, &[&line]).await;
}

/// Answers one request and closes.
async fn serve(backend: &Backend) {
    let mut upstream = backend
        .answer("HTTP/1.1 200 OK\r\nConnection: close\r\n")
        .await;
    upstream.send("Content-Length: 0\r\n\r\n").await;
}

/// Opens a stream at that endpoint, which must be the next.
async fn open(weir: &Weir, backend: &Backend) -> (Client, Connection) {
    let mut client = Client::get(weir.address(), "/", "").await;
    let upstream = backend.stream(NDJSON).await;
    assert_eq!(client.head().await.status, 200);
    (client, upstream)
}

/// Whether the stream goes on.
async fn flows((client, upstream): &mut (Client, Connection)) {
    upstream.chunk("1\n").await;
    assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
}

/// The keys of an upstream whose endpoint has a name that this server knows.
fn named(backend: &Backend, dns: &Dns, keys: &str) -> String {
    format!(
        "endpoints = [\"http://chat.test:{}\"]\ndns.server = \"{}\"\ndns.min_ttl = \"100ms\"\n{keys}",
        backend.address().port(),
        dns.address
    )
}

#[tokio::test]
async fn addresses_come_and_go_and_open_streams_stay() {
    let backends = Backend::bind_each(&["127.0.0.1", "127.0.0.2"]).await;
    let (one, two) = (&backends[0], &backends[1]);
    let dns = Dns::bind().await;
    dns.addresses("chat.test", 0, &["127.0.0.1"]);
    let weir = start(&named(one, &dns, "dns.mode = \"each\""), "");
    let mut first = open(&weir, one).await;

    dns.addresses("chat.test", 0, &["127.0.0.1", "127.0.0.2", "::1"]);
    dns.taken_in("chat.test").await;
    // The new one has none, and there is none for the address of the other family.
    let mut second = open(&weir, two).await;
    let endpoint = format!("http://chat.test:{} (127.0.0.2)", one.address().port());
    let line = format!("weir_endpoint_streams{{upstream=\"test\",endpoint=\"{endpoint}\"}} 1");
    told(&weir, &[&line]).await;

    dns.addresses("chat.test", 0, &["127.0.0.2"]);
    dns.taken_in("chat.test").await;
    let mut third = open(&weir, two).await;
    let mut fourth = open(&weir, two).await;

    // What was found last stays, whether the server fails or has forgotten the name.
    dns.fail(true);
    dns.taken_in("chat.test").await;
    let mut fifth = open(&weir, two).await;
    assert!(one.is_alone().await);
    for stream in [&mut first, &mut second, &mut third, &mut fourth, &mut fifth] {
        flows(stream).await;
    }
}

#[tokio::test]
async fn a_name_is_asked_for_again_when_its_time_is_over_and_not_before() {
    let backends = Backend::bind_each(&["127.0.0.1", "127.0.0.2"]).await;
    let (one, two) = (&backends[0], &backends[1]);
    for (ttl, max_ttl, is_followed) in [
        (0, "24h", true),
        (9999, "100ms", true),
        (9999, "24h", false),
    ] {
        let dns = Dns::bind().await;
        dns.addresses("chat.test", ttl, &["127.0.0.1"]);
        let keys = format!("dns.mode = \"each\"\ndns.max_ttl = \"{max_ttl}\"");
        let weir = start(&named(one, &dns, &keys), "");
        let _first = open(&weir, one).await;
        dns.addresses("chat.test", ttl, &["127.0.0.2"]);
        if is_followed {
            dns.taken_in("chat.test").await;
            let _second = open(&weir, two).await;
        } else {
            let _second = open(&weir, one).await;
            assert_eq!(dns.asked("chat.test"), 1);
        }
    }
}

#[tokio::test]
async fn a_host_that_moves_is_found_although_its_time_is_not_over() {
    let mut backends = Backend::bind_each(&["127.0.0.1", "127.0.0.2"]).await;
    let (two, one) = (backends.pop().unwrap(), backends.pop().unwrap());
    let dns = Dns::bind().await;
    // Nobody listens at the address of the other family.
    dns.addresses("chat.test", 9999, &["::1", "127.0.0.1"]);
    let weir = start(&named(&two, &dns, "dns.max_ttl = \"24h\""), "");
    let mut stream = open(&weir, &one).await;
    let endpoint = format!("http://chat.test:{}", two.address().port());
    let line = format!("weir_endpoint_streams{{upstream=\"test\",endpoint=\"{endpoint}\"}} 1");
    told(&weir, &[&line]).await;
    drop(one);
    dns.addresses("chat.test", 9999, &["127.0.0.2"]);
    let ask = async {
        loop {
            let mut client = Client::get(weir.address(), "/", "").await;
            match client.head().await.status {
                200 => break,
                status => assert_eq!(status, 502),
            }
        }
    };
    tokio::select! {
        () = soon("the new address", ask) => {}
        () = async { loop { serve(&two).await } } => {}
    }
    flows(&mut stream).await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told_until_somebody_does() {
    let backend = Backend::bind().await;
    for mode in ["name", "each"] {
        let dns = Dns::bind().await;
        let keys = format!("dns.mode = \"{mode}\"");
        let weir = start(&named(&backend, &dns, &keys), "");
        let mut client = Client::get(weir.address(), "/", "").await;
        let head = client.head().await;
        assert_eq!(head.status, 502, "{mode}");
        assert_eq!(head.field("proxy-status"), "weir; error=dns_error");
        dns.addresses("chat.test", 9999, &["127.0.0.1"]);
        let ask = async {
            loop {
                let mut client = Client::get(weir.address(), "/", "").await;
                if client.head().await.status == 200 {
                    break;
                }
            }
        };
        tokio::join!(soon("the name", ask), serve(&backend));
    }
}

#[tokio::test]
async fn services_say_ports_weights_and_priorities() {
    let (one, two, three) = (
        Backend::bind().await,
        Backend::bind().await,
        Backend::bind().await,
    );
    let dns = Dns::bind().await;
    let service = "_http._tcp.chat.test";
    let port = |backend: &Backend| backend.address().port();
    let places = [
        (10, 3, port(&one), "one.test"),
        (10, 1, port(&two), "two.test"),
        (20, 9, port(&three), "three.test"),
    ];
    dns.service(service, 0, &places);
    for host in ["one.test", "two.test", "three.test"] {
        dns.addresses(host, 0, &["127.0.0.1"]);
    }
    let upstream = format!(
        "endpoints = [\"srv+http://{service}\"]\nbalance = \"round-robin\"\n\
         dns.server = \"{}\"\ndns.min_ttl = \"100ms\"",
        dns.address
    );
    let weir = start(&upstream, "");
    let mut counts = [0_i32; 3];
    let ask = async |counts: &mut [i32; 3]| {
        let mut client = Client::get(weir.address(), "/", "").await;
        let index = tokio::select! {
            () = serve(&one) => 0,
            () = serve(&two) => 1,
            () = serve(&three) => 2,
        };
        counts[index] += 1;
        assert_eq!(client.head().await.status, 200);
    };
    for _ in 0..40 {
        ask(&mut counts).await;
    }
    assert!((counts[0] - 30).abs() <= 2 && counts[2] == 0, "{counts:?}");
    // The next priority is for when the first is gone, and the label is the host's.
    dns.service(service, 0, &places[2..]);
    dns.taken_in(service).await;
    let mut counts = [0; 3];
    for _ in 0..3 {
        ask(&mut counts).await;
    }
    assert_eq!(counts, [0, 0, 3]);
    let endpoint = format!("http://three.test:{}", port(&three));
    let line = format!("weir_endpoint_streams{{upstream=\"test\",endpoint=\"{endpoint}\"}} 0");
    told(&weir, &[&line]).await;
}

#[tokio::test]
async fn a_later_priority_stands_in_for_one_that_cannot_be_connected_to() {
    let (first, second) = (Backend::bind().await, Backend::bind().await);
    let dns = Dns::bind().await;
    let port = |backend: &Backend| backend.address().port();
    let places = [
        (1, 0, port(&first), "first.test"),
        (2, 0, port(&second), "second.test"),
    ];
    dns.service("chat.test", 9999, &places);
    dns.addresses("first.test", 9999, &["127.0.0.1"]);
    dns.addresses("second.test", 9999, &["127.0.0.1"]);
    let upstream = format!(
        "endpoints = [\"srv+http://chat.test\"]\ndns.server = \"{}\"",
        dns.address
    );
    let weir = start(&upstream, "");
    for _ in 0..3 {
        let _stream = open(&weir, &first).await;
    }
    drop(first);
    let _stream = open(&weir, &second).await;
}

#[tokio::test]
async fn streams_are_as_many_as_the_weights_say() {
    let (one, two) = (Backend::bind().await, Backend::bind().await);
    let upstream = format!(
        "endpoints = [{{ url = \"{}\", weight = 3 }}, \"{}\"]",
        one.endpoint(),
        two.endpoint()
    );
    let weir = start(&upstream, "");
    let mut streams = Vec::new();
    let mut counts = [0, 0];
    for _ in 0..8 {
        let mut client = Client::get(weir.address(), "/", "").await;
        let (index, upstream) = tokio::select! {
            upstream = one.stream(NDJSON) => (0, upstream),
            upstream = two.stream(NDJSON) => (1, upstream),
        };
        counts[index] += 1;
        client.head().await;
        streams.push((client, upstream));
    }
    assert_eq!(counts, [6, 2]);
}

/// The path that the next request at this endpoint asks for; it is answered and closed.
async fn next_path(backend: &Backend) -> String {
    let mut upstream = backend.accept().await;
    let head = upstream.request().await;
    upstream
        .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        .await;
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn who_finds_every_endpoint_full_waits_in_line() {
    let backend = Backend::bind().await;
    let upstream = format!(
        "endpoints = [\"{}\"]\nmax_streams = 1\nqueue = {{ size = 3, timeout = \"1h\" }}",
        backend.endpoint()
    );
    let weir = start(&upstream, "");
    let mut first = Client::get(weir.address(), "/0", "").await;
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n";
    let mut stream = backend.answer(head).await;
    assert_eq!(first.head().await.status, 200);
    let mut waiting = Vec::new();
    for number in 1..=3 {
        let path = format!("/{number}");
        waiting.push(Client::get(weir.address(), &path, "").await);
        queued(&weir, number).await;
    }
    let mut refused = Client::get(weir.address(), "/4", "").await;
    let head = refused.head().await;
    assert_eq!(head.status, 503);
    assert_eq!(
        head.field("proxy-status"),
        "weir; error=connection_limit_reached"
    );
    assert_eq!(head.field("retry-after"), "5");
    waited(&weir, 0).await;
    // Who leaves does not take a place from anybody.
    drop(waiting.remove(1));
    queued(&weir, 2).await;
    waited(&weir, 1).await;
    assert!(backend.is_alone().await);
    stream.send("ok").await;
    assert_eq!(first.exactly(2).await, b"ok");
    for (client, path) in waiting.iter_mut().zip(["/1", "/3"]) {
        assert_eq!(next_path(&backend).await, path);
        assert_eq!(client.head().await.status, 200);
    }
    queued(&weir, 0).await;
    waited(&weir, 3).await;
}

#[tokio::test]
async fn nobody_waits_longer_than_the_queue_allows_and_heartbeats_go_on() {
    let backend = Backend::bind().await;
    let upstream = |queue: &str| {
        format!(
            "endpoints = [{{ url = \"{}\", max_streams = 1 }}]\nqueue = {{ {queue} }}",
            backend.endpoint()
        )
    };
    for queue in ["timeout = \"100ms\"", "size = 0"] {
        let weir = start(&upstream(queue), "");
        let _stream = open(&weir, &backend).await;
        let mut client = Client::get(weir.address(), "/", "").await;
        assert_eq!(client.head().await.status, 503, "{queue}");
        queued(&weir, 0).await;
        // Who finds the queue full has not waited.
        waited(&weir, usize::from(queue != "size = 0")).await;
    }
    let route = "heartbeat = { every = \"1s\", before_reply = \"100ms\" }";
    let weir = start(&upstream("timeout = \"1h\""), route);
    let (client, upstream) = open(&weir, &backend).await;
    let mut waiting = Client::get(weir.address(), "/", "").await;
    assert_eq!(waiting.head().await.status, 200);
    for _ in 0..2 {
        assert_eq!(waiting.chunk().await.as_deref(), Some(":\n"));
    }
    queued(&weir, 1).await;
    drop(client);
    let mut stream = (waiting, backend.stream(NDJSON).await);
    flows(&mut stream).await;
    drop(upstream);
}

#[tokio::test]
async fn a_reload_keeps_loads_connections_and_who_waits() {
    let (one, two) = (Backend::bind().await, Backend::bind().await);
    let upstream = |endpoints: &[(&Backend, usize)], keys: &str| {
        let endpoint = |(backend, most): &(&Backend, usize)| {
            format!(
                "{{ url = \"{}\", max_streams = {most} }}",
                backend.endpoint()
            )
        };
        let endpoints: Vec<String> = endpoints.iter().map(endpoint).collect();
        config(
            &format!("endpoints = [{}]\n{keys}", endpoints.join(", ")),
            "",
        )
    };
    let mut weir = Weir::start(&upstream(&[(&one, 2)], ""));
    // One stream stays, and another one's connection is kept.
    let mut stays = open(&weir, &one).await;
    let (mut client, mut kept) = open(&weir, &one).await;
    kept.end().await;
    assert_eq!(client.chunk().await, None);

    let next = upstream(&[(&one, 2), (&two, 1)], "connect_timeout = \"4s\"");
    weir.reload(&next).await.unwrap();
    // The load of the one that stays is known, so the other has its turn first, whoever has the old view.
    let mut second = open(&weir, &two).await;
    let mut third = Client::get(weir.address(), "/", "").await;
    kept.request().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
    kept.send(head).await;
    assert_eq!(third.head().await.status, 200);
    assert!(one.is_alone().await, "the kept connection was used");
    let mut third = (third, kept);

    // Less room than there are streams: who comes now waits, until there is a new endpoint.
    let full = upstream(&[(&one, 1), (&two, 1)], "");
    weir.reload(&full).await.unwrap();
    let waiting = Client::get(weir.address(), "/", "").await;
    queued(&weir, 1).await;
    let more = Backend::bind().await;
    let relief = upstream(&[(&one, 1), (&two, 1), (&more, 1)], "");
    weir.reload(&relief).await.unwrap();
    let upstream_fourth = more.stream(NDJSON).await;
    let mut fourth = (waiting, upstream_fourth);
    assert_eq!(fourth.0.head().await.status, 200);
    queued(&weir, 0).await;
    for stream in [&mut stays, &mut second, &mut third, &mut fourth] {
        flows(stream).await;
    }
}

#[tokio::test]
async fn who_waits_when_a_drain_begins_gets_the_next_place() {
    let backend = Backend::bind().await;
    let upstream = format!("endpoints = [\"{}\"]\nmax_streams = 1", backend.endpoint());
    let weir = start(&upstream, "");
    let mut first = Client::get(weir.address(), "/", "").await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";
    let mut upstream = backend.answer(head).await;
    first.head().await;
    let mut waiting = Client::get(weir.address(), "/waiting", "").await;
    queued(&weir, 1).await;
    weir.stop();
    upstream.send("ok").await;
    assert_eq!(first.exactly(2).await, b"ok");
    assert_eq!(next_path(&backend).await, "/waiting");
    assert_eq!(waiting.head().await.status, 200);
    weir.ended().await;
}
