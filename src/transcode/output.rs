//! How is an event written?
//!
//! [`OUTPUTS`] is the registry: configuration, negotiation, `--help` and the README's table read it.

pub mod json_seq;
pub mod ndjson;
pub mod sse;

mod object;

use std::{borrow::Cow, sync::Arc};

use thiserror::Error;

/// One output: its names, and what writes it.
pub struct Output {
    /// The name in `to = "…"`.
    pub name: &'static str,
    /// The media types by which a client asks for it, the usual one first.
    pub media_types: &'static [&'static str],
    /// Whether silence is broken where the configuration does not say how often.
    pub has_heartbeats: bool,
    /// What writes it.
    pub format: Format,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What writes an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Server-Sent Events.
    Sse,
    /// One JSON text a line.
    Ndjson,
    /// A JSON text sequence.
    JsonSeq,
}

impl Format {
    /// The output that it writes.
    #[must_use]
    pub fn output(self) -> &'static Output {
        match self {
            Self::Sse => &sse::OUTPUT,
            Self::Ndjson => &ndjson::OUTPUT,
            Self::JsonSeq => &json_seq::OUTPUT,
        }
    }
}

/// Every output, in the order of the documentation; the first is written where anything goes.
pub const OUTPUTS: &[&Output] = &[&sse::OUTPUT, &ndjson::OUTPUT, &json_seq::OUTPUT];

/// The output of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Output> {
    OUTPUTS.iter().copied().find(|output| output.name == name)
}

/// Writes events in one format.
///
/// Every method appends whole blocks, so that `out` ends at an event's end after each
/// (invariant 5). None can fail.
pub trait Encoder {
    /// Appends one event. Returns whether the client will see it: `false` for a block that only
    /// sets `id` or `retry`, and where there was nothing to write.
    fn event(&self, event: &Event<'_>, out: &mut Vec<u8>) -> bool;

    /// Appends an event of data and nothing else, which nearly all events of most streams are.
    fn data(&self, data: &[u8], out: &mut Vec<u8>);

    /// Appends what keeps intermediaries awake and clients asleep.
    fn heartbeat(&self, out: &mut Vec<u8>);

    /// Appends the event that tells the client why the stream ends here.
    fn error(&self, code: &str, message: &str, out: &mut Vec<u8>);

    /// Appends the reconnection time, without an event.
    fn retry(&self, retry_ms: u64, out: &mut Vec<u8>);
}

/// One message to the client, as it is about to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// The payload; `None` where the block only sets `id` or `retry`. Any bytes.
    pub data: Option<&'a [u8]>,
    /// The event's name; written only with data.
    pub name: Option<FieldText<'a>>,
    /// The event's id.
    pub id: Option<FieldText<'a>>,
    /// The reconnection time in milliseconds.
    pub retry_ms: Option<u64>,
}

/// A field value of an event stream: holds no CR, LF or NUL (invariant 6).
///
/// Cheap to clone: every stream of a route shares the route's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldValue(Arc<str>);

impl FieldValue {
    /// Takes a value of the configuration's.
    ///
    /// # Errors
    /// It holds a character that would end the field or the id.
    pub fn new(value: &str) -> Result<Self, FieldValueError> {
        match value.char_indices().find(|(_, c)| is_forbidden(*c)) {
            Some((at, character)) => Err(FieldValueError { character, at }),
            None => Ok(Self(value.into())),
        }
    }

    /// Lends it for one event.
    #[must_use]
    pub fn as_text(&self) -> FieldText<'_> {
        FieldText(Cow::Borrowed(&self.0))
    }
}

/// Why a text cannot be a field value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{character:?} at byte {at} is not allowed; a field value holds no CR, LF or NUL")]
pub struct FieldValueError {
    /// The first character that is not allowed.
    pub character: char,
    /// Where it stands, in bytes.
    pub at: usize,
}

/// A field value for one event, usually borrowed: holds no CR, LF or NUL (invariant 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldText<'a>(Cow<'a, str>);

impl<'a> FieldText<'a> {
    /// Takes a stranger's bytes: `None` where they hold CR, LF or NUL, since a changed id or name
    /// could be taken for another one. Invalid UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn sanitize(bytes: impl Into<Cow<'a, [u8]>>) -> Option<Self> {
        let bytes = bytes.into();
        if bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return None;
        }
        Some(Self(match bytes {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_forbidden(character: char) -> bool {
    matches!(character, '\r' | '\n' | '\0')
}

#[cfg(test)]
mod tests {
    use super::{FieldText, FieldValue, FieldValueError};

    #[test]
    fn configured_values_refuse_what_ends_a_field() {
        for (value, refused) in [
            ("message", None),
            ("", None),
            ("naïve ☃", None),
            ("a\rb", Some(('\r', 1))),
            ("é\nb", Some(('\n', 2))),
            ("\0", Some(('\0', 0))),
        ] {
            let error = refused.map(|(character, at)| FieldValueError { character, at });
            assert_eq!(FieldValue::new(value).err(), error, "{value:?}");
        }
    }

    #[test]
    fn strangers_values_are_replaced_or_ignored() {
        for (bytes, text) in [
            (&b"7"[..], Some("7")),
            (b"", Some("")),
            (b"a\xFFb", Some("a\u{FFFD}b")),
            (b"a\0", None),
            (b"a\n", None),
            (b"\rb", None),
        ] {
            let taken = FieldText::sanitize(bytes);
            assert_eq!(taken.as_ref().map(FieldText::as_str), text, "{bytes:?}");
        }
    }

    #[test]
    fn the_message_teaches() {
        let error = FieldValue::new("a\nb").unwrap_err();
        assert_eq!(
            error.to_string(),
            "'\\n' at byte 1 is not allowed; a field value holds no CR, LF or NUL"
        );
    }
}
