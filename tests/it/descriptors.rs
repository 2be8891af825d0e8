//! Does a newcomer wait, rather than be refused, when the process may open no further file?

use std::{
    fmt::Write as _,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    metrics::{scrape, told},
    support::{
        NDJSON, Weir,
        backend::{Backend, Connection},
        client::Client,
        client2::Client2,
        process::{Process, WEIR},
        proxied_at, soon,
    },
};

/// How many files the process may open.
const FILES: usize = 160;

/// A `weir` that may open few files and its address, and the directory of its file.
fn short(backend: &Backend, upstream: &str) -> ((Process, String), tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    let mut text = format!(
        "[process]\nthreads = 2\ndrain = \"1s\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\nendpoints = [\"{}\"]\n",
        backend.endpoint()
    );
    writeln!(
        text,
        "{upstream}\n[[route]]\nname = \"test\"\nupstream = \"test\""
    )
    .unwrap();
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("prlimit");
    let limit = format!("--nofile={FILES}:{FILES}");
    command.args([&limit, WEIR, "--log", "weir=debug"]);
    command.args(["run", "--config", file.to_str().unwrap()]);
    let mut weir = Process::start(&mut command);
    let address = weir.address();
    ((weir, address), directory)
}

/// Reads one stream to its end, and stays until the proxy or `is_over` sends it away: an idle connection must not
/// keep others waiting.
async fn visit(address: String, mut is_over: watch::Receiver<bool>) {
    let mut client = Client::get(&address, "/", "").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
    assert_eq!(client.chunk().await, None);
    tokio::select! {
        closed = client.rest() => assert_eq!(closed, ""),
        _ = is_over.wait_for(|is_over| *is_over) => {}
    }
}

/// Begins a stream for each that comes; they end as soon as `may_end`. The most that were open at once.
async fn serve(backend: &Backend, count: usize, may_end: watch::Receiver<bool>) -> usize {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut streams = JoinSet::new();
    for _ in 0..count {
        let mut connection: Connection = backend.stream(NDJSON).await;
        let (open, most, mut may_end) = (Arc::clone(&open), Arc::clone(&most), may_end.clone());
        most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
        streams.spawn(async move {
            connection.chunk("1\n").await;
            may_end.wait_for(|may_end| *may_end).await.unwrap();
            connection.end().await;
            open.fetch_sub(1, SeqCst);
        });
    }
    streams.join_all().await;
    most.load(SeqCst)
}

#[tokio::test]
async fn newcomers_wait_until_others_have_left() {
    const CLIENTS: usize = 200;
    let backend = Backend::bind().await;
    let ((weir, address), _directory) = short(&backend, "");
    let (may_end, ending) = watch::channel(false);
    let (is_over, over) = watch::channel(false);
    let mut visits = JoinSet::new();
    for _ in 0..CLIENTS {
        visits.spawn(visit(address.clone(), over.clone()));
    }
    let serving = tokio::spawn(async move { serve(&backend, CLIENTS, ending).await });
    let _weir = until_said(weir, "wait in the kernel's queue").await;
    may_end.send_replace(true);
    let most = serving.await.unwrap();
    is_over.send_replace(true);
    visits.join_all().await;
    assert!(most < FILES / 2, "{most} at once");
}

/// Streams over HTTP/2 take descriptors, and no connection's place: they wait as long as connecting may take.
#[tokio::test]
async fn a_stream_over_http2_waits_for_a_descriptor() {
    let backend = Backend::bind().await;
    let ((weir, address), _directory) = short(&backend, "connect_timeout = \"20s\"");
    let client = Arc::new(Client2::connect(&address).await);
    let (may_end, ending) = watch::channel(false);
    let serving = tokio::spawn(async move { serve(&backend, FILES, ending).await });
    let mut streams = JoinSet::new();
    for _ in 0..FILES {
        let client = Arc::clone(&client);
        streams.spawn(async move {
            let mut response = client.get("/").await;
            assert_eq!(response.head.status, 200);
            assert_eq!(response.rest().await, ("data: 1\n\n".to_owned(), None));
        });
    }
    let _weir = until_said(weir, "waits for a descriptor").await;
    may_end.send_replace(true);
    let most = serving.await.unwrap();
    streams.join_all().await;
    assert!(most < FILES, "{most} at once");
}

