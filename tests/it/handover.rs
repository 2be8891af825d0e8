//! Does a process take over the sockets of another without a connection being lost?

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixDatagram, UnixListener},
        },
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use command_fds::{CommandFdExt as _, FdMapping};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    NDJSON,
    backend::Backend,
    client::Client,
    process::{Process, WEIR, signal},
    soon,
};

/// A file with these listeners, written to `proxy.toml`.
pub(crate) fn file(
    directory: &TempDir,
    process: &str,
    listeners: &[&str],
    endpoint: &str,
) -> String {
    let path = directory.path().join("proxy.toml");
    let listeners: Vec<String> = listeners
        .iter()
        .map(|address| format!("[[listener]]\naddress = \"{address}\"\n"))
        .collect();
    let listeners = listeners.concat();
    let text = format!(
        "[process]\n{process}\n{listeners}[upstream.test]\nendpoints = [\"{endpoint}\"]\n\
         [[route]]\nname = \"test\"\nupstream = \"test\"\n"
    );
    fs::write(&path, text).expect("a file");
    path.to_str().expect("text").to_owned()
}

/// Starts `weir` as a service manager does, with these listening sockets, which are ours, too.
fn activated(path: &str, sockets: Vec<OwnedFd>) -> Process {
    let count = sockets.len().to_string();
    // Only the process itself knows its id before it begins.
    let script = "export LISTEN_PID=$$; exec \"$0\" run --config \"$1\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, WEIR, path])
        .env("LISTEN_FDS", count);
    let mappings = (3..).zip(sockets).map(|(child_fd, parent_fd)| FdMapping {
        parent_fd,
        child_fd,
    });
    command.fd_mappings(mappings.collect()).expect("no two");
    Process::start(&mut command)
}

/// Asks for one event over a new connection.
async fn works(mut client: Client, backend: &Backend) {
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let mut upstream = backend.stream(NDJSON).await;
    client.head().await;
    upstream.chunk("1\n").await;
    assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
}

#[tokio::test]
async fn sockets_of_a_service_manager_are_taken_by_their_addresses() {
    let backend = Backend::bind().await;
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("weir.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&socket).unwrap();
    let stray = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let unix_address = format!("unix:{}", socket.display());
    let path = file(
        &directory,
        "threads = 3\ndrain = \"1s\"",
        &[&unix_address, &address, "127.0.0.1:0"],
        &backend.endpoint(),
    );
    // Who connects before anybody accepts waits in the queue.
    let early = Client::connect(&address).await;
    let sockets = [
        tcp.try_clone().unwrap().into(),
        unix.try_clone().unwrap().into(),
        stray.into(),
    ];
    let mut weir = activated(&path, sockets.into());
    let addresses = weir.addresses();
    assert_eq!(addresses[..2], [unix_address, address.clone()]);
    let log = weir.errors_until("Weir listens.");
    assert!(
        log.contains("no listener of the file has its address"),
        "{log}"
    );
    works(early, &backend).await;
    works(Client::connect_unix(&socket).await, &backend).await;
    works(Client::connect(&addresses[2]).await, &backend).await;
    weir.signal("TERM");
    let (status, errors) = weir.ended().await;
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(socket.exists(), "it belongs to the service manager");

    // The manager holds them, so that a restart refuses nobody.
    let early = Client::connect(&address).await;
    let mut again = activated(&path, vec![tcp.into(), unix.into()]);
    again.addresses();
    works(early, &backend).await;
}

#[tokio::test]
async fn sockets_meant_for_another_process_are_left_alone() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "threads = 1", &[&address], "http://127.0.0.1:1");
    let mut command = Command::new(WEIR);
    command
        .args(["run", "--config", &path])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1");
    let weir = Process::start(&mut command);
    let (status, errors) = weir.ended().await;
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("in use"), "{errors}");
}

/// The program at a path of its own, where it can be replaced.
fn program(directory: &TempDir) -> PathBuf {
    let path = directory.path().join("weir");
    if fs::hard_link(WEIR, &path).is_err() {
        fs::copy(WEIR, &path).expect("the program");
    }
    path
}

/// Replaces the program as a package manager does.
fn replace(program: &Path, with: &str) {
    let new = program.with_extension("new");
    fs::write(&new, with).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, program).unwrap();
}

fn start(program: &Path, path: &str) -> Process {
    let quiet = "info,weir::proxy=warn";
    Process::start(Command::new(program).args(["--log", quiet, "run", "--config", path]))
}

