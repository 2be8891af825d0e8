//! An HTTP/1 client that sees each byte.

use std::collections::HashMap;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use super::soon;

/// What bytes go over.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection to the proxy.
pub struct Client {
    io: Box<dyn Duplex>,
    ahead: Vec<u8>,
}

/// The proxy closed the connection inside a response.
#[derive(Debug, Clone, Copy)]
pub struct Closed;

/// A response's head.
#[derive(Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The status line.
    pub line: String,
    /// The fields, their names in lower case; several of one name are joined by `, `.
    pub fields: HashMap<String, String>,
}

impl Head {
    /// A field's value; empty where there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

impl Client {
    /// Connects over TCP.
    pub async fn connect(address: &str) -> Self {
        let stream = soon("a connection", TcpStream::connect(address))
            .await
            .expect("the proxy listens");
        stream.set_nodelay(true).expect("a socket");
        Self::over(Box::new(stream))
    }

    /// Connects to a unix socket.
    pub async fn connect_unix(path: &std::path::Path) -> Self {
        let stream = UnixStream::connect(path).await.expect("the proxy listens");
        Self::over(Box::new(stream))
    }

    /// Speaks over this connection.
    pub fn over(io: Box<dyn Duplex>) -> Self {
        Self {
            io,
            ahead: Vec::new(),
        }
    }

    /// Connects and asks for `path`, with these further fields (each with its line's end).
    pub async fn get(address: &str, path: &str, fields: &str) -> Self {
        let mut client = Self::connect(address).await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
            .await;
        client
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("the proxy to read", self.io.write_all(bytes.as_ref()))
            .await
            .expect("an open connection");
    }

    /// Reads a response's head.
    pub async fn head(&mut self) -> Head {
        let text = self.until("\r\n\r\n").await;
        let mut lines = text.lines();
        let line = lines.next().expect("a status line").to_owned();
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut fields: HashMap<String, String> = HashMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let joined = fields.entry(name.to_ascii_lowercase()).or_default();
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(value.trim());
        }
        Head {
            status: status.expect("a status code"),
            line,
            fields,
        }
    }

    /// Reads a response's head as it comes.
    pub async fn head_bytes(&mut self) -> Vec<u8> {
        self.bytes_until("\r\n\r\n").await
    }

    /// Reads until `needle` has come, and gives all up to its end.
    pub async fn until(&mut self, needle: &str) -> String {
        String::from_utf8(self.bytes_until(needle).await).expect("text")
    }

    async fn bytes_until(&mut self, needle: &str) -> Vec<u8> {
        soon(&format!("{needle:?}"), async {
            loop {
                let found = memchr::memmem::find(&self.ahead, needle.as_bytes());
                if let Some(at) = found {
                    let rest = self.ahead.split_off(at + needle.len());
                    return std::mem::replace(&mut self.ahead, rest);
                }
                let before = String::from_utf8_lossy(&self.ahead).into_owned();
                assert!(self.more().await, "the proxy closed after {before:?}");
            }
        })
        .await
    }

    /// Reads one chunk of a chunked response; `None` is the last chunk.
    pub async fn chunk(&mut self) -> Option<String> {
        let bytes = self.chunk_bytes().await?;
        Some(String::from_utf8(bytes).expect("text"))
    }

    /// Reads one chunk of a chunked response, of any kind of bytes; `None` is the last chunk.
    pub async fn chunk_bytes(&mut self) -> Option<Vec<u8>> {
        let size = self.until("\r\n").await;
        let length = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
        let mut bytes = self.exactly(length + 2).await;
        bytes.truncate(length);
        (length > 0).then_some(bytes)
    }

    /// Reads chunks until `needle` has come, and gives what they hold.
    pub async fn chunks_until(&mut self, needle: &str) -> String {
        let mut body = String::new();
        while !body.contains(needle) {
            let chunk = self.chunk().await;
            body.push_str(&chunk.unwrap_or_else(|| panic!("the response ended after {body:?}")));
        }
        body
    }

    /// Reads chunks until the last, which must come.
    pub async fn chunks_to_end(&mut self) -> String {
        let mut body = String::new();
        while let Some(chunk) = self.chunk().await {
            body.push_str(&chunk);
        }
        body
    }

    /// Reads chunks until the last, which must come: bytes of any kind.
    pub async fn bytes_to_last_chunk(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk_bytes().await {
            body.extend_from_slice(&chunk);
        }
        body
    }

    /// Reads exactly so many bytes.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        soon("bytes", async {
            while self.ahead.len() < length {
                assert!(self.more().await, "the proxy closed");
            }
        })
        .await;
        let rest = self.ahead.split_off(length);
        std::mem::replace(&mut self.ahead, rest)
    }

    /// Reads until the proxy closes, and gives what came.
    pub async fn rest(&mut self) -> String {
        soon("the proxy to close", async { while self.more().await {} }).await;
        String::from_utf8(std::mem::take(&mut self.ahead)).expect("text")
    }

    /// Reads until the proxy closes, and gives what came: bytes of any kind.
    pub async fn rest_bytes(&mut self) -> Vec<u8> {
        soon("the proxy to close", async { while self.more().await {} }).await;
        std::mem::take(&mut self.ahead)
    }

    /// Reads a chunked response until its last chunk or the proxy's close: what it held, and whether the
    /// message was complete.
    pub async fn rest_or_last_chunk(&mut self) -> (String, bool) {
        let mut body = String::new();
        loop {
            match self.chunk_or_close().await {
                Ok(Some(chunk)) => body.push_str(&String::from_utf8(chunk).expect("text")),
                Ok(None) => return (body, true),
                Err(Closed) => return (body, false),
            }
        }
    }

    /// Reads one chunk of a chunked response; `None` is the last chunk.
    pub async fn chunk_or_close(&mut self) -> Result<Option<Vec<u8>>, Closed> {
        let has_more = soon("the response", async {
            while memchr::memmem::find(&self.ahead, b"\r\n").is_none() {
                if !self.more().await {
                    return false;
                }
            }
            true
        })
        .await;
        if has_more {
            return Ok(self.chunk_bytes().await);
        }
        assert_eq!(self.ahead, b"", "a torn chunk");
        Err(Closed)
    }

    /// Closes the writing side as the protocol beneath says it.
    pub async fn shutdown(&mut self) {
        let closed = soon("the proxy to take the end", self.io.shutdown()).await;
        closed.expect("an open connection");
    }

    /// The connection itself.
    pub fn socket(&mut self) -> &mut dyn Duplex {
        &mut *self.io
    }

    async fn more(&mut self) -> bool {
        self.ahead.reserve(64 * 1024);
        let read = self.io.read_buf(&mut self.ahead).await;
        read.is_ok_and(|length| length > 0)
    }
}
