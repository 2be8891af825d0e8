//! What stands in the cells of a row?

use memchr::memchr;

/// The cells of one row, in order; an empty row has one, which is empty.
#[derive(Debug, Clone)]
pub(super) struct Cells<'r> {
    /// Begins with a cell; `None` where there is none left.
    rest: Option<&'r [u8]>,
}

/// One cell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell<'r> {
    /// What stands between the quotes. Invariant: quotes in it come in pairs, each of which is one.
    quoted: &'r [u8],
    /// What stands outside of them, behind.
    plain: &'r [u8],
}

impl<'r> Cells<'r> {
    pub(super) fn of(row: &'r [u8]) -> Self {
        Self { rest: Some(row) }
    }
}

impl<'r> Iterator for Cells<'r> {
    type Item = Cell<'r>;

    #[inline]
    fn next(&mut self) -> Option<Cell<'r>> {
        let row = self.rest.take()?;
        let (quoted, behind) = match row.strip_prefix(b"\"") {
            Some(inner) => split_quoted(inner),
            None => (&b""[..], row),
        };
        let plain = match memchr(b',', behind) {
            Some(comma) => {
                self.rest = Some(&behind[comma + 1..]);
                &behind[..comma]
            }
            None => behind,
        };
        Some(Cell { quoted, plain })
    }
}

/// Splits at the first quote that is none of a pair.
fn split_quoted(inner: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(found) = memchr(b'"', &inner[at..]) {
        at += found;
        if inner.get(at + 1) != Some(&b'"') {
            return (&inner[..at], &inner[at + 1..]);
        }
        at += 2;
    }
    (inner, b"")
}

impl<'r> Cell<'r> {
    /// A cell of this text.
    pub(super) fn plain(text: &'r [u8]) -> Self {
        Self {
            quoted: b"",
            plain: text,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.quoted.is_empty() && self.plain.is_empty()
    }

    /// The text, quotes undone.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.quoted.len() + self.plain.len());
        self.each_piece(|piece| text.extend_from_slice(piece));
        text
    }

    /// Appends the text as a JSON string.
    #[inline]
    pub(super) fn write(&self, json: &mut Vec<u8>) {
        json.push(b'"');
        self.each_piece(|piece| escape(piece, json));
        json.push(b'"');
    }

    #[inline]
    fn each_piece(&self, mut take: impl FnMut(&[u8])) {
        let mut quoted = self.quoted;
        while let Some(at) = memchr(b'"', quoted) {
            take(&quoted[..=at]);
            quoted = quoted.get(at + 2..).unwrap_or_default();
        }
        take(quoted);
        take(self.plain);
    }
}

/// Appends `text` as it stands inside a JSON string (RFC 8259 §7). Bytes that are not UTF-8 stay as
/// they are.
fn escape(text: &[u8], json: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| must_be_escaped(*byte)) {
        json.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => json.extend_from_slice(&[b'\\', byte]),
            b'\n' => json.extend_from_slice(b"\\n"),
            b'\r' => json.extend_from_slice(b"\\r"),
            b'\t' => json.extend_from_slice(b"\\t"),
            byte => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                json.extend_from_slice(b"\\u00");
                json.extend_from_slice(&digits);
            }
        }
        rest = &rest[at + 1..];
    }
    json.extend_from_slice(rest);
}

#[inline]
fn must_be_escaped(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\')
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::Cells;

    #[test]
    fn quotes_are_undone_and_json_escaped() {
        for (row, texts, json) in [
            (&b""[..], &[&b""[..]][..], &br#""""#[..]),
            (b"a", &[b"a"], br#""a""#),
            (b"a,,b", &[b"a", b"", b"b"], br#""a""""b""#),
            (b",", &[b"", b""], br#""""""#),
            (b"\"a,b\",c", &[b"a,b", b"c"], br#""a,b""c""#),
            (b"\"\"", &[b""], br#""""#),
            (b"\"\"\"\"", &[b"\""], br#""\"""#),
            (b"\"a\"\"b\"", &[b"a\"b"], br#""a\"b""#),
            (b"\"a\nb\r\n\"", &[b"a\nb\r\n"], br#""a\nb\r\n""#),
            (b"a\"b\",c", &[b"a\"b\"", b"c"], br#""a\"b\"""c""#),
            (b"\"a\"b,c", &[b"ab", b"c"], br#""ab""c""#),
            (b"\"a\"b\"c\"", &[b"ab\"c\""], br#""ab\"c\"""#),
            (b" \"a\"", &[b" \"a\""], br#"" \"a\"""#),
            (
                b"\\\t\x01\x1F",
                &[b"\\\t\x01\x1F"],
                br#""\\\t\u0001\u001f""#,
            ),
            (b"\xFF\x7F", &[b"\xFF\x7F"], b"\"\xFF\x7F\""),
        ] {
            let cells: Vec<_> = Cells::of(row).collect();
            let found: Vec<_> = cells.iter().map(super::Cell::text).collect();
            assert_eq!(found, texts, "{}", row.escape_ascii());
            let mut written = Vec::new();
            for cell in &cells {
                cell.write(&mut written);
            }
            assert_eq!(written, json, "{}", row.escape_ascii());
            let is_empty = |cell: &super::Cell<'_>| cell.text().is_empty();
            assert!(cells.iter().all(|cell| cell.is_empty() == is_empty(cell)));
        }
    }
}
