//! Do streams that share an upstream's HTTP/2 connection leave each other alone?

use h2::Reason;
use http::Request;

use crate::support::{
    NDJSON, Weir,
    backend2::{Backend2, Connection2, Stream2},
    client::Client,
    client2::{Client2, Response2},
    proxied2, soon,
};

/// Begins a stream of records on this connection.
async fn stream(client: &Client2, upstream: &mut Connection2) -> (Response2, Stream2) {
    tokio::join!(client.get("/"), async {
        let mut stream = upstream.request().await;
        stream.reply(200, &[("content-type", NDJSON)]);
        stream
    })
}

/// A client's connection, and the upstream's that its first request makes; that is answered.
async fn joined(backend: &Backend2, weir: &Weir) -> (Client2, Connection2) {
    let client = Client2::connect(weir.address()).await;
    let (response, upstream) = tokio::join!(client.get("/"), async {
        let mut upstream = backend.accept().await;
        upstream.request().await.reply_bare(204, &[]);
        upstream
    });
    assert_eq!(response.head.status, 204);
    (client, upstream)
}

#[tokio::test]
async fn streams_are_converted_and_share_one_connection() {
    let (backend, weir) = proxied2("").await;
    let (client, mut upstream) = joined(&backend, &weir).await;
    let mut streams = Vec::new();
    for number in 0..5 {
        let (mut response, mut one) = stream(&client, &mut upstream).await;
        assert_eq!(response.head.headers["content-type"], "text/event-stream");
        one.data(format!("{number}\n{{\"half\":"));
        assert_eq!(
            response.data().await,
            Some(Ok(format!("data: {number}\n\n")))
        );
        streams.push((response, one));
    }
    for (response, one) in &mut streams {
        one.data("1}\n");
        assert_eq!(
            response.data().await,
            Some(Ok("data: {\"half\":1}\n\n".to_owned()))
        );
        one.end();
        assert_eq!(response.rest().await, (String::new(), None));
    }
    // A client over HTTP/1.1 shares it, too.
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut one = upstream.request().await;
    one.reply(200, &[("content-type", NDJSON)]);
    client.head().await;
    one.data("1\n");
    assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
    drop(client);
    assert_eq!(one.is_reset().await, Reason::CANCEL);
    assert!(backend.is_alone().await);
}

