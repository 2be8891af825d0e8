//! Does an upstream that holds its replies back until there is news stream to clients?

use std::time::Duration;

use http::Request;
use tokio::time::{Instant, timeout};

use crate::support::{
    Weir,
    backend::Backend,
    backend2::Backend2,
    client::Client,
    client2::Client2,
    polled::{BY_BODY, BY_HEADER, Polled, bridged},
};

const TAKES_EVENTS: &str = "Accept: text/event-stream\r\n";

#[tokio::test]
async fn each_reply_with_news_is_an_event_and_its_cursor_the_next_poll() {
    let (backend, weir) = bridged(BY_HEADER, "event = { name = \"health\" }").await;
    let fields = format!("{TAKES_EVENTS}Accept-Encoding: gzip\r\nX-Token: t\r\n");
    let mut client = Client::get(weir.address(), "/v1/health?wait=5m", &fields).await;
    let mut server = Polled::accept(&backend).await;
    assert_eq!(server.asked().await, "/v1/health?wait=5m");
    for line in [
        "accept: application/json, */*;q=0.1",
        "accept-encoding: identity",
        "x-token: t",
        "via: 1.1 weir",
    ] {
        let line = format!("\r\n{line}\r\n");
        assert!(server.request.contains(&line), "{}", server.request);
    }
    let fields = "X-Index: 10\r\nContent-Type: application/json\r\nX-Kept: yes\r\nETag: \"1\"\r\n";
    server.reply("200 OK", fields, "[\n1]\n").await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("x-kept", "yes"),
        ("vary", "Accept"),
        ("etag", ""),
        ("content-length", ""),
    ] {
        assert_eq!(head.field(name), value, "{name}");
    }
    let event = "id: 10\nevent: health\ndata: [\ndata: 1]\n\n";
    assert_eq!(client.chunk().await.as_deref(), Some(event));

    // Replies without news are no events, however they say it.
    let same = "/v1/health?wait=5m&index=10";
    assert_eq!(server.asked().await, same);
    assert!(server.request.contains("\r\nx-token: t\r\n"));
    server.index("10", "[\n1]\n").await;
    for status in ["204 No Content", "304 Not Modified"] {
        assert_eq!(server.asked().await, same);
        let reply = format!("HTTP/1.1 {status}\r\n\r\n");
        server.connection().send(reply).await;
    }
    assert_eq!(server.asked().await, same);
    server.index("12", "[2]").await;
    let event = "id: 12\nevent: health\ndata: [2]\n\n";
    assert_eq!(client.chunk().await.as_deref(), Some(event));

    // A server that counts anew is asked anew, but what it then says is known.
    assert_eq!(server.asked().await, "/v1/health?wait=5m&index=12");
    server.index("3", "[3]").await;
    let event = "id: 3\nevent: health\ndata: [3]\n\n";
    assert_eq!(client.chunk().await.as_deref(), Some(event));
    assert_eq!(server.asked().await, "/v1/health?wait=5m");
    server.index("3", "[3]").await;
    assert_eq!(server.asked().await, "/v1/health?wait=5m&index=3");
    server.index("4", "").await;
    let event = "id: 4\nevent: health\ndata: \n\n";
    assert_eq!(client.chunk().await.as_deref(), Some(event));
    assert!(backend.is_alone().await, "one connection carries all polls");
}

#[tokio::test]
async fn a_client_goes_on_behind_the_last_event_that_it_has_seen() {
    let (backend, weir) = bridged(BY_BODY, "path = \"/db/*\"").await;
    let client = Client2::connect(weir.address()).await;
    let target = "/db/_changes?feed=longpoll&since=now";
    let (mut response, mut server) = tokio::join!(client.get(target), async {
        let mut server = Polled::accept(&backend).await;
        assert_eq!(server.asked().await, "/db/_changes?feed=longpoll&since=now");
        server
            .json("{\"results\":[7],\"last_seq\":\"3-a b\"}\n")
            .await;
        server
    });
    assert_eq!(response.head.status, 200);
    let event = "id: 3-a b\ndata: {\"results\":[7],\"last_seq\":\"3-a b\"}\n\n";
    assert_eq!(response.data().await, Some(Ok(event.to_owned())));
    let next = "/db/_changes?feed=longpoll&since=3-a%20b";
    assert_eq!(server.asked().await, next);
    drop(response);
    server.connection().closed().await;

    let again = Request::get(format!("http://test{target}")).header("last-event-id", "3-a b");
    let again = again.body(()).expect("a request");
    let (mut response, mut server) = tokio::join!(client.send(again, ""), async {
        let mut server = Polled::accept(&backend).await;
        assert_eq!(server.asked().await, next);
        assert!(!server.request.contains("last-event-id"));
        server.json("{\"results\":[],\"last_seq\":\"3-a b\"}").await;
        server
    });
    assert_eq!(response.head.status, 200);
    assert_eq!(server.asked().await, next, "nothing new, so no event");
    server.json("{\"results\":[8],\"last_seq\":\"4\"}").await;
    let event = "id: 4\ndata: {\"results\":[8],\"last_seq\":\"4\"}\n\n";
    assert_eq!(response.data().await, Some(Ok(event.to_owned())));
}

