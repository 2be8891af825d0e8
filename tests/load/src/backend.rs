//! Where do the records come from? A backend of its own: HTTP/1.1 by hand, so lean that the proxy in front is what is measured.

pub mod asked;
pub mod chunk;
mod request;
mod times;

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, sleep_until},
};

use self::{
    asked::{Asked, Format},
    chunk::Chunks,
    request::Request,
    times::Times,
};
use crate::clock::now_ns;

/// Serves streams on `listener` until the future is dropped; never returns.
pub async fn serve(listener: TcpListener) {
    let backend = Rc::new(Backend {
        started: Instant::now(),
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
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

#[derive(Debug)]
struct Backend {
    /// What all streams' times count from.
    started: Instant,
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
    ///
    /// Tokio's timer rounds them up to whole milliseconds, so that those of a millisecond leave together, as a busy
    /// backend's do. The record bears the time at which it really leaves.
    async fn paced(&self, io: &mut TcpStream, asked: Asked, chunks: &mut Chunks) -> io::Result<()> {
        let mut times = {
            let mut streams = self.streams.borrow_mut();
            *streams += 1;
            Times::new(*streams, &asked)
        };
        loop {
            let due = times.next(self.started.elapsed());
            tokio::select! {
                biased;
                () = sleep_until(self.started + due) => {}
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

const HEAD_NDJSON: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
const HEAD_SSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const HEAD_BYTES_MAX: usize = 64 * 1024;
