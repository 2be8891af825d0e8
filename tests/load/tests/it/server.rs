//! Who else can the client meet? A server of HTTP/2, and two that do wrong.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use weir_load::{
    clock::now_ns,
    record::{self, Record},
};

/// Serves the answer of `each` on every connection, and returns the URL.
async fn serve<F: Future<Output = ()> + 'static>(
    each: impl Fn(TcpStream) -> F + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::task::spawn_local(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::task::spawn_local(each(io));
        }
    });
    url
}

/// Streams of events over HTTP/2, a record every 10 ms.
pub(crate) async fn http2() -> String {
    serve(async |io| {
        let mut connection = h2::server::handshake(io).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let head = http::Response::builder()
                .header("content-type", "text/event-stream; charset=utf-8");
            let mut body = respond
                .send_response(head.body(()).unwrap(), false)
                .unwrap();
            tokio::task::spawn_local(async move {
                for seq in 0.. {
                    if body.send_data(Bytes::from(event(seq, 200)), false).is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        }
    })
    .await
}

/// For the warm-up a silent stream; then one with a gap, an error event and an end in the middle of a chunk.
pub(crate) async fn wrong() -> String {
    serve(async |mut io| {
        let mut request = vec![0; 4_096];
        let length = io.read(&mut request).await.unwrap();
        let is_warm_up = String::from_utf8_lossy(&request[..length]).contains("hold=1");
        let mut body = event(0, 80);
        if !is_warm_up {
            body.extend([event(1, 80), b":\n".to_vec(), event(3, 80)].concat());
            body.extend(b"event: stream-error\ndata: {\"code\":\"upstream_truncated\"}\n\n");
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let size_line = format!("{:x}\r\n", body.len() + 1);
        io.write_all(&[head, size_line.as_bytes(), &body].concat()).await.unwrap();
        if is_warm_up {
            let left = io.read(&mut request).await;
            assert_eq!(left.unwrap_or(0), 0);
        } else {
            // Its end belongs to the window that is measured, not to the opening before it.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
}

/// Answers each request that there is nothing.
pub(crate) async fn refusing() -> String {
    serve(async |mut io| {
        let length = io.read(&mut [0; 4_096]).await.unwrap();
        assert!(length > 0);
        let reply = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
        io.write_all(reply).await.unwrap();
    })
    .await
}

fn event(seq: u64, size_bytes: usize) -> Vec<u8> {
    let mut out = b"data: ".to_vec();
    record::write(
        Record {
            seq,
            at_ns: now_ns(),
        },
        size_bytes,
        &mut out,
    );
    out.push(b'\n');
    out
}