#[tokio::test]
async fn the_next_may_be_asked_for_by_the_last_element_and_one() {
    let poll = "cursor = { last = \"/result\", at = \"/update_id\", add = 1 }, query = \"offset\", \
                initial = \"100\", every = \"10ms\"";
    let (backend, weir) = bridged(poll, "").await;
    let mut client = Client::get(weir.address(), "/bot/getUpdates?timeout=50", "").await;
    let mut server = Polled::accept(&backend).await;
    assert_eq!(
        server.asked().await,
        "/bot/getupdates?timeout=50&offset=100"
    );
    server.json("{\"ok\":true,\"result\":[]}").await;
    assert_eq!(
        server.asked().await,
        "/bot/getupdates?timeout=50&offset=100"
    );
    let updates = "{\"ok\":true,\"result\":[{\"update_id\":700},{\"update_id\":701}]}";
    server.json(updates).await;
    assert_eq!(
        server.asked().await,
        "/bot/getupdates?timeout=50&offset=702"
    );
    assert_eq!(client.head().await.status, 200);
    let event = format!("id: 702\ndata: {updates}\n\n");
    assert_eq!(client.chunk().await.as_deref(), Some(&*event));
}

#[tokio::test]
async fn the_cursor_goes_with_the_last_of_several_events() {
    let route =
        "charset = \"iso-8859-1\"\nevent = { explode = \"/results\", name = { at = \"/kind\" } }";
    let (backend, weir) = bridged(BY_BODY, route).await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    server.asked().await;
    let body = b"{\"results\":[{\"kind\":\"a\"},{\"kind\":\"\xE4\"}],\"last_seq\":9}";
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    server
        .connection()
        .send([head.as_bytes(), body].concat())
        .await;
    assert_eq!(server.asked().await, "/?since=9");
    // An array without elements is no event; the next poll knows its cursor all the same.
    server.json("{\"results\":[],\"last_seq\":10}").await;
    assert_eq!(server.asked().await, "/?since=10");
    client.head().await;
    let events = client.chunks_until("ä\"}\n\n").await;
    let expected = "event: a\ndata: {\"kind\":\"a\"}\n\n\
                    id: 9\nevent: ä\ndata: {\"kind\":\"ä\"}\n\n";
    assert_eq!(events, expected);
}

#[tokio::test]
async fn polls_may_go_over_http2() {
    let backend = Backend2::bind().await;
    let upstream = format!(
        "endpoints = [\"{}\"]\nhttp = \"2\"\npoll = {{ {BY_HEADER} }}",
        backend.endpoint()
    );
    let weir = Weir::upstream(&upstream, "");
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.accept().await;
    for (index, asked) in [("1", "/"), ("2", "/?index=1")] {
        let mut poll = upstream.request().await;
        assert_eq!(poll.head.uri.path_and_query().expect("a path"), asked);
        poll.reply(200, &[("x-index", index)]);
        poll.data(vec![b'x'; 10_000]);
        poll.data("y");
        poll.end();
        if index == "1" {
            assert_eq!(client.head().await.status, 200);
        }
        let event = format!("id: {index}\ndata: {}y\n\n", "x".repeat(10_000));
        assert_eq!(client.chunks_until("\n\n").await, event);
    }
    let mut poll = upstream.request().await;
    drop(client);
    poll.is_reset().await;
}

