//! Does a collector learn of streams when they begin and when they end, and nobody suffer by it?

use serde_json::Value;

use crate::support::{
    NDJSON, Weir,
    backend::{Backend, Connection},
    client::Client,
    soon,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A collector of traces that decodes what comes.
struct Collector {
    backend: Backend,
    connection: Option<Connection>,
}

impl Collector {
    async fn bind() -> Self {
        Self {
            backend: Backend::bind().await,
            connection: None,
        }
    }

    /// The configuration that sends traces here, with these further keys.
    fn toml(&self, keys: &str) -> String {
        format!(
            "[traces]\nendpoint = \"{}\"\n{keys}\n",
            self.backend.endpoint()
        )
    }

    /// Takes one post, answers it so, and gives its spans.
    async fn post(&mut self, status: &str, answer: &str) -> Vec<Value> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.backend.accept().await),
        };
        let head = connection.request().await;
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-type: application/json\r\n"));
        let host = format!("\r\nhost: {}\r\n", self.backend.address());
        assert!(head.contains(&host), "{head}");
        let length = head.split("\r\ncontent-length: ").nth(1).unwrap();
        let length = length.split('\r').next().unwrap().parse().unwrap();
        let body = connection.read(length).await;
        let length = answer.len();
        connection
            .send(format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{answer}"
            ))
            .await;
        let document: Value = serde_json::from_slice(&body).unwrap();
        let resource = &document["resourceSpans"][0];
        let service = attribute(&resource["resource"], "service.name");
        assert_eq!(service, "edge", "{resource}");
        let spans = resource["scopeSpans"][0]["spans"].as_array();
        spans.unwrap().clone()
    }

    /// Takes posts until so many spans have come.
    async fn spans(&mut self, count: usize) -> Vec<Value> {
        let mut spans = Vec::new();
        while spans.len() < count {
            spans.append(&mut self.post("200 OK", "{}").await);
        }
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }
}

fn attribute(of: &Value, name: &str) -> String {
    let mut attributes = of["attributes"].as_array().unwrap().iter();
    let found = attributes.find(|attribute| attribute["key"] == name);
    let value = found.map_or(&Value::Null, |attribute| &attribute["value"]);
    let value = value["stringValue"].as_str().or(value["intValue"].as_str());
    value.unwrap_or_default().to_owned()
}

/// The span of that kind: 1 is within, 2 a request that came, 3 one that was sent.
fn of_kind(spans: &[Value], kind: u8) -> &Value {
    let found = spans.iter().find(|span| span["kind"] == kind);
    found.unwrap_or_else(|| panic!("none of kind {kind}: {spans:#?}"))
}

fn events(span: &Value) -> Vec<&str> {
    let events = span["events"].as_array().unwrap().iter();
    events
        .map(|event| event["name"].as_str().unwrap())
        .collect()
}

fn time(span: &Value, name: &str) -> u64 {
    span[name].as_str().unwrap().parse().unwrap()
}

/// The trace, the parent and the flags that an upstream saw.
fn seen(head: &str) -> Vec<String> {
    let line = head.lines().find(|line| line.starts_with("traceparent: "));
    let parts = line.unwrap_or_else(|| panic!("no trace in {head}"));
    let parts = parts["traceparent: ".len()..].split('-').skip(1);
    parts.map(str::to_owned).collect()
}

fn toml(backend: &Backend, route: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\nendpoints = [\"{}\"]\n\
         [[route]]\nname = \"chat\"\npath = \"/chat\"\nupstream = \"test\"\n{route}\n",
        backend.endpoint()
    )
}

fn parent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{CALLER}-{flags}\r\ntracestate: vendor=1\r\n")
}

const SERVICE: &str = "service_name = \"edge\"";

