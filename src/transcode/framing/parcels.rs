//! How does a record reach the transcoder whose upstream does not stream?
//!
//! What polls or reads messages writes parcels, and so becomes a stream of bytes like any other: the
//! mapping, heartbeats, endings and back-pressure are those of every stream. It is no `from` of a route,
//! so the registry does not list it.

use super::{
    DecodeError, Decoder, EndOfInput, Framing, Record,
    exact::{self, Exact},
};

/// One parcel after the other: a tag, and for records two lengths (four bytes each, big-endian), the id
/// and the data.
pub const FRAMING: Framing = Framing {
    name: NAME,
    content_types: &[],
    is_for_its_own_clients: false,
    is_text: false,
    decoder: |opening| Box::new(Parcels::new(opening.record_bytes_max)),
    sample_content_type: "",
    sample: b"\x01\0\0\0\0\0\0\0\x03one\0\x02\0\0\0\x02\0\0\0\x0317two",
    sample_records: &[b"one", b"two"],
};

/// The longest id, in bytes: it comes back in a field of a request, and may go into a target.
pub const ID_BYTES_MAX: usize = 4096;

/// Appends a record of `data`, which is at most 4 GiB long.
pub fn record(data: &[u8], out: &mut Vec<u8>) {
    parcel(RECORD, b"", data, out);
}

/// Appends a record of `data` that sets the id, which has at most [`ID_BYTES_MAX`] bytes.
pub fn record_with_id(id: &[u8], data: &[u8], out: &mut Vec<u8>) {
    parcel(RECORD_WITH_ID, id, data, out);
}

/// Says that the upstream lives, and is no record.
pub const SIGN_OF_LIFE: &[u8] = &[NO_RECORD];

fn parcel(tag: u8, id: &[u8], data: &[u8], out: &mut Vec<u8>) {
    out.reserve(1 + LENGTHS_BYTES + id.len() + data.len());
    out.push(tag);
    for part in [id, data] {
        // What is longer is refused at its length, which the transcoder's limit never reaches.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(id);
    out.extend_from_slice(data);
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Part {
    Tag,
    Lengths {
        has_id: bool,
    },
    Content {
        id_bytes: Option<usize>,
        bytes: usize,
    },
}

#[derive(Debug)]
struct Parcels {
    part: Part,
    exact: Exact,
    record_bytes_max: usize,
}

impl Parcels {
    fn new(record_bytes_max: usize) -> Self {
        Self {
            part: Part::Tag,
            exact: Exact::default(),
            record_bytes_max,
        }
    }

    /// What stands behind the lengths.
    fn content(&self, lengths: &[u8], has_id: bool) -> Result<Part, DecodeError> {
        let (id, data) = lengths.split_at(LENGTHS_BYTES / 2);
        let (id_bytes, data_bytes) = (big_endian(id), big_endian(data));
        if data_bytes > self.record_bytes_max {
            return Err(DecodeError::RecordTooLarge {
                record_bytes_max: self.record_bytes_max,
            });
        }
        if id_bytes > ID_BYTES_MAX {
            return Err(bad("an id is too long"));
        }
        Ok(Part::Content {
            id_bytes: has_id.then_some(id_bytes),
            bytes: id_bytes + data_bytes,
        })
    }
}

impl Decoder for Parcels {
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        loop {
            let length = match self.part {
                Part::Tag => 1,
                Part::Lengths { .. } => LENGTHS_BYTES,
                Part::Content { bytes, .. } => bytes,
            };
            let Some(piece) = self.exact.take(input, length) else {
                return Ok(None);
            };
            self.part = match self.part {
                Part::Tag => match self.exact.bytes(piece) {
                    [NO_RECORD] => Part::Tag,
                    [RECORD] => Part::Lengths { has_id: false },
                    [RECORD_WITH_ID] => Part::Lengths { has_id: true },
                    _ => return Err(bad("a parcel is of no known kind")),
                },
                Part::Lengths { has_id } => self.content(self.exact.bytes(piece), has_id)?,
                Part::Content { id_bytes, .. } => {
                    self.part = Part::Tag;
                    let content = self.exact.bytes(piece);
                    let (id, data) = content.split_at(id_bytes.unwrap_or_default());
                    return Ok(Some(Record {
                        data: Some(data),
                        id: id_bytes.map(|_| id),
                        ..Record::default()
                    }));
                }
            };
        }
    }

    fn finish(&mut self, _end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        self.exact.release();
        exact::end(NAME, self.carried_bytes())
    }

    fn carried_bytes(&self) -> usize {
        let before = match self.part {
            Part::Tag => 0,
            Part::Lengths { .. } => 1,
            Part::Content { .. } => 1 + LENGTHS_BYTES,
        };
        before + self.exact.carried_bytes()
    }
}

fn bad(reason: &'static str) -> DecodeError {
    DecodeError::BadFraming {
        framing: NAME,
        reason,
    }
}

fn big_endian(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | usize::from(*byte))
}