/// The id of the process that has taken over, from the log of the old one.
pub(crate) fn successor(log: &str) -> u32 {
    let line = log
        .lines()
        .find(|line| line.contains("The other process serves."));
    let id = line.and_then(|line| line.split("id=").nth(1));
    id.and_then(|id| id.trim().parse().ok())
        .unwrap_or_else(|| panic!("no id in {log}"))
}

/// A backend that answers everything at once.
async fn responder() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(1..) = stream.read_buf(&mut head).await {
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        if stream.write_all(reply).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

/// One request over a new connection, which must be answered whole.
async fn one_exchange(address: &str) -> Result<(), String> {
    let fault = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).await.map_err(fault)?;
    let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.map_err(fault)?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.map_err(fault)?;
    let text = String::from_utf8_lossy(&response);
    if text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\nok") {
        Ok(())
    } else {
        Err(format!("{text:?}"))
    }
}

/// Clients that connect all the time, each to be answered.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Result<(), String>>>,
}

impl Load {
    fn on(address: &str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let clients = (0..8).map(|_| {
            let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
            let address = address.to_owned();
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    one_exchange(&address).await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        });
        Self {
            clients: clients.collect(),
            is_over,
            answered,
        }
    }

    /// Waits until so many more are answered.
    async fn go_on(&self, more: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        soon("clients to be answered", async {
            while self.answered.load(Ordering::Relaxed) < goal {
                if self
                    .clients
                    .iter()
                    .any(tokio::task::JoinHandle::is_finished)
                {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            let outcome = soon("a client's end", client).await.expect("no panic");
            assert_eq!(outcome, Ok(()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_takes_over_under_load_and_no_connection_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(&directory);
    let socket = directory.path().join("weir.sock");
    let unix_address = format!("unix:{}", socket.display());
    let backend = Backend::bind().await;
    let endpoint = format!("http://{}", responder().await);
    let listeners = ["127.0.0.1:0", "127.0.0.1:0", &unix_address];
    let process = "threads = 3\ndrain = \"3s\"";
    let path = file(&directory, process, &listeners, &endpoint);
    let text = fs::read_to_string(&path).unwrap();
    let streams = format!(
        "{text}path = \"/*\"\n[upstream.streams]\nendpoints = [\"{}\"]\n[[route]]\nname = \"streams\"\n\
         path = \"/streams\"\nupstream = \"streams\"\n[admin]\naddress = \"127.0.0.1:0\"\n",
        backend.endpoint()
    );
    fs::write(&path, &streams).unwrap();
    let mut weir = start(&program, &path);
    let addresses = weir.addresses();
    let admin = addresses[3].strip_prefix("admin=").expect("it is told");
    // What is converted ends in the drain, and what is not lives on to its end.
    let mut converted = Client::get(&addresses[0], "/streams", "").await;
    let mut records = backend.stream(NDJSON).await;
    converted.head().await;
    let mut plain = Client::get(&addresses[1], "/streams", "").await;
    let mut bytes = backend.stream("text/plain").await;
    plain.head().await;
    // An operator's tool that keeps its connection.
    let mut kept = Client::get(admin, "/livez", "").await;
    assert_eq!(kept.head().await.status, 200);
    let load = Load::on(&addresses[0]);
    load.go_on(50).await;

    // The file has been replaced, and there are fewer threads than sockets: whoever waits at any is served.
    fs::write(&path, streams.replace("threads = 3", "threads = 2")).unwrap();
    let new = program.with_extension("new");
    fs::hard_link(WEIR, &new)
        .or_else(|_| fs::copy(WEIR, &new).map(drop))
        .unwrap();
    fs::rename(&new, &program).unwrap();
    weir.signal("USR2");
    let log = weir.errors_until("Another process serves");
    let id = successor(&log);
    assert_eq!(
        weir.addresses(),
        addresses,
        "from the new process, by the same output"
    );
    bytes.chunk("on").await;
    assert_eq!(plain.chunk().await.as_deref(), Some("on"));
    load.go_on(200).await;
    let mut asked = Client::get(admin, "/readyz", "Connection: close\r\n").await;
    assert_eq!(
        asked.head().await.status,
        200,
        "the new process answers operators"
    );
    assert_eq!(
        kept.rest().await,
        "alive\n",
        "the old one does not any more"
    );
    let last = converted.chunks_to_end().await;
    assert!(last.starts_with("retry: "), "{last:?}");
    records.closed().await;
    bytes.end().await;
    assert_eq!(plain.chunk().await, None);
    drop((plain, converted, kept));
    let status = weir.exited().await;
    assert_eq!(status.code(), Some(0));
    load.go_on(200).await;

    // And once more, by the one that has taken over, with more threads than sockets.
    fs::write(&path, streams.replace("threads = 3", "threads = 4")).unwrap();
    signal("USR2", id);
    let id = successor(&weir.errors_until("The other process serves."));
    load.go_on(200).await;
    load.end().await;
    let local = Client::connect_unix(&socket).await;
    drop(local);
    signal("TERM", id);
    weir.errors_until("Weir has ended.");
    soon("the socket's file to go with the last process", async {
        while socket.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_fails_to_start_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(&directory);
    let socket = directory.path().join("weir.sock");
    let unix_address = format!("unix:{}", socket.display());
    let endpoint = format!("http://{}", responder().await);
    let listeners = ["127.0.0.1:0", &unix_address];
    let path = file(
        &directory,
        "threads = 2\ndrain = \"1s\"",
        &listeners,
        &endpoint,
    );
    let mut weir = start(&program, &path);
    let address = weir.address();
    let load = Load::on(&address);
    load.go_on(20).await;
    let failed = "The upgrade failed; this process goes on.";

    // It takes the first two sockets, and cannot have the third.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = fs::read_to_string(&path).unwrap();
    let third = format!(
        "[[listener]]\naddress = \"{}\"\n",
        taken.local_addr().unwrap()
    );
    fs::write(&path, format!("{good}{third}")).unwrap();
    weir.signal("USR2");
    let log = weir.errors_until(failed);
    assert!(
        log.contains("in use") && log.contains("exit status: 1"),
        "{log}"
    );
    assert!(
        socket.exists(),
        "its file is not the failed one's to remove"
    );

    fs::write(&path, format!("{good}colour = \"red\"\n")).unwrap();
    weir.signal("USR2");
    let log = weir.errors_until(failed);
    assert!(log.contains("\"colour\" is no key here"), "{log}");
    assert!(log.contains("exit status: 78"), "{log}");

    fs::write(&path, &good).unwrap();
    replace(&program, "#!/bin/sh\necho worse >&2\nexit 3\n");
    weir.signal("USR2");
    let log = weir.errors_until(failed);
    assert!(
        log.contains("worse") && log.contains("exit status: 3"),
        "{log}"
    );
    fs::remove_file(&program).unwrap();
    weir.signal("USR2");
    let log = weir.errors_until(failed);
    assert!(log.contains("cannot be started"), "{log}");
    load.go_on(50).await;

    // A stop does not wait for a process that takes its time.
    replace(&program, "#!/bin/sh\necho started >&2\nexec sleep 600\n");
    weir.signal("USR2");
    weir.errors_until("started");
    load.end().await;
    weir.signal("TERM");
    let (status, errors) = weir.ended().await;
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(!socket.exists());
}

/// The next message to a service manager, its lines but for the time.
pub(crate) fn told(manager: &UnixDatagram) -> Vec<String> {
    let mut message = [0; 256];
    let length = manager.recv(&mut message).expect("a message");
    let text = String::from_utf8_lossy(&message[..length]).into_owned();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("MONOTONIC_USEC="));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_service_manager_is_told_who_serves() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        &directory,
        "threads = 1\ndrain = \"1s\"",
        &["127.0.0.1:0"],
        "http://127.0.0.1:1",
    );
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager
        .set_read_timeout(Some(crate::support::LIMIT))
        .unwrap();
    let mut command = Command::new(WEIR);
    command
        .args(["run", "--config", &path])
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_PID", "1")
        .env("WATCHDOG_USEC", "1000");
    let mut weir = Process::start(&mut command);
    assert_eq!(told(&manager), ["READY=1"]);
    weir.signal("HUP");
    assert_eq!(told(&manager), ["RELOADING=1"]);
    assert_eq!(told(&manager), ["READY=1"]);
    weir.signal("USR2");
    assert_eq!(told(&manager), ["RELOADING=1"]);
    let id = successor(&weir.errors_until("The other process serves."));
    assert_eq!(
        told(&manager),
        [format!("MAINPID={id}"), "READY=1".to_owned()]
    );
    assert_eq!(weir.exited().await.code(), Some(0));
    signal("HUP", id);
    assert_eq!(told(&manager), ["RELOADING=1"]);
    assert_eq!(told(&manager), ["READY=1"]);
    signal("TERM", id);
    assert_eq!(told(&manager), ["STOPPING=1"]);
    weir.errors_until("Weir has ended.");
}
