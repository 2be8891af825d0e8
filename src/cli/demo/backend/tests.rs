//! Does the demo's backend speak as a legacy backend does? Asked over a real connection.

use std::time::Duration;

use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1 as client};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::*;

/// Asks for `path` on a connection of its own, which ends with the reply.
async fn ask(address: SocketAddr, method: Method, path: &str) -> Response<Incoming> {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = client::handshake(TokioIo::new(socket)).await.unwrap();
    // A cut connection is an error here too; the body tells of it.
    tokio::spawn(async move { connection.await.ok() });
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "demo")
        .body(Empty::<Bytes>::new())
        .unwrap();
    sender.send_request(request).await.unwrap()
}

async fn next_text(reply: &mut Response<Incoming>) -> String {
    let frame = reply.frame().await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

/// Runs `check` against a backend, for at most ten seconds.
fn with_backend<F: Future<Output = ()>>(check: impl FnOnce(SocketAddr) -> F) {
    let backend = start_backend().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(10), check(backend.address())).await
        })
        .unwrap();
}

#[test]
fn the_ticker_sends_a_line_at_once_and_another_later() {
    with_backend(|address| async move {
        let mut reply = ask(address, Method::GET, "/ticker").await;

        assert_eq!(reply.headers()[CONTENT_TYPE], "application/x-ndjson");
        assert!(next_text(&mut reply).await.starts_with(r#"{"seq":1,"#));
        assert!(next_text(&mut reply).await.starts_with(r#"{"seq":2,"#));
    });
}

#[test]
fn the_chat_ends_as_it_should() {
    with_backend(|address| async move {
        let reply = ask(address, Method::GET, "/chat").await;
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();

        assert!(text.ends_with("}\n"));
        assert!(text.lines().last().unwrap().contains(r#""done":true"#));
    });
}

#[test]
fn the_broken_stream_is_visibly_cut_after_half_a_record() {
    with_backend(|address| async move {
        let mut reply = ask(address, Method::GET, "/broken").await;
        let mut text = String::new();
        let error = loop {
            match reply.frame().await.expect("a cut is not an end") {
                Ok(frame) => {
                    text += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
                }
                Err(error) => break error,
            }
        };

        assert_eq!(text.matches('\n').count(), 5);
        assert!(text.ends_with(r#"{"seq":6,"o"#), "{text}");
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
        let kind = cause.map(io::Error::kind);
        assert_eq!(kind, Some(io::ErrorKind::UnexpectedEof), "{error:?}");
    });
}

#[test]
fn a_client_that_leaves_ends_its_stream() {
    let backend = start_backend().unwrap();
    let mut open_streams = backend.open_streams();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();

    runtime.block_on(async {
        let mut reply = ask(backend.address(), Method::GET, "/silent").await;
        assert!(next_text(&mut reply).await.contains("heartbeats"));
        assert_eq!(*open_streams.borrow_and_update(), 1);

        drop(reply);
        tokio::time::timeout(
            Duration::from_secs(10),
            open_streams.wait_for(|&count| count == 0),
        )
        .await
        .unwrap()
        .unwrap();
    });
}

#[test]
fn a_dropped_backend_ends_its_streams_and_frees_its_port() {
    let backend = start_backend().unwrap();
    let address = backend.address();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();

    runtime.block_on(async {
        let mut reply = ask(address, Method::GET, "/silent").await;
        next_text(&mut reply).await;
        drop(backend);

        let end = tokio::time::timeout(Duration::from_secs(10), reply.frame()).await;
        assert!(matches!(end, Ok(Some(Err(_)))), "{end:?}");
        assert!(TcpStream::connect(address).await.is_err());
    });
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    with_backend(|address| async move {
        let reply = ask(address, Method::GET, "/").await;
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(reply.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(reply.headers().contains_key(CONTENT_SECURITY_POLICY));

        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let page = std::str::from_utf8(&body).unwrap();
        for stranger in ["src=\"http", "href=\"http", "url(http", "@import"] {
            assert!(!page.contains(stranger), "the page asks for {stranger}");
        }
        for stream in ["ticker", "chat", "silent", "broken"] {
            assert!(page.contains(&format!("data-stream=\"{stream}\"")));
        }
    });
}

#[test]
fn the_open_streams_are_told() {
    with_backend(|address| async move {
        let mut reply = ask(address, Method::GET, "/silent").await;
        next_text(&mut reply).await;
        let count = ask(address, Method::GET, "/streams").await;
        assert_eq!(count.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(
            count.into_body().collect().await.unwrap().to_bytes(),
            "{\"open\":1}\n"
        );
    });
}

#[test]
fn what_is_not_there_is_refused() {
    with_backend(|address| async move {
        let missing = ask(address, Method::GET, "/nothing").await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);

        let posted = ask(address, Method::POST, "/ticker").await;
        assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(posted.headers()[ALLOW], "GET, HEAD");
    });
}
