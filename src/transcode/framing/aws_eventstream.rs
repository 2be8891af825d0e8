//! How are the messages of an Amazon event stream cut and understood (Smithy)?

mod headers;
#[cfg(test)]
mod tests;

use self::headers::Headers;
use super::{
    DecodeError, Decoder, EndOfInput, Framing, Record,
    exact::{self, Exact},
};

/// One record a message: its payload, under the name of its event or exception. Both of its checksums
/// must be right. An exception is the last record, an error is none; both are what the upstream reports.
pub const FRAMING: Framing = Framing {
    name: "aws-eventstream",
    content_types: &["application/vnd.amazon.eventstream"],
    is_for_its_own_clients: true,
    is_text: false,
    decoder: |opening| Box::new(AwsEventstream::new(opening.record_bytes_max)),
    sample_content_type: "application/vnd.amazon.eventstream",
    sample: b"\0\0\0\x83\0\0\0\x4b\x72\x6a\x8d\x33\x0b:event-type\x07\0\x05chunk\
        \x0d:content-type\x07\0\x10application/json\x0d:message-type\x07\0\x05event\
        {\"bytes\":\"eyJvdXRwdXRUZXh0IjoiSGkifQ==\"}\xf7\xee\x64\x93\
        \0\0\0\x17\0\0\0\0\xb7\xe2\x94\xfb{\"a\":1}\x7a\x7e\xd1\x37",
    sample_records: &[
        b"{\"bytes\":\"eyJvdXRwdXRUZXh0IjoiSGkifQ==\"}",
        b"{\"a\":1}",
    ],
};

#[derive(Debug)]
struct AwsEventstream {
    /// The prelude, or the rest of the message.
    exact: Exact,
    /// What the prelude of the message that is not whole yet said, once it is.
    prelude: Option<Prelude>,
    /// What an exception reported that was lent as a record: the stream ends behind it.
    report: Option<String>,
    record_bytes_max: usize,
}

/// The first twelve bytes of a message, which have proved by their checksum to be one's.
#[derive(Debug, Clone, Copy)]
struct Prelude {
    /// At most [`HEADERS_BYTES_MAX`].
    headers_bytes: usize,
    /// At most `record_bytes_max`.
    payload_bytes: usize,
    /// The checksum of the twelve bytes: the message's goes on from it.
    crc: u32,
}

/// One message; the bytes are borrowed.
struct Message<'a> {
    headers: Headers<'a>,
    payload: &'a [u8],
}

impl AwsEventstream {
    fn new(record_bytes_max: usize) -> Self {
        Self {
            exact: Exact::default(),
            prelude: None,
            report: None,
            record_bytes_max,
        }
    }

    /// Takes the prelude of the next message off `input`, if that is not done.
    fn prelude(&mut self, input: &mut &[u8]) -> Result<Option<Prelude>, DecodeError> {
        if self.prelude.is_none()
            && let Some(piece) = self.exact.take(input, PRELUDE_BYTES)
        {
            let prelude = Prelude::parse(self.exact.bytes(piece), self.record_bytes_max)?;
            self.prelude = Some(prelude);
        }
        Ok(self.prelude)
    }
}

impl Decoder for AwsEventstream {
    fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        if let Some(report) = self.report.take() {
            return Err(DecodeError::Reported { report });
        }
        let Some(prelude) = self.prelude(input)? else {
            return Ok(None);
        };
        let Some(piece) = self.exact.take(input, prelude.rest_bytes()) else {
            return Ok(None);
        };
        self.prelude = None;
        let Message { headers, payload } = prelude.message(self.exact.bytes(piece))?;
        let name = match headers.message_type {
            Some(b"error") => {
                let report = headers.error_report();
                return Err(DecodeError::Reported { report });
            }
            Some(b"exception") => {
                self.report = Some(headers.exception_report());
                headers.exception_type
            }
            // `event`; of a type that is not known, or of none, the payload counts all the same.
            _ => headers.event_type,
        };
        Ok(Some(Record {
            data: Some(payload),
            name,
            ..Record::default()
        }))
    }

    fn finish(&mut self, _end: EndOfInput) -> Result<Option<Record<'_>>, DecodeError> {
        if let Some(report) = self.report.take() {
            return Err(DecodeError::Reported { report });
        }
        exact::end(FRAMING.name, self.carried_bytes())
    }

    fn carried_bytes(&self) -> usize {
        let prelude_bytes = self.prelude.map_or(0, |_| PRELUDE_BYTES);
        prelude_bytes + self.exact.carried_bytes()
    }
}

impl Prelude {
    /// Takes the twelve bytes apart: nothing of them is believed before their checksum is right.
    fn parse(bytes: &[u8], record_bytes_max: usize) -> Result<Self, DecodeError> {
        let (lengths, crc) = bytes.split_at(PRELUDE_BYTES - CRC_BYTES);
        if crc32fast::hash(lengths) != number(crc) {
            return Err(bad("the checksum of a message's lengths is wrong"));
        }
        let (total, headers) = lengths.split_at(LENGTH_BYTES);
        let bytes_of = |length| usize::try_from(number(length)).unwrap_or(usize::MAX);
        let (total_bytes, headers_bytes) = (bytes_of(total), bytes_of(headers));
        let around_bytes = (PRELUDE_BYTES + CRC_BYTES).saturating_add(headers_bytes);
        let Some(payload_bytes) = total_bytes.checked_sub(around_bytes) else {
            return Err(bad("a message's headers are longer than all of it"));
        };
        if headers_bytes > HEADERS_BYTES_MAX {
            return Err(bad("a message's headers are longer than 128 KiB"));
        }
        if payload_bytes > record_bytes_max {
            return Err(DecodeError::RecordTooLarge { record_bytes_max });
        }
        Ok(Self {
            headers_bytes,
            payload_bytes,
            crc: crc32fast::hash(bytes),
        })
    }

    /// How long the message is behind the prelude.
    fn rest_bytes(self) -> usize {
        self.headers_bytes + self.payload_bytes + CRC_BYTES
    }

    /// Takes the rest of the message apart.
    fn message(self, rest: &[u8]) -> Result<Message<'_>, DecodeError> {
        let (content, crc) = rest.split_at(self.headers_bytes + self.payload_bytes);
        let mut hasher = crc32fast::Hasher::new_with_initial(self.crc);
        hasher.update(content);
        if hasher.finalize() != number(crc) {
            return Err(bad("the checksum of a message is wrong"));
        }
        let (headers, payload) = content.split_at(self.headers_bytes);
        let headers = Headers::parse(headers).map_err(bad)?;
        Ok(Message { headers, payload })
    }
}

/// A number in network byte order.
fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

fn bad(reason: &'static str) -> DecodeError {
    DecodeError::BadFraming {
        framing: FRAMING.name,
        reason,
    }
}

/// Two lengths and their checksum.
const PRELUDE_BYTES: usize = 2 * LENGTH_BYTES + CRC_BYTES;

const LENGTH_BYTES: usize = size_of::<u32>();

const CRC_BYTES: usize = size_of::<u32>();

/// As the specification says. The payload's 24 MiB are not its own: the limit is the record's.
const HEADERS_BYTES_MAX: usize = 128 * 1024;
