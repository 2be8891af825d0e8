//! Does a request's body reach the upstream as it comes, whatever the reply does meanwhile?

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    backend::{Backend, Connection},
    client::Client,
    client2::Client2,
    noise, proxied, soon,
};

/// More than all buffers on the way hold together.
const MANY_BYTES: usize = 24 * 1024 * 1024;

/// The backend answers with `ok`, and the client gets it.
async fn answer_ok(upstream: &mut Connection, client: &mut Client) {
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.exactly(2).await, b"ok");
}

#[tokio::test]
async fn a_body_of_known_length_flows_before_it_is_whole() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    let mut upstream = backend.accept().await;
    let request = upstream.request().await;
    assert!(request.contains("\r\ncontent-length: 10\r\n"), "{request}");
    assert!(!request.contains("transfer-encoding"), "{request}");
    assert_eq!(upstream.read(5).await, b"hello");
    client.send("world").await;
    assert_eq!(upstream.read(5).await, b"world");
    answer_ok(&mut upstream, &mut client).await;
}

#[tokio::test]
async fn a_chunked_body_flows_before_it_is_whole_also_with_get() {
    let (backend, weir) = proxied("").await;
    for method in ["POST", "GET", "DELETE"] {
        let mut client = Client::connect(weir.address()).await;
        let head = "Host: test\r\nTransfer-Encoding: chunked\r\n\r\n";
        client
            .send(format!("{method} / HTTP/1.1\r\n{head}5;ext=1\r\nhello\r\n"))
            .await;
        let mut upstream = backend.accept().await;
        let request = upstream.request().await;
        assert!(
            request.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{request}"
        );
        assert!(!request.contains("content-length"), "{request}");
        assert_eq!(
            upstream.read_chunk().await.as_deref(),
            Some(&b"hello"[..]),
            "{method}"
        );
        client.send("6\r\n world\r\n").await;
        assert_eq!(
            upstream.read_chunk().await.as_deref(),
            Some(&b" world"[..]),
            "{method}"
        );
        client.send("0\r\n\r\n").await;
        assert_eq!(upstream.read_chunk().await, None);
        upstream.read(2).await;
        upstream
            .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(client.head().await.status, 200);
        upstream.closed().await;
    }
}

/// Begins a request over HTTP/2 whose body is to be sent.
async fn begin(client: &Client2, method: &str) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    let mut sender = client.sender().ready().await.expect("an open connection");
    let request = Request::builder().method(method).uri("http://test/");
    sender
        .send_request(request.body(()).expect("a request"), false)
        .expect("a request")
}

#[tokio::test]
async fn a_body_over_http2_flows_before_it_is_whole() {
    let (backend, weir) = proxied("").await;
    let client = Client2::connect(weir.address()).await;
    for method in ["POST", "GET"] {
        let (response, mut body) = begin(&client, method).await;
        body.send_data("hello".into(), false)
            .expect("an open stream");
        let mut upstream = backend.accept().await;
        let request = upstream.request().await;
        assert!(
            request.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{request}"
        );
        assert_eq!(upstream.read_chunk().await.as_deref(), Some(&b"hello"[..]));
        body.send_data(" world".into(), true)
            .expect("an open stream");
        assert_eq!(upstream.read_chunk().await.as_deref(), Some(&b" world"[..]));
        assert_eq!(upstream.read_chunk().await, None);
        upstream.read(2).await;
        upstream
            .send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .await;
        let response = soon("a response", response).await.expect("a response");
        assert_eq!(response.status(), 204);
    }
}

/// Reads a request and gives its body back while it comes, however slowly that is taken.
async fn echo(upstream: Connection) {
    let (mut read, mut write) = upstream.split();
    write
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-bytes\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .expect("an open connection");
    // The bytes of the chunks' framing are given back, too: the echo needs none of its own.
    let (sender, mut queue) = tokio::sync::mpsc::channel::<Vec<u8>>(1 << 20);
    let take = async move {
        let mut last = Vec::new();
        while !last.ends_with(b"0\r\n\r\n") {
            let mut bytes = vec![0; 64 * 1024];
            let length = read.read(&mut bytes).await.expect("an open connection");
            assert!(length > 0, "the proxy closed inside the body");
            bytes.truncate(length);
            last.extend_from_slice(&bytes);
            last.drain(..last.len().saturating_sub(5));
            sender.send(bytes).await.expect("a queue");
        }
    };
    let give = async move {
        while let Some(bytes) = queue.recv().await {
            write.write_all(&bytes).await.expect("an open connection");
        }
    };
    tokio::join!(take, give);
}

