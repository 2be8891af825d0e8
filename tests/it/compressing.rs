//! Does a client that can decode get each event compressed, and at once?

use h2::Reason;
use http::Request;

use crate::support::{
    NDJSON,
    backend::{Backend, Connection},
    client::{Client, Closed},
    client2::{Client2, Response2},
    coded::Decoded,
    proxied, proxied_at,
};

const ALL: &str = "compress = { codings = [\"zstd\", \"gzip\", \"br\"] }";
const CODINGS: [&str; 3] = ["zstd", "gzip", "br"];

/// A way to the client: each has a writer of its own.
#[derive(Debug, Clone, Copy)]
enum Way {
    Http1,
    /// The request's body still comes, so that hyper keeps the connection.
    Upload,
    Http2,
}

const WAYS: [Way; 3] = [Way::Http1, Way::Upload, Way::Http2];

/// A client's side of one response.
enum Response {
    Http1(Client),
    Http2(Box<Response2>),
}

/// How a response's message ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
}

impl Response {
    /// Asks for a stream in this coding, which the backend begins; gives what the head says of that, too.
    async fn open(
        way: Way,
        address: &str,
        backend: &Backend,
        coding: &str,
    ) -> (Self, Connection, [String; 2]) {
        let wanted = format!("Accept-Encoding: {coding}\r\n");
        match way {
            Way::Http1 => Self::http1(Client::get(address, "/", &wanted).await, backend).await,
            Way::Upload => {
                let mut client = Client::connect(address).await;
                let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n";
                client.send(format!("{head}{wanted}\r\n1\r\na\r\n")).await;
                let mut opened = Self::http1(client, backend).await;
                opened.1.read_chunk().await;
                opened
            }
            Way::Http2 => {
                let client = Client2::connect(address).await;
                let request = Request::get("http://test/").header("accept-encoding", coding);
                let (response, upstream) = tokio::join!(
                    client.send(request.body(()).unwrap(), ""),
                    backend.stream(NDJSON)
                );
                let field = |name| {
                    let lines = response.head.headers.get_all(name).iter();
                    let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
                    lines.join(", ")
                };
                let said = ["content-encoding", "vary"].map(field);
                (Self::Http2(Box::new(response)), upstream, said)
            }
        }
    }

    async fn http1(mut client: Client, backend: &Backend) -> (Self, Connection, [String; 2]) {
        let upstream = backend
            .answer(&format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {NDJSON}\r\nConnection: close\r\n\
                 Transfer-Encoding: chunked\r\n\r\n"
            ))
            .await;
        let head = client.head().await;
        let said = ["content-encoding", "vary"].map(|name| head.field(name).to_owned());
        (Self::Http1(client), upstream, said)
    }

    /// The next piece of the body, or its end.
    async fn piece(&mut self) -> Result<Vec<u8>, End> {
        match self {
            Self::Http1(client) => match client.chunk_or_close().await {
                Ok(chunk) => chunk.ok_or(End::Whole),
                Err(Closed) => Err(End::Cut),
            },
            Self::Http2(response) => match response.bytes().await {
                Some(Ok(bytes)) => Ok(bytes.to_vec()),
                Some(Err(reason)) => {
                    assert_eq!(reason, Reason::INTERNAL_ERROR);
                    Err(End::Cut)
                }
                None => Err(End::Whole),
            },
        }
    }

    /// All that is left, decoded, and the end.
    async fn rest(&mut self, decoded: &mut Decoded) -> (String, End) {
        let mut text = String::new();
        loop {
            match self.piece().await {
                Ok(piece) => text.push_str(&decoded.text(&piece)),
                Err(end) => return (text, end),
            }
        }
    }
}

#[tokio::test]
async fn each_event_can_be_decoded_while_the_upstream_is_silent() {
    let (backend, weir) = proxied(ALL).await;
    for way in WAYS {
        for coding in CODINGS {
            let (mut client, mut upstream, [said, vary]) =
                Response::open(way, weir.address(), &backend, coding).await;
            assert_eq!(
                (&*said, &*vary),
                (coding, "Accept, Accept-Encoding"),
                "{way:?}"
            );
            let mut decoded = Decoded::of(coding);
            for number in 0..20 {
                upstream.chunk(format!("{number}\n{{\"half\":")).await;
                // One write is one piece, and nothing of it is kept back.
                let piece = client.piece().await.unwrap();
                assert_eq!(
                    decoded.text(&piece),
                    format!("data: {number}\n\n"),
                    "{way:?} {coding}"
                );
                upstream.chunk("1}\n").await;
                let piece = client.piece().await.unwrap();
                assert_eq!(
                    decoded.text(&piece),
                    "data: {\"half\":1}\n\n",
                    "{way:?} {coding}"
                );
            }
            upstream.chunk("\"last\"").await;
            upstream.end().await;
            let rest = client.rest(&mut decoded).await;
            assert_eq!(
                rest,
                ("data: \"last\"\n\n".to_owned(), End::Whole),
                "{way:?} {coding}"
            );
            assert!(decoded.is_finished, "{way:?} {coding}");
        }
    }
}

