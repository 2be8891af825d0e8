//! How far has a client come, and where does a reply say so?

use std::str;

use http::{HeaderMap, HeaderName};

use crate::transcode::{
    framing::parcels::ID_BYTES_MAX,
    json::{self, Pointer},
};

/// Where a reply says how far it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a field of its head.
    Header(HeaderName),
    /// In its body, which is JSON.
    Body {
        /// The array whose last element is looked into; the whole body where `None`.
        last: Option<Pointer>,
        /// A string, or what else is taken as it is written.
        at: Pointer,
        /// What is added to it, where it counts to the last record and the next is to be asked for.
        add: Option<u64>,
    },
}

impl Place {
    /// The cursor of a reply; `None` where the reply says in its own way that there is no news: an empty
    /// array, or null.
    ///
    /// # Errors
    /// The end of a sentence: why there is none where one must be.
    pub(super) fn find(
        &self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Option<String>, &'static str> {
        let cursor = match self {
            Self::Header(name) => {
                let value = headers.get(name).ok_or("a reply has no cursor field")?;
                let value = value.to_str().map_err(|_| "a cursor field is not text")?;
                Some(value.trim().to_owned())
            }
            Self::Body { last, at, add } => {
                let Some(raw) = look(body, last.as_ref(), at)? else {
                    return Ok(None);
                };
                Some(match add {
                    None => text(raw)?,
                    Some(add) => sum(raw, *add)?,
                })
            }
        };
        match &cursor {
            Some(cursor) if cursor.is_empty() => Err("a cursor is empty"),
            Some(cursor) if cursor.len() > ID_BYTES_MAX => Err("a cursor is too long"),
            _ => Ok(cursor),
        }
    }
}

/// The raw cursor in a body.
fn look<'b>(
    body: &'b [u8],
    last: Option<&Pointer>,
    at: &Pointer,
) -> Result<Option<&'b [u8]>, &'static str> {
    let from = match last {
        None => body,
        Some(last) => {
            let array = json::at(body, last).and_then(json::elements);
            let elements =
                array.ok_or("a reply has no array where its last element is the cursor's")?;
            match elements.last() {
                Some(last) => last,
                None => return Ok(None),
            }
        }
    };
    let raw = json::at(from, at).ok_or("a reply has no cursor in its body")?;
    Ok((raw != b"null").then_some(raw))
}

fn text(raw: &[u8]) -> Result<String, &'static str> {
    let text = json::unescape(raw).unwrap_or(raw.into());
    String::from_utf8(text.into_owned()).map_err(|_| "a cursor is not UTF-8")
}

fn sum(raw: &[u8], add: u64) -> Result<String, &'static str> {
    let number = str::from_utf8(raw).ok().and_then(|text| text.parse().ok());
    let sum = number.and_then(|number: u64| number.checked_add(add));
    sum.map(|sum| sum.to_string())
        .ok_or("a cursor to be added to is no whole number")
}

/// How far a client has come.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// That of the last reply, or what the client came with.
    seen: Option<String>,
    /// Whether the next request goes without it, since the upstream has begun to count anew.
    is_reset: bool,
}

impl Cursor {
    pub(super) fn new(seen: Option<String>) -> Self {
        Self {
            seen,
            is_reset: false,
        }
    }

    /// What the next request asks from.
    pub(super) fn value(&self) -> Option<&str> {
        self.seen.as_deref().filter(|_| !self.is_reset)
    }

