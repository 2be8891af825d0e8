//! Do operators see and end streams, and does nobody else?

mod access;
mod watching;

use serde_json::Value;

use crate::support::{
    NDJSON, Weir,
    backend::{Backend, Connection},
    client::{Client, Head},
    client2::Client2,
    soon,
};

/// A proxy with two workers and an admin listener with these further keys, on a route with these.
pub(crate) fn start(backend: &Backend, admin: &str, route: &str) -> Weir {
    Weir::start_at(
        &toml(backend, "127.0.0.1:0", admin, route),
        "threads = 2\ndrain = \"1s\"",
    )
}

pub(crate) fn toml(backend: &Backend, address: &str, admin: &str, route: &str) -> String {
    format!(
        "[admin]\naddress = \"{address}\"\n{admin}\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\nendpoints = [\"{}\"]\n\
         [[route]]\nname = \"test\"\nupstream = \"test\"\n{route}\n",
        backend.endpoint()
    )
}

/// What the admin listener answers, with these further fields.
pub(crate) async fn ask(weir: &Weir, line: &str, fields: &str) -> (Head, String) {
    let address = weir.admin.as_ref().expect("an admin listener");
    let client = Client::connect(address).await;
    ask_over(client, line, &format!("Host: {address}\r\n{fields}")).await
}

pub(crate) async fn ask_over(mut client: Client, line: &str, fields: &str) -> (Head, String) {
    let request = format!("{line} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
    client.send(request).await;
    let head = client.head().await;
    (head, client.rest().await)
}

pub(crate) async fn json(weir: &Weir, path: &str) -> Value {
    let (head, body) = ask(weir, &format!("GET {path}"), "").await;
    assert_eq!(
        (head.status, head.field("content-type")),
        (200, "application/json"),
        "{body}"
    );
    serde_json::from_str(&body).unwrap()
}

/// Asks for `path` until the answer is as it should be.
async fn json_until(weir: &Weir, path: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    soon(path, async {
        loop {
            let answer = json(weir, path).await;
            if is_right(&answer) {
                return answer;
            }
        }
    })
    .await
}

/// A stream of events, and the id it has.
pub(crate) async fn open(
    backend: &Backend,
    weir: &Weir,
    path: &str,
) -> (Client, Connection, String) {
    let known = json(weir, "/streams").await;
    let mut client = Client::get(weir.address(), path, "").await;
    let upstream = backend.stream(NDJSON).await;
    client.head().await;
    let listed = json(weir, "/streams").await;
    let ids = |listed: &Value| -> Vec<String> {
        let streams = listed["streams"].as_array().unwrap();
        streams
            .iter()
            .map(|stream| stream["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let known = ids(&known);
    let mut new = ids(&listed).into_iter().filter(|id| !known.contains(id));
    let id = new.next().expect("the new stream");
    assert_eq!(new.next(), None);
    (client, upstream, id)
}

#[tokio::test]
async fn the_streams_of_all_workers_are_listed_with_what_they_did() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "", "heartbeat = { every = \"off\" }");
    let (mut client, mut upstream, id) = open(&backend, &weir, "/a?secret=1").await;
    upstream.chunk("{\"a\":1}\n{\"b\":2}\n").await;
    client.chunks_until("2}\n\n").await;
    let mut others = Vec::new();
    let mut workers = std::collections::BTreeSet::new();
    // Connections are spread over the workers by the kernel.
    while workers.len() < 2 {
        let (client, upstream, id) = open(&backend, &weir, "/b").await;
        workers.insert(id.split('-').next().unwrap().to_owned());
        others.push((client, upstream));
    }
    let listed = json(&weir, "/streams").await;
    assert_eq!(listed["total"], others.len() + 1);
    assert_eq!(listed["silent_workers"], 0);
    let first = &listed["streams"][0];
    for (field, value) in [
        ("id", id.as_str()),
        ("route", "test"),
        ("upstream", "test"),
        ("endpoint", backend.endpoint().as_str()),
        ("peer", "127.0.0.1"),
        ("method", "GET"),
        ("host", "test"),
        ("path", "/a"),
        ("version", "1.1"),
        ("to", "sse"),
        ("state", "flowing"),
    ] {
        assert_eq!(first[field], value, "{field}");
    }
    assert_eq!((&first["events"], &first["bytes"]), (&2.into(), &30.into()));
    assert_eq!(
        (&first["heartbeats"], &first["buffered"]),
        (&0.into(), &0.into())
    );
    let seconds = |field: &str| first[field].as_f64().unwrap();
    assert!(seconds("age_seconds") >= seconds("first_event_seconds"));
    assert!(seconds("age_seconds") > seconds("idle_seconds"));
    assert!(!listed.to_string().contains("secret"), "no query is told");
    assert_eq!(
        json(&weir, &format!("/streams/{id}")).await["id"],
        *first["id"].as_str().unwrap()
    );
    let limited = json(&weir, "/streams?limit=1").await;
    assert_eq!(limited["streams"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&limited["total"], &limited["streams"][0]["id"]),
        (&listed["total"], &first["id"])
    );
    for (query, total) in [
        ("route=test", listed["total"].clone()),
        ("route=other", 0.into()),
        ("peer=127.0.0.1", listed["total"].clone()),
        ("peer=unix", 0.into()),
    ] {
        let listed = json(&weir, &format!("/streams?{query}")).await;
        assert_eq!(listed["total"], total, "{query}");
    }
    drop(client);
    let total = others.len();
    json_until(&weir, "/streams", |listed| listed["total"] == total).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_seen_to_block() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "", "");
    let (client, mut upstream, id) = open(&backend, &weir, "/").await;
    let path = format!("/streams/{id}");
    let record = format!("{}\n", "x".repeat(60_000));
    let flood = async {
        loop {
            upstream.chunk(&record).await;
        }
    };
    let blocked = json_until(&weir, &path, |stream| {
        stream["state"] == "blocked" && stream["buffered"].as_u64() > Some(0)
    });
    tokio::select! {
        () = flood => {}
        _ = blocked => {}
    }
    drop(client);
}

#[tokio::test]
async fn a_silent_stream_that_is_ended_ends_whole() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "", "heartbeat = { every = \"off\" }");
    let (mut client, mut upstream, id) = open(&backend, &weir, "/").await;
    let (_other, mut its_upstream, other) = open(&backend, &weir, "/").await;
    upstream.chunk("1\n{\"torn\":").await;
    client.chunks_until("data: 1\n\n").await;
    let line = format!("DELETE /streams/{id}");
    assert_eq!(ask(&weir, &line, "").await.0.status, 204);
    let rest = client.chunks_to_end().await;
    assert!(
        rest.starts_with("retry: ") && rest.ends_with('\n'),
        "{rest:?}"
    );
    upstream.closed().await;
    assert_eq!(ask(&weir, &line, "").await.0.status, 404);
    let listed = json_until(&weir, "/streams", |listed| listed["total"] == 1).await;
    assert_eq!(listed["streams"][0]["id"], other, "nobody else is ended");
    its_upstream.chunk("2\n").await;
    let (_, metrics) = ask(&weir, "GET /metrics", "").await;
    let ended = "weir_streams_total{route=\"test\",to=\"sse\",ending=\"closed\"} 1\n";
    assert!(metrics.contains(ended), "{metrics}");
}

