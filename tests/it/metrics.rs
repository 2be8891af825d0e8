//! Do the counts tell what happened, under the names that are promised?

use std::collections::BTreeSet;

use crate::support::{NDJSON, Weir, backend::Backend, client::Client, soon, tls::certificate};

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
            "weir_first_event_seconds_bucket{le=\"+Inf\",route=\"chat\"} 1",
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
async fn connections_are_counted_on_both_sides() {
    let backend = Backend::bind().await;
    let gone = Backend::bind().await;
    let nobody = gone.endpoint();
    drop(gone);
    let weir = Weir::start(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\nendpoints = [\"{}\"]\n[upstream.gone]\nendpoints = [\"{nobody}\"]\n\
         [[route]]\nname = \"chat\"\npath = \"/chat\"\nupstream = \"test\"\n\
         [[route]]\nname = \"gone\"\npath = \"/gone\"\nupstream = \"gone\"\n",
        backend.endpoint()
    ));
    let listener = weir.address();
    let mut client = Client::get(listener, "/chat", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    let mut refused = Client::get(listener, "/gone", "Connection: close\r\n").await;
    assert_eq!(refused.head().await.status, 502);
    refused.rest().await;
    let (open, none) = (
        format!("weir_connections_open{{listener=\"{listener}\"}} 1"),
        format!("weir_connections_total{{listener=\"{listener}\",version=\"2\"}} 0"),
    );
    let both = format!("weir_connections_total{{listener=\"{listener}\",version=\"1.1\"}} 2");
    let failure = format!(
        "weir_connect_failures_total{{upstream=\"gone\",endpoint=\"{nobody}\",reason=\"connect_failed\"}} 1"
    );
    let lines = [
        &open,
        &none,
        &both,
        &failure,
        "weir_connect_seconds_count{upstream=\"test\"} 1",
        "weir_connect_seconds_count{upstream=\"gone\"} 0",
    ];
    told(&weir, &lines).await;
    drop(client);
    upstream.closed().await;
    let closed = format!("weir_connections_open{{listener=\"{listener}\"}} 0");
    told(&weir, &[&closed, &both]).await;
}

#[tokio::test]
async fn records_that_are_no_good_are_counted_by_what_is_wrong() {
    let backend = Backend::bind().await;
    let weir = Weir::start(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\nendpoints = [\"{}\"]\n[[route]]\nname = \"r\"\nupstream = \"test\"\n\
         limits = {{ record = \"64B\" }}\nevent = {{ id = {{ at = \"/id\" }}, on_bad_record = \"skip\" }}\n",
        backend.endpoint()
    ));
    let stream = async |content_type: &str, body: &str| {
        let mut client = Client::get(weir.address(), "/", "").await;
        let mut upstream = backend.stream(content_type).await;
        upstream.chunk(body).await;
        upstream.end().await;
        client.head().await;
        client.rest_or_last_chunk().await
    };
    let (body, is_whole) = stream(NDJSON, "{\"id\":1}\nno\nneither\n{\"id\":2}\n").await;
    assert!(is_whole && body.contains("id: 2"), "{body:?}");
    let (body, is_whole) = stream("application/json-seq", "\x1E1\n\x1E[2\x1E?\n\x1E3\n").await;
    assert!(is_whole && body.ends_with("data: 3\n\n"), "{body:?}");
    let (body, is_whole) = stream(NDJSON, &"x".repeat(65)).await;
    assert!(!is_whole && body.contains("record_too_large"), "{body:?}");
    let (_, is_whole) = stream("application/json-seq", "\x1E[").await;
    assert!(!is_whole);
    let labels = |framing: &str, code: &str| {
        format!("weir_decode_errors_total{{route=\"r\",framing=\"{framing}\",code=\"{code}\"}} 1")
    };
    let (large, torn) = (
        labels("ndjson", "record_too_large"),
        labels("json-seq", "truncated"),
    );
    let skipped = "weir_records_skipped_total{route=\"r\"} 4";
    told(&weir, &[skipped, &large, &torn]).await;
}

#[tokio::test]
async fn the_process_its_configuration_and_its_certificates_are_told_of() {
    let backend = Backend::bind().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let _ = certificate(directory.path(), "a", &["a.example", "b.example"]);
    let tls = format!("tls = {{ certificate = \"{path}/a.pem\", key = \"{path}/a.key\" }}\n");
    let toml = |tls: &str| {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n{tls}[admin]\naddress = \"127.0.0.1:0\"\n\
             [upstream.test]\nendpoints = [\"{}\"]\n[[route]]\nname = \"r\"\nupstream = \"test\"\n",
            backend.endpoint()
        )
    };
    let mut weir = Weir::start(&toml(&tls));
    let told_first = scrape(&weir).await;
    let number = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(number(&told_first, "process_resident_memory_bytes ") > 1e6);
    assert!(number(&told_first, "process_open_fds ") < number(&told_first, "process_max_fds "));
    assert!(number(&told_first, "process_cpu_seconds_total ") > 0.0);
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("weir_build_info{{version=\"{version}\"}} 1");
    let lines: Vec<&str> = told_first.lines().collect();
    for line in [
        &*build,
        "weir_compress_bytes 0",
        "weir_compress_limit_bytes 67108864",
        "weir_config_generation 1",
        "weir_log_dropped_total 0",
    ] {
        assert!(lines.contains(&line), "{line}");
    }
    let listener = weir.address().to_owned();
    let expiry =
        format!("weir_certificate_expiry_seconds{{listener=\"{listener}\",name=\"a.example\"}} ");
    let loaded = number(&told_first, "weir_config_loaded_timestamp_seconds ");
    assert!(number(&told_first, &expiry) > loaded);
    weir.reload(&toml("")).await.unwrap();
    let told_next = scrape(&weir).await;
    assert!(told_next.contains("\nweir_config_generation 2\n"));
    assert!(number(&told_next, "weir_config_loaded_timestamp_seconds ") >= loaded);
    assert!(
        !told_next.contains("weir_certificate_expiry_seconds{"),
        "nobody uses it any more"
    );
}

#[tokio::test]
async fn the_readme_lists_each_metric_and_no_other() {
    let backend = Backend::bind().await;
    let text = scrape(&start(&backend)).await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let told: BTreeSet<String> = types
        .map(|line| match line.split_once(' ').unwrap() {
            (name, "counter") => format!("{name}_total"),
            (name, "info") => format!("{name}_info"),
            (name, _) => name.to_owned(),
        })
        .collect();
    let readme = include_str!("../../README.md");
    let listed: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter(|rest| rest.starts_with("weir_") || rest.starts_with("process_"))
        .map(|rest| rest.split(['`', '{']).next().unwrap().to_owned())
        .collect();
    assert_eq!(listed, told);
}
