//! How are newline-delimited JSON records cut (NDJSON, JSON Lines)?

use memchr::memchr;
use serde::de::IgnoredAny;

use super::{DecodeError, Decoder, EndOfInput, Framing, Record, bom::Bom, cutter::Cutter};

/// One JSON text a line. Blank lines are the upstream's heartbeats and are dropped.
pub const FRAMING: Framing = Framing {
    name: "ndjson",
    content_types: &[
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-lines",
        "application/stream+json",
        "application/x-json-stream",
        "+x-ndjson",
        "+ndjson",
        "+jsonl",
    ],
    is_for_its_own_clients: false,
    is_text: true,
    decoder: |opening| Box::new(Ndjson::new(opening.record_bytes_max)),
    sample_content_type: "",
    sample: b"\xEF\xBB\xBF{\"a\":\"\xC3\xBC\\n\"}\n\n \t\r\n{\"b\":2}\r\n[3]\n{\"last\":true}",
    sample_records: &[
        b"{\"a\":\"\xC3\xBC\\n\"}",
        b"{\"b\":2}",
        b"[3]",
        b"{\"last\":true}",
    ],
};

/// Cuts at LF and strips one CR before it; a bare CR is white space inside the JSON text.
#[derive(Debug)]
struct Ndjson {
    bom: Bom,
    cutter: Cutter,
}

impl Ndjson {
    fn new(record_bytes_max: usize) -> Self {
        Self {
            bom: Bom::default(),
            cutter: Cutter::new(record_bytes_max),
        }
    }
}

impl Decoder for Ndjson {
    #[inline]
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        if !self.bom.is_past() {
            self.cutter.prepend(self.bom.strip(input));
        }
        while let Some(line) = self.cutter.cut(input, memchr(b'\n', input))? {
            if !is_blank(self.cutter.bytes(line)) {
                return Ok(Some(record(self.cutter.bytes(line))));
            }
        }
        Ok(None)
    }

    /// Without its LF the last line counts if it is one whole JSON text.
    fn finish(&mut self, end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        if !self.bom.is_past() {
            self.cutter.prepend(self.bom.unmatched());
        }
        let line = self.cutter.incomplete();
        if is_blank(line) {
            return Ok(None);
        }
        if !is_whole(line, end) {
            return Err(DecodeError::Truncated {
                framing: FRAMING.name,
                carried_bytes: line.len(),
            });
        }
        Ok(Some(record(line)))
    }

    fn carried_bytes(&self) -> usize {
        self.bom.held_bytes() + self.cutter.carried_bytes()
    }
}

/// The record of a line, without the CR that may stand before its LF.
#[inline]
fn record(line: &[u8]) -> Record<'_> {
    Record {
        data: Some(line.strip_suffix(b"\r").unwrap_or(line)),
        ..Record::default()
    }
}

/// Whether the line holds nothing but JSON's white space (RFC 8259 §2).
#[inline]
fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// Whether `line` is one JSON text of which nothing can be missing: after a cut, a number at the
/// very end may have had more digits (RFC 7464 §2.4 has the same hazard).
fn is_whole(line: &[u8], end: EndOfInput) -> bool {
    let may_be_cut = end == EndOfInput::Unverified && line.last().is_some_and(u8::is_ascii_digit);
    !may_be_cut && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeError, EndOfInput, check};
    use super::FRAMING;

    #[test]
    fn records_end_at_lf() {
        for (input, records) in [
            (&b""[..], &[][..]),
            (b"{}\n", &[&b"{}"[..]]),
            (b"{}\r\n[1]\n", &[b"{}", b"[1]"]),
            (b"\n\r\n  \t\n{}\n\n", &[b"{}"]),
            (b"{\r}\n", &[b"{\r}"]),
            (b"{}\r\r\n", &[b"{}\r"]),
            (b"not json\n", &[b"not json"]),
            (b"\0\n\xFF\n", &[b"\0", b"\xFF"]),
            (
                b"\xEF\xBB\xBF{}\n\xEF\xBB\xBF1\n",
                &[b"{}", b"\xEF\xBB\xBF1"],
            ),
            (b"\xEF\xBB{}\n", &[b"\xEF\xBB{}"]),
            (b"\xEF\xBB\xBF", &[]),
        ] {
            check::whole(&FRAMING, input, records);
        }
    }

    #[test]
    fn the_last_line_counts_if_it_is_whole() {
        let ends = [EndOfInput::Verified, EndOfInput::Unverified];
        for (input, is_whole) in [
            (&b"{\"a\":[1]}"[..], [true, true]),
            (b"\"text\"", [true, true]),
            (b"true\r", [true, true]),
            (b"12 ", [true, true]),
            (b"12", [true, false]),
            (b"{\"a\":[1]", [false, false]),
            (b"\"tex", [false, false]),
            (b"{} {}", [false, false]),
            (b"\xEF\xBB", [false, false]),
        ] {
            for (end, is_whole) in ends.into_iter().zip(is_whole) {
                let outcome = check::decode(&FRAMING, &[input], end, 100);
                let error = (!is_whole).then_some(DecodeError::Truncated {
                    framing: "ndjson",
                    carried_bytes: input.len(),
                });
                assert_eq!(outcome.error, error, "{input:?} {end:?}");
                assert_eq!(outcome.datas().len(), usize::from(is_whole), "{input:?}");
            }
        }
    }

    #[test]
    fn the_limit_is_the_records_without_its_end() {
        check::limit(&FRAMING, b"", b"\n");
        check::limit(&FRAMING, b"", b"\r\n");
        check::limit(&FRAMING, b"\xEF\xBB\xBF", b"\n");
        check::limit(&FRAMING, b"{}\n", b"\n");
    }

    #[test]
    fn nothing_is_held_between_records() {
        check::idle(&FRAMING, &[b"{}", b"\n"]);
        check::idle(&FRAMING, &[b"{}\n{}\n"]);
        check::idle(&FRAMING, &[b" ", b"\n"]);
    }
}