#[tokio::test]
async fn a_stream_over_http2_that_is_ended_ends_whole() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "", "heartbeat = { every = \"off\" }");
    let client = Client2::connect(weir.address()).await;
    let (mut response, mut upstream) = tokio::join!(client.get("/"), backend.stream(NDJSON));
    upstream.chunk("1\n").await;
    response.until("data: 1\n\n").await;
    let listed = json(&weir, "/streams").await;
    assert_eq!(listed["streams"][0]["version"], "2");
    let id = listed["streams"][0]["id"].as_str().unwrap();
    let (head, _) = ask(&weir, &format!("DELETE /streams/{id}"), "").await;
    assert_eq!(head.status, 204);
    let (rest, reason) = response.rest().await;
    assert!(
        rest.starts_with("retry: ") && reason.is_none(),
        "{rest:?} {reason:?}"
    );
    upstream.closed().await;
}

/// What has no events has none to end at, and must not look whole.
#[tokio::test]
async fn what_passes_as_it_is_is_cut_when_it_is_ended() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "", "to = \"as-is\"");
    let (mut client, mut upstream, id) = open(&backend, &weir, "/").await;
    upstream.chunk("half a ").await;
    client.chunks_until("half a ").await;
    let (head, _) = ask(&weir, &format!("DELETE /streams/{id}"), "").await;
    assert_eq!(head.status, 204);
    let (rest, is_complete) = client.rest_or_last_chunk().await;
    assert_eq!((rest.as_str(), is_complete), ("", false));
    upstream.closed().await;
}

