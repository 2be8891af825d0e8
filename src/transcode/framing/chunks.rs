//! How does a chunk become a record as it is?

use super::{DecodeError, Decoder, EndOfInput, Framing, Record};

/// Each chunk is a record, for upstreams that flush what they mean and mark it by nothing else.
///
/// **The exception to invariant 3**: intermediaries are free to cut chunks anew, and then the
/// records are others; only all of them together are the same. A UTF-8 sequence is never torn: its
/// start waits for the next chunk.
///
/// No media type is taken for it: it has to be asked for.
pub const FRAMING: Framing = Framing {
    name: "chunks",
    content_types: &[],
    is_for_its_own_clients: false,
    is_text: true,
    decoder: |opening| Box::new(Chunks::new(opening.record_bytes_max)),
    sample_content_type: "",
    sample: b"Hello, w\xC3\xB6rld \xE2\x98\x83 \xF0\x9F\x8C\x8A\nof tokens",
    sample_records: &[b"Hello, w\xC3\xB6rld \xE2\x98\x83 \xF0\x9F\x8C\x8A\nof tokens"],
};

#[derive(Debug)]
struct Chunks {
    /// The start of a UTF-8 sequence, at most 3 bytes; or the record that is lent.
    carry: Vec<u8>,
    /// How much of the front of `carry` is lent, and must be gone before the next record.
    lent_bytes: usize,
    record_bytes_max: usize,
}

impl Chunks {
    fn new(record_bytes_max: usize) -> Self {
        Self {
            carry: Vec::new(),
            lent_bytes: 0,
            record_bytes_max,
        }
    }

    fn begin(&mut self) {
        if self.lent_bytes > 0 {
            // Into a new one: an idle stream holds no more than the start of a sequence.
            self.carry = self.carry[self.lent_bytes..].to_vec();
            self.lent_bytes = 0;
        }
    }
}

impl Decoder for Chunks {
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        self.begin();
        let chunk = std::mem::take(input);
        if chunk.is_empty() {
            return Ok(None);
        }
        if self.carry.is_empty() {
            let (record, rest) = split_at_incomplete(chunk);
            check(record, self.record_bytes_max)?;
            self.carry.extend_from_slice(rest);
            return Ok(non_empty(record));
        }
        self.carry.extend_from_slice(chunk);
        let (record, _) = split_at_incomplete(&self.carry);
        check(record, self.record_bytes_max)?;
        self.lent_bytes = record.len();
        Ok(non_empty(record))
    }

    /// What was held back of an incomplete UTF-8 sequence comes now, whatever it is.
    fn finish(&mut self, _end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        self.begin();
        self.lent_bytes = self.carry.len();
        Ok(non_empty(&self.carry))
    }

    fn carried_bytes(&self) -> usize {
        self.carry.len() - self.lent_bytes
    }
}

fn check(record: &[u8], record_bytes_max: usize) -> Result<(), DecodeError> {
    if record.len() > record_bytes_max {
        return Err(DecodeError::RecordTooLarge { record_bytes_max });
    }
    Ok(())
}

fn non_empty(data: &[u8]) -> Option<Record<'_>> {
    (!data.is_empty()).then_some(Record {
        data: Some(data),
        ..Record::default()
    })
}

/// Splits before the UTF-8 sequence that more bytes could complete, if `bytes` end in one.
fn split_at_incomplete(bytes: &[u8]) -> (&[u8], &[u8]) {
    let tail = &bytes[bytes.len().saturating_sub(SEQUENCE_BYTES_MAX - 1)..];
    let Some(lead) = tail.iter().rposition(|byte| *byte >= 0xC0) else {
        return (bytes, &[]);
    };
    let sequence = &tail[lead..];
    match std::str::from_utf8(sequence) {
        Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => {
            bytes.split_at(bytes.len() - sequence.len())
        }
        Ok(_) | Err(_) => (bytes, &[]),
    }
}

/// The longest UTF-8 sequence.
const SEQUENCE_BYTES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::super::{DecodeError, EndOfInput, check};
    use super::FRAMING;

    fn check_chunks(chunks: &[&[u8]], records: &[&[u8]]) {
        let outcome = check::decode(&FRAMING, chunks, EndOfInput::Verified, 100);
        assert_eq!(outcome.error, None);
        assert_eq!(outcome.datas(), records, "{chunks:?}");
    }

    #[test]
    fn each_chunk_is_a_record() {
        check_chunks(&[b"a", b"", b"b\n\n", b"\r"], &[b"a", b"b\n\n", b"\r"]);
    }

    #[test]
    fn a_sequence_is_never_torn() {
        check_chunks(&[b"a\xC3", b"\xBCb"], &[b"a", b"\xC3\xBCb"]);
        check_chunks(
            &[b"\xF0", b"\x9F", b"\x8C", b"\x8A"],
            &[b"\xF0\x9F\x8C\x8A"],
        );
        check_chunks(
            &[b"\xE2\x98\x83\xE2", b"\x98"],
            &[b"\xE2\x98\x83", b"\xE2\x98"],
        );
        check_chunks(&[b"\xC3\xBC", b"x"], &[b"\xC3\xBC", b"x"]);
    }

    #[test]
    fn what_can_never_be_completed_is_not_held_back() {
        check_chunks(&[b"a\x80", b"b"], &[b"a\x80", b"b"]);
        check_chunks(&[b"\xE0\x80", b"b"], &[b"\xE0\x80", b"b"]);
        check_chunks(&[b"\xFF", b"\xC0", b"b"], &[b"\xFF", b"\xC0", b"b"]);
        check_chunks(&[b"\xC3", b"b"], &[b"\xC3b"]);
    }

    #[test]
    fn a_longer_chunk_is_refused() {
        for (length, is_refused) in [(100, false), (101, true)] {
            let chunk = vec![b'x'; length];
            let outcome = check::decode(&FRAMING, &[&chunk], EndOfInput::Verified, 100);
            let error = is_refused.then_some(DecodeError::RecordTooLarge {
                record_bytes_max: 100,
            });
            assert_eq!(outcome.error, error);
        }
    }

    #[test]
    fn nothing_is_held_between_records() {
        check::idle(&FRAMING, &[b"a\xC3", b"\xBC"]);
    }
}