const NAME: &str = "parcels";
const NO_RECORD: u8 = 0;
const RECORD: u8 = 1;
const RECORD_WITH_ID: u8 = 2;
const LENGTHS_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::{DecodeError, EndOfInput, check};
    use super::{FRAMING, ID_BYTES_MAX, SIGN_OF_LIFE, record, record_with_id};

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut bytes = Vec::new();
        record(b"plain", &mut bytes);
        bytes.extend_from_slice(SIGN_OF_LIFE);
        record_with_id(b"17", b"", &mut bytes);
        record_with_id(b"", b"no id any more", &mut bytes);
        record(b"", &mut bytes);
        let outcome = check::decode(&FRAMING, &[&bytes], EndOfInput::Verified, 100);
        assert_eq!(outcome.error, None);
        let ids: Vec<_> = outcome.records.iter().map(|r| r.id.as_deref()).collect();
        assert_eq!(ids, [None, Some(&b"17"[..]), Some(b""), None]);
        check::whole(&FRAMING, &bytes, &[b"plain", b"", b"no id any more", b""]);
    }

    #[test]
    fn the_sample_is_sound() {
        check::whole(&FRAMING, FRAMING.sample, FRAMING.sample_records);
        check::idle(&FRAMING, &[FRAMING.sample]);
        let by_byte: Vec<_> = FRAMING.sample.chunks(1).collect();
        check::idle(&FRAMING, &by_byte);
    }

    #[test]
    fn a_record_is_refused_by_its_length_alone() {
        let error = DecodeError::RecordTooLarge {
            record_bytes_max: 4,
        };
        for (data, error) in [(&b"four"[..], None), (b"five!", Some(error))] {
            let mut bytes = Vec::new();
            // An id does not count.
            record_with_id(b"1234567", data, &mut bytes);
            bytes.truncate(9 + 7 + 4);
            let outcome = check::decode(&FRAMING, &[&bytes], EndOfInput::Verified, 4);
            assert_eq!(outcome.error, error);
        }
    }

    #[test]
    fn what_no_bridge_writes_is_refused() {
        let mut long_id = Vec::new();
        record_with_id(&[b'x'; ID_BYTES_MAX + 1], b"", &mut long_id);
        for bytes in [&b"\x03"[..], &long_id] {
            let outcome = check::decode(&FRAMING, &[bytes], EndOfInput::Verified, 1 << 20);
            let error = outcome.error.unwrap();
            assert!(matches!(error, DecodeError::BadFraming { .. }), "{error}");
        }
    }

    #[test]
    fn an_end_inside_a_parcel_is_a_cut() {
        let whole = b"\x02\0\0\0\x02\0\0\0\x03idxyz";
        for length in 1..whole.len() {
            for end in [EndOfInput::Verified, EndOfInput::Unverified] {
                let outcome = check::decode(&FRAMING, &[&whole[..length]], end, 100);
                let error = DecodeError::Truncated {
                    framing: "parcels",
                    carried_bytes: length,
                };
                assert_eq!(outcome.error, Some(error));
            }
        }
    }
}
