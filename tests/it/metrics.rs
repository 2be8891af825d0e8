//! Do the counts tell what happened, under the names that are promised?

use std::collections::BTreeSet;

use crate::support::{NDJSON, Weir, backend::Backend, client::Client, soon};

/// All that the admin listener tells.
pub async fn scrape(weir: &Weir) -> String {
    let address = weir.admin.as_ref().expect("an admin listener");
    let mut client = Client::connect(address).await;
    client
        .send("GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    assert!(
        head.field("content-type")
            .starts_with("application/openmetrics-text")
    );
    client.rest().await
}

/// Waits until every one of these lines is told.
pub async fn told(weir: &Weir, lines: &[&str]) -> String {
    soon(&format!("{lines:?}"), async {
        loop {
            let text = scrape(weir).await;
            if lines
                .iter()
                .all(|line| text.lines().any(|told| told == *line))
            {
                return text;
            }
        }
    })
    .await
}

fn start(backend: &Backend) -> Weir {
    Weir::start(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\nendpoints = [\"{}\"]\n\
         [[route]]\nname = \"chat\"\npath = \"/chat\"\nupstream = \"test\"\nheartbeat = {{ every = \"1s\" }}\n",
        backend.endpoint()
    ))
}

#[tokio::test]
async fn a_stream_is_counted_from_its_head_to_its_end() {
    let backend = Backend::bind().await;
    let weir = start(&backend);
    let mut client = Client::get(weir.address(), "/chat", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    upstream.chunk("{\"a\":1}\n{\"b\":2}\n").await;
    assert_eq!(client.chunk().await.unwrap().len(), 30);
    assert_eq!(client.chunk().await.as_deref(), Some(":\n"));
    let endpoint = format!(
        "weir_endpoint_streams{{upstream=\"test\",endpoint=\"{}\"}} 1",
        backend.endpoint()
    );
    told(
        &weir,
        &[
            "weir_streams_open{route=\"chat\",to=\"sse\"} 1",
            "weir_events_total{route=\"chat\"} 2",
            "weir_bytes_total{route=\"chat\",direction=\"in\"} 16",
            "weir_bytes_total{route=\"chat\",direction=\"out\"} 32",
            "weir_heartbeats_total{route=\"chat\"} 1",
            "weir_first_event_seconds_count{route=\"chat\"} 1",
            &endpoint,
        ],
    )
    .await;
    upstream.chunk("3\n").await;
    upstream.end().await;
    assert!(client.chunks_to_end().await.ends_with("data: 3\n\n"));
    let text = told(
        &weir,
        &[
            "weir_streams_open{route=\"chat\",to=\"sse\"} 0",
            "weir_streams_total{route=\"chat\",to=\"sse\",ending=\"complete\"} 1",
            "weir_event_gap_seconds_count{route=\"chat\"} 1",
            "weir_stream_age_seconds_count{route=\"chat\"} 1",
            "weir_cancel_seconds_count{route=\"chat\"} 0",
        ],
    )
    .await;
    assert!(!text.contains("/chat"), "no label holds a path");
}

#[tokio::test]
async fn clients_that_leave_and_requests_without_a_route_are_counted() {
    let backend = Backend::bind().await;
    let weir = start(&backend);
    let mut client = Client::get(weir.address(), "/chat", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    drop(client);
    upstream.closed().await;
    let mut lost = Client::get(weir.address(), "/nowhere", "").await;
    assert_eq!(lost.head().await.status, 404);
    told(
        &weir,
        &[
            "weir_streams_total{route=\"chat\",to=\"sse\",ending=\"client_gone\"} 1",
            "weir_cancel_seconds_count{route=\"chat\"} 1",
            "weir_streams_total{route=\"-\",to=\"as-is\",ending=\"no_route\"} 1",
            "weir_reloads_total{result=\"done\"} 0",
            "weir_generations 1",
        ],
    )
    .await;
}

#[tokio::test]
async fn the_readme_lists_each_metric_and_no_other() {
    let backend = Backend::bind().await;
    let text = scrape(&start(&backend)).await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let told: BTreeSet<String> = types
        .map(|line| match line.split_once(' ').unwrap() {
            (name, "counter") => format!("{name}_total"),
            (name, _) => name.to_owned(),
        })
        .collect();
    let readme = include_str!("../../README.md");
    let listed: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `weir_"))
        .map(|rest| format!("weir_{}", rest.split(['`', '{']).next().unwrap()))
        .collect();
    assert_eq!(listed, told);
}
