//! Is another endpoint asked where that is safe, and only there?

use crate::{
    metrics::told,
    support::{
        NDJSON, Weir,
        backend::{Backend, Connection},
        backend2::Backend2,
        client::Client,
    },
};

const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbusy";

/// Two endpoints that take turns, the first of them first.
async fn pair(retry: &str) -> (Backend, Backend, Weir) {
    let (one, two) = (Backend::bind().await, Backend::bind().await);
    let weir = Weir::upstream(
        &format!(
            "endpoints = [\"{}\", \"{}\"]\nbalance = \"round-robin\"\n{retry}",
            one.endpoint(),
            two.endpoint()
        ),
        "",
    );
    (one, two, weir)
}

/// Takes a request, head and body of so many bytes, and leaves without a word.
async fn leave(backend: &Backend, body: usize) {
    let mut connection = backend.accept().await;
    connection.request().await;
    connection.read(body).await;
}

async fn answer(backend: &Backend, reply: &str) -> (Connection, String) {
    let mut connection = backend.accept().await;
    let head = connection.request().await;
    connection.send(reply).await;
    (connection, head)
}

async fn ask(weir: &Weir, request: &str) -> Client {
    let mut client = Client::connect(weir.address()).await;
    client.send(request).await;
    client
}

fn request(method: &str) -> String {
    format!("{method} /a?b HTTP/1.1\r\nHost: test\r\nX-Mark: 7\r\n\r\n")
}

#[tokio::test]
async fn another_endpoint_takes_what_one_leaves_without_a_reply() {
    let (one, two, weir) = pair("").await;
    for (method, first, other) in [("GET", &one, &two), ("DELETE", &two, &one)] {
        let mut client = ask(&weir, &request(method)).await;
        leave(first, 0).await;
        let (_upstream, head) = answer(other, OK).await;
        let line = format!("{method} /a?b ").to_ascii_lowercase();
        assert!(head.starts_with(&line), "{head}");
        assert!(head.contains("\r\nx-mark: 7\r\n"), "{head}");
        assert_eq!(client.head().await.status, 200, "{method}");
        assert_eq!(client.exactly(2).await, b"ok");
    }
}

#[tokio::test]
async fn who_is_asked_in_anothers_place_keeps_its_own_turn() {
    let (one, two, weir) = pair("").await;
    for _ in 0..3 {
        let mut client = ask(&weir, &request("GET")).await;
        leave(&one, 0).await;
        let _upstream = answer(&two, OK).await;
        assert_eq!(client.head().await.status, 200);
        let mut client = ask(&weir, &request("GET")).await;
        let _upstream = answer(&two, OK).await;
        assert_eq!(client.head().await.status, 200);
    }
    assert!(one.is_alone().await && two.is_alone().await);
}

#[tokio::test]
async fn what_may_not_be_seen_twice_is_not() {
    let (one, two, weir) = pair("retry.on = [\"reset\", \"503\"]").await;
    let with_body = |method: &str| {
        format!("{method} / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello")
    };
    for (request, body) in [
        (request("POST"), 0),
        (with_body("POST"), 5),
        (with_body("PUT"), 5),
    ] {
        let mut client = ask(&weir, &request).await;
        leave(&one, body).await;
        assert_eq!(client.head().await.status, 502, "{request}");
        // It was the other's turn.
        let mut client = ask(&weir, &request).await;
        let _upstream = answer(&two, BUSY).await;
        assert_eq!(client.head().await.status, 503, "{request}");
        assert_eq!(client.exactly(4).await, b"busy");
    }
    assert!(one.is_alone().await && two.is_alone().await);
}

#[tokio::test]
async fn an_unwelcome_reply_is_the_clients_where_nobody_does_better() {
    let (one, two, weir) = pair("retry.on = [\"503\"]").await;
    let mut client = ask(&weir, &request("GET")).await;
    let (mut unwelcome, _) = answer(&one, BUSY).await;
    let _upstream = answer(&two, OK).await;
    assert_eq!(client.head().await.status, 200);
    unwelcome.closed().await;
    let mut client = ask(&weir, &request("GET")).await;
    let _two = answer(&two, BUSY).await;
    let _one = answer(&one, &BUSY.replace("busy", "full")).await;
    assert_eq!(client.head().await.status, 503);
    assert_eq!(client.exactly(4).await, b"full");
    // Not asked for: the reset, and other statuses.
    let mut client = ask(&weir, &request("GET")).await;
    leave(&one, 0).await;
    assert_eq!(client.head().await.status, 502);
    let mut client = ask(&weir, &request("GET")).await;
    let _two = answer(&two, &BUSY.replace("503", "500")).await;
    assert_eq!(client.head().await.status, 500);
    assert!(one.is_alone().await && two.is_alone().await);
}

