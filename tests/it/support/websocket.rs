//! A server that speaks WebSocket as it is told, frame by frame.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tungstenite::handshake::derive_accept_key;

use super::{
    backend::{Backend, Connection},
    soon, tls,
};

/// An open WebSocket from the proxy.
pub struct Server {
    connection: Connection,
    /// The head of the handshake, as it came.
    pub request: String,
}

impl Server {
    /// Accepts the proxy's next connection and agrees to its handshake, with these further fields (each
    /// with its line's end).
    pub async fn accept(backend: &Backend, fields: &str) -> Self {
        let mut connection = backend.accept().await;
        let request = String::from_utf8(connection.head_bytes().await).expect("text");
        connection.send(agreement(&request, fields)).await;
        Self {
            connection,
            request,
        }
    }

    /// A field of the handshake.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.request, name)
    }

    /// Sends a text message.
    pub async fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes()).await;
    }

    /// Sends a close frame with this code.
    pub async fn close(&mut self, code: u16, reason: &str) {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        self.frame(0x88, &payload).await;
    }

    /// Sends one frame; `first` is its byte of flags and kind.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match u16::try_from(payload.len()) {
            Ok(length @ 0..126) => frame.extend_from_slice(&length.to_be_bytes()[1..]),
            Ok(length) => {
                frame.push(126);
                frame.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                frame.push(127);
                frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        self.connection.send(frame).await;
    }

    /// The proxy's next frame (all of them are short and masked): its first byte and its payload.
    pub async fn next(&mut self) -> (u8, Vec<u8>) {
        let head = self.connection.read(2).await;
        assert_eq!(head[1] & 0x80, 0x80, "a client masks");
        let length = usize::from(head[1] & 0x7F);
        assert!(length < 126);
        let rest = self.connection.read(4 + length).await;
        let (mask, payload) = rest.split_at(4);
        let unmasked = payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b);
        (head[0], unmasked.collect())
    }

    /// Waits until the proxy says that it closes with this code, and closes.
    pub async fn closed_with(&mut self, code: u16) {
        assert_eq!(self.next().await, (0x88, code.to_be_bytes().to_vec()));
        self.connection.closed().await;
    }

    /// The connection itself.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// Agrees to the handshake that comes over this connection, sends a text message and takes what comes
/// until the proxy closes: the handshake, and all that came behind it.
pub async fn serve_once(mut stream: tls::ServerStream, text: &str) -> (String, Vec<u8>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let byte = soon("a handshake", stream.read_u8()).await;
        request.push(byte.expect("a handshake"));
    }
    let request = String::from_utf8(request).expect("text");
    let mut answer = agreement(&request, "").into_bytes();
    answer.extend([0x81, u8::try_from(text.len()).expect("a short text")]);
    answer.extend(text.as_bytes());
    stream.write_all(&answer).await.expect("an open connection");
    stream.flush().await.expect("an open connection");
    let mut rest = Vec::new();
    // An end without a farewell of TLS is as good.
    drop(soon("the proxy to close", stream.read_to_end(&mut rest)).await);
    (request, rest)
}

/// The 101 that agrees to a handshake.
fn agreement(request: &str, fields: &str) -> String {
    let key = field(request, "sec-websocket-key").expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
    )
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let of_that_name = |line: &'a str| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    };
    head.lines().find_map(of_that_name)
}
