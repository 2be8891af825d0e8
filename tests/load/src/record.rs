//! What does a record look like? `{"seq":7,"at":1234,"pad":"xxx"}` and a line feed, of exactly the size asked for.

/// What the client takes from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Which of its stream it is, from 0.
    pub seq: u64,
    /// When the backend emitted it, on the clock of [`crate::clock::now_ns`].
    pub at_ns: u64,
}

/// The smallest record, in bytes with its line feed: it holds the two largest numbers.
pub const SIZE_BYTES_MIN: usize = 64;

/// Reads a record without its line feed; `None` when a single byte of it is not as the backend wrote it.
///
/// A known order of keys and a pad of one byte make that some 30 ns for 200 bytes.
#[must_use]
pub fn parse(line: &[u8], size_bytes: usize) -> Option<Record> {
    if line.len() + 1 != size_bytes {
        return None;
    }
    let rest = line.strip_prefix(SEQ)?;
    let (seq, rest) = number(rest)?;
    let (at_ns, rest) = number(rest.strip_prefix(AT)?)?;
    let pad = rest.strip_prefix(PAD)?.strip_suffix(END)?;
    // No early end: the loop becomes a few vector instructions.
    let is_pad = pad.iter().fold(0, |sum, byte| sum | (byte ^ PAD_BYTE)) == 0;
    is_pad.then_some(Record { seq, at_ns })
}

/// Appends a record and its line feed, `size_bytes` in all.
pub fn write(record: Record, size_bytes: usize, out: &mut Vec<u8>) {
    let end = out.len() + size_bytes.max(SIZE_BYTES_MIN);
    out.extend_from_slice(SEQ);
    write_number(record.seq, out);
    out.extend_from_slice(AT);
    write_number(record.at_ns, out);
    out.extend_from_slice(PAD);
    out.resize(end - END.len() - 1, PAD_BYTE);
    out.extend_from_slice(END);
    out.push(b'\n');
}

/// Overwrites the numbers of a record that [`write()`] made; `false` when they have not as many digits as there is place.
pub fn patch(place: &mut [u8], seq: &[u8], at: &[u8]) -> bool {
    let at_start = SEQ.len() + seq.len() + AT.len();
    let at_end = at_start + at.len();
    // What follows the numbers proves that they had as many digits before.
    let fits =
        place.get(SEQ.len() + seq.len()) == Some(&AT[0]) && place.get(at_end) == Some(&PAD[0]);
    if fits {
        place[SEQ.len()..SEQ.len() + seq.len()].copy_from_slice(seq);
        place[at_start..at_end].copy_from_slice(at);
    }
    fits
}

/// The decimal digits of a number, in `digits` from the end.
///
/// # Panics
/// Never: the largest number has 20 digits.
pub fn digits(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).expect("a digit is less than ten");
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(digits(number, &mut [0; 20]));
}

/// The number at the start, and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    let mut length = 0;
    while let Some(digit) = text.get(length).map(|byte| byte.wrapping_sub(b'0')) {
        if digit > 9 {
            break;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
        length += 1;
    }
    (length > 0).then_some((number, &text[length..]))
}

const SEQ: &[u8] = b"{\"seq\":";
const AT: &[u8] = b",\"at\":";
const PAD: &[u8] = b",\"pad\":\"";
const END: &[u8] = b"\"}";
const PAD_BYTE: u8 = b'x';

#[cfg(test)]
mod tests {
    use super::*;

    fn written(record: Record, size_bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        write(record, size_bytes, &mut out);
        out
    }

    #[test]
    fn a_record_has_exactly_its_size_and_reads_back() {
        for size_bytes in [64, 65, 120, 200, 65_000] {
            for (seq, at_ns) in [(0, 0), (9, 99), (10, 123_456_789_012), (u64::MAX, u64::MAX)] {
                let record = Record { seq, at_ns };
                let line = written(record, size_bytes);
                assert_eq!(line.len(), size_bytes);
                assert_eq!(line.last(), Some(&b'\n'));
                assert_eq!(parse(&line[..size_bytes - 1], size_bytes), Some(record));
            }
        }
    }

    #[test]
    fn a_record_with_any_byte_changed_cut_or_added_is_none_or_another() {
        let record = Record {
            seq: 17,
            at_ns: 1_234,
        };
        let line = written(record, 100);
        let line = &line[..99];
        for at in 0..line.len() {
            let mut other = line.to_vec();
            other[at] ^= 0x40;
            assert_eq!(parse(&other, 100), None, "byte {at}");
            assert_eq!(parse(&line[..at], 100), None, "cut at {at}");
        }
        assert_eq!(parse(line, 101), None);
        assert_eq!(parse(line, 100), Some(record));
    }

    #[test]
    fn a_patched_record_is_the_one_written_anew() {
        let mut line = written(
            Record {
                seq: 10,
                at_ns: 500,
            },
            80,
        );
        assert!(patch(&mut line, b"99", b"678"));
        assert_eq!(
            line,
            written(
                Record {
                    seq: 99,
                    at_ns: 678
                },
                80
            )
        );
        assert!(!patch(&mut line, b"100", b"678"));
        assert!(!patch(&mut line, b"99", b"1678"));
        assert!(!patch(&mut line, b"9", b"678"));
        assert_eq!(
            line,
            written(
                Record {
                    seq: 99,
                    at_ns: 678
                },
                80
            )
        );
    }
}
