//! Is every TLS client given the right certificate and protocol, and every other sent away?

use rustls::{ProtocolVersion, version};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    Weir,
    backend::Backend,
    client::Client,
    client2::Client2,
    soon,
    tls::{self, Certified},
};

/// A proxy in front of a fresh backend, with certificates for `a.test` (and by address) and `b.test`.
struct Encrypted {
    backend: Backend,
    weir: Weir,
    a: Certified,
    b: Certified,
    _directory: tempfile::TempDir,
}

async fn encrypted(keys: &str) -> Encrypted {
    let directory = tempfile::tempdir().expect("a directory");
    let a = tls::certificate(directory.path(), "a", &["a.test", "127.0.0.1"]);
    let b = tls::certificate(directory.path(), "b", &["b.test", "*.b.test"]);
    let backend = Backend::bind().await;
    let pair = |name: &str| {
        let path = directory.path().join(name);
        let path = path.display();
        format!("{{ certificate = \"{path}.pem\", key = \"{path}.key\" }}")
    };
    let weir = Weir::start(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = [{}, {}]\n{keys}\n[upstream.test]\n\
         endpoints = [\"{}\"]\n[[route]]\nname = \"test\"\nupstream = \"test\"\n",
        pair("a"),
        pair("b"),
        backend.endpoint()
    ));
    Encrypted {
        backend,
        weir,
        a,
        b,
        _directory: directory,
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn the_protocol_is_agreed_upon_by_alpn() {
    let Encrypted {
        backend, weir, a, ..
    } = &encrypted("").await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], "h2"),
        (&["http/1.1", "h2"], "h2"),
        (&["h2"], "h2"),
        (&["http/1.1"], "http/1.1"),
        (&[], ""),
    ] {
        let stream = tls::connect(weir.address(), "a.test", a, offered)
            .await
            .expect("TLS");
        let found = stream.get_ref().1.alpn_protocol().unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(found), agreed, "{offered:?}");
        if agreed == "h2" {
            let client = Client2::over(stream, 65_535).await;
            let (mut response, head) = tokio::join!(client.get("/"), asked(backend));
            assert_eq!(response.rest().await, ("ok".to_owned(), None));
            assert!(head.contains("\r\nx-forwarded-proto: https\r\n"), "{head}");
        } else {
            let mut client = Client::over(Box::new(stream));
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
            let head = asked(backend).await;
            assert!(head.contains(";proto=https\r\n"), "{head}");
            assert_eq!(client.head().await.status, 200);
        }
    }
    let refused = tls::connect(weir.address(), "a.test", a, &["smtp"]).await;
    assert!(refused.is_err(), "no protocol in common");
}

/// Answers one request, and gives its head.
async fn asked(backend: &Backend) -> String {
    let mut upstream = backend.accept().await;
    let head = upstream.request().await;
    upstream.send(OK).await;
    head
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let Encrypted { weir, a, b, .. } = &encrypted("").await;
    for (host, certificate) in [
        ("a.test", a),
        ("b.test", b),
        ("x.b.test", b),
        // Without a name, or with one that is not ours, it is the first.
        ("127.0.0.1", a),
    ] {
        let stream = tls::connect(weir.address(), host, certificate, &[]).await;
        assert!(stream.is_ok(), "{host}: {stream:?}");
    }
    let error = tls::connect(weir.address(), "c.test", a, &[])
        .await
        .expect_err("not for c.test");
    assert!(error.to_string().contains("a.test"), "{error}");
}

#[tokio::test]
async fn old_and_new_versions_are_spoken() {
    let Encrypted {
        backend, weir, a, ..
    } = &encrypted("").await;
    for (version, expected) in [
        (&version::TLS12, ProtocolVersion::TLSv1_2),
        (&version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = tls::client_config(a, &["h2", "http/1.1"], &[version]);
        let stream = tls::connect_with(config, weir.address(), "a.test")
            .await
            .expect("TLS");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        let client = Client2::over(stream, 65_535).await;
        let (mut response, _) = tokio::join!(client.get("/"), asked(backend));
        assert_eq!(response.rest().await, ("ok".to_owned(), None));
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_cut() {
    let Encrypted {
        backend, weir, a, ..
    } = &encrypted("timeouts = { handshake = \"300ms\" }").await;
    // Nothing, and the beginning of a ClientHello.
    for start in [&b""[..], &[0x16, 3, 1, 2, 0, 1, 0, 1]] {
        let mut stream = TcpStream::connect(weir.address())
            .await
            .expect("the proxy listens");
        stream.write_all(start).await.expect("an open connection");
        let mut rest = Vec::new();
        let read = soon("the proxy to close", stream.read_to_end(&mut rest)).await;
        assert!(read.is_err() || rest.is_empty(), "{rest:?}");
    }
    let stream = tls::connect(weir.address(), "a.test", a, &[])
        .await
        .expect("TLS");
    let mut client = Client::over(Box::new(stream));
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    asked(backend).await;
    assert_eq!(client.head().await.status, 200);
}

#[tokio::test]
async fn what_is_not_tls_is_sent_away() {
    let Encrypted { weir, .. } = &encrypted("").await;
    for garbage in [
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0\0\0\0\0\0\0\0\0\0",
        "\u{16}\u{3}\u{1}\0\u{5}wrong",
    ] {
        let mut client = Client::connect(weir.address()).await;
        client.send(garbage).await;
        let answer = client.rest_bytes().await;
        // At most an alert.
        assert!(
            answer.is_empty() || answer[0] == 0x15,
            "{garbage:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn the_end_is_told_within_tls() {
    let Encrypted {
        backend, weir, a, ..
    } = &encrypted("").await;
    let mut stream = tls::connect(weir.address(), "a.test", a, &[])
        .await
        .expect("TLS");
    stream
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .await
        .expect("an open connection");
    let mut upstream = backend.stream("text/plain").await;
    upstream.chunk("ok").await;
    upstream.end().await;
    let mut response = Vec::new();
    // Without close_notify this would be an error, for then a cut could look like the end.
    let read = soon("the end", stream.read_to_end(&mut response)).await;
    assert!(read.is_ok(), "{read:?}");
    assert!(response.ends_with(b"\r\n\r\nok"), "{response:?}");
}
