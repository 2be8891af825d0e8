//! Does a drain, or a stream's age, send clients away without harm?

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::support::{
    NDJSON, Weir, backend::Backend, client::Client, client2::Client2, process::Process, proxied,
    proxied_at, soon,
};

/// The time to come back that stands alone in the end of a body, in milliseconds.
fn retry_of(body: &str) -> u64 {
    let retry = body.strip_prefix("retry: ");
    let retry = retry.and_then(|retry| retry.strip_suffix("\n\n"));
    retry
        .and_then(|retry| retry.parse().ok())
        .unwrap_or_else(|| panic!("no retry alone in {body:?}"))
}

/// Several hundred streams, half of them with half a record on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_many_streams_whole_and_one_after_the_other() {
    const EACH: usize = 150;
    let (backend, weir) = proxied_at("", "threads = 2\ndrain = \"6s\"").await;
    let mut upstreams = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..EACH {
        let mut client = Client::get(weir.address(), "/", "").await;
        let mut upstream = backend.stream(NDJSON).await;
        client.head().await;
        upstream.chunk("1\n{\"half\":").await;
        assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
        upstreams.push(upstream);
        ends.push(tokio::spawn(async move {
            let body = client.chunks_to_end().await;
            (retry_of(&body), Instant::now())
        }));
    }
    let clients = [
        Client2::connect(weir.address()).await,
        Client2::connect(weir.address()).await,
    ];
    for index in 0..EACH {
        let (mut response, upstream) =
            tokio::join!(clients[index % 2].get("/"), backend.stream(NDJSON));
        upstreams.push(upstream);
        ends.push(tokio::spawn(async move {
            let (body, reset) = response.rest().await;
            assert_eq!(reset, None);
            (retry_of(&body), Instant::now())
        }));
    }
    let begun = Instant::now();
    weir.stop();
    let mut retries = BTreeSet::new();
    let mut seconds = [0; 30];
    for end in ends {
        let (retry, at) = soon("a stream's end", end).await.expect("it ends whole");
        assert!((1000..=5000).contains(&retry));
        retries.insert(retry);
        let after = at.duration_since(begun).as_secs().min(29);
        seconds[usize::try_from(after).expect("small")] += 1;
    }
    // Of 300 draws out of 4001 some twenty fall together.
    assert!(retries.len() > EACH, "{retries:?}");
    // A fifth of them would end in each second, were the machine idle.
    let busiest = seconds.iter().max().expect("some");
    assert!(*busiest < EACH * 4 / 3, "they end at once: {seconds:?}");
    let busy = seconds.iter().filter(|ends| **ends > 0).count();
    assert!(busy >= 3, "they end at once: {seconds:?}");
    drop(clients);
    weir.ended().await;
}

/// One frame: its type, its stream and its payload.
async fn frame(stream: &mut TcpStream) -> (u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    soon("a frame", stream.read_exact(&mut head))
        .await
        .expect("a frame");
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.expect("a payload");
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    (head[3], id, payload)
}

/// A HEADERS frame that asks for `/` on this stream.
fn get(id: u8) -> Vec<u8> {
    let block = b"\x82\x86\x84\x01\x04test";
    let length = u8::try_from(block.len()).expect("short");
    let mut frame = vec![0, 0, length, HEADERS, 0x5, 0, 0, 0, id];
    frame.extend_from_slice(block);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

#[tokio::test]
async fn http2_clients_are_told_twice_so_that_what_is_on_its_way_is_served() {
    let (backend, weir) = proxied_at("", "threads = 1\ndrain = \"4s\"").await;
    let mut client = TcpStream::connect(weir.address()).await.unwrap();
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]);
    hello.extend(get(1));
    client.write_all(&hello).await.unwrap();
    let mut first = backend.stream(NDJSON).await;
    first.chunk("1\n").await;
    while frame(&mut client).await.0 != DATA {}
    weir.stop();
    let (mut last_ids, mut pongs) = (Vec::new(), Vec::new());
    while last_ids.is_empty() || pongs.is_empty() {
        let (kind, _, payload) = frame(&mut client).await;
        match kind {
            // RFC 9113 §6.8: the last stream's id, and the error code, which is none.
            GOAWAY => {
                assert_eq!(payload[4..8], [0; 4]);
                last_ids.push(payload[..4].to_vec());
            }
            PING => pongs.push(payload),
            _ => {}
        }
    }
    assert_eq!(last_ids, [0x7fff_ffff_u32.to_be_bytes()]);
    // A request that was on its way when we were told.
    client.write_all(&get(3)).await.unwrap();
    let _second = backend.stream(NDJSON).await;
    for payload in pongs {
        client
            .write_all(&[0, 0, 8, PING, 1, 0, 0, 0, 0])
            .await
            .unwrap();
        client.write_all(&payload).await.unwrap();
    }
    let mut ended = BTreeSet::new();
    let mut head = [0; 9];
    while last_ids.len() < 2 || ended.len() < 2 {
        soon("a frame", client.read_exact(&mut head))
            .await
            .expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        client.read_exact(&mut payload).await.expect("a payload");
        match (head[3], head[4] & 1) {
            (GOAWAY, _) => last_ids.push(payload[..4].to_vec()),
            (DATA, 1) => {
                ended.insert(head[8]);
            }
            _ => {}
        }
    }
    assert_eq!(last_ids[1], 3_u32.to_be_bytes());
    assert_eq!(ended, BTreeSet::from([1, 3]), "both ended as a whole");
    drop(client);
    weir.ended().await;
}

