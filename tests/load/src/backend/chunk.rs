//! How does the next chunk get into its buffer with next to no work? Only the numbers change; all else is there already.

use super::asked::{Asked, Format};
use crate::record::{self, Record};

/// The chunks of one stream, each ready to be written as it is.
#[derive(Debug)]
pub struct Chunks {
    asked: Asked,
    /// The next record's number.
    seq: u64,
    /// The whole chunk: its size line, its records, its line end. Empty before the first.
    buffer: Vec<u8>,
    /// How many records are in it, and the offset of the first.
    records: u64,
    start: usize,
}

impl Chunks {
    /// The chunks of the stream asked for, from its record 0.
    #[must_use]
    pub fn new(asked: Asked) -> Self {
        Self {
            asked,
            seq: 0,
            buffer: Vec::new(),
            records: 0,
            start: 0,
        }
    }

    /// The next chunk, stamped with the time given; `None` after the last record.
    pub fn next_chunk(&mut self, at_ns: u64) -> Option<&[u8]> {
        let left = match self.asked.records {
            0 => u64::MAX,
            records => records - self.seq,
        };
        let records = self.asked.batch.min(left);
        if records == 0 {
            return None;
        }
        if records != self.records || !self.patch(at_ns) {
            self.rebuild(records, at_ns);
        }
        self.seq += records;
        Some(&self.buffer)
    }

    /// Puts new numbers over the old ones; `false` when one of them has another length now.
    fn patch(&mut self, at_ns: u64) -> bool {
        let (mut seq_digits, mut at_digits) = ([0; 20], [0; 20]);
        let at = record::digits(at_ns, &mut at_digits);
        let (before, after) = around(self.asked.format);
        let event_bytes = before.len() + self.asked.size_bytes + after.len();
        let mut place = self.start + before.len();
        (self.seq..self.seq + self.records).all(|seq| {
            let seq = record::digits(seq, &mut seq_digits);
            let is_patched = record::patch(&mut self.buffer[place..], seq, at);
            place += event_bytes;
            is_patched
        })
    }

    fn rebuild(&mut self, records: u64, at_ns: u64) {
        let (before, after) = around(self.asked.format);
        let event_bytes = before.len() + self.asked.size_bytes + after.len();
        let count = usize::try_from(records).expect("a batch is bounded");
        self.buffer.clear();
        self.buffer
            .extend_from_slice(format!("{:x}", count * event_bytes).as_bytes());
        if self.asked.extension_bytes > 0 {
            self.buffer.push(b';');
            let end = self.buffer.len() + self.asked.extension_bytes - 1;
            self.buffer.resize(end, b'e');
        }
        self.buffer.extend_from_slice(b"\r\n");
        self.start = self.buffer.len();
        self.buffer.reserve_exact(count * event_bytes + 2);
        for seq in self.seq..self.seq + records {
            self.buffer.extend_from_slice(before);
            record::write(
                Record { seq, at_ns },
                self.asked.size_bytes,
                &mut self.buffer,
            );
            self.buffer.extend_from_slice(after);
        }
        self.buffer.extend_from_slice(b"\r\n");
        self.records = records;
    }

    /// Gives the buffer back: the stream falls silent.
    pub fn release(&mut self) {
        self.buffer = Vec::new();
        self.records = 0;
    }
}

fn around(format: Format) -> (&'static [u8], &'static [u8]) {
    match format {
        Format::Ndjson => (b"", b""),
        Format::Sse => (b"data: ", b"\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_patched_and_built_anew_carry_the_same_records() {
        let asked = Asked {
            size_bytes: 80,
            batch: 4,
            records: 1_003,
            extension_bytes: 3,
            ..Asked::default()
        };
        let mut chunks = Chunks::new(asked);
        let mut expected_seq = 0;
        // The times grow a digit on the way, as the numbers do.
        for at_ns in (0..).map(|number| 990 + number) {
            let Some(chunk) = chunks.next_chunk(at_ns) else {
                break;
            };
            let chunk = std::str::from_utf8(chunk).unwrap();
            let (head, body) = chunk.split_once("\r\n").unwrap();
            let body = body.strip_suffix("\r\n").unwrap();
            assert_eq!(head, format!("{:x};ee", body.len()));
            for line in body.split_terminator('\n') {
                let record = record::parse(line.as_bytes(), 80).unwrap();
                assert_eq!(
                    record,
                    Record {
                        seq: expected_seq,
                        at_ns
                    }
                );
                expected_seq += 1;
            }
        }
        assert_eq!(expected_seq, 1_003);
    }
}
