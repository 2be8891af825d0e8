//! A server that is polled, reply by reply.

use super::{
    Weir,
    backend::{Backend, Connection},
};

/// `X-Index` is the cursor, `index` the parameter, and nobody waits.
pub const BY_HEADER: &str = "cursor = { header = \"x-index\" }, query = \"index\", every = \"10ms\", \
                             backoff = { first = \"10ms\", most = \"20ms\" }";
/// The same, but the cursor stands in the body, as `CouchDB` has it.
pub const BY_BODY: &str = "cursor = { at = \"/last_seq\" }, query = \"since\", every = \"10ms\"";

/// A proxy in front of a fresh backend that is polled with these keys, on a route with these.
pub async fn bridged(poll: &str, route: &str) -> (Backend, Weir) {
    let backend = Backend::bind().await;
    let upstream = format!(
        "endpoints = [\"{}\"]\npoll = {{ {poll} }}",
        backend.endpoint()
    );
    let weir = Weir::upstream(&upstream, route);
    (backend, weir)
}

/// One connection of the proxy that polls come over.
pub struct Polled {
    connection: Connection,
    /// The head of the last poll, in lower case.
    pub request: String,
}

impl Polled {
    /// Accepts the proxy's next connection.
    pub async fn accept(backend: &Backend) -> Self {
        Self {
            connection: backend.accept().await,
            request: String::new(),
        }
    }

    /// The target of the next poll.
    pub async fn asked(&mut self) -> String {
        self.request = self.connection.request().await;
        let target = self.request.split(' ').nth(1);
        target.expect("a request line").to_owned()
    }

    /// Answers with this status line, these fields (each with its line's end) and this body.
    pub async fn reply(&mut self, status: &str, fields: &str, body: &str) {
        let length = body.len();
        let reply = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n{body}");
        self.connection.send(reply).await;
    }

    /// Answers with this cursor in the head.
    pub async fn index(&mut self, index: &str, body: &str) {
        self.reply("200 OK", &format!("X-Index: {index}\r\n"), body)
            .await;
    }

    /// Answers with a body of JSON.
    pub async fn json(&mut self, body: &str) {
        let fields = "Content-Type: application/json\r\n";
        self.reply("200 OK", fields, body).await;
    }

    /// The connection itself.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
