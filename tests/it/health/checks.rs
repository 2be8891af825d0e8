//! Do checks find out, whatever the endpoint speaks?

use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use tokio::net::{TcpListener, UnixListener};

use super::{Server, ask, line, respond, tells, toml, up};
use crate::{
    metrics::{scrape, told},
    support::{Weir, backend2::Connection2, soon, tls},
};

/// The keys of an upstream whose endpoint is checked often.
fn checked(endpoint: &str, check: &str, more: &str) -> String {
    format!(
        "endpoints = [\"{endpoint}\"]\n{more}\n\
         health.check = {{ every = \"100ms\", timeout = \"5s\", {check} }}"
    )
}

/// A proxy whose endpoint is checked, and found up and down as it is told to be.
async fn follows(upstream: &str, endpoint: &str, status: &AtomicU16) {
    let weir = Weir::start(&toml(upstream, ""));
    let down = line("ejections_total", endpoint, ",reason=\"check\"", 1);
    told(&weir, &[&up(endpoint, false), &down]).await;
    status.store(204, Relaxed);
    told(&weir, &[&up(endpoint, true)]).await;
    status.store(500, Relaxed);
    told(&weir, &[&up(endpoint, false)]).await;
    // Up, then down after the three that failed in a row, and not before.
    let failed = |text: &str| {
        let counted =
            format!("weir_endpoint_checks_total{{upstream=\"test\",endpoint=\"{endpoint}\"");
        let counted = text
            .lines()
            .find(|line| line.starts_with(&counted) && line.contains("failed"));
        let count = counted.and_then(|line| line.rsplit_once(' ')?.1.parse::<u32>().ok());
        count.expect("a count")
    };
    assert!(failed(&scrape(&weir).await) >= 4);
}

#[tokio::test]
async fn over_tcp() {
    let server = Server::start(0).await;
    server.status.store(503, Relaxed);
    let upstream = checked(&server.endpoint, "path = \"/healthz\"", "");
    follows(&upstream, &server.endpoint, &server.status).await;
}

#[tokio::test]
async fn over_a_unix_socket_with_a_host_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("up.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let endpoint = format!("unix:{}", path.display());
    let status = AtomicU16::new(404);
    let serve = async {
        loop {
            let (io, _) = listener.accept().await.unwrap();
            // A check that is given up says nothing.
            let Some(head) = respond(io, &status).await else {
                continue;
            };
            let head = head.to_ascii_lowercase();
            assert!(head.starts_with("get /up?deep=1 http/1.1\r\n"), "{head}");
            assert!(head.contains("\r\nhost: app.internal:81\r\n"), "{head}");
            assert!(head.contains("\r\nuser-agent: weir/"), "{head}");
        }
    };
    let check = "path = \"/up?deep=1\", host = \"app.internal:81\", status = \"204\"";
    let upstream = checked(&endpoint, check, "");
    tokio::select! {
        () = serve => {}
        () = follows(&upstream, &endpoint, &status) => {}
    }
}

#[tokio::test]
async fn over_tls_in_either_version() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = tls::certificate(directory.path(), "up", &["up.test"]);
    let ca = directory.path().join("up.pem");
    for (http, alpn) in [("1.1", "http/1.1"), ("auto", "h2"), ("2", "h2")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        let status = AtomicU16::new(503);
        let serve = async {
            loop {
                let (io, _) = listener.accept().await.unwrap();
                let Ok(io) = tls::accept(io, &certificate, &[alpn]).await else {
                    continue;
                };
                if alpn != "h2" {
                    respond(io, &status).await;
                    continue;
                }
                let mut stream = Connection2::over(io).await.request().await;
                assert_eq!(stream.head.uri.path(), "/healthz");
                assert_eq!(
                    stream.head.uri.authority().unwrap().as_str(),
                    &endpoint[8..]
                );
                stream.reply_bare(status.load(Relaxed), &[]);
            }
        };
        let tls = format!("http = \"{http}\"\ntls = {{ ca = {ca:?}, server_name = \"up.test\" }}");
        let upstream = checked(&endpoint, "path = \"/healthz\"", &tls);
        tokio::select! {
            () = serve => {}
            () = follows(&upstream, &endpoint, &status) => {}
        }
    }
}

#[tokio::test]
async fn by_connecting_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = format!("http://{address}");
    drop(listener);
    let upstream = format!("endpoints = [\"{endpoint}\"]\nhealth.check.every = \"100ms\"");
    let weir = Weir::start(&toml(&upstream, ""));
    told(&weir, &[&up(&endpoint, false)]).await;
    // Nobody accepts: that the system connects is enough.
    let listener = TcpListener::bind(address).await.unwrap();
    told(&weir, &[&up(&endpoint, true)]).await;
    drop(listener);
    told(&weir, &[&up(&endpoint, false)]).await;
}

#[tokio::test]
async fn a_check_that_takes_too_long_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let upstream = format!(
        "endpoints = [\"{endpoint}\"]\n\
         health.check = {{ path = \"/\", every = \"100ms\", timeout = \"100ms\" }}"
    );
    let weir = Weir::start(&toml(&upstream, ""));
    told(&weir, &[&up(&endpoint, false)]).await;
}

#[tokio::test]
async fn streams_go_where_checks_succeed_and_anywhere_if_they_do_nowhere() {
    let (one, two) = (Server::start(0).await, Server::start(0).await);
    let upstream = format!(
        "endpoints = [{:?}, {:?}]\nbalance = \"round-robin\"\n\
         health.check = {{ path = \"/\", every = \"100ms\", timeout = \"5s\", status = \"200\" }}",
        one.endpoint, two.endpoint
    );
    one.status.store(404, Relaxed);
    let weir = Weir::start(&toml(&upstream, ""));
    told(
        &weir,
        &[&up(&one.endpoint, false), &up(&two.endpoint, true)],
    )
    .await;
    for _ in 0..6 {
        assert_eq!(ask(&weir).await, 200);
    }
    two.status.store(405, Relaxed);
    told(&weir, &[&up(&two.endpoint, false)]).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(ask(&weir).await);
    }
    seen.sort_unstable();
    assert_eq!(seen, [404, 404, 405, 405]);
    assert!(tells(&weir, &up(&one.endpoint, false)).await);
}

#[tokio::test]
async fn checks_end_with_their_upstream() {
    let (one, two) = (Server::start(0).await, Server::start(0).await);
    let upstream = |server: &Server| checked(&server.endpoint, "path = \"/\"", "");
    let mut weir = Weir::start_at(&toml(&upstream(&one), ""), "threads = 3\ndrain = \"1s\"");
    soon("checks", async {
        while one.asked() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    weir.reload(&toml(&upstream(&two), "")).await.unwrap();
    soon("checks of the other", async {
        while two.asked() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // What was under way when the new generation came has been answered long since.
    let before = one.asked();
    soon("more of them", async {
        while two.asked() < 10 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(one.asked() <= before + 1, "{before}");
}
