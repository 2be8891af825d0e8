//! A backend that speaks HTTP/2 and does as it is told, frame by frame.

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc,
};

use super::soon;

/// A port on which connections wait to be accepted.
pub struct Backend2 {
    listener: TcpListener,
}

/// One connection from the proxy.
pub struct Connection2 {
    streams: mpsc::Receiver<Stream2>,
    orders: mpsc::Sender<Order>,
}

/// What a connection is told.
enum Order {
    /// GOAWAY, but the streams go on.
    Leave,
    /// GOAWAY, and the end.
    Abandon,
}

/// One request, and the reply to it.
pub struct Stream2 {
    /// Method, target and fields.
    pub head: http::request::Parts,
    body: RecvStream,
    reply: SendResponse<Bytes>,
    sending: Option<SendStream<Bytes>>,
}

impl Backend2 {
    /// Listens on a free port.
    pub async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self { listener }
    }

    /// The address as an endpoint.
    pub fn endpoint(&self) -> String {
        let address = self.listener.local_addr().expect("a bound port");
        format!("http://{address}")
    }

    /// Accepts the proxy's next connection.
    pub async fn accept(&self) -> Connection2 {
        let accepted = soon("a connection from the proxy", self.listener.accept()).await;
        let (stream, _) = accepted.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Connection2::over(stream).await
    }

    /// Whether the proxy has made no further connection.
    pub async fn is_alone(&self) -> bool {
        let polled = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(self.listener.poll_accept(cx).is_pending())
        });
        polled.await
    }
}

impl Connection2 {
    /// Speaks over this connection.
    pub async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let handshake = soon("the preface", h2::server::handshake(io)).await;
        let mut connection = handshake.expect("HTTP/2");
        let (arrive, streams) = mpsc::channel(1024);
        let (orders, mut ordered) = mpsc::channel(8);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    accepted = connection.accept() => {
                        let Some(Ok((request, reply))) = accepted else { return };
                        let (head, body) = Request::into_parts(request);
                        let stream = Stream2 { head, body, reply, sending: None };
                        // Whoever drops the connection leaves its streams to themselves.
                        drop(arrive.send(stream).await);
                    }
                    Some(order) = ordered.recv() => match order {
                        Order::Leave => connection.graceful_shutdown(),
                        Order::Abandon => connection.abrupt_shutdown(Reason::NO_ERROR),
                    },
                }
            }
        });
        Self { streams, orders }
    }

    /// The next request.
    pub async fn request(&mut self) -> Stream2 {
        soon("a request over HTTP/2", self.streams.recv())
            .await
            .expect("an open connection")
    }

    /// Says that no further stream is taken; those that are open go on.
    pub async fn leave(&self) {
        self.orders
            .send(Order::Leave)
            .await
            .expect("an open connection");
    }

    /// Gives the connection up.
    pub async fn abandon(&self) {
        self.orders
            .send(Order::Abandon)
            .await
            .expect("an open connection");
    }
}

impl Stream2 {
    /// Sends the head of a reply with these fields.
    pub fn reply(&mut self, status: u16, fields: &[(&str, &str)]) {
        self.send_head(status, fields, false);
    }

    /// Sends a reply that has no body.
    pub fn reply_bare(&mut self, status: u16, fields: &[(&str, &str)]) {
        self.send_head(status, fields, true);
    }

    fn send_head(&mut self, status: u16, fields: &[(&str, &str)], is_last: bool) {
        let mut head = Response::builder().status(status);
        for (name, value) in fields {
            head = head.header(*name, *value);
        }
        let head = head.body(()).expect("a head");
        let sending = self.reply.send_response(head, is_last);
        self.sending = Some(sending.expect("an open stream"));
    }

    /// Sends one DATA frame.
    pub fn data(&mut self, data: impl Into<Bytes>) {
        self.sending()
            .send_data(data.into(), false)
            .expect("an open stream");
    }

    /// Sends one DATA frame once the window has room for it; `false` where the stream is over.
    pub async fn data_in_window(&mut self, data: &'static [u8]) -> bool {
        let sending = self.sending();
        sending.reserve_capacity(data.len());
        while sending.capacity() < data.len() {
            match std::future::poll_fn(|cx| sending.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return false,
            }
        }
        sending.send_data(Bytes::from_static(data), false).is_ok()
    }

    /// Ends the reply.
    pub fn end(&mut self) {
        self.sending()
            .send_data(Bytes::new(), true)
            .expect("an open stream");
    }

    /// Ends the reply with trailers.
    pub fn trailers(&mut self, fields: &[(&'static str, &str)]) {
        let mut trailers = HeaderMap::new();
        for (name, value) in fields {
            trailers.append(*name, value.parse().expect("a value"));
        }
        self.sending()
            .send_trailers(trailers)
            .expect("an open stream");
    }

    /// Gives the stream up.
    pub fn reset(&mut self, reason: Reason) {
        match &mut self.sending {
            Some(sending) => sending.send_reset(reason),
            None => self.reply.send_reset(reason),
        }
    }

    /// Waits until the proxy resets the stream.
    pub async fn is_reset(&mut self) -> Reason {
        let reset = std::future::poll_fn(|cx| {
            if let Some(sending) = &mut self.sending {
                sending.poll_reset(cx)
            } else {
                self.reply.poll_reset(cx)
            }
        });
        soon("a reset", reset).await.expect("an open connection")
    }

    /// The next DATA frame of the request's body; `None` is its end.
    pub async fn read(&mut self) -> Option<Result<Bytes, Reason>> {
        loop {
            match soon("a DATA frame", self.body.data()).await? {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    let flow = self.body.flow_control();
                    flow.release_capacity(data.len()).expect("an open stream");
                    return Some(Ok(data));
                }
                Err(error) => return Some(Err(error.reason().unwrap_or(Reason::INTERNAL_ERROR))),
            }
        }
    }

    /// The request's trailers.
    pub async fn read_trailers(&mut self) -> Option<HeaderMap> {
        soon("trailers", self.body.trailers())
            .await
            .expect("an open stream")
    }

    fn sending(&mut self) -> &mut SendStream<Bytes> {
        self.sending.as_mut().expect("a reply that has begun")
    }
}