#[tokio::test]
async fn a_stream_that_finds_no_descriptor_in_time_is_told_when_to_come_again() {
    let backend = Backend::bind().await;
    let ((_weir, address), _directory) = short(&backend, "connect_timeout = \"200ms\"");
    let client = Client2::connect(&address).await;
    let (_may_end, ending) = watch::channel(false);
    let serving = tokio::spawn(async move { serve(&backend, FILES, ending).await });
    let mut open = Vec::new();
    let refused = loop {
        assert!(open.len() < FILES);
        let response = client.get("/").await;
        if response.head.status != 200 {
            break response;
        }
        open.push(response);
    };
    assert!(open.len() > FILES / 2, "{} fit", open.len());
    assert_eq!(refused.head.status, 503);
    let field = |name| refused.head.headers[name].to_str().unwrap();
    assert_eq!(field("proxy-status"), "weir; error=proxy_internal_error");
    assert!(field("retry-after").parse::<u64>().unwrap() > 0);
    serving.abort();
}

/// Connections that are kept to some endpoints after a crowd are missing where the streams of others begin.
#[tokio::test]
async fn kept_connections_go_when_a_descriptor_is_missing() {
    const CLIENTS: usize = 40;
    let first = Backend::bind().await;
    let (mut backends, mut others) = (Vec::new(), String::new());
    for name in ["second", "third"] {
        let backend = Backend::bind().await;
        let endpoint = backend.endpoint();
        write!(
            others,
            "\n[upstream.{name}]\nendpoints = [\"{endpoint}\"]\n[[route]]\nname = \"{name}\"\npath = \"/{name}\"\n\
             upstream = \"{name}\"\n"
        )
        .unwrap();
        backends.push((name, backend));
    }
    let ((weir, address), _directory) = short(&first, &others);
    backends.insert(0, ("first", first));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::connect(&address).await);
    }
    // Each client has two descriptors of 160 at first, then three, and then there is no fourth one for all.
    let mut kept: Vec<Connection> = Vec::new();
    for (name, backend) in &backends {
        let mut streams = Vec::new();
        for client in &mut clients {
            let request = format!("GET /{name} HTTP/1.1\r\nHost: test\r\n\r\n");
            client.send(request).await;
            let mut connection = backend.stream(NDJSON).await;
            connection.chunk("1\n").await;
            assert_eq!(client.head().await.status, 200);
            streams.push(connection);
        }
        for (client, mut connection) in clients.iter_mut().zip(streams) {
            connection.end().await;
            assert_eq!(client.chunks_to_end().await, "data: 1\n\n");
            kept.push(connection);
        }
    }
    until_said(weir, "waits for a descriptor").await;
}

#[tokio::test]
async fn the_most_connections_are_told_and_follow_a_reload() {
    let backend = Backend::bind().await;
    let toml = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[upstream.test]\n\
         endpoints = [\"{}\"]\n[[route]]\nname = \"test\"\nupstream = \"test\"\n",
        backend.endpoint()
    );
    let mut weir = Weir::start_at(&toml, "threads = 1\nconnections = 3");
    told(&weir, &["weir_connections_max 3"]).await;
    // Without the key it is what the descriptors allow.
    weir.reload(&toml).await.unwrap();
    let text = scrape(&weir).await;
    let most = text
        .lines()
        .find_map(|line| line.strip_prefix("weir_connections_max "));
    let most: u64 = most.unwrap().parse().unwrap();
    let (files, _) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
    assert!(
        (files / 4..=files / 2).contains(&most),
        "{most} with {files} files"
    );
}

/// A proxy that takes so few connections, with so many workers.
async fn full_at(connections: usize, threads: usize) -> (Backend, Weir) {
    let process = format!("threads = {threads}\ndrain = \"1s\"\nconnections = {connections}");
    proxied_at("", &process).await
}

/// Has a client's whole request answered; its connection is idle then.
async fn serve_once(client: &mut Client, backend: &Backend) {
    let answer = async {
        let mut connection = backend.stream(NDJSON).await;
        connection.chunk("1\n").await;
        connection.end().await;
    };
    let read = async {
        assert_eq!(client.head().await.status, 200);
        assert_eq!(client.chunks_to_end().await, "data: 1\n\n");
    };
    tokio::join!(answer, read);
}

