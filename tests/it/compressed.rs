//! Does a compressed stream become events as soon as its sender flushes?

use compression_codecs::{
    BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder,
    brotli::params::EncoderParams,
};
use compression_core::{Level, util::PartialBuffer};

use crate::support::{
    Weir, backend::Connection, client::Client, client2::Client2, coded::drain, noise, proxied,
};

/// What compresses a reply, and its name in `Content-Encoding`.
struct Coder {
    name: &'static str,
    encoder: Box<dyn EncodeV2>,
}

impl Coder {
    fn all() -> Vec<Self> {
        let coder = |name, encoder| Self { name, encoder };
        let level = Level::Default;
        vec![
            coder("gzip", Box::new(GzipEncoder::new(level.into()))),
            coder("X-GZip", Box::new(GzipEncoder::new(level.into()))),
            coder("deflate", Box::new(ZlibEncoder::new(level.into()))),
            coder("deflate", Box::new(DeflateEncoder::new(level.into()))),
            coder("br", Box::new(BrotliEncoder::new(EncoderParams::default()))),
            coder("zstd", Box::new(ZstdEncoder::new(3))),
        ]
    }

    /// What is sent for `plain`, flushed.
    fn flush(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut plain = PartialBuffer::new(plain);
        let encoder = &mut self.encoder;
        let mut coded = drain(|room| {
            encoder.encode(&mut plain, room).expect("an encoder");
            plain.unwritten().is_empty()
        });
        coded.extend(drain(|room| encoder.flush(room).expect("an encoder")));
        coded
    }

    /// What is sent for the end.
    fn finish(&mut self) -> Vec<u8> {
        drain(|room| self.encoder.finish(room).expect("an encoder"))
    }
}

/// Begins a compressed reply, whatever was asked for.
async fn stream(backend: &crate::support::backend::Backend, coding: &str) -> Connection {
    backend
        .answer(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Encoding: {coding}\r\n\
             ETag: \"1\"\r\nVary: Accept-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n"
        ))
        .await
}

#[tokio::test]
async fn each_flush_becomes_events_at_once() {
    let (backend, weir) = proxied("").await;
    for mut coder in Coder::all() {
        let name = coder.name;
        let mut client = Client::get(weir.address(), "/", "").await;
        let mut upstream = stream(&backend, name).await;
        let head = client.head().await;
        assert_eq!(head.field("content-type"), "text/event-stream", "{name}");
        assert_eq!(head.field("content-encoding"), "", "{name}");
        assert_eq!(head.field("etag"), "", "{name}");
        for number in 0..3 {
            upstream
                .chunk(coder.flush(format!("{number}\n{{\"half\":").as_bytes()))
                .await;
            assert_eq!(
                client.chunk().await,
                Some(format!("data: {number}\n\n")),
                "{name}"
            );
            // Cut anywhere, the bytes are the same.
            for byte in coder.flush(b"1}\n") {
                upstream.chunk([byte]).await;
            }
            assert_eq!(
                client.chunk().await.as_deref(),
                Some("data: {\"half\":1}\n\n"),
                "{name}"
            );
        }
        upstream.chunk(coder.flush(b"\"last\"")).await;
        upstream.chunk(coder.finish()).await;
        upstream.end().await;
        assert_eq!(client.chunks_to_end().await, "data: \"last\"\n\n", "{name}");
    }
}

/// What a client gets of a reply whose bytes are these, and whether it was complete.
async fn got(weir: &Weir, reply: impl Future<Output = ()>) -> (String, bool) {
    let mut client = Client::get(weir.address(), "/", "").await;
    let ((), end) = tokio::join!(reply, async {
        client.head().await;
        client.rest_or_last_chunk().await
    });
    end
}

#[tokio::test]
async fn a_cut_inside_the_coding_is_told_after_the_events_before_it() {
    let (backend, weir) = proxied("").await;
    for mut coder in Coder::all() {
        let name = coder.name;
        let coded = coder.flush(b"1\n");
        let (body, is_complete) = got(&weir, async {
            // HTTP's own framing is whole; the coding's is not.
            let mut upstream = stream(&backend, name).await;
            upstream.chunk(coded).await;
            upstream.end().await;
        })
        .await;
        let error = "data: 1\n\nevent: stream-error\ndata: {\"code\":\"upstream_truncated\",";
        assert!(body.starts_with(error) && !is_complete, "{name}: {body}");
    }
}

#[tokio::test]
async fn garbage_in_the_coding_is_told_after_the_events_before_it() {
    let (backend, weir) = proxied("").await;
    for mut coder in Coder::all() {
        let name = coder.name;
        let mut coded = coder.flush(b"1\n");
        coded.extend(coder.finish());
        coded.extend([0xff; 64]);
        let (body, is_complete) = got(&weir, async {
            let mut upstream = stream(&backend, name).await;
            upstream.chunk(coded).await;
            upstream.closed().await;
        })
        .await;
        let error = "data: 1\n\nevent: stream-error\ndata: {\"code\":\"upstream_error\",";
        assert!(body.starts_with(error) && !is_complete, "{name}: {body}");
    }
}

#[tokio::test]
async fn a_coding_that_is_not_known_passes_as_it_is() {
    let (backend, weir) = proxied("").await;
    for coding in ["compress", "gzip, br", "x-own"] {
        let mut client = Client::get(weir.address(), "/", "").await;
        let mut upstream = stream(&backend, coding).await;
        let head = client.head().await;
        assert_eq!(head.field("content-type"), "application/x-ndjson");
        assert_eq!(head.field("content-encoding"), coding);
        upstream.chunk("coded").await;
        assert_eq!(client.chunk().await.as_deref(), Some("coded"));
        upstream.end().await;
        assert_eq!(client.chunk().await, None);
    }
}

#[tokio::test]
async fn what_is_compressed_a_thousandfold_flows_to_a_slow_reader_in_pieces() {
    let (backend, weir) = proxied("").await;
    let client = Client2::connect_with_window(weir.address(), 1000).await;
    for mut coder in Coder::all() {
        let name = coder.name;
        let plain = "0\n".repeat(100_000);
        let mut coded = coder.flush(plain.as_bytes());
        coded.extend(coder.finish());
        let (mut response, _upstream) = tokio::join!(client.get("/"), async {
            let mut upstream = stream(&backend, name).await;
            upstream.chunk(&coded).await;
            upstream.end().await;
            upstream
        });
        let (body, reset) = response.rest().await;
        assert_eq!(reset, None, "{name}");
        assert!(
            body == "data: 0\n\n".repeat(100_000),
            "{name}: {} bytes",
            body.len()
        );
    }
}

#[tokio::test]
async fn a_compressed_page_passes_with_its_coding_untouched() {
    let (backend, weir) = proxied("from = \"ndjson\"").await;
    let page = noise(5000);
    let mut client = Client::get(weir.address(), "/", "Accept: text/html\r\n").await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nETag: \"1\"\r\n\
                Content-Length: 5000\r\n\r\n";
    let mut upstream = backend.answer(head).await;
    upstream.send(&page).await;
    let head = client.head().await;
    assert_eq!(
        (head.field("content-encoding"), head.field("etag")),
        ("gzip", "\"1\"")
    );
    assert_eq!(head.field("content-length"), "5000");
    assert!(client.exactly(5000).await == page);
}
