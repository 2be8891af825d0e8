//! What is asked of a server before it speaks WebSocket, and has it agreed (RFC 6455 §4.1)?

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tungstenite::handshake::{client::generate_key, derive_accept_key};

/// What the server's answer is held against.
#[derive(Debug)]
pub(super) struct Asked {
    key: String,
    /// The subprotocols that were offered.
    subprotocols: Vec<HeaderValue>,
}

/// Makes a request's fields those of a handshake. A configured subprotocol takes the place of the client's.
pub(super) fn ask(headers: &mut HeaderMap, subprotocol: Option<&HeaderValue>) -> Asked {
    // What we cannot undo must not be agreed upon.
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let version = HeaderValue::from_static("13");
    headers.insert(header::SEC_WEBSOCKET_VERSION, version);
    let key = generate_key();
    if let Ok(key) = HeaderValue::from_str(&key) {
        headers.insert(header::SEC_WEBSOCKET_KEY, key);
    }
    if let Some(subprotocol) = subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol.clone());
    }
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    Asked {
        key,
        subprotocols: offered.iter().cloned().collect(),
    }
}

/// Takes away what was said for the handshake alone.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in HANDSHAKE {
        headers.remove(name);
    }
}

impl Asked {
    /// Whether the fields of a 101 agree to just what was asked.
    ///
    /// # Errors
    /// The end of a sentence: which rule they break.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        if !tokens(headers, &header::UPGRADE).any(|name| name.eq_ignore_ascii_case("websocket")) {
            return Err("its Upgrade does not say websocket");
        }
        if !tokens(headers, &header::CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade")) {
            return Err("its Connection does not say upgrade");
        }
        let accept = derive_accept_key(self.key.as_bytes());
        let mut accepted = headers.get_all(header::SEC_WEBSOCKET_ACCEPT).iter();
        if accepted.next().is_none_or(|value| value != &*accept) || accepted.next().is_some() {
            return Err("its Sec-WebSocket-Accept is not the answer to the key");
        }
        if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
            return Err("it uses an extension, and none was offered");
        }
        let mut offered = self.subprotocols.iter().flat_map(members);
        let mut chosen = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        match (chosen.next(), chosen.next()) {
            (None, _) => Ok(()),
            (Some(chosen), None) if offered.any(|offered| chosen == offered) => Ok(()),
            _ => Err("it chose a subprotocol that was not offered"),
        }
    }
}

/// The members of a comma-separated list field.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().flat_map(members)
}

fn members(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let text = value.to_str().unwrap_or_default();
    text.split(',').map(str::trim)
}

/// Fields of a 101 that say nothing of the messages behind it.
const HANDSHAKE: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(subprotocols: &str) -> Asked {
        let mut headers = HeaderMap::new();
        if !subprotocols.is_empty() {
            let value = HeaderValue::from_str(subprotocols).unwrap();
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        let mut asked = ask(&mut headers, None);
        assert_eq!(headers["sec-websocket-version"], "13");
        assert_eq!(headers["sec-websocket-key"], asked.key);
        assert_eq!(asked.key.len(), 24);
        // The example of RFC 6455 §1.3.
        asked.key = "dGhlIHNhbXBsZSBub25jZQ==".to_owned();
        asked
    }

    fn check(asked: &Asked, changed: (&'static str, &'static str)) -> Result<(), &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            changed,
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        asked.check(&headers)
    }

    #[test]
    fn only_what_was_asked_is_agreed_upon() {
        let asked = asked("v2.chat, v1.chat");
        for right in [
            ("x", ""),
            ("sec-websocket-protocol", "v1.chat"),
            ("sec-websocket-protocol", "v2.chat"),
        ] {
            assert_eq!(check(&asked, right), Ok(()), "{right:?}");
        }
        for wrong in [
            ("upgrade", "h2c"),
            ("connection", "close"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOO="),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("sec-websocket-protocol", "v3.chat"),
            ("sec-websocket-protocol", "v2.chat, v1.chat"),
        ] {
            assert!(check(&asked, wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn nothing_is_chosen_where_nothing_is_offered() {
        assert_eq!(check(&asked(""), ("x", "")), Ok(()));
        let chosen = ("sec-websocket-protocol", "v1.chat");
        assert!(check(&asked(""), chosen).is_err());
    }

    #[test]
    fn the_configured_subprotocol_and_no_extension_is_offered() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("sec-websocket-protocol", "theirs"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let ours = HeaderValue::from_static("ours");
        let asked = ask(&mut headers, Some(&ours));
        assert_eq!(headers["sec-websocket-protocol"], "ours");
        assert_eq!(asked.subprotocols, ["ours"]);
        assert!(!headers.contains_key("sec-websocket-extensions"));
    }
}