/// Sends a chunked body over HTTP/1.1.
async fn upload(write: &mut (impl AsyncWrite + Unpin), body: &[u8]) {
    write
        .write_all(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .expect("an open connection");
    for piece in body.chunks(100_000) {
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        write.write_all(&chunk).await.expect("an open connection");
    }
    write
        .write_all(b"0\r\n\r\n")
        .await
        .expect("an open connection");
}

async fn download(read: impl crate::support::client::Duplex + 'static) -> Vec<u8> {
    let mut client = Client::over(Box::new(read));
    assert_eq!(client.head().await.status, 200);
    client.bytes_to_last_chunk().await
}

#[tokio::test]
async fn both_directions_flow_at_once_over_http1() {
    let (backend, weir) = proxied("").await;
    let body = noise(MANY_BYTES);
    let stream = TcpStream::connect(weir.address())
        .await
        .expect("the proxy listens");
    let (read, mut write) = stream.into_split();
    let exchange = async {
        tokio::join!(
            upload(&mut write, &body),
            download(tokio::io::join(read, tokio::io::sink())),
            async { echo(take_head(&backend).await).await },
        )
    };
    let ((), echoed, ()) = soon("the echo", exchange).await;
    assert!(echoed == body);
}

/// Accepts a connection and reads its request's head.
async fn take_head(backend: &Backend) -> Connection {
    let mut upstream = backend.accept().await;
    upstream.request().await;
    upstream
}

#[tokio::test]
async fn an_upload_goes_on_while_its_reply_is_not_read_over_http1() {
    let (backend, weir) = proxied("").await;
    let body = noise(MANY_BYTES);
    let stream = TcpStream::connect(weir.address())
        .await
        .expect("the proxy listens");
    let (read, mut write) = stream.into_split();
    let client = async {
        upload(&mut write, &body).await;
        download(tokio::io::join(read, tokio::io::sink())).await
    };
    let exchange = async { tokio::join!(client, async { echo(take_head(&backend).await).await }) };
    let (echoed, ()) = soon("the echo", exchange).await;
    assert!(echoed == body);
}

/// Sends a body over HTTP/2 as its window opens.
async fn upload2(mut stream: SendStream<Bytes>, body: &[u8]) {
    let mut rest = Bytes::copy_from_slice(body);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let granted = granted.expect("an open stream").expect("an open stream");
        stream
            .send_data(rest.split_to(granted), false)
            .expect("an open stream");
    }
    stream
        .send_data(Bytes::new(), true)
        .expect("an open stream");
}

async fn download2(response: h2::client::ResponseFuture) -> Vec<u8> {
    let (head, mut body) = response.await.expect("a response").into_parts();
    assert_eq!(head.status, 200);
    let mut read = Vec::new();
    while let Some(data) = next_data(&mut body).await {
        read.extend_from_slice(&data);
    }
    read
}

async fn next_data(body: &mut RecvStream) -> Option<Bytes> {
    loop {
        let data = soon("a DATA frame", body.data())
            .await?
            .expect("a whole response");
        body.flow_control()
            .release_capacity(data.len())
            .expect("an open stream");
        if !data.is_empty() {
            return Some(data);
        }
    }
}

#[tokio::test]
async fn both_directions_flow_at_once_over_http2() {
    let (backend, weir) = proxied("").await;
    let body = noise(MANY_BYTES);
    let client = Client2::connect(weir.address()).await;
    let (response, stream) = begin(&client, "POST").await;
    let exchange = async {
        tokio::join!(upload2(stream, &body), download2(response), async {
            echo(take_head(&backend).await).await;
        },)
    };
    let ((), echoed, ()) = soon("the echo", exchange).await;
    assert!(echoed == body);
}