const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Waits until the metric has this value.
async fn counted(weir: &Weir, metric: &str) {
    soon(metric, async {
        loop {
            let address = weir.admin.as_ref().unwrap();
            let mut client = Client::get(address, "/metrics", "Connection: close\r\n").await;
            client.head().await;
            if client.rest().await.lines().any(|line| line == metric) {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_is_told_of_when_it_begins_and_when_it_ends() {
    let (backend, mut collector) = (Backend::bind().await, Collector::bind().await);
    let route = "heartbeat = { every = \"1s\" }";
    let weir = Weir::start_at(
        &(collector.toml(SERVICE) + &toml(&backend, route)),
        "threads = 1\ndrain = \"1s\"\ntrusted_proxies = [\"127.0.0.1\"]",
    );
    let fields = parent("01") + "Forwarded: for=192.0.2.7\r\n";
    let mut client = Client::get(weir.address(), "/chat?secret=1", &fields).await;
    let mut upstream = backend.accept().await;
    let head = upstream.request().await;
    assert!(head.contains("\r\ntracestate: vendor=1\r\n"), "{head}");
    let seen = seen(&head);
    upstream.send(CHUNKED).await;
    client.head().await;

    let begun = collector.spans(2).await;
    let (server, sent) = (of_kind(&begun, 2), of_kind(&begun, 3));
    for span in &begun {
        assert_eq!(span["traceId"], TRACE);
        assert_eq!(span["traceState"], "vendor=1");
        assert!(!span.to_string().contains("secret"), "{span}");
        assert_eq!(attribute(span, "weir.route"), "chat");
        assert_eq!(attribute(span, "weir.endpoint"), backend.endpoint());
        assert!(span["status"].is_null());
    }
    assert_eq!(server["parentSpanId"], CALLER);
    assert_eq!(server["flags"], 0x301);
    assert_eq!(server["name"], "GET chat");
    assert_eq!(attribute(server, "http.response.status_code"), "200");
    assert_eq!(attribute(server, "url.path"), "/chat");
    assert_eq!(attribute(server, "client.address"), "192.0.2.7");
    assert_eq!(events(server), ["reply"]);
    assert_eq!(sent["parentSpanId"], server["spanId"]);
    assert_eq!(seen[..], [TRACE, sent["spanId"].as_str().unwrap(), "01"]);
    assert_ne!(sent["spanId"], CALLER);

    upstream.chunk("{\"a\":1}\n{\"b\":2}\n").await;
    client.chunks_until(":\n").await;
    upstream.end().await;
    client.chunks_to_end().await;
    let ended = collector.spans(1).await;
    let stream = of_kind(&ended, 1);
    assert_eq!(stream["traceId"], TRACE);
    assert_eq!(stream["parentSpanId"], server["spanId"]);
    assert_eq!(stream["name"], "stream chat");
    assert_eq!(events(stream), ["first_event", "first_heartbeat", "end"]);
    let (from, to) = ("startTimeUnixNano", "endTimeUnixNano");
    assert_eq!(time(stream, from), time(server, to));
    assert!(time(stream, to) >= time(stream, from) + 1_000_000_000);
    for (name, value) in [
        ("weir.ending", "complete"),
        ("weir.to", "sse"),
        ("weir.events", "2"),
    ] {
        assert_eq!(attribute(stream, name), value);
    }
    assert_ne!(attribute(stream, "weir.heartbeats"), "0");
    counted(&weir, "weir_trace_spans_sent_total 3").await;
}

#[tokio::test]
async fn a_head_that_precedes_its_reply_is_told_of_first() {
    let (backend, mut collector) = (Backend::bind().await, Collector::bind().await);
    let route = "from = \"ndjson\"\nheartbeat = { before_reply = \"100ms\" }";
    let weir = Weir::start(&(collector.toml(SERVICE) + &toml(&backend, route)));
    let mut client = Client::get(weir.address(), "/chat", "").await;
    let mut upstream = backend.accept().await;
    let seen = seen(&upstream.request().await);
    client.head().await;
    let begun = collector.spans(1).await;
    let server = of_kind(&begun, 2);
    assert!(server["parentSpanId"].is_null() && events(server).is_empty());
    assert_eq!(server["flags"], 0x101);
    upstream.send(CHUNKED).await;
    upstream.chunk("1\n").await;
    client.chunks_until("data: 1\n\n").await;
    let replied = collector.spans(1).await;
    assert_eq!(replied[0]["kind"], 3);
    assert_eq!(seen[1], replied[0]["spanId"].as_str().unwrap());
    drop(upstream);
    client.rest_or_last_chunk().await;
    let ended = collector.spans(1).await;
    assert_eq!(events(&ended[0]), ["reply", "first_event", "end"]);
    assert_eq!(attribute(&ended[0], "error.type"), "upstream_truncated");
    assert_eq!(ended[0]["status"]["code"], 2);
}

#[tokio::test]
async fn without_a_stream_there_is_a_span_at_the_end() {
    let (backend, mut collector) = (Backend::bind().await, Collector::bind().await);
    let weir = Weir::start(&(collector.toml(SERVICE) + &toml(&backend, "")));
    let mut client = Client::get(weir.address(), "/nowhere", "").await;
    assert_eq!(client.head().await.status, 404);
    let refused = collector.spans(1).await;
    assert_eq!(refused[0]["name"], "GET");
    assert_eq!(attribute(&refused[0], "weir.ending"), "no_route");
    assert!(refused[0]["status"].is_null(), "the client is to blame");

    let mut client = Client::get(weir.address(), "/chat", "").await;
    drop(backend.accept().await);
    assert_eq!(client.head().await.status, 502);
    let failed = collector.spans(2).await;
    for span in &failed {
        assert_eq!(span["status"]["code"], 2, "{span}");
    }
    assert_eq!(
        of_kind(&failed, 3)["parentSpanId"],
        of_kind(&failed, 2)["spanId"]
    );

    let mut client = Client::get(weir.address(), "/chat", "").await;
    let length = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
    let _upstream = backend.answer(length).await;
    client.until("ok").await;
    let whole = collector.spans(2).await;
    assert_eq!(attribute(of_kind(&whole, 2), "weir.bytes"), "2");
    assert_eq!(events(of_kind(&whole, 2)), ["reply", "end"]);
}

#[tokio::test]
async fn who_sends_a_trace_decides_and_nobody_else_is_traced_by_chance() {
    let (backend, mut collector) = (Backend::bind().await, Collector::bind().await);
    let keys = format!("sample = 0\n{SERVICE}");
    let weir = Weir::start(&(collector.toml(&keys) + &toml(&backend, "")));
    let ask = async |fields: &str| {
        let mut client = Client::get(weir.address(), "/chat", fields).await;
        let mut upstream = backend.accept().await;
        let head = upstream.request().await;
        upstream
            .send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .await;
        assert_eq!(client.head().await.status, 204);
        head
    };
    let head = ask(&parent("00")).await;
    assert_eq!(seen(&head)[..], [TRACE, CALLER, "00"], "as it came");
    assert!(head.contains("\r\ntracestate: vendor=1\r\n"));
    let head = ask("").await;
    assert_eq!(seen(&head)[2], "00");
    let head = ask(&parent("0")).await;
    assert_ne!(seen(&head)[0], TRACE, "a broken trace begins anew");
    assert!(!head.contains("tracestate"));
    let head = ask(&parent("01")).await;
    assert_eq!(seen(&head)[2], "01");
    // Only the last of them is told of.
    for span in collector.spans(2).await {
        assert_eq!(span["traceId"], TRACE);
    }
}

#[tokio::test]
async fn without_a_collector_the_trace_passes_as_it_is() {
    let backend = Backend::bind().await;
    let mut weir = Weir::start(&toml(&backend, ""));
    let mut client = Client::get(weir.address(), "/chat", &parent("01")).await;
    let mut upstream = backend.accept().await;
    assert_eq!(seen(&upstream.request().await)[..], [TRACE, CALLER, "01"]);
    upstream.send(CHUNKED).await;
    client.head().await;

    // A collector that a reload brings learns of what begins from then on.
    let mut collector = Collector::bind().await;
    let next = collector.toml(SERVICE) + &toml(&backend, "");
    weir.reload(&next).await.unwrap();
    upstream.end().await;
    client.chunks_to_end().await;
    let mut later = Client::get(weir.address(), "/nowhere", "").await;
    assert_eq!(later.head().await.status, 404);
    assert_eq!(
        attribute(&collector.spans(1).await[0], "url.path"),
        "/nowhere"
    );
}

#[tokio::test]
async fn what_a_collector_cannot_take_now_comes_again_and_what_it_refuses_is_lost() {
    let (backend, mut collector) = (Backend::bind().await, Collector::bind().await);
    let weir = Weir::start(&(collector.toml(SERVICE) + &toml(&backend, "")));
    let ask = async || {
        let mut client = Client::get(weir.address(), "/nowhere", "Connection: close\r\n").await;
        assert_eq!(client.head().await.status, 404);
    };
    ask().await;
    let busy = "503 Service Unavailable\r\nRetry-After: 0";
    let first = collector.post(busy, "").await;
    assert_eq!(first, collector.post("200 OK", "{}").await);
    counted(&weir, "weir_trace_spans_sent_total 1").await;
    ask().await;
    collector.post("400 Bad Request", "no").await;
    counted(&weir, "weir_trace_spans_dropped_total 1").await;
    ask().await;
    let partly = "{\"partialSuccess\":{\"rejectedSpans\":\"1\"}}";
    collector.post("200 OK", partly).await;
    counted(&weir, "weir_trace_spans_dropped_total 2").await;
    counted(&weir, "weir_trace_spans_sent_total 1").await;
}

#[tokio::test]
async fn a_collector_that_is_gone_or_silent_changes_nothing() {
    let backend = Backend::bind().await;
    let gone = Collector::bind().await;
    let nowhere = gone.toml(SERVICE);
    drop(gone);
    let silent = Collector::bind().await;
    for traces in [nowhere, silent.toml(SERVICE)] {
        let weir = Weir::start(&(traces + &toml(&backend, "")));
        let mut client = Client::get(weir.address(), "/chat", "").await;
        let mut upstream = backend.stream(NDJSON).await;
        client.head().await;
        upstream.chunk("1\n").await;
        assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
        upstream.end().await;
        assert_eq!(client.chunks_to_end().await, "");
        weir.stop();
        weir.ended().await;
    }
}

#[tokio::test]
async fn the_last_spans_are_posted_before_the_process_ends() {
    let (backend, mut collector) = (Backend::bind().await, Collector::bind().await);
    let weir = Weir::start(&(collector.toml(SERVICE) + &toml(&backend, "")));
    let mut client = Client::get(weir.address(), "/chat", "").await;
    let _upstream = backend.stream(NDJSON).await;
    client.head().await;
    collector.spans(2).await;
    weir.stop();
    let (ended, ()) = tokio::join!(collector.spans(1), weir.ended());
    assert_eq!(attribute(&ended[0], "weir.ending"), "drained");
    assert!(ended[0]["status"].is_null());
}
