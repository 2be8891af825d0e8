//! Do trailers cross the proxy, both ways and between all versions?

use bytes::Bytes;
use http::{HeaderMap, Request, header};

use crate::support::{
    backend2::{Backend2, Stream2},
    client::Client,
    client2::Client2,
    proxied, proxied2, soon,
};

#[tokio::test]
async fn announced_trailers_of_a_request_reach_an_http1_upstream() {
    let (backend, weir) = proxied("").await;
    let mut client = Client::connect(weir.address()).await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: test\r\nTrailer: X-Digest\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Digest: abc\r\nX-Not-Announced: 1\r\n\r\n",
        )
        .await;
    let mut upstream = backend.accept().await;
    let request = upstream.request().await;
    assert!(request.contains("\r\ntrailer: x-digest\r\n"), "{request}");
    assert_eq!(upstream.read_chunk().await.as_deref(), Some(&b"hi"[..]));
    assert_eq!(upstream.read_chunk().await, None);
    let trailers = upstream.request().await;
    assert_eq!(trailers, "x-digest: abc\r\n\r\n");
}

/// The request to send for trailers, over HTTP/1.1.
const ASK: &str = "TE: trailers\r\nConnection: TE\r\n";

#[tokio::test]
async fn trailers_of_a_reply_reach_an_http1_client_that_asked_for_them() {
    let (backend, weir) = proxied("").await;
    for (fields, expected) in [
        (ASK, "2\r\nhi\r\n0\r\nx-digest: abc\r\n\r\n"),
        ("", "2\r\nhi\r\n0\r\n\r\n"),
    ] {
        let fields = format!("{fields}Connection: close\r\n");
        let mut client = Client::get(weir.address(), "/", &fields).await;
        let mut upstream = backend.accept().await;
        let request = upstream.request().await;
        assert_eq!(
            request.contains("\r\nte: trailers\r\n"),
            expected.contains("x-digest")
        );
        // What is said to the upstream is ours, and complete (RFC 9110 §10.1.4).
        assert_eq!(
            request.contains("\r\nconnection: te\r\n"),
            expected.contains("x-digest"),
            "{request}"
        );
        assert!(!request.contains("connection: close"), "{request}");
        upstream
            .send(
                "HTTP/1.1 200 OK\r\nTrailer: X-Digest\r\nConnection: close\r\n\
                 Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Digest: abc\r\n\r\n",
            )
            .await;
        assert_eq!(client.head().await.field("trailer"), "X-Digest");
        assert_eq!(client.rest().await, expected);
    }
}

/// What one gRPC call sends and receives, message by message.
async fn call(client: &Client2, upstream: impl AsyncFn(Stream2), backend: &Backend2) {
    let mut sender = client.sender().ready().await.expect("an open connection");
    let request = Request::post("http://test/echo.Echo/Say")
        .header(header::TE, "trailers")
        .header(header::CONTENT_TYPE, "application/grpc");
    let (response, mut stream) = sender
        .send_request(request.body(()).expect("a request"), false)
        .expect("a request");
    let exchange = async {
        stream
            .send_data("ping".into(), false)
            .expect("an open stream");
        let response = soon("a response", response).await.expect("a response");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc");
        let mut body = response.into_body();
        assert_eq!(next(&mut body).await, "ping");
        stream
            .send_data("pong".into(), false)
            .expect("an open stream");
        assert_eq!(next(&mut body).await, "pong");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-count", "2".parse().expect("a value"));
        stream.send_trailers(trailers).expect("an open stream");
        assert!(soon("the end", body.data()).await.is_none());
        let trailers = soon("trailers", body.trailers())
            .await
            .expect("an open stream");
        let trailers = trailers.expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["grpc-message"], "");
        assert!(!trailers.contains_key("connection"), "{trailers:?}");
    };
    let serve = async {
        let mut connection = backend.accept().await;
        upstream(connection.request().await).await;
    };
    tokio::join!(exchange, serve);
}

async fn next(body: &mut h2::RecvStream) -> Bytes {
    loop {
        let data = soon("a message", body.data())
            .await
            .expect("a message")
            .expect("a message");
        body.flow_control()
            .release_capacity(data.len())
            .expect("an open stream");
        if !data.is_empty() {
            return data;
        }
    }
}

#[tokio::test]
async fn a_grpc_call_flows_both_ways_and_ends_with_its_status() {
    let (backend, weir) = proxied2("").await;
    let client = Client2::connect(weir.address()).await;
    let serve = async |mut upstream: Stream2| {
        assert_eq!(upstream.head.headers[header::TE], "trailers");
        assert_eq!(upstream.head.uri, "http://test/echo.Echo/Say");
        upstream.reply(200, &[("content-type", "application/grpc")]);
        for message in ["ping", "pong"] {
            assert_eq!(upstream.read().await, Some(Ok(message.into())));
            upstream.data(message);
        }
        assert_eq!(upstream.read().await, None);
        let trailers = upstream.read_trailers().await.expect("trailers");
        assert_eq!(trailers["x-count"], "2");
        upstream.trailers(&[("grpc-status", "0"), ("grpc-message", "")]);
    };
    call(&client, serve, &backend).await;
}

#[tokio::test]
async fn a_grpc_error_without_a_body_stays_one() {
    let (backend, weir) = proxied2("").await;
    let client = Client2::connect(weir.address()).await;
    let serve = async {
        let mut connection = backend.accept().await;
        let mut upstream = connection.request().await;
        let fields = [("content-type", "application/grpc"), ("grpc-status", "12")];
        upstream.reply_bare(200, &fields);
        connection
    };
    let (mut response, _connection) = tokio::join!(client.get("/"), serve);
    assert_eq!(response.head.headers["grpc-status"], "12");
    assert!(!response.head.headers.contains_key("content-length"));
    assert_eq!(response.rest().await, (String::new(), None));
}

#[tokio::test]
async fn fields_between_neighbors_do_not_cross_as_trailers() {
    let (backend, weir) = proxied("").await;
    let client = Client2::connect(weir.address()).await;
    let serve = async {
        let mut upstream = backend.stream("text/plain").await;
        upstream.chunk("hi").await;
        let trailers =
            "0\r\nX-Digest: abc\r\nConnection: close\r\nKeep-Alive: 1\r\nTE: gzip\r\n\r\n";
        upstream.send(trailers).await;
        upstream
    };
    let (mut response, _upstream) = tokio::join!(client.get("/"), serve);
    assert_eq!(response.rest().await, ("hi".to_owned(), None));
    let trailers = response.trailers().await.expect("trailers");
    assert_eq!(trailers["x-digest"], "abc");
    assert_eq!(trailers.len(), 1, "{trailers:?}");
}
