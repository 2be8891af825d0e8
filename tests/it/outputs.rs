//! Does the client get the format that it can read, and the end that the records speak of?

use crate::support::{NDJSON, client::Client, client2::Client2, proxied};

/// What stands after `[[route]]` where a record ends the stream.
const ENDING: &str = "from = \"ndjson\"\n[route.end]\nwhen = { at = \"/done\", equals = true }\n\
    error = { at = \"/error\" }\nevent = { name = \"done\", data = \"[DONE]\" }";

#[tokio::test]
async fn the_last_record_ends_the_stream_although_its_upstream_goes_on() {
    let (backend, weir) = proxied(ENDING).await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream("application/json").await;
    client.head().await;
    upstream
        .chunk("{\"n\":1}\n{\"done\":true}\n{\"late\":1}\n")
        .await;
    let expected = "data: {\"n\":1}\n\ndata: {\"done\":true}\n\nevent: done\ndata: [DONE]\n\n";
    assert_eq!(client.chunks_to_end().await, expected);
    upstream.closed().await;
}

#[tokio::test]
async fn a_connection_whose_end_has_come_is_used_again() {
    let (backend, weir) = proxied(ENDING).await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream("application/json").await;
    client.head().await;
    upstream.send("e\r\n{\"done\":true}\n\r\n0\r\n\r\n").await;
    assert!(client.chunks_to_end().await.ends_with("data: [DONE]\n\n"));
    client
        .send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    assert!(upstream.request().await.starts_with("get /next "));
}

#[tokio::test]
async fn a_record_that_tells_of_a_failure_is_written_and_the_message_cut() {
    let (backend, weir) = proxied(ENDING).await;
    let client = Client2::connect(weir.address()).await;
    let (mut response, mut upstream) = tokio::join!(client.get("/"), backend.stream(NDJSON));
    upstream
        .chunk("{\"n\":1}\n{\"error\":\"no memory\"}\n")
        .await;
    let (text, reset) = response.rest().await;
    let whole = "data: {\"n\":1}\n\ndata: {\"error\":\"no memory\"}\n\nevent: stream-error\n";
    assert!(text.starts_with(whole), "{text}");
    assert!(text.contains("\"code\":\"upstream_error\""), "{text}");
    assert_eq!(reset, Some(h2::Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn a_close_without_the_last_record_is_no_end() {
    let (backend, weir) = proxied(ENDING).await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    upstream
        .send("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"n\":1}\n")
        .await;
    drop(upstream);
    client.head().await;
    let (text, is_complete) = client.rest_or_last_chunk().await;
    assert!(text.contains("data: {\"n\":1}\n\n"), "{text}");
    assert!(text.contains("\"code\":\"upstream_truncated\""), "{text}");
    assert!(!text.contains("[DONE]") && !is_complete, "{text}");
}

#[tokio::test]
async fn a_cut_behind_the_framings_own_end_takes_nothing_away() {
    let route = "from = \"json-array\"\nend = { event = { data = \"bye\" } }";
    for (array, is_whole) in [("[1]", true), ("[1,", false)] {
        let (backend, weir) = proxied(route).await;
        let mut client = Client::get(weir.address(), "/", "").await;
        let mut upstream = backend.stream("application/json").await;
        client.head().await;
        upstream.chunk(array).await;
        assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
        drop(upstream);
        let (text, is_complete) = client.rest_or_last_chunk().await;
        assert_eq!(is_complete, is_whole, "{text}");
        assert_eq!(text.contains("data: bye\n\n"), is_whole, "{text}");
        assert_eq!(text.contains("upstream_truncated"), !is_whole, "{text}");
    }
}

#[tokio::test]
async fn an_end_event_alone_follows_the_upstreams_own_end() {
    let (backend, weir) = proxied("end = { event = { data = \"bye\" } }").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    upstream.chunk("{\"n\":1}\n").await;
    upstream.end().await;
    assert_eq!(
        client.chunks_to_end().await,
        "data: {\"n\":1}\n\ndata: bye\n\n"
    );
}

#[tokio::test]
async fn the_clients_accept_chooses_the_output() {
    let (backend, weir) = proxied("event = { name = { at = \"/t\" } }").await;
    for (accept, content_type, written) in [
        (
            "application/jsonl",
            "application/jsonl",
            "{\"event\":\"a\",\"data\":{\"t\":\"a\"}}\n",
        ),
        (
            "text/event-stream;q=0.5, application/json-seq",
            "application/json-seq",
            "\u{1E}{\"event\":\"a\",\"data\":{\"t\":\"a\"}}\n",
        ),
        (
            "*/*",
            "text/event-stream",
            "event: a\ndata: {\"t\":\"a\"}\n\n",
        ),
    ] {
        let mut client = Client::get(weir.address(), "/", &format!("Accept: {accept}\r\n")).await;
        let mut upstream = backend.stream(NDJSON).await;
        let head = client.head().await;
        assert_eq!(head.field("content-type"), content_type);
        assert_eq!(head.field("vary"), "Accept");
        upstream.chunk("{\"t\":\"a\"}\n").await;
        assert_eq!(client.chunk().await.as_deref(), Some(written));
        upstream.end().await;
        assert_eq!(client.chunk().await, None);
    }
}

#[tokio::test]
async fn silence_is_an_empty_line_in_ndjson_and_errors_are_a_line() {
    let (backend, weir) = proxied("to = \"ndjson\"\nheartbeat = { every = \"1s\" }").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream("text/event-stream").await;
    client.head().await;
    upstream
        .chunk("id: 7\ndata: two\ndata: lines\n\ndata: {\"a\": 1}\n\nda")
        .await;
    let lines = "{\"id\":\"7\",\"data\":\"two\\nlines\"}\n{\"a\": 1}\n";
    assert_eq!(client.chunk().await.as_deref(), Some(lines));
    assert_eq!(client.chunk().await.as_deref(), Some("\n"));
    drop(upstream);
    let (text, is_complete) = client.rest_or_last_chunk().await;
    assert!(
        text.contains("{\"event\":\"stream-error\",\"data\":{\"code\":\"upstream_truncated\""),
        "{text}"
    );
    assert!(!is_complete);
}

#[tokio::test]
async fn a_text_sequence_is_silent_unless_the_route_says_how_often() {
    for (every, next) in [("", None), ("every = \"1s\"", Some("\u{1E}"))] {
        let route = format!(
            "to = \"json-seq\"\ntimeouts = {{ idle = \"1500ms\" }}\nheartbeat = {{ {every} }}"
        );
        let (backend, weir) = proxied(&route).await;
        let mut client = Client::get(weir.address(), "/", "").await;
        let upstream = backend.stream(NDJSON).await;
        client.head().await;
        let chunk = client.chunk().await.unwrap();
        match next {
            Some(next) => assert_eq!(chunk, next),
            None => assert!(chunk.contains("idle_timeout"), "{chunk}"),
        }
        drop(upstream);
    }
}

#[tokio::test]
async fn a_charset_becomes_utf_8() {
    let (backend, weir) = proxied("from = \"lines\"").await;
    let mut client = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend.stream("text/plain; charset=ISO-8859-1").await;
    client.head().await;
    upstream.chunk(b"caf\xE9\nna").await;
    assert_eq!(client.chunk().await.as_deref(), Some("data: café\n\n"));
    upstream.chunk(b"\xEFve\n").await;
    assert_eq!(client.chunk().await.as_deref(), Some("data: naïve\n\n"));
}
