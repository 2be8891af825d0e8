//! Is the client that a trusted proxy names the one that is told of, and that is decided by?

use crate::{
    admin::json,
    support::{NDJSON, Weir, backend::Backend, client::Client, process::Process},
};

/// What a client says of itself, and behind it what the proxy in front says of the client.
const NAMED: &str = "X-Forwarded-For: 203.0.113.77, 192.0.2.7\r\n";

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn process(is_trusted: bool) -> &'static str {
    if is_trusted {
        "threads = 1\ndrain = \"1s\"\ntrusted_proxies = [\"127.0.0.0/8\"]"
    } else {
        "threads = 1\ndrain = \"1s\""
    }
}

fn toml(upstream: &str) -> String {
    format!(
        "[admin]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\n{upstream}\n[[route]]\nname = \"test\"\nupstream = \"test\"\n"
    )
}

#[tokio::test]
async fn operators_see_the_client_and_strangers_name_nobody() {
    for (is_trusted, peer, other) in [
        (true, "192.0.2.7", "127.0.0.1"),
        (false, "127.0.0.1", "192.0.2.7"),
    ] {
        let backend = Backend::bind().await;
        let upstream = format!("endpoints = [\"{}\"]", backend.endpoint());
        let weir = Weir::start_at(&toml(&upstream), process(is_trusted));
        let mut client = Client::get(weir.address(), "/", NAMED).await;
        let _upstream = backend.stream(NDJSON).await;
        client.head().await;
        let listed = json(&weir, "/streams").await;
        assert_eq!(listed["streams"][0]["peer"], peer, "{listed}");
        for (asked, total) in [(peer, 1), (other, 0), ("203.0.113.77", 0)] {
            let listed = json(&weir, &format!("/streams?peer={asked}")).await;
            assert_eq!(listed["total"], total, "{asked}: {listed}");
        }
    }
}

#[tokio::test]
async fn the_log_names_the_client_also_of_requests_that_are_refused() {
    let backend = Backend::bind().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    let upstream = format!("endpoints = [\"{}\"]", backend.endpoint());
    let text = format!("[process]\n{}\n{}", process(true), toml(&upstream));
    std::fs::write(&file, text).unwrap();
    let mut weir = Process::run(file.to_str().unwrap());
    let address = weir.address();
    let ended = |weir: &mut Process| {
        let log = weir.errors_until("Stream ends.");
        let last = log.lines().last().unwrap_or_default().to_owned();
        last.split(' ')
            .find_map(|field| field.strip_prefix("peer=").map(str::to_owned))
    };
    let mut client = Client::get(&address, "/", NAMED).await;
    backend.answer(OK).await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(ended(&mut weir).as_deref(), Some("192.0.2.7"));
    let mut client = Client::get(&address, "/a/../b", NAMED).await;
    assert_eq!(client.head().await.status, 400);
    assert_eq!(ended(&mut weir).as_deref(), Some("192.0.2.7"));
    // Nobody is named: the proxy itself asks.
    let mut client = Client::get(&address, "/a/../b", "").await;
    assert_eq!(client.head().await.status, 400);
    assert_eq!(ended(&mut weir).as_deref(), Some("127.0.0.1"));
}

#[tokio::test]
async fn clients_behind_a_proxy_are_spread_by_their_own_addresses() {
    for is_trusted in [true, false] {
        let (one, two) = (Backend::bind().await, Backend::bind().await);
        let (first, second) = (one.endpoint(), two.endpoint());
        let upstream = format!("endpoints = [\"{first}\", \"{second}\"]\nbalance = \"hash\"");
        let weir = Weir::start_at(&toml(&upstream), process(is_trusted));
        let mut used = [0, 0];
        for number in 0..24 {
            let fields = format!("X-Forwarded-For: 192.0.2.{number}\r\n");
            let mut index_before = None;
            for _ in 0..2 {
                let mut client = Client::get(weir.address(), "/", &fields).await;
                let index = tokio::select! {
                    _ = one.answer(OK) => 0,
                    _ = two.answer(OK) => 1,
                };
                assert_eq!(client.head().await.status, 200);
                assert_eq!(*index_before.get_or_insert(index), index, "{fields}");
                used[index] += 1;
            }
        }
        let is_spread = used.iter().all(|requests| *requests > 0);
        assert_eq!(is_spread, is_trusted, "{used:?}");
    }
}
