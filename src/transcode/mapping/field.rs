//! What value does the configuration give a part of an event, for this record?

use std::{borrow::Cow, sync::Arc, time::Duration};

use crate::transcode::{
    json::{self, Pointer},
    output::{FieldText, FieldValue},
};

/// Where an event's name or id comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The same for all.
    Fixed(FieldValue),
    /// What lies at this place of the record: a string's text, or a number or boolean as it is
    /// written. Anything else, and what cannot be a field's value, counts as not there.
    At(Pointer),
}

/// Where an event's data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// The same for all.
    Fixed(Arc<str>),
    /// What lies at this place of the record: a string's text, anything else as its JSON. Where there
    /// is nothing, the whole record, so that nothing is lost.
    At(Pointer),
}

/// Where the reconnection time comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// This, told once, with the first event.
    Fixed(Duration),
    /// The number of milliseconds at this place of the record.
    At(Pointer),
}

impl Field {
    /// The value for the record whose JSON is `text`.
    pub(super) fn of<'a>(&'a self, text: Option<&'a [u8]>) -> Option<FieldText<'a>> {
        match self {
            Self::Fixed(value) => Some(value.as_text()),
            Self::At(pointer) => FieldText::sanitize(scalar(json::at(text?, pointer)?)?),
        }
    }
}

impl Data {
    /// The data of the record whose JSON is `text`.
    pub(super) fn of<'a>(&'a self, text: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Self::Fixed(data) => Cow::Borrowed(data.as_bytes()),
            Self::At(pointer) => match json::at(text, pointer) {
                Some(raw) => json::unescape(raw).unwrap_or(Cow::Borrowed(raw)),
                None => Cow::Borrowed(text),
            },
        }
    }
}

/// The number of milliseconds at `pointer`, without what is behind the point.
pub(super) fn milliseconds(text: Option<&[u8]>, pointer: &Pointer) -> Option<u64> {
    let text = scalar(json::at(text?, pointer)?)?;
    let digits = text.split(|byte| *byte == b'.').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The text of a raw string, number or boolean.
fn scalar(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    match raw.first()? {
        b'"' => json::unescape(raw),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(raw)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Data, Field, FieldText, FieldValue, Pointer, milliseconds};

    const RECORD: &[u8] = br#"{"s":"a\nb","q":"\"hi\"","n":1e3,"b":false,"o":{"x": 1},"z":null,"ms":1500.9,"e":"","u":"\u00fc"}"#;

    fn pointer(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    #[test]
    fn fields_take_what_is_one_line() {
        for (place, value) in [
            ("/q", Some("\"hi\"")),
            ("/n", Some("1e3")),
            ("/b", Some("false")),
            ("/e", Some("")),
            ("/u", Some("ü")),
            ("/s", None),
            ("/o", None),
            ("/z", None),
            ("/missing", None),
        ] {
            let field = Field::At(pointer(place));
            let text = field.of(Some(RECORD));
            assert_eq!(text.as_ref().map(FieldText::as_str), value, "{place}");
        }
        let fixed = Field::Fixed(FieldValue::new("tick").unwrap());
        assert_eq!(fixed.of(None).unwrap().as_str(), "tick");
    }

    #[test]
    fn data_is_a_strings_text_or_else_its_json() {
        for (place, data) in [
            ("/s", &b"a\nb"[..]),
            ("/o", b"{\"x\": 1}"),
            ("/z", b"null"),
            ("/o/x", b"1"),
            ("", RECORD),
            ("/missing", RECORD),
        ] {
            assert_eq!(*Data::At(pointer(place)).of(RECORD), *data, "{place}");
        }
        assert_eq!(*Data::Fixed("x".into()).of(RECORD), *b"x");
    }

    #[test]
    fn a_reconnection_time_is_whole_milliseconds() {
        for (place, expected) in [
            ("/ms", Some(1500)),
            ("/q", None),
            ("/n", None),
            ("/z", None),
        ] {
            assert_eq!(
                milliseconds(Some(RECORD), &pointer(place)),
                expected,
                "{place}"
            );
        }
    }
}
