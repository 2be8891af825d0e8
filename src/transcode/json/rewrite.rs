//! How is a raw value written another way?

use std::borrow::Cow;

use memchr::memchr2;

use super::scan::{Mark, Scan, Seen};

/// The text of a raw string: without its quotes, and with its escapes undone (RFC 8259 §7).
///
/// `None` where `raw` is no string or holds an escape that there is not. Half of a surrogate pair becomes
/// U+FFFD; bytes that are not UTF-8 stay as they are. Borrowed where nothing is escaped.
#[must_use]
pub fn unescape(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut rest = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let Some(first) = memchr2(b'\\', b'"', rest) else {
        return Some(Cow::Borrowed(rest));
    };
    let mut text = Vec::with_capacity(rest.len());
    let mut next = Some(first);
    while let Some(at) = next {
        text.extend_from_slice(&rest[..at]);
        let (character, behind) = escape(&rest[at..])?;
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = behind;
        next = memchr2(b'\\', b'"', rest);
    }
    text.extend_from_slice(rest);
    Some(Cow::Owned(text))
}

/// The character of the escape that `text` begins with, and what stands behind it.
fn escape(text: &[u8]) -> Option<(char, &[u8])> {
    let [b'\\', kind, rest @ ..] = text else {
        return None;
    };
    let character = match kind {
        b'"' | b'\\' | b'/' => char::from(*kind),
        b'b' => '\x08',
        b'f' => '\x0C',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(rest),
        _ => return None,
    };
    Some((character, rest))
}

/// The same behind `\u`, where two escapes may stand for one character.
fn unicode_escape(text: &[u8]) -> Option<(char, &[u8])> {
    let (unit, rest) = code_unit(text)?;
    let second = rest.strip_prefix(b"\\u").and_then(code_unit);
    let units = [unit, second.map_or(0, |(unit, _)| unit)];
    let first = char::decode_utf16(units).next()?;
    let character = first.unwrap_or(char::REPLACEMENT_CHARACTER);
    let behind_both = second.filter(|_| character.len_utf16() == 2);
    Some((character, behind_both.map_or(rest, |(_, rest)| rest)))
}

fn code_unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<4>()?;
    let unit = digits.iter().try_fold(0, |unit, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    });
    Some((unit?, rest))
}

/// Appends `raw` without the white space outside its strings. Numbers and escapes stay as they are.
///
/// A well-formed text is one line afterwards.
pub fn minify(raw: &[u8], out: &mut Vec<u8>) {
    out.reserve(raw.len());
    let mut start = 0;
    for seen in Scan::of(raw) {
        for (first, last) in blank_runs(&seen) {
            out.extend_from_slice(&raw[start..first.at]);
            start = last.at + 1;
        }
    }
    out.extend_from_slice(&raw[start..]);
}

/// The same in place.
pub(in crate::transcode) fn minify_in_place(raw: &mut Vec<u8>) {
    let (mut start, mut kept) = (0, 0);
    let mut scan = Scan::default();
    // What is moved goes no further than what has been looked at.
    while let Some(seen) = scan.next(raw) {
        for (first, last) in blank_runs(&seen) {
            raw.copy_within(start..first.at, kept);
            kept += first.at - start;
            start = last.at + 1;
        }
    }
    raw.copy_within(start.., kept);
    raw.truncate(raw.len() - start + kept);
}

/// The first and the last of each run of white space outside strings, so that only these are looked at.
#[inline]
fn blank_runs(seen: &Seen) -> impl Iterator<Item = (Mark, Mark)> {
    let blanks = seen.blanks();
    let firsts = seen.marks(blanks & !(blanks << 1));
    firsts.zip(seen.marks(blanks & !(blanks >> 1)))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{minify, minify_in_place, unescape};

    #[test]
    fn escapes_are_undone() {
        for (raw, text) in [
            (&br#""""#[..], Some(&b""[..])),
            (br#""plain""#, Some(b"plain")),
            (br#""\"\\\/\b\f\n\r\t""#, Some(b"\"\\/\x08\x0C\n\r\t")),
            (br#""a\u00fc\u00FCb""#, Some("aüüb".as_bytes())),
            (br#""\u0000""#, Some(b"\0")),
            (br#""\ud83c\udf0a\u2603""#, Some("🌊☃".as_bytes())),
            (br#""\ud83c""#, Some("\u{FFFD}".as_bytes())),
            (br#""\ud83cx\udf0a""#, Some("\u{FFFD}x\u{FFFD}".as_bytes())),
            (br#""\ud83c\u0041""#, Some("\u{FFFD}A".as_bytes())),
            (br#""\ud83c\ud83c\udf0a""#, Some("\u{FFFD}🌊".as_bytes())),
            (b"\"\xFF\\n\xC3\"", Some(b"\xFF\n\xC3")),
            (br#""\x""#, None),
            (br#""\u12""#, None),
            (br#""\u12g4""#, None),
            (br#""\""#, None),
            (br#""a"b""#, None),
            (b"\"", None),
            (b"", None),
            (b"12", None),
            (b"\"a", None),
        ] {
            assert_eq!(unescape(raw).as_deref(), text, "{}", raw.escape_ascii());
        }
        assert!(matches!(unescape(b"\"plain\""), Some(Cow::Borrowed(_))));
    }

    #[test]
    fn white_space_outside_strings_goes() {
        for (raw, minified) in [
            ("", ""),
            (" \t\r\n", ""),
            (
                "{ \"a b\" :\r\n\t[ 1 , 1e+0,\"\\\" \\u0020\" ] }\n",
                "{\"a b\":[1,1e+0,\"\\\" \\u0020\"]}",
            ),
            ("\"a\nb\"", "\"a\nb\""),
            ("\x0C\u{A0}", "\x0C\u{A0}"),
        ] {
            let mut out = b">".to_vec();
            minify(raw.as_bytes(), &mut out);
            assert_eq!(out, [b">", minified.as_bytes()].concat(), "{raw:?}");
            let mut raw = raw.as_bytes().to_vec();
            minify_in_place(&mut raw);
            assert_eq!(raw, minified.as_bytes());
        }
    }
}
