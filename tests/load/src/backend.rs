//! Where do the records come from? A backend of its own: HTTP/1.1 by hand, so lean that the proxy in front is what is measured.

pub mod asked;
pub mod chunk;

use std::{cell::RefCell, io, rc::Rc};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use self::{
    asked::{Asked, Format},
    chunk::Chunks,
};
use crate::{clock::now_ns, pacer::Pacer};

/// Serves streams on `listener` until the future is dropped.
///
/// # Errors
/// When the kernel gives no timer.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let backend = Rc::new(Backend {
        pacer: Pacer::start()?,
        started_ns: now_ns(),
        streams: RefCell::new(0),
        scratch: RefCell::new(vec![0; HEAD_BYTES_MAX]),
    });
    loop {
        match listener.accept().await {
            Ok((io, _)) => {
                let backend = Rc::clone(&backend);
                // An error is the reader's leaving: there is no one left to tell.
                tokio::task::spawn_local(async move { backend.connection(io).await.ok() });
            }
            // Out of descriptors, say: some become free again.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

#[derive(Debug)]
struct Backend {
    pacer: Rc<Pacer>,
    started_ns: u64,
    /// How many streams there have been: the next one's number.
    streams: RefCell<u64>,
    /// What is read goes here first, so that a waiting connection owns no buffer.
    scratch: RefCell<Vec<u8>>,
}

impl Backend {
    async fn connection(&self, mut io: TcpStream) -> io::Result<()> {
        io.set_nodelay(true)?;
        let mut received = Vec::new();
        while let Some(request) = self.request(&io, &mut received).await? {
            match request.asked {
                Ok(asked) => self.stream(&mut io, asked, request.is_head).await?,
                Err(sentence) => {
                    let reply = format!(
                        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
                         Content-Length: {}\r\n\r\n{sentence}",
                        sentence.len()
                    );
                    io.write_all(reply.as_bytes()).await?;
                }
            }
            if request.is_last {
                break;
            }
        }
        Ok(())
    }

    /// The next request and its body, which is dropped; `None` when the peer has left.
    async fn request(&self, io: &TcpStream, received: &mut Vec<u8>) -> io::Result<Option<Request>> {
        loop {
            if let Some((request, length)) = Request::parse(received)? {
                received.drain(..length);
                if received.is_empty() {
                    *received = Vec::new();
                }
                return Ok(Some(request));
            }
            if received.len() > HEAD_BYTES_MAX || !self.receive(io, received).await? {
                return Ok(None);
            }
        }
    }

    /// Waits for bytes and appends them; `false` when the peer has left.
    async fn receive(&self, io: &TcpStream, received: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            io.readable().await?;
            let mut scratch = self.scratch.borrow_mut();
            match io.try_read(&mut scratch) {
                Ok(length) => {
                    received.extend_from_slice(&scratch[..length]);
                    return Ok(length > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes one stream, head to end.
    async fn stream(&self, io: &mut TcpStream, asked: Asked, is_head: bool) -> io::Result<()> {
        if asked.send_buffer_bytes > 0 {
            setsockopt(&io, sockopt::SndBuf, &asked.send_buffer_bytes)?;
        }
        io.write_all(match asked.format {
            Format::Ndjson => HEAD_NDJSON,
            Format::Sse => HEAD_SSE,
        })
        .await?;
        if is_head {
            return Ok(());
        }
        let mut chunks = Chunks::new(asked);
        if asked.rate_per_s > 0.0 {
            self.paced(io, asked, &mut chunks).await?;
        } else {
            while let Some(chunk) = chunks.next_chunk(now_ns()) {
                io.write_all(chunk).await?;
            }
        }
        if asked.is_held {
            chunks.release();
            self.left(io).await?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        io.write_all(b"0\r\n\r\n").await
    }

    /// Writes a chunk at each of the stream's own times, which lie a period apart.
    async fn paced(&self, io: &mut TcpStream, asked: Asked, chunks: &mut Chunks) -> io::Result<()> {
        let mut times = {
            let mut streams = self.streams.borrow_mut();
            *streams += 1;
            Times::new(*streams, &asked, self.started_ns)
        };
        loop {
            let at_ns = times.next_ns(now_ns());
            tokio::select! {
                biased;
                () = self.pacer.until(at_ns) => {}
                left = self.left(io) => return left.and(Err(io::ErrorKind::ConnectionAborted.into())),
            }
            match chunks.next_chunk(now_ns()) {
                Some(chunk) => io.write_all(chunk).await?,
                None => return Ok(()),
            }
        }
    }

    /// Waits until the peer leaves. What it sends meanwhile is dropped: no client of ours pipelines.
    async fn left(&self, io: &TcpStream) -> io::Result<()> {
        let mut dropped = Vec::new();
        while self.receive(io, &mut dropped).await? {
            dropped.clear();
        }
        Ok(())
    }
}

/// When a stream's chunks are due.
#[derive(Debug)]
struct Times {
    period_ns: f64,
    /// When its time 0 was.
    base_ns: f64,
    /// Which time is next.
    number: f64,
}

impl Times {
    /// Multiples of the golden ratio fall evenly into the period, however many streams there will be.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn new(stream: u64, asked: &Asked, started_ns: u64) -> Self {
        let period_ns = asked.batch as f64 / asked.rate_per_s * 1e9;
        let phase = (stream as f64 * 0.618_033_988_749_895).fract();
        Self {
            period_ns,
            base_ns: started_ns as f64 + phase * period_ns,
            number: -1.0,
        }
    }

    /// The next time. The first is the first that is not past; later ones follow each other, late or not.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "nanoseconds since the machine's start: positive, and far below 2^52"
    )]
    fn next_ns(&mut self, now_ns: u64) -> u64 {
        if self.number < 0.0 {
            self.number = ((now_ns as f64 - self.base_ns) / self.period_ns)
                .ceil()
                .max(0.0);
        } else {
            self.number += 1.0;
        }
        (self.base_ns + self.number * self.period_ns) as u64
    }
}

#[derive(Debug)]
struct Request {
    asked: Result<Asked, String>,
    is_head: bool,
    is_last: bool,
}

impl Request {
    /// The request at the start of `received` and its length with its body; `None` when it is not there in full.
    fn parse(received: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let head = request
            .parse(received)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let httparse::Status::Complete(head_bytes) = head else {
            return Ok(None);
        };
        let header = |name: &str| {
            let found = request
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let body_bytes: usize = header("content-length")
            .and_then(|length| length.trim().parse().ok())
            .unwrap_or(0);
        let length = head_bytes.saturating_add(body_bytes);
        if received.len() < length {
            return Ok(None);
        }
        let query = request.path.and_then(|path| path.split_once('?'));
        let parsed = Self {
            asked: Asked::parse(query.map_or("", |(_, query)| query)),
            is_head: request.method == Some("HEAD"),
            is_last: header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
                || request.version == Some(0),
        };
        Ok(Some((parsed, length)))
    }
}

const HEAD_NDJSON: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
const HEAD_SSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_share_the_period_evenly() {
        let asked = Asked {
            rate_per_s: 25.0,
            ..Asked::default()
        };
        let (mut first, now_ns) = (Vec::new(), 90_000_000);
        for stream in 0..200 {
            let mut times = Times::new(stream, &asked, 1_000_000);
            let at_ns = times.next_ns(now_ns);
            assert!((now_ns..now_ns + 40_000_001).contains(&at_ns));
            let next_ns = times.next_ns(now_ns);
            assert!((39_999_999..=40_000_001).contains(&(next_ns - at_ns)));
            first.push(at_ns);
        }
        first.sort_unstable();
        let widest = first.windows(2).map(|pair| pair[1] - pair[0]).max();
        // Even would be 200 µs each.
        assert!(widest < Some(500_000), "{widest:?}");
    }
}
