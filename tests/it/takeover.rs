//! Does an HTTP/1 connection carry streams and other requests in any order?

use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::{
    NDJSON, Weir,
    backend::{Backend, Connection},
    client::Client,
    proxied, tls,
};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\
                      Transfer-Encoding: chunked\r\n\r\n";

/// Answers the next request of `upstream` with a stream of one record, whole.
async fn answer_stream(upstream: &mut Connection, number: usize) {
    upstream.send(STREAM).await;
    upstream.chunk(format!("{{\"n\":{number}}}\n")).await;
    upstream.end().await;
}

/// Reads a response that is a stream of one event, whole.
async fn expect_stream(client: &mut Client, number: usize) {
    let head = client.head().await;
    assert_eq!(head.line, "HTTP/1.1 200 OK");
    assert_eq!(head.field("content-type"), "text/event-stream");
    assert_eq!(head.field("transfer-encoding"), "chunked");
    assert_eq!(head.field("connection"), "");
    assert!(head.field("date").ends_with("GMT"), "{head:?}");
    assert_eq!(
        client.chunks_to_end().await,
        format!("data: {{\"n\":{number}}}\n\n")
    );
}

/// Streams and short answers in turn, over one connection of the client's.
async fn in_turn(client: &mut Client, backend: &Backend) {
    let get = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    client.send(get).await;
    let mut upstream = backend.accept().await;
    for number in 0..6 {
        upstream.request().await;
        if number % 3 == 2 {
            let short = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            upstream.send(short).await;
            assert_eq!(client.head().await.field("content-length"), "2");
            assert_eq!(client.exactly(2).await, b"ok");
        } else {
            answer_stream(&mut upstream, number).await;
            expect_stream(client, number).await;
        }
        client.send(get).await;
    }
}

#[tokio::test]
async fn streams_and_short_answers_follow_each_other_on_one_connection() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    in_turn(&mut client, &backend).await;
}

#[tokio::test]
async fn they_do_over_tls() {
    let directory = TempDir::new().unwrap();
    let made = tls::certificate(directory.path(), "cert", &["localhost"]);
    let backend = Backend::bind().await;
    let path = directory.path().display();
    let weir = Weir::start(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ certificate = \"{path}/cert.pem\", key = \"{path}/cert.key\" }}\n\
         [upstream.test]\nendpoints = [\"{}\"]\n[[route]]\nname = \"test\"\nupstream = \"test\"\n",
        backend.endpoint()
    ));
    let stream = tls::connect(weir.address(), "localhost", &made, &["http/1.1"]).await;
    let mut client = Client::over(Box::new(stream.unwrap()));
    in_turn(&mut client, &backend).await;
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    let request = |n| format!("POST /{n} HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\n{n}");
    let requests: Vec<String> = (0..5).map(request).collect();
    client.send(requests.concat()).await;
    let mut upstream = backend.accept().await;
    for number in 0..5 {
        let head = upstream.request().await;
        assert!(head.starts_with(&format!("post /{number} ")), "{head}");
        assert_eq!(upstream.read(1).await, number.to_string().as_bytes());
        answer_stream(&mut upstream, number).await;
        expect_stream(&mut client, number).await;
    }
}

#[tokio::test]
async fn bodies_of_every_kind_come_before_the_stream() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    let post = "POST / HTTP/1.1\r\nHost: test\r\n";
    client
        .send(format!("{post}Transfer-Encoding: chunked\r\n\r\n"))
        .await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    client.send("3\r\nabc\r\n0\r\n\r\n").await;
    assert_eq!(upstream.read_chunks().await, (b"abc".to_vec(), true));
    answer_stream(&mut upstream, 0).await;
    expect_stream(&mut client, 0).await;
    client
        .send(format!(
            "{post}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        ))
        .await;
    upstream.request().await;
    let interim = client.until("\r\n\r\n").await;
    assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello").await;
    assert_eq!(upstream.read(5).await, b"hello");
    answer_stream(&mut upstream, 1).await;
    expect_stream(&mut client, 1).await;
}

#[tokio::test]
async fn a_client_that_asks_for_the_close_gets_it_after_the_stream() {
    let event = "data: {\"n\":7}\n\n";
    for (request, is_chunked) in [
        (
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
            true,
        ),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false),
    ] {
        let (backend, weir) = proxied("").await;
        let mut client = Client::connect(weir.address()).await;
        client.send(request).await;
        let mut upstream = backend.stream(NDJSON).await;
        upstream.chunk("{\"n\":7}\n").await;
        upstream.end().await;
        let response = client.rest().await;
        assert!(response.contains("connection: close\r\n"), "{response}");
        let body = response.split_once("\r\n\r\n").unwrap().1;
        // Whether the event comes with the end depends on the reads.
        assert!(
            body.ends_with(if is_chunked { "\r\n0\r\n\r\n" } else { event }),
            "{body:?}"
        );
        assert!(body.contains(event), "{body:?}");
        assert_eq!(is_chunked, body != event);
    }
}

#[tokio::test]
async fn a_body_longer_than_every_buffer_comes_whole_to_a_slow_reader() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    let sending = tokio::spawn(async move {
        for number in 0..200_000_u32 {
            upstream.chunk(format!("{{\"n\":{number}}}\n")).await;
        }
        upstream.end().await;
    });
    assert_eq!(client.head().await.status, 200);
    let body = client.chunks_to_end().await;
    let event = |number| format!("data: {{\"n\":{number}}}\n\n");
    let expected: Vec<String> = (0..200_000).map(event).collect();
    assert!(body == expected.concat(), "{} bytes", body.len());
    sending.await.unwrap();
}

/// Chromium throws away what it has received and not yet looked at when a message ends incomplete: it had not looked
/// at a `stream-error` on a busy machine.
#[tokio::test]
async fn a_cut_leaves_the_client_a_second_for_the_last_words() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    upstream.chunk("1\n").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
    drop(upstream);
    let told = client.chunks_until("upstream_truncated").await;
    let told_at = Instant::now();
    assert!(told.contains("event: stream-error\n"), "{told}");
    assert_eq!(client.rest().await, "", "no last chunk");
    let seconds = told_at.elapsed().as_secs_f64();
    assert!(seconds > 0.9, "closed after {seconds} s");
}