#[tokio::test]
async fn who_was_just_let_in_gets_an_answer() {
    let (backend, weir) = proxied_at("", "threads = 1\ndrain = \"15s\"").await;
    let mut newcomer = Client::connect(weir.address()).await;
    let mut silent = Client::connect(weir.address()).await;
    // The one thread accepts in order, so the other is in, too.
    let mut served = Client::get(weir.address(), "/", "").await;
    let mut upstream = backend
        .answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        .await;
    upstream.send("ok").await;
    served.head().await;
    assert_eq!(served.exactly(2).await, b"ok");
    weir.stop();
    assert_eq!(served.rest().await, "", "the drain has begun");
    newcomer.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    upstream.request().await;
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    let head = newcomer.head().await;
    assert_eq!((head.status, head.field("connection")), (200, "close"));
    assert_eq!(newcomer.rest().await, "ok");
    // Who asks for nothing is not waited for as long as the drain may take.
    assert_eq!(silent.rest().await, "");
    drop((newcomer, silent, served, upstream));
    let ended = tokio::time::timeout(Duration::from_secs(8), weir.ended()).await;
    assert!(ended.is_ok(), "the drain's whole time was waited for");
}

async fn ask(admin: &str, path: &str) -> (u16, String) {
    let mut client = Client::get(admin, path, "Connection: close\r\n").await;
    (client.head().await.status, client.rest().await)
}

