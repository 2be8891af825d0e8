//! How is one batch of spans posted (OTLP/HTTP)?

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use super::Settings;
use crate::upstream::{self, Connector, EndpointAddress, TrustError, trust};

/// How long the collector may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The longest wait that a collector may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Posts to one collector, over one connection as long as that lasts.
pub(super) struct Poster {
    connector: Connector,
    endpoint: EndpointAddress,
    path: PathAndQuery,
    headers: HeaderMap,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// Why a batch was not taken.
#[derive(Debug, Error)]
pub(super) enum PostError {
    #[error("no connection: {0}")]
    Connect(String),
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("no answer within {}", humantime::format_duration(ANSWER_MAX))]
    Silent,
    #[error("it answered {status}")]
    Refused {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
}

impl PostError {
    /// Whether the same may be taken later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Broken(_) | Self::Silent => true,
            Self::Refused { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }

    /// How long the collector wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Connect(_) | Self::Broken(_) | Self::Silent => None,
        }
    }
}

impl Poster {
    pub(super) fn new(settings: &Settings) -> Result<Self, TrustError> {
        let endpoint = settings.endpoint.clone();
        let of_one = upstream::Settings::of_one("traces", endpoint.clone(), settings.tls.clone());
        let mut headers = settings.headers.clone();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let agent = HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION")));
        headers.entry(header::USER_AGENT).or_insert(agent);
        if let Ok(host) = HeaderValue::from_str(&host(&endpoint)) {
            headers.entry(header::HOST).or_insert(host);
        }
        Ok(Self {
            connector: Connector::new(&of_one, trust(&of_one)?.as_ref()),
            endpoint,
            path: settings.path.clone(),
            headers,
            connection: None,
        })
    }

    /// Posts this document. Gives how many of its spans the collector refused.
    pub(super) async fn post(&mut self, document: Bytes) -> Result<u64, PostError> {
        let mut connection = self.connection().await?;
        let mut request = Request::new(Full::new(document));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = self.headers.clone();
        let (status, headers, answer) = timeout(ANSWER_MAX, async {
            let (head, body) = connection.send_request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            // What it says of its reasons is not needed.
            let answer = body.map(http_body_util::Collected::to_bytes);
            let answer = answer.unwrap_or_default();
            Ok::<_, PostError>((head.status, head.headers, answer))
        })
        .await
        .map_err(|_| PostError::Silent)??;
        self.connection = Some(connection);
        if status.is_success() {
            return Ok(rejected(&answer));
        }
        Err(PostError::Refused {
            status,
            retry_after: retry_after(&headers),
        })
    }

    /// The connection that is kept, where it still stands, or a new one.
    async fn connection(&mut self) -> Result<SendRequest<Full<Bytes>>, PostError> {
        if let Some(mut kept) = self.connection.take()
            && timeout(ANSWER_MAX, kept.ready())
                .await
                .is_ok_and(|ready| ready.is_ok())
        {
            return Ok(kept);
        }
        let connected = self.connector.connect_to(&self.endpoint).await;
        let connected = connected.map_err(|error| PostError::Connect(error.to_string()))?;
        let (connection, driver) = http1::handshake(TokioIo::new(connected.io)).await?;
        // It ends with the connection, and what breaks it is seen by who sends.
        tokio::spawn(async move { drop(driver.await) });
        Ok(connection)
    }
}

/// The authority to ask for.
fn host(endpoint: &EndpointAddress) -> String {
    let text = endpoint.to_string();
    match text.split_once("://") {
        Some((_, authority)) => authority.to_owned(),
        None => "localhost".to_owned(),
    }
}

/// How many spans a success says that it left out.
fn rejected(answer: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = &answer["partialSuccess"]["rejectedSpans"];
    // Numbers of 64 bits are strings in Protobuf's JSON, but not everybody knows.
    let text = rejected.as_str().and_then(|text| text.parse().ok());
    text.or_else(|| rejected.as_u64()).unwrap_or_default()
}

/// The wait that the collector asks for, where it gives a number of seconds (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_collectors_write_them() {
        for (answer, expected) in [
            (&b""[..], 0),
            (b"{}", 0),
            (b"{\"partialSuccess\":{}}", 0),
            (b"{\"partialSuccess\":{\"rejectedSpans\":\"3\"}}", 3),
            (b"{\"partialSuccess\":{\"rejectedSpans\":3}}", 3),
            (b"\x0A\x02\x08\x03", 0),
        ] {
            assert_eq!(rejected(answer), expected);
        }
        let asks = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]))
        };
        assert_eq!(asks("2"), Some(Duration::from_secs(2)));
        assert_eq!(asks("86400"), Some(RETRY_AFTER_MAX));
        assert_eq!(asks("Fri, 31 Dec 1999 23:59:59 GMT"), None);
    }
}