/// What ends a stream after one event, and the code that the client is told.
async fn ends_with(code: &str, give_up: impl AsyncFn(&mut Stream2)) {
    let (backend, weir) = proxied2("").await;
    let (client, mut upstream) = joined(&backend, &weir).await;
    let (mut response, mut one) = stream(&client, &mut upstream).await;
    one.data("1\n{\"torn\":");
    assert_eq!(response.data().await, Some(Ok("data: 1\n\n".to_owned())));
    give_up(&mut one).await;
    let (body, reset) = response.rest().await;
    let error = format!("event: stream-error\ndata: {{\"code\":\"{code}\",");
    assert!(body.starts_with(&error), "{body}");
    assert_eq!(reset, Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn a_stream_that_the_upstream_resets_ends_with_an_error() {
    // Without END_STREAM a reset is no end, whatever the reason says.
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::NO_ERROR] {
        ends_with("upstream_error", async |one| one.reset(reason)).await;
    }
}

#[tokio::test]
async fn a_reset_after_the_end_takes_nothing_away() {
    let (backend, weir) = proxied2("").await;
    let (client, mut upstream) = joined(&backend, &weir).await;
    let mut sender = client.sender().ready().await.expect("an open connection");
    let request = Request::post("http://test/").body(()).expect("a request");
    let (response, mut upload) = sender.send_request(request, false).expect("a request");
    upload
        .send_data("the start".into(), false)
        .expect("an open stream");
    let mut one = upstream.request().await;
    // A complete reply although the body still comes, then the word to stop (RFC 9113 §8.1).
    one.reply(200, &[("content-type", NDJSON)]);
    one.data("1\n2\n");
    one.end();
    drop(one);
    let response = soon("a response", response).await.expect("a response");
    let mut body = response.into_body();
    let mut read = Vec::new();
    while let Some(data) = soon("a DATA frame", body.data()).await {
        let data = data.expect("a whole response");
        body.flow_control()
            .release_capacity(data.len())
            .expect("an open stream");
        read.extend_from_slice(&data);
    }
    assert_eq!(read, b"data: 1\n\ndata: 2\n\n");
}

#[tokio::test]
async fn a_body_reaches_the_upstream_piece_by_piece() {
    let (backend, weir) = proxied2("").await;
    let (client, mut upstream) = joined(&backend, &weir).await;
    let mut sender = client.sender().ready().await.expect("an open connection");
    let request = Request::post("http://test/").body(()).expect("a request");
    let (response, mut upload) = sender.send_request(request, false).expect("a request");
    upload
        .send_data("one".into(), false)
        .expect("an open stream");
    let mut one = upstream.request().await;
    assert_eq!(one.head.method, "POST");
    assert_eq!(one.read().await, Some(Ok("one".into())));
    upload
        .send_data("two".into(), false)
        .expect("an open stream");
    assert_eq!(one.read().await, Some(Ok("two".into())));
    one.reply(200, &[]);
    let response = soon("a response", response).await.expect("a response");
    // Also after the reply's head.
    upload
        .send_data("three".into(), true)
        .expect("an open stream");
    assert_eq!(one.read().await, Some(Ok("three".into())));
    assert_eq!(one.read().await, None);
    one.end();
    assert!(
        soon("the end", response.into_body().data())
            .await
            .is_none_or(|data| data.is_ok())
    );
    // A client that gives its body up is not taken for done.
    let mut sender = client.sender().ready().await.expect("an open connection");
    let request = Request::post("http://test/").body(()).expect("a request");
    let (response, mut upload) = sender.send_request(request, false).expect("a request");
    upload
        .send_data("one".into(), false)
        .expect("an open stream");
    let mut one = upstream.request().await;
    assert_eq!(one.read().await, Some(Ok("one".into())));
    upload.send_reset(Reason::CANCEL);
    drop(response);
    assert_eq!(one.read().await, Some(Err(Reason::CANCEL)));
    assert!(backend.is_alone().await);
}

/// More than any buffer of frames on the way may hold.
const FRAMES: usize = 25_000;
const SMALL: &[u8] = b"{\"tick\":\"01234567\"}\n";

#[tokio::test]
async fn a_client_that_does_not_read_leaves_the_others_alone() {
    let (backend, weir) = proxied2("timeouts = { write = \"1h\" }").await;
    let (client, mut upstream) = joined(&backend, &weir).await;
    // One slow reader of each version, each with a connection of its own.
    let slow2 = Client2::connect_with_window(weir.address(), 1).await;
    let (unread2, flood2) = stream(&slow2, &mut upstream).await;
    let unread1 = Client::get(weir.address(), "/", "").await;
    let mut flood1 = upstream.request().await;
    flood1.reply(200, &[("content-type", NDJSON)]);
    let (mut response, mut one) = stream(&client, &mut upstream).await;
    let pour = |mut stream: Stream2| {
        tokio::spawn(async move {
            while stream.data_in_window(SMALL).await {
                tokio::task::yield_now().await;
            }
        })
    };
    let pouring = [pour(flood2), pour(flood1)];
    let feed = async {
        for _ in 0..FRAMES {
            assert!(one.data_in_window(SMALL).await, "the sibling was reset");
        }
        one.end();
        one
    };
    let read = async {
        let mut bytes = 0;
        while let Some(data) = response.bytes().await {
            bytes += data.expect("the sibling flows").len();
        }
        bytes
    };
    let (_one, bytes) = soon("the sibling", async { tokio::join!(feed, read) }).await;
    let event = "data: ".len() + SMALL.len() + 1;
    assert_eq!(bytes, FRAMES * event);
    assert!(
        pouring.iter().all(|flood| !flood.is_finished()),
        "a slow reader's stream was cut"
    );
    assert!(backend.is_alone().await);
    drop((unread1, unread2));
    for flood in pouring {
        soon("the floods to be cancelled", flood)
            .await
            .expect("no panic");
    }
}

#[tokio::test]
async fn a_refused_stream_is_sent_again() {
    let (backend, weir) = proxied2("").await;
    let (client, mut upstream) = joined(&backend, &weir).await;
    for method in ["GET", "POST"] {
        let request = Request::builder().method(method).uri("http://test/again");
        let request = request.body(()).expect("a request");
        let (response, ()) = tokio::join!(client.send(request, ""), async {
            for _ in 0..2 {
                upstream.request().await.reset(Reason::REFUSED_STREAM);
            }
            upstream.request().await.reply_bare(204, &[]);
        });
        assert_eq!(response.head.status, 204);
    }
}

#[tokio::test]
async fn a_connection_that_leaves_takes_no_new_stream_and_keeps_the_old() {
    let (backend, weir) = proxied2("").await;
    let (client, mut upstream) = joined(&backend, &weir).await;
    let (mut response, mut one) = stream(&client, &mut upstream).await;
    upstream.leave().await;
    one.data("1\n");
    assert_eq!(response.data().await, Some(Ok("data: 1\n\n".to_owned())));
    let mut second = None;
    for (method, body) in [
        ("GET", ""),
        ("POST", "hello"),
        ("POST", ""),
        ("PUT", "hello"),
    ] {
        let request = Request::builder().method(method).uri("http://test/new");
        let request = request.body(()).expect("a request");
        let (response, ()) = tokio::join!(client.send(request, body), async {
            if second.is_none() {
                second = Some(backend.accept().await);
            }
            let connection = second.as_mut().expect("a second connection");
            let mut stream = connection.request().await;
            assert_eq!(stream.head.method, method);
            if !body.is_empty() {
                assert_eq!(stream.read().await, Some(Ok(body.into())));
            }
            stream.reply_bare(204, &[]);
        });
        assert_eq!(response.head.status, 204, "{method}");
    }
    one.data("2\n");
    assert_eq!(response.data().await, Some(Ok("data: 2\n\n".to_owned())));
    one.end();
    assert_eq!(response.rest().await, (String::new(), None));
    assert!(backend.is_alone().await);
}

#[tokio::test]
async fn a_connection_that_is_lost_is_replaced() {
    let (backend, weir) = proxied2("").await;
    let (client, upstream) = joined(&backend, &weir).await;
    upstream.abandon().await;
    for _ in 0..2 {
        let (response, connection) = tokio::join!(client.get("/"), async {
            let mut connection = backend.accept().await;
            connection.request().await.reply_bare(204, &[]);
            connection
        });
        assert_eq!(response.head.status, 204);
        connection.abandon().await;
    }
}

#[tokio::test]
async fn what_does_not_speak_http2_is_a_bad_gateway() {
    let backend = crate::support::backend::Backend::bind().await;
    let upstream = format!("endpoints = [\"{}\"]\nhttp = \"2\"", backend.endpoint());
    let weir = Weir::upstream(&upstream, "timeouts = { first_byte = \"1s\" }");
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.accept().await;
    upstream
        .send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(head.status, 502);
    assert_eq!(
        head.field("proxy-status"),
        "weir; error=http_protocol_error"
    );
}