#[tokio::test]
async fn a_tunnel_is_listed_and_can_be_ended() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "tap = true", "");
    let ask_upgrade = "Connection: Upgrade\r\nUpgrade: chat\r\n";
    let mut client = Client::get(weir.address(), "/", ask_upgrade).await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";
    let mut upstream = backend.answer(switch).await;
    assert_eq!(client.head().await.status, 101);
    client.send("hello").await;
    assert_eq!(upstream.read(5).await, b"hello");
    let listed = json(&weir, "/streams").await;
    assert_eq!(listed["streams"][0]["to"], "tunnel");
    let id = listed["streams"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        ask(&weir, &format!("GET /streams/{id}/tap"), "")
            .await
            .0
            .status,
        409
    );
    assert_eq!(
        ask(&weir, &format!("DELETE /streams/{id}"), "")
            .await
            .0
            .status,
        204
    );
    assert_eq!(client.rest().await, "");
    upstream.closed().await;
    json_until(&weir, "/streams", |listed| listed["total"] == 0).await;
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told_how_to_ask() {
    let backend = Backend::bind().await;
    let weir = start(&backend, "", "");
    for (line, status, told) in [
        ("GET /nowhere", 404, "there are /, /livez"),
        ("GET /streams/0", 404, "there are /, /livez"),
        ("GET /streams/0-ff", 404, "GET /streams lists"),
        ("DELETE /streams/7-1", 404, "GET /streams lists"),
        (
            "GET /streams?limit=0",
            400,
            "limit is \"0\"; it must be from 1 to 10000",
        ),
        ("POST /streams", 405, "allowed are GET, HEAD"),
        ("DELETE /config", 405, "allowed are GET, HEAD"),
        ("PUT /streams/0-0", 405, "allowed are GET, HEAD, DELETE"),
        ("HEAD /events", 405, ""),
    ] {
        let (head, body) = ask(&weir, line, "").await;
        assert_eq!(head.status, status, "{line}");
        assert!(body.contains(told), "{line}: {body}");
        assert_eq!(head.field("allow").is_empty(), status != 405, "{line}");
    }
}

#[tokio::test]
async fn upstreams_and_the_configuration_at_work_are_told() {
    let backend = Backend::bind().await;
    let token = "token = \"0123456789abcdef-secret\"";
    let route = "headers = { x-key = \"a-secret\" }\npreset = \"ollama\"";
    let mut weir = Weir::start(&toml(&backend, "127.0.0.1:0", token, route));
    let bearer = "Authorization: Bearer 0123456789abcdef-secret\r\n";
    let (_, body) = ask(&weir, "GET /config", bearer).await;
    assert!(!body.contains("secret"), "{body}");
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&told["generation"], &told["file"]),
        (&1.into(), &"test.toml".into())
    );
    assert_eq!(
        told["config"]["route"][0]["from"], "ndjson",
        "presets are written out"
    );
    assert!(humantime::parse_rfc3339(told["loaded_at"].as_str().unwrap()).is_ok());
    let (_, body) = ask(&weir, "GET /upstreams", bearer).await;
    let told: Value = serde_json::from_str(&body).unwrap();
    let endpoint = &told["upstreams"][0]["endpoints"][0];
    assert_eq!(told["upstreams"][0]["upstream"], "test");
    assert_eq!(endpoint["endpoint"], backend.endpoint());
    assert_eq!(
        (&endpoint["state"], &endpoint["reason"]),
        (&"up".into(), &Value::Null)
    );
    assert_eq!(
        (&endpoint["up"], &endpoint["streams"]),
        (&true.into(), &0.into())
    );
    // A reload may take the token away.
    let reloaded = weir.reload(&toml(&backend, "127.0.0.1:0", "", "")).await;
    assert_eq!(reloaded.unwrap().waiting, [""; 0]);
    let told = json(&weir, "/config").await;
    assert_eq!(told["generation"], 2);
    assert_eq!(told["config"]["route"][0]["preset"], Value::Null);
}

#[tokio::test]
async fn operators_are_answered_until_the_drain_is_over() {
    let backend = Backend::bind().await;
    let weir = Weir::start_at(
        &toml(&backend, "127.0.0.1:0", "", "to = \"as-is\""),
        "threads = 2\ndrain = \"1h\"",
    );
    let (mut client, _upstream, id) = open(&backend, &weir, "/").await;
    assert_eq!(ask(&weir, "GET /readyz", "").await.1, "ready\n");
    weir.stop();
    let (head, body) = ask(&weir, "GET /readyz", "").await;
    assert_eq!((head.status, body.as_str()), (503, "draining\n"));
    assert_eq!(ask(&weir, "GET /livez", "").await.0.status, 200);
    // What takes no part in the drain would hold it up for an hour.
    assert_eq!(json(&weir, "/streams").await["total"], 1);
    assert_eq!(
        ask(&weir, &format!("DELETE /streams/{id}"), "")
            .await
            .0
            .status,
        204
    );
    assert!(!client.rest_or_last_chunk().await.1);
    drop(client);
    weir.ended().await;
}
