//! How does a stream begin, over either HTTP? A connection, a request on it, and a reply that is one.

use std::{cell::RefCell, time::Duration};

use bytes::Bytes;

use crate::{
    connect::{Connection, Connector},
    http1::Http1,
    reader::{Framing, Reader},
    stream::{Body, Cut, Head, Stream},
    tally::{Sequence, Tally},
};

/// Which HTTP the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    /// HTTP/1.1.
    One,
    /// HTTP/2: by ALPN where there is TLS, else by prior knowledge.
    Two,
}

impl Http {
    /// What TLS calls it (RFC 7301).
    #[must_use]
    pub fn alpn(self) -> &'static str {
        match self {
            Self::One => "http/1.1",
            Self::Two => "h2",
        }
    }
}

/// What all streams of a client share.
#[derive(Debug)]
pub struct Client {
    /// Makes the connections.
    pub connector: Connector,
    /// Which HTTP they speak.
    pub http: Http,
    /// The request's `Accept`.
    pub accept: String,
    /// Bytes of a record.
    pub size_bytes: usize,
    /// Whether a stream may be joined on its way, so that its first record may have any number.
    pub is_shared: bool,
    /// How much of a stream HTTP/2 lets the proxy send before it is read.
    pub window_bytes: u32,
    /// What all streams count.
    pub tally: RefCell<Tally>,
    /// What is read goes here first, so that a waiting stream owns no buffer.
    pub scratch: RefCell<Vec<u8>>,
}

impl Client {
    /// A client that has counted nothing yet.
    #[must_use]
    pub fn new(connector: Connector, http: Http, accept: String, size_bytes: usize) -> Self {
        Self {
            connector,
            http,
            accept,
            size_bytes,
            is_shared: false,
            window_bytes: WINDOW_BYTES,
            tally: RefCell::default(),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When the target refuses, or does not answer in time.
    pub async fn connect(&self) -> Result<Carrier, Cut> {
        let connecting = async {
            let connection = self.connector.connect().await?;
            match self.http {
                Http::One => Ok(Carrier::Http1(Box::new(Http1::new(connection)))),
                Http::Two => self.handshake(connection).await.map(Carrier::Http2),
            }
        };
        tokio::time::timeout(CONNECT_TIME_MAX, connecting)
            .await
            .map_err(|_| Cut("no connection in time".into()))?
    }

    async fn handshake(
        &self,
        connection: Connection,
    ) -> Result<h2::client::SendRequest<Bytes>, Cut> {
        let (requests, driver) = h2::client::Builder::new()
            .initial_window_size(self.window_bytes)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .enable_push(false)
            .handshake(connection)
            .await?;
        // The streams learn of its end by their own errors.
        tokio::task::spawn_local(async move { driver.await.ok() });
        Ok(requests)
    }

    /// Opens a stream, on a connection of its own where none is given; where that fails, counts an error and gives none.
    pub async fn start(&self, carrier: Option<Carrier>, path: &str) -> Option<Stream> {
        let carrier = match carrier {
            Some(carrier) => carrier,
            None => self.counted(self.connect().await)?,
        };
        self.counted(self.open(carrier, path).await)
    }

    /// What was opened; what was not counts as an error.
    pub fn counted<T>(&self, opened: Result<T, Cut>) -> Option<T> {
        opened
            .map_err(|cut| self.tally.borrow_mut().error(|| cut.0))
            .ok()
    }

    /// Asks for a stream on a connection, and waits for its head.
    ///
    /// # Errors
    /// When there is no stream, but a refusal, or nothing.
    pub async fn open(&self, carrier: Carrier, path: &str) -> Result<Stream, Cut> {
        let opening = async {
            match carrier {
                Carrier::Http1(mut http1) => {
                    let request = format!(
                        "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: {}\r\n\r\n",
                        self.connector.target().authority,
                        self.accept
                    );
                    let head = http1.request(request.as_bytes(), &self.scratch).await?;
                    Ok((head, Body::Http1(http1)))
                }
                Carrier::Http2(requests) => self.open_http2(requests, path).await,
            }
        };
        let (head, body) = tokio::time::timeout(HEAD_TIME_MAX, opening)
            .await
            .map_err(|_| Cut("no reply in time".into()))??;
        if head.status != 200 {
            return Err(Cut(format!("the reply has the status {}", head.status)));
        }
        let framing = Framing::of(&head.content_type)
            .ok_or_else(|| Cut(format!("a reply of type \"{}\"", head.content_type)))?;
        let sequence = if self.is_shared {
            Sequence::from_anywhere()
        } else {
            Sequence::from_start()
        };
        Ok(Stream {
            reader: Reader::new(framing, self.size_bytes, sequence),
            body,
        })
    }

    async fn open_http2(
        &self,
        requests: h2::client::SendRequest<Bytes>,
        path: &str,
    ) -> Result<(Head, Body), Cut> {
        let target = self.connector.target();
        let scheme = if target.is_tls { "https" } else { "http" };
        let request = http::Request::get(format!("{scheme}://{}{path}", target.authority))
            .header(http::header::ACCEPT, &self.accept)
            .body(())
            .map_err(|error| Cut(error.to_string()))?;
        let mut requests = requests.ready().await?;
        let (reply, _) = requests.send_request(request, true)?;
        let reply = reply.await?;
        let content_type = reply.headers().get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let head = Head {
            status: reply.status().as_u16(),
            content_type: content_type.unwrap_or_default().to_owned(),
            is_last: false,
        };
        Ok((head, Body::Http2(reply.into_body())))
    }
}

/// A connection that can carry a stream.
#[derive(Debug)]
pub enum Carrier {
    /// One at a time.
    Http1(Box<Http1>),
    /// Many at once: see [`Carrier::share`].
    Http2(h2::client::SendRequest<Bytes>),
}

impl Carrier {
    /// The same connection once more, where it can carry more than one stream.
    #[must_use]
    pub fn share(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(requests) => Some(Self::Http2(requests.clone())),
        }
    }
}

/// What a browser allows; a proxy in front of it is not held back.
const WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const SCRATCH_BYTES: usize = 256 * 1024;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(20);
const HEAD_TIME_MAX: Duration = Duration::from_secs(20);
