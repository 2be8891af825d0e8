//! How do the keys of an upstream that does not stream become its bridge?

use std::sync::Arc;

use http::HeaderValue;

use super::section::Section;
use crate::upstream::{Bridge, websocket};

/// Reads the bridge of one `[upstream.NAME]`, where it has one.
pub(super) fn read(upstream: &Section<'_>) -> Option<Bridge> {
    let websocket = upstream.switch("websocket")?;
    if upstream
        .value("http")
        .and_then(|http| http.get_ref().as_str())
        == Some("2")
    {
        let message = "http is \"2\", which a WebSocket's handshake cannot cross; write \"1.1\"";
        upstream.fault(upstream.offset("http"), message);
    }
    let settings = websocket::Settings {
        subprotocol: websocket.text("subprotocol", subprotocol),
        send: websocket.texts("send", message).unwrap_or_default(),
    };
    Some(Bridge::WebSocket(Arc::new(settings)))
}

/// A name as a handshake can offer it (RFC 6455 §4.1): a token.
fn subprotocol(text: &str) -> Result<HeaderValue, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let reason = "it must be one name of letters, digits and any of !#$%&'*+-.^_`|~";
    if text.is_empty() || !text.bytes().all(is_token) {
        return Err(reason.to_owned());
    }
    HeaderValue::from_str(text).map_err(|_| reason.to_owned())
}

fn message(text: &str) -> Result<String, String> {
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(format!("it must have at most {MESSAGE_BYTES_MAX} bytes"));
    }
    Ok(text.to_owned())
}

/// The longest message to send, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
