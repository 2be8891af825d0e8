//! Does whoever watches see what happens, at no stream's cost?

use serde_json::Value;

use super::{ask, open, start};
use crate::support::{Weir, backend::Backend, client::Client, soon};

/// Watches a path of the admin listener.
async fn watch(weir: &Weir, path: &str) -> Client {
    let address = weir.admin.as_ref().expect("an admin listener");
    let mut client = Client::connect(address).await;
    client
        .send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
        .await;
    let head = client.head().await;
    assert_eq!(
        (head.status, head.field("content-type")),
        (200, "text/event-stream"),
        "{path}"
    );
    client
}

/// The pictures that the page is sent, until one is as it should be.
async fn picture_until(watcher: &mut Client, is_right: impl Fn(&Value) -> bool) -> Value {
    soon("a picture", async {
        loop {
            let event = watcher.chunks_until("\n\n").await;
            let picture = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
            if is_right(&picture) {
                return picture;
            }
        }
    })
    .await
}

#[tokio::test]
async fn the_page_is_sent_what_is_open_and_what_has_ended() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "", "");
    let mut watcher = watch(&weir, "/events").await;
    let empty = picture_until(&mut watcher, |_| true).await;
    assert_eq!(
        (&empty["generation"], &empty["open"]["total"]),
        (&1.into(), &0.into())
    );
    assert_eq!(
        (&empty["taps"], &empty["draining"]),
        (&false.into(), &false.into())
    );
    let (mut client, mut upstream, id) = open(&backend, &weir, "/a?secret=1").await;
    upstream.chunk("1\n2\n").await;
    let one = picture_until(&mut watcher, |picture| picture["routes"][0]["events"] == 2).await;
    assert_eq!(one["open"]["streams"][0]["id"], id);
    assert_eq!(
        (&one["routes"][0]["route"], &one["routes"][0]["open"]),
        (&"test".into(), &1.into())
    );
    assert!(one["routes"][0]["first_event_seconds"]["p99"].is_f64());
    assert_eq!(
        (&one["endpoints"][0]["up"], &one["endpoints"][0]["streams"]),
        (&true.into(), &1.into())
    );
    assert_eq!(one["endings"].as_array().unwrap().len(), 0);
    upstream.end().await;
    client.chunks_to_end().await;
    drop(upstream);
    let lost = Client::get(weir.address(), "/b", "").await;
    drop(backend.answer("HTTP/1.1 nonsense\r\n\r\n").await);
    let two = picture_until(&mut watcher, |picture| {
        picture["endings"]
            .as_array()
            .is_some_and(|endings| endings.len() == 2)
    })
    .await;
    let (newest, oldest) = (&two["endings"][0], &two["endings"][1]);
    assert_eq!(
        (&newest["status"], &newest["path"]),
        (&502.into(), &"/b".into())
    );
    assert_eq!(
        (&oldest["id"], &oldest["ending"]),
        (&id.into(), &"complete".into())
    );
    assert!(!two.to_string().contains("secret"));
    drop(lost);
}

#[tokio::test]
async fn only_so_many_may_watch() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "", "");
    let mut watchers = Vec::new();
    for _ in 0..16 {
        watchers.push(watch(&weir, "/events").await);
    }
    let (head, body) = ask(&weir, "GET /events", "").await;
    assert_eq!(head.status, 503);
    assert!(body.contains("as many watch as may"), "{body}");
    assert_eq!(
        ask(&weir, "GET /livez", "").await.0.status,
        200,
        "others are answered"
    );
    watchers.pop();
    let address = weir.admin.clone().unwrap();
    soon("a place", async {
        loop {
            let mut client = Client::connect(&address).await;
            client
                .send(format!("GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n"))
                .await;
            if client.head().await.status == 200 {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_tap_shows_what_the_client_gets() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "tap = true", "event = { name = \"tick\" }");
    let (mut client, mut upstream, id) = open(&backend, &weir, "/").await;
    upstream.chunk("0\n").await;
    client.chunks_until("data: 0\n\n").await;
    let mut tap = watch(&weir, &format!("/streams/{id}/tap")).await;
    tap.chunks_until(": tapped\n\n").await;
    upstream.chunk("1\n2\n").await;
    let got = client.chunks_until("data: 2\n\n").await;
    assert_eq!(tap.chunks_until("data: 2\n\n").await, got);
    upstream.end().await;
    client.chunks_to_end().await;
    let end = tap.chunks_to_end().await;
    assert_eq!(
        end,
        "event: tap-end\ndata: {\"ending\":\"complete\",\"missed\":0}\n\n"
    );
}

/// A copy is made of what a client gets before it is compressed, and of what is no event, too.
#[tokio::test]
async fn a_tap_shows_other_outputs_as_data() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "tap = true", "to = \"as-is\"");
    let (mut client, mut upstream, id) = open(&backend, &weir, "/").await;
    let mut tap = watch(&weir, &format!("/streams/{id}/tap?rate=1")).await;
    tap.chunks_until(": tapped\n\n").await;
    upstream.chunk("{\"a\":1}\n").await;
    client.chunks_until("1}\n").await;
    assert_eq!(tap.chunks_until("\n\n").await, "data: {\"a\":1}\n\n");
    drop(upstream);
    client.rest().await;
    let end = tap.chunks_until("tap-end\n").await + &tap.chunks_to_end().await;
    assert!(end.contains("\"ending\":\"upstream_truncated\""), "{end}");
}

#[tokio::test]
async fn a_tap_that_is_not_read_holds_nothing_up() {
    const EVENTS: usize = 40_000;
    let backend = Backend::bind().await;
    let weir = start(&backend, "tap = true", "");
    let (mut client, mut upstream, id) = open(&backend, &weir, "/").await;
    let mut tap = watch(&weir, &format!("/streams/{id}/tap?rate=1000")).await;
    let record = format!("\"{}\"\n", "x".repeat(1000));
    let sent = async {
        for _ in 0..EVENTS / 100 {
            upstream.chunk(record.repeat(100)).await;
        }
        upstream.end().await;
    };
    let (body, ()) = tokio::join!(client.chunks_to_end(), sent);
    assert_eq!(body.matches("data: ").count(), EVENTS);
    let tapped = tap.chunks_to_end().await;
    let end = tapped
        .rsplit_once("event: tap-end\ndata: ")
        .expect("an end")
        .1;
    let end: Value = serde_json::from_str(end).unwrap();
    let copied = tapped.matches("data: \"x").count();
    assert_eq!(end["missed"], EVENTS - copied);
    assert!(copied > 0 && copied < EVENTS, "{copied}");
}

#[tokio::test]
async fn what_streams_carry_is_shown_only_where_the_file_says_so() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "", "");
    let (_client, _upstream, id) = open(&backend, &weir, "/").await;
    let (head, body) = ask(&weir, &format!("GET /streams/{id}/tap"), "").await;
    assert_eq!(head.status, 403);
    assert!(body.contains("[admin] tap = true"), "{body}");
    let weir = start(&backend, "tap = true", "");
    assert_eq!(ask(&weir, "GET /streams/0-99/tap", "").await.0.status, 404);
}
