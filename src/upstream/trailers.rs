//! Which fields may follow a body to the next neighbor?

use http::{HeaderMap, HeaderName, header};

/// Fields that stand between neighbors, or that frame or route the message: they mean nothing after a
/// body (RFC 9110 §6.5.1), and make a message of HTTP/2 malformed (RFC 9113 §8.2.2).
const NEVER_TRAILERS: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::HOST,
    header::AUTHORIZATION,
];

/// What of these trailers is passed on; `None` where nothing is left.
pub(super) fn forwardable(mut trailers: HeaderMap) -> Option<HeaderMap> {
    for name in &NEVER_TRAILERS {
        trailers.remove(name);
    }
    (!trailers.is_empty()).then_some(trailers)
}
