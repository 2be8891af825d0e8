//! What does a part say of its body?

use std::borrow::Cow;

use httparse::{EMPTY_HEADER, Header, Status};
use memchr::{memchr, memchr_iter};

use super::super::content_type;

/// What a part's header fields say of its body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// How many bytes it has, where that is told.
    pub(super) length: Option<usize>,
}

/// How a body is handed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// As it is; so is what is not told (RFC 2046 §5.1).
    #[default]
    Text,
    /// As it is, and its own end is known.
    Json,
    /// In base64.
    Binary,
}

/// Finds where a head ends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    /// Whether there is more in the line than CR.
    is_in_field: bool,
}

impl Ends {
    /// Finds the empty line that ends a head: where in `input` stands what comes behind it.
    pub(super) fn find(&mut self, input: &[u8]) -> Option<usize> {
        let mut start = 0;
        let is_blank = |line: &[u8]| line.iter().all(|byte| *byte == b'\r');
        for end in memchr_iter(b'\n', input) {
            if !self.is_in_field && is_blank(&input[start..end]) {
                return Some(end + 1);
            }
            self.is_in_field = false;
            start = end + 1;
        }
        self.is_in_field |= !is_blank(&input[start..]);
        None
    }
}

/// Reads a head, to the end of its empty line. LF may end a line, and a field may go on in the next one
/// that begins with white space (RFC 5322 §2.2.3).
///
/// # Errors
/// Which rule it breaks, as the end of a sentence.
pub(super) fn parse(bytes: &[u8]) -> Result<Head, &'static str> {
    let bytes = unfold(bytes);
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let fields = match httparse::parse_headers(&bytes, &mut fields) {
        Ok(Status::Complete((_, fields))) => fields,
        Err(httparse::Error::TooManyHeaders) => {
            return Err("a part has more than 64 header fields");
        }
        Ok(Status::Partial) | Err(_) => return Err("a part's header fields cannot be read"),
    };
    let kind = value(fields, "content-type").map(kind_of);
    let mut lengths = all(fields, "content-length").map(length);
    let length = lengths.next().transpose()?;
    if lengths.any(|other| other.ok() != length) {
        return Err("a part has two content-lengths");
    }
    Ok(Head {
        kind: kind.unwrap_or_default(),
        length,
    })
}

/// Turns the line ends within fields into white space.
fn unfold(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_fold = |end: usize| matches!(bytes.get(end + 1), Some(b' ' | b'\t'));
    let mut unfolded = Cow::Borrowed(bytes);
    for end in memchr_iter(b'\n', bytes).filter(|end| is_fold(*end)) {
        let unfolded = unfolded.to_mut();
        unfolded[end] = b' ';
        if end > 0 && bytes[end - 1] == b'\r' {
            unfolded[end - 1] = b' ';
        }
    }
    unfolded
}

fn all<'h>(fields: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let named = fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value)
}

fn value<'h>(fields: &'h [Header<'h>], name: &'h str) -> Option<&'h [u8]> {
    all(fields, name).next()
}

fn length(value: &[u8]) -> Result<usize, &'static str> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(value).ok().filter(|_| is_number);
    let length = digits.and_then(|digits| digits.parse().ok());
    length.ok_or("a part's content-length is no number of bytes")
}

/// What is known to be text is handed on as text.
fn kind_of(value: &[u8]) -> Kind {
    let media_type = content_type::essence(std::str::from_utf8(value).unwrap_or_default());
    let media_type = media_type.to_ascii_lowercase();
    let subtype = memchr(b'/', media_type.as_bytes()).map_or("", |slash| &media_type[slash + 1..]);
    if subtype == "json" || subtype.ends_with("+json") {
        return Kind::Json;
    }
    let is_text = media_type.starts_with("text/")
        || matches!(
            subtype,
            "xml" | "javascript" | "yaml" | "x-ndjson" | "jsonl"
        )
        || subtype.ends_with("+xml");
    if is_text { Kind::Text } else { Kind::Binary }
}

const FIELDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::{Ends, Kind, parse};

    #[test]
    fn a_head_ends_at_its_empty_line() {
        for (input, behind) in [
            (&b"\r\nx"[..], Some(2)),
            (b"\nx", Some(1)),
            (b"a:b\r\n\r\n\r\n", Some(7)),
            (b"a:b\n\nx", Some(5)),
            (b"a:b\r\n\n", Some(6)),
            (b"a:b\n c\r\r\n\r\r\n", Some(12)),
            (b"a:b\r\n", None),
            (b"a:b\r\n \r\n", None),
            (b"\r", None),
            (b"", None),
        ] {
            for cut in 0..=behind.unwrap_or(input.len()) {
                let mut ends = Ends::default();
                let found = ends.find(&input[..cut]);
                let found = found.or_else(|| Some(cut + ends.find(&input[cut..])?));
                assert_eq!(found, behind, "{} {cut}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn fields_say_what_the_body_is() {
        for (fields, kind, length) in [
            ("", Kind::Text, None),
            ("X: y\n", Kind::Text, None),
            (
                "Content-Type: text/html; charset=utf-8\r\n",
                Kind::Text,
                None,
            ),
            ("content-type:application/json\r\n", Kind::Json, None),
            ("CONTENT-TYPE: Application/JSON;x=y\r\n", Kind::Json, None),
            ("content-type: a/b+json\n", Kind::Json, None),
            ("content-type: text/json\n", Kind::Json, None),
            ("content-type: application/xml\n", Kind::Text, None),
            ("content-type: image/svg+xml\n", Kind::Text, None),
            (
                "content-type: image/jpeg\ncontent-length: 12345\n",
                Kind::Binary,
                Some(12345),
            ),
            ("content-type: jsonx\n", Kind::Binary, None),
            ("content-type: json\n", Kind::Binary, None),
            ("content-type: ü/json\n", Kind::Json, None),
            (
                "content-type:\r\n\tapplication/json;\n  x=y\n",
                Kind::Json,
                None,
            ),
            ("content-length:0\ncontent-length: 0\n", Kind::Text, Some(0)),
        ] {
            let head = parse(format!("{fields}\r\n").as_bytes()).unwrap();
            assert_eq!((head.kind, head.length), (kind, length), "{fields}");
        }
    }

    #[test]
    fn fields_that_cannot_be_read_are_refused() {
        let number = "a part's content-length is no number of bytes";
        let unreadable = "a part's header fields cannot be read";
        let many = "a: b\n".repeat(65);
        for (fields, reason) in [
            ("content-length: -1\n", number),
            ("content-length: 1, 1\n", number),
            ("content-length:\n", number),
            ("content-length: 99999999999999999999\n", number),
            (
                "content-length: 1\ncontent-length: 2\n",
                "a part has two content-lengths",
            ),
            (
                "content-length: 1\ncontent-length: x\n",
                "a part has two content-lengths",
            ),
            ("no field\n", unreadable),
            (" a: b\n", unreadable),
            ("a : b\n", unreadable),
            ("a: \0\n", unreadable),
            (&many, "a part has more than 64 header fields"),
        ] {
            let refused = parse(format!("{fields}\r\n").as_bytes());
            assert_eq!(refused, Err(reason), "{fields}");
        }
        assert!(parse(format!("{}\n", &many[5..]).as_bytes()).is_ok());
    }
}
