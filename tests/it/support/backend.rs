//! A backend that does as it is told, byte by byte.

use std::{net::SocketAddr, task::Poll};

use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader,
    },
    net::{TcpListener, TcpStream},
};

use super::soon;

/// A port on which connections wait to be accepted.
pub struct Backend {
    listener: TcpListener,
}

/// One connection from the proxy.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Backend {
    /// Listens on a free port.
    pub async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self { listener }
    }

    /// Listens at each of these addresses, on one port that is free at all of them.
    pub async fn bind_each(ips: &[&str]) -> Vec<Self> {
        let bind = async || {
            let (mut backends, mut port) = (Vec::new(), 0);
            for ip in ips {
                let listener = TcpListener::bind((*ip, port)).await.ok()?;
                port = listener.local_addr().ok()?.port();
                backends.push(Self { listener });
            }
            Some(backends)
        };
        loop {
            if let Some(backends) = bind().await {
                return backends;
            }
        }
    }

    /// Listens on this port again, which was just let go of.
    pub async fn bind_to(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("the port");
        Self { listener }
    }

    /// The address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound port")
    }

    /// The address as an endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Accepts the proxy's next connection.
    pub async fn accept(&self) -> Connection {
        let (stream, _) = soon("a connection from the proxy", self.listener.accept())
            .await
            .expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Connection {
            stream: BufReader::new(stream),
        }
    }

    /// Whether the proxy has made no further connection.
    pub async fn is_alone(&self) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(self.listener.poll_accept(cx).is_pending())).await
    }

    /// Accepts a connection, reads its request's head and answers with this head.
    pub async fn answer(&self, head: &str) -> Connection {
        let mut connection = self.accept().await;
        connection.request().await;
        connection.send(head).await;
        connection
    }

    /// Accepts a connection, reads its request's head and begins a chunked reply of this type.
    pub async fn stream(&self, content_type: &str) -> Connection {
        self.answer(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        ))
        .await
    }
}

impl Connection {
    /// Reads the head of the next request, with its line and its fields in lower case.
    pub async fn request(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = soon("a request's head", self.stream.read_line(&mut head)).await;
            assert!(read.expect("a line") > 0, "the proxy closed after {head:?}");
        }
        head.to_ascii_lowercase()
    }

    /// Reads the head of the next request as it comes.
    pub async fn head_bytes(&mut self) -> Vec<u8> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let read = soon("a request's head", self.stream.read_until(b'\n', &mut head)).await;
            assert!(read.expect("a line") > 0, "the proxy closed inside a head");
        }
        head
    }

    /// Reads exactly so many bytes.
    pub async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        soon("a request's body", self.stream.read_exact(&mut bytes))
            .await
            .expect("the bytes");
        bytes
    }

    /// Reads one chunk of the request's body; `None` is the last.
    pub async fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        soon("a chunk's size", self.stream.read_line(&mut line))
            .await
            .expect("a line");
        let length = usize::from_str_radix(line.trim(), 16).expect("a chunk's size");
        if length == 0 {
            return None;
        }
        let mut bytes = self.read(length + 2).await;
        bytes.truncate(length);
        Some(bytes)
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("the proxy to read", self.stream.write_all(bytes.as_ref()))
            .await
            .expect("an open connection");
    }

    /// Sends these bytes as one chunk.
    pub async fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(chunk).await;
    }

    /// Ends a chunked reply.
    pub async fn end(&mut self) {
        self.send("0\r\n\r\n").await;
    }

    /// Waits until the proxy closes the connection.
    pub async fn closed(&mut self) {
        self.rest().await;
    }

    /// Reads until the proxy closes the connection, and gives what came.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = soon("the proxy to close", self.stream.read_to_end(&mut rest)).await;
        // A reset is as good an end as any.
        drop(read);
        rest
    }

    /// Reads a chunked body to its end, after these bytes: what came, and whether its last chunk did.
    pub async fn read_chunks(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            let read = soon("a chunk's size", self.stream.read_line(&mut line)).await;
            if read.is_err() || line.is_empty() {
                return (body, false);
            }
            let length = usize::from_str_radix(line.trim(), 16).expect("a chunk's size");
            let mut chunk = vec![0; length + 2];
            let read = soon("a chunk", self.stream.read_exact(&mut chunk)).await;
            if read.is_err() {
                return (body, false);
            }
            body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                return (body, true);
            }
        }
    }

    /// The reading and the writing half, to be used at once.
    pub fn split(self) -> (impl AsyncRead, impl AsyncWrite) {
        tokio::io::split(self.stream)
    }

    /// The socket itself.
    pub fn socket(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }
}