/// Which thread has the stream is up to the kernel: in one of these rounds it is not the one that answers
/// operators.
#[tokio::test]
async fn operators_are_answered_until_the_last_stream_has_ended() {
    for _ in 0..8 {
        let backend = Backend::bind().await;
        let weir = Weir::start_at(
            &format!(
                "[admin]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                 [upstream.test]\nendpoints = [\"{}\"]\n[[route]]\nname = \"test\"\nupstream = \"test\"\n",
                backend.endpoint()
            ),
            "threads = 2\ndrain = \"15s\"",
        );
        let admin = weir.admin.clone().expect("an admin listener");
        let mut client = Client::get(weir.address(), "/", "").await;
        let mut upstream = backend.stream("text/plain").await;
        client.head().await;
        weir.stop();
        soon("the listener to close", async {
            while TcpStream::connect(weir.address()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        for _ in 0..10 {
            let (status, text) = ask(&admin, "/readyz").await;
            if status == 503 {
                assert_eq!(text, "draining\n");
            }
            assert_eq!(ask(&admin, "/livez").await.0, 200);
        }
        assert_eq!(ask(&admin, "/readyz").await.0, 503);
        assert!(
            ask(&admin, "/metrics")
                .await
                .1
                .contains("weir_streams_open")
        );
        upstream.end().await;
        assert_eq!(client.chunk().await, None);
        drop(client);
        weir.ended().await;
    }
}

/// A file whose drain is announced this long before.
fn delayed(endpoint: &str, delay: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("proxy.toml");
    let text = format!(
        "[process]\nthreads = 2\ndrain = \"2s\"\ndrain_delay = \"{delay}\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.test]\nendpoints = [\"{endpoint}\"]\n\
         [[route]]\nname = \"test\"\nupstream = \"test\"\n"
    );
    std::fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("text").to_owned();
    (directory, path)
}

async fn until_unready(admin: &str) {
    soon("/readyz to fail", async {
        while ask(admin, "/readyz").await.0 == 200 {}
    })
    .await;
}

#[tokio::test]
async fn readiness_fails_first_while_everything_else_goes_on() {
    let backend = Backend::bind().await;
    let (_directory, path) = delayed(&backend.endpoint(), "4s");
    let mut weir = Process::run(&path);
    let addresses = weir.addresses();
    let admin = addresses[1].strip_prefix("admin=").expect("it is told");
    let mut old = Client::get(&addresses[0], "/", "").await;
    let mut upstream = backend.stream(NDJSON).await;
    old.head().await;
    weir.signal("TERM");
    until_unready(admin).await;
    // Who has not heard of it yet still comes, and nothing ends.
    let mut client = Client::get(&addresses[0], "/", "").await;
    let mut late = backend.stream(NDJSON).await;
    client.head().await;
    late.chunk("1\n").await;
    assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
    upstream.chunk("2\n").await;
    assert_eq!(old.chunk().await.as_deref(), Some("data: 2\n\n"));
    soon("the listener to close", async {
        while TcpStream::connect(&addresses[0]).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    retry_of(&client.chunks_to_end().await);
    retry_of(&old.chunks_to_end().await);
    drop((client, old));
    let (status, errors) = weir.ended().await;
    assert_eq!(status.code(), Some(0), "{errors}");
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_the_delay() {
    let (_directory, path) = delayed("http://127.0.0.1:1", "10m");
    let mut weir = Process::run(&path);
    let addresses = weir.addresses();
    weir.signal("TERM");
    until_unready(addresses[1].strip_prefix("admin=").expect("it is told")).await;
    weir.signal("TERM");
    let (status, errors) = weir.ended().await;
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(errors.contains("Weir is ended at once."), "{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_old_end_as_in_a_drain_but_not_all_at_once() {
    const AGE: Duration = Duration::from_secs(2);
    let (backend, weir) = proxied("timeouts = { max_age = \"2s\" }").await;
    let mut as_it_is = Client::get(weir.address(), "/", "").await;
    let mut plain = backend.stream("text/plain").await;
    as_it_is.head().await;
    let begun = Instant::now();
    let mut ages = Vec::new();
    let mut upstreams = Vec::new();
    for _ in 0..40 {
        let begun = Instant::now();
        let mut client = Client::get(weir.address(), "/", "").await;
        let mut upstream = backend.stream(NDJSON).await;
        client.head().await;
        upstream.chunk("1\n{\"half\":").await;
        assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
        upstreams.push(upstream);
        ages.push(tokio::spawn(async move {
            retry_of(&client.chunks_to_end().await);
            let age = begun.elapsed();
            // The next request is to go wherever there is room for it.
            assert_eq!(client.rest().await, "");
            age
        }));
    }
    let mut reached = Vec::new();
    for age in ages {
        reached.push(soon("a stream's end", age).await.expect("it ends whole"));
    }
    let (least, most) = (reached.iter().min().unwrap(), reached.iter().max().unwrap());
    assert!(*least >= AGE.mul_f32(0.9), "{reached:?}");
    assert!(*most >= *least + AGE.mul_f32(0.03), "{reached:?}");
    for mut upstream in upstreams {
        upstream.closed().await;
    }
    // What passes as it is has no boundary to end at.
    assert!(begun.elapsed() >= AGE.mul_f32(0.9));
    plain.chunk("on").await;
    assert_eq!(as_it_is.chunk().await.as_deref(), Some("on"));
}

#[tokio::test]
async fn an_http2_connection_goes_with_its_first_old_stream() {
    let (backend, weir) = proxied("timeouts = { max_age = \"1s\" }").await;
    let client = Client2::connect(weir.address()).await;
    let (mut old, mut upstream) = tokio::join!(client.get("/"), backend.stream(NDJSON));
    upstream.chunk("1\n").await;
    assert_eq!(old.data().await, Some(Ok("data: 1\n\n".into())));
    let (mut plain, mut other) = tokio::join!(client.get("/"), backend.stream("text/plain"));
    let (body, reset) = old.rest().await;
    retry_of(&body);
    assert_eq!(reset, None);
    let error = soon("GOAWAY", async {
        loop {
            match client.sender().ready().await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        }
    })
    .await;
    assert!(
        error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR),
        "{error:?}"
    );
    // Its other streams are not disturbed.
    other.chunk("on").await;
    assert_eq!(plain.data().await, Some(Ok("on".into())));
}
