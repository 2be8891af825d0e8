//! How are lines of text cut?

use memchr::memchr2;

use super::{DecodeError, Decoder, EndOfInput, Framing, Record, bom::Bom, cutter::Cutter};

/// One record a line; an empty line is an empty record. LF, CR LF and a lone CR end a line.
///
/// No media type is taken for it: most `text/plain` is no stream.
pub const FRAMING: Framing = Framing {
    name: "lines",
    content_types: &[],
    is_for_its_own_clients: false,
    is_text: true,
    decoder: |opening| Box::new(Lines::new(opening.record_bytes_max)),
    sample_content_type: "",
    sample: b"\xEF\xBB\xBFone\n\ntwo\r\n\r\nthree\rfour\r\r\xC3\xBC \nlast",
    sample_records: &[
        b"one",
        b"",
        b"two",
        b"",
        b"three",
        b"four",
        b"",
        b"\xC3\xBC ",
        b"last",
    ],
};

#[derive(Debug)]
struct Lines {
    bom: Bom,
    cutter: Cutter,
    /// Whether the last byte was a CR, which ended its line at once: an LF after it belongs to it.
    is_after_cr: bool,
}

impl Lines {
    fn new(record_bytes_max: usize) -> Self {
        Self {
            bom: Bom::default(),
            cutter: Cutter::new(record_bytes_max),
            is_after_cr: false,
        }
    }
}

impl Decoder for Lines {
    #[inline]
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        if !self.bom.is_past() {
            self.cutter.prepend(self.bom.strip(input));
        }
        if self.is_after_cr && !input.is_empty() {
            self.is_after_cr = false;
            *input = input.strip_prefix(b"\n").unwrap_or(input);
        }
        let end = memchr2(b'\n', b'\r', input);
        let is_cr = end.is_some_and(|end| input[end] == b'\r');
        let Some(line) = self.cutter.cut(input, end)? else {
            return Ok(None);
        };
        self.is_after_cr = is_cr;
        Ok(Some(record(self.cutter.bytes(line))))
    }

    /// The last line needs no end.
    fn finish(&mut self, _end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        if !self.bom.is_past() {
            self.cutter.prepend(self.bom.unmatched());
        }
        let line = self.cutter.incomplete();
        if line.is_empty() {
            return Ok(None);
        }
        Ok(Some(record(line)))
    }

    fn carried_bytes(&self) -> usize {
        self.bom.held_bytes() + self.cutter.carried_bytes()
    }
}

#[inline]
fn record(line: &[u8]) -> Record<'_> {
    Record {
        data: Some(line),
        ..Record::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::FRAMING;

    #[test]
    fn lines_end_at_lf_crlf_and_cr() {
        for (input, records) in [
            (&b""[..], &[][..]),
            (b"a", &[&b"a"[..]]),
            (b"a\n", &[b"a"]),
            (b"a\r", &[b"a"]),
            (b"a\r\n", &[b"a"]),
            (b"\r\n", &[b""]),
            (b"\n\r", &[b"", b""]),
            (b"\r\r\n\n", &[b"", b"", b""]),
            (b"a\r\rb\n\n", &[b"a", b"", b"b", b""]),
            (b"a\0b\nc\xFF", &[b"a\0b", b"c\xFF"]),
            (b"\xEF\xBB\xBF\xEF\xBB\xBFa\n", &[b"\xEF\xBB\xBFa"]),
            (b"\xEF\xBB\n", &[b"\xEF\xBB"]),
            (b"\xEF\xBB", &[b"\xEF\xBB"]),
            (b"\xEF\xBB\xBF\n", &[b""]),
        ] {
            check::whole(&FRAMING, input, records);
        }
    }

    #[test]
    fn a_cr_ends_its_line_at_once() {
        check::prompt(
            &FRAMING,
            &[(b"a\r", 1), (b"\n", 0), (b"b\r", 1), (b"\r", 1)],
        );
    }

    #[test]
    fn the_limit_is_the_lines_without_its_end() {
        for end in [&b"\n"[..], b"\r", b"\r\n"] {
            check::limit(&FRAMING, b"\xEF\xBB\xBF", end);
            check::limit(&FRAMING, b"x\n", end);
        }
    }

    #[test]
    fn nothing_is_held_between_records() {
        check::idle(&FRAMING, &[b"a", b"b\r", b"\nc\n"]);
    }
}
