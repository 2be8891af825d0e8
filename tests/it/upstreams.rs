//! Does each request find its upstream, and only one that can be trusted?

use std::path::Path;

use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::{
    Weir,
    backend::Backend,
    backend2::Connection2,
    client::Client,
    client2::Client2,
    noise, soon,
    tls::{self, Certified},
};

/// A backend that speaks TLS, with a certificate for `up.test`.
struct Encrypted {
    listener: TcpListener,
    certificate: Certified,
    directory: TempDir,
}

impl Encrypted {
    async fn bind() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
            certificate: tls::certificate(directory.path(), "up", &["up.test"]),
            directory,
        }
    }

    /// The keys of an upstream that trusts the authority in this file under this name.
    fn upstream(&self, ca: &Path, name: &str, http: &str) -> String {
        let address = self.listener.local_addr().expect("a bound port");
        let ca = ca.display();
        format!(
            "endpoints = [\"https://{address}\"]\nhttp = \"{http}\"\n\
             tls = {{ ca = \"{ca}\", server_name = \"{name}\" }}"
        )
    }

    fn ca(&self) -> std::path::PathBuf {
        self.directory.path().join("up.pem")
    }

    /// Accepts the proxy's connection, agreeing to the first of these protocols that it offers.
    async fn accept(&self, alpn: &[&str]) -> std::io::Result<tls::ServerStream> {
        let accepted = soon("a connection", self.listener.accept()).await;
        tls::accept(accepted.expect("a connection").0, &self.certificate, alpn).await
    }
}

/// Answers one request over TLS and HTTP/1.1, and gives its head.
async fn answer(stream: tls::ServerStream) -> String {
    let mut upstream = Client::over(Box::new(stream));
    let head = upstream.until("\r\n\r\n").await;
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    head
}

#[tokio::test]
async fn an_encrypted_upstream_is_trusted_by_its_own_authority() {
    let backend = Encrypted::bind().await;
    for (http, alpn) in [
        ("1.1", &["http/1.1"][..]),
        ("1.1", &[]),
        ("auto", &["http/1.1"]),
        ("auto", &[]),
    ] {
        let weir = Weir::upstream(&backend.upstream(&backend.ca(), "up.test", http), "");
        let mut client = Client::get(weir.address(), "/", "").await;
        let head = answer(backend.accept(alpn).await.expect("TLS")).await;
        assert!(head.contains("\r\nhost: test\r\n"), "{head}");
        assert_eq!(client.head().await.status, 200, "{http} {alpn:?}");
        assert_eq!(client.exactly(2).await, b"ok");
    }
}

#[tokio::test]
async fn an_encrypted_connection_is_kept() {
    let backend = Encrypted::bind().await;
    let weir = Weir::upstream(&backend.upstream(&backend.ca(), "up.test", "1.1"), "");
    let mut client = Client::get(weir.address(), "/0", "").await;
    let stream = backend.accept(&["http/1.1"]).await.expect("TLS");
    let mut upstream = Client::over(Box::new(stream));
    // Each body is longer than one read, and more than one record of TLS.
    let body = noise(100_000);
    for round in 0..3 {
        let head = upstream.until("\r\n\r\n").await;
        assert!(head.starts_with(&format!("GET /{round} ")), "{head}");
        upstream
            .send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            .await;
        upstream.send(&body).await;
        assert_eq!(client.head().await.status, 200);
        assert!(client.exactly(100_000).await == body);
        let next = format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", round + 1);
        client.send(next).await;
    }
}

#[tokio::test]
async fn http2_is_agreed_upon_by_alpn_and_shared() {
    let backend = Encrypted::bind().await;
    for http in ["auto", "2"] {
        let weir = Weir::upstream(&backend.upstream(&backend.ca(), "up.test", http), "");
        let client = Client2::connect(weir.address()).await;
        let serve = async {
            let stream = backend.accept(&["h2", "http/1.1"]).await.expect("TLS");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let mut upstream = Connection2::over(stream).await;
            for _ in 0..3 {
                let mut stream = upstream.request().await;
                assert_eq!(stream.head.uri.scheme_str(), Some("https"));
                stream.reply(200, &[("content-type", "application/x-ndjson")]);
                stream.data("1\n");
                stream.end();
            }
            upstream
        };
        let ask = async {
            let (one, two) = tokio::join!(client.get("/"), client.get("/"));
            for mut response in [one, two, client.get("/").await] {
                assert_eq!(response.rest().await, ("data: 1\n\n".to_owned(), None));
            }
        };
        tokio::join!(serve, ask);
    }
}

