//! Does the process refuse newcomers rather than die of those it has?

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use crate::support::{NDJSON, backend::Backend, client::Client, soon};

/// A `weir` with the allocator that it counts by, ended by its own process id when dropped.
struct Process {
    child: Child,
    address: String,
    admin: String,
    /// Kept open, for the process writes there.
    _output: BufReader<std::process::ChildStdout>,
    _directory: tempfile::TempDir,
}

impl Process {
    fn start(backend: &Backend, process: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("proxy.toml");
        let admin = directory.path().join("admin.sock");
        let text = format!(
            "[process]\nthreads = 2\ndrain = \"1s\"\n{process}\n\
             [admin]\naddress = \"unix:{}\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\n[upstream.test]\nendpoints = [\"{}\"]\n\
             [[route]]\nname = \"test\"\nupstream = \"test\"\n\
             limits = {{ record = \"16MiB\", buffer = \"16MiB\" }}\n",
            admin.display(),
            backend.endpoint()
        );
        std::fs::write(&file, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["run", "--config", file.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let address = line.split(' ').nth(1);
        Self {
            address: address.unwrap_or_else(|| panic!("{line:?}")).to_owned(),
            admin: admin.to_str().unwrap().to_owned(),
            child,
            _output: output,
            _directory: directory,
        }
    }

    /// What the metric of this name says; `None` where it says nothing.
    async fn metric(&self, name: &str) -> Option<u64> {
        let mut client = Client::connect_unix(self.admin.as_ref()).await;
        client
            .send("GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
            .await;
        assert_eq!(client.head().await.status, 200);
        let text = client.rest().await;
        let mut told = text.lines().filter_map(|line| line.split_once(' '));
        told.find(|(told, _)| *told == name)
            .map(|(_, value)| value.parse().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_spent_memory_budget_refuses_newcomers_until_streams_have_left() {
    const BUDGET: u64 = 64 << 20;
    let backend = Backend::bind().await;
    let weir = Process::start(&backend, "memory = \"64MiB\"");
    assert_eq!(weir.metric("weir_memory_budget_bytes").await, Some(BUDGET));
    let before = weir.metric("weir_memory_allocated_bytes").await.unwrap();
    assert!((1..BUDGET / 2).contains(&before), "{before}");
    // Each stream holds a record that does not end.
    let piece = vec![b'x'; 1 << 20];
    let mut streams = Vec::new();
    let refused = soon("the budget to be spent", async {
        loop {
            let mut client = Client::get(&weir.address, "/", "").await;
            let head = tokio::select! {
                head = client.head() => head,
                mut upstream = backend.stream(NDJSON) => {
                    let head = client.head().await;
                    upstream.chunk("1\n").await;
                    for _ in 0..12 {
                        upstream.chunk(&piece).await;
                    }
                    streams.push((client, upstream));
                    head
                }
            };
            if head.status != 200 {
                return head;
            }
        }
    })
    .await;
    assert_eq!(refused.status, 503);
    assert_eq!(
        refused.field("proxy-status"),
        "weir; error=proxy_internal_response"
    );
    assert!(refused.field("retry-after").parse::<u64>().unwrap() > 0);
    let spent = weir.metric("weir_memory_allocated_bytes").await.unwrap();
    assert!(spent > BUDGET / 2, "{spent}");
    // Those that are open go on, and operators are answered.
    let (client, upstream) = &mut streams[0];
    assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
    upstream.chunk("\n2\n").await;
    assert!(client.chunks_until("data: 2\n\n").await.len() > 12 << 20);
    drop(streams);
    soon("newcomers to be let in", async {
        loop {
            let mut client = Client::get(&weir.address, "/", "").await;
            tokio::select! {
                head = client.head() => assert_eq!(head.status, 503),
                upstream = backend.stream(NDJSON) => {
                    drop(upstream);
                    assert_eq!(client.head().await.status, 200);
                    return;
                }
            }
        }
    })
    .await;
    assert!(weir.metric("weir_memory_allocated_bytes").await.unwrap() < BUDGET);
}

#[tokio::test]
async fn without_a_budget_none_is_told() {
    let backend = Backend::bind().await;
    let weir = Process::start(&backend, "memory = \"off\"");
    assert_eq!(weir.metric("weir_memory_budget_bytes").await, None);
    assert!(weir.metric("weir_memory_allocated_bytes").await.unwrap() > 0);
}
