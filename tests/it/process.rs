//! Does the program keep its word: output, exit codes, signals, limits?

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::support::{
    backend::Backend,
    client::Client,
    process::{Process, WEIR},
    soon,
};

/// A configuration file with one listener, one upstream and one route.
fn file(endpoint: &str, address: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("proxy.toml");
    let text = format!(
        "[process]\nthreads = 2\ndrain = \"2s\"\n\
         [[listener]]\naddress = \"{address}\"\n\
         [upstream.test]\nendpoints = [\"{endpoint}\"]\n\
         [[route]]\nname = \"test\"\nupstream = \"test\"\n"
    );
    std::fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("text").to_owned();
    (directory, path)
}

#[tokio::test]
async fn it_listens_streams_and_ends_on_sigterm() {
    let backend = Backend::bind().await;
    let (_directory, path) = file(&backend.endpoint(), "127.0.0.1:0");
    let mut weir =
        Process::start(Command::new(WEIR).args(["run", "--config", &path, "--log-format", "json"]));
    let address = weir.address();
    let mut client = Client::get(&address, "/a?secret=1", "").await;
    let mut upstream = backend.stream("application/x-ndjson").await;
    client.head().await;
    upstream.chunk("{\"a\":1}\n").await;
    assert_eq!(client.chunk().await.as_deref(), Some("data: {\"a\":1}\n\n"));
    weir.signal("TERM");
    let last = client.chunks_to_end().await;
    assert!(last.starts_with("retry: "), "{last:?}");
    drop(client);
    let (status, errors) = weir.ended().await;
    assert_eq!(status.code(), Some(0), "{errors}");
    let records: Vec<serde_json::Value> = errors
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line:?}")))
        .collect();
    let of = |message: &str| {
        records
            .iter()
            .filter(|record| record["message"] == message)
            .collect::<Vec<_>>()
    };
    let (begins, ends) = (of("Stream begins."), of("Stream ends."));
    assert_eq!((begins.len(), ends.len()), (1, 1), "{errors}");
    let end = ends[0];
    assert!(
        end["stream"].as_str().is_some_and(|id| id.contains('-')),
        "{end}"
    );
    assert_eq!(begins[0]["stream"], end["stream"]);
    for (field, value) in [
        ("route", "test"),
        ("upstream", "test"),
        ("endpoint", backend.endpoint().as_str()),
        ("to", "sse"),
        ("ending", "drained"),
        ("path", "/a"),
    ] {
        assert_eq!(end[field], value, "{field}");
    }
    assert_eq!(
        (&end["status"], &end["events"], &end["heartbeats"]),
        (&200.into(), &1.into(), &0.into())
    );
    assert!(end["first_event_ms"].is_u64() && end["duration_ms"].is_u64() && end["bytes"].is_u64());
    assert!(!errors.contains("secret"), "the log must not tell a query");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let backend = Backend::bind().await;
    let (_directory, path) = file(&backend.endpoint(), "127.0.0.1:0");
    let mut weir = Process::start(Command::new(WEIR).args(["run", "--config", &path]));
    let address = weir.address();
    // A reply that passes as it is has no boundary to end at: it would use up the drain's time.
    let mut client = Client::get(&address, "/", "").await;
    let _upstream = backend.stream("text/plain").await;
    client.head().await;
    weir.signal("INT");
    soon("the listener to close", async {
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    weir.signal("TERM");
    let (status, errors) = weir.ended().await;
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(errors.contains("Weir is ended at once."), "{errors}");
}

#[tokio::test]
async fn sighup_reads_the_file_again_and_a_bad_one_changes_nothing() {
    let backend = Backend::bind().await;
    let (_directory, path) = file(&backend.endpoint(), "127.0.0.1:0");
    let mut weir = Process::start(Command::new(WEIR).args(["run", "--config", &path]));
    let address = weir.address();
    let good = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(&path, format!("{good}colour = \"red\"\n")).expect("a file");
    weir.signal("HUP");
    let errors = weir.errors_until("Reload refused; the old configuration stays.");
    assert!(errors.contains("\"colour\" is no key here"), "{errors}");
    std::fs::write(&path, format!("{good}event = {{ name = \"new\" }}\n")).expect("a file");
    weir.signal("HUP");
    let log = weir.errors_until("The configuration is reloaded.");
    assert!(
        log.contains("generation=2") && log.contains(&address),
        "{log}"
    );
    soon("the new generation", async {
        loop {
            let mut client = Client::get(&address, "/", "").await;
            let mut upstream = backend.stream("application/x-ndjson").await;
            client.head().await;
            upstream.chunk("1\n").await;
            if client.chunk().await.as_deref() == Some("event: new\ndata: 1\n\n") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn faults_have_their_exit_codes_and_say_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (_directory, in_use) = file("http://127.0.0.1:1", &address);
    let (_other, broken) = file("http://127.0.0.1:1", "nowhere");
    let (directory, no_pem) = file("http://127.0.0.1:1", "127.0.0.1:0");
    std::fs::write(directory.path().join("x.pem"), "no PEM").expect("a file");
    let text = std::fs::read_to_string(&no_pem).expect("a file");
    let tls = "\ntls = { certificate = \"x.pem\", key = \"x.pem\" }\n[upstream.test]";
    std::fs::write(&no_pem, text.replace("\n[upstream.test]", tls)).expect("a file");
    let rows: &[(&[&str], i32, &str)] = &[
        (&["check", &no_pem], 78, "x.pem holds no certificate"),
        (
            &["run", "--config", &no_pem],
            78,
            "x.pem holds no certificate",
        ),
        (&["--version"], 0, ""),
        (&["--help"], 0, ""),
        (&["nonsense"], 64, "nonsense"),
        (&["convert"], 64, "--from"),
        (&["convert", "--from", "nonsense"], 64, "ndjson"),
        (&["check", &broken], 78, "nowhere"),
        (&["run", "--config", &broken], 78, "nowhere"),
        (
            &["run", "--config", "/nonexistent.toml"],
            78,
            "/nonexistent.toml",
        ),
        (&["run", "--config", &in_use], 1, "in use"),
        (&["demo", "--address", &address], 1, "in use"),
        (&["check", &in_use], 0, ""),
    ];
    for (args, code, says) in rows {
        let weir = Process::start(Command::new(WEIR).args(*args).stdin(Stdio::null()));
        let (status, errors) = weir.ended().await;
        assert_eq!(status.code(), Some(*code), "{args:?}: {errors}");
        assert!(errors.contains(says), "{args:?}: {errors}");
    }
}

#[test]
fn convert_turns_standard_input_into_events() {
    let rows: &[(&str, &[u8], &str, i32)] = &[
        (
            "ndjson",
            b"{\"a\":1}\r\n\n{\"b\":2}",
            "data: {\"a\":1}\n\ndata: {\"b\":2}\n\n",
            0,
        ),
        ("ndjson", b"1\n{\"torn\":", "data: 1\n\n", 65),
        (
            "lines",
            b"one\rtwo\n\nthree",
            "data: one\n\ndata: two\n\ndata: \n\ndata: three\n\n",
            0,
        ),
        (
            "sse",
            b"data:x\r\n\r\n: no\nid: 7\ndata: y\n\n",
            "data: x\n\nid: 7\ndata: y\n\n",
            0,
        ),
    ];
    for (from, input, expected, code) in rows {
        let mut child = Command::new(WEIR)
            .args(["convert", "--from", from])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), *expected, "{from}");
        assert_eq!(output.status.code(), Some(*code), "{from}");
        assert_eq!(output.stderr.is_empty(), *code == 0, "{from}");
    }
}

#[test]
fn convert_writes_each_event_before_the_next_record_comes() {
    let mut child = Command::new(WEIR)
        .args(["convert", "--from", "ndjson"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    for number in 0..3 {
        stdin
            .write_all(format!("{number}\n").as_bytes())
            .expect("it reads");
        let mut event = String::new();
        stdout.read_line(&mut event).expect("a line");
        stdout.read_line(&mut event).expect("a line");
        assert_eq!(event, format!("data: {number}\n\n"));
    }
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[tokio::test]
async fn it_survives_running_out_of_descriptors() {
    let backend = Backend::bind().await;
    let (_directory, path) = file(&backend.endpoint(), "127.0.0.1:0");
    let limited = format!("ulimit -n 80 && exec {WEIR} run --config {path}");
    let mut weir = Process::start(Command::new("sh").args(["-c", &limited]));
    let address = weir.address();
    let mut open = Client::get(&address, "/", "").await;
    let mut open_upstream = backend.stream("application/x-ndjson").await;
    open.head().await;
    let mut crowd = Vec::new();
    for _ in 0..120 {
        crowd.push(Client::connect(&address).await);
    }
    // A stream that was open before goes on at the limit; after the crowd has left, newcomers are served.
    weir.errors_until("raise the limit of open files");
    open_upstream.chunk("{\"n\":1}\n").await;
    assert_eq!(open.chunk().await.as_deref(), Some("data: {\"n\":1}\n\n"));
    let (mut client, ()) = tokio::join!(Client::get(&address, "/", ""), async { drop(crowd) });
    let mut upstream = backend.stream("text/plain").await;
    upstream.chunk("alive").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.chunk().await.as_deref(), Some("alive"));
    open_upstream.chunk("{\"n\":2}\n").await;
    assert_eq!(open.chunk().await.as_deref(), Some("data: {\"n\":2}\n\n"));
}

#[tokio::test]
async fn a_full_disk_for_the_log_costs_the_log_alone() {
    let backend = Backend::bind().await;
    let (_directory, path) = file(&backend.endpoint(), "127.0.0.1:0");
    let full = format!("exec {WEIR} run --config {path} --log debug 2>/dev/full");
    let mut weir = Process::start(Command::new("sh").args(["-c", &full]));
    let address = weir.address();
    // Every connection is a few lines that cannot be written.
    for _ in 0..50 {
        let mut client = Client::get(&address, "/", "").await;
        let mut upstream = backend.stream("application/x-ndjson").await;
        client.head().await;
        upstream.chunk("1\n").await;
        assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
        upstream.end().await;
        assert_eq!(client.chunk().await, None);
    }
    weir.signal("TERM");
    let (status, _) = weir.ended().await;
    assert_eq!(status.code(), Some(0));
}
