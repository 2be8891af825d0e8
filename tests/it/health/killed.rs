//! What do clients see when a process behind an endpoint is killed?

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use tokio::time::Instant;

use super::{ejections, in_turn, line, tells, toml, up};
use crate::{
    metrics::told,
    support::{Weir, client::Client, soon},
};

/// A real server in a process of its own, which streams at `/ticker` for ever; killed when dropped.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    /// Starts it; it accepts connections on return.
    fn start(address: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["demo", "--address", address])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut lines = output.lines().map(|line| line.expect("text"));
        let told = lines.find_map(|line| {
            let (_, url) = line.split_once("curl -N http://")?;
            Some(url.split_once('/')?.0.to_owned())
        });
        let Some(address) = told else {
            drop(child.kill());
            panic!("it tells no address: {:?}", child.wait());
        };
        Self { child, address }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Opens a stream and reads its first event.
async fn stream(weir: &Weir) -> Client {
    let mut client = Client::get(weir.address(), "/ticker", "").await;
    assert_eq!(client.head().await.status, 200);
    client.chunks_until("\"seq\":1,").await;
    client
}

/// Whether event number `later` comes; else the stream says that it was cut.
async fn goes_on(client: &mut Client, later: u64) -> bool {
    loop {
        let chunk = client.chunk().await.expect("no stream looks complete");
        if chunk.contains("event: stream-error") {
            assert!(chunk.contains("upstream_truncated"), "{chunk}");
            return false;
        }
        let mut numbers = chunk.split("\"seq\":").skip(1);
        let is_later = |number: u64| number >= later;
        if numbers.any(|rest| is_later(rest.split(',').next().unwrap().parse().unwrap())) {
            return true;
        }
    }
}

const STREAMS: usize = 50;

#[tokio::test]
async fn the_others_go_on_and_new_streams_go_elsewhere() {
    let (one, two) = (Process::start("127.0.0.1:0"), Process::start("127.0.0.1:0"));
    let endpoints = [one.endpoint(), two.endpoint()];
    let upstream = in_turn(
        &[&endpoints[0], &endpoints[1]],
        "eject = \"1s\", eject_max = \"1s\"",
    );
    let weir = Weir::start(&toml(&upstream, ""));
    let began = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..STREAMS {
        clients.push(stream(&weir).await);
    }
    let open = |endpoint: &str, count| line("streams", endpoint, "", count);
    let half = |endpoint: &str| open(endpoint, STREAMS / 2);
    told(&weir, &[&half(&endpoints[0]), &half(&endpoints[1])]).await;

    let address = one.address.clone();
    drop(one);
    told(&weir, &[&open(&endpoints[0], 0), &half(&endpoints[1])]).await;
    // There is an event a second, so this one has not been sent before.
    let later = began.elapsed().as_secs() + 3;
    let (mut cut, mut alive) = (0, Vec::new());
    for mut client in clients {
        if soon("an event or the end", goes_on(&mut client, later)).await {
            alive.push(client);
        } else {
            cut += 1;
        }
    }
    assert_eq!((cut, alive.len()), (STREAMS / 2, STREAMS / 2));

    // Twenty-five cuts are one failure; that nobody listens any more ejects it, and no client sees that.
    assert!(tells(&weir, &ejections(&endpoints[0], "cut", 0)).await);
    soon("its ejection", async {
        while !tells(&weir, &up(&endpoints[0], false)).await {
            stream(&weir).await;
        }
    })
    .await;
    for _ in 0..10 {
        stream(&weir).await;
    }

    let _back = Process::start(&address);
    soon("its return", async {
        while !tells(&weir, &up(&endpoints[0], true)).await {
            stream(&weir).await;
        }
    })
    .await;
    let (_three, _four) = (stream(&weir).await, stream(&weir).await);
    told(&weir, &[&line("streams", &endpoints[0], "", 1)]).await;
    for client in &mut alive {
        assert!(client.chunk().await.is_some());
    }
}