#[tokio::test]
async fn the_clients_head_does_not_wait_for_a_poll_that_is_held_back() {
    let (backend, weir) = bridged(BY_HEADER, "heartbeat = { every = \"1s\" }").await;
    let begun = Instant::now();
    let mut client = Client::get(weir.address(), "/", TAKES_EVENTS).await;
    let mut server = Polled::accept(&backend).await;
    server.asked().await;
    assert_eq!(client.head().await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(1900));
    assert_eq!(client.chunk().await.as_deref(), Some(":\n"));
    server.index("1", "news").await;
    let events = client.chunks_until("\n\n").await;
    assert!(events.ends_with("id: 1\ndata: news\n\n"), "{events:?}");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_poll() {
    let (backend, weir) = bridged(BY_HEADER, "").await;
    // Before the first reply, while one is held back, and inside one.
    for polls in 0..3 {
        let client = Client::get(weir.address(), "/", "").await;
        let mut server = Polled::accept(&backend).await;
        server.asked().await;
        if polls > 0 {
            server.index("1", "news").await;
            server.asked().await;
        }
        if polls > 1 {
            let start = "HTTP/1.1 200 OK\r\nX-Index: 2\r\nContent-Length: 9\r\n\r\nhalf";
            server.connection().send(start).await;
        }
        drop(client);
        server.connection().closed().await;
    }
    // Between two, nobody is asked any more.
    let poll = BY_HEADER.replace("every = \"10ms\"", "every = \"200ms\"");
    let (backend, weir) = bridged(&poll, "").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    server.asked().await;
    server.reply("204 No Content", "", "").await;
    assert_eq!(client.head().await.status, 200);
    drop(client);
    let asked = timeout(Duration::from_millis(600), server.asked()).await;
    assert!(asked.is_err(), "{asked:?}");
    assert!(backend.is_alone().await);
}

#[tokio::test]
async fn a_server_without_news_is_not_hammered() {
    let poll = BY_HEADER.replace("every = \"10ms\"", "every = \"300ms\"");
    let (backend, weir) = bridged(&poll, "").await;
    let _client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    let begun = Instant::now();
    for _ in 0..4 {
        server.asked().await;
        server.index("1", "the same").await;
    }
    // The second follows at once upon the news of the first.
    assert!(begun.elapsed() >= Duration::from_millis(580));
    // News are followed up at once.
    let begun = Instant::now();
    for index in 2..50 {
        server.asked().await;
        server.index(&index.to_string(), "news").await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_polled_for() {
    let (backend, weir) = bridged(BY_HEADER, "").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    let news = "x".repeat(500_000);
    let mut polls = 0;
    // More than all sockets on the way hold.
    while timeout(Duration::from_millis(500), server.asked())
        .await
        .is_ok()
    {
        polls += 1;
        assert!(polls < 200, "the proxy reads what nobody takes");
        server.index(&polls.to_string(), &news).await;
    }
    client.head().await;
    let last = format!("id: {polls}\n");
    assert!(client.chunks_until(&last).await.matches(&news).count() >= polls - 1);
    server.asked().await;
}

#[tokio::test]
async fn replies_without_news_are_signs_of_life() {
    let route = "heartbeat = { every = \"off\" }\ntimeouts = { idle = \"1s\" }";
    let poll = BY_HEADER.replace("every = \"10ms\"", "every = \"300ms\"");
    let (backend, weir) = bridged(&poll, route).await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut server = Polled::accept(&backend).await;
    for _ in 0..7 {
        server.asked().await;
        server.index("1", "the same").await;
    }
    // So is each piece of a body, as CouchDB sends them while it waits.
    server.asked().await;
    let start = "HTTP/1.1 200 OK\r\nX-Index: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
    server.connection().send(start).await;
    for _ in 0..5 {
        server.connection().chunk("\n").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    server.connection().chunk("news").await;
    server.connection().end().await;
    client.head().await;
    let events = client.chunks_until("news\n\n").await;
    assert!(!events.contains("stream-error"), "{events:?}");
    server.asked().await;
    let events = client.chunks_until("stream-error").await;
    assert!(events.contains("idle_timeout"), "{events:?}");
    server.connection().closed().await;
}

#[tokio::test]
async fn each_poll_has_a_place_of_its_own() {
    let (one, other) = (Backend::bind().await, Backend::bind().await);
    let upstream = format!(
        "endpoints = [\"{}\", \"{}\"]\npoll = {{ {BY_HEADER} }}",
        one.endpoint(),
        other.endpoint()
    );
    let weir = Weir::upstream(&upstream, "");
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(Client::get(weir.address(), "/", "").await);
    }
    // The first is still held back when the second comes.
    let (mut at_one, mut at_other) = tokio::join!(Polled::accept(&one), Polled::accept(&other));
    at_one.asked().await;
    at_other.asked().await;
    for index in 1..4 {
        // The endpoint that answers has the place that the next poll takes.
        at_one.index(&index.to_string(), "news").await;
        at_one.asked().await;
    }
    assert!(one.is_alone().await && other.is_alone().await);
}

#[tokio::test]
async fn whoever_does_not_take_events_is_answered_by_one_reply() {
    for (route, fields) in [
        ("", "Accept: application/json\r\n"),
        ("", "Accept: application/json, */*;q=0.5\r\n"),
        ("", "If-None-Match: \"1\"\r\n"),
        ("to = \"as-is\"", TAKES_EVENTS),
    ] {
        let (backend, weir) = bridged(BY_HEADER, route).await;
        let mut client = Client::get(weir.address(), "/kv?index=7", fields).await;
        let mut server = Polled::accept(&backend).await;
        assert_eq!(server.asked().await, "/kv?index=7");
        let sent = fields.to_ascii_lowercase();
        assert!(server.request.contains(&sent), "{}", server.request);
        let fields = "X-Index: 8\r\nContent-Type: application/json\r\n";
        server.reply("200 OK", fields, "[8]").await;
        let head = client.head().await;
        assert_eq!(head.field("content-type"), "application/json");
        assert_eq!(head.field("x-index"), "8");
        assert_eq!(client.exactly(3).await, b"[8]");
    }
    let (_backend, weir) = bridged(BY_HEADER, "").await;
    let mut client = Client::connect(weir.address()).await;
    client
        .send("PUT /kv HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status, 405);
}
