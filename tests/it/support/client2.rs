//! An HTTP/2 client that sees each frame.

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    client::{Builder, SendRequest},
};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::soon;

/// A connection to the proxy.
pub struct Client2 {
    sender: SendRequest<Bytes>,
}

/// One response, with the body to be read frame by frame.
pub struct Response2 {
    /// Status and fields.
    pub head: http::response::Parts,
    body: RecvStream,
}

impl Client2 {
    /// Connects over cleartext, by prior knowledge.
    pub async fn connect(address: &str) -> Self {
        let stream = soon("a connection", TcpStream::connect(address))
            .await
            .expect("the proxy listens");
        stream.set_nodelay(true).expect("a socket");
        Self::over(stream, 65_535).await
    }

    /// Connects with windows of this size for each stream.
    pub async fn connect_with_window(address: &str, window: u32) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the proxy listens");
        Self::over(stream, window).await
    }

    /// Speaks over this connection.
    pub async fn over(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        window: u32,
    ) -> Self {
        let (sender, connection) = Builder::new()
            .initial_window_size(window)
            // Streams that are not read must not hold up the others.
            .initial_connection_window_size(16 * 1024 * 1024)
            .handshake(io)
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        Self { sender }
    }

    /// Sends a request with this body (none if empty) and waits for the response's head.
    pub async fn send(&self, request: Request<()>, body: &'static str) -> Response2 {
        let mut sender = self
            .sender
            .clone()
            .ready()
            .await
            .expect("an open connection");
        let (response, mut stream) = sender
            .send_request(request, body.is_empty())
            .expect("a request");
        if !body.is_empty() {
            stream.send_data(body.into(), true).expect("a body");
        }
        let response = soon("a response's head", response)
            .await
            .expect("a response");
        let (head, body) = Response::into_parts(response);
        Response2 { head, body }
    }

    /// Asks for `path`.
    pub async fn get(&self, path: &str) -> Response2 {
        let request = Request::get(format!("http://test{path}")).body(());
        self.send(request.expect("a request"), "").await
    }

    /// A sender to use directly.
    pub fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }
}

impl Response2 {
    /// The next DATA frame; `None` is the end of the body.
    pub async fn data(&mut self) -> Option<Result<String, Reason>> {
        let data = self.bytes().await?;
        Some(data.map(|data| String::from_utf8(data.to_vec()).expect("text")))
    }

    /// The next DATA frame, of any kind of bytes; `None` is the end of the body.
    pub async fn bytes(&mut self) -> Option<Result<Bytes, Reason>> {
        let data = soon("a DATA frame", self.body.data()).await?;
        Some(match data {
            Ok(data) => {
                let flow = self.body.flow_control();
                flow.release_capacity(data.len()).expect("an open stream");
                Ok(data)
            }
            Err(error) => Err(error.reason().expect("a reason")),
        })
    }

    /// Reads frames until `needle` has come.
    pub async fn until(&mut self, needle: &str) -> String {
        let mut body = String::new();
        while !body.contains(needle) {
            match self.data().await {
                Some(Ok(data)) => body.push_str(&data),
                other => panic!("{other:?} after {body:?}"),
            }
        }
        body
    }

    /// Reads to the end: what came, and the reason where the stream was reset.
    pub async fn rest(&mut self) -> (String, Option<Reason>) {
        let mut body = String::new();
        loop {
            match self.data().await {
                Some(Ok(data)) => body.push_str(&data),
                Some(Err(reason)) => return (body, Some(reason)),
                None => return (body, None),
            }
        }
    }

    /// The trailers after the end of the body.
    pub async fn trailers(&mut self) -> Option<HeaderMap> {
        soon("the trailers", self.body.trailers())
            .await
            .expect("an open stream")
    }
}