#[tokio::test]
async fn an_upgrade_agrees_on_http1_where_streams_agree_on_http2() {
    let backend = Encrypted::bind().await;
    let weir = Weir::upstream(&backend.upstream(&backend.ca(), "up.test", "auto"), "");
    let fields = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let mut client = Client::get(weir.address(), "/", fields).await;
    let stream = backend.accept(&["h2", "http/1.1"]).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut upstream = Client::over(Box::new(stream));
    upstream.until("\r\n\r\n").await;
    upstream
        .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi")
        .await;
    assert_eq!(client.head().await.status, 101);
    assert_eq!(client.exactly(2).await, b"hi");
}

#[tokio::test]
async fn an_upstream_that_cannot_be_trusted_is_told_and_sent_nothing() {
    let backend = Encrypted::bind().await;
    let other = tempfile::tempdir().expect("a directory");
    tls::certificate(other.path(), "other", &["up.test"]);
    for (ca, name, http) in [
        (other.path().join("other.pem"), "up.test", "1.1"),
        (backend.ca(), "down.test", "1.1"),
        // Prior knowledge of HTTP/2 is not what the endpoint says.
        (backend.ca(), "up.test", "2"),
    ] {
        let weir = Weir::upstream(&backend.upstream(&ca, name, http), "");
        let mut client = Client::get(weir.address(), "/", "").await;
        let (head, accepted) = tokio::join!(client.head(), backend.accept(&["http/1.1"]));
        assert_eq!(head.status, 502, "{name} {http}");
        assert_eq!(head.field("proxy-status"), "weir; error=tls_protocol_error");
        if let Ok(stream) = accepted {
            assert_eq!(
                Client::over(Box::new(stream)).rest().await,
                "",
                "{name} {http}"
            );
        }
    }
}

#[tokio::test]
async fn a_cut_within_tls_is_told_apart_from_the_end() {
    let backend = Encrypted::bind().await;
    let weir = Weir::upstream(&backend.upstream(&backend.ca(), "up.test", "1.1"), "");
    for is_told in [true, false] {
        let mut client = Client::get(weir.address(), "/", "").await;
        let stream = backend.accept(&[]).await.expect("TLS");
        let mut upstream = Client::over(Box::new(stream));
        upstream.until("\r\n\r\n").await;
        upstream
            .send("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n1\n")
            .await;
        client.head().await;
        assert_eq!(client.chunk().await.as_deref(), Some("data: 1\n\n"));
        if is_told {
            upstream.shutdown().await;
        }
        drop(upstream);
        let (body, is_complete) = client.rest_or_last_chunk().await;
        assert_eq!(is_complete, is_told, "{body}");
        assert_eq!(body.contains("upstream_truncated"), !is_told, "{body}");
    }
}

/// Answers one request and closes.
async fn serve(backend: &Backend) {
    let mut upstream = backend
        .answer("HTTP/1.1 200 OK\r\nConnection: close\r\n")
        .await;
    upstream.send("Content-Length: 0\r\n\r\n").await;
}

#[tokio::test]
async fn endpoints_take_turns() {
    let (one, two) = (Backend::bind().await, Backend::bind().await);
    let endpoints = format!(
        "endpoints = [\"{}\", \"{}\"]",
        one.endpoint(),
        two.endpoint()
    );
    let weir = Weir::upstream(&format!("{endpoints}\nbalance = \"round-robin\""), "");
    let mut client = Client::connect(weir.address()).await;
    for _ in 0..3 {
        for backend in [&one, &two] {
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
            serve(backend).await;
            assert_eq!(client.head().await.status, 200);
        }
    }
    assert!(one.is_alone().await && two.is_alone().await);
}

#[tokio::test]
async fn a_key_keeps_its_endpoint() {
    let (one, two) = (Backend::bind().await, Backend::bind().await);
    let upstream = format!(
        "endpoints = [\"{}\", \"{}\"]\nbalance = \"hash\"\nhash = {{ header = \"x-user\" }}",
        one.endpoint(),
        two.endpoint()
    );
    let weir = Weir::upstream(&upstream, "");
    let mut client = Client::connect(weir.address()).await;
    let mut used = [0, 0];
    for user in 0..16 {
        let request = format!("GET / HTTP/1.1\r\nHost: test\r\nX-User: u{user}\r\n\r\n");
        let mut first = None;
        for _ in 0..3 {
            client.send(&request).await;
            let index = tokio::select! {
                () = serve(&one) => 0,
                () = serve(&two) => 1,
            };
            assert_eq!(client.head().await.status, 200);
            assert_eq!(*first.get_or_insert(index), index, "user {user}");
        }
        used[first.unwrap()] += 1;
    }
    assert!(used.iter().all(|users| *users > 0), "{used:?}");
}

