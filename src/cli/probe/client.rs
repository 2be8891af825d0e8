//! How does the probe open a stream, and see each piece of it?

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, HOST, USER_AGENT},
    response::Parts,
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{
    script::Ask,
    trace::{Chunk, End, Event, Trace},
};
use crate::{
    transcode::{
        framing::{Decoder, Opening, sse},
        inflate::Inflater,
    },
    upstream::{Connector, EndpointAddress, Settings, TlsSettings, TrustError, trust},
};

/// What is probed: the way through all hops to a stream.
pub struct Target {
    url: Uri,
    connector: Connector,
    endpoint: EndpointAddress,
    /// Sent with each request, besides what a check sends.
    fields: HeaderMap,
    began: Instant,
}

/// Why there is nothing to probe.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The URL is none of a stream.
    #[error(
        "{0} is no URL to probe: it must begin with http:// or https://, name a host, and have at most 16 KiB"
    )]
    Url(Uri),
    /// The certificates to trust cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Why a stream could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// There is no connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection ended before the response's head.
    #[error("the connection ended before the response's head: {reason}")]
    Closed {
        /// How long after the request.
        after: Duration,
        /// What HTTP says of it.
        reason: String,
    },
    /// The response's head did not come.
    #[error("no response within {}", humantime::format_duration(*.0))]
    NoHead(Duration),
    /// The response is none of a stream.
    #[error("the response is {0}")]
    Status(String),
}

/// An open stream. Dropping it leaves, as a client does.
pub(super) struct Stream {
    pub(super) head: Parts,
    pub(super) trace: Trace,
    asked: Instant,
    body: Incoming,
    inflater: Option<Inflater>,
    decoder: Box<dyn Decoder>,
    _connection: Connection,
}

