//! Does an endpoint that fails get no more streams, and does it get them again once it works?

mod checks;
mod killed;
mod tunnels;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinHandle,
};

use crate::{
    metrics::{scrape, told},
    support::{NDJSON, Weir, backend::Backend, backend2::Backend2, client::Client, soon},
};

/// For good, as far as a test is concerned.
const LONG: &str = "eject = \"1h\", eject_max = \"24h\"";
/// As short as can be.
const SHORT: &str = "eject = \"100ms\", eject_max = \"100ms\"";

/// A configuration with an upstream of these keys, an admin listener and a route.
fn toml(upstream: &str, route: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\n{upstream}\n[[route]]\nname = \"test\"\nupstream = \"test\"\n{route}\n"
    )
}

/// The keys of an upstream that takes turns over these endpoints.
fn in_turn(endpoints: &[&str], health: &str) -> String {
    format!("endpoints = {endpoints:?}\nbalance = \"round-robin\"\nhealth = {{ {health} }}")
}

fn line(metric: &str, endpoint: &str, label: &str, value: usize) -> String {
    format!("weir_endpoint_{metric}{{upstream=\"test\",endpoint=\"{endpoint}\"{label}}} {value}")
}

fn up(endpoint: &str, is_up: bool) -> String {
    line("up", endpoint, "", usize::from(is_up))
}

fn ejections(endpoint: &str, reason: &str, count: usize) -> String {
    let label = format!(",reason=\"{reason}\"");
    line("ejections_total", endpoint, &label, count)
}

async fn tells(weir: &Weir, line: &str) -> bool {
    scrape(weir).await.lines().any(|told| told == line)
}

/// A port at which nobody listens, and its endpoint.
async fn refusing() -> (SocketAddr, String) {
    let backend = Backend::bind().await;
    (backend.address(), backend.endpoint())
}