#[tokio::test]
async fn no_more_endpoints_see_a_request_than_may() {
    let (one, two, weir) = pair("retry.attempts = 1").await;
    let mut client = ask(&weir, &request("GET")).await;
    leave(&one, 0).await;
    assert_eq!(client.head().await.status, 502);
    assert!(two.is_alone().await);
    // An endpoint that nobody listens at has not seen it.
    drop(one);
    let mut client = ask(&weir, &request("GET")).await;
    let _upstream = answer(&two, OK).await;
    assert_eq!(client.head().await.status, 200);
    let mut client = ask(&weir, &request("GET")).await;
    let _upstream = answer(&two, OK).await;
    assert_eq!(client.head().await.status, 200);
}

#[tokio::test]
async fn retries_are_counted_on_over_a_reload() {
    let (one, two) = (Backend::bind().await, Backend::bind().await);
    let toml = |keys: &str| {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [upstream.test]\nendpoints = [\"{}\", \"{}\"]\nbalance = \"round-robin\"\n\
             health.failures = 0\n{keys}\n[[route]]\nname = \"test\"\nupstream = \"test\"\n",
            one.endpoint(),
            two.endpoint()
        )
    };
    let done = |count| format!("weir_retries_total{{upstream=\"test\",reason=\"reset\"}} {count}");
    let denied = |count| format!("weir_retries_denied_total{{upstream=\"test\"}} {count}");
    let mut weir = Weir::start(&toml(""));
    let mut client = ask(&weir, &request("GET")).await;
    leave(&one, 0).await;
    let _upstream = answer(&two, OK).await;
    assert_eq!(client.head().await.status, 200);
    told(&weir, &[&done(1), &denied(0)]).await;

    weir.reload(&toml("retry.budget = 50")).await.unwrap();
    told(&weir, &["weir_reloads_total{result=\"done\"} 1"]).await;
    told(&weir, &[&done(1), &denied(0)]).await;
    // The first of them all has its turn again under the new settings.
    let mut client = ask(&weir, &request("GET")).await;
    leave(&one, 0).await;
    let _upstream = answer(&two, OK).await;
    assert_eq!(client.head().await.status, 200);
    told(&weir, &[&done(2), &denied(0)]).await;
}

#[tokio::test]
async fn a_stream_that_has_begun_is_never_begun_again() {
    let (one, two, weir) = pair("").await;
    let mut client = ask(&weir, &request("GET")).await;
    let mut upstream = one.stream(NDJSON).await;
    assert_eq!(client.head().await.status, 200);
    upstream.chunk("1\n").await;
    assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
    drop(upstream);
    let last = client.chunk().await.expect("the last words");
    assert!(last.contains("upstream_truncated"), "{last}");
    assert!(two.is_alone().await);
}

#[tokio::test]
async fn a_reset_stream_of_http2_goes_to_another_endpoint() {
    let (one, two) = (Backend2::bind().await, Backend2::bind().await);
    let weir = Weir::upstream(
        &format!(
            "endpoints = [\"{}\", \"{}\"]\nbalance = \"round-robin\"\nhttp = \"2\"",
            one.endpoint(),
            two.endpoint()
        ),
        "",
    );
    let mut client = ask(&weir, &request("GET")).await;
    let mut first = one.accept().await;
    let mut stream = first.request().await;
    stream.reset(h2::Reason::INTERNAL_ERROR);
    let serve = async {
        let mut second = two.accept().await;
        let mut stream = second.request().await;
        stream.reply(200, &[("content-type", NDJSON)]);
        stream.data("1\n");
        stream.end();
        second
    };
    let read = async {
        assert_eq!(client.head().await.status, 200);
        assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
    };
    let (_second, ()) = tokio::join!(serve, read);
}
