//! Does a service manager see signs of life as long as there is life, and from whom it expects them?

use std::{os::unix::net::UnixDatagram, process::Command};

use tempfile::TempDir;

use crate::{
    handover::{file, successor, told},
    support::{
        LIMIT, NDJSON,
        backend::Backend,
        client::Client,
        process::{Process, WEIR, signal},
    },
};

const ALIVE: [&str; 1] = ["WATCHDOG=1"];

/// A service manager that wants a sign of life every two fifths of a second, and a process that it has started
/// in front of this backend.
fn watched(directory: &TempDir, backend: &Backend) -> (UnixDatagram, Process) {
    let process = "threads = 2\ndrain = \"1h\"";
    let path = file(directory, process, &["127.0.0.1:0"], &backend.endpoint());
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    // Only the process itself knows its id before it begins.
    let script = "export WATCHDOG_PID=$$; exec \"$0\" run --config \"$1\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, WEIR, &path])
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "400000");
    (manager, Process::start(&mut command))
}

/// The next message that is no sign of life.
fn news(manager: &UnixDatagram) -> Vec<String> {
    loop {
        let message = told(manager);
        if message != ALIVE {
            return message;
        }
    }
}

#[tokio::test]
async fn signs_of_life_come_until_the_last_stream_has_ended() {
    let (directory, backend) = (tempfile::tempdir().unwrap(), Backend::bind().await);
    let (manager, mut weir) = watched(&directory, &backend);
    assert_eq!(told(&manager), ["READY=1"]);
    let mut client = Client::get(&weir.address(), "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    for _ in 0..3 {
        assert_eq!(told(&manager), ALIVE);
    }
    weir.signal("TERM");
    assert_eq!(news(&manager), ["STOPPING=1"]);
    // The worker without a stream has ended, or does so now.
    for _ in 0..3 {
        assert_eq!(told(&manager), ALIVE);
    }
    upstream.chunk("1\n").await;
    upstream.end().await;
    assert!(client.chunks_to_end().await.starts_with("data: 1\n\n"));
    // Nobody reads any more, and nothing is to wait for that.
    drop(manager);
    assert_eq!(weir.exited().await.code(), Some(0));
}

#[tokio::test]
async fn whoever_takes_over_gives_the_signs_of_life() {
    let (directory, backend) = (tempfile::tempdir().unwrap(), Backend::bind().await);
    let (manager, mut weir) = watched(&directory, &backend);
    assert_eq!(told(&manager), ["READY=1"]);
    assert_eq!(told(&manager), ALIVE);
    weir.signal("USR2");
    assert_eq!(news(&manager), ["RELOADING=1"]);
    let main = news(&manager);
    let id = successor(&weir.errors_until("The other process serves."));
    assert_eq!(main[..2], [format!("MAINPID={id}"), "READY=1".to_owned()]);
    assert_eq!(main[2..], ALIVE);
    let exited = tokio::spawn(async move {
        let status = weir.exited().await;
        (weir, status)
    });
    while !exited.is_finished() {
        assert_eq!(told(&manager), ALIVE);
        tokio::task::yield_now().await;
    }
    let (mut weir, status) = exited.await.unwrap();
    assert_eq!(status.code(), Some(0));
    // What the first one said may still have stood in the queue, but not so much.
    for _ in 0..20 {
        assert_eq!(told(&manager), ALIVE);
    }
    signal("TERM", id);
    assert_eq!(news(&manager), ["STOPPING=1"]);
    drop(manager);
    weir.errors_until("Weir has ended.");
}
