//! What does a content type say besides its name (RFC 9110 §8.3.1)?

use std::borrow::Cow;

/// Whether the media type itself, without parameters, is `media_type` (lower case).
pub(super) fn is(content_type: &str, media_type: &str) -> bool {
    essence(content_type).eq_ignore_ascii_case(media_type)
}

/// The media type itself, without parameters, as it was written.
pub(super) fn essence(content_type: &str) -> &str {
    let end = content_type.find(';').unwrap_or(content_type.len());
    content_type[..end].trim()
}

/// The value of the first parameter of that name (lower case), without quotes.
///
/// Lenient where senders are careless: white space may stand around `=`, and a value that ought to be
/// in quotes goes on to the next semicolon.
pub(super) fn parameter<'a>(content_type: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut rest = after(content_type, ';')?;
    loop {
        let equals = rest.find(['=', ';'])?;
        if rest[equals..].starts_with(';') {
            rest = &rest[equals + 1..];
            continue;
        }
        let found = rest[..equals].trim().eq_ignore_ascii_case(name);
        let (value, behind) = value(rest[equals + 1..].trim_start());
        if found {
            return Some(value);
        }
        rest = after(behind, ';')?;
    }
}

/// A parameter's value, and what stands behind it.
fn value(text: &str) -> (Cow<'_, str>, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        return (Cow::Borrowed(value.trim_end()), rest);
    };
    let plain_end = quoted.find(['"', '\\']).unwrap_or(quoted.len());
    if !quoted[plain_end..].starts_with('\\') {
        let rest = quoted.get(plain_end + 1..).unwrap_or_default();
        return (Cow::Borrowed(&quoted[..plain_end]), rest);
    }
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            _ => value.push(character),
        }
    }
    (Cow::Owned(value), characters.as_str())
}

/// What stands behind the first `mark`.
fn after(text: &str, mark: char) -> Option<&str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::{is, parameter};

    #[test]
    fn the_type_stands_before_its_parameters() {
        assert!(is("text/csv", "text/csv"));
        assert!(is(" Text/CSV ;header=absent", "text/csv"));
        assert!(!is("text/csv2", "text/csv"));
        assert!(!is("", "text/csv"));
    }

    #[test]
    fn parameters_are_found_by_name() {
        for (content_type, value) in [
            ("multipart/mixed", None),
            ("multipart/mixed;", None),
            ("multipart/mixed; boundary", None),
            ("multipart/mixed; boundary=", Some("")),
            ("multipart/mixed; boundary=b", Some("b")),
            ("multipart/mixed;BOUNDARY=--b;x=y", Some("--b")),
            ("m/m; boundary=graphql; deferSpec=20220824", Some("graphql")),
            ("m/m; x; y=\"a;boundary=no\"; boundary=yes", Some("yes")),
            ("m/m; y=\"a\\\";boundary=no\"; boundary=yes", Some("yes")),
            ("m/m; boundary=\"-\"", Some("-")),
            ("m/m; boundary=\"a b\" ; x=y", Some("a b")),
            ("m/m; boundary=\"a\\\"\\\\b\"; x=y", Some("a\"\\b")),
            ("m/m; boundary=\"open", Some("open")),
            ("m/m; boundary=\"open\\", Some("open")),
            ("m/m; boundary = ----=_Part_1 ; x=y", Some("----=_Part_1")),
            ("m/m; boundary=first; boundary=second", Some("first")),
            ("m/m; xboundary=no", None),
            ("m/m; boundary=\"ü\\ü\"", Some("üü")),
            ("boundary=no", None),
        ] {
            let found = parameter(content_type, "boundary");
            assert_eq!(found.as_deref(), value, "{content_type}");
        }
    }
}