    /// Moves to the cursor of a reply; the new one where there is news.
    ///
    /// Whole numbers that go backwards are those of an upstream that has lost its state: it is asked once
    /// without a cursor.
    pub(super) fn advance(&mut self, to: String) -> Option<&str> {
        let count = |text: &str| text.parse::<u64>().ok();
        let seen = self.seen.as_deref();
        if seen == Some(&to) {
            self.is_reset = false;
            return None;
        }
        let counts = seen.and_then(count).zip(count(&to));
        self.is_reset = counts.is_some_and(|(seen, to)| to < seen);
        Some(self.seen.insert(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(last: Option<&str>, at: &str, add: Option<u64>) -> Place {
        Place::Body {
            last: last.map(|last| Pointer::parse(last).unwrap()),
            at: Pointer::parse(at).unwrap(),
            add,
        }
    }

    fn check(place: &Place, body: &str, expected: Result<Option<&str>, &str>) {
        let found = place.find(&HeaderMap::new(), body.as_bytes());
        let found = found.as_ref().map(Option::as_deref).map_err(|error| *error);
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn a_cursor_in_the_head() {
        let place = Place::Header(HeaderName::from_static("x-consul-index"));
        for (value, expected) in [
            ("1071", Ok(Some("1071".to_owned()))),
            (" 7 ", Ok(Some("7".to_owned()))),
            ("", Err("a cursor is empty")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-consul-index", value.parse().unwrap());
            assert_eq!(place.find(&headers, b"[]"), expected);
        }
        check(&place, "[]", Err("a reply has no cursor field"));
    }

    #[test]
    fn a_cursor_in_the_body_is_a_string_or_what_is_written() {
        let place = body(None, "/last_seq", None);
        for (body, cursor) in [
            (
                r#"{"results":[],"last_seq":"3-g1AAA_\u00e9\/x"}"#,
                "3-g1AAA_é/x",
            ),
            (r#"{"last_seq": 17 }"#, "17"),
            (r#"{"last_seq":[5,"abc"]}"#, r#"[5,"abc"]"#),
        ] {
            check(&place, body, Ok(Some(cursor)));
        }
        check(&place, r#"{"last_seq":null}"#, Ok(None));
        let missing = Err("a reply has no cursor in its body");
        for body in ["", "{}", "no JSON", "[]"] {
            check(&place, body, missing);
        }
        check(&place, r#"{"last_seq":""}"#, Err("a cursor is empty"));
        let long = format!("{{\"last_seq\":\"{}\"}}", "x".repeat(ID_BYTES_MAX + 1));
        check(&place, &long, Err("a cursor is too long"));
    }

    #[test]
    fn the_last_element_counts_and_may_be_added_to() {
        let place = body(Some("/result"), "/update_id", Some(1));
        check(&place, r#"{"ok":true,"result":[]}"#, Ok(None));
        let two = r#"{"ok":true,"result":[{"update_id":8},{"update_id":9,"message":{}}]}"#;
        check(&place, two, Ok(Some("10")));
        let no_array = "a reply has no array where its last element is the cursor's";
        check(&place, r#"{"ok":false}"#, Err(no_array));
        let no_number = "a cursor to be added to is no whole number";
        for id in ["\"9\"", "9.5", "-9", "18446744073709551615"] {
            let body = format!("{{\"result\":[{{\"update_id\":{id}}}]}}");
            check(&place, &body, Err(no_number));
        }
    }

    #[test]
    fn it_moves_with_news_alone_and_begins_anew_where_the_count_does() {
        let mut cursor = Cursor::new(None);
        assert_eq!(cursor.value(), None);
        for (to, news, value) in [
            ("10", Some("10"), Some("10")),
            ("10", None, Some("10")),
            ("12", Some("12"), Some("12")),
            ("3", Some("3"), None),
            ("3", None, Some("3")),
            ("2-b", Some("2-b"), Some("2-b")),
            ("1-a", Some("1-a"), Some("1-a")),
        ] {
            assert_eq!(cursor.advance(to.to_owned()), news, "{to}");
            assert_eq!(cursor.value(), value, "{to}");
        }
        let mut cursor = Cursor::new(Some("5".to_owned()));
        assert_eq!(cursor.value(), Some("5"));
        assert_eq!(cursor.advance("5".to_owned()), None);
    }
}
