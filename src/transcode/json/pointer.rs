//! What does a JSON Pointer say (RFC 6901)?

use std::{fmt, sync::Arc};

use thiserror::Error;

/// A JSON Pointer (RFC 6901), parsed once from the configuration. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: Arc<str>,
    tokens: Arc<[Token]>,
}

/// One step of a pointer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// A member's name, in the quotes in which a text has it.
    quoted: Box<[u8]>,
    /// An element's number, where it can be one (§4).
    pub(super) index: Option<usize>,
}

/// Why a text is no JSON Pointer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PointerError {
    /// It is not empty and does not begin with a slash.
    #[error(
        "{text:?} does not begin with \"/\"; write \"/{text}\", or \"\" for the whole document"
    )]
    NoSlash {
        /// What was written.
        text: String,
    },
    /// A tilde that escapes nothing.
    #[error(
        "\"~\" at byte {at} of {text:?} stands before neither 0 nor 1; write \"~0\" for \"~\" and \"~1\" for \"/\""
    )]
    BadEscape {
        /// What was written.
        text: String,
        /// Where the tilde stands, in bytes.
        at: usize,
    },
}

impl Pointer {
    /// Parses `text`: `""` is the whole document, `"/a/0"` the first element of its member `a`; in a
    /// name `~1` is a slash and `~0` a tilde.
    ///
    /// # Errors
    /// It is no JSON Pointer.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        let is_escape = |rest: &str| rest.starts_with("~0") || rest.starts_with("~1");
        let mut tildes = text.match_indices('~');
        if let Some((at, _)) = tildes.find(|(at, _)| !is_escape(&text[*at..])) {
            return Err(PointerError::BadEscape {
                text: text.to_owned(),
                at,
            });
        }
        let tokens = match text.strip_prefix('/') {
            Some(tokens) => tokens.split('/').map(Token::new).collect(),
            None if text.is_empty() => Arc::default(),
            None => {
                return Err(PointerError::NoSlash {
                    text: text.to_owned(),
                });
            }
        };
        Ok(Self {
            text: text.into(),
            tokens,
        })
    }

    /// The pointer as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    #[inline]
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Token {
    fn new(text: &str) -> Self {
        // In this order (§4), or `~01` would become a slash.
        let name = text.replace("~1", "/").replace("~0", "~");
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let is_index = is_number && (text == "0" || !text.starts_with('0'));
        Self {
            quoted: format!("\"{name}\"").into_bytes().into(),
            index: text.parse().ok().filter(|_| is_index),
        }
    }

    #[inline]
    pub(super) fn quoted(&self) -> &[u8] {
        &self.quoted
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.quoted[1..self.quoted.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::Pointer;

    #[test]
    fn tokens_are_unescaped() {
        for (text, tokens) in [
            ("", &[][..]),
            ("/", &[("", None)]),
            ("/a/b", &[("a", None), ("b", None)]),
            ("/a~1b/~0~01/", &[("a/b", None), ("~~1", None), ("", None)]),
            (
                "/0/10/01/+1/-",
                &[
                    ("0", Some(0)),
                    ("10", Some(10)),
                    ("01", None),
                    ("+1", None),
                    ("-", None),
                ],
            ),
            ("/99999999999999999999", &[("99999999999999999999", None)]),
            ("/\"ü", &[("\"ü", None)]),
        ] {
            let pointer = Pointer::parse(text).unwrap();
            let found: Vec<_> = pointer
                .tokens()
                .iter()
                .map(|token| (std::str::from_utf8(token.name()).unwrap(), token.index))
                .collect();
            assert_eq!(found, tokens, "{text}");
            assert_eq!(
                (pointer.as_str(), pointer.to_string().as_str()),
                (text, text)
            );
        }
    }

    #[test]
    fn the_messages_teach() {
        for (text, message) in [
            (
                "done",
                r#""done" does not begin with "/"; write "/done", or "" for the whole document"#,
            ),
            (
                "/a~b",
                r#""~" at byte 2 of "/a~b" stands before neither 0 nor 1; write "~0" for "~" and "~1" for "/""#,
            ),
            (
                "/~",
                r#""~" at byte 1 of "/~" stands before neither 0 nor 1; write "~0" for "~" and "~1" for "/""#,
            ),
        ] {
            assert_eq!(Pointer::parse(text).unwrap_err().to_string(), message);
        }
    }
}
