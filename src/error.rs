//! Why was there no stream, and what is the client told?
//!
//! Before the head of a response is sent, every fault becomes one [`Refusal`]: a status (RFC 9110),
//! a short JSON problem body (RFC 9457) and a `Proxy-Status` field (RFC 9209).

use std::{io, ops::RangeInclusive, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

/// The name by which this proxy speaks of itself in `Via` and `Proxy-Status`.
pub const PROXY_NAME: &str = "weir";

/// When to ask again where nobody knows when that is worth it, in seconds.
const RETRY_AFTER_SECONDS: RangeInclusive<u64> = 5..=15;

/// Why a request gets no reply from an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of fault it was.
    pub kind: Kind,
    /// One sentence for the person who reads the body; never a payload or an internal address.
    pub detail: String,
    /// In how many seconds it may be worth to ask again (`Retry-After`, RFC 9110 §10.2.3).
    pub retry_after_seconds: Option<u64>,
}

/// The kinds of refusal, each with one status and one `Proxy-Status` error type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request breaks HTTP's rules, or those of a secure gateway.
    BadRequest,
    /// No route takes the request.
    NoRoute,
    /// A bridge cannot carry the method.
    MethodNotAllowed,
    /// The client accepts nothing that could be written.
    NotAcceptable,
    /// A transfer coding or method that we do not implement.
    NotImplemented,
    /// The request has come through us before.
    Loop,
    /// Every endpoint has as many streams as it may, and none became free in time.
    UpstreamFull,
    /// No endpoint's name could be resolved.
    NameFailed,
    /// No endpoint could be connected to.
    ConnectFailed,
    /// No endpoint could be connected to in time.
    ConnectTimeout,
    /// The endpoint's certificate was not the one to trust, or TLS failed.
    TlsFailed,
    /// The endpoint closed or reset the connection before its reply.
    Disconnected,
    /// The endpoint's reply is not HTTP.
    BadReply,
    /// The endpoint did not answer in time.
    FirstByteTimeout,
    /// The request's body is longer than the route takes.
    BodyTooLarge,
    /// The request has more fields than the listener takes.
    TooManyFields,
    /// The route or the process has as many streams open as it may.
    TooManyStreams,
    /// The peer has as many streams open on the route as it may.
    PeerTooManyStreams,
    /// The peer asks more often than it may.
    RateLimited,
    /// The process has as much memory allocated as it may.
    OutOfMemory,
    /// The process has no descriptor or port left to connect to an endpoint.
    Exhausted,
}

impl Kind {
    /// The response's status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::NameFailed
            | Self::ConnectFailed
            | Self::Loop
            | Self::TlsFailed
            | Self::Disconnected
            | Self::BadReply => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::FirstByteTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UpstreamFull | Self::TooManyStreams | Self::OutOfMemory | Self::Exhausted => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::PeerTooManyStreams | Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The error type in `Proxy-Status` (RFC 9209 §2.3).
    #[must_use]
    pub fn proxy_error(self) -> &'static str {
        match self {
            Self::BadRequest
            | Self::MethodNotAllowed
            | Self::NotAcceptable
            | Self::BodyTooLarge
            | Self::TooManyFields
            | Self::PeerTooManyStreams
            | Self::RateLimited => "http_request_error",
            Self::NoRoute => "destination_not_found",
            Self::NotImplemented => "http_request_denied",
            Self::Loop => "proxy_loop_detected",
            Self::NameFailed => "dns_error",
            Self::ConnectFailed => "connection_refused",
            Self::ConnectTimeout => "connection_timeout",
            Self::TlsFailed => "tls_protocol_error",
            Self::Disconnected => "connection_terminated",
            Self::BadReply => "http_protocol_error",
            Self::FirstByteTimeout => "http_response_timeout",
            Self::UpstreamFull | Self::TooManyStreams => "connection_limit_reached",
            Self::OutOfMemory => "proxy_internal_response",
            Self::Exhausted => "proxy_internal_error",
        }
    }

    /// The short, stable name in the access log.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NotAcceptable => "not_acceptable",
            Self::NotImplemented => "not_implemented",
            Self::Loop => "loop",
            Self::UpstreamFull => "upstream_full",
            Self::NameFailed => "name_failed",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::TlsFailed => "tls_failed",
            Self::Disconnected => "disconnected",
            Self::BadReply => "bad_reply",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::TooManyStreams => "too_many_streams",
            Self::PeerTooManyStreams => "peer_too_many_streams",
            Self::RateLimited => "rate_limited",
            Self::OutOfMemory => "out_of_memory",
            Self::Exhausted => "exhausted",
        }
    }
}

impl Refusal {
    /// Makes a refusal of that kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            retry_after_seconds: None,
        }
    }

    /// A refusal that nobody knows the end of: to be asked again at different times, so that not all come at once.
    #[must_use]
    pub fn come_again(kind: Kind, detail: &str) -> Self {
        let wait = Duration::from_secs(fastrand::u64(RETRY_AFTER_SECONDS));
        Self::new(kind, detail).retry_after(wait)
    }

    /// Says that asking again is worth it after that time, in whole seconds, at least one: never too early.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.retry_after_seconds = Some(seconds.max(1));
        self
    }

    /// What the client is told: head and body.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let status = self.kind.status();
        let problem = json!({
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": self.detail,
        });
        let mut body = problem.to_string();
        body.push('\n');
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.kind == Kind::MethodNotAllowed {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let proxy_status = format!("{PROXY_NAME}; error={}", self.kind.proxy_error());
        if let Ok(value) = HeaderValue::try_from(proxy_status) {
            headers.insert("proxy-status", value);
        }
        response
    }
}

/// Whether something failed for lack of descriptors or memory, which passes.
#[must_use]
pub fn is_exhausted(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ENOBUFS: i32 = 105;
    const ENOMEM: i32 = 12;
    matches!(
        error.raw_os_error(),
        Some(EMFILE | ENFILE | ENOBUFS | ENOMEM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_problem_with_its_proxy_status() {
        let response = Refusal::new(Kind::FirstByteTimeout, "no answer \"in\" 60 s").response();
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(
            response.headers()["proxy-status"],
            "weir; error=http_response_timeout"
        );
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(problem["status"], 504);
        assert_eq!(problem["detail"], "no answer \"in\" 60 s");
        assert_eq!(response.headers().get(header::RETRY_AFTER), None);
    }

    #[test]
    fn the_time_to_come_again_is_rounded_up() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
            let refusal = Refusal::new(Kind::RateLimited, "too many requests");
            let response = refusal
                .retry_after(Duration::from_millis(millis))
                .response();
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds);
        }
    }
}