#[tokio::test]
async fn the_end_of_a_stream_without_last_words_ends_its_coding() {
    let (backend, weir) = proxied(ALL).await;
    for way in WAYS {
        for (coding, events) in CODINGS.into_iter().zip(["", "1\n", "1\n2\n"]) {
            let (mut client, mut upstream, _) =
                Response::open(way, weir.address(), &backend, coding).await;
            let mut decoded = Decoded::of(coding);
            if !events.is_empty() {
                upstream.chunk(events).await;
                decoded.text(&client.piece().await.unwrap());
            }
            upstream.end().await;
            let rest = client.rest(&mut decoded).await;
            assert_eq!(rest, (String::new(), End::Whole), "{way:?} {coding}");
            assert!(decoded.is_finished, "{way:?} {coding}");
        }
    }
}

#[tokio::test]
async fn a_cut_is_told_in_the_coding_which_stays_cut_too() {
    let (backend, weir) = proxied(ALL).await;
    for way in WAYS {
        for coding in CODINGS {
            let (mut client, mut upstream, _) =
                Response::open(way, weir.address(), &backend, coding).await;
            let mut decoded = Decoded::of(coding);
            upstream.chunk("1\n{\"torn\":").await;
            drop(upstream);
            let (text, end) = client.rest(&mut decoded).await;
            let error = "data: 1\n\nevent: stream-error\ndata: {\"code\":\"upstream_truncated\",";
            assert!(
                text.starts_with(error) && text.ends_with("}\n\n"),
                "{way:?} {coding}: {text}"
            );
            assert_eq!(end, End::Cut, "{way:?} {coding}");
            assert!(!decoded.is_finished, "{way:?} {coding}");
        }
    }
}

#[tokio::test]
async fn heartbeats_come_through_the_coding() {
    let (backend, weir) = proxied(&format!("{ALL}\nheartbeat = {{ every = \"1s\" }}")).await;
    let mut waiting = Vec::new();
    for (way, coding) in WAYS.into_iter().zip(CODINGS) {
        let (client, mut upstream, _) = Response::open(way, weir.address(), &backend, coding).await;
        upstream.chunk("1\n").await;
        waiting.push((client, upstream, Decoded::of(coding)));
    }
    for (client, _upstream, decoded) in &mut waiting {
        for expected in ["data: 1\n\n", ":\n", ":\n"] {
            assert_eq!(decoded.text(&client.piece().await.unwrap()), expected);
        }
    }
}

#[tokio::test]
async fn a_drained_stream_ends_its_coding() {
    let (backend, weir) = proxied(ALL).await;
    let mut open = Vec::new();
    for (way, coding) in WAYS.into_iter().zip(CODINGS) {
        let (client, upstream, _) = Response::open(way, weir.address(), &backend, coding).await;
        open.push((client, upstream, Decoded::of(coding)));
    }
    weir.stop();
    for (client, _upstream, decoded) in &mut open {
        let (text, end) = client.rest(decoded).await;
        assert!(text.starts_with("retry: "), "{text}");
        assert_eq!(end, End::Whole);
        assert!(decoded.is_finished);
    }
}

#[tokio::test]
async fn a_burst_comes_whole_and_short() {
    let (backend, weir) = proxied(ALL).await;
    let records: Vec<_> = (0..20_000).map(|n| format!("{{\"number\":{n}}}")).collect();
    let events: Vec<_> = records
        .iter()
        .map(|record| format!("data: {record}\n\n"))
        .collect();
    let (records, events) = (records.join("\n"), events.concat());
    for way in WAYS {
        for coding in CODINGS {
            let (mut client, mut upstream, _) =
                Response::open(way, weir.address(), &backend, coding).await;
            let mut decoded = Decoded::of(coding);
            let (mut text, mut coded_bytes) = (String::new(), 0);
            let sent = async {
                upstream.chunk(&records).await;
                upstream.end().await;
            };
            let ((), end) = tokio::join!(sent, async {
                loop {
                    match client.piece().await {
                        Ok(piece) => {
                            coded_bytes += piece.len();
                            text.push_str(&decoded.text(&piece));
                        }
                        Err(end) => return end,
                    }
                }
            });
            assert!(text == events && end == End::Whole, "{way:?} {coding}");
            assert!(decoded.is_finished, "{way:?} {coding}");
            assert!(
                coded_bytes * 3 < events.len(),
                "{way:?} {coding}: {coded_bytes}"
            );
        }
    }
}

/// What a reply to this request is coded in, and what it says that it varies by.
async fn said(route: &str, request: &str, reply: &str) -> (String, String) {
    let (backend, weir) = proxied(route).await;
    let mut client = Client::get(weir.address(), "/", request).await;
    let _upstream = backend
        .answer(&format!(
            "HTTP/1.1 200 OK\r\n{reply}Transfer-Encoding: chunked\r\n\r\n"
        ))
        .await;
    let head = client.head().await;
    let field = |name| head.field(name).to_owned();
    (field("content-encoding"), field("vary"))
}