#[tokio::test]
async fn the_endpoint_with_the_fewest_streams_is_next() {
    let (one, two) = (Backend::bind().await, Backend::bind().await);
    let endpoints = format!(
        "endpoints = [\"{}\", \"{}\"]",
        one.endpoint(),
        two.endpoint()
    );
    let weir = Weir::upstream(&endpoints, "");
    let mut first = Client::get(weir.address(), "/", "").await;
    let _stream = one.stream("application/x-ndjson").await;
    first.head().await;
    // The first has a stream, so the second gets all that come and go.
    for _ in 0..4 {
        let mut client = Client::get(weir.address(), "/", "").await;
        serve(&two).await;
        assert_eq!(client.head().await.status, 200);
    }
    assert!(one.is_alone().await);
    // When the stream ends, its place is given back.
    drop(first);
    let mut held = Client::get(weir.address(), "/", "").await;
    let mut next = Client::get(weir.address(), "/", "").await;
    let (_one, _two) = tokio::join!(one.stream("text/plain"), two.stream("text/plain"));
    assert_eq!(
        (held.head().await.status, next.head().await.status),
        (200, 200)
    );
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let (dead, alive) = (Backend::bind().await, Backend::bind().await);
    let endpoints = format!(
        "endpoints = [\"{}\", \"{}\"]",
        dead.endpoint(),
        alive.endpoint()
    );
    drop(dead);
    for balance in ["round-robin", "least-streams"] {
        let weir = Weir::upstream(&format!("{endpoints}\nbalance = \"{balance}\""), "");
        for _ in 0..4 {
            let mut client = Client::connect(weir.address()).await;
            let body = "Content-Length: 5\r\n\r\nhello";
            client
                .send(format!("POST / HTTP/1.1\r\nHost: test\r\n{body}"))
                .await;
            let mut upstream = alive.accept().await;
            upstream.request().await;
            assert_eq!(upstream.read(5).await, b"hello");
            upstream
                .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .await;
            assert_eq!(client.head().await.status, 200, "{balance}");
        }
    }
}

const ROUTES: &str = r#"
[[route]]
name = "any"
path = "/api/*"
upstream = "test"
rewrite = { strip_prefix = "/api", add_prefix = "/v1" }

[[route]]
name = "host"
host = "a.example.com"
path = "/api/*"
upstream = "test"
rewrite = { add_prefix = "/host" }

[[route]]
name = "below"
host = "*.example.com"
path = "/api/*"
upstream = "test"
rewrite = { add_prefix = "/below" }

[[route]]
name = "exact"
path = "/api/exact"
methods = ["POST"]
upstream = "test"
rewrite = { add_prefix = "/exact" }

[[route]]
name = "versioned"
path = "/api/*"
headers = { x-version = "2" }
upstream = "test"
rewrite = { add_prefix = "/two" }

[[route]]
name = "stripped"
path = "/gone/*"
upstream = "test"
rewrite = { strip_prefix = "/gone" }
"#;

#[tokio::test]
async fn requests_find_their_routes_and_their_paths_are_rewritten() {
    let backend = Backend::bind().await;
    let weir = Weir::start(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[upstream.test]\nendpoints = [\"{}\"]\n{ROUTES}",
        backend.endpoint()
    ));
    for (method, host, target, field, seen) in [
        ("GET", "x", "/api/a/b?c=/api", "", "/v1/a/b?c=/api"),
        ("GET", "x", "/api/", "", "/v1/"),
        ("GET", "x", "/api/%2f%20?", "", "/v1/%2f%20?"),
        ("GET", "A.Example.Com:8080", "/api/a", "", "/host/api/a"),
        ("GET", "b.example.com", "/api/a", "", "/below/api/a"),
        ("GET", "c.b.example.com.", "/api/a", "", "/below/api/a"),
        ("GET", "example.com", "/api/a", "", "/v1/a"),
        ("POST", "x", "/api/exact", "", "/exact/api/exact"),
        ("GET", "x", "/api/exact", "", "/v1/exact"),
        ("GET", "x", "/api/a", "X-Version: 2\r\n", "/two/api/a"),
        ("GET", "x", "/api/a", "X-Version: 3\r\n", "/v1/a"),
        ("GET", "x", "/gone/a", "", "/a"),
        ("GET", "x", "/gone/", "", "/"),
        ("GET", "x", "http://a.example.com/api/a", "", "/host/api/a"),
    ] {
        let mut client = Client::connect(weir.address()).await;
        client
            .send(format!(
                "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{field}\r\n"
            ))
            .await;
        let mut upstream = backend.accept().await;
        let head = upstream.request().await;
        let line = format!("{} {seen} http/1.1\r\n", method.to_lowercase());
        assert!(head.starts_with(&line), "{target} at {host}: {head}");
        upstream
            .send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .await;
        assert_eq!(client.head().await.status, 204);
    }
    for target in ["/", "/api", "/apis/a", "/API/a", "/gone"] {
        let mut client = Client::get(weir.address(), target, "").await;
        let head = client.head().await;
        assert_eq!(head.status, 404, "{target}");
        assert_eq!(
            head.field("proxy-status"),
            "weir; error=destination_not_found"
        );
        assert_eq!(head.field("content-type"), "application/problem+json");
    }
    assert!(backend.is_alone().await);
}