/// A server that gives one answer to each request, and counts them.
struct Server {
    endpoint: String,
    asked: Arc<AtomicUsize>,
    /// What it answers.
    status: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on this port; 0 is a free one.
    async fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("a bound port");
        let asked = Arc::<AtomicUsize>::default();
        let status = Arc::new(AtomicU16::new(200));
        let (count, answer) = (Arc::clone(&asked), Arc::clone(&status));
        let task = tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                let (count, answer) = (Arc::clone(&count), Arc::clone(&answer));
                tokio::spawn(async move {
                    if respond(io, &answer).await.is_some() {
                        count.fetch_add(1, Relaxed);
                    }
                });
            }
        });
        Self {
            endpoint: format!("http://{address}"),
            asked,
            status,
            task,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one request and answers it with this status; gives the request's head.
async fn respond(io: impl AsyncRead + AsyncWrite + Unpin, status: &AtomicU16) -> Option<String> {
    let mut io = BufReader::new(io);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if io.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let status = status.load(Relaxed);
    let reply =
        format!("HTTP/1.1 {status} Because\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    io.write_all(reply.as_bytes()).await.ok()?;
    Some(head)
}

/// Asks once, and gives the status.
async fn ask(weir: &Weir) -> u16 {
    let mut client = Client::get(weir.address(), "/", "").await;
    client.head().await.status
}

/// Asks until this line is told; every answer must be 200.
async fn ask_until(weir: &Weir, line: &str) {
    soon(line, async {
        while !tells(weir, line).await {
            assert_eq!(ask(weir).await, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn who_refuses_is_left_out_and_asked_again_once_it_works() {
    let (address, dead) = refusing().await;
    let alive = Server::start(0).await;
    let upstream = in_turn(&[&dead, &alive.endpoint], &format!("failures = 3, {SHORT}"));
    let weir = Weir::start(&toml(&upstream, ""));
    ask_until(&weir, &ejections(&dead, "connect_failed", 1)).await;
    assert!(alive.asked() >= 3, "the other one answered each of them");
    // Tried again, it is found as it was.
    ask_until(&weir, &ejections(&dead, "connect_failed", 3)).await;
    assert!(tells(&weir, &up(&dead, false)).await);
    let back = Server::start(address.port()).await;
    ask_until(&weir, &up(&dead, true)).await;
    let before = back.asked();
    for _ in 0..4 {
        assert_eq!(ask(&weir).await, 200);
    }
    assert_eq!(back.asked(), before + 2, "its turn is every second one");
}

#[tokio::test]
async fn nothing_goes_to_an_ejected_endpoint_before_its_time() {
    let (address, dead) = refusing().await;
    let alive = Server::start(0).await;
    // Five failures are the default.
    let weir = Weir::start(&toml(&in_turn(&[&dead, &alive.endpoint], LONG), ""));
    ask_until(&weir, &up(&dead, false)).await;
    assert_eq!(alive.asked(), 9, "every second one found the dead first");
    let back = Server::start(address.port()).await;
    for _ in 0..10 {
        assert_eq!(ask(&weir).await, 200);
    }
    assert_eq!((alive.asked(), back.asked()), (19, 0));
}

#[tokio::test]
async fn one_stream_at_a_time_tries_what_was_ejected() {
    let (one, two) = (Backend::bind().await, Server::start(0).await);
    let health = "failures = 1, eject = \"100ms\", eject_max = \"1h\"";
    let upstream = in_turn(&[&one.endpoint(), &two.endpoint], health);
    let weir = Weir::start(&toml(&upstream, ""));
    let mut client = Client::get(weir.address(), "/", "").await;
    let busy = "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    one.answer(busy).await;
    assert_eq!(client.head().await.status, 503);
    // Its time is over once a stream goes there; that one is not answered yet.
    let asking = async {
        loop {
            let mut client = Client::get(weir.address(), "/", "").await;
            tokio::select! {
                trial = one.accept() => break (client, trial),
                head = client.head() => assert_eq!(head.status, 200),
            }
        }
    };
    let (mut client, mut trial) = soon("a trial", asking).await;
    trial.request().await;
    for _ in 0..10 {
        assert_eq!(ask(&weir).await, 200);
    }
    assert!(one.is_alone().await);
    trial
        .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .await;
    told(&weir, &[&up(&one.endpoint(), true)]).await;
    assert_eq!(client.head().await.status, 200);
}

#[tokio::test]
async fn where_none_is_up_all_are_asked() {
    let (one, two) = (Server::start(0).await, Server::start(0).await);
    one.status.store(503, Relaxed);
    two.status.store(500, Relaxed);
    let health = format!("failures = 2, {LONG}");
    let upstream = in_turn(&[&one.endpoint, &two.endpoint], &health);
    let weir = Weir::start(&toml(&upstream, ""));
    for _ in 0..4 {
        assert!(ask(&weir).await >= 500);
    }
    for server in [&one, &two] {
        assert_eq!(server.asked(), 2);
        let ejected = ejections(&server.endpoint, "status", 1);
        told(&weir, &[&up(&server.endpoint, false), &ejected]).await;
    }
    for _ in 0..4 {
        assert!(ask(&weir).await >= 500);
    }
    assert_eq!((one.asked(), two.asked()), (4, 4));
    // Whoever answers then is back, long before its time.
    two.status.store(200, Relaxed);
    soon("the second", async { while ask(&weir).await != 200 {} }).await;
    for _ in 0..4 {
        assert_eq!(ask(&weir).await, 200);
    }
    assert!(tells(&weir, &up(&one.endpoint, false)).await);
}

#[tokio::test]
async fn what_is_the_requests_own_fault_ejects_nobody() {
    let server = Server::start(0).await;
    let upstream = in_turn(&[&server.endpoint], &format!("failures = 1, {LONG}"));
    let weir = Weir::start(&toml(&upstream, ""));
    for status in [400, 404, 429, 501, 505] {
        server.status.store(status, Relaxed);
        assert_eq!(ask(&weir).await, status);
    }
    // A body that breaks off.
    let mut client = Client::connect(weir.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n")
        .await;
    client.rest().await;
    assert!(tells(&weir, &up(&server.endpoint, true)).await);
}

/// A fresh backend behind a proxy whose first failure ejects.
async fn strict(route: &str) -> (Backend, Weir) {
    let backend = Backend::bind().await;
    let upstream = in_turn(&[&backend.endpoint()], &format!("failures = 1, {LONG}"));
    let weir = Weir::start(&toml(&upstream, route));
    (backend, weir)
}

#[tokio::test]
async fn who_leaves_before_the_reply_or_does_not_reply_is_ejected() {
    for (reply, reason) in [
        (None, "no_reply"),
        (Some(""), "first_byte_timeout"),
        (Some("SIP/2.0 200 OK\r\n\r\n"), "no_reply"),
    ] {
        let (backend, weir) = strict("timeouts.first_byte = \"300ms\"").await;
        let mut client = Client::get(weir.address(), "/", "").await;
        let mut connection = backend.accept().await;
        connection.request().await;
        match reply {
            None => drop(connection),
            Some(reply) => {
                connection.send(reply).await;
                connection.closed().await;
            }
        }
        assert!(client.head().await.status >= 502);
        let ejected = ejections(&backend.endpoint(), reason, 1);
        told(&weir, &[&up(&backend.endpoint(), false), &ejected]).await;
    }
}

#[tokio::test]
async fn who_cuts_a_stream_midway_is_ejected() {
    for route in ["", "to = \"as-is\""] {
        let (backend, weir) = strict(route).await;
        let mut client = Client::get(weir.address(), "/", "").await;
        let mut upstream = backend.stream(NDJSON).await;
        client.head().await;
        upstream.chunk("1\n").await;
        assert!(client.chunk().await.is_some());
        assert!(tells(&weir, &up(&backend.endpoint(), true)).await);
        drop(upstream);
        let (_, is_complete) = client.rest_or_last_chunk().await;
        assert!(!is_complete);
        let ejected = ejections(&backend.endpoint(), "cut", 1);
        told(&weir, &[&up(&backend.endpoint(), false), &ejected]).await;
    }
}

#[tokio::test]
async fn who_resets_a_stream_over_http2_is_ejected() {
    let backend = Backend2::bind().await;
    let health = format!("failures = 1, {LONG}");
    let upstream = format!("{}\nhttp = \"2\"", in_turn(&[&backend.endpoint()], &health));
    let weir = Weir::start(&toml(&upstream, ""));
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut connection = backend.accept().await;
    let mut stream = connection.request().await;
    stream.reply(200, &[("content-type", NDJSON)]);
    stream.data("1\n");
    client.head().await;
    assert!(client.chunk().await.is_some());
    stream.reset(h2::Reason::INTERNAL_ERROR);
    assert!(!client.rest_or_last_chunk().await.1);
    let ejected = ejections(&backend.endpoint(), "cut", 1);
    told(&weir, &[&up(&backend.endpoint(), false), &ejected]).await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_within_its_reply_ejects_nobody() {
    let backend = Backend2::bind().await;
    let health = format!("failures = 1, {LONG}");
    let upstream = format!("{}\nhttp = \"2\"", in_turn(&[&backend.endpoint()], &health));
    let weir = Weir::start(&toml(&upstream, ""));
    let mut client = Client::connect(weir.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    let mut connection = backend.accept().await;
    let mut stream = connection.request().await;
    stream.reply(200, &[("content-type", NDJSON)]);
    stream.data("1\n");
    client.head().await;
    assert!(client.chunk().await.is_some());
    client.send("x\r\n").await;
    assert_eq!(stream.is_reset().await, h2::Reason::CANCEL);
    let streams = line("streams", &backend.endpoint(), "", 0);
    told(&weir, &[&streams, &up(&backend.endpoint(), true)]).await;
}

#[tokio::test]
async fn streams_that_end_otherwise_eject_nobody() {
    let route = "end.error = { at = \"/error\" }\ntimeouts.idle = \"300ms\"";
    let (backend, weir) = strict(route).await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    // A failure that is told in so many words.
    upstream.chunk("{\"error\":\"model not found\"}\n").await;
    let (body, is_complete) = client.rest_or_last_chunk().await;
    assert!(body.contains("upstream_error") && !is_complete, "{body}");
    // Silence.
    let mut client = Client::get(weir.address(), "/", "").await;
    let _silent = backend.stream(NDJSON).await;
    client.head().await;
    let (body, is_complete) = client.rest_or_last_chunk().await;
    assert!(body.contains("idle_timeout") && !is_complete, "{body}");
    // A client that leaves.
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    drop(client);
    upstream.closed().await;
    let streams = line("streams", &backend.endpoint(), "", 0);
    told(&weir, &[&streams, &up(&backend.endpoint(), true)]).await;
}

#[tokio::test]
async fn endpoints_that_stay_keep_their_health_over_a_reload() {
    let (_, dead) = refusing().await;
    let alive = Server::start(0).await;
    let upstream = |failures: u8| {
        let health = format!("failures = {failures}, {LONG}");
        in_turn(&[&dead, &alive.endpoint], &health)
    };
    let mut weir = Weir::start(&toml(&upstream(1), ""));
    ask_until(&weir, &up(&dead, false)).await;
    let changed = toml(&upstream(1), "event = { name = \"new\" }");
    weir.reload(&changed).await.expect("a new generation");
    told(&weir, &["weir_reloads_total{result=\"done\"} 1"]).await;
    assert!(tells(&weir, &up(&dead, false)).await);
    assert!(tells(&weir, &ejections(&dead, "connect_failed", 1)).await);
    weir.reload(&toml(&upstream(2), "")).await.expect("another");
    told(&weir, &["weir_reloads_total{result=\"done\"} 2"]).await;
    assert!(tells(&weir, &up(&dead, false)).await);
    // Where failures eject nobody any more, nobody stays ejected.
    weir.reload(&toml(&upstream(0), "")).await.expect("a third");
    told(&weir, &[&up(&dead, true)]).await;
}