#[tokio::test]
async fn what_is_compressed_is_agreed_upon() {
    const RECORDS: &str = "Content-Type: application/x-ndjson\r\n";
    const EVENTS: &str = "Content-Type: text/event-stream\r\n";
    const BROWSER: &str = "Accept-Encoding: gzip, deflate, br, zstd\r\n";
    const BOTH: &str = "Accept, Accept-Encoding";
    let gzip = "compress = { codings = [\"gzip\"] }";
    let forbidding = "Cache-Control: no-cache, no-transform\r\n";
    for (route, request, reply, coding, vary) in [
        ("", BROWSER, RECORDS, "", "Accept"),
        ("compress = {}", BROWSER, RECORDS, "", "Accept"),
        (ALL, BROWSER, RECORDS, "zstd", BOTH),
        (ALL, BROWSER, EVENTS, "zstd", BOTH),
        (
            ALL,
            &format!("{BROWSER}Accept: application/x-ndjson\r\n"),
            EVENTS,
            "zstd",
            BOTH,
        ),
        (gzip, BROWSER, RECORDS, "gzip", BOTH),
        (
            ALL,
            "Accept-Encoding: br, zstd;q=0.5\r\n",
            RECORDS,
            "br",
            BOTH,
        ),
        (ALL, "Accept-Encoding: identity\r\n", RECORDS, "", BOTH),
        (ALL, "", RECORDS, "", BOTH),
        // No one may touch it: the client says, or the upstream.
        (ALL, &format!("{BROWSER}{forbidding}"), RECORDS, "", BOTH),
        (
            ALL,
            BROWSER,
            &format!("{RECORDS}{forbidding}"),
            "",
            "Accept",
        ),
        (ALL, BROWSER, &format!("{RECORDS}Vary: *\r\n"), "zstd", "*"),
        // What is not converted is not touched.
        (ALL, BROWSER, "Content-Type: text/plain\r\n", "", ""),
        (
            ALL,
            &format!("{BROWSER}Accept: application/x-ndjson\r\n"),
            RECORDS,
            "",
            "Accept",
        ),
        (&format!("{ALL}\nto = \"as-is\""), BROWSER, RECORDS, "", ""),
        (
            ALL,
            &format!("{BROWSER}Range: bytes=0-\r\n"),
            RECORDS,
            "",
            "",
        ),
    ] {
        let expected = (coding.to_owned(), vary.to_owned());
        assert_eq!(
            said(route, request, reply).await,
            expected,
            "{route} {request} {reply}"
        );
    }
}

#[tokio::test]
async fn a_response_begun_before_the_reply_is_not_compressed() {
    let route = format!("{ALL}\nheartbeat = {{ before_reply = \"100ms\" }}");
    let (backend, weir) = proxied(&route).await;
    let mut client = Client::get(weir.address(), "/", "Accept-Encoding: gzip\r\n").await;
    let mut upstream = backend.accept().await;
    upstream.request().await;
    let head = client.head().await;
    assert_eq!(
        (head.field("content-encoding"), head.field("vary")),
        ("", "Accept")
    );
    upstream
        .send(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Length: 2\r\n\r\n1\n",
        )
        .await;
    assert_eq!(client.chunks_to_end().await, "data: 1\n\n");
}

#[tokio::test]
async fn what_the_budget_does_not_hold_goes_out_plain() {
    let process = "threads = 1\ndrain = \"1s\"\ncompress_memory = \"1MiB\"";
    let (backend, weir) = proxied_at(ALL, process).await;
    let mut open = Vec::new();
    for expected in ["br", "br", "", ""] {
        let (client, upstream, [said, vary]) =
            Response::open(Way::Http1, weir.address(), &backend, "br").await;
        assert_eq!((&*said, &*vary), (expected, "Accept, Accept-Encoding"));
        open.push((client, upstream, Decoded::of(expected)));
    }
    for (client, upstream, decoded) in &mut open {
        upstream.chunk("1\n").await;
        assert_eq!(decoded.text(&client.piece().await.unwrap()), "data: 1\n\n");
    }
    // One leaves, and one ends; each makes room.
    let (left, mut upstream, _) = open.remove(0);
    drop(left);
    upstream.closed().await;
    let (mut client, mut upstream, mut decoded) = open.remove(0);
    upstream.end().await;
    assert_eq!(client.rest(&mut decoded).await, (String::new(), End::Whole));
    for expected in ["br", "br", ""] {
        let (client, upstream, [said, _]) =
            Response::open(Way::Http1, weir.address(), &backend, "br").await;
        assert_eq!(said, expected);
        open.push((client, upstream, Decoded::of("")));
    }
}