/// The task of a connection, which ends with the stream.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Target {
    /// Makes ready to probe `url`; `ca` is trusted instead of the system's roots.
    ///
    /// # Errors
    /// The URL names no host to ask, or the certificates to trust cannot be used.
    pub fn new(url: Uri, ca: Option<PathBuf>, fields: HeaderMap) -> Result<Self, TargetError> {
        let Some(endpoint) = endpoint(&url) else {
            return Err(TargetError::Url(url));
        };
        let trusted = TlsSettings {
            ca,
            server_name: None,
        };
        let settings = Settings {
            connect_timeout: CONNECT_MAX,
            ..Settings::of_one("probe", endpoint.clone(), trusted)
        };
        let tls = trust(&settings)?;
        Ok(Self {
            url,
            connector: Connector::new(&settings, tls.as_ref()),
            endpoint,
            fields,
            began: Instant::now(),
        })
    }

    /// What is probed.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// The fields that the user wants sent.
    pub(super) fn fields(&self) -> &HeaderMap {
        &self.fields
    }

    /// Opens a stream on a connection of its own, and waits up to `head_max` for its head. Without an
    /// `ask` the URL is asked for as it is.
    pub(super) async fn open(
        &self,
        ask: Option<Ask>,
        fields: &[(HeaderName, &'static str)],
        head_max: Duration,
    ) -> Result<Stream, OpenError> {
        let connected = self.connector.connect_to(&self.endpoint).await;
        let io = connected.map_err(|error| OpenError::Connect(error.to_string()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(io.io))
            .await
            .map_err(|error| OpenError::Connect(error.to_string()))?;
        // How it ends is told to whoever reads the body.
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        let connection = Connection(connection.abort_handle());
        let asked = Instant::now();
        let response = timeout(head_max, sender.send_request(self.request(ask, fields)))
            .await
            .map_err(|_| OpenError::NoHead(head_max))?
            .map_err(|error| OpenError::Closed {
                after: asked.elapsed(),
                reason: error.to_string(),
            })?;
        let (head, body) = response.into_parts();
        let coding = head.headers.get(CONTENT_ENCODING);
        let coding = coding.map(|coding| String::from_utf8_lossy(coding.as_bytes()).into_owned());
        let coding = coding.filter(|coding| !coding.eq_ignore_ascii_case("identity"));
        let trace = Trace {
            asked: asked.duration_since(self.began),
            status: head.status.as_u16(),
            head_after: asked.elapsed(),
            ..Trace::default()
        };
        let opening = Opening {
            record_bytes_max: EVENT_BYTES_MAX,
            content_type: "",
        };
        Ok(Stream {
            inflater: coding.as_deref().and_then(Inflater::for_coding),
            decoder: (sse::FRAMING.decoder)(&opening),
            trace: Trace { coding, ..trace },
            head,
            asked,
            body,
            _connection: connection,
        })
    }

    fn request(
        &self,
        ask: Option<Ask>,
        fields: &[(HeaderName, &'static str)],
    ) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        let target = self
            .url
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let query = ask.map(|ask| ask.query(fastrand::u64(..)));
        let target = match (query, target.contains('?')) {
            (None, _) => target.to_owned(),
            (Some(query), true) => format!("{target}&{query}"),
            (Some(query), false) => format!("{target}?{query}"),
        };
        *request.uri_mut() = target.parse().expect("a target with more of a query");
        let headers = request.headers_mut();
        let authority = self.url.authority().map_or("", |authority| {
            let text = authority.as_str();
            text.rsplit_once('@').map_or(text, |(_, host)| host)
        });
        let host = HeaderValue::from_str(authority).expect("a host is a field's value");
        headers.insert(HOST, host);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        for (name, value) in fields {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.extend(self.fields.clone());
        request
    }
}

impl Stream {
    /// Reads until it ends, `limit` after the request is over, or `is_enough`.
    pub(super) async fn read(&mut self, limit: Duration, is_enough: impl Fn(&Trace) -> bool) {
        while !is_enough(&self.trace) && self.trace.chunks.len() < CHUNKS_MAX {
            let frame = timeout_at(self.asked + limit, self.body.frame()).await;
            let after = self.asked.elapsed();
            self.trace.ended_after = after;
            match frame {
                Err(_) => return,
                Ok(None) => {
                    self.trace.end = End::Whole;
                    return;
                }
                Ok(Some(Err(_))) => {
                    self.trace.end = End::Broken;
                    return;
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data()
                        && !chunk.is_empty()
                    {
                        self.take(&chunk, after);
                    }
                }
            }
        }
    }

    /// Reads until it ends, or `limit` after the request is over.
    pub(super) async fn into_trace(mut self, limit: Duration) -> Trace {
        self.read(limit, |_| false).await;
        self.trace
    }

    fn take(&mut self, chunk: &[u8], after: Duration) {
        let bytes = chunk.len();
        self.trace.chunks.push(Chunk { after, bytes });
        if self.trace.fault.is_some() {
            return;
        }
        let Some(mut inflater) = self.inflater.take() else {
            return self.decode(chunk, after);
        };
        let (mut rest, mut plain) = (chunk, Vec::new());
        loop {
            if let Err(error) = inflater.push(&mut rest, &mut plain, PLAIN_BYTES_MAX) {
                self.trace.fault = Some(error.to_string());
                break;
            }
            self.decode(&plain, after);
            if plain.len() < PLAIN_BYTES_MAX {
                break;
            }
            plain.clear();
        }
        self.inflater = Some(inflater);
    }

    fn decode(&mut self, mut plain: &[u8], after: Duration) {
        loop {
            let mut rest = plain;
            let data = match self.decoder.next(&mut rest) {
                Ok(None) => return,
                Ok(Some(record)) => record.data,
                Err(error) => {
                    self.trace.fault = Some(error.to_string());
                    return;
                }
            };
            let left = rest.len();
            if let Some(data) = data
                && self.trace.events.len() < EVENTS_MAX
            {
                self.trace.events.push(Event {
                    after,
                    sent: sent(data),
                });
                data.clone_into(&mut self.trace.last_data);
            }
            plain = &plain[plain.len() - left..];
        }
    }
}

/// When the backend sent the event, where it tells.
fn sent(data: &[u8]) -> Option<Duration> {
    let told: Value = serde_json::from_slice(data).ok()?;
    told.get("at_us")?.as_u64().map(Duration::from_micros)
}

/// Where the URL leads.
fn endpoint(url: &Uri) -> Option<EndpointAddress> {
    let target_bytes = url
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let host = url.host().filter(|host| !host.is_empty())?;
    if target_bytes > TARGET_BYTES_MAX {
        return None;
    }
    let host = host.trim_matches(['[', ']']).to_owned();
    match url.scheme_str()? {
        "http" => Some(EndpointAddress::Http {
            host,
            port: url.port_u16().unwrap_or(80),
        }),
        "https" => Some(EndpointAddress::Https {
            host,
            port: url.port_u16().unwrap_or(443),
        }),
        _ => None,
    }
}

const AGENT: &str = concat!("weir-probe/", env!("CARGO_PKG_VERSION"));
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// So that there is room for what is asked.
const TARGET_BYTES_MAX: usize = 16 * 1024;
/// The longest event of a foreign stream that is read as one.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// How much is undone of a content coding at once.
const PLAIN_BYTES_MAX: usize = 64 * 1024;
/// How many pieces of a stream are kept; a foreign one that is faster is not read on.
const CHUNKS_MAX: usize = 64 * 1024;
/// How many events are kept.
const EVENTS_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn urls_lead_to_endpoints() {
        for (url, expected) in [
            ("http://a", Some("http://a:80")),
            ("https://a/b?c", Some("https://a:443")),
            ("http://[::1]:8080/", Some("http://[::1]:8080")),
            ("https://user@a:1/", Some("https://a:1")),
            ("ftp://a/", None),
            ("a:80", None),
            ("/a", None),
            (&format!("http://a/{}", "b".repeat(16 * 1024)), None),
        ] {
            let found = endpoint(&url.parse().unwrap()).map(|found| found.to_string());
            assert_eq!(found.as_deref(), expected, "{url}");
        }
    }
}