#[tokio::test]
async fn an_upload_goes_on_while_its_reply_is_not_read_over_http2() {
    let (backend, weir) = proxied("").await;
    let body = noise(MANY_BYTES);
    let client = Client2::connect(weir.address()).await;
    let (response, stream) = begin(&client, "POST").await;
    let client = async {
        upload2(stream, &body).await;
        download2(response).await
    };
    let exchange = async { tokio::join!(client, async { echo(take_head(&backend).await).await }) };
    let (echoed, ()) = soon("the echo", exchange).await;
    assert!(echoed == body);
}

#[tokio::test]
async fn a_client_that_leaves_inside_its_body_is_not_taken_for_done() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    let mut upstream = take_head(&backend).await;
    drop(client);
    assert_eq!(upstream.read_chunks().await, (b"hello".to_vec(), false));
    let client = Client2::connect(weir.address()).await;
    let (response, mut stream) = begin(&client, "POST").await;
    stream
        .send_data("hello".into(), false)
        .expect("an open stream");
    let mut upstream = take_head(&backend).await;
    stream.send_reset(Reason::CANCEL);
    drop(response);
    assert_eq!(upstream.read_chunks().await, (b"hello".to_vec(), false));
}

const TOO_LARGE: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch";

#[tokio::test]
async fn an_early_reply_comes_whole_over_http1_although_the_body_still_comes() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4000000\r\n\r\n")
        .await;
    let mut upstream = take_head(&backend).await;
    upstream.send(TOO_LARGE).await;
    drop(upstream);
    assert_eq!(client.head().await.status, 413);
    // A client that reads only after it has sent everything must not be cut for that.
    client.send(noise(4_000_000)).await;
    assert_eq!(client.exactly(4).await, b"much");
}

#[tokio::test]
async fn an_early_reply_comes_whole_over_http2_and_the_upload_is_not_cancelled() {
    let (backend, weir) = proxied("").await;
    let client = Client2::connect(weir.address()).await;
    let (response, mut stream) = begin(&client, "POST").await;
    stream
        .send_data("the start".into(), false)
        .expect("an open stream");
    let mut upstream = take_head(&backend).await;
    upstream.send(TOO_LARGE).await;
    let (head, mut body) = soon("a response", response)
        .await
        .expect("a response")
        .into_parts();
    assert_eq!(head.status, 413);
    assert_eq!(next_data(&mut body).await.as_deref(), Some(&b"much"[..]));
    assert_eq!(next_data(&mut body).await, None);
    let reset = std::future::poll_fn(|cx| stream.poll_reset(cx));
    let reason = soon("the word to stop", reset)
        .await
        .expect("an open connection");
    assert_eq!(reason, Reason::NO_ERROR);
    // The connection goes on.
    let (response, _) = tokio::join!(client.get("/next"), backend.answer(TOO_LARGE));
    assert_eq!(response.head.status, 413);
}

#[tokio::test]
async fn an_expectation_is_met_when_the_body_is_wanted_and_not_passed_on() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    let head = "Host: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.send(format!("POST / HTTP/1.1\r\n{head}")).await;
    let mut upstream = backend.accept().await;
    let request = upstream.request().await;
    assert!(!request.contains("expect"), "{request}");
    assert_eq!(
        client.until("\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.send("hello").await;
    assert_eq!(upstream.read(5).await, b"hello");
    answer_ok(&mut upstream, &mut client).await;
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_not_asked_for() {
    let (_backend, weir) = proxied("path = \"/here\"").await;
    let mut client = Client::connect(weir.address()).await;
    let head = "Host: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client
        .send(format!("POST /elsewhere HTTP/1.1\r\n{head}"))
        .await;
    assert_eq!(client.head().await.status, 404);
    let rest = client.rest().await;
    assert!(!rest.contains("100 Continue"), "{rest}");
    // HTTP/1.0 knows no 100 (RFC 9110 §10.1.1).
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    client.send(format!("POST / HTTP/1.0\r\n{head}hello")).await;
    let mut upstream = take_head(&backend).await;
    assert_eq!(upstream.read(5).await, b"hello");
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status, 200);
}