#[tokio::test]
async fn the_connection_that_is_idle_for_longest_goes_for_a_newcomer() {
    let (backend, weir) = full_at(3, 1).await;
    let mut open = Client::get(weir.address(), "/", "").await;
    let mut open_upstream = backend.stream(NDJSON).await;
    open.head().await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut client = Client::get(weir.address(), "/", "").await;
        serve_once(&mut client, &backend).await;
        idle.push(client);
    }
    let mut newcomer = Client::get(weir.address(), "/", "").await;
    let mut longest = idle.remove(0);
    let leave = async move { assert_eq!(longest.rest().await, "", "closed") };
    tokio::join!(leave, serve_once(&mut newcomer, &backend));
    // The other one has its place still, and the open stream is none of theirs.
    idle[0].send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    serve_once(&mut idle[0], &backend).await;
    open_upstream.chunk("2\n").await;
    assert_eq!(open.chunk().await.as_deref(), Some("data: 2\n\n"));
}

/// A newcomer's worker may have no idle connection itself.
#[tokio::test]
async fn idle_connections_of_other_workers_go_for_a_newcomer_too() {
    // Which worker a connection comes to is the kernel's choice; eight times the same one is unlikely.
    for _ in 0..8 {
        let (backend, weir) = full_at(1, 2).await;
        let mut idle = Client::get(weir.address(), "/", "").await;
        serve_once(&mut idle, &backend).await;
        let mut newcomer = Client::get(weir.address(), "/", "").await;
        let leave = async move { assert_eq!(idle.rest().await, "", "closed") };
        tokio::join!(leave, serve_once(&mut newcomer, &backend));
    }
}

#[tokio::test]
async fn an_idle_http2_connection_goes_for_a_newcomer() {
    let (backend, weir) = full_at(1, 1).await;
    let client = Client2::connect(weir.address()).await;
    for _ in 0..2 {
        let answer = async {
            let mut connection = backend.stream(NDJSON).await;
            connection.chunk("1\n").await;
            connection.end().await;
        };
        let ((), response) = tokio::join!(answer, async { client.get("/").await.rest().await });
        assert_eq!(response, ("data: 1\n\n".to_owned(), None));
    }
    let mut newcomer = Client::get(weir.address(), "/", "").await;
    serve_once(&mut newcomer, &backend).await;
    let gone = soon("the connection's end", client.sender().ready()).await;
    assert!(gone.is_err(), "it was told to go");
}

/// Whoever writes numbers down learns which of them this machine does not allow.
#[test]
fn check_tells_which_connections_the_files_do_not_allow() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    let check = |process: &str, listener: &str, upstream: &str| {
        let text = format!(
            "[process]\n{process}\n[[listener]]\naddress = \"127.0.0.1:0\"\n{listener}\n[upstream.test]\n\
             endpoints = [\"http://127.0.0.1:1\"]\n{upstream}\n[[route]]\nname = \"test\"\nupstream = \"test\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let limit = format!("--nofile={FILES}:{FILES}");
        let mut command = Command::new("prlimit");
        command.args([&limit, WEIR, "check", file.to_str().unwrap()]);
        let checked = command.output().unwrap();
        assert!(checked.status.success());
        String::from_utf8(checked.stderr).unwrap()
    };
    let allowed = (FILES - FILES / 4) / 2;
    let (few, many) = (
        format!("connections = {allowed}"),
        format!("connections = {}", allowed + 1),
    );
    let of_listener = |connections: &str| format!("limits = {{ {connections} }}");
    for (process, listener, upstream) in [
        ("", String::new(), ""),
        (&few, of_listener(&few), ""),
        (&many, of_listener(&many), "http = \"2\""),
    ] {
        assert_eq!(check(process, &listener, upstream), "");
    }
    let enough =
        format!("may open {FILES} files here, which is enough for {allowed}; raise the limit");
    let said = many.replace('=', "is");
    let told = check("", &of_listener(&many), "");
    assert!(
        told.contains(&format!(":5: warning: listener 127.0.0.1:0: limits {said}")),
        "{told}"
    );
    assert!(told.contains(&enough), "{told}");
    let told = check(&many, "", "");
    assert!(
        told.contains(&format!(":2: warning: process {said}")),
        "{told}"
    );
    assert!(told.contains(&enough), "{told}");
    let told = check(&few, &of_listener(&many), "");
    assert!(
        told.contains(&format!("all listeners together have {allowed}")),
        "{told}"
    );
}

/// Waits until the process says this on standard error.
async fn until_said(mut weir: Process, needle: &'static str) -> Process {
    let said = tokio::task::spawn_blocking(move || {
        weir.errors_until(needle);
        weir
    });
    said.await.unwrap()
}
